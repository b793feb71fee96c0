//! Leases of sweeps. At most one sweep runs in a repository, and pushes start at most one sweep an hour.
//! The ledger also records the changes that a sweep is about to make.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use warden_core::image::{Digest, RepositoryName};

use super::{Item, Ledger, REMEMBERED, confirmations, is_refused, seconds, text, time};

/// The duration of a lease. A function runs for at most 15 minutes, so a killed run holds no lease.
const LEASE: Duration = Duration::from_secs(16 * 60);
/// The time for which the ledger keeps the claim of an hour.
const HOUR_REMEMBERED: Duration = Duration::from_secs(2 * 86_400);

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

/// The result of the last run of a repository, for `ecr-warden status`.
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
}

/// The record of the sweeps of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepRecord {
    /// The last run that ended. None if no run of a version that records its result has ended.
    pub last_run: Option<LastRun>,
    /// When an operator last confirmed a plan, if the ledger still has the confirmation.
    pub confirmed_at: Option<DateTime<Utc>>,
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
            let fact = item.get("fact").and_then(|fact| fact.as_s().ok());
            let name = fact.and_then(|fact| fact.split_once(' ')?.1.parse().ok());
            let record = name.and_then(|name: RepositoryName| records.get_mut(&name));
            let record = record.context("DynamoDB returned another item").context(READING)?;
            record.confirmed_at = record.confirmed_at.or_else(|| time(&item, "confirmed_at"));
            if let Some(run) = item.get("last_run").and_then(|run| run.as_s().ok()) {
                record.last_run = Some(serde_json::from_str(run).context(READING)?);
            }
        }
        Ok(records)
    }

    /// Claims the sweep of this hour for the pushes of a repository. Only the first request of the hour
    /// gets the claim; its retries get it again. One call.
    pub async fn claim_hourly_sweep(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let update = self
            .update(&format!("sweep {repository} {}", now.format("%Y-%m-%dT%H")))
            .update_expression("SET holder = :holder, expires = :expires")
            .condition_expression("attribute_not_exists(fact) OR holder = :holder")
            .expression_attribute_values(":holder", text(request_id))
            .expression_attribute_values(":expires", seconds(now, HOUR_REMEMBERED));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_refused(&error) => Ok(false),
            Err(error) => Err(crate::explain(error))
                .with_context(|| format!("claiming the hourly sweep of {repository}")),
        }
    }

    /// Begins a run for this request, unless another run holds the lease. One call.
    pub async fn begin_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<RunLease> {
        let taken = self.take(&key(repository), request_id, LEASE, REMEMBERED, now).await?;
        let Some(old) = taken else { return Ok(RunLease::Theirs) };
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

    /// Ends the run. If its changes were published, their record is removed. A newly accepted policy is
    /// recorded, and so is the result of a run that did not fail. One call.
    pub async fn end_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        is_published: bool,
        accepted_policy: Option<&AcceptedPolicy>,
        result: Option<&LastRun>,
    ) -> anyhow::Result<()> {
        let mut changes = "REMOVE holder, lease".to_owned();
        if is_published {
            changes += ", doing";
        }
        let mut set = Vec::new();
        let mut update = self.update(&key(repository));
        if let Some(policy) = accepted_policy {
            set.push("accepted_policy = :accepted, accepted_for = :created");
            update = update
                .expression_attribute_values(":accepted", text(&policy.line))
                .expression_attribute_values(
                    ":created",
                    AttributeValue::N(policy.created_at.to_string()),
                );
        }
        if let Some(result) = result {
            set.push("last_run = :run");
            update =
                update.expression_attribute_values(":run", text(&serde_json::to_string(result)?));
        }
        if !set.is_empty() {
            changes += &format!(" SET {}", set.join(", "));
        }
        let update = update
            .update_expression(changes)
            // A request that took over the lease ends the run itself.
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", text(request_id));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error))
                .with_context(|| format!("ending the sweep of {repository}")),
        }
    }
}

/// Reads the accepted policy from the item of the sweeps of a repository.
pub(super) fn accepted_policy(item: &Item) -> Option<AcceptedPolicy> {
    let line = item.get("accepted_policy")?.as_s().ok()?.clone();
    let created_at = item.get("accepted_for")?.as_n().ok()?.parse().ok()?;
    Some(AcceptedPolicy { line, created_at })
}

/// The key of the item of the sweeps of a repository.
pub(super) fn key(repository: &RepositoryName) -> String {
    format!("sweep {repository}")
}
