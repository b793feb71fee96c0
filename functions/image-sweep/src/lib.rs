//! Cleans up a repository by its retention rules, and explains the decision about every image.
//!
//! A run plans for a whole repository: it reads the images, decides, logs the plan, applies the plan
//! and publishes the outcome. [`warden_core::retention`] decides which images are kept and why; this
//! function reads the images and carries out the decisions. A run keeps no state but the repository
//! and the ledger. If a run is killed, the next run continues and publishes the changes that the
//! killed run did not publish.
//!
//! The queue of sweeps has one repository in each message ([`warden_aws::sweep_queue`]). A lease in the
//! ledger allows one run at a time in a repository, so a message that meets a run does nothing. If a
//! run cannot read something that it needs, it stops before the first removal
//! ([`VisibilityError`](warden_aws::registry::VisibilityError)). After an error the queue delivers the message again, and
//! after the last attempt the message goes to a dead-letter queue. Tests set the time, the request ID
//! and the deadline, which are arguments.
//!
//! In reading order: [`config`], [`event`], [`in_use`], [`handle`] in this file, `sweep` for a run,
//! `complete` for units of earlier runs, `confirmation` for plans that wait for a person, `note` for
//! the changes that the next run publishes, `replication` for copies in other registries, `act` for
//! the calls that change a repository, and `report`, `answer` and `usage` for logs and answers.

mod act;
mod answer;
mod complete;
pub mod config;
mod confirmation;
pub mod event;
pub mod in_use;
mod note;
mod replication;
mod report;
mod sweep;
mod usage;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use serde_json::Value;
use tracing::{error, info};
use warden_aws::alerts::{AlertDestinations, AlertSettings};
use warden_aws::http::Roots;
use warden_aws::ledger::{Ledger, RunEnd, RunLease};
use warden_aws::policy::DeployedPolicy;
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};

use crate::config::Config;
use crate::event::{GIVEN_POLICY, SweepCommand};
use crate::in_use::Inspector;
use crate::sweep::Sweep;

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub config: Config,
    /// The policy of the deployment.
    pub policy: DeployedPolicy,
    /// The ECR client.
    pub registry: Registry,
    /// The Inspector client, which lists the running images.
    pub inspector: Inspector,
    /// The topic and the bus that alerts are published to.
    pub alerts: AlertDestinations,
    /// Published facts, and the leases of runs.
    pub ledger: Ledger,
}

impl Context {
    /// Builds the clients of one SDK configuration, which share one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            policy: DeployedPolicy::new(config.policy_version.clone()),
            registry: Registry::new(sdk),
            inspector: Inspector::new(sdk),
            alerts: AlertDestinations::new(
                sdk,
                AlertSettings {
                    topic_arn: config.topic.clone(),
                    bus_name: config.bus.clone(),
                    documentation: config.documentation.clone(),
                    stack: config.stack_name.clone(),
                    policy: config.policy_version.clone(),
                },
            ),
            ledger: Ledger::new(sdk, config.table.clone()),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Ok(Context::new(Config::read(std::env::vars())?, sdk));
    serve(Roots::AtStart, build, async |context, payload, invocation| {
        handle(context, &payload, &invocation).await
    })
    .await
}

/// Handles one request, and returns the outcome as JSON. After an error the queue delivers the message
/// again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    invocation: &Invocation,
) -> anyhow::Result<Value> {
    let Invocation { request_id, now, .. } = invocation;
    let now = *now;
    let request = event::read(payload, request_id, now)?;
    let repository = &request.repository;
    let Context { policy, registry, ledger, .. } = context;
    let (policy, deployed_at) = match &request.command {
        SweepCommand::Read(Some(given)) => (Some(given.as_ref().clone()), None),
        _ => (
            policy.find_rule(repository, registry, ledger).await?,
            policy.deployed_at(ledger).await?,
        ),
    };
    let Some(policy) = policy else {
        // The policy may have changed since the message was sent.
        if matches!(request.command, SweepCommand::Queued(_)) {
            return Ok(Value::Null);
        }
        bail!(
            "no rule of the policy {} governs the repository {repository}",
            context.config.policy_version
        );
    };
    let sweep = Sweep::new(context, &policy, deployed_at, invocation, &request.source);
    match &request.command {
        SweepCommand::Read(given) => {
            let version =
                given.as_ref().map_or(context.config.policy_version.as_str(), |_| GIVEN_POLICY);
            return Box::pin(sweep.read(version)).await;
        }
        SweepCommand::Explain(image) => return Box::pin(sweep.explain(image)).await,
        SweepCommand::Queued(_) | SweepCommand::Sweep => {}
    }
    let unfinished = match context.ledger.begin_run(repository, request_id, now).await? {
        RunLease::Ours(unfinished) => unfinished,
        RunLease::Theirs => {
            let why = "another sweep of this repository is running";
            info!(repository.name = %repository, "{repository}: {why}");
            return Ok(answer::describe_stop(repository, why));
        }
    };
    // Boxed, because the nested futures exceed the limits of the compiler.
    let swept = Box::pin(sweep.run(unfinished, &request.command)).await;
    if swept.is_err() {
        // Without this call, the next run would wait until the lease expires.
        let ended = context.ledger.end_run(repository, request_id, RunEnd::default()).await;
        ended.unwrap_or_else(|error| error!("{error:#}"));
    }
    swept.with_context(|| format!("sweeping {repository}"))
}
