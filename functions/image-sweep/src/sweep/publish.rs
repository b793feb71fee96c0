//! Publishes the outcome of a run, and writes the note that the next run publishes if this run is
//! killed.

use std::collections::{HashMap, HashSet};

use chrono::Datelike as _;
use tracing::info;
use warden_alerts::{ARCHIVE, Alert, CleanupEntry, SweepContext, SweepResult, UNTAG};
use warden_aws::ledger::{Claim, Fact, PreviousClaim};
use warden_core::graph::{ImageRecord, Inventory};
use warden_core::image::{Digest, ImageStatus};
use warden_core::retention::retention_hash;

use super::Sweep;
use crate::Context;
use crate::note::{RunNote, with_few_tags};

impl Sweep<'_> {
    /// Publishes the outcome of a plan. Removals are published each time. A plan that removes nothing
    /// is published once. `note` is the text of the note of this run.
    pub(super) async fn publish_outcome(
        &self,
        outcome: &SweepResult,
        note: &str,
    ) -> anyhow::Result<()> {
        if !outcome.is_news() {
            return Ok(());
        }
        if outcome.waits {
            // The images of a waiting plan may change each day, so the alert is published once a week.
            let week = self.now.iso_week();
            let fact = format!("unconfirmed {} {week:?}", retention_hash(self.policy));
            return self.publish_once(&fact, outcome).await;
        }
        if outcome.is_carried_out() && !outcome.removed.is_empty() {
            return self.publish_changes(outcome, note).await;
        }
        self.publish_once(&outcome.hash, outcome).await
    }

    /// Publishes the changes in the note of an interrupted run, as far as AWS carried them out.
    pub(super) async fn publish_note(
        &self,
        mut noted: RunNote,
        inventory: &Inventory,
    ) -> anyhow::Result<()> {
        let note = noted.text()?;
        let RunNote { mode, entries, restored, mut units } = noted;
        let present: HashMap<&Digest, &ImageRecord> =
            inventory.images.iter().map(|image| (&image.digest, image)).collect();
        let is_done = |entry: &CleanupEntry| match present.get(&entry.digest) {
            None => true,
            Some(image) if entry.decision == UNTAG => {
                entry.tags.iter().all(|tag| !image.tags.contains(tag))
            }
            Some(image) => image.status == ImageStatus::Archived,
        };
        let done = |(entry, bytes): (CleanupEntry, u64)| is_done(&entry).then_some((entry, bytes));
        let done: Vec<(CleanupEntry, u64)> = entries.into_iter().filter_map(done).collect();
        let is_deleted = |done: &&(CleanupEntry, u64)| !present.contains_key(&done.0.digest);
        units.retain(|unit| done.iter().any(|(entry, _)| unit.contains(&entry.digest)));
        let noted: HashSet<Digest> = units.iter().flatten().cloned().collect();
        let alone = done.iter().map(|(entry, _)| entry);
        let alone =
            alone.filter(|entry| entry.decision == ARCHIVE && !noted.contains(&entry.digest));
        units.extend(alone.map(|entry| vec![entry.digest.clone()]));
        let is_restored = |entry: &CleanupEntry| {
            present.get(&entry.digest).is_some_and(|image| image.status != ImageStatus::Archived)
        };
        let outcome = SweepResult {
            mode,
            restored: restored.into_iter().filter(is_restored).collect(),
            units,
            examined: inventory.images.len() + done.iter().filter(is_deleted).count(),
            bytes: done.iter().map(|(_, bytes)| bytes).sum(),
            removed: done.into_iter().map(|(entry, _)| entry).collect(),
            stopped: None,
            ..self.stopped_outcome(String::new())
        };
        if outcome.removed.is_empty() && outcome.restored.is_empty() {
            return Ok(());
        }
        self.publish_changes(&outcome, &note).await
    }

    /// Publishes the changes of a run. The note of the run identifies them: if one destination fails,
    /// the next run publishes the same note to that destination only.
    async fn publish_changes(&self, outcome: &SweepResult, note: &str) -> anyhow::Result<()> {
        let alert = warden_alerts::cleanup(&self.alert_context(), outcome);
        self.publish(&alert, &format!("changes {}", self.repository), note).await
    }

    async fn publish(&self, alert: &Alert, subject: &str, identity: &str) -> anyhow::Result<()> {
        let Context { alerts, ledger, .. } = self.context;
        alerts.publish(ledger, alert, subject, identity, self.now).await
    }

    /// Writes a note of the removals that this run is about to make. The next run publishes them if
    /// this run is killed. A note that is too long leaves out images. Returns the text of the note.
    pub(super) async fn note_removals(
        &self,
        entries: &[CleanupEntry],
        units: &[Vec<Digest>],
        inventory: &Inventory,
    ) -> anyhow::Result<String> {
        let bytes: HashMap<&Digest, u64> =
            inventory.images.iter().map(|image| (&image.digest, image.bytes)).collect();
        let mode = self.policy.cleanup();
        // A unit of one image needs no list beside its entry.
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
        self.write_note(&mut noted).await
    }

    /// Writes a note to the ledger, and returns its text.
    pub(super) async fn write_note(&self, noted: &mut RunNote) -> anyhow::Result<String> {
        let doing = noted.text()?;
        self.context.ledger.record_run(self.repository, self.request_id, &doing).await?;
        Ok(doing)
    }

    /// Publishes the outcome of a plan, unless the same outcome was published last.
    pub(super) async fn publish_once(
        &self,
        plan: &str,
        outcome: &SweepResult,
    ) -> anyhow::Result<()> {
        let fact = Fact::Cleanup { repository: self.repository, plan };
        // A plan may be stopped first, and fail after it was confirmed. Both are published.
        let state = match (&outcome.stopped, outcome.failed.is_empty()) {
            // A change of the replication destinations is published too.
            (Some(why), _) if !outcome.replication.is_empty() => why,
            (Some(_), _) => "stopped",
            (None, false) => "failed",
            (None, true) => "planned",
        };
        let alert = warden_alerts::cleanup(&self.alert_context(), outcome);
        self.publish_change(fact, state, &alert).await
    }

    /// Publishes an alert, unless the ledger has the same state of the fact as published.
    pub(super) async fn publish_change(
        &self,
        fact: Fact<'_>,
        state: &str,
        alert: &Alert,
    ) -> anyhow::Result<()> {
        let ledger = &self.context.ledger;
        let source_id = &alert.source.id;
        let published = match ledger.claim(fact, self.request_id, source_id, None, self.now).await?
        {
            Claim::Theirs { .. } => return Ok(()),
            Claim::Ours(PreviousClaim { published, .. }) if published.as_deref() == Some(state) => {
                None
            }
            Claim::Ours(_) => {
                info!("{}", alert.title);
                self.publish(alert, &fact.to_string(), state).await?;
                Some(state)
            }
        };
        ledger.settle(fact, self.request_id, published, self.now).await
    }

    pub(super) fn alert_context(&self) -> SweepContext<'_> {
        SweepContext {
            account: &self.context.config.place.account,
            region: &self.context.config.place.region,
            repository: self.repository,
            owner: self.policy.owner.as_ref(),
            function: &self.context.config.place.function,
            source: self.source,
        }
    }
}
