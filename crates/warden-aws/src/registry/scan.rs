//! Reads the scans of images.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_ecr::operation::describe_image_scan_findings::DescribeImageScanFindingsOutput;
use aws_sdk_ecr::types::{
    AwsEcrContainerImageDetails, EnhancedImageScanFinding, ImageScanFinding, ScanStatus,
};
use chrono::{DateTime, Utc};
use tokio::time::sleep;
use tracing::info;
use warden_core::findings::{Finding, Level, Package, merge_findings};
use warden_core::image::{Digest, RepositoryName};
use warden_core::text::link;

use super::{Registry, image_id, to_time};

/// The pauses between readings of findings that ECR does not have yet.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
];

/// The most findings of a page.
const PAGE_SIZE: i32 = 1_000;
/// The most packages of a finding. Further packages are ignored.
const MOST_PACKAGES: usize = 20;

/// The findings of an image, or why there are none.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanFindings {
    /// Every finding, each vulnerability once, and the time of the push if ECR reports it.
    Found(Vec<Finding>, Option<DateTime<Utc>>),
    /// ECR has no findings and will have none.
    NotScanned {
        /// ECR's status, such as `UNSUPPORTED_IMAGE`.
        status: String,
        /// ECR's reason.
        description: Option<String>,
    },
    /// The findings could not be read. The value is the reason.
    Unread(String),
    /// ECR does not know the image any more.
    Gone,
}

/// The outcome of one attempt to read the findings.
enum Reading {
    Done(ScanFindings),
    NotYet(String),
}

impl Registry {
    /// Reads the findings of an image, with a call for each 1,000 findings. Waits up to ten seconds for
    /// findings that ECR does not have yet. A refused call returns [`ScanFindings::Unread`].
    pub async fn findings(&self, repository: &RepositoryName, digest: &Digest) -> ScanFindings {
        let mut pauses = PAUSES.iter();
        loop {
            match (self.read_findings(repository, digest).await, pauses.next()) {
                (Ok(Reading::Done(findings)), _) => return findings,
                (Err(error), _) => return ScanFindings::Unread(format!("{error:#}")),
                (Ok(Reading::NotYet(status)), None) => {
                    return ScanFindings::Unread(format!(
                        "the status is {status} after 10 seconds"
                    ));
                }
                (Ok(Reading::NotYet(status)), Some(pause)) => {
                    info!(
                        repository.name = %repository, image.digest = %digest,
                        "ECR does not have the findings of {repository}@{digest} yet: {status}"
                    );
                    sleep(*pause).await;
                }
            }
        }
    }

    async fn read_findings(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Reading> {
        let describe = self.client.describe_image_scan_findings().image_id(image_id(digest));
        let describe = describe.repository_name(repository.as_str()).max_results(PAGE_SIZE);
        let (mut findings, mut pushed_at) = (Vec::new(), None);
        let mut token = None;
        loop {
            let page = match describe.clone().set_next_token(token).send().await {
                Ok(page) => page,
                Err(error) => {
                    return match error.as_service_error() {
                        Some(refusal)
                            if refusal.is_image_not_found_exception()
                                || refusal.is_repository_not_found_exception() =>
                        {
                            Ok(Reading::Done(ScanFindings::Gone))
                        }
                        Some(refusal) if refusal.is_scan_not_found_exception() => {
                            Ok(Reading::NotYet("ScanNotFoundException".to_owned()))
                        }
                        _ => Err(crate::explain(error)),
                    };
                }
            };
            if let Some(reading) = reading_without_findings(&page) {
                return Ok(reading);
            }
            token = page.next_token;
            if let Some(found) = page.image_scan_findings {
                findings.extend(found.findings.into_iter().flatten().filter_map(basic_finding));
                for finding in found.enhanced_findings.into_iter().flatten() {
                    let at = scanned_image(&finding).and_then(|image| image.pushed_at);
                    pushed_at = pushed_at.max(at.and_then(to_time));
                    findings.extend(enhanced_finding(&finding));
                }
            }
            if token.is_none() {
                return Ok(Reading::Done(ScanFindings::Found(merge_findings(findings), pushed_at)));
            }
        }
    }

    /// Whether an image needs no scan: it was scanned, will be scanned, cannot be scanned, or ECR does
    /// not know the image. One call.
    pub async fn is_scanned(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<bool> {
        let describe = self.client.describe_image_scan_findings().image_id(image_id(digest));
        let describe = describe.repository_name(repository.as_str()).max_results(1);
        match describe.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(refusal) if refusal.is_scan_not_found_exception() => Ok(false),
                Some(refusal) if refusal.is_image_not_found_exception() => Ok(true),
                _ => Err(crate::explain(error))
                    .with_context(|| format!("reading the scan of {digest}")),
            },
        }
    }

    /// Whether the registry has enhanced scanning, by Inspector. Only Inspector reports which images
    /// run. One call.
    pub async fn has_enhanced_scanning(&self) -> anyhow::Result<bool> {
        let output = self.client.get_registry_scanning_configuration().send().await;
        let output = output
            .map_err(crate::explain)
            .context("reading the registry scanning configuration")?;
        let scan_type = output.scanning_configuration.and_then(|scanning| scanning.scan_type);
        Ok(scan_type.is_some_and(|scan_type| scan_type.as_str() == "ENHANCED"))
    }
}

/// Reads the status of a page without findings. None if the scan is complete, so that the page is valid.
fn reading_without_findings(page: &DescribeImageScanFindingsOutput) -> Option<Reading> {
    let scan = page.image_scan_status.as_ref();
    let status = scan.and_then(|scan| scan.status.as_ref());
    match status {
        Some(ScanStatus::Complete | ScanStatus::Active) => None,
        None if page.image_scan_findings.is_some() => None,
        Some(ScanStatus::InProgress | ScanStatus::Pending) | None => {
            let status = status.map_or("no status", |status| status.as_str());
            Some(Reading::NotYet(status.to_owned()))
        }
        Some(other) => Some(Reading::Done(ScanFindings::NotScanned {
            status: other.as_str().to_owned(),
            description: scan.and_then(|scan| scan.description.clone()),
        })),
    }
}

fn basic_finding(finding: ImageScanFinding) -> Option<Finding> {
    let level = finding.severity.as_ref().map_or("", |severity| severity.as_str());
    let found = Finding::new(&finding.name?, Level::read(level))?;
    let attribute = |key: &str| {
        let mut attributes = finding.attributes.iter().flatten();
        attributes.find(|attribute| attribute.key == key)?.value.as_deref()
    };
    let package = attribute("package_name")
        .and_then(|name| Package::new(name, attribute("package_version"), None));
    Some(Finding {
        packages: package.into_iter().collect(),
        url: finding.uri.as_deref().and_then(link),
        ..found
    })
}

fn enhanced_finding(finding: &EnhancedImageScanFinding) -> Option<Finding> {
    // A suppressed or closed finding is not open.
    if finding.status.as_deref().is_some_and(|status| status != "ACTIVE") {
        return None;
    }
    let details = finding.package_vulnerability_details.as_ref()?;
    let level = Level::read(finding.severity.as_deref().unwrap_or_default());
    let found = Finding::new(details.vulnerability_id.as_deref()?, level)?;
    let packages = details.vulnerable_packages.iter().flatten().filter_map(|package| {
        let fixed = package.fixed_in_version.as_deref();
        Package::new(package.name.as_deref()?, package.version.as_deref(), fixed)
    });
    let in_use = scanned_image(finding).and_then(|image| image.in_use_count);
    Some(Finding {
        packages: packages.take(MOST_PACKAGES).collect(),
        exploit: parse_availability(finding.exploit_available.as_deref()),
        fix: parse_availability(finding.fix_available.as_deref()),
        in_use: in_use.and_then(|count| count.try_into().ok()),
        url: details.source_url.as_deref().and_then(link),
        ..found
    })
}

fn scanned_image(finding: &EnhancedImageScanFinding) -> Option<&AwsEcrContainerImageDetails> {
    let mut resources = finding.resources.iter().flatten();
    resources.find_map(|resource| resource.details.as_ref()?.aws_ecr_container_image.as_ref())
}

/// Reads Inspector's `YES`, `PARTIAL` and `NO`.
#[must_use]
pub fn parse_availability(word: Option<&str>) -> Option<bool> {
    match word? {
        "YES" | "PARTIAL" => Some(true),
        "NO" => Some(false),
        _ => None,
    }
}
