//! Sequences of requests of CloudFormation, in which every call fails in every way. Each request is
//! answered, no repository is deleted with its images without a request for it, and after the failed
//! requests are repeated, the result equals the result without a failure.
//!
//! The cases are recorded: a sequence runs once without a failure, and then once for each call of each
//! of its requests and each kind of failure. A run takes one case for each type of request, operation and
//! kind of failure; `FAULTS=all` takes every case
//! ([`local_aws::sample`]). `FAULTS=all cargo test --workspace --test it matrix -- --nocapture`
//! prints the number of cases, and the number of cases that passed.
//!
//! If a request succeeded, a second delivery while CloudFormation waits gets the same answer. If the
//! request failed, the second delivery may succeed, but CloudFormation accepts only the first answer. A
//! copy that arrives later changes nothing.

mod stack;

use std::collections::BTreeSet;

use local_aws::sample::sample;
use local_aws::{Called, FaultScenario};
use serde_json::{Value, json};

use crate::{event, with};
use stack::{Point, Stack};

/// Whether the failure lasts for all attempts of Lambda.
fn lasts(trouble: FaultScenario) -> bool {
    use FaultScenario::{Denied, KilledAfterEachTime, KilledBeforeEachTime};
    matches!(trouble, Denied | KilledBeforeEachTime | KilledAfterEachTime)
}

fn is_out_of_time(trouble: FaultScenario) -> bool {
    matches!(trouble, FaultScenario::OutOfTimeBefore | FaultScenario::OutOfTimeAfter)
}

/// Whether a request is answered although this call of the request fails in this way.
fn leaves_an_answer(trouble: FaultScenario, call: &Called) -> bool {
    match trouble {
        FaultScenario::KilledBeforeEachTime => false,
        // The answer was sent before the failure.
        FaultScenario::KilledAfterEachTime => call.operation == "Answer",
        FaultScenario::ThrottledOut
        | FaultScenario::ServerError
        | FaultScenario::Denied
        | FaultScenario::TooSlow
        | FaultScenario::OutOfTimeBefore => call.operation != "Answer",
        FaultScenario::Throttled
        | FaultScenario::ResetBefore
        | FaultScenario::ResetAfter
        | FaultScenario::KilledBefore
        | FaultScenario::KilledAfter
        | FaultScenario::OutOfTimeAfter
        | FaultScenario::Overtaken => true,
    }
}

/// A step of a sequence: an operation of the stack, or an event around it.
#[derive(Clone, Debug)]
enum Step {
    Create(Value),
    Update(Value),
    Delete,
    /// The request of the step with this number is delivered again.
    Again(usize),
    /// Images are pushed into every repository.
    Images(usize),
    /// Somebody else creates a repository, or attaches the stack's policy.
    Foreign,
    Attach,
}

/// Takes a step, and returns whether the step succeeded. `requests` has the number of the first request of
/// each step.
fn take(stack: &mut Stack, step: &Step, requests: &[usize]) -> bool {
    match step {
        Step::Create(properties) => return stack.create(properties),
        Step::Update(properties) => return stack.update(properties),
        Step::Delete => return stack.delete(),
        Step::Again(step) => return stack.again(requests[*step]),
        Step::Images(count) => {
            let mut state = stack.aws.state();
            let names: Vec<String> = state.ecr().repositories.keys().cloned().collect();
            for name in names {
                for nth in 0..*count {
                    let tag = format!("v1.0.{nth}");
                    let at = crate::NOW - crate::DAY;
                    state.ecr().push_made_up(&name, &[&tag], at).unwrap();
                }
            }
        }
        Step::Foreign => {
            let input =
                json!({"repositoryName": "infrastructure", "imageTagMutability": "MUTABLE"});
            stack.aws.by_hand("CreateRepository", &input).unwrap();
        }
        Step::Attach => {
            for policy in stack.aws.state().iam.policies.values_mut() {
                policy.roles.insert("gitlab".to_owned());
            }
        }
    }
    true
}

/// Runs a sequence, and returns the stack and whether each step succeeded. A step that must succeed by
/// `expected` is repeated without failures.
fn run(
    create: &Value,
    steps: &[Step],
    point: Option<Point>,
    expected: Option<&[bool]>,
) -> (Stack, Vec<bool>) {
    let mut stack = Stack::new(create, point);
    let (mut done, mut requests) = (Vec::new(), Vec::new());
    for (nth, step) in steps.iter().enumerate() {
        requests.push(stack.sent.len());
        let mut is_done = take(&mut stack, step, &requests);
        let timed_out = std::mem::take(&mut stack.timed_out);
        if expected.is_some_and(|expected| is_done != expected[nth] || timed_out) {
            stack.heal();
            requests[nth] = stack.sent.len();
            is_done = take(&mut stack, step, &requests);
        }
        done.push(is_done);
    }
    stack.heal();
    (stack, done)
}

/// The properties that a sequence with a failure violates. `blind` if the failed call was a call of
/// CloudFormation.
fn broken(
    blind: bool,
    stack: &mut Stack,
    done: &[bool],
    faultless: &Stack,
    expected: &[bool],
) -> Vec<String> {
    let mut broken = std::mem::take(&mut stack.broken);
    if done != expected {
        broken.push(format!("done: {done:?}, not {expected:?}"));
    }
    let (is, should) = (stack.state(), faultless.state());
    // Images are kept if it is unknown whether they may be deleted.
    let is_kept = blind && should["repositories"] == json!({}) && is["repositories"] != json!({});
    if !is_kept {
        differing("", &is, &should, &mut broken);
    }
    for answers in stack.answers.values() {
        for answer in answers {
            let reason = answer["Reason"].as_str().unwrap_or_default();
            if reason.contains("marked-secret") {
                broken.push(format!("a reason contains a secret: {reason}"));
            }
        }
    }
    broken
}

/// The differences between two states.
fn differing(at: &str, is: &Value, should: &Value, differs: &mut Vec<String>) {
    match (is, should) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let at = format!("{at}/{name}");
                differing(&at, &is[name.as_str()], &should[name.as_str()], differs);
            }
        }
        _ if is == should => {}
        _ => differs.push(format!("{at} is {is} and not {should}")),
    }
}

/// A failure, and the sequence that it happens in.
struct Case {
    sequence: usize,
    request_type: String,
    point: Point,
}

/// Runs the sampled cases of these sequences, and prints how many passed.
fn check(what: &str, create: &Value, sequences: &[(&str, Vec<Step>)]) {
    local_aws::log::collect();
    let mut cases = Vec::new();
    let mut recorded = Vec::new();
    for (sequence, (name, steps)) in sequences.iter().enumerate() {
        let (mut faultless, expected) = run(create, steps, None, None);
        assert!(faultless.broken.is_empty(), "{name}: {:?}", faultless.broken);
        let unanswered = faultless.answers.iter().find(|(_, answers)| answers.is_empty());
        assert_eq!(unanswered, None, "{name}");
        for (request, calls) in std::mem::take(&mut faultless.calls).iter().enumerate() {
            let sent = &faultless.sent[request.min(faultless.sent.len() - 1)];
            for (at, call) in calls.iter().enumerate() {
                let is_same = |other: &&Called| other.operation == call.operation;
                let nth = calls[..=at].iter().filter(is_same).count();
                for trouble in
                    FaultScenario::OF_AN_ATTEMPT.into_iter().chain(FaultScenario::OF_A_REQUEST)
                {
                    let point = Point { request, call: call.clone(), nth, trouble };
                    let request_type = sent["RequestType"].to_string();
                    cases.push(Case { sequence, request_type, point });
                }
            }
        }
        recorded.push((faultless, expected));
    }
    let sample = sample(cases, |Case { request_type, point, .. }| {
        format!("{request_type} {} {:?}", point.call.operation, point.trouble)
    });
    let mut failures = Vec::new();
    for Case { sequence, request_type, point } in &sample.cases {
        let ((name, steps), (faultless, expected)) = (&sequences[*sequence], &recorded[*sequence]);
        let (mut stack, done) = run(create, steps, Some(point.clone()), Some(expected));
        let blind = point.call.operation == "DescribeStacks";
        let broken = broken(blind, &mut stack, &done, faultless, expected);
        if !broken.is_empty() {
            let Point { request, call, nth, trouble } = point;
            failures.push(format!(
                "{name}, request {request} ({request_type}), {} {nth} {trouble:?}: {}",
                call.operation,
                broken.join("; ")
            ));
        }
    }
    let log = local_aws::log::text();
    assert!(!log.contains("marked-secret"), "a secret is in the log");
    let (ran, chosen) = (sample.cases.len(), sample.description());
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        let held = ran - failures.len();
        println!("CloudFormation, {what}: {ran} cases ({chosen}), {held} held");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ran > 100, "only {ran} cases");
}

/// Delivers a copy of each request after each later step of these sequences. The copy is answered and
/// changes nothing, because the stack's events show that CloudFormation did not send the copy.
fn check_late_copies(what: &str, create: &Value, sequences: &[(&str, Vec<Step>)]) {
    local_aws::log::collect();
    let (mut ran, mut failures) = (0, Vec::new());
    for (name, steps) in sequences {
        let (faultless, expected) = run(create, steps, None, None);
        for after in 0..steps.len() {
            for copy in 0..faultless.sent.len() {
                let mut stack = Stack::new(create, None);
                let (mut done, mut requests) = (Vec::new(), Vec::new());
                let mut is_sent = true;
                for (nth, step) in steps.iter().enumerate() {
                    requests.push(stack.sent.len());
                    done.push(take(&mut stack, step, &requests));
                    if nth == after {
                        is_sent = copy < stack.sent.len();
                        if !is_sent {
                            break;
                        }
                        stack.again(copy);
                    }
                }
                if !is_sent {
                    break;
                }
                ran += 1;
                let mut broken = std::mem::take(&mut stack.broken);
                if done != expected {
                    broken.push(format!("done: {done:?}, not {expected:?}"));
                }
                differing("", &stack.state(), &faultless.state(), &mut broken);
                if !broken.is_empty() {
                    let type_ = &stack.sent[copy]["RequestType"];
                    failures.push(format!(
                        "{name}, a copy of request {copy} ({type_}) after step {after}: {}",
                        broken.join("; ")
                    ));
                }
            }
        }
    }
    #[expect(clippy::print_stdout, reason = "the figures are for reading")]
    {
        let held = ran - failures.len();
        println!("CloudFormation, {what}: {ran} late copies, {held} held");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ran > 10, "only {ran} cases");
}

/// The properties with one other value.
fn set(properties: &Value, name: &str, value: impl Into<Value>) -> Value {
    with(json!({"ResourceProperties": properties}), &format!("ResourceProperties.{name}"), value)
        ["ResourceProperties"]
        .clone()
}

#[test]
fn a_repository_ends_in_the_same_state_after_any_failure() {
    use Step::{Again, Create, Delete, Foreign, Images, Update};
    let create = event("create-infrastructure");
    let made = create["ResourceProperties"].clone();
    let changed = event("update-infrastructure")["ResourceProperties"].clone();
    let other = set(&made, "RepositoryName", "renamed");
    let refused = set(&made, "EncryptionType", "AES256");
    let bulk = set(&set(&made, "LifecycleScope", "repository"), "LifecycleTagCount", "5");
    let on_delete = |value: &str| set(&made, "OnDelete", value);
    let adopted = set(&on_delete("delete-with-images"), "OnExisting", "adopt");
    let sequences = [
        ("made and changed", vec![Create(made.clone()), Update(changed.clone())]),
        (
            "changed and back",
            vec![Create(made.clone()), Images(2), Update(changed.clone()), Update(made.clone())],
        ),
        ("a change that is refused", vec![Create(made.clone()), Images(2), Update(refused)]),
        ("a change that would expire many", vec![Create(made.clone()), Images(60), Update(bulk)]),
        ("made and empty", vec![Create(made.clone()), Delete]),
        ("kept", vec![Create(made.clone()), Images(2), Delete]),
        ("kept unless empty", vec![Create(on_delete("delete-if-empty")), Images(2), Delete]),
        ("gone with its images", vec![Create(on_delete("delete-with-images")), Images(2), Delete]),
        ("somebody else's", vec![Foreign, Images(2), Create(made.clone())]),
        (
            "adopted",
            vec![
                Foreign,
                Images(2),
                Create(adopted.clone()),
                Update(set(&adopted, "ScanOnPush", "false")),
                Delete,
            ],
        ),
        ("renamed", vec![Create(made.clone()), Images(2), Update(other.clone())]),
        ("renamed while empty", vec![Create(made.clone()), Update(other)]),
        ("made twice", vec![Create(made.clone()), Again(0), Images(2), Again(0)]),
        (
            "a late copy of an update",
            vec![Create(made.clone()), Update(changed.clone()), Update(made.clone()), Again(1)],
        ),
        (
            "a late copy of a creation",
            vec![Create(made.clone()), Images(2), Update(changed), Again(0), Delete],
        ),
        (
            "deleted twice",
            vec![
                Create(on_delete("delete-with-images")),
                Delete,
                Again(1),
                Create(made.clone()),
                Images(2),
                Again(1),
            ],
        ),
        ("made once more", vec![Create(made.clone()), Delete, Create(made)]),
    ];
    check_late_copies("Custom::EcrRepository", &create, &sequences);
    check("Custom::EcrRepository", &create, &sequences);
}

#[test]
fn a_governance_ends_in_the_same_state_after_any_failure() {
    use Step::{Again, Create, Delete, Update};
    let create = event("create-governance");
    let made = create["ResourceProperties"].clone();
    let other = set(&made, "Policy.Rules.1.Scan.Threshold", "LOW");
    let refused = set(&made, "EnforceRepositories", json!(["deployments"]));
    let sequences = [
        ("made and gone", vec![Create(made.clone()), Delete]),
        (
            "changed and back",
            vec![Create(made.clone()), Update(other.clone()), Update(made.clone())],
        ),
        ("a change that is refused", vec![Create(made.clone()), Update(refused), Delete]),
        ("made twice", vec![Create(made.clone()), Again(0), Delete, Again(2)]),
        (
            "a late copy of an update",
            vec![Create(made.clone()), Update(other), Update(made), Again(1)],
        ),
    ];
    check_late_copies("Custom::EcrGovernance", &create, &sequences);
    check("Custom::EcrGovernance", &create, &sequences);
}

#[test]
fn a_push_pull_policy_ends_in_the_same_state_after_any_failure() {
    use Step::{Again, Attach, Create, Delete, Update};
    let create = event("create-push-pull-policy");
    let made = create["ResourceProperties"].clone();
    let other =
        set(&made, "RepositoryArns", json!(["arn:aws:ecr:us-east-1:123456789012:repository/apps"]));
    let moved = set(&other, "AttachToRoleArns", json!(["arn:aws:iam::123456789012:role/gitlab"]));
    let refused =
        set(&made, "RepositoryArns", json!(["arn:aws:ecr:eu-west-1:123456789012:repository/apps"]));
    let nowhere = set(&made, "AttachToRoleArns", json!(["arn:aws:iam::123456789012:role/missing"]));
    let sequences = [
        ("made and gone", vec![Create(made.clone()), Delete]),
        ("changed", vec![Create(made.clone()), Update(other.clone()), Update(made.clone())]),
        ("moved", vec![Create(made.clone()), Update(moved), Delete]),
        ("a change that is refused", vec![Create(made.clone()), Update(refused)]),
        ("a role that is not there", vec![Create(nowhere.clone())]),
        (
            "a change to a role that is not there",
            vec![Create(made.clone()), Update(nowhere), Delete],
        ),
        ("attached by others", vec![Create(made.clone()), Attach, Delete]),
        ("made twice", vec![Create(made.clone()), Again(0), Delete, Again(2)]),
        (
            "a late copy of an update",
            vec![Create(made.clone()), Update(other), Update(made), Again(1)],
        ),
    ];
    check_late_copies("Custom::EcrPushPullPolicy", &create, &sequences);
    check("Custom::EcrPushPullPolicy", &create, &sequences);
}
