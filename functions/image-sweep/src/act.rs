//! Applies a plan. Only this module and [`crate::complete`] change a repository.
//!
//! A unit is removed whole or not at all. An index is deleted before its images, because ECR refuses to
//! delete an image that an index needs. A referrer is deleted after its subject. Archiving has the
//! opposite order, with the root last ([`warden_aws::registry::unit`]). A unit of several images is
//! written to the ledger before its first call, and stays there until it is complete. If this run is
//! killed, the next run finishes or restores the unit ([`crate::complete`]).
//!
//! Units are removed in groups of about a hundred images. Before each group the images are read
//! again, and an image that was tagged or pulled since it was listed stays. Before and after each
//! group that is archived, the repository is searched for new indexes: a unit that a new index needs
//! stays, or is restored immediately. After a call that failed with all its retries, no further group
//! is removed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::{error, warn};
use warden_aws::ServiceError;
use warden_aws::ledger::Ledger;
use warden_aws::registry::Registry;
use warden_aws::registry::unit::{ArchivedUnit, CONCURRENT_ARCHIVE_CALLS};
use warden_core::arena::{ImageId, UnitId};
use warden_core::graph::{ImageRecord, Unit};
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};
use warden_core::mutability::{Mutability, tag_can_move};
use warden_core::policy::CleanupEnforcement;
use warden_core::retention::{RetentionPlan, UnitRecord, UnitRemoval, UnitRemover};
use warden_core::tagging::keeps_accepted_tag;

/// The most images that one call deletes or reads again.
const BATCH: usize = 100;

/// The outcome of a plan.
#[derive(Debug, Default)]
pub struct SweepChanges {
    /// The removed images.
    pub removed: Vec<ImageId>,
    /// The removed quarantine tags.
    pub untagged: Vec<(ImageId, Tag)>,
    /// The images that could not be removed, each with the reason.
    pub failed: Vec<(ImageId, String)>,
    /// The failed images that may be removed nevertheless, because the response was lost.
    pub unsure: Vec<ImageId>,
    /// The quarantine tags that could not be removed, each with the reason.
    pub still_tagged: Vec<(ImageId, Tag, String)>,
    /// The images that were archived and then restored, because a new index needs one of them.
    pub restored: Vec<ImageId>,
    /// The units that may lack an image which a new index needs. They stay in the ledger.
    unverified: Vec<UnitId>,
    /// The number of images that were not tried, or that changed after the decision.
    pub left: usize,
}

/// The run that claims the tags of images.
pub struct Claimant<'a> {
    pub ledger: &'a Ledger,
    pub request_id: &'a str,
    /// The start of the invocation, by the wall clock and by the monotonic clock.
    pub started_at: DateTime<Utc>,
    pub started: Instant,
}

impl Claimant<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.started_at + self.started.elapsed()
    }
}

/// Applies a plan. Starts no further call after `until`.
pub async fn apply_plan(
    registry: &Registry,
    claimant: &Claimant<'_>,
    plan: &RetentionPlan<'_>,
    until: Instant,
) -> SweepChanges {
    let act = Act {
        registry,
        claimant,
        plan,
        repository: &plan.policy.repository_name,
        until,
        is_over: AtomicBool::new(false),
    };
    let mut done = SweepChanges::default();
    if plan.policy.cleanup() == CleanupEnforcement::Report {
        return done;
    }
    // Deletions come first. If a deleted index and an archived unit share an image, the image can
    // then be archived with its unit.
    let mut stays = HashSet::new();
    act.delete(&mut stays, &mut done).await;
    act.archive(&mut stays, &mut done).await;
    act.untag(&mut done).await;
    done
}

struct Act<'a> {
    registry: &'a Registry,
    claimant: &'a Claimant<'a>,
    plan: &'a RetentionPlan<'a>,
    repository: &'a RepositoryName,
    until: Instant,
    /// Whether a call failed for a reason that would make further calls fail too.
    is_over: AtomicBool,
}

impl<'a> Act<'a> {
    fn may_continue(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed) && Instant::now() < self.until
    }

    fn digest(&self, image: ImageId) -> &'a Digest {
        &self.plan.image(image).digest
    }

    /// Divides the units of one mode into groups of about a hundred images. A unit that shares an
    /// image with another unit is a group of its own, so that the outcome of the first of them is
    /// known before the second is removed.
    fn groups(&self, mode: CleanupEnforcement) -> Vec<Vec<&'a UnitRemoval>> {
        let mut units: HashMap<ImageId, usize> = HashMap::new();
        for removal in &self.plan.removals {
            for image in self.unit(removal).images() {
                *units.entry(image).or_default() += 1;
            }
        }
        let is_shared = |removal: &&UnitRemoval| {
            let mut images = self.unit(removal).images();
            images.any(|image| units.get(&image).is_some_and(|units| *units > 1))
        };
        let removals =
            self.plan.removals.iter().filter(|removal| self.plan.mode(removal.unit) == mode);
        let (shared, alone): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) = removals.partition(is_shared);
        let mut groups: Vec<Vec<&UnitRemoval>> = Vec::new();
        let mut size = BATCH;
        for removal in alone {
            let count = removal.all().count();
            if size + count > BATCH {
                groups.push(Vec::new());
                size = 0;
            }
            size += count;
            if let Some(group) = groups.last_mut() {
                group.push(removal);
            }
        }
        groups.extend(shared.into_iter().map(|removal| vec![removal]));
        groups
    }

    /// The unit with all of its images, also those that are removed with another unit.
    fn unit(&self, removal: &UnitRemoval) -> &'a Unit {
        &self.plan.units[removal.unit].unit
    }

    /// Returns the units that are unchanged since they were listed, which may be minutes ago. The next
    /// run decides about the others.
    async fn filter_unchanged(
        &self,
        group: Vec<&'a UnitRemoval>,
        mode: CleanupEnforcement,
        stays: &HashSet<ImageId>,
        done: &mut SweepChanges,
    ) -> Vec<&'a UnitRemoval> {
        let all: Vec<ImageId> = group.iter().flat_map(|removal| removal.all()).collect();
        let mut same: HashSet<&Digest> = HashSet::new();
        let mut reported = 0;
        let may_be_archived = mode == CleanupEnforcement::Archive;
        for batch in all.chunks(BATCH).take_while(|_| self.may_continue()) {
            let images: Vec<&ImageRecord> =
                batch.iter().map(|image| self.plan.image(*image)).collect();
            match self.registry.unchanged(self.repository, &images, may_be_archived).await {
                Ok(unchanged) => same.extend(unchanged),
                // The first image of the batch reports the error. The others count as not tried.
                Err(error) => {
                    let why = self.stop_after(&error);
                    done.failed.extend(batch.first().map(|image| (*image, why)));
                    reported += 1;
                    self.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        let is_same = |removal: &&UnitRemoval| {
            let mut images = removal.all();
            images.all(|image| !stays.contains(&image) && same.contains(self.digest(image)))
        };
        let (same, changed): (Vec<_>, Vec<_>) = group.into_iter().partition(is_same);
        done.left += changed.iter().map(|removal| removal.all().count()).sum::<usize>() - reported;
        same
    }

    /// Adds the images of units that were not removed whole to the images that stay.
    fn keep_unremoved(
        &self,
        group: &[&UnitRemoval],
        done: &SweepChanges,
        stays: &mut HashSet<ImageId>,
    ) {
        let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
        let is_gone = |removal: &UnitRemoval| removal.all().all(|image| gone.contains(&image));
        for removal in group.iter().filter(|removal| !is_gone(removal)) {
            stays.extend(self.unit(removal).images());
        }
    }

    async fn delete(&self, stays: &mut HashSet<ImageId>, done: &mut SweepChanges) {
        let mode = CleanupEnforcement::Delete;
        for all in self.groups(mode) {
            // The ledger call comes before the check, because it may take long. The removal follows
            // the check immediately.
            let begun = self.begin_units(all.clone(), UnitRemover::SweepDeletes, done).await;
            let group = self.filter_unchanged(begun.clone(), mode, stays, done).await;
            let first: Vec<ImageId> =
                group.iter().flat_map(|removal| &removal.images).copied().collect();
            self.delete_images(&first, done).await;
            let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
            // A signature stays as long as its subject exists.
            let (gone, partly): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) = group
                .into_iter()
                .partition(|removal| removal.images.iter().all(|image| gone.contains(image)));
            done.left += partly.iter().map(|removal| removal.referrers.len()).sum::<usize>();
            let after: Vec<ImageId> =
                gone.iter().flat_map(|removal| &removal.referrers).copied().collect();
            self.delete_images(&after, done).await;
            self.end_units(&begun, done).await;
            self.keep_unremoved(&all, done, stays);
        }
    }

    async fn delete_images(&self, images: &[ImageId], done: &mut SweepChanges) {
        for batch in images.chunks(BATCH) {
            if !self.may_continue() {
                done.left += batch.len();
                continue;
            }
            let digests: Vec<&Digest> = batch.iter().map(|image| self.digest(*image)).collect();
            match self.registry.delete(self.repository, &digests).await {
                Ok(failures) => {
                    for image in batch {
                        let digest = self.digest(*image);
                        match failures.iter().find(|(failed, _)| failed == digest) {
                            Some((_, why)) => done.failed.push((*image, why.clone())),
                            None => done.removed.push(*image),
                        }
                    }
                }
                Err(error) => {
                    let why = self.stop_after(&error);
                    done.failed.extend(batch.iter().map(|image| (*image, why.clone())));
                    if is_unsure(&error) {
                        done.unsure.extend(batch);
                    }
                }
            }
        }
    }

    async fn archive(&self, stays: &mut HashSet<ImageId>, done: &mut SweepChanges) {
        let mode = CleanupEnforcement::Archive;
        let images = self.plan.inventory.images.iter();
        let mut seen = SeenIndexes {
            // An archived index that somebody restores meanwhile counts as new.
            known: images
                .filter(|image| image.status != ImageStatus::Archived)
                .map(|image| image.digest.clone())
                .collect(),
            needed: HashSet::new(),
        };
        for all in self.groups(mode) {
            let begun = self.begin_units(all.clone(), UnitRemover::SweepArchives, done).await;
            let group = self.filter_unneeded(begun.clone(), &mut seen, done).await;
            let group = self.filter_unchanged(group, mode, stays, done).await;
            let units = group.iter().map(|removal| self.archive_unit(removal));
            let units: Vec<ArchivedUnit> =
                stream::iter(units).buffered(CONCURRENT_ARCHIVE_CALLS).collect().await;
            self.record_archived(units, done);
            self.restore_needed(&group, &mut seen, done).await;
            self.end_units(&begun, done).await;
            self.keep_unremoved(&all, done, stays);
        }
    }

    async fn archive_unit(&self, removal: &UnitRemoval) -> ArchivedUnit {
        let record = self.unit_record(removal, UnitRemover::SweepArchives);
        let unit = self
            .registry
            .archive_unit(self.repository, &record.archive_order(), || self.may_continue())
            .await;
        // An error must also stop the units that are archived at the same time.
        for (_, error) in &unit.failed {
            self.stop_after(error);
        }
        unit
    }

    /// Adds the outcome of archived units to the outcome of the plan.
    fn record_archived(&self, units: Vec<ArchivedUnit>, done: &mut SweepChanges) {
        let removed = self.plan.removals.iter().flat_map(UnitRemoval::all);
        let id_of: HashMap<&Digest, ImageId> =
            removed.map(|image| (self.digest(image), image)).collect();
        let id = |digest: &Digest| id_of.get(digest).copied();
        for unit in units {
            done.removed.extend(unit.archived.iter().filter_map(id));
            done.left += unit.left.len();
            for (digest, error) in &unit.failed {
                let Some(image) = id(digest) else { continue };
                done.failed.push((image, self.stop_after(error)));
                if is_unsure(error) {
                    done.unsure.push(image);
                }
            }
        }
    }

    /// Returns the units of which no index that was pushed meanwhile needs an image.
    async fn filter_unneeded(
        &self,
        group: Vec<&'a UnitRemoval>,
        seen: &mut SeenIndexes,
        done: &mut SweepChanges,
    ) -> Vec<&'a UnitRemoval> {
        let Some(first) = group.first().filter(|_| self.may_continue()) else { return group };
        if let Err(error) = self.look_again(&[], seen).await {
            let root = self.unit(first).root;
            done.failed.push((root, self.stop_after(&error)));
            self.is_over.store(true, Ordering::Relaxed);
            done.left += group.iter().map(|removal| removal.all().count()).sum::<usize>() - 1;
            return vec![];
        }
        let (needed, free): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) =
            group.into_iter().partition(|removal| self.is_needed(removal, seen));
        done.left += needed.iter().map(|removal| removal.all().count()).sum::<usize>();
        free
    }

    /// Restores units after they were archived, if a new index needs one of their images, or if
    /// somebody tagged or pulled one of their images meanwhile.
    async fn restore_needed(
        &self,
        group: &[&UnitRemoval],
        seen: &mut SeenIndexes,
        done: &mut SweepChanges,
    ) {
        let removed: HashSet<ImageId> = done.removed.iter().copied().collect();
        let is_archived = |removal: &&&UnitRemoval| removal.all().any(|id| removed.contains(&id));
        let archived: Vec<&UnitRemoval> = group.iter().filter(is_archived).copied().collect();
        if archived.is_empty() {
            return;
        }
        // After an error the units stay in the ledger, and the next run checks them.
        let images = match self.look_again(&archived, seen).await {
            Ok(images) => images,
            Err(error) => {
                warn!("{error:#}");
                self.is_over.store(true, Ordering::Relaxed);
                done.unverified.extend(archived.iter().map(|removal| removal.unit));
                return;
            }
        };
        let is_used = |image: ImageId| {
            let image = self.plan.image(image);
            images.get(&image.digest).is_some_and(|now| !now.is_unchanged_since(image, true))
        };
        let is_wanted =
            |removal: &&UnitRemoval| self.is_needed(removal, seen) || removal.all().any(is_used);
        for removal in archived.into_iter().filter(is_wanted) {
            let images: Vec<ImageId> = removal.all().filter(|id| removed.contains(id)).collect();
            let digests = images.iter().map(|image| self.digest(*image));
            match self.registry.restore_images(self.repository, digests).await {
                Ok(()) => {
                    done.removed.retain(|image| !images.contains(image));
                    done.restored.extend(images);
                }
                Err(error) => {
                    error!(repository.name = %self.repository, "{error:#}");
                    done.unverified.push(removal.unit);
                }
            }
        }
    }

    /// Lists the repository again, and returns the images of these units.
    async fn look_again(
        &self,
        units: &[&UnitRemoval],
        seen: &mut SeenIndexes,
    ) -> anyhow::Result<HashMap<Digest, ImageRecord>> {
        let watched = units.iter().flat_map(|removal| removal.all());
        let watched = watched.map(|image| self.digest(image)).collect();
        let look = self.registry.list_again(self.repository, &mut seen.known, &watched).await?;
        seen.needed.extend(look.needed);
        Ok(look.images)
    }

    fn is_needed(&self, removal: &UnitRemoval, seen: &SeenIndexes) -> bool {
        self.unit(removal).images().any(|image| seen.needed.contains(self.digest(image)))
    }

    /// Writes the units of several images to the ledger. Returns the units that may be removed. If the
    /// ledger fails, no unit may be removed.
    async fn begin_units(
        &self,
        group: Vec<&'a UnitRemoval>,
        remover: UnitRemover,
        done: &mut SweepChanges,
    ) -> Vec<&'a UnitRemoval> {
        let units: Vec<UnitRecord> = group
            .iter()
            .map(|removal| self.unit_record(removal, remover))
            .filter(UnitRecord::has_several_images)
            .collect();
        let Some(first) = group.first().filter(|_| self.may_continue()) else { return group };
        let Err(error) = self
            .claimant
            .ledger
            .begin_units(self.repository, &units, self.claimant.started_at)
            .await
        else {
            return group;
        };
        done.failed.push((self.unit(first).root, format!("{error:#}")));
        done.left += group.iter().map(|removal| removal.all().count()).sum::<usize>() - 1;
        self.is_over.store(true, Ordering::Relaxed);
        vec![]
    }

    /// Removes from the ledger the units that are complete: removed whole, restored, or not begun.
    async fn end_units(&self, group: &[&UnitRemoval], done: &SweepChanges) {
        let removed: HashSet<ImageId> = done.removed.iter().copied().collect();
        let unsure: HashSet<ImageId> = done.unsure.iter().copied().collect();
        let is_complete = |removal: &&&UnitRemoval| {
            let count = removal.all().filter(|image| removed.contains(image)).count();
            let is_sure = !removal.all().any(|image| unsure.contains(&image))
                && !done.unverified.contains(&removal.unit);
            is_sure && (count == 0 || count == removal.all().count())
        };
        let several = group.iter().filter(|removal| removal.all().nth(1).is_some());
        let roots = several.filter(is_complete).map(|removal| self.digest(self.unit(removal).root));
        // An error here is harmless: a complete unit in the ledger costs the next run one call.
        if let Err(error) = self.claimant.ledger.end_units(self.repository, roots).await {
            warn!("{error:#}");
        }
    }

    fn unit_record(&self, removal: &UnitRemoval, remover: UnitRemover) -> UnitRecord {
        let unit = self.unit(removal);
        let gone: HashSet<ImageId> = removal.all().collect();
        let others = removal.all().filter(|image| *image != unit.root);
        let shared = unit.images().filter(|image| !gone.contains(image));
        UnitRecord {
            root: self.digest(unit.root).clone(),
            removed: others.map(|image| self.digest(image).clone()).collect(),
            shared: shared.map(|image| self.digest(image).clone()).collect(),
            remover,
            began: self.claimant.started_at,
        }
    }

    /// The reason of a failed call. Unless the reason lies in the image, stops the run: the next call
    /// would fail too, or add to the throttling.
    fn stop_after(&self, error: &anyhow::Error) -> String {
        let is_about_image = error.downcast_ref::<ServiceError>().is_some_and(|error| {
            !["Throttl", "TooMany", "LimitExceeded", "AccessDenied", "Unrecognized", "Expired"]
                .iter()
                .any(|word| error.code.contains(word))
        });
        if !is_about_image {
            self.is_over.store(true, Ordering::Relaxed);
        }
        format!("{error:#}")
    }

    /// Removes quarantine tags from images that have an accepted tag. Reads the tag mutability again
    /// first, and the tags of each image, because ECR deletes an image with its last tag.
    async fn untag(&self, done: &mut SweepChanges) {
        if self.plan.untags.is_empty() {
            return;
        }
        let mutability = self.registry.mutability(self.repository).await;
        let mutability = mutability.inspect_err(|error| warn!("{error:#}")).ok().flatten();
        let mutability = mutability.as_ref();
        for (image, tag) in &self.plan.untags {
            if !self.may_continue() || tag_can_move(mutability, tag) {
                done.left += 1;
                continue;
            }
            match self.untag_one(self.digest(*image), tag, mutability).await {
                Ok(true) => done.untagged.push((*image, tag.clone())),
                Ok(false) => {}
                Err(error) => {
                    done.still_tagged.push((*image, tag.clone(), self.stop_after(&error)));
                }
            }
        }
    }

    /// Removes a quarantine tag while this run holds the claim on the tags of the image. If `image-push`
    /// holds the claim, leaves the tag for the next run.
    async fn untag_one(
        &self,
        digest: &Digest,
        tag: &Tag,
        mutability: Option<&Mutability>,
    ) -> anyhow::Result<bool> {
        let Claimant { ledger, request_id, .. } = self.claimant;
        let now = self.claimant.now();
        if !ledger.claim_for_untagging(self.repository, digest, request_id, now).await? {
            return Ok(false);
        }
        let removed = self.untag_claimed(digest, tag, mutability).await;
        // After an error the claim expires by itself.
        let released = ledger.release_untagging(self.repository, digest, request_id).await;
        released.unwrap_or_else(|error| warn!("{error:#}"));
        removed
    }

    async fn untag_claimed(
        &self,
        digest: &Digest,
        tag: &Tag,
        mutability: Option<&Mutability>,
    ) -> anyhow::Result<bool> {
        let Some(found) = self.registry.image(self.repository, digest).await? else {
            return Ok(false);
        };
        let tags = &found.image.tags;
        if !tags.contains(tag) || !keeps_accepted_tag(self.plan.policy, tags, mutability) {
            return Ok(false);
        }
        if let Some(other) = self.registry.untag(self.repository, digest, tag).await? {
            // Logged immediately, because the run may be killed before it publishes.
            error!(
                repository.name = %self.repository,
                image.digest = %other,
                "{}@{digest}: somebody had moved the tag {tag}, and {other} lost it",
                self.repository,
            );
            anyhow::bail!("somebody had moved the tag, and {other} lost it");
        }
        Ok(true)
    }
}

/// The indexes that were pushed since the images were listed.
struct SeenIndexes {
    /// Every listed image.
    known: HashSet<Digest>,
    /// The images that new indexes need.
    needed: HashSet<Digest>,
}

/// Whether AWS may have carried out a call that failed.
fn is_unsure(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ServiceError>().is_none_or(|error| {
        ["Server", "Internal", "Unavailable"].iter().any(|word| error.code.contains(word))
    })
}
