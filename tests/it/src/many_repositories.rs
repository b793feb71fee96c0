//! A stack with one rule for many repositories, and its functions in this process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends when its stack cannot be deployed"
)]

use std::time::Duration;

use local_aws::ecr::DAY;
use local_aws::world::World;
use serde_json::{Value, json};
use warden_aws::Invocation;

/// The stack, and the functions of pushes, rounds and sweeps.
pub struct ManyRepositories {
    /// The deployed stack.
    pub world: World,
    push: image_push::Context,
    dispatch: sweep_dispatch::Context,
    sweep: image_sweep::Context,
}

/// The name of a repository.
#[must_use]
pub fn name(nth: usize) -> String {
    format!("team-{}/app-{nth:05}", nth % 7)
}

/// Pushes versions of a component that were pushed long ago, without events.
pub fn fill(world: &World, repository: &str, count: u32) {
    let mut state = world.aws.state();
    let now = state.now();
    for version in 0..count {
        let at = now - (200.0 - f64::from(version)) * DAY;
        state.ecr().push_made_up(repository, &[&format!("myapp-v1.{version}.0")], at).unwrap();
    }
    state.ecr().events.clear();
}

/// Deploys the stack, and creates repositories with so many images each. The rule keeps so many
/// versions in each repository and archives the others. It quarantines tags that violate the grammar.
pub async fn deploy(count: usize, images: u32, keep: u32) -> World {
    let rule = json!({
        "Name": "teams",
        "Repositories": ["team-*"],
        "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "quarantine"},
        "Retention": {"Keep": keep, "Untagged": "delete", "UntaggedDays": 3, "Enforcement": "archive"},
    });
    let world = World::deploy(&[
        ("CreateEcrRepositories", "false"),
        ("EnforceRepositories", "team-*"),
        (".Rules", &json!([rule]).to_string()),
    ])
    .await;
    // The plan of a repository that the stack created needs no confirmation.
    let owner = format!("{}/Repository", world.function("image-sweep").environment["STACK_ID"]);
    for nth in 0..count {
        let name = name(nth);
        let tags = json!([{"Key": "ecr-warden:owner", "Value": owner}]);
        // Enforcement removes only tags that cannot move.
        let create =
            json!({"repositoryName": name, "tags": tags, "imageTagMutability": "IMMUTABLE"});
        world.aws.by_hand("CreateRepository", &create).unwrap();
        fill(&world, &name, images);
    }
    world.forget();
    world
}

impl ManyRepositories {
    /// Starts the functions of a stack of [`deploy`].
    pub async fn deploy(count: usize, images: u32, keep: u32) -> Self {
        let world = deploy(count, images, keep).await;
        let variables = |folder: &str| world.function(folder).environment.clone();
        let push = image_push::config::Config::read(variables("image-push")).unwrap();
        let dispatch = sweep_dispatch::config::Config::read(variables("sweep-dispatch")).unwrap();
        let sweep = image_sweep::config::Config::read(variables("image-sweep")).unwrap();
        let push = image_push::Context::new(push, &world.sdk("image-push"));
        let dispatch = sweep_dispatch::Context::new(dispatch, &world.sdk("sweep-dispatch"));
        // A throttled call is repeated at once.
        let retries = warden_aws::retries().with_initial_backoff(Duration::from_millis(1));
        let sdk = world.sdk("image-sweep").into_builder().retry_config(retries).build();
        let sweep = image_sweep::Context::new(sweep, &sdk);
        // The first event of a process reads the policy.
        push.policy.get(&push.ledger).await.unwrap();
        dispatch.policy.get(&dispatch.ledger).await.unwrap();
        sweep.policy.get(&sweep.ledger).await.unwrap();
        world.forget();
        Self { world, push, dispatch, sweep }
    }

    /// Starts a round.
    pub async fn start_round(&self) -> anyhow::Result<Value> {
        sweep_dispatch::handle(&self.dispatch, &json!({}), "round", self.world.now()).await
    }

    /// Handles a message of the queue of sweeps.
    pub async fn sweep(&self, message: &Value) -> anyhow::Result<Value> {
        let event = json!({"Records": [{"body": message.to_string()}]});
        let request_id = format!("sweep-{}", message["repository"]);
        let (now, time_left) = (self.world.now(), Duration::from_secs(900));
        let invocation = Invocation { request_id, now, time_left };
        image_sweep::handle(&self.sweep, &event, &invocation).await
    }

    /// Pushes an image with this tag, and handles the events of the push.
    pub async fn push(&self, repository: &str, tag: &str) -> anyhow::Result<()> {
        let _ = self.world.push(repository, &[tag]);
        let events = std::mem::take(&mut self.world.aws.state().ecr().events);
        for event in events {
            let id = event["id"].as_str().unwrap_or_default();
            image_push::handle(&self.push, &event, id, self.world.now()).await?;
        }
        Ok(())
    }

    /// Takes the messages of the queue of sweeps.
    pub async fn queued(&self) -> Vec<Value> {
        self.world.take_messages("SweepQueue").await
    }
}
