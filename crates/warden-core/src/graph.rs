//! How images refer to each other: an index to the image of each platform, and to what is
//! attested of them; a signature to what it signs. What belongs together is a [`Unit`].

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::image::{Digest, ImageStatus, Tag};

/// Whether a manifest of this media type is an index: an image for several platforms.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// What a part of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The image for a platform.
    Image,
    /// What is attested of one of those: no image, though it looks like one
    /// (<https://docs.docker.com/build/metadata/attestations/attestation-storage/>).
    Attestation,
}

/// The parts of an index, each once, by its manifest
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
pub fn children(manifest: &str) -> Result<BTreeMap<Digest, Part>, InvalidIndex> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let index: Index =
        serde_json::from_str(manifest).map_err(|error| InvalidIndex(error.to_string()))?;
    let part = |Descriptor { digest, annotations }: Descriptor| {
        let kind = annotations.get("vnd.docker.reference.type").map(String::as_str);
        let part = match kind {
            Some("attestation-manifest") => Part::Attestation,
            _ => Part::Image,
        };
        let parsed = digest.parse().map(|digest| (digest, part));
        parsed.map_err(|error| InvalidIndex(format!("{error}, got {digest:?}")))
    };
    index.manifests.into_iter().map(part).collect()
}

/// A manifest that is no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is no index: {0}")]
pub struct InvalidIndex(String);

/// An image as a list of all images has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Whether something of it is not understood: a tag that is none by OCI, which is then not
    /// among those, or a subject of another kind of digest.
    pub is_odd: bool,
    /// Where it is.
    pub status: ImageStatus,
    /// When its manifest was first pushed.
    pub pushed_at: Option<DateTime<Utc>>,
    /// When it was last pulled, as far as that was recorded.
    pub pulled_at: Option<DateTime<Utc>>,
    /// When it last came back from the archive.
    pub restored_at: Option<DateTime<Utc>>,
    /// Its size, with layers that others have too.
    pub bytes: u64,
    /// Whether it is an image for several platforms.
    pub is_index: bool,
    /// Whether it is something else than an image for containers, which nobody scans.
    pub is_artifact: bool,
    /// What it refers to, by its manifest (`subject`).
    pub subject: Option<Digest>,
}

impl Listed {
    /// What it is a signature or an attestation of, by its manifest, and by its tags where it has
    /// no others: anybody can give an image such a tag.
    pub fn subjects(&self) -> impl Iterator<Item = Digest> {
        let is_named = self.own_tags().next().is_some();
        let by_tags = self.tags.iter().filter(move |_| !is_named).filter_map(Tag::subject);
        self.subject.iter().cloned().chain(by_tags)
    }

    /// Adds what another look saw of the same image: whatever of both keeps it longer.
    pub fn merge(&mut self, other: &Self) {
        let new = other.tags.iter().filter(|tag| !self.tags.contains(tag)).cloned();
        let new: Vec<Tag> = new.collect();
        self.tags.extend(new);
        self.is_odd |= other.is_odd;
        self.pushed_at = self.pushed_at.zip(other.pushed_at).map(|(one, two)| one.max(two));
        self.pulled_at = self.pulled_at.max(other.pulled_at);
        self.restored_at = self.restored_at.max(other.restored_at);
        if self.status == ImageStatus::Archived {
            self.status = other.status;
        }
    }

    /// Whether nothing is to be said of it that was not when it was like `before`; it may be in
    /// the archive by now where that is where it goes: ECR itself takes what refers to an image
    /// along.
    #[must_use]
    pub fn is_as(&self, before: &Self, may_be_archived: bool) -> bool {
        let tags = |of: &Self| of.tags.iter().cloned().collect::<HashSet<Tag>>();
        let times = |of: &Self| (of.pushed_at, of.pulled_at, of.restored_at);
        let is_there =
            self.status == before.status || may_be_archived && self.status == ImageStatus::Archived;
        let is_called_so = self.is_odd == before.is_odd && tags(self) == tags(before);
        is_there && is_called_so && times(self) == times(before)
    }

    /// Whether it is an index that can be pulled, or soon can.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        self.is_index && self.status != ImageStatus::Archived
    }

    /// Whether it refers to something, and is something by itself: it has tags of its own.
    fn is_own(&self) -> bool {
        self.subject.is_some() && self.own_tags().next().is_some()
    }

    /// Its tags that are not its subject's business.
    pub fn own_tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(|tag| tag.subject().is_none())
    }
}

/// All images of a repository, archived ones too, and what is known of how they hang together.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The images, each once.
    pub images: Vec<Listed>,
    /// The parts of each index that is not in the archive, where no manifest can be read.
    pub indexes: HashMap<Digest, Vec<Digest>>,
    /// Subjects that are certainly gone. A list that was made while images came and went may
    /// lack one that is there.
    pub gone: HashSet<Digest>,
}

impl Inventory {
    /// The indexes whose parts have to be known. Of one on its way back from the archive they
    /// cannot be, until it is there.
    pub fn needed_indexes(&self) -> impl Iterator<Item = &Digest> {
        self.images.iter().filter(|image| image.has_parts()).map(|image| &image.digest)
    }

    /// The subjects of images that have nothing else to be kept for, and that are not listed:
    /// whether they are gone has to be asked.
    #[must_use]
    pub fn missing_subjects(&self) -> HashSet<Digest> {
        let is_orphan = |image: &&Listed| image.own_tags().next().is_none() && !image.is_odd;
        let mut missing: HashSet<Digest> =
            self.images.iter().filter(is_orphan).flat_map(Listed::subjects).collect();
        if !missing.is_empty() {
            self.images.iter().for_each(|image| {
                missing.remove(&image.digest);
            });
        }
        missing
    }
}

/// What is kept or removed as one: an image that nothing else needs, and all that it needs or
/// that refers to it. What refers to something and has tags of its own is one too. Images are named by their place in [`Inventory::images`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The image itself.
    pub root: usize,
    /// What an index needs: its images, and theirs. An index is before its images, which is
    /// the order in which ECR lets go of them.
    pub parts: Vec<usize>,
    /// What refers to any of those: signatures, attestations, with what those need, in such an
    /// order too.
    pub referrers: Vec<usize>,
}

impl Unit {
    /// All of it.
    #[must_use]
    pub fn images(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        std::iter::once(self.root)
            .chain(self.parts.iter().copied())
            .chain(self.referrers.iter().copied())
    }
}

/// What belongs together in a repository.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The units. An image that several need is in each of them.
    pub units: Vec<Unit>,
    /// Images that only need each other, which tags can be made to say: nobody knows what
    /// they are. Each is the root of a unit.
    pub circular: HashSet<usize>,
}

impl Graph {
    /// Finds the units. An error where the parts of an index are not known: without them its
    /// images would look like images that nothing needs.
    pub fn of(inventory: &Inventory) -> Result<Self, UnknownParts> {
        let images = &inventory.images;
        let place: HashMap<&Digest, usize> =
            images.iter().enumerate().map(|(nth, image)| (&image.digest, nth)).collect();
        let mut edges =
            Edges { parts: vec![vec![]; images.len()], referrers: vec![vec![]; images.len()] };
        let mut is_needed = vec![false; images.len()];
        for (nth, image) in images.iter().enumerate() {
            if image.has_parts() {
                let parts = inventory.indexes.get(&image.digest);
                let parts = parts.ok_or_else(|| UnknownParts(image.digest.clone()))?;
                let mut parts: Vec<usize> =
                    parts.iter().filter_map(|part| place.get(part).copied()).collect();
                parts.sort_unstable();
                parts.dedup();
                // What is one by itself stays one when this index goes.
                let is_own = |part: &&usize| images.get(**part).is_some_and(Listed::is_own);
                for part in parts.iter().filter(|part| !is_own(part)) {
                    set(&mut is_needed, *part);
                }
                edges.parts.get_mut(nth).into_iter().for_each(|it| it.clone_from(&parts));
            }
            for subject in image.subjects().filter_map(|subject| place.get(&subject)) {
                edges.referrers.get_mut(*subject).into_iter().for_each(|it| it.push(nth));
                if image.own_tags().next().is_none() {
                    set(&mut is_needed, nth);
                }
            }
        }

        let mut is_reached = vec![false; images.len()];
        let mut units = Vec::new();
        for root in (0..images.len()).filter(|nth| is_needed.get(*nth) == Some(&false)) {
            let unit = edges.unit(root);
            unit.images().for_each(|nth| set(&mut is_reached, nth));
            units.push(unit);
        }
        let circular = (0..images.len()).filter(|nth| is_reached.get(*nth) == Some(&false));
        let circular: HashSet<usize> = circular.collect();
        units.extend(circular.iter().map(|nth| edges.unit(*nth)));
        Ok(Self { units, circular })
    }
}

/// Who needs whom, and who refers to whom.
struct Edges {
    parts: Vec<Vec<usize>>,
    referrers: Vec<Vec<usize>>,
}

impl Edges {
    fn unit(&self, root: usize) -> Unit {
        // Most images are alone.
        if of(&self.parts, root).is_empty() && of(&self.referrers, root).is_empty() {
            return Unit { root, parts: vec![], referrers: vec![] };
        }
        let mut parts = self.with_parts(&[root], &HashSet::new());
        let mut all: Vec<usize> = parts.clone();
        let mut seen: HashSet<usize> = parts.iter().copied().collect();
        let mut nth = 0;
        while let Some(image) = all.get(nth).copied() {
            // What refers to something may be an index of its own.
            let more = of(&self.referrers, image).iter().chain(of(&self.parts, image));
            all.extend(more.filter(|it| seen.insert(**it)));
            nth += 1;
        }
        // An index may refer to something that needs the same image: that goes after both.
        let root_alone = HashSet::from([root]);
        let referrers = self.with_parts(all.get(parts.len()..).unwrap_or_default(), &root_alone);
        let late: HashSet<usize> = referrers.iter().copied().collect();
        parts.retain(|part| *part != root && !late.contains(part));
        Unit { root, parts, referrers }
    }

    /// These images and what they need but for `seen`, each index before what it needs.
    fn with_parts(&self, images: &[usize], seen: &HashSet<usize>) -> Vec<usize> {
        let mut seen = seen.clone();
        let mut backwards = Vec::new();
        for image in
            images.iter().rev().filter(|it| !seen.contains(it)).copied().collect::<Vec<_>>()
        {
            let mut path = Vec::new();
            if seen.insert(image) {
                path.push((image, of(&self.parts, image).iter()));
            }
            while let Some((image, parts)) = path.last_mut() {
                match parts.next() {
                    Some(part) if seen.insert(*part) => {
                        path.push((*part, of(&self.parts, *part).iter()));
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

fn of(edges: &[Vec<usize>], nth: usize) -> &[usize] {
    edges.get(nth).map_or(&[], Vec::as_slice)
}

pub(crate) fn set(flags: &mut [bool], nth: usize) {
    flags.get_mut(nth).into_iter().for_each(|flag| *flag = true);
}

/// An index whose parts are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the images of the index {0} are not known")]
pub struct UnknownParts(pub Digest);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::retention::tests::{digest, inventory};

    #[test]
    fn an_index_names_its_images_and_what_is_none_is_an_error() {
        let digests = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let descriptor = |digest: &String| json!({"digest": digest, "size": 1, "platform": {}});
        let mut both: Vec<_> = digests.iter().chain(&digests[..1]).map(descriptor).collect();
        let annotations = json!({
            "vnd.docker.reference.digest": digests[0],
            "vnd.docker.reference.type": "attestation-manifest",
        });
        both[1]["annotations"] = annotations;
        let index = json!({"schemaVersion": 2, "manifests": both});
        let found = children(&index.to_string()).unwrap();
        let found: Vec<_> = found.iter().map(|(digest, part)| (digest.as_str(), *part)).collect();
        assert_eq!(
            found,
            [(digests[0].as_str(), Part::Image), (digests[1].as_str(), Part::Attestation)]
        );

        for wrong in ["", "[]", r#"{"manifests": [{}]}"#, r#"{"layers": []}"#] {
            assert!(children(wrong).is_err(), "{wrong}");
        }
        let error = children(r#"{"manifests": [{"digest": "sha512:0"}]}"#).unwrap_err();
        assert!(error.to_string().ends_with("got \"sha512:0\""), "{error}");
    }

    #[test]
    fn an_index_is_told_from_an_image_by_its_media_type() {
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
    fn only_of_what_has_nothing_else_to_be_kept_for_a_missing_subject_is_asked_for() {
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
    fn what_two_indexes_of_an_index_need_is_in_its_unit_once_and_after_both() {
        let inventory = inventory(&[
            ("top", "a-v1.0.0, needs left right"),
            ("left", ", needs shared"),
            ("right", ", needs shared"),
            ("shared", ""),
        ]);
        let units = Graph::of(&inventory).unwrap().units;
        assert_eq!(units, [Unit { root: 0, parts: vec![2, 1, 3], referrers: vec![] }]);
    }

    #[test]
    fn a_part_with_a_subject_and_a_name_is_a_unit_of_its_own() {
        let inventory = inventory(&[
            ("index", "a-v1.0.0, needs chart attested"),
            ("chart", "b-v1.0.0, of other"),
            ("attested", ", of other"),
            ("other", "c-v1.0.0"),
        ]);
        let graph = Graph::of(&inventory).unwrap();
        let roots: Vec<usize> = graph.units.iter().map(|unit| unit.root).collect();
        assert_eq!((roots, graph.circular.len()), (vec![0, 1, 3], 0));
    }

    #[test]
    fn two_looks_at_an_image_are_compared_and_put_together() {
        let at = |hour: u32| {
            DateTime::parse_from_rfc3339(&format!("2026-11-24T{hour:02}:00:00Z")).unwrap().to_utc()
        };
        let listed = |tags: &[&str], pushed: Option<u32>, pulled: Option<u32>, status| Listed {
            digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            is_odd: false,
            status,
            pushed_at: pushed.map(at),
            pulled_at: pulled.map(at),
            restored_at: None,
            bytes: 1,
            is_index: false,
            is_artifact: false,
            subject: None,
        };
        let one = listed(&["a", "b"], Some(1), None, ImageStatus::Active);
        let is_as = |other: Listed, may| other.is_as(&one, may);
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
        // What one look did not understand nobody does.
        let odd = Listed { is_odd: true, ..one.clone() };
        for (mut one, other) in [(one.clone(), &odd), (odd.clone(), &one)] {
            one.merge(other);
            assert_eq!(one, odd);
        }
    }
}
