//! What every function needs of AWS and nothing decides: telemetry, its environment, the
//! configuration that all clients of a process share, errors that a person can read, the
//! envelope of events, images, replication, the topic of alerts, the ledger of what was told, and requests
//! that are no calls of AWS.

pub mod alerts;
pub mod environment;
pub mod event;
mod failure;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod push;
pub mod registry;
pub mod replication;
mod serve;
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

/// Loads the configuration from the environment, as Lambda sets it.
///
/// All clients that are built from it share its HTTP client, and so one set of TLS roots, read
/// when it is said; left to themselves each would load its own.
pub async fn config(roots: http::Roots) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http::client(roots))
        .timeout_config(timeouts())
        .retry_config(retries())
        .load()
        .await
}

/// How long a call may take: with all its retries 30 seconds, below any function's timeout.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(http::CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build()
}

/// How often a call is tried.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
}

/// How long an invocation may take from now on: until its deadline. `cargo lambda watch` has ten
/// minutes in the place of one, counted from nothing, which are those.
#[must_use]
pub fn time_left(context: &lambda_runtime::Context, now: SystemTime) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let deadline = context.deadline();
    match deadline.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) if span < DAY => span,
        _ => deadline.duration_since(now).unwrap_or_default(),
    }
}

/// What a service refused a call with, in its own words.
#[derive(Debug)]
pub struct ServiceError {
    /// The error's name, such as `AccessDeniedException`.
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

/// An SDK error as a [`ServiceError`] where a service answered; the SDK's own text says only
/// `service error`.
pub fn explain<E, R>(error: SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    let Some(code) = error.code() else { return anyhow::Error::new(error) };
    let message = error.message().map(str::to_owned);
    anyhow::Error::new(ServiceError { code: code.to_owned(), message })
}

/// The answer, or none where the service says what `is_gone` recognises: that what was asked
/// about is not there. Other errors are explained.
pub fn unless<T, E, R>(
    answer: Result<T, SdkError<E, R>>,
    is_gone: impl FnOnce(&E) -> bool,
) -> anyhow::Result<Option<T>>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.as_service_error().is_some_and(is_gone) => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_date_but_for_cargo_lambda_s() {
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
