//! Alerts and alarms are brought to a Slack channel.
//!
//! The function is subscribed to the topic of alerts, and so also gets what CloudWatch and rules
//! of EventBridge publish there. It reads what came, renders it (pure), and sends it to the
//! channel's webhook. An error is how an invocation says that the message has not arrived:
//! Lambda makes two more attempts, and then hands the event, with the reason, to the queue
//! `FailedEvents`.
//!
//! In reading order: [`config`], [`message`], [`blocks`] which makes a [`payload`] of it, of
//! [`text`]s that are fit for Slack, [`webhook`], and [`handle`] here.

pub mod blocks;
pub mod config;
pub mod message;
pub mod payload;
pub mod text;
pub mod webhook;

use std::time::Duration;

use anyhow::bail;
use aws_config::SdkConfig;
use serde_json::Value;
use tokio::time::Instant;
use warden_aws::http::Roots;
use warden_aws::{Invocation, serve};

use crate::config::Config;
use crate::message::Record;
use crate::webhook::Webhook;

/// What is kept of the function's time to say how it ended.
const TIME_TO_END: Duration = Duration::from_secs(1);

/// The clients, built once.
#[derive(Debug)]
pub struct Context {
    /// Where messages go.
    pub webhook: Webhook,
}

impl Context {
    /// Clients of one SDK configuration, and so of one HTTP client.
    pub fn new(config: Config, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self { webhook: Webhook::new(sdk, config.secret)? })
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

/// Brings each message of an event to Slack, before `until`. The error names those that did not
/// arrive: none stands in the way of the others.
pub async fn handle(context: &Context, payload: &Value, until: Instant) -> anyhow::Result<()> {
    let records = message::read(payload)?;
    let of = records.len();
    let mut failed = Vec::new();
    for Record { id, message } in &records {
        let (blocks, plain) = (blocks::render(message), blocks::plain(message));
        if let Err(error) = context.webhook.deliver(&blocks, &plain, until).await {
            let which = if of > 1 { format!("message {id}: ") } else { String::new() };
            failed.push(format!("{which}{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}
