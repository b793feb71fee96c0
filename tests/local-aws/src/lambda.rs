//! AWS Lambda, as far as it runs functions: each as a process under a Runtime API of its own,
//! with deadlines, and asynchronous invocations with their retries and where they end.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html>. Versions, aliases,
//! extensions, telemetry, streamed answers, provisioned concurrency, a reserved concurrency of
//! zero, the age of events and limits of memory are not there. A role that may not write logs
//! loses them.

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

/// The most that an event may be, by
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const SYNCHRONOUS: usize = 6 * 1_024 * 1_024;
const ASYNCHRONOUS: usize = 1_024 * 1_024;

/// A function, as its deployment describes it.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The bootstrap.
    pub program: PathBuf,
    /// What the process finds in `_HANDLER`.
    pub handler: String,
    /// Its own environment variables.
    pub environment: BTreeMap<String, String>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Told to the process, not enforced.
    pub memory_mb: u32,
    /// The account it is in.
    pub account: String,
    /// The region it is in.
    pub region: String,
    /// How often a failed asynchronous invocation is tried again, at most 2.
    pub retries: u32,
    /// The ARN of its dead-letter queue.
    pub dead_letter: Option<String>,
    /// The ARN of its destination on failure.
    pub on_failure: Option<String>,
    /// How many of its invocations may run at a time.
    pub reserved_concurrency: Option<u32>,
}

impl Function {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }
}

/// What an invocation came to.
#[derive(Debug)]
pub struct Invoked {
    /// The same for each attempt of an asynchronous invocation.
    pub request_id: String,
    /// The answer, or what `errorType` and `errorMessage` say.
    pub payload: Value,
    /// The type of the error, if it failed.
    pub error: Option<String>,
    /// What the process wrote during it.
    pub log: String,
    /// From spawning the process to its first `GET /next`, if it had to be.
    pub cold_start: Option<Duration>,
    /// From handing out the event to its answer.
    pub duration: Duration,
    /// The most memory that its process has held since it was spawned, in bytes; none where
    /// the system does not say, or the process has ended.
    pub max_memory: Option<u64>,
}

/// Why there was no invocation.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum InvokeError {
    /// There is no such function.
    #[error("Function not found: {0}")]
    NotFound(String),
    /// Its reserved concurrency is used up.
    #[error("Rate Exceeded: {0} runs as often as it may at a time")]
    Throttled(String),
    /// The event is too large.
    #[error("{0} bytes are more than the {1} that an event may have")]
    TooLarge(usize, usize),
}

impl InvokeError {
    /// Its name in the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::Throttled(_) => "TooManyRequestsException",
            Self::TooLarge(..) => "RequestTooLargeException",
        }
    }

    /// Its status in the API.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Throttled(_) => 429,
            Self::TooLarge(..) => 413,
        }
    }
}

/// What is sent when an asynchronous invocation has failed for good.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where to.
    pub arn: String,
    /// The event, or to a destination the record of its invocation.
    pub body: Value,
    /// What a dead letter says of the failure beside its body.
    pub attributes: BTreeMap<&'static str, String>,
    /// The name of the function.
    pub function: String,
}

/// A dead letter on its way.
pub type Posted = Pin<Box<dyn Future<Output = ()> + Send>>;
type Post = dyn Fn(DeadLetter) -> Posted + Send + Sync;

/// The functions, shared by whoever clones it. Their processes end with the last of them.
#[derive(Clone)]
pub struct Lambda(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    post: Box<Post>,
    /// Whether the role of a function lets Lambda write its log.
    may_log: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Rings when an environment is free or an asynchronous invocation is over.
    changed: Notify,
}

struct State {
    functions: BTreeMap<String, Deployed>,
    /// What ends the environments that are at work, by their ID.
    at_work: BTreeMap<String, Arc<Notify>>,
    /// The asynchronous invocations that are under way or wait for their retry.
    pending: usize,
    retry_after: [Duration; 2],
    numbered: u64,
}

struct Deployed {
    function: Arc<Function>,
    idle: Vec<Environment>,
    busy: u32,
    log: String,
}

impl Lambda {
    /// `post` takes what asynchronous invocations end in, and `may_log` knows the roles.
    pub fn new(
        post: impl Fn(DeadLetter) -> Posted + Send + Sync + 'static,
        may_log: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            functions: BTreeMap::new(),
            at_work: BTreeMap::new(),
            pending: 0,
            // Lambda's own: a minute, then two.
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

    /// Sets how long a failed asynchronous invocation waits for its second and third attempt.
    pub fn retry_after(&self, delays: [Duration; 2]) {
        self.state().retry_after = delays;
    }

    /// How long a message that failed waits in its queue.
    pub(crate) fn retry_delay(&self) -> Duration {
        self.state().retry_after[0]
    }

    /// Begins something that [`Lambda::settled`] waits for, until it is dropped.
    pub(crate) fn begin(&self) -> Pending {
        self.state().pending += 1;
        Pending(self.clone())
    }

    /// Makes a function, or makes it anew, which ends its processes that are not at work.
    pub fn create(&self, function: Function) {
        let name = function.name.clone();
        let mut state = self.state();
        let log = state.functions.remove(&name).map(|before| before.log).unwrap_or_default();
        let deployed = Deployed { function: Arc::new(function), idle: Vec::new(), busy: 0, log };
        state.functions.insert(name, deployed);
    }

    /// Deletes a function.
    pub fn delete(&self, name: &str) {
        self.state().functions.remove(name);
    }

    /// The functions' names.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        self.state().functions.keys().cloned().collect()
    }

    /// A function as it was deployed.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        self.state().functions.get(name).map(|it| (*it.function).clone())
    }

    /// What a function has logged, all of it.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.state().functions.get(name).map(|it| it.log.clone()).unwrap_or_default()
    }

    /// Runs a function and waits for what comes of it.
    pub async fn invoke(&self, name: &str, event: Value) -> Result<Invoked, InvokeError> {
        let body = checked(&event, SYNCHRONOUS)?;
        let (lambda, name, id) = (self.clone(), name.to_owned(), self.next_id());
        // A task of its own: the function goes on when its caller has gone.
        let attempt = tokio::spawn(async move { lambda.attempt(&name, &id, &body).await });
        match attempt.await {
            Ok(invoked) => invoked,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Queues an event, and gives the ID that each attempt at it will have.
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
            pending.0.see_through(&name, &request_id, &body, &event, retries).await;
        });
        Ok(id)
    }

    /// All attempts at an asynchronous invocation, and its end.
    async fn see_through(&self, name: &str, id: &str, body: &str, event: &Value, retries: u32) {
        let mut attempt = 0;
        loop {
            let changed = self.0.changed.notified();
            match self.attempt(name, id, body).await {
                // What is throttled stays queued, and has not been tried.
                Err(InvokeError::Throttled(_)) => changed.await,
                // The function is gone, and the event with it; or it is done.
                Err(_) | Ok(Invoked { error: None, .. }) => return,
                Ok(failed) if attempt >= retries => {
                    self.give_up(name, &failed, event, attempt + 1).await;
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

    /// Sends a failed event to the dead-letter queue, and the record of it to the destination.
    async fn give_up(&self, name: &str, failed: &Invoked, event: &Value, attempts: u32) {
        let Some(function) = self.state().functions.get(name).map(|it| it.function.clone()) else {
            return;
        };
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

    /// One attempt, in an environment that is free or a new one.
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
            // One that has ended since it was last at work is of no use.
            deployed.idle.retain_mut(Environment::is_alive);
            (deployed.function.clone(), deployed.idle.pop(), number)
        };
        let end = Arc::new(Notify::new());
        let environment_id =
            idle.as_ref().map_or_else(|| format!("{name}/{number}"), |it| it.id.clone());
        self.state().at_work.insert(environment_id.clone(), end.clone());
        let (invoked, left) =
            environment::invoke(idle, &environment_id, &function, id, body, &end).await;
        let may_log = (self.0.may_log)(name);
        {
            let mut state = self.state();
            state.at_work.remove(&environment_id);
            if let Some(deployed) = state.functions.get_mut(name) {
                if may_log {
                    deployed.log.push_str(&invoked.log);
                }
                // A function that was made anew meanwhile has nothing to do with this.
                if Arc::ptr_eq(&deployed.function, &function) {
                    deployed.busy -= 1;
                    deployed.idle.extend(left);
                }
            }
        }
        self.0.changed.notify_waiters();
        Ok(invoked)
    }

    /// Waits until no asynchronous invocation is under way or waits for its retry.
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

    /// Kills the process whose session token this is, if it is at work, and waits until it
    /// has ended.
    pub async fn kill(&self, environment: &str) -> bool {
        let Some(end) = self.state().at_work.get(environment).cloned() else { return false };
        end.notify_one();
        loop {
            let changed = self.0.changed.notified();
            if !self.state().at_work.contains_key(environment) {
                return true;
            }
            changed.await;
        }
    }

    /// Ends the processes that are not at work.
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

/// An asynchronous invocation that is over when this is dropped, however that comes about.
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

/// The event's text, if it is not too large.
fn checked(event: &Value, most: usize) -> Result<String, InvokeError> {
    let body = event.to_string();
    if body.len() > most { Err(InvokeError::TooLarge(body.len(), most)) } else { Ok(body) }
}
