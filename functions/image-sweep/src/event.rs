//! Parses the requests of the function: a message of the queue of sweeps
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>), or a command of a person.

use anyhow::{Context as _, anyhow, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value;
use warden_alerts::Source;
use warden_aws::event::{deserialized, parsed, shown};
use warden_aws::sweep_queue::{PushedImage, SweepMessage};
use warden_core::image::{Digest, RepositoryName};
use warden_core::policy::Policy;

/// The version of the policy in the answer to a request with a policy of its own.
pub const GIVEN_POLICY: &str = "given";

/// A request about one repository.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepRequest {
    /// The repository.
    pub repository: RepositoryName,
    /// The command.
    pub command: SweepCommand,
    /// The event or the invocation that the request comes from.
    pub source: Source,
}

/// The command of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum SweepCommand {
    /// Sweep, because a message of the queue asks for it. After a push, the message names the pushed
    /// image.
    Queued(Option<Digest>),
    /// Sweep, because a person asks for it.
    Sweep,
    /// Return the plan, and change nothing. The plan follows the policy of the request, if the request has
    /// one, and otherwise the deployed policy. No other command has a policy.
    Read(Option<Box<Policy>>),
    /// Return the decision about one image, which is given by its tag or its digest.
    Explain(String),
}

/// The messages of an invocation: the batch size of the queue is one.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: [Record; 1],
}

#[derive(Deserialize)]
struct Record {
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandFields {
    repository: String,
    mode: Option<String>,
    image: Option<String>,
    policy: Option<String>,
}

/// Reads a request. An error names the invalid field.
pub fn read(payload: &Value, request_id: &str, now: DateTime<Utc>) -> anyhow::Result<SweepRequest> {
    let source =
        Source { id: request_id.to_owned(), time: now.to_rfc3339_opts(SecondsFormat::Secs, true) };
    if payload.get("Records").is_some() {
        return read_message(payload, source);
    }
    if !payload.is_object() {
        bail!(
            r#"the event: expected an object, such as {{"repository": "deployments", "mode": "report"}}"#
        );
    }
    let CommandFields { repository, mode, image, policy } = deserialized("", payload)?;
    let repository = parsed("repository", &repository)?;
    let command = match (mode.as_deref(), image, policy) {
        (None, None, None) => SweepCommand::Sweep,
        (Some("report"), None, None) => SweepCommand::Read(None),
        (Some("report"), None, Some(policy)) => {
            SweepCommand::Read(Some(Box::new(read_policy(&policy, &repository)?)))
        }
        (Some("report") | None, Some(image), None) => SweepCommand::Explain(image),
        (Some("report") | None, _, Some(_)) => {
            bail!("the event: policy: expected only with the mode report and without an image")
        }
        (Some(other), _, _) => {
            bail!(
                "the event: mode: expected report, or no mode to sweep as the policy says, got {:?}",
                shown(other)
            )
        }
    };
    Ok(SweepRequest { repository, command, source })
}

/// Reads the policy of a request, which must be a policy of the repository of the request.
fn read_policy(json: &str, repository: &RepositoryName) -> anyhow::Result<Policy> {
    let policy = Policy::parse(json);
    let policy = policy.map_err(|error| anyhow!("the event: policy: {error}"))?;
    ensure!(
        policy.repository_name == *repository,
        "the event: policy: expected a policy of the repository {repository}, got a policy of {}",
        policy.repository_name
    );
    Ok(policy)
}

/// Reads the message of the queue. `source` is the invocation.
fn read_message(payload: &Value, source: Source) -> anyhow::Result<SweepRequest> {
    let Batch { records: [Record { body }] } = deserialized("", payload)?;
    let body = serde_json::from_str(&body).context("the event: Records[0].body")?;
    let SweepMessage { repository, pushed } = deserialized("Records[0].body", &body)?;
    let (pushed, source) = match pushed {
        Some(PushedImage { digest, source }) => (Some(digest), source),
        None => (None, source),
    };
    Ok(SweepRequest { repository, command: SweepCommand::Queued(pushed), source })
}
