//! An AWS in memory, on a port or behind the SDK's HTTP client.
//!
//! It answers as the service models and the documentation say, with the services' own
//! errors; what it does not serve is answered as an unknown operation, never as an empty
//! success. Every call is recorded, and any call can be made to fail.
//!
//! In reading order: [`Called`] says what was called, [`ecr`] is Amazon ECR, `distribution`
//! the protocol that images are pushed in, [`iam`] and [`services`] the services beside it,
//! [`server`] the port; [`lambda`] runs functions as processes, [`pattern`] decides which
//! event is theirs, and [`cloudformation`] puts a [`template`] here.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "it serves tests, which end when something is off"
)]

mod call;
pub mod cloudformation;
mod connector;
mod distribution;
pub mod ecr;
mod fault;
pub mod iam;
pub mod inspector;
pub mod lambda;
pub mod pattern;
mod query;
pub mod server;
pub mod services;
pub mod template;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::Notify;

use call::{Input, json_answer, response};
use ecr::{Registry, Time};
use lambda::{Lambda, Letter};
use pattern::Pattern;
use services::Services;

pub use call::Called;
pub use fault::Fault;

/// The account of callers that name no other.
pub const ACCOUNT: &str = "123456789012";
/// The region of callers that name no other.
pub const REGION: &str = "us-east-1";
/// What a custom resource answers to.
pub const RESPONSE_URL: &str = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3Aus-east-1%3A123456789012%3Astack/warden/example%7CRepository%7Cexample?AWSAccessKeyId=AKIDEXAMPLE&Expires=1800000000&Signature=%2Bmarked-secret%2Fsignature%3D";

/// Everything there is.
#[derive(Default)]
pub struct State {
    registries: BTreeMap<(String, String), Registry>,
    /// AWS IAM.
    pub iam: iam::Iam,
    /// What `DescribeStacks` says of any stack.
    pub stack_status: String,
    /// What was sent to [`RESPONSE_URL`] and taken.
    pub answers: Vec<Value>,
    /// The calls, in order; an answer to CloudFormation is called `Answer`.
    pub calls: Vec<Called>,
    /// What EventBridge was told, in order.
    pub events: Vec<Value>,
    /// What was published, one for each subscriber, in order.
    pub deliveries: Vec<services::Delivery>,
    /// What brings events to functions.
    pub rules: Vec<Rule>,
    /// The ARN of the role of each function.
    roles: BTreeMap<String, String>,
    /// The time, where it was set.
    clock: Option<Time>,
    faults: fault::Faults,
}

/// A rule of EventBridge: events that match go to the function.
#[derive(Debug)]
pub struct Rule {
    /// What it lets through.
    pub pattern: Pattern,
    /// The function's name.
    pub function: String,
}

impl State {
    /// The registry of [`ACCOUNT`] in [`REGION`].
    pub fn ecr(&mut self) -> &mut Registry {
        self.registry(ACCOUNT, REGION)
    }

    /// The registry of an account in a region.
    pub fn registry(&mut self, account: &str, region: &str) -> &mut Registry {
        let key = (account.to_owned(), region.to_owned());
        self.registries.entry(key).or_insert_with(|| Registry::new(account, region))
    }

    /// The time: the system's, unless another one was set.
    #[must_use]
    pub fn now(&self) -> Time {
        let system = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock.unwrap_or_else(|| system().as_secs_f64())
    }

    /// Stops the clock at a time, or lets it go on with the system's.
    pub fn set_clock(&mut self, time: Option<Time>) {
        self.clock = time;
    }

    /// The ARN of a caller: its token is one, or that of a function's process.
    fn principal(&self, called: &Called) -> Option<String> {
        let token = called.token.as_deref()?;
        let function = token.split('/').next().unwrap_or_default();
        let arn = token.starts_with("arn:").then(|| token.to_owned());
        arn.or_else(|| self.roles.get(function).cloned())
    }
}

/// An AWS, shared by whoever clones it.
#[derive(Clone, Default)]
pub struct LocalAws(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    services: Services,
    endpoint: OnceLock<String>,
    lambda: OnceLock<Lambda>,
    /// Rings when CloudFormation was answered.
    answered: Notify,
}

impl LocalAws {
    /// Its state, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the `nth` (from 1) call of `operation` from now on go wrong; 0 for each one.
    pub fn fault(&self, operation: &str, nth: usize, fault: Fault) {
        self.state().faults.add(operation, nth, fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// The operations called since the last time that changed something, or meant to.
    #[must_use]
    pub fn take_changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.state().calls);
        let reads =
            ["Describe", "Get", "List", "BatchGet", "StartLifecyclePolicyPreview", "Answer"];
        let operations = calls.into_iter().map(|called| called.operation);
        operations.filter(|call| !reads.iter().any(|read| call.starts_with(read))).collect()
    }

    /// A call of ECR by somebody else, which is neither recorded nor goes wrong.
    pub fn by_hand(&self, operation: &str, input: &Value) -> Result<Value, ecr::Error> {
        let served = {
            let mut state = self.state();
            let call = ecr::Call { operation, principal: None, now: state.now(), endpoint: "" };
            state.ecr().serve(&call, input)
        };
        self.deliver();
        served
    }

    /// Moves the clock, which then stands still, and does what ECR does in that time:
    /// lifecycle policies are carried out once, at its end.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        let now = state.now() + by.as_secs_f64();
        state.clock = Some(now);
        for registry in state.registries.values_mut() {
            registry.settle(now);
            registry.carry_out_lifecycle_policies(now);
        }
        drop(state);
        self.deliver();
    }

    /// The services beside ECR and IAM.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.0.services
    }

    /// What runs functions.
    #[must_use]
    pub fn lambda(&self) -> &Lambda {
        self.0.lambda.get_or_init(|| {
            let inner = Arc::downgrade(&self.0);
            Lambda::new(move |letter| {
                let aws = inner.upgrade().map(Self);
                Box::pin(async move {
                    if let Some(aws) = aws {
                        aws.post(&letter).await;
                    }
                })
            })
        })
    }

    /// Where [`LocalAws::serve`] serves.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        self.0.endpoint.get().cloned()
    }

    fn set_endpoint(&self, endpoint: &str) {
        // The first port is what layers are downloaded from.
        let _ = self.0.endpoint.set(endpoint.to_owned());
    }

    /// Serves a request; the error is a connection that breaks.
    pub(crate) async fn handle(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, server::Reset> {
        let path = request.uri().path();
        if path.starts_with("/v2/") || path == "/v2" {
            return self.distribute(&request).await;
        }
        if request.method() == Method::GET && path.starts_with("/layers/") {
            return Ok(self.layer(path));
        }
        let (called, input) = match Called::read(&request) {
            Ok(read) => read,
            Err(malformed) => return Ok(malformed),
        };
        if request.method() == Method::PUT && called.service.is_empty() {
            let called = Called { operation: "Answer".to_owned(), ..called };
            let serve = async { self.take_answer(&request) };
            return self.with_faults(&called, &input, serve).await;
        }
        if self.services().serves(&called.service) {
            let serve = self.services().handle(&called.service, request);
            return self.with_faults(&called, &input, serve).await;
        }
        if called.service == "lambda" {
            return Ok(self.invoke(&request).await);
        }
        self.with_faults(&called, &input, async { self.call(&called, &input) }).await
    }

    async fn distribute(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, server::Reset> {
        let operation = distribution::Route::read(request.uri().path()).operation(request.method());
        let mut called = Called {
            service: "ecr".to_owned(),
            operation: operation.to_owned(),
            account: String::new(),
            region: String::new(),
            token: None,
        };
        let now = self.state().now();
        if let Err(refused) = distribution::authorize(request, &mut called, now) {
            return Ok(refused);
        }
        let serve = async {
            let mut state = self.state();
            let registry = state.registry(&called.account, &called.region);
            distribution::serve(registry, request, now)
        };
        self.with_faults(&called, &Input::Rest, serve).await
    }

    /// Records a call and serves it, unless it is to go wrong.
    async fn with_faults(
        &self,
        called: &Called,
        input: &Input,
        serve: impl Future<Output = Response<Bytes>> + Send,
    ) -> Result<Response<Bytes>, server::Reset> {
        let fault = {
            let mut state = self.state();
            state.calls.push(called.clone());
            state.faults.of_next(&called.operation)
        };
        let serve = async {
            let response = serve.await;
            self.deliver();
            self.deliver_messages().await;
            response
        };
        let kill = || {
            let token = called.token.as_deref().unwrap_or_default();
            assert!(self.lambda().kill(token), "{} was not called by a function", called.operation);
            Err(server::Reset)
        };
        match fault {
            None => Ok(serve.await),
            Some(Fault::Error(status, code)) => {
                Ok(called.error(input, status, code, "made to fail"))
            }
            Some(Fault::ResetBefore) => Err(server::Reset),
            Some(Fault::ResetAfter) => {
                let _ = serve.await;
                Err(server::Reset)
            }
            Some(Fault::Slow(by)) => {
                tokio::time::sleep(by).await;
                Ok(serve.await)
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a defect while calling {}", called.operation),
            Some(Fault::KillBefore) => kill(),
            Some(Fault::KillAfter) => {
                let _ = serve.await;
                kill()
            }
        }
    }

    fn call(&self, called: &Called, input: &Input) -> Response<Bytes> {
        let state = &mut *self.state();
        let operation = called.operation.as_str();
        let served = match (called.service.as_str(), input) {
            ("ecr", Input::Json(input)) => {
                let principal = state.principal(called);
                let call = ecr::Call {
                    operation,
                    principal: principal.as_deref(),
                    now: state.now(),
                    endpoint: self.0.endpoint.get().map_or("", String::as_str),
                };
                let registry = state.registry(&called.account, &called.region);
                let served = registry.serve(&call, input);
                served
                    .map(|output| json_answer(&output))
                    .map_err(|error| (400, error.code, error.message))
            }
            ("cloudformation", Input::Query(input)) if operation == "DescribeStacks" => {
                let name = input.get("StackName").map_or("", String::as_str);
                let status = &state.stack_status;
                let stack = format!(
                    "<Stacks><member><StackName>{name}</StackName><StackId>{name}</StackId>\
                     <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>{status}</StackStatus></member></Stacks>"
                );
                Ok(response(200, "text/xml", query::result(operation, &stack)))
            }
            ("iam", Input::Query(input)) => {
                let served = state.iam.serve(operation, input);
                served.map(|output| response(200, "text/xml", query::result(operation, &output)))
            }
            (service, Input::Query(_)) => {
                Err((400, "InvalidAction", format!("{operation} of '{service}' is not served")))
            }
            (service, _) => Err((
                400,
                "UnknownOperationException",
                format!("{operation} of '{service}' is not served"),
            )),
        };
        served.unwrap_or_else(|(status, code, message)| called.error(input, status, code, &message))
    }

    /// Takes an answer to CloudFormation, at a URL that is signed without a content type.
    fn take_answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let expected = RESPONSE_URL.splitn(4, '/').nth(3);
        let found = request.uri().path_and_query().and_then(|it| it.as_str().strip_prefix('/'));
        let answer = serde_json::from_slice(request.body());
        match answer {
            Ok(answer) if found == expected && !request.headers().contains_key("content-type") => {
                self.state().answers.push(answer);
                self.0.answered.notify_waiters();
                response(200, "application/xml", "")
            }
            Ok(_) => response(
                403,
                "application/xml",
                "<Error><Code>SignatureDoesNotMatch</Code></Error>",
            ),
            Err(_) => {
                response(400, "application/xml", "<Error><Code>InvalidRequest</Code></Error>")
            }
        }
    }

    /// A layer, from where `GetDownloadUrlForLayer` sends.
    fn layer(&self, path: &str) -> Response<Bytes> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let mut parts = path.trim_start_matches("/layers/").splitn(3, '/');
        let layer = (|| {
            let (account, region, rest) = (parts.next()?, parts.next()?, parts.next()?);
            let (name, digest) = rest.rsplit_once('/')?;
            let mut state = self.state();
            let key = (account.to_owned(), region.to_owned());
            state.registries.get_mut(&key)?.repository(name).ok()?.layers.get(digest)
        })();
        match layer {
            Some(layer) => response(200, "application/octet-stream", layer.to_vec()),
            None => response(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>"),
        }
    }

    /// Runs a function by hand, as `aws lambda invoke` asks for it.
    async fn invoke(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let name = request.uri().path().strip_prefix("/2015-03-31/functions/");
        let name = name.and_then(|rest| rest.strip_suffix("/invocations"));
        let (Some(name), &Method::POST) = (name, request.method()) else {
            return call::json_error(400, "UnknownOperationException", "only Invoke is served");
        };
        let body = if request.body().is_empty() { &b"{}"[..] } else { request.body() };
        let Ok(event) = serde_json::from_slice(body) else {
            let message = "Could not parse request body into json";
            return call::json_error(400, "InvalidRequestContentException", message);
        };
        let header = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
        let invoked = match header("x-amz-invocation-type") {
            None | Some("RequestResponse") => self.lambda().invoke(name, event).await.map(Some),
            Some("Event") => self.lambda().invoke_async(name, event).map(|_| None),
            Some(other) => {
                let message = format!("the invocation type {other} is not served");
                return call::json_error(400, "InvalidParameterValueException", &message);
            }
        };
        match invoked {
            Err(error) => call::json_error(error.status(), error.code(), &error.to_string()),
            Ok(None) => response(202, "application/json", ""),
            Ok(Some(invoked)) => {
                let mut answer = response(200, "application/json", invoked.payload.to_string());
                if invoked.error.is_some() {
                    let unhandled = HeaderValue::from_static("Unhandled");
                    answer.headers_mut().insert("x-amz-function-error", unhandled);
                }
                answer
            }
        }
    }

    /// Hands on what the services told EventBridge and the subscribers of topics.
    fn deliver(&self) {
        let mut due = Vec::new();
        {
            let state = &mut *self.state();
            let registries = state.registries.values_mut();
            let events: Vec<Value> =
                registries.flat_map(|it| std::mem::take(&mut it.events)).collect();
            for event in &events {
                let rules = state.rules.iter().filter(|rule| rule.pattern.matches(event));
                due.extend(rules.map(|rule| (rule.function.clone(), event.clone())));
            }
            state.events.extend(events);
        }
        for (function, event) in due {
            // A rule of a function that is gone brings nothing to anybody.
            let _ = self.lambda().invoke_async(&function, event);
        }
    }
}

impl LocalAws {
    /// Hands on what was published: functions are run and queues filled, and what people
    /// and web servers would get is kept to be looked at.
    async fn deliver_messages(&self) {
        for delivery in self.services().take_deliveries() {
            let name = delivery.endpoint.rsplit(':').next().unwrap_or_default();
            match delivery.protocol.as_str() {
                "lambda" => {
                    // A subscriber that is gone gets nothing.
                    let _ = self.lambda().invoke_async(name, services::lambda_event(&delivery));
                }
                "sqs" => self.send(name, &delivery.body(), &BTreeMap::new()).await,
                _ => {}
            }
            self.state().deliveries.push(delivery);
        }
    }

    /// Delivers what an asynchronous invocation ended in.
    async fn post(&self, letter: &Letter) {
        let name = letter.arn.rsplit(':').next().unwrap_or_default();
        if letter.arn.starts_with("arn:aws:lambda:") {
            let _ = self.lambda().invoke_async(name, letter.body.clone());
        } else {
            self.send(name, &letter.body.to_string(), &letter.attributes).await;
        }
    }

    /// Sends a message to a queue.
    async fn send(&self, queue: &str, body: &str, attributes: &BTreeMap<&str, String>) {
        let attributes: serde_json::Map<String, Value> = attributes
            .iter()
            .map(|(name, value)| {
                let kind = if *name == "ErrorCode" { "Number" } else { "String" };
                ((*name).to_owned(), json!({"DataType": kind, "StringValue": value}))
            })
            .collect();
        let call = async |operation: &str, input: Value| {
            let mut request = Request::new(Bytes::from(input.to_string()));
            *request.method_mut() = Method::POST;
            let headers = request.headers_mut();
            headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
            let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}"));
            headers.extend(
                target.ok().map(|target| (HeaderName::from_static("x-amz-target"), target)),
            );
            let response = self.services().handle("sqs", request).await;
            serde_json::from_slice(response.body()).unwrap_or(Value::Null)
        };
        let found = call("GetQueueUrl", json!({"QueueName": queue})).await;
        let message = json!({
            "QueueUrl": found["QueueUrl"],
            "MessageBody": body,
            "MessageAttributes": attributes,
        });
        let sent = call("SendMessage", message).await;
        assert!(sent["MessageId"].is_string(), "the queue {queue} took no message: {sent}");
    }
}

impl std::fmt::Debug for LocalAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalAws")
    }
}
