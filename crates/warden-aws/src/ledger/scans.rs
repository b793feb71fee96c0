//! The history of the scans of a release line, and the collection of events about the findings of an
//! image.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;
use warden_alerts::About;
use warden_core::findings::{
    Level, OpenFindingsStatus, ReleaseLine, ScanHistory, Scanned, Version,
};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::policy::Severity;
use warden_core::retention::short_hash;

use super::{
    Item, LEASE, Ledger, OPEN_REMEMBERED, REMEMBERED, TAKE, Taken, is_refused, seconds, send_claim,
    text,
};

/// An event about one finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingEvent {
    /// The vulnerability.
    pub id: String,
    /// The severity.
    pub level: Level,
    /// The probability of an exploit.
    pub epss: Option<f64>,
    /// Whether the image has the vulnerability.
    pub is_active: bool,
    /// The time of the event.
    pub at: DateTime<Utc>,
}

/// The invocation that collects the events of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionClaim {
    /// The invocation that asked. It must process all events.
    Ours,
    /// Another invocation, which began lately and processes these events too.
    Theirs,
}

/// The collected events of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectedEvents {
    /// The events that other invocations left, until they are processed.
    pub events: Vec<FindingEvent>,
    /// The tag of the image in the last event. The image may have lost the tag since.
    pub tag: Option<Tag>,
}

/// The most attempts to start or to join a collection. Between two calls, the collection of another
/// invocation may begin or end.
const JOINS: u32 = 4;

/// The outcome of the claim on the history of a release line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryClaim {
    /// The claim succeeded. The value is the history.
    Ours(Box<ScanHistory>),
    /// Another invocation holds the history.
    Theirs {
        /// Whether that invocation handles another copy of the same event. Its own retries then
        /// cover a crash. Otherwise this event must be tried again.
        has_same_event: bool,
    },
}

/// The outcome of the attempt to record a clean scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanScanOutcome {
    /// The scan is recorded.
    Recorded,
    /// The scan is not recorded: another invocation holds the history, an alert is open, or the version
    /// was scanned before or is older. The value is the history.
    NotRecorded(Box<ScanHistory>),
}

impl Ledger {
    /// Starts or joins the collection of events about an image. The first invocation starts it, and
    /// must process all events after the time `window`. The other invocations add their events to the
    /// collection. `tag` is the tag of the image in the event. One call, or two.
    pub async fn claim_collection(
        &self,
        about: &About,
        tag: Option<&Tag>,
        events: &[FindingEvent],
        request_id: &str,
        window: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<CollectionClaim> {
        let key = collection_key(about);
        let collecting = || format!("collecting the events of {key}");
        let added = string_set(events)?;
        for _ in 0..JOINS {
            let mut set =
                "SET gatherer = :holder, gathered_until = :until, expires = :expires".to_owned();
            let mut claim = self.update(&key);
            if let Some(tag) = tag {
                set += ", called_tag = :tag";
                claim = claim.expression_attribute_values(":tag", text(tag.as_str()));
            }
            let claim = claim
                .update_expression(set)
                // The retry of an interrupted attempt starts the collection again.
                .condition_expression(
                    "attribute_not_exists(gatherer) OR gathered_until <= :now OR gatherer = :holder",
                )
                .expression_attribute_values(":holder", text(request_id))
                .expression_attribute_values(":until", seconds(now, window))
                .expression_attribute_values(":now", seconds(now, Duration::ZERO))
                .expression_attribute_values(":expires", seconds(now, OPEN_REMEMBERED));
            match claim.send().await {
                Ok(_) => return Ok(CollectionClaim::Ours),
                Err(error) if is_refused(&error) => {}
                Err(error) => return Err(crate::explain(error)).with_context(collecting),
            }
            let add = self
                .update(&key)
                .update_expression("ADD gathered :heard")
                // An invocation that has ended its collection does not read new events.
                .condition_expression("attribute_exists(gatherer)")
                .expression_attribute_values(":heard", added.clone());
            match add.send().await {
                Ok(_) => return Ok(CollectionClaim::Theirs),
                Err(error) if is_refused(&error) => {}
                Err(error) => return Err(crate::explain(error)).with_context(collecting),
            }
        }
        bail!("{}: other invocations started and ended collections meanwhile", collecting())
    }

    /// Ends the collection, and returns its events. The events stay in the ledger until they are
    /// processed, because the invocations that added them do not add them again. One call.
    pub async fn end_collection(
        &self,
        about: &About,
        request_id: &str,
    ) -> anyhow::Result<CollectedEvents> {
        let key = collection_key(about);
        let update = self
            .update(&key)
            .update_expression("REMOVE gatherer, gathered_until")
            .condition_expression("gatherer = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let item = match update.send().await {
            Ok(updated) => updated.attributes.unwrap_or_default(),
            // Another invocation has taken over. This one still processes the events so far.
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    refused.item().cloned().unwrap_or_default()
                }
                _ => {
                    return Err(crate::explain(error))
                        .with_context(|| format!("ending the collection of events of {key}"));
                }
            },
        };
        let gathered = item.get("gathered").and_then(|set| set.as_ss().ok());
        let events = gathered.into_iter().flatten();
        let events = events.filter_map(|json| serde_json::from_str(json).ok()).collect();
        let tag = item.get("called_tag").and_then(|tag| tag.as_s().ok()?.parse().ok());
        Ok(CollectedEvents { events, tag })
    }

    /// Removes processed events from the collection. One call.
    pub async fn remove_collected(
        &self,
        about: &About,
        events: &[FindingEvent],
    ) -> anyhow::Result<()> {
        let key = collection_key(about);
        let update = self
            .update(&key)
            .update_expression("DELETE gathered :heard")
            .expression_attribute_values(":heard", string_set(events)?);
        let removed = update.send().await.map_err(crate::explain);
        removed.with_context(|| format!("removing the processed events of {key}"))?;
        Ok(())
    }

    /// Reads the open findings of these release lines at or above a threshold. A line without a
    /// history is left out. The histories are not claimed, so they may change at any time. One call for
    /// 100 lines, or for 16 MB.
    pub async fn open_findings(
        &self,
        repository: &RepositoryName,
        lines: &[&ReleaseLine],
        threshold: Severity,
    ) -> anyhow::Result<HashMap<ReleaseLine, OpenFindingsStatus>> {
        let by_key: HashMap<String, &ReleaseLine> =
            lines.iter().map(|line| (line_key(repository, line), *line)).collect();
        let keys: Vec<String> = by_key.keys().cloned().collect();
        let items = self.read_items(&keys, "fact, latest, published").await;
        let items = items.with_context(|| format!("reading the open findings of {repository}"))?;
        let mut open = HashMap::new();
        for item in items {
            let Some(key) = item.get("fact").and_then(|key| key.as_s().ok()) else { continue };
            if let Some(line) = by_key.get(key) {
                let history = read_history(key, &item);
                open.insert((*line).clone(), history.open_findings(threshold));
            }
        }
        Ok(open)
    }

    /// Claims the history of a release line for an event, and returns the history. A version without a
    /// line has a history of its own. One call.
    pub async fn claim_history(
        &self,
        repository: &RepositoryName,
        line: Option<&ReleaseLine>,
        version: &Digest,
        request_id: &str,
        event_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<HistoryClaim> {
        let key = history_key(repository, line, version);
        let update = self
            .build_claim(&key, request_id, LEASE, REMEMBERED, now)
            .update_expression(format!("{TAKE}, event_id = :event"))
            .expression_attribute_values(":event", text(event_id));
        Ok(match send_claim(&key, update, event_id).await? {
            Taken::Ours(item) => HistoryClaim::Ours(Box::new(read_history(&key, &item))),
            Taken::Theirs { has_same_event } => HistoryClaim::Theirs { has_same_event },
        })
    }

    /// Releases the claim on a history. `history` is the new history, or None if it did not change. One
    /// call.
    pub async fn release_history(
        &self,
        repository: &RepositoryName,
        line: Option<&ReleaseLine>,
        version: &Digest,
        request_id: &str,
        history: Option<&ScanHistory>,
    ) -> anyhow::Result<()> {
        let key = history_key(repository, line, version);
        let update = self
            .update(&key)
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        let update = match history {
            None => update.update_expression("REMOVE holder, lease"),
            Some(ScanHistory { latest, previous, published }) => {
                let mut update = update
                    .expression_attribute_values(":latest", text(&serde_json::to_string(latest)?))
                    .expression_attribute_values(
                        ":previous",
                        text(&serde_json::to_string(previous)?),
                    )
                    .expression_attribute_values(
                        ":published",
                        text(&serde_json::to_string(published)?),
                    );
                let mut set =
                    "SET latest = :latest, previous = :previous, published = :published".to_owned();
                let mut remove = " REMOVE holder, lease".to_owned();
                // The condition of `record_clean_scan` reads these attributes.
                if published.is_open {
                    set += ", is_open = :open";
                    update =
                        update.expression_attribute_values(":open", AttributeValue::Bool(true));
                } else {
                    remove += ", is_open";
                }
                if let Some(Version { digest, pushed, .. }) = latest {
                    set += ", latest_digest = :digest, latest_pushed = :pushed";
                    update = update
                        .expression_attribute_values(":digest", text(digest.as_str()))
                        .expression_attribute_values(":pushed", seconds(*pushed, Duration::ZERO));
                }
                update.update_expression(set + &remove)
            }
        };
        match update.send().await {
            Ok(_) => Ok(()),
            // A request that took over the claim writes the history itself.
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("releasing {key}")),
        }
    }

    /// Records a clean scan of a version that was not scanned before. The scan is not recorded if another
    /// invocation holds the history, an alert is open, or the history has a later version. One call.
    pub async fn record_clean_scan(
        &self,
        repository: &RepositoryName,
        line: Option<&ReleaseLine>,
        scanned: &Scanned,
        clean: &Version,
        now: DateTime<Utc>,
    ) -> anyhow::Result<CleanScanOutcome> {
        let key = history_key(repository, line, &scanned.version);
        let update = self
            .update(&key)
            .update_expression(
                "SET previous = if_not_exists(latest, :none), latest = :latest, \
                 latest_digest = :digest, latest_pushed = :pushed, expires = :expires",
            )
            .condition_expression(
                "attribute_not_exists(is_open) AND (attribute_not_exists(lease) OR lease < :now) \
                 AND (attribute_not_exists(latest_digest) \
                 OR (latest_digest <> :digest AND latest_pushed <= :pushed))",
            )
            .expression_attribute_values(":none", text("null"))
            .expression_attribute_values(":latest", text(&serde_json::to_string(clean)?))
            .expression_attribute_values(":digest", text(clean.digest.as_str()))
            .expression_attribute_values(":pushed", seconds(clean.pushed, Duration::ZERO))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(CleanScanOutcome::Recorded),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let item = refused.item().cloned().unwrap_or_default();
                    Ok(CleanScanOutcome::NotRecorded(Box::new(read_history(&key, &item))))
                }
                _ => {
                    Err(crate::explain(error)).with_context(|| format!("recording a scan in {key}"))
                }
            },
        }
    }
}

/// The events as a set, each once, because `DynamoDB` refuses a set with a duplicate.
fn string_set(events: &[FindingEvent]) -> anyhow::Result<AttributeValue> {
    let texts = events.iter().map(serde_json::to_string);
    let texts = texts.collect::<Result<BTreeSet<String>, _>>()?;
    Ok(AttributeValue::Ss(texts.into_iter().collect()))
}

/// The key of the collected events of an image.
fn collection_key(about: &About) -> String {
    format!("gathering {} {}", about.repository, about.digest)
}

/// The key of the history of a release line, or of a version without a line. The two cannot collide: a
/// digest has a colon, and a component has none.
fn history_key(
    repository: &RepositoryName,
    line: Option<&ReleaseLine>,
    version: &Digest,
) -> String {
    line.map_or_else(|| version_key(repository, version), |line| line_key(repository, line))
}

/// The key of the history of a version without a release line.
pub(super) fn version_key(repository: &RepositoryName, version: &Digest) -> String {
    format!("scans {repository} {version}")
}

/// A template can be longer than a key, so the key has the hash of the kind and the branch.
fn line_key(repository: &RepositoryName, line: &ReleaseLine) -> String {
    let ReleaseLine { component, kind, branch } = line;
    let hash = match branch {
        Some(branch) => short_hash(&format!("{kind} {branch}")),
        None => short_hash(kind),
    };
    format!("scans {repository} {component} {hash}")
}

pub(super) fn read_history(key: &str, item: &Item) -> ScanHistory {
    ScanHistory {
        latest: attribute(key, item, "latest").flatten(),
        previous: attribute(key, item, "previous").flatten(),
        published: attribute(key, item, "published").unwrap_or_default(),
    }
}

/// Parses an attribute with JSON. An invalid attribute is ignored: an alert may be published twice, which
/// is better than never.
fn attribute<T: DeserializeOwned>(key: &str, item: &Item, name: &str) -> Option<T> {
    let json = item.get(name)?.as_s().ok()?;
    let read = serde_json::from_str(json);
    read.inspect_err(|error| {
        warn!("the attribute {name} of the item {key} is ignored, because it is invalid: {error}");
    })
    .ok()
}
