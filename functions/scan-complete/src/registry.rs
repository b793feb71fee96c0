//! ECR, as far as the scans of an image go.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ecr::operation::describe_image_scan_findings::DescribeImageScanFindingsOutput;
use aws_sdk_ecr::types::{
    AwsEcrContainerImageDetails, EnhancedImageScanFinding, ImageIdentifier, ImageScanFinding,
    ScanStatus,
};
use chrono::{DateTime, Utc};
use warden_core::findings::{Finding, Level, Package, merged};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::text::link;

use tokio::time::sleep;
use tracing::info;

use crate::event::yes;

/// How long is waited for findings that are not there yet, each time.
const PATIENCE: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
];

/// What ECR says of the scan of an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Details {
    /// All that it found, each vulnerability once; and when the image was pushed, where that
    /// is said.
    Found(Vec<Finding>, Option<DateTime<Utc>>),
    /// ECR has none: the status, and its words about it.
    None {
        /// Such as `UNSUPPORTED_IMAGE`.
        status: String,
        /// Why.
        description: Option<String>,
    },
    /// They could not be read, and why.
    Unread(String),
    /// There is no such image any more.
    Gone,
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// When it was pushed.
    pub at: Option<DateTime<Utc>>,
}

/// The ECR client.
#[derive(Debug)]
pub struct Registry {
    client: aws_sdk_ecr::Client,
}

impl Registry {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_ecr::Client::new(config) }
    }

    /// The image as it is now, if it is there. One call.
    pub async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<Pushed>> {
        let found = warden_aws::registry::image(&self.client, repository, digest).await?;
        Ok(found.map(|found| Pushed {
            tags: warden_aws::registry::tags(found.image_tags),
            at: found.image_pushed_at.and_then(time),
        }))
    }

    /// What the scan of an image found: a call for each page of a thousand. Findings that are
    /// not there yet are waited for, ten seconds in all. A call that is refused is one more
    /// reason why there is nothing to be read.
    pub async fn findings(&self, repository: &RepositoryName, digest: &Digest) -> Details {
        let mut pauses = PATIENCE.iter();
        loop {
            match (self.read(repository, digest).await, pauses.next()) {
                (Ok(Read::Done(details)), _) => return details,
                (Err(error), _) => return Details::Unread(format!("{error:#}")),
                (Ok(Read::NotYet(status)), None) => {
                    return Details::Unread(format!("still {status} after a while"));
                }
                (Ok(Read::NotYet(status)), Some(pause)) => {
                    info!(
                        repository.name = %repository, image.digest = %digest,
                        "the findings of {repository}@{digest} are not there yet: {status}"
                    );
                    sleep(*pause).await;
                }
            }
        }
    }

    async fn read(&self, repository: &RepositoryName, digest: &Digest) -> anyhow::Result<Read> {
        let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
        let describe = self.client.describe_image_scan_findings().image_id(id);
        let describe = describe.repository_name(repository.as_str()).max_results(1_000);
        let (mut findings, mut pushed) = (Vec::new(), None);
        let mut token = None;
        loop {
            let page = describe.clone().set_next_token(token).send().await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    return match error.as_service_error() {
                        Some(it)
                            if it.is_image_not_found_exception()
                                || it.is_repository_not_found_exception() =>
                        {
                            Ok(Read::Done(Details::Gone))
                        }
                        Some(it) if it.is_scan_not_found_exception() => {
                            Ok(Read::NotYet("ScanNotFoundException".to_owned()))
                        }
                        _ => Err(warden_aws::explain(error)),
                    };
                }
            };
            if let Some(other) = without_findings(&page) {
                return Ok(other);
            }
            token = page.next_token;
            if let Some(found) = page.image_scan_findings {
                findings.extend(found.findings.into_iter().flatten().filter_map(basic));
                for it in found.enhanced_findings.into_iter().flatten() {
                    pushed = pushed.max(image(&it).and_then(|it| it.pushed_at).and_then(time));
                    findings.extend(enhanced(&it));
                }
            }
            if token.is_none() {
                return Ok(Read::Done(Details::Found(merged(findings), pushed)));
            }
        }
    }
}

/// One reading.
enum Read {
    Done(Details),
    NotYet(String),
}

/// What a page says where it has no findings, and not because there are none.
fn without_findings(page: &DescribeImageScanFindingsOutput) -> Option<Read> {
    let status = page.image_scan_status.as_ref();
    let word = status.and_then(|it| it.status.as_ref());
    match word {
        Some(ScanStatus::Complete | ScanStatus::Active) => None,
        None if page.image_scan_findings.is_some() => None,
        Some(ScanStatus::InProgress | ScanStatus::Pending) | None => {
            Some(Read::NotYet(word.map_or("no status", |it| it.as_str()).to_owned()))
        }
        Some(other) => Some(Read::Done(Details::None {
            status: other.as_str().to_owned(),
            description: status.and_then(|it| it.description.clone()),
        })),
    }
}

fn basic(finding: ImageScanFinding) -> Option<Finding> {
    let level = finding.severity.as_ref().map_or("", |it| it.as_str());
    let found = Finding::new(&finding.name?, Level::read(level))?;
    let attribute = |key: &str| {
        let mut attributes = finding.attributes.iter().flatten();
        attributes.find(|it| it.key == key).and_then(|it| it.value.as_deref())
    };
    let package = attribute("package_name")
        .and_then(|name| Package::new(name, attribute("package_version"), None));
    Some(Finding {
        packages: package.into_iter().collect(),
        url: finding.uri.as_deref().and_then(link),
        ..found
    })
}

fn enhanced(finding: &EnhancedImageScanFinding) -> Option<Finding> {
    // What is suppressed or closed is not open.
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
    let in_use = image(finding).and_then(|it| it.in_use_count);
    Some(Finding {
        packages: packages.take(20).collect(),
        exploit: yes(finding.exploit_available.as_deref()),
        fix: yes(finding.fix_available.as_deref()),
        in_use: in_use.and_then(|count| count.try_into().ok()),
        url: details.source_url.as_deref().and_then(link),
        ..found
    })
}

fn image(finding: &EnhancedImageScanFinding) -> Option<&AwsEcrContainerImageDetails> {
    let mut resources = finding.resources.iter().flatten();
    resources.find_map(|it| it.details.as_ref()?.aws_ecr_container_image.as_ref())
}

fn time(at: aws_smithy_types::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), 0)
}
