//! The oracle of the simulated year: it records pushes, tags, pulls and workloads, and decides whether an
//! image that went had to stay. It calls no decision of ECR Warden.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use local_aws::ecr::Images;

use super::rates::PROMISED;
use super::{DAY, Seconds};

/// The time for which a pull protects an image: `ProtectPulledWithinDays` of the policy of the year, less one
/// day, because ECR records a pull at most once a day.
const AFTER_PULL: Seconds = 29 * DAY;
/// The time for which a new tag, and the loss of the last tag, protect an image: `MinimumAgeDays` and
/// `UntaggedDays` of the policy.
const AFTER_TAG: Seconds = 7 * DAY;
const AFTER_LOSS: Seconds = 7 * DAY;
/// The age at which the tag of a pull request expires: `Expire` of the policy.
const EXPIRES_AFTER: Seconds = 14 * DAY;

/// The reason of the push of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A build of the main branch.
    Build,
    /// A build that later became a version.
    PromotedBuild,
    /// A build of another branch.
    BranchBuild,
    /// A build of a pull request.
    PullRequest,
    /// A version that was built or copied for its release, or a release candidate.
    Release,
    /// A version of an older line.
    Backport,
    /// A release of the past of an upstream project.
    Import,
    /// An image of an index.
    Platform,
    /// A signature.
    Signature,
    /// A bill of materials.
    BillOfMaterials,
    /// A build cache.
    Cache,
    /// An image whose only tag violates the grammar.
    Violation,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Build => "build",
            Self::PromotedBuild => "promoted build",
            Self::BranchBuild => "branch build",
            Self::PullRequest => "pull request",
            Self::Release => "release",
            Self::Backport => "backport",
            Self::Import => "import",
            Self::Platform => "platform of an index",
            Self::Signature => "signature",
            Self::BillOfMaterials => "bill of materials",
            Self::Cache => "build cache",
            Self::Violation => "violating tag",
        })
    }
}

/// The use of a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum TagUse {
    /// A version of a kind. The second field orders the versions, if their tags have an order.
    Version(String, Option<[u64; 4]>),
    /// A name that moves from version to version.
    Channel,
    /// A tag that matches an entry of `Expire`.
    Expiring,
    /// The name of a signature or of a build cache.
    Other,
    /// A tag that violates the grammar.
    Violation,
}

/// The state of an image that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The image is in the archive, or is being restored.
    Archived,
    /// The image is deleted.
    Deleted,
}

/// An image that went although it had to stay, or that lost a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongRemoval {
    /// The time of the check.
    pub at: Seconds,
    /// The repository.
    pub repository: String,
    /// The tags that the image had, or its digest.
    pub image: String,
    /// Why the image was pushed.
    pub kind: Kind,
    /// Why the image had to stay.
    pub reason: String,
}

/// The numbers of images of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The images at the deployment.
    pub before: usize,
    /// The images that were pushed later.
    pub pushed: usize,
    /// The images in the archive at the end.
    pub archived: usize,
    /// The deleted images, also those that ECR deleted from the archive.
    pub deleted: usize,
    /// The active images at the end.
    pub kept: usize,
}

/// A pushed image.
#[derive(Debug)]
struct PushedImage {
    kind: Kind,
    pushed_at: Seconds,
    parts: Vec<String>,
    /// The image that this image signs or describes.
    subject: Option<String>,
    pulled_at: Option<Seconds>,
    /// The number of workloads that run the image.
    workloads: usize,
    tags: BTreeSet<String>,
    /// The time since which the image has no tag, if it has none.
    untagged_since: Seconds,
    gone: Option<Gone>,
}

#[derive(Debug)]
struct TagRecord {
    digest: String,
    since: Seconds,
    tag_use: TagUse,
}

#[derive(Debug, Default)]
struct Repository {
    images: BTreeMap<String, PushedImage>,
    tags: BTreeMap<String, TagRecord>,
}

/// The record of everything that was pushed and run.
#[derive(Debug, Default)]
pub struct Oracle {
    repositories: BTreeMap<String, Repository>,
    /// The time of the deployment.
    deployed_at: Option<Seconds>,
    /// The images that went although they had to stay.
    pub wrong: Vec<WrongRemoval>,
}

impl Oracle {
    /// The names of the repositories that have images.
    #[must_use]
    pub fn repositories(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    /// Records a pushed image, with the images of an index and the subject of a signature.
    pub fn record_push(
        &mut self,
        repository: &str,
        digest: &str,
        kind: Kind,
        (parts, subject): (&[String], Option<&str>),
        now: Seconds,
    ) {
        let image = PushedImage {
            kind,
            pushed_at: now,
            parts: parts.to_vec(),
            subject: subject.map(str::to_owned),
            pulled_at: None,
            workloads: 0,
            tags: BTreeSet::new(),
            untagged_since: now,
            gone: None,
        };
        let images = &mut self.repositories.entry(repository.to_owned()).or_default().images;
        images.insert(digest.to_owned(), image);
    }

    /// Records that a tag points at an image from now on.
    pub fn record_tag(
        &mut self,
        repository: &str,
        tag: &str,
        digest: &str,
        tag_use: TagUse,
        now: Seconds,
    ) {
        let Some(repository) = self.repositories.get_mut(repository) else { return };
        let record = TagRecord { digest: digest.to_owned(), since: now, tag_use };
        let before = repository.tags.insert(tag.to_owned(), record);
        if let Some(image) = before.and_then(|before| repository.images.get_mut(&before.digest)) {
            image.tags.remove(tag);
            image.untagged_since = now;
        }
        if let Some(image) = repository.images.get_mut(digest) {
            image.tags.insert(tag.to_owned());
        }
    }

    /// Records that a build became a version.
    pub fn record_promotion(&mut self, repository: &str, digest: &str) {
        if let Some(image) = self.image(repository, digest) {
            image.kind = Kind::PromotedBuild;
        }
    }

    /// Records a pull.
    pub fn record_pull(&mut self, repository: &str, digest: &str, now: Seconds) {
        if let Some(image) = self.image(repository, digest) {
            image.pulled_at = Some(now);
        }
    }

    /// Records that a workload runs an image.
    pub fn record_start(&mut self, repository: &str, digest: &str) {
        if let Some(image) = self.image(repository, digest) {
            image.workloads += 1;
        }
    }

    /// Records that a workload runs an image no more.
    pub fn record_end(&mut self, repository: &str, digest: &str) {
        if let Some(image) = self.image(repository, digest) {
            image.workloads -= 1;
        }
    }

    /// Records the deployment. Each tag is as old as its image, because nobody recorded the tags before.
    pub fn record_deployment(&mut self, now: Seconds) {
        self.deployed_at = Some(now);
        for repository in self.repositories.values_mut() {
            for tag in repository.tags.values_mut() {
                if let Some(image) = repository.images.get(&tag.digest) {
                    tag.since = image.pushed_at;
                }
            }
            for image in repository.images.values_mut() {
                image.untagged_since = image.pushed_at;
            }
        }
    }

    fn image(&mut self, repository: &str, digest: &str) -> Option<&mut PushedImage> {
        self.repositories.get_mut(repository)?.images.get_mut(digest)
    }

    /// Compares a repository with the images that ECR has. Records each image that went although it had to
    /// stay, and each lost tag.
    pub fn check(&mut self, name: &str, images: &Images, now: Seconds) {
        let Some(repository) = self.repositories.get_mut(name) else { return };
        let state = |digest: &str| match images.get(digest) {
            None => Some(Gone::Deleted),
            Some(image) if image.status.name() == "ACTIVE" => None,
            Some(_) => Some(Gone::Archived),
        };
        let went: Vec<(String, Gone)> = repository
            .images
            .iter()
            .filter(|(_, image)| image.gone.is_none())
            .filter_map(|(digest, _)| Some((digest.clone(), state(digest)?)))
            .collect();
        // The versions of a kind are counted as they were before the images went.
        let reasons: Vec<Option<String>> =
            went.iter().map(|(digest, _)| repository.reason_to_stay(digest, now)).collect();
        for (digest, state) in &went {
            if let Some(image) = repository.images.get_mut(digest) {
                image.gone = Some(*state);
            }
        }
        let mut wrong = Vec::new();
        for ((digest, _), reason) in went.iter().zip(reasons) {
            let reason = reason.or_else(|| repository.unit_to_stay_with(digest));
            wrong.extend(reason.map(|reason| repository.wrong(name, digest, reason, now)));
        }
        for (tag, digest) in repository.lost_tags(images) {
            let reason = format!("the tag {tag} was removed");
            wrong.push(repository.wrong(name, &digest, reason, now));
            repository.tags.remove(&tag);
        }
        self.wrong.extend(wrong);
    }

    /// Counts the images that are there and that only a workload, a pull or a channel keeps.
    #[must_use]
    pub fn count_kept_by_use(&self, now: Seconds) -> usize {
        let count = |repository: &Repository| {
            let is_kept_by_use = |image: &&PushedImage| {
                image.gone.is_none()
                    && repository.use_of(image, now).is_some()
                    && repository.tag_to_keep(image, now).is_none()
            };
            repository.images.values().filter(is_kept_by_use).count()
        };
        self.repositories.values().map(count).sum()
    }

    /// Counts the images of each kind, by what ECR has in the end. `images` gives the images of a repository.
    pub fn count(&self, images: impl Fn(&str) -> Images) -> BTreeMap<Kind, Figures> {
        let mut kinds: BTreeMap<Kind, Figures> = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let images = images(name);
            for (digest, image) in &repository.images {
                let figures = kinds.entry(image.kind).or_default();
                let is_older = self.deployed_at.is_some_and(|at| image.pushed_at < at);
                let pushed = if is_older { &mut figures.before } else { &mut figures.pushed };
                *pushed += 1;
                *match images.get(digest) {
                    None => &mut figures.deleted,
                    Some(found) if found.status.name() == "ACTIVE" => &mut figures.kept,
                    Some(_) => &mut figures.archived,
                } += 1;
            }
        }
        kinds
    }
}

impl Repository {
    /// The reason for which an image must not go now.
    fn reason_to_stay(&self, digest: &str, now: Seconds) -> Option<String> {
        let image = self.images.get(digest)?;
        self.use_of(image, now).or_else(|| self.tag_to_keep(image, now))
    }

    /// Says that a workload runs an image, that somebody pulled it, or that a channel points at it.
    fn use_of(&self, image: &PushedImage, now: Seconds) -> Option<String> {
        if image.workloads > 0 {
            return Some(format!("{} workloads run it", image.workloads));
        }
        if let Some(pulled_at) = image.pulled_at.filter(|at| now - at < AFTER_PULL) {
            return Some(format!("it was pulled {} days ago", (now - pulled_at) / DAY));
        }
        let is_channel =
            |tag: &&String| self.tags.get(*tag).is_some_and(|tag| tag.tag_use == TagUse::Channel);
        let channel = image.tags.iter().find(is_channel)?;
        Some(format!("the channel {channel} points at it"))
    }

    /// Says that a tag of an image is young or among the versions to keep, or that the image had a tag until a
    /// short time ago.
    fn tag_to_keep(&self, image: &PushedImage, now: Seconds) -> Option<String> {
        let days = |since: Seconds| (now - since) / DAY;
        if image.kind == Kind::Violation {
            return None;
        }
        if image.tags.is_empty() {
            // The parts and the referrers of an image go with it.
            let is_alone = image.subject.is_none() && image.kind != Kind::Platform;
            return (is_alone && now - image.untagged_since < AFTER_LOSS)
                .then(|| format!("it lost its last tag {} days ago", days(image.untagged_since)));
        }
        image.tags.iter().find_map(|tag| {
            let record = self.tags.get(tag)?;
            match &record.tag_use {
                TagUse::Version(..) if now - record.since < AFTER_TAG => {
                    Some(format!("it got the tag {tag} {} days ago", days(record.since)))
                }
                TagUse::Version(kind, version) => self.rank(record, kind, *version),
                TagUse::Expiring if now - record.since < EXPIRES_AFTER => Some(format!(
                    "its tag {tag} is {} days old and expires later",
                    days(record.since)
                )),
                TagUse::Channel | TagUse::Expiring | TagUse::Other | TagUse::Violation => None,
            }
        })
    }

    /// Says that a tag is one of the highest or of the newest of its kind.
    fn rank(&self, record: &TagRecord, kind: &str, version: Option<[u64; 4]>) -> Option<String> {
        let (mut higher, mut newer) = (BTreeSet::new(), BTreeSet::new());
        for other in self.tags.values() {
            let TagUse::Version(other_kind, other_version) = &other.tag_use else { continue };
            let is_there = self.images.get(&other.digest).is_some_and(|image| image.gone.is_none());
            if other_kind != kind || !is_there {
                continue;
            }
            if *other_version > version {
                higher.insert(&other.digest);
            }
            if other.since > record.since {
                newer.insert(&other.digest);
            }
        }
        let promised = usize::try_from(PROMISED.least).unwrap_or_default();
        let place = |found: &BTreeSet<&String>| found.len() + 1;
        if newer.len() < promised {
            return Some(format!("it is number {} of the newest of {kind}", place(&newer)));
        }
        (version.is_some() && higher.len() < promised)
            .then(|| format!("it is number {} of the highest of {kind}", place(&higher)))
    }

    /// Says that an index or a subject of an image did not go.
    fn unit_to_stay_with(&self, digest: &str) -> Option<String> {
        let image = self.images.get(digest)?;
        let is_there =
            |digest: &str| self.images.get(digest).is_some_and(|image| image.gone.is_none());
        if let Some(subject) = image.subject.as_deref().filter(|subject| is_there(subject)) {
            return Some(format!("it refers to {subject}, which is there"));
        }
        let mut indexes = self.images.iter().filter(|(index, _)| is_there(index));
        let index = indexes.find(|(_, index)| index.parts.iter().any(|part| part == digest));
        index.map(|(index, _)| format!("it is a part of {index}, which is there"))
    }

    /// The conforming tags that images lost, each with the digest of its image.
    fn lost_tags(&self, images: &Images) -> Vec<(String, String)> {
        let mut lost = Vec::new();
        for (tag, record) in &self.tags {
            let is_gone = self.images.get(&record.digest).is_none_or(|image| image.gone.is_some());
            if is_gone || record.tag_use == TagUse::Violation {
                continue;
            }
            if images.tagged(tag).is_none_or(|image| image.digest != record.digest) {
                lost.push((tag.clone(), record.digest.clone()));
            }
        }
        lost
    }

    fn wrong(&self, name: &str, digest: &str, reason: String, now: Seconds) -> WrongRemoval {
        let image = self.images.get(digest);
        let tags: Vec<&str> =
            image.into_iter().flat_map(|image| &image.tags).map(String::as_str).collect();
        WrongRemoval {
            at: now,
            repository: name.to_owned(),
            image: if tags.is_empty() { digest.to_owned() } else { tags.join(" ") },
            kind: image.map_or(Kind::Violation, |image| image.kind),
            reason,
        }
    }
}
