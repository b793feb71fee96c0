//! That the role has leave for the calls that are made, and no others.

use std::collections::BTreeSet;

use local_aws::template::Template;

use crate::{Function, TEMPLATE, event};

/// What the calls depend on without being called: the key of the secret, Lambda's writing of the
/// log, and its handing on of what failed.
const DEPENDENT: [&str; 6] = [
    "kms:Decrypt",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

#[tokio::test(start_paused = true)]
async fn the_role_grants_what_the_function_calls_and_nothing_else() {
    let function = Function::new().await;
    function.handle(&event("tag-violation")).await.unwrap();
    let mut needed: BTreeSet<String> = DEPENDENT.map(str::to_owned).into();
    needed.extend(function.calls());
    let template = Template::read(TEMPLATE).unwrap();
    assert_eq!(template.actions("SlackNotifierRole"), needed);
}
