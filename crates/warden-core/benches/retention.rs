//! Measures the plan and the usage of a repository, in nanoseconds for each image. The repository has many
//! components, indexes, signatures and pulls, and the plan removes one image in twenty. `cargo measure`
//! runs this benchmark and prints ratios.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "the values are constants")]

use std::hint::black_box;
use std::time::Instant;

use chrono::{DateTime, Duration, Utc};
use warden_core::arena::ImageId;
use warden_core::artifact::ArtifactKind;
use warden_core::graph::{Graph, ImageRecord, Inventory};
use warden_core::image::{Digest, ImageStatus};
use warden_core::policy::Policy;
use warden_core::retention::{RunningImages, UnitRemoval, plan_retention};
use warden_core::usage::measure_usage;

const POLICY: &str = r#"{"RepositoryName":"deployments","Rule":"applications","Tags":{"Grammar":["{component}-v{semver}","{component}-{channel}","{component}-{sha}"],"Enforcement":"report"},"Retention":{"Keep":1850,"ProtectTags":["release-*","gold"],"Enforcement":"archive"}}"#;
const IMAGES: u32 = 100_000;
const TIMES: u32 = 5;

fn main() {
    let policy = Policy::parse(POLICY).unwrap();
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut inventory = Inventory::default();
    for nth in 0..IMAGES {
        let tag = match nth % 20 {
            // The images of the next index, and a signature.
            16 | 17 => None,
            19 => Some(format!("sha256-{:064x}.sig", nth - 1)),
            // The newest image has the highest version.
            kind if kind % 2 == 0 => Some(format!("component{}-v1.{}.0", nth % 50, IMAGES - nth)),
            _ => Some(format!("component{}-{nth:07x}", nth % 50)),
        };
        let is_index = nth % 20 == 18;
        if is_index {
            inventory.indexes.insert(digest(nth), vec![digest(nth - 1), digest(nth - 2)]);
        }
        inventory.images.push(ImageRecord {
            digest: digest(nth),
            tags: tag.map(|tag| tag.parse().unwrap()).into_iter().collect(),
            tag_times: vec![now - Duration::minutes(i64::from(nth) * 10)],
            has_unparsed_reference: false,
            status: ImageStatus::Active,
            pushed_at: Some(now - Duration::minutes(i64::from(nth) * 10)),
            pulled_at: (nth % 3 == 0).then(|| now - Duration::days(40)),
            restored_at: None,
            bytes: 1_000_000,
            is_index,
            kind: ArtifactKind::Unknown,
            subject: None,
        });
    }
    let (mut planning, mut counting) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for _ in 0..TIMES {
        let started = Instant::now();
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now);
        let removals = plan.removals.len();
        assert!((4_000..6_000).contains(&removals), "{removals}");
        black_box(plan.hash());
        planning += started.elapsed();
        let removed: Vec<ImageId> = plan.removals.iter().flat_map(UnitRemoval::all).collect();
        let started = Instant::now();
        assert_eq!(black_box(measure_usage(&plan, &removed)).rows.len(), 50);
        counting += started.elapsed();
    }
    for (name, took) in [("planning, an image", planning), ("measuring usage, an image", counting)]
    {
        println!("{name} {}", took.as_nanos() / u128::from(TIMES * IMAGES));
    }
}

fn digest(nth: u32) -> Digest {
    format!("sha256:{nth:064x}").parse().unwrap()
}
