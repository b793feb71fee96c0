//! The lifecycle policy document: the part of the policy that ECR carries out.
//!
//! A native rule also expires images that are in use, so the document has as few rules as possible.
//! `image-sweep` carries out all other rules. The syntax is that of
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>.

pub mod native;
mod written;

use serde::Serialize;
use serde_json::Value;

use crate::image::TagPrefix;
use crate::policy::{CleanupEnforcement, InUse, LifecycleScope, Policy, ProvisionedRepository};

pub use self::written::is_written_by_warden;

/// The number of days for which an archived image can be restored. ECR bills at least 90 days, and
/// accepts no smaller number.
pub const ARCHIVED_DAYS: u32 = 90;

/// The days that the sweep has to remove an untagged image before ECR archives it.
const BACKSTOP_DAYS: u32 = 90;

#[derive(Serialize)]
struct Document<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    #[serde(rename = "rulePriority")]
    priority: u32,
    description: String,
    selection: Selection<'a>,
    action: Action,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection<'a> {
    #[serde(flatten)]
    images: Images<'a>,
    #[serde(flatten)]
    count: Count,
}

#[derive(Serialize)]
#[serde(tag = "tagStatus", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Images<'a> {
    Untagged,
    #[serde(rename = "tagged")]
    Prefixed {
        // A list selects the images that have a tag for each of its prefixes, so each prefix has a
        // rule of its own. See case P12 in docs/contributing/prior-art.md.
        tag_prefix_list: [&'a TagPrefix; 1],
    },
    Tagged {
        tag_pattern_list: [&'static str; 1],
    },
    #[serde(rename = "any")]
    Archived {
        storage_class: &'static str,
    },
}

#[derive(Serialize)]
#[serde(tag = "countType", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Count {
    ImageCountMoreThan { count_number: u32 },
    SinceImagePushed { count_unit: &'static str, count_number: u32 },
    SinceImagePulled { count_unit: &'static str, count_number: u32 },
    SinceImageTransitioned { count_unit: &'static str, count_number: u32 },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Action {
    Expire,
    Transition { target_storage_class: &'static str },
}

/// The backstop behind the sweep: ECR archives untagged images that no sweep removed for 90 days.
///
/// By the documentation of lifecycle policies, `sinceImagePulled` counts from the last pull, from
/// the restore of an image that was not pulled since, and from the push of an image that was never
/// pulled (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>).
/// If ECR counted from an earlier time, the rule would archive an image too early. It would not delete
/// the image: an archived image can be restored for 90 days.
///
/// ECR does not know which images run. Therefore there is no backstop if the policy uses another source
/// of running images than pulls. A policy that only reports untagged images has no backstop either.
fn backstop_days(policy: &Policy) -> Option<u32> {
    let retention = policy.retention.as_ref()?;
    let removes = policy.untagged_mode().is_some_and(|mode| mode != CleanupEnforcement::Report);
    let kept = retention.untagged_days.max(retention.protect_pulled_within_days);
    (removes && policy.in_use == InUse::PullTime).then_some(BACKSTOP_DAYS + kept)
}

/// Composes the lifecycle policy document of `policy`. The same policy gives the same bytes.
#[must_use]
pub fn document(policy: &Policy) -> String {
    compose(match policy.lifecycle_scope {
        LifecycleScope::Component => backstop_days(policy).map(backstop).into_iter().collect(),
        LifecycleScope::Repository => {
            policy.retention.as_ref().map_or_else(Vec::new, |retention| {
                repository_rules(
                    retention.untagged_days,
                    retention.keep,
                    &policy.lifecycle_tag_prefixes,
                )
            })
        }
    })
}

/// Composes the lifecycle policy document of a repository that the stack provisions. Without a rule
/// for the cleanup, ECR expires archived images only.
#[must_use]
pub fn document_of_provisioned(settings: &ProvisionedRepository, rule: Option<&Policy>) -> String {
    compose(match settings.lifecycle_scope {
        LifecycleScope::Component => {
            rule.and_then(backstop_days).map(backstop).into_iter().collect()
        }
        LifecycleScope::Repository if rule.is_some_and(|rule| rule.retention.is_some()) => {
            repository_rules(
                settings.lifecycle_untagged_days,
                settings.lifecycle_tag_count,
                &settings.lifecycle_tag_prefixes,
            )
        }
        LifecycleScope::Repository => Vec::new(),
    })
}

fn compose(mut rules: Vec<UnorderedRule<'_>>) -> String {
    // ECR requires that a rule with `any` is the last one.
    rules.push((
        format!("Expire images {ARCHIVED_DAYS} days after they were archived"),
        Images::Archived { storage_class: "archive" },
        Count::SinceImageTransitioned { count_unit: "days", count_number: ARCHIVED_DAYS },
        Action::Expire,
    ));

    let rules = (1..)
        .zip(rules)
        .map(|(priority, (description, images, count, action))| Rule {
            priority,
            description,
            selection: Selection { images, count },
            action,
        })
        .collect();
    #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
    serde_json::to_string(&Document { rules }).expect("a lifecycle policy serialises")
}

/// A rule without its priority.
type UnorderedRule<'a> = (String, Images<'a>, Count, Action);

fn backstop<'a>(days: u32) -> UnorderedRule<'a> {
    (
        format!("Archive untagged images {days} days after their last pull"),
        Images::Untagged,
        Count::SinceImagePulled { count_unit: "days", count_number: days },
        Action::Transition { target_storage_class: "archive" },
    )
}

/// The rules of [`LifecycleScope::Repository`] for images that are not archived.
fn repository_rules(untagged: u32, kept: u32, prefixes: &[TagPrefix]) -> Vec<UnorderedRule<'_>> {
    let mut rules = vec![(
        format!("Expire untagged images {untagged} days after their push"),
        Images::Untagged,
        Count::SinceImagePushed { count_unit: "days", count_number: untagged },
        Action::Expire,
    )];
    let count = || Count::ImageCountMoreThan { count_number: kept };
    // The first rule that matches a tag of an image decides about the image, so `vllm` must come
    // before `v`.
    let mut prefixes: Vec<&TagPrefix> = prefixes.iter().collect();
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.as_str().len()));
    if prefixes.is_empty() {
        rules.push((
            format!("Keep the last {kept} tagged images"),
            Images::Tagged { tag_pattern_list: ["*"] },
            count(),
            Action::Expire,
        ));
    }
    rules.extend(prefixes.into_iter().map(|prefix| {
        (
            format!("Keep the last {kept} images tagged {prefix}*"),
            Images::Prefixed { tag_prefix_list: [prefix] },
            count(),
            Action::Expire,
        )
    }));
    rules
}

/// Whether two lifecycle policies have the same rules. ECR returns a policy with other white space and
/// order of keys, and may add the default storage class. False if a policy cannot be parsed.
#[must_use]
pub fn have_same_rules(one: &str, other: &str) -> bool {
    let parsed = |text: &str| {
        let mut document: Value = serde_json::from_str(text).ok()?;
        for rule in document.get_mut("rules")?.as_array_mut()? {
            let selection = rule.get_mut("selection")?.as_object_mut()?;
            if selection.get("storageClass").is_some_and(|class| class == "standard") {
                selection.remove("storageClass");
            }
        }
        Some(document)
    };
    parsed(one).is_some_and(|one| Some(one) == parsed(other))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::Value;

    use crate::policy::tests::{GUIDE, policy};

    fn check(changes: &[(&str, Value)], expected: &Expect) {
        let document = super::document(&policy(GUIDE, changes));
        let value: Value = serde_json::from_str(&document).unwrap();
        let mut lines = String::new();
        for rule in value["rules"].as_array().unwrap() {
            let (priority, action) = (&rule["rulePriority"], &rule["action"]["type"]);
            lines +=
                &format!("{priority} {} {action}\n  {}\n", rule["selection"], rule["description"]);
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn scope_component_expires_archived_images_only_and_archives_what_no_sweep_removed() {
        let with = |untagged: &str| ("Retention.Untagged", Value::from(untagged));
        let archived = expect![[r#"
            1 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
              "Expire images 90 days after they were archived"
        "#]];
        check(&[], &archived);
        check(&[with("delete"), ("Retention.Enforcement", "report".into())], &archived);
        // ECR does not know which images run.
        check(&[with("delete"), ("InUse", "inspector".into())], &archived);
        check(
            &[with("delete")],
            &expect![[r#"
            1 {"countNumber":120,"countType":"sinceImagePulled","countUnit":"days","tagStatus":"untagged"} "transition"
              "Archive untagged images 120 days after their last pull"
            2 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
              "Expire images 90 days after they were archived"
        "#]],
        );
        check(
            &[with("archive"), ("Retention.UntaggedDays", 60.into())],
            &expect![[r#"
                1 {"countNumber":150,"countType":"sinceImagePulled","countUnit":"days","tagStatus":"untagged"} "transition"
                  "Archive untagged images 150 days after their last pull"
                2 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
                  "Expire images 90 days after they were archived"
            "#]],
        );
    }

    #[test]
    fn scope_repository_has_a_rule_for_each_prefix_with_the_longest_first() {
        check(
            &[
                ("LifecycleScope", "repository".into()),
                ("LifecycleTagPrefixes", "v prod vllm".into()),
            ],
            &expect![[r#"
                1 {"countNumber":7,"countType":"sinceImagePushed","countUnit":"days","tagStatus":"untagged"} "expire"
                  "Expire untagged images 7 days after their push"
                2 {"countNumber":20,"countType":"imageCountMoreThan","tagPrefixList":["prod"],"tagStatus":"tagged"} "expire"
                  "Keep the last 20 images tagged prod*"
                3 {"countNumber":20,"countType":"imageCountMoreThan","tagPrefixList":["vllm"],"tagStatus":"tagged"} "expire"
                  "Keep the last 20 images tagged vllm*"
                4 {"countNumber":20,"countType":"imageCountMoreThan","tagPrefixList":["v"],"tagStatus":"tagged"} "expire"
                  "Keep the last 20 images tagged v*"
                5 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
                  "Expire images 90 days after they were archived"
            "#]],
        );
    }

    #[test]
    fn scope_repository_without_prefixes_counts_every_tagged_image() {
        check(
            &[
                ("LifecycleScope", "repository".into()),
                ("LifecycleTagPrefixes", Value::Array(Vec::new())),
                ("Retention.Keep", "10".into()),
            ],
            &expect![[r#"
                1 {"countNumber":7,"countType":"sinceImagePushed","countUnit":"days","tagStatus":"untagged"} "expire"
                  "Expire untagged images 7 days after their push"
                2 {"countNumber":10,"countType":"imageCountMoreThan","tagPatternList":["*"],"tagStatus":"tagged"} "expire"
                  "Keep the last 10 tagged images"
                3 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
                  "Expire images 90 days after they were archived"
            "#]],
        );
    }

    #[test]
    fn without_rules_for_the_cleanup_ecr_expires_archived_images_only() {
        for scope in ["component", "repository"] {
            check(
                &[("LifecycleScope", scope.into()), ("Retention", Value::Null)],
                &expect![[r#"
                    1 {"countNumber":90,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} "expire"
                      "Expire images 90 days after they were archived"
                "#]],
            );
        }
    }

    #[test]
    fn the_document_is_the_same_bytes_every_time() {
        expect![[r#"{"rules":[{"rulePriority":1,"description":"Archive untagged images 120 days after their last pull","selection":{"tagStatus":"untagged","countType":"sinceImagePulled","countUnit":"days","countNumber":120},"action":{"type":"transition","targetStorageClass":"archive"}},{"rulePriority":2,"description":"Expire images 90 days after they were archived","selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}"#]].assert_eq(&super::document(&policy(GUIDE, &[("Retention.Untagged", "delete".into())])));
    }

    #[test]
    fn documents_with_the_same_rules_are_equal_in_any_spelling() {
        let rule = |selection: &str| {
            format!(
                r#"{{"rules": [{{"rulePriority": 1, "selection": {selection}, "action": {{"type": "expire"}}}}]}}"#
            )
        };
        let one = rule(r#"{"tagStatus": "any", "countNumber": 1}"#);
        for (other, expected) in [
            (rule(r#"{ "countNumber" : 1, "tagStatus":"any" }"#), true),
            (rule(r#"{"tagStatus": "any", "countNumber": 1, "storageClass": "standard"}"#), true),
            (rule(r#"{"tagStatus": "any", "countNumber": 1, "storageClass": "archive"}"#), false),
            (rule(r#"{"tagStatus": "any", "countNumber": 2}"#), false),
            (r#"{"rules": []}"#.to_owned(), false),
            ("{}".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(super::have_same_rules(&one, &other), expected, "{other}");
            assert_eq!(super::have_same_rules(&other, &one), expected, "{other}");
        }
        // A document that cannot be parsed equals no document, not even itself.
        assert!(!super::have_same_rules("", "") && !super::have_same_rules("{}", "{}"));
    }
}
