//! Tests native lifecycle rules that somebody else wrote.

use std::time::Duration;

use expect_test::expect;
use local_aws::world::masked;
use serde_json::{Value, json};

use crate::{DEPLOYMENTS, Function, changes, count, digests, sorted};

impl Function {
    /// Somebody puts a lifecycle policy of one rule on the repository.
    pub fn put_rule(&self, selection: &Value, action: &Value) {
        let rule = json!({
            "rulePriority": 3,
            "description": "a rule of somebody else",
            "selection": selection,
            "action": action,
        });
        let text = json!({"rules": [rule]}).to_string();
        let put = json!({"repositoryName": DEPLOYMENTS, "lifecyclePolicyText": text});
        self.aws.by_hand("PutLifecyclePolicy", &put).unwrap();
    }

    /// The texts of the audit about native rules.
    fn deviations(&self) -> Vec<String> {
        let alerts = self.alerts();
        let audits = alerts.iter().filter(|alert| alert["kind"] == "self-audit");
        let deviations =
            audits.flat_map(|alert| alert["details"]["deviations"].as_array().unwrap());
        let of_rules = deviations.filter(|deviation| deviation["rule"] == "native-rule");
        of_rules.map(|deviation| masked(deviation["text"].as_str().unwrap())).collect()
    }
}

fn untagged_after_a_week() -> Value {
    json!({
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": 7,
    })
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_which_a_native_rule_would_expire_an_image_is_not_archived() {
    for refuses in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().refuses_children_of_active_indexes = refuses;
        let unit = function.index("a-v0.1.0", 200.0);
        let versions = function.versions("a", 3);
        function.put_rule(&untagged_after_a_week(), &json!({"type": "expire"}));
        let answer = function.sweep().await;
        // The native rule cannot expire an archived image that has no other images.
        assert_eq!(digests(&answer["removals"]), [versions[0].clone()]);
        let alerts = function.deviations();
        expect![[r#"1 image is not archived, because the lifecycle rule 3 of the repository, "a rule of somebody else", could expire the image or an image of its unit too early: a-v0.1.0"#]].assert_eq(&alerts.join("\n"));
        // ECR carries out the rule each day, and no image is lost.
        for _ in 0..10 {
            function.aws.advance(Duration::from_secs(86_400));
            function.sweep().await;
        }
        let left = [&unit[..], &versions[1..]].concat();
        assert_eq!(function.active(), sorted(left));
        // Without the rule, the unit is archived.
        let name = json!({"repositoryName": DEPLOYMENTS});
        function.aws.by_hand("DeleteLifecyclePolicy", &name).unwrap();
        assert_eq!(digests(&function.sweep().await["removals"]), sorted(unit.to_vec()));
    }
}

#[tokio::test]
async fn native_rules_are_read_for_archiving_and_not_for_deletion() {
    let function = Function::new("delete").await;
    function.index("a-v0.1.0", 200.0);
    function.versions("a", 3);
    function.put_rule(&untagged_after_a_week(), &json!({"type": "expire"}));
    function.calls();
    assert_eq!(function.read().await["planned"], 5);
    assert_eq!(count(&function.calls(), "GetLifecyclePolicy"), 0);
    assert_eq!(function.sweep().await["removed"], 5);

    let function = Function::new("archive").await;
    let [index, ..] = function.index("a-v0.1.0", 200.0);
    function.versions("a", 3);
    function.put_rule(&untagged_after_a_week(), &json!({"type": "expire"}));
    assert_eq!(function.read().await["planned"], 1);
    let ask = json!({"repository": DEPLOYMENTS, "image": index});
    let explained = function.ask(&ask, "why").await.unwrap();
    assert_eq!(explained["decision"], "keep");
    assert!(explained["reason"].as_str().unwrap().contains("lifecycle rule 3"), "{explained}");
}

#[tokio::test]
async fn native_rules_that_cannot_be_read_archive_nothing() {
    let function = Function::new("archive").await;
    function.versions("a", 3);
    let denied = local_aws::Fault::Error(400, "AccessDeniedException");
    function.aws.fault("GetLifecyclePolicy", 0, denied);
    function.calls();
    let error = function.ask(&json!({"repository": DEPLOYMENTS}), "request").await.unwrap_err();
    assert!(format!("{error:#}").contains("lifecycle policy of deployments"), "{error:#}");
    assert_eq!(changes(&function.calls()), [""; 0]);

    // A lifecycle policy with a field that this code does not know.
    function.aws.heal();
    let text = json!({"rules": [{"rulePriority": 1, "signed": true}]}).to_string();
    function.aws.state().ecr().repository(DEPLOYMENTS).unwrap().lifecycle = Some(text);
    assert_eq!(function.sweep().await["planned"], 0);
    let deviations = function.deviations();
    assert_eq!(deviations.len(), 1);
    assert!(deviations[0].contains("cannot be read"), "{deviations:?}");
}
