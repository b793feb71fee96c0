//! What is remembered of images and of the scans of a component.

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
use warden_core::findings::{Level, OpenFindingsStatus, ScanHistory, Scanned, Version};
use warden_core::graph::IndexChildKind;
use warden_core::image::{Component, Digest, RepositoryName, Tag};
use warden_core::policy::Severity;

use super::{
    Item, LEASE, Ledger, OPEN_REMEMBERED, REMEMBERED, TAKE, Taken, image, is_refused, seconds,
    taken, text,
};

/// What is noted of an image that is part of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexMembership {
    /// The index.
    pub index: Digest,
    /// What the index was pushed as.
    pub tag: Option<Tag>,
    /// When.
    pub pushed: DateTime<Utc>,
    /// How many images it has.
    pub images: usize,
    /// What part of it the image is.
    pub part: IndexChildKind,
}

/// What an event says of one finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingEvent {
    /// The vulnerability.
    pub id: String,
    /// How bad it is.
    pub level: Level,
    /// How probable it is that it is exploited.
    pub epss: Option<f64>,
    /// Whether the image has it.
    pub is_active: bool,
    /// When that was said.
    pub at: DateTime<Utc>,
}

/// Who gathers the events of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionClaim {
    /// Whoever asked.
    Ours,
    /// Somebody who began not long ago, and will see to this event too.
    Theirs,
}

/// What was gathered of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectedEvents {
    /// What other events say, until it is seen to.
    pub heard: Vec<FindingEvent>,
    /// What an event called it last. By now it may have no tag.
    pub tag: Option<Tag>,
}

/// How often it is tried to join somebody who just ended.
const JOINS: u32 = 4;

/// What came of the claim to a component's scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryClaim {
    /// They are ours, with what is remembered of them.
    Ours(Box<ScanHistory>),
    /// Another invocation has claimed them.
    Theirs {
        /// Whether that invocation handles another copy of the same event. Its own retries then
        /// cover a crash. Otherwise this event must be tried again.
        has_same_event: bool,
    },
}

/// What came of noting a clean scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanScanOutcome {
    /// It is noted.
    Noted,
    /// It was not: somebody is at it, an alert is open, or the version was seen before or is
    /// older. This is what is remembered.
    Not(Box<ScanHistory>),
}

impl Ledger {
    /// What is noted of an image, if it is part of an index. One call.
    pub async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<IndexMembership>> {
        let key = image(repository, digest);
        let get = self.client.get_item().table_name(&self.table).key("fact", text(&key));
        // It may have been written a moment ago.
        let got = get.consistent_read(true).send().await.map_err(crate::explain);
        let got = got.with_context(|| format!("reading what is noted of {key}"))?;
        Ok(got.item.as_ref().and_then(note))
    }

    /// Gathers the events of an image for so long: the first of them is told that it is the
    /// one to wait, and to see to all of them then; the others leave what they say with it.
    /// `tag` is what the event calls the image. One call, or two.
    pub async fn gather(
        &self,
        about: &About,
        tag: Option<&Tag>,
        heard: &[FindingEvent],
        request_id: &str,
        window: Duration,
        now: DateTime<Utc>,
    ) -> anyhow::Result<CollectionClaim> {
        let key = gathering_of(about);
        let gathering = || format!("gathering events of {key}");
        let said = string_set(heard)?;
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
                // An attempt that was cut off, and is made again, begins anew.
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
                Err(error) => return Err(crate::explain(error)).with_context(gathering),
            }
            let leave = self
                .update(&key)
                .update_expression("ADD gathered :heard")
                // Whoever has ended would not see it any more.
                .condition_expression("attribute_exists(gatherer)")
                .expression_attribute_values(":heard", said.clone());
            match leave.send().await {
                Ok(_) => return Ok(CollectionClaim::Theirs),
                Err(error) if is_refused(&error) => {}
                Err(error) => return Err(crate::explain(error)).with_context(gathering),
            }
        }
        bail!("{}: others came and went", gathering())
    }

    /// Ends the gathering, and gives what was gathered. It stays until it is seen to: whoever
    /// has left it will not come again. One call.
    pub async fn gathered(
        &self,
        about: &About,
        request_id: &str,
    ) -> anyhow::Result<CollectedEvents> {
        let key = gathering_of(about);
        let update = self
            .update(&key)
            .update_expression("REMOVE gatherer, gathered_until")
            .condition_expression("gatherer = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let item = match update.send().await {
            Ok(updated) => updated.attributes.unwrap_or_default(),
            // Somebody took over; what was gathered until now is seen to here all the same.
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    refused.item().cloned().unwrap_or_default()
                }
                _ => {
                    return Err(crate::explain(error))
                        .with_context(|| format!("ending to gather events of {key}"));
                }
            },
        };
        let gathered = item.get("gathered").and_then(|set| set.as_ss().ok());
        let heard = gathered.into_iter().flatten();
        let heard = heard.filter_map(|json| serde_json::from_str(json).ok()).collect();
        let tag = item.get("called_tag").and_then(|tag| tag.as_s().ok()?.parse().ok());
        Ok(CollectedEvents { heard, tag })
    }

    /// Forgets what was gathered and has been seen to. One call.
    pub async fn seen_to(&self, about: &About, heard: &[FindingEvent]) -> anyhow::Result<()> {
        let key = gathering_of(about);
        let update = self
            .update(&key)
            .update_expression("DELETE gathered :heard")
            .expression_attribute_values(":heard", string_set(heard)?);
        let done = update.send().await.map_err(crate::explain);
        done.with_context(|| format!("forgetting what was gathered of {key}"))?;
        Ok(())
    }

    /// What is open in these components at or above a threshold, of those of which scans are
    /// remembered. Nothing is claimed: it may have changed by then. One call for 100 of them, or
    /// for 16 MB.
    pub async fn standing(
        &self,
        repository: &RepositoryName,
        components: &[&Component],
        threshold: Severity,
    ) -> anyhow::Result<HashMap<Component, OpenFindingsStatus>> {
        let of: HashMap<String, &Component> = components
            .iter()
            .map(|component| (scans_of(repository, component.as_str()), *component))
            .collect();
        let keys: Vec<String> = of.keys().cloned().collect();
        let items = self.read_items(&keys, "fact, latest, told").await;
        let items = items.with_context(|| format!("reading the open findings of {repository}"))?;
        let mut standing = HashMap::new();
        for item in items {
            let Some(key) = item.get("fact").and_then(|key| key.as_s().ok()) else { continue };
            if let Some(component) = of.get(key) {
                let memory = memory(key, &item);
                standing.insert((*component).clone(), memory.standing(threshold));
            }
        }
        Ok(standing)
    }

    /// Claims the scans of a component, or of a version that is of none, for an event, and says
    /// what is remembered of them. One call.
    pub async fn recall(
        &self,
        repository: &RepositoryName,
        component: Option<&Component>,
        version: &Digest,
        request_id: &str,
        event_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<HistoryClaim> {
        let key = scans(repository, component, version);
        let update = self
            .taking(&key, request_id, LEASE, REMEMBERED, now)
            .update_expression(format!("{TAKE}, event_id = :event"))
            .expression_attribute_values(":event", text(event_id));
        Ok(match taken(&key, update, event_id).await? {
            Taken::Ours(item) => HistoryClaim::Ours(Box::new(memory(&key, &item))),
            Taken::Theirs { has_same_event } => HistoryClaim::Theirs { has_same_event },
        })
    }

    /// Gives the claim back, with what is remembered from now on, where that is something
    /// else. One call.
    pub async fn remember(
        &self,
        repository: &RepositoryName,
        component: Option<&Component>,
        version: &Digest,
        request_id: &str,
        memory: Option<&ScanHistory>,
    ) -> anyhow::Result<()> {
        let key = scans(repository, component, version);
        let update = self
            .update(&key)
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        let update = match memory {
            None => update.update_expression("REMOVE holder, lease"),
            Some(ScanHistory { latest, previous, told }) => {
                let mut update = update
                    .expression_attribute_values(":latest", text(&serde_json::to_string(latest)?))
                    .expression_attribute_values(
                        ":previous",
                        text(&serde_json::to_string(previous)?),
                    )
                    .expression_attribute_values(":told", text(&serde_json::to_string(told)?));
                let mut set = "SET latest = :latest, previous = :previous, told = :told".to_owned();
                let mut remove = " REMOVE holder, lease".to_owned();
                // What noting a clean scan depends on.
                if told.is_open {
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
            // Who took over in the meantime remembers.
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error)).with_context(|| format!("settling {key}")),
        }
    }

    /// Notes the clean scan of a version that was not seen before, where nothing stands in its
    /// way: no claim, no open alert, no later version. One call.
    pub async fn pass(
        &self,
        repository: &RepositoryName,
        scanned: &Scanned,
        clean: &Version,
        now: DateTime<Utc>,
    ) -> anyhow::Result<CleanScanOutcome> {
        let key = scans(repository, scanned.component.as_ref(), &scanned.version);
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
            Ok(_) => Ok(CleanScanOutcome::Noted),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let item = refused.item().cloned().unwrap_or_default();
                    Ok(CleanScanOutcome::Not(Box::new(memory(&key, &item))))
                }
                _ => Err(crate::explain(error)).with_context(|| format!("noting a scan in {key}")),
            },
        }
    }
}

/// The events as a set, each once: `DynamoDB` refuses a set with a duplicate.
fn string_set(heard: &[FindingEvent]) -> anyhow::Result<AttributeValue> {
    let texts = heard.iter().map(serde_json::to_string);
    let texts = texts.collect::<Result<BTreeSet<String>, _>>()?;
    Ok(AttributeValue::Ss(texts.into_iter().collect()))
}

/// The key of the events of an image that are gathered.
fn gathering_of(about: &About) -> String {
    format!("gathering {} {}", about.repository, about.digest)
}

/// The key of what is remembered of scans. A component has no colon, and a digest has one.
fn scans(repository: &RepositoryName, component: Option<&Component>, version: &Digest) -> String {
    scans_of(repository, component.map_or(version.as_str(), |component| component.as_str()))
}

fn scans_of(repository: &RepositoryName, of: &str) -> String {
    format!("scans {repository} {of}")
}

fn memory(key: &str, item: &Item) -> ScanHistory {
    ScanHistory {
        latest: attribute(key, item, "latest").flatten(),
        previous: attribute(key, item, "previous").flatten(),
        told: attribute(key, item, "told").unwrap_or_default(),
    }
}

/// What an attribute holds as JSON. What cannot be read is forgotten: it may be told again,
/// which is better than never.
fn attribute<T: DeserializeOwned>(key: &str, item: &Item, name: &str) -> Option<T> {
    let json = item.get(name)?.as_s().ok()?;
    let read = serde_json::from_str(json);
    read.inspect_err(|error| warn!("{name} of {key} cannot be read and is forgotten: {error}")).ok()
}

fn note(item: &Item) -> Option<IndexMembership> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let images = item.get("images").and_then(|count| count.as_n().ok()?.parse().ok());
    let is_attestation = item.get("attestation").and_then(|value| value.as_bool().ok());
    let pushed = item.get("pushed").and_then(|at| at.as_n().ok()?.parse().ok());
    Some(IndexMembership {
        index: text("index")?.parse().ok()?,
        tag: text("tag").and_then(|tag| tag.parse().ok()),
        pushed: DateTime::from_timestamp(pushed?, 0)?,
        images: images.unwrap_or(1),
        part: if is_attestation == Some(&true) {
            IndexChildKind::Attestation
        } else {
            IndexChildKind::Image
        },
    })
}
