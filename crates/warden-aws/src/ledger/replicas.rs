//! Replicas: repositories whose images ECR copies from another registry. ECR cannot report whether a
//! repository is a replica. The ledger therefore records each `ECR Replication Action` event for 400
//! days.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use warden_core::image::RepositoryName;
use warden_core::replication::RemoteRegistry;

use super::{Item, Ledger, REMEMBERED, seconds, text};

/// The beginning of the key of an item.
const KEY: &str = "replica ";

impl Ledger {
    /// Records that an image of the repository was copied from this registry. One call.
    pub async fn record_replica(
        &self,
        repository: &RepositoryName,
        source: &RemoteRegistry,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let update = self
            .update(&key(repository))
            .update_expression(
                "SET source_account = :account, source_region = :region, expires = :expires",
            )
            .expression_attribute_values(":account", text(source.account()))
            .expression_attribute_values(":region", text(source.region()))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        let recorded = update.send().await.map_err(crate::explain);
        recorded.with_context(|| format!("recording that {repository} is a replica"))?;
        Ok(())
    }

    /// Selects the repositories that are replicas. One call for 100 repositories.
    pub async fn select_replicas<'r>(
        &self,
        repositories: impl IntoIterator<Item = &'r RepositoryName>,
    ) -> anyhow::Result<BTreeSet<RepositoryName>> {
        const READING: &str = "reading which repositories are replicas";
        let keys: Vec<String> = repositories.into_iter().map(key).collect();
        let items = self.read_items(&keys, "fact").await.context(READING)?;
        let name = |item: &Item| {
            let fact = item.get("fact").and_then(|fact| fact.as_s().ok());
            let name = fact.and_then(|fact| fact.strip_prefix(KEY)?.parse().ok());
            name.context("an item has no key").context(READING)
        };
        items.iter().map(name).collect()
    }

    /// Reads the registry from which the images of the repository are copied. None without a recorded
    /// event. One call.
    pub async fn replica_source(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<RemoteRegistry>> {
        let reading = || format!("reading whether {repository} is a replica");
        let items = self.read_items(&[key(repository)], "source_account, source_region").await;
        let Some(item) = items.with_context(reading)?.into_iter().next() else { return Ok(None) };
        let word = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let source = word("source_account").zip(word("source_region"));
        let source = source.and_then(|(account, region)| RemoteRegistry::new(account, region));
        source.context("the item names no valid registry").with_context(reading).map(Some)
    }
}

fn key(repository: &RepositoryName) -> String {
    format!("{KEY}{repository}")
}
