//! Checks once a day whether the accepted risks can be read, and which of them expire soon.

use warden_alerts::{AlertOrigin, risk_expiring};
use warden_aws::event::Origin;
use warden_aws::ledger::Fact;

use crate::AlertPublisher;

/// Publishes one alert for each accepted risk that expires within a few days.
pub async fn handle(publisher: &AlertPublisher<'_>, origin: &Origin) -> anyhow::Result<()> {
    let alert_origin = AlertOrigin {
        account: &origin.account,
        region: &origin.region,
        source: &origin.source,
        parameter: &publisher.context.config.parameter,
    };
    let risks = match publisher.context.risks.read().await {
        Ok(risks) => risks,
        Err(error) => return publisher.publish_unreadable_risks(&alert_origin, &error).await,
    };
    let today = publisher.now.date_naive();
    for risk in risks.iter().filter(|risk| risk.is_expiring(today)) {
        let component = risk.component.as_ref();
        let fact = Fact::RiskExpiring { id: &risk.id, component, until: risk.until };
        publisher.publish_once(fact, &risk_expiring(&alert_origin, risk)).await?;
    }
    Ok(())
}
