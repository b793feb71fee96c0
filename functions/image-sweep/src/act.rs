//! Carrying out a plan: the only place that changes a repository.
//!
//! Where ECR decides the order, an index goes before its images, and what refers to something
//! goes after it, once that is gone. In the archive it is the other way round, and the image
//! that everything belongs to goes last: a run that is cut off before finds it where it was,
//! and goes on. A call that fails with all its retries ends it: what is throttled is not to be
//! asked for more. Before it goes each image is looked at again, a hundred at once: what was tagged or
//! pulled since the plan was made stays until the next one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::{error, warn};
use warden_aws::ServiceError;
use warden_aws::ledger::Ledger;
use warden_core::arena::ImageId;
use warden_core::graph::{ImageRecord, Unit};
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};
use warden_core::policy::CleanupEnforcement;
use warden_core::retention::{RetentionPlan, UnitRemoval};
use warden_core::tagging::is_accepted_tag;

use warden_aws::registry::{CONCURRENT_CALLS, Registry};

/// The most images of a call that deletes, or looks again.
const BATCH: usize = 100;

/// The outcome of a plan.
#[derive(Debug, Default)]
pub struct SweepChanges {
    /// What went.
    pub removed: Vec<ImageId>,
    /// The quarantine tags that went.
    pub untagged: Vec<(ImageId, Tag)>,
    /// What did not go, and why.
    pub failed: Vec<(ImageId, String)>,
    /// What of that may have gone all the same: the answer was lost.
    pub unsure: Vec<ImageId>,
    /// The quarantine tags that did not go, and why.
    pub still_tagged: Vec<(ImageId, Tag, String)>,
    /// How many were not tried, or changed since it was decided.
    pub left: usize,
}

/// The holder of claims on the tags of images.
pub struct Claimant<'a> {
    pub ledger: &'a Ledger,
    pub request_id: &'a str,
    /// When the invocation began, by both clocks.
    pub started_at: DateTime<Utc>,
    pub started: Instant,
}

impl Claimant<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.started_at + self.started.elapsed()
    }
}

/// Carries a plan out until that moment.
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
    match plan.policy.governance.retention.enforcement {
        CleanupEnforcement::Report => return done,
        CleanupEnforcement::Archive => act.archive(&mut done).await,
        CleanupEnforcement::Delete => act.delete(&mut done).await,
    }
    act.untag(&mut done).await;
    done
}

struct Act<'a> {
    registry: &'a Registry,
    claimant: &'a Claimant<'a>,
    plan: &'a RetentionPlan<'a>,
    repository: &'a RepositoryName,
    until: Instant,
    /// Whether a call failed that the next one would fail like.
    is_over: AtomicBool,
}

impl<'a> Act<'a> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed) && Instant::now() < self.until
    }

    fn digest(&self, image: ImageId) -> &'a Digest {
        &self.plan.image(image).digest
    }

    /// The units that go, in groups of about a hundred images. What has something in common with
    /// another unit goes alone and in its turn, so that it is known what became of that.
    fn groups(&self) -> Vec<Vec<&'a UnitRemoval>> {
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
        let (shared, alone): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) =
            self.plan.removals.iter().partition(is_shared);
        let mut groups: Vec<Vec<&UnitRemoval>> = Vec::new();
        let mut size = BATCH;
        for removal in alone {
            let more = removal.all().count();
            if size + more > BATCH {
                groups.push(Vec::new());
                size = 0;
            }
            size += more;
            groups.last_mut().into_iter().for_each(|group| group.push(removal));
        }
        groups.extend(shared.into_iter().map(|removal| vec![removal]));
        groups
    }

    /// The unit with all of its images, also those that are removed with another unit.
    fn unit(&self, removal: &UnitRemoval) -> &'a Unit {
        &self.plan.units[removal.unit].unit
    }

    /// Those of the units that are as they were when it was decided: that may be minutes ago.
    /// What changed meanwhile is for the next run to decide, with all that belongs to it.
    async fn unchanged(
        &self,
        group: Vec<&'a UnitRemoval>,
        stays: &HashSet<ImageId>,
        done: &mut SweepChanges,
    ) -> Vec<&'a UnitRemoval> {
        let all: Vec<ImageId> = group.iter().flat_map(|removal| removal.all()).collect();
        let mut same: HashSet<&Digest> = HashSet::new();
        let mut told = 0;
        let may_be_archived =
            self.plan.policy.governance.retention.enforcement == CleanupEnforcement::Archive;
        for batch in all.chunks(BATCH).take_while(|_| self.goes_on()) {
            let images: Vec<&ImageRecord> =
                batch.iter().map(|image| self.plan.image(*image)).collect();
            match self.registry.unchanged(self.repository, &images, may_be_archived).await {
                Ok(unchanged) => same.extend(unchanged),
                // It is told with the first of them; the others were not tried.
                Err(error) => {
                    let why = self.failed(&error);
                    done.failed.extend(batch.first().map(|image| (*image, why)));
                    told += 1;
                    self.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        let is_same = |removal: &&UnitRemoval| {
            let mut images = removal.all();
            images.all(|image| !stays.contains(&image) && same.contains(self.digest(image)))
        };
        let (same, changed): (Vec<_>, Vec<_>) = group.into_iter().partition(is_same);
        done.left += changed.iter().map(|removal| removal.all().count()).sum::<usize>() - told;
        same
    }

    /// What belongs to a unit that did not go whole: it stays with that.
    fn stay(&self, group: &[&UnitRemoval], done: &SweepChanges, stays: &mut HashSet<ImageId>) {
        let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
        let is_gone = |removal: &UnitRemoval| removal.all().all(|image| gone.contains(&image));
        for removal in group.iter().filter(|removal| !is_gone(removal)) {
            stays.extend(self.unit(removal).images());
        }
    }

    async fn delete(&self, done: &mut SweepChanges) {
        let mut stays = HashSet::new();
        for all in self.groups() {
            let group = self.unchanged(all.clone(), &stays, done).await;
            let first: Vec<ImageId> =
                group.iter().flat_map(|removal| &removal.images).copied().collect();
            self.delete_all(&first, done).await;
            let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
            // A signature is worth something as long as what it signs is there.
            let (gone, partly): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) = group
                .into_iter()
                .partition(|removal| removal.images.iter().all(|image| gone.contains(image)));
            done.left += partly.iter().map(|removal| removal.referrers.len()).sum::<usize>();
            let after: Vec<ImageId> =
                gone.iter().flat_map(|removal| &removal.referrers).copied().collect();
            self.delete_all(&after, done).await;
            self.stay(&all, done, &mut stays);
        }
    }

    async fn delete_all(&self, images: &[ImageId], done: &mut SweepChanges) {
        for batch in images.chunks(BATCH) {
            if !self.goes_on() {
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
                    let why = self.failed(&error);
                    done.failed.extend(batch.iter().map(|image| (*image, why.clone())));
                    if is_unsure(&error) {
                        done.unsure.extend(batch);
                    }
                }
            }
        }
    }

    async fn archive(&self, done: &mut SweepChanges) {
        let mut stays = HashSet::new();
        for all in self.groups() {
            let group = self.unchanged(all.clone(), &stays, done).await;
            let units = group.into_iter().map(|removal| self.archive_unit(removal));
            let units: Vec<SweepChanges> =
                stream::iter(units).buffered(CONCURRENT_CALLS).collect().await;
            for unit in units {
                done.removed.extend(unit.removed);
                done.failed.extend(unit.failed);
                done.unsure.extend(unit.unsure);
                done.left += unit.left;
            }
            self.stay(&all, done, &mut stays);
        }
    }

    async fn archive_unit(&self, removal: &UnitRemoval) -> SweepChanges {
        let mut done = SweepChanges::default();
        let Some((root, parts)) = removal.images.split_first() else { return done };
        let mut refused = Vec::new();
        for image in removal.referrers.iter().rev().chain(parts.iter().rev()) {
            self.archive_one(*image, &mut done, Some(&mut refused)).await;
        }
        self.archive_one(*root, &mut done, None).await;
        // As ECR's own rules do it: the parts of an index after it. Whatever time it is: without
        // them it could not be restored.
        let went = done.removed.contains(root);
        for image in refused {
            if went {
                self.archive_now(image, &mut done, None).await;
            } else {
                done.left += 1;
            }
        }
        done
    }

    /// Archives one image, unless something of its unit failed before. What ECR refuses is put
    /// into `refused`, where there is another try.
    async fn archive_one(
        &self,
        image: ImageId,
        done: &mut SweepChanges,
        refused: Option<&mut Vec<ImageId>>,
    ) {
        if done.failed.is_empty() && self.goes_on() {
            self.archive_now(image, done, refused).await;
        } else {
            done.left += 1;
        }
    }

    async fn archive_now(
        &self,
        image: ImageId,
        done: &mut SweepChanges,
        refused: Option<&mut Vec<ImageId>>,
    ) {
        match (self.try_to_archive(image).await, refused) {
            (Ok(true), _) => done.removed.push(image),
            (Ok(false), Some(refused)) => refused.push(image),
            (Ok(false), None) => done.failed.push((image, "ECR refuses to archive it".to_owned())),
            (Err(error), _) => {
                done.failed.push((image, self.failed(&error)));
                if is_unsure(&error) {
                    done.unsure.push(image);
                }
            }
        }
    }

    /// Why a call failed. Where that is no matter of the image the next call would fail too, or
    /// make it worse.
    fn failed(&self, error: &anyhow::Error) -> String {
        let is_of_image = error.downcast_ref::<ServiceError>().is_some_and(|it| {
            !["Throttl", "TooMany", "LimitExceeded", "AccessDenied", "Unrecognized", "Expired"]
                .iter()
                .any(|word| it.code.contains(word))
        });
        if !is_of_image {
            self.is_over.store(true, Ordering::Relaxed);
        }
        format!("{error:#}")
    }

    /// Whether the image is in the archive, or gone; false where ECR refuses to put it there.
    async fn try_to_archive(&self, image: ImageId) -> anyhow::Result<bool> {
        let digest = self.digest(image);
        let Err(error) = self.registry.archive(self.repository, digest).await else {
            return Ok(true);
        };
        let is_refused = error
            .downcast_ref::<ServiceError>()
            .is_some_and(|it| it.code == "ImageStorageClassUpdateNotSupportedException");
        if !is_refused {
            return Err(error);
        }
        // It may have been there before: ECR takes what refers to an image along.
        let found = self.registry.image(self.repository, digest).await?;
        Ok(found.is_none_or(|found| found.image.status == ImageStatus::Archived))
    }

    /// Takes quarantine tags away, each after a look at what stays: ECR deletes an image with
    /// its last tag. And only where no tag can be moved, whatever the policy says.
    async fn untag(&self, done: &mut SweepChanges) {
        if self.plan.untags.is_empty() {
            return;
        }
        let is_safe = self.registry.is_immutable(self.repository).await;
        if !is_safe.inspect_err(|error| warn!("{error:#}")).is_ok_and(|is_safe| is_safe) {
            done.left += self.plan.untags.len();
            return;
        }
        for (image, tag) in &self.plan.untags {
            if !self.goes_on() {
                done.left += 1;
                continue;
            }
            match self.untag_one(self.digest(*image), tag).await {
                Ok(true) => done.untagged.push((*image, tag.clone())),
                Ok(false) => {}
                Err(error) => {
                    done.still_tagged.push((*image, tag.clone(), self.failed(&error)));
                }
            }
        }
    }

    /// Removes a quarantine tag while this sweep alone may remove tags of the image. Where
    /// enforcement is at work on the image, the tag is left for the next run.
    async fn untag_one(&self, digest: &Digest, tag: &Tag) -> anyhow::Result<bool> {
        let Claimant { ledger, request_id, .. } = self.claimant;
        let now = self.claimant.now();
        if !ledger.claim_for_untagging(self.repository, digest, request_id, now).await? {
            return Ok(false);
        }
        let removed = self.untag_claimed(digest, tag).await;
        // The claim ends by itself too.
        let released = ledger.release_untagging(self.repository, digest, request_id).await;
        released.unwrap_or_else(|error| warn!("{error:#}"));
        removed
    }

    async fn untag_claimed(&self, digest: &Digest, tag: &Tag) -> anyhow::Result<bool> {
        let Some(found) = self.registry.image(self.repository, digest).await? else {
            return Ok(false);
        };
        let tags = &found.image.tags;
        let is_accepted = |other: &Tag| is_accepted_tag(self.plan.policy, other);
        if !tags.contains(tag) || !tags.iter().any(is_accepted) {
            return Ok(false);
        }
        if let Some(other) = self.registry.untag(self.repository, digest, tag).await? {
            // At once: what follows may be cut off.
            error!(repository.name = %self.repository, image.digest = %other, "{tag}: it was another image's");
            anyhow::bail!("it was {other} that lost the tag, which somebody had moved");
        }
        Ok(true)
    }
}

/// Whether what a call was for may have happened although it failed.
fn is_unsure(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ServiceError>().is_none_or(|it| {
        ["Server", "Internal", "Unavailable"].iter().any(|word| it.code.contains(word))
    })
}
