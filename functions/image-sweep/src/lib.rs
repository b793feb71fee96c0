//! Cleans up a repository by its retention rules, and explains the decision about every image.
//!
//! A run plans for a whole repository: it reads the images, decides, logs the plan, applies the plan
//! and publishes the outcome. [`warden_core::retention`] decides which images are kept and why; this
//! function reads the images and carries out the decisions. A run keeps no state but the repository
//! and the ledger. If a run is killed, the next run continues and publishes the changes that the
//! killed run did not publish.
//!
//! A lease in the ledger allows one run at a time in a repository. Pushes start at most one run an
//! hour. If a run cannot read something that it needs, it stops before the first removal
//! ([`VisibilityError`](warden_aws::registry::VisibilityError)). An error makes Lambda try the event again: two more
//! attempts, and then the event goes to a dead-letter queue. Tests set the time, the request ID and
//! the deadline, which are arguments.
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
use warden_aws::alerts::Topic;
use warden_aws::http::Roots;
use warden_aws::ledger::{Ledger, RunLease};
use warden_aws::policy::DeployedPolicy;
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};

use warden_core::policy::InUse;
use warden_core::policy::governance::RepositoryOrigin;

use crate::config::Config;
use crate::event::SweepCommand;
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
    /// The topic that alerts are published to.
    pub alerts: Topic,
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
            alerts: Topic::new(
                sdk,
                config.topic.clone(),
                config.documentation.clone(),
                config.stack_name.clone(),
                config.policy_version.clone(),
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

/// Handles one request, and returns the outcome as JSON. After an error Lambda tries the event again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    invocation: &Invocation,
) -> anyhow::Result<Value> {
    let Invocation { request_id, now, .. } = invocation;
    let now = *now;
    let Some(request) = event::read(payload, request_id, now)? else { return Ok(Value::Null) };
    let repository = &request.repository;
    let governance = context.policy.get(&context.ledger).await?;
    let Some(mut policy) = governance.policy_of(repository, RepositoryOrigin::Pushed) else {
        if matches!(request.command, SweepCommand::Pushed(_)) {
            return Ok(Value::Null);
        }
        bail!(
            "no rule of the policy {} governs the repository {repository}",
            context.config.policy_version
        );
    };
    if context.config.in_use.contains(&InUse::Inspector) {
        policy.governance.retention.in_use = InUse::Inspector;
    }
    let is_provisioned = governance.find_provisioned(repository).is_some();
    let sweep = Sweep::new(context, &policy, is_provisioned, invocation, &request.source, now);
    match &request.command {
        SweepCommand::Read => return Box::pin(sweep.read()).await,
        SweepCommand::Explain(image) => return Box::pin(sweep.explain(image)).await,
        SweepCommand::Pushed(_)
            if !context.ledger.claim_hourly_sweep(repository, request_id, now).await? =>
        {
            info!(
                repository.name = %repository,
                "{repository}: an earlier push of this hour has started a sweep",
            );
            return Ok(Value::Null);
        }
        SweepCommand::Pushed(_) | SweepCommand::Sweep => {}
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
        let ended = context.ledger.end_run(repository, request_id, false, None).await;
        ended.unwrap_or_else(|error| error!("{error:#}"));
    }
    swept.with_context(|| format!("sweeping {repository}"))
}
