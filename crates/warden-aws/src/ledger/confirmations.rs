//! The confirmations of operators, and the accepted policy of a repository.
//!
//! An operator writes a confirmation with the command-line tool, as an item of its own. No function writes
//! one. The item of the sweeps of a repository has the accepted policy in the attribute
//! `accepted_policy`, and the time when the repository was created in `accepted_for`.

use anyhow::Context as _;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use warden_core::image::RepositoryName;
use warden_core::retention::{CONFIRMATION_DAYS, Confirmation};

use super::{AcceptedPolicy, Item, Ledger, runs, seconds, text, time};

impl Ledger {
    /// Reads the confirmation for a repository, if there is one. One call.
    pub async fn confirmation(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<Confirmation>> {
        let reading = || format!("reading the confirmation of {repository}");
        let attributes = "retention, images, whole, guard, confirmed_at";
        let items = self.read_items(&[key(repository)], attributes).await.with_context(reading)?;
        items.first().map(confirmation).transpose().with_context(reading)
    }

    /// Reads the accepted policy of a repository, if there is one. One call.
    pub async fn accepted_policy(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<AcceptedPolicy>> {
        let attributes = "accepted_policy, accepted_for";
        let items = self.read_items(&[runs::key(repository)], attributes).await;
        let items =
            items.with_context(|| format!("reading the accepted policy of {repository}"))?;
        Ok(items.first().and_then(runs::accepted_policy))
    }

    /// Writes a confirmation, which replaces an earlier one. One call.
    pub async fn confirm(
        &self,
        repository: &RepositoryName,
        confirmation: &Confirmation,
    ) -> anyhow::Result<()> {
        let Confirmation { retention, images, is_whole, guard, confirmed_at } = confirmation;
        let days = std::time::Duration::from_secs(CONFIRMATION_DAYS * 86_400);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("fact", text(&key(repository)))
            .item("retention", text(retention))
            .item("images", AttributeValue::Ss(images.iter().cloned().collect()))
            .item("whole", AttributeValue::Bool(*is_whole))
            .item("guard", text(guard))
            .item("confirmed_at", seconds(*confirmed_at, std::time::Duration::ZERO))
            .item("expires", seconds(*confirmed_at, days));
        let put = put.send().await.map_err(crate::explain);
        put.with_context(|| format!("writing the confirmation of {repository}"))?;
        Ok(())
    }
}

fn confirmation(item: &Item) -> anyhow::Result<Confirmation> {
    let retention = item.get("retention").and_then(|hash| hash.as_s().ok());
    let images = item.get("images").and_then(|images| images.as_ss().ok());
    let confirmed_at: Option<DateTime<Utc>> = time(item, "confirmed_at");
    let is_whole = item.get("whole").and_then(|whole| whole.as_bool().ok()).copied();
    let guard = item.get("guard").and_then(|guard| guard.as_s().ok()).cloned();
    let (Some(retention), Some(images), Some(is_whole), Some(guard), Some(confirmed_at)) =
        (retention, images, is_whole, guard, confirmed_at)
    else {
        anyhow::bail!("expected the attributes retention, images, whole, guard and confirmed_at");
    };
    Ok(Confirmation {
        retention: retention.clone(),
        images: images.iter().cloned().collect(),
        is_whole,
        guard,
        confirmed_at,
    })
}

/// The key of a repository's confirmation.
pub(super) fn key(repository: &RepositoryName) -> String {
    format!("confirmation {repository}")
}
