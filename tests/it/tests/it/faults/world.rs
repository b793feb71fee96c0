//! The stack in one process: everything that the template makes, and the functions as Lambda
//! would run them, in a time that costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use chrono::{DateTime, Utc};
use local_aws::ecr::Time;
use local_aws::slack;
use local_aws::template::{Stack, as_cloudformation_sends};
use local_aws::{Called, LocalAws, RESPONSE_URL};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use crate::{TEMPLATE, identity};

/// What the clock says at first: five seconds after the events of `events/scan-complete`.
const NOW: Time = 1_795_514_405.0;
/// What must be in no log line, no error and no alert; [`RESPONSE_URL`] has it too.
pub const SECRET: &str = "marked-secret";

/// A function that is told of events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    ImagePush,
    ScanComplete,
    ImageSweep,
    SlackNotifier,
}

impl Function {
    /// Its folder, under `functions/` and under `events/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::ImagePush => "image-push",
            Self::ScanComplete => "scan-complete",
            Self::ImageSweep => "image-sweep",
            Self::SlackNotifier => "slack-notifier",
        }
    }

    /// Its events, by the names of their files.
    pub fn events(self) -> BTreeMap<String, Value> {
        events(self.folder())
    }
}

/// The files of a folder of `events/`, by their names.
pub fn events(folder: &str) -> BTreeMap<String, Value> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../events", folder].iter().collect();
    let read = |path: &Path| serde_json::from_str(&std::fs::read_to_string(path).unwrap());
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), read(&path).unwrap())).collect()
}

/// A deployed stack.
pub struct World {
    pub aws: LocalAws,
    /// The functions, by their folders.
    functions: BTreeMap<String, Deployed>,
}

/// A function as the template describes it.
struct Deployed {
    variables: Vec<(String, String)>,
    timeout: Duration,
    /// What its calls are signed by, and as whom.
    sdk: SdkConfig,
}

impl World {
    /// The stack with these parameters and a webhook of Slack, its alerts coming to a queue too.
    pub async fn new(parameters: &[(&str, &str)]) -> Self {
        local_aws::log::collect();
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        let mut world = Self { aws, functions: BTreeMap::new() };
        let url = format!("https://{}/services/T0000000/B0000000/{SECRET}", slack::HOST);
        let secret = json!({"Name": "slack", "SecretString": url});
        let secret = world.ask("secretsmanager", "secretsmanager.CreateSecret", &secret).await;
        let mut given: BTreeMap<String, String> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let secret = secret["ARN"].as_str().unwrap().to_owned();
        given.insert("SlackWebhookSecretArn".to_owned(), secret);
        world.deploy(&given).await;
        world
    }

    async fn deploy(&mut self, parameters: &BTreeMap<String, String>) {
        let mut stack = Stack::new(&TEMPLATE, identity(), parameters).unwrap();
        for id in stack.resources().unwrap() {
            let properties = stack.properties(id).unwrap();
            let (physical_id, attributes) = match stack.resource_type(id).unwrap() {
                "AWS::Serverless::Function" => (id.to_owned(), self.function(id, &properties)),
                kind if kind.starts_with("Custom::") => self.custom(id, kind, properties).await,
                kind => self.aws.make(kind, id, &properties).await.unwrap(),
            };
            let attributes = attributes.as_object().cloned().unwrap_or_default();
            stack.made(id, &physical_id, attributes);
        }
        let (_, queue) = self.aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
        let topic = &stack.outputs().unwrap()["AlertTopicArn"];
        let inbox = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["Arn"]});
        self.aws.make("AWS::SNS::Subscription", "inbox", &inbox).await.unwrap();
    }

    /// Keeps a function's environment, and gives its attributes.
    fn function(&mut self, id: &str, properties: &Value) -> Value {
        let folder = properties["CodeUri"].as_str().unwrap().rsplit('/').next().unwrap();
        let variables = properties["Environment"]["Variables"].as_object();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let variables = variables.into_iter().flatten();
        let mut variables: Vec<_> =
            variables.map(|(name, value)| (name.clone(), text(value))).collect();
        variables.push(("AWS_LAMBDA_FUNCTION_NAME".to_owned(), id.to_owned()));
        let timeout = Duration::from_secs(properties["Timeout"].as_u64().unwrap());
        // The embedded AWS knows a caller by its token.
        let role = properties["Role"].as_str().map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", SECRET, role, None, "world");
        let sdk = self.aws.config().into_builder();
        let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials));
        let sdk =
            sdk.retry_config(warden_aws::retries()).timeout_config(warden_aws::timeouts()).build();
        self.functions.insert(folder.to_owned(), Deployed { variables, timeout, sdk });
        json!({"Arn": format!("arn:aws:lambda:us-east-1:123456789012:function:{id}")})
    }

    /// Has a custom resource created.
    async fn custom(&self, id: &str, kind: &str, properties: Value) -> (String, Value) {
        let request = json!({
            "RequestType": "Create",
            "RequestId": id,
            "ResponseURL": RESPONSE_URL,
            "StackId": identity().id,
            "LogicalResourceId": id,
            "ResourceType": kind,
            "ResourceProperties": as_cloudformation_sends(properties),
        });
        let sdk = &self.functions["custom-resource"].sdk;
        let context = Arc::new(custom_resource::Context::new(sdk).unwrap());
        let deadline = SystemTime::now() + Duration::from_secs(300);
        custom_resource::handle(&context, &request, deadline).await;
        let answer = self.aws.state().answers.remove(0);
        assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
        let data = answer.get("Data").cloned().unwrap_or_else(|| Map::new().into());
        (answer["PhysicalResourceId"].as_str().unwrap().to_owned(), data)
    }

    /// A call of a service by somebody else.
    pub async fn ask(&self, service: &str, target: &str, input: &Value) -> Value {
        let request = http::Request::post("/").header("x-amz-target", target);
        let request = request.body(input.to_string().into()).unwrap();
        let answer = self.aws.services().handle(service, request).await;
        assert!(answer.status().is_success(), "{target}: {answer:?}");
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }

    /// A variable of a function's environment.
    pub fn variable(&self, function: Function, name: &str) -> &str {
        let variables = &self.functions[function.folder()].variables;
        &variables.iter().find(|(of, _)| of == name).unwrap().1
    }

    /// How long a function may take.
    pub fn time(&self, function: Function) -> Duration {
        self.functions[function.folder()].timeout
    }

    /// One attempt, in a process of its own: nothing is left of another.
    pub async fn attempt(
        &self,
        function: Function,
        event: &Value,
        request_id: &str,
    ) -> anyhow::Result<Value> {
        let Deployed { variables, timeout, sdk } = &self.functions[function.folder()];
        let (variables, time_left) = (variables.clone(), *timeout);
        let now = self.now();
        match function {
            Function::ImagePush => {
                let config = image_push::config::Config::read(variables)?;
                let context = image_push::Context::new(config, sdk);
                image_push::handle(&context, event, request_id, now).await?;
            }
            Function::ScanComplete => {
                let config = scan_complete::config::Config::read(variables)?;
                let context = scan_complete::Context::new(config, sdk);
                scan_complete::handle(&context, event, request_id, now).await?;
            }
            Function::ImageSweep => {
                let config = image_sweep::config::Config::read(variables)?;
                let context = image_sweep::Context::new(config, sdk);
                let request_id = request_id.to_owned();
                let invocation = warden_aws::Invocation { request_id, now, time_left };
                return image_sweep::handle(&context, event, &invocation).await;
            }
            Function::SlackNotifier => {
                let config = slack_notifier::config::Config::read(variables)?;
                let context = slack_notifier::Context::new(config, sdk)?;
                slack_notifier::handle(&context, event, Instant::now() + time_left).await?;
            }
        }
        Ok(Value::Null)
    }

    /// As Lambda does with an event: three attempts with one ID, the second a minute and the
    /// third two minutes later. `after_the_first` is called when the first has ended, which is
    /// cut off after so long. Gives the errors of all attempts if none of them succeeded: then
    /// the event is in the queue of those that failed.
    pub async fn invoke(
        &self,
        function: Function,
        event: &Value,
        request_id: &str,
        cut_off: Duration,
        after_the_first: impl FnOnce(),
    ) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        let mut after_the_first = Some(after_the_first);
        let mut limit = cut_off;
        for wait in [60, 120, 0] {
            let attempt = Box::pin(self.attempt(function, event, request_id));
            let ended = timeout(limit, attempt).await;
            if let Some(then) = after_the_first.take() {
                then();
            }
            match ended {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => errors.push(format!("{error:#}")),
                Err(_) => errors.push("cut off".to_owned()),
            }
            limit = self.time(function);
            self.aws.advance(Duration::from_secs(wait));
        }
        Err(errors)
    }

    pub fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        DateTime::from_timestamp(self.aws.state().now() as i64, 0).unwrap()
    }

    /// The registry's images: where each is, its tags, and whether it can be pulled.
    pub fn images(&self) -> BTreeSet<String> {
        let mut state = self.aws.state();
        let repositories = &state.ecr().repositories;
        let of = repositories.iter().flat_map(|(name, repository)| {
            let told = move |image: &local_aws::ecr::Image| {
                format!("{name} {} {:?} {}", image.digest, image.tags, image.status.name())
            };
            repository.images.iter().map(told)
        });
        of.collect()
    }

    /// The alerts since the last time, as a queue gets them.
    pub fn alerts(&self) -> Vec<Value> {
        let deliveries = std::mem::take(&mut self.aws.state().deliveries);
        let of = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
        of.map(|delivery| serde_json::from_str(&delivery.message).unwrap()).collect()
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<Called> {
        std::mem::take(&mut self.aws.state().calls)
    }
}
