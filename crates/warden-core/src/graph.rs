//! The references between images. An index lists the image of each platform, and attestations. A
//! signature refers to the image that it signs. Images that belong together are a [`Unit`].

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::arena::{Arena, ImageId, UnitId};
use crate::artifact::{ArtifactKind, Descriptor};
use crate::image::{Digest, ImageStatus, Tag};
use crate::lifecycle::native::NativeRules;
use crate::sightings::Sightings;

/// Whether a manifest of this media type is an index: an image for several platforms.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// Reads the parts of an index from its manifest, each once
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>). Returns an error if the
/// manifest is not the manifest of an index, or if a digest is invalid.
pub fn children(manifest: &str) -> Result<BTreeMap<Digest, ArtifactKind>, InvalidIndex> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    let index: Index =
        serde_json::from_str(manifest).map_err(|error| InvalidIndex(error.to_string()))?;
    let part = |descriptor: Descriptor| {
        let digest = &descriptor.digest;
        let parsed = digest.parse().map(|parsed| (parsed, descriptor.kind()));
        parsed.map_err(|error| InvalidIndex(format!("{error}, got {digest:?}")))
    };
    index.manifests.into_iter().map(part).collect()
}

/// A manifest that cannot be read as an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is not an index: {0}")]
pub struct InvalidIndex(String);

/// An image in the list of all images of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// When each tag was pushed, in the order of `tags` ([`crate::tag_times::observe_tags`]). Empty while
    /// the times are not known.
    pub tag_times: Vec<DateTime<Utc>>,
    /// Whether the image has a tag that is invalid by the OCI specification, or a subject whose
    /// digest has an unknown algorithm. `tags` and `subject` do not contain such a value. Such an
    /// image is always kept.
    pub has_unparsed_reference: bool,
    /// Whether the image is active, archived, or being restored from the archive.
    pub status: ImageStatus,
    /// When the manifest was first pushed.
    pub pushed_at: Option<DateTime<Utc>>,
    /// When the image was last pulled. None if ECR has no record of a pull.
    pub pulled_at: Option<DateTime<Utc>>,
    /// When the image was last restored from the archive.
    pub restored_at: Option<DateTime<Utc>>,
    /// The size of all layers in bytes, including layers that other images share.
    pub bytes: u64,
    /// Whether the manifest is an index.
    pub is_index: bool,
    /// The kind of the artifact, as far as the list shows it.
    pub kind: ArtifactKind,
    /// The image that the manifest refers to (`subject`).
    pub subject: Option<Digest>,
}

impl ImageRecord {
    /// The images that this image signs or attests. The manifest names one subject. Tags that name a
    /// subject count only if the image has no other tags, because anybody can push such a tag.
    pub fn subjects(&self) -> impl Iterator<Item = Digest> {
        let is_named = self.own_tags().next().is_some();
        let by_tags = self.tags.iter().filter(move |_| !is_named).filter_map(Tag::subject);
        self.subject.iter().cloned().chain(by_tags)
    }

    /// Merges another description of the same image. Of two values, the one that keeps the image
    /// longer wins.
    pub fn merge(&mut self, other: &Self) {
        let new = other.tags.iter().filter(|tag| !self.tags.contains(tag)).cloned();
        let new: Vec<Tag> = new.collect();
        self.tags.extend(new);
        self.has_unparsed_reference |= other.has_unparsed_reference;
        self.pushed_at = self.pushed_at.zip(other.pushed_at).map(|(one, two)| one.max(two));
        self.pulled_at = self.pulled_at.max(other.pulled_at);
        self.restored_at = self.restored_at.max(other.restored_at);
        if self.status == ImageStatus::Archived {
            self.status = other.status;
        }
    }

    /// Whether the tags, the times and the status are the same as in `before`. With
    /// `may_be_archived`, the image may also be archived now: when ECR archives an image, it archives
    /// the referrers too.
    #[must_use]
    pub fn is_unchanged_since(&self, before: &Self, may_be_archived: bool) -> bool {
        let tags = |image: &Self| image.tags.iter().cloned().collect::<HashSet<Tag>>();
        let times = |image: &Self| (image.pushed_at, image.pulled_at, image.restored_at);
        let has_same_status =
            self.status == before.status || may_be_archived && self.status == ImageStatus::Archived;
        let has_same_tags = self.has_unparsed_reference == before.has_unparsed_reference
            && tags(self) == tags(before);
        has_same_status && has_same_tags && times(self) == times(before)
    }

    /// Whether the image is an index that can be pulled, or that ECR is restoring.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        self.is_index && self.status != ImageStatus::Archived
    }

    /// Whether the image has tags of its own although it refers to another image.
    fn is_tagged_referrer(&self) -> bool {
        self.subject.is_some() && self.own_tags().next().is_some()
    }

    /// The tags that do not name a subject.
    pub fn own_tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(|tag| tag.subject().is_none())
    }

    /// The tags that do not name a subject, each with the time of its push. None for a time that is not
    /// known.
    pub fn own_tags_with_times(&self) -> impl Iterator<Item = (&Tag, Option<DateTime<Utc>>)> {
        let times = self.tag_times.iter().copied().map(Some).chain(std::iter::repeat(None));
        self.tags.iter().zip(times).filter(|(tag, _)| tag.subject().is_none())
    }
}

/// All images of a repository, also archived ones, with the parts of the indexes.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Each image of the repository, once.
    pub images: Arena<ImageId, ImageRecord>,
    /// The parts of each index that is not archived. ECR returns no manifest of an archived one.
    pub indexes: HashMap<Digest, Vec<Digest>>,
    /// Subjects that ECR reported as not found. A subject that is not in `images` may still exist,
    /// because images can be pushed while the list is read.
    pub gone: HashSet<Digest>,
    /// Images that archived indexes need, according to the ledger. Without them, a restored index
    /// cannot be pulled.
    pub needed_by_archived: HashSet<Digest>,
    /// Whether an archived index exists whose images are unknown: the ledger has no record of the
    /// index, and ECR returns no manifest of an archived index.
    pub has_unknown_archived_index: bool,
    /// Since when each untagged image has no tag, according to the sweeps, by
    /// [`crate::untagged::prefix_of`] its digest.
    pub untagged: Sightings,
    /// The native lifecycle rules of the repository. None if the repository has no lifecycle policy,
    /// or if the policy archives nothing: the sweep does not read the rules then.
    pub native_rules: Option<NativeRules>,
}

impl Inventory {
    /// The indexes whose parts must be read. The parts of an index that ECR is restoring can only be
    /// read when the index is active again.
    pub fn needed_indexes(&self) -> impl Iterator<Item = &Digest> {
        self.images.iter().filter(|image| image.has_parts()).map(|image| &image.digest)
    }

    /// The subjects of untagged referrers that are not in `images`. The caller must ask ECR whether
    /// these subjects still exist.
    #[must_use]
    pub fn missing_subjects(&self) -> HashSet<Digest> {
        let is_orphan = |image: &&ImageRecord| {
            image.own_tags().next().is_none() && !image.has_unparsed_reference
        };
        let mut missing: HashSet<Digest> =
            self.images.iter().filter(is_orphan).flat_map(ImageRecord::subjects).collect();
        if !missing.is_empty() {
            self.images.iter().for_each(|image| {
                missing.remove(&image.digest);
            });
        }
        missing
    }
}

/// Images that are kept or removed together: an image that no other image needs, with its parts
/// and its referrers. A referrer with tags of its own is the root of a unit too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The image that no other image needs.
    pub root: ImageId,
    /// The parts of the root, and their parts. An index is before its parts: ECR deletes them in
    /// this order only.
    pub parts: Vec<ImageId>,
    /// Signatures and attestations of the root and the parts, with the parts of the referrers, in
    /// the same order.
    pub referrers: Vec<ImageId>,
}

impl Unit {
    /// The root, the parts and the referrers.
    #[must_use]
    pub fn images(&self) -> impl DoubleEndedIterator<Item = ImageId> + '_ {
        std::iter::once(self.root)
            .chain(self.parts.iter().copied())
            .chain(self.referrers.iter().copied())
    }
}

/// The units of a repository.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Each unit. An image that several units need is in each of them.
    pub units: Arena<UnitId, Unit>,
    /// Images that only refer to each other. Anybody can push such a cycle with tags, and no rule can
    /// judge the cycle. Each of these images is the root of a unit.
    pub circular: HashSet<ImageId>,
}

impl Graph {
    /// Finds the units. Returns an error if the parts of an index are not known: without the parts,
    /// the images of the index would look as if no image needed them.
    pub fn build(inventory: &Inventory) -> Result<Self, UnknownParts> {
        let images = &inventory.images;
        let id_of: HashMap<&Digest, ImageId> =
            images.enumerate().map(|(id, image)| (&image.digest, id)).collect();
        let mut edges = Edges { parts: images.map(|_| vec![]), referrers: images.map(|_| vec![]) };
        let mut is_needed = images.map(|_| false);
        for (id, image) in images.enumerate() {
            if image.has_parts() {
                let parts = inventory.indexes.get(&image.digest);
                let parts = parts.ok_or_else(|| UnknownParts(image.digest.clone()))?;
                let mut parts: Vec<ImageId> =
                    parts.iter().filter_map(|part| id_of.get(part).copied()).collect();
                parts.sort_unstable();
                parts.dedup();
                // A part that is a unit of its own stays one when this index is removed.
                for part in parts.iter().filter(|part| !images[**part].is_tagged_referrer()) {
                    is_needed[*part] = true;
                }
                edges.parts[id] = parts;
            }
            for subject in image.subjects().filter_map(|subject| id_of.get(&subject)) {
                edges.referrers[*subject].push(id);
                if image.own_tags().next().is_none() {
                    is_needed[id] = true;
                }
            }
        }

        let mut is_reached = images.map(|_| false);
        let mut units = Arena::default();
        for root in images.ids().filter(|image| !is_needed[*image]) {
            let unit = edges.collect_unit(root);
            for image in unit.images() {
                is_reached[image] = true;
            }
            units.push(unit);
        }
        let mut circular = HashSet::new();
        for image in images.ids().filter(|image| !is_reached[*image]) {
            circular.insert(image);
            units.push(edges.collect_unit(image));
        }
        Ok(Self { units, circular })
    }

    /// The other images of the unit with this root, in two lists: images that only this unit needs,
    /// and images that another unit needs too. None if another image needs the root, or if the images
    /// only refer to each other.
    #[must_use]
    pub fn others_of_unit(&self, root: ImageId) -> Option<(Vec<ImageId>, Vec<ImageId>)> {
        let unit = self.units.iter().find(|unit| unit.root == root)?;
        if self.circular.contains(&root) {
            return None;
        }
        let others = self.units.iter().filter(|other| other.root != root);
        let needed: HashSet<ImageId> = others.flat_map(Unit::images).collect();
        if needed.contains(&root) {
            return None;
        }
        Some(
            unit.images().filter(|image| *image != root).partition(|image| !needed.contains(image)),
        )
    }
}

/// The parts and the referrers of each image.
struct Edges {
    parts: Arena<ImageId, Vec<ImageId>>,
    referrers: Arena<ImageId, Vec<ImageId>>,
}

impl Edges {
    fn collect_unit(&self, root: ImageId) -> Unit {
        // Most units have only a root.
        if self.parts[root].is_empty() && self.referrers[root].is_empty() {
            return Unit { root, parts: vec![], referrers: vec![] };
        }
        let mut parts = self.with_parts(&[root], &HashSet::new());
        let mut all: Vec<ImageId> = parts.clone();
        let mut seen: HashSet<ImageId> = parts.iter().copied().collect();
        let mut next = 0;
        while let Some(image) = all.get(next).copied() {
            // A referrer may be an index with parts of its own.
            let more = self.referrers[image].iter().chain(&self.parts[image]);
            all.extend(more.filter(|other| seen.insert(**other)));
            next += 1;
        }
        // A referrer may be an index that needs the same image. That image comes after both.
        let root_alone = HashSet::from([root]);
        let referrers = self.with_parts(all.get(parts.len()..).unwrap_or_default(), &root_alone);
        let late: HashSet<ImageId> = referrers.iter().copied().collect();
        parts.retain(|part| *part != root && !late.contains(part));
        Unit { root, parts, referrers }
    }

    /// These images with their parts, without the images in `seen`. Each index is before its
    /// parts.
    fn with_parts(&self, images: &[ImageId], seen: &HashSet<ImageId>) -> Vec<ImageId> {
        let mut seen = seen.clone();
        let mut backwards = Vec::new();
        let unseen: Vec<ImageId> =
            images.iter().rev().filter(|image| !seen.contains(image)).copied().collect();
        for image in unseen {
            let mut path = Vec::new();
            if seen.insert(image) {
                path.push((image, self.parts[image].iter()));
            }
            while let Some((image, parts)) = path.last_mut() {
                match parts.next() {
                    Some(part) if seen.insert(*part) => {
                        path.push((*part, self.parts[*part].iter()));
                    }
                    Some(_) => {}
                    None => {
                        backwards.push(*image);
                        path.pop();
                    }
                }
            }
        }
        backwards.reverse();
        backwards
    }
}

/// An index whose parts are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the images of the index {0} are not known")]
pub struct UnknownParts(pub Digest);

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use crate::retention::tests::{digest, image_id, inventory};

    #[test]
    fn the_parts_of_an_index_are_read_and_another_manifest_is_an_error() {
        let digests = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let descriptor = |digest: &String| json!({"digest": digest, "size": 1, "platform": {}});
        let both: Vec<_> = digests.iter().chain(&digests[..1]).map(descriptor).collect();
        let index = json!({"schemaVersion": 2, "manifests": both});
        let found = children(&index.to_string()).unwrap();
        let found: Vec<_> = found.keys().map(Digest::as_str).collect();
        assert_eq!(found, digests);

        for wrong in ["", "[]", r#"{"manifests": [{}]}"#, r#"{"layers": []}"#] {
            assert!(children(wrong).is_err(), "{wrong}");
        }
        let error = children(r#"{"manifests": [{"digest": "sha512:0"}]}"#).unwrap_err();
        expect![[r#"the manifest is not an index: expected sha256: and 64 lower-case hexadecimal digits, got "sha512:0""#]].assert_eq(&error.to_string());
    }

    #[test]
    fn an_index_is_recognised_by_its_media_type() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.index.v1+json", true),
            ("application/vnd.docker.distribution.manifest.list.v2+json", true),
            ("application/vnd.oci.image.manifest.v1+json", false),
            ("application/vnd.docker.distribution.manifest.v2+json", false),
            ("", false),
        ] {
            assert_eq!(is_index(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn the_parts_of_each_index_that_can_be_pulled_are_needed() {
        let inventory = inventory(&[
            ("index", "a-v1.0.0, needs amd"),
            ("amd", ""),
            ("back-soon", "a-v2.0.0, activating, needs amd"),
            ("archived", "a-v3.0.0, archived, needs amd"),
        ]);
        let needed: Vec<&Digest> = inventory.needed_indexes().collect();
        assert_eq!(needed, [&digest("index"), &digest("back-soon")]);
    }

    #[test]
    fn only_subjects_of_untagged_referrers_are_missing_subjects() {
        let inventory = inventory(&[
            ("there", "a-v1.0.0"),
            ("signature", "sig:there"),
            ("orphan", "sig:gone"),
            ("by-manifest", ", of elsewhere"),
            ("named", "b-v1.0.0, of nowhere"),
            ("odd", ", odd, of unseen"),
        ]);
        let missing = HashSet::from([digest("gone"), digest("elsewhere")]);
        assert_eq!(inventory.missing_subjects(), missing);
    }

    #[test]
    fn an_image_that_two_nested_indexes_need_is_in_the_unit_once_and_after_both() {
        let inventory = inventory(&[
            ("top", "a-v1.0.0, needs left right"),
            ("left", ", needs shared"),
            ("right", ", needs shared"),
            ("shared", ""),
        ]);
        let units: Vec<Unit> = Graph::build(&inventory).unwrap().units.into_iter().collect();
        let [top, left, right, shared] =
            ["top", "left", "right", "shared"].map(|name| image_id(&inventory, name));
        let parts = vec![right, left, shared];
        assert_eq!(units, [Unit { root: top, parts, referrers: vec![] }]);
    }

    #[test]
    fn a_tagged_part_with_a_subject_is_a_unit_of_its_own() {
        let inventory = inventory(&[
            ("index", "a-v1.0.0, needs chart attested"),
            ("chart", "b-v1.0.0, of other"),
            ("attested", ", of other"),
            ("other", "c-v1.0.0"),
        ]);
        let graph = Graph::build(&inventory).unwrap();
        let roots: Vec<ImageId> = graph.units.iter().map(|unit| unit.root).collect();
        let expected = ["index", "chart", "other"].map(|name| image_id(&inventory, name));
        assert_eq!((&roots[..], graph.circular.len()), (&expected[..], 0));
    }

    #[test]
    fn two_descriptions_of_an_image_are_compared_and_merged() {
        let at = |hour: u32| {
            DateTime::parse_from_rfc3339(&format!("2026-11-24T{hour:02}:00:00Z")).unwrap().to_utc()
        };
        let listed =
            |tags: &[&str], pushed: Option<u32>, pulled: Option<u32>, status| ImageRecord {
                digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                tag_times: vec![],
                has_unparsed_reference: false,
                status,
                pushed_at: pushed.map(at),
                pulled_at: pulled.map(at),
                restored_at: None,
                bytes: 1,
                is_index: false,
                kind: ArtifactKind::Unknown,
                subject: None,
            };
        let one = listed(&["a", "b"], Some(1), None, ImageStatus::Active);
        let is_as = |other: ImageRecord, may| other.is_unchanged_since(&one, may);
        assert!(is_as(listed(&["b", "a"], Some(1), None, ImageStatus::Active), false));
        assert!(is_as(listed(&["a", "b"], Some(1), None, ImageStatus::Archived), true));
        assert!(!is_as(listed(&["a", "b"], Some(1), None, ImageStatus::Archived), false));
        assert!(!is_as(listed(&["a", "b"], Some(1), None, ImageStatus::Activating), true));
        assert!(!is_as(listed(&["a", "b"], Some(1), Some(2), ImageStatus::Active), true));
        assert!(!is_as(listed(&["a", "b", "c"], Some(1), None, ImageStatus::Active), true));
        assert!(!is_as(listed(&["a"], Some(1), None, ImageStatus::Active), true));

        let mut one = listed(&["a"], Some(1), None, ImageStatus::Archived);
        one.merge(&listed(&["a", "prod"], Some(2), Some(3), ImageStatus::Active));
        assert_eq!(one, listed(&["a", "prod"], Some(2), Some(3), ImageStatus::Active));
        one.merge(&listed(&[], None, Some(1), ImageStatus::Archived));
        assert_eq!(one, listed(&["a", "prod"], None, Some(3), ImageStatus::Active));
        // An image with an unparsed reference in one description keeps it.
        let odd = ImageRecord { has_unparsed_reference: true, ..one.clone() };
        for (mut one, other) in [(one.clone(), &odd), (odd.clone(), &one)] {
            one.merge(other);
            assert_eq!(one, odd);
        }
    }
}
