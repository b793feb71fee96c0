//! Previews of lifecycle policies. ECR evaluates a preview once, and a caller reads it in pages.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lpp_creation.html>

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Action, Selected, select, validate};
use crate::ecr::image::Status;
use crate::ecr::{Call, Error, Page, Registry, Time, error, model, present, text};

/// The duration of a preview, and the number of requests after which it is complete while the clock
/// is stopped.
const TIME: Time = 5.0;
const POLLS: u32 = 2;

/// A preview of a policy.
#[derive(Clone, Debug)]
pub struct Preview {
    policy: String,
    ready_at: Time,
    polls_left: u32,
    /// The results, once the preview is complete.
    results: Option<Vec<Value>>,
}

impl Preview {
    fn is_complete(&self, now: Time) -> bool {
        self.results.is_some() || self.polls_left == 0 || now >= self.ready_at
    }
}

impl Registry {
    pub(in crate::ecr) fn start_lifecycle_preview(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let policy = match input["lifecyclePolicyText"].as_str() {
            Some(policy) => policy.to_owned(),
            None => text(&self.lifecycle_policy(input)?, "lifecyclePolicyText").to_owned(),
        };
        let repository = self.named(input)?;
        if repository.preview.as_ref().is_some_and(|preview| !preview.is_complete(call.now)) {
            let message = "The previous lifecycle policy preview request has not completed";
            return Err(error("LifecyclePolicyPreviewInProgressException", message));
        }
        validate(&policy)?;
        repository.preview = Some(Preview {
            policy: policy.clone(),
            ready_at: call.now + TIME,
            polls_left: POLLS,
            results: None,
        });
        Ok(self.about(input, json!({"lifecyclePolicyText": policy, "status": "IN_PROGRESS"})))
    }

    pub(in crate::ecr) fn lifecycle_preview(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName").to_owned(), self.account.clone());
        let page = Page::read(input, 100)?;
        let ids = input["imageIds"].as_array();
        if ids.is_some() && !(input["nextToken"].is_null() && input["maxResults"].is_null()) {
            let constraint = "cannot be used when images are specified with imageIds";
            return Err(model::unsatisfied("maxResults", constraint));
        }
        let repository = self.named(input)?;
        let Some(preview) = &mut repository.preview else {
            let message = format!(
                "Lifecycle policy preview does not exist for the repository with name '{name}' in the registry with id '{account}'"
            );
            return Err(error("LifecyclePolicyPreviewNotFoundException", message));
        };
        let policy = preview.policy.clone();
        if !preview.is_complete(call.now) {
            preview.polls_left -= 1;
            let state = json!({"lifecyclePolicyText": policy, "status": "IN_PROGRESS"});
            return Ok(self.about(input, state));
        }
        let images = &repository.images;
        let results = preview
            .results
            .get_or_insert_with(|| select(&policy, images, call.now).iter().map(result).collect());
        let of_kind =
            |kind: &str| results.iter().filter(|result| result["action"]["type"] == kind).count();
        let (expiring, archiving) = (of_kind("EXPIRE"), of_kind("TRANSITION"));
        // An image that does not exist has no result.
        let wanted: Option<BTreeSet<&str>> = ids.map(|ids| {
            let found = ids.iter().filter_map(|id| images.find(id).ok());
            found.map(|image| image.digest.as_str()).collect()
        });
        let rest = results.iter().enumerate().filter(|(_, result)| {
            let digest = text(result, "imageDigest");
            wanted.as_ref().is_none_or(|wanted| wanted.contains(digest))
                && match input["filter"]["tagStatus"].as_str() {
                    Some("TAGGED") => result["imageTags"].is_array(),
                    Some("UNTAGGED") => !result["imageTags"].is_array(),
                    _ => true,
                }
        });
        let rest = rest.map(|(n, result)| (format!("{n:09}"), result));
        let rest = rest.skip_while(|(key, _)| match page.start() {
            std::ops::Bound::Excluded(last) => key.as_str() <= last,
            _ => false,
        });
        let (results, token) = page.cut(rest);
        let counts = json!([{"targetStorageClass": "ARCHIVE", "imageTotalCount": archiving}]);
        let summary = json!({
            "expiringImageTotalCount": expiring,
            "transitioningImageTotalCounts": (archiving > 0).then_some(counts),
        });
        let answer = json!({
            "lifecyclePolicyText": policy,
            "status": "COMPLETE",
            "nextToken": token,
            "previewResults": results,
            "summary": present(summary),
        });
        Ok(self.about(input, answer))
    }
}

/// The model's `LifecyclePolicyPreviewResult`.
fn result(selected: &Selected<'_>) -> Value {
    let image = selected.image;
    present(json!({
        "imageTags": (!image.tags.is_empty()).then_some(&image.tags),
        "imageDigest": image.digest,
        "imagePushedAt": image.pushed_at,
        "action": match selected.action {
            Action::Expire => json!({"type": "EXPIRE"}),
            Action::Archive => json!({"type": "TRANSITION", "targetStorageClass": "ARCHIVE"}),
        },
        "appliedRulePriority": selected.priority,
        "storageClass": if image.status == Status::Active { "STANDARD" } else { "ARCHIVE" },
    }))
}
