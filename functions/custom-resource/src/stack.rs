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
/// is an Update like any other.
pub async fn rolling_back(context: &Context, request: &Request) -> anyhow::Result<bool> {
    let stacks = context
        .cloudformation
        .describe_stacks()
        .stack_name(&request.stack_id)
        .send()
        .await
        .map_err(aws::explain)
        .context("describing the stack")?;
    let status = stacks.stacks().first().and_then(|stack| stack.stack_status());
    Ok(status.context("the stack has no status")?.as_str().contains("ROLLBACK"))
}

/// What `call` gives, once it is not denied any more; or its denial, a minute later.
pub async fn once_permitted<T, F>(call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let until = Instant::now() + PROPAGATION;
    loop {
        match call().await {
            Err(error) if denied(&error) && Instant::now() < until => {
                warn!("denied, and tried again until the role is in force: {error:#}");
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn denied(error: &anyhow::Error) -> bool {
    code(error).is_some_and(|code| ["AccessDenied", "AccessDeniedException"].contains(&code))
}

/// The name of the service's error behind `error`, if a service answered.
#[must_use]
pub fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<aws::ServiceError>().map(|error| error.code.as_str())
}
