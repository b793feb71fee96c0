//! Alerts that only one of their destinations has ([`crate::alerts`]).

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::{Ledger, seconds, text, time};
use crate::alerts::Destination;

/// The time for which a record counts. An event can wait in a dead-letter queue for 14 days.
const REMEMBERED: Duration = Duration::from_secs(14 * 86_400);

impl Ledger {
    /// The only destination that has an alert. None if no attempt to publish the alert failed in one
    /// destination. One call.
    pub(crate) async fn delivered_to(
        &self,
        alert: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Destination>> {
        let get = self.client.get_item().table_name(&self.table).key("fact", text(alert));
        let got = get.consistent_read(true).send().await.map_err(crate::explain);
        let got = got.with_context(|| format!("reading the destinations of {alert}"))?;
        let item = got.item.unwrap_or_default();
        // DynamoDB deletes an expired item days later.
        if time(&item, "expires").is_none_or(|expires| expires <= now) {
            return Ok(None);
        }
        let destination = item.get("delivered_to").and_then(|destination| destination.as_s().ok());
        Ok(destination.and_then(|destination| destination.parse().ok()))
    }

    /// Records that only this destination has an alert. One call.
    pub(crate) async fn record_delivery(
        &self,
        alert: &str,
        destination: Destination,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let update = self
            .update(alert)
            .update_expression("SET delivered_to = :destination, expires = :expires")
            .expression_attribute_values(":destination", text(&destination.to_string()))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        let recorded = update.send().await.map_err(crate::explain);
        recorded.with_context(|| format!("recording that the {destination} has {alert}"))?;
        Ok(())
    }

    /// Removes the record, because both destinations have the alert. One call.
    pub(crate) async fn forget_delivery(&self, alert: &str) -> anyhow::Result<()> {
        let update = self.update(alert).update_expression("REMOVE delivered_to");
        let removed = update.send().await.map_err(crate::explain);
        removed.with_context(|| format!("recording that both destinations have {alert}"))?;
        Ok(())
    }
}
