//! Twenty remedies of alerts, each carried out by its AWS CLI form, and four by `ecr-warden`.

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};

use super::Run;
use crate::stack::text;

/// The repository whose tags are quarantined, and the repository whose images are archived.
const QUARANTINED: &str = "infrastructure";
const ARCHIVED: &str = "deployments";

impl Run<'_> {
    /// Runs the remedies of ten quarantined images and of ten archived units. The function judges
    /// the pushes, and `inbox` receives its alerts.
    pub fn sampled_remedies(&self, function: &str, inbox: &str) -> anyhow::Result<()> {
        let mut executed = 0;
        for nth in 0..12 {
            let uses_tool = nth >= 10;
            self.quarantined_image(function, inbox, nth, uses_tool)?;
            self.archived_unit(function, inbox, nth, uses_tool)?;
            executed += if uses_tool { 0 } else { 2 };
        }
        self.equal("remedies that the AWS CLI carried out", &executed, &20)
    }

    /// An image is quarantined. Its remedy gives it the suggested tag, or the refused one again.
    fn quarantined_image(
        &self,
        function: &str,
        inbox: &str,
        nth: usize,
        uses_tool: bool,
    ) -> anyhow::Result<()> {
        let tag = format!("litellm-3.{nth}.0");
        let (digest, event) = self.push_manifest(&tag)?;
        self.invoke(function, &event)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        let (position, expected) =
            if nth.is_multiple_of(2) { (0, format!("litellm-v3.{nth}.0")) } else { (1, tag) };
        self.run_form(&alert, position, uses_tool)?;
        let tags = self.tags(&digest)?;
        ensure!(tags.contains(&expected), "{QUARANTINED}@{digest} has the tags {tags:?}");
        self.passed(&format!("the remedy of a quarantine adds the tag {expected}"));
        Ok(())
    }

    /// An index of up to three images is archived. Its remedy restores all of them.
    fn archived_unit(
        &self,
        function: &str,
        inbox: &str,
        nth: usize,
        uses_tool: bool,
    ) -> anyhow::Result<()> {
        let digests = {
            let mut state = self.local.aws.state();
            let now = state.now();
            let registry = state.ecr();
            let parts = (0..nth % 4).map(|_| registry.push_made_up(ARCHIVED, &[], now));
            let parts: Result<Vec<String>, _> = parts.collect();
            let tag = format!("feature-{nth}");
            let pushed = parts.and_then(|mut parts| {
                let root = match parts.as_slice() {
                    [] => registry.push_made_up(ARCHIVED, &[&tag], now)?,
                    parts => registry.push_index(ARCHIVED, parts, &[&tag], now)?,
                };
                parts.push(root);
                Ok(parts)
            });
            pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?
        };
        self.invoke(function, &self.last_push()?)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        for digest in &digests {
            let status = self.status(digest)?;
            ensure!(status == "ARCHIVED", "{ARCHIVED}@{digest} is {status}, and not archived");
        }
        self.run_form(&alert, 0, uses_tool)?;
        for digest in &digests {
            let status = self.status(digest)?;
            ensure!(status == "ACTIVATING", "{ARCHIVED}@{digest} is {status} after its remedy");
        }
        self.passed(&format!(
            "the remedy of an archived unit restores its {} images",
            digests.len()
        ));
        // The function archives nothing while ECR restores an index. The root is deleted first.
        for digest in digests.iter().rev() {
            let ids = json!([{"imageDigest": digest}]);
            let delete = json!({"repositoryName": ARCHIVED, "imageIds": ids});
            self.ecr("BatchDeleteImage", &delete)?;
        }
        Ok(())
    }

    /// Runs one form of a remedy.
    fn run_form(&self, alert: &Value, position: usize, uses_tool: bool) -> anyhow::Result<()> {
        let remedy = alert["remedies"].get(position).context("the alert has no such remedy")?;
        let command = if uses_tool {
            self.with_tool(&text(remedy, "/command"))
        } else {
            text(remedy, "/awsCli")
        };
        ensure!(!command.is_empty(), "the remedy has no such form: {remedy}");
        self.local.shell(&command).with_context(|| command.clone())?;
        Ok(())
    }
}
