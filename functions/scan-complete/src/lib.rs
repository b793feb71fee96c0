//! Publishes the new findings of each scan, once.
//!
//! The function compares a scan with the history of its release line in the ledger: it collects
//! the findings, decides, logs, publishes and stores the new history. It claims the history first and
//! settles the claim last. If an attempt is killed at any point, the next attempt still publishes the
//! findings. If one event is handled twice, the findings are published once. The function never
//! changes a repository.
//!
//! An error makes Lambda try the event again: two more attempts, after one and three minutes, and
//! then the event goes to a dead-letter queue. Therefore the function's timeout (45 s) is shorter
//! than the lease of a claim ([`warden_aws::ledger::LEASE`]), and the lease is shorter than a minute.
//! Tests set the time and the request ID, which are arguments.
//!
//! In reading order: [`config`], [`event`], [`risks`], [`handle`] in this file, [`batch`] for the
//! messages of a queue, `scan` for the outcome of a scan, `daily_check` for accepted risks that
//! expire, and `risks_change` for changes of the accepted risks.

pub mod batch;
pub mod config;
mod daily_check;
pub mod event;
pub mod risks;
mod risks_change;
mod scan;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::{error, info};
use warden_alerts::{Alert, AlertOrigin};
use warden_aws::alerts::{AlertDestinations, AlertSettings};
use warden_aws::http::Roots;
use warden_aws::ledger::{Claim, Fact, Ledger, PreviousClaim};
use warden_aws::policy::DeployedPolicy;
use warden_aws::recheck_queue::RecheckQueue;
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};

use crate::config::Config;
use crate::event::Event;
use crate::risks::Risks;

/// The outcome that the ledger stores for a published fact.
const PUBLISHED: &str = "published";

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub config: Config,
    /// The policy of the deployment.
    pub policy: DeployedPolicy,
    /// The ECR client.
    pub registry: Registry,
    /// The parameter of accepted risks.
    pub risks: Risks,
    /// The topic and the bus that alerts are published to.
    pub alerts: AlertDestinations,
    /// Published facts, and the history of scans.
    pub ledger: Ledger,
    /// The queue of images that are compared again later.
    pub rechecks: RecheckQueue,
}

impl Context {
    /// Builds the clients of one SDK configuration, which share one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            policy: DeployedPolicy::new(config.policy_version.clone()),
            registry: Registry::new(sdk),
            risks: Risks::new(sdk, config.parameter.clone()),
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
            rechecks: RecheckQueue::new(sdk, config.rechecks.clone()),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Ok(Context::new(Config::read(std::env::vars())?, sdk));
    serve(Roots::AtStart, build, async |context, payload, Invocation { request_id, now, .. }| {
        match batch::read(&payload)? {
            Some(messages) => Ok(batch::handle(context, messages, now).await),
            None => handle(context, &payload, &request_id, now).await.map(|()| Value::Null),
        }
    })
    .await
}

/// Handles one event. All attempts of one invocation have the same request ID. After an error Lambda
/// tries the event again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match event::read(payload)? {
        None => Ok(()),
        Some(event) => handle_event(context, event, request_id, now).await,
    }
}

async fn handle_event(
    context: &Context,
    event: Event,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let publisher = AlertPublisher { context, request_id, now };
    match event {
        Event::DailyRiskCheck(origin) => daily_check::handle(&publisher, &origin).await,
        Event::ParameterChange { name, origin } if name == context.config.parameter => {
            risks_change::handle(&publisher, &origin).await
        }
        Event::ParameterChange { .. } => Ok(()),
        Event::Scan(scan) => {
            let Context { policy, registry, ledger, .. } = context;
            match policy.find_rule(&scan.about.repository, registry, ledger).await? {
                Some(policy) => scan::Invocation::new(publisher, &policy, &scan).handle().await,
                None => Ok(()),
            }
        }
    }
}

/// Publishes the alerts of one invocation.
struct AlertPublisher<'a> {
    context: &'a Context,
    request_id: &'a str,
    now: DateTime<Utc>,
}

impl AlertPublisher<'_> {
    /// Publishes a fact, unless it was published before. If another invocation has claimed the fact,
    /// returns false: that invocation, or a retry of it, publishes the fact.
    async fn publish_once(&self, fact: Fact<'_>, alert: &Alert) -> anyhow::Result<bool> {
        let ledger = &self.context.ledger;
        let outcome =
            match ledger.claim(fact, self.request_id, &alert.source.id, None, self.now).await? {
                Claim::Theirs { .. } => return Ok(false),
                Claim::Ours(PreviousClaim { published: Some(_), .. }) => None,
                Claim::Ours(_) => {
                    info!("{}", alert.title);
                    self.publish(alert, &fact.to_string(), PUBLISHED).await?;
                    Some(PUBLISHED)
                }
            };
        ledger.settle(fact, self.request_id, outcome, self.now).await?;
        Ok(true)
    }

    /// Publishes an alert about a subject, to each destination once. `identity` is the same in each attempt.
    async fn publish(&self, alert: &Alert, subject: &str, identity: &str) -> anyhow::Result<()> {
        let Context { alerts, ledger, .. } = self.context;
        alerts.publish(ledger, alert, subject, identity, self.now).await
    }

    /// Publishes, once a day, that the accepted risks cannot be read.
    async fn publish_unreadable_risks(
        &self,
        origin: &AlertOrigin<'_>,
        error: &anyhow::Error,
    ) -> anyhow::Result<()> {
        let reason = format!("{error:#}");
        error!("the accepted risks in the parameter {} cannot be read: {reason}", origin.parameter);
        let fact = Fact::SelfAudit { rule: "accepted-risks", day: self.now.date_naive() };
        self.publish_once(fact, &warden_alerts::unreadable_risks(origin, &reason)).await?;
        Ok(())
    }
}
