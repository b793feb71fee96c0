//! Starts a round of sweeps: lists the registry, and queues a sweep of each governed repository that
//! is due.
//!
//! [`warden_core::due`] decides which repositories are due, by the last sweep that the ledger has and
//! by what the list of repositories says. A round writes nothing to the ledger. If an attempt is
//! interrupted, the next attempt may queue a repository twice, and the second sweep finds nothing to do.
//!
//! In reading order: [`config`], and [`handle`] in this file.

pub mod config;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::{info, warn};
use warden_aws::http::Roots;
use warden_aws::ledger::Ledger;
use warden_aws::registry::Registry;
use warden_aws::sweep_queue::{SweepMessage, SweepQueue};
use warden_aws::telemetry::Counts;
use warden_aws::{Invocation, serve};
use warden_core::due::{DueReason, SweepHistory};
use warden_core::image::RepositoryName;
use warden_core::policy::Policy;

use crate::config::Config;

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The policies and the environment.
    pub config: Config,
    /// The ECR client.
    pub registry: Registry,
    /// The last sweeps.
    pub ledger: Ledger,
    /// The queue of sweeps.
    pub queue: SweepQueue,
}

impl Context {
    /// Builds the clients of one SDK configuration, which share one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            registry: Registry::new(sdk),
            ledger: Ledger::new(sdk, config.table.clone()),
            queue: SweepQueue::new(sdk, config.queue.clone()),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Ok(Context::new(Config::read(std::env::vars())?, sdk));
    serve(Roots::AtStart, build, async |context, _, Invocation { request_id, now, .. }| {
        handle(context, &request_id, now).await
    })
    .await
}

/// A governed repository that the registry has.
struct Governed<'a> {
    repository: RepositoryName,
    policy: &'a Policy,
    /// The settings of the repository, as one line.
    settings: String,
}

/// Starts a round. The event says nothing that matters. Returns the numbers of repositories as JSON.
/// After an error Lambda tries the event again.
pub async fn handle(
    context: &Context,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Value> {
    let governed = list_governed(context).await?;
    let names = governed.iter().map(|governed| &governed.repository);
    let histories = context.ledger.sweep_histories(names).await?;
    let unknown = SweepHistory::default();
    let (mut messages, mut reasons) = (Vec::new(), BTreeMap::<DueReason, u32>::new());
    let mut overdue = 0;
    for Governed { repository, policy, settings } in &governed {
        let history = histories.get(repository).unwrap_or(&unknown);
        if history.is_overdue(now) {
            overdue += 1;
            warn!(repository.name = %repository, "{repository}: no sweep has been complete for more than a day");
        }
        if let Some(reason) = history.due(policy, settings, now) {
            *reasons.entry(reason).or_default() += 1;
            messages.push(SweepMessage { repository: repository.clone(), pushed: None });
        }
    }
    context.queue.send(&messages).await?;
    let [listed, queued] = [governed.len(), messages.len()].map(count);
    let because: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    info!(
        repositories.governed = listed,
        repositories.queued = queued,
        repositories.overdue = overdue,
        "queued {queued} of {listed} governed repositories: {}",
        because.join(", "),
    );
    Counts::new("Stack", &context.config.stack_name)
        .count("RepositoriesGoverned", listed)
        .count("SweepsQueued", queued)
        .count("RepositoriesOverdue", overdue)
        .write(request_id, now);
    Ok(json!({"governed": listed, "queued": queued, "overdue": overdue, "reasons": because}))
}

/// Lists the governed repositories of the registry.
async fn list_governed(context: &Context) -> anyhow::Result<Vec<Governed<'_>>> {
    let policies = &context.config.policies;
    if policies.is_empty() {
        return Ok(vec![]);
    }
    let listed = context.registry.repositories().await?;
    let governed = listed.into_iter().filter_map(|(repository, facts)| {
        let policy = policies.rule_for(&repository)?;
        Some(Governed { repository, policy, settings: facts.to_string() })
    });
    Ok(governed.collect())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
