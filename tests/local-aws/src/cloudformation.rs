//! CloudFormation, which creates the resources of a template: functions that run as processes,
//! custom resources that these functions create, and rules and schedules that send them events.
//!
//! It creates a stack, and it updates and removes custom resources ([`LocalAws::update_custom`],
//! [`LocalAws::remove_custom`]). It serves no other change. A resource type that neither
//! [`LocalAws::deploy`] nor [`LocalAws::make`] knows is an error.

mod changes;
pub mod events;
mod resources;
mod schedule;
pub mod stacks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::authorization::FunctionRole;
use crate::lambda::Function;
use crate::pattern::Pattern;
use crate::queue::EventSource;
use crate::template::{Identity, Stack, Template, as_cloudformation_sends};
use crate::{ACCOUNT, LocalAws, REGION, RESPONSE_URL, Rule, RuleTarget};

pub use schedule::Schedule;
use stacks::{DeployedResource, DeployedStack};

/// The environment variable with an origin to which functions may send answers for CloudFormation,
/// beside the hosts of CloudFormation.
const RESPONSE_ORIGIN: &str = "CUSTOM_RESOURCE_RESPONSE_ORIGIN";

/// The timeout in seconds of a custom resource without a `ServiceTimeout`: an hour.
const SERVICE_TIMEOUT: u64 = 3_600;

/// A stack to deploy.
pub struct Deployment<'a> {
    /// The template.
    pub template: &'a Template,
    /// The stack's name.
    pub name: &'a str,
    /// The parameters that have other values than their defaults.
    pub parameters: &'a BTreeMap<String, String>,
    /// The program that every function runs. `_HANDLER` identifies the function by the name of the
    /// folder of its `CodeUri`.
    pub program: PathBuf,
}

/// A resource that CloudFormation created.
#[derive(Debug)]
pub struct Made {
    /// The logical ID.
    pub id: String,
    /// The type, such as `AWS::IAM::Role`.
    pub kind: String,
    /// The physical ID, which is the value of a `Ref`.
    pub physical_id: String,
    /// The log of the function that created the resource.
    pub log: String,
}

/// A resource that is a function, or that a function creates.
pub(crate) enum Creation {
    /// A Lambda function: its name and its properties.
    Function(String, Value),
    /// A custom resource: CloudFormation's request, without its ID and the URL of the answer.
    Custom(Value),
}

/// A created resource, as CloudFormation knows it.
pub(crate) struct Created {
    /// The value of a `Ref`.
    pub(crate) physical_id: String,
    /// The values of `Fn::GetAtt`, as an object.
    pub(crate) attributes: Value,
    /// The log of the function that created it.
    pub(crate) log: String,
}

impl Created {
    /// A resource that no function created.
    pub(crate) fn new(physical_id: String, attributes: Value) -> Self {
        Self { physical_id, attributes, log: String::new() }
    }
}

impl LocalAws {
    /// Creates the resources of a stack in order, passes each one to `made`, and returns the outputs.
    ///
    /// A test must call [`LocalAws::serve`] first, because functions call AWS on a port.
    pub async fn deploy(
        &self,
        deployment: &Deployment<'_>,
        made: impl FnMut(Made),
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let create = async |creation| match creation {
            Creation::Function(name, properties) => {
                let function = self.create_function(&name, &properties, &deployment.program)?;
                self.subscribe(&function.arn(), &properties).await?;
                Ok(Created::new(name, json!({"Arn": function.arn()})))
            }
            Creation::Custom(request) => self.ask_custom(request).await,
        };
        let Deployment { template, name, parameters, .. } = deployment;
        self.create_stack(template, name, parameters, create, made).await
    }

    /// Creates the resources of a stack in order, and returns the outputs. `create` creates the
    /// functions and the custom resources, and the embedded services create the other resources.
    pub(crate) async fn create_stack(
        &self,
        template: &Template,
        name: &str,
        parameters: &BTreeMap<String, String>,
        mut create: impl AsyncFnMut(Creation) -> anyhow::Result<Created>,
        mut made: impl FnMut(Made),
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let identity = identity(name);
        let id = identity.id.clone();
        let mut stack = Stack::new(template, identity, parameters)?;
        self.state().begin_stack(name, &id, "CREATE_IN_PROGRESS");
        self.change_stack(&id, |deployed| deployed.parameters = stack.parameters());
        for logical_id in stack.resources()? {
            let kind = stack.resource_type(logical_id)?;
            let properties = stack.properties(logical_id)?;
            let physical_name = format!("{name}-{logical_id}");
            let request = json!({
                "RequestType": "Create",
                "StackId": id,
                "LogicalResourceId": logical_id,
                "ResourceType": kind,
                "ResourceProperties": as_cloudformation_sends(properties.clone()),
            });
            self.state().record_request(&request);
            let creating = || format!("creating {logical_id}");
            let created = match kind {
                "AWS::Serverless::Function" => {
                    if let Some(role) = properties["Role"].as_str() {
                        let log_group = properties["LoggingConfig"]["LogGroup"].as_str();
                        let role = FunctionRole {
                            arn: role.to_owned(),
                            log_group: log_group.unwrap_or_default().to_owned(),
                            traces: properties["Tracing"] == "Active",
                        };
                        self.state().roles.insert(physical_name.clone(), role);
                    }
                    create(Creation::Function(physical_name, properties)).await
                }
                _ if kind.starts_with("Custom::") => {
                    create(Creation::Custom(request.clone())).await.with_context(creating)
                }
                _ => self
                    .make(kind, &physical_name, &properties)
                    .await
                    .with_context(creating)
                    .map(|(physical_id, attributes)| Created::new(physical_id, attributes)),
            };
            self.record_end(&request, &created);
            if created.is_err() {
                // As with `--disable-rollback`.
                self.state().set_stack_status(&id, "CREATE_FAILED");
            }
            let Created { physical_id, attributes, log } = created?;
            let attributes = attributes.as_object().cloned().unwrap_or_default();
            stack.made(logical_id, &physical_id, attributes);
            let resource = DeployedResource {
                id: logical_id.to_owned(),
                kind: kind.to_owned(),
                physical_id: physical_id.clone(),
                properties: request["ResourceProperties"].clone(),
            };
            self.change_stack(&id, |stack| stack.resources.push(resource));
            let (id, kind) = (logical_id.to_owned(), kind.to_owned());
            made(Made { id, kind, physical_id, log });
        }
        let outputs = stack.outputs()?;
        self.change_stack(&id, |stack| stack.outputs.clone_from(&outputs));
        self.state().set_stack_status(&id, "CREATE_COMPLETE");
        Ok(outputs)
    }

    /// Records the events of the end of a request.
    fn record_end(&self, request: &Value, created: &anyhow::Result<Created>) {
        let status = if created.is_ok() { "SUCCESS" } else { "FAILED" };
        let physical_id = match created {
            Ok(created) => created.physical_id.as_str().into(),
            Err(_) => request["PhysicalResourceId"].clone(),
        };
        let answer = json!({"Status": status, "PhysicalResourceId": physical_id});
        self.state().record_answer(request, Some(&answer));
    }

    /// Changes the record of a stack.
    fn change_stack(&self, id: &str, change: impl FnOnce(&mut DeployedStack)) {
        self.state().stacks.iter_mut().find(|stack| stack.id == id).map(change);
    }

    /// Creates a function with its rules and schedules.
    fn create_function(
        &self,
        name: &str,
        properties: &Value,
        program: &Path,
    ) -> anyhow::Result<Function> {
        let endpoint = self
            .endpoint()
            .context("the embedded AWS is not served on a port, which functions need")?;
        let mut function = read_function(name, properties, program)?;
        function.environment.insert(RESPONSE_ORIGIN.to_owned(), endpoint.clone());
        function.environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint);
        self.lambda().create(function.clone());
        let mut state = self.state();
        for (rule, event) in properties["Events"].as_object().into_iter().flatten() {
            match event["Type"].as_str() {
                Some("EventBridgeRule" | "CloudWatchEvent") => {
                    known(&event["Properties"], RULE_PROPERTIES)
                        .with_context(|| format!("the rule {rule} of {name}"))?;
                    let pattern = Pattern::new(&event["Properties"]["Pattern"]);
                    let pattern = pattern.with_context(|| format!("the rule {rule} of {name}"))?;
                    let dead_letter = event["Properties"]["DeadLetterConfig"]["Arn"].as_str();
                    state.rules.push(Rule {
                        name: format!("{name}{rule}"),
                        pattern,
                        target: RuleTarget::Function(name.to_owned()),
                        dead_letter: dead_letter.map(str::to_owned),
                    });
                }
                Some(kind @ ("Schedule" | "ScheduleV2")) => {
                    let is_scheduler = kind == "ScheduleV2";
                    let schedule = Schedule::read(name, rule, is_scheduler, &event["Properties"])
                        .with_context(|| format!("the schedule {rule} of {name}"))?;
                    state.schedules.push(schedule);
                }
                Some("SQS") => {
                    let (queue, source) = EventSource::read(name, &event["Properties"])
                        .with_context(|| format!("the queue {rule} of {name}"))?;
                    state.event_sources.insert(queue, source);
                }
                // `subscribe` handles this type.
                Some("SNS") => {}
                other => {
                    bail!(
                        "the event {rule} of {name} is of type {other:?}, which the embedded AWS does not support"
                    )
                }
            }
        }
        Ok(function)
    }

    /// Subscribes a function to the topics among its events.
    async fn subscribe(&self, function: &str, properties: &Value) -> anyhow::Result<()> {
        let events = properties["Events"].as_object().into_iter().flatten();
        for (name, event) in events.filter(|(_, event)| event["Type"] == "SNS") {
            let event = &event["Properties"];
            known(event, SNS_PROPERTIES).with_context(|| format!("the topic {name}"))?;
            let subscription = json!({
                "TopicArn": event["Topic"],
                "Protocol": "lambda",
                "Endpoint": function,
            });
            let dead_letter = event["RedrivePolicy"]["deadLetterTargetArn"].as_str();
            let dead_letter = dead_letter.map(|queue| (function.to_owned(), queue.to_owned()));
            self.state().redrive.extend(dead_letter);
            let made = self.make("AWS::SNS::Subscription", name, &subscription).await;
            made.with_context(|| format!("the topic {name}"))?;
        }
        Ok(())
    }

    /// Sends a request to the function of a custom resource, as CloudFormation does: the invocation is
    /// asynchronous, and the function sends the answer to a URL.
    async fn ask_custom(&self, mut request: Value) -> anyhow::Result<Created> {
        let endpoint = self
            .endpoint()
            .context("the embedded AWS is not served on a port, which functions need")?;
        let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap_or_default();
        let token = request["ResourceProperties"]["ServiceToken"].as_str().unwrap_or_default();
        let function = token.rsplit(':').next().unwrap_or_default().to_owned();
        let timeout = request["ResourceProperties"]["ServiceTimeout"].as_str();
        let timeout = timeout.and_then(|seconds| seconds.parse().ok()).unwrap_or(SERVICE_TIMEOUT);
        let id = self.next_request();
        let sent = [("RequestId", id.clone()), ("ResponseURL", format!("{endpoint}/{path}"))];
        if let Some(request) = request.as_object_mut() {
            request.extend(sent.map(|(name, value)| (name.to_owned(), Value::String(value))));
        }
        let before = self.lambda().log(&function).len();
        self.lambda().invoke_async(&function, request)?;
        let log = || self.lambda().log(&function).split_off(before);
        let limit = Duration::from_secs(timeout);
        let Ok(answer) = tokio::time::timeout(limit, self.answer_to(&id)).await else {
            bail!("no answer within {timeout} seconds; the function logged:\n{}", log());
        };
        let Some(answer) = answer else {
            bail!("the function has ended without an answer; it logged:\n{}", log());
        };
        if answer["Status"] != "SUCCESS" {
            bail!(
                "{}",
                answer["Reason"].as_str().unwrap_or("the function failed without a reason")
            );
        }
        // The log is complete when the process asks for its next event.
        self.lambda().settled().await;
        let physical_id = answer["PhysicalResourceId"].as_str().unwrap_or_default().to_owned();
        let attributes = answer.get("Data").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        Ok(Created { physical_id, attributes, log: log() })
    }

    /// The answer to a request. None if no function is running that could send it.
    async fn answer_to(&self, id: &str) -> Option<Value> {
        let take = || {
            let answers = &mut self.state().answers;
            let found = answers.iter().position(|answer| answer["RequestId"] == *id)?;
            Some(answers.remove(found))
        };
        loop {
            let answered = self.0.answered.notified();
            if let Some(answer) = take() {
                return Some(answer);
            }
            tokio::select! {
                () = answered => {}
                () = self.lambda().settled() => return take(),
            }
        }
    }

    /// A unique ID for a request.
    pub(crate) fn next_request(&self) -> String {
        let mut state = self.state();
        state.requests += 1;
        format!("00000000-0000-4000-9000-{:012x}", state.requests)
    }
}

/// The pseudo parameters of a stack of this name.
pub(crate) fn identity(name: &str) -> Identity {
    Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: name.to_owned(),
        id: format!(
            "arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3"
        ),
    }
}

/// Reads the properties of a function that runs this program.
pub(crate) fn read_function(
    name: &str,
    properties: &Value,
    program: &Path,
) -> anyhow::Result<Function> {
    known(properties, FUNCTION_PROPERTIES).with_context(|| name.to_owned())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // A parameter's value is a string.
    let number =
        |value: &Value| -> Option<u64> { value.as_u64().or_else(|| value.as_str()?.parse().ok()) };
    let variables = properties["Environment"]["Variables"].as_object();
    let variables = variables.into_iter().flatten();
    let code = properties["CodeUri"].as_str().and_then(|uri| uri.rsplit('/').next());
    let [dead_letter, on_failure] = [
        &properties["DeadLetterQueue"]["TargetArn"],
        &properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"],
    ]
    .map(text);
    for arn in dead_letter.iter().chain(&on_failure) {
        if !["arn:aws:sqs:", "arn:aws:lambda:"].iter().any(|of| arn.starts_with(of)) {
            bail!("{name} sends failed events to {arn}, which is neither a queue nor a function");
        }
    }
    Ok(Function {
        name: name.to_owned(),
        program: program.to_owned(),
        handler: code.context("a function has no CodeUri")?.to_owned(),
        environment: variables
            .map(|(name, value)| (name.clone(), text(value).unwrap_or_else(|| value.to_string())))
            .collect(),
        // The defaults of AWS::Lambda::Function.
        timeout: Duration::from_secs(number(&properties["Timeout"]).unwrap_or(3)),
        memory_mb: u32::try_from(number(&properties["MemorySize"]).unwrap_or(128))?,
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        retries: number(&properties["EventInvokeConfig"]["MaximumRetryAttempts"])
            .map_or(Ok(2), u32::try_from)?,
        dead_letter,
        on_failure,
        reserved_concurrency: number(&properties["ReservedConcurrentExecutions"])
            .map(u32::try_from)
            .transpose()?,
    })
}

/// The properties of a function that are honoured here, or that change nothing here.
const FUNCTION_PROPERTIES: &[&str] = &[
    "Architectures",
    "CodeUri",
    "DeadLetterQueue",
    "Description",
    "Environment",
    "EventInvokeConfig",
    "Events",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "RecursiveLoop",
    "ReservedConcurrentExecutions",
    "Role",
    "Runtime",
    "Timeout",
    "Tracing",
];
/// The same of a rule.
const RULE_PROPERTIES: &[&str] = &["DeadLetterConfig", "Pattern", "RetryPolicy"];
/// The same of a topic.
const SNS_PROPERTIES: &[&str] = &["RedrivePolicy", "Topic"];

/// Refuses what would be passed over otherwise.
pub(crate) fn known(properties: &Value, names: &[&str]) -> anyhow::Result<()> {
    let mut given = properties.as_object().into_iter().flatten();
    match given.find(|(name, _)| !names.contains(&name.as_str())) {
        Some((name, _)) => bail!("the property {name} means nothing here"),
        None => Ok(()),
    }
}
