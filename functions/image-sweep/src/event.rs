//! Parses the requests of the function: a push event of `EventBridge`
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>), or a command of
//! the schedule or of a person.

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value;
use warden_alerts::Source;
use warden_aws::event::{deserialized, parsed, shown};
use warden_aws::push::{ImagePush, read_push};
use warden_core::image::{Digest, RepositoryName};

/// A request about one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// The repository.
    pub repository: RepositoryName,
    /// The command.
    pub command: SweepCommand,
    /// The event or the invocation that the request comes from.
    pub source: Source,
}

/// The command of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepCommand {
    /// Sweep after a push of this image, unless another push of this hour has started a sweep.
    Pushed(Digest),
    /// Sweep.
    Sweep,
    /// Return the plan, and change nothing.
    Read,
    /// Return the decision about one image, which is given by its tag or its digest.
    Explain(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandFields {
    repository: String,
    mode: Option<String>,
    image: Option<String>,
}

/// Reads a request. None for an event other than a successful push. An error names the invalid field.
pub fn read(
    payload: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<SweepRequest>> {
    if payload.get("detail-type").is_some() {
        return read_push_request(payload);
    }
    if !payload.is_object() {
        bail!(
            r#"the event: expected an object, such as {{"repository": "deployments", "mode": "report"}}"#
        );
    }
    let CommandFields { repository, mode, image } = deserialized("", payload)?;
    let command = match (mode.as_deref(), image) {
        (None, None) => SweepCommand::Sweep,
        (Some("report"), None) => SweepCommand::Read,
        (Some("report") | None, Some(image)) => SweepCommand::Explain(image),
        (Some(other), _) => {
            bail!(
                "the event: mode: expected report, or no mode to sweep as the policy says, got {:?}",
                shown(other)
            )
        }
    };
    let source =
        Source { id: request_id.to_owned(), time: now.to_rfc3339_opts(SecondsFormat::Secs, true) };
    Ok(Some(SweepRequest { repository: parsed("repository", &repository)?, command, source }))
}

fn read_push_request(payload: &Value) -> anyhow::Result<Option<SweepRequest>> {
    let Some(ImagePush { about, .. }) = read_push(payload)? else { return Ok(None) };
    let command = SweepCommand::Pushed(about.digest);
    Ok(Some(SweepRequest { repository: about.repository, command, source: about.source }))
}
