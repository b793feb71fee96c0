use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The policy of the guide's `infrastructure` repository.
pub(crate) const GUIDE: &str = r#"{
    "RepositoryName": "infrastructure",
    "Rule": "platform",
    "Mutability": {"ImageTagMutability": "IMMUTABLE"},
    "LifecycleTagPrefixes": ["v", "prod", "staging", "dev"],
    "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "quarantine"},
    "Retention": {"Keep": 20, "UntaggedDays": 7, "Enforcement": "archive"}
}"#;

/// The properties after changes. Each change sets the property with a dotted name, or removes the
/// property if the value is null.
fn changed(properties: &str, changes: &[(&str, Value)]) -> Value {
    let mut root: Value = serde_json::from_str(properties).unwrap();
    for (path, value) in changes {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let object = root.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.to_owned(), value.clone());
        }
    }
    root
}

/// The policy after changes. A text for a setting that is a list is the list of its words.
pub(crate) fn policy(properties: &str, changes: &[(&str, Value)]) -> Policy {
    const LISTS: [&str; 5] =
        ["Grammar", "Components", "Forbidden", "ProtectTags", "LifecycleTagPrefixes"];
    let listed = changes.iter().map(|(path, value)| {
        let name = path.rsplit('.').next().unwrap_or(path);
        let words = value.as_str().filter(|_| LISTS.contains(&name)).map(str::split_whitespace);
        (*path, words.map_or_else(|| value.clone(), |words| words.collect::<Vec<_>>().into()))
    });
    let changes: &[(&str, Value)] = &listed.collect::<Vec<_>>();
    Policy::parse(&changed(properties, changes).to_string()).unwrap()
}

fn check_problems(changes: &[(&str, Value)], expected: &Expect) {
    let error = Policy::parse(&changed(GUIDE, changes).to_string()).unwrap_err();
    let lines: Vec<String> = error.0.iter().map(|problem| format!("{problem}\n")).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn the_guide_normalises_to_one_line_with_every_default() {
    expect![[r#"{"RepositoryName":"infrastructure","Rule":"platform","Mutability":{"ImageTagMutability":"IMMUTABLE","ImageTagMutabilityExclusionFilters":[]},"LifecycleTagPrefixes":["v","prod","staging","dev"],"LifecycleScope":"component","InUse":"pull-time","Tags":{"Grammar":["{component}-v{semver}"],"Components":[],"Forbidden":[],"Ignored":[],"Channels":["latest","dev","staging","prod"],"Enforcement":"quarantine","QuarantineDays":14},"Retention":{"Keep":20,"Untagged":"report","UntaggedDays":7,"Expire":[],"ProtectTags":[],"ProtectPulledWithinDays":30,"MinimumAgeDays":7,"MaxRemovePercent":25,"WhenReplicated":"report","Enforcement":"archive"},"Scan":{"Threshold":"HIGH"}}"#]].assert_eq(&policy(GUIDE, &[]).normalised());
}

#[test]
fn all_mistakes_are_named_with_the_nearest_known_property() {
    check_problems(
        &[
            ("RepositoryName", "Infra".into()),
            ("Retention.Keep", "0".into()),
            ("Retention.UntaggedDays", Value::Null),
            ("LifecycleScop", "repository".into()),
            ("Tags.Grammar", json!(["{component}-v{semvr}", "{component}"])),
            ("Tags.Enforcement", "quarantaine".into()),
            ("Tags.Forbiden", json!(["x"])),
            ("Retention.MaxRemovePercent", "101".into()),
            ("Retention.MinimumAgeDays", "0".into()),
            ("Scan", json!({"Threshold": "high"})),
        ],
        &expect![[r#"
            RepositoryName: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Infra"
            Tags.Grammar[0]: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}"
            Tags.Enforcement: expected report or quarantine or archive, got "quarantaine"
            Tags.Forbiden: unknown property; the nearest known name is Forbidden
            Retention.Keep: expected a whole number from 1 to 100000, got "0"
            Retention.MinimumAgeDays: expected a whole number from 1 to 3650, got "0"
            Retention.MaxRemovePercent: expected a whole number from 1 to 100, got "101"
            Scan.Threshold: expected CRITICAL or HIGH or MEDIUM or LOW or INFORMATIONAL, got "high"
            LifecycleScop: unknown property; the nearest known name is LifecycleScope
        "#]],
    );
}

#[test]
fn an_invisible_name_is_quoted_and_a_long_value_is_shortened() {
    check_problems(
        &[
            ("Retention.Keep", "9".repeat(1_000).into()),
            ("Scan", json!({"": "x", "\n": "x", "Threshold ": "HIGH"})),
        ],
        &expect![[r#"
            Retention.Keep: expected a whole number from 1 to 100000, got "99999999999999999999999999999999999999999999999999999999999999999999999999999999…"
            Scan."": unknown property; the nearest known name is Threshold
            Scan."\n": unknown property; the nearest known name is Threshold
            Scan."Threshold ": unknown property; the nearest known name is Threshold
        "#]],
    );
}

#[test]
fn a_keep_count_that_is_missing_or_empty_or_zero_or_not_a_number_is_rejected() {
    for value in [
        Value::Null,
        "".into(),
        "0".into(),
        "-1".into(),
        "+5".into(),
        "ten".into(),
        "1e3".into(),
        json!(["1"]),
    ] {
        let settings = read_settings(&[("LifecycleTagCount", value.clone())]);
        let Invalid(problems) = settings.unwrap_err();
        assert_eq!(problems.len(), 1, "{value} gives {problems:?}");
        assert_eq!(problems[0].property, "LifecycleTagCount");
    }
}

#[test]
fn a_policy_without_rules_judges_nothing_and_removes_nothing() {
    let policy = policy(GUIDE, &[("Tags", Value::Null), ("Retention", Value::Null)]);
    assert_eq!((&policy.tags, &policy.retention), (&None, &None));
    assert_eq!(Policy::parse(&policy.normalised()).unwrap(), policy);
    assert_eq!(policy.tag_enforcement(), TagEnforcement::Report);
    assert_eq!((policy.cleanup(), policy.untagged_mode()), (CleanupEnforcement::Report, None));
    assert!(!policy.may_remove_by(CleanupEnforcement::Report));
    check_problems(
        &[("Tags", json!({})), ("Retention", "report".into())],
        &expect![[r#"
            Tags.Enforcement: this required property is missing
            Retention: expected an object
        "#]],
    );
}

/// Reads the guide's settings of a provisioned repository after changes.
fn read_settings(changes: &[(&str, Value)]) -> Result<ProvisionedRepository, Invalid> {
    let guide = r#"{"RepositoryName": "infrastructure", "LifecycleTagCount": "20", "LifecycleUntaggedDays": "7"}"#;
    let node = crate::node::Node::from(&changed(guide, changes));
    let mut reader = Reader::new(&node);
    let settings = ProvisionedRepository::read(&mut reader);
    match (settings, reader.finish()) {
        (Some(settings), problems) if problems.is_empty() => Ok(settings),
        (_, problems) => Err(Invalid(problems)),
    }
}

#[test]
fn exclusion_filters_need_a_mutability_with_exclusion_and_the_other_way_round() {
    let read = |mutability: &str, filters: Value| {
        let settings = read_settings(&[
            ("ImageTagMutability", json!(mutability)),
            ("ImageTagMutabilityExclusionFilters", filters),
        ]);
        settings.map(|settings| settings.mutability.to_string()).map_err(|error| error.to_string())
    };
    let mut lines = String::new();
    for (mutability, filters) in [
        ("IMMUTABLE_WITH_EXCLUSION", json!(["sha256-*", "*-dev"])),
        ("IMMUTABLE_WITH_EXCLUSION", json!(["a", "b", "c", "d", "e"])),
        ("IMMUTABLE_WITH_EXCLUSION", json!(["a", "b", "c", "d", "e", "f"])),
        ("MUTABLE_WITH_EXCLUSION", json!([])),
        ("MUTABLE_WITH_EXCLUSION", json!(["v*/x"])),
        ("IMMUTABLE", json!(["sha256-*"])),
    ] {
        lines += &match read(mutability, filters) {
            Ok(mutability) => format!("{mutability}\n"),
            Err(error) => format!("error: {error}\n"),
        };
    }
    expect![[r#"
        IMMUTABLE_WITH_EXCLUSION (except *-dev, sha256-*)
        IMMUTABLE_WITH_EXCLUSION (except a, b, c, d, e)
        error: ImageTagMutabilityExclusionFilters: expected 1 to 5 wildcards for IMMUTABLE_WITH_EXCLUSION, got 6
        error: ImageTagMutabilityExclusionFilters: expected 1 to 5 wildcards for MUTABLE_WITH_EXCLUSION, got 0
        error: ImageTagMutabilityExclusionFilters[0]: expected 1 to 128 letters, digits, '.', '_', '-' and '*', got "v*/x"; ImageTagMutabilityExclusionFilters: expected 1 to 5 wildcards for MUTABLE_WITH_EXCLUSION, got 0
        error: ImageTagMutabilityExclusionFilters: ImageTagMutability is IMMUTABLE, which allows no exclusions; leave the filters empty, or use IMMUTABLE_WITH_EXCLUSION
    "#]].assert_eq(&lines);
}

#[test]
fn text_that_is_not_json_is_rejected_with_an_explanation() {
    expect!["policy: expected JSON: EOF while parsing a value at line 1 column 0"]
        .assert_eq(&Policy::parse("").unwrap_err().to_string());
    expect!["ResourceProperties: missing; expected an object"]
        .assert_eq(&Policy::parse("[]").unwrap_err().to_string());
}

#[test]
fn a_repository_has_at_most_as_many_prefixes_as_ecr_accepts_rules() {
    let read = |count: usize| {
        let prefixes: Vec<String> = (0..count).map(|nth| format!("p{nth}")).collect();
        read_settings(&[("LifecycleTagPrefixes", json!(prefixes))])
    };
    assert_eq!(read(48).unwrap().lifecycle_tag_prefixes.len(), 48);
    let error = read(49).unwrap_err().to_string();
    expect!["LifecycleTagPrefixes: expected at most 48 prefixes, got 49"].assert_eq(&error);
}

#[test]
fn a_line_of_an_older_function_gets_the_defaults_of_this_version() {
    let line = r#"{"RepositoryName":"ab","Rule":"r","Retention":{"Enforcement":"report"}}"#;
    let policy = Policy::parse(line).unwrap();
    assert_eq!(policy.retention.unwrap().protect_pulled_within_days, 30);
}

proptest! {
    #[test]
    fn a_normalised_policy_parses_back_to_itself(
        count in 1..=100_000_u32,
        days in 1..=3_650_u32,
        prefixes in prop::collection::btree_set("[a-z][a-z0-9.]{0,5}", 0..6),
        scope in prop::sample::select(vec!["component", "repository"]),
        grammar in prop::collection::vec(prop::sample::select(vec!["{component}-v{semver}", "re:[a-z]+|x", "{sha}"]), 1..4),
        components in prop::collection::vec("[a-z]{1,8}(-[a-z0-9]{1,3}){0,2}", 0..5),
        wildcards in prop::collection::vec("[a-z*]{1,6}", 0..5),
    ) {
        let policy = policy(GUIDE, &[
            ("Retention.Keep", count.to_string().into()),
            ("Retention.UntaggedDays", days.into()),
            ("LifecycleTagPrefixes", json!(prefixes)),
            ("LifecycleScope", scope.into()),
            ("Tags.Grammar", json!(grammar)),
            ("Tags.Components", json!(components)),
            ("Tags.Forbidden", json!(wildcards)),
            ("Retention.ProtectTags", json!(wildcards)),
        ]);
        let line = policy.normalised();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(Policy::parse(&line).unwrap(), policy);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&json!({"Tags": {"Grammar": [text]}}).to_string());
    }
}
