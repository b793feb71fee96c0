//! Delivers alerts and alarms to a Slack channel.
//!
//! The function subscribes to the topic of alerts, to which CloudWatch alarms and rules of
//! EventBridge publish too. It reads each record, renders it ([`warden_alerts::slack`], pure), and
//! sends it to the webhook of the channel. An invocation whose message did not arrive returns an
//! error: Lambda makes two more attempts, and then sends the event, with the reason, to the queue
//! `FailedEvents`.
//!
//! In reading order: [`config`], [`record`], [`webhook`], and [`handle`] here.

pub mod config;
pub mod record;
pub mod webhook;

use std::time::Duration;

use anyhow::bail;
use aws_config::SdkConfig;
use serde_json::Value;
use tokio::time::Instant;
use warden_alerts::slack;
use warden_aws::http::Roots;
use warden_aws::{Invocation, serve};

use crate::config::Config;
use crate::record::Record;
use crate::webhook::Webhook;

/// The time that the function reserves to report its result.
const TIME_TO_END: Duration = Duration::from_secs(1);

/// The clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The webhook of the channel.
    pub webhook: Webhook,
    /// The URL of the documentation that messages may link to.
    pub documentation: String,
}

impl Context {
    /// Clients of one SDK configuration, and so of one HTTP client.
    pub fn new(config: Config, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let Config { secret, documentation } = config;
        Ok(Self { webhook: Webhook::new(sdk, secret)?, documentation })
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Context::new(Config::read(std::env::vars())?, sdk);
    serve(Roots::AtStart, build, async |context, payload, Invocation { time_left, .. }| {
        let until = Instant::now() + time_left.saturating_sub(TIME_TO_END);
        handle(context, &payload, until).await
    })
    .await
}

/// Delivers each message of an event to Slack, before `until`. The error names the messages that
/// did not arrive. A failure does not stop the messages after it.
pub async fn handle(context: &Context, payload: &Value, until: Instant) -> anyhow::Result<()> {
    let records = record::read(payload, &context.documentation)?;
    let count = records.len();
    let mut failed = Vec::new();
    for Record { id, notification } in &records {
        let blocks = slack::render(notification);
        let plain = slack::render_without_blocks(notification);
        if let Err(error) = context.webhook.deliver(&blocks, &plain, until).await {
            let which = if count > 1 { format!("message {id}: ") } else { String::new() };
            failed.push(format!("{which}{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}
