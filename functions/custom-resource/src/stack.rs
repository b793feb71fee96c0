//! What happens around a request: a roll-back of the stack, and rights that arrive late.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::Context;
use crate::request::Request;

/// How long a change of the function's role may take to be in force everywhere, and how
/// often it is tried meanwhile. A rename changes the role seconds before it changes us:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>.
const PROPAGATION: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(5);

/// Whether the stack is going back to what it was. A request does not say so: a roll-back
/// is an Update like any other. `unknown` is the answer where CloudFormation gives none.
pub async fn rolling_back(context: &Context, request: &Request, unknown: bool) -> bool {
    match status(context, &request.stack_id).await {
        Ok(status) => status.contains("ROLLBACK"),
        Err(error) => {
            warn!("cannot tell whether the stack rolls back, taken for {unknown}: {error:#}");
            unknown
        }
    }
}

/// Whether the stack is removing something just now, and not rolling back. A request may be
/// delivered once more when nobody asks for anything any more. Not to know is to keep.
pub async fn removing(context: &Context, request: &Request) -> bool {
    match status(context, &request.stack_id).await {
        Ok(status) => status.ends_with("IN_PROGRESS") && !status.contains("ROLLBACK"),
        Err(error) => {
            warn!("cannot tell whether the stack removes anything: {error:#}");
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

/// What `call` gives, once it is not denied any more; or its denial, a minute later.
pub async fn once_permitted<T, F>(call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    once_in_force(denied, call).await
}

/// The same of a call that names a role: once ECR has heard of that too.
pub async fn once_known<T, F>(call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    once_in_force(|error| denied(error) || unknown(error), call).await
}

async fn once_in_force<T, F>(
    passes: impl Fn(&anyhow::Error) -> bool,
    call: impl Fn() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let until = Instant::now() + PROPAGATION;
    loop {
        match call().await {
            Err(error) if passes(&error) && Instant::now() < until => {
                warn!("refused, and tried again until the role is in force: {error:#}");
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whether a service said that the function may not: IAM and CloudFormation, ECR, and ECR of
/// a key, each in its words.
#[must_use]
pub fn denied(error: &anyhow::Error) -> bool {
    let codes = ["AccessDenied", "AccessDeniedException", "KmsException"];
    code(error).is_some_and(|code| codes.contains(&code))
}

/// Whether ECR took a role for none: the only thing that can be wrong with an ARN that was
/// read. (AWS does not say whether ECR looks at all.)
#[must_use]
pub fn unknown(error: &anyhow::Error) -> bool {
    code(error) == Some("InvalidParameterException")
}

/// The name of the service's error behind `error`, if a service answered.
#[must_use]
pub fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<warden_aws::ServiceError>().map(|error| error.code.as_str())
}
