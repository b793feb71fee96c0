//! The policy of one repository: parsed and validated once, normalised to one line.
//!
//! It is read from the properties of the custom resource when a stack is deployed, and from
//! the normalised line by the functions that act on it. One shape and one parser serve
//! both, so a newer function reads what an older one normalised: what it lacks takes the
//! defaults.

use serde::Serialize;
use serde_json::Value;

use crate::grammar::{Grammar, Template};
use crate::image::{Component, RepositoryName, TagPrefix, Wildcard};
use crate::properties::{Invalid, Problem, Reader};

/// The most bytes of a normalised policy: Lambda gives a function 4 KB of environment in
/// all, and CloudFormation 4,096 bytes to an answer.
pub const MOST_BYTES: usize = 1_500;

/// ECR's quota of images in a repository; to keep more of them means nothing.
const MOST_IMAGES: u32 = 100_000;
/// ECR takes 50 lifecycle rules, and two are not for prefixes.
const MOST_PREFIXES: usize = 48;
/// Ten years: a number of days beyond it is a mistake.
const MOST_DAYS: u32 = 3_650;

/// The policy of one repository. Its fields are the properties of the same names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The repository that it governs.
    pub repository_name: RepositoryName,
    /// Whether a tag can be moved.
    pub image_tag_mutability: TagMutability,
    /// How many tagged images stay, by the native rules or as [`Retention::keep_per_component`].
    pub lifecycle_tag_count: u32,
    /// Days after its push at which an untagged image expires natively.
    pub lifecycle_untagged_days: u32,
    /// Prefixes that are counted each on its own.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// What is counted.
    pub lifecycle_scope: LifecycleScope,
    /// What ECR knows nothing of.
    pub governance: Governance,
}

/// The rules that our functions carry out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Governance {
    /// What a push may be called.
    pub tags: Tags,
    /// What is kept.
    pub retention: Retention,
    /// What is told of findings.
    pub scan: Scan,
}

/// What a push may be called, and what is done about one that is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    /// The templates of conforming tags.
    pub grammar: Grammar,
    /// The components that may be pushed; empty for any.
    pub components: Vec<Component>,
    /// Tags that are refused although they conform.
    pub forbidden: Vec<Wildcard>,
    /// What is done about a violation.
    pub enforcement: TagEnforcement,
    /// Days for which a quarantined image waits to be restored.
    pub quarantine_days: u32,
}

/// What is kept, and what is done with the rest.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Retention {
    /// The newest images of each component that stay.
    pub keep_per_component: u32,
    /// Images with a tag like one of these stay whole.
    pub protect_tags: Vec<Wildcard>,
    /// Days for which a recorded pull protects an image.
    pub protect_pulled_within_days: u32,
    /// Days for which a push protects an image.
    pub minimum_age_days: u32,
    /// What tells that an image is running.
    pub in_use: InUse,
    /// The most images of a repository, in per cent, that one run may remove.
    pub max_remove_percent: u32,
    /// What is done with an image that no rule keeps.
    pub enforcement: CleanupEnforcement,
}

/// What is told of findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scan {
    /// The lowest severity that is told.
    pub threshold: Severity,
}

keywords!(
    /// Whether a tag can be moved to another image (ECR `imageTagMutability`).
    TagMutability {
        /// Any tag can be moved.
        Mutable = "MUTABLE",
        /// No tag can be moved.
        Immutable = "IMMUTABLE",
        /// Any tag but those that a filter names.
        MutableWithExclusion = "MUTABLE_WITH_EXCLUSION",
        /// No tag but those that a filter names.
        ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION",
    }
);

keywords!(
    /// What a tag count is counted over.
    LifecycleScope {
        /// Each component on its own, by `image-sweep`, protecting what is in use.
        Component = "component",
        /// The whole repository, by ECR's own rules, which ask nobody.
        Repository = "repository",
    }
);

keywords!(
    /// What is done about a tag that breaks the rules.
    TagEnforcement {
        /// An alert.
        Report = "report",
        /// The bad tag is taken away; the image stays under a quarantine tag.
        Quarantine = "quarantine",
        /// An image without any conforming tag is archived.
        Archive = "archive",
    }
);

keywords!(
    /// What is done with an image that no rule keeps.
    CleanupEnforcement {
        /// It is named in a report.
        Report = "report",
        /// It is archived, and can be restored for 90 days.
        Archive = "archive",
        /// It is deleted.
        Delete = "delete",
    }
);

keywords!(
    /// What tells that an image is running.
    InUse {
        /// ECR's record of the last pull.
        PullTime = "pull-time",
        /// Amazon Inspector's, of containers on EKS and ECS.
        Inspector = "inspector",
    }
);

keywords!(
    /// The severity of a finding, as ECR and Inspector name it.
    Severity {
        /// The highest.
        Critical = "CRITICAL",
        /// High.
        High = "HIGH",
        /// Medium.
        Medium = "MEDIUM",
        /// Low.
        Low = "LOW",
        /// The lowest.
        Informational = "INFORMATIONAL",
    }
);

impl Policy {
    /// Reads a normalised policy. Everything wrong with it is named at once.
    pub fn parse(line: &str) -> Result<Self, Invalid> {
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let message = format!("expected one line of JSON: {error}");
            Invalid(vec![Problem { property: "policy".to_owned(), message }])
        })?;
        Self::of(&value)
    }

    fn of(value: &Value) -> Result<Self, Invalid> {
        let mut reader = Reader::new(value);
        let policy = Self::read(&mut reader);
        match (policy, reader.finish()) {
            (Some(policy), problems) if problems.is_empty() => Ok(policy),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// Reads the list of normalised policies that a function has in its environment. The
    /// error names the place in the list, and everything wrong there.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, Invalid> {
        let invalid =
            |property: String, message: String| Invalid(vec![Problem { property, message }]);
        let values: Vec<Value> = serde_json::from_str(list).map_err(|error| {
            invalid("list".to_owned(), format!("expected a JSON list: {error}"))
        })?;
        let mut policies: Vec<Self> = Vec::new();
        for (nth, value) in values.iter().enumerate() {
            let policy = Self::of(value).map_err(|Invalid(problems)| {
                let within = |problem: Problem| Problem {
                    property: format!("[{nth}].{}", problem.property),
                    ..problem
                };
                Invalid(problems.into_iter().map(within).collect())
            })?;
            let name = &policy.repository_name;
            if policies.iter().any(|other| other.repository_name == *name) {
                let message = format!("there are two policies for {name}");
                return Err(invalid(format!("[{nth}].RepositoryName"), message));
            }
            policies.push(policy);
        }
        Ok(policies)
    }

    /// Reads the policy's own properties among those of `reader`. `None`, or a policy that
    /// is not to be used, where `reader` holds problems afterwards.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let repository_name = reader.required("RepositoryName");
        let image_tag_mutability =
            reader.optional("ImageTagMutability").unwrap_or(TagMutability::Mutable);
        let lifecycle_tag_count = reader.number("LifecycleTagCount", 1..=MOST_IMAGES, None);
        let lifecycle_untagged_days = reader.number("LifecycleUntaggedDays", 1..=MOST_DAYS, None);
        let lifecycle_tag_prefixes = prefixes(reader);
        let lifecycle_scope =
            reader.optional("LifecycleScope").unwrap_or(LifecycleScope::Component);
        let governance = reader.object("Governance", |reader| {
            let tags = reader.object("Tags", |reader| tags(reader, image_tag_mutability));
            let retention =
                reader.object("Retention", |reader| retention(reader, lifecycle_tag_count));
            let scan = reader.object("Scan", |reader| Scan {
                threshold: reader.optional("Threshold").unwrap_or(Severity::High),
            });
            Some(Governance { tags: tags?, retention: retention?, scan })
        });

        let policy = Self {
            repository_name: repository_name?,
            image_tag_mutability,
            lifecycle_tag_count,
            lifecycle_untagged_days,
            lifecycle_tag_prefixes,
            lifecycle_scope,
            governance: governance?,
        };
        let bytes = policy.normalised().len();
        if bytes > MOST_BYTES {
            let message =
                format!("the policy takes {bytes} bytes once normalised; at most {MOST_BYTES} fit");
            reader.problem("Governance", message);
        }
        Some(policy)
    }

    /// The policy as one line of JSON, with every default written out, that
    /// [`Policy::parse`] reads back to the same value.
    #[must_use]
    pub fn normalised(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a policy serialises")
    }
}

fn prefixes(reader: &mut Reader<'_>) -> Vec<TagPrefix> {
    const NAME: &str = "LifecycleTagPrefixes";
    let mut unique: Vec<TagPrefix> = Vec::new();
    for prefix in reader.words(NAME) {
        if unique.contains(&prefix) {
            reader.problem(NAME, format!("{prefix} is listed twice"));
        } else {
            unique.push(prefix);
        }
    }
    if unique.len() > MOST_PREFIXES {
        reader.problem(NAME, format!("expected at most {MOST_PREFIXES}, got {}", unique.len()));
    }
    unique
}

fn tags(reader: &mut Reader<'_>, mutability: TagMutability) -> Option<Tags> {
    let templates: Vec<Template> =
        reader.required_words("Grammar", "template, such as {component}-v{semver}");
    let grammar = Grammar::new(templates);
    let enforcement = reader.required("Enforcement");
    // A mutable tag could move between the look and the act: ECR has no compare-and-delete.
    if enforcement == Some(TagEnforcement::Quarantine) && mutability != TagMutability::Immutable {
        let message = format!(
            "quarantine needs ImageTagMutability IMMUTABLE, not {mutability}: \
             a tag could move while it is being taken away; use report or archive"
        );
        reader.problem("Enforcement", message);
    }
    let components = reader.words("Components");
    let forbidden = reader.words("Forbidden");
    let quarantine_days = reader.number("QuarantineDays", 1..=MOST_DAYS, Some(14));
    Some(Tags {
        grammar: grammar?,
        components,
        forbidden,
        enforcement: enforcement?,
        quarantine_days,
    })
}

fn retention(reader: &mut Reader<'_>, tag_count: u32) -> Option<Retention> {
    let keep_per_component = reader.number("KeepPerComponent", 1..=MOST_IMAGES, Some(tag_count));
    let protect_tags = reader.words("ProtectTags");
    let protect_pulled_within_days =
        reader.number("ProtectPulledWithinDays", 1..=MOST_DAYS, Some(30));
    // Never zero: a fresh image that was never pulled would have nothing to protect it.
    let minimum_age_days = reader.number("MinimumAgeDays", 1..=MOST_DAYS, Some(7));
    let in_use = reader.optional("InUse").unwrap_or(InUse::PullTime);
    let max_remove_percent = reader.number("MaxRemovePercent", 1..=100, Some(25));
    let enforcement = reader.required("Enforcement");
    Some(Retention {
        keep_per_component,
        protect_tags,
        protect_pulled_within_days,
        minimum_age_days,
        in_use,
        max_remove_percent,
        enforcement: enforcement?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
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

    /// The policy of `properties` with some of them set (or, with null, removed), a dotted
    /// name reaching inside.
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
        expect![[r#"{"RepositoryName":"infrastructure","ImageTagMutability":"IMMUTABLE","LifecycleTagCount":20,"LifecycleUntaggedDays":7,"LifecycleTagPrefixes":["v","prod","staging","dev"],"LifecycleScope":"component","Governance":{"Tags":{"Grammar":"{component}-v{semver}","Components":[],"Forbidden":[],"Enforcement":"quarantine","QuarantineDays":14},"Retention":{"KeepPerComponent":20,"ProtectTags":[],"ProtectPulledWithinDays":30,"MinimumAgeDays":7,"InUse":"pull-time","MaxRemovePercent":25,"Enforcement":"archive"},"Scan":{"Threshold":"HIGH"}}}"#]].assert_eq(&policy(GUIDE, &[]).normalised());
    }

    #[test]
    fn every_mistake_is_named_at_once_with_the_nearest_known_property() {
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
                LifecycleUntaggedDays: missing, and required
                Governance.Tags.Grammar: unknown placeholder {semvr}; the nearest known one is {semver}, got "{component}-v{semvr}"
                Governance.Tags.Enforcement: expected report or quarantine or archive, got "quarantaine"
                Governance.Tags.Forbiden: unknown property; the nearest known one is Forbidden
                Governance.Retention.MinimumAgeDays: expected a whole number from 1 to 3650, got "0"
                Governance.Retention.MaxRemovePercent: expected a whole number from 1 to 100, got "101"
                Governance.Scan.Threshold: expected CRITICAL or HIGH or MEDIUM or LOW or INFORMATIONAL, got "high"
                LifecycleScop: unknown property; the nearest known one is LifecycleScope
            "#]],
        );
    }

    #[test]
    fn a_name_that_could_not_be_seen_and_a_value_that_is_too_long_are_shown_as_they_are() {
        check_problems(
            &[
                ("LifecycleTagCount", "9".repeat(1_000).into()),
                ("Governance.Scan", json!({"": "x", "\n": "x", "Threshold ": "HIGH"})),
            ],
            &expect![[r#"
                LifecycleTagCount: expected a whole number from 1 to 100000, got "99999999999999999999999999999999999999999999999999999999999999999999999999999999…"
                Governance.Scan."": unknown property; the nearest known one is Threshold
                Governance.Scan."\n": unknown property; the nearest known one is Threshold
                Governance.Scan."Threshold ": unknown property; the nearest known one is Threshold
            "#]],
        );
    }

    #[test]
    fn a_keep_count_that_is_missing_empty_zero_or_no_number_is_refused() {
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
    fn a_missing_governance_names_what_the_template_has_to_state() {
        check_problems(
            &[("Governance", Value::Null)],
            &expect![[r#"
            Governance.Tags.Grammar: expected at least one template, such as {component}-v{semver}
            Governance.Tags.Enforcement: missing, and required
            Governance.Retention.Enforcement: missing, and required
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
    fn quarantine_is_refused_where_any_tag_can_move() {
        for mutability in ["MUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"] {
            let properties =
                changed(GUIDE, &[("ImageTagMutability", mutability.into())]).to_string();
            let message = Policy::parse(&properties).unwrap_err().to_string();
            assert!(message.contains("Governance.Tags.Enforcement: quarantine needs"), "{message}");
        }
    }

    #[test]
    fn a_policy_that_would_not_fit_is_refused_with_its_size() {
        let many: Vec<String> = (0..200).map(|n| format!("component-{n}")).collect();
        check_problems(
            &[("Governance.Tags.Components", json!(many))],
            &expect![[r#"
                Governance: the policy takes 3618 bytes once normalised; at most 1500 fit
            "#]],
        );
    }

    #[test]
    fn what_is_no_policy_at_all_is_a_sentence() {
        expect!["policy: expected one line of JSON: EOF while parsing a value at line 1 column 0"]
            .assert_eq(&Policy::parse("").unwrap_err().to_string());
        expect!["ResourceProperties: missing; expected an object"]
            .assert_eq(&Policy::parse("[]").unwrap_err().to_string());
    }

    #[test]
    fn a_policy_is_as_large_as_it_may_be_and_no_larger() {
        let rest = MOST_BYTES - policy(GUIDE, &[]).normalised().len();
        let words = |more: usize| {
            let mut words = vec!["x".repeat(120); 7];
            // Quotes and commas take three bytes of each, but for the first comma.
            words.push("x".repeat(rest + more - 7 * 123 - 2));
            ("Governance.Retention.ProtectTags", json!(words))
        };
        assert_eq!(policy(GUIDE, &[words(0)]).normalised().len(), MOST_BYTES);
        check_problems(
            &[words(1)],
            &expect![[r#"
            Governance: the policy takes 1501 bytes once normalised; at most 1500 fit
        "#]],
        );
    }

    #[test]
    fn there_are_as_many_prefixes_as_ecr_takes_rules_for() {
        let prefixes = |count: usize| {
            let prefixes: Vec<String> = (0..count).map(|nth| format!("p{nth}")).collect();
            ("LifecycleTagPrefixes", json!(prefixes))
        };
        assert_eq!(policy(GUIDE, &[prefixes(48)]).lifecycle_tag_prefixes.len(), 48);
        check_problems(
            &[prefixes(49)],
            &expect![[r#"
            LifecycleTagPrefixes: expected at most 48, got 49
        "#]],
        );
    }

    #[test]
    fn a_list_names_the_place_of_a_mistake_and_no_repository_twice() {
        let list = |policies: &[Value]| Policy::parse_list(&json!(policies).to_string());
        let guide = changed(GUIDE, &[]);
        let other = changed(GUIDE, &[("RepositoryName", "deployments".into())]);
        let names = |policies: Vec<Policy>| -> Vec<String> {
            policies.iter().map(|policy| policy.repository_name.to_string()).collect()
        };
        assert_eq!(list(&[]).unwrap(), []);
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
        .assert_eq(&Policy::parse_list("{}").unwrap_err().to_string());
    }

    #[test]
    fn a_line_of_an_older_function_takes_the_defaults_of_this_one() {
        let line = r#"{"RepositoryName":"ab","LifecycleTagCount":1,"LifecycleUntaggedDays":1,"Governance":{"Tags":{"Grammar":"v{semver}","Enforcement":"report"},"Retention":{"Enforcement":"report"}}}"#;
        let policy = Policy::parse(line).unwrap();
        assert_eq!(policy.governance.retention.protect_pulled_within_days, 30);
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
}
