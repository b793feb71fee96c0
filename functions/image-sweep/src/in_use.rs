//! Lists the images that run in EKS and ECS, as Amazon Inspector sees them
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
    /// Builds the client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_inspector2::Client::new(config) }
    }

    /// Lists the running images of a repository, each with its number of pods and tasks. The number is
    /// 0 for an image that does not run now and has run since `since`, such as the image of a daily
    /// job. Makes one call for each 200 images of each kind.
    pub async fn list_running_images(
        &self,
        account: &str,
        repository: &RepositoryName,
        since: DateTime<Utc>,
    ) -> anyhow::Result<RunningImages> {
        let equals = |value: &str| {
            let filter = CoverageStringFilter::builder();
            filter.comparison(CoverageStringComparison::Equals).value(value).build()
        };
        let filter = CoverageFilterCriteria::builder()
            // The administrator account of Inspector would otherwise see all member accounts.
            .account_id(equals(account)?)
            .ecr_repository_name(equals(repository.as_str())?);
        let runs = CoverageNumberFilter::builder().lower_inclusive(1).build();
        let since = aws_sdk_inspector2::primitives::DateTime::from_secs(since.timestamp());
        let lately = CoverageDateFilter::builder().start_inclusive(since).build();
        let (mut running, now) = tokio::try_join!(
            self.list_coverage(filter.clone().ecr_image_last_in_use_at(lately).build(), 0),
            self.list_coverage(filter.ecr_image_in_use_count(runs).build(), 1),
        )?;
        running.extend(now);
        Ok(running)
    }

    /// Lists the images that match the filter, each with its number of pods and tasks. `least` is the
    /// lowest number, also for an image without a number.
    async fn list_coverage(
        &self,
        filter: CoverageFilterCriteria,
        least: u64,
    ) -> anyhow::Result<RunningImages> {
        let list = self.client.list_coverage().filter_criteria(filter);
        let mut pages = list.into_paginator().page_size(PAGE).send();
        let mut running = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(warden_aws::explain);
            let page = page.context("listing the running images with Amazon Inspector")?;
            for resource in page.covered_resources.unwrap_or_default() {
                let digest = resource.resource_id.rsplit('/').next().unwrap_or_default();
                let digest: Digest = digest.parse().map_err(|error| {
                    anyhow!(
                        "a running image in the answer of Amazon Inspector: {error}, got {}",
                        resource.resource_id
                    )
                })?;
                let image = resource.resource_metadata.and_then(|metadata| metadata.ecr_image);
                let count = image.and_then(|image| image.in_use_count);
                let count = count.and_then(|count| u64::try_from(count).ok());
                running.insert(digest, count.unwrap_or(least).max(least));
            }
        }
        Ok(running)
    }

    /// Names the workloads that run an image, for a person to read. Makes one call.
    pub async fn name_workloads(&self, image_arn: &str) -> anyhow::Result<String> {
        let filter = ClusterForImageFilterCriteria::builder().resource_id(image_arn).build()?;
        let got = self.client.get_clusters_for_image().filter(filter).max_results(CLUSTER_PAGE);
        let got = got.send().await.map_err(warden_aws::explain);
        let got = got.with_context(|| {
            format!("listing the workloads that run {image_arn} with Amazon Inspector")
        })?;
        let mut names: Vec<String> = Vec::new();
        for cluster in got.cluster() {
            let name = cluster.cluster_arn().rsplit('/').next().unwrap_or_default();
            for detail in cluster.cluster_details() {
                match detail.cluster_metadata() {
                    Some(ClusterMetadata::AwsEksMetadataDetails(eks)) => {
                        let namespace = eks.namespace().unwrap_or_default();
                        let owners = eks.workload_info_list().iter();
                        names.extend(
                            owners.map(|owner| format!("{name} {namespace}/{}", owner.name())),
                        );
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

/// The most clusters of a page.
const CLUSTER_PAGE: i32 = 100;
