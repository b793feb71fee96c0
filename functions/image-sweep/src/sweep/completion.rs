//! Completes the units that earlier runs and other functions left unfinished.

use std::collections::HashSet;

use tracing::error;
use warden_aws::ServiceError;
use warden_aws::registry::VisibilityError;
use warden_aws::replication::find_replication;
use warden_core::arena::ImageId;
use warden_core::image::Digest;
use warden_core::policy::{CleanupEnforcement, InUse};
use warden_core::retention::{RetentionPlan, UnitRecord, torn_images};

use super::Sweep;
use super::look::Seen;
use crate::Context;
use crate::complete::{Completion, plan_completions, restore_instead};
use crate::note::RunNote;

/// The removal of a unit may be under way for this long, which is longer than any function runs.
const UNDER_WAY: chrono::Duration = chrono::Duration::hours(1);

impl Sweep<'_> {
    /// Completes the unfinished units of earlier runs, and reads the repository. Returns the facts and
    /// the roots of the completed units.
    pub(super) async fn complete_and_look(
        &self,
        units: &[Digest],
        noted: &mut Option<RunNote>,
    ) -> anyhow::Result<(Seen, Vec<Digest>)> {
        let seen = self.look().await?;
        // The records are written even if this run stops later, because it has seen the tags.
        self.record_sightings(&seen).await?;
        if units.is_empty() && !seen.may_be_incomplete() {
            return Ok((seen, vec![]));
        }
        let (complete, has_changed) = self.complete(units, &seen, noted).await?;
        if !has_changed {
            return Ok((seen, complete));
        }
        let seen = self.look().await?;
        self.record_sightings(&seen).await?;
        Ok((seen, complete))
    }

    /// Completes the units that earlier runs left unfinished, and every archived unit that lacks an
    /// image. Adds the calls to `noted`, and writes that note to the ledger first. Returns the roots
    /// of the completed units, and whether the images must be listed again. Returns a
    /// [`VisibilityError`] if a unit cannot be completed.
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
        let can_see = self.policy.in_use == InUse::PullTime || !seen.running.is_empty();
        let mut completions = plan_completions(&plan, &records, can_see, self.now);
        if completions.iter().any(|completion| !completion.removed.is_empty()) {
            let replication = find_replication(registry, ledger, self.repository).await?;
            if let Some(why) = replication.reason_to_report(self.policy) {
                completions = restore_instead(completions, &plan, &why);
            }
        }
        let torn = self.torn_images(&plan, &records).await?;
        if !torn.is_empty() {
            completions.push(Completion::restore_torn_images(&plan, &torn));
        }
        let with_calls = completions.iter().filter(|completion| completion.has_calls());
        let has_calls = with_calls.clone().next().is_some();
        for completion in with_calls.clone() {
            completion.log(self.repository, &self.context.config.policy_version);
            noted.get_or_insert_default().add(completion);
        }
        if let Some(noted) = noted.as_mut().filter(|_| has_calls) {
            self.write_note(noted).await?;
        }
        let mut failed = None;
        let mut unfinished: HashSet<&Digest> = HashSet::new();
        for completion in with_calls {
            let completed = completion.apply(registry, self.repository, self.until).await;
            let Err(error) = completed else { continue };
            unfinished.extend(completion.record.as_ref().map(|record| &record.root));
            error!(
                repository.name = %self.repository,
                "{}@{}: the removal of this image and its parts cannot be completed: {error:#}",
                self.repository,
                completion.name(),
            );
            // Without the right, a later run cannot complete the unit either. The audit reports it.
            let is_denied = error
                .downcast_ref::<ServiceError>()
                .is_some_and(|error| error.code.contains("AccessDenied"));
            if !is_denied {
                failed.get_or_insert((completion.name(), error));
            }
        }
        if let Some((name, error)) = failed {
            let why = format!("the removal of {name} and its parts cannot be completed: {error:#}");
            return Err(VisibilityError(why).into());
        }
        let is_complete = |root: &&Digest| {
            !unfinished.contains(*root)
                && completions.iter().any(|completion| completion.has_root(root))
        };
        Ok((roots.iter().filter(is_complete).cloned().collect(), has_calls))
    }

    /// Lists the archived images of active indexes that this run must restore, if the policy gives the
    /// sweep the right to restore. Leaves out a unit with a young record, because another function may
    /// be removing it now.
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
            begun.get(index(*id)).is_none_or(|record| record.began + UNDER_WAY < self.now)
        };
        Ok(torn.into_iter().filter(is_settled).map(|(_, image)| image).collect())
    }
}
