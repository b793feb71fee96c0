//! Starts a round of sweeps: lists the registry, queues a sweep of each governed repository that is due, and
//! publishes the digest of the rules that only report and the warnings of the policy.
//!
//! [`warden_core::due`] decides which repositories are due, by the last sweep that the ledger has and
//! by what the list of repositories says. If an attempt is interrupted, the next attempt may queue a repository
//! twice, and the second sweep finds nothing to do.
//!
//! In reading order: [`config`], [`handle`] in this file, and `digest`.

pub mod config;
mod digest;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::{info, warn};
use warden_aws::alerts::{AlertDestinations, AlertSettings};
use warden_aws::http::Roots;
use warden_aws::ledger::Ledger;
use warden_aws::policy::DeployedPolicy;
use warden_aws::registry::Registry;
use warden_aws::sweep_queue::{SweepMessage, SweepQueue};
use warden_aws::telemetry::Counts;
use warden_aws::{Invocation, join_errors, serve};
use warden_core::due::{DueReason, SweepHistory};
use warden_core::policy::{Policy, RepositoryOrigin};

use crate::config::Config;
use crate::digest::Publication;

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub config: Config,
    /// The policy of the deployment.
    pub policy: DeployedPolicy,
    /// The ECR client.
    pub registry: Registry,
    /// The last sweeps, reported violations, and published facts.
    pub ledger: Ledger,
    /// The topic and the bus that alerts are published to.
    pub alerts: AlertDestinations,
    /// The queue of sweeps.
    pub queue: SweepQueue,
}

impl Context {
    /// Builds the clients of one SDK configuration, which share one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            policy: DeployedPolicy::new(config.policy_version.clone()),
            registry: Registry::new(sdk),
            ledger: Ledger::new(sdk, config.table.clone()),
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
            queue: SweepQueue::new(sdk, config.queue.clone()),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Ok(Context::new(Config::read(std::env::vars())?, sdk));
    serve(Roots::AtStart, build, async |context, payload, Invocation { request_id, now, .. }| {
        handle(context, &payload, &request_id, now).await
    })
    .await
}

/// A repository of the registry that a rule governs.
struct Governed {
    policy: Policy,
    /// The settings of the repository, as one line.
    settings: String,
    /// Whether no rule, or another rule, governs a replica of this name.
    depends_on_origin: bool,
}

/// Starts a round, or publishes the digests of this week if the event is `{"digest": "now"}`. Nothing else in an
/// event matters. Returns the numbers of repositories or of alerts as JSON. After an error Lambda tries the
/// event again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Value> {
    let governed = list_governed(context).await?;
    let publication = Publication::new(context, request_id, now);
    if *payload == json!({"digest": "now"}) {
        return Ok(json!({"digests": publication.publish_this_week(&governed).await?}));
    }
    // An error of one step does not prevent the other step.
    let queued = queue_sweeps(context, &governed, request_id, now).await;
    let published = join_errors(
        publication.publish_warnings().await,
        publication.publish_last_week(&governed).await,
    );
    join_errors(published, queued)
}

/// Queues a sweep of each governed repository that is due. Returns the numbers of repositories as JSON.
async fn queue_sweeps(
    context: &Context,
    governed: &[Governed],
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Value> {
    let names = governed.iter().map(|governed| &governed.policy.repository_name);
    let histories = context.ledger.sweep_histories(names).await?;
    let unknown = SweepHistory::default();
    let history =
        |governed: &Governed| histories.get(&governed.policy.repository_name).unwrap_or(&unknown);
    let is_candidate = |governed: &&Governed| {
        let Governed { policy, settings, .. } = governed;
        let history = history(governed);
        history.is_overdue(now) || history.due(policy, settings, now).is_some()
    };
    let candidates: Vec<&Governed> = governed.iter().filter(is_candidate).collect();
    let doubtful = candidates.iter().filter(|governed| governed.depends_on_origin);
    let doubtful = doubtful.map(|governed| &governed.policy.repository_name);
    let replicas = context.ledger.select_replicas(doubtful).await?;
    let (mut messages, mut reasons) = (Vec::new(), BTreeMap::<DueReason, u32>::new());
    let mut overdue = 0;
    for governed in candidates {
        let Governed { policy, settings, depends_on_origin } = governed;
        let repository = &policy.repository_name;
        if *depends_on_origin && replicas.contains(repository) {
            continue;
        }
        let history = history(governed);
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

/// Lists the governed repositories of the registry. A replica that only a wildcard matches is among them,
/// because only the ledger knows the replicas.
async fn list_governed(context: &Context) -> anyhow::Result<Vec<Governed>> {
    let governance = context.policy.get(&context.ledger).await?;
    let listed =
        tokio::try_join!(context.registry.repositories(), context.registry.cache_prefixes());
    let (repositories, prefixes) = listed?;
    let governed = repositories.into_iter().filter_map(|(repository, facts)| {
        let origin = RepositoryOrigin::classify(&repository, &prefixes, false);
        let policy = governance.rule_for(&repository, origin)?;
        let depends_on_origin = governance.depends_on_origin(&repository);
        Some(Governed { policy, settings: facts.to_string(), depends_on_origin })
    });
    Ok(governed.collect())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
