//! Parses the events of `EventBridge`: basic scans, enhanced scans, single findings, the daily check
//! and changes of a parameter. Also parses rechecks, which have the form of these events ([`recheck_queue`]).
//! A field that AWS sometimes leaves out may be absent.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>,
//! <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;
use warden_alerts::About;
use warden_aws::event::{Origin, deserialized, origin, parsed, required, shown};
use warden_aws::recheck_queue;
use warden_aws::registry::scan::parse_availability;
use warden_core::findings::{Counts, Finding, Level, Package};
use warden_core::image::Tag;
use warden_core::text::link;

/// An event that the function handles.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The scan of an image.
    Scan(Box<ImageScan>),
    /// The daily check of the accepted risks.
    DailyRiskCheck(Origin),
    /// A parameter of Parameter Store was changed.
    ParameterChange {
        /// The name of the parameter.
        name: String,
        /// The origin of the event.
        origin: Origin,
    },
}

/// An event about the scan of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageScan {
    /// The scanned image, and the source of the event.
    pub about: About,
    /// The tags of the image. Empty if the event names no tags.
    pub tags: Vec<Tag>,
    /// The result that the event reports.
    pub result: ScanResult,
}

/// The result of a scan.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanResult {
    /// The scan is complete, with the number of findings of each severity. None if the event has no
    /// numbers.
    Complete(Option<Counts>),
    /// The scan failed.
    Failed,
    /// The scan ended earlier, and the result has to be read from ECR.
    Recheck,
    /// The scan found one vulnerability, or Inspector closed one finding.
    Finding {
        /// The finding.
        finding: Finding,
        /// Whether the image still has the vulnerability.
        is_active: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ScanDetail {
    scan_status: Option<String>,
    repository_name: Option<String>,
    image_digest: Option<String>,
    image_tags: Option<Vec<String>>,
    finding_severity_counts: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct ParameterDetail {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FindingDetail {
    severity: Option<String>,
    status: Option<String>,
    epss: Option<Epss>,
    exploit_available: Option<String>,
    fix_available: Option<String>,
    package_vulnerability_details: Option<VulnerabilityDetails>,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Epss {
    score: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VulnerabilityDetails {
    vulnerability_id: Option<String>,
    source_url: Option<String>,
    vulnerable_packages: Option<Vec<VulnerablePackage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VulnerablePackage {
    name: Option<String>,
    version: Option<String>,
    fixed_in_version: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    details: Option<ResourceDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDetails {
    aws_ecr_container_image: Option<ContainerImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerImage {
    registry: Option<String>,
    repository_name: Option<String>,
    image_hash: Option<String>,
    image_tags: Option<Vec<String>>,
    in_use_count: Option<u64>,
}

/// Reads an event. None for an event that the function ignores, such as the scan of a server. An
/// error names the invalid field.
pub fn read(payload: &Value) -> anyhow::Result<Option<Event>> {
    let event = warden_aws::event::read::<Value>(payload)?;
    let scan = match event.detail_type.as_str() {
        "ECR Image Scan" | "Inspector2 Scan" => scan(&event)?,
        "Inspector2 Finding" => finding(&event)?,
        recheck_queue::DETAIL_TYPE => Some(recheck(&event)?),
        "Scheduled Event" => return Ok(Some(Event::DailyRiskCheck(origin(&event)?))),
        "Parameter Store Change" => {
            let detail: ParameterDetail = deserialized("detail", &event.detail)?;
            let name = required("detail.name", detail.name)?;
            return Ok(Some(Event::ParameterChange { name, origin: origin(&event)? }));
        }
        other => bail!(
            "the event: detail-type: expected ECR Image Scan, Inspector2 Scan, Inspector2 Finding, \
             Parameter Store Change or Scheduled Event, got {:?}",
            shown(other)
        ),
    };
    Ok(scan.map(|scan| Event::Scan(Box::new(scan))))
}

fn scan(event: &EventBridgeEvent<Value>) -> anyhow::Result<Option<ImageScan>> {
    let detail: ScanDetail = deserialized("detail", &event.detail)?;
    let status = required("detail.scan-status", detail.scan_status)?;
    let result = match status.as_str() {
        "COMPLETE" | "INITIAL_SCAN_COMPLETE" => {
            ScanResult::Complete(detail.finding_severity_counts.as_ref().and_then(counts))
        }
        "FAILED" => ScanResult::Failed,
        _ => return Ok(None),
    };
    // Inspector also scans servers and functions, which are in no repository.
    let Some(repository) = detail.repository_name else { return Ok(None) };
    let digest = required("detail.image-digest", detail.image_digest)?;
    // Inspector names the repository by its ARN.
    let name = repository.split_once(":repository/").map_or(repository.as_str(), |(_, name)| name);
    let Origin { account, region, source } = origin(event)?;
    Ok(Some(ImageScan {
        about: About {
            account,
            region,
            repository: parsed("detail.repository-name", name)?,
            digest: parsed("detail.image-digest", &digest)?,
            source,
        },
        tags: warden_aws::registry::parse_tags(detail.image_tags),
        result,
    }))
}

fn recheck(event: &EventBridgeEvent<Value>) -> anyhow::Result<ImageScan> {
    let detail: ScanDetail = deserialized("detail", &event.detail)?;
    let repository = required("detail.repository-name", detail.repository_name)?;
    let digest = required("detail.image-digest", detail.image_digest)?;
    let Origin { account, region, source } = origin(event)?;
    let repository = parsed("detail.repository-name", &repository)?;
    let digest = parsed("detail.image-digest", &digest)?;
    let about = About { account, region, repository, digest, source };
    Ok(ImageScan { about, tags: Vec::new(), result: ScanResult::Recheck })
}

fn finding(event: &EventBridgeEvent<Value>) -> anyhow::Result<Option<ImageScan>> {
    let detail: FindingDetail = deserialized("detail", &event.detail)?;
    let resources = detail.resources.into_iter().flatten();
    let mut images = resources.filter_map(|resource| resource.details?.aws_ecr_container_image);
    let Some(image) = images.next() else { return Ok(None) };
    let Origin { account, region, source } = origin(event)?;
    // The administrator account of Inspector also gets the findings of its member accounts.
    if image.registry.is_some_and(|registry| registry != account) {
        return Ok(None);
    }
    let at = "detail.resources.details.awsEcrContainerImage";
    let (repository, digest) = (format!("{at}.repositoryName"), format!("{at}.imageHash"));
    // Only a vulnerability of a package has these details. A secret in the image has none.
    let Some(vulnerability) = detail.package_vulnerability_details else { return Ok(None) };
    let id = required(
        "detail.packageVulnerabilityDetails.vulnerabilityId",
        vulnerability.vulnerability_id,
    )?;
    let level = Level::read(detail.severity.as_deref().unwrap_or_default());
    let finding = Finding::new(&id, level)
        .context("the event: detail.packageVulnerabilityDetails.vulnerabilityId: expected an identifier, got a blank text")?;
    let packages = vulnerability.vulnerable_packages.into_iter().flatten().filter_map(|package| {
        let fixed = package.fixed_in_version.as_deref();
        Package::new(&package.name?, package.version.as_deref(), fixed)
    });
    let about = About {
        account,
        region,
        repository: parsed(&repository, &required(&repository, image.repository_name)?)?,
        digest: parsed(&digest, &required(&digest, image.image_hash)?)?,
        source,
    };
    Ok(Some(ImageScan {
        about,
        tags: warden_aws::registry::parse_tags(image.image_tags),
        result: ScanResult::Finding {
            finding: Finding {
                packages: packages.take(20).collect(),
                exploit: parse_availability(detail.exploit_available.as_deref()),
                fix: parse_availability(detail.fix_available.as_deref()),
                epss: detail.epss.and_then(|epss| epss.score),
                in_use: image.in_use_count,
                url: vulnerability.source_url.as_deref().and_then(link),
                ..finding
            },
            is_active: detail.status.as_deref() == Some("ACTIVE"),
        },
    }))
}

/// Parses the number of findings of each severity. None if a number is invalid. Inspector adds their
/// sum as `TOTAL`.
fn counts(by_severity: &BTreeMap<String, Value>) -> Option<Counts> {
    let mut counts = Counts::default();
    for (severity, count) in by_severity.iter().filter(|(severity, _)| *severity != "TOTAL") {
        counts.add(Level::read(severity), count.as_u64()?);
    }
    Some(counts)
}
