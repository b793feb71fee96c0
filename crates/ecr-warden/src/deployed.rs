//! Reads and invokes a deployed stack with the credentials of the person who runs the tool.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use clap::{Args, ValueEnum};
use serde_json::Value;
use warden_aws::http::{self, Roots};
use warden_aws::json::{self, JsonClient};
use warden_aws::ledger::Ledger;
use warden_aws::registry::Registry;
use warden_core::image::{RepositoryName, RepositoryPattern};
use warden_core::policy::{Governance, Policy, RepositoryOrigin, RuleName};
use warden_core::properties::nearest;

use crate::arguments::StackOption;

/// The time limit of an invocation, which is longer than any function runs.
const LONGEST_INVOCATION: Duration = Duration::from_secs(16 * 60);

/// The options of every command that reads a deployed stack.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    #[command(flatten)]
    stack: StackOption,
    /// The region of the stack. The default is the region of the AWS configuration.
    #[arg(long)]
    region: Option<String>,
    /// The profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The format of the result: a table for people, or JSON for programs.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people.
    Table,
    /// A single JSON value.
    Json,
}

/// Loads the credentials and the region as the AWS CLI does.
pub async fn load_configuration(
    region: Option<&str>,
    profile: Option<&str>,
) -> anyhow::Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http::client(Roots::AtStart))
        .timeout_config(warden_aws::timeouts())
        .retry_config(warden_aws::retries());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    let sdk = loader.load().await;
    ensure!(
        sdk.region().is_some(),
        "no region is configured: name the region with --region, AWS_REGION or a profile"
    );
    Ok(sdk)
}

/// The clients of a deployed stack.
#[derive(Debug)]
pub struct DeployedStack {
    /// The policy that the functions follow.
    pub governance: Governance,
    /// The ECR client.
    pub registry: Registry,
    /// The status, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// The outputs, by their names.
    pub outputs: BTreeMap<String, String>,
    /// The parameter `EnforceRepositories`.
    enforce_repositories: Option<String>,
    /// The name.
    pub name: String,
    /// The ARN, which has the partition, the region and the account.
    id: String,
    pub(crate) sdk: SdkConfig,
    cloudformation: aws_sdk_cloudformation::Client,
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub(crate) struct StackResource {
    /// The name in the template.
    pub logical_id: String,
    /// The type, such as `AWS::SQS::Queue`.
    pub kind: String,
    /// The value of a `Ref`.
    pub physical_id: String,
}

/// The repositories of a registry.
#[derive(Clone, Debug)]
pub(crate) struct ListedRepositories {
    /// The names.
    pub names: Vec<RepositoryName>,
    /// The prefixes of the pull-through cache rules.
    cache_prefixes: Vec<String>,
    /// The repositories that replication fills, among those whose rule may depend on that.
    replicas: BTreeSet<RepositoryName>,
}

impl ListedRepositories {
    /// Finds the policy of a repository, as the functions do. None if no rule governs it.
    pub fn rule_for(&self, governance: &Governance, name: &RepositoryName) -> Option<Policy> {
        let is_replica = governance.depends_on_origin(name) && self.replicas.contains(name);
        let origin = RepositoryOrigin::classify(name, &self.cache_prefixes, is_replica);
        governance.rule_for(name, origin)
    }
}

impl DeployedStack {
    /// Loads the credentials and the region as the AWS CLI does, and reads the stack.
    pub async fn connect(connection: &Connection) -> anyhow::Result<Self> {
        let (region, profile) = (connection.region.as_deref(), connection.profile.as_deref());
        Self::read(load_configuration(region, profile).await?, &connection.stack.stack).await
    }

    /// Reads a stack with this configuration, and its policy. Makes three calls.
    pub async fn read(sdk: SdkConfig, name: &str) -> anyhow::Result<Self> {
        let cloudformation = aws_sdk_cloudformation::Client::new(&sdk);
        let described = cloudformation.describe_stacks().stack_name(name).send().await;
        let region = sdk.region().map_or_else(String::new, ToString::to_string);
        let described = described.map_err(|error| {
            let error = warden_aws::explain(error);
            if format!("{error:#}").contains("does not exist") {
                anyhow!("there is no stack {name} in {region}: name the stack with --stack")
            } else {
                error.context(format!("reading the stack {name} in {region}"))
            }
        })?;
        let described = described.stacks.unwrap_or_default().into_iter().next();
        let described =
            described.with_context(|| format!("CloudFormation describes no stack {name}"))?;
        let status =
            described.stack_status().map_or("UNKNOWN", |status| status.as_str()).to_owned();
        let id = described.stack_id.unwrap_or_default();
        let outputs = described.outputs.unwrap_or_default().into_iter();
        let outputs = outputs.filter_map(|output| Some((output.output_key?, output.output_value?)));
        let outputs: BTreeMap<String, String> = outputs.collect();
        let version = outputs.get("PolicyVersion").with_context(|| {
            format!(
                "the stack {name} (status {status}) has no output PolicyVersion: it is not a stack of \
                 ECR Warden, or its deployment is not complete; name another stack with --stack"
            )
        })?;
        let mut parameters = described.parameters.unwrap_or_default().into_iter();
        let enforced = parameters
            .find(|parameter| parameter.parameter_key() == Some("EnforceRepositories"))
            .and_then(|parameter| parameter.parameter_value);
        let table = find_resource(&cloudformation, name, "Ledger").await?;
        let policy = Ledger::new(&sdk, table).policy(version).await?;
        let governance = Governance::parse(&policy.document)
            .with_context(|| format!("reading the policy {version} of the stack {name}"))?;
        let registry = Registry::new(&sdk);
        let name = name.to_owned();
        Ok(Self {
            governance,
            registry,
            status,
            outputs,
            enforce_repositories: enforced,
            name,
            id,
            sdk,
            cloudformation,
        })
    }

    /// The patterns of the parameter `EnforceRepositories`. A rule that enforces in other repositories
    /// fails a deployment.
    pub(crate) fn enforced_patterns(&self) -> anyhow::Result<Vec<RepositoryPattern>> {
        let patterns = self.enforce_repositories.as_ref().with_context(|| {
            format!("the stack {} has no parameter EnforceRepositories", self.name)
        })?;
        let patterns = patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        let patterns: Result<_, _> = patterns.map(str::parse).collect();
        patterns.with_context(|| format!("reading EnforceRepositories of the stack {}", self.name))
    }

    /// The options of a command that connects to this stack. The profile is left to the reader.
    pub(crate) fn to_options(&self) -> String {
        let region = self.sdk.region().map_or_else(String::new, ToString::to_string);
        format!("--stack {} --region {region}", self.name)
    }

    /// Returns the policies of the named repositories, or of every governed repository of the registry if the
    /// list is empty. Each repository is in the result once.
    pub async fn select_repositories(
        &self,
        named: &[RepositoryName],
    ) -> anyhow::Result<Vec<Policy>> {
        if named.is_empty() {
            return self.list_governed().await;
        }
        for name in named {
            self.check_governed(name)?;
        }
        let mut seen = BTreeSet::new();
        let unique = named.iter().filter(|name| seen.insert(*name));
        let policy = |name| self.governance.rule_for(name, RepositoryOrigin::Pushed);
        Ok(unique.filter_map(policy).collect())
    }

    /// Returns the policies of the repositories of the registry that this rule of the policy governs. Lists
    /// the registry, see [`DeployedStack::select_repositories`].
    pub async fn select_rule(&self, rule: &RuleName) -> anyhow::Result<Vec<Policy>> {
        let rules = self.governance.document.rules.iter();
        let names: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
        ensure!(
            names.contains(&rule.as_str()),
            "the policy of the stack {} has no rule {rule}; the nearest name is {}",
            self.name,
            nearest(rule.as_str(), &names).unwrap_or_default()
        );
        let mut policies = self.list_governed().await?;
        policies.retain(|policy| policy.rule == *rule);
        Ok(policies)
    }

    /// Checks that the stack governs the repository.
    pub fn check_governed(&self, repository: &RepositoryName) -> anyhow::Result<()> {
        ensure!(
            self.governance.find_rule(repository, RepositoryOrigin::Pushed).is_some(),
            "no rule of the policy of the stack {} governs the repository {repository}",
            self.name
        );
        Ok(())
    }

    /// Lists the policies of the governed repositories of the registry, with the calls of
    /// [`DeployedStack::list_repositories`].
    async fn list_governed(&self) -> anyhow::Result<Vec<Policy>> {
        let listed = self.list_repositories(&[&self.governance]).await?;
        let policy = |name| listed.rule_for(&self.governance, name);
        Ok(listed.names.iter().filter_map(policy).collect())
    }

    /// Lists the repositories of the registry, and how images come into them as far as one of these
    /// policies depends on that. A call for each 1,000 repositories, a call for the cache rules, and a
    /// call for each 100 repositories that wildcards match.
    pub(crate) async fn list_repositories(
        &self,
        policies: &[&Governance],
    ) -> anyhow::Result<ListedRepositories> {
        let listed = tokio::try_join!(
            self.registry.repository_names(),
            self.registry.cache_prefixes(),
            self.ledger(),
        );
        let (names, cache_prefixes, ledger) = listed?;
        let is_doubtful =
            |name: &&RepositoryName| policies.iter().any(|policy| policy.depends_on_origin(name));
        let replicas = ledger.select_replicas(names.iter().filter(is_doubtful)).await?;
        Ok(ListedRepositories { names, cache_prefixes, replicas })
    }

    /// Builds the client of the ledger. Makes one call.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::new(&self.sdk, self.resource("Ledger").await?))
    }

    /// Invokes the function with this logical ID, and returns its answer. Makes two calls.
    pub async fn invoke(&self, function: &str, request: &Value) -> anyhow::Result<Value> {
        self.invoke_by_name(&self.resource(function).await?, request).await
    }

    /// Invokes the function with this name, and returns its answer. Makes one call.
    pub(crate) async fn invoke_by_name(
        &self,
        name: &str,
        request: &Value,
    ) -> anyhow::Result<Value> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(http::CONNECT_TIMEOUT)
            .operation_timeout(LONGEST_INVOCATION)
            .build();
        // A retry would find the lease of the first invocation, which still runs.
        let config = aws_sdk_lambda::config::Builder::from(&self.sdk)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        let invoke = aws_sdk_lambda::Client::from_conf(config).invoke();
        let invoked = invoke.function_name(name).payload(request.to_string().into_bytes().into());
        let invoked = invoked.send().await.map_err(warden_aws::explain);
        let invoked = invoked.with_context(|| format!("invoking the function {name}"))?;
        let payload = invoked.payload.map(aws_sdk_lambda::primitives::Blob::into_inner);
        let answer: Value = serde_json::from_slice(&payload.unwrap_or_default())
            .with_context(|| format!("reading the answer of the function {name}"))?;
        if invoked.function_error.is_some() {
            let message = answer.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
            bail!("the function {name} failed: {message}");
        }
        Ok(answer)
    }

    /// Lists the resources of the stack. A call for each page.
    pub(crate) async fn resources(&self) -> anyhow::Result<Vec<StackResource>> {
        let mut pages = self
            .cloudformation
            .list_stack_resources()
            .stack_name(&self.name)
            .into_paginator()
            .send();
        let mut resources = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(warden_aws::explain);
            let page =
                page.with_context(|| format!("listing the resources of the stack {}", self.name))?;
            for resource in page.stack_resource_summaries.into_iter().flatten() {
                // A resource that is being created has no physical ID yet.
                let (Some(logical_id), Some(kind), Some(physical_id)) = (
                    resource.logical_resource_id,
                    resource.resource_type,
                    resource.physical_resource_id,
                ) else {
                    continue;
                };
                resources.push(StackResource { logical_id, kind, physical_id });
            }
        }
        Ok(resources)
    }

    /// The client of SQS, for the queues of this stack.
    pub(crate) fn sqs(&self, queue_url: &str) -> anyhow::Result<JsonClient> {
        JsonClient::sqs(&self.sdk, queue_url)
    }

    /// The client of CloudWatch. The URL of a queue has the domain of the partition.
    pub(crate) fn cloudwatch(&self, queue_url: &str) -> anyhow::Result<JsonClient> {
        let endpoint = json::endpoint(queue_url)?.replacen("://sqs.", "://monitoring.", 1);
        JsonClient::new(&self.sdk, "monitoring", "GraniteServiceVersion20100801", &endpoint)
    }

    /// The ARN of something in the account and the region of the stack.
    pub(crate) fn arn(&self, service: &str, rest: &str) -> anyhow::Result<String> {
        let parts: Vec<&str> = self.id.split(':').collect();
        let [_, partition, _, region, account, _] = parts.as_slice() else {
            bail!("CloudFormation returned no ARN for the stack {}", self.name);
        };
        Ok(format!("arn:{partition}:{service}:{region}:{account}:{rest}"))
    }

    /// Reads the physical ID of a resource of the stack.
    pub(crate) async fn resource(&self, logical_id: &str) -> anyhow::Result<String> {
        find_resource(&self.cloudformation, &self.name, logical_id).await
    }
}

/// Reads the physical ID of a resource of a stack.
async fn find_resource(
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    logical_id: &str,
) -> anyhow::Result<String> {
    let describe = cloudformation.describe_stack_resource();
    let describe = describe.stack_name(stack).logical_resource_id(logical_id);
    let described = describe.send().await.map_err(warden_aws::explain);
    let described = described
        .with_context(|| format!("reading the resource {logical_id} of the stack {stack}"))?;
    let detail = described.stack_resource_detail;
    detail
        .and_then(|detail| detail.physical_resource_id)
        .with_context(|| format!("the stack {stack} has no resource {logical_id}"))
}
