//! Amazon ECR in memory, by the service model of version 2015-09-21 and the user guide.
//!
//! In reading order: [`model`] says what each operation takes, [`settings`] keeps
//! repositories and what is set on them and on the registry, [`image`] puts, shows and
//! removes images, [`layer`] takes their layers, [`lifecycle`] judges and expires,
//! [`scan`] scans, `creation_template` creates repositories, `replication` copies to other registries, [`event`] tells EventBridge.
//!
//! # What it does not do
//!
//! - It judges no rights inside an account: [`crate::authorization`] does so before a call gets
//!   here. Callers of another account may do nothing, even if a repository's policy lets them.
//! - Pull-through caches and signing are not served; each is answered as an unknown operation.
//! - It finds no vulnerabilities: a scan goes on until [`Registry::complete_scan`] says what
//!   it found, automatic re-scans do not happen, and Inspector changes its mind only by
//!   [`Registry::tell_of_finding`].
//! - Lifecycle policies are carried out when the clock is moved, not once a day.
//! - Layers that no image needs any more are kept; nothing is encrypted; rates have no limit.
//! - Where AWS does not say what happens, the comment at the spot says what happens here.

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

/// What one call is about, besides its input.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The operation's name, such as `PutImage`.
    pub operation: &'a str,
    /// The ARN of the role or user that calls, where it is known.
    pub principal: Option<&'a str>,
    /// When.
    pub now: Time,
    /// Where layers can be downloaded from, such as `http://127.0.0.1:4566`.
    pub endpoint: &'a str,
}

/// One account's registry in one region.
#[derive(Debug, Default)]
pub struct Registry {
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// By name.
    pub repositories: BTreeMap<String, Repository>,
    /// What is set for the registry as a whole.
    pub settings: settings::RegistrySettings,
    /// What EventBridge is still to be told.
    pub events: Vec<Value>,
    /// Whether ECR refuses to archive an image that an active index references. AWS does not
    /// document this, so the functions must be safe either way.
    pub refuses_children_of_active_indexes: bool,
    /// The images on their way back from the archive: repository, digest, and when they are.
    activating: Vec<(String, String, Time)>,
    /// How often something got a number of its own.
    numbered: u64,
    /// Whether `DescribeImages` does not find archived images by their identifiers. Both are a
    /// guess: AWS documents the default of the filter for lists only.
    pub hides_archived_by_id: bool,
    /// Whether a replicated image is pushed in the events of its destination too. AWS does not
    /// document this, so the functions must be safe either way.
    pub sends_push_events_of_copies: bool,
    /// The changes that are still to be replicated.
    pub(crate) outgoing: Vec<replication::Outgoing>,
    /// For how long reads do not show a push, and the pushes that they may not show yet.
    lag: lag::ReadLag,
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
    /// When that was last carried out.
    pub evaluated_at: Option<Time>,
    /// Its repository policy.
    pub policy: Option<String>,
    /// The unique ID of each role that the policy names, by its ARN.
    pub(crate) principals: BTreeMap<String, String>,
    /// Its images.
    pub images: Images,
    /// Its layers.
    pub layers: layer::Layers,
    /// The last preview.
    pub preview: Option<lifecycle::Preview>,
}

impl Registry {
    /// An empty one.
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
        let whole = self.hide_recent_pushes(call, text(input, "repositoryName"));
        let served = self.serve_operation(call, input);
        if let Some(images) = whole {
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
            "CreateRepository" => self.create(call, input),
            "CreateRepositoryCreationTemplate" => self.create_template(call, input),
            "DeleteLifecyclePolicy" => self.delete_lifecycle_policy(input),
            "DeleteRegistryPolicy" => self.delete_registry_policy(),
            "DeleteRepository" => self.delete(input),
            "DeleteRepositoryPolicy" => self.delete_policy(input),
            "DeregisterPullTimeUpdateExclusion" => self.deregister_exclusion(input),
            "DescribeImageScanFindings" => self.scan_findings(input),
            "DescribeImages" => self.describe_images(input),
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

    /// An identifier that nothing else in the registry has, in the shape of a UUID.
    fn unique(&mut self) -> String {
        self.numbered += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.numbered)
    }

    /// An answer that begins with whose registry and which repository it is about.
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

/// The object without the members that are null: AWS leaves out what it does not have.
pub(crate) fn present(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        other => other,
    }
}

/// One page of what stands in order of its key.
struct Page {
    after: Bound<String>,
    most: usize,
}

impl Page {
    /// The page that `nextToken` and `maxResults` ask for.
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

    /// Where a range over the keys begins.
    fn start(&self) -> Bound<&str> {
        match &self.after {
            Bound::Excluded(key) => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    }

    /// The first of `items`, which begin after [`Page::start`], and the token for the rest.
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

/// Resource tags from a list of keys and values.
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
