//! The error that a function returns to Lambda. Lambda sends the error to the dead-letter queue with
//! the event.

use lambda_runtime::Diagnostic;
use tracing::error;

/// An error as text, with its whole chain of causes. The conversion logs the error once.
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
