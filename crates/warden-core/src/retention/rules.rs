//! The rules about a single image. A rule can only keep an image.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Group, KeepReason, Key, RunningImages, UnknownReason};
use crate::arena::{Arena, GroupId, ImageId};
use crate::grammar::{CHANNELS, ConformingTag, Placeholder};
use crate::graph::{ImageRecord, Inventory};
use crate::image::{ImageStatus, Tag, TagPrefix};
use crate::policy::Policy;
use crate::quarantine::Quarantine;
use crate::tagging::is_accepted_tag;
use crate::version::Version;

/// The facts about one image.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The strongest reason to keep the unit of this image, other than the age of the image.
    pub keep: Option<KeepReason>,
    /// [`KeepReason::Young`], which does not count for an untagged unit.
    pub young: Option<KeepReason>,
    /// The groups in which the image is counted, each once.
    pub groups: Vec<CountedTags>,
    /// Whether a tag of the image is accepted.
    pub has_accepted_tag: bool,
    /// The quarantine tags of the image.
    pub quarantine_tags: Vec<Tag>,
    /// The last day on which the image was quarantined.
    pub quarantined_since: Option<NaiveDate>,
}

/// The tags by which an image is counted in a group.
#[derive(Clone, Debug)]
pub(super) struct CountedTags {
    pub group: GroupId,
    /// The latest push of one of the tags.
    pub pushed_at: Option<DateTime<Utc>>,
    /// The highest version of one of the tags.
    pub version: Option<Version>,
}

/// Applies the rules to every image. Returns the facts about each image, and the groups in which the
/// images are counted. The groups have no units yet.
pub(super) fn classify_images(
    policy: &Policy,
    inventory: &Inventory,
    running: &RunningImages,
    now: DateTime<Utc>,
) -> (Arena<ImageId, Facts>, Arena<GroupId, Group>) {
    let mut prefixes: Vec<&TagPrefix> = policy.lifecycle_tag_prefixes.iter().collect();
    // `vllm` before `v`, as in the lifecycle rules of ECR.
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.as_str().len()));
    let (group_of, groups) = (HashMap::new(), Arena::default());
    let mut classifier = Classifier { policy, running, now, prefixes, group_of, groups };
    let facts = inventory.images.map(|image| classifier.classify(image));
    (facts, classifier.groups)
}

struct Classifier<'a> {
    policy: &'a Policy,
    running: &'a RunningImages,
    now: DateTime<Utc>,
    prefixes: Vec<&'a TagPrefix>,
    group_of: HashMap<Key, GroupId>,
    groups: Arena<GroupId, Group>,
}

impl Classifier<'_> {
    fn classify(&mut self, image: &ImageRecord) -> Facts {
        let mut facts = Facts::default();
        if image.status == ImageStatus::Archived {
            return facts;
        }
        let Some(retention) = &self.policy.retention else { return facts };
        let mut youngest = image.pushed_at.map(|at| (at, None));
        let mut keep = |keep: KeepReason| {
            if facts.keep.as_ref().is_none_or(|strongest| keep.strength() < strongest.strength()) {
                facts.keep = Some(keep);
            }
        };
        if image.has_unparsed_reference {
            keep(KeepReason::Unknown(UnknownReason::UnparsedReference));
        }
        if image.pushed_at.is_none() {
            keep(KeepReason::Unknown(UnknownReason::Push));
        }
        if let Some(at) = image.pulled_at
            && self.is_within(at, retention.protect_pulled_within_days)
        {
            keep(KeepReason::Pulled(at));
        }
        match (image.status, image.restored_at) {
            (ImageStatus::Activating, _) => keep(KeepReason::Restored(None)),
            (_, Some(at)) if self.is_within(at, retention.minimum_age_days) => {
                keep(KeepReason::Restored(Some(at)));
            }
            _ => {}
        }
        if let Some(workloads) = self.running.get(&image.digest) {
            keep(KeepReason::InUse(*workloads));
        }
        for tag in &image.tags {
            let mut wildcards = retention.protect_tags.iter();
            if let Some(wildcard) = wildcards.find(|wildcard| wildcard.matches(tag)) {
                keep(KeepReason::Protected(tag.clone(), wildcard.clone()));
            }
        }
        let today = self.now.date_naive();
        for (tag, pushed_at) in image.own_tags_with_times() {
            // Without rules for tags, no quarantine ends: its tag is a tag like any other.
            let quarantine = Quarantine::read(tag).filter(|_| self.policy.tags.is_some());
            let is_genuine = |quarantine: &Quarantine| quarantine.is_genuine(&image.digest, today);
            if let Some(quarantine) = quarantine.filter(is_genuine) {
                facts.quarantined_since = facts.quarantined_since.max(Some(quarantine.since));
                facts.quarantine_tags.push(tag.clone());
                continue;
            }
            match pushed_at {
                None => keep(KeepReason::Unknown(UnknownReason::TagPush)),
                Some(at) if youngest.is_none_or(|(youngest, _)| at > youngest) => {
                    youngest = Some((at, Some(tag)));
                }
                Some(_) => {}
            }
            let grammar = self.policy.grammar();
            let conforming =
                grammar.and_then(|grammar| grammar.match_tag(&self.policy.repository_name, tag));
            let is_channel = match &conforming {
                Some(conforming) => is_channel_tag(conforming, tag),
                None => ends_with_channel(tag),
            };
            if is_channel {
                keep(KeepReason::Channel(tag.clone()));
            }
            facts.has_accepted_tag |= is_accepted_tag(self.policy, tag);
            let version = conforming.as_ref().and_then(version_of);
            let component = conforming.map(|conforming| Key::Component(conforming.component));
            match component.or_else(|| self.prefix_of(tag)) {
                Some(key) => {
                    let group = self.group(key);
                    match facts.groups.iter_mut().find(|counted| counted.group == group) {
                        Some(counted) => {
                            counted.pushed_at = counted.pushed_at.max(pushed_at);
                            counted.version = counted.version.take().max(version);
                        }
                        None => facts.groups.push(CountedTags { group, pushed_at, version }),
                    }
                }
                None => keep(KeepReason::Unmatched(tag.clone())),
            }
        }
        facts.young = youngest
            .filter(|(at, _)| self.is_within(*at, retention.minimum_age_days))
            .map(|(at, tag)| KeepReason::Young { at, tag: tag.cloned() });
        facts
    }

    /// The group of a key. The first image with the key creates the group.
    fn group(&mut self, key: Key) -> GroupId {
        if let Some(group) = self.group_of.get(&key) {
            return *group;
        }
        let group = self.groups.push(Group { key: key.clone(), units: vec![], count: 0 });
        self.group_of.insert(key, group);
        group
    }

    fn prefix_of(&self, tag: &Tag) -> Option<Key> {
        let prefix =
            self.prefixes.iter().find(|prefix| tag.as_str().starts_with(prefix.as_str()))?;
        Some(Key::Prefix((*prefix).clone()))
    }

    /// Whether a time is at most `days` days ago. A time in the future counts too, because clocks
    /// differ.
    fn is_within(&self, at: DateTime<Utc>, days: u32) -> bool {
        at.checked_add_days(Days::new(days.into())).is_none_or(|end| end >= self.now)
    }
}

/// The version in a tag. None if its template has no `{semver}`.
fn version_of(conforming: &ConformingTag) -> Option<Version> {
    let mut values = conforming.values.iter();
    let (_, text) = values.find(|(placeholder, _)| *placeholder == Placeholder::Semver)?;
    Version::parse(text)
}

/// Whether a tag is a channel: a tag that is moved from version to version. Either the grammar reads
/// a channel in the tag, or the grammar reads no version and the tag ends with the name of a channel.
pub(crate) fn is_channel_tag(conforming: &ConformingTag, tag: &Tag) -> bool {
    let has_any =
        |names: &[Placeholder]| conforming.values.iter().any(|(name, _)| names.contains(name));
    let version = [Placeholder::Semver, Placeholder::Sha, Placeholder::Date, Placeholder::Number];
    has_any(&[Placeholder::Channel]) || !has_any(&version) && ends_with_channel(tag)
}

/// Whether the last word of a tag is the name of a channel.
fn ends_with_channel(tag: &Tag) -> bool {
    let last = tag.as_str().rsplit(['-', '_', '.']).next();
    last.is_some_and(|last| CHANNELS.contains(&last))
}
