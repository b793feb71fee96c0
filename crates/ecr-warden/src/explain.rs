//! `ecr-warden explain`: shows why the next sweep keeps or removes one image.

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::quarantine::Quarantine;

use crate::deployed::{Connection, DeployedStack, Output};
use crate::image::ImageReference;
use crate::plan::SWEEP;
use crate::print::{print, print_json};

/// The options of `ecr-warden explain`.
#[derive(Args)]
pub struct ExplainOptions {
    /// The image, by its tag or its digest, with or without the registry before the repository.
    #[arg(value_name = "IMAGE")]
    image: ImageReference,
    #[command(flatten)]
    connection: Connection,
}

/// The decision about an image, as `image-sweep` returns it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    repository: RepositoryName,
    digest: Digest,
    tags: Vec<Tag>,
    /// The tag by which the image was asked for, if enforcement removed that tag.
    removed_tag: Option<Tag>,
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

/// Prints the decision about the image and its reason. Returns false if the repository has no such
/// image.
pub async fn explain(options: &ExplainOptions) -> anyhow::Result<bool> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let ImageReference { repository, name } = &options.image;
    stack.check_governed(repository)?;
    let request = json!({"repository": repository, "image": name.to_string()});
    let answer = stack.invoke(SWEEP, &request).await?;
    let missing = find_missing(&answer);
    if options.connection.output == Output::Json {
        print_json(&answer)?;
        return Ok(missing.is_none());
    }
    if let Some(missing) = missing {
        print(&format!("{missing}."))?;
        return Ok(false);
    }
    let explanation: Explanation =
        serde_json::from_value(answer).context("reading the decision of the function")?;
    print(&explanation.to_text())?;
    Ok(true)
}

/// The sentence of the function about an image that the repository does not have.
fn find_missing(answer: &Value) -> Option<&str> {
    answer.get("missing").and_then(Value::as_str)
}

impl Explanation {
    fn to_text(&self) -> String {
        let Self { repository, digest, tags, status, decision, reason, .. } = self;
        let verb = match decision.as_str() {
            "delete" => "deletes",
            "archive" => "archives",
            "report" => "reports",
            _ => "keeps",
        };
        let mut lines = Vec::new();
        if let Some(removed) = &self.removed_tag {
            let is_quarantine =
                |tag: &&Tag| Quarantine::read(tag).is_some_and(|read| read.is_for(removed));
            let names: Vec<&str> = tags.iter().filter(is_quarantine).map(Tag::as_str).collect();
            lines.push(format!(
                "ECR Warden removed the tag {removed} from this image. Its quarantine tag is {}.",
                names.join(" ")
            ));
        }
        lines.push(format!("The next sweep {verb} {repository}@{digest}: {reason}."));
        if verb != "keeps"
            && let Some(why) = &self.stopped
        {
            lines.push(format!("Nothing is removed now: {why}."));
        }
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let time_or_unknown =
            |time: &Option<String>| time.clone().unwrap_or_else(|| "unknown".to_owned());
        lines.push(format!(
            "Tags:      {}",
            if tags.is_empty() { "none".to_owned() } else { tags.join(" ") }
        ));
        lines.push(format!("Status:    {status}"));
        lines.push(format!("Pushed:    {}", time_or_unknown(&self.pushed_at)));
        lines.push(format!("Pulled:    {}", time_or_unknown(&self.pulled_at)));
        if let Some(Unit { image, parts, referrers }) = &self.unit
            && (image != digest || !parts.is_empty() || !referrers.is_empty())
        {
            lines.push(format!("Unit:      {image}"));
            lines.extend(parts.iter().map(|part| format!("  part      {part}")));
            lines.extend(referrers.iter().map(|referrer| format!("  referrer  {referrer}")));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_text_has_the_reason_the_times_and_the_unit_of_the_image() {
        let digest = |digits: &str| format!("sha256:{}", digits.repeat(32));
        let answer = json!({
            "repository": "deployments",
            "digest": digest("ab"),
            "tags": ["app-v1.0.0"],
            "status": "ACTIVE",
            "pushedAt": "2026-08-01T10:00:00Z",
            "pulledAt": null,
            "decision": "archive",
            "reason": "number 11 of 11 of app, which keeps 10",
            "unit": {"image": digest("ab"), "parts": [digest("cd")], "referrers": []},
            "stopped": "the first plan waits for a confirmation",
        });
        let text = |answer: Value| serde_json::from_value::<Explanation>(answer).unwrap().to_text();
        expect![[r#"
            The next sweep archives deployments@sha256:abababababababababababababababababababababababababababababababab: number 11 of 11 of app, which keeps 10.
            Nothing is removed now: the first plan waits for a confirmation.
            Tags:      app-v1.0.0
            Status:    ACTIVE
            Pushed:    2026-08-01T10:00:00Z
            Pulled:    unknown
            Unit:      sha256:abababababababababababababababababababababababababababababababab
              part      sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"#]].assert_eq(&text(answer.clone()));
        let mut quarantined = answer.clone();
        quarantined["tags"] = json!(["quarantine-20261124-abababababab-app-1.0.0"]);
        quarantined["removedTag"] = json!("app-1.0.0");
        let quarantined = text(quarantined);
        let (first, _) = quarantined.split_once('\n').unwrap();
        expect!["ECR Warden removed the tag app-1.0.0 from this image. Its quarantine tag is quarantine-20261124-abababababab-app-1.0.0."].assert_eq(first);
        assert_eq!(find_missing(&answer), None);
        let missing = json!({"repository": "deployments", "image": "x", "missing": "no image x"});
        assert_eq!(find_missing(&missing), Some("no image x"));
        let mut kept = answer;
        kept["decision"] = json!("keep");
        kept["reason"] = json!("it was pulled on 2026-11-01, within 30 days");
        kept["tags"] = json!([]);
        kept["unit"] = Value::Null;
        expect![[r#"
            The next sweep keeps deployments@sha256:abababababababababababababababababababababababababababababababab: it was pulled on 2026-11-01, within 30 days.
            Tags:      none
            Status:    ACTIVE
            Pushed:    2026-08-01T10:00:00Z
            Pulled:    unknown"#]].assert_eq(&text(kept));
    }
}
