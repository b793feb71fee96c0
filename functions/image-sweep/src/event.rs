//! The requests of the function: a push event of EventBridge
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>), and by an
//! order, which a schedule gives or a person.

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value;
use warden_alerts::Source;
use warden_aws::event::{deserialized, parsed, shown};
use warden_aws::push::{ImagePush, read_push};
use warden_core::image::{Digest, RepositoryName};

/// Something to do about one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// Which.
    pub repository: RepositoryName,
    /// What.
    pub command: SweepCommand,
    /// What began it.
    pub source: Source,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepCommand {
    /// Somebody pushed this image: to sweep, but not for each push.
    Pushed(Digest),
    /// To sweep.
    Sweep,
    /// To say what would be done.
    Read,
    /// To say what would become of one image, by its tag or its digest.
    Explain(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    repository: String,
    mode: Option<String>,
    image: Option<String>,
}

/// Reads what came; none of what is no successful push. The error names the field that cannot
/// be understood.
pub fn read(
    payload: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<SweepRequest>> {
    if payload.get("detail-type").is_some() {
        return pushed(payload);
    }
    if !payload.is_object() {
        bail!(r#"expected an object, such as {{"repository": "deployments", "mode": "report"}}"#);
    }
    let Words { repository, mode, image } = deserialized("", payload)?;
    let command = match (mode.as_deref(), image) {
        (None, None) => SweepCommand::Sweep,
        (Some("report"), None) => SweepCommand::Read,
        (Some("report") | None, Some(image)) => SweepCommand::Explain(image),
        (Some(other), _) => {
            bail!(
                "the event: mode: expected report, or none to do what the policy says, got {:?}",
                shown(other)
            )
        }
    };
    let source =
        Source { id: request_id.to_owned(), time: now.to_rfc3339_opts(SecondsFormat::Secs, true) };
    Ok(Some(SweepRequest { repository: parsed("repository", &repository)?, command, source }))
}

fn pushed(payload: &Value) -> anyhow::Result<Option<SweepRequest>> {
    let Some(ImagePush { about, .. }) = read_push(payload)? else { return Ok(None) };
    let command = SweepCommand::Pushed(about.digest);
    Ok(Some(SweepRequest { repository: about.repository, command, source: about.source }))
}
