use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The guide's `infrastructure` repository, as CloudFormation sends it.
pub(crate) const GUIDE: &str = r#"{
    "RepositoryName": "infrastructure",
    "ImageTagMutability": "IMMUTABLE",
    "LifecycleTagCount": "20",
    "LifecycleUntaggedDays": "7",
    "LifecycleTagPrefixes": ["v", "prod", "staging", "dev"],
    "Governance": {
        "Tags": {"Grammar": "{component}-v{semver}", "Enforcement": "quarantine"},
        "Retention": {"Enforcement": "archive"}
    }
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

pub(crate) fn policy(properties: &str, changes: &[(&str, Value)]) -> Policy {
    Policy::parse(&changed(properties, changes).to_string()).unwrap()
}

fn check_problems(changes: &[(&str, Value)], expected: &Expect) {
    let error = Policy::parse(&changed(GUIDE, changes).to_string()).unwrap_err();
    let lines: Vec<String> = error.0.iter().map(|problem| format!("{problem}\n")).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn the_guide_normalises_to_one_line_with_every_default() {
    expect![[r#"{"RepositoryName":"infrastructure","ImageTagMutability":"IMMUTABLE","LifecycleTagCount":20,"LifecycleUntaggedDays":7,"LifecycleTagPrefixes":["v","prod","staging","dev"],"LifecycleScope":"component","Governance":{"Tags":{"Grammar":"{component}-v{semver}","Components":[],"Forbidden":[],"Enforcement":"quarantine","QuarantineDays":14},"Retention":{"KeepPerComponent":20,"ProtectTags":[],"ProtectPulledWithinDays":30,"MinimumAgeDays":7,"InUse":"pull-time","MaxRemovePercent":25,"WhenReplicated":"report","Untagged":"report","Enforcement":"archive"},"Scan":{"Threshold":"HIGH"}}}"#]].assert_eq(&policy(GUIDE, &[]).normalised());
}

#[test]
fn all_mistakes_are_named_with_the_nearest_known_property() {
    check_problems(
        &[
            ("RepositoryName", "Infra".into()),
            ("LifecycleTagCount", "0".into()),
            ("LifecycleUntaggedDays", Value::Null),
            ("LifecycleScop", "repository".into()),
            ("Governance.Tags.Grammar", "{component}-v{semvr} {component}".into()),
            ("Governance.Tags.Enforcement", "quarantaine".into()),
            ("Governance.Tags.Forbiden", json!(["x"])),
            ("Governance.Retention.MaxRemovePercent", "101".into()),
            ("Governance.Retention.MinimumAgeDays", "0".into()),
            ("Governance.Scan", json!({"Threshold": "high"})),
        ],
        &expect![[r#"
            RepositoryName: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Infra"
            LifecycleTagCount: expected a whole number from 1 to 100000, got "0"
            LifecycleUntaggedDays: this required property is missing
            Governance.Tags.Grammar: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}"
            Governance.Tags.Enforcement: expected report or quarantine or archive, got "quarantaine"
            Governance.Tags.Forbiden: unknown property; the nearest known name is Forbidden
            Governance.Retention.MinimumAgeDays: expected a whole number from 1 to 3650, got "0"
            Governance.Retention.MaxRemovePercent: expected a whole number from 1 to 100, got "101"
            Governance.Scan.Threshold: expected CRITICAL or HIGH or MEDIUM or LOW or INFORMATIONAL, got "high"
            LifecycleScop: unknown property; the nearest known name is LifecycleScope
        "#]],
    );
}

#[test]
fn an_invisible_name_is_quoted_and_a_long_value_is_shortened() {
    check_problems(
        &[
            ("LifecycleTagCount", "9".repeat(1_000).into()),
            ("Governance.Scan", json!({"": "x", "\n": "x", "Threshold ": "HIGH"})),
        ],
        &expect![[r#"
            LifecycleTagCount: expected a whole number from 1 to 100000, got "99999999999999999999999999999999999999999999999999999999999999999999999999999999…"
            Governance.Scan."": unknown property; the nearest known name is Threshold
            Governance.Scan."\n": unknown property; the nearest known name is Threshold
            Governance.Scan."Threshold ": unknown property; the nearest known name is Threshold
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
        let properties = changed(GUIDE, &[("LifecycleTagCount", value.clone())]).to_string();
        let Invalid(problems) = Policy::parse(&properties).unwrap_err();
        assert_eq!(problems.len(), 1, "{value} gives {problems:?}");
        assert_eq!(problems[0].property, "LifecycleTagCount");
    }
}

#[test]
fn a_policy_without_rules_judges_nothing_and_removes_nothing() {
    let policy = policy(GUIDE, &[("Governance", Value::Null)]);
    assert_eq!((&policy.tags, &policy.retention), (&None, &None));
    assert_eq!(Policy::parse(&policy.normalised()).unwrap(), policy);
    assert_eq!(policy.tag_enforcement(), TagEnforcement::Report);
    assert_eq!((policy.cleanup(), policy.untagged_mode()), (CleanupEnforcement::Report, None));
    assert!(!policy.may_remove_by(CleanupEnforcement::Report));
    check_problems(
        &[("Governance", json!({"Tags": {}, "Retention": {}}))],
        &expect![[r#"
            Governance.Tags.Enforcement: this required property is missing
            Governance.Retention.Enforcement: this required property is missing
        "#]],
    );
    check_problems(
        &[("Governance", "report".into())],
        &expect![[r#"
            Governance: expected an object
        "#]],
    );
}

#[test]
fn quarantine_is_rejected_if_a_tag_can_move() {
    let mut lines = String::new();
    for mutability in ["MUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"] {
        let properties = changed(GUIDE, &[("ImageTagMutability", mutability.into())]).to_string();
        lines += &format!("{mutability}: {}\n", Policy::parse(&properties).unwrap_err());
    }
    expect![[r#"
        MUTABLE: Governance.Tags.Enforcement: quarantine needs ImageTagMutability IMMUTABLE, not MUTABLE: a mutable tag could move to another image just before it is removed; use report or archive
        MUTABLE_WITH_EXCLUSION: Governance.Tags.Enforcement: quarantine needs ImageTagMutability IMMUTABLE, not MUTABLE_WITH_EXCLUSION: a mutable tag could move to another image just before it is removed; use report or archive
        IMMUTABLE_WITH_EXCLUSION: Governance.Tags.Enforcement: quarantine needs ImageTagMutability IMMUTABLE, not IMMUTABLE_WITH_EXCLUSION: a mutable tag could move to another image just before it is removed; use report or archive
    "#]].assert_eq(&lines);
}

#[test]
fn a_policy_that_is_too_large_is_rejected_with_its_size() {
    let many: Vec<String> = (0..200).map(|n| format!("component-{n}")).collect();
    check_problems(
        &[("Governance.Tags.Components", json!(many))],
        &expect![[r#"
            Governance: the normalised policy has 3664 bytes; at most 1500 are allowed
        "#]],
    );
}

#[test]
fn text_that_is_not_json_is_rejected_with_an_explanation() {
    expect!["policy: expected one line of JSON: EOF while parsing a value at line 1 column 0"]
        .assert_eq(&Policy::parse("").unwrap_err().to_string());
    expect!["ResourceProperties: missing; expected an object"]
        .assert_eq(&Policy::parse("[]").unwrap_err().to_string());
}

#[test]
fn a_policy_of_the_largest_size_is_accepted_and_a_larger_one_is_rejected() {
    let rest = MOST_BYTES - policy(GUIDE, &[]).normalised().len();
    let words = |more: usize| {
        let mut words = vec!["x".repeat(120); 7];
        // Each word takes three more bytes for quotes and a comma. The first word has no comma.
        words.push("x".repeat(rest + more - 7 * 123 - 2));
        ("Governance.Retention.ProtectTags", json!(words))
    };
    assert_eq!(policy(GUIDE, &[words(0)]).normalised().len(), MOST_BYTES);
    check_problems(
        &[words(1)],
        &expect![[r#"
            Governance: the normalised policy has 1501 bytes; at most 1500 are allowed
        "#]],
    );
}

#[test]
fn a_policy_has_at_most_as_many_prefixes_as_ecr_accepts_rules() {
    let prefixes = |count: usize| {
        let prefixes: Vec<String> = (0..count).map(|nth| format!("p{nth}")).collect();
        ("LifecycleTagPrefixes", json!(prefixes))
    };
    assert_eq!(policy(GUIDE, &[prefixes(48)]).lifecycle_tag_prefixes.len(), 48);
    check_problems(
        &[prefixes(49)],
        &expect![[r#"
            LifecycleTagPrefixes: expected at most 48 prefixes, got 49
        "#]],
    );
}

#[test]
fn the_error_of_a_list_names_the_position_and_a_repository_may_have_one_policy() {
    let list = |policies: &[Value]| Policies::parse(&json!(policies).to_string());
    let guide = changed(GUIDE, &[]);
    let other = changed(GUIDE, &[("RepositoryName", "deployments".into())]);
    let names = |policies: Policies| -> Vec<String> {
        policies.iter().map(|policy| policy.repository_name.to_string()).collect()
    };
    assert!(list(&[]).unwrap().is_empty());
    assert_eq!(
        names(list(&[guide.clone(), other.clone()]).unwrap()),
        ["infrastructure", "deployments"]
    );
    let check = |policies: &[Value], expected: Expect| {
        expected.assert_eq(&list(policies).unwrap_err().to_string());
    };
    let wrong = changed(
        GUIDE,
        &[("LifecycleTagCount", "0".into()), ("Governance.Tags.Enforcement", "x".into())],
    );
    check(
        &[other.clone(), wrong],
        expect![[
            r#"[1].LifecycleTagCount: expected a whole number from 1 to 100000, got "0"; [1].Governance.Tags.Enforcement: expected report or quarantine or archive, got "x""#
        ]],
    );
    check(
        &[guide.clone(), other, guide],
        expect!["[2].RepositoryName: there are two policies for infrastructure"],
    );
    check(&[json!(1)], expect!["[0].ResourceProperties: missing; expected an object"]);
    expect![
        "list: expected a JSON list: invalid type: map, expected a sequence at line 1 column 0"
    ]
    .assert_eq(&Policies::parse("{}").unwrap_err().to_string());
}

#[test]
fn a_line_of_an_older_function_gets_the_defaults_of_this_version() {
    let line = r#"{"RepositoryName":"ab","LifecycleTagCount":1,"LifecycleUntaggedDays":1,"Governance":{"Tags":{"Grammar":"v{semver}","Enforcement":"report"},"Retention":{"Enforcement":"report"}}}"#;
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
            ("LifecycleTagCount", count.to_string().into()),
            ("LifecycleUntaggedDays", days.into()),
            ("LifecycleTagPrefixes", json!(prefixes)),
            ("LifecycleScope", scope.into()),
            ("Governance.Tags.Grammar", json!(grammar)),
            ("Governance.Tags.Components", json!(components)),
            ("Governance.Tags.Forbidden", json!(wildcards)),
            ("Governance.Retention.ProtectTags", wildcards.join(" ").into()),
        ]);
        let line = policy.normalised();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(Policy::parse(&line).unwrap(), policy);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&json!({"Governance": {"Tags": {"Grammar": text}}}).to_string());
    }
}
