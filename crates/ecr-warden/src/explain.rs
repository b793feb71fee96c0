//! `ecr-warden explain`: why a sweep keeps or removes one image.

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use warden_core::image::{Digest, RepositoryName, Tag};

use crate::deployed::{Connection, DeployedStack, Output};
use crate::image::ImageReference;
use crate::plan::SWEEP;
use crate::print::{print, print_json};

/// The options of `ecr-warden explain`.
#[derive(Args)]
pub struct ExplainOptions {
    /// The image, by a tag or its digest.
    #[arg(value_name = "IMAGE")]
    image: ImageReference,
    #[command(flatten)]
    connection: Connection,
}

/// The decision about an image, as the function that sweeps answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    repository: RepositoryName,
    digest: Digest,
    tags: Vec<Tag>,
    status: String,
    pushed_at: Option<String>,
    pulled_at: Option<String>,
    decision: String,
    reason: String,
    unit: Option<Unit>,
    stopped: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Unit {
    image: Digest,
    parts: Vec<Digest>,
    referrers: Vec<Digest>,
}

/// Prints the decision about the image, and the reason.
pub async fn explain(options: &ExplainOptions) -> anyhow::Result<()> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let ImageReference { repository, name } = &options.image;
    stack.check_governed(repository)?;
    let request = json!({"repository": repository, "image": name.to_string()});
    let answer = stack.invoke(SWEEP, &request).await?;
    if options.connection.output == Output::Json {
        return print_json(&answer);
    }
    let explanation: Explanation =
        serde_json::from_value(answer).context("the explanation of the function")?;
    print(&explanation.shown())
}

impl Explanation {
    fn shown(&self) -> String {
        let Self { repository, digest, tags, status, decision, reason, .. } = self;
        let verb = match decision.as_str() {
            "delete" => "deletes",
            "archive" => "archives",
            "report" => "reports",
            _ => "keeps",
        };
        let mut lines = vec![format!("A sweep {verb} {repository}@{digest}: {reason}.")];
        if verb != "keeps"
            && let Some(why) = &self.stopped
        {
            lines.push(format!("Nothing is removed now: {why}."));
        }
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let shown = |time: &Option<String>| time.clone().unwrap_or_else(|| "unknown".to_owned());
        lines.push(format!(
            "Tags:      {}",
            if tags.is_empty() { "none".to_owned() } else { tags.join(" ") }
        ));
        lines.push(format!("Status:    {status}"));
        lines.push(format!("Pushed:    {}", shown(&self.pushed_at)));
        lines.push(format!("Pulled:    {}", shown(&self.pulled_at)));
        if let Some(Unit { image, parts, referrers }) = &self.unit
            && (image != digest || !parts.is_empty() || !referrers.is_empty())
        {
            lines.push(format!("Belongs to {image}, which has:"));
            lines.extend(parts.iter().map(|part| format!("  part      {part}")));
            lines.extend(referrers.iter().map(|referrer| format!("  referrer  {referrer}")));
        }
        lines.join("\n")
    }
}
