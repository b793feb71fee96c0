//! The functions, and a probe of what runs them, as real processes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod access;
mod dashboard;
mod events;
mod faults;
mod lambda;
mod privileges;
mod pushes;
mod readme;
mod scans;
mod secrets;
mod services;
mod slack;
mod sweeps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use local_aws::lambda::Function;
use local_aws::template::{Error, Identity, Stack, Template};
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Map, Value};

const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/1-2";
/// What the template gets from its resources.
const ATTRIBUTES: [&str; 6] =
    ["Arn", "Governance", "PolicyArn", "QueueName", "RepositoryUri", "TopicName"];

/// What is deployed.
static TEMPLATE: LazyLock<Template> =
    LazyLock::new(|| Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap());

fn identity() -> Identity {
    Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: "ecr-warden".to_owned(),
        id: STACK_ID.to_owned(),
    }
}

/// The template with these parameters, and every resource made: each is called by its logical ID,
/// and each attribute of it by that and its own name.
fn evaluated(parameters: &[(&str, &str)]) -> Result<Stack<'static>, Error> {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut stack = Stack::new(&TEMPLATE, identity(), &parameters)?;
    for id in stack.resources()? {
        let attributes = ATTRIBUTES.map(|name| (name.to_owned(), format!("{id}.{name}")));
        let attributes = attributes.map(|(name, value)| (name, Value::String(value)));
        stack.made(id, id, Map::from_iter(attributes));
    }
    Ok(stack)
}

/// The program that every function runs.
fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_bootstrap").into()
}

/// Keeps pushes from `image-sweep`, whose calls and alerts would stand among those of others.
fn without_sweeps(aws: &LocalAws) {
    aws.state().rules.retain(|rule| rule.function != "stack-ImageSweepFunction");
}

/// A function of the probe.
fn probe(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        program: program(),
        handler: "probe".to_owned(),
        environment: BTreeMap::new(),
        timeout: Duration::from_secs(30),
        memory_mb: 128,
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        retries: 2,
        dead_letter: None,
        on_failure: None,
        reserved_concurrency: None,
    }
}
