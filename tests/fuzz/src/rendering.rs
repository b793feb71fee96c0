//! The renderings of alerts with any texts: within the limits of SNS, Amazon Q and Slack, valid
//! JSON, read back as an alert, and without hidden characters. The input is the texts of an alert,
//! or an event of SNS whose alert is published again.

use arbitrary::{Arbitrary, Unstructured};
use serde_json::Value;
use warden_alerts::slack::Notification;
use warden_alerts::{Alert, Remedy, Source, Subject, VERSION};
use warden_core::image::Tag;
use warden_core::text::is_hidden;

use crate::blocks::check_renderings;

#[derive(Arbitrary, Debug, Default)]
struct Texts {
    kind: u8,
    severity: u8,
    title: String,
    text: String,
    account: String,
    region: String,
    repository: Option<String>,
    component: Option<String>,
    tags: Vec<String>,
    remedies: Vec<(String, String)>,
    details: Vec<(String, String)>,
    /// So often is each text repeated.
    times: u8,
    id: String,
    time: String,
}

const KINDS: [&str; 10] = [
    "tag-violation",
    "repository-violation",
    "scan-findings",
    "scan-resolved",
    "scan-failed",
    "risk-expiring",
    "risks-changed",
    "cleanup",
    "report",
    "self-audit",
];
const SEVERITIES: [&str; 5] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL"];

fn alert(texts: Texts) -> Alert {
    // Few need to be long, and those take their time.
    let times = usize::from(texts.times.saturating_sub(200)) + 1;
    let digest = format!("sha256:{}", "0a".repeat(32)).parse().expect("a digest");
    let tags: Vec<Tag> = texts.tags.iter().filter_map(|tag| tag.parse().ok()).collect();
    let details = texts.details.into_iter().map(|(name, value)| (name, Value::String(value)));
    let remedy = |(label, command): (String, String)| Remedy {
        label: label.repeat(times),
        command,
        aws_cli: None,
    };
    Alert {
        version: VERSION,
        kind: KINDS[usize::from(texts.kind) % KINDS.len()].parse().expect("a kind"),
        severity: SEVERITIES[usize::from(texts.severity) % 5].parse().expect("a severity"),
        title: texts.title.repeat(times),
        text: texts.text.repeat(times),
        account: texts.account.chars().take(12).collect(),
        region: texts.region.chars().take(32).collect(),
        repository: texts.repository.and_then(|name| name.parse().ok()),
        component: texts.component.and_then(|name| name.parse().ok()),
        owner: None,
        image: Some(Subject { digest, tags }),
        details: details.collect(),
        remedies: texts.remedies.into_iter().map(remedy).collect(),
        runbook: None,
        policy: None,
        // An event's ID and time are EventBridge's own.
        source: Source {
            id: texts.id.chars().take(36).collect(),
            time: texts.time.chars().take(32).collect(),
        },
    }
}

/// The texts of an alert that was published.
fn published_texts(event: &Value) -> Option<Texts> {
    let message = event["Records"][0]["Sns"]["Message"].as_str()?;
    let alert: Value = serde_json::from_str(message).ok()?;
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    let remedies = alert["remedies"].as_array().into_iter().flatten();
    let pair = |remedy: &Value| {
        let text = |name: &str| remedy[name].as_str().map(str::to_owned);
        Some((text("label")?, text("command")?))
    };
    Some(Texts {
        title: text("title"),
        text: text("text"),
        repository: Some(text("repository")),
        component: Some(text("component")),
        remedies: remedies.filter_map(pair).collect(),
        ..Texts::default()
    })
}

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let event: Option<Value> = serde_json::from_slice(bytes).ok();
    let texts = event.as_ref().and_then(published_texts);
    let Some(texts) = texts.or_else(|| Texts::arbitrary(&mut Unstructured::new(bytes)).ok()) else {
        return;
    };
    let message = alert(texts).message("aws");
    assert!(message.body.len() <= 262_144, "{} bytes", message.body.len());
    assert!((1..100).contains(&message.subject.len()), "{}", message.subject);
    assert!(message.subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));

    let texts: Value = serde_json::from_str(&message.body).expect("JSON");
    let protocol = |name: &str| texts[name].as_str().expect("a text");
    let json: Value = serde_json::from_str(protocol("default")).expect("JSON");
    match Notification::read(protocol("default")) {
        Some(published @ Notification::Alert(_)) => check_renderings(&published),
        other => panic!("{other:?}"),
    }
    assert_eq!(json["version"], 2);
    let length = |value: &Value| value.as_str().expect("a text").chars().count();
    assert!(length(&json["text"]) <= 8_000 && length(&json["title"]) <= 300);
    let amazon_q: Value = serde_json::from_str(protocol("https")).expect("JSON");
    assert_eq!(amazon_q["version"], "1.0");
    let content = &amazon_q["content"];
    assert!(length(&content["description"]) <= 8_000 && length(&content["title"]) <= 250);
    let email = protocol("email");
    let commands = json["remedies"].as_array().expect("a list");
    for remedy in commands {
        let command = remedy["command"].as_str().expect("a text");
        assert!(!command.contains(is_hidden), "a command has hidden characters");
        assert!(email.contains(command), "the e-mail lacks a command");
    }
    let shown = [&json["title"], &json["text"]].map(|text| text.as_str().expect("a text"));
    assert!(!shown.concat().contains(|c| c != '\n' && is_hidden(c)));
    assert!(!email.contains(|c| c != '\n' && is_hidden(c)));
}
