//! What becomes of pushes: every shape that an event of them has, as real ones.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::inbox::{Inbox, same};
use super::{ask, folded, plans, step, word};
use crate::push::Client;

/// An event of `events/image-push`: ECR is held to telling the same.
macro_rules! event {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../events/image-push/", $name, ".json")))
    };
}

/// Pushes all of them and shows what happens.
pub async fn show(inbox: &Inbox<'_>) -> anyhow::Result<()> {
    let client = Client::login(inbox.aws)?;
    // The events are those that ECR has to tell, the first of them of the push itself.
    let push = async |what: &str, why: &str, events: &[(&str, &str)], layer: &str, told: &str| {
        let expected = read(events)?;
        let (name, first) = expected.first().context("no event is expected")?;
        let detail = &first["detail"];
        let (repository, tag) = (word(&detail["repository-name"]), word(&detail["image-tag"]));
        step(what, why);
        let artifact = detail["artifact-media-type"].as_str();
        let push = client.image(repository, Some(tag), layer, artifact);
        let all_texts = *name == "near-miss";
        inbox.show(repository, &expected, Shown { told, all_texts }, push).await
    };
    push(
        "docker push infrastructure:litellm-v1.80.5",
        "A conforming tag: judged, and that is all. Most pushes are like this.",
        &[event!("conforming")],
        "litellm 1.80.5",
        "",
    )
    .await?;
    push(
        "docker push infrastructure:litellm-1.80.5",
        "The v is missing. The image gets a quarantine tag and loses the bad one; the event of \
         our own tag comes back and is passed over.",
        &[event!("near-miss"), event!("quarantine-echo")],
        "litellm 1.80.5, built again",
        "quarantined",
    )
    .await?;
    push(
        "docker push infrastructure:litellm-v0.0.0",
        "It conforms, and is forbidden. (Forbidden is a line of the template; this \
         demonstration adds one.)",
        &[event!("forbidden")],
        "litellm, a placeholder",
        "quarantined",
    )
    .await?;
    push(
        "docker push deployments:mcp_github_latest",
        "Tags in deployments can move, so that a violation there is only told.",
        &[event!("reported")],
        "mcp-github",
        "reported",
    )
    .await?;
    push(
        "cosign sign infrastructure:litellm-v1.80.5",
        "A signature's tag is its image's business.",
        &[event!("signature")],
        "a signature",
        "",
    )
    .await?;

    step(
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
    let shown = Shown { told: "", all_texts: false };
    inbox.show("infrastructure", &expected, shown, index).await?;

    ask(inbox.aws, "CreateRepository", &json!({"repositoryName": "scratch"}))?;
    push(
        "docker push scratch:test",
        "A repository that somebody made by hand, and whose name RepositoryNamePatterns does not \
         expect: told once a day.",
        &[event!("unmanaged-repository")],
        "a test",
        "repository-violation",
    )
    .await
}

/// The events of these files, each with its file's name.
fn read<'n>(files: &[(&'n str, &str)]) -> anyhow::Result<Vec<(&'n str, Value)>> {
    let event = |(name, text): &(&'n str, &str)| anyhow::Ok((*name, serde_json::from_str(text)?));
    files.iter().map(event).collect()
}

struct Shown<'a> {
    /// What has to be told: what was done, or what kind of alert it is, or nothing.
    told: &'a str,
    /// Whether the alert is shown as JSON and for Amazon Q too.
    all_texts: bool,
}

impl Inbox<'_> {
    /// Pushes, waits for what comes of it, and shows that.
    async fn show(
        &self,
        repository: &str,
        expected: &[(&str, Value)],
        shown: Shown<'_>,
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
        for verdict in plans(&log) {
            folded(&verdict).for_each(|line| println!("   {line}"));
        }
        let calls = self.calls();
        println!("   calls of AWS: {}", if calls.is_empty() { "none" } else { &calls });
        let described =
            json!({"repositoryName": repository, "imageIds": [{"imageDigest": digest}]});
        let found = ask(self.aws, "DescribeImages", &described)?;
        let tags = found["imageDetails"][0]["imageTags"].to_string();
        let tags = tags.replace(['[', ']', '"'], "");
        println!("   in {repository} now: {digest}");
        println!("   tagged {tags}");
        let told: Vec<Value> = self.alerts()?;
        let words: Vec<&str> = told
            .iter()
            .map(|alert| alert["details"]["action"].as_str().unwrap_or(word(&alert["kind"])))
            .collect();
        ensure!(
            words.concat() == shown.told,
            "expected to be told {:?}, not {words:?}",
            shown.told
        );
        ensure!(
            tags.starts_with("quarantine-") == (shown.told == "quarantined"),
            "an image of which {words:?} was told is tagged {tags}"
        );
        self.show_alerts(shown.all_texts, shown.all_texts);
        Ok(())
    }
}
