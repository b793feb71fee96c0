//! Lists images: `DescribeImages`, `ListImages` and `ListImageReferrers`.

use std::ops::Bound;

use serde_json::{Value, json};

use super::{Image, Status, found};
use crate::ecr::{Error, Page, Registry, error, model, present, text, words};

impl Registry {
    pub(in crate::ecr) fn describe_images(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName").to_owned(), self.account.clone());
        let hides_archived = self.hides_archived_by_id && input["filter"].is_null();
        let images = &self.named(input)?.images;
        let detail = |image: &Image| {
            present(json!({
                "registryId": account,
                "repositoryName": name,
                "imageDigest": image.digest,
                "imageTags": (!image.tags.is_empty()).then_some(&image.tags),
                "imageSizeInBytes": image.manifest.size,
                "imagePushedAt": image.pushed_at,
                "imageManifestMediaType": image.manifest.media_type,
                "artifactMediaType": image.manifest.artifact_type,
                "lastRecordedPullTime": image.pulled_at,
                "subjectManifestDigest": image.manifest.subject,
                "imageStatus": image.status.name(),
                "lastArchivedAt": image.archived_at,
                "lastActivatedAt": image.activated_at,
            }))
        };
        if let Some(ids) = input["imageIds"].as_array() {
            if !input["nextToken"].is_null() || !input["maxResults"].is_null() {
                let constraint = "cannot be used when images are specified with imageIds";
                return Err(model::unsatisfied("maxResults", constraint));
            }
            // The filter applies to lists, so named images of every status are shown, unless the
            // registry hides archived images.
            let details = ids.iter().map(|id| {
                let image = found(images, id, &name, &account)?;
                if hides_archived && image.status != Status::Active {
                    return Err(error("ImageNotFoundException", "The image is archived"));
                }
                Ok(detail(image))
            });
            let details: Result<Vec<Value>, Error> = details.collect();
            return Ok(json!({"imageDetails": details?}));
        }
        let page = Page::read(input, 100)?;
        let rest = images.by_digest.range::<str, _>((page.start(), Bound::Unbounded));
        let rest = rest.filter(|(_, image)| is_wanted(image, &input["filter"]));
        let (details, token) = page.cut(rest.map(|(key, image)| (key.clone(), detail(image))));
        Ok(present(json!({"imageDetails": details, "nextToken": token})))
    }

    pub(in crate::ecr) fn list_images(&mut self, input: &Value) -> Result<Value, Error> {
        let page = Page::read(input, 100)?;
        // A page may end between two tags of an image, so the key contains digest and tag.
        let from = match page.start() {
            Bound::Excluded(key) => {
                Bound::Included(key.split_once(' ').map_or(key, |(digest, _)| digest).to_owned())
            }
            _ => Bound::Unbounded,
        };
        let images = &self.named(input)?.images.by_digest;
        let rest = images.range::<String, _>((from, Bound::Unbounded));
        let rest = rest.filter(|(_, image)| is_wanted(image, &input["filter"]));
        let ids = rest.flat_map(|(digest, image)| {
            let tags = image.tags.iter().map(Some);
            let untagged = image.tags.is_empty().then_some(None);
            tags.chain(untagged).map(move |tag| {
                let key = format!("{digest} {}", tag.map_or("", String::as_str));
                (key, present(json!({"imageDigest": digest, "imageTag": tag})))
            })
        });
        let ids = ids.skip_while(|(key, _)| match page.start() {
            Bound::Excluded(last) => key.as_str() <= last,
            _ => false,
        });
        let (ids, token) = page.cut(ids);
        Ok(present(json!({"imageIds": ids, "nextToken": token})))
    }

    pub(in crate::ecr) fn list_referrers(&mut self, input: &Value) -> Result<Value, Error> {
        let page = Page::read(input, 20)?;
        let subject = text(&input["subjectId"], "imageDigest").to_owned();
        let types = words(&input["filter"]["artifactTypes"]);
        let status = input["filter"]["artifactStatus"].as_str();
        let images = &self.named(input)?.images.by_digest;
        let rest = images.range::<str, _>((page.start(), Bound::Unbounded));
        let rest = rest.filter(|(_, image)| {
            let artifact_type = image.manifest.artifact_type.as_deref().unwrap_or_default();
            image.manifest.subject.as_ref() == Some(&subject)
                && (types.is_empty() || types.contains(artifact_type))
                && has_status(image.status, status)
        });
        let referrer = |image: &Image| {
            present(json!({
                "digest": image.digest,
                "mediaType": image.manifest.media_type,
                "artifactType": image.manifest.artifact_type,
                "size": image.manifest_text.len(),
                "annotations": image.manifest.annotations,
                "artifactStatus": image.status.name(),
            }))
        };
        let (referrers, token) = page.cut(rest.map(|(key, image)| (key.clone(), referrer(image))));
        Ok(present(json!({"referrers": referrers, "nextToken": token})))
    }
}

/// Whether an image matches a filter of tag status and image status. A filter without an image
/// status matches only images in the standard storage class.
pub(in crate::ecr) fn is_wanted(image: &Image, filter: &Value) -> bool {
    let tagged = match filter["tagStatus"].as_str() {
        Some("TAGGED") => !image.tags.is_empty(),
        Some("UNTAGGED") => image.tags.is_empty(),
        _ => true,
    };
    tagged && has_status(image.status, filter["imageStatus"].as_str())
}

fn has_status(status: Status, wanted: Option<&str>) -> bool {
    match wanted {
        None => status == Status::Active,
        Some("ANY") => true,
        Some(wanted) => status.name() == wanted,
    }
}
