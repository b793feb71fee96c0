//! What becomes of scans: a first one, one that finds something new, a clean one, one that
//! fails, the images of an index, and Amazon Inspector's.

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use serde_json::{Value, json};

use super::inbox::{Inbox, same};
use super::story::{Alert, Part, Shown, Story};
use super::{ask, plans, word};
use crate::push::Client;

/// An event of `events/scan-complete`: ECR is held to telling the same.
macro_rules! event {
    ($name:literal) => {
        include_str!(concat!("../../../../events/scan-complete/", $name, ".json"))
    };
}

const REPOSITORY: &str = "infrastructure";

/// What a scan comes to: findings, or a status and why.
type Outcome<'a> = Result<Vec<Value>, (&'a str, &'a str)>;

/// Completes all of them and shows what happens.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>, parameter: &str) -> anyhow::Result<()> {
    let client = Client::login(inbox.aws)?;
    let push = async |tag: &str| client.image(REPOSITORY, Some(tag), tag, None).await;

    story.step(
        "The scan of infrastructure:litellm-v1.80.5 is complete",
        "The first of its component: there is nothing to compare it with.",
    );
    let found = vec![
        basic_finding("CVE-2026-30817", "HIGH", "zlib", "1.3.1"),
        basic_finding("CVE-2026-30002", "HIGH", "curl", "8.5.0"),
        basic_finding("CVE-2026-30431", "MEDIUM", "bash", "5.2.15"),
    ];
    let digest = digest(inbox, "litellm-v1.80.5")?;
    inbox.scan(story, &digest, Ok(found), event!("first"), "scan-findings").await?;

    story.step(
        "The scan of infrastructure:litellm-v1.80.6 is complete",
        "Compared with the version before: one finding is new, one is gone, and one has been \
         accepted meanwhile, in the parameter of accepted risks.",
    );
    let risk = json!([{
        "id": "CVE-2026-30911", "until": "2099-12-31", "reason": "not reachable",
        "owner": "platform", "component": "litellm",
    }]);
    accept(inbox, parameter, &risk).await?;
    story.show(Part::Accepted { risk: risk[0].clone() });
    let mut found = vec![
        basic_finding("CVE-2026-31001", "CRITICAL", "openssl", "3.0.17"),
        basic_finding("CVE-2026-30817", "HIGH", "zlib", "1.3.1"),
        basic_finding("CVE-2026-30911", "HIGH", "glibc", "2.36"),
        basic_finding("CVE-2026-30431", "MEDIUM", "bash", "5.2.15"),
    ];
    found.extend((0..9).map(|nth| {
        basic_finding(&format!("CVE-2025-4000{nth}"), "INFORMATIONAL", "coreutils", "9.1")
    }));
    let digest = push("litellm-v1.80.6").await?;
    inbox.scan(story, &digest, Ok(found), event!("critical"), "scan-findings").await?;

    story.step(
        "The scan of infrastructure:litellm-v1.80.7 is complete, and clean",
        "The alert of the version before is over.",
    );
    let digest = push("litellm-v1.80.7").await?;
    inbox.scan(story, &digest, Ok(Vec::new()), event!("clean"), "scan-resolved").await?;

    story.step(
        "The scan of infrastructure:litellm-v1.80.8 has failed",
        "Which is no silence: what is in it is not known.",
    );
    let digest = push("litellm-v1.80.8").await?;
    let why =
        "UnsupportedImageError: The operating system and/or package manager are not supported.";
    inbox.scan(story, &digest, Err(("FAILED", why)), event!("failed"), "scan-failed").await?;

    story.step(
        "The scans of both images of the index infrastructure:openwebui-v0.6.36 are complete",
        "ECR scans the image of each platform, which has no tag. What they are parts of was \
         remembered when the index was pushed; the second has nothing to add to the first.",
    );
    for (digest, told) in parts(inbox)?.iter().zip(["scan-findings", ""]) {
        let found = vec![basic_finding("CVE-2026-31001", "CRITICAL", "openssl", "3.0.17")];
        inbox.scan(story, digest, Ok(found), event!("part-of-an-index"), told).await?;
    }

    story.step(
        "The registry's scans are enhanced now, and that of infrastructure:openwebui-v0.6.37 is complete",
        "Amazon Inspector knows exploits, fixes, and what runs. (Its events of single findings \
         are gathered for ten seconds, and read once.)",
    );
    let all = json!([{
        "scanFrequency": "CONTINUOUS_SCAN",
        "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}],
    }]);
    let scanning = json!({"scanType": "ENHANCED", "rules": all});
    ask(inbox.aws, "PutRegistryScanningConfiguration", &scanning)?;
    let mut found = vec![
        enhanced_finding("CVE-2026-31001", "CRITICAL", "openssl", "3.0.17", Some("3.0.18")),
        enhanced_finding("CVE-2026-31777", "HIGH", "python3.12", "3.12.3", Some("3.12.4")),
    ];
    for finding in &mut found {
        finding["resources"][0]["details"]["awsEcrContainerImage"]["inUseCount"] = json!(3);
    }
    found[1]["exploitAvailable"] = json!("YES");
    let digest = push("openwebui-v0.6.37").await?;
    inbox.scan(story, &digest, Ok(found), event!("inspector-scan"), "scan-findings").await
}

/// The digest of a tag.
fn digest(inbox: &Inbox<'_>, tag: &str) -> anyhow::Result<String> {
    let ids = json!([{"imageTag": tag}]);
    let described =
        ask(inbox.aws, "DescribeImages", &json!({"repositoryName": REPOSITORY, "imageIds": ids}))?;
    Ok(word(&described["imageDetails"][0]["imageDigest"]).to_owned())
}

/// The images of the index.
fn parts(inbox: &Inbox<'_>) -> anyhow::Result<Vec<String>> {
    let ids = json!([{"imageTag": "openwebui-v0.6.36"}]);
    let got =
        ask(inbox.aws, "BatchGetImage", &json!({"repositoryName": REPOSITORY, "imageIds": ids}))?;
    let index: Value = serde_json::from_str(word(&got["images"][0]["imageManifest"]))?;
    let parts = index["manifests"].as_array().context("the index has no images")?;
    Ok(parts.iter().map(|part| word(&part["digest"]).to_owned()).collect())
}

/// What is accepted from now on, as `aws ssm put-parameter --overwrite` sets it.
async fn accept(inbox: &Inbox<'_>, parameter: &str, risks: &Value) -> anyhow::Result<()> {
    inbox.clear();
    let put = json!({"Name": parameter, "Value": risks.to_string(), "Overwrite": true});
    let request = http::Request::post("/")
        .header("x-amz-target", "AmazonSSM.PutParameter")
        .body(put.to_string().into())?;
    let answer = inbox.aws.services().handle("ssm", request).await;
    ensure!(answer.status().is_success(), "{}", String::from_utf8_lossy(answer.body()));
    // Any call brings the event of the change to its rule.
    ask(inbox.aws, "DescribeRepositories", &json!({}))?;
    inbox.aws.lambda().settled().await;
    let alerts = inbox.alerts(Shown::EmailAndSlack)?;
    let kinds: Vec<&str> = alerts.iter().map(Alert::action).collect();
    ensure!(kinds == ["risks-changed"], "expected the change of the risks, not {kinds:?}");
    Ok(())
}

impl Inbox<'_> {
    /// Completes the scan of an image, waits for what comes of it, and shows that. `told` is
    /// the kind of the alert that has to come, if any.
    async fn scan(
        &self,
        story: &mut Story,
        digest: &str,
        outcome: Outcome<'_>,
        expected: &str,
        told: &str,
    ) -> anyhow::Result<()> {
        // What follows from the push is shown elsewhere.
        self.aws.lambda().settled().await;
        let logged = self.aws.lambda().log(self.function).len();
        self.clear();
        {
            let mut state = self.aws.state();
            let now = state.now();
            let completed = state.ecr().complete_scan(REPOSITORY, digest, outcome, now);
            completed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        }
        // Any call hands on what is to be told.
        ask(self.aws, "DescribeRepositories", &json!({}))?;
        self.aws.lambda().settled().await;

        let expected: Value = serde_json::from_str(expected)?;
        let event = self.aws.state().events.last().cloned().context("ECR told of no scan")?;
        ensure!(same(&event, &expected), "ECR told {event:#}\nand not {expected:#}");
        let log = self.aws.lambda().log(self.function).split_off(logged);
        story.show(Part::Log { lines: plans(&log) });
        story.show(self.show_calls(false));
        // One of them is shown in all its forms.
        let all_texts = expected == serde_json::from_str::<Value>(event!("critical"))?;
        let shown = if all_texts { Shown::All } else { Shown::EmailAndSlack };
        let alerts = self.alerts(shown)?;
        let kinds: Vec<&str> = alerts.iter().map(Alert::action).collect();
        ensure!(kinds.concat() == told, "expected to be told {told:?}, not {kinds:?}");
        if alerts.is_empty() {
            story.show(Part::NothingTold);
        }
        story.show_alerts(alerts);
        Ok(())
    }
}
