//! Scans, and the reaction of `scan-complete`: a first scan, a new finding, a clean scan, a failed
//! scan, the images of an index, and a scan by Amazon Inspector.

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use serde_json::{Value, json};

use super::inbox::{Inbox, is_same_event};
use super::story::{Alert, Part, Shown, Story};
use super::{call_ecr, counted, decision_lines, word};
use crate::push::Client;

/// An event of `events/scan-complete`. The event that the embedded ECR sends must be equal.
macro_rules! event {
    ($name:literal) => {
        include_str!(concat!("../../../../events/scan-complete/", $name, ".json"))
    };
}

const REPOSITORY: &str = "infrastructure";

/// The result of a scan: findings, or a status and its reason.
type Outcome<'a> = Result<Vec<Value>, (&'a str, &'a str)>;

/// Completes a scan of each kind and shows the reaction.
pub async fn show(story: &mut Story, inbox: &Inbox<'_>, parameter: &str) -> anyhow::Result<()> {
    let client = Client::login(inbox.aws)?;
    let push = async |tag: &str| client.image(REPOSITORY, Some(tag), tag, None).await;

    story.begin_step(
        "The scan of infrastructure:litellm-v1.80.4 is complete",
        "No earlier version of litellm was scanned, so every finding at or above the threshold is new.",
    );
    let found = vec![
        basic_finding("CVE-2026-30817", "HIGH", "zlib", "1.3.1"),
        basic_finding("CVE-2026-30002", "HIGH", "curl", "8.5.0"),
        basic_finding("CVE-2026-30431", "MEDIUM", "bash", "5.2.15"),
    ];
    let digest = digest(inbox, "litellm-v1.80.4")?;
    let alert = inbox.scan(story, &digest, Ok(found), event!("first"), "scan-findings").await?;
    let new = counted(total(&alert, "new"), "new finding");
    story.end_step(format!(
        "The scan of infrastructure:litellm-v1.80.4 found {new} at or above HIGH. An alert was sent."
    ));

    story.begin_step(
        "The scan of infrastructure:litellm-v1.80.6 is complete",
        "The function compares the findings with those of the version before. The team has added \
         one finding to the list of accepted risks, so the function does not report that finding.",
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
    let alert = inbox.scan(story, &digest, Ok(found), event!("critical"), "scan-findings").await?;
    let [new, fixed, accepted] = ["new", "fixed", "accepted"].map(|name| total(&alert, name));
    story.end_step(format!(
        "The scan of infrastructure:litellm-v1.80.6 found {new} new, {fixed} fixed, {accepted} \
         accepted finding. An alert was sent."
    ));

    story.begin_step(
        "The scan of infrastructure:litellm-v1.80.7 is complete, without findings",
        "The alert about the version before is resolved.",
    );
    let digest = push("litellm-v1.80.7").await?;
    inbox.scan(story, &digest, Ok(Vec::new()), event!("clean"), "scan-resolved").await?;
    story.end_step(
        "The scan of infrastructure:litellm-v1.80.7 found nothing. An alert closed the earlier findings.",
    );

    story.begin_step(
        "The scan of infrastructure:litellm-v1.80.8 failed",
        "A failed scan finds nothing, but the image may still have vulnerabilities. So the function \
         reports the failure.",
    );
    let digest = push("litellm-v1.80.8").await?;
    let why =
        "UnsupportedImageError: The operating system and/or package manager are not supported.";
    inbox.scan(story, &digest, Err(("FAILED", why)), event!("failed"), "scan-failed").await?;
    story.end_step(
        "The scan of infrastructure:litellm-v1.80.8 failed, so its findings are unknown. An alert was sent.",
    );

    show_index(story, inbox).await?;
    show_enhanced_scan(story, inbox, &client).await
}

/// Completes the scans of the images of an index.
async fn show_index(story: &mut Story, inbox: &Inbox<'_>) -> anyhow::Result<()> {
    story.begin_step(
        "The scans of both images of the index infrastructure:openwebui-v0.6.36 are complete",
        "ECR scans the image of each platform, and these images have no tags. The ledger records \
         that they belong to openwebui-v0.6.36. The second scan finds the same as the first, so \
         the function sends no second alert.",
    );
    for (digest, expected_alert) in parts(inbox)?.iter().zip(["scan-findings", ""]) {
        let found = vec![basic_finding("CVE-2026-31001", "CRITICAL", "openssl", "3.0.17")];
        inbox.scan(story, digest, Ok(found), event!("part-of-an-index"), expected_alert).await?;
    }
    story.end_step(
        "Both scans of infrastructure:openwebui-v0.6.36 found the same vulnerability. One alert was sent.",
    );
    Ok(())
}

/// Has Amazon Inspector complete a scan.
async fn show_enhanced_scan(
    story: &mut Story,
    inbox: &Inbox<'_>,
    client: &Client,
) -> anyhow::Result<()> {
    story.begin_step(
        "Amazon Inspector completes the scan of infrastructure:openwebui-v0.6.37",
        "The registry now uses enhanced scanning. Amazon Inspector also reports known exploits, \
         fixed versions, and the number of running tasks. (A queue collects its events of single \
         findings for ten seconds, and the function reads the findings once.)",
    );
    let all = json!([{
        "scanFrequency": "CONTINUOUS_SCAN",
        "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}],
    }]);
    let scanning = json!({"scanType": "ENHANCED", "rules": all});
    call_ecr(inbox.aws, "PutRegistryScanningConfiguration", &scanning)?;
    let mut found = vec![
        enhanced_finding("CVE-2026-31001", "CRITICAL", "openssl", "3.0.17", Some("3.0.18")),
        enhanced_finding("CVE-2026-31777", "HIGH", "python3.12", "3.12.3", Some("3.12.4")),
    ];
    for finding in &mut found {
        finding["resources"][0]["details"]["awsEcrContainerImage"]["inUseCount"] = json!(3);
    }
    found[1]["exploitAvailable"] = json!("YES");
    let tag = "openwebui-v0.6.37";
    let digest = client.image(REPOSITORY, Some(tag), tag, None).await?;
    let alert =
        inbox.scan(story, &digest, Ok(found), event!("inspector-scan"), "scan-findings").await?;
    let new = counted(total(&alert, "new"), "new finding");
    let in_use = &alert["details"]["inUse"];
    story.end_step(format!(
        "Amazon Inspector found {new} in infrastructure:openwebui-v0.6.37, which {in_use} tasks or pods run."
    ));
    Ok(())
}

/// A total of an alert's details, such as the number of new findings.
fn total(alert: &Value, name: &str) -> u64 {
    alert["details"][format!("{name}Total")].as_u64().unwrap_or_default()
}

/// The digest of the image with this tag.
fn digest(inbox: &Inbox<'_>, tag: &str) -> anyhow::Result<String> {
    let ids = json!([{"imageTag": tag}]);
    let described = call_ecr(
        inbox.aws,
        "DescribeImages",
        &json!({"repositoryName": REPOSITORY, "imageIds": ids}),
    )?;
    Ok(word(&described["imageDetails"][0]["imageDigest"]).to_owned())
}

/// The images of the index.
fn parts(inbox: &Inbox<'_>) -> anyhow::Result<Vec<String>> {
    let ids = json!([{"imageTag": "openwebui-v0.6.36"}]);
    let got = call_ecr(
        inbox.aws,
        "BatchGetImage",
        &json!({"repositoryName": REPOSITORY, "imageIds": ids}),
    )?;
    let index: Value = serde_json::from_str(word(&got["images"][0]["imageManifest"]))?;
    let parts = index["manifests"].as_array().context("the index has no images")?;
    Ok(parts.iter().map(|part| word(&part["digest"]).to_owned()).collect())
}

/// Stores the list of accepted risks, as `aws ssm put-parameter --overwrite` does.
async fn accept(inbox: &Inbox<'_>, parameter: &str, risks: &Value) -> anyhow::Result<()> {
    inbox.clear();
    let put = json!({"Name": parameter, "Value": risks.to_string(), "Overwrite": true});
    let request = http::Request::post("/")
        .header("x-amz-target", "AmazonSSM.PutParameter")
        .body(put.to_string().into())?;
    let answer = inbox.aws.services().handle("ssm", request).await;
    ensure!(answer.status().is_success(), "{}", String::from_utf8_lossy(answer.body()));
    // The embedded AWS delivers the event of the change with the next call.
    call_ecr(inbox.aws, "DescribeRepositories", &json!({}))?;
    inbox.aws.lambda().settled().await;
    let alerts = inbox.alerts(Shown::EmailAndSlack)?;
    let kinds: Vec<&str> = alerts.iter().map(Alert::action).collect();
    ensure!(kinds == ["risks-changed"], "expected the change of the risks, not {kinds:?}");
    Ok(())
}

impl Inbox<'_> {
    /// Completes the scan of an image, waits until no function runs, and shows the log, the calls
    /// and the alerts. `expected_alert` is the kind of the alert that must be sent, or an empty text
    /// for no alert. Returns that alert.
    async fn scan(
        &self,
        story: &mut Story,
        digest: &str,
        outcome: Outcome<'_>,
        expected: &str,
        expected_alert: &str,
    ) -> anyhow::Result<Value> {
        // Other steps show the reaction to the push.
        self.aws.lambda().settled().await;
        let logged = self.aws.lambda().log(self.function).len();
        self.clear();
        {
            let mut state = self.aws.state();
            let now = state.now();
            let completed = state.ecr().complete_scan(REPOSITORY, digest, outcome, now);
            completed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        }
        // The embedded AWS delivers the event with the next call.
        call_ecr(self.aws, "DescribeRepositories", &json!({}))?;
        self.aws.lambda().settled().await;

        let expected: Value = serde_json::from_str(expected)?;
        let event = self.aws.state().events.last().cloned().context("ECR sent no event")?;
        ensure!(is_same_event(&event, &expected), "ECR sent {event:#}\nand not {expected:#}");
        let log = self.aws.lambda().log(self.function).split_off(logged);
        story.show(Part::Log { lines: decision_lines(&log) });
        story.show(self.calls_part(false));
        // The alert about the critical finding is shown in each of its renderings.
        let all_texts = expected == serde_json::from_str::<Value>(event!("critical"))?;
        let shown = if all_texts { Shown::All } else { Shown::EmailAndSlack };
        let alerts = self.alerts(shown)?;
        let kinds: Vec<&str> = alerts.iter().map(Alert::action).collect();
        ensure!(
            kinds.concat() == expected_alert,
            "expected the alert {expected_alert:?}, not {kinds:?}"
        );
        let sent = alerts.first().map(|alert| alert.json.clone()).unwrap_or_default();
        if alerts.is_empty() {
            story.show(Part::NoAlert);
        }
        story.show_alerts(alerts);
        Ok(sent)
    }
}
