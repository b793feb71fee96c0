//! The policy of one repository. It is parsed and validated once, and normalised to one line.
//!
//! The custom resource reads the policy from its properties when a stack is deployed. The other
//! functions read the normalised line. The same parser reads both. A newer function can therefore read
//! the line of an older function: a setting that is missing gets its default.

pub mod document;
pub mod governance;
pub mod provisioned;

use serde::Serialize;
use serde_json::Value;

use crate::grammar::{Grammar, Template};
use crate::image::{Component, RepositoryName, TagPrefix, Wildcard};
use crate::node::Node;
use crate::properties::{Invalid, Problem, Reader};

/// The most bytes of a normalised policy. All environment variables of a Lambda function have 4 KB
/// together, and a response to CloudFormation has 4,096 bytes.
pub const MOST_BYTES: usize = 20_000;

/// The most images to keep: ECR's quota of images in a repository.
const MOST_IMAGES: u32 = 100_000;
/// ECR accepts 50 lifecycle rules, and two of them are not for prefixes.
const MOST_PREFIXES: usize = 48;
/// Ten years. A larger number of days is a mistake.
const MOST_DAYS: u32 = 3_650;

/// The policy of one repository. Each field is the property with the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The repository.
    pub repository_name: RepositoryName,
    /// Whether a tag can be moved.
    pub image_tag_mutability: TagMutability,
    /// The number of tagged images that the lifecycle policy of ECR keeps. Also the default of
    /// [`Retention::keep_per_component`].
    pub lifecycle_tag_count: u32,
    /// Days for which an untagged image is kept. [`crate::untagged`] defines when the days begin.
    pub lifecycle_untagged_days: u32,
    /// Prefixes of tags. The images of each prefix are counted separately.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// Whether images are counted by component or in the whole repository.
    pub lifecycle_scope: LifecycleScope,
    /// The rules that ECR does not have.
    pub governance: Governance,
}

/// The rules that the functions of ECR Warden carry out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Governance {
    /// The rules for tags.
    pub tags: Tags,
    /// The rules for the cleanup.
    pub retention: Retention,
    /// The rules for findings.
    pub scan: Scan,
}

/// The rules for tags, and the enforcement for a tag that violates them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    /// The templates of conforming tags.
    pub grammar: Grammar,
    /// The allowed components. Empty if every component is allowed.
    pub components: Vec<Component>,
    /// Tags that are violations although they conform.
    pub forbidden: Vec<Wildcard>,
    /// The action for a violation.
    pub enforcement: TagEnforcement,
    /// Days after which the cleanup may remove a quarantined image.
    pub quarantine_days: u32,
}

/// The rules for the cleanup: which images are kept, and the action on the other images.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Retention {
    /// The number of images of each component that are kept, the newest first.
    pub keep_per_component: u32,
    /// An image with a tag that matches one of these wildcards is kept with all its tags.
    pub protect_tags: Vec<Wildcard>,
    /// Days for which a recorded pull protects an image.
    pub protect_pulled_within_days: u32,
    /// Days for which a push protects an image.
    pub minimum_age_days: u32,
    /// The source that reports which images are in use.
    pub in_use: InUse,
    /// The largest share of the images of a repository, in per cent, that one run may remove.
    pub max_remove_percent: u32,
    /// Whether the cleanup and the enforcement change a repository whose images are replicated.
    pub when_replicated: WhenReplicated,
    /// The action on an image that has no tag, in [`LifecycleScope::Component`].
    /// [`Policy::untagged_mode`] is the value that applies.
    pub untagged: CleanupEnforcement,
    /// The action on an image that no rule keeps.
    pub enforcement: CleanupEnforcement,
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
        /// An alert is sent.
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
    pub fn parse(line: &str) -> Result<Self, Invalid> {
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let message = format!("expected one line of JSON: {error}");
            Invalid(vec![Problem::new("policy", message)])
        })?;
        Self::from_value(&value)
    }

    fn from_value(value: &Value) -> Result<Self, Invalid> {
        let node = Node::from(value);
        let mut reader = Reader::new(&node);
        let policy = Self::read(&mut reader);
        match (policy, reader.finish()) {
            (Some(policy), problems) if problems.is_empty() => Ok(policy),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// Reads the properties of a policy. The caller must not use the returned policy if `reader` has
    /// problems afterwards.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let repository_name = reader.required("RepositoryName");
        let image_tag_mutability =
            reader.optional("ImageTagMutability").unwrap_or(TagMutability::Mutable);
        let lifecycle_tag_count = reader.number("LifecycleTagCount", 1..=MOST_IMAGES, None);
        let lifecycle_untagged_days = reader.number("LifecycleUntaggedDays", 1..=MOST_DAYS, None);
        let lifecycle_tag_prefixes = prefixes(reader);
        let lifecycle_scope =
            reader.optional("LifecycleScope").unwrap_or(LifecycleScope::Component);
        let governance = reader.object("Governance", |reader| {
            let tags = reader.object("Tags", |reader| tags(reader, image_tag_mutability));
            let retention =
                reader.object("Retention", |reader| retention(reader, lifecycle_tag_count));
            let scan = reader.object("Scan", |reader| Scan {
                threshold: reader.optional("Threshold").unwrap_or(Severity::High),
            });
            Some(Governance { tags: tags?, retention: retention?, scan })
        });

        let policy = Self {
            repository_name: repository_name?,
            image_tag_mutability,
            lifecycle_tag_count,
            lifecycle_untagged_days,
            lifecycle_tag_prefixes,
            lifecycle_scope,
            governance: governance?,
        };
        let bytes = policy.normalised().len();
        if bytes > MOST_BYTES {
            let message = format!(
                "the normalised policy has {bytes} bytes; at most {MOST_BYTES} are allowed"
            );
            reader.problem("Governance", message);
        }
        Some(policy)
    }

    /// The action of a sweep on an untagged image. None in [`LifecycleScope::Repository`], where the
    /// lifecycle policy of ECR expires untagged images. If the cleanup only reports, untagged images
    /// are only reported too.
    #[must_use]
    pub fn untagged_mode(&self) -> Option<CleanupEnforcement> {
        let retention = &self.governance.retention;
        let mode = match retention.enforcement {
            CleanupEnforcement::Report => CleanupEnforcement::Report,
            CleanupEnforcement::Archive | CleanupEnforcement::Delete => retention.untagged,
        };
        (self.lifecycle_scope == LifecycleScope::Component).then_some(mode)
    }

    /// Whether a sweep may apply this action to an image, tagged or untagged.
    #[must_use]
    pub fn may_remove_by(&self, mode: CleanupEnforcement) -> bool {
        self.governance.retention.enforcement == mode || self.untagged_mode() == Some(mode)
    }

    /// The policy as one line of JSON, with every default written out. [`Policy::parse`] reads the
    /// line back to the same value.
    #[must_use]
    pub fn normalised(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a policy serialises")
    }
}

fn prefixes(reader: &mut Reader<'_>) -> Vec<TagPrefix> {
    const NAME: &str = "LifecycleTagPrefixes";
    let mut unique: Vec<TagPrefix> = Vec::new();
    for prefix in reader.words(NAME) {
        if unique.contains(&prefix) {
            reader.problem(NAME, format!("{prefix} is listed twice"));
        } else {
            unique.push(prefix);
        }
    }
    if unique.len() > MOST_PREFIXES {
        let message = format!("expected at most {MOST_PREFIXES} prefixes, got {}", unique.len());
        reader.problem(NAME, message);
    }
    unique
}

fn tags(reader: &mut Reader<'_>, mutability: TagMutability) -> Option<Tags> {
    let templates: Vec<Template> =
        reader.required_words("Grammar", "template, such as {component}-v{semver}");
    let grammar = Grammar::new(templates);
    let enforcement = reader.required("Enforcement");
    // A mutable tag could move to another image between the check and the removal: ECR has no
    // compare-and-delete.
    if enforcement == Some(TagEnforcement::Quarantine) && mutability != TagMutability::Immutable {
        let message = format!(
            "quarantine needs ImageTagMutability IMMUTABLE, not {mutability}: \
             a mutable tag could move to another image just before it is removed; use report or \
             archive"
        );
        reader.problem("Enforcement", message);
    }
    let components = reader.words("Components");
    let forbidden = reader.words("Forbidden");
    let quarantine_days = reader.number("QuarantineDays", 1..=MOST_DAYS, Some(14));
    Some(Tags {
        grammar: grammar?,
        components,
        forbidden,
        enforcement: enforcement?,
        quarantine_days,
    })
}

fn retention(reader: &mut Reader<'_>, tag_count: u32) -> Option<Retention> {
    let keep_per_component = reader.number("KeepPerComponent", 1..=MOST_IMAGES, Some(tag_count));
    let protect_tags = reader.words("ProtectTags");
    let protect_pulled_within_days =
        reader.number("ProtectPulledWithinDays", 1..=MOST_DAYS, Some(30));
    // Never zero: no other rule may protect a new image that nobody has pulled yet.
    let minimum_age_days = reader.number("MinimumAgeDays", 1..=MOST_DAYS, Some(7));
    let in_use = reader.optional("InUse").unwrap_or(InUse::PullTime);
    let when_replicated = reader.optional("WhenReplicated").unwrap_or(WhenReplicated::Report);
    let max_remove_percent = reader.number("MaxRemovePercent", 1..=100, Some(25));
    let untagged = reader.optional("Untagged").unwrap_or(CleanupEnforcement::Report);
    let enforcement = reader.required("Enforcement");
    Some(Retention {
        keep_per_component,
        protect_tags,
        protect_pulled_within_days,
        minimum_age_days,
        in_use,
        max_remove_percent,
        when_replicated,
        untagged,
        enforcement: enforcement?,
    })
}

/// The policies of the governed repositories, at most one for each repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// Parses a JSON list of normalised policies, which functions have in their environment. The error
    /// names the first invalid policy by its position in the list, and all mistakes of that policy.
    pub fn parse(list: &str) -> Result<Self, Invalid> {
        let invalid =
            |property: String, message: String| Invalid(vec![Problem::new(property, message)]);
        let values: Vec<Value> = serde_json::from_str(list).map_err(|error| {
            invalid("list".to_owned(), format!("expected a JSON list: {error}"))
        })?;
        let mut policies: Vec<Policy> = Vec::new();
        for (nth, value) in values.iter().enumerate() {
            let policy = Policy::from_value(value).map_err(|Invalid(problems)| {
                let within = |problem: Problem| Problem {
                    property: format!("[{nth}].{}", problem.property),
                    ..problem
                };
                Invalid(problems.into_iter().map(within).collect())
            })?;
            let name = &policy.repository_name;
            if policies.iter().any(|other| other.repository_name == *name) {
                let message = format!("there are two policies for {name}");
                return Err(invalid(format!("[{nth}].RepositoryName"), message));
            }
            policies.push(policy);
        }
        Ok(Self(policies))
    }

    /// Finds the policy of a repository. None if the repository is not governed.
    #[must_use]
    pub fn rule_for(&self, repository: &RepositoryName) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.repository_name == *repository)
    }

    /// The policies, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    /// Whether no repository is governed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests;
