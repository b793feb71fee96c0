//! What becomes of images that nobody needs: a plan that is read, carried out, and read again;
//! one that a guard stops; and what else is not as the policy says.

mod fill;
mod table;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::inbox::{Inbox, same};
use super::{ask, folded, step, word};
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
pub async fn show(inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let aws = inbox.aws;
    aws.lambda().settled().await;
    fill::deployments(aws)?;
    fill::infrastructure(aws)?;

    step(
        "What would be cleaned up in deployments, and why everything else stays",
        "Asked by hand; nothing is changed, and nobody is told. Each component keeps its newest \
         ten. Images of an index and signatures go, and stay, with what they belong to.",
    );
    let plan = inbox.invoke(&event!("read")?).await?;
    println!("   {}\n", counts(&plan));
    table::print(&plan);
    println!();
    inbox.show_calls();
    inbox.expect_told(&[])?;

    step("Why is myapp-v1.0.0 still there?", "One image is explained, by its tag or its digest.");
    let explained = inbox.invoke(&event!("explain")?).await?;
    let (decision, reason) = (word(&explained["decision"]), word(&explained["reason"]));
    println!("   {decision}: {reason}");
    for (what, at) in [("pushed", "pushedAt"), ("pulled", "pulledAt")] {
        println!("   {what} on {}", word(&explained[at]).split('T').next().unwrap_or_default());
    }

    step(
        "The schedules are due: both repositories are swept",
        "What goes is first in the archive, from where it can be restored for 90 days.",
    );
    inbox.sweep().await?;
    inbox.show_calls();
    let archived = inbox.archived(REPOSITORY)?;
    let planned = digests(&plan["removals"], "digest");
    ensure!(archived == planned, "archived are {archived:?}, and not {planned:?}");
    println!("   in the archive of {REPOSITORY} now: {}, as planned", archived.len());
    println!("   in that of infrastructure: {}", inbox.archived("infrastructure")?.len());
    // What the audit tells comes last.
    inbox.expect_told(&["cleanup", "cleanup", "self-audit"])?;
    inbox.show_alerts_with("of deployments went to the archive", false, true);
    inbox.show_alerts_with("of infrastructure went to the archive", false, false);

    step("They are due again, and there is nothing to do", "So nothing is changed, nor told.");
    inbox.sweep().await?;
    inbox.show_calls();
    inbox.expect_no_change()?;
    inbox.expect_told(&[])?;

    step(
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
    inbox.expect_told(&["cleanup"])?;
    inbox.show_titles()?;

    guarded(inbox).await?;
    audited(inbox).await
}

/// A plan that would take too much away, and somebody who means it.
async fn guarded(inbox: &Inbox<'_>) -> anyhow::Result<()> {
    fill::nightly(inbox.aws)?;
    step(
        "A pipeline left 45 old images of nightly, and a sweep is due",
        "More than twenty would go, and more than MaxRemovePercent: that may be a mistake, so \
         that nothing goes, and somebody is asked.",
    );
    inbox.sweep().await?;
    inbox.show_calls();
    inbox.expect_no_change()?;
    inbox.expect_told(&["cleanup"])?;
    let stopped = inbox.alerts()?.pop().context("there is no alert")?;
    // As Slack has it alone: with the severity before the title.
    inbox.show_alerts_with("MEDIUM: The cleanup", false, true);

    step(
        "Somebody has read that plan, and confirms it by its hash",
        "Exactly what was read is done: were it another plan by now, it would be refused.",
    );
    let mut confirm = event!("confirm")?;
    confirm["confirm"] = stopped["details"]["hash"].clone();
    let confirmed = inbox.invoke(&confirm).await?;
    println!("   {}", counts(&confirmed));
    ensure!(
        confirmed["removed"] == stopped["details"]["imagesTotal"],
        "not all of it went: {confirmed:#}"
    );
    inbox.expect_told(&["cleanup"])?;
    inbox.show_titles()
}

/// A repository that somebody changed by hand.
async fn audited(inbox: &Inbox<'_>) -> anyhow::Result<()> {
    step(
        "Somebody made the tags of infrastructure mutable, by hand",
        "Each sweep also looks whether a repository is what its policy says. That is told and \
         never changed.",
    );
    let mutable = json!({"repositoryName": "infrastructure", "imageTagMutability": "MUTABLE"});
    ask(inbox.aws, "PutImageTagMutability", &mutable)?;
    inbox.sweep().await?;
    let names = json!({"repositoryNames": ["infrastructure"]});
    let found = ask(inbox.aws, "DescribeRepositories", &names)?;
    println!("   in ECR they are still {}", word(&found["repositories"][0]["imageTagMutability"]));
    inbox.expect_told(&["self-audit"])?;
    inbox.show_alerts(false, false);
    Ok(())
}

/// A plan in a line.
fn counts(plan: &Value) -> String {
    let number = |name: &str| plan[name].as_u64().unwrap_or_default();
    let stopped = plan["stopped"].as_str();
    let stopped = stopped.map_or_else(String::new, |why| format!("; stopped: {why}"));
    format!(
        "plan {}: of {} images {} stay and {} go, {} MB{stopped}",
        word(&plan["hash"]),
        number("examined"),
        number("kept"),
        number("planned"),
        number("bytes") / 1_000_000,
    )
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
    async fn invoke(&self, request: &Value) -> anyhow::Result<Value> {
        self.clear();
        println!("   aws lambda invoke --function-name {}", self.function);
        println!("      --payload '{request}'\n");
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

    /// Shows what the function called, and how often, in the order of the first of each.
    fn show_calls(&self) {
        let calls = self.calls();
        let mut counted: Vec<(&str, usize)> = Vec::new();
        for call in calls.split(", ") {
            match counted.iter_mut().find(|(of, _)| *of == call) {
                Some((_, count)) => *count += 1,
                None => counted.push((call, 1)),
            }
        }
        let each = counted.iter().map(|(call, count)| match count {
            1 => (*call).to_owned(),
            _ => format!("{call} ({count} times)"),
        });
        let all = format!("calls of AWS: {}", each.collect::<Vec<_>>().join(", "));
        folded(&all).for_each(|line| println!("   {line}"));
    }

    /// The kinds of alerts that have to have come, in any order.
    fn expect_told(&self, expected: &[&str]) -> anyhow::Result<()> {
        let alerts = self.alerts()?;
        let mut kinds: Vec<&str> = alerts.iter().map(|alert| word(&alert["kind"])).collect();
        kinds.sort_unstable();
        ensure!(kinds == expected, "expected to be told {expected:?}, not {kinds:?}");
        if kinds.is_empty() {
            println!("   nothing is told");
        }
        Ok(())
    }

    fn expect_no_change(&self) -> anyhow::Result<()> {
        let calls = self.calls();
        let change = CHANGES.iter().find(|change| calls.contains(**change));
        ensure!(change.is_none(), "a repository was changed: {calls}");
        Ok(())
    }

    /// Shows what the alerts say first.
    fn show_titles(&self) -> anyhow::Result<()> {
        for alert in self.alerts()? {
            println!("   told: {}", word(&alert["title"]));
        }
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
