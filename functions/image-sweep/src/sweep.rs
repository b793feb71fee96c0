//! Runs one sweep of one repository: reads, decides, logs, applies the plan and publishes.

mod audit;
mod completion;
mod look;
mod native_rules;
mod publish;
mod sightings;

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use warden_alerts::{ReportedPlan, Source, SweepResult};
use warden_aws::Invocation;
use warden_aws::event::is_young;
use warden_aws::ledger::{AcceptedPolicy, LastRun, RunEnd, UnfinishedRun};
use warden_aws::registry::VisibilityError;
use warden_aws::registry::repository::RepositoryFacts;
use warden_aws::telemetry::Counts;
use warden_core::arena::ImageId;
use warden_core::due::CompleteSweep;
use warden_core::graph::{Graph, ImageRecord, Inventory};
use warden_core::image::{RepositoryName, Tag};
use warden_core::policy::{CleanupEnforcement, Policy};
use warden_core::quarantine::quarantined_since;
use warden_core::replication::Replication;
use warden_core::retention::{RetentionPlan, RunningImages, plan_retention};

use self::look::Seen;
use crate::act::{Claimant, apply_plan};
use crate::event::SweepCommand;
use crate::note::RunNote;
use crate::replication::stop_if_replicated;
use crate::report::{Workloads, planned_images};
use crate::{Context, answer, report, usage};

/// The time that a run leaves for publishing and for its last ledger calls.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// The sweep of a repository by one invocation.
pub struct Sweep<'a> {
    pub(crate) context: &'a Context,
    pub(crate) policy: &'a Policy,
    /// When the version of the policy was deployed last. None if a request gives the policy.
    pub(crate) deployed_at: Option<DateTime<Utc>>,
    pub(crate) repository: &'a RepositoryName,
    request_id: &'a str,
    source: &'a Source,
    /// The run starts no removal after this time.
    until: Instant,
    pub(crate) now: DateTime<Utc>,
    /// The time `now` by the monotonic clock.
    started: Instant,
    /// The lifecycle policy of the repository, once a step of the run has read it.
    lifecycle: OnceCell<Option<String>>,
}

impl<'a> Sweep<'a> {
    pub fn new(
        context: &'a Context,
        policy: &'a Policy,
        deployed_at: Option<DateTime<Utc>>,
        invocation: &'a Invocation,
        source: &'a Source,
    ) -> Self {
        Self {
            context,
            policy,
            deployed_at,
            repository: &policy.repository_name,
            request_id: &invocation.request_id,
            source,
            until: Instant::now() + invocation.time_left.saturating_sub(AFTERWARDS),
            now: invocation.now,
            started: Instant::now(),
            lifecycle: OnceCell::new(),
        }
    }

    /// Returns the plan by the policy with this version. Changes nothing and publishes nothing.
    pub async fn read(&self, version: &str) -> anyhow::Result<Value> {
        let mut seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) => return self.describe_stop(error),
        };
        let plan = match self.plan_to_read(&mut seen).await {
            Ok(plan) => plan,
            Err(error) => return self.describe_stop(error),
        };
        let workloads = self.workloads(&plan).await;
        let mut outcome = report::describe_plan(&plan, &workloads);
        if let Err(error) = stop_if_replicated(self.context, self.policy, &mut outcome).await {
            return self.describe_stop(error);
        }
        Ok(answer::describe_run(&plan, version, &workloads, &outcome, 0))
    }

    /// The answer if something cannot be read. Returns other errors as they are.
    fn describe_stop(&self, error: anyhow::Error) -> anyhow::Result<Value> {
        Ok(answer::describe_stop(self.repository, &visibility_reason(error)?))
    }

    /// Returns the decision about one image, which is given by its tag or its digest. A tag that
    /// enforcement removed gives the image that was quarantined last because of the tag.
    pub async fn explain(&self, image: &str) -> anyhow::Result<Value> {
        let mut seen = self.look().await?;
        let plan = self.plan_to_read(&mut seen).await?;
        let is_named = |other: &ImageRecord| {
            other.digest.as_str() == image || other.tags.iter().any(|tag| tag.as_str() == image)
        };
        let images = &plan.inventory.images;
        let named = images.position(is_named);
        let removed: Option<Tag> = image.parse().ok().filter(|_| named.is_none());
        let removed = removed.as_ref();
        let today = self.now.date_naive();
        let quarantined = removed.and_then(|tag| {
            let since = |id: &ImageId| {
                let ImageRecord { digest, tags, .. } = &images[*id];
                tags.iter().filter_map(|other| quarantined_since(other, tag, digest, today)).max()
            };
            images.ids().filter(|id| since(id).is_some()).max_by_key(|id| since(id))
        });
        let Some(id) = named.or(quarantined) else {
            return Ok(answer::describe_missing(self.repository, image));
        };
        let workloads = match plan.decided(id) {
            Some(decided) => self.workloads_of(&plan, &[decided]).await,
            None => Workloads::new(),
        };
        let version = &self.context.config.policy_version;
        Ok(answer::explain_image(&plan, version, id, removed, &workloads))
    }

    /// Plans a sweep without changing anything, for a person to read.
    async fn plan_to_read<'p>(&'p self, seen: &'p mut Seen) -> anyhow::Result<RetentionPlan<'p>> {
        self.read_native_rules(seen).await?;
        let mut plan = self.plan(&seen.inventory, &seen.running)?;
        if !plan.removals.is_empty() || !plan.untags.is_empty() {
            let (recorded, facts) = tokio::try_join!(
                self.context.ledger.accepted_policy(self.repository),
                self.repository_facts(),
            )?;
            plan.keep_tags_that_can_move(facts.mutability.as_ref());
            let recorded = recorded.filter(|policy| policy.created_at == facts.created_at);
            let accepted = self.accepted_policy(facts.created_at, recorded.as_ref()).await?;
            self.apply_confirmation(&mut plan, accepted.as_ref()).await?;
        }
        Ok(plan)
    }

    /// Sweeps the repository. `unfinished` has the note and the units of an interrupted run.
    pub async fn run(
        &self,
        unfinished: UnfinishedRun,
        command: &SweepCommand,
    ) -> anyhow::Result<Value> {
        let mut noted = unfinished.doing.as_deref().and_then(RunNote::read);
        let facts = self.repository_facts().await?;
        let created_at = facts.created_at;
        let recorded = unfinished.accepted_policy.filter(|policy| policy.created_at == created_at);
        let recorded = recorded.as_ref();
        let accepted = match self.accepted_policy(created_at, recorded).await {
            Ok(accepted) => accepted,
            Err(error) => return self.stop_blind(error, noted.is_none(), None).await,
        };
        // The accepted policy is recorded even if this run stops, because a later policy is compared
        // with the recorded policy.
        let is_known = accepted.as_ref().is_some_and(|accepted| self.is_accepted_by(accepted));
        let acceptance = self.acceptance(created_at, recorded);
        let known = acceptance.as_ref().filter(|_| is_known);
        let seen = self.complete_and_look(&unfinished.units, &mut noted).await;
        let (mut seen, complete) = match seen {
            Ok(seen) => seen,
            // The changes of an interrupted run cannot be read either.
            Err(error) => return self.stop_blind(error, noted.is_none(), known).await,
        };
        if let SweepCommand::Queued(Some(digest)) = command {
            // An index that ECR does not list yet would not protect its parts.
            let mut images = seen.inventory.images.iter();
            ensure!(
                !is_young(self.source, self.now) || images.any(|image| image.digest == *digest),
                "ECR does not list the pushed image {digest} yet; the queue delivers the message again"
            );
        }
        self.read_native_rules(&mut seen).await?;
        let inventory = &seen.inventory;
        let mut plan = self.plan(inventory, &seen.running)?;
        plan.keep_tags_that_can_move(facts.mutability.as_ref());
        let is_accepted = match self.apply_confirmation(&mut plan, accepted.as_ref()).await {
            Ok(is_accepted) => is_accepted,
            Err(error) => return self.stop_blind(error, noted.is_none(), known).await,
        };
        if let Some(noted) = noted {
            self.publish_note(noted, inventory).await?;
            self.context.ledger.record_run(self.repository, self.request_id, "").await?;
        }
        self.context.ledger.end_units(self.repository, &complete).await?;
        let workloads = self.workloads(&plan).await;
        let mut outcome = report::describe_plan(&plan, &workloads);
        if let Err(error) = stop_if_replicated(self.context, self.policy, &mut outcome).await {
            return self.stop_blind(error, true, known).await;
        }
        let version = self.context.config.policy_version.as_str();
        report::log_plan(&plan, &workloads, &outcome, version);

        let (mut removed, mut unsure, mut note) = (vec![], vec![], String::new());
        if outcome.is_carried_out() && !plan.is_empty() {
            note = self.note_removals(&outcome.removed, &outcome.units, inventory).await?;
            let claimant = Claimant {
                ledger: &self.context.ledger,
                request_id: self.request_id,
                started_at: self.now,
                started: self.started,
            };
            let done = apply_plan(&self.context.registry, &claimant, &plan, self.until).await;
            let replication = outcome.replication;
            outcome = report::describe_changes(&plan, &done, outcome.hash, &workloads);
            outcome.replication = replication;
            report::log_failures(self.repository, &outcome, version);
            unsure = report::list_unsure(&plan, &done, &workloads);
            removed = done.removed;
        }
        self.publish_outcome(&outcome, &note).await?;
        // If a response was lost, the image may be removed nevertheless. The next run checks that.
        if !unsure.is_empty() {
            self.note_removals(&unsure, &outcome.units, inventory).await?;
        }
        // The lease can end here: the audit and the usage change nothing and need no note.
        let is_published = unsure.is_empty();
        let is_confirmed = is_accepted && outcome.stopped.is_none();
        let accepted = acceptance.as_ref().filter(|_| is_known || is_confirmed);
        let result = self.result(&plan, &outcome, removed.len());
        let complete = self.complete_sweep(&plan, &outcome, &facts, is_published);
        self.end(RunEnd {
            is_published,
            accepted_policy: accepted,
            result: Some(&result),
            complete: complete.as_ref(),
        })
        .await?;
        let removed_count = u32::try_from(removed.len()).unwrap_or(u32::MAX);
        let counts = self.counts().count("ImagesRemoved", removed_count);
        let counts = if outcome.stopped.is_some() { counts.one("SweepsStopped") } else { counts };
        let counts = if outcome.left == 0 { counts.one("SweepsCompleted") } else { counts };
        counts.write(self.request_id, self.now);
        let answer = answer::describe_run(&plan, version, &workloads, &outcome, removed.len());
        let audited = self.audit(&plan, facts.mutability, seen.archived_units.clone()).await;
        usage::log_usage(&self.context.ledger, &plan, &removed).await;
        audited?;
        Ok(answer)
    }

    /// The result of this run, which removed this number of images.
    fn result(&self, plan: &RetentionPlan<'_>, outcome: &SweepResult, removed: usize) -> LastRun {
        let planned = planned_images(plan).len();
        LastRun {
            began_at: self.now,
            examined: Some(outcome.examined),
            removed,
            left: outcome.left,
            stopped: outcome.stopped.clone(),
            waiting: if outcome.is_confirmable() { planned } else { 0 },
            reported: (plan.is_report() && planned > 0)
                .then(|| ReportedPlan { images: planned, bytes: plan.bytes() }),
            uncovered: plan.uncovered(),
        }
    }

    /// The record of this run for the next rounds. None if the run left images for lack of time.
    fn complete_sweep(
        &self,
        plan: &RetentionPlan<'_>,
        outcome: &SweepResult,
        facts: &RepositoryFacts,
        is_published: bool,
    ) -> Option<CompleteSweep> {
        let is_stopped = outcome.stopped.is_some()
            && outcome.mode != CleanupEnforcement::Report
            && !plan.waits_for_confirmation();
        // Two unknown settings cannot be compared, so such a repository is due in each round.
        let is_unknown = facts.mutability.is_none();
        let has_rest = is_stopped || is_unknown || !outcome.failed.is_empty() || !is_published;
        let is_complete = outcome.left == 0;
        is_complete.then(|| CompleteSweep::new(plan, facts.to_string(), has_rest, self.now))
    }

    /// Ends a run that cannot read something that it needs. Changes nothing more in the repository.
    /// `is_published` says that no note of an earlier run waits to be published.
    async fn stop_blind(
        &self,
        error: anyhow::Error,
        is_published: bool,
        accepted: Option<&AcceptedPolicy>,
    ) -> anyhow::Result<Value> {
        let why = visibility_reason(error)?;
        report::log_stop(self.repository.as_str(), &why, ("", &self.context.config.policy_version));
        self.counts().one("SweepsStopped").write(self.request_id, self.now);
        let answer = answer::describe_stop(self.repository, &why);
        let fact = format!("blind {}", self.now.date_naive());
        let result = LastRun {
            began_at: self.now,
            examined: None,
            removed: 0,
            left: 0,
            stopped: Some(why.clone()),
            waiting: 0,
            reported: None,
            uncovered: None,
        };
        self.publish_once(&fact, &self.stopped_outcome(why)).await?;
        let result = Some(&result);
        self.end(RunEnd { is_published, accepted_policy: accepted, result, complete: None })
            .await?;
        Ok(answer)
    }

    async fn end(&self, end: RunEnd<'_>) -> anyhow::Result<()> {
        self.context.ledger.end_run(self.repository, self.request_id, end).await
    }

    /// The counts of this run. Counts of each repository would cost more with each repository.
    fn counts(&self) -> Counts {
        Counts::new("Stack", &self.context.config.stack_name)
    }

    fn plan<'p>(
        &'p self,
        inventory: &'p Inventory,
        running: &RunningImages,
    ) -> anyhow::Result<RetentionPlan<'p>> {
        let graph = Graph::build(inventory)?;
        Ok(plan_retention(self.policy, inventory, graph, running, self.now))
    }

    /// The outcome of a run that removes nothing for this reason.
    fn stopped_outcome(&self, why: String) -> SweepResult {
        SweepResult {
            mode: self.policy.cleanup(),
            hash: String::new(),
            examined: 0,
            removed: vec![],
            restored: vec![],
            units: vec![],
            bytes: 0,
            failed: vec![],
            left: 0,
            stopped: Some(why),
            replication: Replication::default(),
            waits: false,
            is_final: false,
        }
    }
}

/// The reason of a [`VisibilityError`]. Returns other errors as they are.
fn visibility_reason(error: anyhow::Error) -> anyhow::Result<String> {
    let VisibilityError(why) = error.downcast::<VisibilityError>()?;
    Ok(why)
}
