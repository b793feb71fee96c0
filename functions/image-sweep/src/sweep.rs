//! One run, from looking to telling.

mod native_rules;
mod untagged;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Datelike as _, Utc};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{error, info, warn};
use warden_alerts::{ARCHIVE, Alert, CleanupEntry, Source, SweepContext, SweepResult, UNTAG};
use warden_aws::ServiceError;
use warden_aws::event::is_young;
use warden_aws::ledger::{AcceptedPolicy, Claim, Fact, PreviousClaim, UnfinishedRun};
use warden_aws::replication::find_replication;
use warden_aws::telemetry::Counts;
use warden_core::arena::ImageId;
use warden_core::audit::{RepositorySettings, audit};
use warden_core::graph::{Graph, ImageRecord, Inventory};
use warden_core::image::{Digest, ImageStatus, RepositoryName};
use warden_core::policy::{CleanupEnforcement, InUse, Policy};
use warden_core::replication::Replication;
use warden_core::retention::{
    Decision, KeepReason, RetentionPlan, RunningImages, UnitDecision, UnitRecord, plan_retention,
    retention_hash, torn_images,
};

use crate::act::{Claimant, apply_plan};
use crate::complete::{Completion, plan_completions, put_back};
use crate::config::DeploymentScope;
use crate::event::SweepCommand;
use crate::note::{RunNote, with_few_tags};
use crate::replication::stop_if_replicated;
use crate::report::Workloads;
use crate::{Context, answer, report, usage};
use warden_aws::Invocation;
use warden_aws::registry::{CONCURRENT_CALLS, VisibilityError};

/// What telling and ending a run takes, at most.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// The most images whose workloads a run looks up: each costs a call.
const LOOKED_UP_IMAGES: usize = 10;
/// How many of the images that were pushed lately are asked after, and how lately that is: a
/// scan takes a while, and a run comes every day or sooner.
const ASKED_AFTER: usize = 20;
const SCANNED_WITHIN: chrono::Duration = chrono::Duration::hours(1);
const LATELY: chrono::Duration = chrono::Duration::hours(48);
/// How long the removal of a unit may be under way: longer than any function runs.
const BEGUN_LATELY: chrono::Duration = chrono::Duration::hours(1);

/// One sweep of one repository.
pub struct Sweep<'a> {
    pub(crate) context: &'a Context,
    pub(crate) policy: &'a Policy,
    pub(crate) repository: &'a RepositoryName,
    request_id: &'a str,
    source: &'a Source,
    until: Instant,
    pub(crate) now: DateTime<Utc>,
    /// When it was `now`.
    started: Instant,
}

/// The facts about a repository that a run decides by.
struct Seen {
    inventory: Inventory,
    running: RunningImages,
    /// The records of the archived indexes, by the index.
    archived_units: HashMap<Digest, UnitRecord>,
    /// Whether [`Inventory::untagged`] must be written to the ledger.
    has_new_untagged_record: bool,
}

impl Seen {
    /// Whether an image is archived that an active index needs, or the other way round. It costs no
    /// plan.
    fn may_be_incomplete(&self) -> bool {
        let Inventory { images, indexes, .. } = &self.inventory;
        let archived = images.iter().filter(|image| image.status == ImageStatus::Archived);
        let archived: HashSet<&Digest> = archived.map(|image| &image.digest).collect();
        let mut parts = indexes.values().flatten();
        let mut units = self.archived_units.values().flat_map(UnitRecord::images);
        !archived.is_empty()
            && (parts.any(|part| archived.contains(part))
                || units.any(|image| !archived.contains(image)))
    }
}

impl<'a> Sweep<'a> {
    pub fn new(
        context: &'a Context,
        policy: &'a Policy,
        invocation: &'a Invocation,
        source: &'a Source,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            context,
            policy,
            repository: &policy.repository_name,
            request_id: &invocation.request_id,
            source,
            until: Instant::now() + invocation.time_left.saturating_sub(AFTERWARDS),
            now,
            started: Instant::now(),
        }
    }

    /// Says what would be done. It changes nothing, and tells nobody else.
    pub async fn read(&self) -> anyhow::Result<Value> {
        let mut seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) => return Ok(answer::stopped(self.repository, &blind(error)?)),
        };
        let plan = match self.plan_to_read(&mut seen).await {
            Ok(plan) => plan,
            Err(error) => return Ok(answer::stopped(self.repository, &blind(error)?)),
        };
        let workloads = self.workloads(&plan).await;
        let mut outcome = report::planned(&plan, &workloads);
        if let Err(error) = stop_if_replicated(self.context, self.policy, &mut outcome).await {
            return Ok(answer::stopped(self.repository, &blind(error)?));
        }
        Ok(answer::of(&plan, &workloads, &outcome, 0))
    }

    /// Says what would become of one image, by its tag or its digest.
    pub async fn explain(&self, image: &str) -> anyhow::Result<Value> {
        let mut seen = self.look().await?;
        let plan = self.plan_to_read(&mut seen).await?;
        let is_named = |other: &ImageRecord| {
            other.digest.as_str() == image || other.tags.iter().any(|tag| tag.as_str() == image)
        };
        let found = plan.inventory.images.position(is_named);
        let id =
            found.with_context(|| format!("there is no image {image:?} in {}", self.repository))?;
        let workloads = match plan.decided(id) {
            Some(decided) => self.workloads_of(&plan, &[decided]).await,
            None => Workloads::new(),
        };
        Ok(answer::explained(&plan, id, &workloads))
    }

    /// The plan of a sweep, for a person to read.
    async fn plan_to_read<'p>(&'p self, seen: &'p mut Seen) -> anyhow::Result<RetentionPlan<'p>> {
        self.read_native_rules(seen).await?;
        let mut plan = self.plan(&seen.inventory, &seen.running)?;
        if !plan.removals.is_empty() {
            let (recorded, facts) = tokio::try_join!(
                self.context.ledger.accepted_policy(self.repository),
                self.repository_facts(),
            )?;
            let recorded = recorded.filter(|policy| policy.created_at == facts.created_at);
            let accepted = self.accepted_policy(recorded.as_ref()).await?;
            self.apply_confirmation(&mut plan, accepted.as_ref()).await?;
        }
        Ok(plan)
    }

    /// Sweeps. `unfinished` is what an earlier run was about to do when it was cut off.
    pub async fn run(
        &self,
        unfinished: UnfinishedRun,
        command: &SweepCommand,
    ) -> anyhow::Result<Value> {
        let mut noted = unfinished.doing.as_deref().and_then(RunNote::read);
        let facts = match self.repository_facts().await {
            Ok(facts) => facts,
            Err(error) => return self.stop_blind(error, noted.is_none(), None).await,
        };
        let created_at = facts.created_at;
        let recorded = unfinished.accepted_policy.filter(|policy| policy.created_at == created_at);
        let recorded = recorded.as_ref();
        let accepted = match self.accepted_policy(recorded).await {
            Ok(accepted) => accepted,
            Err(error) => return self.stop_blind(error, noted.is_none(), None).await,
        };
        // Also if the run is stopped: a later policy is compared with it.
        let is_known = accepted.as_ref().is_some_and(|accepted| self.is_accepted_by(accepted));
        let acceptance = self.acceptance(created_at, recorded);
        let known = acceptance.as_ref().filter(|_| is_known);
        let seen = self.complete_and_look(&unfinished.units, &mut noted).await;
        let (mut seen, complete) = match seen {
            Ok(seen) => seen,
            // What an earlier run did cannot be seen either.
            Err(error) => return self.stop_blind(error, noted.is_none(), known).await,
        };
        if let SweepCommand::Pushed(digest) = command {
            // ECR only knows of its first push, which may be long ago: it got a tag.
            match seen.inventory.images.position(|image| image.digest == *digest) {
                Some(id) => seen.inventory.images[id].pushed_at = Some(self.now),
                // An index that is not listed yet would not protect its parts.
                None => ensure!(
                    !is_young(self.source, self.now),
                    "ECR does not list the pushed image {digest} yet; to be tried again"
                ),
            }
        }
        self.read_native_rules(&mut seen).await?;
        let inventory = &seen.inventory;
        let mut plan = self.plan(inventory, &seen.running)?;
        let is_accepted = match self.apply_confirmation(&mut plan, accepted.as_ref()).await {
            Ok(is_accepted) => is_accepted,
            Err(error) => return self.stop_blind(error, noted.is_none(), known).await,
        };
        if let Some(noted) = noted {
            self.tell_of_unfinished(noted, inventory).await?;
            self.context.ledger.record_run(self.repository, self.request_id, "").await?;
        }
        self.context.ledger.end_units(self.repository, &complete).await?;
        let workloads = self.workloads(&plan).await;
        let mut outcome = report::planned(&plan, &workloads);
        if let Err(error) = stop_if_replicated(self.context, self.policy, &mut outcome).await {
            return self.stop_blind(error, true, known).await;
        }
        report::print(&plan, &workloads, &outcome);

        let (mut removed, mut unsure) = (vec![], vec![]);
        if outcome.is_carried_out() && !plan.is_empty() {
            self.note(&outcome.removed, &outcome.units, inventory).await?;
            let claimant = Claimant {
                ledger: &self.context.ledger,
                request_id: self.request_id,
                started_at: self.now,
                started: self.started,
            };
            let done = apply_plan(&self.context.registry, &claimant, &plan, self.until).await;
            let replication = outcome.replication;
            outcome = report::carried_out(&plan, &done, outcome.hash, &workloads);
            outcome.replication = replication;
            report::print_failures(self.repository, &outcome);
            unsure = report::unsure(&plan, &done, &workloads);
            removed = done.removed;
        }
        self.tell(&outcome).await?;
        // Where an answer was lost it may have gone all the same: the next run sees.
        if !unsure.is_empty() {
            self.note(&unsure, &outcome.units, inventory).await?;
        }
        // What follows changes nothing, and tells by itself.
        let is_told = unsure.is_empty();
        let is_confirmed = is_accepted && outcome.stopped.is_none();
        let accepted = acceptance.as_ref().filter(|_| is_known || is_confirmed);
        self.context.ledger.end_run(self.repository, self.request_id, is_told, accepted).await?;
        let gone = u32::try_from(removed.len()).unwrap_or(u32::MAX);
        let counts = Counts::new("Repository", self.repository).count("ImagesRemoved", gone);
        let counts = if outcome.stopped.is_some() { counts.one("SweepsStopped") } else { counts };
        // An alarm is raised for a repository that has no such sweep for three days.
        let counts = if outcome.left == 0 { counts.one("SweepsCompleted") } else { counts };
        counts.write(self.request_id, self.now);
        let answer = answer::of(&plan, &workloads, &outcome, removed.len());
        let audited = self.audit(&plan, facts.mutability, seen.archived_units.clone()).await;
        usage::write(&self.context.ledger, &plan, &removed).await;
        audited?;
        Ok(answer)
    }

    /// Ends a run that cannot see what it needs to: nothing more is changed. `is_told` says whether
    /// no note of an earlier run is left to be published.
    async fn stop_blind(
        &self,
        error: anyhow::Error,
        is_told: bool,
        accepted: Option<&AcceptedPolicy>,
    ) -> anyhow::Result<Value> {
        let why = blind(error)?;
        report::print_stop(self.repository.as_str(), &why, "");
        let counts = Counts::new("Repository", self.repository).one("SweepsStopped");
        counts.write(self.request_id, self.now);
        let answer = answer::stopped(self.repository, &why);
        self.tell_once(&format!("blind {}", self.now.date_naive()), &self.nothing(why)).await?;
        self.context.ledger.end_run(self.repository, self.request_id, is_told, accepted).await?;
        Ok(answer)
    }

    /// Completes the units that earlier functions left unfinished, and every archived unit that
    /// lacks something. Adds what it does to `noted`, and writes that down first. Gives the roots
    /// that are complete, and whether the images must be listed again. [`VisibilityError`] if a
    /// unit cannot be completed.
    async fn complete(
        &self,
        roots: &[Digest],
        seen: &Seen,
        noted: &mut Option<RunNote>,
    ) -> anyhow::Result<(Vec<Digest>, bool)> {
        let Context { registry, ledger, .. } = self.context;
        let plan = self.plan(&seen.inventory, &seen.running)?;
        let mut records = ledger.units(self.repository, roots).await?;
        records.extend(seen.archived_units.clone());
        let mut records: Vec<UnitRecord> = records.into_values().collect();
        records.sort_by(|one, other| one.root.cmp(&other.root));
        let can_see =
            self.policy.governance.retention.in_use == InUse::PullTime || !seen.running.is_empty();
        let mut completions = plan_completions(&plan, &records, can_see, self.now);
        if completions.iter().any(|completion| !completion.removed.is_empty()) {
            let replication = find_replication(registry, ledger, self.repository).await?;
            if let Some(why) = replication.reason_to_report(self.policy) {
                completions = put_back(completions, &plan, &why);
            }
        }
        let torn = self.torn_images(&plan, &records).await?;
        if !torn.is_empty() {
            completions.push(Completion::of_torn_images(&plan, &torn));
        }
        let with_calls = completions.iter().filter(|completion| completion.has_calls());
        let has_calls = with_calls.clone().next().is_some();
        for completion in with_calls.clone() {
            completion.print(self.repository);
            noted.get_or_insert_default().add(completion);
        }
        if has_calls {
            self.write_note(noted.as_mut()).await?;
        }
        let mut failed = None;
        let mut unfinished: HashSet<&Digest> = HashSet::new();
        for completion in with_calls {
            let completed = completion.act(registry, self.repository, self.until).await;
            let Err(error) = completed else { continue };
            unfinished.extend(completion.record.as_ref().map(|record| &record.root));
            error!(repository.name = %self.repository, "{}: {error:#}", completion.name());
            // Without a right, no later run completes the unit either: the audit reports it.
            let is_denied = error
                .downcast_ref::<ServiceError>()
                .is_some_and(|error| error.code.contains("AccessDenied"));
            if !is_denied {
                failed.get_or_insert((completion.name(), error));
            }
        }
        if let Some((name, error)) = failed {
            let why = "the removal of an image and its parts cannot be completed";
            return Err(VisibilityError(format!("{why}: {name}: {error:#}")).into());
        }
        let is_complete = |root: &&Digest| {
            !unfinished.contains(*root)
                && completions.iter().any(|completion| completion.is_of(root))
        };
        Ok((roots.iter().filter(is_complete).cloned().collect(), has_calls))
    }

    /// The archived images of active indexes that are to be restored, as far as the policy gives the
    /// sweep the right to restore. A unit that another function is removing just now has a young
    /// record.
    async fn torn_images(
        &self,
        plan: &RetentionPlan<'_>,
        records: &[UnitRecord],
    ) -> anyhow::Result<Vec<ImageId>> {
        if !self.policy.may_remove_by(CleanupEnforcement::Archive) {
            return Ok(vec![]);
        }
        let torn = torn_images(plan, records);
        let index = |id: ImageId| &plan.image(id).digest;
        let indexes: Vec<Digest> = torn.iter().map(|(id, _)| index(*id).clone()).collect();
        let begun = self.context.ledger.units(self.repository, &indexes).await?;
        let is_settled = |(id, _): &(ImageId, ImageId)| {
            begun.get(index(*id)).is_none_or(|record| record.began + BEGUN_LATELY < self.now)
        };
        Ok(torn.into_iter().filter(is_settled).map(|(_, image)| image).collect())
    }

    /// Reads the repository, after the units of earlier functions are complete. Gives the roots of
    /// these units too.
    async fn complete_and_look(
        &self,
        units: &[Digest],
        noted: &mut Option<RunNote>,
    ) -> anyhow::Result<(Seen, Vec<Digest>)> {
        let seen = self.look().await?;
        // A run that is stopped later has seen the tags too.
        self.record_untagged_images(&seen).await?;
        if units.is_empty() && !seen.may_be_incomplete() {
            return Ok((seen, vec![]));
        }
        let (complete, has_changed) = self.complete(units, &seen, noted).await?;
        if !has_changed {
            return Ok((seen, complete));
        }
        let seen = self.look().await?;
        self.record_untagged_images(&seen).await?;
        Ok((seen, complete))
    }

    /// Reads the images, the running images, and the records of archived indexes.
    async fn look(&self) -> anyhow::Result<Seen> {
        let inventory = self.context.registry.inventory(self.repository);
        let running = async {
            match self.policy.governance.retention.in_use {
                InUse::PullTime => Ok(RunningImages::new()),
                InUse::Inspector => self.running().await,
            }
        };
        let (mut inventory, running, earlier) =
            tokio::try_join!(inventory, running, self.earlier_untagged_images())?;
        let archived_units = self.archived_units(&inventory).await?;
        inventory.needed_by_archived =
            archived_units.values().flat_map(UnitRecord::images).cloned().collect();
        let is_unknown = |index: &ImageRecord| !archived_units.contains_key(&index.digest);
        let has_unknown = archived_indexes(&inventory).any(is_unknown);
        inventory.has_unknown_archived_index = has_unknown;
        let has_new_untagged_record = self.observe_untagged_images(&mut inventory, &earlier)?;
        Ok(Seen { inventory, running, archived_units, has_new_untagged_record })
    }

    /// The records of the archived indexes. An index that a person archived has none.
    async fn archived_units(
        &self,
        inventory: &Inventory,
    ) -> anyhow::Result<HashMap<Digest, UnitRecord>> {
        let archived = archived_indexes(inventory);
        let roots: Vec<Digest> = archived.map(|image| image.digest.clone()).collect();
        let records = self.context.ledger.units(self.repository, &roots).await;
        records.map_err(|error| VisibilityError(format!("{error:#}")).into())
    }

    /// What runs, by Amazon Inspector. Without it nothing goes that it may have named.
    async fn running(&self) -> anyhow::Result<RunningImages> {
        let days = self.policy.governance.retention.protect_pulled_within_days;
        let since = self.now - chrono::Duration::days(days.into());
        let blind = |why: String| VisibilityError(format!("what is in use cannot be seen: {why}"));
        let asked = tokio::try_join!(
            self.context.registry.has_enhanced_scanning(),
            self.context.inspector.running(
                &self.context.config.place.account,
                self.repository,
                since
            )
        );
        match asked {
            Ok((true, running)) => Ok(running),
            Ok((false, _)) => {
                let why = "InUseSource is inspector, and the registry has no enhanced scanning";
                Err(blind(why.to_owned()).into())
            }
            Err(error) => Err(blind(format!("{error:#}")).into()),
        }
    }

    fn plan<'p>(
        &'p self,
        inventory: &'p Inventory,
        running: &RunningImages,
    ) -> anyhow::Result<RetentionPlan<'p>> {
        let graph = Graph::build(inventory)?;
        Ok(plan_retention(self.policy, inventory, graph, running, self.now))
    }

    fn nothing(&self, why: String) -> SweepResult {
        SweepResult {
            mode: self.policy.governance.retention.enforcement,
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
        }
    }

    /// The names of what runs those images that are only kept for it.
    async fn workloads(&self, plan: &RetentionPlan<'_>) -> Workloads {
        let beyond: Vec<&UnitDecision> = plan.kept_beyond().collect();
        self.workloads_of(plan, &beyond).await
    }

    async fn workloads_of(&self, plan: &RetentionPlan<'_>, decided: &[&UnitDecision]) -> Workloads {
        let in_use = decided.iter().filter_map(|decided| match decided.decision {
            Decision::Keep(KeepReason::InUse(_), by) => Some(plan.image(by).digest.clone()),
            _ => None,
        });
        let DeploymentScope { partition, region, account, .. } = &self.context.config.place;
        let named = in_use.take(LOOKED_UP_IMAGES).map(|digest| async move {
            let arn = format!(
                "arn:{partition}:ecr:{region}:{account}:repository/{}/{digest}",
                self.repository
            );
            // A name is for people only: what is in use is kept without.
            let named = self.context.inspector.workloads(&arn).await;
            let named = named.inspect_err(|error| warn!("{error:#}")).unwrap_or_default();
            (digest, named)
        });
        let named = stream::iter(named).buffered(CONCURRENT_CALLS);
        named.filter(|(_, named)| std::future::ready(!named.is_empty())).collect().await
    }

    /// Tells what an earlier run did, that was cut off before it could.
    async fn tell_of_unfinished(
        &self,
        noted: RunNote,
        inventory: &Inventory,
    ) -> anyhow::Result<()> {
        let RunNote { mode, entries, restored, mut units } = noted;
        let there: HashMap<&Digest, &ImageRecord> =
            inventory.images.iter().map(|image| (&image.digest, image)).collect();
        let is_done = |entry: &CleanupEntry| match there.get(&entry.digest) {
            None => true,
            Some(image) if entry.decision == UNTAG => {
                entry.tags.iter().all(|tag| !image.tags.contains(tag))
            }
            Some(image) => image.status == ImageStatus::Archived,
        };
        let done = |(entry, bytes): (CleanupEntry, u64)| is_done(&entry).then_some((entry, bytes));
        let done: Vec<(CleanupEntry, u64)> = entries.into_iter().filter_map(done).collect();
        let is_away = |done: &&(CleanupEntry, u64)| !there.contains_key(&done.0.digest);
        units.retain(|unit| done.iter().any(|(entry, _)| unit.contains(&entry.digest)));
        let noted: HashSet<Digest> = units.iter().flatten().cloned().collect();
        let alone = done.iter().map(|(entry, _)| entry);
        let alone =
            alone.filter(|entry| entry.decision == ARCHIVE && !noted.contains(&entry.digest));
        units.extend(alone.map(|entry| vec![entry.digest.clone()]));
        let is_back = |entry: &CleanupEntry| {
            there.get(&entry.digest).is_some_and(|image| image.status != ImageStatus::Archived)
        };
        let outcome = SweepResult {
            mode,
            restored: restored.into_iter().filter(is_back).collect(),
            units,
            examined: inventory.images.len() + done.iter().filter(is_away).count(),
            bytes: done.iter().map(|(_, bytes)| bytes).sum(),
            removed: done.into_iter().map(|(entry, _)| entry).collect(),
            stopped: None,
            ..self.nothing(String::new())
        };
        if outcome.removed.is_empty() && outcome.restored.is_empty() {
            return Ok(());
        }
        self.context.alerts.publish(&warden_alerts::cleanup(&self.alert(), &outcome)).await
    }

    /// Notes what is about to be done, as much of it as fits, so that it is told although this
    /// run is cut off.
    async fn note(
        &self,
        entries: &[CleanupEntry],
        units: &[Vec<Digest>],
        inventory: &Inventory,
    ) -> anyhow::Result<()> {
        let bytes: HashMap<&Digest, u64> =
            inventory.images.iter().map(|image| (&image.digest, image.bytes)).collect();
        let mode = self.policy.governance.retention.enforcement;
        // A unit of one image is its entry.
        let is_noted = |unit: &&Vec<Digest>| unit.len() > 1;
        let entry = |entry: &CleanupEntry| {
            let bytes = bytes.get(&entry.digest).copied().filter(|_| entry.decision != UNTAG);
            (with_few_tags(entry), bytes.unwrap_or_default())
        };
        let mut noted = RunNote {
            mode,
            entries: entries.iter().map(entry).collect(),
            units: units.iter().filter(is_noted).cloned().collect(),
            restored: vec![],
        };
        self.write_note(Some(&mut noted)).await
    }

    async fn write_note(&self, noted: Option<&mut RunNote>) -> anyhow::Result<()> {
        let Some(noted) = noted else { return Ok(()) };
        let doing = noted.text()?;
        self.context.ledger.record_run(self.repository, self.request_id, &doing).await
    }

    /// Tells what came of it: what went each time, what did not go once for each plan.
    async fn tell(&self, outcome: &SweepResult) -> anyhow::Result<()> {
        if !outcome.is_news() {
            return Ok(());
        }
        if outcome.waits {
            // The images of the plan may change daily. A person is reminded weekly.
            let week = self.now.iso_week();
            let fact = format!("unconfirmed {} {week:?}", retention_hash(self.policy));
            return self.tell_once(&fact, outcome).await;
        }
        if outcome.is_carried_out() && !outcome.removed.is_empty() {
            return self
                .context
                .alerts
                .publish(&warden_alerts::cleanup(&self.alert(), outcome))
                .await;
        }
        self.tell_once(&outcome.hash, outcome).await
    }

    async fn tell_once(&self, plan: &str, outcome: &SweepResult) -> anyhow::Result<()> {
        let fact = Fact::Cleanup { repository: self.repository, plan };
        // The same plan may be stopped once, and fail when it is confirmed.
        let what = match (&outcome.stopped, outcome.failed.is_empty()) {
            // Other destinations are news, and so is a replication after another guard.
            (Some(why), _) if !outcome.replication.is_empty() => why,
            (Some(_), _) => "stopped",
            (None, false) => "failed",
            (None, true) => "planned",
        };
        self.tell_fact(fact, what, &warden_alerts::cleanup(&self.alert(), outcome)).await
    }

    async fn tell_fact(&self, fact: Fact<'_>, what: &str, alert: &Alert) -> anyhow::Result<()> {
        let ledger = &self.context.ledger;
        let told = match ledger.claim(fact, self.request_id, &alert.source.id, self.now).await? {
            Claim::Theirs { .. } => return Ok(()),
            Claim::Ours(PreviousClaim { published, .. }) if published.as_deref() == Some(what) => {
                None
            }
            Claim::Ours(_) => {
                info!("{}", alert.title);
                self.context.alerts.publish(alert).await?;
                Some(what)
            }
        };
        ledger.settle(fact, self.request_id, told, self.now).await
    }

    /// Looks at what else is not as the policy says, and tells it when it changes.
    async fn audit(
        &self,
        plan: &RetentionPlan<'_>,
        mutability: String,
        archived_units: HashMap<Digest, UnitRecord>,
    ) -> anyhow::Result<()> {
        let observed = self.context.registry.audited_settings(self.repository, mutability).await?;
        let scan_on_push = self.context.config.scan_on_push;
        let is_scanned = scan_on_push && observed.scan_frequency != "MANUAL";
        let unscanned = if is_scanned { self.unscanned(plan).await? } else { vec![] };
        let observed = RepositorySettings { scan_on_push, unscanned, archived_units, ..observed };
        let found = audit(plan, &observed, self.now);
        let fact = Fact::Audit { repository: self.repository };
        if found.is_empty() {
            // What comes back is news.
            return self.context.ledger.forget(fact).await;
        }
        for deviation in &found {
            info!(repository.name = %self.repository, audit.rule = %deviation.rule, "{}: {}", self.repository, deviation.text);
        }
        let texts: Vec<&str> = found.iter().map(|it| it.text.as_str()).collect();
        self.tell_fact(fact, &texts.join("\n"), &warden_alerts::self_audit(&self.alert(), &found))
            .await
    }

    /// Images that were pushed lately, and not scanned.
    async fn unscanned(&self, plan: &RetentionPlan<'_>) -> anyhow::Result<Vec<ImageId>> {
        let lately = |at: DateTime<Utc>| {
            let age = self.now - at;
            age > SCANNED_WITHIN && age < LATELY
        };
        let images = plan.inventory.images.enumerate();
        let mut asked: Vec<(DateTime<Utc>, ImageId)> = images
            .filter(|(_, image)| {
                !image.is_index && !image.is_artifact && image.status == ImageStatus::Active
            })
            .filter(|(_, image)| {
                image.own_tags().next().is_some() && image.subjects().next().is_none()
            })
            .filter_map(|(id, image)| Some((image.pushed_at.filter(|at| lately(*at))?, id)))
            .collect();
        asked.sort_unstable_by_key(|(at, id)| (std::cmp::Reverse(*at), *id));
        let scans = asked.into_iter().take(ASKED_AFTER).map(|(_, id)| async move {
            let digest = &plan.image(id).digest;
            let is_scanned = self.context.registry.is_scanned(self.repository, digest).await?;
            anyhow::Ok((!is_scanned).then_some(id))
        });
        let scans: Vec<_> = stream::iter(scans).buffered(CONCURRENT_CALLS).collect().await;
        let found = scans.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn alert(&self) -> SweepContext<'_> {
        SweepContext {
            account: &self.context.config.place.account,
            region: &self.context.config.place.region,
            repository: self.repository,
            function: &self.context.config.place.function,
            stack: self.context.config.stack_name(),
            source: self.source,
        }
    }
}

/// The archived indexes of a repository.
fn archived_indexes(inventory: &Inventory) -> impl Iterator<Item = &ImageRecord> {
    let images = inventory.images.iter();
    images.filter(|image| image.is_index && image.status == ImageStatus::Archived)
}

/// What cannot be seen; other errors are errors.
fn blind(error: anyhow::Error) -> anyhow::Result<String> {
    let VisibilityError(why) = error.downcast::<VisibilityError>()?;
    Ok(why)
}
