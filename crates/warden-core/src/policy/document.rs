//! The policy of a registry: a list of rules, of which the first that matches a repository decides.

use serde::{Serialize, Serializer};

use super::{
    CleanupEnforcement, MOST_DAYS, MOST_IMAGES, Scan, Severity, TagEnforcement, WhenReplicated,
};
use crate::grammar::{Channel, DEFAULT_CHANNELS, Grammar, Placeholder, Template};
use crate::image::{Component, RepositoryPattern, Wildcard};
use crate::node::Node;
use crate::properties::description::{Description, describe};
use crate::properties::{Invalid, Problem, Reader};
use crate::text::inert;

/// The most bytes of a policy, as a file and in its normal form.
pub const MOST_DOCUMENT_BYTES: usize = 100_000;

/// The most characters of an owner.
const LONGEST_OWNER: usize = 128;

name!(
    /// The name of a rule, such as `platform`.
    RuleName,
    InvalidRuleName,
    (1..=64),
    |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
    "expected 1 to 64 letters, digits, '_' and '-'"
);

name!(
    /// The person or team that owns the repositories of a rule. Alerts and reports show the owner.
    Owner,
    InvalidOwner,
    (1..=512),
    |text| inert(text, LONGEST_OWNER) == text,
    "expected one line of at most 128 characters, without [ ] ( ) < > ` | \" *"
);

keywords!(
    /// The version of the format of a policy.
    DocumentVersion {
        /// The only version.
        One = "1",
    }
);

keywords!(
    /// The action on a push to a repository that no rule matches.
    Unmatched {
        /// ECR Warden does nothing.
        Ignore = "ignore",
        /// The first push to each such repository is alerted on.
        Report = "report",
    }
);

/// The policy of a registry. Each field is the key with the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    /// The version of the format.
    pub version: DocumentVersion,
    /// The action on a push to a repository that no rule matches.
    pub unmatched: Unmatched,
    /// Repositories that replication from another registry fills.
    pub replicas: Vec<RepositoryPattern>,
    /// The rules. The first rule that matches a repository decides.
    pub rules: Vec<Rule>,
}

/// The rule for the repositories that match its patterns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// The name, which no other rule of the policy has.
    pub name: RuleName,
    /// The patterns of the repositories, at least one.
    pub repositories: Vec<RepositoryPattern>,
    /// The owner of the repositories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The rules for tags. None if no tag is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// The rules for the cleanup. None if nothing is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The rules for findings.
    pub scan: Scan,
}

/// The rules for tags, and the enforcement for a tag that violates them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    /// The templates of conforming tags. None if no tag is judged.
    #[serde(serialize_with = "templates")]
    pub grammar: Option<Grammar>,
    /// The allowed components. Empty if every component is allowed.
    pub components: Vec<Component>,
    /// Tags that are violations although they conform.
    pub forbidden: Vec<Wildcard>,
    /// Tags that are not judged, and that are no versions.
    pub ignored: Vec<Wildcard>,
    /// The names of channels, alone or as the last words of a tag.
    pub channels: Vec<Channel>,
    /// The action for a violation.
    pub enforcement: TagEnforcement,
    /// Days after which the cleanup may remove a quarantined image.
    pub quarantine_days: u32,
}

/// The rules for the cleanup: which images are kept, and the action on the other images.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Retention {
    /// The number of newest images, and of highest versions, of each component and kind of tag
    /// ([`crate::grammar::TagKind`]) that are kept.
    pub keep: u32,
    /// The action on an image that has no tag.
    pub untagged: CleanupEnforcement,
    /// Days for which an untagged image is kept. [`crate::untagged`] defines when the days begin.
    pub untagged_days: u32,
    /// The ages at which tags that `Keep` does not count expire. Of several entries that match a tag, the one
    /// with the earliest end decides.
    pub expire: Vec<Expiry>,
    /// An image with a tag that matches one of these wildcards is kept with all its tags.
    pub protect_tags: Vec<Wildcard>,
    /// Days for which a recorded pull protects an image.
    pub protect_pulled_within_days: u32,
    /// Days for which a push protects an image.
    pub minimum_age_days: u32,
    /// The largest share of the images of a repository, in per cent, that one run may remove.
    pub max_remove_percent: u32,
    /// Whether the cleanup and the enforcement change a repository whose images are replicated.
    pub when_replicated: WhenReplicated,
    /// The action on an image that no rule keeps.
    pub enforcement: CleanupEnforcement,
}

/// An entry of `Expire`: the age at which tags that `Keep` does not count expire. An image whose tags have all
/// expired may be removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Expiry {
    /// Wildcards of the tags, at least one.
    pub tags: Vec<Wildcard>,
    /// Days after the push of the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_days: Option<u32>,
    /// Days after the last pull of the image, and after the push of the tag. If there is also a number
    /// of `after_days`, both must be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_pulled_for_days: Option<u32>,
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn templates<S: Serializer>(grammar: &Option<Grammar>, serializer: S) -> Result<S::Ok, S::Error> {
    let templates = grammar.iter().flat_map(Grammar::templates);
    serializer.collect_seq(templates.map(ToString::to_string))
}

impl PolicyDocument {
    /// Reads a policy. The error names every mistake.
    pub fn read(node: &Node) -> Result<Self, Invalid> {
        let mut reader = Reader::new(node);
        let document = read_document(&mut reader, None).document(&mut reader);
        match (document, reader.finish()) {
            (Some(document), problems) if problems.is_empty() => Ok(document),
            (_, problems) => Err(Invalid(problems)),
        }
    }

    /// Reads a policy from JSON, such as its normal form.
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        Self::read(&parse_json(json)?)
    }

    /// The policy as one line of JSON, with every default written out. [`PolicyDocument::parse`] reads
    /// the line back to the same value.
    #[must_use]
    pub fn normalised(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a policy serialises")
    }

    /// Lists the keys of a policy, in the order in which they are read.
    #[must_use]
    pub fn describe() -> Vec<Description> {
        describe(|reader| {
            read_document(reader, None);
        })
    }
}

impl Rule {
    /// The setting because of which the rule can change images. None if the rule only reports.
    #[must_use]
    pub fn enforces(&self) -> Option<&'static str> {
        let tags = self.tags.as_ref().map(|tags| tags.enforcement);
        let retention = self.retention.as_ref().map(|retention| retention.enforcement);
        match (tags, retention) {
            (Some(TagEnforcement::Quarantine | TagEnforcement::Archive), _) => {
                Some("Tags.Enforcement")
            }
            (_, Some(CleanupEnforcement::Archive | CleanupEnforcement::Delete)) => {
                Some("Retention.Enforcement")
            }
            _ => None,
        }
    }
}

/// Parses JSON text.
pub(super) fn parse_json(json: &str) -> Result<Node, Invalid> {
    let value: serde_json::Value = serde_json::from_str(json).map_err(|error| {
        Invalid(vec![Problem::new("policy", format!("expected JSON: {error}"))])
    })?;
    Ok(Node::from(&value))
}

/// A policy of which a part can have mistakes.
pub(super) struct ReadDocument {
    pub(super) version: Option<DocumentVersion>,
    pub(super) unmatched: Unmatched,
    pub(super) replicas: Vec<RepositoryPattern>,
    /// A rule with a mistake that leaves no value is `None`.
    pub(super) rules: Vec<Option<Rule>>,
}

impl ReadDocument {
    /// The policy, if it is whole. Records a problem if it is too large.
    pub(super) fn document(&self, reader: &mut Reader<'_>) -> Option<PolicyDocument> {
        let document = PolicyDocument {
            version: self.version?,
            unmatched: self.unmatched,
            replicas: self.replicas.clone(),
            rules: self.rules.iter().cloned().collect::<Option<_>>()?,
        };
        let bytes = document.normalised().len();
        if bytes > MOST_DOCUMENT_BYTES {
            let message = format!(
                "the normalised policy has {bytes} bytes; at most {MOST_DOCUMENT_BYTES} are allowed"
            );
            reader.problem("Rules", message);
        }
        Some(document)
    }
}

/// Reads a policy. A rule that enforces must be inside the `ceiling`, if there is one.
pub(super) fn read_document(
    reader: &mut Reader<'_>,
    ceiling: Option<&[RepositoryPattern]>,
) -> ReadDocument {
    let version = reader.about("The version of the format.").required("Version");
    let unmatched = reader
        .about("The action on a push to a repository that no rule matches: report sends one alert for each such repository.")
        .or("Unmatched", Unmatched::Ignore);
    let replicas = reader
        .about("Patterns of repositories that replication from another registry fills. Only a rule that names such a repository in full governs it, and never changes it.")
        .list("Replicas");
    let rules = reader
        .about("The rules. The first rule whose Repositories match a repository decides.")
        .objects("Rules", true, |reader| read_rule(reader, ceiling));
    let names: Vec<_> = rules.iter().map(|rule| rule.as_ref().map(|rule| &rule.name)).collect();
    for (nth, name) in names.iter().enumerate() {
        let earlier = names.iter().take(nth).position(|other| other == name);
        if let (Some(name), Some(earlier)) = (name, earlier) {
            let message = format!("Rules[{earlier}] has the name {name} too");
            reader.problem(&format!("Rules[{nth}] ({name}).Name"), message);
        }
    }
    ReadDocument { version, unmatched, replicas, rules }
}

fn read_rule(reader: &mut Reader<'_>, ceiling: Option<&[RepositoryPattern]>) -> Option<Rule> {
    let name: Option<RuleName> = reader
        .about("The name of the rule, in plans, logs and alerts. Each rule has another name.")
        .required("Name");
    if let Some(name) = &name {
        reader.label(name);
    }
    let before = reader.count();
    let repositories: Vec<RepositoryPattern> = reader
        .about("Patterns of repository names. * matches any text, also with a slash.")
        .required_list("Repositories");
    let are_read = reader.count() == before;
    let owner = reader
        .about("The person or team that owns the repositories, in alerts and reports.")
        .optional("Owner");
    let tags = reader
        .about("The rules for tags. Without them, no tag is judged.")
        .section("Tags", read_tags);
    let retention = reader
        .about("The rules for the cleanup. Without them, nothing is removed.")
        .section("Retention", read_retention);
    let scan = reader.about("The rules for findings.").object("Scan", read_scan);
    let rule = Rule { name: name?, repositories, owner, tags, retention, scan };
    if let Some(ceiling) = ceiling
        && are_read
    {
        check_ceiling(reader, &rule, ceiling);
    }
    Some(rule)
}

/// Reports each pattern of an enforcing rule that is not inside a pattern of the ceiling.
fn check_ceiling(reader: &mut Reader<'_>, rule: &Rule, ceiling: &[RepositoryPattern]) {
    let Some(setting) = rule.enforces() else { return };
    for (nth, pattern) in rule.repositories.iter().enumerate() {
        if ceiling.iter().any(|allowed| allowed.contains(pattern)) {
            continue;
        }
        let allowed: Vec<&str> = ceiling.iter().map(RepositoryPattern::as_str).collect();
        let allowed = if allowed.is_empty() { "empty".to_owned() } else { allowed.join(", ") };
        let message = format!(
            "{pattern} is outside the parameter EnforceRepositories ({allowed}), and the rule {} \
             enforces: add {pattern} to EnforceRepositories, or set {setting} to report",
            rule.name
        );
        reader.problem(&format!("Repositories[{nth}]"), message);
    }
}

pub(super) fn read_tags(reader: &mut Reader<'_>) -> Option<Tags> {
    let templates: Vec<Template> = reader
        .about("Templates of conforming tags. If the list is empty, no tag is judged.")
        .list("Grammar");
    let components = reader
        .about("The allowed components. If the list is empty, every component is allowed.")
        .list("Components");
    let forbidden = reader
        .about("Wildcards of tags that violate the policy although they match the grammar.")
        .list("Forbidden");
    let ignored: Vec<Wildcard> = reader
        .about(
            "Wildcards of tags that are not judged and not counted, such as those of build caches.",
        )
        .list("Ignored");
    let channels: Vec<Channel> = reader
        .about("The names of channels: tags that are moved from version to version.")
        .list_or("Channels", &DEFAULT_CHANNELS);
    if channels.is_empty()
        && let Some(template) = templates.iter().find(|template| template.has(Placeholder::Channel))
    {
        reader.problem("Channels", format!("the template {template} needs at least one channel"));
    }
    let enforcement =
        reader.about("The action for a tag that violates the policy.").required("Enforcement");
    let quarantine_days = reader
        .about(
            "Days for which a quarantined image can be restored before the cleanup may remove it.",
        )
        .number("QuarantineDays", 1..=MOST_DAYS, Some(14));
    Some(Tags {
        grammar: Grammar::new(templates, channels.clone(), ignored.clone()),
        components,
        forbidden,
        ignored,
        channels,
        enforcement: enforcement?,
        quarantine_days,
    })
}

pub(super) fn read_retention(reader: &mut Reader<'_>) -> Option<Retention> {
    let keep = reader
        .about("The number of newest images, and of highest versions, of each component and kind of tag that are kept. A repository of the stack takes it from the parameters instead.")
        .number("Keep", 1..=MOST_IMAGES, Some(20));
    let untagged = reader
        .about("The action on an image without a tag. If Enforcement is report, untagged images are only reported too.")
        .or("Untagged", CleanupEnforcement::Report);
    let untagged_days = reader
        .about("Days for which an image without a tag is kept. A repository of the stack takes it from the parameters instead.")
        .number("UntaggedDays", 1..=MOST_DAYS, Some(7));
    let expire = reader
        .about("The ages at which tags that Keep does not count expire, such as those of pull requests. An image whose tags have all expired is removed in the same way as a version beyond Keep.")
        .objects("Expire", false, read_expiry);
    let protect_tags = reader
        .about("Wildcards of tags. An image with such a tag is kept with all its tags.")
        .list("ProtectTags");
    let protect_pulled_within_days = reader
        .about("Days for which a recorded pull protects an image.")
        .number("ProtectPulledWithinDays", 1..=MOST_DAYS, Some(30));
    // Never zero: no other rule may protect a new image that nobody has pulled yet.
    let minimum_age_days = reader.about("Days for which its push protects an image.").number(
        "MinimumAgeDays",
        1..=MOST_DAYS,
        Some(7),
    );
    let max_remove_percent = reader
        .about("The largest share of the images of a repository, in percent, that one sweep may remove.")
        .number("MaxRemovePercent", 1..=100, Some(25));
    let when_replicated = reader
        .about("For a repository whose images are replicated to other registries: report changes nothing, act changes it as any other repository.")
        .or("WhenReplicated", WhenReplicated::Report);
    let enforcement =
        reader.about("The action on an image that no rule keeps.").required("Enforcement");
    Some(Retention {
        keep,
        untagged,
        untagged_days,
        expire: expire.into_iter().flatten().collect(),
        protect_tags,
        protect_pulled_within_days,
        minimum_age_days,
        max_remove_percent,
        when_replicated,
        enforcement: enforcement?,
    })
}

fn read_expiry(reader: &mut Reader<'_>) -> Option<Expiry> {
    let before = reader.count();
    let tags = reader
        .about("Wildcards of tags. A version that Keep counts never expires, nor does a channel.")
        .required_list("Tags");
    let after_days =
        reader.about("Days after the push of the tag.").optional_number("AfterDays", 1..=MOST_DAYS);
    let not_pulled_for_days = reader
        .about("Days after the last recorded pull of the image, and after the push of the tag. If AfterDays is also given, both times must have passed.")
        .optional_number("NotPulledForDays", 1..=MOST_DAYS);
    if after_days.or(not_pulled_for_days).is_none() {
        reader.problem("AfterDays", "expected AfterDays, NotPulledForDays or both");
    }
    (reader.count() == before).then_some(Expiry { tags, after_days, not_pulled_for_days })
}

pub(super) fn read_scan(reader: &mut Reader<'_>) -> Scan {
    let threshold = reader
        .about("The lowest severity of findings that count and are alerted on.")
        .or("Threshold", Severity::High);
    Scan { threshold }
}

#[cfg(test)]
mod tests;
