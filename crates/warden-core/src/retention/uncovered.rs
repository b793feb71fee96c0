//! The images that stay only because neither `Keep` nor `Expire` covers a tag.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Decision, KeepReason, RetentionPlan};
use crate::arena::ImageId;
use crate::image::{Tag, format_bytes};

/// The most tags that are named.
const MOST_EXAMPLES: usize = 5;

/// Images with a tag that [`crate::policy::Retention::keep`] does not count and that no entry of
/// [`crate::policy::Retention::expire`] matches. No sweep removes such an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncoveredImages {
    /// The number of images. An index with its images counts as one.
    pub images: usize,
    /// The bytes of these images, with the parts of indexes. Layers that other images share are counted too.
    pub bytes: u64,
    /// Some of their tags, in order.
    pub examples: Vec<Tag>,
}

/// For example `12 images (3.4 GB), such as pr-1, pr-2`.
impl fmt::Display for UncoveredImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, bytes, examples } = self;
        let noun = if *images == 1 { "image" } else { "images" };
        let such = if *images > examples.len() { ", such as" } else { ":" };
        let tags: Vec<&str> = examples.iter().map(Tag::as_str).collect();
        write!(f, "{images} {noun} ({}){such} {}", format_bytes(*bytes), tags.join(", "))
    }
}

impl RetentionPlan<'_> {
    /// The images that the plan keeps only because neither `Keep` nor `Expire` covers a tag. None if the
    /// plan keeps no such image.
    #[must_use]
    pub fn uncovered(&self) -> Option<UncoveredImages> {
        let mut tags = BTreeSet::new();
        let mut all: BTreeSet<ImageId> = BTreeSet::new();
        let mut images = 0;
        for decided in &self.units {
            let Decision::Keep(KeepReason::Unmatched(tag) | KeepReason::Ignored(tag, _), _) =
                &decided.decision
            else {
                continue;
            };
            images += 1;
            tags.insert(tag);
            all.extend(decided.unit.images());
        }
        let bytes = all.into_iter().map(|image| self.image(image).bytes).sum();
        let examples = tags.into_iter().take(MOST_EXAMPLES).cloned().collect();
        (images > 0).then_some(UncoveredImages { images, bytes, examples })
    }
}
