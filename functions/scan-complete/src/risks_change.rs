//! Publishes a change of the accepted risks, once for each version of the parameter.
//!
//! The event contains neither a version nor a value. The function therefore reads the parameter, and
//! compares the parameter with the last published list, which is in the ledger. If `EventBridge` loses
//! an event, the event of the next change publishes both changes.

use warden_alerts::{AlertOrigin, risks_changed};
use warden_aws::event::Origin;
use warden_aws::ledger::Fact;
use warden_core::risks::{AcceptedRisk, compare_risks};

use crate::AlertPublisher;

/// Publishes the differences from the last published list.
pub async fn handle(publisher: &AlertPublisher<'_>, origin: &Origin) -> anyhow::Result<()> {
    let context = publisher.context;
    let parameter = &context.config.parameter;
    let alert_origin = AlertOrigin {
        account: &origin.account,
        region: &origin.region,
        source: &origin.source,
        parameter,
    };
    let version = match context.risks.read_version().await {
        Ok(version) => version,
        Err(error) => {
            publisher.publish_unreadable_risks(&alert_origin, &error).await?;
            // A later attempt may read the list. No other event reports this change.
            return Err(error);
        }
    };
    let risks = match version.parse() {
        Ok(risks) => risks,
        Err(error) => return publisher.publish_unreadable_risks(&alert_origin, &error).await,
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
        let alert = risks_changed(&alert_origin, version.number, &changes);
        // If another invocation publishes the change, that invocation also records the list.
        if !publisher.publish_once(fact, &alert).await? {
            return Ok(());
        }
    }
    context.ledger.record_published_risks(parameter, &version.value).await
}
