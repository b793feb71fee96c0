//! Amazon ECR, as far as the settings of repositories go, by the service model of version
//! 2015-09-21.

pub mod lifecycle;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{ACCOUNT, REGION};

/// An error of the service, by its own name.
#[derive(Debug)]
pub struct Error {
    /// Such as `RepositoryNotFoundException`.
    pub code: &'static str,
    /// For a person.
    pub message: String,
}

fn error(code: &'static str, message: impl Into<String>) -> Error {
    Error { code, message: message.into() }
}

/// The repositories of the account and region.
#[derive(Default)]
pub struct Ecr {
    /// By name.
    pub repositories: BTreeMap<String, Repository>,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// What `DescribeRepositories` says of it.
    pub described: Map<String, Value>,
    /// Its resource tags.
    pub tags: BTreeMap<String, String>,
    /// Its lifecycle policy.
    pub lifecycle: Option<String>,
    /// Its repository policy.
    pub policy: Option<String>,
    /// Its images.
    pub images: Vec<Image>,
    /// The text of the last preview, and how often it will still be in progress.
    pub preview: Option<(String, u32)>,
}

/// An image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// `sha256:…`.
    pub digest: String,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// How many days ago it was pushed.
    pub age_days: u32,
    /// Whether it is in the archive class.
    pub archived: bool,
}

impl Ecr {
    /// A repository that somebody else made.
    pub fn foreign(&mut self, name: &str) -> &mut Repository {
        let input = json!({"repositoryName": name});
        self.serve("CreateRepository", &input).expect("a valid repository");
        self.repositories.get_mut(name).expect("it was just made")
    }

    /// Serves one call.
    pub fn serve(&mut self, operation: &str, input: &Value) -> Result<Value, Error> {
        if operation == "CreateRepository" {
            return self.create(input);
        }
        let arn_prefix = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/");
        let name = match (operation, &input["resourceArn"], &input["repositoryNames"][0]) {
            (_, Value::String(arn), _) => arn.strip_prefix(&arn_prefix).map(str::to_owned),
            (_, _, Value::String(name)) => Some(name.clone()),
            _ => input["repositoryName"].as_str().map(str::to_owned),
        };
        let name =
            name.ok_or_else(|| error("InvalidParameterException", "no repository is named"))?;
        let Some(repository) = self.repositories.get_mut(&name) else {
            let message = format!(
                "The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
            );
            return Err(error("RepositoryNotFoundException", message));
        };
        if operation == "DeleteRepository" {
            if !repository.images.is_empty() && input["force"] != true {
                let message = format!(
                    "The repository with name '{name}' cannot be deleted because it still contains images"
                );
                return Err(error("RepositoryNotEmptyException", message));
            }
            self.repositories.remove(&name);
            return Ok(json!({}));
        }
        repository.serve(operation, input, &name)
    }

    fn create(&mut self, input: &Value) -> Result<Value, Error> {
        let name = input["repositoryName"].as_str().unwrap_or_default().to_owned();
        if self.repositories.contains_key(&name) {
            let message = format!(
                "The repository with name '{name}' already exists in the registry with id '{ACCOUNT}'"
            );
            return Err(error("RepositoryAlreadyExistsException", message));
        }
        let mut encryption = input["encryptionConfiguration"].clone();
        if encryption.is_null() {
            encryption = json!({"encryptionType": "AES256"});
        }
        if encryption["encryptionType"] != "AES256" && encryption["kmsKey"].is_null() {
            // The key that AWS manages is answered with, by its ARN.
            encryption["kmsKey"] = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/aws-managed").into();
        }
        let described = json!({
            "repositoryName": name,
            "repositoryArn": format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"),
            "registryId": ACCOUNT,
            "repositoryUri": format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}"),
            "imageTagMutability": input.get("imageTagMutability").cloned().unwrap_or("MUTABLE".into()),
            "imageTagMutabilityExclusionFilters": input["imageTagMutabilityExclusionFilters"],
            "imageScanningConfiguration": input.get("imageScanningConfiguration").cloned().unwrap_or(json!({"scanOnPush": false})),
            "encryptionConfiguration": encryption,
        });
        let described = described.as_object().cloned().unwrap_or_default();
        let answer = json!({"repository": described});
        self.repositories.insert(
            name,
            Repository { described, tags: tags(&input["tags"]), ..Repository::default() },
        );
        Ok(answer)
    }
}

impl Repository {
    /// Adds images that were pushed `age_days` ago, each with one of `tags`.
    pub fn push(&mut self, tags: impl IntoIterator<Item = String>, age_days: u32) {
        for tag in tags {
            let digest = format!("sha256:{:064x}", self.images.len());
            self.images.push(Image {
                digest,
                tags: BTreeSet::from([tag]),
                age_days,
                archived: false,
            });
        }
    }

    fn serve(&mut self, operation: &str, input: &Value, name: &str) -> Result<Value, Error> {
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        match operation {
            "DescribeRepositories" => Ok(json!({"repositories": [self.described]})),
            "ListTagsForResource" => {
                let tags: Vec<Value> = self
                    .tags
                    .iter()
                    .map(|(key, value)| json!({"Key": key, "Value": value}))
                    .collect();
                Ok(json!({"tags": tags}))
            }
            "TagResource" => {
                self.tags.extend(tags(&input["tags"]));
                Ok(json!({}))
            }
            "UntagResource" => {
                let keys = input["tagKeys"].as_array().cloned().unwrap_or_default();
                self.tags.retain(|key, _| !keys.contains(&key.as_str().into()));
                Ok(json!({}))
            }
            "PutImageTagMutability" => {
                for field in ["imageTagMutability", "imageTagMutabilityExclusionFilters"] {
                    self.described.insert(field.to_owned(), input[field].clone());
                }
                Ok(json!({}))
            }
            "PutImageScanningConfiguration" => {
                let field = "imageScanningConfiguration";
                self.described.insert(field.to_owned(), input[field].clone());
                Ok(json!({}))
            }
            "GetRepositoryPolicy" => {
                let missing = || {
                    error(
                        "RepositoryPolicyNotFoundException",
                        format!(
                            "Repository policy does not exist for the repository with name '{name}'"
                        ),
                    )
                };
                self.policy.as_ref().map(|text| json!({"policyText": text})).ok_or_else(missing)
            }
            "SetRepositoryPolicy" => {
                self.policy = Some(text("policyText"));
                Ok(json!({}))
            }
            "DeleteRepositoryPolicy" => {
                self.policy = None;
                Ok(json!({}))
            }
            "GetLifecyclePolicy" => {
                let missing = || {
                    error(
                        "LifecyclePolicyNotFoundException",
                        format!(
                            "Lifecycle policy does not exist for the repository with name '{name}'"
                        ),
                    )
                };
                self.lifecycle
                    .as_ref()
                    .map(|text| json!({"lifecyclePolicyText": text}))
                    .ok_or_else(missing)
            }
            "PutLifecyclePolicy" => {
                let text = text("lifecyclePolicyText");
                lifecycle::validate(&text)?;
                self.lifecycle = Some(text);
                Ok(json!({}))
            }
            "StartLifecyclePolicyPreview" => {
                if self.preview.as_ref().is_some_and(|(_, left)| *left > 0) {
                    return Err(error(
                        "LifecyclePolicyPreviewInProgressException",
                        "The previous lifecycle policy preview request has not completed",
                    ));
                }
                let text = text("lifecyclePolicyText");
                lifecycle::validate(&text)?;
                self.preview = Some((text, 2));
                Ok(json!({"status": "IN_PROGRESS"}))
            }
            "GetLifecyclePolicyPreview" => self.preview(input, name),
            "ListImages" => {
                let any = input["filter"]["imageStatus"] == "ANY";
                let seen = self.images.iter().filter(|image| any || !image.archived);
                let most =
                    usize::try_from(input["maxResults"].as_u64().unwrap_or(100)).unwrap_or(100);
                let ids: Vec<Value> =
                    seen.take(most).map(|image| json!({"imageDigest": image.digest})).collect();
                Ok(json!({"imageIds": ids}))
            }
            _ => Err(error("UnknownOperationException", operation)),
        }
    }

    fn preview(&mut self, input: &Value, name: &str) -> Result<Value, Error> {
        let Some((text, left)) = &mut self.preview else {
            return Err(error(
                "LifecyclePolicyPreviewNotFoundException",
                format!("Lifecycle policy preview does not exist for '{name}'"),
            ));
        };
        if *left > 0 {
            *left -= 1;
            return Ok(json!({"status": "IN_PROGRESS", "lifecyclePolicyText": text}));
        }
        let expiring = lifecycle::expiring(text, &self.images);
        let most = usize::try_from(input["maxResults"].as_u64().unwrap_or(100)).unwrap_or(100);
        let results: Vec<Value> = expiring
            .iter()
            .take(most)
            .map(|image| json!({"imageDigest": image.digest, "imageTags": image.tags, "action": {"type": "EXPIRE"}}))
            .collect();
        Ok(json!({
            "status": "COMPLETE",
            "lifecyclePolicyText": text,
            "previewResults": results,
            "summary": {"expiringImageTotalCount": expiring.len()},
        }))
    }
}

fn tags(list: &Value) -> BTreeMap<String, String> {
    let tags = list.as_array().cloned().unwrap_or_default();
    let text = |tag: &Value, field: &str| tag[field].as_str().unwrap_or_default().to_owned();
    tags.iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}
