//! Cleanup that cannot hurt what runs, and explains every image.
//!
//! One plan for a whole repository, whoever asks for it: gather, decide, print, act, tell. What
//! is kept and why is decided in [`warden_core::retention`]; here it is found out what there is,
//! and carried out what was decided. All that a run knows is the repository as it is: where one
//! is cut off the next one goes on, and tells what the last one did not get to tell.
//!
//! One run at a time in a repository, by a lease in the ledger; pushes have one an hour between
//! them. What cannot be seen stops a run before the first removal ([`Blind`]). An error is how
//! an attempt says that there is to be another: Lambda makes two more, and then hands the event
//! to a queue. Time, the request's ID and the deadline are arguments, for tests to set.
//!
//! In reading order: [`config`], [`event`], [`registry`], [`in_use`], [`handle`] here, `sweep`
//! for a run, `act` for what changes a repository, `report`, `answer` and `stock` for what is
//! said.

mod act;
mod answer;
pub mod config;
pub mod event;
pub mod in_use;
pub mod registry;
mod report;
mod stock;
mod sweep;

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tracing::{error, info};
use warden_aws::alerts::Topic;
use warden_aws::http::Roots;
use warden_aws::ledger::{Begun, Ledger};
use warden_core::image::RepositoryName;

use crate::config::Config;
use crate::event::Wish;
use crate::in_use::Inspector;
use crate::registry::Registry;
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
    /// What was told, and who is at work.
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

/// What has to be seen before anything is removed, and cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Blind(pub String);

/// The invocation, as Lambda tells of it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its ID, the same in each of its attempts.
    pub request_id: String,
    /// How long it may take.
    pub time_left: Duration,
}

/// Serves the Lambda runtime until it ends the process. A configuration that cannot be
/// understood ends it before it begins.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    warden_aws::telemetry::init();
    let config = Config::read(std::env::vars())
        .inspect_err(|error| error!("the function's environment: {error:#}"))?;
    let context = &Context::new(config, &warden_aws::config(Roots::AtStart).await);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let invocation = Invocation {
            time_left: warden_aws::time_left(&event.context, SystemTime::now()),
            request_id: event.context.request_id,
        };
        let handled = handle(context, &event.payload, &invocation, Utc::now()).await;
        handled.map_err(warden_aws::Failure::from)
    }))
    .await
}

/// Does what is asked for, and answers what came of it. After an error it is to be tried again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    invocation: &Invocation,
    now: DateTime<Utc>,
) -> anyhow::Result<Value> {
    let request_id = &invocation.request_id;
    let Some(order) = event::read(payload, request_id, now)? else { return Ok(Value::Null) };
    let repository = &order.repository;
    let Some(policy) = context.config.policy(repository) else {
        if matches!(order.wish, Wish::Pushed(_)) {
            return Ok(Value::Null);
        }
        let governed = context.config.policies.iter().map(|policy| &policy.repository_name);
        let governed: Vec<&str> = governed.map(RepositoryName::as_str).collect();
        bail!("{repository} is not governed; these are: {}", governed.join(", "));
    };
    let sweep = Sweep::new(context, policy, invocation, &order.source, now);
    match &order.wish {
        Wish::Read => return Box::pin(sweep.read()).await,
        Wish::Explain(image) => return Box::pin(sweep.explain(image)).await,
        Wish::Pushed(_) if !context.ledger.has_hour(repository, request_id, now).await? => {
            info!(repository.name = %repository, "{repository}: another push of this hour sweeps");
            return Ok(Value::Null);
        }
        Wish::Pushed(_) | Wish::Sweep | Wish::Confirm(_) => {}
    }
    let unfinished = match context.ledger.begin_run(repository, request_id, now).await? {
        Begun::Ours(unfinished) => unfinished,
        Begun::Theirs => {
            let why = "another run is under way";
            info!(repository.name = %repository, "{repository}: {why}");
            return Ok(answer::stopped(repository, why));
        }
    };
    // On the heap: one future within the other is more than the compiler lays out.
    let swept = Box::pin(sweep.run(unfinished, &order.wish)).await;
    if swept.is_err() {
        // Who waits for the lease to end by itself waits long.
        let ended = context.ledger.end_run(repository, request_id, false).await;
        ended.unwrap_or_else(|error| error!("{error:#}"));
    }
    swept.with_context(|| format!("sweeping {repository}"))
}
