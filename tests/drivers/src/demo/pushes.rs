//! Pushes of every kind, and the reaction of `image-push` to the event of each.

use anyhow::{Context as _, anyhow, ensure};
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Value, json};

use super::inbox::{Inbox, is_same_event};
use super::story::{Alert, Part, Shown, Story};
use super::sweeps::DISPATCH;
use super::{call_ecr, decision_lines, word, words};
use crate::push::Client;

/// An event of `events/image-push`. The event that the embedded ECR sends must be equal.
macro_rules! event {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../events/image-push/", $name, ".json")))
    };
}

/// A push of an image by a tag.
struct Push<'a> {
    title: &'a str,
    why: &'a str,
    /// The events that ECR must send. The first event is about the push itself.
    events: &'a [(&'a str, &'a str)],
    layer: &'a str,
    /// The action or the kind of the alert that must be sent, or an empty text for no alert.
    expected_alert: &'a str,
    outcome: &'a str,
}

/// The pushes into the repositories of the stack.
const PUSHES: &[Push<'_>] = &[
    Push {
        title: "docker push infrastructure:litellm-v1.80.4",
        why: "The tag matches the grammar {component}-v{semver}, as most tags do.",
        events: &[event!("conforming")],
        layer: "litellm 1.80.4",
        expected_alert: "",
        outcome: "infrastructure:litellm-v1.80.4 was pushed. The tag matches the grammar, so nothing was changed.",
    },
    Push {
        title: "docker push infrastructure:litellm-1.80.5",
        why: "The tag does not match {component}-v{semver}, because the v is missing. The function adds a \
              quarantine tag to the image and removes the bad tag. ECR then sends an event for the \
              quarantine tag, which the function ignores.",
        events: &[event!("near-miss"), event!("quarantine-echo")],
        layer: "litellm 1.80.5",
        expected_alert: "quarantined",
        outcome: "infrastructure:litellm-1.80.5 was pushed. The v is missing, so the image was quarantined.",
    },
    Push {
        title: "docker push infrastructure:litellm-v0.0.0",
        why: "The tag matches {component}-v{semver}, but the policy forbids *-v0.0.0. The demonstration \
              adds this line to the template.",
        events: &[event!("forbidden")],
        layer: "litellm, a placeholder",
        expected_alert: "quarantined",
        outcome: "infrastructure:litellm-v0.0.0 was pushed. The policy forbids *-v0.0.0, so the image was quarantined.",
    },
    Push {
        title: "docker push deployments:mcp_github_latest",
        why: "The policy of deployments only reports violations, because tags there can be moved.",
        events: &[event!("reported")],
        layer: "mcp-github",
        expected_alert: "",
        outcome: "deployments:mcp_github_latest was pushed. The policy only reports bad tags there: no alert, no change.",
    },
    Push {
        title: "cosign sign infrastructure:litellm-v1.80.4",
        why: "The tag of a signature contains the digest of its image. No grammar applies to it.",
        events: &[event!("signature")],
        layer: "a signature",
        expected_alert: "",
        outcome: "A cosign signature was pushed to infrastructure. No grammar applies to the tag of a signature.",
    },
];

/// A push into a repository that somebody created by hand.
const UNEXPECTED: Push<'_> = Push {
    title: "docker push scratch:test",
    why: "Somebody created the repository scratch by hand. No rule of the policy matches it, and \
          Unmatched is report. The function sends one alert for such a repository.",
    events: &[event!("unmanaged-repository")],
    layer: "a test",
    expected_alert: "repository-violation",
    outcome: "scratch:test was pushed. No rule governs the repository scratch, so an alert was sent.",
};

/// Pushes an image of each kind and shows the reaction.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let client = Client::login(inbox.aws)?;
    for push in PUSHES {
        push.show(story, inbox, &client).await?;
    }

    story.begin_step(
        "docker buildx build --push, for two platforms: infrastructure:openwebui-v0.6.36",
        "Docker pushes the image of each platform first, without a tag. No grammar applies to an \
         image without a tag. When the index follows, the function reads it once and records its \
         images in the ledger, because scans name the images and not the index.",
    );
    let child = event!("untagged-child");
    let expected = read(&[child, child, event!("index")])?;
    let index = async {
        let amd64 = client.image("infrastructure", None, "openwebui, amd64", None).await?;
        let arm64 = client.image("infrastructure", None, "openwebui, arm64", None).await?;
        client.index("infrastructure", "openwebui-v0.6.36", &[amd64, arm64]).await
    };
    inbox.show_push(story, "infrastructure", &expected, "", index).await?;
    story.end_step(
        "infrastructure:openwebui-v0.6.36 was pushed for two platforms. The ledger records its two images.",
    );

    call_ecr(inbox.aws, "CreateRepository", &json!({"repositoryName": "scratch"}))?;
    UNEXPECTED.show(story, inbox, &client).await?;
    show_digest(story, inbox.aws).await
}

/// Publishes the digest, as the first round of each week does.
async fn show_digest(story: &mut Story, aws: &LocalAws) -> anyhow::Result<()> {
    story.begin_step(
        "Publish the digest of this week",
        "A rule that only reports sends no alert for each tag. The first round of a week publishes one \
         digest for each owner of repositories. An operator can also ask for the digest at any time.",
    );
    let inbox = Inbox { aws, function: DISPATCH };
    let request =
        serde_json::from_str(include_str!("../../../../events/sweep-dispatch/digest-now.json"))?;
    inbox.invoke(story, &request).await?;
    story.show(inbox.calls_part(false));
    inbox.expect_alerts(story, &["report"], |_| Shown::Email)?;
    story.end_step(
        "An operator asked for the digest of this week: one alert lists the bad tag of deployments.",
    );
    Ok(())
}

/// Replicates an image from another region to `deployments`. This step comes last, because nothing
/// in a replica is changed.
pub async fn show_replica(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    const SOURCE: (&str, &str) = (ACCOUNT, "us-west-2");
    story.begin_step(
        "us-west-2 replicates deployments:search-v1.0.0",
        "The event of the replication identifies deployments as a replica. ECR Warden changes \
         nothing in a replica: it only reports violations and plans.",
    );
    let logged = inbox.aws.lambda().log(inbox.function).len();
    inbox.clear();
    let call_source = |operation: &str, input: Value| {
        let answer = inbox.aws.by_hand_in(SOURCE, operation, &input);
        answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
    };
    let destinations = json!([{"region": REGION, "registryId": ACCOUNT}]);
    let rules = json!([{"destinations": destinations}]);
    call_source(
        "PutReplicationConfiguration",
        json!({"replicationConfiguration": {"rules": rules}}),
    )?;
    call_source("CreateRepository", json!({"repositoryName": "deployments"}))?;
    {
        let mut state = inbox.aws.state();
        let now = state.now();
        let pushed =
            state.registry(SOURCE.0, SOURCE.1).push_made_up("deployments", &["search-v1.0.0"], now);
        pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    }
    call_source("DescribeRegistry", json!({}))?;
    inbox.aws.lambda().settled().await;
    let (name, expected) = read(&[event!("replicated")])?.remove(0);
    let sent = std::mem::take(&mut inbox.aws.state().events);
    let sent = sent.iter().find(|event| event["detail-type"] == expected["detail-type"]);
    let sent = sent.with_context(|| format!("no event equals {name}.json"))?;
    ensure!(is_same_event(sent, &expected), "ECR sent {sent:#}\nand {name}.json is {expected:#}");
    let log = inbox.aws.lambda().log(inbox.function).split_off(logged);
    let lines = decision_lines(&log);
    ensure!(lines.concat().contains("is a replica"), "image-push logged {lines:?}");
    story.show(Part::Log { lines });
    story.show(inbox.calls_part(false));
    story.end_step(
        "us-west-2 replicated search-v1.0.0 into deployments. ECR Warden only reports there from now on.",
    );
    Ok(())
}

impl Push<'_> {
    async fn show(
        &self,
        story: &mut Story,
        inbox: &Inbox<'_>,
        client: &Client,
    ) -> anyhow::Result<()> {
        let expected = read(self.events)?;
        let (_, first) = expected.first().context("no event is expected")?;
        let detail = &first["detail"];
        let (repository, tag) = (word(&detail["repository-name"]), word(&detail["image-tag"]));
        story.begin_step(self.title, self.why);
        let artifact = detail["artifact-media-type"].as_str();
        let push = client.image(repository, Some(tag), self.layer, artifact);
        inbox.show_push(story, repository, &expected, self.expected_alert, push).await?;
        story.end_step(self.outcome);
        Ok(())
    }
}

/// The events of these files, each with the name of its file.
fn read<'n>(files: &[(&'n str, &str)]) -> anyhow::Result<Vec<(&'n str, Value)>> {
    let event = |(name, text): &(&'n str, &str)| anyhow::Ok((*name, serde_json::from_str(text)?));
    files.iter().map(event).collect()
}

impl Inbox<'_> {
    /// Pushes, waits until no function runs, and shows the log, the calls, the tags and the alerts.
    async fn show_push(
        &self,
        story: &mut Story,
        repository: &str,
        expected: &[(&str, Value)],
        expected_alert: &str,
        push: impl Future<Output = anyhow::Result<String>>,
    ) -> anyhow::Result<()> {
        let logged = self.aws.lambda().log(self.function).len();
        self.clear();
        let digest = push.await?;
        self.aws.lambda().settled().await;

        let events = std::mem::take(&mut self.aws.state().events);
        let pushes: Vec<&Value> =
            events.iter().filter(|event| event["detail"]["action-type"] == "PUSH").collect();
        for (nth, (name, expected)) in expected.iter().enumerate() {
            let sent = pushes.get(nth).with_context(|| format!("no event equals {name}.json"))?;
            let is_same = is_same_event(sent, expected);
            ensure!(is_same, "ECR sent {sent:#}\nand {name}.json is {expected:#}");
        }
        let log = self.aws.lambda().log(self.function).split_off(logged);
        story.show(Part::Log { lines: decision_lines(&log) });
        story.show(self.calls_part(false));
        let described =
            json!({"repositoryName": repository, "imageIds": [{"imageDigest": digest}]});
        let found = call_ecr(self.aws, "DescribeImages", &described)?;
        let tags = words(&found["imageDetails"][0]["imageTags"]);
        let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
        let quarantined = tags.iter().any(|tag| tag.starts_with("quarantine-"));
        let all = tags.join(", ");
        story.show(Part::Image { repository: repository.to_owned(), digest, tags });
        // The alert about the first bad tag is shown in each of its renderings.
        let all_texts = expected.iter().any(|(name, _)| *name == "near-miss");
        let alerts = self.alerts(if all_texts { Shown::All } else { Shown::Email })?;
        let actions: Vec<&str> = alerts.iter().map(Alert::action).collect();
        ensure!(
            actions.concat() == expected_alert,
            "expected the alert {expected_alert:?}, not {actions:?}"
        );
        ensure!(
            quarantined == (expected_alert == "quarantined"),
            "the alerts are {actions:?}, and the image has the tags {all}"
        );
        story.show_alerts(alerts);
        Ok(())
    }
}
