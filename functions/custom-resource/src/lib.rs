//! The CloudFormation custom resources `Custom::EcrGovernance`, `Custom::EcrRepository` and
//! `Custom::EcrPushPullPolicy`.
//!
//! CloudFormation waits up to an hour for an answer at a URL, and does not check the answer. So one
//! function ([`handle`]) answers every request exactly once an invocation: when the work is
//! done, when the work failed or panicked, and shortly before the function's time ends.
//! The steps are the same for every resource: verify that CloudFormation sent the request, read
//! the resource, decide, print, apply. A repeated request changes nothing and gives the same answer.
//!
//! In reading order: [`config`], [`request`], [`verification`], [`response`], [`arn`], [`plan`],
//! [`stack`], [`governance`], [`repository`], [`push_pull`].

pub mod arn;
pub mod config;
pub mod governance;
pub mod plan;
pub mod push_pull;
pub mod repository;
pub mod request;
pub mod response;
pub mod stack;
pub mod verification;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{error, info};
use warden_aws::http::Roots;
use warden_aws::ledger::Ledger;
use warden_aws::registry::Registry;
use warden_aws::{Invocation, serve};
use warden_core::properties::nearest;

use crate::config::Config;
use crate::request::{Kind, NOTHING_MADE, PhysicalId, Request};
use crate::response::{Answer, Data};
use crate::verification::is_deleting;

/// The time that an invocation reserves at its end for the answer.
pub const TIME_TO_ANSWER: Duration = Duration::from_secs(15);

/// The configuration and the clients, built once.
pub struct Context {
    /// The stack that the function belongs to, and the hosts that may receive answers.
    pub config: Config,
    /// The client of Amazon ECR.
    pub registry: Registry,
    /// The ledger, which holds the policy.
    pub ledger: Ledger,
    /// The client of IAM.
    pub policies: push_pull::Policies,
    /// The client of CloudFormation, for the events and the status of the stack.
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// The HTTP client that sends the answers.
    pub http: SharedHttpClient,
}

impl Context {
    /// Builds all clients from one configuration, so that they share one HTTP client.
    pub fn new(config: Config, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self {
            ledger: Ledger::new(sdk, config.table.clone()),
            config,
            registry: Registry::new(sdk),
            policies: push_pull::Policies::new(sdk),
            cloudformation: aws_sdk_cloudformation::Client::new(sdk),
            http: sdk.http_client().context("the configuration has no HTTP client")?,
        })
    }
}

/// Serves the Lambda runtime until Lambda ends the process. An invocation never fails, because Lambda
/// would send the request of a failed invocation two more times.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    let build = |sdk: &SdkConfig| Context::new(Config::read(std::env::vars())?, sdk).map(Arc::new);
    serve(Roots::AtStart, build, async |context, payload, invocation| {
        handle(context, &payload, &invocation).await;
        Ok(())
    })
    .await
}

/// Carries out one request, and always answers the request before the deadline of its invocation.
pub async fn handle(context: &Arc<Context>, payload: &Value, invocation: &Invocation) {
    let Some(request) = Request::read(payload) else {
        error!(
            "the request has no ResponseURL, so CloudFormation cannot be answered; nothing was changed"
        );
        return;
    };
    if !context.config.response_origins.allow(&request.response_url) {
        error!(
            response.host = request.response_url.host(),
            "the ResponseURL is not on a host of CloudFormation; nothing was changed"
        );
        return;
    }
    info!(
        cloudformation.request_type = request.request_type,
        cloudformation.resource_type = request.resource_type,
        cloudformation.logical_resource_id = request.logical_resource_id,
        cloudformation.request_id = request.request_id,
        "{} {} {}",
        request.request_type,
        request.resource_type,
        request.logical_resource_id,
    );

    let Invocation { now, time_left, .. } = *invocation;
    let work_until = Instant::now() + time_left.saturating_sub(TIME_TO_ANSWER.min(time_left / 2));
    let physical_id = PhysicalId::from_request(&request);
    // The work runs in its own task: a panic ends only the task, and the task can be stopped before the
    // answer.
    let mut work = tokio::spawn({
        let (context, request, physical_id) =
            (Arc::clone(context), request.clone(), physical_id.clone());
        async move { perform(&context, &request, &physical_id, now).await }
    });
    let outcome = match tokio::time::timeout_at(work_until, &mut work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => Err(anyhow!("a defect of ECR Warden stopped the request: {panicked}")),
        Err(_) => {
            work.abort();
            // The work must not change anything after the answer.
            let _ = work.await;
            Err(anyhow!(
                "the function ran out of time; a repeated request continues where this request stopped"
            ))
        }
    };
    let answer = match outcome {
        Ok(data) => Answer::success(&request, physical_id.get(), data),
        Err(reason) => Answer::failed(&request, physical_id.get(), &format!("{reason:#}")),
    };
    let physical_id = physical_id.get();
    match answer.reason() {
        None => info!(cloudformation.physical_resource_id = physical_id, "succeeded"),
        Some(reason) => {
            error!(cloudformation.physical_resource_id = physical_id, "failed: {reason}");
        }
    }
    let answered = response::deliver(&context.http, &request.response_url, &answer.body()).await;
    if let Err(reason) = answered {
        error!(
            "CloudFormation could not be answered, and waits until the resource's ServiceTimeout: {reason:#}"
        );
    }
}

const RESOURCE_TYPES: [&str; 3] =
    [governance::RESOURCE_TYPE, repository::RESOURCE_TYPE, push_pull::RESOURCE_TYPE];

async fn perform(
    context: &Context,
    request: &Request,
    physical_id: &PhysicalId,
    now: DateTime<Utc>,
) -> anyhow::Result<Data> {
    let kind = request.kind()?;
    if kind == Kind::Delete && !is_removable(context, request).await? {
        return Ok(Data::new());
    }
    match (request.resource_type.as_str(), kind) {
        (governance::RESOURCE_TYPE, Kind::Create | Kind::Update) => {
            governance::provision(context, request, physical_id, now).await
        }
        (governance::RESOURCE_TYPE, Kind::Delete) => {
            governance::delete(context, request, now).await
        }
        (repository::RESOURCE_TYPE, Kind::Create | Kind::Update) => {
            repository::provision(context, request, kind, physical_id).await
        }
        (repository::RESOURCE_TYPE, Kind::Delete) => repository::delete(context, request).await,
        (push_pull::RESOURCE_TYPE, Kind::Create | Kind::Update) => {
            push_pull::provision(context, request, kind, physical_id).await
        }
        (push_pull::RESOURCE_TYPE, Kind::Delete) => push_pull::delete(context, request).await,
        // A resource of an unknown type was never created, so its Delete succeeds: a stack must always be
        // deletable.
        (_, Kind::Delete) => Ok(Data::new()),
        (other, _) => {
            let nearest = nearest(other, &RESOURCE_TYPES).unwrap_or_default();
            bail!("ResourceType: {other:?} is unknown; the nearest known type is {nearest}")
        }
    }
}

/// Whether a Delete may remove anything: the resource was created, and CloudFormation is deleting the
/// resource.
async fn is_removable(context: &Context, request: &Request) -> anyhow::Result<bool> {
    let id = request.physical_resource_id.as_deref().unwrap_or(NOTHING_MADE);
    let is_known = RESOURCE_TYPES.contains(&request.resource_type.as_str());
    Ok(is_known && id != NOTHING_MADE && is_deleting(context, request).await?)
}
