//! The policy of a registry together with the settings from the parameters of the stack: what the
//! functions act on. It finds the policy of one repository, and warns about rules without effect.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::document::{PolicyDocument, ReadDocument, Rule, Tags, parse_json, read_document};
use super::provisioned::{Provisioned, ProvisionedRepository};
use super::{CleanupEnforcement, LifecycleScope, Policy, TagEnforcement, TagMutability};
use crate::grammar::{Grammar, Placeholder, doubt_component};
use crate::image::{RepositoryName, RepositoryPattern};
use crate::node::Node;
use crate::properties::{Invalid, Problem, Reader};

/// The hexadecimal digits of a version.
const VERSION_DIGITS: usize = 16;

/// The most patterns of `EnforceRepositories`: the template has a resource of IAM for each.
const MOST_ENFORCED: usize = 20;

name!(
    /// The version of a policy: the first digits of the SHA-256 of its normal form.
    PolicyVersion,
    InvalidPolicyVersion,
    (VERSION_DIGITS..=VERSION_DIGITS),
    |text| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
    "expected 16 lower-case hexadecimal digits"
);

/// The policy of a registry, and the settings from the parameters of the stack.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Governance {
    /// The policy.
    #[serde(rename = "Policy")]
    pub document: PolicyDocument,
    /// The settings from the parameters of the stack.
    #[serde(flatten)]
    pub provisioned: Provisioned,
}

/// How the images of a repository come into it, as far as its name does not show that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryOrigin {
    /// People and pipelines push them.
    Pushed,
    /// A pull-through cache rule copies them from another registry.
    PullThroughCache,
    /// Replication from another registry or account copies them.
    Replication,
}

impl RepositoryOrigin {
    /// The origin of a repository, by the prefixes of the registry's pull-through cache rules and by
    /// whether an event of replication to the repository is known.
    #[must_use]
    pub fn classify(
        repository: &RepositoryName,
        cache_prefixes: &[String],
        is_replica: bool,
    ) -> Self {
        // The prefix ROOT caches into repositories of any name, which nothing distinguishes from others.
        let is_cached = |prefix: &String| {
            let rest = repository.as_str().strip_prefix(prefix.trim_end_matches('/'));
            prefix == "ROOT" || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        if is_replica {
            Self::Replication
        } else if cache_prefixes.iter().any(is_cached) {
            Self::PullThroughCache
        } else {
            Self::Pushed
        }
    }
}

impl Governance {
    /// Reads a policy for a stack with these settings. With a `ceiling` (the patterns of `EnforceRepositories`),
    /// a rule that enforces outside of it is a mistake. The error names every mistake.
    pub fn read(
        policy: &Node,
        provisioned: Provisioned,
        ceiling: Option<&[RepositoryPattern]>,
    ) -> Result<Self, Invalid> {
        let mut reader = Reader::new(policy);
        let read = read_document(&mut reader, ceiling);
        check_quarantine(&mut reader, &read, &provisioned);
        let document = read.document(&mut reader);
        let mut problems = reader.finish();
        let enforced = ceiling.map_or(0, |ceiling| ceiling.len());
        if enforced > MOST_ENFORCED {
            let message = format!("expected at most {MOST_ENFORCED} patterns, got {enforced}");
            problems.push(Problem::new("EnforceRepositories", message));
        }
        match (document, problems) {
            (Some(document), problems) if problems.is_empty() => Ok(Self { document, provisioned }),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// Reads the normal form.
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        let node = parse_json(json)?;
        let mut reader = Reader::new(&node);
        let document = reader.object("Policy", |reader| {
            let read = read_document(reader, None);
            read.document(reader)
        });
        let provisioned = Provisioned::read(&mut reader);
        match (document, reader.finish()) {
            (Some(document), problems) if problems.is_empty() => Ok(Self { document, provisioned }),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// The normal form: one line of JSON, with every default written out. [`Governance::parse`] reads
    /// the line back to the same value.
    #[must_use]
    pub fn normalised(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a policy serialises")
    }

    /// The version. Policies with another normal form have another version.
    #[must_use]
    pub fn version(&self) -> PolicyVersion {
        let mut hex = String::new();
        for byte in Sha256::digest(self.normalised()).iter().take(VERSION_DIGITS / 2) {
            let _ = write!(hex, "{byte:02x}");
        }
        PolicyVersion(hex)
    }

    /// Finds the rule of a repository and its position in the policy. None if no rule governs it.
    ///
    /// Wildcards do not match repositories that other software fills: assets of CDK and SAM, caches and
    /// replicas. Only a rule that names such a repository in full governs it.
    #[must_use]
    pub fn find_rule(
        &self,
        repository: &RepositoryName,
        origin: RepositoryOrigin,
    ) -> Option<(usize, &Rule)> {
        let is_protected = origin != RepositoryOrigin::Pushed
            || is_asset_repository(repository)
            || self.is_replica(repository);
        let is_match = |pattern: &RepositoryPattern| {
            pattern.names(repository) || !is_protected && pattern.matches(repository)
        };
        let mut rules = self.document.rules.iter().enumerate();
        rules.find(|(_, rule)| rule.repositories.iter().any(is_match))
    }

    /// Whether another rule, or none, governs the repository if a cache or replication fills it.
    #[must_use]
    pub fn depends_on_origin(&self, repository: &RepositoryName) -> bool {
        let position = |origin| self.find_rule(repository, origin).map(|(position, _)| position);
        position(RepositoryOrigin::Pushed) != position(RepositoryOrigin::Replication)
    }

    /// The policy of a repository. None if no rule governs it.
    #[must_use]
    pub fn rule_for(
        &self,
        repository: &RepositoryName,
        origin: RepositoryOrigin,
    ) -> Option<Policy> {
        let (_, rule) = self.find_rule(repository, origin)?;
        let mut policy = Policy {
            repository_name: repository.clone(),
            rule: rule.name.clone(),
            owner: rule.owner.clone(),
            mutability: None,
            lifecycle_tag_prefixes: Vec::new(),
            lifecycle_scope: LifecycleScope::Component,
            in_use: self.provisioned.in_use(),
            tags: rule.tags.clone(),
            retention: rule.retention.clone(),
            scan: rule.scan.clone(),
        };
        if let Some(settings) = self.find_provisioned(repository) {
            policy.mutability = Some(settings.mutability.clone());
            policy.lifecycle_tag_prefixes.clone_from(&settings.lifecycle_tag_prefixes);
            policy.lifecycle_scope = settings.lifecycle_scope;
            if let Some(retention) = &mut policy.retention {
                retention.keep = settings.lifecycle_tag_count;
                retention.untagged_days = settings.lifecycle_untagged_days;
            }
        }
        if origin == RepositoryOrigin::Replication || self.is_replica(repository) {
            if let Some(tags) = &mut policy.tags {
                tags.enforcement = TagEnforcement::Report;
            }
            if let Some(retention) = &mut policy.retention {
                retention.enforcement = CleanupEnforcement::Report;
            }
        }
        Some(policy)
    }

    /// The settings of a repository that the stack provisions.
    #[must_use]
    pub fn find_provisioned(&self, repository: &RepositoryName) -> Option<&ProvisionedRepository> {
        self.provisioned
            .repositories
            .iter()
            .find(|settings| settings.repository_name == *repository)
    }

    /// Whether the policy lists the repository as a replica.
    fn is_replica(&self, repository: &RepositoryName) -> bool {
        self.document.replicas.iter().any(|pattern| pattern.matches(repository))
    }

    /// The settings of the policy that have no effect.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let rules = &self.document.rules;
        for (nth, rule) in rules.iter().enumerate() {
            let mut warn = |name: &str, message: String| {
                let path = format!("Rules[{nth}] ({}).{name}", rule.name);
                warnings.push(Problem::new(path, message));
            };
            let earlier = || rules.iter().take(nth);
            let is_covered = |pattern: &RepositoryPattern| {
                let covers = |other: &RepositoryPattern| {
                    other == pattern || !self.is_protected_name(pattern) && other.contains(pattern)
                };
                earlier().any(|other| other.repositories.iter().any(covers))
            };
            if rule.repositories.iter().all(is_covered) {
                let message = "no repository gets this rule: earlier rules match all its patterns";
                warn("Repositories", message.to_owned());
            }
            for (index, pattern) in rule.repositories.iter().enumerate() {
                if !pattern.is_literal() && self.is_never_matched(pattern) {
                    let message = format!(
                        "{pattern} matches only repositories that wildcards never match; name each \
                         repository in full"
                    );
                    warn(&format!("Repositories[{index}]"), message);
                }
            }
            let is_replica = |pattern: &RepositoryPattern| {
                self.document.replicas.iter().any(|replica| replica.contains(pattern))
            };
            if let Some(setting) = rule.enforces()
                && rule.repositories.iter().all(is_replica)
            {
                let message = "has no effect: all repositories of the rule are in Replicas, and \
                               nothing changes a replica";
                warn(setting, message.to_owned());
            }
            if let Some(tags) = &rule.tags
                && tags.grammar.is_none()
            {
                let message = "without Grammar, the rule judges no tag and reads no version";
                warn("Tags", message.to_owned());
            }
            for (name, message) in rule.tags.iter().flat_map(warn_of_readings) {
                warn(&name, message);
            }
        }
        for settings in &self.provisioned.repositories {
            let name = &settings.repository_name;
            if self.find_rule(name, RepositoryOrigin::Pushed).is_none() {
                let message =
                    format!("no rule matches the repository {name}, which the stack provisions");
                warnings.push(Problem::new("Rules", message));
            }
        }
        warnings
    }

    /// Whether the pattern is the name of a repository that wildcards never match.
    fn is_protected_name(&self, pattern: &RepositoryPattern) -> bool {
        pattern
            .as_str()
            .parse()
            .is_ok_and(|name| is_asset_repository(&name) || self.is_replica(&name))
    }

    /// Whether each repository that the wildcard matches is protected.
    fn is_never_matched(&self, wildcard: &RepositoryPattern) -> bool {
        self.document.replicas.iter().any(|replica| replica.contains(wildcard))
            || CDK_ASSETS.contains(wildcard)
    }
}

/// The settings of tags that the grammar probably reads as something that they are not, each with its
/// name. The audit warns of the tags themselves.
fn warn_of_readings(tags: &Tags) -> Vec<(String, String)> {
    let mut warnings = Vec::new();
    let templates = tags.grammar.iter().flat_map(Grammar::templates).enumerate();
    for (nth, template) in templates {
        let label =
            [Placeholder::Branch, Placeholder::Slug].into_iter().find(|name| template.has(*name));
        if let Some(label) = label
            && template.has(Placeholder::Channel)
            && !template.has_version()
        {
            let message = format!(
                "each {{{label}}} has channels of its own, and each channel keeps an image until \
                 somebody deletes its tag"
            );
            warnings.push((format!("Tags.Grammar[{nth}]"), message));
        }
    }
    for (nth, component) in tags.components.iter().enumerate() {
        if let Some(doubt) = doubt_component(component) {
            let message =
                format!("{component} is named like {doubt}, and is probably no component");
            warnings.push((format!("Tags.Components[{nth}]"), message));
        }
    }
    warnings
}

/// Reports each rule that quarantines in a provisioned repository whose tags can move.
fn check_quarantine(reader: &mut Reader<'_>, read: &ReadDocument, provisioned: &Provisioned) {
    let Some(rules) = read.rules.iter().cloned().collect::<Option<Vec<Rule>>>() else { return };
    let (replicas, provisioned) = (read.replicas.clone(), provisioned.clone());
    let unmatched = read.unmatched;
    let version = super::document::DocumentVersion::One;
    let document = PolicyDocument { version, unmatched, replicas, rules };
    let governance = Governance { document, provisioned };
    for settings in &governance.provisioned.repositories {
        let (name, mutability) = (&settings.repository_name, settings.mutability.setting);
        let Some((nth, rule)) = governance.find_rule(name, RepositoryOrigin::Pushed) else {
            continue;
        };
        let enforcement = rule.tags.as_ref().map(|tags| tags.enforcement);
        // A mutable tag could move to another image between the check and the removal: ECR has no
        // compare-and-delete.
        if mutability == TagMutability::Mutable && enforcement == Some(TagEnforcement::Quarantine) {
            let message = format!(
                "quarantine needs tags that cannot move, and ImageTagMutability of {name} is \
                 {mutability}: a mutable tag could move to another image just before it is removed; \
                 use report or archive, or IMMUTABLE tags"
            );
            reader.problem(&format!("Rules[{nth}] ({}).Tags.Enforcement", rule.name), message);
        }
    }
}

/// The repositories in which the bootstrap stacks of AWS CDK keep the images of functions and tasks.
static CDK_ASSETS: LazyLock<RepositoryPattern> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a test uses the constant")]
    "cdk-*-container-assets-*".parse().expect("a valid pattern")
});

/// Whether AWS CDK or the SAM CLI keeps images of functions in the repository. The SAM CLI makes the
/// name from the stack, the function, and the first eight digits of the MD5 of each.
fn is_asset_repository(repository: &RepositoryName) -> bool {
    static SAM_COMPANION: LazyLock<Regex> = LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a test uses the constant")]
        Regex::new("^[a-z0-9]*[0-9a-f]{8}/[a-z0-9]*[0-9a-f]{8}repo$").expect("a valid pattern")
    });
    CDK_ASSETS.matches(repository) || SAM_COMPANION.is_match(repository.as_str())
}

#[cfg(test)]
pub(crate) mod tests;
