//! A role grants the calls of its function, the permissions that those calls depend on, and nothing
//! else. Each function runs in every scenario of `events/` and in every setting that changes its calls.
//! The tests of the custom resource compare the role of that function.
//!
//! `cargo test --workspace --test it privileges -- --nocapture` prints the comparison.

use std::collections::BTreeSet;

use local_aws::Called;
use local_aws::world::TEMPLATE;

use crate::faults::function::Function;
use crate::faults::scenarios::scenarios;
use crate::faults::take_calls;

/// The permissions that a function needs without calling the operation: the roles and the reason.
const DEPENDENT: &[(&str, &[Function], &str)] = {
    use Function::{ImagePush, ImageSweep, ScanComplete, SlackNotifier, SweepDispatch};
    const ALL: &[Function] = &[ImagePush, ScanComplete, ImageSweep, SlackNotifier, SweepDispatch];
    const ALERT: &[Function] = &[ImagePush, ScanComplete, ImageSweep, SlackNotifier, SweepDispatch];
    const NEVER_QUEUE: &[Function] = &[ImageSweep, SlackNotifier];
    const POLL: &[Function] = &[ScanComplete, ImageSweep];
    const PUBLISH: &[Function] = &[ImagePush, ScanComplete, ImageSweep, SweepDispatch];
    const READ: &[Function] = &[ScanComplete, ImageSweep];
    &[
        ("logs:CreateLogStream", ALL, "Lambda writes the function's log"),
        ("logs:PutLogEvents", ALL, "the same"),
        ("sqs:SendMessage", NEVER_QUEUE, "Lambda hands on an event that failed"),
        ("sqs:DeleteMessage", POLL, "Lambda deletes the messages that were handled"),
        ("sqs:GetQueueAttributes", POLL, "Lambda polls the queue of findings, and that of sweeps"),
        ("sqs:ReceiveMessage", POLL, "the same"),
        ("xray:PutTelemetryRecords", ALL, "Lambda traces, where `Tracing` is Active"),
        ("xray:PutTraceSegments", ALL, "the same"),
        ("kms:Decrypt", ALERT, "the key of the topic, and of the webhook's secret"),
        ("kms:GenerateDataKey", PUBLISH, "the key of the topic"),
        ("inspector2:ListFindings", READ, "ECR asks Inspector for enhanced findings as the caller"),
    ]
};

/// The calls of a function in all its scenarios.
async fn called(function: Function) -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for scenario in scenarios(function) {
        let (world, event) = scenario.prepare().await;
        let time = function.timeout(&world);
        function.invoke(&world, &event, "request", time, || ()).await.unwrap();
        let calls = take_calls(&world);
        // SQS has no action for a batch.
        let action = |call: &Called| call.operation.trim_end_matches("Batch").to_owned();
        called.extend(calls.iter().map(|call| format!("{}:{}", call.service, action(call))));
    }
    called
}

async fn check(function: Function, role: &str) {
    let called = called(function).await;
    let dependent: BTreeSet<String> = DEPENDENT
        .iter()
        .filter(|(_, of, why)| of.contains(&function) && !why.is_empty())
        .map(|(action, ..)| (*action).to_owned())
        .collect();
    let granted = TEMPLATE.actions(role);
    #[expect(clippy::print_stdout, reason = "the comparison is for reading")]
    {
        let (called, dependent) = (called.len(), dependent.len());
        println!("{role}: {} granted, {called} called, {dependent} depended on", granted.len());
    }
    let needed: BTreeSet<String> = called.union(&dependent).cloned().collect();
    assert_eq!(granted, needed, "{role}");
    assert!(called.is_disjoint(&dependent), "what is called needs no other reason");
}

#[tokio::test(start_paused = true)]
async fn each_role_grants_what_its_function_calls_and_depends_on_and_nothing_else() {
    check(Function::ImagePush, "ImagePushRole").await;
    check(Function::ScanComplete, "ScanCompleteRole").await;
    check(Function::ImageSweep, "ImageSweepRole").await;
    check(Function::SlackNotifier, "SlackNotifierRole").await;
    check(Function::SweepDispatch, "SweepDispatchRole").await;
}
