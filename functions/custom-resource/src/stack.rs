//! Roll-backs of the stack, and rights of the role that take effect late.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::Context;
use crate::request::Request;

/// The time that a change of the function's role may take to have effect everywhere, and the pause between
/// attempts meanwhile. A rename changes the role seconds before the custom resource:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>.
const PROPAGATION: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(5);

/// Whether the stack is rolling back. A request does not say so, because a roll-back is an ordinary Update.
/// Returns `unknown` if CloudFormation cannot be asked.
pub async fn rolling_back(context: &Context, request: &Request, unknown: bool) -> bool {
    match status(context, &request.stack_id).await {
        Ok(status) => status.contains("ROLLBACK"),
        Err(error) => {
            warn!(
                "the status of the stack cannot be read, so the answer to 'is it rolling back' is taken as {unknown}: {error:#}"
            );
            unknown
        }
    }
}

/// Whether an operation of the stack is in progress, other than a roll-back. A request may be delivered
/// again after its operation has ended. An unknown status counts as no operation, which keeps images.
pub async fn removing(context: &Context, request: &Request) -> bool {
    match status(context, &request.stack_id).await {
        Ok(status) => status.ends_with("IN_PROGRESS") && !status.contains("ROLLBACK"),
        Err(error) => {
            warn!("the status of the stack cannot be read, so no images are removed: {error:#}");
            false
        }
    }
}

async fn status(context: &Context, stack_id: &str) -> anyhow::Result<String> {
    let described = context.cloudformation.describe_stacks().stack_name(stack_id).send().await;
    let stacks = described.map_err(warden_aws::explain).context("describing the stack")?;
    let status = stacks.stacks().first().and_then(|stack| stack.stack_status());
    Ok(status.context("the stack has no status")?.as_str().to_owned())
}

/// Repeats `call` for a minute while AWS denies it, and returns the last result.
pub async fn once_permitted<T, F>(call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let until = Instant::now() + PROPAGATION;
    loop {
        match call().await {
            Err(error) if denied(&error) && Instant::now() < until => {
                warn!(
                    "AWS refused the call, which is repeated until a change of the role takes effect: {error:#}"
                );
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whether a service denied a call. The codes are those of IAM and CloudFormation, of ECR, and of ECR
/// about a KMS key.
#[must_use]
pub fn denied(error: &anyhow::Error) -> bool {
    let codes = ["AccessDenied", "AccessDeniedException", "KmsException"];
    code(error).is_some_and(|code| codes.contains(&code))
}

/// The error code of the service, if a service answered with an error.
#[must_use]
pub fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<warden_aws::ServiceError>().map(|error| error.code.as_str())
}
