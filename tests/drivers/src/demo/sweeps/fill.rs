//! The images in the repositories before the sweeps: at least one for each reason of a decision.

use std::time::Duration;

use anyhow::anyhow;
use chrono::DateTime;
use local_aws::LocalAws;
use local_aws::ecr::{Call, DAY, Error, Registry, Time};
use serde_json::json;

/// The size of each image.
const BYTES: u64 = 180_000_000;

/// Images of `deployments`. Most of them are of the component `myapp`, which keeps ten versions.
pub fn deployments(aws: &LocalAws) -> anyhow::Result<()> {
    fill(aws, "deployments", |fill| {
        for version in 2..=11 {
            let (tag, days) = (format!("myapp-v1.{version}.0"), f64::from(13 - version) * 7.0);
            match version {
                10 => fill.index(&tag, days).map(drop)?,
                11 => fill.push(&[&tag], 1.0).map(drop)?,
                _ => fill.push(&[&tag], days).map(drop)?,
            }
        }
        // Ten versions are newer than each of the following versions. Some of these have another
        // reason to be kept.
        let pulled = fill.push(&["myapp-v1.0.0"], 300.0)?;
        fill.registry.image(fill.repository, &pulled)?.pulled_at = Some(fill.now - 3.0 * DAY);
        fill.push(&["myapp-v1.0.1-lts"], 280.0)?;
        fill.push(&["myapp-v1.0.2", "myapp-prod"], 260.0)?;
        let restored = fill.push(&["myapp-v1.0.3"], 240.0)?;
        fill.registry.image(fill.repository, &restored)?.activated_at = Some(fill.now - 2.0 * DAY);
        let index = fill.index("myapp-v1.0.4", 220.0)?;
        fill.registry.push_attached(fill.repository, &index, ".sig", fill.now - 220.0 * DAY)?;
        fill.push(&["myapp-v1.0.5"], 200.0)?;
        fill.push(&["myapp-v1.0.6"], 180.0)?;
        fill.push(&["billing-v0.9.0"], 400.0)?;
        fill.push(&["release_2025"], 350.0)?;
        fill.push(&[], 9.0)?;
        let missing_subject = format!("sha256:{}", "0f".repeat(32));
        fill.registry.push_attached(
            fill.repository,
            &missing_subject,
            ".sig",
            fill.now - 90.0 * DAY,
        )?;
        Ok(())
    })
}

/// Quarantined images of `infrastructure`.
pub fn infrastructure(aws: &LocalAws) -> anyhow::Result<()> {
    fill(aws, "infrastructure", |fill| {
        fill.push(&["litellm-v1.70.0-lts"], 300.0)?;
        fill.quarantine(&[], "litellm-1.71.0", 20.0)?;
        fill.quarantine(&[], "litellm-1.72.0", 10.0)?;
        fill.quarantine(&["litellm-v1.73.0"], "litellm-1.73.0", 10.0)
    })
}

/// Old versions of one component, from a pipeline that pushes an image for each commit.
pub fn old_builds(aws: &LocalAws) -> anyhow::Result<()> {
    fill(aws, "deployments", |fill| {
        for nth in 0..45 {
            fill.push(&[&format!("reporting-{:07x}", 0xabc_0000 + nth)], 60.0 + f64::from(nth))?;
        }
        Ok(())
    })
}

/// Old versions of one component of `infrastructure`, which keeps twenty versions.
pub fn gateway(aws: &LocalAws) -> anyhow::Result<()> {
    fill(aws, "infrastructure", |fill| {
        for version in 0..65 {
            fill.push(&[&format!("gateway-v1.{version}.0")], 125.0 - f64::from(version))?;
        }
        Ok(())
    })
}

struct Fill<'a> {
    registry: &'a mut Registry,
    repository: &'a str,
    now: Time,
}

fn fill(
    aws: &LocalAws,
    repository: &str,
    with: impl FnOnce(&mut Fill<'_>) -> Result<(), Error>,
) -> anyhow::Result<()> {
    let mut state = aws.state();
    let now = state.now();
    let registry = state.ecr();
    let done = with(&mut Fill { registry: &mut *registry, repository, now });
    done.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    // No function receives an event of these pushes, which are in the past.
    registry.events.clear();
    Ok(())
}

impl Fill<'_> {
    fn push(&mut self, tags: &[&str], days_ago: f64) -> Result<String, Error> {
        let at = self.now - days_ago * DAY;
        let digest = self.registry.push_made_up(self.repository, tags, at)?;
        self.registry.image(self.repository, &digest)?.manifest.size = BYTES;
        Ok(digest)
    }

    /// Pushes an index of two untagged images.
    fn index(&mut self, tag: &str, days_ago: f64) -> Result<String, Error> {
        let images = [self.push(&[], days_ago)?, self.push(&[], days_ago)?];
        self.registry.push_index(self.repository, &images, &[tag], self.now - days_ago * DAY)
    }

    /// Pushes an image that was quarantined so many days ago because of the tag `bad`.
    fn quarantine(&mut self, tags: &[&str], bad: &str, days_ago: f64) -> Result<(), Error> {
        let digest = self.push(tags, days_ago)?;
        let since = DateTime::UNIX_EPOCH + Duration::from_secs_f64(self.now - days_ago * DAY);
        let tag = format!("quarantine-{}-{}-{bad}", since.format("%Y%m%d"), &digest[7..19]);
        let image = self.registry.image(self.repository, &digest)?;
        let input = json!({
            "repositoryName": self.repository,
            "imageManifest": image.manifest_text,
            "imageTag": tag,
        });
        let call = Call { operation: "PutImage", principal: None, now: self.now, endpoint: "" };
        self.registry.serve(&call, &input).map(drop)
    }
}
