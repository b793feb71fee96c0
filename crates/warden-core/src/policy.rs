//! The policy of one repository: parsed and validated once, normalised to one line.
//!
//! It is read from the properties of the custom resource when a stack is deployed, and from
//! the normalised line by the functions that act on it. One shape and one parser serve
//! both, so a newer function reads what an older one normalised: what it lacks takes the
//! defaults.

use serde::Serialize;
use serde_json::Value;

use crate::grammar::{Grammar, Template};
use crate::image::{Component, RepositoryName, TagPrefix, Wildcard};
use crate::properties::{Invalid, Problem, Reader};

/// The most bytes of a normalised policy: Lambda gives a function 4 KB of environment in
/// all, and CloudFormation 4,096 bytes to an answer.
pub const MOST_BYTES: usize = 1_500;

/// ECR's quota of images in a repository; to keep more of them means nothing.
const MOST_IMAGES: u32 = 100_000;
/// ECR takes 50 lifecycle rules, and two are not for prefixes.
const MOST_PREFIXES: usize = 48;
/// Ten years: a number of days beyond it is a mistake.
const MOST_DAYS: u32 = 3_650;

/// The policy of one repository. Its fields are the properties of the same names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The repository that it governs.
    pub repository_name: RepositoryName,
    /// Whether a tag can be moved.
    pub image_tag_mutability: TagMutability,
    /// How many tagged images stay, by the native rules or as [`Retention::keep_per_component`].
    pub lifecycle_tag_count: u32,
    /// Days for which an untagged image is kept. [`crate::untagged`] says when they begin.
    pub lifecycle_untagged_days: u32,
    /// Prefixes that are counted each on its own.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// What is counted.
    pub lifecycle_scope: LifecycleScope,
    /// What ECR knows nothing of.
    pub governance: Governance,
}

/// The rules that our functions carry out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Governance {
    /// What a push may be called.
    pub tags: Tags,
    /// What is kept.
    pub retention: Retention,
    /// What is told of findings.
    pub scan: Scan,
}

/// What a push may be called, and what is done about one that is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    /// The templates of conforming tags.
    pub grammar: Grammar,
    /// The components that may be pushed; empty for any.
    pub components: Vec<Component>,
    /// Tags that are refused although they conform.
    pub forbidden: Vec<Wildcard>,
    /// What is done about a violation.
    pub enforcement: TagEnforcement,
    /// Days for which a quarantined image waits to be restored.
    pub quarantine_days: u32,
}

/// What is kept, and what is done with the rest.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Retention {
    /// The newest images of each component that stay.
    pub keep_per_component: u32,
    /// Images with a tag like one of these stay whole.
    pub protect_tags: Vec<Wildcard>,
    /// Days for which a recorded pull protects an image.
    pub protect_pulled_within_days: u32,
    /// Days for which a push protects an image.
    pub minimum_age_days: u32,
    /// What tells that an image is running.
    pub in_use: InUse,
    /// The most images of a repository, in per cent, that one run may remove.
    pub max_remove_percent: u32,
    /// Whether a repository whose images are replicated is changed, by enforcement too.
    pub when_replicated: WhenReplicated,
    /// The action on an image that has no tag, in [`LifecycleScope::Component`].
    /// [`Policy::untagged_mode`] is the value that applies.
    pub untagged: CleanupEnforcement,
    /// What is done with an image that no rule keeps.
    pub enforcement: CleanupEnforcement,
}

/// What is told of findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scan {
    /// The lowest severity that is told.
    pub threshold: Severity,
}

keywords!(
    /// Whether a tag can be moved to another image (ECR `imageTagMutability`).
    TagMutability {
        /// Any tag can be moved.
        Mutable = "MUTABLE",
        /// No tag can be moved.
        Immutable = "IMMUTABLE",
        /// Any tag but those that a filter names.
        MutableWithExclusion = "MUTABLE_WITH_EXCLUSION",
        /// No tag but those that a filter names.
        ImmutableWithExclusion = "IMMUTABLE_WITH_EXCLUSION",
    }
);

keywords!(
    /// What a tag count is counted over.
    LifecycleScope {
        /// Each component on its own, by `image-sweep`, protecting what is in use.
        Component = "component",
        /// The whole repository, by ECR's own rules, which ask nobody.
        Repository = "repository",
    }
);

keywords!(
    /// What is done about a tag that breaks the rules.
    TagEnforcement {
        /// An alert.
        Report = "report",
        /// The bad tag is taken away; the image stays under a quarantine tag.
        Quarantine = "quarantine",
        /// An image without any conforming tag is archived.
        Archive = "archive",
    }
);

keywords!(
    /// What is done with an image that no rule keeps.
    #[derive(serde::Deserialize)]
    CleanupEnforcement {
        /// It is named in a report.
        Report = "report",
        /// It is archived, and can be restored for 90 days.
        Archive = "archive",
        /// It is deleted.
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
    /// The source that says which images are in use.
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
        /// The highest.
        Critical = "CRITICAL",
        /// High.
        High = "HIGH",
        /// Medium.
        Medium = "MEDIUM",
        /// Low.
        Low = "LOW",
        /// The lowest.
        Informational = "INFORMATIONAL",
    }
);

impl Policy {
    /// Reads a normalised policy. Everything wrong with it is named at once.
    pub fn parse(line: &str) -> Result<Self, Invalid> {
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let message = format!("expected one line of JSON: {error}");
            Invalid(vec![Problem { property: "policy".to_owned(), message }])
        })?;
        Self::of(&value)
    }

    fn of(value: &Value) -> Result<Self, Invalid> {
        let mut reader = Reader::new(value);
        let policy = Self::read(&mut reader);
        match (policy, reader.finish()) {
            (Some(policy), problems) if problems.is_empty() => Ok(policy),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// Reads the policy's own properties among those of `reader`. `None`, or a policy that
    /// is not to be used, where `reader` holds problems afterwards.
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
            let message =
                format!("the policy takes {bytes} bytes once normalised; at most {MOST_BYTES} fit");
            reader.problem("Governance", message);
        }
        Some(policy)
    }

    /// The action of a sweep on an untagged image. None in [`LifecycleScope::Repository`], where
    /// ECR's own rule expires untagged images. Where the cleanup only reports, untagged images are
    /// only reported too.
    #[must_use]
    pub fn untagged_mode(&self) -> Option<CleanupEnforcement> {
        let retention = &self.governance.retention;
        let mode = match retention.enforcement {
            CleanupEnforcement::Report => CleanupEnforcement::Report,
            CleanupEnforcement::Archive | CleanupEnforcement::Delete => retention.untagged,
        };
        (self.lifecycle_scope == LifecycleScope::Component).then_some(mode)
    }

    /// Whether a sweep may do this with an image, tagged or untagged.
    #[must_use]
    pub fn may_remove_by(&self, mode: CleanupEnforcement) -> bool {
        self.governance.retention.enforcement == mode || self.untagged_mode() == Some(mode)
    }

    /// The policy as one line of JSON, with every default written out, that
    /// [`Policy::parse`] reads back to the same value.
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
        reader.problem(NAME, format!("expected at most {MOST_PREFIXES}, got {}", unique.len()));
    }
    unique
}

fn tags(reader: &mut Reader<'_>, mutability: TagMutability) -> Option<Tags> {
    let templates: Vec<Template> =
        reader.required_words("Grammar", "template, such as {component}-v{semver}");
    let grammar = Grammar::new(templates);
    let enforcement = reader.required("Enforcement");
    // A mutable tag could move between the look and the act: ECR has no compare-and-delete.
    if enforcement == Some(TagEnforcement::Quarantine) && mutability != TagMutability::Immutable {
        let message = format!(
            "quarantine needs ImageTagMutability IMMUTABLE, not {mutability}: \
             a tag could move while it is being taken away; use report or archive"
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
    // Never zero: a fresh image that was never pulled would have nothing to protect it.
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
    /// Parses a JSON list of normalised policies, as a function has it in its environment. The
    /// error names the place in the list, and every mistake there.
    pub fn parse(list: &str) -> Result<Self, Invalid> {
        let invalid =
            |property: String, message: String| Invalid(vec![Problem { property, message }]);
        let values: Vec<Value> = serde_json::from_str(list).map_err(|error| {
            invalid("list".to_owned(), format!("expected a JSON list: {error}"))
        })?;
        let mut policies: Vec<Policy> = Vec::new();
        for (nth, value) in values.iter().enumerate() {
            let policy = Policy::of(value).map_err(|Invalid(problems)| {
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
