//! Tests rounds of sweeps on the embedded AWS.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod digest;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::Duration;

use chrono::TimeDelta;
use expect_test::expect;
use local_aws::Fault;
use local_aws::world::{self, World};
use serde_json::{Value, json};
use sweep_dispatch::config::Config;
use sweep_dispatch::{Context, handle};
use warden_aws::ledger::{Ledger, RunEnd};
use warden_core::due::{CompleteSweep, policy_hash};
use warden_core::image::RepositoryName;
use warden_core::policy::RepositoryOrigin;
use warden_core::replication::RemoteRegistry;
use warden_core::retention::Confirmation;

/// The function and the stack that it is deployed in.
struct Function {
    world: World,
    context: Context,
}

impl Deref for Function {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Function {
    async fn new(parameters: &[(&str, &str)]) -> Self {
        let world = World::deploy(parameters).await;
        let context = context(&world);
        Self { world, context }
    }

    /// Builds a function that governs this number of repositories by a wildcard, and no other.
    async fn governing(count: usize) -> Self {
        let rule = json!({
            "Name": "team",
            "Repositories": ["team/*"],
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
            "Retention": {"Enforcement": "report"},
        });
        let rules = json!([rule]).to_string();
        let function = Self::new(&[("CreateEcrRepositories", "false"), (".Rules", &rules)]).await;
        for nth in 0..count {
            function.create(&format!("team/app-{nth:05}"));
        }
        function.context.policy.get(&function.context.ledger).await.unwrap();
        function.forget();
        function
    }

    fn create(&self, name: &str) {
        self.aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
    }

    async fn round(&self) -> anyhow::Result<Value> {
        self.handle(&world::event("sweep-dispatch", "scheduled"), "request").await
    }

    async fn handle(&self, event: &Value, request_id: &str) -> anyhow::Result<Value> {
        handle(&self.context, event, request_id, self.now()).await
    }

    /// Deploys another policy.
    async fn change_policy(&mut self, given: &[(&str, &str)]) {
        self.world.change_policy(given).await;
        self.context = context(&self.world);
    }

    /// The repositories of the messages in the queue.
    async fn queued(&self) -> Vec<String> {
        let messages = self.take_messages("SweepQueue").await;
        let name = |message: &Value| message["repository"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = messages.iter().map(name).collect();
        names.sort_unstable();
        names
    }

    /// Records a complete sweep of a repository, which is due after these days.
    async fn complete(&self, name: &str, days: i64) {
        self.record(name, days, false).await;
    }

    /// Records a complete sweep of a repository. `waits` says that its plan waits for a confirmation.
    async fn record(&self, name: &str, days: i64, waits: bool) {
        let repository: RepositoryName = name.parse().unwrap();
        let (ledger, now) = (self.ledger(), self.now());
        let facts = self.context.registry.repositories().await.unwrap();
        let (_, facts) = facts.into_iter().find(|(listed, _)| *listed == repository).unwrap();
        let governance = self.context.policy.get(&self.context.ledger).await.unwrap();
        let policy = governance.rule_for(&repository, RepositoryOrigin::Pushed).unwrap();
        let complete = CompleteSweep {
            listed_at: now,
            due_at: now + TimeDelta::days(days),
            policy: policy_hash(&policy),
            settings: facts.to_string(),
            waits,
        };
        ledger.begin_run(&repository, "sweep", now).await.unwrap();
        let end = RunEnd { complete: Some(&complete), ..RunEnd::default() };
        ledger.end_run(&repository, "sweep", end).await.unwrap();
        self.calls();
    }

    fn ledger(&self) -> Ledger {
        Ledger::new(&self.aws.config(), self.context.config.table.clone())
    }
}

fn context(world: &World) -> Context {
    let config = Config::read(world.function("sweep-dispatch").environment.clone()).unwrap();
    Context::new(config, &world.sdk("sweep-dispatch"))
}

#[tokio::test]
async fn a_round_queues_each_governed_repository_and_no_other() {
    let function = Function::new(&[]).await;
    function.create("scratch");
    let answer = function.round().await.unwrap();
    expect![[r#"{"governed":2,"overdue":0,"queued":2,"reasons":["never-swept 2"]}"#]]
        .assert_eq(&answer.to_string());
    assert_eq!(function.queued().await, ["deployments", "infrastructure"]);
}

#[tokio::test]
async fn every_example_event_starts_a_round_or_publishes_the_digests() {
    for (name, event) in world::events("sweep-dispatch") {
        let function = Function::new(&[]).await;
        let answer = function.handle(&event, "request").await.unwrap();
        match name.as_str() {
            "scheduled" => assert_eq!(answer["queued"], 2),
            "digest-now" => assert_eq!(answer, json!({"digests": 0})),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_round_over_a_registry_without_governed_repositories_queues_nothing() {
    let function = Function::governing(0).await;
    function.create("scratch");
    assert_eq!(function.round().await.unwrap()["governed"], 0);
    let calls: BTreeSet<String> = function.calls().into_iter().collect();
    // The first round of a week asks the ledger whether the digests are published, and records that.
    let operations =
        ["DescribePullThroughCacheRules", "DescribeRepositories", "GetItem", "UpdateItem"];
    assert!(calls.into_iter().eq(operations));
}

#[tokio::test]
async fn wildcards_match_neither_caches_nor_replicas_nor_assets() {
    let function = Function::governing(1).await;
    let [cached, copied] = ["team/hub/nginx", "team/copied"];
    for name in [cached, copied, "cdk-hnb659fds-container-assets-123456789012-us-east-1"] {
        function.create(name);
    }
    let rule =
        json!({"ecrRepositoryPrefix": "team/hub", "upstreamRegistryUrl": "registry-1.docker.io"});
    function.aws.by_hand("CreatePullThroughCacheRule", &rule).unwrap();
    let source = RemoteRegistry::new("210987654321", "eu-west-1").unwrap();
    let copied = copied.parse().unwrap();
    function.ledger().record_replica(&copied, &source, function.now()).await.unwrap();
    function.round().await.unwrap();
    assert_eq!(function.queued().await, ["team/app-00000"]);
    // A replica is never swept, and is not overdue.
    function.aws.advance(Duration::from_secs(8 * 86_400));
    assert_eq!(function.round().await.unwrap()["overdue"], 0);
}

#[tokio::test]
async fn a_round_queues_what_is_due_and_the_log_counts_the_reasons() {
    let function = Function::governing(6).await;
    for nth in 0..6 {
        function.complete(&format!("team/app-{nth:05}"), if nth == 0 { 1 } else { 6 }).await;
    }
    function.aws.advance(Duration::from_secs(3 * 3_600));
    assert_eq!(function.round().await.unwrap()["queued"], 0);
    assert_eq!(function.queued().await, [""; 0]);

    function.aws.advance(Duration::from_secs(86_400));
    let put = json!({"repositoryName": "team/app-00001", "imageTagMutability": "IMMUTABLE"});
    function.aws.by_hand("PutImageTagMutability", &put).unwrap();
    let name = |nth: usize| format!("team/app-{nth:05}").parse::<RepositoryName>().unwrap();
    let (ledger, now) = (function.ledger(), function.now());
    ledger.claim_pushed_sweep(&name(2), "push", now).await.unwrap();
    ledger.begin_run(&name(3), "killed", now).await.unwrap();
    let answer = function.round().await.unwrap();
    expect![[r#"{"governed":6,"overdue":0,"queued":4,"reasons":["interrupted 1","pushed 1","settings-changed 1","time 1"]}"#]]
        .assert_eq(&answer.to_string());
    let due = [0, 1, 2, 3].map(|nth| name(nth).to_string());
    assert_eq!(function.queued().await, due);
}

#[tokio::test]
async fn a_round_reads_confirmations_of_waiting_plans_only_and_queues_confirmed_ones() {
    let function = Function::governing(3).await;
    let names = [0, 1, 2].map(|nth| format!("team/app-{nth:05}"));
    for (name, waits) in names.iter().zip([true, true, false]) {
        function.record(name, 6, waits).await;
    }
    function.aws.advance(Duration::from_secs(86_400));
    assert_eq!(function.round().await.unwrap()["queued"], 0);
    let batches = |calls: &[String]| calls.iter().filter(|call| *call == "BatchGetItem").count();
    // The first round of a week reads also what the rules reported.
    assert_eq!(batches(&function.calls()), 3);
    let confirmation = Confirmation {
        retention: String::new(),
        images: BTreeSet::from(["0123456789abcdef".to_owned()]),
        is_whole: true,
        guard: "unconfirmed".to_owned(),
        confirmed_at: function.now(),
    };
    for name in [&names[0], &names[2]] {
        function.ledger().confirm(&name.parse().unwrap(), &confirmation).await.unwrap();
    }
    let answer = function.round().await.unwrap();
    assert_eq!(answer["reasons"], json!(["confirmed 1"]));
    assert_eq!(function.queued().await, [names[0].as_str()]);
    // Without a plan that waits, a round reads no confirmation.
    for name in &names[..2] {
        function.complete(name, 6).await;
    }
    function.round().await.unwrap();
    assert_eq!(batches(&function.calls()), 1);
}

#[tokio::test]
async fn a_repository_whose_sweeps_are_never_complete_becomes_overdue() {
    let function = Function::governing(2).await;
    function.complete("team/app-00000", 6).await;
    let failing: RepositoryName = "team/app-00001".parse().unwrap();
    let overdue = async || function.round().await.unwrap()["overdue"].clone();
    assert_eq!(overdue().await, 0);
    function.ledger().begin_run(&failing, "failed", function.now()).await.unwrap();
    function.aws.advance(Duration::from_secs(86_400));
    assert_eq!(overdue().await, 0);
    function.aws.advance(Duration::from_secs(3_600));
    assert_eq!(overdue().await, 1);
    function.complete("team/app-00001", 6).await;
    assert_eq!(overdue().await, 0);
    // No round comes for a week.
    function.aws.advance(Duration::from_secs(8 * 86_400));
    assert_eq!(overdue().await, 2);
}

#[tokio::test]
async fn a_round_costs_a_call_for_1000_repositories_for_100_records_and_for_10_messages() {
    let function = Function::governing(2_001).await;
    let operations = [
        "DescribeRepositories",
        "DescribePullThroughCacheRules",
        "BatchGetItem",
        "SendMessageBatch",
        "GetItem",
        "UpdateItem",
    ];
    // The records are those of the sweeps, and of replicas among the repositories that are due. The first
    // round of a week also reads what rules reported, claims the digests and records that they are published.
    // Another round asks whether they are.
    for expected in [[3, 1, 42 + 41, 201, 1, 2], [3, 1, 42, 201, 1, 0]] {
        assert_eq!(function.round().await.unwrap()["queued"], 2_001);
        let calls = function.calls();
        let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
        let counts = operations.map(count);
        assert_eq!(counts, expected);
        assert_eq!(calls.len(), counts.iter().sum::<usize>(), "{calls:?}");
        assert_eq!(function.queued().await.len(), 2_001);
    }
}

#[tokio::test]
async fn a_round_that_cannot_read_or_queue_something_fails_and_queues_it_when_it_is_repeated() {
    for operation in [
        "DescribeRepositories",
        "DescribePullThroughCacheRules",
        "BatchGetItem",
        "SendMessageBatch",
    ] {
        let function = Function::governing(25).await;
        function.aws.fault(operation, 0, Fault::Error(400, "AccessDeniedException"));
        let error = function.round().await.unwrap_err();
        assert!(format!("{error:#}").contains("AccessDeniedException"), "{error:#}");
        function.aws.heal();
        function.round().await.unwrap();
        let queued: BTreeSet<String> = function.queued().await.into_iter().collect();
        assert_eq!(queued.len(), 25, "{operation}");
    }
}
