//! An AWS in memory, on a port or behind the SDK's HTTP client.
//!
//! It answers as the service models and the documentation say, with the services' own
//! errors; what it does not serve is answered as an unknown operation, never as an empty
//! success. Every call is recorded, and any call can be made to fail.
//!
//! In reading order: [`Called`] says what was called, `dispatch` whose it is and what goes
//! wrong with it; [`ecr`] is Amazon ECR, `distribution` the protocol that images are pushed
//! in, `replication` the way from registry to registry, [`iam`], [`services`] and [`inspector`] what is beside it; [`policy`] evaluates policies,
//! [`authorization`] judges each call by them; [`lambda`] runs functions
//! as processes, [`pattern`] decides which event is theirs, `delivery` brings it;
//! [`cloudformation`] puts a [`template`] here; [`slack`] is no AWS, but where alerts go;
//! `trouble` is what befalls a call; [`world`] deploys our own stack here for a test;
//! [`snippets`] reads the commands of the documentation; [`server`] is the port, `connector` the same without one.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "it serves tests, which end when something is off"
)]

pub mod authorization;
mod call;
pub mod cloudformation;
mod connector;
mod delay;
mod delivery;
mod dispatch;
mod distribution;
pub mod ecr;
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
/// What a custom resource answers to.
pub const RESPONSE_URL: &str = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3Aus-east-1%3A123456789012%3Astack/warden/example%7CRepository%7Cexample?AWSAccessKeyId=AKIDEXAMPLE&Expires=1800000000&Signature=%2Bmarked-secret%2Fsignature%3D";

/// Everything there is.
#[derive(Default)]
pub struct State {
    registries: BTreeMap<(String, String), Registry>,
    /// AWS IAM.
    pub iam: iam::Iam,
    /// The stacks that were deployed.
    pub stacks: Vec<cloudformation::stacks::DeployedStack>,
    /// What was sent to [`RESPONSE_URL`] and taken.
    pub answers: Vec<Value>,
    /// The calls, in order; an answer to CloudFormation is called `Answer`.
    pub calls: Vec<Called>,
    /// What EventBridge was told, in order.
    pub events: Vec<Value>,
    /// What was published, one for each subscriber, in order.
    pub deliveries: Vec<services::Delivery>,
    /// What no queue and no function took: the ARN it was for, and its text.
    pub undelivered: Vec<(String, String)>,
    /// What brings events of [`ACCOUNT`] in [`REGION`] to functions.
    pub rules: Vec<Rule>,
    /// What runs functions when [`LocalAws::fire_schedules`] says that it is due.
    pub schedules: Vec<cloudformation::Schedule>,
    /// Each request of a role that was judged, with its verdict.
    pub judgements: BTreeSet<authorization::Judgement>,
    /// The policies of topics, queues and keys, by ARN.
    pub resource_policies: BTreeMap<String, Vec<policy::Document>>,
    /// The customer's key that encrypts a topic or a secret, by the ARN of either.
    pub keys: BTreeMap<String, String>,
    /// The role of each function.
    roles: BTreeMap<String, authorization::FunctionRole>,
    /// The events that wait for the way to their dead-letter queues.
    undelivered_events: Vec<authorization::UndeliveredEvent>,
    /// The events that wait for the way to the queues of their rules.
    queued_events: Vec<queue::QueuedEvent>,
    /// The function that a queue runs, by the ARN of the queue.
    event_sources: BTreeMap<String, queue::EventSource>,
    /// The dead-letter queue of a queue, by the ARN of the queue.
    redrives: BTreeMap<String, queue::Redrive>,
    /// The ARN of the dead-letter queue of the subscription of a function, by the function's ARN.
    redrive: BTreeMap<String, String>,
    /// How many requests CloudFormation has sent.
    requests: u64,
    /// The time, where it was set.
    clock: Option<Time>,
    faults: fault::Faults,
    /// How long each call takes, where that was set.
    delays: Option<delay::Delays>,
}

/// A rule of EventBridge: events that match go to the target.
#[derive(Debug)]
pub struct Rule {
    /// The name of the rule.
    pub name: String,
    /// What it lets through.
    pub pattern: Pattern,
    /// The function or the queue that receives the events.
    pub target: RuleTarget,
    /// The ARN of the queue of the events that do not reach the target.
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
    /// Whether the rule brings events to this function, by the function's name.
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
        arn.or_else(|| self.roles.get(function).map(|role| role.arn.clone()))
    }
}

/// An AWS, shared by whoever clones it.
#[derive(Clone, Default)]
pub struct LocalAws(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    services: Services,
    slack: slack::Slack,
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

    /// Makes each call from now on take a time within this range, which the seed determines.
    pub fn delay_calls(&self, seed: u64, range: Range<Duration>) {
        self.state().delays = Some(delay::Delays::new(seed, range));
    }

    /// Makes calls take no time again.
    pub fn end_delays(&self) {
        self.state().delays = None;
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
        self.by_hand_in((ACCOUNT, REGION), operation, input)
    }

    /// The same in the registry of an account in a region.
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

    /// Slack, which is at [`slack::HOST`] for clients in this process.
    #[must_use]
    pub fn slack(&self) -> &slack::Slack {
        &self.0.slack
    }

    /// What runs functions.
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

    /// Where [`LocalAws::serve`] serves.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        self.0.endpoint.get().cloned()
    }

    fn set_endpoint(&self, endpoint: &str) {
        // The first port is what layers are downloaded from.
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
