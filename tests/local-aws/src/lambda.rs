//! AWS Lambda. It runs each environment of a function as a process with its own Runtime API and its
//! deadlines. It retries asynchronous invocations and sends their failures to queues.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html>. It has no versions,
//! aliases, extensions, telemetry, streamed answers, provisioned concurrency, reserved concurrency
//! of zero, age of events and memory limits. The log of a function is lost if its role may not
//! write logs.

mod environment;
mod runtime_api;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use environment::Environment;

/// The maximum size of the event of a synchronous invocation, by
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const SYNCHRONOUS: usize = 6 * 1_024 * 1_024;
/// The maximum size of the event of an asynchronous invocation.
const ASYNCHRONOUS: usize = 1_024 * 1_024;

/// A function, as its deployment describes it.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name of the function.
    pub name: String,
    /// The path of the bootstrap.
    pub program: PathBuf,
    /// The value of `_HANDLER` in the process.
    pub handler: String,
    /// The environment variables of the function.
    pub environment: BTreeMap<String, String>,
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// The memory, which the process can read and nothing enforces.
    pub memory_mb: u32,
    /// The account of the function.
    pub account: String,
    /// The region of the function.
    pub region: String,
    /// The number of retries of a failed asynchronous invocation, at most 2.
    pub retries: u32,
    /// The ARN of the dead-letter queue.
    pub dead_letter: Option<String>,
    /// The ARN of the destination on failure.
    pub on_failure: Option<String>,
    /// The maximum number of concurrent invocations.
    pub reserved_concurrency: Option<u32>,
}

impl Function {
    /// The ARN of the function.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }
}

/// The result of an invocation.
#[derive(Debug)]
pub struct Invoked {
    /// The request ID, which all attempts of an asynchronous invocation share.
    pub request_id: String,
    /// The answer, or an object with `errorType` and `errorMessage`.
    pub payload: Value,
    /// The type of the error, if the invocation failed.
    pub error: Option<String>,
    /// The text that the process wrote during the invocation.
    pub log: String,
    /// The time from the spawn of the process to its first `GET /next`, if a process was spawned.
    pub cold_start: Option<Duration>,
    /// The time from the delivery of the event to the answer.
    pub duration: Duration,
    /// The maximum memory of the process since it was spawned, in bytes. None where the system does
    /// not report the memory, or the process has ended.
    pub max_memory: Option<u64>,
}

/// The reason why a function was not invoked.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum InvokeError {
    /// The function does not exist.
    #[error("Function not found: {0}")]
    NotFound(String),
    /// The reserved concurrency is used up.
    #[error("Rate Exceeded: {0} uses its whole reserved concurrency")]
    Throttled(String),
    /// The event is too large.
    #[error("{0} bytes are more than the {1} that an event may have")]
    TooLarge(usize, usize),
}

impl InvokeError {
    /// The error code of the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::Throttled(_) => "TooManyRequestsException",
            Self::TooLarge(..) => "RequestTooLargeException",
        }
    }

    /// The HTTP status of the API.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Throttled(_) => 429,
            Self::TooLarge(..) => 413,
        }
    }
}

/// The message about an asynchronous invocation whose last attempt has failed.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The ARN of the queue or the destination.
    pub arn: String,
    /// For a queue the event, and for a destination the record of the invocation.
    pub body: Value,
    /// The message attributes, which describe the failure to a dead-letter queue.
    pub attributes: BTreeMap<&'static str, String>,
    /// The name of the function.
    pub function: String,
}

/// The delivery of a dead letter.
pub type Posted = Pin<Box<dyn Future<Output = ()> + Send>>;
type Post = dyn Fn(DeadLetter) -> Posted + Send + Sync;

/// The functions. Clones share them, and the last clone ends their processes when it is dropped.
#[derive(Clone)]
pub struct Lambda(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    post: Box<Post>,
    /// Whether the role of a function lets Lambda write its log.
    may_log: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Notifies when an environment becomes free or an asynchronous invocation ends.
    changed: Notify,
}

struct State {
    functions: BTreeMap<String, Deployed>,
    /// The signals that end the busy environments, by ID.
    busy: BTreeMap<String, Arc<Notify>>,
    /// The number of asynchronous invocations that run or wait for a retry.
    pending: usize,
    retry_after: [Duration; 2],
    numbered: u64,
}

struct Deployed {
    function: Arc<Function>,
    idle: Vec<Environment>,
    /// The number of concurrent invocations.
    busy: u32,
    /// The number of attempts until now.
    attempts: usize,
    log: String,
}

impl Lambda {
    /// `post` delivers dead letters, and `may_log` decides whether the role of a function lets Lambda
    /// write its log.
    pub fn new(
        post: impl Fn(DeadLetter) -> Posted + Send + Sync + 'static,
        may_log: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            functions: BTreeMap::new(),
            busy: BTreeMap::new(),
            pending: 0,
            // The delays of AWS Lambda: one minute, then two.
            retry_after: [Duration::from_secs(60), Duration::from_secs(120)],
            numbered: 0,
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            post: Box::new(post),
            may_log: Box::new(may_log),
            changed: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the delays before the second and the third attempt of an asynchronous invocation.
    pub fn retry_after(&self, delays: [Duration; 2]) {
        self.state().retry_after = delays;
    }

    /// The delay after which a queue delivers a failed message again.
    pub(crate) fn retry_delay(&self) -> Duration {
        self.state().retry_after[0]
    }

    /// Begins work. [`Lambda::settled`] waits until the returned value is dropped.
    pub(crate) fn begin(&self) -> Pending {
        self.state().pending += 1;
        Pending(self.clone())
    }

    /// Creates or replaces a function. The idle processes of a replaced function end.
    pub fn create(&self, function: Function) {
        let name = function.name.clone();
        let mut state = self.state();
        let log = state.functions.remove(&name).map(|before| before.log).unwrap_or_default();
        let (function, idle) = (Arc::new(function), Vec::new());
        let deployed = Deployed { function, idle, busy: 0, attempts: 0, log };
        state.functions.insert(name, deployed);
    }

    /// Deletes a function.
    pub fn delete(&self, name: &str) {
        self.state().functions.remove(name);
    }

    /// The names of the functions.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        self.state().functions.keys().cloned().collect()
    }

    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        self.state().functions.get(name).map(|deployed| (*deployed.function).clone())
    }

    /// `GetFunctionConfiguration`:
    /// <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html>. The code has no
    /// hash here.
    pub(crate) fn describe(&self, name: &str) -> Result<Value, InvokeError> {
        let not_found = || InvokeError::NotFound(name.to_owned());
        let function = self.function(name).ok_or_else(not_found)?;
        Ok(json!({
            "FunctionName": function.name,
            "FunctionArn": function.arn(),
            "Runtime": "provided.al2023",
            "Version": "$LATEST",
            "LastModified": "2026-11-24T12:00:00.000+0000",
            "CodeSha256": "bWFkZSB1cA==",
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Timeout": function.timeout.as_secs(),
            "MemorySize": function.memory_mb,
            "Environment": {"Variables": function.environment},
        }))
    }

    /// The whole log of a function.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.state().functions.get(name).map(|deployed| deployed.log.clone()).unwrap_or_default()
    }

    /// The number of attempts of a function since it was created.
    #[must_use]
    pub fn attempts(&self, name: &str) -> usize {
        self.state().functions.get(name).map_or(0, |deployed| deployed.attempts)
    }

    /// Invokes a function and waits for the result.
    pub async fn invoke(&self, name: &str, event: Value) -> Result<Invoked, InvokeError> {
        let body = checked(&event, SYNCHRONOUS)?;
        let (lambda, name, id) = (self.clone(), name.to_owned(), self.next_id());
        // A task of its own, so that the function continues when the caller stops waiting.
        let attempt = tokio::spawn(async move { lambda.attempt(&name, &id, &body).await });
        match attempt.await {
            Ok(invoked) => invoked,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Queues an event. Returns the request ID that all its attempts share.
    pub fn invoke_async(&self, name: &str, event: Value) -> Result<String, InvokeError> {
        let body = checked(&event, ASYNCHRONOUS)?;
        let id = self.next_id();
        let retries = {
            let mut state = self.state();
            let deployed = state.functions.get(name);
            let not_found = || InvokeError::NotFound(name.to_owned());
            let retries = deployed.ok_or_else(not_found)?.function.retries.min(2);
            state.pending += 1;
            retries
        };
        let (pending, name, request_id) = (Pending(self.clone()), name.to_owned(), id.clone());
        tokio::spawn(async move {
            pending.0.run_attempts(&name, &request_id, &body, &event, retries).await;
        });
        Ok(id)
    }

    /// Makes all attempts of an asynchronous invocation, and reports its failure.
    async fn run_attempts(&self, name: &str, id: &str, body: &str, event: &Value, retries: u32) {
        let mut attempt = 0;
        loop {
            let changed = self.0.changed.notified();
            match self.attempt(name, id, body).await {
                // A throttled event stays in the queue and does not count as an attempt.
                Err(InvokeError::Throttled(_)) => changed.await,
                // The function was deleted with its events, or the invocation succeeded.
                Err(_) | Ok(Invoked { error: None, .. }) => return,
                Ok(failed) if attempt >= retries => {
                    self.report_failure(name, &failed, event, attempt + 1).await;
                    return;
                }
                Ok(_) => {
                    let [second, third] = self.state().retry_after;
                    tokio::time::sleep(if attempt == 0 { second } else { third }).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Sends a failed event to the dead-letter queue, and the record of its invocation to the
    /// destination on failure.
    async fn report_failure(&self, name: &str, failed: &Invoked, event: &Value, attempts: u32) {
        let function = self.state().functions.get(name).map(|deployed| deployed.function.clone());
        let Some(function) = function else { return };
        if let Some(arn) = &function.dead_letter {
            let message = failed.payload["errorMessage"].as_str().unwrap_or_default();
            let attributes = BTreeMap::from([
                ("RequestID", failed.request_id.clone()),
                ("ErrorCode", "200".to_owned()),
                ("ErrorMessage", message.chars().take(1_024).collect()),
            ]);
            let (arn, body) = (arn.clone(), event.clone());
            let function = name.to_owned();
            (self.0.post)(DeadLetter { arn, body, attributes, function }).await;
        }
        if let Some(arn) = &function.on_failure {
            let now = std::time::SystemTime::now();
            let now = aws_smithy_types::DateTime::from(now);
            let body = json!({
                "version": "1.0",
                "timestamp": now.fmt(aws_smithy_types::date_time::Format::DateTime).unwrap_or_default(),
                "requestContext": {
                    "requestId": failed.request_id,
                    "functionArn": format!("{}:$LATEST", function.arn()),
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": attempts,
                },
                "requestPayload": event,
                "responseContext": {
                    "statusCode": 200,
                    "executedVersion": "$LATEST",
                    "functionError": "Unhandled",
                },
                "responsePayload": failed.payload,
            });
            let attributes = BTreeMap::new();
            let (arn, function) = (arn.clone(), name.to_owned());
            (self.0.post)(DeadLetter { arn, body, attributes, function }).await;
        }
    }

    /// Makes one attempt, in a free environment or a new one.
    async fn attempt(&self, name: &str, id: &str, body: &str) -> Result<Invoked, InvokeError> {
        let (function, idle, number) = {
            let mut state = self.state();
            state.numbered += 1;
            let number = state.numbered;
            let not_found = || InvokeError::NotFound(name.to_owned());
            let deployed = state.functions.get_mut(name).ok_or_else(not_found)?;
            if deployed.function.reserved_concurrency.is_some_and(|most| deployed.busy >= most) {
                return Err(InvokeError::Throttled(name.to_owned()));
            }
            deployed.busy += 1;
            deployed.attempts += 1;
            // The process of an idle environment may have ended.
            deployed.idle.retain_mut(Environment::is_alive);
            (deployed.function.clone(), deployed.idle.pop(), number)
        };
        let end = Arc::new(Notify::new());
        let environment_id = idle
            .as_ref()
            .map_or_else(|| format!("{name}/{number}"), |environment| environment.id.clone());
        self.state().busy.insert(environment_id.clone(), end.clone());
        let (invoked, left) =
            environment::invoke(idle, &environment_id, &function, id, body, &end).await;
        let may_log = (self.0.may_log)(name);
        {
            let mut state = self.state();
            state.busy.remove(&environment_id);
            if let Some(deployed) = state.functions.get_mut(name) {
                if may_log {
                    deployed.log.push_str(&invoked.log);
                }
                // The environment does not belong to a function that replaced this one meanwhile.
                if Arc::ptr_eq(&deployed.function, &function) {
                    deployed.busy -= 1;
                    deployed.idle.extend(left);
                }
            }
        }
        self.0.changed.notify_waiters();
        Ok(invoked)
    }

    /// Waits until no asynchronous invocation runs or waits for a retry.
    pub async fn settled(&self) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if self.state().pending == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Kills the busy process with this session token and waits until the process has ended. Returns
    /// false if no busy process has the token.
    pub async fn kill(&self, environment: &str) -> bool {
        let Some(end) = self.state().busy.get(environment).cloned() else { return false };
        end.notify_one();
        loop {
            let changed = self.0.changed.notified();
            if !self.state().busy.contains_key(environment) {
                return true;
            }
            changed.await;
        }
    }

    /// Ends the idle processes.
    pub fn stop(&self) {
        for deployed in self.state().functions.values_mut() {
            deployed.idle.clear();
        }
    }

    fn next_id(&self) -> String {
        let mut state = self.state();
        state.numbered += 1;
        format!("00000000-0000-4000-8000-{:012x}", state.numbered)
    }
}

/// An asynchronous invocation. It ends when this value is dropped, also by a panic.
pub(crate) struct Pending(Lambda);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.state().pending -= 1;
        self.0.0.changed.notify_waiters();
    }
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.functions()).finish()
    }
}

/// The event as JSON, if it does not exceed the maximum size.
fn checked(event: &Value, most: usize) -> Result<String, InvokeError> {
    let body = event.to_string();
    if body.len() > most { Err(InvokeError::TooLarge(body.len(), most)) } else { Ok(body) }
}
