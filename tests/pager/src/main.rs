//! A bootstrap that looks at all images of the repository it is asked about, page by page with
//! the clients' own settings, and answers how many there are.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageStatusFilter};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let ecr = &Client::new(&warden_aws::config(warden_aws::http::Roots::AtStart).await);
    let count = async |event: LambdaEvent<Value>| {
        let repository = event.payload.get("repository").and_then(Value::as_str);
        count(ecr, repository.unwrap_or_default()).await
    };
    lambda_runtime::run(service_fn(count)).await
}

async fn count(ecr: &Client, repository: &str) -> Result<usize, Error> {
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let images = ecr.describe_images().repository_name(repository).filter(any);
    let mut pages = images.into_paginator().page_size(1_000).send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page?.image_details().len();
    }
    Ok(count)
}
