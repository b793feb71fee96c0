//! Claims on the tags of one image. ECR deletes an image with its last tag, so enforcement and a
//! sweep never remove tags of one image at the same time.
//!
//! Enforcement removes a tag beside a quarantine tag that it added before, and a sweep removes a
//! quarantine tag beside an accepted tag. If the two read the image at the same time, or by two
//! versions of the policy, each could remove the tag that the other one relies on.
//!
//! The item has `enforced_until`, which all enforcements of the image share, because each adds
//! what it relies on; and `untagged_until` and `holder` of the one sweep that removes a tag.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName};

use super::{LEASE, Ledger, is_refused, seconds, text};

/// How long a claim of enforcement holds: twice as long as an invocation may take. An invocation
/// writes the claim at most at its end. Another one, whose claim it overwrites, began before that.
const ENFORCED: Duration = Duration::from_secs(100);
/// How long the item is kept.
const REMEMBERED: Duration = Duration::from_secs(86_400);

impl Ledger {
    /// Claims the tags of an image for enforcement, and returns whether no sweep holds them. An
    /// attempt of the same event and other enforcements may claim them again. The claim ends by
    /// itself. One call.
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
        is_taken(&key, update).await
    }

    /// Claims the tags of an image for a sweep, and returns whether neither enforcement nor
    /// another sweep holds them. The same request may claim them again. One call.
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
        is_taken(&key, update).await
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

/// Whether the condition of a claim holds, so that the claim is written.
async fn is_taken(key: &str, update: UpdateItemFluentBuilder) -> anyhow::Result<bool> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error) => Ok(false),
        Err(error) => Err(crate::explain(error)).with_context(|| format!("claiming {key}")),
    }
}

fn key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("tags {repository} {digest}")
}
