//! Sweeps, and the reaction of `image-sweep`: a plan that is read and carried out, a sweep with
//! nothing to do, a plan that exceeds the limit, and settings that differ from the policy.

pub mod fill;

use anyhow::{Context as _, ensure};
use chrono::DateTime;
use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use local_aws::LocalAws;
use local_aws::world::record_tags;
use serde_json::{Value, json};

use super::deployment::STACK;
use super::inbox::Inbox;
use super::story::{Alert, Part, Shown, Story};
use super::{call_ecr, counted, word};
use crate::push::Client;

/// A request of `events/image-sweep`.
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
pub const DISPATCH: &str = "ecr-warden-SweepDispatchFunction";

/// The operations that change the images of a repository.
const CHANGES: [&str; 3] = ["UpdateImageStorageClass", "BatchDeleteImage", "PutImage"];

/// Sweeps the repositories and shows the reaction.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let aws = inbox.aws;
    aws.lambda().settled().await;
    fill::deployments(aws)?;
    fill::infrastructure(aws)?;

    story.begin_step(
        "Read the plan for deployments",
        "An operator invokes the function in report mode, which changes nothing and sends no alert. \
         Each component keeps its ten newest and its ten highest versions. The images of an index \
         and the signatures of an image are kept and removed together with that index or image.",
    );
    let plan = inbox.invoke(story, &event!("read")?).await?;
    story.show(Part::Plan { answer: plan.clone(), whole: true });
    story.show(inbox.calls_part(true));
    inbox.expect_alerts(story, &[], |_| Shown::Nothing)?;
    story.end_step(format!(
        "A plan for deployments keeps {} of {} images and removes {}. Nothing was changed yet.",
        plan["kept"], plan["examined"], plan["planned"]
    ));

    story.begin_step(
        "Ask why myapp-v1.0.0 is kept",
        "The function explains the decision about one image, by its tag or its digest.",
    );
    let explained = inbox.invoke(story, &event!("explain")?).await?;
    let outcome =
        format!("A sweep keeps deployments:myapp-v1.0.0, because {}.", word(&explained["reason"]));
    story.show(Part::Explained { answer: explained });
    story.end_step(outcome);

    story.begin_step(
        "The schedule starts a round of sweeps",
        "The function sweep-dispatch lists the registry and queues both repositories, because no sweep \
         of them is known. A sweep archives tagged images, and the archive can restore them for 90 days. A sweep \
         deletes untagged images, which nothing can restore.",
    );
    inbox.sweep().await?;
    story.show(inbox.calls_part(true));
    let archived = inbox.archived(REPOSITORY)?;
    let removals = plan["removals"].as_array().into_iter().flatten();
    let to_archive = removals.filter(|entry| entry["decision"] == "archive").cloned();
    let planned = digests(&Value::Array(to_archive.collect()), "digest");
    ensure!(archived == planned, "the archive has {archived:?}, and the plan {planned:?}");
    let infrastructure = inbox.archived("infrastructure")?;
    let archived_count = archived.len() + infrastructure.len();
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
    // The alert of the self-audit is shown on the page only: a later step shows one in the text.
    let alerts =
        inbox.expect_alerts(story, &["cleanup", "cleanup", "self-audit"], |alert| {
            match (alert.field("kind"), alert.field("repository")) {
                ("cleanup", REPOSITORY) => Shown::EmailAndSlack,
                ("cleanup", _) => Shown::Email,
                _ => Shown::Nothing,
            }
        })?;
    let removed: u64 =
        alerts.iter().filter_map(|alert| alert.json["details"]["removed"].as_u64()).sum();
    let deleted = removed - archived_count as u64;
    story.end_step(format!(
        "The sweeps of the round archived {} and deleted {}. The alerts name each reason.",
        counted(archived_count as u64, "image"),
        counted(deleted, "untagged image")
    ));

    story.begin_step(
        "The schedule starts a second round",
        "No image was pushed since the first round, and no image is old enough to be removed. So the \
         round queues no sweep.",
    );
    inbox.sweep().await?;
    story.show(Inbox { aws, function: DISPATCH }.calls_part(true));
    let swept = inbox.calls();
    ensure!(swept.is_empty(), "the second round swept a repository: {swept:?}");
    inbox.expect_alerts(story, &[], |_| Shown::Nothing)?;
    story.end_step("The second round found nothing that is due, and swept no repository.");

    push_version(story, inbox).await?;
    guarded(story, inbox).await?;
    audited(story, inbox).await
}

/// Pushes a version that puts one version beyond the count, and shows the sweep that the push starts.
async fn push_version(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let aws = inbox.aws;
    story.begin_step(
        "docker push deployments:myapp-v1.12.0",
        "A push also queues a sweep, at most once an hour. The component myapp now has eleven \
         versions and keeps ten.",
    );
    let client = Client::login(aws)?;
    inbox.clear();
    client.image(REPOSITORY, Some("myapp-v1.12.0"), "myapp 1.12.0", None).await?;
    aws.lambda().settled().await;
    let alerts = inbox.expect_alerts(story, &["cleanup"], |_| Shown::Title)?;
    let details = &alerts.first().context("no alert was sent")?.json["details"];
    let archived = (&details["mode"], &details["removed"]);
    ensure!(
        archived == (&json!("archive"), &json!(1)),
        "the sweep did something else: {details:#}"
    );
    story.end_step(
        "deployments:myapp-v1.12.0 was pushed. The policy keeps 10 versions, so the oldest was archived.",
    );
    Ok(())
}

/// A plan that exceeds the limit, and an operator who confirms the plan.
async fn guarded(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    fill::old_builds(inbox.aws)?;
    record_tags(inbox.aws, REPOSITORY).await;
    story.begin_step(
        "A sweep finds 45 old images of the component reporting",
        "The plan would remove more than twenty images and more than MaxRemovePercent of the \
         repository. That may be a mistake in the policy, so the function removes nothing and an \
         alert asks for a confirmation.",
    );
    inbox.sweep().await?;
    story.show(inbox.calls_part(true));
    inbox.expect_no_change()?;
    let alerts = inbox.expect_alerts(story, &["cleanup"], |_| Shown::Slack)?;
    let stopped = &alerts.first().context("no alert was sent")?.json;
    story.end_step(format!(
        "A sweep would have removed {} images at once, more than MaxRemovePercent allows: it removed none.",
        stopped["details"]["imagesTotal"]
    ));

    story.begin_step(
        "An operator reads that plan and confirms it by its hash",
        "The command stores the confirmation and the images of the plan in the ledger. If the plan \
         had changed, the command would refuse the hash.",
    );
    let hash = word(&stopped["details"]["hash"]);
    story.show(Part::Fact { text: format!("$ ecr-warden confirm {REPOSITORY} --plan {hash}") });
    let now = inbox.aws.state().now();
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let now = DateTime::from_timestamp(now as i64, 0).context("the clock is out of range")?;
    let stack = DeployedStack::read(inbox.aws.config(), STACK).await?;
    let confirmed = confirm_plans(&stack, &[REPOSITORY.parse()?], Some(hash), now).await?;
    ensure!(matches!(confirmed, Confirmed::Yes(_)), "the plan was not confirmed: {confirmed:?}");
    inbox.sweep().await?;
    let alerts = inbox.expect_alerts(story, &["cleanup"], |_| Shown::Title)?;
    let removed = &alerts.first().context("no alert was sent")?.json["details"]["removed"];
    ensure!(*removed == stopped["details"]["imagesTotal"], "the sweep removed {removed}");
    story.end_step(format!(
        "An operator confirmed the plan of {removed} images by its hash. The next sweep archived them."
    ));
    Ok(())
}

/// A setting that somebody changed by hand.
async fn audited(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    story.begin_chapter("Report settings that differ from the policy");
    story.begin_step(
        "Somebody makes the tags of infrastructure mutable by hand",
        "Each sweep compares the settings of the repository with the policy. The function reports a \
         difference and never changes a setting.",
    );
    let mutable = json!({"repositoryName": "infrastructure", "imageTagMutability": "MUTABLE"});
    call_ecr(inbox.aws, "PutImageTagMutability", &mutable)?;
    inbox.sweep().await?;
    let names = json!({"repositoryNames": ["infrastructure"]});
    let found = call_ecr(inbox.aws, "DescribeRepositories", &names)?;
    let still = word(&found["repositories"][0]["imageTagMutability"]);
    ensure!(still == "MUTABLE", "the sweep changed the mutability to {still}");
    story.show(Part::Fact { text: format!("ECR says that the tags are still {still}") });
    inbox.expect_alerts(story, &["self-audit"], |_| Shown::Email)?;
    story.end_step(
        "Somebody made the tags of infrastructure mutable. The next sweep reported that and changed nothing.",
    );

    story.begin_step(
        "An operator makes the tags immutable again",
        "CloudFormation does not notice a change that was made outside the stack, so an operator \
         undoes the change by hand.",
    );
    let immutable = json!({"repositoryName": "infrastructure", "imageTagMutability": "IMMUTABLE"});
    let set = call_ecr(inbox.aws, "PutImageTagMutability", &immutable)?;
    let mutability = word(&set["imageTagMutability"]);
    story.show(Part::Fact { text: format!("ECR says that the tags are {mutability} again") });
    story.end_step(format!("An operator made the tags of infrastructure {mutability} again."));
    Ok(())
}

/// Removes the pushes of earlier steps from the ledger, the queue and the warm functions, as if they
/// had never queued a sweep.
pub async fn forget_pushes(aws: &LocalAws) -> anyhow::Result<()> {
    aws.lambda().settled().await;
    aws.lambda().stop();
    for repository in ["infrastructure", REPOSITORY] {
        let update = json!({
            "TableName": format!("{STACK}-Ledger"),
            "Key": {"fact": {"S": format!("sweep {repository}")}},
            "UpdateExpression": "REMOVE pushed_at, push_holder",
        });
        aws.ask("dynamodb", "DynamoDB_20120810.UpdateItem", &update).await?;
    }
    let queue = json!({"QueueName": format!("{STACK}-SweepQueue")});
    let found = aws.ask("sqs", "AmazonSQS.GetQueueUrl", &queue).await?;
    let purge = json!({"QueueUrl": found["QueueUrl"]});
    aws.ask("sqs", "AmazonSQS.PurgeQueue", &purge).await.map(|_| ())
}

/// The digests of a list of images, sorted.
fn digests(images: &Value, named: &str) -> Vec<String> {
    let images = images.as_array().into_iter().flatten();
    let mut digests: Vec<String> = images.map(|image| word(&image[named]).to_owned()).collect();
    digests.sort_unstable();
    digests
}

impl Inbox<'_> {
    /// Invokes the function as `aws lambda invoke` does, and shows the command.
    pub async fn invoke(&self, story: &mut Story, request: &Value) -> anyhow::Result<Value> {
        self.clear();
        let (function, payload) = (self.function.to_owned(), request.clone());
        story.show(Part::Request { function, payload });
        let invoked = self.aws.lambda().invoke(self.function, request.clone()).await?;
        ensure!(invoked.error.is_none(), "{request} failed: {:#}", invoked.payload);
        self.aws.lambda().settled().await;
        Ok(invoked.payload)
    }

    /// Starts the schedule of the rounds, and waits for the sweeps.
    async fn sweep(&self) -> anyhow::Result<()> {
        self.clear();
        self.aws.fire_schedules(DISPATCH)?;
        self.aws.lambda().settled().await;
        Ok(())
    }

    /// Shows the alerts that were sent, which must be of these kinds.
    pub fn expect_alerts(
        &self,
        story: &mut Story,
        expected: &[&str],
        shown: impl Fn(&Alert) -> Shown,
    ) -> anyhow::Result<Vec<Alert>> {
        let mut alerts = self.alerts(Shown::Nothing)?;
        alerts.sort_by_key(|alert| [alert.field("kind"), alert.field("repository")].concat());
        let kinds: Vec<&str> = alerts.iter().map(|alert| alert.field("kind")).collect();
        ensure!(kinds == expected, "expected the alerts {expected:?}, not {kinds:?}");
        if kinds.is_empty() {
            story.show(Part::NoAlert);
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

    /// The digests of the images in the archive of a repository.
    fn archived(&self, repository: &str) -> anyhow::Result<Vec<String>> {
        let all = json!({
            "repositoryName": repository,
            "maxResults": 1_000,
            "filter": {"imageStatus": "ARCHIVED"},
        });
        Ok(digests(&call_ecr(self.aws, "DescribeImages", &all)?["imageDetails"], "imageDigest"))
    }
}
