//! The policies of the stack, each under its version.
//!
//! The custom resource writes the policy of a deployment, and the functions of that deployment read it.
//! The attribute `deployed_at` of a policy is the time of the last deployment of its version. No other
//! function may write the item, so an invocation cannot forge that time.
//! The item `policy current` has the current version. A version that is replaced or whose stack no longer
//! has a policy expires after 400 days, because a function that was deployed with it may still run, and
//! because people ask later which policy a decision followed.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{Item, Ledger, REMEMBERED, is_refused, seconds, text, time};

/// The key of the item with the current version.
const CURRENT: &str = "policy current";

/// A policy in the ledger.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    /// The policy in its normal form.
    pub document: String,
    /// When its version was deployed last, in whole seconds. None if the item does not have the time.
    pub deployed_at: Option<DateTime<Utc>>,
}

impl Ledger {
    /// Reads the policy with this version. One call.
    pub async fn policy(&self, version: &str) -> anyhow::Result<StoredPolicy> {
        let item = self.policy_item(&key(version)).await;
        let item = item.with_context(|| format!("reading the policy {version}"))?;
        let item = item.with_context(|| {
            format!(
                "the ledger {} has no policy {version}: deploy the stack with a changed policy, because a \
                 deployment writes its policy to the ledger",
                self.table
            )
        })?;
        let document = decompress(&item).with_context(|| {
            format!(
                "the policy {version} in the ledger {} cannot be read: deploy the stack with a changed policy",
                self.table
            )
        })?;
        Ok(StoredPolicy { document, deployed_at: time(&item, "deployed_at") })
    }

    /// Writes a policy that is deployed now, and makes its version the current one. The version that it
    /// replaces expires. If the process is killed in between, the same call completes the change. Three
    /// calls, or four.
    pub async fn record_policy(
        &self,
        version: &str,
        policy: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let writing = || format!("writing the policy {version} to the ledger");
        let current = self.current_policy().await.with_context(writing)?;
        if let Some(replaced) = current.filter(|current| current != version) {
            self.let_policy_expire(&replaced, now).await?;
        }
        let write = self
            .update(&key(version))
            .update_expression("SET document = :document, deployed_at = :now REMOVE expires")
            .expression_attribute_values(":document", AttributeValue::B(compress(policy)?))
            .expression_attribute_values(":now", seconds(now, std::time::Duration::ZERO));
        write.send().await.map_err(crate::explain).with_context(writing)?;
        let set = self
            .update(CURRENT)
            .update_expression("SET version = :version")
            .expression_attribute_values(":version", text(version));
        set.send().await.map_err(crate::explain).with_context(writing)?;
        Ok(())
    }

    /// Lets the current policy expire, because the stack has no policy any more. One call, or two.
    pub async fn retire_policy(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let current = self.current_policy().await.context("reading the current policy")?;
        match current {
            Some(current) => self.let_policy_expire(&current, now).await,
            None => Ok(()),
        }
    }

    async fn let_policy_expire(&self, version: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
        let expire = self
            .update(&key(version))
            .update_expression("SET expires = :expires")
            .condition_expression("attribute_exists(fact)")
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        match expire.send().await {
            Err(error) if !is_refused(&error) => Err(crate::explain(error))
                .with_context(|| format!("letting the policy {version} expire")),
            _ => Ok(()),
        }
    }

    async fn current_policy(&self) -> anyhow::Result<Option<String>> {
        let item = self.policy_item(CURRENT).await?.unwrap_or_default();
        Ok(item.get("version").and_then(|version| version.as_s().ok()).cloned())
    }

    async fn policy_item(&self, key: &str) -> anyhow::Result<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table).key("fact", text(key));
        Ok(get.consistent_read(true).send().await.map_err(crate::explain)?.item)
    }
}

fn key(version: &str) -> String {
    format!("policy {version}")
}

fn compress(policy: &str) -> anyhow::Result<Blob> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(policy.as_bytes())?;
    Ok(Blob::new(encoder.finish()?))
}

fn decompress(item: &Item) -> anyhow::Result<String> {
    let document = item.get("document").and_then(|document| document.as_b().ok());
    let document = document.context("the item has no document")?;
    let mut policy = String::new();
    GzDecoder::new(document.as_ref()).read_to_string(&mut policy)?;
    Ok(policy)
}
