//! Pushed manifests: the parts of an index do not depend on their order. Whichever images refer to each
//! other, no image is in two units, no image is lost, and a plan splits no unit.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use chrono::{DateTime, Days, Utc};
use serde_json::Value;
use warden_core::artifact::ArtifactKind;
use warden_core::graph::{Graph, ImageRecord, Inventory, children};
use warden_core::image::{Digest, ImageStatus, Tag};
use warden_core::policy::Policy;
use warden_core::retention::{RunningImages, plan_retention};

const POLICY: &str = r#"{"RepositoryName": "deployments", "Rule": "applications", "Tags": {"Grammar": ["{component}-v{semver}", "{component}-{channel}"], "Enforcement": "report"}, "Retention": {"Keep": 2, "UntaggedDays": 3, "Enforcement": "archive", "ProtectTags": ["prod*"]}}"#;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    manifest: &'a str,
    images: Vec<Image<'a>>,
}

/// An image, and the positions of the images to which it refers.
#[derive(Arbitrary, Debug)]
struct Image<'a> {
    tags: Vec<&'a str>,
    days: u16,
    pulled: Option<u16>,
    kind: u8,
    refers: Vec<u8>,
}

/// Checks that the parts do not depend on their order.
fn check_children(manifest: &str) {
    let Ok(parts) = children(manifest) else { return };
    // A list may stand for an object, where it is read.
    let mut value: Value = serde_json::from_str(manifest).expect("JSON");
    if !value.is_object() {
        return;
    }
    let backwards: Vec<Value> =
        value["manifests"].as_array().into_iter().flatten().rev().cloned().collect();
    let digests = backwards.iter().filter_map(|entry| entry["digest"].as_str());
    let digests: BTreeSet<&str> = digests.collect();
    assert_eq!(digests.len(), parts.len());
    // The same part twice may be two things, of which the last one counts.
    if backwards.len() == parts.len() {
        value["manifests"] = Value::Array(backwards);
        assert_eq!(children(&value.to_string()).as_ref(), Ok(&parts));
    }
}

fn digest(nth: usize) -> Digest {
    format!("sha256:{nth:064x}").parse().expect("a digest")
}

fn listed(images: &[Image<'_>], now: DateTime<Utc>) -> Inventory {
    let ago = |days: u16| now.checked_sub_days(Days::new(days.into())).unwrap_or(now);
    let mut inventory = Inventory::default();
    for (nth, image) in images.iter().enumerate() {
        let refers = image.refers.iter().map(|of| digest(usize::from(*of)));
        let is_index = image.kind % 3 == 0;
        let mut tags: Vec<Tag> = image.tags.iter().filter_map(|tag| tag.parse().ok()).collect();
        if image.kind % 3 == 1 {
            let attached = refers.clone().take(1);
            tags.extend(attached.filter_map(|of| of.as_str().replace(':', "-").parse().ok()));
        }
        inventory.images.push(ImageRecord {
            digest: digest(nth),
            tag_times: vec![ago(image.days); tags.len()],
            tags,
            has_unparsed_reference: image.kind % 7 == 6,
            status: ImageStatus::Active,
            pushed_at: Some(ago(image.days)),
            pulled_at: image.pulled.map(ago),
            restored_at: None,
            bytes: u64::from(image.days),
            is_index,
            kind: ArtifactKind::Unknown,
            subject: refers.clone().next().filter(|_| image.kind % 3 == 2),
        });
        if is_index {
            inventory.indexes.insert(digest(nth), refers.collect());
        }
    }
    inventory.gone = inventory.missing_subjects();
    inventory
}

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    check_children(input.manifest);
    let policy = Policy::parse(POLICY).expect("a policy");
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let inventory = listed(&input.images, now);
    let Ok(graph) = Graph::build(&inventory) else { return };
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now);
    assert!(!plan.hash().is_empty());
    let removed: BTreeSet<&Digest> = plan.removed().map(|image| &image.digest).collect();
    for (index, parts) in &inventory.indexes {
        let is_kept = !removed.contains(index);
        let torn = parts.iter().find(|part| is_kept && removed.contains(part));
        assert_eq!(torn, None, "{index} stays without it");
    }
    let protected =
        |image: &&ImageRecord| image.tags.iter().any(|tag| tag.as_str().starts_with("prod"));
    let gone =
        inventory.images.iter().filter(protected).find(|image| removed.contains(&image.digest));
    assert_eq!(gone, None, "what is protected goes");
}
