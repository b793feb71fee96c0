//! ECR, as far as more than one function asks it the same.

use anyhow::Context as _;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageStatusFilter};
use governance::image::{Digest, RepositoryName, Tag};

/// The image as it is now, if it is there, be it in the archive. One call.
pub async fn image(
    client: &Client,
    repository: &RepositoryName,
    digest: &Digest,
) -> anyhow::Result<Option<ImageDetail>> {
    let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
    // Without a filter ECR may show active images only.
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let describe = client.describe_images().repository_name(repository.as_str());
    let described = crate::unless(describe.image_ids(id).filter(any).send().await, |error| {
        error.is_image_not_found_exception() || error.is_repository_not_found_exception()
    });
    let described = described.with_context(|| format!("describing {repository}@{digest}"))?;
    Ok(described.and_then(|described| described.image_details?.into_iter().next()))
}

/// Those of an image's tags that are some. ECR may take more for a tag than OCI does; what is
/// none conforms to nothing.
#[must_use]
pub fn tags(of: Option<Vec<String>>) -> Vec<Tag> {
    of.into_iter().flatten().filter_map(|tag| tag.parse().ok()).collect()
}
