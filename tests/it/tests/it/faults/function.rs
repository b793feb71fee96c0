//! The functions as Lambda runs them, in the process of the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use local_aws::LocalAws;
use local_aws::ecr::Time;
use local_aws::world::{self, World};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use warden_aws::Invocation;

/// The time of a new stack: five seconds after the events of `events/scan-complete`.
const NOW: Time = 1_795_514_405.0;

/// Deploys the stack. The function of the custom resources creates them.
pub async fn deploy(parameters: &[(&str, &str)]) -> World {
    let aws = LocalAws::default();
    aws.state().set_clock(Some(NOW));
    World::deploy_with(aws, parameters, create_custom_resource).await
}

/// Has the function of the custom resources answer a request to create one.
pub async fn create_custom_resource(world: &World, request: Value) -> (String, Value) {
    let sdk = sdk(world, "custom-resource");
    let variables = world.function("custom-resource").environment.clone();
    let config = custom_resource::config::Config::read(variables).unwrap();
    let context = Arc::new(custom_resource::Context::new(config, &sdk).unwrap());
    let time_left = world.function("custom-resource").timeout;
    let invocation = Invocation { request_id: String::new(), now: world.now(), time_left };
    custom_resource::handle(&context, &request, &invocation).await;
    let answer = world.aws.state().answers.remove(0);
    assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
    let attributes = answer.get("Data").cloned().unwrap_or_else(|| json!({}));
    (answer["PhysicalResourceId"].as_str().unwrap().to_owned(), attributes)
}

/// The SDK's configuration of a function, with the retries and the timeouts that we ship.
fn sdk(world: &World, folder: &str) -> SdkConfig {
    let sdk = world.sdk(folder).into_builder().retry_config(warden_aws::retries());
    sdk.timeout_config(warden_aws::timeouts()).build()
}

/// A function that handles events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    ImagePush,
    ScanComplete,
    ImageSweep,
    SlackNotifier,
    SweepDispatch,
}

impl Function {
    /// The folder of the function, under `functions/` and under `events/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::ImagePush => "image-push",
            Self::ScanComplete => "scan-complete",
            Self::ImageSweep => "image-sweep",
            Self::SlackNotifier => "slack-notifier",
            Self::SweepDispatch => "sweep-dispatch",
        }
    }

    /// The events of the function, by the names of their files.
    pub fn events(self) -> BTreeMap<String, Value> {
        world::events(self.folder())
    }

    /// How long an attempt may take.
    pub fn timeout(self, world: &World) -> Duration {
        world.function(self.folder()).timeout
    }

    /// Makes one attempt, in a process of its own: it knows nothing of another attempt.
    pub async fn attempt(
        self,
        world: &World,
        event: &Value,
        request_id: &str,
    ) -> anyhow::Result<Value> {
        let (sdk, now) = (&sdk(world, self.folder()), world.now());
        let variables = world.function(self.folder()).environment.clone();
        match self {
            Self::ImagePush => {
                let config = image_push::config::Config::read(variables)?;
                let context = image_push::Context::new(config, sdk);
                image_push::handle(&context, event, request_id, now).await?;
            }
            Self::ScanComplete => {
                let config = scan_complete::config::Config::read(variables)?;
                let context = scan_complete::Context::new(config, sdk);
                scan_complete::handle(&context, event, request_id, now).await?;
            }
            Self::ImageSweep => {
                let config = image_sweep::config::Config::read(variables)?;
                let context = image_sweep::Context::new(config, sdk);
                let (request_id, time_left) = (request_id.to_owned(), self.timeout(world));
                let invocation = Invocation { request_id, now, time_left };
                return image_sweep::handle(&context, event, &invocation).await;
            }
            Self::SlackNotifier => {
                let config = slack_notifier::config::Config::read(variables)?;
                let context = slack_notifier::Context::new(config, sdk)?;
                let deadline = Instant::now() + self.timeout(world);
                slack_notifier::handle(&context, event, deadline).await?;
            }
            Self::SweepDispatch => {
                let config = sweep_dispatch::config::Config::read(variables)?;
                let context = sweep_dispatch::Context::new(config, sdk);
                return sweep_dispatch::handle(&context, event, request_id, now).await;
            }
        }
        Ok(Value::Null)
    }

    /// As Lambda does with an event: three attempts with one ID, the second a minute and the
    /// third two minutes later. `after_the_first` is called when the first has ended, which is
    /// cut off after so long. Gives the errors of all attempts if none of them succeeded: then
    /// the event is in the queue of those that failed.
    pub async fn invoke(
        self,
        world: &World,
        event: &Value,
        request_id: &str,
        cut_off: Duration,
        after_the_first: impl FnOnce(),
    ) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        let mut after_the_first = Some(after_the_first);
        let mut limit = cut_off;
        for wait in [60, 120, 0] {
            let attempt = Box::pin(self.attempt(world, event, request_id));
            let ended = timeout(limit, attempt).await;
            if let Some(then) = after_the_first.take() {
                then();
            }
            match ended {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => errors.push(format!("{error:#}")),
                Err(_) => errors.push("cut off".to_owned()),
            }
            limit = self.timeout(world);
            world.aws.advance(Duration::from_secs(wait));
        }
        Err(errors)
    }
}
