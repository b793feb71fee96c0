//! Finds the version that a scanned image belongs to: the image itself, or the index that the image
//! is a part of.

use chrono::{DateTime, Utc};
use warden_alerts::About;
use warden_aws::ledger::{IndexMembership, IndexRecords, ScansAlone};
use warden_core::artifact::ArtifactKind;
use warden_core::findings::{ReleaseLine, find_release_line};
use warden_core::image::{Digest, Tag};

use super::Invocation;
use super::alone::EarlyScans;

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
    /// The scans of images of an index before the push of the index. Its history has to take them over.
    pub early_scans: EarlyScans,
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

    /// Finds the version that the scanned image belongs to. None if the image is gone, or waits for its
    /// index. `last_tag` is the tag of the image in earlier events.
    pub async fn find_version(&self, last_tag: Option<&Tag>) -> anyhow::Result<Option<Version>> {
        let About { repository, digest, .. } = &self.scan.about;
        let own = |tags: Vec<Tag>, pushed| {
            let (tag, line) = self.tag_and_line(&tags);
            let (digest, part) = (digest.clone(), ArtifactKind::Unknown);
            Version { digest, tags, tag, line, pushed, images: 1, part, early_scans: Vec::new() }
        };
        let tagged = (!self.scan.tags.is_empty()).then(|| own(self.scan.tags.clone(), None));
        // An image with a release line is a version of its own, also if an index contains it. An index never
        // contains a signature.
        let is_own = |version: &Version| {
            version.line.is_some() || version.tags.iter().all(|tag| tag.subject().is_some())
        };
        if tagged.as_ref().is_some_and(is_own) {
            return Ok(tagged);
        }
        let ledger = &self.publisher.context.ledger;
        let IndexRecords { membership, alone } =
            ledger.index_records(repository, digest, self.time()).await?;
        if let Some(membership) = membership {
            return self.version_of_index(membership, alone).await.map(Some);
        }
        if tagged.is_some() {
            return Ok(tagged);
        }
        let registry = &self.publisher.context.registry;
        let Some(found) = registry.image(repository, digest).await? else {
            self.skip_unknown_image()?;
            return Ok(None);
        };
        if !found.image.tags.is_empty() {
            return Ok(Some(own(found.image.tags, found.pushed_at)));
        }
        // An image that had a tag does not wait for an index, and no index contains a signature.
        if last_tag.is_none() && found.kind.may_be_image() && self.may_get_index(found.pushed_at) {
            self.wait_for_index(alone.as_ref()).await?;
            return Ok(None);
        }
        let mut version = own(Vec::new(), found.pushed_at);
        // The image has lost its tag. The last tag still names the release line.
        let last_tag: Vec<Tag> = last_tag.cloned().into_iter().collect();
        version.line = self.tag_and_line(&last_tag).1;
        Ok(Some(version))
    }

    /// The index that the scanned image is a part of, as a version.
    async fn version_of_index(
        &self,
        membership: IndexMembership,
        alone: Option<ScansAlone>,
    ) -> anyhow::Result<Version> {
        let repository = &self.scan.about.repository;
        let part = membership.kind;
        let early_scans = if part.may_be_image() {
            self.read_early_scans(&membership, alone).await?
        } else {
            Vec::new()
        };
        let IndexMembership { index, tag, pushed, images, .. } = membership;
        let tags: Vec<Tag> = tag.into_iter().collect();
        let (tag, line) = self.tag_and_line(&tags);
        let pushed = Some(pushed);
        let mut version =
            Version { digest: index, tags, tag, line, pushed, images, part, early_scans };
        // The index may have been pushed with several tags, or may have got another tag since.
        let registry = &self.publisher.context.registry;
        if version.line.is_none()
            && part.may_be_image()
            && let Some(found) = registry.image(repository, &version.digest).await?
        {
            (version.tag, version.line) = self.tag_and_line(&found.image.tags);
            version.tags = found.image.tags;
        }
        Ok(version)
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
