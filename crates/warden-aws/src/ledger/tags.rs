//! Claims on the tags of one image. ECR deletes an image with its last tag, so enforcement and a
//! sweep must not remove tags of one image at the same time. See case A4 in
//! `docs/contributing/prior-art.md`.
//!
//! Enforcement removes a bad tag after it added a quarantine tag. A sweep removes a quarantine tag if the
//! image has an accepted tag. If both read the image at the same time, or with two versions of the policy,
//! each could remove the tag that the other one relies on.
//!
//! The item has `enforced_until`, which all enforcements of the image share, because each of them adds the
//! tag that it relies on. It also has `untagged_until` and `holder`, of the one sweep that removes a tag.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName};

use super::{LEASE, Ledger, is_refused, seconds, text};

/// The duration of a claim of enforcement: twice the longest duration of an invocation. An invocation
/// writes its claim before its end, and may overwrite the claim of another invocation that began before.
/// The claim then covers both.
const ENFORCED: Duration = Duration::from_secs(100);
/// The time for which the ledger keeps the item.
const REMEMBERED: Duration = Duration::from_secs(86_400);

impl Ledger {
    /// Claims the tags of an image for enforcement. Returns false if a sweep holds the tags. Other
    /// enforcements, and other attempts of the same event, may claim the tags too. The claim expires. One
    /// call.
    pub async fn claim_for_enforcement(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let key = key(repository, digest);
        let update = self
            .update(&key)
            .update_expression("SET enforced_until = :until, expires = :expires")
            .condition_expression("attribute_not_exists(untagged_until) OR untagged_until < :now")
            .expression_attribute_values(":until", seconds(now, ENFORCED))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO));
        send_claim(&key, update).await
    }

    /// Claims the tags of an image for a sweep. Returns false if enforcement or another sweep holds the
    /// tags. The same request may claim them again. One call.
    pub async fn claim_for_untagging(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let key = key(repository, digest);
        let update = self
            .update(&key)
            .update_expression(
                "SET untagged_until = :until, holder = :holder, expires = :expires",
            )
            .condition_expression(
                "(attribute_not_exists(enforced_until) OR enforced_until < :now) AND \
                 (attribute_not_exists(untagged_until) OR untagged_until < :now OR holder = :holder)",
            )
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":until", seconds(now, LEASE))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO));
        send_claim(&key, update).await
    }

    /// Releases the claim of a sweep. One call.
    pub async fn release_untagging(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        request_id: &str,
    ) -> anyhow::Result<()> {
        let key = key(repository, digest);
        let update = self
            .update(&key)
            .update_expression("REMOVE untagged_until, holder")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("releasing {key}")),
        }
    }
}

/// Sends a claim. Returns whether its condition holds and the claim was written.
async fn send_claim(key: &str, update: UpdateItemFluentBuilder) -> anyhow::Result<bool> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error) => Ok(false),
        Err(error) => Err(crate::explain(error)).with_context(|| format!("claiming {key}")),
    }
}

fn key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("tags {repository} {digest}")
}
