//! What was told, and what is about to be: a `DynamoDB` table of facts.
//!
//! Whoever has something to tell claims the fact before it looks, acts and tells, and confirms
//! it after. A claim ends by itself before Lambda tries again, and that attempt, which has the
//! same request ID, need not wait even for that. So a crash anywhere in between leads to the
//! next attempt telling it, and never to silence; an event that comes twice, at once or later,
//! is told once; and nobody acts on what another one is about to change.
//!
//! An item has `fact`, the key; `holder` and `lease`, who has claimed it and until when;
//! `attempts`, which have claimed it since it was last given back; `event_id`, the event of the
//! last claim; `settled_at` and `settled_event`, when the last invocation began that settled the
//! fact, and its event; `told` and
//! `told_at`, what was told last, and when; and `expires`, when it is forgotten. Times are seconds
//! since 1970. What is remembered of scans is in [`Ledger::recall`], of images in
//! [`Ledger::image`], of sweeps in [`Ledger::begin_run`], of untagged images in
//! [`Ledger::untagged_images`], of units that are removed in [`Ledger::begin_units`], and of replicas
//! in [`Ledger::note_replica`]; [`Ledger::confirm`] writes what an operator confirmed;
//! [`Ledger::claim_for_enforcement`] keeps enforcement and sweeps from the tags of one image at the
//! same time.

mod confirmations;
mod replicas;
mod risks;
mod runs;
mod scans;
mod tags;
mod units;
mod untagged;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, PutRequest, ReturnValue,
    ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use aws_smithy_runtime_api::client::result::SdkError;
use chrono::{DateTime, NaiveDate, Utc};
use warden_alerts::Source;
use warden_core::graph::IndexChildKind;
use warden_core::image::{Component, Digest, RepositoryName, Tag};

/// How long a claim holds: Lambda tries again after a minute, and no attempt takes as long.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
pub const LEASE: Duration = Duration::from_secs(55);

/// How long an index is remembered for its images, from its last push, and a component's
/// scans from the last of them.
const REMEMBERED: Duration = Duration::from_secs(400 * 86_400);
/// The most items of a batch, and how often what was not taken is sent again.
const BATCH: usize = 25;
const ROUNDS: u32 = 5;
/// The most items that one call reads.
const READ_BATCH: usize = 100;

/// How long an open claim is remembered: longer than its event can wait in a dead-letter
/// queue, so that what was begun is told whenever that is taken up again.
const OPEN_REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// How a claim is released, and how a fact is settled.
const RELEASE: &str = "REMOVE holder, lease, attempts";
const SETTLE: &str = "SET settled_at = :now, settled_event = if_not_exists(event_id, :none)";

/// How an item is taken.
const TAKE: &str = "SET holder = :holder, lease = :lease, expires = :expires";

pub use runs::{AcceptedPolicy, RunLease, UnfinishedRun};
pub use scans::{
    CleanScanOutcome, CollectedEvents, CollectionClaim, FindingEvent, HistoryClaim, IndexMembership,
};

/// Something that is told once.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A tag that breaks the policy. What was done about it is what is told.
    TagViolation {
        /// Where.
        repository: &'a RepositoryName,
        /// On which image.
        digest: &'a Digest,
        /// Which tag.
        tag: &'a Tag,
    },
    /// A repository whose name nobody expects, once a day.
    RepositoryViolation {
        /// Which.
        repository: &'a RepositoryName,
        /// The day, in UTC.
        day: NaiveDate,
    },
    /// An image that could not be scanned.
    ScanFailed {
        /// Where.
        repository: &'a RepositoryName,
        /// Which version.
        digest: &'a Digest,
        /// As what.
        status: &'a str,
    },
    /// A risk that is accepted for a few days more.
    RiskExpiring {
        /// The vulnerability.
        id: &'a str,
        /// In which component, if in one only.
        component: Option<&'a Component>,
        /// Its last day.
        until: NaiveDate,
    },
    /// A change of the accepted risks.
    RisksChanged {
        /// The parameter.
        parameter: &'a str,
        /// Its version. A parameter that is deleted and created again begins with 1.
        version: i64,
        /// When that version was written, in seconds since 1970.
        at: i64,
    },
    /// What a sweep would do, and did not.
    Cleanup {
        /// Where.
        repository: &'a RepositoryName,
        /// Which plan, or why there is none.
        plan: &'a str,
    },
    /// The deviations of a repository's settings from its policy.
    Audit {
        /// Where.
        repository: &'a RepositoryName,
    },
    /// A setting of the stack itself that is broken, once a day.
    SelfAudit {
        /// What should be.
        rule: &'a str,
        /// The day, in UTC.
        day: NaiveDate,
    },
}

impl Fact<'_> {
    /// How long it is remembered that it was told. EventBridge delivers for a day at most,
    /// and Lambda tries for six hours; what happens again after that is news.
    fn remembered(self) -> Duration {
        match self {
            // What is as it was is told again then: nobody else reminds of it.
            Self::TagViolation { .. } | Self::Audit { .. } => Duration::from_secs(7 * 86_400),
            Self::RepositoryViolation { .. } | Self::SelfAudit { .. } => {
                Duration::from_secs(3 * 86_400)
            }
            Self::RiskExpiring { .. } | Self::RisksChanged { .. } => {
                Duration::from_secs(30 * 86_400)
            }
            // A scan that is begun again by hand fails for the same reason.
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
            Self::RepositoryViolation { repository, day } => {
                write!(f, "repository-violation {repository} {day}")
            }
            Self::ScanFailed { repository, digest, status } => {
                write!(f, "scan-failed {repository} {digest} {status}")
            }
            Self::RiskExpiring { id, component, until } => {
                let component = component.map_or("*", |it| it.as_str());
                write!(f, "risk-expiring {id} {component} {until}")
            }
            Self::RisksChanged { parameter, version, at } => {
                write!(f, "risks-changed {parameter} {version} {at}")
            }
            Self::Cleanup { repository, plan } => write!(f, "cleanup {repository} {plan}"),
            Self::Audit { repository } => write!(f, "audit {repository}"),
            Self::SelfAudit { rule, day } => write!(f, "self-audit {rule} {day}"),
        }
    }
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Ours(PreviousClaim),
    /// Another invocation holds it.
    Theirs {
        /// Whether that invocation handles another copy of the same event. Its own retries then
        /// cover a crash. Otherwise this event must be tried again.
        has_same_event: bool,
    },
}

/// What was known of a fact before it was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousClaim {
    /// What was told of it, where that is still remembered.
    pub told: Option<String>,
    /// Whether an earlier attempt claimed it and was cut off.
    pub was_begun: bool,
    /// When the last invocation began that settled the fact.
    pub settled_at: Option<DateTime<Utc>>,
    /// The event of that invocation.
    pub settled_event: Option<String>,
}

impl PreviousClaim {
    /// Whether an invocation has settled the fact for this event, or began after the event and
    /// has settled it for another one. Times are whole seconds, so the same second does not count.
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
    /// The table of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table }
    }

    /// Claims a fact for the request of this ID, which is the same in each of its attempts, and
    /// for the event of this ID, which is the same in each of its copies. One call.
    pub async fn claim(
        &self,
        fact: Fact<'_>,
        request_id: &str,
        event_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Claim> {
        let key = fact.to_string();
        let remembered = OPEN_REMEMBERED.max(fact.remembered());
        // This attempt's alone: another one has the same request ID, and may have the same time.
        let attempt = format!("{:016x}", RandomState::new().hash_one(request_id));
        let update = self
            .taking(&key, request_id, LEASE, remembered, now)
            .update_expression(format!("{TAKE}, event_id = :event ADD attempts :attempts"))
            .expression_attribute_values(":event", text(event_id))
            .expression_attribute_values(":attempts", AttributeValue::Ss(vec![attempt.clone()]));
        let old = match taken(&key, update, event_id).await? {
            Taken::Ours(old) => old,
            Taken::Theirs { has_same_event } => return Ok(Claim::Theirs { has_same_event }),
        };
        // Where an answer is lost the SDK calls again, and meets its own claim; beside which, that
        // of an earlier attempt still counts.
        let attempts = old.get("attempts").and_then(|attempts| attempts.as_ss().ok());
        let is_own = attempts.is_some_and(|all| all.iter().all(|one| *one == attempt));
        let is_fresh = time(&old, "told_at").is_some_and(|at| at + fact.remembered() > now);
        let word = |name: &str| old.get(name).and_then(|value| value.as_s().ok()).cloned();
        Ok(Claim::Ours(PreviousClaim {
            told: word("told").filter(|_| is_fresh),
            was_begun: old.contains_key("lease") && !is_own,
            settled_event: word("settled_event"),
            settled_at: time(&old, "settled_at"),
        }))
    }

    /// Takes an item for so long, unless somebody else has it, and gives what it was before.
    async fn take(
        &self,
        key: &str,
        request_id: &str,
        lease: Duration,
        remembered: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Item>> {
        let update = self.taking(key, request_id, lease, remembered, now);
        Ok(match taken(key, update, "").await? {
            Taken::Ours(item) => Some(item),
            Taken::Theirs { .. } => None,
        })
    }

    /// The call that does.
    fn taking(
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

    /// Gives a claim back as if it had never been made: nothing was done, and the event is tried
    /// again. One call.
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

    /// Gives a claim back, and remembers what was told, if anything was. One call.
    pub async fn settle(
        &self,
        fact: Fact<'_>,
        request_id: &str,
        told: Option<&str>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let update = self
            .update(&fact.to_string())
            // Who took over in the meantime settles it.
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .expression_attribute_values(":none", text("none"));
        let update = match told {
            None => update.update_expression(format!("{SETTLE} {RELEASE}")),
            Some(told) => update
                .update_expression(format!(
                    "{SETTLE}, told = :told, told_at = :now, expires = :expires {RELEASE}"
                ))
                .expression_attribute_values(":told", text(told))
                .expression_attribute_values(":expires", seconds(now, fact.remembered())),
        };
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("settling {fact}")),
        }
    }

    /// Forgets what was told of a fact, if anything was. One call.
    pub async fn forget(&self, fact: Fact<'_>) -> anyhow::Result<()> {
        let update = self.update(&fact.to_string()).update_expression("REMOVE told, told_at");
        match update.condition_expression("attribute_exists(told)").send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("forgetting {fact}")),
        }
    }

    fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).key("fact", text(key))
    }

    /// Notes the parts of an index that was pushed, with its tag if it has one, since ECR cannot
    /// be asked which index an image is of; one that is in several is noted with the last. One
    /// call for 25 of them.
    pub async fn note_children(
        &self,
        repository: &RepositoryName,
        index: &Digest,
        tag: Option<&Tag>,
        children: &BTreeMap<Digest, IndexChildKind>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let images = children.values().filter(|part| **part == IndexChildKind::Image).count();
        let put = |(child, part): (&Digest, &IndexChildKind)| {
            let request = PutRequest::builder()
                .item("fact", text(&image(repository, child)))
                .item("index", text(index.as_str()))
                .item("pushed", seconds(now, Duration::ZERO))
                .item("images", AttributeValue::N(images.to_string()))
                .item("attestation", AttributeValue::Bool(*part == IndexChildKind::Attestation))
                .item("expires", seconds(now, REMEMBERED));
            let request = match tag {
                Some(tag) => request.item("tag", text(tag.as_str())),
                None => request,
            };
            anyhow::Ok(WriteRequest::builder().put_request(request.build()?).build())
        };
        let requests = children.iter().map(put).collect::<anyhow::Result<Vec<_>>>()?;
        self.write_items(requests).await.with_context(|| format!("noting the images of {index}"))
    }

    /// Writes items. One call for 25 of them.
    async fn write_items(&self, requests: Vec<WriteRequest>) -> anyhow::Result<()> {
        for batch in requests.chunks(BATCH) {
            let mut left = batch.to_vec();
            let mut round = 0;
            while !left.is_empty() {
                ensure!(round < ROUNDS, "DynamoDB did not take {} items", left.len());
                // DynamoDB gives back the items that it throttled.
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

    /// Reads these attributes of these items, in any order and without the items that do not
    /// exist. One call for 100 items, or for 16 MB.
    async fn read_items(&self, keys: &[String], attributes: &str) -> anyhow::Result<Vec<Item>> {
        let mut items = Vec::new();
        for batch in keys.chunks(READ_BATCH) {
            let key = |key: &String| HashMap::from([("fact".to_owned(), text(key))]);
            let asked = KeysAndAttributes::builder()
                .projection_expression(attributes)
                .consistent_read(true);
            let mut asked = Some(asked.set_keys(Some(batch.iter().map(key).collect())).build()?);
            let mut rounds_without = 0;
            while let Some(keys) = asked {
                ensure!(rounds_without < ROUNDS, "DynamoDB did not give {} items", keys.keys.len());
                if rounds_without > 0 {
                    tokio::time::sleep(Duration::from_millis(50 << rounds_without)).await;
                }
                let get = self.client.batch_get_item().request_items(&self.table, keys);
                let got = get.send().await.map_err(crate::explain)?;
                let new = got.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
                // A throttled call gives nothing, and a call for large items gives some of them.
                rounds_without = if new.is_empty() { rounds_without + 1 } else { 0 };
                items.extend(new);
                asked = got.unprocessed_keys.unwrap_or_default().remove(&self.table);
            }
        }
        Ok(items)
    }
}

/// The attributes of an item.
type Item = HashMap<String, AttributeValue>;

/// A time of an item.
fn time(item: &Item, name: &str) -> Option<DateTime<Utc>> {
    let seconds = item.get(name)?.as_n().ok()?.parse().ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// The outcome of a claim to an item.
enum Taken {
    /// The item as it was before.
    Ours(Item),
    /// Another invocation has claimed it.
    Theirs {
        /// Whether that invocation claimed it for the same event.
        has_same_event: bool,
    },
}

/// Sends a claim that [`Ledger::taking`] built, for the event of this ID.
async fn taken(key: &str, claim: UpdateItemFluentBuilder, event_id: &str) -> anyhow::Result<Taken> {
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

/// The key of what is noted of an image.
fn image(repository: &RepositoryName, digest: &Digest) -> String {
    format!("image {repository} {digest}")
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
