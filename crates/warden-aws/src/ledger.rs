//! The ledger: a `DynamoDB` table of claims and published facts.
//!
//! An invocation claims a fact before it reads, changes and publishes anything, and settles the fact
//! afterwards. A claim expires before Lambda retries the event. The retry has the same request ID and
//! can take over the claim at once. Therefore:
//!
//! - after a crash, the retry publishes the fact;
//! - an event that is delivered twice, at the same time or later, is published once;
//! - two invocations never change the same image at the same time.
//!
//! The attributes of an item:
//!
//! | attribute | content |
//! | --- | --- |
//! | `fact` | the key |
//! | `holder`, `lease` | the request that claims the item, and the end of the claim |
//! | `attempts` | the attempts that have claimed the item since the last release |
//! | `event_id` | the event of the last claim |
//! | `enforced_by` | the policy of the first attempt since the last release, if its enforcement may change the image |
//! | `settled_at`, `settled_event` | the start and the event of the last invocation that settled the fact |
//! | `published`, `published_at` | the last published outcome, and the time of the publication |
//! | `expires` | when `DynamoDB` deletes the item |
//!
//! Times are seconds since 1970. Other items record the history of scans ([`Ledger::claim_history`]),
//! the index of an image ([`Ledger::record_children`]), sweeps ([`Ledger::begin_run`]), untagged images
//! and the age of tags ([`Ledger::sightings`]), pushes ([`Ledger::record_push`]), units that are removed
//! ([`Ledger::begin_units`]), replicas ([`Ledger::record_replica`]), reported violations
//! ([`Ledger::record_violation`]), the confirmations of operators ([`Ledger::confirm`]), the policies of
//! the stack ([`Ledger::policy`]), and alerts that only one destination has ([`crate::alerts`]).
//! [`Ledger::claim_for_enforcement`] prevents that enforcement and a sweep change the tags of one image
//! at the same time.

mod confirmations;
mod deliveries;
mod indexes;
mod policies;
mod replicas;
mod reports;
mod risks;
mod runs;
mod scans;
mod sightings;
mod tags;
mod units;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure,
    WriteRequest,
};
use aws_smithy_runtime_api::client::result::SdkError;
use chrono::{DateTime, NaiveDate, Utc};
use warden_alerts::Source;
use warden_core::findings::ReleaseLine;
use warden_core::image::{Component, Digest, RepositoryName, Tag};
use warden_core::policy::Owner;
use warden_core::retention::short_hash;

/// The duration of a claim. No attempt takes as long, and Lambda retries after one minute
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>).
pub const LEASE: Duration = Duration::from_secs(55);

/// The time for which the ledger keeps most records, such as the history of scans from the last scan,
/// and the index of an image from its last push.
const REMEMBERED: Duration = Duration::from_secs(400 * 86_400);
/// The most items that one call writes.
const BATCH: usize = 25;
/// The most attempts to write or read the items of a batch that `DynamoDB` throttled.
const ROUNDS: u32 = 5;
/// The most items that one call reads.
const READ_BATCH: usize = 100;

/// The time for which the ledger keeps an open claim. An event can wait in a dead-letter queue for 14
/// days, and the replayed event must find its claim.
const OPEN_REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// The update expression that releases a claim.
const RELEASE: &str = "REMOVE holder, lease, attempts, enforced_by";
/// The update expression that settles a fact.
const SETTLE: &str = "SET settled_at = :now, settled_event = if_not_exists(event_id, :none)";

/// The update expression that claims an item.
const TAKE: &str = "SET holder = :holder, lease = :lease, expires = :expires";

pub use indexes::{IndexMembership, IndexRecords, ScansAlone};
pub use policies::StoredPolicy;
pub use reports::week;
pub use runs::{AcceptedPolicy, LastRun, PushClaim, RunEnd, RunLease, SweepRecord, UnfinishedRun};
pub use scans::{CleanScanOutcome, CollectedEvents, CollectionClaim, FindingEvent, HistoryClaim};
pub use sightings::RecordedSightings;

/// A fact that is published once.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A tag that violates the policy. The outcome of the enforcement is published.
    TagViolation {
        /// The repository.
        repository: &'a RepositoryName,
        /// The image.
        digest: &'a Digest,
        /// The tag.
        tag: &'a Tag,
    },
    /// A repository that no rule matches. Published once.
    RepositoryViolation {
        /// The repository.
        repository: &'a RepositoryName,
    },
    /// An image that could not be scanned.
    ScanFailed {
        /// The repository.
        repository: &'a RepositoryName,
        /// The digest of the version.
        digest: &'a Digest,
        /// The status of the scan.
        status: &'a str,
    },
    /// Images that ECR cannot scan. Published once for each release line, without its branch, and once for all
    /// images of a repository whose tags match no template.
    ScanUnsupported {
        /// The repository.
        repository: &'a RepositoryName,
        /// The release line. The key does not have its branch. None if no tag of the image matches a template.
        line: Option<&'a ReleaseLine>,
    },
    /// An accepted risk that expires in a few days.
    RiskExpiring {
        /// The vulnerability.
        id: &'a str,
        /// The component. None if the risk is accepted in all components.
        component: Option<&'a Component>,
        /// The last day on which the risk is accepted.
        until: NaiveDate,
    },
    /// A change of the accepted risks.
    RisksChanged {
        /// The parameter.
        parameter: &'a str,
        /// The version. A parameter that is deleted and created again begins with 1.
        version: i64,
        /// When the version was written, in seconds since 1970.
        at: i64,
    },
    /// A plan of a sweep that is not carried out.
    Cleanup {
        /// The repository.
        repository: &'a RepositoryName,
        /// The hash of the plan, or the reason why there is no plan.
        plan: &'a str,
    },
    /// The deviations of a repository from its policy.
    Audit {
        /// The repository.
        repository: &'a RepositoryName,
    },
    /// A broken setting of the stack itself. Published once a day.
    SelfAudit {
        /// The violated rule.
        rule: &'a str,
        /// The day, in UTC.
        day: NaiveDate,
    },
    /// The warnings of a version of the policy. Published once for each version.
    PolicyWarnings {
        /// The version.
        version: &'a str,
    },
    /// The digests of a week, of all owners.
    Digests {
        /// The week, such as `2026-W48`.
        week: &'a str,
    },
    /// The digest of an owner.
    Digest {
        /// The week, or the request of a digest that a person asked for.
        period: &'a str,
        /// The owner. None for repositories without an owner.
        owner: Option<&'a Owner>,
    },
}

impl Fact<'_> {
    /// The time for which the ledger remembers the publication. EventBridge delivers an event for at
    /// most one day, and Lambda retries for six hours. After this time, the same fact is published again.
    fn remembered(self) -> Duration {
        match self {
            // A violation that still exists is published again after a week, as a reminder.
            Self::TagViolation { .. } | Self::Audit { .. } => Duration::from_secs(7 * 86_400),
            Self::RepositoryViolation { .. }
            | Self::ScanUnsupported { .. }
            | Self::PolicyWarnings { .. } => REMEMBERED,
            Self::SelfAudit { .. } => Duration::from_secs(3 * 86_400),
            Self::RiskExpiring { .. }
            | Self::RisksChanged { .. }
            | Self::Digests { .. }
            | Self::Digest { .. } => Duration::from_secs(30 * 86_400),
            // A scan that a person starts again fails for the same reason.
            Self::ScanFailed { .. } | Self::Cleanup { .. } => Duration::from_secs(90 * 86_400),
        }
    }
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagViolation { repository, digest, tag } => {
                write!(f, "tag-violation {repository} {digest} {tag}")
            }
            Self::RepositoryViolation { repository } => {
                write!(f, "repository-violation {repository}")
            }
            Self::ScanFailed { repository, digest, status } => {
                write!(f, "scan-failed {repository} {digest} {status}")
            }
            Self::ScanUnsupported { repository, line } => match line {
                Some(ReleaseLine { component, kind, branch: _ }) => {
                    write!(f, "scan-unsupported {repository} {component} {}", short_hash(kind))
                }
                None => write!(f, "scan-unsupported {repository} *"),
            },
            Self::RiskExpiring { id, component, until } => {
                let component = component.map_or("*", |component| component.as_str());
                // People write the same identifier in different cases.
                write!(f, "risk-expiring {} {component} {until}", id.to_uppercase())
            }
            Self::RisksChanged { parameter, version, at } => {
                write!(f, "risks-changed {parameter} {version} {at}")
            }
            Self::Cleanup { repository, plan } => write!(f, "cleanup {repository} {plan}"),
            Self::Audit { repository } => write!(f, "audit {repository}"),
            Self::SelfAudit { rule, day } => write!(f, "self-audit {rule} {day}"),
            Self::PolicyWarnings { version } => write!(f, "policy-warnings {version}"),
            Self::Digests { week } => write!(f, "digest {week}"),
            Self::Digest { period, owner } => {
                // No owner has the name `*`.
                let owner = owner.map_or("*", Owner::as_str);
                write!(f, "digest {period} {owner}")
            }
        }
    }
}

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This invocation has claimed the fact.
    Ours(PreviousClaim),
    /// Another invocation has claimed the fact.
    Theirs {
        /// Whether that invocation handles another copy of the same event. Its own retries then
        /// cover a crash. Otherwise this event must be tried again.
        has_same_event: bool,
    },
}

/// The state of a fact before it was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousClaim {
    /// The published outcome, if the ledger still remembers one.
    pub published: Option<String>,
    /// Whether an earlier attempt claimed the fact and was interrupted.
    pub was_begun: bool,
    /// When the last invocation that settled the fact began.
    pub settled_at: Option<DateTime<Utc>>,
    /// The event of that invocation.
    pub settled_event: Option<String>,
}

impl PreviousClaim {
    /// Whether an invocation has settled the fact for this event, or has begun after this event and
    /// settled the fact for another event. Times are whole seconds, so the same second does not count.
    #[must_use]
    pub fn has_settled(&self, event: &Source) -> bool {
        let Some(settled_at) = self.settled_at else { return false };
        let is_same_event = self.settled_event.as_deref() == Some(event.id.as_str());
        let time = DateTime::parse_from_rfc3339(&event.time);
        is_same_event || time.is_ok_and(|time| settled_at > time)
    }
}

/// The table.
#[derive(Debug)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Ledger {
    /// Builds a client for the table with this name.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table }
    }

    /// Claims a fact for a request and an event. All attempts of an invocation have the same request
    /// ID, and all copies of an event have the same event ID. `enforced_by` is the policy in its normal
    /// form, if the invocation may change the image by that policy. One call.
    pub async fn claim(
        &self,
        fact: Fact<'_>,
        request_id: &str,
        event_id: &str,
        enforced_by: Option<&str>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Claim> {
        let key = fact.to_string();
        let remembered = OPEN_REMEMBERED.max(fact.remembered());
        // Identifies this attempt: another attempt has the same request ID, and may have the same time.
        let attempt = format!("{:016x}", RandomState::new().hash_one(request_id));
        let update = self
            .build_claim(&key, request_id, LEASE, remembered, now)
            .expression_attribute_values(":event", text(event_id))
            .expression_attribute_values(":attempts", AttributeValue::Ss(vec![attempt.clone()]));
        let set = format!("{TAKE}, event_id = :event");
        let add = "ADD attempts :attempts";
        let update = match enforced_by {
            None => update.update_expression(format!("{set} {add}")),
            Some(policy) => update
                .update_expression(format!(
                    "{set}, enforced_by = if_not_exists(enforced_by, :policy) {add}"
                ))
                .expression_attribute_values(":policy", text(policy)),
        };
        let old = match send_claim(&key, update, event_id).await? {
            Taken::Ours(old) => old,
            Taken::Theirs { has_same_event } => return Ok(Claim::Theirs { has_same_event }),
        };
        // If a response is lost, the SDK repeats the call and finds the claim of this attempt. Such a
        // claim is not an interrupted attempt. A claim of another attempt beside it is one.
        let attempts = old.get("attempts").and_then(|attempts| attempts.as_ss().ok());
        let is_own = attempts.is_some_and(|all| all.iter().all(|one| *one == attempt));
        let is_fresh = time(&old, "published_at").is_some_and(|at| at + fact.remembered() > now);
        let word = |name: &str| old.get(name).and_then(|value| value.as_s().ok()).cloned();
        Ok(Claim::Ours(PreviousClaim {
            published: word("published").filter(|_| is_fresh),
            was_begun: old.contains_key("lease") && !is_own,
            settled_event: word("settled_event"),
            settled_at: time(&old, "settled_at"),
        }))
    }

    /// Reads the policy by which an attempt may have changed the image, if the claim of that attempt was
    /// never settled. One call.
    pub async fn interrupted_enforcement(&self, fact: Fact<'_>) -> anyhow::Result<Option<String>> {
        let items = self.read_items(&[fact.to_string()], "enforced_by").await;
        let items = items.with_context(|| format!("reading the claim of {fact}"))?;
        let policy = items.first().and_then(|item| item.get("enforced_by")?.as_s().ok());
        Ok(policy.cloned())
    }

    /// Builds the call that claims an item.
    fn build_claim(
        &self,
        key: &str,
        request_id: &str,
        lease: Duration,
        remembered: Duration,
        now: DateTime<Utc>,
    ) -> UpdateItemFluentBuilder {
        self.update(key)
            .update_expression(TAKE)
            .condition_expression("attribute_not_exists(lease) OR lease < :now OR holder = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":lease", seconds(now, lease))
            .expression_attribute_values(":expires", seconds(now, remembered))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .return_values(ReturnValue::AllOld)
    }

    /// Releases a claim without a trace. The invocation has changed nothing, and Lambda retries the
    /// event. One call.
    pub async fn give_back(&self, fact: Fact<'_>, request_id: &str) -> anyhow::Result<()> {
        let update = self
            .update(&fact.to_string())
            .update_expression(RELEASE)
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("releasing {fact}")),
        }
    }

    /// Settles a fact: releases the claim, and records the published outcome, if any. One call.
    pub async fn settle(
        &self,
        fact: Fact<'_>,
        request_id: &str,
        published: Option<&str>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let update = self
            .update(&fact.to_string())
            // A request that took over the claim settles the fact itself.
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .expression_attribute_values(":none", text("none"));
        let update = match published {
            None => update.update_expression(format!("{SETTLE} {RELEASE}")),
            Some(published) => update
                .update_expression(format!(
                    "{SETTLE}, published = :published, published_at = :now, expires = :expires {RELEASE}"
                ))
                .expression_attribute_values(":published", text(published))
                .expression_attribute_values(":expires", seconds(now, fact.remembered())),
        };
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("settling {fact}")),
        }
    }

    /// Whether a fact is published. One call.
    pub async fn is_published(&self, fact: Fact<'_>) -> anyhow::Result<bool> {
        let key = fact.to_string();
        let get = self.client.get_item().table_name(&self.table).key("fact", text(&key));
        let got = get.consistent_read(true).send().await.map_err(crate::explain);
        let got = got.with_context(|| format!("reading whether {fact} is published"))?;
        Ok(got.item.is_some_and(|item| item.contains_key("published")))
    }

    /// Removes the published outcome of a fact, so that the next one is published. One call.
    pub async fn forget(&self, fact: Fact<'_>) -> anyhow::Result<()> {
        let update =
            self.update(&fact.to_string()).update_expression("REMOVE published, published_at");
        match update.condition_expression("attribute_exists(published)").send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("forgetting {fact}")),
        }
    }

    fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).key("fact", text(key))
    }

    /// Writes items. One call for 25 of them.
    async fn write_items(&self, requests: Vec<WriteRequest>) -> anyhow::Result<()> {
        for batch in requests.chunks(BATCH) {
            let mut left = batch.to_vec();
            let mut round = 0;
            while !left.is_empty() {
                ensure!(round < ROUNDS, "DynamoDB throttled the write of {} items", left.len());
                // DynamoDB returns the items that it throttled.
                if round > 0 {
                    tokio::time::sleep(Duration::from_millis(50 << round)).await;
                }
                let write = self.client.batch_write_item().request_items(&self.table, left);
                let mut written = write.send().await.map_err(crate::explain)?;
                let rest = written.unprocessed_items.as_mut();
                left = rest.and_then(|rest| rest.remove(&self.table)).unwrap_or_default();
                round += 1;
            }
        }
        Ok(())
    }

    /// Reads these attributes of these items, or all attributes, in any order and without the items that do
    /// not exist. One call for 100 items, or for 16 MB.
    async fn read_items(
        &self,
        keys: &[String],
        attributes: impl Into<Option<&str>>,
    ) -> anyhow::Result<Vec<Item>> {
        let attributes = attributes.into();
        let mut items = Vec::new();
        for batch in keys.chunks(READ_BATCH) {
            let key = |key: &String| HashMap::from([("fact".to_owned(), text(key))]);
            let request = KeysAndAttributes::builder()
                .set_projection_expression(attributes.map(str::to_owned))
                .consistent_read(true);
            let mut left = Some(request.set_keys(Some(batch.iter().map(key).collect())).build()?);
            let mut rounds_without = 0;
            while let Some(keys) = left {
                let count = keys.keys.len();
                ensure!(rounds_without < ROUNDS, "DynamoDB throttled the read of {count} items");
                if rounds_without > 0 {
                    tokio::time::sleep(Duration::from_millis(50 << rounds_without)).await;
                }
                let get = self.client.batch_get_item().request_items(&self.table, keys);
                let got = get.send().await.map_err(crate::explain)?;
                let new = got.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
                // A throttled call returns no item, and a call for large items returns some of them.
                rounds_without = if new.is_empty() { rounds_without + 1 } else { 0 };
                items.extend(new);
                left = got.unprocessed_keys.unwrap_or_default().remove(&self.table);
            }
        }
        Ok(items)
    }
}

/// The attributes of an item.
type Item = HashMap<String, AttributeValue>;

/// Reads an attribute that is a time.
fn time(item: &Item, name: &str) -> Option<DateTime<Utc>> {
    let seconds = item.get(name)?.as_n().ok()?.parse().ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// The outcome of a claim to an item.
enum Taken {
    /// This request holds the item. The value is the item before the claim.
    Ours(Item),
    /// Another request holds the item.
    Theirs {
        /// Whether that request claimed the item for the same event.
        has_same_event: bool,
    },
}

/// Sends a claim that [`Ledger::build_claim`] built, for the event with this ID.
async fn send_claim(
    key: &str,
    claim: UpdateItemFluentBuilder,
    event_id: &str,
) -> anyhow::Result<Taken> {
    let old = ReturnValuesOnConditionCheckFailure::AllOld;
    match claim.return_values_on_condition_check_failure(old).send().await {
        Ok(updated) => Ok(Taken::Ours(updated.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                let theirs = refused.item().and_then(|item| item.get("event_id")?.as_s().ok());
                let has_same_event = theirs.is_some_and(|theirs| theirs == event_id);
                Ok(Taken::Theirs { has_same_event })
            }
            _ => Err(crate::explain(error)).with_context(|| format!("claiming {key}")),
        },
    }
}

fn is_refused<R>(error: &SdkError<UpdateItemError, R>) -> bool {
    error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn seconds(now: DateTime<Utc>, later: Duration) -> AttributeValue {
    AttributeValue::N((now + later).timestamp().to_string())
}
