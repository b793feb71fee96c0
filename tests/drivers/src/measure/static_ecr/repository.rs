//! The images of the repository, generated from pseudo-random numbers with a fixed seed.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use local_aws::ACCOUNT;
use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST};
use local_aws::ecr::{DAY, Time};
use serde_json::{Value, json};

use super::NAME;

/// The number of images in a page of `DescribeImages`: the maximum of ECR.
pub const PAGE: usize = 1_000;
/// The number of indexes in a hundred images. Each index has two images of its own, which count
/// among the hundred.
const INDEXES: usize = 5;
/// The number of signatures in a hundred images.
const SIGNATURES: usize = 2;
/// The number of units in a hundred images: a sweep keeps or removes a unit as a whole.
const UNITS: usize = 100 - 2 * INDEXES - SIGNATURES;

const TEAMS: [&str; 10] = [
    "billing",
    "search",
    "checkout",
    "catalogue",
    "identity",
    "litellm",
    "openwebui",
    "shipping",
    "reports",
    "notifications",
];
const PARTS: [&str; 5] = ["api", "web", "worker", "jobs", "gateway"];
const COMPONENTS: usize = TEAMS.len() * PARTS.len();
const CHANNELS: [&str; 4] = ["prod", "staging", "dev", "latest"];

/// The number of components that have one unit more than the policy keeps.
pub const OVER: usize = 20;

/// A repository with rendered answers.
pub struct Repository {
    /// The number of images.
    pub images: usize,
    /// The number of units of each component that the policy keeps. [`OVER`] units exceed it.
    pub keep: usize,
    /// The answer of `DescribeImages` for each image, by digest.
    details: BTreeMap<String, String>,
    /// The pages of `DescribeImages`.
    pages: Vec<Bytes>,
    /// The answer of `BatchGetImage` for each index, by digest.
    manifests: BTreeMap<String, String>,
}

impl Repository {
    /// Generates this many thousands of images, whose units were pushed evenly over the last two
    /// years. For components of equal size, the number must be a multiple of five.
    pub fn generate(thousands: usize) -> Self {
        let images = thousands * PAGE;
        let units = images / 100 * UNITS;
        let mut generator =
            Generator { state: 1, details: BTreeMap::new(), manifests: BTreeMap::new() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut counts = [0; COMPONENTS];
        for unit in 0..units {
            // Some components get the first unit of another component in addition.
            let shifted = (OVER..2 * OVER).contains(&unit);
            let component = if shifted { unit - OVER } else { unit % COMPONENTS };
            let Some(nth) = counts.get_mut(component) else { continue };
            let age = 730.0 * DAY * fraction(units - unit, units);
            // The newest units have the channel tags.
            let left = (units - 1 - unit) / COMPONENTS;
            let tags = generator.tags(component, *nth, CHANNELS.get(left));
            *nth += 1;
            generator.unit(unit, &tags, now - age, now);
        }
        let details = generator.details;
        let rendered: Vec<&str> = details.values().map(String::as_str).collect();
        let pages = rendered.chunks(PAGE).enumerate().map(|(n, page)| {
            let next = (n + 1 < rendered.len().div_ceil(PAGE)).then(|| n + 1);
            let token = next.map_or(String::new(), |next| format!(r#","nextToken":"{next}""#));
            format!(r#"{{"imageDetails":[{}]{token}}}"#, page.join(",")).into()
        });
        let pages = pages.collect();
        Self { images, keep: units / COMPONENTS, details, pages, manifests: generator.manifests }
    }

    /// The requested page. None unless the request is for a thousand images of any status.
    pub fn page(&self, input: &Value) -> Option<Bytes> {
        let whole = input["maxResults"] == PAGE && input["filter"]["imageStatus"] == "ANY";
        let nth = input["nextToken"].as_str().map_or(Ok(0), str::parse::<usize>).ok()?;
        self.pages.get(nth).filter(|_| whole).cloned()
    }

    /// The images with the requested digests. None if an image does not exist.
    pub fn named(&self, input: &Value) -> Option<Bytes> {
        let found: Option<Vec<&str>> =
            digests(input).map(|digest| self.details.get(digest).map(String::as_str)).collect();
        Some(format!(r#"{{"imageDetails":[{}]}}"#, found?.join(",")).into())
    }

    /// The requested manifests. Only indexes have one, because no function reads another.
    pub fn manifests(&self, input: &Value) -> Bytes {
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for digest in digests(input) {
            match self.manifests.get(digest) {
                Some(image) => images.push(image.as_str()),
                None => failures.push(json!({
                    "imageId": {"imageDigest": digest},
                    "failureCode": "ImageNotFound",
                    "failureReason": "the repository has no index with this digest",
                })),
            }
        }
        let failures = Value::from(failures);
        format!(r#"{{"images":[{}],"failures":{failures}}}"#, images.join(",")).into()
    }
}

fn digests(input: &Value) -> impl Iterator<Item = &str> {
    let ids = input["imageIds"].as_array().into_iter().flatten();
    ids.map(|id| id["imageDigest"].as_str().unwrap_or_default())
}

fn fraction(part: usize, whole: usize) -> f64 {
    let exact = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    exact(part) / exact(whole)
}

/// A generator of images.
struct Generator {
    state: u64,
    details: BTreeMap<String, String>,
    manifests: BTreeMap<String, String>,
}

impl Generator {
    /// The upper half of the next number of the linear congruential generator of Knuth's MMIX.
    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005);
        self.state = self.state.wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.state >> 32).unwrap_or_default()
    }

    fn hex(&mut self, words: usize) -> String {
        (0..words).map(|_| format!("{:08x}", self.next())).collect()
    }

    /// A version, for most units a commit, and the channel. Commits are a kind of their own, and the
    /// policy keeps all of them, so the oldest unit of a component has no commit.
    fn tags(&mut self, component: usize, nth: usize, channel: Option<&&str>) -> Vec<String> {
        let part = |of: &[&'static str], nth: usize| of.get(nth).copied().unwrap_or_default();
        let team = part(&TEAMS, component / PARTS.len());
        let component = format!("{team}-{}", part(&PARTS, component % PARTS.len()));
        let mut tags = vec![format!("{component}-v1.{}.{}", nth / 20, nth % 20)];
        if nth > 0 && !self.next().is_multiple_of(3) {
            tags.push(format!("{component}-{}", self.hex(2)));
        }
        tags.extend(channel.map(|channel| format!("{component}-{channel}")));
        tags
    }

    /// An image or an index with its images, and its signature if it has one.
    fn unit(&mut self, unit: usize, tags: &[String], pushed_at: Time, now: Time) {
        let pulled_at = (self.next().is_multiple_of(3))
            .then(|| now.min(pushed_at + f64::from(self.next() % 60) * DAY / 2.0));
        let nth = unit % UNITS;
        let digest = if nth < INDEXES {
            let children = [(); 2].map(|()| self.image(OCI_MANIFEST, &[], pushed_at, pulled_at));
            let index = self.image(OCI_INDEX, tags, pushed_at, pulled_at);
            let image = manifest(&index, &children);
            self.manifests.insert(index.clone(), image);
            index
        } else {
            self.image(OCI_MANIFEST, tags, pushed_at, pulled_at)
        };
        if (INDEXES..INDEXES + SIGNATURES).contains(&nth) {
            let tag = format!("{}.sig", digest.replacen(':', "-", 1));
            self.image(OCI_MANIFEST, &[tag], pushed_at + 60.0, None);
        }
    }

    fn image(
        &mut self,
        media_type: &str,
        tags: &[String],
        pushed_at: Time,
        pulled_at: Option<Time>,
    ) -> String {
        let digest = format!("sha256:{}", self.hex(8));
        let mut detail = json!({
            "registryId": ACCOUNT,
            "repositoryName": NAME,
            "imageDigest": digest,
            "imageSizeInBytes": 20_000_000 + self.next() % 400_000_000,
            "imagePushedAt": pushed_at.floor(),
            "imageManifestMediaType": media_type,
            "imageStatus": "ACTIVE",
        });
        if !tags.is_empty() {
            detail["imageTags"] = tags.into();
        }
        if let Some(at) = pulled_at {
            detail["lastRecordedPullTime"] = at.floor().into();
        }
        if media_type == OCI_MANIFEST {
            let artifact = "application/vnd.oci.image.config.v1+json";
            detail["artifactMediaType"] = artifact.into();
        }
        self.details.insert(digest.clone(), detail.to_string());
        digest
    }
}

/// The answer of `BatchGetImage` for an index.
fn manifest(index: &str, children: &[String]) -> String {
    let part = |(child, architecture): (&String, &str)| {
        json!({
            "mediaType": OCI_MANIFEST,
            "digest": child,
            "size": 1_234,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let parts: Vec<Value> = children.iter().zip(["amd64", "arm64"]).map(part).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": parts});
    json!({
        "registryId": ACCOUNT,
        "repositoryName": NAME,
        "imageId": {"imageDigest": index},
        "imageManifest": manifest.to_string(),
        "imageManifestMediaType": OCI_INDEX,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_components_have_one_unit_too_many() -> anyhow::Result<()> {
        let repository = Repository::generate(5);
        let (mut token, mut images) = (Value::Null, Vec::new());
        loop {
            let filter = json!({"imageStatus": "ANY"});
            let input = json!({"maxResults": PAGE, "filter": filter, "nextToken": token});
            let page = repository.page(&input).unwrap_or_default();
            let mut page: Value = serde_json::from_slice(&page)?;
            images.extend(page["imageDetails"].take().as_array().cloned().unwrap_or_default());
            token = page["nextToken"].take();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(images.len(), repository.images);
        let mut counts = BTreeMap::new();
        for image in &images {
            // The first tag of a unit begins with the team and the part of its component.
            let tag = image["imageTags"][0].as_str().unwrap_or_default();
            if let [team, part, _, ..] = tag.split('-').collect::<Vec<_>>()[..] {
                *counts.entry((team, part)).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.len(), COMPONENTS);
        let over: Vec<usize> = counts
            .values()
            .filter_map(|count: &usize| count.checked_sub(repository.keep))
            .collect();
        assert_eq!(over.iter().sum::<usize>(), OVER);
        assert_eq!(over.iter().max(), Some(&1));

        let indexes = images.iter().filter(|image| image["imageManifestMediaType"] == OCI_INDEX);
        let ids: Vec<Value> =
            indexes.map(|index| json!({"imageDigest": index["imageDigest"]})).collect();
        assert_eq!(ids.len(), images.len() * INDEXES / 100);
        let got: Value = serde_json::from_slice(&repository.manifests(&json!({"imageIds": ids})))?;
        let got = got["images"].as_array().cloned().unwrap_or_default();
        assert_eq!(got.len(), ids.len());
        let manifest = got[0]["imageManifest"].as_str().unwrap_or_default();
        let manifest: Value = serde_json::from_str(manifest)?;
        let parts = manifest["manifests"].clone();
        let parts: Vec<Value> = parts
            .as_array()
            .into_iter()
            .flatten()
            .map(|part| json!({"imageDigest": part["digest"]}))
            .collect();
        let parts = repository.named(&json!({"imageIds": parts})).unwrap_or_default();
        let parts: Value = serde_json::from_slice(&parts)?;
        assert_eq!(parts["imageDetails"].as_array().map(Vec::len), Some(2));
        Ok(())
    }
}
