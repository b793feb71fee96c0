//! What is seen to once a day: the risks whose acceptance ends, and whether they can be read.

use warden_alerts::{AlertOrigin, risk_expiring};
use warden_aws::event::Origin;
use warden_aws::ledger::Fact;

use crate::AlertPublisher;

/// Reminds of the risks that end within days, each once.
pub async fn handle(teller: &AlertPublisher<'_>, origin: &Origin) -> anyhow::Result<()> {
    let place = AlertOrigin {
        account: &origin.account,
        region: &origin.region,
        source: &origin.source,
        parameter: &teller.context.config.parameter,
    };
    let risks = match teller.context.risks.read().await {
        Ok(risks) => risks,
        Err(error) => return teller.tell_of_risks(&place, &error).await,
    };
    let today = teller.now.date_naive();
    for risk in risks.iter().filter(|risk| risk.is_expiring(today)) {
        let component = risk.component.as_ref();
        let fact = Fact::RiskExpiring { id: &risk.id, component, until: risk.until };
        teller.tell(fact, &risk_expiring(&place, risk)).await?;
    }
    Ok(())
}
