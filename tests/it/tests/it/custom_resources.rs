//! A world that needs no function for its custom resources has the same custom resources.

use local_aws::LocalAws;
use local_aws::world::{NOW, World};
use serde_json::{Value, json};

use crate::faults::function::create_custom_resource;

/// The parameters that change a custom resource.
const CHANGED: [(&str, &str); 8] = [
    ("DeploymentsMutabilityExclusions", "sha256-*,v*"),
    ("DeploymentsTagMutability", "MUTABLE_WITH_EXCLUSION"),
    ("EnableEncryption", "false"),
    ("platform.Tags.Enforcement", "report"),
    ("InfrastructureTagMutability", "MUTABLE"),
    ("LifecycleScope", "repository"),
    ("*.Retention.ProtectTags", r#"["*-lts"]"#),
    ("ScanOnPush", "false"),
];

/// The settings of the repositories, the excluded roles, and the environment of each function.
fn settings(world: &World) -> Value {
    let excluded = world.aws.by_hand("ListPullTimeUpdateExclusions", &json!({})).unwrap();
    let mut state = world.aws.state();
    let repositories = state.ecr().repositories.iter();
    let repositories: Vec<Value> = repositories
        .map(|(name, repository)| json!([name, repository.described, repository.lifecycle]))
        .collect();
    let environments = ["image-push", "scan-complete", "image-sweep"]
        .map(|folder| json!(world.function(folder).environment));
    json!({
        "repositories": repositories,
        "excluded": excluded["pullTimeUpdateExclusions"],
        "environments": environments,
    })
}

#[tokio::test(start_paused = true)]
async fn custom_resources_from_their_properties_equal_those_of_the_function() {
    for parameters in [&[][..], &CHANGED] {
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        let created = World::deploy_with(aws, parameters, create_custom_resource).await;
        let expected = settings(&created);
        for (list, count) in [("repositories", 2), ("excluded", 3)] {
            assert_eq!(expected[list].as_array().unwrap().len(), count, "{list}");
        }
        assert_eq!(settings(&World::deploy(parameters).await), expected);
    }
}
