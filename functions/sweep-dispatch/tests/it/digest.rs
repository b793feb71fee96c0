//! Tests the digests of rules that only report, and the warnings of the policy.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};
use warden_alerts::{ReportedPlan, ReportedViolation};
use warden_aws::ledger::{LastRun, RunEnd};
use warden_core::replication::RemoteRegistry;

use super::Function;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// The policy of two teams with owners and of one rule without an owner. All rules only report.
async fn teams() -> Function {
    let rule = |name: &str, owner: Option<&str>| {
        let mut rule = json!({
            "Name": name,
            "Repositories": [format!("{name}/*")],
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
            "Retention": {"Enforcement": "report"},
        });
        if let Some(owner) = owner {
            rule["Owner"] = owner.into();
        }
        rule
    };
    let rules =
        json!([rule("one", Some("team one")), rule("two", Some("team two")), rule("x", None)]);
    let rules = rules.to_string();
    let function = Function::new(&[("CreateEcrRepositories", "false"), (".Rules", &rules)]).await;
    for name in ["one/a", "one/b", "two/a", "x/a"] {
        function.create(name);
    }
    function.forget();
    function
}

impl Function {
    /// Records a violation of a pushed tag now, as `image-push` does.
    async fn violate(&self, repository: &str, tag: &str) {
        let violation = ReportedViolation {
            tag: tag.parse().unwrap(),
            digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
            reason: "does not match {component}-v{semver}".to_owned(),
        };
        let repository = repository.parse().unwrap();
        self.ledger().record_violation(&repository, &violation, self.now()).await.unwrap();
    }

    /// Records a sweep whose plan would remove this number of images, as `image-sweep` does.
    async fn plan(&self, repository: &str, images: usize) {
        let (repository, ledger, now) = (repository.parse().unwrap(), self.ledger(), self.now());
        let result = LastRun {
            began_at: now,
            examined: Some(60),
            removed: 0,
            left: 0,
            stopped: None,
            waiting: 0,
            reported: Some(ReportedPlan { images, bytes: images as u64 * 1_000_000 }),
            uncovered: None,
        };
        ledger.begin_run(&repository, "sweep", now).await.unwrap();
        let end = RunEnd { result: Some(&result), ..RunEnd::default() };
        ledger.end_run(&repository, "sweep", end).await.unwrap();
    }

    /// The titles of the alerts since the last time, which are on the topic and on the bus.
    fn titles(&self) -> Vec<String> {
        let title = |alert: &Value| alert["title"].as_str().unwrap().to_owned();
        let topic: Vec<String> = self.alerts().iter().map(title).collect();
        let bus: Vec<String> =
            self.bus_events().iter().map(|event| title(&event["detail"])).collect();
        assert_eq!(topic, bus);
        topic
    }

    async fn digest_now(&self, request_id: &str) -> anyhow::Result<Value> {
        self.handle(&json!({"digest": "now"}), request_id).await
    }
}

#[tokio::test]
async fn the_first_round_of_a_week_publishes_one_digest_for_each_owner_and_the_others_none() {
    let function = teams().await;
    // 2027-01-15 is a Friday.
    function.round().await.unwrap();
    function.violate("one/a", "latest").await;
    function.violate("one/a", "1.0.0").await;
    function.plan("one/b", 3).await;
    function.violate("x/a", "latest").await;
    function.round().await.unwrap();
    assert!(function.titles().is_empty());
    function.aws.advance(Duration::from_secs(3 * 86_400));
    function.round().await.unwrap();
    let alerts = function.alerts();
    let [without, one] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!((&without["owner"], &one["owner"]), (&json!(null), &json!("team one")));
    assert_eq!((&one["kind"], &one["severity"]), (&json!("report"), &json!("INFORMATIONAL")));
    assert_eq!(one["details"]["week"], "2027-W02");
    expect![[r#"
        team one: 1 of 2 repositories would lose images, 2 tags violate their rule
        This is the digest of the week 2027-W02. The digest itself changes nothing. By the last sweeps, the cleanup would remove 3 images (3.0 MB). 2 pushed tags violated the rules.

        Why: the enforcement of the tags or of the cleanup is report in the rules of these repositories.

        What to do: correct the tags or the rules, and read the plan of a repository before you enforce its rule.

        Repositories, the most affected first:
        - one/b: the cleanup would remove 3 images (3.0 MB)
        - one/a: 2 tags violate the rule: 1.0.0 (does not match {component}-v{semver}), latest (does not match {component}-v{semver})"#]]
    .assert_eq(&format!("{}\n{}", one["title"].as_str().unwrap(), one["text"].as_str().unwrap()));
    assert_eq!(function.bus_events().len(), 2);
    for _ in 0..6 {
        function.aws.advance(Duration::from_secs(86_400));
        function.violate("one/a", "later").await;
        function.round().await.unwrap();
        assert!(function.titles().is_empty());
    }
    function.aws.advance(Duration::from_secs(86_400));
    function.round().await.unwrap();
    // The plan of the last sweep is reported until a sweep has another plan.
    expect![[r#"
        [
            "team one: 1 of 2 repositories would lose images, 1 tag violates its rule",
        ]
    "#]]
    .assert_debug_eq(&function.titles());
}

#[tokio::test]
async fn a_week_without_anything_to_report_publishes_nothing() {
    let function = teams().await;
    for _ in 0..3 {
        function.aws.advance(WEEK);
        function.round().await.unwrap();
        assert!(function.titles().is_empty());
    }
}

#[tokio::test]
async fn a_violation_is_counted_once_and_further_violations_have_only_a_number() {
    let function = teams().await;
    for tag in ["a", "b", "c", "d", "e", "f", "g", "a", "e"] {
        function.violate("one/a", tag).await;
    }
    function.aws.advance(WEEK);
    function.round().await.unwrap();
    let alert = function.alert();
    let [repository] = &alert["details"]["repositories"].as_array().unwrap()[..] else {
        panic!("{alert:#}")
    };
    assert_eq!(repository["violations"], 7);
    let examples = repository["examples"].as_array().unwrap();
    let tags: Vec<&Value> = examples.iter().map(|example| &example["tag"]).collect();
    assert_eq!(tags, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_digest_that_fails_between_two_owners_publishes_only_the_others_when_it_is_retried() {
    for failing in ["Publish", "PutEvents"] {
        let function = teams().await;
        function.violate("one/a", "latest").await;
        function.violate("two/a", "latest").await;
        function.violate("x/a", "latest").await;
        function.aws.advance(WEEK);
        function.aws.fault(failing, 2, Fault::Error(403, "AccessDeniedException"));
        let error = function.round().await.unwrap_err();
        assert!(format!("{error:#}").contains("AccessDeniedException"), "{error:#}");
        let first = function.alerts().len() + function.bus_events().len();
        assert_eq!(first, 3, "the first owner on both, the second owner on one: {failing}");
        // Lambda retries with the same request ID, and the retry queues no less.
        assert_eq!(function.queued().await.len(), 4);
        function.round().await.unwrap();
        let later = function.alerts().len() + function.bus_events().len();
        assert_eq!(later, 3, "the second owner on the other, the third owner on both: {failing}");
        function.round().await.unwrap();
        assert!(function.titles().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_killed_between_two_owners_is_published_by_the_next_round() {
    let function = teams().await;
    function.violate("one/a", "latest").await;
    function.violate("x/a", "latest").await;
    function.aws.advance(WEEK);
    function.aws.fault("Publish", 2, Fault::Hang);
    let killed = tokio::time::timeout(Duration::from_secs(5), function.round()).await;
    assert!(killed.is_err());
    function.aws.heal();
    let titles = |function: &Function| {
        function.alerts().iter().map(|alert| alert["owner"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&function), [json!(null)]);
    function.aws.advance(Duration::from_secs(86_400));
    function.handle(&json!({}), "next day").await.unwrap();
    assert_eq!(titles(&function), ["team one"]);
}

#[tokio::test]
async fn a_topic_that_fails_keeps_no_sweep_out_of_the_queue_and_the_digest_is_retried() {
    let function = teams().await;
    function.violate("one/a", "latest").await;
    function.aws.advance(WEEK);
    for operation in ["Publish", "PutEvents"] {
        function.aws.fault(operation, 0, Fault::Error(403, "AccessDeniedException"));
    }
    function.round().await.unwrap_err();
    assert_eq!(function.queued().await.len(), 4);
    function.aws.heal();
    function.aws.advance(Duration::from_secs(86_400));
    function.handle(&json!({}), "next day").await.unwrap();
    assert_eq!(function.titles(), ["team one: 1 tag violates its rule"]);
}

#[tokio::test]
async fn a_queue_that_fails_does_not_prevent_the_digest() {
    let function = teams().await;
    function.violate("one/a", "latest").await;
    function.aws.advance(WEEK);
    function.aws.fault("SendMessageBatch", 0, Fault::Error(403, "AccessDeniedException"));
    function.round().await.unwrap_err();
    assert_eq!(function.titles(), ["team one: 1 tag violates its rule"]);
}

#[tokio::test]
async fn a_digest_by_hand_is_about_this_week_and_queues_no_sweep() {
    let function = teams().await;
    assert_eq!(function.digest_now("nothing").await.unwrap(), json!({"digests": 0}));
    function.violate("one/a", "latest").await;
    function.plan("x/a", 2).await;
    assert_eq!(function.digest_now("one").await.unwrap(), json!({"digests": 2}));
    let titles = [
        "Repositories without an owner: 1 repository would lose images",
        "team one: 1 tag violates its rule",
    ];
    assert_eq!(function.titles(), titles);
    // A retry has the same request ID. Another request publishes the digests again.
    function.digest_now("one").await.unwrap();
    assert!(function.titles().is_empty());
    function.digest_now("two").await.unwrap();
    assert_eq!(function.titles(), titles);
    assert!(function.queued().await.is_empty());
    // The digest of the week is published nevertheless.
    function.aws.advance(WEEK);
    function.round().await.unwrap();
    assert_eq!(function.titles(), titles);
}

#[tokio::test]
async fn a_digest_leaves_out_deleted_repositories_replicas_and_plans_of_rules_that_enforce_now() {
    let mut function = teams().await;
    for name in ["one/a", "one/b", "two/a", "x/a"] {
        function.violate(name, "latest").await;
        function.plan(name, 2).await;
    }
    function.aws.by_hand("DeleteRepository", &json!({"repositoryName": "two/a"})).unwrap();
    let source = RemoteRegistry::new("210987654321", "eu-west-1").unwrap();
    let copied = "one/b".parse().unwrap();
    function.ledger().record_replica(&copied, &source, function.now()).await.unwrap();
    // The rule of x enforces now.
    let rule = |name: &str, enforcement: &str| {
        json!({
            "Name": name,
            "Repositories": [format!("{name}/*")],
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": enforcement},
            "Retention": {"Enforcement": enforcement},
        })
    };
    let rules = json!([rule("one", "report"), rule("two", "report"), rule("x", "archive")]);
    let given = [(".Rules", rules.to_string()), ("EnforceRepositories", "x/*".to_owned())];
    function.change_policy(&given.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    function.digest_now("now").await.unwrap();
    let alert = function.alert();
    let listed = alert["details"]["repositories"].as_array().unwrap().iter();
    let listed: Vec<String> = listed
        .map(|entry| format!("{} {} {}", entry["repository"], entry["images"], entry["violations"]))
        .collect();
    assert_eq!(listed, [r#""one/a" 2 1"#, r#""x/a" 0 1"#]);
    assert_eq!(alert["details"]["governed"], 2);
}

#[tokio::test]
async fn the_warnings_of_a_policy_are_published_once_for_each_version() {
    let warned = ("applications.Repositories", r#"["deployments", "cdk-*-container-assets-*"]"#);
    let ceiling = ("EnforceRepositories", "infrastructure,deployments,cdk-*");
    let mut function = Function::new(&[warned, ceiling]).await;
    for operation in ["Publish", "PutEvents"] {
        function.aws.fault(operation, 0, Fault::Error(403, "AccessDeniedException"));
    }
    function.round().await.unwrap_err();
    assert_eq!(function.queued().await.len(), 2);
    function.aws.heal();
    function.round().await.unwrap();
    let alert = function.alert();
    assert_eq!(
        (&alert["kind"], &alert["details"]["rule"]),
        (&json!("self-audit"), &json!("policy-warnings"))
    );
    assert_eq!(alert["details"]["warningsTotal"], 1);
    assert_eq!(alert["policy"], function.context.config.policy_version.as_str());
    assert_eq!(function.bus_events().len(), 1);
    function.handle(&json!({}), "next day").await.unwrap();
    assert!(function.titles().is_empty());
    // Another version has the same warning.
    function.change_policy(&[warned, ceiling, (".Unmatched", "report")]).await;
    function.round().await.unwrap();
    assert_eq!(function.titles(), ["The policy has 1 warning"]);
    // A version without warnings costs no call.
    function.change_policy(&[]).await;
    function.round().await.unwrap();
    function.calls();
    function.round().await.unwrap();
    assert!(function.titles().is_empty());
    // The policy is known. The call asks whether the digests are published.
    let calls = function.calls();
    assert_eq!(calls.iter().filter(|call| *call == "GetItem").count(), 1, "{calls:?}");
}
