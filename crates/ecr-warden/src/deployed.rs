//! Reads and invokes a deployed stack with the credentials of the person who runs the tool.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use clap::{Args, ValueEnum};
use serde_json::Value;
use warden_aws::http::{self, Roots};
use warden_aws::ledger::Ledger;
use warden_aws::registry::Registry;
use warden_core::image::RepositoryName;
use warden_core::policy::governance::{Governance, RepositoryOrigin};

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
    name: String,
    sdk: SdkConfig,
    cloudformation: aws_sdk_cloudformation::Client,
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
        let stack = described.stacks.unwrap_or_default().into_iter().next();
        let outputs = stack.and_then(|stack| stack.outputs).unwrap_or_default();
        let version =
            outputs.into_iter().find(|output| output.output_key() == Some("PolicyVersion"));
        let version = version.and_then(|output| output.output_value).with_context(|| {
            format!(
                "the stack {name} has no output PolicyVersion: it is not a stack of ECR Warden, or its \
                 deployment is not complete; name another stack with --stack"
            )
        })?;
        let table = find_resource(&cloudformation, name, "Ledger").await?;
        let policy = Ledger::new(&sdk, table).policy(&version).await?;
        let governance = Governance::parse(&policy)
            .with_context(|| format!("reading the policy {version} of the stack {name}"))?;
        let registry = Registry::new(&sdk);
        Ok(Self { governance, registry, name: name.to_owned(), sdk, cloudformation })
    }

    /// The options of a command that connects to this stack. The profile is left to the reader.
    pub(crate) fn to_options(&self) -> String {
        let region = self.sdk.region().map_or_else(String::new, ToString::to_string);
        format!("--stack {} --region {region}", self.name)
    }

    /// Returns the named repositories, or every governed repository of the registry if the list is empty.
    pub async fn select_repositories(
        &self,
        named: &[RepositoryName],
    ) -> anyhow::Result<Vec<RepositoryName>> {
        if named.is_empty() {
            let mut all = self.registry.repository_names().await?;
            all.retain(|name| self.is_governed(name));
            ensure!(
                !all.is_empty(),
                "the policy of the stack {} governs no repository of the registry",
                self.name
            );
            return Ok(all);
        }
        for name in named {
            self.check_governed(name)?;
        }
        Ok(named.to_vec())
    }

    /// Checks that the stack governs the repository.
    pub fn check_governed(&self, repository: &RepositoryName) -> anyhow::Result<()> {
        ensure!(
            self.is_governed(repository),
            "no rule of the policy of the stack {} governs the repository {repository}",
            self.name
        );
        Ok(())
    }

    fn is_governed(&self, repository: &RepositoryName) -> bool {
        self.governance.find_rule(repository, RepositoryOrigin::Pushed).is_some()
    }

    /// Builds the client of the ledger. Makes one call.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::new(&self.sdk, self.resource("Ledger").await?))
    }

    /// Invokes the function with this logical ID, and returns its answer. Makes two calls.
    pub async fn invoke(&self, function: &str, request: &Value) -> anyhow::Result<Value> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(http::CONNECT_TIMEOUT)
            .operation_timeout(LONGEST_INVOCATION)
            .build();
        // A retry would find the lease of the first invocation, which still runs.
        let config = aws_sdk_lambda::config::Builder::from(&self.sdk)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        let name = self.resource(function).await?;
        let invoke = aws_sdk_lambda::Client::from_conf(config).invoke();
        let invoked = invoke.function_name(&name).payload(request.to_string().into_bytes().into());
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

    async fn resource(&self, logical_id: &str) -> anyhow::Result<String> {
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
