//! Sequences of what CloudFormation sends, with every call going wrong in every way: each
//! request is answered, no repository goes with its images unless that was asked for, and once
//! what failed is repeated, all is as if nothing had gone wrong.
//!
//! The cases are recorded, not written down: a sequence is run once with nothing wrong, and then
//! once for each call of each of its requests and each kind of trouble. A run takes one case of
//! each type of request, operation and kind of trouble; `FAULTS=all` takes every case
//! ([`local_aws::sample`]). `FAULTS=all cargo test --workspace --test it matrix -- --nocapture`
//! prints how many ran and how many held.
//!
//! A request that is delivered again while CloudFormation waits is answered the same if it was
//! done; if it failed, it may be done by then, but CloudFormation has believed the first answer.
//! A copy that comes later changes nothing.

mod stack;

use std::collections::BTreeSet;

use local_aws::sample::sample;
use local_aws::{Called, FaultScenario};
use serde_json::{Value, json};

use crate::{event, with};
use stack::{Point, Stack};

/// Whether it goes on for as long as Lambda tries.
fn lasts(trouble: FaultScenario) -> bool {
    use FaultScenario::{Denied, KilledAfterEachTime, KilledBeforeEachTime};
    matches!(trouble, Denied | KilledBeforeEachTime | KilledAfterEachTime)
}

fn is_out_of_time(trouble: FaultScenario) -> bool {
    matches!(trouble, FaultScenario::OutOfTimeBefore | FaultScenario::OutOfTimeAfter)
}

/// Whether a request is answered in spite of what befalls this call of its.
fn leaves_an_answer(trouble: FaultScenario, call: &Called) -> bool {
    match trouble {
        FaultScenario::KilledBeforeEachTime => false,
        // An answer that was sent was sent.
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

/// What somebody does with the stack, or what befalls it.
#[derive(Clone, Debug)]
enum Step {
    Create(Value),
    Update(Value),
    Delete,
    /// The request of the step of this number is delivered again.
    Again(usize),
    /// Images are pushed into every repository.
    Images(usize),
    /// Somebody else makes a repository, or attaches what is ours.
    Foreign,
    Attach,
}

/// Takes a step; whether what it was meant to do was done. `requests` has the number of each
/// step's own request.
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

/// Runs a sequence; gives the stack, and whether each step did what it was meant to. Where
/// `expected` says that it has to, it is taken again once nothing goes wrong any more.
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

/// What does not hold of a sequence in which something went wrong; `blind` if that was to ask
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
    // Where nobody can tell whether images may go, they stay.
    let is_kept = blind && should["repositories"] == json!({}) && is["repositories"] != json!({});
    if !is_kept {
        differing("", &is, &should, &mut broken);
    }
    for answers in stack.answers.values() {
        for answer in answers {
            let reason = answer["Reason"].as_str().unwrap_or_default();
            if reason.contains("marked-secret") {
                broken.push(format!("a secret is told: {reason}"));
            }
        }
    }
    broken
}

/// Where one differs from the other.
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

/// What goes wrong, and in which sequence.
struct Case {
    sequence: usize,
    request_type: String,
    point: Point,
}

/// Runs the sampled cases of these sequences, and prints how many held.
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

/// Delivers a copy of each request after each later step of these sequences: the copy is answered
/// and changes nothing, since the stack's events say that CloudFormation did not send it now.
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

/// The properties with one of another value.
fn set(properties: &Value, name: &str, value: impl Into<Value>) -> Value {
    with(json!({"ResourceProperties": properties}), &format!("ResourceProperties.{name}"), value)
        ["ResourceProperties"]
        .clone()
}

#[test]
fn a_repository_ends_as_if_nothing_had_gone_wrong() {
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
fn a_push_pull_policy_ends_as_if_nothing_had_gone_wrong() {
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

#[test]
fn a_pull_time_exclusion_ends_as_if_nothing_had_gone_wrong() {
    use Step::{Again, Create, Delete, Update};
    let create = event("create-pull-time-exclusion");
    let made = create["ResourceProperties"].clone();
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let other = set(&made, "RoleArns", json!([role("scanner")]));
    let both = set(&made, "RoleArns", json!([role("scanner"), role("backup")]));
    let sequences = [
        ("made and gone", vec![Create(made.clone()), Delete]),
        ("changed", vec![Create(made.clone()), Update(other), Update(both), Delete]),
        ("made twice", vec![Create(made), Again(0), Delete, Again(2)]),
    ];
    check_late_copies("Custom::EcrPullTimeExclusion", &create, &sequences);
    check("Custom::EcrPullTimeExclusion", &create, &sequences);
}
