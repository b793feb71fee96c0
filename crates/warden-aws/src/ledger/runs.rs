//! The item of the sweeps of a repository. At most one sweep runs in a repository, and pushes queue at
//! most one sweep an hour. The ledger also records the changes that a sweep is about to make, and the
//! last complete sweep ([`warden_core::due`]).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use warden_alerts::ReportedPlan;
use warden_core::due::{CompleteSweep, PUSH_RECORDED_FOR, SweepHistory};
use warden_core::image::{Digest, RepositoryName};
use warden_core::retention::UncoveredImages;

use super::{
    Item, Ledger, REMEMBERED, TAKE, Taken, confirmations, is_refused, seconds, send_claim, text,
    time,
};

/// The duration of a lease. A function runs for at most 15 minutes, so a killed run holds no lease.
const LEASE: Duration = Duration::from_secs(16 * 60);
/// The attributes of a [`SweepHistory`].
const HISTORY: &str = "fact, listed_at, due_at, swept_policy, swept_settings, swept_waits, \
                       incomplete_since, pushed_at, unfinished";

/// The claim of a push on the next sweep of its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushClaim {
    /// Whether this request queues the sweep.
    pub is_ours: bool,
    /// No other push queues a sweep until this time.
    pub until: DateTime<Utc>,
}

/// The outcome of the claim that begins a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunLease {
    /// The run may begin. The value has the work that earlier functions left unfinished.
    Ours(UnfinishedRun),
    /// Another run holds the lease.
    Theirs,
}

/// The work that earlier functions left unfinished in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// The changes of the last run, if it was interrupted before it published them.
    pub doing: Option<String>,
    /// The roots of the units whose removal was interrupted.
    pub units: Vec<Digest>,
    /// The policy that is accepted for the repository. None if no policy is.
    pub accepted_policy: Option<AcceptedPolicy>,
}

/// A policy that is accepted for a repository: its sweeps remove images without a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPolicy {
    /// The policy as one line.
    pub line: String,
    /// When the repository was created, in seconds since 1970. A repository that somebody deletes
    /// and creates again under the same name is another repository.
    pub created_at: i64,
}

/// The result of the last run of a repository, for `ecr-warden status` and the weekly digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When the run began.
    pub began_at: DateTime<Utc>,
    /// The number of images in the repository. None if the repository could not be read.
    pub examined: Option<usize>,
    /// The number of images that the run removed.
    pub removed: usize,
    /// The number of images that the run left to the next run.
    pub left: usize,
    /// Why the plan was not carried out.
    pub stopped: Option<String>,
    /// The number of images whose removal waits for a confirmation.
    pub waiting: usize,
    /// The plan of a rule that only reports. None if it would remove no image.
    pub reported: Option<ReportedPlan>,
    /// The images that stay only because neither `Keep` nor `Expire` covers a tag.
    #[serde(default)]
    pub uncovered: Option<UncoveredImages>,
}

/// The record of the sweeps of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepRecord {
    /// The last run that ended. None if no run of a version that records its result has ended.
    pub last_run: Option<LastRun>,
    /// When an operator last confirmed a plan, if the ledger still has the confirmation.
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// The result of a run, for the ledger. The default is the result of a run that failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunEnd<'a> {
    /// Whether the changes of the run were published. Then their record is removed.
    pub is_published: bool,
    /// The policy that is accepted from now on.
    pub accepted_policy: Option<&'a AcceptedPolicy>,
    /// The result of a run that did not fail.
    pub result: Option<&'a LastRun>,
    /// The record of a complete sweep.
    pub complete: Option<&'a CompleteSweep>,
}

impl Ledger {
    /// Reads the records of the sweeps of these repositories. A call for each 50 repositories.
    pub async fn sweep_records(
        &self,
        repositories: &[RepositoryName],
    ) -> anyhow::Result<BTreeMap<RepositoryName, SweepRecord>> {
        const READING: &str = "reading the results of the last sweeps";
        let mut records: BTreeMap<RepositoryName, SweepRecord> =
            repositories.iter().map(|name| (name.clone(), SweepRecord::default())).collect();
        let keys = |name| [key(name), confirmations::key(name)];
        let keys: Vec<String> = repositories.iter().flat_map(keys).collect();
        let items = self.read_items(&keys, "fact, last_run, confirmed_at").await;
        for item in items.context(READING)? {
            let name = repository_of(&item).context(READING)?;
            let record = records.get_mut(&name);
            let record = record.context("DynamoDB returned another item").context(READING)?;
            record.confirmed_at = record.confirmed_at.or_else(|| time(&item, "confirmed_at"));
            if let Some(run) = item.get("last_run").and_then(|run| run.as_s().ok()) {
                record.last_run = Some(serde_json::from_str(run).context(READING)?);
            }
        }
        Ok(records)
    }

    /// Records a push, and claims the sweep for the pushes of the next hour. Only the first request of
    /// the hour gets the claim; its retries get it again. One call.
    pub async fn claim_pushed_sweep(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<PushClaim> {
        let update = self
            .update(&key(repository))
            .update_expression("SET pushed_at = :now, push_holder = :holder, expires = :expires")
            .condition_expression(
                "attribute_not_exists(pushed_at) OR pushed_at <= :before OR push_holder = :holder",
            )
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .expression_attribute_values(
                ":before",
                seconds(now - PUSH_RECORDED_FOR, Duration::ZERO),
            )
            .expression_attribute_values(":expires", seconds(now, REMEMBERED))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(PushClaim { is_ours: true, until: now + PUSH_RECORDED_FOR }),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let pushed_at = refused.item().and_then(|item| time(item, "pushed_at"));
                    let until = pushed_at.map_or(now, |pushed_at| pushed_at + PUSH_RECORDED_FOR);
                    Ok(PushClaim { is_ours: false, until })
                }
                _ => Err(crate::explain(error))
                    .with_context(|| format!("claiming the sweep after a push to {repository}")),
            },
        }
    }

    /// Reads the histories of the sweeps of these repositories. A repository without an item is left
    /// out. One call for 100 repositories, and one for 100 repositories whose plan waits for a
    /// confirmation.
    pub async fn sweep_histories<'r>(
        &self,
        repositories: impl IntoIterator<Item = &'r RepositoryName>,
    ) -> anyhow::Result<HashMap<RepositoryName, SweepHistory>> {
        const READING: &str = "reading the last sweeps";
        let keys: Vec<String> = repositories.into_iter().map(key).collect();
        let items = self.read_items(&keys, HISTORY).await.context(READING)?;
        let history = |item: &Item| Ok((repository_of(item).context(READING)?, history(item)));
        let histories = items.iter().map(history).collect::<anyhow::Result<HashMap<_, _>>>();
        let mut histories = histories?;
        let waiting = histories.iter().filter(|(_, history)| {
            history.complete.as_ref().is_some_and(|complete| complete.waits)
        });
        let keys: Vec<String> = waiting.map(|(name, _)| confirmations::key(name)).collect();
        for item in self.read_items(&keys, "fact, confirmed_at").await.context(READING)? {
            let name = repository_of(&item).context(READING)?;
            if let Some(history) = histories.get_mut(&name) {
                history.confirmed_at = time(&item, "confirmed_at");
            }
        }
        Ok(histories)
    }

    /// Begins a run for this request, unless another run holds the lease. One call.
    pub async fn begin_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<RunLease> {
        let key = key(repository);
        let claim = self.build_claim(&key, request_id, LEASE, REMEMBERED, now).update_expression(
            format!("{TAKE}, incomplete_since = if_not_exists(incomplete_since, :now)"),
        );
        let Taken::Ours(old) = send_claim(&key, claim, "").await? else {
            return Ok(RunLease::Theirs);
        };
        let doing = old.get("doing").and_then(|doing| doing.as_s().ok());
        let doing = doing.filter(|doing| !doing.is_empty()).cloned();
        let units = old.get("unfinished").and_then(|units| units.as_ss().ok());
        let units = units.into_iter().flatten().map(|digest| digest.parse());
        let units = units.collect::<Result<Vec<Digest>, _>>();
        let units =
            units.with_context(|| format!("reading the unfinished units of {repository}"))?;
        let accepted_policy = accepted_policy(&old);
        Ok(RunLease::Ours(UnfinishedRun { doing, units, accepted_policy }))
    }

    /// Records the changes that the run is about to make. If this run is interrupted, the next run
    /// publishes them. An empty text removes the record. Returns an error if another run has taken over
    /// the lease. One call.
    pub async fn record_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        doing: &str,
    ) -> anyhow::Result<()> {
        let update = self
            .update(&key(repository))
            .update_expression("SET doing = :doing")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":doing", text(doing))
            .expression_attribute_values(":holder", text(request_id));
        let recorded = update.send().await;
        ensure!(
            !recorded.as_ref().is_err_and(is_refused),
            "the sweep of {repository} took longer than its lease, and another sweep may be running"
        );
        recorded
            .map_err(crate::explain)
            .with_context(|| format!("recording the changes of the sweep of {repository}"))?;
        Ok(())
    }

    /// Ends the run. One call.
    pub async fn end_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        end: RunEnd<'_>,
    ) -> anyhow::Result<()> {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let mut removed = vec!["holder", "lease"];
        if end.is_published {
            removed.push("doing");
        }
        let mut set = Vec::new();
        if let Some(AcceptedPolicy { line, created_at }) = end.accepted_policy {
            set.push(("accepted_policy", text(line)));
            set.push(("accepted_for", number(*created_at)));
        }
        if let Some(result) = end.result {
            set.push(("last_run", text(&serde_json::to_string(result)?)));
        }
        if let Some(CompleteSweep { listed_at, due_at, policy, settings, waits }) = end.complete {
            removed.push("incomplete_since");
            set.push(("listed_at", number(listed_at.timestamp())));
            set.push(("due_at", number(due_at.timestamp())));
            set.push(("swept_policy", text(policy)));
            set.push(("swept_settings", text(settings)));
            set.push(("swept_waits", AttributeValue::Bool(*waits)));
        }
        let mut changes = format!("REMOVE {}", removed.join(", "));
        let mut update = self
            .update(&key(repository))
            // A request that took over the lease ends the run itself.
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        for (nth, (name, value)) in set.into_iter().enumerate() {
            changes += if nth == 0 { " SET " } else { ", " };
            changes += &format!("{name} = :{name}");
            update = update.expression_attribute_values(format!(":{name}"), value);
        }
        match update.update_expression(changes).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error))
                .with_context(|| format!("ending the sweep of {repository}")),
        }
    }
}

/// Reads the history of the sweeps of a repository. A record of a complete sweep that lacks an
/// attribute counts as none.
fn history(item: &Item) -> SweepHistory {
    let word = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let complete = || {
        Some(CompleteSweep {
            listed_at: time(item, "listed_at")?,
            due_at: time(item, "due_at")?,
            policy: word("swept_policy")?,
            settings: word("swept_settings")?,
            waits: *item.get("swept_waits")?.as_bool().ok()?,
        })
    };
    SweepHistory {
        complete: complete(),
        incomplete_since: time(item, "incomplete_since"),
        pushed_at: time(item, "pushed_at"),
        has_unfinished_unit: item.contains_key("unfinished"),
        confirmed_at: None,
    }
}

/// The repository in the key of an item, which is the last word.
fn repository_of(item: &Item) -> anyhow::Result<RepositoryName> {
    let name = item.get("fact").and_then(|fact| fact.as_s().ok()?.split_once(' ')?.1.parse().ok());
    name.context("DynamoDB returned an item of another key")
}

/// Reads the accepted policy from the item of the sweeps of a repository.
pub(super) fn accepted_policy(item: &Item) -> Option<AcceptedPolicy> {
    let line = item.get("accepted_policy")?.as_s().ok()?.clone();
    let created_at = item.get("accepted_for")?.as_n().ok()?.parse().ok()?;
    Some(AcceptedPolicy { line, created_at })
}

/// Whether a run has read the repository of this item to the end.
pub(super) fn has_examined(item: &Item) -> bool {
    let last = item.get("last_run").and_then(|run| run.as_s().ok());
    let last = last.and_then(|run| serde_json::from_str::<LastRun>(run).ok());
    item.contains_key("listed_at") || last.is_some_and(|run| run.examined.is_some())
}

/// The beginning of the key of such an item.
const KEY: &str = "sweep ";

/// The key of the item of the sweeps of a repository.
pub(super) fn key(repository: &RepositoryName) -> String {
    format!("{KEY}{repository}")
}
