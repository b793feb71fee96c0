//! The access to AWS that all functions share. This crate decides nothing.
//!
//! The modules:
//!
//! - [`serve()`]: runs a function, with its clients and telemetry;
//! - [`environment`]: reads the environment variables of a function;
//! - [`event`], [`push`], [`replication`]: read events of EventBridge;
//! - [`registry`]: calls ECR;
//! - [`ledger`]: the `DynamoDB` table of claims and published facts;
//! - [`policy`]: the policy that the function was deployed with;
//! - [`alerts`]: publishes alerts to the SNS topic and to the EventBridge bus;
//! - [`sweep_queue`]: the SQS queue of sweeps;
//! - [`http`]: sends requests to other servers than AWS;
//! - [`json`]: calls services of AWS without their SDK crates;
//! - [`telemetry`]: writes logs and metrics.

pub mod alerts;
pub mod environment;
pub mod event;
mod failure;
pub mod http;
pub mod json;
pub mod ledger;
mod messages;
pub mod metrics;
pub mod policy;
pub mod push;
pub mod recheck_queue;
pub mod registry;
pub mod replication;
mod serve;
pub mod sweep_queue;
pub mod telemetry;

pub use failure::Failure;
pub use serve::{Invocation, serve};

use std::error::Error;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Loads the configuration of the SDK from the environment that Lambda sets.
///
/// All clients that are built from the configuration share one HTTP client, and so one set of TLS
/// roots. `roots` decides when the roots are read. Without this, each client would load its own roots.
pub async fn config(roots: http::Roots) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http::client(roots))
        .timeout_config(timeouts())
        .retry_config(retries())
        .load()
        .await
}

/// The timeouts of calls. A call with all its retries takes at most 30 seconds, less than the timeout
/// of every function.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(http::CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build()
}

/// The retries of calls.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
}

/// The time until the deadline of an invocation. `cargo lambda watch` sets no deadline but a duration
/// of ten minutes; such a value is returned as the time left.
#[must_use]
pub fn time_left(context: &lambda_runtime::Context, now: SystemTime) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let deadline = context.deadline();
    match deadline.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) if span < DAY => span,
        _ => deadline.duration_since(now).unwrap_or_default(),
    }
}

/// The error of an AWS service, with the code and the message of the service.
#[derive(Debug)]
pub struct ServiceError {
    /// The code, such as `AccessDeniedException`.
    pub code: String,
    message: Option<String>,
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl Error for ServiceError {}

/// Turns an error of the SDK into a [`ServiceError`] if a service answered. The text of the SDK's error
/// is only `service error`.
pub fn explain<E, R>(error: SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    let Some(code) = error.code() else { return anyhow::Error::new(error) };
    let message = error.message().map(str::to_owned);
    anyhow::Error::new(ServiceError { code: code.to_owned(), message })
}

/// Returns the response of a service. None if the service returns an error that `is_expected`
/// recognises, such as 'not found'. Explains other errors ([`explain`]).
pub fn unless<T, E, R>(
    response: Result<T, SdkError<E, R>>,
    is_expected: impl FnOnce(&E) -> bool,
) -> anyhow::Result<Option<T>>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    match response {
        Ok(response) => Ok(Some(response)),
        Err(error) if error.as_service_error().is_some_and(is_expected) => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

/// The error of one of two steps, or both errors as one.
pub fn join_errors<T>(one: anyhow::Result<()>, other: anyhow::Result<T>) -> anyhow::Result<T> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.context(format!("{other:#}; in addition"))),
        (one, other) => one.and(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_or_a_duration_of_cargo_lambda() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let left = |deadline: u64| {
            let mut context = lambda_runtime::Context::default();
            context.deadline = deadline;
            time_left(&context, now)
        };
        assert_eq!(left(1_800_000_045_000), Duration::from_secs(45));
        assert_eq!(left(1_799_999_999_000), Duration::ZERO);
        assert_eq!(left(600_000), Duration::from_secs(600));
    }
}
