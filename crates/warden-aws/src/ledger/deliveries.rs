//! Alerts that only one of their destinations has ([`crate::alerts`]).

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::{Ledger, seconds, text, time};
use crate::alerts::Destination;

/// The time for which a record counts. An event can wait in a dead-letter queue for 14 days.
const REMEMBERED: Duration = Duration::from_secs(14 * 86_400);

/// The last alert about a subject that only one destination has.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Identifies the alert among the alerts about the subject.
    pub identity: String,
    /// The destination that has the alert.
    pub destination: Destination,
}

impl Ledger {
    /// Reads the record of the last alert about a subject, if only one destination has that alert. One call.
    pub(crate) async fn delivery(
        &self,
        subject: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Delivery>> {
        let get = self.client.get_item().table_name(&self.table).key("fact", text(subject));
        let got = get.consistent_read(true).send().await.map_err(crate::explain);
        let got = got.with_context(|| format!("reading the destinations of {subject}"))?;
        let item = got.item.unwrap_or_default();
        // DynamoDB deletes an expired item days later.
        if time(&item, "expires").is_none_or(|expires| expires <= now) {
            return Ok(None);
        }
        let word = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let destination = word("delivered_to").and_then(|destination| destination.parse().ok());
        let delivery = word("alert_id").zip(destination);
        Ok(delivery.map(|(identity, destination)| Delivery { identity, destination }))
    }

    /// Records that only this destination has an alert about a subject. One call.
    pub(crate) async fn record_delivery(
        &self,
        subject: &str,
        identity: &str,
        destination: Destination,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let update = self
            .update(subject)
            .update_expression(
                "SET delivered_to = :destination, alert_id = :identity, expires = :expires",
            )
            .expression_attribute_values(":identity", text(identity))
            .expression_attribute_values(":destination", text(&destination.to_string()))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        let recorded = update.send().await.map_err(crate::explain);
        recorded.with_context(|| format!("recording that the {destination} has {subject}"))?;
        Ok(())
    }

    /// Removes the record, because both destinations have the last alert about the subject. One call.
    pub(crate) async fn forget_delivery(&self, subject: &str) -> anyhow::Result<()> {
        let update = self.update(subject).update_expression("REMOVE delivered_to");
        let removed = update.send().await.map_err(crate::explain);
        removed.with_context(|| format!("recording that both destinations have {subject}"))?;
        Ok(())
    }
}
