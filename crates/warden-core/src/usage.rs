//! The images and the open findings of each component, for the dashboard.
//!
//! An index with its images and its signatures counts as one image ([`crate::graph::Unit`]). The index
//! counts for each component that its own tags name, or otherwise for the components of its parts.
//! Bytes are the bytes of all images of the units, and each image counts once in a component. A layer
//! that images share is counted with each of them. Archived images are counted separately.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};

use crate::arena::{Arena, ImageId};
use crate::findings::{OpenFindings, OpenFindingsStatus, ReleaseLine, find_release_line};
use crate::graph::{ImageRecord, Unit};
use crate::image::{Component, Digest, ImageStatus, RepositoryName, Tag, format_bytes};
use crate::policy::{CleanupEnforcement, Policy, Severity};
use crate::quarantine::Quarantine;
use crate::retention::RetentionPlan;

/// Stands for the component of images without a component. No component can have this name.
pub const NO_COMPONENT: &str = "(none)";

/// The usage of each component of a repository.
#[derive(Debug, Default)]
pub struct ComponentUsage<'a> {
    /// A row for each component, the one with the most bytes first. The last row is for the images
    /// without a component, if there are any.
    pub rows: Vec<ComponentUsageRow>,
    /// The images that can be pulled, with the time of their push.
    active: HashMap<&'a Digest, Option<DateTime<Utc>>>,
}

/// The usage of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentUsageRow {
    /// The component. None for the images without a component.
    pub component: Option<Component>,
    /// The number of images that can be pulled, or that ECR is restoring from the archive.
    pub images: usize,
    /// The bytes of those images.
    pub bytes: u64,
    /// The number of archived images.
    pub archived: usize,
    /// The bytes of the archived images.
    pub archived_bytes: u64,
    /// The tag of the image that was pushed last. A version is preferred to a channel.
    pub newest: Option<Tag>,
    /// The release line whose findings are shown: the line of the newest tag, or of any tag if all
    /// images are archived.
    pub line: Option<ReleaseLine>,
}

/// The status of the findings of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingsStatus {
    /// Of the scanned versions, the one that was pushed last has these findings.
    Open {
        /// The open findings.
        open: OpenFindings,
        /// Whether the threshold was higher than the policy's when the version was scanned.
        is_partial: bool,
        /// A later scan whose findings could not be read, of the same version or of a later one.
        unread: Option<Digest>,
    },
    /// The findings of this version could not be read, and no other findings are known.
    Unread(Digest),
    /// The last scanned version cannot be pulled any more.
    Gone(OpenFindings),
    /// No scan is recorded.
    Never,
    /// Findings of images without a component are recorded for each image.
    ByImage,
    /// The recorded findings could not be read.
    Unknown,
}

/// Measures the usage of each component after these images were removed.
#[must_use]
pub fn measure_usage<'a>(plan: &RetentionPlan<'a>, removed: &[ImageId]) -> ComponentUsage<'a> {
    let images = Images::after_removal(plan, removed);
    let mut counts: BTreeMap<Component, Count<'a>> = BTreeMap::new();
    let mut none = Count::default();
    for unit in plan.units.iter().map(|decided| &decided.unit) {
        let components = components_of_unit(plan, unit);
        if components.is_empty() {
            none.add(unit, None, &images);
        }
        for (component, tag) in components {
            counts.entry(component).or_default().add(unit, Some(tag), &images);
        }
    }
    // An image that a component needs too is counted there.
    let mut is_counted = images.places.map(|_| false);
    for image in counts.values().flat_map(|count| &count.images) {
        is_counted[*image] = true;
    }
    none.images.retain(|image| !is_counted[*image]);
    let counts = counts.into_iter().map(|(component, count)| (Some(component), count));
    let rows = std::iter::once((None, none)).chain(counts);
    let rows = rows.map(|(component, count)| ComponentUsageRow {
        component,
        line: count.find_line(plan.policy),
        ..count.row(&images)
    });
    let has_images = |row: &ComponentUsageRow| {
        row.images + row.archived > 0 || row.bytes + row.archived_bytes > 0
    };
    let mut rows: Vec<ComponentUsageRow> = rows.filter(has_images).collect();
    // The sort is stable: components with the same bytes stay in the order of their names.
    rows.sort_by_key(|row| {
        let bytes = row.bytes.saturating_add(row.archived_bytes);
        (row.component.is_none(), std::cmp::Reverse(bytes))
    });
    let active = images.places.iter().flatten().filter(|(_, is_archived)| !is_archived);
    let active = active.map(|(image, _)| (&image.digest, image.pushed_at)).collect();
    ComponentUsage { rows, active }
}

/// The images after some were removed.
struct Images<'a> {
    /// Each image, and whether it is archived now. None for a deleted image.
    places: Arena<ImageId, Option<(&'a ImageRecord, bool)>>,
    /// Whether the image is the root of a unit.
    is_root: Arena<ImageId, bool>,
}

impl<'a> Images<'a> {
    fn after_removal(plan: &RetentionPlan<'a>, removed: &[ImageId]) -> Self {
        let images = &plan.inventory.images;
        let is_archived = |image: &ImageRecord| image.status == ImageStatus::Archived;
        let mut places = images.map(|image| Some((image, is_archived(image))));
        for image in removed {
            let is_kept_archived = plan.mode_of(*image) == CleanupEnforcement::Archive;
            let place = &mut places[*image];
            *place = place.filter(|_| is_kept_archived).map(|(image, _)| (image, true));
        }
        let mut is_root = images.map(|_| false);
        for decided in &plan.units {
            is_root[decided.unit.root] = true;
        }
        Self { places, is_root }
    }
}

/// The count of a component so far.
#[derive(Default)]
struct Count<'a> {
    /// The row without the bytes.
    row: ComponentUsageRow,
    /// The images whose bytes count. An image in several units may be listed several times.
    images: Vec<ImageId>,
    newest: Option<(Option<DateTime<Utc>>, &'a Digest)>,
    /// Any tag.
    tag: Option<Tag>,
}

impl<'a> Count<'a> {
    fn add(&mut self, unit: &Unit, tag: Option<&Tag>, images: &Images<'a>) {
        let row = &mut self.row;
        self.tag = self.tag.take().or_else(|| tag.cloned());
        match images.places[unit.root] {
            Some((_, true)) => row.archived += 1,
            Some((root, false)) => {
                row.images += 1;
                let age = Some((root.pushed_at, &root.digest));
                if age > self.newest {
                    self.newest = age;
                    row.newest = tag.cloned();
                }
            }
            None => {}
        }
        // A referrer that is the root of a unit is counted there.
        let is_other = |image: ImageId| image != unit.root && images.is_root[image];
        self.images.extend(unit.images().filter(|image| !is_other(*image)));
    }

    fn find_line(&self, policy: &Policy) -> Option<ReleaseLine> {
        let tag = self.row.newest.as_ref().or(self.tag.as_ref())?;
        let tags = std::slice::from_ref(tag);
        Some(find_release_line(&policy.repository_name, policy.grammar()?, tags)?.1)
    }

    /// The row with the bytes.
    fn row(mut self, images: &Images<'a>) -> ComponentUsageRow {
        self.images.sort_unstable();
        self.images.dedup();
        let mut row = self.row;
        for (image, is_archived) in self.images.iter().filter_map(|image| images.places[*image]) {
            let bytes = if is_archived { &mut row.archived_bytes } else { &mut row.bytes };
            *bytes = bytes.saturating_add(image.bytes);
        }
        row
    }
}

/// The components of a unit, each with a tag. The tags of the parts count only if the tags of the root
/// name no component.
fn components_of_unit<'a>(plan: &RetentionPlan<'a>, unit: &Unit) -> Vec<(Component, &'a Tag)> {
    let of_image = |image: &ImageId| components_of_image(plan, *image);
    let mut components = of_image(&unit.root);
    if components.is_empty() {
        components = unit.parts.iter().flat_map(of_image).collect();
    }
    // The first tag of each component. Versions sort before channels.
    components.sort_unstable();
    components.dedup_by(|(component, _), (before, _)| component == before);
    components.into_iter().map(|(component, (_, tag))| (component, tag)).collect()
}

/// The components that the tags of an image name, each with its tag, and whether the tag is a
/// channel.
fn components_of_image<'a>(
    plan: &RetentionPlan<'a>,
    image: ImageId,
) -> Vec<(Component, (bool, &'a Tag))> {
    let tags = plan.read_tags(image).filter(|(tag, _)| Quarantine::read(tag).is_none());
    let components = tags.filter_map(|(tag, reading)| {
        Some((plan.kind_of(reading)?.component.clone(), (reading.is_channel, tag)))
    });
    components.collect()
}

impl ComponentUsage<'_> {
    /// The status of the findings of a release line, from the recorded scans. A version that cannot be
    /// pulled any more has no open findings.
    #[must_use]
    pub fn findings(&self, recorded: OpenFindingsStatus, threshold: Severity) -> FindingsStatus {
        let OpenFindingsStatus { open, unread } = recorded;
        let since = open.as_ref().map(|open| (open.pushed, open.version.clone()));
        // An unread scan of an earlier version does not matter.
        let unread = unread.filter(|unread| match (self.active.get(unread), &since) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(pushed), Some((at, version))) => {
                version == unread || pushed.is_some_and(|pushed| pushed > *at)
            }
        });
        match (open, unread) {
            (Some(open), unread) if self.active.contains_key(&open.version) => {
                let is_partial = open.lowest > threshold.into();
                FindingsStatus::Open { open, is_partial, unread }
            }
            (_, Some(unread)) => FindingsStatus::Unread(unread),
            (Some(open), None) => FindingsStatus::Gone(open),
            (None, None) => FindingsStatus::Never,
        }
    }
}

impl ComponentUsageRow {
    /// The name of the component, or [`NO_COMPONENT`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.component.as_ref().map_or(NO_COMPONENT, Component::as_str)
    }

    /// The row and the findings in one line.
    #[must_use]
    pub fn line(&self, repository: &RepositoryName, findings: &FindingsStatus) -> String {
        let component = self.component.as_ref();
        let name = component.map_or("images without a component", Component::as_str);
        format!("{name} in {repository}: {self}; {findings}")
    }
}

/// For example `20 images, 12.3 GB`.
impl fmt::Display for ComponentUsageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = |count: usize| match count {
            1 => "1 image".to_owned(),
            _ => format!("{count} images"),
        };
        write!(f, "{}, {}", images(self.images), format_bytes(self.bytes))?;
        if self.archived > 0 || self.archived_bytes > 0 {
            let (images, bytes) = (images(self.archived), format_bytes(self.archived_bytes));
            write!(f, "; archived: {images}, {bytes}")?;
        }
        Ok(())
    }
}

impl FindingsStatus {
    /// The open findings. None where they are not known.
    #[must_use]
    pub fn open(&self) -> Option<&OpenFindings> {
        match self {
            Self::Open { open, .. } => Some(open),
            Self::Unread(_) | Self::Gone(_) | Self::Never | Self::ByImage | Self::Unknown => None,
        }
    }
}

/// The tag of a version, or its digest.
#[must_use]
pub fn open_version_name(open: &OpenFindings) -> &str {
    open.tag.as_ref().map_or(open.version.as_str(), Tag::as_str)
}

/// For example `5 findings are open in litellm-v1.80.5: 1 CRITICAL, 4 HIGH`.
impl fmt::Display for FindingsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { open, is_partial, unread } => {
                let (name, counts) = (open_version_name(open), &open.counts);
                match counts.total() {
                    0 => write!(f, "no finding is open in {name}")?,
                    1 => write!(f, "1 finding is open in {name}: {counts}")?,
                    total => write!(f, "{total} findings are open in {name}: {counts}")?,
                }
                if *is_partial {
                    let lowest = open.lowest;
                    write!(f, " (the scan counted only findings of {lowest} and above)")?;
                }
                match unread {
                    Some(unread) if *unread == open.version => {
                        f.write_str("; the findings of a later scan could not be read")
                    }
                    Some(unread) => {
                        write!(f, "; the findings of the later version {unread} could not be read")
                    }
                    None => Ok(()),
                }
            }
            Self::Unread(unread) => write!(f, "the findings of {unread} could not be read"),
            Self::Gone(open) => {
                write!(
                    f,
                    "no version was scanned after {}, which cannot be pulled any more",
                    open_version_name(open)
                )
            }
            Self::Never => f.write_str("no version was scanned yet"),
            Self::ByImage => f.write_str("the findings are recorded for each image"),
            Self::Unknown => f.write_str("the open findings could not be read from the ledger"),
        }
    }
}

#[cfg(test)]
mod tests;
