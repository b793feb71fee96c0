//! What becomes of pushes: every shape that an event of them has, as real ones.

use anyhow::{Context as _, anyhow, ensure};
use local_aws::{ACCOUNT, REGION};
use serde_json::{Value, json};

use super::inbox::{Inbox, same};
use super::story::{Alert, Part, Shown, Story};
use super::{ask, plans, word, words};
use crate::push::Client;

/// An event of `events/image-push`: ECR is held to telling the same.
macro_rules! event {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../events/image-push/", $name, ".json")))
    };
}

/// An image that is pushed by a tag.
struct Push<'a> {
    what: &'a str,
    why: &'a str,
    /// The events that ECR has to tell, the first of them of the push itself.
    events: &'a [(&'a str, &'a str)],
    layer: &'a str,
    /// What has to be told: what was done, or what kind of alert it is, or nothing.
    told: &'a str,
}

/// Those into the repositories of the stack.
const PUSHES: &[Push<'_>] = &[
    Push {
        what: "docker push infrastructure:litellm-v1.80.5",
        why: "A conforming tag: judged, and that is all. Most pushes are like this.",
        events: &[event!("conforming")],
        layer: "litellm 1.80.5",
        told: "",
    },
    Push {
        what: "docker push infrastructure:litellm-1.80.5",
        why: "The v is missing. The image gets a quarantine tag and loses the bad one; the event of \
              our own tag comes back and is passed over.",
        events: &[event!("near-miss"), event!("quarantine-echo")],
        layer: "litellm 1.80.5, built again",
        told: "quarantined",
    },
    Push {
        what: "docker push infrastructure:litellm-v0.0.0",
        why: "It conforms, and is forbidden. (Forbidden is a line of the template; this \
              demonstration adds one.)",
        events: &[event!("forbidden")],
        layer: "litellm, a placeholder",
        told: "quarantined",
    },
    Push {
        what: "docker push deployments:mcp_github_latest",
        why: "Tags in deployments can move, so that a violation there is only told.",
        events: &[event!("reported")],
        layer: "mcp-github",
        told: "reported",
    },
    Push {
        what: "cosign sign infrastructure:litellm-v1.80.5",
        why: "A signature's tag is its image's business.",
        events: &[event!("signature")],
        layer: "a signature",
        told: "",
    },
];

/// Into one that somebody made by hand.
const UNEXPECTED: Push<'_> = Push {
    what: "docker push scratch:test",
    why: "A repository that somebody made by hand, and whose name RepositoryNamePatterns does not \
          expect: told once a day.",
    events: &[event!("unmanaged-repository")],
    layer: "a test",
    told: "repository-violation",
};

/// Pushes all of them and shows what happens.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let client = Client::login(inbox.aws)?;
    for push in PUSHES {
        push.show(story, inbox, &client).await?;
    }

    story.step(
        "docker buildx build --push, for two platforms: infrastructure:openwebui-v0.6.36",
        "Its images come first, each without a tag, and are not judged. The index is read once, \
         to remember of what they are parts.",
    );
    let child = event!("untagged-child");
    let expected = read(&[child, child, event!("index")])?;
    let index = async {
        let amd64 = client.image("infrastructure", None, "openwebui, amd64", None).await?;
        let arm64 = client.image("infrastructure", None, "openwebui, arm64", None).await?;
        client.index("infrastructure", "openwebui-v0.6.36", &[amd64, arm64]).await
    };
    inbox.show(story, "infrastructure", &expected, "", index).await?;

    ask(inbox.aws, "CreateRepository", &json!({"repositoryName": "scratch"}))?;
    UNEXPECTED.show(story, inbox, &client).await
}

/// Replicates an image from another region to `deployments`, when everything else is shown.
pub async fn show_replica(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    const SOURCE: (&str, &str) = (ACCOUNT, "us-west-2");
    story.step(
        "us-west-2 replicates deployments:search-v1.0.0",
        "The event says that deployments is a replica by now. Nothing in a replica is changed: \
         violations and plans are reported.",
    );
    let logged = inbox.aws.lambda().log(inbox.function).len();
    inbox.clear();
    let call = |operation: &str, input: Value| {
        let answer = inbox.aws.by_hand_in(SOURCE, operation, &input);
        answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
    };
    let destinations = json!([{"region": REGION, "registryId": ACCOUNT}]);
    let rules = json!([{"destinations": destinations}]);
    call("PutReplicationConfiguration", json!({"replicationConfiguration": {"rules": rules}}))?;
    call("CreateRepository", json!({"repositoryName": "deployments"}))?;
    {
        let mut state = inbox.aws.state();
        let now = state.now();
        let pushed =
            state.registry(SOURCE.0, SOURCE.1).push_made_up("deployments", &["search-v1.0.0"], now);
        pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    }
    call("DescribeRegistry", json!({}))?;
    inbox.aws.lambda().settled().await;
    let (name, expected) = read(&[event!("replicated")])?.remove(0);
    let sent = std::mem::take(&mut inbox.aws.state().events);
    let sent = sent.iter().find(|event| event["detail-type"] == expected["detail-type"]);
    let sent = sent.with_context(|| format!("no event like {name}.json"))?;
    ensure!(same(sent, &expected), "ECR sent {sent:#}\nand {name}.json is {expected:#}");
    let log = inbox.aws.lambda().log(inbox.function).split_off(logged);
    let lines = plans(&log);
    ensure!(lines.concat().contains("is a replica"), "image-push logged {lines:?}");
    story.show(Part::Log { lines });
    story.show(inbox.show_calls(false));
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
        story.step(self.what, self.why);
        let artifact = detail["artifact-media-type"].as_str();
        let push = client.image(repository, Some(tag), self.layer, artifact);
        inbox.show(story, repository, &expected, self.told, push).await
    }
}

/// The events of these files, each with its file's name.
fn read<'n>(files: &[(&'n str, &str)]) -> anyhow::Result<Vec<(&'n str, Value)>> {
    let event = |(name, text): &(&'n str, &str)| anyhow::Ok((*name, serde_json::from_str(text)?));
    files.iter().map(event).collect()
}

impl Inbox<'_> {
    /// Pushes, waits for what comes of it, and shows that.
    async fn show(
        &self,
        story: &mut Story,
        repository: &str,
        expected: &[(&str, Value)],
        due: &str,
        push: impl Future<Output = anyhow::Result<String>>,
    ) -> anyhow::Result<()> {
        let logged = self.aws.lambda().log(self.function).len();
        self.clear();
        let digest = push.await?;
        self.aws.lambda().settled().await;

        let told = std::mem::take(&mut self.aws.state().events);
        let pushes: Vec<&Value> =
            told.iter().filter(|event| event["detail"]["action-type"] == "PUSH").collect();
        for (nth, (name, expected)) in expected.iter().enumerate() {
            let told = pushes.get(nth).with_context(|| format!("no event like {name}.json"))?;
            ensure!(same(told, expected), "ECR told {told:#}\nand {name}.json is {expected:#}");
        }
        let log = self.aws.lambda().log(self.function).split_off(logged);
        story.show(Part::Log { lines: plans(&log) });
        story.show(self.show_calls(false));
        let described =
            json!({"repositoryName": repository, "imageIds": [{"imageDigest": digest}]});
        let found = ask(self.aws, "DescribeImages", &described)?;
        let tags = words(&found["imageDetails"][0]["imageTags"]);
        let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
        let quarantined = tags.iter().any(|tag| tag.starts_with("quarantine-"));
        let all = tags.join(", ");
        story.show(Part::Image { repository: repository.to_owned(), digest, tags });
        // One of them is shown in all its forms.
        let all_texts = expected.iter().any(|(name, _)| *name == "near-miss");
        let alerts = self.alerts(if all_texts { Shown::All } else { Shown::Email })?;
        let told: Vec<&str> = alerts.iter().map(Alert::action).collect();
        ensure!(told.concat() == due, "expected to be told {due:?}, not {told:?}");
        ensure!(
            quarantined == (due == "quarantined"),
            "an image of which {told:?} was told is tagged {all}"
        );
        story.show_alerts(alerts);
        Ok(())
    }
}
