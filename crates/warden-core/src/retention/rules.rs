//! The rules about a single image. A rule can only keep an image.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Group, KeepReason, Key, RunningImages, TagReading, UnknownReason};
use crate::arena::{Arena, GroupId, ImageId};
use crate::grammar::{CHANNELS, ConformingTag, Placeholder, is_build_word};
use crate::graph::{ImageRecord, Inventory};
use crate::image::{ImageStatus, Tag, TagPrefix};
use crate::policy::Policy;
use crate::quarantine::Quarantine;
use crate::tagging::accepts;

/// The facts about one image.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The strongest reason to keep the unit of this image, other than the age of the image.
    pub keep: Option<KeepReason>,
    /// [`KeepReason::Young`], which does not count for an untagged unit.
    pub young: Option<KeepReason>,
    /// The groups in which the image is counted.
    pub groups: Vec<GroupId>,
    /// Whether a tag of the image is accepted.
    pub has_accepted_tag: bool,
    /// The quarantine tags of the image.
    pub quarantine_tags: Vec<Tag>,
    /// The last day on which the image was quarantined.
    pub quarantined_since: Option<NaiveDate>,
}

/// Reads every own tag of every image. Returns the readings, and the groups of their kinds. The groups
/// have no units yet.
pub(super) fn read_tags(
    policy: &Policy,
    inventory: &Inventory,
) -> (Arena<ImageId, Vec<TagReading>>, Groups) {
    let mut groups = Groups::default();
    let mut read_tag = |tag: &Tag| {
        let grammar = policy.grammar();
        let conforming =
            grammar.and_then(|grammar| grammar.match_tag(&policy.repository_name, tag));
        let Some(conforming) = conforming else {
            let is_channel = ends_with_channel(tag);
            return TagReading {
                group: None,
                is_accepted: false,
                is_channel,
                channel_of_version: None,
            };
        };
        let channel = conforming.value(Placeholder::Channel).filter(|_| conforming.has_version());
        TagReading {
            group: Some(groups.find(Key::Kind(conforming.kind()))),
            is_accepted: accepts(policy, tag, &conforming),
            is_channel: is_channel_tag(&conforming, tag),
            channel_of_version: channel
                .and_then(|channel| CHANNELS.iter().position(|name| *name == channel)),
        }
    };
    let readings = inventory.images.map(|image| image.own_tags().map(&mut read_tag).collect());
    (readings, groups)
}

/// The groups in which images are counted, by their keys.
#[derive(Default)]
pub(super) struct Groups {
    by_key: HashMap<Key, GroupId>,
    pub(super) arena: Arena<GroupId, Group>,
}

impl Groups {
    /// The group of a key. The first image with the key creates the group.
    fn find(&mut self, key: Key) -> GroupId {
        if let Some(group) = self.by_key.get(&key) {
            return *group;
        }
        let group = self.arena.push(Group { key: key.clone(), units: vec![], count: 0 });
        self.by_key.insert(key, group);
        group
    }
}

/// Applies the rules to every image. Returns the facts about each image.
pub(super) fn classify_images(
    policy: &Policy,
    inventory: &Inventory,
    readings: &Arena<ImageId, Vec<TagReading>>,
    groups: &mut Groups,
    running: &RunningImages,
    now: DateTime<Utc>,
) -> Arena<ImageId, Facts> {
    let mut prefixes: Vec<&TagPrefix> = policy.lifecycle_tag_prefixes.iter().collect();
    // `vllm` before `v`, as in the lifecycle rules of ECR.
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.as_str().len()));
    let newest = newest_of_channels(inventory, readings);
    let mut classifier = Classifier { policy, running, now, prefixes, readings, newest, groups };
    inventory.images.enumerate().map(|(id, image)| classifier.classify(id, image)).collect()
}

/// A channel of a kind: the group of the kind, and a position in [`CHANNELS`].
type ChannelOfKind = (GroupId, usize);

/// The image that each channel points at now, for the channels that the tags of versions name, such as
/// `web-abc1234-prod`: the image that was pushed last.
fn newest_of_channels(
    inventory: &Inventory,
    readings: &Arena<ImageId, Vec<TagReading>>,
) -> HashMap<ChannelOfKind, ImageId> {
    let mut newest: HashMap<ChannelOfKind, ImageId> = HashMap::new();
    let images = &inventory.images;
    let age = |id: ImageId| (std::cmp::Reverse(images[id].pushed_at), &images[id].digest);
    for (id, image) in images.enumerate() {
        if image.status == ImageStatus::Archived {
            continue;
        }
        for reading in &readings[id] {
            let Some(channel) = reading.group.zip(reading.channel_of_version) else { continue };
            let newest = newest.entry(channel).or_insert(id);
            if age(id) < age(*newest) {
                *newest = id;
            }
        }
    }
    newest
}

struct Classifier<'a> {
    policy: &'a Policy,
    running: &'a RunningImages,
    now: DateTime<Utc>,
    prefixes: Vec<&'a TagPrefix>,
    readings: &'a Arena<ImageId, Vec<TagReading>>,
    newest: HashMap<ChannelOfKind, ImageId>,
    groups: &'a mut Groups,
}

impl Classifier<'_> {
    fn classify(&mut self, id: ImageId, image: &ImageRecord) -> Facts {
        let mut facts = Facts::default();
        if image.status == ImageStatus::Archived {
            return facts;
        }
        let Some(retention) = &self.policy.retention else { return facts };
        let mut young = None;
        let mut keep = |keep: KeepReason| {
            if facts.keep.as_ref().is_none_or(|strongest| keep.strength() < strongest.strength()) {
                facts.keep = Some(keep);
            }
        };
        if image.has_unparsed_reference {
            keep(KeepReason::Unknown(UnknownReason::UnparsedReference));
        }
        match image.pushed_at {
            None => keep(KeepReason::Unknown(UnknownReason::Push)),
            Some(at) if self.is_within(at, retention.minimum_age_days) => {
                young = Some(KeepReason::Young(at));
            }
            Some(_) => {}
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
        for (tag, reading) in image.own_tags().zip(&self.readings[id]) {
            // Without rules for tags, no quarantine ends: its tag is a tag like any other.
            let quarantine = Quarantine::read(tag).filter(|_| self.policy.tags.is_some());
            let is_genuine = |quarantine: &Quarantine| quarantine.is_genuine(&image.digest, today);
            if let Some(quarantine) = quarantine.filter(is_genuine) {
                facts.quarantined_since = facts.quarantined_since.max(Some(quarantine.since));
                facts.quarantine_tags.push(tag.clone());
                continue;
            }
            let channel = reading.group.zip(reading.channel_of_version);
            let is_newest = channel.is_some_and(|channel| self.newest.get(&channel) == Some(&id));
            if reading.is_channel || is_newest {
                keep(KeepReason::Channel(tag.clone()));
            }
            facts.has_accepted_tag |= reading.is_accepted;
            // A channel is not a version.
            if reading.is_channel && reading.group.is_some() {
                continue;
            }
            let group = match (reading.group, self.prefix_of(tag)) {
                (None, Some(prefix)) => Some(self.groups.find(prefix)),
                (group, _) => group,
            };
            match group {
                Some(group) if !facts.groups.contains(&group) => facts.groups.push(group),
                Some(_) => {}
                None => keep(KeepReason::Unmatched(tag.clone())),
            }
        }
        facts.young = young;
        facts
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

/// Whether a tag is a channel: a tag that is moved from version to version. Either the grammar reads
/// a channel in the tag, or the grammar reads no version and the tag ends with the name of a channel.
pub(crate) fn is_channel_tag(conforming: &ConformingTag, tag: &Tag) -> bool {
    !conforming.has_version()
        && (conforming.value(Placeholder::Channel).is_some() || ends_with_channel(tag))
}

/// Whether the last word of a tag is the name of a channel. A tag with a commit or a time is pushed
/// once, and no channel.
fn ends_with_channel(tag: &Tag) -> bool {
    let mut words = tag.as_str().split(['-', '_', '.']);
    words.next_back().is_some_and(|last| CHANNELS.contains(&last)) && !words.any(is_build_word)
}
