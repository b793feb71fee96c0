//! One deployed stack in memory: every integration test starts from it.
//!
//! A [`World`] creates every resource of `infra/sam/template.yaml` in an embedded AWS and
//! subscribes an inbox of each protocol to the topic of alerts. [`World::deploy`] runs no
//! function: a test builds a function's configuration from the environment that the template
//! gives it and calls its handler, in a time that the test may pause. [`World::run`] deploys the
//! same stack with every function as a process.

#![expect(clippy::unwrap_used, reason = "a test ends when its stack cannot be deployed")]

mod policy;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use chrono::{DateTime, Utc};
use regex_lite::Regex;
use serde_json::{Map, Value, json};
use warden_aws::ledger::Ledger;
use warden_aws::policy::DeployedPolicy;
use warden_core::policy::Governance;
use warden_core::tag_times::binding_key;

pub use self::policy::{
    POLICY, TEMPLATE, governance, lifecycle_of, policy_with, template_with_policy,
};
use self::policy::{read_governance, split, template};
use crate::cloudformation::{Created, Creation, Deployment, identity, read_function};
use crate::ecr::Time;
use crate::inspector::Coverage;
use crate::lambda::Function;
use crate::server::Server;
use crate::template::{self, Stack};
use crate::{ACCOUNT, LocalAws, REGION, RESPONSE_URL, log, slack};

/// The time at which [`World::deploy`] stops the clock: 2027-01-15, 08:00.
pub const NOW: Time = 1_800_000_000.0;
/// The stack's name. The name of a resource is this, a hyphen and the logical ID.
pub const STACK: &str = "ecr-warden";
/// A text that no log line, no error and no alert may contain. The webhook's URL, the functions'
/// credentials and [`RESPONSE_URL`] contain it.
pub const SECRET: &str = "marked-secret";

/// The attributes that the template reads from its resources.
const ATTRIBUTES: [&str; 7] =
    ["Arn", "PolicyArn", "QueueName", "RepositoryUri", "TopicName", "Version", "Warnings"];

/// The deployed stack.
pub struct World {
    /// The AWS that the stack is deployed in.
    pub aws: LocalAws,
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
    /// The functions by their folders under `functions/`.
    functions: BTreeMap<String, Function>,
    /// The port that functions reach AWS at, where they run as processes.
    _server: Option<Server>,
}

impl World {
    /// Deploys the stack with these parameters, and its custom resources as their properties say.
    pub async fn deploy(parameters: &[(&str, &str)]) -> Self {
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        Self::deploy_in(aws, parameters).await
    }

    /// Deploys the stack as [`World::deploy`] does, in an AWS that a test has filled, at its time.
    pub async fn deploy_in(aws: LocalAws, parameters: &[(&str, &str)]) -> Self {
        Self::deploy_with(aws, parameters, create_from_properties).await
    }

    /// Deploys the stack in an AWS. `create_custom` answers CloudFormation's request to create a
    /// custom resource: it gives the physical ID and the attributes.
    pub async fn deploy_with(
        aws: LocalAws,
        parameters: &[(&str, &str)],
        create_custom: impl AsyncFn(&Self, Value) -> (String, Value),
    ) -> Self {
        log::collect();
        let secret = store_webhook(&aws, &format!("https://{}", slack::HOST)).await.unwrap();
        let parameters = [&[("SlackWebhookSecretArn", secret.as_str())], parameters].concat();
        let mut world = Self {
            aws: aws.clone(),
            outputs: BTreeMap::new(),
            functions: BTreeMap::new(),
            _server: None,
        };
        let create = async |creation| match creation {
            Creation::Function(name, properties) => {
                let mut function = read_function(&name, &properties, Path::new(""))?;
                function.environment.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), name.clone());
                let attributes = json!({"Arn": function.arn()});
                world.functions.insert(function.handler.clone(), function);
                Ok(Created::new(name, attributes))
            }
            Creation::Custom(mut request) => {
                request["RequestId"] = world.aws.next_request().into();
                request["ResponseURL"] = RESPONSE_URL.into();
                let (physical_id, attributes) = Box::pin(create_custom(&world, request)).await;
                Ok(Created::new(physical_id, attributes))
            }
        };
        let (parameters, settings) = split(&parameters);
        let (parameters, template) = (with_email(&parameters), template(&settings));
        let deployed = aws.create_stack(template, STACK, &parameters, create, |_| ()).await;
        world.outputs = deployed.unwrap();
        world.subscribe_inboxes().await;
        world.forget();
        world
    }

    /// Deploys the stack in an AWS, and runs each function as a process of this program, which
    /// reads the function's folder from `_HANDLER`. Lambda's retries come after 10 ms.
    pub async fn run(aws: LocalAws, parameters: &[(&str, &str)], program: PathBuf) -> Self {
        let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        aws.lambda().retry_after([Duration::from_millis(10); 2]);
        let (parameters, settings) = split(parameters);
        let deployment = Deployment {
            template: template(&settings),
            name: STACK,
            parameters: &with_email(&parameters),
            program,
        };
        let outputs = aws.deploy(&deployment, |_| ()).await.unwrap();
        let names = aws.lambda().functions();
        let functions = names.iter().filter_map(|name| aws.lambda().function(name));
        let functions = functions.map(|function| (function.handler.clone(), function)).collect();
        let world = Self { aws, outputs, functions, _server: Some(server) };
        world.subscribe_inboxes().await;
        world
    }

    /// Subscribes a web server and a queue to the topic; the template subscribes the e-mail.
    async fn subscribe_inboxes(&self) {
        let (_, queue) = self.aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
        let queue = queue["Arn"].as_str().unwrap();
        for (protocol, endpoint) in [("https", "https://example.com/q"), ("sqs", queue)] {
            let inbox = json!({
                "TopicArn": self.outputs["AlertTopicArn"],
                "Protocol": protocol,
                "Endpoint": endpoint,
            });
            self.aws.make("AWS::SNS::Subscription", protocol, &inbox).await.unwrap();
        }
    }

    /// The function of a folder under `functions/`, as the template describes it.
    #[must_use]
    pub fn function(&self, folder: &str) -> &Function {
        &self.functions[folder]
    }

    /// Deploys a change of the policy with these settings. The functions get its version.
    pub async fn change_policy(&mut self, parameters: &[(&str, &str)]) {
        let version = self.record_policy(&governance(parameters)).await["Version"].take();
        for function in self.functions.values_mut() {
            if let Some(variable) = function.environment.get_mut("POLICY_VERSION") {
                version.as_str().unwrap().clone_into(variable);
            }
        }
    }

    /// Writes a policy to the ledger. Gives the attributes of its custom resource.
    async fn record_policy(&self, governance: &Governance) -> Value {
        let version = governance.version().to_string();
        let ledger = self.ledger();
        ledger.record_policy(&version, &governance.normalised(), self.now()).await.unwrap();
        json!({"Version": version, "Warnings": "none"})
    }

    /// The SDK's configuration of a function, which calls AWS by its role.
    #[must_use]
    pub fn sdk(&self, folder: &str) -> SdkConfig {
        session(&self.aws, &self.function(folder).name)
    }

    /// The SDK's configuration of an operator: of a role that has the policies of the outputs
    /// `OperatorPolicyArn` and `RestorePolicyArn`, and no other.
    #[must_use]
    pub fn operator(&self) -> SdkConfig {
        let role = json!({
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
                "Action": "sts:AssumeRole",
            }]},
            "ManagedPolicyArns":
                [self.outputs["OperatorPolicyArn"], self.outputs["RestorePolicyArn"]],
        });
        let arn = self.aws.make_role("operator", &role).unwrap();
        session(&self.aws, &arn)
    }

    /// The time, in whole seconds.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        whole_seconds(self.aws.state().now())
    }

    /// Pushes an image that no other push has, with these tags one after the other. Gives its
    /// digest.
    #[must_use]
    pub fn push(&self, repository: &str, tags: &[&str]) -> String {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().push_made_up(repository, tags, now).unwrap()
    }

    /// Pushes an index of these images with this tag. Gives its digest.
    #[must_use]
    pub fn push_index(&self, repository: &str, images: &[String], tag: &str) -> String {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().push_index(repository, images, &[tag], now).unwrap()
    }

    /// Adds a tag to an image, as a second push of the image does.
    pub fn tag(&self, repository: &str, digest: &str, tag: &str) {
        let image = self.aws.state().ecr().image(repository, digest).unwrap().clone();
        let put = json!({
            "repositoryName": repository,
            "imageManifest": image.manifest_text,
            "imageManifestMediaType": image.manifest.media_type,
            "imageTag": tag,
        });
        self.aws.by_hand("PutImage", &put).unwrap();
    }

    /// See [`record_tags`].
    pub async fn record_tags(&self, repository: &str) {
        record_tags(&self.aws, repository).await;
    }

    /// The ledger, as a person with all rights reads it.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(&self.aws.config(), format!("{STACK}-Ledger"))
    }

    /// Completes the scan of an image. Gives the event, which nobody else receives.
    #[must_use]
    pub fn complete_scan(
        &self,
        repository: &str,
        digest: &str,
        outcome: Result<Vec<Value>, (&str, &str)>,
    ) -> Value {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().complete_scan(repository, digest, outcome, now).unwrap();
        state.ecr().events.pop().unwrap()
    }

    /// Has Amazon Inspector report a finding. Gives the event, which nobody else receives.
    #[must_use]
    pub fn report_finding(
        &self,
        repository: &str,
        digest: &str,
        finding: &Value,
        status: &str,
    ) -> Value {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().tell_of_finding(repository, digest, finding, status, now).unwrap();
        state.ecr().events.pop().unwrap()
    }

    /// Has Amazon Inspector see that an image ran an hour ago.
    pub fn report_running(&self, repository: &str, digest: &str) {
        self.aws.services().inspector().images.push(Coverage {
            repository: repository.to_owned(),
            digest: digest.to_owned(),
            tags: Vec::new(),
            in_use_count: Some(2),
            last_in_use_at: Some(self.now().timestamp() - 3_600),
            pulled_at: None,
            status: ("ACTIVE", "SUCCESSFUL"),
        });
    }

    /// Has Amazon Inspector scan every repository, from now on.
    pub fn enable_enhanced_scanning(&self) {
        let filters = json!([{"filter": "*", "filterType": "WILDCARD"}]);
        let rules = json!([{"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": filters}]);
        let scanning = json!({"scanType": "ENHANCED", "rules": rules});
        self.aws.by_hand("PutRegistryScanningConfiguration", &scanning).unwrap();
    }

    /// Delivers the events of ECR and waits until no function runs any more.
    pub async fn settle(&self) {
        self.aws.deliver();
        self.aws.deliver_messages().await;
        self.aws.lambda().settled().await;
    }

    /// The alerts since the last time, as the queue receives them.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        let deliveries = std::mem::take(&mut self.aws.state().deliveries);
        let queued = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
        queued.map(|delivery| serde_json::from_str(&delivery.message).unwrap()).collect()
    }

    /// The events on the stack's bus since the last time.
    #[must_use]
    pub fn bus_events(&self) -> Vec<Value> {
        let bus = &self.outputs["AlertEventBusName"];
        self.aws.state().event_buses.get_mut(bus).map(std::mem::take).unwrap()
    }

    /// The one alert since the last time.
    #[must_use]
    pub fn alert(&self) -> Value {
        let mut alerts = self.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.remove(0)
    }

    /// The operations called since the last time.
    #[expect(clippy::must_use_candidate, reason = "a test may only clear the record")]
    pub fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.aws.state().calls);
        calls.into_iter().map(|call| call.operation).collect()
    }

    /// The records of failed invocations since the last time, from the dead-letter queue.
    pub async fn failed_events(&self) -> Vec<Value> {
        self.take_messages("FailedEvents").await
    }

    /// Takes the messages that are visible in a queue of the stack.
    pub async fn take_messages(&self, queue: &str) -> Vec<Value> {
        self.aws.deliver_messages().await;
        let call = async |operation: &str, input: Value| {
            let target = format!("AmazonSQS.{operation}");
            self.aws.ask("sqs", &target, &input).await.unwrap()
        };
        let queue = json!({"QueueName": format!("{STACK}-{queue}")});
        let url = call("GetQueueUrl", queue).await["QueueUrl"].clone();
        let mut bodies = Vec::new();
        loop {
            let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
            let received = call("ReceiveMessage", receive).await;
            let messages = received["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                bodies.push(serde_json::from_str(message["Body"].as_str().unwrap()).unwrap());
                let receipt = &message["ReceiptHandle"];
                call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": receipt})).await;
            }
        }
    }

    /// The one record of a failed invocation since the last time.
    pub async fn failed_event(&self) -> Value {
        let mut records = self.failed_events().await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.remove(0)
    }

    /// Forgets the events, the calls and the deliveries until now.
    pub fn forget(&self) {
        self.aws.services().take_parameter_changes();
        let mut state = self.aws.state();
        state.ecr().events.clear();
        state.events.clear();
        state.calls.clear();
        state.deliveries.clear();
        state.event_buses.values_mut().for_each(Vec::clear);
    }
}

/// Creates the ledger of a stack, with the policy of these settings under this version.
pub async fn create_ledger(aws: &LocalAws, stack: &str, version: &str, given: &[(&str, &str)]) {
    let table = evaluate(given).unwrap().properties("Ledger").unwrap();
    let name = format!("{stack}-Ledger");
    aws.make("AWS::DynamoDB::Table", &name, &table).await.unwrap();
    let policy = governance(given).normalised();
    Ledger::new(&aws.config(), name)
        .record_policy(version, &policy, whole_seconds(NOW))
        .await
        .unwrap();
    aws.state().calls.clear();
}

/// Writes to the ledger of the stack that each tag of a repository was pushed with its image, as if sweeps
/// had seen the tags since then. Forgets the recorded pushes: an old event that arrives now makes its tag
/// young.
pub async fn record_tags(aws: &LocalAws, repository: &str) {
    aws.lambda().settled().await;
    let (mut tags, now) = (Vec::new(), whole_seconds(aws.state().now()));
    for image in aws.state().ecr().repository(repository).unwrap().images.iter() {
        let digest = image.digest.parse().unwrap();
        let key = |tag: &String| binding_key(&digest, &tag.parse().unwrap());
        let pushed_at = whole_seconds(image.pushed_at);
        tags.extend(image.tags.iter().map(|tag| (key(tag), pushed_at)));
    }
    let ledger = Ledger::new(&aws.config(), format!("{STACK}-Ledger"));
    let name = repository.parse().unwrap();
    let before = ledger.sightings(&name, now).await.unwrap();
    let tags = tags.into_iter().collect();
    ledger.record_sightings(&name, &before, None, &tags, now).await.unwrap();
    ledger.forget_pushes(&name, &before).await.unwrap();
}

#[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
fn whole_seconds(time: Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time as i64, 0).unwrap()
}

/// Creates a custom resource from its properties, without the function that creates it in AWS.
async fn create_from_properties(world: &World, request: Value) -> (String, Value) {
    let properties = &request["ResourceProperties"];
    let text = |name: &str| properties[name].as_str().unwrap_or_default();
    let call = |operation: &str, input: Value| world.aws.by_hand(operation, &input).unwrap();
    match request["ResourceType"].as_str() {
        Some("Custom::EcrGovernance") => {
            ("governance".to_owned(), world.record_policy(&read_governance(properties)).await)
        }
        Some("Custom::EcrRepository") => {
            let name = text("RepositoryName");
            let version = text("PolicyVersion").to_owned();
            let ledger = world.ledger();
            let policy = DeployedPolicy::new(version);
            let governance = policy.get(&ledger).await.unwrap();
            let [stack, id] =
                ["StackId", "LogicalResourceId"].map(|field| request[field].as_str().unwrap());
            let owner = format!("{stack}/{id}");
            let settings = governance.find_provisioned(&name.parse().unwrap()).unwrap();
            let filters = settings.mutability.exclusion_filters.iter();
            let filters: Vec<Value> =
                filters.map(|filter| json!({"filterType": "WILDCARD", "filter": filter})).collect();
            let created = call(
                "CreateRepository",
                json!({
                    "repositoryName": name,
                    "imageTagMutability": text("ImageTagMutability"),
                    "imageTagMutabilityExclusionFilters": (!filters.is_empty()).then_some(filters),
                    "imageScanningConfiguration": {"scanOnPush": text("ScanOnPush") == "true"},
                    "encryptionConfiguration": {"encryptionType": text("EncryptionType")},
                    "tags": [{"Key": "ecr-warden:owner", "Value": owner}],
                }),
            );
            let document = lifecycle_of(governance, name);
            call(
                "PutLifecyclePolicy",
                json!({"repositoryName": name, "lifecyclePolicyText": document}),
            );
            let repository = &created["repository"];
            let attributes = json!({
                "Arn": repository["repositoryArn"],
                "RepositoryUri": repository["repositoryUri"],
            });
            (repository["repositoryArn"].as_str().unwrap().to_owned(), attributes)
        }
        Some("Custom::EcrPushPullPolicy") => {
            let id = request["LogicalResourceId"].as_str().unwrap();
            let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{STACK}/{id}");
            (arn.clone(), json!({"PolicyArn": arn}))
        }
        other => panic!("a custom resource of type {other:?}"),
    }
}

/// The template's parameters, with an e-mail address for alerts.
fn with_email(parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    let email = [("AlertEmail", "team@example.com")];
    let parameters = email.iter().chain(parameters);
    parameters.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Stores the URL of a Slack webhook at this origin as a secret, which a customer's key
/// encrypts. Gives the secret's ARN.
pub async fn store_webhook(aws: &LocalAws, origin: &str) -> anyhow::Result<String> {
    let url = format!("{origin}/services/T0000000/B0000000/{SECRET}");
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/webhook");
    let secret = json!({"Name": "ecr-warden/slack", "SecretString": url, "KmsKeyId": key});
    let created = aws.ask("secretsmanager", "secretsmanager.CreateSecret", &secret).await?;
    let arn = created["ARN"].as_str().unwrap().to_owned();
    aws.state().keys.insert(arn.clone(), key);
    Ok(arn)
}

/// The SDK's configuration of a caller with this session token.
fn session(aws: &LocalAws, token: &str) -> SdkConfig {
    let credentials =
        Credentials::new("AKIDEXAMPLE", SECRET, Some(token.to_owned()), None, "world");
    let credentials = SharedCredentialsProvider::new(credentials);
    aws.config().into_builder().credentials_provider(credentials).build()
}

/// Makes a role of the template, or changes it, as a stack of this name with these parameters has
/// it. Gives the SDK's configuration of a session of the role. The error is a parameter that the
/// template refuses.
pub fn take_role(
    aws: &LocalAws,
    stack: &str,
    parameters: &[(&str, &str)],
    role: &str,
) -> anyhow::Result<SdkConfig> {
    /// The properties that were evaluated before: a test that asks once for each request would
    /// evaluate the template thousands of times.
    static EVALUATED: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    let evaluated = || EVALUATED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{stack} {role} {parameters:?}");
    let found = evaluated().get(&key).cloned();
    let properties = match found {
        Some(properties) => properties,
        None => with_arns(&evaluate_as(stack, parameters)?.properties(role)?, stack)?,
    };
    evaluated().insert(key, properties.clone());
    let arn = aws.make_role(&format!("{stack}-{role}"), &properties)?;
    Ok(session(aws, &arn))
}

/// Properties with an ARN in place of each attribute `Arn` that [`evaluate_as`] made up, because
/// IAM takes no other resource.
fn with_arns(properties: &Value, stack: &str) -> anyhow::Result<Value> {
    static ATTRIBUTE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""([A-Za-z0-9]+)\.Arn""#).unwrap());
    let text = properties.to_string();
    let table = format!(r#""arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{stack}-Ledger""#);
    let text = text.replace(r#""Ledger.Arn""#, &table);
    let text = ATTRIBUTE.replace_all(&text, r#""arn:aws:logs:us-east-1:123456789012:${1}""#);
    Ok(serde_json::from_str(&text)?)
}

/// The template with these parameters, as if every resource were created: the physical ID of a
/// resource is its logical ID, and an attribute is that and its own name, as `Ledger.Arn`.
pub fn evaluate(parameters: &[(&str, &str)]) -> Result<Stack<'static>, template::Error> {
    evaluate_as(STACK, parameters)
}

fn evaluate_as(name: &str, parameters: &[(&str, &str)]) -> Result<Stack<'static>, template::Error> {
    let (parameters, settings) = split(parameters);
    let parameters =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut stack = Stack::new(template(&settings), identity(name), &parameters.collect())?;
    for id in stack.resources()? {
        let attributes = ATTRIBUTES.map(|name| (name.to_owned(), format!("{id}.{name}")));
        let attributes = attributes.map(|(name, value)| (name, Value::String(value)));
        stack.made(id, id, Map::from_iter(attributes));
    }
    Ok(stack)
}

/// An event of `events/`, by its folder and its file.
#[must_use]
pub fn event(folder: &str, name: &str) -> Value {
    events(folder).remove(name).unwrap()
}

/// The events of a folder of `events/`, by their files.
#[must_use]
pub fn events(folder: &str) -> BTreeMap<String, Value> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../events", folder].iter().collect();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let read = |path: &Path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    files.map(|path| (name(&path), read(&path))).collect()
}

/// The text with `…` for each digest and for the part of a digest in a quarantine tag, so that a
/// snapshot of it holds in every run.
#[must_use]
pub fn masked(text: &str) -> String {
    static DIGESTS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new("(sha256:|quarantine-[0-9]{8}-)(?:[0-9a-f]{64}|[0-9a-f]{12})").unwrap()
    });
    DIGESTS.replace_all(text, "${1}…").into_owned()
}

/// The kinds of alerts.
#[must_use]
pub fn kinds(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().map(|alert| alert["kind"].as_str().unwrap()).collect()
}
