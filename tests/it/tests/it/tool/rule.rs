//! `ecr-warden plan --rule` and `ecr-warden confirm --rule`, with the rights of an operator.

use ecr_warden::plan::{RuleConfirmation, RulePlans};
use local_aws::ecr::DAY;
use local_aws::world::World;
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_core::image::RepositoryName;
use warden_core::replication::RemoteRegistry;

use super::stack;
use crate::{program, stop_sweep_queue};

const API: &str = "team-a/api";
const COPY: &str = "team-a/copy";
const NEW: &str = "team-a/new";
const WEB: &str = "team-a/web";

/// Pushes a version that somebody pushed this many days ago.
fn push(aws: &LocalAws, repository: &str, version: u32, days: f64) {
    let mut state = aws.state();
    let at = state.now() - days * DAY;
    state.ecr().push_made_up(repository, &[&format!("app-v{version}.0.0")], at).unwrap();
    state.ecr().events.clear();
}

/// Creates repositories, and then deploys a rule for them. The plans of two repositories wait, one repository has
/// nothing to remove, and the wildcard does not match the replica.
async fn deploy_rule() -> World {
    let rule = json!({
        "Name": "teams",
        "Repositories": ["team-a/*"],
        "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
        "Retention": {"Keep": 1, "Enforcement": "archive"},
    });
    let aws = LocalAws::default();
    for repository in [API, COPY, NEW, WEB] {
        aws.by_hand("CreateRepository", &json!({"repositoryName": repository})).unwrap();
        push(&aws, repository, 1, 90.0);
        if repository != NEW {
            push(&aws, repository, 2, 80.0);
        }
    }
    let parameters = [
        ("CreateEcrRepositories", "false"),
        ("EnforceRepositories", "team-a/*"),
        (".Rules", &json!([rule]).to_string()),
    ];
    let world = World::run(aws, &parameters, program()).await;
    stop_sweep_queue(&world);
    let table = world.function("image-sweep").environment["LEDGER_TABLE"].clone();
    let source = RemoteRegistry::new("210987654321", "eu-west-1").unwrap();
    let ledger = Ledger::new(&world.aws.config(), table);
    ledger.record_replica(&name(COPY), &source, world.now()).await.unwrap();
    world
}

fn name(repository: &str) -> RepositoryName {
    repository.parse().unwrap()
}

async fn read(world: &World) -> RulePlans {
    RulePlans::read(&stack(world).await, &"teams".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn one_command_confirms_the_plans_of_a_rule_that_a_person_has_read() {
    let world = deploy_rule().await;
    let shown = read(&world).await;
    let table = shown.to_json();
    let rows = table["repositories"].as_array().unwrap().iter();
    let rows: Vec<Value> =
        rows.map(|row| json!([row["repository"], row["planned"], row["waits"]])).collect();
    assert_eq!(json!(rows), json!([[API, 1, true], [NEW, 0, false], [WEB, 1, true]]));
    assert_eq!(shown.exit_code(), 0);
    let stack = stack(&world).await;
    let unread = shown.confirm(&stack, None, world.now()).await.unwrap();
    let skipped = vec![name(API), name(WEB)];
    assert_eq!(unread, RuleConfirmation { confirmed: vec![], skipped });
    assert_eq!(shown.exit_code_after(&unread), 1);

    // A push changes one of the plans that the person has read.
    push(&world.aws, WEB, 3, 70.0);
    let hash = table["plan"].as_str();
    let current = read(&world).await;
    let outcome = current.confirm(&stack, hash, world.now()).await.unwrap();
    let confirmed = vec![(name(API), 1)];
    assert_eq!(outcome, RuleConfirmation { confirmed, skipped: vec![name(WEB)] });
    assert_eq!(current.exit_code_after(&outcome), 1);
    for (repository, removed) in [(API, 1), (WEB, 0)] {
        let sweep = &world.function("image-sweep").name;
        let request = json!({"repository": repository});
        let swept = world.aws.lambda().invoke(sweep, request).await.unwrap();
        assert_eq!(swept.payload["removed"], removed, "{:#}", swept.payload);
    }
    // The plan of the swept repository does not wait any more.
    let hash = current.to_json()["plan"].clone();
    let rest = read(&world).await;
    let outcome = rest.confirm(&stack, hash.as_str(), world.now()).await.unwrap();
    assert_eq!(outcome, RuleConfirmation { confirmed: vec![(name(WEB), 2)], skipped: vec![] });
    assert_eq!(rest.exit_code_after(&outcome), 0);
}

#[tokio::test]
async fn a_plan_that_cannot_be_read_is_shown_and_not_confirmed() {
    let world = deploy_rule().await;
    let shown = read(&world).await;
    world.aws.fault("DescribeImages", 1, Fault::Error(403, "AccessDeniedException"));
    let current = read(&world).await;
    let table = current.to_json();
    let stack = stack(&world).await;
    let outcome = current.confirm(&stack, shown.to_json()["plan"].as_str(), world.now()).await;
    let outcome = outcome.unwrap();
    let rows = table["repositories"].as_array().unwrap();
    let unread: Vec<&Value> = rows.iter().filter(|row| row["hash"].is_null()).collect();
    let [row] = unread.as_slice() else { panic!("{table:#}") };
    assert!(row["stopped"].as_str().unwrap().contains("AccessDenied"), "{row}");
    assert!(outcome.confirmed.iter().all(|(confirmed, _)| row["repository"] != confirmed.as_str()));
    assert_eq!((rows.len(), current.exit_code_after(&outcome)), (3, 2));
}
