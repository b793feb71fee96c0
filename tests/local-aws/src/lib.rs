//! An embedded AWS, which runs in the memory of a test, on a port or behind the SDK's HTTP client.
//!
//! It answers as the service models and the documentation specify, with the errors of the services.
//! An operation that it does not serve fails as an unknown operation and never succeeds with an
//! empty answer. It records every call, and a test can make any call fail.
//!
//! The modules, in reading order:
//!
//! - `call` reads a request as a [`Called`], and `dispatch` passes it to its service or applies a
//!   [`Fault`]; [`FaultScenario`] combines faults.
//! - [`ecr`] is Amazon ECR, `distribution` the protocol of registries, `replication` the copying
//!   between registries. [`iam`], [`alarms`], [`services`] and [`inspector`] are the other services.
//! - [`policy`] evaluates policies, and [`authorization`] decides each call by them.
//! - [`lambda`] runs functions as processes, [`pattern`] matches events with rules, and `delivery`
//!   delivers the events.
//! - [`cloudformation`] deploys a [`template`], and [`world`] deploys the stack of this project for
//!   a test. [`slack`] receives Slack messages.
//! - [`snippets`] reads the commands of the documentation.
//! - [`server`] listens on a port, and `connector` connects clients without a port.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends when the embedded AWS finds a mistake"
)]

pub mod alarms;
pub mod authorization;
mod call;
pub mod cloudformation;
mod connector;
mod delay;
mod delivery;
mod dispatch;
mod distribution;
pub mod ecr;
pub mod event_bus;
mod fault;
mod fault_scenario;
pub mod iam;
pub mod inspector;
pub mod lambda;
pub mod log;
pub mod pattern;
pub mod policy;
mod query;
mod queue;
mod replication;
pub mod sample;
pub mod server;
pub mod services;
pub mod slack;
pub mod snippets;
pub mod template;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::Notify;

use ecr::{Registry, Time};
use lambda::Lambda;
use pattern::Pattern;
use services::Services;

pub use call::Called;
pub use fault::Fault;
pub use fault_scenario::FaultScenario;

/// The account of callers that name no other.
pub const ACCOUNT: &str = "123456789012";
/// The region of callers that name no other.
pub const REGION: &str = "us-east-1";
/// The URL to which a custom resource sends its answer.
pub const RESPONSE_URL: &str = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3Aus-east-1%3A123456789012%3Astack/warden/example%7CRepository%7Cexample?AWSAccessKeyId=AKIDEXAMPLE&Expires=1800000000&Signature=%2Bmarked-secret%2Fsignature%3D";

/// The state of all services.
#[derive(Default)]
pub struct State {
    registries: BTreeMap<(String, String), Registry>,
    /// The policies and roles of AWS IAM.
    pub iam: iam::Iam,
    /// The deployed stacks.
    pub stacks: Vec<cloudformation::stacks::DeployedStack>,
    /// The accepted answers to [`RESPONSE_URL`].
    pub answers: Vec<Value>,
    /// The calls, in order. The operation of an answer to CloudFormation is `Answer`.
    pub calls: Vec<Called>,
    /// The bytes in the bodies of all requests. Headers are not counted.
    pub sent_bytes: usize,
    /// The bytes in the bodies of all answers.
    pub received_bytes: usize,
    /// The events that EventBridge received, in order.
    pub events: Vec<Value>,
    /// The events that each bus of a stack received, in order, by the name of the bus.
    pub event_buses: BTreeMap<String, Vec<Value>>,
    /// The published messages, one for each subscriber, in order.
    pub deliveries: Vec<services::Delivery>,
    /// The messages that no queue and no function accepted: the ARN of the target, and the text.
    pub undelivered: Vec<(String, String)>,
    /// The rules for the events of [`ACCOUNT`] in [`REGION`].
    pub rules: Vec<Rule>,
    /// The schedules, which run functions when a test calls [`LocalAws::fire_schedules`].
    pub schedules: Vec<cloudformation::Schedule>,
    /// Each decided request of a role, with the decision.
    pub judgements: BTreeSet<authorization::Judgement>,
    /// The policies of topics, queues and keys, by ARN.
    pub resource_policies: BTreeMap<String, Vec<policy::Document>>,
    /// The alarms, by name.
    pub alarms: BTreeMap<String, alarms::Alarm>,
    /// The customer managed key of a topic or a secret, by the ARN of the topic or secret.
    pub keys: BTreeMap<String, String>,
    /// The role of each function.
    roles: BTreeMap<String, authorization::FunctionRole>,
    /// The events that are to be sent to dead-letter queues.
    undelivered_events: Vec<authorization::UndeliveredEvent>,
    /// The events that are to be sent to the queues of rules.
    queued_events: Vec<queue::QueuedEvent>,
    /// The messages that wait for their delay.
    delayed_messages: Vec<queue::DelayedMessage>,
    /// The function that a queue runs, by the ARN of the queue.
    event_sources: BTreeMap<String, queue::EventSource>,
    /// The dead-letter queue of a queue, by the ARN of the queue.
    redrives: BTreeMap<String, queue::Redrive>,
    /// The ARN of the dead-letter queue of the subscription of a function, by the function's ARN.
    redrive: BTreeMap<String, String>,
    /// The number of requests that CloudFormation has sent.
    requests: u64,
    /// The time, where a test has set the clock.
    clock: Option<Time>,
    faults: fault::Faults,
    /// The duration of each call, where a test has set a delay.
    delays: Option<delay::Delays>,
}

/// A rule of EventBridge: the target receives the events that match the pattern.
#[derive(Debug)]
pub struct Rule {
    /// The name of the rule.
    pub name: String,
    /// The pattern of the events.
    pub pattern: Pattern,
    /// The function or the queue that receives the events.
    pub target: RuleTarget,
    /// The ARN of the dead-letter queue, which receives the events that do not reach the target.
    pub dead_letter: Option<String>,
}

/// The target of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleTarget {
    /// A function, by its name.
    Function(String),
    /// A queue, by its ARN.
    Queue(String),
}

impl Rule {
    /// Whether the target of the rule is the function of this name.
    #[must_use]
    pub fn is_for(&self, function: &str) -> bool {
        matches!(&self.target, RuleTarget::Function(name) if name == function)
    }
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

    /// The time: the system's, unless a test has set the clock.
    #[must_use]
    pub fn now(&self) -> Time {
        let system = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock.unwrap_or_else(|| system().as_secs_f64())
    }

    /// Stops the clock at a time, or resets it to the system's time.
    pub fn set_clock(&mut self, time: Option<Time>) {
        self.clock = time;
    }

    /// The ARN of a caller. The token is the ARN itself, or the token of a function's process.
    fn principal(&self, called: &Called) -> Option<String> {
        let token = called.token.as_deref()?;
        let function = token.split('/').next().unwrap_or_default();
        let arn = token.starts_with("arn:").then(|| token.to_owned());
        arn.or_else(|| self.roles.get(function).map(|role| role.arn.clone()))
    }
}

/// An embedded AWS. Clones share its state.
#[derive(Clone, Default)]
pub struct LocalAws(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    services: Services,
    slack: slack::Slack,
    endpoint: OnceLock<String>,
    lambda: OnceLock<Lambda>,
    /// Notifies of each answer to CloudFormation.
    answered: Notify,
}

impl LocalAws {
    /// The state, which a test may read and change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a fault to the `nth` (from 1) call of `operation` from now on, or to each call if
    /// `nth` is 0.
    pub fn fault(&self, operation: &str, nth: usize, fault: Fault) {
        self.state().faults.add(operation, nth, fault);
    }

    /// Delays each call from now on by a time within this range, which the seed determines.
    pub fn delay_calls(&self, seed: u64, range: Range<Duration>) {
        self.state().delays = Some(delay::Delays::new(seed, range));
    }

    /// Ends the delays.
    pub fn end_delays(&self) {
        self.state().delays = None;
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// The operations since the last time that change a resource, including those that failed.
    #[must_use]
    pub fn take_changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.state().calls);
        let reads =
            ["Describe", "Get", "List", "BatchGet", "StartLifecyclePolicyPreview", "Answer"];
        let operations = calls.into_iter().map(|called| called.operation);
        operations.filter(|call| !reads.iter().any(|read| call.starts_with(read))).collect()
    }

    /// Calls ECR as an operator does. The call is not recorded, and no fault applies to it.
    pub fn by_hand(&self, operation: &str, input: &Value) -> Result<Value, ecr::Error> {
        self.by_hand_in((ACCOUNT, REGION), operation, input)
    }

    /// Calls ECR as an operator does, in the registry of an account in a region.
    pub fn by_hand_in(
        &self,
        place: (&str, &str),
        operation: &str,
        input: &Value,
    ) -> Result<Value, ecr::Error> {
        let served = {
            let mut state = self.state();
            let call = ecr::Call { operation, principal: None, now: state.now(), endpoint: "" };
            state.serve_ecr(place, &call, input)
        };
        self.deliver();
        served
    }

    /// Moves the clock and stops it at the new time. ECR then does the work of that time: it carries
    /// out lifecycle policies once, at the new time.
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

    /// The services other than ECR and IAM.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.0.services
    }

    /// Slack. Clients in this process reach it at [`slack::HOST`].
    #[must_use]
    pub fn slack(&self) -> &slack::Slack {
        &self.0.slack
    }

    /// AWS Lambda, which runs the functions.
    #[must_use]
    pub fn lambda(&self) -> &Lambda {
        self.0.lambda.get_or_init(|| {
            let (inner, of_log) = (Arc::downgrade(&self.0), Arc::downgrade(&self.0));
            let post = move |letter: lambda::DeadLetter| {
                let aws = inner.upgrade().map(Self);
                let posted: lambda::Posted = Box::pin(async move {
                    if let Some(aws) = aws {
                        aws.post(&letter).await;
                    }
                });
                posted
            };
            let may_log = move |function: &str| {
                of_log.upgrade().is_none_or(|aws| Self(aws).may_log(function))
            };
            Lambda::new(post, may_log)
        })
    }

    /// The endpoint of [`LocalAws::serve`].
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        self.0.endpoint.get().cloned()
    }

    fn set_endpoint(&self, endpoint: &str) {
        // The URL of a layer contains the first endpoint.
        let _ = self.0.endpoint.set(endpoint.to_owned());
    }
}

impl std::fmt::Debug for LocalAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalAws")
    }
}

/// The ARN of a resource of [`ACCOUNT`] in [`REGION`].
fn local_arn(service: &str, rest: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}")
}
