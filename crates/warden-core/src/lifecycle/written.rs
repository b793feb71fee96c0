//! Whether ECR Warden wrote a lifecycle policy.

use serde_json::{Value, json};

use super::{ARCHIVED_DAYS, have_same_rules};

/// Whether each rule of the lifecycle policy is one that [`super::document`] writes for some policy. A
/// rule that somebody else wrote or changed makes it false.
#[must_use]
pub fn is_written_by_warden(text: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return false };
    let Some(rules) = document.get("rules").and_then(Value::as_array) else { return false };
    let rewritten: Option<Vec<Value>> = rules.iter().map(rewritten).collect();
    let rewritten = rewritten.filter(|rules| !rules.is_empty());
    rewritten.is_some_and(|rules| have_same_rules(text, &json!({"rules": rules}).to_string()))
}

/// The rule that ECR Warden writes with this description and with the numbers of this rule.
fn rewritten(rule: &Value) -> Option<Value> {
    let description = rule.get("description")?.as_str()?;
    let selection = rule.get("selection")?;
    let number = selection.get("countNumber")?.as_u64()?;
    let prefix = selection.get("tagPrefixList").and_then(|prefixes| prefixes.get(0)?.as_str());
    let expire = json!({"type": "expire"});
    let (expected, selection, action) = if number == u64::from(ARCHIVED_DAYS)
        && description.ends_with("after they were archived")
    {
        (
            format!("Expire images {number} days after they were archived"),
            json!({
                "tagStatus": "any", "storageClass": "archive",
                "countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": number,
            }),
            expire,
        )
    } else if description.starts_with("Archive") {
        (
            format!("Archive untagged images {number} days after their last pull"),
            json!({
                "tagStatus": "untagged", "countType": "sinceImagePulled", "countUnit": "days",
                "countNumber": number,
            }),
            json!({"type": "transition", "targetStorageClass": "archive"}),
        )
    } else if description.starts_with("Expire") {
        (
            format!("Expire untagged images {number} days after their push"),
            json!({
                "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days",
                "countNumber": number,
            }),
            expire,
        )
    } else if let Some(prefix) = prefix {
        (
            format!("Keep the last {number} images tagged {prefix}*"),
            json!({
                "tagStatus": "tagged", "tagPrefixList": [prefix],
                "countType": "imageCountMoreThan", "countNumber": number,
            }),
            expire,
        )
    } else {
        (
            format!("Keep the last {number} tagged images"),
            json!({
                "tagStatus": "tagged", "tagPatternList": ["*"],
                "countType": "imageCountMoreThan", "countNumber": number,
            }),
            expire,
        )
    };
    (description == expected).then(|| {
        json!({
            "rulePriority": rule.get("rulePriority"), "description": expected,
            "selection": selection, "action": action,
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::document;
    use crate::policy::tests::{GUIDE, policy};

    #[test]
    fn every_lifecycle_policy_of_ecr_warden_is_recognized() {
        for scope in ["component", "repository"] {
            for untagged in ["delete", "report"] {
                for prefixes in [json!([]), json!(["v", "vllm", "prod"])] {
                    let changes = [
                        ("LifecycleScope", scope.into()),
                        ("Retention.Untagged", untagged.into()),
                        ("LifecycleTagPrefixes", prefixes),
                    ];
                    let document = document(&policy(GUIDE, &changes));
                    assert!(is_written_by_warden(&document), "{document}");
                    // ECR adds the default storage class.
                    let by_ecr = document.replace(
                        r#""tagStatus":"untagged""#,
                        r#""storageClass": "standard", "tagStatus": "untagged""#,
                    );
                    assert!(is_written_by_warden(&by_ecr), "{by_ecr}");
                }
            }
        }
    }

    #[test]
    fn a_lifecycle_policy_with_a_rule_of_somebody_else_is_not_recognized() {
        let ours = document(&policy(GUIDE, &[("LifecycleScope", "repository".into())]));
        for (from, to) in [
            (r#""countNumber":20"#, r#""countNumber":5"#),
            ("Keep the last", "The team keeps the last"),
            (r#""tagPrefixList":["v"]"#, r#""tagPrefixList":["v","w"]"#),
            (r#""type":"expire""#, r#""type":"transition""#),
            (r#""countNumber":90"#, r#""countNumber":91"#),
        ] {
            let changed = ours.replacen(from, to, 1);
            assert_ne!(changed, ours, "{from}");
            assert!(!is_written_by_warden(&changed), "{changed}");
        }
        for text in ["", "{}", r#"{"rules": []}"#, r#"{"rules": [{}]}"#] {
            assert!(!is_written_by_warden(text), "{text}");
        }
    }
}
