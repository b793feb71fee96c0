//! Carrying out a plan: the only place that changes a repository.
//!
//! Where ECR decides the order, an index goes before its images, and what refers to something
//! goes after it, once that is gone. In the archive it is the other way round, and the image
//! that everything belongs to goes last: a run that is cut off before finds it where it was,
//! and goes on. A call that fails with all its retries ends it: what is throttled is not to be
//! asked for more.

use std::sync::atomic::{AtomicBool, Ordering};

use aws::ServiceError;
use futures::{StreamExt as _, stream};
use governance::image::{Digest, ImageStatus, RepositoryName, Tag};
use governance::policy::CleanupEnforcement;
use governance::quarantine::Quarantine;
use governance::retention::{Plan, Removal};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::registry::{AT_ONCE, Registry};

/// The most images of a call that deletes.
const BATCH: usize = 100;

/// What came of a plan. Images are named by their place in the inventory.
#[derive(Debug, Default)]
pub struct Done {
    /// What went.
    pub removed: Vec<usize>,
    /// The quarantine tags that went.
    pub untagged: Vec<(usize, Tag)>,
    /// What did not go, and why; where an answer was lost it may have.
    pub failed: Vec<(usize, String)>,
    /// The quarantine tags that did not go, and why.
    pub still_tagged: Vec<(usize, Tag, String)>,
    /// How many were not tried.
    pub left: usize,
}

/// Carries a plan out until that moment.
pub async fn carry_out(registry: &Registry, plan: &Plan<'_>, until: Instant) -> Done {
    let act = Act {
        registry,
        plan,
        repository: &plan.policy.repository_name,
        until,
        is_over: AtomicBool::new(false),
    };
    let mut done = match plan.policy.governance.retention.enforcement {
        CleanupEnforcement::Report => return Done::default(),
        CleanupEnforcement::Archive => act.archive().await,
        CleanupEnforcement::Delete => act.delete().await,
    };
    act.untag(&mut done).await;
    for (nth, why) in &done.failed {
        if let Some(image) = plan.image(*nth) {
            let repository = act.repository;
            warn!(repository.name = %repository, image.digest = %image.digest, "{repository}@{}: not removed: {why}", image.digest);
        }
    }
    done
}

struct Act<'a> {
    registry: &'a Registry,
    plan: &'a Plan<'a>,
    repository: &'a RepositoryName,
    until: Instant,
    /// Whether a call failed that the next one would fail like.
    is_over: AtomicBool,
}

impl Act<'_> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed) && Instant::now() < self.until
    }

    fn digest(&self, nth: usize) -> Option<&Digest> {
        self.plan.image(nth).map(|image| &image.digest)
    }

    async fn delete(&self) -> Done {
        let mut done = Done::default();
        let first: Vec<usize> =
            self.plan.removals.iter().flat_map(|it| &it.images).copied().collect();
        self.delete_all(&first, &mut done).await;
        let is_gone =
            |removal: &&Removal| removal.images.iter().all(|it| done.removed.contains(it));
        // A signature is worth something as long as what it signs is there.
        let gone: Vec<&Removal> = self.plan.removals.iter().filter(is_gone).collect();
        let after: Vec<usize> = gone.iter().flat_map(|it| &it.referrers).copied().collect();
        let all: usize = self.plan.removals.iter().map(|it| it.referrers.len()).sum();
        done.left += all - after.len();
        self.delete_all(&after, &mut done).await;
        done
    }

    async fn delete_all(&self, images: &[usize], done: &mut Done) {
        for batch in images.chunks(BATCH) {
            if !self.goes_on() {
                done.left += batch.len();
                continue;
            }
            let digests: Vec<&Digest> = batch.iter().filter_map(|nth| self.digest(*nth)).collect();
            match self.registry.delete(self.repository, &digests).await {
                Ok(failures) => {
                    for nth in batch {
                        let failure = failures.iter().find(|(of, _)| Some(of) == self.digest(*nth));
                        match failure {
                            Some((_, why)) => done.failed.push((*nth, why.clone())),
                            None => done.removed.push(*nth),
                        }
                    }
                }
                Err(error) => {
                    self.is_over.store(true, Ordering::Relaxed);
                    let why = format!("{error:#}");
                    done.failed.extend(batch.iter().map(|nth| (*nth, why.clone())));
                }
            }
        }
    }

    async fn archive(&self) -> Done {
        let units = self.plan.removals.iter().map(|removal| self.archive_unit(removal));
        let mut done = Done::default();
        let mut units = stream::iter(units).buffer_unordered(AT_ONCE);
        while let Some(of_it) = units.next().await {
            done.removed.extend(of_it.removed);
            done.failed.extend(of_it.failed);
            done.left += of_it.left;
        }
        // In the order of the plan, whichever call was faster.
        done.removed.sort_unstable();
        done.failed.sort_unstable();
        done
    }

    async fn archive_unit(&self, removal: &Removal) -> Done {
        let mut done = Done::default();
        let mut refused = Vec::new();
        let Some((root, parts)) = removal.images.split_first() else { return done };
        let before = removal.referrers.iter().rev().chain(parts.iter().rev());
        for nth in before.chain([root]).copied() {
            let is_root = nth == *root;
            if !done.failed.is_empty() || !self.goes_on() {
                done.left += 1;
                continue;
            }
            match self.archive_one(nth).await {
                Ok(true) => done.removed.push(nth),
                // As ECR's own rules do it: the parts of an index after it.
                Ok(false) if !is_root => refused.push(nth),
                Ok(false) => done.failed.push((nth, REFUSED.to_owned())),
                Err(why) => done.failed.push((nth, why)),
            }
        }
        for nth in refused {
            match self.archive_one(nth).await {
                _ if !done.removed.contains(root) => done.left += 1,
                Ok(true) => done.removed.push(nth),
                Ok(false) => done.failed.push((nth, REFUSED.to_owned())),
                Err(why) => done.failed.push((nth, why)),
            }
        }
        done
    }

    /// Whether the image is in the archive, or gone; false where ECR refuses to put it there.
    async fn archive_one(&self, nth: usize) -> Result<bool, String> {
        let Some(digest) = self.digest(nth) else { return Ok(true) };
        let Err(error) = self.registry.archive(self.repository, digest).await else {
            return Ok(true);
        };
        let is_refused = error
            .downcast_ref::<ServiceError>()
            .is_some_and(|it| it.code == "ImageStorageClassUpdateNotSupportedException");
        if !is_refused {
            self.is_over.store(true, Ordering::Relaxed);
            return Err(format!("{error:#}"));
        }
        // It may have been there before: ECR takes what refers to an image along.
        match self.registry.image(self.repository, digest).await {
            Ok(found) => Ok(found.is_none_or(|image| image.status == ImageStatus::Archived)),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Takes quarantine tags away, each after a look at what stays: ECR deletes an image with
    /// its last tag.
    async fn untag(&self, done: &mut Done) {
        for (nth, tag) in &self.plan.untags {
            if !self.goes_on() {
                done.left += 1;
                continue;
            }
            let Some(digest) = self.digest(*nth) else { continue };
            match self.untag_one(digest, tag).await {
                Ok(true) => done.untagged.push((*nth, tag.clone())),
                Ok(false) => {}
                Err(error) => done.still_tagged.push((*nth, tag.clone(), format!("{error:#}"))),
            }
        }
    }

    async fn untag_one(&self, digest: &Digest, tag: &Tag) -> anyhow::Result<bool> {
        let policy = self.plan.policy;
        let Some(image) = self.registry.image(self.repository, digest).await? else {
            return Ok(false);
        };
        let conforms = |other: &Tag| {
            let grammar = &policy.governance.tags.grammar;
            Quarantine::read(other).is_none()
                && grammar.conforming(self.repository, other).is_some()
        };
        if !image.tags.contains(tag) || !image.tags.iter().any(conforms) {
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

const REFUSED: &str = "ECR refuses to archive it";
