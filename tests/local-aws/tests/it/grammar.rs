//! The grammar of lifecycle policies.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>

use serde_json::{Value, json};

use crate::{aws, ok, refused, with};

/// A rule that expires what is selected by more than the defaults.
pub fn rule(priority: u64, selection: Value) -> Value {
    let default = json!({"countType": "imageCountMoreThan", "countNumber": 1});
    json!({
        "rulePriority": priority,
        "description": "A rule of a test, long enough for the least length of a policy",
        "selection": with(default, selection),
        "action": {"type": "expire"},
    })
}

/// A rule that moves what is selected to the archive.
pub fn archiving(priority: u64, selection: Value) -> Value {
    let action = json!({"type": "transition", "targetStorageClass": "archive"});
    with(rule(priority, selection), json!({"action": action}))
}

/// The selection of what is so many days old, by a count type.
pub fn days(count_type: &str, number: u64) -> Value {
    json!({"countType": count_type, "countUnit": "days", "countNumber": number})
}

fn untagged() -> Value {
    json!({"tagStatus": "untagged"})
}

fn any() -> Value {
    json!({"tagStatus": "any"})
}

fn tagged(list: &str, entries: &[&str]) -> Value {
    json!({"tagStatus": "tagged", list: entries})
}

fn archived(number: u64) -> Value {
    with(days("sinceImageTransitioned", number), json!({"storageClass": "archive"}))
}

/// The rules with one member of the first one's selection set, or taken out by null.
fn but(rule: Value, member: &str, value: Value) -> Value {
    let mut rule = rule;
    if value.is_null() {
        rule["selection"].as_object_mut().unwrap().remove(member);
    } else {
        rule["selection"][member] = value;
    }
    json!([rule])
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
#[test]
fn policies_of_the_documented_form_are_taken() {
    let aws = aws();
    let fifty: Vec<Value> =
        (1..=50).map(|n| rule(n, tagged("tagPrefixList", &[&format!("p{n}")]))).collect();
    for rules in [
        json!([rule(1, untagged())]),
        json!([rule(1, any())]),
        json!([rule(7, tagged("tagPrefixList", &["a", "b"])), rule(3, untagged()), rule(9, any())]),
        json!([rule(1, tagged("tagPatternList", &["*a*b*c*"]))]),
        json!([rule(1, with(any(), days("sinceImagePushed", 14)))]),
        json!([rule(1, with(any(), json!({"storageClass": "standard"})))]),
        json!([archiving(1, with(any(), days("sinceImagePulled", 90)))]),
        json!([archiving(1, with(any(), days("sinceImagePushed", 90)))]),
        json!([archiving(1, any())]),
        json!([rule(1, with(any(), archived(90)))]),
        json!([rule(1, untagged()), rule(2, with(untagged(), archived(90)))]),
        json!([
            archiving(1, with(any(), days("sinceImagePulled", 90))),
            rule(2, with(any(), archived(365)))
        ]),
        fifty.into(),
    ] {
        let policy = json!({"rules": rules}).to_string();
        let input = json!({"repositoryName": "app", "lifecyclePolicyText": policy});
        let put = ok(&aws, "PutLifecyclePolicy", input);
        assert_eq!(put["lifecyclePolicyText"], policy);
        let got = ok(&aws, "GetLifecyclePolicy", json!({"repositoryName": "app"}));
        assert_eq!(got["lifecyclePolicyText"], policy);
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
#[test]
fn policies_of_another_form_are_refused() {
    let aws = aws();
    let prefixed = || rule(1, tagged("tagPrefixList", &["a"]));
    let fifty_one: Vec<Value> =
        (1..=51).map(|n| rule(n, tagged("tagPrefixList", &[&format!("p{n}")]))).collect();
    for rules in [
        json!([]),
        fifty_one.into(),
        // Priorities.
        json!([with(rule(1, any()), json!({"rulePriority": "1"}))]),
        json!([with(rule(1, any()), json!({"rulePriority": null}))]),
        json!([with(rule(1, any()), json!({"rulePriority": 1.5}))]),
        json!([prefixed(), rule(1, untagged())]),
        json!([rule(1, any()), rule(2, untagged())]),
        json!([rule(1, any()), rule(2, untagged()), rule(3, any())]),
        // Members.
        json!([with(rule(1, any()), json!({"description": 1}))]),
        json!([with(rule(1, any()), json!({"name": "x"}))]),
        but(rule(1, any()), "tags", json!("x")),
        but(rule(1, any()), "storageClass", json!("glacier")),
        but(rule(1, any()), "storageClass", json!(1)),
        // Tags.
        but(rule(1, any()), "tagStatus", json!(null)),
        but(rule(1, any()), "tagStatus", json!("ANY")),
        but(rule(1, any()), "tagPrefixList", json!(["a"])),
        but(rule(1, untagged()), "tagPatternList", json!(["a*"])),
        but(prefixed(), "tagPrefixList", json!(null)),
        but(prefixed(), "tagPrefixList", json!([])),
        but(prefixed(), "tagPrefixList", json!("a")),
        but(prefixed(), "tagPrefixList", json!([1])),
        but(prefixed(), "tagPatternList", json!(["a*"])),
        json!([rule(1, tagged("tagPatternList", &["*a*b*c*d*"]))]),
        json!([rule(1, untagged()), rule(2, untagged())]),
        json!([
            prefixed(),
            rule(2, with(tagged("tagPrefixList", &["a"]), days("sinceImagePushed", 1)))
        ]),
        // Counts.
        but(rule(1, any()), "countType", json!(null)),
        but(rule(1, any()), "countType", json!("imageCountLessThan")),
        but(rule(1, any()), "countNumber", json!(null)),
        but(rule(1, any()), "countNumber", json!(0)),
        but(rule(1, any()), "countNumber", json!(-1)),
        but(rule(1, any()), "countNumber", json!("1")),
        but(rule(1, any()), "countUnit", json!("days")),
        but(rule(1, with(any(), days("sinceImagePushed", 1))), "countUnit", json!(null)),
        but(rule(1, with(any(), days("sinceImagePushed", 1))), "countUnit", json!("hours")),
        // The archive.
        json!([rule(1, with(any(), days("sinceImagePulled", 90)))]),
        json!([rule(1, with(any(), archived(89)))]),
        json!([rule(1, with(any(), days("sinceImageTransitioned", 90)))]),
        json!([archiving(1, with(any(), archived(90)))]),
        but(rule(1, any()), "storageClass", json!("archive")),
        // Actions.
        json!([with(rule(1, any()), json!({"action": {"type": "delete"}}))]),
        json!([with(rule(1, any()), json!({"action": {"type": "transition"}}))]),
        json!([with(rule(1, any()), json!({"action": null}))]),
    ] {
        let padding = " ".repeat(100);
        let policy = json!({"rules": rules}).to_string() + &padding;
        let input = json!({"repositoryName": "app", "lifecyclePolicyText": policy});
        for operation in ["PutLifecyclePolicy", "StartLifecyclePolicyPreview"] {
            let code = refused(&aws, operation, input.clone());
            assert_eq!(code, "InvalidParameterException", "{rules}");
        }
    }
}

// Model: LifecyclePolicyText
#[test]
fn the_text_of_a_policy_is_json_of_a_hundred_to_thirty_thousand_characters() {
    let aws = aws();
    let policy = json!({"rules": [rule(1, any())]}).to_string();
    let padded = |length: usize| format!("{policy}{}", " ".repeat(length - policy.len()));
    let put = |text: &str| json!({"repositoryName": "app", "lifecyclePolicyText": text});
    ok(&aws, "PutLifecyclePolicy", put(&padded(30_720)));
    for text in [&padded(30_721), "{\"rules\":[]}", &"{".repeat(100), &"[1, 2, 3] ".repeat(10)] {
        let code = refused(&aws, "PutLifecyclePolicy", put(text));
        assert_eq!(code, "InvalidParameterException", "{text}");
    }
}

// Model: LifecyclePolicyNotFoundException
#[test]
fn a_repository_has_at_most_one_lifecycle_policy() {
    let aws = aws();
    let app = || json!({"repositoryName": "app"});
    let missing = "LifecyclePolicyNotFoundException";
    for operation in ["GetLifecyclePolicy", "DeleteLifecyclePolicy", "StartLifecyclePolicyPreview"]
    {
        assert_eq!(refused(&aws, operation, app()), missing, "{operation}");
    }
    let policy = json!({"rules": [rule(1, any())]}).to_string();
    ok(&aws, "PutLifecyclePolicy", json!({"repositoryName": "app", "lifecyclePolicyText": policy}));
    let deleted = ok(&aws, "DeleteLifecyclePolicy", app());
    assert_eq!(deleted["lifecyclePolicyText"], policy);
    assert_eq!(refused(&aws, "GetLifecyclePolicy", app()), missing);
}
