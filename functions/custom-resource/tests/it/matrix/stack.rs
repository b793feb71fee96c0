//! CloudFormation's part in the life of one custom resource, by
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-requesttypes.html>:
//! the requests that it sends, the answer that it accepts, and its steps after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use custom_resource::{Context, handle};
use local_aws::world::{create_ledger, take_role};
use local_aws::{Called, FaultScenario, LocalAws};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{is_out_of_time, lasts, leaves_an_answer};
use crate::{NOW, POLICY_VERSION, REPORT, STACK_ID, change_role, ci_roles, invocation, own};

/// The function's timeout.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The time after which a process is killed that only waits for a call without an answer.
const KILLED_AT: Duration = Duration::from_secs(5);
/// The time for which a late copy is verified before it is answered, with some room.
const VERIFIED_FOR: Duration = Duration::from_secs(31);
/// The remaining time of a function that runs out of time. Half of this time is reserved for the answer,
/// so the work ends before any call reaches its own timeout.
const SHORT: Duration = Duration::from_secs(12);
/// The time after which a second copy of a request arrives, if the first copy waits.
const OVERTAKES_AT: Duration = Duration::from_millis(500);

/// The call that fails: the number of the request, and the number of the call of its operation.
#[derive(Clone, Debug)]
pub struct Point {
    pub request: usize,
    pub call: Called,
    pub nth: usize,
    pub trouble: FaultScenario,
}

/// A stack with one resource, in an AWS.
pub struct Stack {
    pub aws: LocalAws,
    /// The configuration of the function's clients.
    sdk: SdkConfig,
    create: Value,
    /// The resource: its physical ID and its last properties.
    resource: Option<(String, Value)>,
    /// The requests, in order.
    pub sent: Vec<Value>,
    /// The calls of each request.
    pub calls: Vec<Vec<Called>>,
    /// The accepted answers, by the ID of the request.
    pub answers: BTreeMap<String, Vec<Value>>,
    pub point: Option<Point>,
    /// Whether a request of the last step was not answered.
    pub timed_out: bool,
    /// The violations that were found.
    pub broken: Vec<String>,
}

/// A runtime for one attempt. The runtime ends with the attempt, and stops its tasks.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

impl Stack {
    /// A stack whose resource is created by this request.
    pub fn new(create: &Value, point: Option<Point>) -> Self {
        let aws = LocalAws::default();
        runtime().block_on(create_ledger(&aws, "warden", POLICY_VERSION, &REPORT));
        {
            let mut state = aws.state();
            state.set_clock(Some(NOW));
            state.begin_stack("warden", STACK_ID, "CREATE_IN_PROGRESS");
            state.iam.roles.extend(ci_roles());
        }
        if create["ResourceType"] == "Custom::EcrPushPullPolicy" {
            own(&aws, &["apps", "deployments", "infrastructure"]);
        }
        let sdk = take_role(&aws, "warden", &[], "CustomResourceRole").unwrap();
        let (resource, sent, calls, answers) = (None, Vec::new(), Vec::new(), BTreeMap::new());
        let (broken, timed_out) = (Vec::new(), false);
        let create = create.clone();
        Self { aws, sdk, create, resource, sent, calls, answers, point, timed_out, broken }
    }

    /// Creates the resource, or rolls back. Returns whether the resource exists.
    pub fn create(&mut self, properties: &Value) -> bool {
        let mut request = self.create.clone();
        request["ResourceProperties"] = properties.clone();
        let (made, id) = self.ask("CREATE_IN_PROGRESS", request.clone());
        if made {
            self.resource = Some((id, properties.clone()));
        } else {
            request["RequestType"] = "Delete".into();
            request["PhysicalResourceId"] = id.into();
            self.must("ROLLBACK_IN_PROGRESS", &request);
        }
        made
    }

    /// Changes the resource, or rolls back. Returns whether the resource changed.
    pub fn update(&mut self, properties: &Value) -> bool {
        let Some((id, before)) = self.resource.clone() else { return false };
        let mut request = self.create.clone();
        request["RequestType"] = "Update".into();
        request["PhysicalResourceId"] = id.clone().into();
        request["ResourceProperties"] = properties.clone();
        request["OldResourceProperties"] = before.clone();
        let (changed, new) = self.ask("UPDATE_IN_PROGRESS", request.clone());
        if changed {
            self.resource = Some((new.clone(), properties.clone()));
        } else {
            let mut back = request.clone();
            back["ResourceProperties"] = before.clone();
            back["OldResourceProperties"] = properties.clone();
            self.must("UPDATE_ROLLBACK_IN_PROGRESS", &back);
        }
        // Another physical ID means another resource, and CloudFormation deletes the old resource.
        if new != id {
            let (id, properties) = if changed { (id, &before) } else { (new, properties) };
            let mut request = self.create.clone();
            request["RequestType"] = "Delete".into();
            request["PhysicalResourceId"] = id.into();
            request["ResourceProperties"] = properties.clone();
            self.must("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", &request);
        }
        changed
    }

    /// Deletes the resource. Returns whether CloudFormation reports success.
    pub fn delete(&mut self) -> bool {
        let Some((id, properties)) = self.resource.clone() else { return true };
        let mut request = self.create.clone();
        request["RequestType"] = "Delete".into();
        request["PhysicalResourceId"] = id.into();
        request["ResourceProperties"] = properties;
        let (gone, _) = self.ask("DELETE_IN_PROGRESS", request);
        if gone {
            self.resource = None;
        }
        gone
    }

    /// Delivers the request with this number again. Returns whether the answer equals the first answer.
    pub fn again(&mut self, number: usize) -> bool {
        let request = self.sent[number].clone();
        // No operation of the stack is in progress now.
        self.aws.state().set_stack_status(STACK_ID, "UPDATE_COMPLETE");
        let first = self.answers[request["RequestId"].as_str().unwrap()].first().cloned();
        self.deliver(&request) == first
    }

    /// Sends a request that must succeed, at the latest without failures.
    fn must(&mut self, status: &str, request: &Value) {
        for _ in 0..2 {
            if self.ask(status, request.clone()).0 {
                return;
            }
            self.heal();
        }
        self.broken.push(format!("{status} fails for good"));
    }

    /// Ends the failures.
    pub fn heal(&mut self) {
        self.aws.heal();
        self.point = None;
    }

    /// Sends a request. Returns whether the request succeeded, and the physical ID of the resource.
    fn ask(&mut self, status: &str, mut request: Value) -> (bool, String) {
        self.aws.state().set_stack_status(STACK_ID, status);
        let number = self.sent.len();
        request["RequestId"] = format!("00000000-0000-4000-8000-{number:012}").into();
        let own = request["PhysicalResourceId"].as_str().map(str::to_owned);
        self.sent.push(request.clone());
        self.aws.state().record_request(&request);
        let answer = self.deliver(&request);
        self.aws.state().record_answer(&request, answer.as_ref());
        match answer {
            Some(answer) => {
                let id = answer["PhysicalResourceId"].as_str().unwrap().to_owned();
                (answer["Status"] == "SUCCESS", id)
            }
            // CloudFormation waited for `ServiceTimeout`. A resource without an answer to its Create has a
            // physical ID that CloudFormation makes up.
            None => (false, own.unwrap_or_else(|| "warden-Repository-1A2B3C4D5E6F".to_owned())),
        }
    }

    /// Delivers a request as Lambda does: up to two more times while no attempt ends by itself. Returns the
    /// first answer of the attempts, because CloudFormation accepts only the first answer.
    fn deliver(&mut self, request: &Value) -> Option<Value> {
        let id = request["RequestId"].as_str().unwrap().to_owned();
        let before = self.with_images();
        let is_late = !self.aws.state().stacks[0].status.ends_with("IN_PROGRESS");
        let number = self.calls.len();
        let point = self.point.clone().filter(|point| point.request == number);
        let trouble = point.as_ref().map(|point| point.trouble);
        if let Some(point) = &point {
            point.trouble.prepare(&self.aws, &point.call, point.nth);
        }
        let mut answers = Vec::new();
        for attempt in 0..3 {
            let trouble = trouble.filter(|trouble| attempt == 0 || lasts(*trouble));
            let ended = self.attempt(request, trouble, is_late);
            let calls = std::mem::take(&mut self.aws.state().calls);
            if attempt == 0 {
                self.calls.push(calls);
            }
            answers.append(&mut self.aws.state().answers);
            if trouble.is_some_and(|trouble| !lasts(trouble)) {
                self.aws.heal();
            }
            if ended {
                break;
            }
        }
        if trouble.is_some_and(|trouble| lasts(trouble) && trouble != FaultScenario::Denied) {
            self.aws.heal();
        }
        self.check_images(request, &before, is_late);
        // CloudFormation ignores the answer to a late copy.
        let differs = answers.iter().find(|answer| !is_late && **answer != answers[0]);
        self.broken.extend(differs.map(|other| format!("answered {} and {other}", answers[0])));
        // A denied call stays denied for later requests, until somebody corrects the rights.
        let point = point
            .or_else(|| self.point.clone().filter(|point| point.trouble == FaultScenario::Denied));
        let is_hindered = point.is_some_and(|point| !leaves_an_answer(point.trouble, &point.call));
        if answers.is_empty() && !is_hindered {
            self.broken.push(format!("request {number} is not answered"));
        }
        self.timed_out |= answers.is_empty();
        let first = answers.first().cloned();
        self.answers.entry(id).or_default().extend(answers);
        first
    }

    /// Runs one attempt in its own runtime. Returns whether the attempt ended by itself.
    fn attempt(&self, request: &Value, trouble: Option<FaultScenario>, is_late: bool) -> bool {
        let killed_at = if is_late { KILLED_AT + VERIFIED_FOR } else { KILLED_AT };
        change_role(&self.aws, request);
        let config = self.sdk.clone().into_builder();
        let config = config
            .retry_config(warden_aws::retries())
            .timeout_config(warden_aws::timeouts())
            .build();
        let carry_out = async |left: Duration| {
            let context = Arc::new(Context::new(crate::config(), &config).unwrap());
            handle(&context, request, &invocation(&self.aws, left)).await;
        };
        runtime().block_on(async {
            match trouble {
                Some(trouble) if trouble.kills() => {
                    tokio::time::timeout(killed_at, carry_out(TIMEOUT)).await.is_ok()
                }
                Some(trouble) if is_out_of_time(trouble) => {
                    tokio::time::timeout(SHORT, carry_out(SHORT)).await.is_ok()
                }
                Some(FaultScenario::Overtaken) => {
                    let second = async {
                        tokio::time::sleep(OVERTAKES_AT).await;
                        carry_out(TIMEOUT).await;
                    };
                    tokio::join!(carry_out(TIMEOUT), second);
                    true
                }
                _ => tokio::time::timeout(TIMEOUT, carry_out(TIMEOUT)).await.is_ok(),
            }
        })
    }

    /// The repositories that have images.
    fn with_images(&self) -> BTreeSet<String> {
        let mut state = self.aws.state();
        let full = state.ecr().repositories.iter().filter(|(_, it)| !it.images.is_empty());
        full.map(|(name, _)| name.clone()).collect()
    }

    /// Records a violation if a repository with images was deleted without a request for it.
    fn check_images(&mut self, request: &Value, before: &BTreeSet<String>, is_late: bool) {
        let is_asked_for = request["RequestType"] == "Delete"
            && !is_late
            && request["ResourceProperties"]["OnDelete"] == "delete-with-images"
            && request["ResourceProperties"]["OnExisting"] != "adopt";
        let after = self.with_images();
        for gone in before.difference(&after).filter(|_| !is_asked_for) {
            self.broken.push(format!("{gone} went with its images"));
        }
    }

    /// The items of the ledger, each with the version that it names, and whether it expires.
    fn ledger(&self) -> BTreeMap<String, Value> {
        let scan = json!({"TableName": "warden-Ledger"});
        let found = self.aws.ask("dynamodb", "DynamoDB_20120810.Scan", &scan);
        let found = runtime().block_on(found).unwrap();
        let items = found["Items"].as_array().unwrap().iter();
        let item = |item: &Value| {
            let key = item["fact"]["S"].as_str().unwrap().to_owned();
            (key, json!([item["version"]["S"], item["expires"].is_null()]))
        };
        items.map(item).collect()
    }

    /// The whole state that requests can change, without values that count the changes.
    pub fn state(&self) -> Value {
        let mut state = self.aws.state();
        let policies: BTreeMap<String, Value> = state
            .iam
            .policies
            .iter()
            .map(|(arn, policy)| {
                let document = policy.versions.get(&policy.default);
                (arn.clone(), json!([policy.tags, document, policy.roles, policy.users]))
            })
            .collect();
        let repositories: BTreeMap<String, Value> = state
            .ecr()
            .repositories
            .iter()
            .map(|(name, repository)| {
                let images: Vec<&str> =
                    repository.images.iter().map(|image| image.digest.as_str()).collect();
                let all = json!([
                    repository.described,
                    repository.tags,
                    repository.lifecycle,
                    repository.policy,
                    images
                ]);
                (name.clone(), all)
            })
            .collect();
        drop(state);
        json!({"ledger": self.ledger(), "policies": policies, "repositories": repositories})
    }
}
