//! People hear about what is new in the findings of a scan, once.
//!
//! A scan is compared with what the ledger remembers of its component: gather, decide, print,
//! tell, remember. What is remembered is claimed first and settled last, so that news is told
//! although an attempt is cut off anywhere, and told once although an event comes twice.
//! Nothing here changes a repository.
//!
//! An error is how an attempt says that there is to be another: Lambda makes two more, a minute
//! and three later, and then hands the event to a queue. So the function's time (45 s) is
//! shorter than a claim's ([`warden_aws::ledger::LEASE`]), and that shorter than the minute. Time and
//! the request's ID are arguments, for tests to set.
//!
//! In reading order: [`config`], [`event`], [`risks`], [`handle`] here, [`batch`] for the messages of
//! a queue, `scan` for the outcome of a scan, `round` for the daily check, and
//! `change` for a change of the accepted risks.

pub mod batch;
mod change;
pub mod config;
pub mod event;
pub mod risks;
mod round;
mod scan;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::{error, info};
use warden_alerts::{Alert, AlertOrigin};
use warden_aws::alerts::Topic;
use warden_aws::http::Roots;
use warden_aws::ledger::{Claim, Fact, Ledger, PreviousClaim};
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};

use crate::config::Config;
use crate::event::Event;
use crate::risks::Risks;

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// What is governed, and how.
    pub config: Config,
    /// Images and their scans.
    pub registry: Registry,
    /// What is accepted.
    pub risks: Risks,
    /// Where alerts go.
    pub alerts: Topic,
    /// Published facts, and the history of scans.
    pub ledger: Ledger,
}

impl Context {
    /// Clients of one SDK configuration, and so of one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            registry: Registry::new(sdk),
            risks: Risks::new(sdk, config.parameter.clone()),
            alerts: Topic::new(sdk, config.topic.clone()),
            ledger: Ledger::new(sdk, config.table.clone()),
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

/// Sees to one event. The request ID is that of the invocation, the same in each of its
/// attempts. After an error it is to be tried again.
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
    let teller = AlertPublisher { context, request_id, now };
    match event {
        Event::DailyRiskCheck(origin) => round::handle(&teller, &origin).await,
        Event::ParameterChange { name, origin } if name == context.config.parameter => {
            change::handle(&teller, &origin).await
        }
        Event::ParameterChange { .. } => Ok(()),
        Event::Scan(scan) => match context.config.policies.rule_for(&scan.about.repository) {
            Some(policy) => scan::Invocation::new(teller, policy, &scan).handle().await,
            None => Ok(()),
        },
    }
}

/// Whoever tells something in this invocation.
struct AlertPublisher<'a> {
    context: &'a Context,
    request_id: &'a str,
    now: DateTime<Utc>,
}

impl AlertPublisher<'_> {
    /// Tells a fact, unless it was told, or somebody else is telling it just now, who does it
    /// or tries again.
    async fn tell(&self, fact: Fact<'_>, alert: &Alert) -> anyhow::Result<()> {
        self.publish_once(fact, alert).await.map(|_| ())
    }

    /// The same. Gives whether the fact is published now: not if another invocation is at work.
    async fn publish_once(&self, fact: Fact<'_>, alert: &Alert) -> anyhow::Result<bool> {
        let ledger = &self.context.ledger;
        let told = match ledger.claim(fact, self.request_id, &alert.source.id, self.now).await? {
            Claim::Theirs { .. } => return Ok(false),
            Claim::Ours(PreviousClaim { published: Some(_), .. }) => None,
            Claim::Ours(_) => {
                info!("{}", alert.title);
                self.context.alerts.publish(alert).await?;
                Some("told")
            }
        };
        ledger.settle(fact, self.request_id, told, self.now).await?;
        Ok(true)
    }

    /// Tells that the accepted risks cannot be read, once a day.
    async fn tell_of_risks(
        &self,
        place: &AlertOrigin<'_>,
        why: &anyhow::Error,
    ) -> anyhow::Result<()> {
        let why = format!("{why:#}");
        error!("the accepted risks cannot be read: {why}");
        let fact = Fact::SelfAudit { rule: "accepted-risks", day: self.now.date_naive() };
        self.tell(fact, &warden_alerts::unreadable_risks(place, &why)).await
    }
}
