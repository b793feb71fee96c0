//! The embedded Amazon ECR follows the documentation and the service model of Amazon ECR: each test names
//! its page of the documentation or its shape of the model.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is off"
)]
#![expect(clippy::needless_pass_by_value, reason = "an input is written where it is passed")]

mod accounts;
mod archive;
mod beside;
mod content;
mod deployment;
mod distribution;
mod documents;
mod events;
mod faults;
mod findings;
mod followers;
mod grammar;
mod images;
mod immutability;
mod layers;
mod lifecycle;
mod made_up;
mod parameters;
mod port;
mod previews;
mod pulls;
mod pushes;
mod referrers;
mod removal;
mod replication;
mod repositories;
mod rights;
mod scans;
mod settings;
mod stacks;
mod templates;
mod uploads;

use std::time::Duration;

use local_aws::LocalAws;
use local_aws::ecr::{Call, Error};
use serde_json::{Value, json};

/// Where the clock stands at first.
const NOW: f64 = 1_800_000_000.0;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An AWS whose clock stands still, with an empty repository, `app`.
fn aws() -> LocalAws {
    let aws = LocalAws::default();
    aws.state().set_clock(Some(NOW));
    ok(&aws, "CreateRepository", json!({"repositoryName": "app"}));
    aws
}

/// The answer to a call, which succeeds.
#[track_caller]
fn ok(aws: &LocalAws, operation: &str, input: Value) -> Value {
    aws.by_hand(operation, &input).unwrap()
}

/// The name of the error that a call is answered with.
#[track_caller]
fn refused(aws: &LocalAws, operation: &str, input: Value) -> &'static str {
    aws.by_hand(operation, &input).unwrap_err().code
}

/// A call by a role or user.
fn call_as(
    aws: &LocalAws,
    principal: &str,
    operation: &str,
    input: &Value,
) -> Result<Value, Error> {
    let mut state = aws.state();
    let call = Call { operation, principal: Some(principal), now: state.now(), endpoint: "" };
    state.ecr().serve(&call, input)
}

/// The input with more members.
fn with(mut input: Value, more: Value) -> Value {
    if let (Some(input), Value::Object(more)) = (input.as_object_mut(), more) {
        input.extend(more);
    }
    input
}

/// The pages of a listing, by the sizes that `maxResults` gives them.
#[track_caller]
fn pages(aws: &LocalAws, operation: &str, input: &Value, list: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut token = Value::Null;
    loop {
        let page = ok(aws, operation, with(input.clone(), json!({"nextToken": token})));
        pages.push(page[list].as_array().unwrap().clone());
        token = page["nextToken"].clone();
        if token.is_null() {
            return pages;
        }
    }
}
