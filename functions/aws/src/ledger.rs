//! What was told, and what is about to be: a `DynamoDB` table of facts.
//!
//! Whoever has something to tell claims the fact, publishes, and confirms it. A claim ends by
//! itself before Lambda tries again, and that attempt, which has the same request ID, need not
//! wait even for that. So a crash anywhere in between leads to the next attempt telling it,
//! and never to silence; and an event that comes twice, at once or later, is told once.
//!
//! An item has `fact`, the key; `holder` and `lease`, who claimed it and until when; `told`,
//! when that was; and `expires`, when it is forgotten. Times are seconds since 1970.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, PutRequest, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use chrono::{DateTime, NaiveDate, Utc};
use governance::enforcement::Action;
use governance::image::{Digest, RepositoryName, Tag};

/// How long a claim holds: Lambda tries again after a minute, and no attempt takes as long.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
pub const LEASE: Duration = Duration::from_secs(55);

/// How long an index is remembered for its images, from its last push.
const INDEX_REMEMBERED: Duration = Duration::from_secs(400 * 86_400);
/// The most items of a batch, and how often what was not taken is sent again.
const BATCH: usize = 25;
const ROUNDS: u32 = 5;

/// Something that is told once.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A tag that breaks the policy, and what was done about it.
    TagViolation {
        /// Where.
        repository: &'a RepositoryName,
        /// On which image.
        digest: &'a Digest,
        /// Which tag.
        tag: &'a Tag,
        /// What was done.
        action: Action,
    },
    /// A repository whose name nobody expects, once a day.
    RepositoryViolation {
        /// Which.
        repository: &'a RepositoryName,
        /// The day, in UTC.
        day: NaiveDate,
    },
}

impl Fact<'_> {
    /// How long it is remembered that it was told. EventBridge delivers for a day at most,
    /// and Lambda tries for six hours; what happens again after that is news.
    fn remembered(self) -> Duration {
        match self {
            Self::TagViolation { .. } => Duration::from_secs(7 * 86_400),
            Self::RepositoryViolation { .. } => Duration::from_secs(3 * 86_400),
        }
    }
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagViolation { repository, digest, tag, action } => {
                write!(f, "tag-violation {repository} {digest} {tag} {action}")
            }
            Self::RepositoryViolation { repository, day } => {
                write!(f, "repository-violation {repository} {day}")
            }
        }
    }
}

/// Which claims are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Of a fact that nobody told.
    Untold,
    /// Only of one that an earlier attempt claimed and did not come to tell.
    Abandoned,
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours to tell.
    Ours,
    /// It was told, or there is nothing to tell.
    Settled,
    /// Somebody else is about to tell it.
    Theirs,
}

/// The table.
#[derive(Debug)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Ledger {
    /// The table of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table }
    }

    /// Claims a fact for the request of this ID, which is the same in each of its attempts.
    /// One call.
    pub async fn claim(
        &self,
        fact: Fact<'_>,
        request_id: &str,
        take: Take,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Claim> {
        let free = match take {
            Take::Untold => "attribute_not_exists(fact) OR expires < :now OR ",
            Take::Abandoned => "attribute_exists(fact) AND expires >= :now AND ",
        };
        let condition =
            format!("{free}(attribute_not_exists(told) AND (holder = :holder OR lease < :now))");
        let put = self
            .put(fact, now)
            .item("holder", text(request_id))
            .item("lease", seconds(now, LEASE))
            .condition_expression(condition)
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .expression_attribute_values(":holder", text(request_id))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(Claim::Ours) };
        match error.as_service_error() {
            // What is refused without an item is that there is none.
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                let is_told = refused.item().is_none_or(|item| item.contains_key("told"));
                Ok(if is_told { Claim::Settled } else { Claim::Theirs })
            }
            _ => Err(crate::explain(error)).with_context(|| format!("claiming {fact}")),
        }
    }

    /// Remembers that a fact was told. One call.
    pub async fn confirm(&self, fact: Fact<'_>, now: DateTime<Utc>) -> anyhow::Result<()> {
        let told = self.put(fact, now).item("told", seconds(now, Duration::ZERO)).send().await;
        told.map_err(crate::explain).with_context(|| format!("noting that {fact} was told"))?;
        Ok(())
    }

    fn put(&self, fact: Fact<'_>, now: DateTime<Utc>) -> PutItemFluentBuilder {
        self.client
            .put_item()
            .table_name(&self.table)
            .item("fact", text(&fact.to_string()))
            .item("expires", seconds(now, fact.remembered()))
    }

    /// Notes the images of an index, since ECR cannot be asked which index an image is of.
    /// One call for 25 of them.
    pub async fn note_children(
        &self,
        repository: &RepositoryName,
        index: &Digest,
        children: &BTreeSet<Digest>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let put = |child: &Digest| {
            let request = PutRequest::builder()
                .item("fact", text(&format!("child {repository} {child}")))
                .item("index", text(index.as_str()))
                .item("expires", seconds(now, INDEX_REMEMBERED))
                .build()?;
            anyhow::Ok(WriteRequest::builder().put_request(request).build())
        };
        let requests = children.iter().map(put).collect::<anyhow::Result<Vec<_>>>()?;
        for batch in requests.chunks(BATCH) {
            let mut left = batch.to_vec();
            let mut round = 0;
            while !left.is_empty() {
                anyhow::ensure!(
                    round < ROUNDS,
                    "noting the images of {index}: {} were not taken",
                    left.len()
                );
                // What is left over was throttled.
                if round > 0 {
                    tokio::time::sleep(Duration::from_millis(50 << round)).await;
                }
                let write = self.client.batch_write_item().request_items(&self.table, left);
                let written = write.send().await.map_err(crate::explain);
                let written = written.with_context(|| format!("noting the images of {index}"))?;
                let mut rest = written.unprocessed_items.unwrap_or_default();
                left = rest.remove(&self.table).unwrap_or_default();
                round += 1;
            }
        }
        Ok(())
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn seconds(now: DateTime<Utc>, later: Duration) -> AttributeValue {
    AttributeValue::N((now + later).timestamp().to_string())
}
