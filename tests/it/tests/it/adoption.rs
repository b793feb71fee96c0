//! The adoption of a registry of 300 repositories that the stack did not create, by a policy of 30 rules.
//! No repository changes until its rule enforces.

use std::collections::{BTreeMap, BTreeSet};

use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::RulePlans;
use local_aws::ecr::DAY;
use local_aws::world::{self, STACK, World, kinds, policy_with};
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Value, json};

use crate::program;

const TEAMS: usize = 30;
const REPOSITORIES: usize = 10;
/// The versions of each repository, of which a rule keeps ten.
const VERSIONS: u32 = 12;
const DISPATCH: &str = "ecr-warden-SweepDispatchFunction";
const SWEEP: &str = "ecr-warden-ImageSweepFunction";
/// The functions may change images in every repository, so only the code obeys the rules.
const CEILING: (&str, &str) = ("EnforceRepositories", "team-*");
/// The lifecycle policy of the owners of some repositories.
const LIFECYCLE: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":300},"action":{"type":"expire"}}]}"#;

fn name(team: usize, nth: usize) -> String {
    format!("team-{team:02}/app-{nth}")
}

fn names() -> impl Iterator<Item = String> {
    (0..TEAMS).flat_map(|team| (0..REPOSITORIES).map(move |nth| name(team, nth)))
}

/// A rule for each team. The rule of `enforcing` archives; each other rule reports.
fn rules(enforcing: Option<usize>) -> Value {
    let rule = |team: usize| {
        let enforcement = if enforcing == Some(team) { "archive" } else { "report" };
        json!({
            "Name": format!("team-{team:02}"),
            "Repositories": [format!("team-{team:02}/*")],
            "Owner": format!("owner {team:02}"),
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": enforcement},
            "Retention": {"Keep": 10, "Enforcement": enforcement},
        })
    };
    (0..TEAMS).map(rule).collect()
}

/// Creates the repositories as their owners did, long before the deployment.
fn create_repositories(aws: &LocalAws) {
    {
        let mut state = aws.state();
        let long_ago = state.now() - 100.0 * DAY;
        state.set_clock(Some(long_ago));
    }
    for (nth, name) in names().enumerate() {
        aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
        if nth % 3 == 0 {
            let put = json!({"repositoryName": name, "lifecyclePolicyText": LIFECYCLE});
            aws.by_hand("PutLifecyclePolicy", &put).unwrap();
        }
        let mut state = aws.state();
        let now = state.now();
        for version in 0..VERSIONS {
            let at = now - (50.0 - f64::from(version)) * DAY;
            state.ecr().push_made_up(&name, &[&format!("app-v1.{version}.0")], at).unwrap();
        }
        state.ecr().events.clear();
    }
    aws.state().set_clock(None);
}

/// Everything that ECR has about each repository: its settings, its lifecycle policy, its resource tags,
/// and the tags and the state of each image.
fn registry(aws: &LocalAws) -> BTreeMap<String, Value> {
    let read = |name: String| {
        let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
        let ask = |operation, input| aws.by_hand(operation, &input);
        let named = json!({"repositoryName": name});
        let lifecycle = ask("GetLifecyclePolicy", named).ok();
        let mut state = aws.state();
        let images = state.ecr().repository(&name).unwrap().images.iter();
        let images: BTreeMap<&str, Value> = images
            .map(|image| (image.digest.as_str(), json!([image.tags, image.status.name()])))
            .collect();
        let images = json!(images);
        drop(state);
        let state = json!({
            "settings": ask("DescribeRepositories", json!({"repositoryNames": [name]})).unwrap(),
            "lifecycle": lifecycle.map(|found| found["lifecyclePolicyText"].clone()),
            "tags": ask("ListTagsForResource", json!({"resourceArn": arn})).unwrap(),
            "images": images,
        });
        (name, state)
    };
    names().map(read).collect()
}

/// The repositories that differ between two states of the registry.
fn changed<'a>(
    before: &'a BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> BTreeSet<&'a str> {
    let differs = |(name, state): &(&String, &Value)| after[*name] != **state;
    before.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
}

/// Deploys this policy, as an update of the stack does.
async fn govern(world: &mut World, enforcing: Option<usize>) {
    let rules = rules(enforcing).to_string();
    let mut properties = {
        let state = world.aws.state();
        let mut resources = state.stacks[0].resources.iter();
        resources.find(|resource| resource.id == "Governance").unwrap().properties.clone()
    };
    properties["Policy"] = policy_with(&[(".Rules", &rules)]);
    world.aws.update_custom("Governance", properties).await.unwrap();
    world.change_policy(&[(".Rules", &rules), ("CreateEcrRepositories", "false"), CEILING]).await;
    for function in ["image-push", "image-sweep", "sweep-dispatch"] {
        world.aws.lambda().create(world.function(function).clone());
    }
    let version = world.function("image-sweep").environment["POLICY_VERSION"].clone();
    let mut state = world.aws.state();
    state.stacks[0].outputs.insert("PolicyVersion".to_owned(), version);
}

/// Starts a round, and the sweeps that it queues.
async fn start_round(world: &World) {
    world.aws.fire_schedules(DISPATCH).unwrap();
    world.settle().await;
    assert_eq!(world.take_messages("SweepQueue").await, [Value::Null; 0]);
    assert_eq!(world.failed_events().await, [Value::Null; 0]);
    assert_eq!(world.take_messages("FailedSweeps").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_registry_is_adopted_rule_by_rule_and_no_other_repository_changes() {
    const TEAM: usize = 3;
    let aws = LocalAws::default();
    create_repositories(&aws);
    let reporting = rules(None).to_string();
    let settings = [("CreateEcrRepositories", "false"), CEILING, (".Rules", &reporting)];
    let mut world = World::run(aws, &settings, program()).await;
    let before = registry(&world.aws);

    // Every rule reports: a round sweeps everything, and a push is judged.
    start_round(&world).await;
    assert_eq!(world.aws.lambda().attempts(SWEEP), TEAMS * REPOSITORIES);
    assert_eq!(kinds(&world.alerts()), [""; 0]);
    assert_eq!(changed(&before, &registry(&world.aws)), BTreeSet::new());
    let digest = world.push(&name(TEAM, 0), &["broken_tag"]);
    world.settle().await;
    assert_eq!(kinds(&world.alerts()), [""; 0]);
    let before = registry(&world.aws);

    // Each owner gets a digest.
    let now = world::event("sweep-dispatch", "digest-now");
    world.aws.lambda().invoke(DISPATCH, now).await.unwrap();
    let digests = world.alerts();
    assert_eq!(kinds(&digests), ["report"; TEAMS]);
    let owners: BTreeSet<&str> =
        digests.iter().map(|digest| digest["owner"].as_str().unwrap()).collect();
    assert_eq!(owners.len(), TEAMS);
    let of_team = digests.iter().find(|digest| digest["owner"] == "owner 03").unwrap();
    assert_eq!(of_team["details"]["repositoriesTotal"], REPOSITORIES);
    let repositories = of_team["details"]["repositories"].as_array().unwrap();
    assert!(repositories.iter().all(|repository| repository["images"] == 2), "{of_team:#}");

    // The rule of a team enforces: its plans wait.
    govern(&mut world, Some(TEAM)).await;
    start_round(&world).await;
    assert_eq!(kinds(&world.alerts()), ["cleanup"; REPOSITORIES]);
    assert_eq!(changed(&before, &registry(&world.aws)), BTreeSet::new());

    // A person confirms the plans of the rule, and the next round carries them out.
    let stack = DeployedStack::read(world.operator(), STACK).await.unwrap();
    let rule = "team-03".parse().unwrap();
    let plans = RulePlans::read(&stack, &rule).await.unwrap();
    let text = plans.to_text();
    let hash = text.trim().rsplit(' ').next();
    let confirmed = plans.confirm(&stack, hash, world.now()).await.unwrap();
    assert_eq!((confirmed.confirmed.len(), confirmed.skipped), (REPOSITORIES, vec![]), "{text}");
    world.forget();
    start_round(&world).await;
    assert_eq!(kinds(&world.alerts()), ["cleanup"; REPOSITORIES]);
    let after = registry(&world.aws);
    let team: Vec<String> = (0..REPOSITORIES).map(|nth| name(TEAM, nth)).collect();
    let team: BTreeSet<&str> = team.iter().map(String::as_str).collect();
    assert_eq!(changed(&before, &after), team);
    for name in team {
        let (mut expected, state) = (before[name].clone(), &after[name]);
        let archived = state["images"].to_string().matches("ARCHIVED").count();
        assert_eq!(archived, 2, "{name}");
        expected["images"] = state["images"].clone();
        assert_eq!(*state, expected, "{name}: only images have changed");
    }

    // The rule reports again, and nothing more changes, also not for the tag that violates the grammar.
    govern(&mut world, None).await;
    start_round(&world).await;
    assert_eq!(registry(&world.aws), after);
    let mut state = world.aws.state();
    let tags = &state.ecr().image(&name(TEAM, 0), &digest).unwrap().tags;
    assert!(tags.iter().any(|tag| tag == "broken_tag"));
}
