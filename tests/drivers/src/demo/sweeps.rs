//! What becomes of images that nobody needs: a plan that is read, carried out, and read again;
//! one that a guard stops; and what else is not as the policy says.

mod fill;

use anyhow::{Context as _, ensure};
use chrono::DateTime;
use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use serde_json::{Value, json};

use super::deployment::STACK;
use super::inbox::{Inbox, same};
use super::story::{Alert, Part, Shown, Story};
use super::{ask, word};
use crate::push::Client;

/// A request or an event of `events/image-sweep`.
macro_rules! event {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../../../../events/image-sweep/",
            $name,
            ".json"
        )))
    };
}

const REPOSITORY: &str = "deployments";

/// The calls that change a repository.
const CHANGES: [&str; 3] = ["UpdateImageStorageClass", "BatchDeleteImage", "PutImage"];

/// Sweeps, and shows what happens.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let aws = inbox.aws;
    aws.lambda().settled().await;
    fill::deployments(aws)?;
    fill::infrastructure(aws)?;

    story.step(
        "What would be cleaned up in deployments, and why everything else stays",
        "Asked by hand; nothing is changed, and nobody is told. Each component keeps its newest \
         ten. Images of an index and signatures go, and stay, with what they belong to.",
    );
    let plan = inbox.invoke(story, &event!("read")?).await?;
    story.show(Part::Plan { answer: plan.clone(), whole: true });
    story.show(inbox.show_calls(true));
    inbox.expect_told(story, &[], |_| Shown::Nothing)?;

    story.step(
        "Why is myapp-v1.0.0 still there?",
        "One image is explained, by its tag or its digest.",
    );
    let explained = inbox.invoke(story, &event!("explain")?).await?;
    story.show(Part::Explained { answer: explained });

    story.step(
        "The schedules are due: both repositories are swept",
        "Tagged images go to the archive, from where they can be restored for 90 days. Untagged \
         images are deleted.",
    );
    inbox.sweep().await?;
    story.show(inbox.show_calls(true));
    let archived = inbox.archived(REPOSITORY)?;
    let removals = plan["removals"].as_array().into_iter().flatten();
    let to_archive = removals.filter(|entry| entry["decision"] == "archive").cloned();
    let planned = digests(&Value::Array(to_archive.collect()), "digest");
    ensure!(archived == planned, "archived are {archived:?}, and not {planned:?}");
    let infrastructure = inbox.archived("infrastructure")?;
    story.show(Part::Archived {
        repository: REPOSITORY.to_owned(),
        digests: archived,
        as_planned: true,
    });
    story.show(Part::Archived {
        repository: "infrastructure".to_owned(),
        digests: infrastructure,
        as_planned: false,
    });
    // What the audit tells comes last.
    inbox.expect_told(story, &["cleanup", "cleanup", "self-audit"], |alert| {
        match (alert.field("kind"), alert.field("repository")) {
            ("cleanup", REPOSITORY) => Shown::EmailAndSlack,
            ("cleanup", _) => Shown::Email,
            _ => Shown::Nothing,
        }
    })?;

    story
        .step("They are due again, and there is nothing to do", "So nothing is changed, nor told.");
    inbox.sweep().await?;
    story.show(inbox.show_calls(true));
    inbox.expect_no_change()?;
    inbox.expect_told(story, &[], |_| Shown::Nothing)?;

    story.step(
        "docker push deployments:myapp-v1.12.0",
        "The first push of an hour sweeps too: of eleven the oldest goes.",
    );
    let client = Client::login(aws)?;
    inbox.clear();
    client.image(REPOSITORY, Some("myapp-v1.12.0"), "myapp 1.12.0", None).await?;
    aws.lambda().settled().await;
    let expected = event!("pushed")?;
    let told = aws.state().events.first().cloned().context("ECR told of no push")?;
    ensure!(same(&told, &expected), "ECR told {told:#}\nand not {expected:#}");
    inbox.expect_told(story, &["cleanup"], |_| Shown::Title)?;

    guarded(story, inbox).await?;
    audited(story, inbox).await
}

/// A plan that would take too much away, and somebody who means it.
async fn guarded(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    fill::nightly(inbox.aws)?;
    story.step(
        "A pipeline left 45 old images of nightly, and a sweep is due",
        "More than twenty would go, and more than MaxRemovePercent: that may be a mistake, so \
         that nothing goes, and somebody is asked.",
    );
    inbox.sweep().await?;
    story.show(inbox.show_calls(true));
    inbox.expect_no_change()?;
    let told = inbox.expect_told(story, &["cleanup"], |_| Shown::Slack)?;
    let stopped = &told.first().context("there is no alert")?.json;

    story.step(
        "Somebody has read that plan, and confirms it by its hash",
        "The confirmation is an item of the ledger, with the images that were read. If the plan had \
         changed, the command would refuse the hash.",
    );
    let hash = word(&stopped["details"]["hash"]);
    story.show(Part::Fact { text: format!("$ ecr-warden confirm {REPOSITORY} --plan {hash}") });
    let now = inbox.aws.state().now();
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let now = DateTime::from_timestamp(now as i64, 0).context("a time")?;
    let stack = DeployedStack::read(inbox.aws.config(), STACK).await?;
    let confirmed = confirm_plans(&stack, &[REPOSITORY.parse()?], Some(hash), now).await?;
    ensure!(matches!(confirmed, Confirmed::Yes(_)), "it was not confirmed: {confirmed:?}");
    inbox.sweep().await?;
    let alerts = inbox.expect_told(story, &["cleanup"], |_| Shown::Title)?;
    let removed = &alerts.first().context("there is no alert")?.json["details"]["removed"];
    ensure!(*removed == stopped["details"]["imagesTotal"], "not all of it went: {removed}");
    Ok(())
}

/// A repository that somebody changed by hand.
async fn audited(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    story.step(
        "Somebody made the tags of infrastructure mutable, by hand",
        "Each sweep also looks whether a repository is what its policy says. That is told and \
         never changed.",
    );
    let mutable = json!({"repositoryName": "infrastructure", "imageTagMutability": "MUTABLE"});
    ask(inbox.aws, "PutImageTagMutability", &mutable)?;
    inbox.sweep().await?;
    let names = json!({"repositoryNames": ["infrastructure"]});
    let found = ask(inbox.aws, "DescribeRepositories", &names)?;
    let still = word(&found["repositories"][0]["imageTagMutability"]);
    story.show(Part::Fact { text: format!("in ECR they are still {still}") });
    inbox.expect_told(story, &["self-audit"], |_| Shown::Email)?;

    story.step(
        "They are set back, by hand again",
        "As the README says. CloudFormation does not see what was changed beside it.",
    );
    let immutable = json!({"repositoryName": "infrastructure", "imageTagMutability": "IMMUTABLE"});
    let set = ask(inbox.aws, "PutImageTagMutability", &immutable)?;
    let text = format!("in ECR they are {} again", word(&set["imageTagMutability"]));
    story.show(Part::Fact { text });
    Ok(())
}

/// The digests of a list of images, sorted.
fn digests(images: &Value, named: &str) -> Vec<String> {
    let images = images.as_array().into_iter().flatten();
    let mut digests: Vec<String> = images.map(|image| word(&image[named]).to_owned()).collect();
    digests.sort_unstable();
    digests
}

impl Inbox<'_> {
    /// Runs the function as `aws lambda invoke` does, and shows how that is called.
    async fn invoke(&self, story: &mut Story, request: &Value) -> anyhow::Result<Value> {
        self.clear();
        let (function, payload) = (self.function.to_owned(), request.clone());
        story.show(Part::Request { function, payload });
        let invoked = self.aws.lambda().invoke(self.function, request.clone()).await?;
        ensure!(invoked.error.is_none(), "{request} failed: {:#}", invoked.payload);
        self.aws.lambda().settled().await;
        Ok(invoked.payload)
    }

    /// Sweeps as the schedules do.
    async fn sweep(&self) -> anyhow::Result<()> {
        self.clear();
        self.aws.fire_schedules(self.function)?;
        self.aws.lambda().settled().await;
        Ok(())
    }

    /// Shows the alerts that came, of these kinds and no others, in any order.
    fn expect_told(
        &self,
        story: &mut Story,
        expected: &[&str],
        shown: impl Fn(&Alert) -> Shown,
    ) -> anyhow::Result<Vec<Alert>> {
        let mut alerts = self.alerts(Shown::Nothing)?;
        alerts.sort_by_key(|alert| [alert.field("kind"), alert.field("repository")].concat());
        let kinds: Vec<&str> = alerts.iter().map(|alert| alert.field("kind")).collect();
        ensure!(kinds == expected, "expected to be told {expected:?}, not {kinds:?}");
        if kinds.is_empty() {
            story.show(Part::NothingTold);
        }
        for alert in &mut alerts {
            alert.shown = shown(alert);
        }
        story.show_alerts(alerts.clone());
        Ok(alerts)
    }

    fn expect_no_change(&self) -> anyhow::Result<()> {
        let calls = self.calls();
        let change = calls.iter().find(|call| CHANGES.contains(&call.as_str()));
        ensure!(change.is_none(), "a repository was changed: {calls:?}");
        Ok(())
    }

    /// What ECR has in its archive, by digest.
    fn archived(&self, repository: &str) -> anyhow::Result<Vec<String>> {
        let all = json!({
            "repositoryName": repository,
            "maxResults": 1_000,
            "filter": {"imageStatus": "ARCHIVED"},
        });
        Ok(digests(&ask(self.aws, "DescribeImages", &all)?["imageDetails"], "imageDigest"))
    }
}
