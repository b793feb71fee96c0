//! `ecr-warden policy test` against the deployed stack, with the rights of an operator. The command and
//! the function change nothing.

use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use ecr_warden::policy::{CommandResult, TestOptions, test};
use ecr_warden::policy_file::PolicyFile;
use expect_test::expect;
use local_aws::ecr::DAY;
use local_aws::snippets::snippet;
use local_aws::world::{World, masked, policy_with};
use serde_json::{Value, json};

use super::{archive_an_index, stack};
use crate::{deploy, stop_sweep_queue};

/// The deployed policy, with a grammar that accepts fewer tags and with a lower minimum age.
fn stricter() -> Value {
    let mut policy = policy_with(&[("applications.Tags.Grammar", r#"["{component}-v{semver}"]"#)]);
    policy["Rules"][1]["Retention"]["MinimumAgeDays"] = 1.into();
    policy
}

/// A rule for a repository that no rule of the deployed policy governs.
fn team_a() -> Value {
    json!({
        "Name": "team-a",
        "Repositories": ["team-a/*"],
        "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
        "Retention": {"Keep": 1, "Enforcement": "archive"},
    })
}

/// Writes a policy to a file with this name.
fn write(name: &str, policy: &Value) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-test-{name}.json"));
    std::fs::write(&path, policy.to_string()).unwrap();
    path
}

/// Deploys the stack, whose registry has images in a repository of the stack, an archived index, and a
/// repository that no rule governs. Everything was swept, and nothing more would be removed.
async fn deploy_registry(parameters: &[(&str, &str)]) -> World {
    let world = deploy(parameters).await;
    stop_sweep_queue(&world);
    archive_an_index(&world).await;
    let create = json!({"repositoryName": "team-a/web"});
    world.aws.by_hand("CreateRepository", &create).unwrap();
    {
        let mut state = world.aws.state();
        let now = state.now();
        let mut push = |repository: &str, tag: &str, days: f64| {
            state.ecr().push_made_up(repository, &[tag], now - days * DAY).unwrap();
        };
        push("deployments", "web-0123abc", 60.0);
        push("deployments", "web-latest", 50.0);
        // The minimum age protects the oldest of these versions.
        for nth in 0..11 {
            push("deployments", &format!("api-v1.{nth}.0"), 5.0 - f64::from(nth) / 100.0);
        }
        push("team-a/web", "web-v1.0.0", 90.0);
        push("team-a/web", "web-v1.1.0", 80.0);
        push("team-a/web", "Web_1", 70.0);
    }
    world.settle().await;
    world.record_tags("deployments").await;
    world.forget();
    world
}

/// Everything in the registry and in the ledger that a change would change.
async fn state_of(world: &World) -> (Vec<String>, Value) {
    let images = {
        let mut state = world.aws.state();
        let mut images = Vec::new();
        for repository in ["deployments", "infrastructure", "team-a/web"] {
            for image in state.ecr().repository(repository).unwrap().images.iter() {
                let (digest, tags) = (&image.digest, &image.tags);
                images.push(format!("{repository} {digest} {tags:?} {}", image.status.name()));
            }
        }
        images
    };
    let table = &world.function("image-sweep").environment["LEDGER_TABLE"];
    let scan = json!({"TableName": table});
    let items = world.aws.ask("dynamodb", "DynamoDB_20120810.Scan", &scan).await.unwrap();
    (images, items["Items"].clone())
}

/// Runs the command with the words of a command line, and checks that nothing was changed. Returns also
/// the calls.
async fn run(world: &World, words: &[&str]) -> (CommandResult, Vec<String>) {
    let command = TestOptions::augment_args(clap::Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(words).unwrap();
    let options = TestOptions::from_arg_matches(&matches).unwrap();
    let stack = stack(world).await;
    let before = state_of(world).await;
    world.forget();
    let file = PolicyFile::read(&options.file).unwrap();
    let today = world.now().date_naive();
    let result = test(&stack, &file, &options, today).await.unwrap();
    let reads = ["Describe", "Get", "BatchGet", "List", "Invoke"];
    let calls = world.calls();
    let is_read = |call: &&String| reads.iter().any(|read| call.starts_with(read));
    let changes: Vec<&String> = calls.iter().filter(|call| !is_read(call)).collect();
    assert!(changes.is_empty() && !calls.is_empty(), "{calls:?}");
    assert!(world.alerts().is_empty());
    assert!(state_of(world).await == before, "the command changed something");
    (result, calls)
}

/// The text and the exit code of a command. The command has a file in place of the path in the text.
async fn print(world: &World, words: &[&str]) -> String {
    let (CommandResult { text, code }, _) = run(world, words).await;
    masked(&format!("{text}\nexit {code}\n").replace(words[0], "policy.yaml"))
}

/// The words after `ecr-warden policy test FILE` in a documented command.
fn documented(name: &str) -> Vec<String> {
    let script = snippet(name).unwrap();
    let words: Vec<&str> = script.split_whitespace().collect();
    let [tool, group, command, file, options @ ..] = words.as_slice() else { panic!("{script}") };
    assert_eq!([*tool, *group, *command], ["ecr-warden", "policy", "test"], "{script}");
    assert_eq!(*file, "infra/sam/policy.yaml");
    options.iter().map(|option| (*option).to_owned()).collect()
}

/// Runs a documented command with this file.
async fn print_documented(world: &World, name: &str, file: &str) -> String {
    let options = documented(name);
    let words: Vec<&str> = [file].into_iter().chain(options.iter().map(String::as_str)).collect();
    print(world, &words).await
}

#[tokio::test]
async fn the_deployed_policy_has_no_difference_from_itself() {
    let world = deploy_registry(&[]).await;
    let file = write("same", &policy_with(&[]));
    let file = file.to_str().unwrap();
    expect![[r#"
        REPOSITORY      RULE          TAGS REFUSED  IMAGES REMOVED  SIZE  NOTE
        deployments     applications  0             0 of 26         0 B
        infrastructure  platform      0             0 of 0          0 B

        No rule governs the repository team-a/web.

        The policy would refuse 0 tags and remove 0 images. Nothing was changed.
        exit 0
    "#]]
    .assert_eq(&print_documented(&world, "policy/test.sh", file).await);
    expect![[r#"
        policy.yaml has no difference from the deployed policy f8822ec2c3a88dca. The policy of 3 repositories is the same. Nothing was changed.
        exit 0
    "#]].assert_eq(&print_documented(&world, "policy/compare.sh", file).await);
    // A repository whose policy is the same is not read, and the function is not invoked for it.
    let (_, calls) = run(&world, &[file, "--against", "deployed"]).await;
    assert!(!calls.iter().any(|call| call == "Invoke" || call == "DescribeImages"), "{calls:?}");
}

#[tokio::test]
async fn a_stricter_policy_refuses_tags_and_removes_images_with_their_reasons() {
    let world = deploy_registry(&[]).await;
    let file = write("stricter", &stricter());
    let file = file.to_str().unwrap();
    expect![[r#"
        REPOSITORY      RULE          TAGS REFUSED  IMAGES REMOVED       SIZE   NOTE
        deployments     applications  2             1 of 26 (1 archive)  187 B  the new policy may remove more images than the policy before, so this plan waits for a confirmation
        infrastructure  platform      0             0 of 0               0 B

        No rule governs the repository team-a/web.

        deployments: 2 tags would be refused
        REFUSED TAG  DIGEST               REASON
        web-0123abc  sha256:…  does not match {component}-v{semver}
        web-latest   sha256:…  does not match {component}-v{semver}

        deployments: 1 of 26 images would be archived (187 B)
        Neither Keep nor Expire covers 1 image (187 B): web-0123abc.
        Nothing is removed now: the new policy may remove more images than the policy before, so this plan waits for a confirmation.
        DECISION  DIGEST               TAGS        REASON
        archive   sha256:…  api-v1.0.0  number 11 of 11 of api (the newest 10 are kept)

        The policy would refuse 2 tags and remove 1 image. Nothing was changed.
        exit 1
    "#]].assert_eq(&print_documented(&world, "policy/test.sh", file).await);
    expect![[r#"
        deployments: no removals → removals are stopped (the new policy may remove more images than the policy before, so this plan waits for a confirmation)
        deployments:web-0123abc accepted → refused (does not match {component}-v{semver})
        deployments:web-latest accepted → refused (does not match {component}-v{semver})
        deployments:api-v1.0.0 kept → archived (number 11 of 11 of api (the newest 10 are kept))

        policy.yaml has 4 differences from the deployed policy f8822ec2c3a88dca. The policy of 2 repositories is the same. Nothing was changed.
        exit 1
    "#]].assert_eq(&print_documented(&world, "policy/compare.sh", file).await);
    let only = ["--repository", "infrastructure"];
    expect![[r#"
        REPOSITORY      RULE      TAGS REFUSED  IMAGES REMOVED  SIZE  NOTE
        infrastructure  platform  0             0 of 0          0 B

        The policy would refuse 0 tags and remove 0 images. Nothing was changed.
        exit 0
    "#]]
    .assert_eq(&print(&world, &[&[file], &only[..]].concat()).await);
    let (json, _) = run(&world, &[file, "--output", "json"]).await;
    let json: Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(json["ungoverned"], json!(["team-a/web"]));
    let deployments = &json["repositories"][0];
    assert_eq!(deployments["refusedTags"].as_array().unwrap().len(), 2, "{deployments:#}");
    assert_eq!(deployments["plan"]["policy"], "given");
}

#[tokio::test]
async fn a_new_rule_governs_a_repository_and_waits_for_a_confirmation() {
    let world = deploy_registry(&[]).await;
    let mut policy = policy_with(&[]);
    policy["Rules"].as_array_mut().unwrap().push(team_a());
    let file = write("new-rule", &policy);
    let file = file.to_str().unwrap();
    expect![[r#"
        policy.yaml:1:721: mistake: Rules[2] (team-a).Repositories[0]: team-a/* is outside the parameter EnforceRepositories (infrastructure, deployments), and the rule team-a enforces: add team-a/* to EnforceRepositories, or set Retention.Enforcement to report
        policy.yaml has 1 mistake
        The stack ecr-warden refuses the policy until EnforceRepositories allows it. Then the policy would have these effects:

        team-a/web: no rule → rule team-a
        team-a/web: no removals → removals are stopped (the first plan that removes images from the repository waits for a confirmation)
        team-a/web:Web_1 accepted → refused (does not match {component}-v{semver})
        team-a/web:web-v1.0.0 kept → archived (number 2 of 2 of web (the newest is kept))

        policy.yaml has 4 differences from the deployed policy f8822ec2c3a88dca. The policy of 2 repositories is the same. Nothing was changed.
        exit 1
    "#]].assert_eq(&print_documented(&world, "policy/compare.sh", file).await);
    let (compared, _) = run(&world, &[file, "--against", "deployed", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&compared.text).unwrap();
    let kinds: Vec<&Value> = json["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| &difference["kind"])
        .collect();
    assert_eq!(
        (kinds, compared.code),
        (vec![&json!("rule"), &json!("plan"), &json!("tag"), &json!("image")], 1)
    );
    let only = ["--repository", "team-a/web", "--details"];
    expect![[r#"
        policy.yaml:1:721: mistake: Rules[2] (team-a).Repositories[0]: team-a/* is outside the parameter EnforceRepositories (infrastructure, deployments), and the rule team-a enforces: add team-a/* to EnforceRepositories, or set Retention.Enforcement to report
        policy.yaml has 1 mistake
        The stack ecr-warden refuses the policy until EnforceRepositories allows it. Then the policy would have these effects:

        REPOSITORY  RULE    TAGS REFUSED  IMAGES REMOVED      SIZE   NOTE
        team-a/web  team-a  1             1 of 3 (1 archive)  187 B  the first plan that removes images from the repository waits for a confirmation

        team-a/web: 1 tag would be refused
        REFUSED TAG  DIGEST               REASON
        Web_1        sha256:…  does not match {component}-v{semver}

        team-a/web: 1 of 3 images would be archived (187 B)
        Neither Keep nor Expire covers 1 image (187 B): Web_1.
        Nothing is removed now: the first plan that removes images from the repository waits for a confirmation.
        DECISION  DIGEST               TAGS        REASON
        archive   sha256:…  web-v1.0.0  number 2 of 2 of web (the newest is kept)

        The policy would refuse 1 tag and remove 1 image. Nothing was changed.
        exit 1
    "#]].assert_eq(&print(&world, &[&[file], &only[..]].concat()).await);
}

#[tokio::test]
async fn a_rule_that_enforces_outside_of_the_deployed_ceiling_is_a_mistake_with_its_effects() {
    let world = deploy_registry(&[]).await;
    let mut policy = policy_with(&[]);
    policy["Rules"].as_array_mut().unwrap().push(team_a());
    let file = write("outside", &policy);
    let words = [file.to_str().unwrap(), "--repository", "infrastructure"];
    expect![[r#"
        policy.yaml:1:721: mistake: Rules[2] (team-a).Repositories[0]: team-a/* is outside the parameter EnforceRepositories (infrastructure, deployments), and the rule team-a enforces: add team-a/* to EnforceRepositories, or set Retention.Enforcement to report
        policy.yaml has 1 mistake
        The stack ecr-warden refuses the policy until EnforceRepositories allows it. Then the policy would have these effects:

        REPOSITORY      RULE      TAGS REFUSED  IMAGES REMOVED  SIZE  NOTE
        infrastructure  platform  0             0 of 0          0 B

        The policy would refuse 0 tags and remove 0 images. Nothing was changed.
        exit 1
    "#]].assert_eq(&print(&world, &words).await);
    for against in [&[][..], &["--against", "deployed"]] {
        let (result, _) = run(&world, &[&words[..], against, &["--output", "json"]].concat()).await;
        let json: Value = serde_json::from_str(&result.text).unwrap();
        let mistakes = json["mistakes"].as_array().unwrap();
        assert_eq!((mistakes.len(), result.code), (1, 1), "{json:#}");
        assert!(json["policy"].is_string(), "{json:#}");
    }
    // A stack that is deployed with the pattern accepts the policy.
    for enforced in ["infrastructure,deployments,team-a/*", "*"] {
        let wider = deploy_registry(&[("EnforceRepositories", enforced)]).await;
        let (result, _) = run(&wider, &words).await;
        assert!(result.code == 0 && !result.text.contains("mistake"), "{}", result.text);
    }
}

#[tokio::test]
async fn a_policy_that_the_stack_would_refuse_has_its_mistakes_listed() {
    let world = deploy(&[("DeploymentsTagMutability", "MUTABLE")]).await;
    let file = write("mistake", &policy_with(&[("applications.Tags.Enforcement", "quarantine")]));
    let options = TestOptions::augment_args(clap::Command::new("test").no_binary_name(true));
    let matches = options.try_get_matches_from([file.to_str().unwrap()]).unwrap();
    let options = TestOptions::from_arg_matches(&matches).unwrap();
    let (stack, today) = (stack(&world).await, world.now().date_naive());
    let file = PolicyFile::read(&options.file).unwrap();
    let result = test(&stack, &file, &options, today).await.unwrap();
    assert_eq!(result.code, 1);
    assert!(result.text.contains("quarantine needs tags that cannot move"), "{}", result.text);
    let unknown = TestOptions { repositories: vec!["team-b/web".parse().unwrap()], ..options };
    let same = PolicyFile::read(&write("unknown", &policy_with(&[]))).unwrap();
    let error = test(&stack, &same, &unknown, today).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry has no repository team-b/web");
}
