//! The rules about a single image. A rule can only keep an image.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Group, KeepReason, Key, RunningImages, TagReading, UnknownReason};
use crate::arena::{Arena, GroupId, ImageId};
use crate::grammar::{Channel, ConformingTag, Placeholder, VersionOrder, is_build_word, is_digits};
use crate::graph::{Graph, ImageRecord, Inventory};
use crate::image::{ImageStatus, Tag, TagPrefix};
use crate::policy::{Expiry, LifecycleScope, Policy, Retention};
use crate::quarantine::Quarantine;
use crate::tagging::accepts;

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
    /// The tag that expired last, and when.
    pub expired: Option<(Tag, DateTime<Utc>)>,
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
    pub version: Option<VersionOrder>,
}

impl CountedTags {
    /// Adds a tag to the counted tags of an image, which has one entry for each group.
    fn add(self, groups: &mut Vec<Self>) {
        if let Some(counted) = groups.iter_mut().find(|tags| tags.group == self.group) {
            counted.pushed_at = counted.pushed_at.max(self.pushed_at);
            counted.version = counted.version.take().max(self.version);
        } else {
            // Most of 100,000 images are counted in one group.
            groups.reserve_exact(1);
            groups.push(self);
        }
    }
}

/// How the policy reads the own tags of every image.
pub(super) struct TagReadings {
    pub(super) tags: Arena<ImageId, Vec<TagReading>>,
    /// The version in each tag, in the same order. Only the counts of the plan need the versions.
    pub(super) versions: Arena<ImageId, Vec<Option<VersionOrder>>>,
    /// The groups of the kinds of the tags. The groups have no units yet.
    pub(super) groups: Groups,
}

/// Reads every own tag of every image.
pub(super) fn read_tags(policy: &Policy, inventory: &Inventory) -> TagReadings {
    let mut groups = Groups::default();
    let channels = policy.channels();
    let mut read_tag = |tag: &Tag| {
        let grammar = policy.grammar();
        let conforming =
            grammar.and_then(|grammar| grammar.match_tag(&policy.repository_name, tag));
        let Some(conforming) = conforming else {
            let reading = TagReading {
                group: None,
                is_accepted: false,
                is_channel: policy.ignores(tag).is_none() && ends_with_channel(&channels, tag),
                channel_of_version: None,
            };
            return (reading, None);
        };
        let channel = conforming.value(Placeholder::Channel).filter(|_| conforming.has_version());
        let reading = TagReading {
            group: Some(groups.find(Key::Kind(conforming.kind()))),
            is_accepted: accepts(policy, tag, &conforming),
            is_channel: is_channel_tag(&channels, &conforming, tag),
            channel_of_version: channel
                .and_then(|channel| channels.iter().position(|name| name.as_str() == channel)),
        };
        (reading, conforming.version())
    };
    let (mut tags, mut versions) = (Arena::default(), Arena::default());
    for image in &inventory.images {
        let (mut of_image, mut versions_of_image): (Vec<_>, Vec<_>) =
            image.own_tags().map(&mut read_tag).unzip();
        // A vector has room for four elements at first, and most of 100,000 images have one tag.
        of_image.shrink_to_fit();
        versions_of_image.shrink_to_fit();
        tags.push(of_image);
        versions.push(versions_of_image);
    }
    TagReadings { tags, versions, groups }
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

/// Applies the rules to every image. Returns the facts about each image. Moves the versions out of the
/// readings.
pub(super) fn classify_images(
    policy: &Policy,
    inventory: &Inventory,
    graph: &Graph,
    readings: &mut TagReadings,
    running: &RunningImages,
    now: DateTime<Utc>,
) -> Arena<ImageId, Facts> {
    let mut prefixes: Vec<&TagPrefix> = policy.lifecycle_tag_prefixes.iter().collect();
    // `vllm` before `v`, as in the lifecycle rules of ECR.
    prefixes.sort_by_key(|prefix| Reverse(prefix.as_str().len()));
    let newest = newest_of_channels(inventory, &readings.tags);
    let mut pulled = inventory.images.map(|image| image.pulled_at);
    for unit in &graph.units {
        let last = unit.images().filter_map(|image| inventory.images[image].pulled_at).max();
        for image in unit.images() {
            pulled[image] = pulled[image].max(last);
        }
    }
    let mut classifier = Classifier { policy, running, now, prefixes, readings, newest, pulled };
    inventory.images.enumerate().map(|(id, image)| classifier.classify(id, image)).collect()
}

/// A channel of a kind: the group of the kind, and a position in [`Policy::channels`].
type ChannelOfKind = (GroupId, usize);

/// The image that each channel points at now, for the channels that the tags of versions name, such as
/// `web-abc1234-prod`: the image whose tag was pushed last.
fn newest_of_channels(
    inventory: &Inventory,
    readings: &Arena<ImageId, Vec<TagReading>>,
) -> HashMap<ChannelOfKind, ImageId> {
    type TaggedImage = (ImageId, Option<DateTime<Utc>>);
    let mut newest: HashMap<ChannelOfKind, TaggedImage> = HashMap::new();
    let images = &inventory.images;
    let age = |(id, tagged_at): TaggedImage| {
        (Reverse(tagged_at), Reverse(images[id].pushed_at), &images[id].digest)
    };
    for (id, image) in images.enumerate() {
        if image.status == ImageStatus::Archived {
            continue;
        }
        for ((_, tagged_at), reading) in image.own_tags_with_times().zip(&readings[id]) {
            let Some(channel) = reading.group.zip(reading.channel_of_version) else { continue };
            let newest = newest.entry(channel).or_insert((id, tagged_at));
            if age((id, tagged_at)) < age(*newest) {
                *newest = (id, tagged_at);
            }
        }
    }
    newest.into_iter().map(|(channel, (id, _))| (channel, id)).collect()
}

struct Classifier<'a> {
    policy: &'a Policy,
    running: &'a RunningImages,
    now: DateTime<Utc>,
    prefixes: Vec<&'a TagPrefix>,
    readings: &'a mut TagReadings,
    newest: HashMap<ChannelOfKind, ImageId>,
    /// The last recorded pull of an image of a unit that has the image.
    pulled: Arena<ImageId, Option<DateTime<Utc>>>,
}

impl Classifier<'_> {
    fn classify(&mut self, id: ImageId, image: &ImageRecord) -> Facts {
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
        let versions = std::mem::take(&mut self.readings.versions[id]);
        let tags = image.own_tags_with_times().zip(&self.readings.tags[id]).zip(versions);
        for (((tag, pushed_at), reading), version) in tags {
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
            let ignored = self.policy.ignores(tag);
            let group = match (reading.group, self.prefix_of(tag)) {
                (None, Some(prefix)) if ignored.is_none() => {
                    Some(self.readings.groups.find(prefix))
                }
                (group, _) => group,
            };
            match group {
                Some(group) => {
                    CountedTags { group, pushed_at, version }.add(&mut facts.groups);
                }
                None => match (self.expiry_of(retention, id, tag, pushed_at), ignored) {
                    (Some(at), _) if at < self.now => {
                        if facts.expired.as_ref().is_none_or(|(_, last)| *last < at) {
                            facts.expired = Some((tag.clone(), at));
                        }
                    }
                    (Some(until), _) => keep(KeepReason::Unexpired { tag: tag.clone(), until }),
                    (None, Some(wildcard)) => {
                        keep(KeepReason::Ignored(tag.clone(), wildcard.clone()));
                    }
                    (None, None) => keep(KeepReason::Unmatched(tag.clone())),
                },
            }
        }
        facts.young = youngest
            .filter(|(at, _)| self.is_within(*at, retention.minimum_age_days))
            .map(|(at, tag)| KeepReason::Young { at, tag: tag.cloned() });
        facts
    }

    /// When a tag that `Keep` does not count expires. None if no entry of `Expire` matches the tag, or if the time of
    /// its push is not known. In scope `repository`, only the lifecycle policy of ECR expires tagged images.
    fn expiry_of(
        &self,
        retention: &Retention,
        image: ImageId,
        tag: &Tag,
        pushed_at: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        if self.policy.lifecycle_scope == LifecycleScope::Repository {
            return None;
        }
        let pushed_at = pushed_at?;
        let used_at = self.pulled[image].map_or(pushed_at, |pulled_at| pulled_at.max(pushed_at));
        let entries = retention.expire.iter();
        let entries =
            entries.filter(|entry| entry.tags.iter().any(|wildcard| wildcard.matches(tag)));
        let end = |entry: &Expiry| {
            let end = |at: DateTime<Utc>, days: Option<u32>| match days {
                Some(days) => at.checked_add_days(Days::new(days.into())),
                None => Some(at),
            };
            Some(end(pushed_at, entry.after_days)?.max(end(used_at, entry.not_pulled_for_days)?))
        };
        entries.filter_map(end).min()
    }

    /// The prefix for which a tag is counted. If the prefix ends with a letter, no letter may follow it:
    /// `vault-1.15` and `velero-1.2` are not counted for `v`.
    fn prefix_of(&self, tag: &Tag) -> Option<Key> {
        let is_letter = |c: char| c.is_ascii_alphabetic();
        let is_counted_for = |prefix: &&&TagPrefix| {
            let rest = tag.as_str().strip_prefix(prefix.as_str());
            let ends_in_letter = prefix.as_str().ends_with(is_letter);
            rest.is_some_and(|rest| !(ends_in_letter && rest.starts_with(is_letter)))
        };
        self.prefixes.iter().find(is_counted_for).map(|prefix| Key::Prefix((*prefix).clone()))
    }

    /// Whether a time is at most `days` days ago. A time in the future counts too, because clocks
    /// differ.
    fn is_within(&self, at: DateTime<Utc>, days: u32) -> bool {
        at.checked_add_days(Days::new(days.into())).is_none_or(|end| end >= self.now)
    }
}

/// Whether a tag is a channel: a tag that is moved from version to version. Either the grammar reads
/// a channel in the tag, or the grammar reads no version and the tag ends with the name of a channel.
pub(crate) fn is_channel_tag(channels: &[Channel], conforming: &ConformingTag, tag: &Tag) -> bool {
    !conforming.has_version()
        && (conforming.value(Placeholder::Channel).is_some() || ends_with_channel(channels, tag))
}

/// Whether a tag is the name of a channel, or ends with the name after a separator. A tag with a commit, a time
/// or a version is pushed once, and a tag that begins with `pr-` or `mr-` and a number is not used after its
/// pull request is closed. So such tags are not channels.
fn ends_with_channel(channels: &[Channel], tag: &Tag) -> bool {
    const SEPARATORS: [char; 3] = ['-', '_', '.'];
    let is_version = |words: &str| {
        let mut numbers = words.split('.');
        numbers.next().is_some_and(|word| is_digits(word.trim_start_matches('v')))
            && numbers.next().is_some_and(is_digits)
    };
    let is_pull_request = |before: &str| {
        let words = before.split_once(SEPARATORS);
        words.is_some_and(|(word, rest)| {
            matches!(word, "pr" | "mr") && rest.split(SEPARATORS).next().is_some_and(is_digits)
        })
    };
    let mut before = channels.iter().filter_map(|name| tag.as_str().strip_suffix(name.as_str()));
    before.any(|before| {
        (before.is_empty() || before.ends_with(SEPARATORS))
            && !before.split(SEPARATORS).any(is_build_word)
            && !before.split(['-', '_']).any(is_version)
            && !is_pull_request(before)
    })
}
