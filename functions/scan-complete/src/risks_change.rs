//! A change of the accepted risks, which is published once for each version of the parameter.
//!
//! The event names no version and no value, so the parameter is read, and compared with the list that
//! the ledger has from the last change. `EventBridge` promises no delivery: the next change is compared
//! with the same list, so that it publishes a change whose event was lost.

use warden_alerts::{AlertOrigin, risks_changed};
use warden_aws::event::Origin;
use warden_aws::ledger::Fact;
use warden_core::risks::{AcceptedRisk, compare_risks};

use crate::AlertPublisher;

/// Publishes what changed since the last change that was published.
pub async fn handle(publisher: &AlertPublisher<'_>, origin: &Origin) -> anyhow::Result<()> {
    let context = publisher.context;
    let parameter = &context.config.parameter;
    let place = AlertOrigin {
        account: &origin.account,
        region: &origin.region,
        source: &origin.source,
        parameter,
    };
    let version = match context.risks.read_version().await {
        Ok(version) => version,
        Err(error) => {
            publisher.tell_of_risks(&place, &error).await?;
            // A later attempt may read the list, and no other event is about this change.
            return Err(error);
        }
    };
    let risks = match version.parse() {
        Ok(risks) => risks,
        Err(error) => return publisher.tell_of_risks(&place, &error).await,
    };
    // The stack creates the parameter with an empty list.
    let last_list = context.ledger.published_risks(parameter).await?.unwrap_or_default();
    if last_list == version.value {
        return Ok(());
    }
    let before = AcceptedRisk::parse_list(&last_list).unwrap_or_default();
    let changes = compare_risks(&before, &risks);
    if !changes.is_empty() {
        let fact = Fact::RisksChanged { parameter, version: version.number, at: version.at };
        let alert = risks_changed(&place, version.number, &changes);
        // Another invocation that publishes the change records the list too.
        if !publisher.publish_once(fact, &alert).await? {
            return Ok(());
        }
    }
    context.ledger.record_published_risks(parameter, &version.value).await
}
