//! Repositories, their settings, and the settings of the registry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Call, Error, Page, Registry, Repository, error, model, present, tags, text, wildcard, words,
};

/// The maximum number of pull-time exclusions:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-time-update-exclusions.html>.
const EXCLUSIONS: usize = 100;

/// The settings of a registry.
#[derive(Debug, Default)]
pub struct RegistrySettings {
    pub(crate) policy: Option<String>,
    /// The repository creation templates, by their prefixes.
    pub(super) templates: BTreeMap<String, Value>,
    /// The pull-through cache rules, by their prefixes.
    pub(super) cache_rules: BTreeMap<String, Value>,
    /// The rules of replication.
    pub(super) replication: Vec<Value>,
    /// The scanning configuration of the registry. Without one, scanning is basic and has no rules.
    pub(super) scanning: Option<Value>,
    account: BTreeMap<String, String>,
    /// The roles and users whose pulls do not count.
    pub(super) pull_time_exclusions: BTreeSet<String>,
}

impl Registry {
    /// Creates a pull-through cache rule. Nothing is pulled from its upstream.
    pub(super) fn create_cache_rule(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let prefix = text(input, "ecrRepositoryPrefix");
        if self.settings.cache_rules.contains_key(prefix) {
            let message = format!("A rule with the prefix '{prefix}' already exists");
            return Err(error("PullThroughCacheRuleAlreadyExistsException", message));
        }
        let rule = present(json!({
            "ecrRepositoryPrefix": prefix,
            "upstreamRegistryUrl": input["upstreamRegistryUrl"],
            "upstreamRegistry": input["upstreamRegistry"],
            "createdAt": call.now,
            "registryId": self.account,
        }));
        self.settings.cache_rules.insert(prefix.to_owned(), rule.clone());
        Ok(rule)
    }

    pub(super) fn describe_cache_rules(&self, input: &Value) -> Result<Value, Error> {
        let asked = words(&input["ecrRepositoryPrefixes"]);
        let page = Page::read(input, 100)?;
        let rest = (page.start(), std::ops::Bound::Unbounded);
        let rest = self.settings.cache_rules.range::<str, _>(rest);
        let rest = rest.filter(|(prefix, _)| asked.is_empty() || asked.contains(prefix.as_str()));
        let (found, token) = page.cut(rest.map(|(prefix, rule)| (prefix.clone(), rule)));
        Ok(present(json!({"pullThroughCacheRules": found, "nextToken": token})))
    }

    pub(super) fn create(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        let (name, account, region) = (text(input, "repositoryName"), &self.account, &self.region);
        if self.repositories.contains_key(name) {
            let message = format!(
                "The repository with name '{name}' already exists in the registry with id '{account}'"
            );
            return Err(error("RepositoryAlreadyExistsException", message));
        }
        let tags = checked_tags(BTreeMap::new(), tags(&input["tags"]))?;
        let mut encryption = input["encryptionConfiguration"].clone();
        if encryption.is_null() {
            encryption = json!({"encryptionType": "AES256"});
        }
        if encryption["encryptionType"] != "AES256" && encryption["kmsKey"].is_null() {
            // ECR answers with the ARN of the AWS managed key.
            encryption["kmsKey"] = format!("arn:aws:kms:{region}:{account}:key/aws-managed").into();
        }
        let mut described = json!({
            "repositoryArn": format!("arn:aws:ecr:{region}:{account}:repository/{name}"),
            "registryId": account,
            "repositoryName": name,
            "repositoryUri": format!("{account}.dkr.ecr.{region}.amazonaws.com/{name}"),
            "createdAt": call.now,
            "imageScanningConfiguration": {"scanOnPush": input["imageScanningConfiguration"]["scanOnPush"] == true},
            "encryptionConfiguration": encryption,
        });
        let mutability = mutability(input)?;
        if let (Some(described), Value::Object(mutability)) =
            (described.as_object_mut(), mutability)
        {
            described.extend(mutability);
        }
        let described = described.as_object().cloned().unwrap_or_default();
        let answer = json!({"repository": described});
        let repository = Repository { described, tags, ..Repository::default() };
        self.repositories.insert(name.to_owned(), repository);
        Ok(answer)
    }

    pub(super) fn delete(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName"), self.account.clone());
        let repository = self.named(input)?;
        if !repository.images.is_empty() && input["force"] != true {
            let message = format!(
                "The repository with name '{name}' in registry with id '{account}' cannot be deleted because it still contains images"
            );
            return Err(error("RepositoryNotEmptyException", message));
        }
        let answer = json!({"repository": repository.described});
        self.repositories.remove(name);
        Ok(answer)
    }

    pub(super) fn describe(&mut self, input: &Value) -> Result<Value, Error> {
        if let Some(names) = input["repositoryNames"].as_array() {
            if !input["nextToken"].is_null() || !input["maxResults"].is_null() {
                return Err(model::unsatisfied(
                    "maxResults",
                    "cannot be used when repositories are specified with repositoryNames",
                ));
            }
            let names = names.iter().filter_map(Value::as_str);
            let found: Result<Vec<Value>, Error> = names
                .map(|name| Ok(Value::Object(self.repository(name)?.described.clone())))
                .collect();
            return Ok(json!({"repositories": found?}));
        }
        let page = Page::read(input, 100)?;
        let rest = self.repositories.range::<str, _>((page.start(), std::ops::Bound::Unbounded));
        let (found, token) = page.cut(rest.map(|(name, it)| (name.clone(), &it.described)));
        Ok(present(json!({"repositories": found, "nextToken": token})))
    }

    pub(super) fn put_mutability(&mut self, input: &Value) -> Result<Value, Error> {
        let set = mutability(input)?;
        let repository = self.named(input)?;
        repository.described.remove("imageTagMutabilityExclusionFilters");
        repository.described.extend(set.as_object().cloned().unwrap_or_default());
        Ok(self.about(input, set))
    }

    pub(super) fn put_scanning(&mut self, input: &Value) -> Result<Value, Error> {
        let scan_on_push = input["imageScanningConfiguration"]["scanOnPush"] == true;
        let set = json!({"imageScanningConfiguration": {"scanOnPush": scan_on_push}});
        self.named(input)?.described.extend(set.as_object().cloned().unwrap_or_default());
        Ok(self.about(input, set))
    }

    pub(super) fn policy(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName"), self.account.clone());
        let policy = self.named(input)?.policy.clone().ok_or_else(|| {
            let message = format!(
                "Repository policy does not exist for the repository with name '{name}' in the registry with id '{account}'"
            );
            error("RepositoryPolicyNotFoundException", message)
        })?;
        Ok(self.about(input, json!({"policyText": policy})))
    }

    pub(super) fn set_policy(&mut self, input: &Value) -> Result<Value, Error> {
        let policy = checked_policy(input)?;
        refuse_gone_principals(&policy)?;
        self.named(input)?.policy = Some(policy.clone());
        Ok(self.about(input, json!({"policyText": policy})))
    }

    pub(super) fn delete_policy(&mut self, input: &Value) -> Result<Value, Error> {
        let answer = self.policy(input)?;
        self.named(input)?.policy = None;
        Ok(answer)
    }

    /// The repository that `resourceArn` names.
    fn resource(&mut self, input: &Value) -> Result<&mut Repository, Error> {
        let prefix = format!("arn:aws:ecr:{}:{}:repository/", self.region, self.account);
        let name = text(input, "resourceArn").strip_prefix(&prefix).ok_or_else(|| {
            let constraint = "must be the ARN of a repository of this account and region";
            model::unsatisfied("resourceArn", constraint)
        })?;
        self.repository(name)
    }

    pub(super) fn list_tags(&mut self, input: &Value) -> Result<Value, Error> {
        let tags = self.resource(input)?.tags.iter();
        let tags: Vec<Value> =
            tags.map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        Ok(json!({"tags": tags}))
    }

    pub(super) fn tag(&mut self, input: &Value) -> Result<Value, Error> {
        let repository = self.resource(input)?;
        repository.tags = checked_tags(repository.tags.clone(), tags(&input["tags"]))?;
        Ok(json!({}))
    }

    pub(super) fn untag(&mut self, input: &Value) -> Result<Value, Error> {
        let keys = words(&input["tagKeys"]);
        self.resource(input)?.tags.retain(|key, _| !keys.contains(key.as_str()));
        Ok(json!({}))
    }

    pub(super) fn registry_policy(&self) -> Result<Value, Error> {
        let account = &self.account;
        match &self.settings.policy {
            Some(policy) => Ok(json!({"registryId": account, "policyText": policy})),
            None => Err(error(
                "RegistryPolicyNotFoundException",
                format!("Registry policy does not exist in the registry with id '{account}'"),
            )),
        }
    }

    pub(super) fn put_registry_policy(&mut self, input: &Value) -> Result<Value, Error> {
        self.settings.policy = Some(checked_policy(input)?);
        self.registry_policy()
    }

    pub(super) fn delete_registry_policy(&mut self) -> Result<Value, Error> {
        let answer = self.registry_policy()?;
        self.settings.policy = None;
        Ok(answer)
    }

    pub(super) fn account_setting(&self, input: &Value) -> Result<Value, Error> {
        let name = text(input, "name");
        let (default, _) = setting(name)?;
        let value = self.settings.account.get(name).map_or(default, String::as_str);
        Ok(json!({"name": name, "value": value}))
    }

    pub(super) fn put_account_setting(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, value) = (text(input, "name"), text(input, "value"));
        let (_, allowed) = setting(name)?;
        if !allowed.contains(&value) {
            let constraint = format!("must be one of {}", allowed.join(", "));
            return Err(model::unsatisfied("value", &constraint));
        }
        self.settings.account.insert(name.to_owned(), value.to_owned());
        self.account_setting(input)
    }

    pub(super) fn register_exclusion(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let principal = text(input, "principalArn");
        let exclusions = &mut self.settings.pull_time_exclusions;
        if exclusions.contains(principal) {
            let message = format!("The exclusion for '{principal}' already exists");
            return Err(error("ExclusionAlreadyExistsException", message));
        }
        if exclusions.len() >= EXCLUSIONS {
            let message = format!("An account has at most {EXCLUSIONS} exclusions");
            return Err(error("LimitExceededException", message));
        }
        exclusions.insert(principal.to_owned());
        Ok(json!({"principalArn": principal, "createdAt": call.now}))
    }

    pub(super) fn deregister_exclusion(&mut self, input: &Value) -> Result<Value, Error> {
        let principal = text(input, "principalArn");
        if !self.settings.pull_time_exclusions.remove(principal) {
            let message = format!("There is no exclusion for '{principal}'");
            return Err(error("ExclusionNotFoundException", message));
        }
        Ok(json!({"principalArn": principal}))
    }

    pub(super) fn list_exclusions(&self, input: &Value) -> Result<Value, Error> {
        let page = Page::read(input, 100)?;
        let rest = &self.settings.pull_time_exclusions;
        let rest = rest.range::<str, _>((page.start(), std::ops::Bound::Unbounded));
        let (found, token) = page.cut(rest.map(|principal| (principal.clone(), principal)));
        Ok(present(json!({"pullTimeUpdateExclusions": found, "nextToken": token})))
    }

    pub(super) fn authorization_token(
        &self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        if words(&input["registryIds"]).iter().any(|id| *id != self.account) {
            return Err(error("AccessDeniedException", "a registry of another account"));
        }
        let (account, region) = (&self.account, &self.region);
        let expires_at = call.now + 12.0 * 3_600.0;
        // A token is opaque to clients, except for the user name before the colon.
        let mut token = format!("AWS:{account}/{region}/{expires_at}");
        if let Some(principal) = call.principal {
            token = format!("{token}/{principal}");
        }
        Ok(json!({"authorizationData": [{
            "authorizationToken": aws_smithy_types::base64::encode(token),
            "expiresAt": expires_at,
            "proxyEndpoint": format!("https://{account}.dkr.ecr.{region}.amazonaws.com"),
        }]}))
    }
}

impl Repository {
    /// Whether a tag cannot be moved to another image:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>.
    #[must_use]
    pub fn is_immutable(&self, tag: &str) -> bool {
        let filters = self.described.get("imageTagMutabilityExclusionFilters");
        let mut filters = filters.and_then(Value::as_array).into_iter().flatten();
        let excluded = filters.any(|filter| wildcard(text(filter, "filter"), tag));
        match self.described.get("imageTagMutability").and_then(Value::as_str) {
            Some("IMMUTABLE") => true,
            Some("IMMUTABLE_WITH_EXCLUSION") => !excluded,
            Some("MUTABLE_WITH_EXCLUSION") => excluded,
            _ => false,
        }
    }
}

/// The mutability of an input with its filters, which two of the four values take.
fn mutability(input: &Value) -> Result<Value, Error> {
    let mutability = input["imageTagMutability"].as_str().unwrap_or("MUTABLE");
    let filters = input.get("imageTagMutabilityExclusionFilters").filter(|list| !list.is_null());
    if mutability.ends_with("_WITH_EXCLUSION") != filters.is_some() {
        let constraint = "must be given with a mutability that has exclusions, and only then";
        return Err(model::unsatisfied("imageTagMutabilityExclusionFilters", constraint));
    }
    Ok(present(json!({
        "imageTagMutability": mutability,
        "imageTagMutabilityExclusionFilters": filters,
    })))
}

/// The text of a policy. Its grammar was checked before the call came to the registry.
fn checked_policy(input: &Value) -> Result<String, Error> {
    let text = text(input, "policyText");
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    match document["Statement"] {
        Value::Array(_) | Value::Object(_) => Ok(text.to_owned()),
        _ => Err(model::unsatisfied("PolicyText", "Invalid repository policy provided")),
    }
}

/// The tags and additional tags, within the limits of
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html>.
fn checked_tags(
    mut tags: BTreeMap<String, String>,
    more: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    for (key, value) in &more {
        let lengths = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !lengths || key.starts_with("aws:") {
            let message = format!("The tag with key '{key}' is not valid");
            return Err(error("InvalidTagParameterException", message));
        }
    }
    tags.extend(more);
    if tags.len() > 50 {
        return Err(error("TooManyTagsException", "A repository has at most 50 tags"));
    }
    Ok(tags)
}

/// The default and the values of an account setting, by the names in the documentation of the model.
fn setting(name: &str) -> Result<(&'static str, &'static [&'static str]), Error> {
    match name {
        "BASIC_SCAN_TYPE_VERSION" => Ok(("AWS_NATIVE", &["AWS_NATIVE"])),
        "REGISTRY_POLICY_SCOPE" => Ok(("V2", &["V2"])),
        "BLOB_MOUNTING" => Ok(("DISABLED", &["ENABLED", "DISABLED"])),
        _ => Err(model::unsatisfied("name", "must be the name of an account setting")),
    }
}

/// Refuses a policy with a principal that was deleted. IAM stores such a principal as its unique ID.
/// The error is as users of ECR report it; ECR's documentation does not name it.
fn refuse_gone_principals(policy: &str) -> Result<(), Error> {
    let document: Value = serde_json::from_str(policy).unwrap_or_default();
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        statement => std::slice::from_ref(statement),
    };
    let principals = statements.iter().flat_map(|statement| match &statement["Principal"]["AWS"] {
        Value::Array(principals) => principals.as_slice(),
        principal => std::slice::from_ref(principal),
    });
    let is_unique_id = |principal: &str| {
        let is_kind = principal.starts_with("AIDA") || principal.starts_with("AROA");
        is_kind && principal.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if principals.filter_map(Value::as_str).any(is_unique_id) {
        return Err(model::unsatisfied("PolicyText", "Principal not found"));
    }
    Ok(())
}
