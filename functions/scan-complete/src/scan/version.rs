//! What an image is a version of: itself, by its tags, or the index that it is a part of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use warden_alerts::About;
use warden_aws::ledger::IndexMembership;
use warden_core::graph::IndexChildKind;
use warden_core::image::{Component, Digest, Tag};

use super::Invocation;

/// How long is waited for what an image is part of, where it was pushed just now: an index comes
/// after its images, and is noted when it has come.
const INDEX_COMES: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(8)];
const JUST_NOW: Duration = Duration::from_secs(120);

/// What the image is a version of, or a part of a version of.
pub struct Version {
    pub digest: Digest,
    pub tags: Vec<Tag>,
    /// What people know it by: the tag that names its component, or the first.
    pub tag: Option<Tag>,
    pub component: Option<Component>,
    /// When it was pushed, as far as that has been asked.
    pub pushed: Option<DateTime<Utc>>,
    /// How many images it has.
    pub images: usize,
    /// What part of it was scanned.
    pub part: IndexChildKind,
}

impl Invocation<'_> {
    /// What people know an image by, and its component: by the first tag that names one.
    pub fn named(&self, tags: &[Tag]) -> (Option<Tag>, Option<Component>) {
        let grammar = &self.policy.governance.tags.grammar;
        let repository = &self.scan.about.repository;
        let mut conforming =
            tags.iter().filter_map(|tag| Some((tag, grammar.match_tag(repository, tag)?)));
        match conforming.next() {
            Some((tag, conforming)) => (Some(tag.clone()), Some(conforming.component)),
            None => (tags.first().cloned(), None),
        }
    }

    /// The version that the image is, or is a part of; none if the image is gone. `before` is
    /// what it was called when it was heard of last.
    pub async fn version(&self, before: Option<&Tag>) -> anyhow::Result<Option<Version>> {
        let About { repository, digest, .. } = &self.scan.about;
        let own = |tags: Vec<Tag>, pushed| {
            let (tag, component) = self.named(&tags);
            let (digest, part, images) = (digest.clone(), IndexChildKind::Image, 1);
            Version { digest, tags, tag, component, pushed, images, part }
        };
        if !self.scan.tags.is_empty() {
            return Ok(Some(own(self.scan.tags.clone(), None)));
        }
        let registry = &self.teller.context.registry;
        let mut note = self.teller.context.ledger.index_membership(repository, digest).await?;
        if note.is_none() {
            let Some(found) = registry.image(repository, digest).await? else {
                self.let_go()?;
                return Ok(None);
            };
            let mut waits = INDEX_COMES.iter();
            let is_new = found.pushed_at.is_some_and(|at| at + JUST_NOW > self.teller.now);
            while note.is_none()
                && found.image.tags.is_empty()
                && is_new
                && let Some(wait) = waits.next()
            {
                sleep(*wait).await;
                note = self.teller.context.ledger.index_membership(repository, digest).await?;
            }
            if note.is_none() {
                let mut version = own(found.image.tags, found.pushed_at);
                if version.tags.is_empty() {
                    // It has lost the tag by which it was known.
                    let before: Vec<Tag> = before.cloned().into_iter().collect();
                    version.component = self.named(&before).1;
                }
                return Ok(Some(version));
            }
        }
        let Some(IndexMembership { index, tag, pushed, images, part }) = note else {
            return Ok(None);
        };
        let tags: Vec<Tag> = tag.into_iter().collect();
        let (tag, component) = self.named(&tags);
        let pushed = Some(pushed);
        let mut version = Version { digest: index, tags, tag, component, pushed, images, part };
        // It may have been pushed under several tags, or got another since.
        if version.component.is_none()
            && part == IndexChildKind::Image
            && let Some(found) = registry.image(repository, &version.digest).await?
        {
            (version.tag, version.component) = self.named(&found.image.tags);
            version.tags = found.image.tags;
        }
        Ok(Some(version))
    }

    /// When a version was pushed; none if it is gone.
    pub async fn pushed(&self, version: &Version) -> anyhow::Result<Option<DateTime<Utc>>> {
        if version.pushed.is_some() {
            return Ok(version.pushed);
        }
        let repository = &self.scan.about.repository;
        let image = self.teller.context.registry.image(repository, &version.digest).await?;
        if image.is_none() {
            self.let_go()?;
        }
        // One that says no time was pushed before anything that does.
        Ok(image.map(|found| found.pushed_at.unwrap_or_default()))
    }
}
