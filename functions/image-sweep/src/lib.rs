//! Cleanup that cannot hurt what runs, and explains every image.
//!
//! One plan for a whole repository, whoever asks for it: gather, decide, print, act, tell. What
//! is kept and why is decided in [`warden_core::retention`]; here it is found out what there is,
//! and carried out what was decided. All that a run knows is the repository as it is: where one
//! is cut off the next one goes on, and tells what the last one did not get to tell.
//!
//! One run at a time in a repository, by a lease in the ledger; pushes have one an hour between
//! them. What cannot be seen stops a run before the first removal ([`VisibilityError`](warden_aws::registry::VisibilityError)). An error is how
//! an attempt says that there is to be another: Lambda makes two more, and then hands the event
//! to a queue. Time, the request's ID and the deadline are arguments, for tests to set.
//!
//! In reading order: [`config`], [`event`], [`in_use`], [`handle`] here, `sweep`
//! for a run, `complete` for units of earlier runs, `confirmation` for plans that wait for a person,
//! `note` for what the next run publishes, `replication` for copies in other registries, `act` for
//! what changes a repository, `report`, `answer` and `usage` for what is
//! said.

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
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};
use warden_core::image::RepositoryName;

use crate::config::Config;
use crate::event::SweepCommand;
use crate::in_use::Inspector;
use crate::sweep::Sweep;

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// What is governed, and how.
    pub config: Config,
    /// Images.
    pub registry: Registry,
    /// What runs.
    pub inspector: Inspector,
    /// Where alerts go.
    pub alerts: Topic,
    /// Published facts, and the lease of a run.
    pub ledger: Ledger,
}

impl Context {
    /// Clients of one SDK configuration, and so of one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            registry: Registry::new(sdk),
            inspector: Inspector::new(sdk),
            alerts: Topic::new(sdk, config.topic.clone()),
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

/// Does what is asked for, and answers what came of it. After an error it is to be tried again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    invocation: &Invocation,
) -> anyhow::Result<Value> {
    let Invocation { request_id, now, .. } = invocation;
    let now = *now;
    let Some(request) = event::read(payload, request_id, now)? else { return Ok(Value::Null) };
    let repository = &request.repository;
    let Some(policy) = context.config.policies.rule_for(repository) else {
        if matches!(request.command, SweepCommand::Pushed(_)) {
            return Ok(Value::Null);
        }
        let governed = context.config.policies.iter().map(|policy| &policy.repository_name);
        let governed: Vec<&str> = governed.map(RepositoryName::as_str).collect();
        bail!("{repository} is not governed; these are: {}", governed.join(", "));
    };
    let sweep = Sweep::new(context, policy, invocation, &request.source, now);
    match &request.command {
        SweepCommand::Read => return Box::pin(sweep.read()).await,
        SweepCommand::Explain(image) => return Box::pin(sweep.explain(image)).await,
        SweepCommand::Pushed(_)
            if !context.ledger.claim_hourly_sweep(repository, request_id, now).await? =>
        {
            info!(repository.name = %repository, "{repository}: another push of this hour sweeps");
            return Ok(Value::Null);
        }
        SweepCommand::Pushed(_) | SweepCommand::Sweep => {}
    }
    let unfinished = match context.ledger.begin_run(repository, request_id, now).await? {
        RunLease::Ours(unfinished) => unfinished,
        RunLease::Theirs => {
            let why = "another run is under way";
            info!(repository.name = %repository, "{repository}: {why}");
            return Ok(answer::stopped(repository, why));
        }
    };
    // On the heap: one future within the other is more than the compiler lays out.
    let swept = Box::pin(sweep.run(unfinished, &request.command)).await;
    if swept.is_err() {
        // Who waits for the lease to end by itself waits long.
        let ended = context.ledger.end_run(repository, request_id, false, None).await;
        ended.unwrap_or_else(|error| error!("{error:#}"));
    }
    swept.with_context(|| format!("sweeping {repository}"))
}
