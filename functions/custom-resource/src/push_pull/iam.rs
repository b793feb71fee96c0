//! Reads and changes one managed policy of IAM.

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_sdk_iam::types::{PolicyUsageType, PolicyVersion, Tag};
use percent_encoding::percent_decode_str;

use super::PATH;
use super::plan::{ObservedPolicy, PolicyChange};
use crate::arn::OWNER_TAG;
use crate::stack::code;

/// The IAM client.
pub struct Policies {
    client: aws_sdk_iam::Client,
}

impl Policies {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_iam::Client::new(config) }
    }

    /// Reads the policy. None if there is no policy.
    pub async fn observe(&self, arn: &str) -> anyhow::Result<Option<ObservedPolicy>> {
        match self.read(arn).await {
            // A repeated request is deleting the policy or a version of it. The second read shows which.
            Err(error) if code(&error) == Some("NoSuchEntity") => self.read(arn).await,
            outcome => outcome,
        }
    }

    async fn read(&self, arn: &str) -> anyhow::Result<Option<ObservedPolicy>> {
        let policy = match self.client.get_policy().policy_arn(arn).send().await {
            Ok(output) => output.policy.context("IAM answered without the policy")?,
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_no_such_entity_exception()) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(warden_aws::explain(error))
                    .with_context(|| format!("getting the policy {arn}"));
            }
        };
        let reading = || format!("reading the policy {arn}");
        let default = policy
            .default_version_id()
            .context("the policy has no default version")
            .with_context(reading)?;
        let (document, versions, (roles, others)) = tokio::try_join!(
            self.document(arn, default),
            self.versions(arn),
            self.attachments(arn)
        )
        .with_context(reading)?;
        let owner = policy
            .tags()
            .iter()
            .find(|tag| tag.key() == OWNER_TAG)
            .map(|tag| tag.value().to_owned());
        Ok(Some(ObservedPolicy { owner, document, other_versions: versions, roles, others }))
    }

    async fn document(&self, arn: &str, version: &str) -> anyhow::Result<serde_json::Value> {
        let got = self.client.get_policy_version().policy_arn(arn).version_id(version).send().await;
        let version =
            got.map_err(warden_aws::explain).context("getting its default version")?.policy_version;
        let encoded = version
            .and_then(|version| version.document)
            .context("its default version has no document")?;
        // IAM gives documents URL-encoded, by RFC 3986.
        let text = percent_decode_str(&encoded).decode_utf8()?;
        // A document that is not JSON counts as different, so the plan replaces the document.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    async fn versions(&self, arn: &str) -> anyhow::Result<Vec<String>> {
        let listed = self.client.list_policy_versions().policy_arn(arn).send().await;
        // A policy has at most five versions, which fit on one page.
        let mut versions = listed
            .map_err(warden_aws::explain)
            .context("listing its versions")?
            .versions
            .unwrap_or_default();
        versions.retain(|version| !version.is_default_version());
        versions.sort_by_key(|version| version.create_date().map(|date| date.as_nanos()));
        Ok(versions.iter().filter_map(PolicyVersion::version_id).map(str::to_owned).collect())
    }

    /// The roles, and the other principals, that use the policy.
    async fn attachments(&self, arn: &str) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let (mut roles, mut others) = (Vec::new(), Vec::new());
        for usage in [PolicyUsageType::PermissionsPolicy, PolicyUsageType::PermissionsBoundary] {
            let attached = usage == PolicyUsageType::PermissionsPolicy;
            let list = self.client.list_entities_for_policy().policy_arn(arn);
            let mut pages = list.policy_usage_filter(usage).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page
                    .map_err(warden_aws::explain)
                    .context("listing the principals that use the policy")?;
                let names = page.policy_roles().iter().filter_map(|role| role.role_name());
                if attached {
                    roles.extend(names.map(str::to_owned));
                } else {
                    others.extend(names.map(|name| format!("role {name} (as its boundary)")));
                }
                let users = page.policy_users().iter().filter_map(|user| user.user_name());
                others.extend(users.map(|name| format!("user {name}")));
                let groups = page.policy_groups().iter().filter_map(|group| group.group_name());
                others.extend(groups.map(|name| format!("group {name}")));
            }
        }
        Ok((roles, others))
    }

    /// Carries out one action. No other function changes IAM.
    pub async fn apply(&self, arn: &str, action: &PolicyChange) -> anyhow::Result<()> {
        let client = &self.client;
        match action {
            PolicyChange::Create { name, document, owner } => {
                let tag = Tag::builder().key(OWNER_TAG).value(owner).build()?;
                let create = client
                    .create_policy()
                    .policy_name(name)
                    .path(PATH)
                    .description("Push to and pull from repositories of an ECR Warden stack")
                    .policy_document(document.to_string())
                    .tags(tag);
                if let Err(error) = create.send().await {
                    let exists = error
                        .as_service_error()
                        .is_some_and(|e| e.is_entity_already_exists_exception());
                    // An earlier attempt may have succeeded although its answer was lost.
                    let found = if exists { self.observe(arn).await? } else { None };
                    if found.and_then(|found| found.owner).as_ref() != Some(owner) {
                        return Err(warden_aws::explain(error));
                    }
                }
            }
            PolicyChange::DeleteVersion(version) => {
                let delete = client.delete_policy_version().policy_arn(arn).version_id(version);
                unless_gone(delete.send().await.map(drop).map_err(warden_aws::explain))?;
            }
            PolicyChange::CreateVersion(document) => {
                let create = client
                    .create_policy_version()
                    .policy_arn(arn)
                    .policy_document(document.to_string());
                create.set_as_default(true).send().await.map_err(warden_aws::explain)?;
            }
            PolicyChange::Attach(role) => {
                let attach = client.attach_role_policy().policy_arn(arn).role_name(role);
                attach.send().await.map_err(warden_aws::explain)?;
            }
            PolicyChange::Detach(role) => {
                let detach = client.detach_role_policy().policy_arn(arn).role_name(role);
                unless_gone(detach.send().await.map(drop).map_err(warden_aws::explain))?;
            }
            PolicyChange::Delete => {
                let delete = client.delete_policy().policy_arn(arn);
                unless_gone(delete.send().await.map(drop).map_err(warden_aws::explain))?;
            }
        }
        Ok(())
    }
}

/// Success if the policy or the attachment does not exist any more.
fn unless_gone(outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if code(&error) == Some("NoSuchEntity") => Ok(()),
        outcome => outcome,
    }
}
