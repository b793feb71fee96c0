//! Records when each tag was pushed to its image.
//!
//! ECR reports when an image was first pushed, and not when it got a tag: an old image that is promoted
//! under a new tag looks old. A *binding* is a tag of an image. The ledger knows the pushes of bindings,
//! and a sweep records each binding that it sees ([`observe_tags`]).
//!
//! A tag is as old as the latest of these times:
//!
//! - the push of its image;
//! - the last known push of the binding;
//! - the time of the binding in the record of earlier sweeps.
//!
//! If neither the record nor a push since the last sweep has the binding, a sweep sees it for the first
//! time, and the tag is as young as the sighting. Only the first sweep of a repository uses the push of the
//! image instead. Each of the times can only make a tag younger, so the order of events does not matter,
//! and a repeated or late event never makes a tag older.
//!
//! The record holds the bindings that exist. A tag that was removed and comes back between two sweeps
//! counts as the same binding, unless the ledger knows its second push.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::graph::Inventory;
use crate::image::{Digest, Tag};
use crate::sightings::{EarlierSightings, Sightings};
use crate::untagged::prefix_of;

/// The key of a binding in the ledger: the first 64 bits of the SHA-256 of [`prefix_of`] the digest and
/// of the tag.
#[must_use]
pub fn binding_key(image: &Digest, tag: &Tag) -> u64 {
    let hash = Sha256::new_with_prefix(prefix_of(image).to_be_bytes()).chain_update(tag.as_str());
    hash.finalize().first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Sets the time of each tag of the repository, and returns the record after this sweep. `earlier` has the
/// record of the sweeps before: the first sweep of a repository has none. `pushes` has the last known
/// push of each binding. `now` is not before the images were listed. The tag of a signature needs no time.
#[must_use]
pub fn observe_tags(
    inventory: &mut Inventory,
    earlier: Option<&EarlierSightings>,
    pushes: &Sightings,
    now: DateTime<Utc>,
) -> Sightings {
    // A binding that is not in the record did not exist at the last sweep. A push before that sweep belongs to
    // an earlier binding of the same tag and image.
    let listed_at = earlier.and_then(|earlier| earlier.listed_at);
    let is_new = |at: &DateTime<Utc>| listed_at.is_none_or(|listed_at| *at > listed_at);
    let mut record = Vec::new();
    for id in inventory.images.ids() {
        let image = &mut inventory.images[id];
        let time = |tag: &Tag| {
            if tag.subject().is_some() {
                return now;
            }
            let key = binding_key(&image.digest, tag);
            let recorded = match earlier {
                None => image.pushed_at,
                Some(earlier) => earlier.tags.get(key),
            };
            let last_push = pushes.get(key).filter(|at| recorded.is_some() || is_new(at));
            let at = recorded.max(last_push).unwrap_or(now).max(image.pushed_at.unwrap_or(now));
            record.push((key, at));
            at
        };
        image.tag_times = image.tags.iter().map(time).collect();
    }
    record.into_iter().collect()
}

#[cfg(test)]
mod tests;
