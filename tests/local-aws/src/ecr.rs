//! Amazon ECR in memory, by the service model of version 2015-09-21 and the user guide.
//!
//! The modules, in reading order: [`model`] checks the input of each operation, [`settings`] stores
//! repositories and the settings of repositories and of the registry, [`image`] pushes, describes
//! and removes images, [`layer`] stores their layers, [`lifecycle`] carries out lifecycle policies,
//! [`scan`] stores scans, `creation_template` creates repositories on a push, `replication` copies
//! images to other registries, and [`event`] creates the events for EventBridge.
//!
//! # Differences from Amazon ECR
//!
//! - This module checks no permissions inside an account, because [`crate::authorization`] decides
//!   each call first. It denies every call from another account, even where the policy of a
//!   repository allows the call.
//! - Pull-through caches and signing fail as unknown operations.
//! - A scan finds no vulnerabilities: it lasts until [`Registry::complete_scan`] sets its result.
//!   There are no automatic re-scans, and a finding of Inspector changes only by
//!   [`Registry::tell_of_finding`].
//! - Lifecycle policies are carried out when a test moves the clock, not once a day.
//! - Layers that no image needs are kept, nothing is encrypted, and there are no rate limits.
//! - Where the documentation of AWS is silent, a comment in the code says what happens here.

pub(crate) mod creation_template;
pub mod event;
pub mod image;
mod lag;
pub mod layer;
pub mod lifecycle;
pub mod model;
pub(crate) mod replication;
pub mod scan;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::{Map, Value, json};

use creation_template::Reason;
pub use image::{Image, Images};

/// Seconds since 1970.
pub type Time = f64;

/// A day, in seconds.
pub const DAY: Time = 86_400.0;

/// An error of the service.
#[derive(Debug)]
pub struct Error {
    /// The code, such as `RepositoryNotFoundException`.
    pub code: &'static str,
    /// The message for a person.
    pub message: String,
}

fn error(code: &'static str, message: impl Into<String>) -> Error {
    Error { code, message: message.into() }
}

/// The context of a call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The operation's name, such as `PutImage`.
    pub operation: &'a str,
    /// The ARN of the calling role or user, where it is known.
    pub principal: Option<&'a str>,
    /// The time of the call.
    pub now: Time,
    /// The endpoint for the download of layers, such as `http://127.0.0.1:4566`.
    pub endpoint: &'a str,
}

/// The registry of an account in a region.
#[derive(Debug, Default)]
pub struct Registry {
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// The repositories, by name.
    pub repositories: BTreeMap<String, Repository>,
    /// The settings of the registry.
    pub settings: settings::RegistrySettings,
    /// The events that EventBridge has not received yet.
    pub events: Vec<Value>,
    /// Whether ECR refuses to archive an image that an active index references. AWS does not
    /// document this, so the functions must be safe either way.
    pub refuses_children_of_active_indexes: bool,
    /// The images that are being restored from the archive: repository, digest, and the time at
    /// which each is active again.
    activating: Vec<(String, String, Time)>,
    /// The time that a restore from the archive takes. None is about twenty minutes, as in ECR.
    pub restore_time: Option<Time>,
    /// The number of identifiers that [`Registry::unique`] has created.
    numbered: u64,
    /// Whether `DescribeImages` does not find archived images by their identifiers. Both behaviours
    /// are a guess: AWS documents the default of the filter for lists only.
    pub hides_archived_by_id: bool,
    /// Whether the destination of a replication also sends the event of a push. AWS does not
    /// document this, so the functions must be safe either way.
    pub sends_push_events_of_copies: bool,
    /// The changes that are not replicated yet.
    pub(crate) outgoing: Vec<replication::Outgoing>,
    /// The time after which reads show a push, and the pushes that they do not show yet.
    lag: lag::ReadLag,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// The answer of `DescribeRepositories`.
    pub described: Map<String, Value>,
    /// The resource tags.
    pub tags: BTreeMap<String, String>,
    /// The lifecycle policy.
    pub lifecycle: Option<String>,
    /// The time at which the lifecycle policy was last carried out.
    pub evaluated_at: Option<Time>,
    /// The repository policy.
    pub policy: Option<String>,
    /// The unique ID of each role that the policy names, by its ARN.
    pub(crate) principals: BTreeMap<String, String>,
    /// The images.
    pub images: Images,
    /// The layers.
    pub layers: layer::Layers,
    /// The last preview of a lifecycle policy.
    pub preview: Option<lifecycle::Preview>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), ..Self::default() }
    }

    /// Serves one call.
    pub fn serve(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        model::check(call.operation, input)?;
        if let Some(other) = input["registryId"].as_str().filter(|id| *id != self.account) {
            let message = format!(
                "{} is not authorized to perform ecr:{} in the registry with id '{other}'",
                call.principal.unwrap_or("The caller"),
                call.operation
            );
            return Err(error("AccessDeniedException", message));
        }
        self.settle(call.now);
        if matches!(call.operation, "InitiateLayerUpload" | "PutImage") {
            self.create_if_missing(text(input, "repositoryName"), Reason::Push, call.now);
        }
        let all_images = self.hide_recent_pushes(call, text(input, "repositoryName"));
        let served = self.serve_operation(call, input);
        if let Some(images) = all_images {
            self.named(input)?.images = images;
        }
        served
    }

    fn serve_operation(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        match call.operation {
            "BatchCheckLayerAvailability" => self.check_layers(input),
            "BatchDeleteImage" => self.delete_images(call, input),
            "BatchGetImage" => self.get_images(call, input),
            "BatchGetRepositoryScanningConfiguration" => Ok(self.scanning_configurations(input)),
            "CompleteLayerUpload" => self.complete_upload(input),
            "CreatePullThroughCacheRule" => self.create_cache_rule(call, input),
            "CreateRepository" => self.create(call, input),
            "CreateRepositoryCreationTemplate" => self.create_template(call, input),
            "DeleteLifecyclePolicy" => self.delete_lifecycle_policy(input),
            "DeleteRegistryPolicy" => self.delete_registry_policy(),
            "DeleteRepository" => self.delete(input),
            "DeleteRepositoryPolicy" => self.delete_policy(input),
            "DeregisterPullTimeUpdateExclusion" => self.deregister_exclusion(input),
            "DescribeImageScanFindings" => self.scan_findings(input),
            "DescribeImages" => self.describe_images(input),
            "DescribePullThroughCacheRules" => self.describe_cache_rules(input),
            "DescribeRegistry" => Ok(self.describe_registry()),
            "DescribeRepositories" => self.describe(input),
            "DescribeRepositoryCreationTemplates" => self.describe_templates(input),
            "GetAccountSetting" => self.account_setting(input),
            "GetAuthorizationToken" => self.authorization_token(call, input),
            "GetDownloadUrlForLayer" => self.download_url(call, input),
            "GetLifecyclePolicy" => self.lifecycle_policy(input),
            "GetLifecyclePolicyPreview" => self.lifecycle_preview(call, input),
            "GetRegistryPolicy" => self.registry_policy(),
            "GetRegistryScanningConfiguration" => Ok(self.registry_scanning()),
            "GetRepositoryPolicy" => self.policy(input),
            "InitiateLayerUpload" => self.initiate_upload(input),
            "ListImageReferrers" => self.list_referrers(input),
            "ListImages" => self.list_images(input),
            "ListPullTimeUpdateExclusions" => self.list_exclusions(input),
            "ListTagsForResource" => self.list_tags(input),
            "PutAccountSetting" => self.put_account_setting(input),
            "PutImage" => self.put_image(call, input),
            "PutImageScanningConfiguration" => self.put_scanning(input),
            "PutImageTagMutability" => self.put_mutability(input),
            "PutLifecyclePolicy" => self.put_lifecycle_policy(input),
            "PutRegistryPolicy" => self.put_registry_policy(input),
            "PutRegistryScanningConfiguration" => self.put_registry_scanning(input),
            "PutReplicationConfiguration" => self.put_replication(input),
            "RegisterPullTimeUpdateExclusion" => self.register_exclusion(call, input),
            "SetRepositoryPolicy" => self.set_policy(input),
            "StartImageScan" => self.start_scan(call, input),
            "StartLifecyclePolicyPreview" => self.start_lifecycle_preview(call, input),
            "TagResource" => self.tag(input),
            "UntagResource" => self.untag(input),
            "UpdateImageStorageClass" => self.update_storage_class(call, input),
            "UploadLayerPart" => self.upload_part(input),
            operation => Err(error("UnknownOperationException", operation)),
        }
    }

    /// The repository that the input names.
    fn named(&mut self, input: &Value) -> Result<&mut Repository, Error> {
        self.repository(text(input, "repositoryName"))
    }

    /// The repository of this name.
    pub fn repository(&mut self, name: &str) -> Result<&mut Repository, Error> {
        let account = &self.account;
        self.repositories.get_mut(name).ok_or_else(|| {
            let message = format!(
                "The repository with name '{name}' does not exist in the registry with id '{account}'"
            );
            error("RepositoryNotFoundException", message)
        })
    }

    /// An identifier that is unique in the registry and has the form of a UUID.
    fn unique(&mut self) -> String {
        self.numbered += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.numbered)
    }

    /// An answer with the registry, the repository and these fields.
    fn about(&self, input: &Value, rest: Value) -> Value {
        let mut answer = json!({
            "registryId": self.account,
            "repositoryName": input["repositoryName"],
        });
        if let (Some(answer), Value::Object(rest)) = (answer.as_object_mut(), rest) {
            answer.extend(rest.into_iter().filter(|(_, value)| !value.is_null()));
        }
        answer
    }
}

fn text<'v>(input: &'v Value, field: &str) -> &'v str {
    input[field].as_str().unwrap_or_default()
}

/// The object without the members that are null, because AWS omits a field that has no value.
pub(crate) fn present(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        other => other,
    }
}

/// A page of items that are sorted by a key.
struct Page {
    after: Bound<String>,
    most: usize,
}

impl Page {
    /// Reads the requested page from `nextToken` and `maxResults`.
    fn read(input: &Value, default: usize) -> Result<Self, Error> {
        let after = match input["nextToken"].as_str() {
            None => Bound::Unbounded,
            Some(token) => {
                let decoded = aws_smithy_types::base64::decode(token).ok();
                let key = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                Bound::Excluded(key.ok_or_else(|| model::unsatisfied("nextToken", "is not valid"))?)
            }
        };
        let most = input["maxResults"].as_u64().and_then(|most| usize::try_from(most).ok());
        Ok(Self { after, most: most.unwrap_or(default) })
    }

    /// The start of a range over the keys.
    fn start(&self) -> Bound<&str> {
        match &self.after {
            Bound::Excluded(key) => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    }

    /// The first of `items`, which begin after [`Page::start`], and the token of the next page.
    fn cut<T>(&self, items: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
        let mut page = Vec::new();
        let mut last = String::new();
        for (key, item) in items {
            if page.len() == self.most {
                return (page, Some(aws_smithy_types::base64::encode(last)));
            }
            last = key;
            page.push(item);
        }
        (page, None)
    }
}

/// The resource tags of a list of keys and values.
fn tags(list: &Value) -> BTreeMap<String, String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|tag| (text(tag, "Key").to_owned(), text(tag, "Value").to_owned())).collect()
}

/// The strings of a list.
fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a name matches a pattern in which `*` stands for any characters.
#[must_use]
pub fn wildcard(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
