//! Records since when an image has no tag.
//!
//! ECR does not report when an image lost its tag. A sweep therefore records each untagged image
//! that it sees, with the time of the first sighting ([`observe_untagged`]). The record of an image
//! lasts until a sweep sees the image with a tag, within an index, archived, or not at all.
//!
//! An untagged image is kept for `LifecycleUntaggedDays` after the later of its push and the last
//! sweep that saw a tag on the image. The first sighting without a tag is later than that sweep.
//! Therefore an image is never removed too early, and at most the time between two sweeps too late.
//! Only the first sweep of a repository has no record: it uses the time of the push as the first
//! sighting, and records that time. The ledger then shows that the repository has been swept, also if
//! the repository has no untagged image.
//!
//! The record holds untagged images only. An image that has a tag is in the list of images, so a
//! sweep needs no record to see the tag. The record is as large as the number of untagged images
//! that no index needs: 12 bytes each.

use chrono::{DateTime, Utc};

use crate::graph::{Graph, Inventory, Unit};
use crate::image::{Digest, ImageStatus};
use crate::sightings::Sightings;

/// The first 64 bits of a digest. Two images of a repository that have them in common share the
/// earlier time; nobody can make an image that has them in common with a given image.
#[must_use]
pub fn prefix_of(image: &Digest) -> u64 {
    let hex = image.as_str().trim_start_matches("sha256:");
    hex.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default()
}

/// The record after a sweep has seen these images: when sweeps first saw each untagged image, by
/// [`prefix_of`] its digest. `earlier` is the record of the sweeps before: the first sweep of a
/// repository has none.
#[must_use]
pub fn observe_untagged(
    inventory: &Inventory,
    graph: &Graph,
    earlier: Option<&Sightings>,
    now: DateTime<Utc>,
) -> Sightings {
    let untagged = graph.units.iter().filter(|unit| is_untagged(inventory, unit));
    let sighting = |unit: &Unit| {
        let root = &inventory.images[unit.root];
        let since = match earlier {
            None => root.pushed_at,
            Some(earlier) => earlier.get(prefix_of(&root.digest)),
        };
        (prefix_of(&root.digest), since.unwrap_or(now))
    };
    untagged.map(sighting).collect()
}

/// Whether the unit is a set of untagged images: [`has_tag`] is false, and the root refers to no
/// other image.
#[must_use]
pub fn is_untagged(inventory: &Inventory, unit: &Unit) -> bool {
    let root = &inventory.images[unit.root];
    root.status != ImageStatus::Archived
        && root.subjects().next().is_none()
        && !has_tag(inventory, unit)
}

/// Whether an image of the unit has a tag of its own, also a part of a referrer. An image that refers to
/// another image and has a tag is a unit by itself, and counts here only as the root. The tag of a
/// signature does not count as a tag of its own. A quarantine tag does.
#[must_use]
pub fn has_tag(inventory: &Inventory, unit: &Unit) -> bool {
    unit.images().any(|id| {
        let image = &inventory.images[id];
        let counts = id == unit.root || image.subjects().next().is_none();
        counts && image.own_tags().next().is_some()
    })
}
