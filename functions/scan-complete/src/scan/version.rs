//! Finds the version that a scanned image belongs to: the image itself, or the index that the image
//! is a part of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use warden_alerts::About;
use warden_aws::ledger::IndexMembership;
use warden_core::artifact::ArtifactKind;
use warden_core::findings::{ReleaseLine, find_release_line};
use warden_core::image::{Digest, Tag};

use super::Invocation;

/// The pauses before the ledger is asked again which index a new image belongs to. Clients push an
/// index after its images, and `image-push` records the index when its event arrives.
const INDEX_PAUSES: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(8)];
/// An image counts as new for this long after its push.
const NEW: Duration = Duration::from_secs(120);

/// The version that a scanned image belongs to: an image or an index.
pub struct Version {
    pub digest: Digest,
    pub tags: Vec<Tag>,
    /// The tag for people: the tag that names the release line, or the first tag.
    pub tag: Option<Tag>,
    pub line: Option<ReleaseLine>,
    /// The time of its push. None if the time was not read yet.
    pub pushed: Option<DateTime<Utc>>,
    /// The number of its images.
    pub images: usize,
    /// The kind of the scanned part of an index. Unknown for an image that is in no index.
    pub part: ArtifactKind,
}

impl Invocation<'_> {
    /// The tag for people and the release line of an image: the tag that names the line, or the first
    /// tag.
    pub fn tag_and_line(&self, tags: &[Tag]) -> (Option<Tag>, Option<ReleaseLine>) {
        let repository = &self.scan.about.repository;
        let grammar = self.policy.grammar();
        match grammar.and_then(|grammar| find_release_line(repository, grammar, tags)) {
            Some((tag, line)) => (Some(tag.clone()), Some(line)),
            None => (tags.first().cloned(), None),
        }
    }

    /// Finds the version that the scanned image belongs to. None if the image is gone. `last_tag` is
    /// the tag of the image in earlier events.
    pub async fn find_version(&self, last_tag: Option<&Tag>) -> anyhow::Result<Option<Version>> {
        let About { repository, digest, .. } = &self.scan.about;
        let own = |tags: Vec<Tag>, pushed| {
            let (tag, line) = self.tag_and_line(&tags);
            let (digest, part, images) = (digest.clone(), ArtifactKind::Unknown, 1);
            Version { digest, tags, tag, line, pushed, images, part }
        };
        if !self.scan.tags.is_empty() {
            return Ok(Some(own(self.scan.tags.clone(), None)));
        }
        let registry = &self.publisher.context.registry;
        let mut membership =
            self.publisher.context.ledger.index_membership(repository, digest).await?;
        if membership.is_none() {
            let Some(found) = registry.image(repository, digest).await? else {
                self.skip_unknown_image()?;
                return Ok(None);
            };
            let mut pauses = INDEX_PAUSES.iter();
            let is_new = found.pushed_at.is_some_and(|at| at + NEW > self.publisher.now);
            while membership.is_none()
                && found.image.tags.is_empty()
                && is_new
                && let Some(pause) = pauses.next()
            {
                sleep(*pause).await;
                membership =
                    self.publisher.context.ledger.index_membership(repository, digest).await?;
            }
            if membership.is_none() {
                let mut version = own(found.image.tags, found.pushed_at);
                if version.tags.is_empty() {
                    // The image has lost its tag. The last tag still names the release line.
                    let last_tag: Vec<Tag> = last_tag.cloned().into_iter().collect();
                    version.line = self.tag_and_line(&last_tag).1;
                }
                return Ok(Some(version));
            }
        }
        let Some(IndexMembership { index, tag, pushed, images, kind: part }) = membership else {
            return Ok(None);
        };
        let tags: Vec<Tag> = tag.into_iter().collect();
        let (tag, line) = self.tag_and_line(&tags);
        let pushed = Some(pushed);
        let mut version = Version { digest: index, tags, tag, line, pushed, images, part };
        // The index may have been pushed with several tags, or may have got another tag since.
        if version.line.is_none()
            && part.may_be_image()
            && let Some(found) = registry.image(repository, &version.digest).await?
        {
            (version.tag, version.line) = self.tag_and_line(&found.image.tags);
            version.tags = found.image.tags;
        }
        Ok(Some(version))
    }

    /// Reads the time of the push of a version. None if the version is gone.
    pub async fn read_push_time(&self, version: &Version) -> anyhow::Result<Option<DateTime<Utc>>> {
        if version.pushed.is_some() {
            return Ok(version.pushed);
        }
        let repository = &self.scan.about.repository;
        let image = self.publisher.context.registry.image(repository, &version.digest).await?;
        if image.is_none() {
            self.skip_unknown_image()?;
        }
        // A version without a time counts as older than every version with a time.
        Ok(image.map(|found| found.pushed_at.unwrap_or_default()))
    }
}
