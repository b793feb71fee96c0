//! What runs, as Amazon Inspector sees it in EKS and ECS
//! (<https://docs.aws.amazon.com/inspector/latest/user/scanning-ecr.html>).

use std::collections::HashMap;

use anyhow::{Context as _, anyhow};
use aws_config::SdkConfig;
use aws_sdk_inspector2::types::{
    ClusterForImageFilterCriteria, ClusterMetadata, CoverageDateFilter, CoverageFilterCriteria,
    CoverageNumberFilter, CoverageStringComparison, CoverageStringFilter,
};
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName};
use warden_core::retention::RunningImages;

/// The most images of a page.
const PAGE: i32 = 200;
/// The most workloads that a text names for one image.
const NAMED_WORKLOADS: usize = 3;

/// The Inspector client.
#[derive(Debug)]
pub struct Inspector {
    client: aws_sdk_inspector2::Client,
}

impl Inspector {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_inspector2::Client::new(config) }
    }

    /// The images of a repository that run, and on how many pods and tasks; 0 of those that ran
    /// since then, as what runs once a day. A call for 200 of each.
    pub async fn running(
        &self,
        account: &str,
        repository: &RepositoryName,
        since: DateTime<Utc>,
    ) -> anyhow::Result<RunningImages> {
        let is = |value: &str| {
            let filter = CoverageStringFilter::builder();
            filter.comparison(CoverageStringComparison::Equals).value(value).build()
        };
        let filter = CoverageFilterCriteria::builder()
            // For an administrator of others this would be theirs too.
            .account_id(is(account)?)
            .ecr_repository_name(is(repository.as_str())?);
        let runs = CoverageNumberFilter::builder().lower_inclusive(1).build();
        let since = aws_sdk_inspector2::primitives::DateTime::from_secs(since.timestamp());
        let lately = CoverageDateFilter::builder().start_inclusive(since).build();
        let (mut running, now) = tokio::try_join!(
            self.covered(filter.clone().ecr_image_last_in_use_at(lately).build(), 0),
            self.covered(filter.ecr_image_in_use_count(runs).build(), 1),
        )?;
        running.extend(now);
        Ok(running)
    }

    /// The images of these, and on how many pods and tasks each runs; `least` where that is not
    /// said.
    async fn covered(
        &self,
        of: CoverageFilterCriteria,
        least: u64,
    ) -> anyhow::Result<RunningImages> {
        let list = self.client.list_coverage().filter_criteria(of);
        let mut pages = list.into_paginator().page_size(PAGE).send();
        let mut running = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(warden_aws::explain);
            let page = page.context("asking Amazon Inspector what runs")?;
            for resource in page.covered_resources.unwrap_or_default() {
                let digest = resource.resource_id.rsplit('/').next().unwrap_or_default();
                let digest: Digest = digest.parse().map_err(|error| {
                    anyhow!("what runs, by Amazon Inspector: {error}, got {}", resource.resource_id)
                })?;
                let image = resource.resource_metadata.and_then(|it| it.ecr_image);
                let count = image.and_then(|it| it.in_use_count).and_then(|it| it.try_into().ok());
                running.insert(digest, count.unwrap_or(least).max(least));
            }
        }
        Ok(running)
    }

    /// Names of what runs an image, for a person to read. One call.
    pub async fn workloads(&self, image_arn: &str) -> anyhow::Result<String> {
        let filter = ClusterForImageFilterCriteria::builder().resource_id(image_arn).build()?;
        let got = self.client.get_clusters_for_image().filter(filter).max_results(NAMED_MOST);
        let got = got.send().await.map_err(warden_aws::explain);
        let got = got.with_context(|| format!("asking Amazon Inspector what runs {image_arn}"))?;
        let mut names: Vec<String> = Vec::new();
        for cluster in got.cluster() {
            let name = cluster.cluster_arn().rsplit('/').next().unwrap_or_default();
            for detail in cluster.cluster_details() {
                match detail.cluster_metadata() {
                    Some(ClusterMetadata::AwsEksMetadataDetails(eks)) => {
                        let namespace = eks.namespace().unwrap_or_default();
                        let owners = eks.workload_info_list().iter();
                        names.extend(owners.map(|it| format!("{name} {namespace}/{}", it.name())));
                    }
                    Some(ClusterMetadata::AwsEcsMetadataDetails(ecs)) => {
                        names.push(format!("{name} {}", ecs.details_group()));
                    }
                    _ => {}
                }
            }
        }
        names.sort();
        names.dedup();
        let more = names.len().saturating_sub(NAMED_WORKLOADS);
        names.truncate(NAMED_WORKLOADS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Ok(names.join(", ") + &more)
    }
}

/// As many clusters as a page has.
const NAMED_MOST: i32 = 100;
