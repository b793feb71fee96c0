//! The policy of a registry ([`PolicyDocument`], [`Governance`]), and the policy of one repository
//! that follows from it ([`Policy`]).

mod document;
mod governance;
mod provisioned;

use std::borrow::Cow;

use serde::Serialize;

pub use self::document::{
    DocumentVersion, Expiry, InvalidOwner, InvalidRuleName, MOST_DOCUMENT_BYTES, Owner,
    PolicyDocument, Retention, Rule, RuleName, Tags, Unmatched,
};
pub use self::governance::{Governance, InvalidPolicyVersion, PolicyVersion, RepositoryOrigin};
pub use self::provisioned::{Provisioned, ProvisionedRepository};
use crate::grammar::{Channel, Grammar, default_channels};
use crate::image::{RepositoryName, Tag, TagPrefix, Wildcard};
use crate::mutability::Mutability;
use crate::properties::{Invalid, Reader};
use crate::quarantine::Quarantine;

/// The most images to keep: ECR's quota of images in a repository.
const MOST_IMAGES: u32 = 100_000;
/// Ten years. A larger number of days is a mistake.
const MOST_DAYS: u32 = 3_650;

/// The policy of one repository: its rule, with the settings of a repository that the stack provisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The repository.
    pub repository_name: RepositoryName,
    /// The rule that decides.
    pub rule: RuleName,
    /// The owner of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The tag mutability that the stack sets. None if the stack does not provision the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutability: Option<Mutability>,
    /// Prefixes of tags. The images of each prefix are counted separately.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// Whether images are counted by component or in the whole repository.
    pub lifecycle_scope: LifecycleScope,
    /// The source that reports which images are in use.
    pub in_use: InUse,
    /// The rules for tags. None if no tag is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// The rules for the cleanup. None if nothing is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The rules for findings.
    pub scan: Scan,
}

/// The rules for findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scan {
    /// The lowest severity that counts and is alerted on.
    pub threshold: Severity,
}

keywords!(
    /// Whether a tag can be moved to another image (ECR `imageTagMutability`).
    TagMutability {
        /// Every tag can be moved.
        Mutable = "MUTABLE",
        /// No tag can be moved.
        Immutable = "IMMUTABLE",
        /// Every tag can be moved, except tags that match an exclusion filter.
        MutableWithExclusion = "MUTABLE_WITH_EXCLUSION",
        /// No tag can be moved, except tags that match an exclusion filter.
        ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION",
    }
);

keywords!(
    /// The set of images in which tagged images are counted.
    LifecycleScope {
        /// `image-sweep` counts the images of each component, and protects images that are in use.
        Component = "component",
        /// The lifecycle policy of ECR counts the images of the whole repository, and also expires
        /// images that are in use.
        Repository = "repository",
    }
);

keywords!(
    /// The action for a tag that violates the policy.
    TagEnforcement {
        /// The weekly digest lists the tag, and no image is changed.
        Report = "report",
        /// The tag is removed. An image without an accepted tag gets a quarantine tag.
        Quarantine = "quarantine",
        /// An image without an accepted tag is archived.
        Archive = "archive",
    }
);

keywords!(
    /// The action on an image that no rule keeps.
    #[derive(serde::Deserialize)]
    CleanupEnforcement {
        /// The image is listed in a report.
        Report = "report",
        /// The image is archived, and can be restored for 90 days.
        Archive = "archive",
        /// The image is deleted.
        Delete = "delete",
    }
);

keywords!(
    /// Whether a repository is changed although its images are replicated to other registries.
    WhenReplicated {
        /// The functions change nothing, and an alert names the destinations.
        Report = "report",
        /// Enforcement and cleanup change the repository.
        Act = "act",
    }
);

keywords!(
    /// The source that reports which images are in use.
    InUse {
        /// Only ECR's record of the last pull.
        PullTime = "pull-time",
        /// Amazon Inspector's record of containers on EKS and ECS, beside the last pull.
        Inspector = "inspector",
    }
);

keywords!(
    /// The severity of a finding, as ECR and Inspector name it.
    #[derive(serde::Deserialize)]
    Severity {
        /// The highest severity.
        Critical = "CRITICAL",
        /// High.
        High = "HIGH",
        /// Medium.
        Medium = "MEDIUM",
        /// Low.
        Low = "LOW",
        /// The lowest severity.
        Informational = "INFORMATIONAL",
    }
);

impl Policy {
    /// Reads a normalised policy. The error names every mistake.
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        let node = document::parse_json(json)?;
        let mut reader = Reader::new(&node);
        let policy = Self::read(&mut reader);
        match (policy, reader.finish()) {
            (Some(policy), problems) if problems.is_empty() => Ok(policy),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// The caller must not use the returned policy if `reader` has problems afterwards.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let repository_name = reader.required("RepositoryName");
        let rule = reader.required("Rule");
        Some(Self {
            owner: reader.optional("Owner"),
            mutability: reader.section("Mutability", |reader| Some(Mutability::read(reader))),
            lifecycle_tag_prefixes: reader.list("LifecycleTagPrefixes"),
            lifecycle_scope: reader.or("LifecycleScope", LifecycleScope::Component),
            in_use: reader.or("InUse", InUse::PullTime),
            tags: reader.section("Tags", document::read_tags),
            retention: reader.section("Retention", document::read_retention),
            scan: reader.object("Scan", document::read_scan),
            repository_name: repository_name?,
            rule: rule?,
        })
    }

    /// The grammar of the tags. None if no tag is judged.
    #[must_use]
    pub fn grammar(&self) -> Option<&Grammar> {
        self.tags.as_ref()?.grammar.as_ref()
    }

    /// The names of channels. [`default_channels`] without rules for tags.
    #[must_use]
    pub fn channels(&self) -> Cow<'_, [Channel]> {
        match &self.tags {
            Some(tags) => Cow::Borrowed(&tags.channels),
            None => Cow::Owned(default_channels()),
        }
    }

    /// The wildcard that ignores a tag. None if the tag is judged and counted as any other. A tag of the
    /// form of a quarantine tag is never ignored.
    #[must_use]
    pub fn ignores(&self, tag: &Tag) -> Option<&Wildcard> {
        let wildcard = self.tags.as_ref()?.ignored.iter().find(|wildcard| wildcard.matches(tag))?;
        Quarantine::read(tag).is_none().then_some(wildcard)
    }

    /// The action on a tag that violates the policy.
    #[must_use]
    pub fn tag_enforcement(&self) -> TagEnforcement {
        self.tags.as_ref().map_or(TagEnforcement::Report, |tags| tags.enforcement)
    }

    /// The action on an image that no rule keeps.
    #[must_use]
    pub fn cleanup(&self) -> CleanupEnforcement {
        let retention = self.retention.as_ref();
        retention.map_or(CleanupEnforcement::Report, |retention| retention.enforcement)
    }

    /// The action of a sweep on an untagged image. None in [`LifecycleScope::Repository`], where the
    /// lifecycle policy of ECR expires untagged images, and for a policy without rules for the cleanup.
    /// If the cleanup only reports, untagged images are only reported too.
    #[must_use]
    pub fn untagged_mode(&self) -> Option<CleanupEnforcement> {
        let retention = self.retention.as_ref()?;
        let mode = match retention.enforcement {
            CleanupEnforcement::Report => CleanupEnforcement::Report,
            CleanupEnforcement::Archive | CleanupEnforcement::Delete => retention.untagged,
        };
        (self.lifecycle_scope == LifecycleScope::Component).then_some(mode)
    }

    /// Whether a sweep may apply this action to an image, tagged or untagged.
    #[must_use]
    pub fn may_remove_by(&self, mode: CleanupEnforcement) -> bool {
        self.retention.is_some() && (self.cleanup() == mode || self.untagged_mode() == Some(mode))
    }

    /// The policy as one line of JSON, with every default written out. [`Policy::parse`] reads the line.
    #[must_use]
    pub fn normalised(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a policy serialises")
    }
}

#[cfg(test)]
pub(crate) mod tests;
