//! Sweeps: one at a time in a repository, at most one an hour for its pushes, and what each was
//! about to do.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName};

use super::{Item, Ledger, REMEMBERED, is_refused, seconds, text};

/// Longer than a function can run, by which a run that was killed is over.
const LEASE: Duration = Duration::from_secs(16 * 60);
/// How long it is remembered that somebody had an hour.
const HOUR_REMEMBERED: Duration = Duration::from_secs(2 * 86_400);

/// What came of beginning a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunLease {
    /// The run may begin. The value has the work that earlier functions left unfinished.
    Ours(UnfinishedRun),
    /// Another one is under way.
    Theirs,
}

/// The work that earlier functions left unfinished in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// What the last run was about to do, where it was cut off before it published that.
    pub doing: Option<String>,
    /// The roots of the units whose removal began and did not end.
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

impl Ledger {
    /// Whether this request is the one that sweeps for the pushes of this hour: the first that
    /// asks, in each of its attempts. One call.
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
                .with_context(|| format!("claiming the hour of {repository}")),
        }
    }

    /// Begins the run of this request, unless another one is under way. One call.
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
        let units = units.with_context(|| format!("the ledger, at the sweep of {repository}"))?;
        let accepted_policy = accepted_policy(&old);
        Ok(RunLease::Ours(UnfinishedRun { doing, units, accepted_policy }))
    }

    /// Notes what the run is about to do, or nothing, for the one after it to tell should this
    /// one be cut off. An error where the run is not ours any more. One call.
    pub async fn note_run(
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
        let noted = update.send().await;
        ensure!(
            !noted.as_ref().is_err_and(is_refused),
            "the sweep of {repository} took longer than its lease; another one may be under way"
        );
        noted
            .map_err(crate::explain)
            .with_context(|| format!("noting the sweep of {repository}"))?;
        Ok(())
    }

    /// Ends the run; with what it was doing forgotten, where that was told. A policy that is newly
    /// accepted for the repository is recorded. One call.
    pub async fn end_run(
        &self,
        repository: &RepositoryName,
        request_id: &str,
        is_told: bool,
        accepted_policy: Option<&AcceptedPolicy>,
    ) -> anyhow::Result<()> {
        let mut what = "REMOVE holder, lease".to_owned();
        if is_told {
            what += ", doing";
        }
        if accepted_policy.is_some() {
            what += " SET accepted_policy = :accepted, accepted_for = :created";
        }
        let update = self
            .update(&key(repository))
            .update_expression(what)
            .set_expression_attribute_values(accepted_policy.map(|policy| {
                let created_at = AttributeValue::N(policy.created_at.to_string());
                let values = [(":accepted", text(&policy.line)), (":created", created_at)];
                values.map(|(name, value)| (name.to_owned(), value)).into()
            }))
            // Who took over in the meantime ends it.
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

/// The accepted policy in the item of a repository's sweeps.
pub(super) fn accepted_policy(item: &Item) -> Option<AcceptedPolicy> {
    let line = item.get("accepted_policy")?.as_s().ok()?.clone();
    let created_at = item.get("accepted_for")?.as_n().ok()?.parse().ok()?;
    Some(AcceptedPolicy { line, created_at })
}

/// The key of the item of a repository's sweeps.
pub(super) fn key(repository: &RepositoryName) -> String {
    format!("sweep {repository}")
}
