//! Checks whether copies of the images in other registries allow a sweep to remove images.

use warden_alerts::SweepResult;
use warden_aws::replication::find_replication;
use warden_core::policy::Policy;

use crate::Context;

/// Stops a plan if the copies of the images or the policy do not allow removals. Makes two calls, and
/// no call for a plan that removes nothing. The error is a
/// [`VisibilityError`](warden_aws::registry::VisibilityError).
pub async fn stop_if_replicated(
    context: &Context,
    policy: &Policy,
    outcome: &mut SweepResult,
) -> anyhow::Result<()> {
    if !outcome.is_carried_out() || outcome.removed.is_empty() {
        return Ok(());
    }
    let replication =
        find_replication(&context.registry, &context.ledger, &policy.repository_name).await?;
    outcome.stopped = replication.reason_to_report(policy);
    outcome.replication = replication;
    Ok(())
}
