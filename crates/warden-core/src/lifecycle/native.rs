//! The native lifecycle rules of a repository, by any author. Finds a rule that would expire an image
//! before the time that an alert promises.
//!
//! The rule with the lowest priority that selects an image decides about the image; later rules do not
//! apply. A rule selects images of one storage class
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>).
//!
//! - Only rules for the archive apply to an archived image. ECR accepts no such rule under 90 days.
//! - The other images of an archived unit may stay active for a while: AWS does not document in which
//!   order ECR archives the images, and an image that another index needs stays active. A rule for the
//!   standard class can expire these images.
//! - A quarantined image is active and has its quarantine tag. A rule for the standard class can expire
//!   the image, or archive the image so that a rule for the archive expires it.
//!
//! A policy that cannot be parsed completely threatens every image.

use std::fmt;

use chrono::{DateTime, Days, Utc};
use serde::Deserialize;

use super::ARCHIVED_DAYS;
use crate::graph::ImageRecord;
use crate::image::{Tag, Wildcard};
use crate::text::inert;

/// The most characters of a description that a threat names.
const DESCRIPTION_LENGTH: usize = 100;

/// The rules of a lifecycle policy in the order of their priorities, or why it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeRules(Result<Vec<NativeRule>, String>);

/// A native rule that expires an image before its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifecycleThreat {
    /// A rule expires the image.
    Rule {
        /// The priority of the rule.
        priority: u64,
        /// The description of the rule, in one short line.
        description: String,
    },
    /// The lifecycle policy cannot be read. The value says why.
    Unreadable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NativeRule {
    priority: u64,
    description: String,
    selection: Selection,
    effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selection {
    Any,
    Untagged,
    /// Images that have a tag for each of these prefixes.
    Prefixes(Vec<String>),
    /// Images that have a tag for each of these patterns.
    Patterns(Vec<Wildcard>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The rule expires active images: a number of days after their push, or at any time for None.
    Expire { days_after_push: Option<u32> },
    /// The rule archives active images.
    Archive,
    /// The rule expires archived images, this number of days after they were archived.
    ExpireArchived { days: u32 },
}

impl NativeRules {
    /// Reads the text of a lifecycle policy.
    #[must_use]
    pub fn read(policy: &str) -> Self {
        let document = serde_json::from_str::<WireDocument>(policy);
        let rules = document.map_err(|error| error.to_string()).and_then(|document| {
            document.rules.into_iter().map(WireRule::read).collect::<Result<Vec<_>, _>>()
        });
        Self(rules.map(|mut rules| {
            rules.sort_by_key(|rule| rule.priority);
            rules
        }))
    }

    /// The number of days after which the first rule deletes an archived image. `None` if no rule deletes
    /// archived images. The error says that the policy cannot be read.
    pub fn archived_days(&self) -> Result<Option<u32>, LifecycleThreat> {
        let days = |rule: &NativeRule| match rule.effect {
            Effect::ExpireArchived { days } => Some(days),
            Effect::Expire { .. } | Effect::Archive => None,
        };
        Ok(self.rules()?.iter().filter_map(days).min())
    }

    /// Finds a threat to a unit that is archived now. `others` are the active images of the unit,
    /// without its root.
    #[must_use]
    pub fn threat_to_archived<'i>(
        &self,
        others: impl IntoIterator<Item = &'i ImageRecord>,
        now: DateTime<Utc>,
    ) -> Option<LifecycleThreat> {
        let rules = match self.rules() {
            Ok(rules) => rules,
            Err(threat) => return Some(threat),
        };
        let is_early = |rule: &&NativeRule| matches!(rule.effect, Effect::ExpireArchived { days } if days < ARCHIVED_DAYS);
        if let Some(rule) = rules.iter().find(is_early) {
            return Some(rule.threat());
        }
        let until = now.checked_add_days(Days::new(ARCHIVED_DAYS.into()));
        others.into_iter().find_map(|image| {
            let rule = first_expiring(rules, &image.tags)?;
            rule.may_expire(image.pushed_at, until).then(|| rule.threat())
        })
    }

    /// Finds a threat to an image that is quarantined now for `days` days. `tags` are the tags of the
    /// image during the quarantine.
    #[must_use]
    pub fn threat_to_quarantined(
        &self,
        tags: &[Tag],
        pushed_at: Option<DateTime<Utc>>,
        is_index: bool,
        days: u32,
        now: DateTime<Utc>,
    ) -> Option<LifecycleThreat> {
        let rules = match self.rules() {
            Ok(rules) => rules,
            Err(threat) => return Some(threat),
        };
        let until = now.checked_add_days(Days::new(days.into()));
        // AWS does not say whether a rule that archives shields an image from a later rule that
        // expires it.
        let expiring = first_expiring(rules, tags);
        if let Some(rule) = expiring.filter(|rule| rule.may_expire(pushed_at, until)) {
            return Some(rule.threat());
        }
        let rule = first(rules, tags, false).filter(|rule| rule.effect == Effect::Archive)?;
        // The archive releases the parts of an index to other rules.
        if is_index {
            return Some(rule.threat());
        }
        let archived = first(rules, tags, true)?;
        matches!(archived.effect, Effect::ExpireArchived { days: archived } if archived < days)
            .then(|| archived.threat())
    }

    fn rules(&self) -> Result<&[NativeRule], LifecycleThreat> {
        self.0.as_deref().map_err(|error| LifecycleThreat::Unreadable(error.clone()))
    }
}

/// The rule that decides about an image with these tags.
fn first<'r>(rules: &'r [NativeRule], tags: &[Tag], is_archived: bool) -> Option<&'r NativeRule> {
    rules.iter().find(|rule| rule.is_for_archive() == is_archived && rule.selection.selects(tags))
}

/// The first rule that may expire an active image with these tags.
fn first_expiring<'r>(rules: &'r [NativeRule], tags: &[Tag]) -> Option<&'r NativeRule> {
    let mut rules = rules.iter().filter(|rule| matches!(rule.effect, Effect::Expire { .. }));
    rules.find(|rule| rule.selection.selects(tags))
}

impl NativeRule {
    fn is_for_archive(&self) -> bool {
        matches!(self.effect, Effect::ExpireArchived { .. })
    }

    /// Whether the rule may expire an active image before `until`. A rule that counts images may expire
    /// an image at any time.
    fn may_expire(&self, pushed_at: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> bool {
        match (self.effect, pushed_at) {
            (Effect::Archive | Effect::ExpireArchived { .. }, _) => false,
            (Effect::Expire { days_after_push: Some(days) }, Some(pushed)) => {
                let expires = pushed.checked_add_days(Days::new(days.into()));
                expires.is_some_and(|expires| until.is_none_or(|until| expires < until))
            }
            (Effect::Expire { .. }, _) => true,
        }
    }

    fn threat(&self) -> LifecycleThreat {
        let NativeRule { priority, description, .. } = self;
        LifecycleThreat::Rule { priority: *priority, description: description.clone() }
    }
}

impl Selection {
    fn selects(&self, tags: &[Tag]) -> bool {
        let has = |matches: &dyn Fn(&Tag) -> bool| tags.iter().any(matches);
        match self {
            Self::Any => true,
            Self::Untagged => tags.is_empty(),
            Self::Prefixes(prefixes) => {
                prefixes.iter().all(|prefix| has(&|tag| tag.as_str().starts_with(prefix)))
            }
            Self::Patterns(patterns) => {
                patterns.iter().all(|pattern| has(&|tag| pattern.matches(tag)))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDocument {
    rules: Vec<WireRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireRule {
    rule_priority: u64,
    description: Option<String>,
    selection: WireSelection,
    action: WireAction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireSelection {
    tag_status: TagStatus,
    tag_pattern_list: Option<Vec<String>>,
    tag_prefix_list: Option<Vec<String>>,
    storage_class: Option<StorageClass>,
    count_type: CountType,
    count_unit: Option<CountUnit>,
    count_number: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireAction {
    r#type: ActionType,
    target_storage_class: Option<StorageClass>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum StorageClass {
    Standard,
    Archive,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountType {
    ImageCountMoreThan,
    SinceImagePushed,
    SinceImagePulled,
    SinceImageTransitioned,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountUnit {
    Days,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ActionType {
    Expire,
    Transition,
}

impl WireRule {
    fn read(self) -> Result<NativeRule, String> {
        let Self { rule_priority: priority, description, selection, action } = self;
        let unknown = |part: &str| Err(format!("rule {priority} has an unknown {part}"));
        let patterns = selection.tag_pattern_list.unwrap_or_default();
        let prefixes = selection.tag_prefix_list.unwrap_or_default();
        let selected = match (selection.tag_status, patterns.is_empty(), prefixes.is_empty()) {
            (TagStatus::Any, true, true) => Selection::Any,
            (TagStatus::Untagged, true, true) => Selection::Untagged,
            (TagStatus::Tagged, true, false) => Selection::Prefixes(prefixes),
            (TagStatus::Tagged, false, true) => {
                let patterns = patterns.iter().map(|pattern| pattern.parse());
                let patterns = patterns.collect::<Result<_, _>>();
                let Ok(patterns) = patterns else { return unknown("form of tagPatternList") };
                Selection::Patterns(patterns)
            }
            _ => return unknown("combination of tagStatus and lists of tags"),
        };
        let number = selection.count_number;
        let is_archive = selection.storage_class == Some(StorageClass::Archive);
        let is_transition = match (action.r#type, action.target_storage_class) {
            (ActionType::Expire, None) => false,
            (ActionType::Transition, Some(StorageClass::Archive)) => true,
            _ => return unknown("action"),
        };
        let effect = match (selection.count_type, selection.count_unit, is_archive, is_transition) {
            (CountType::ImageCountMoreThan, None, false, false) => {
                Effect::Expire { days_after_push: None }
            }
            (CountType::SinceImagePushed, Some(CountUnit::Days), false, false) => {
                Effect::Expire { days_after_push: Some(number) }
            }
            (CountType::ImageCountMoreThan, None, false, true)
            | (
                CountType::SinceImagePushed | CountType::SinceImagePulled,
                Some(CountUnit::Days),
                false,
                true,
            ) => Effect::Archive,
            (CountType::SinceImageTransitioned, Some(CountUnit::Days), true, false) => {
                Effect::ExpireArchived { days: number }
            }
            _ => return unknown("combination of countType, countUnit, storageClass and action"),
        };
        let description = inert(&description.unwrap_or_default(), DESCRIPTION_LENGTH);
        Ok(NativeRule { priority, description, selection: selected, effect })
    }
}

impl fmt::Display for LifecycleThreat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { priority, description } => write!(
                f,
                "the lifecycle rule {priority} of the repository, \"{description}\", could expire the image \
                 or an image of its unit too early"
            ),
            Self::Unreadable(error) => write!(
                f,
                "the lifecycle policy of the repository cannot be read, and a rule could expire the image \
                 too early: {error}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
