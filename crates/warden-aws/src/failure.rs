//! How a function's error reaches Lambda, and with the event the dead-letter queue.

use lambda_runtime::Diagnostic;
use tracing::error;

/// An error with all that led to it, logged once: where it becomes this.
#[derive(Debug)]
pub struct Failure(String);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        error!("{error:#}");
        Self(format!("{error:#}"))
    }
}

impl From<Failure> for Diagnostic {
    fn from(Failure(error_message): Failure) -> Self {
        Self { error_type: "EcrWarden.Failure".to_owned(), error_message }
    }
}
