//! The custom resources against an AWS in memory, with requests as CloudFormation sends them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod envelope;
mod governance;
mod lifecycle;
mod matrix;
mod privileges;
mod pull;
mod push_pull;
mod removal;
mod repository;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use custom_resource::config::Config;
use custom_resource::{Context, handle};
use local_aws::LocalAws;
use local_aws::ecr::DAY;
use local_aws::iam::Role;
use local_aws::world::{self, NOW, create_ledger, take_role};
use serde_json::{Value, json};
use warden_aws::Invocation;

/// A function with its AWS, and the requests of `events/custom-resource`.
struct Function {
    aws: LocalAws,
    context: Arc<Context>,
}

impl Function {
    async fn new() -> Self {
        local_aws::log::collect();
        let aws = LocalAws::default();
        create_ledger(&aws, "warden", POLICY_VERSION, &REPORT).await;
        {
            let mut state = aws.state();
            state.set_clock(Some(NOW));
            state.begin_stack("warden", STACK_ID, "UPDATE_IN_PROGRESS");
        }
        let sdk = take_role(&aws, "warden", &[], "CustomResourceRole").unwrap();
        let context = Arc::new(Context::new(config(), &sdk).unwrap());
        Self { aws, context }
    }

    /// Sets the status of the stack.
    fn set_stack_status(&self, status: &str) {
        self.aws.state().set_stack_status(STACK_ID, status);
    }

    /// Records the event that CloudFormation records before it sends a request of the stack.
    fn record_request(&self, request: &Value) {
        if request["StackId"] == STACK_ID {
            self.aws.state().record_request(request);
        }
    }

    /// Carries out a request that CloudFormation sent, with so many seconds until the deadline.
    async fn handle(&self, request: &Value, seconds: u64) {
        self.record_request(request);
        change_role(&self.aws, request);
        handle(&self.context, request, &invocation(&self.aws, Duration::from_secs(seconds))).await;
    }

    /// Carries out a request that CloudFormation sent, and returns its only answer.
    async fn answer(&self, request: &Value) -> Value {
        self.handle(request, TIME_LEFT.as_secs()).await;
        let answer = self.taken_answer(request);
        if request["StackId"] == STACK_ID {
            self.aws.state().record_answer(request, Some(&answer));
        }
        answer
    }

    /// Carries out a request that somebody else sent, and returns the answer.
    async fn answer_forged(&self, request: &Value) -> Value {
        change_role(&self.aws, request);
        handle(&self.context, request, &invocation(&self.aws, TIME_LEFT)).await;
        self.taken_answer(request)
    }

    fn taken_answer(&self, request: &Value) -> Value {
        let mut answers = std::mem::take(&mut self.aws.state().answers);
        assert_eq!(answers.len(), 1, "{answers:#?}");
        let answer = answers.remove(0);
        assert!(answer.to_string().len() <= 4_096);
        for field in ["StackId", "RequestId", "LogicalResourceId"] {
            assert_eq!(answer[field], request[field]);
        }
        answer
    }

    async fn succeed(&self, request: &Value) -> Value {
        let answer = self.answer(request).await;
        assert_eq!(answer["Status"], "SUCCESS", "{answer:#}");
        answer
    }

    /// Carries out a request that must fail, and returns the reason.
    async fn fail(&self, request: &Value) -> String {
        let answer = self.answer(request).await;
        assert_eq!(answer["Status"], "FAILED", "{answer:#}");
        answer["Reason"].as_str().unwrap().to_owned()
    }
}

/// The time that an invocation has in most tests.
const TIME_LEFT: Duration = Duration::from_secs(240);

/// An invocation that starts now, with this time until the deadline.
fn invocation(aws: &LocalAws, time_left: Duration) -> Invocation {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let now = DateTime::from_timestamp(aws.state().now() as i64, 0).unwrap();
    Invocation { request_id: String::new(), now, time_left }
}

/// The roles of CI that the requests name.
fn ci_roles() -> [(String, Role); 2] {
    let github = Role { path: "/ci/".to_owned(), ..Role::default() };
    [("github-actions".to_owned(), github), ("gitlab".to_owned(), Role::default())]
}

/// Changes the role of the function to that of a stack whose parameters have these properties, as
/// CloudFormation does before it sends a request. A Delete changes no role.
fn change_role(aws: &LocalAws, request: &Value) {
    if request["RequestType"] == "Delete" {
        return;
    }
    let properties = &request["ResourceProperties"];
    let roles = properties["AttachToRoleArns"].as_array().into_iter().flatten();
    let roles = roles.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let name = properties["RepositoryName"].as_str();
    let parameters = [
        // The other repository has this name already.
        ("InfrastructureRepositoryName", name.filter(|name| *name != "deployments")),
        ("KmsKeyArn", properties["KmsKey"].as_str()),
        ("CiCdRoleArns", Some(roles.as_str()).filter(|roles| !roles.is_empty())),
    ];
    let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    // A parameter that the template refuses changes no role.
    let _ = take_role(aws, "warden", &parameters.collect::<Vec<_>>(), "CustomResourceRole");
}

/// A request of `events/custom-resource`.
fn event(name: &str) -> Value {
    world::event("custom-resource", name)
}

/// The request with a value set at a dotted path. Null removes the value.
fn with(mut request: Value, path: &str, value: impl Into<Value>) -> Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let object = request.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Value::Null => object.remove(name),
        value => object.insert(name.to_owned(), value),
    };
    request
}

/// The update that follows `created`, with one property changed.
fn update(created: &Value, physical_id: &Value, property: &str, value: impl Into<Value>) -> Value {
    let mut request = with(created.clone(), "RequestType", "Update");
    request["PhysicalResourceId"] = physical_id.clone();
    request["OldResourceProperties"] = request["ResourceProperties"].clone();
    with(request, &format!("ResourceProperties.{property}"), value)
}

/// The roll-back of an update, with the new and the old properties exchanged.
fn rolled_back(update: &Value) -> Value {
    let mut request = update.clone();
    request["ResourceProperties"] = update["OldResourceProperties"].clone();
    request["OldResourceProperties"] = update["ResourceProperties"].clone();
    request
}

/// The Delete of the resource that `answer` names.
fn delete(request: &Value, answer: &Value) -> Value {
    let mut request = with(request.clone(), "RequestType", "Delete");
    request["PhysicalResourceId"] = answer["PhysicalResourceId"].clone();
    with(request, "OldResourceProperties", Value::Null)
}

/// The stack of the requests in `events/custom-resource`.
const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3";
/// The version of the policy that the requests of repositories name. Its rules report.
const POLICY_VERSION: &str = "0123456789abcdef";
const REPORT: [(&str, &str); 2] =
    [("*.Tags.Enforcement", "report"), ("*.Retention.Enforcement", "report")];
/// The repository of `create-infrastructure`.
const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure";
/// The physical ID of a resource that was never created.
const NOTHING_MADE: &str = "ecr-warden:nothing-made";

/// The names of all repositories.
fn names(function: &Function) -> Vec<String> {
    function.aws.state().ecr().repositories.keys().cloned().collect()
}

/// Pushes an image to `infrastructure`, a day ago, and returns its digest.
fn push(function: &Function, tag: &str) -> String {
    let mut state = function.aws.state();
    state.ecr().push_made_up("infrastructure", &[tag], NOW - DAY).unwrap()
}

/// Pushes sixty images to `infrastructure`. The newest is `v1.0.0`, pushed a day ago.
fn push_sixty(function: &Function) {
    for n in 0..60 {
        let mut state = function.aws.state();
        let at = NOW - DAY - f64::from(n);
        state.ecr().push_made_up("infrastructure", &[&format!("v1.0.{n}")], at).unwrap();
    }
}

/// The configuration of the function in that stack.
fn config() -> Config {
    let variables = [
        ("STACK_ID", STACK_ID),
        ("URL_SUFFIX", "amazonaws.com"),
        ("LEDGER_TABLE", "warden-Ledger"),
    ];
    Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

/// Creates repositories that belong to the stack.
fn own(aws: &LocalAws, names: &[&str]) {
    let owner = json!({"Key": "ecr-warden:owner", "Value": format!("{STACK_ID}/Repository")});
    for name in names {
        let input = json!({"repositoryName": name, "tags": [owner]});
        aws.by_hand("CreateRepository", &input).unwrap();
    }
}

/// Creates a repository that does not belong to the stack.
fn foreign(function: &Function, name: &str) {
    function.aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
}

/// The number of calls of AWS, without the answers to CloudFormation.
fn calls(function: &Function) -> usize {
    function.aws.state().calls.iter().filter(|call| call.operation != "Answer").count()
}
