//! What SNS brings: an alert of ours, a CloudWatch alarm, or anything else that was published.
//!
//! Everything is optional. A message of an older or a newer version, or one that somebody wrote
//! by hand, must still be shown: what cannot be understood of it is left out, and what cannot be
//! understood at all is shown as the text that it is.

use anyhow::Context as _;
use serde_json::{Value, json};

/// What was published.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// An alert of ECR Warden.
    Alert(Box<Alert>),
    /// What CloudWatch says when the state of an alarm changes.
    Alarm(Box<Alarm>),
    /// Something else: of a rule of EventBridge, or written by a person.
    Other(Other),
}

/// An alert, as far as it is shown. Its fields are those of its JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alert {
    /// Such as `tag-violation`.
    pub kind: String,
    /// Such as `CRITICAL`.
    pub severity: Option<String>,
    /// One line.
    pub title: String,
    /// Sentences.
    pub text: String,
    /// The account's twelve digits.
    pub account: Option<String>,
    /// Such as `us-east-1`.
    pub region: Option<String>,
    /// The repository's name.
    pub repository: Option<String>,
    /// What the image is a version of.
    pub component: Option<String>,
    /// The image's digest.
    pub digest: Option<String>,
    /// The image's tags.
    pub tags: Vec<String>,
    /// What a scan found, where the alert is about that.
    pub scan: Option<Scan>,
    /// What can be done about it.
    pub remedies: Vec<Remedy>,
    /// The ID of the event that it is from.
    pub event: Option<String>,
    /// The event's time.
    pub time: Option<String>,
}

/// The `details` of an alert of findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// How many findings there are of each severity, in the order of the JSON.
    pub counts: Vec<(String, u64)>,
    /// The severity from which on findings are told.
    pub threshold: Option<String>,
    /// Whether all findings were looked at; true where it is not said.
    pub is_complete: bool,
    /// What the image was compared with: a tag, or else a digest.
    pub baseline: Option<String>,
    /// How many findings are new against that.
    pub new: Option<u64>,
    /// How many are gone.
    pub fixed: Option<u64>,
    /// The findings, those that matter most first.
    pub findings: Vec<Finding>,
    /// How many there are, beside those that are listed.
    pub total: Option<u64>,
    /// How many are accepted.
    pub accepted: Option<u64>,
    /// In how many places the image runs.
    pub in_use: Option<u64>,
}

/// One finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Such as `CVE-2026-1`.
    pub id: String,
    /// Such as `CRITICAL`.
    pub severity: Option<String>,
    /// What it is in.
    pub package: Option<String>,
    /// The version that is in the image.
    pub installed: Option<String>,
    /// The version that it is fixed in.
    pub fixed: Option<String>,
    /// Whether an exploit is known.
    pub is_exploited: bool,
    /// The probability that it will be, from 0 to 1.
    pub epss: Option<f64>,
    /// Where it is described.
    pub url: Option<String>,
    /// Whether the version before did not have it.
    pub is_new: bool,
}

/// Something that can be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// What it does.
    pub label: String,
    /// A command.
    pub command: String,
}

/// A change of an alarm's state.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// The alarm's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// `ALARM`, `OK` or `INSUFFICIENT_DATA`.
    pub state: Option<String>,
    /// The state before.
    pub before: Option<String>,
    /// Why it changed.
    pub reason: Option<String>,
    /// When it did.
    pub time: Option<String>,
    /// The account's twelve digits.
    pub account: Option<String>,
    /// Such as `us-east-1`: the ARN has it, the field `Region` says `US East (N. Virginia)`.
    pub region: Option<String>,
    /// What it measures: the metric with its namespace.
    pub metric: Option<String>,
    /// Of what, as `QueueName` and the queue.
    pub dimensions: Vec<(String, String)>,
}

/// A message of no kind that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// One line, where it came with one.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
    /// Whether that is JSON, and so not for reading as sentences.
    pub is_json: bool,
    /// What it was published to.
    pub topic: Option<String>,
    /// Its ID.
    pub id: Option<String>,
    /// When it was published.
    pub time: Option<String>,
}

/// One message of an event, with the ID that SNS gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The ID; empty if there is none.
    pub id: String,
    /// What was published.
    pub message: Message,
}

/// Reads an event of SNS: <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>. A message
/// as it waits in a queue, of what SNS could not deliver, is one too: people invoke us with it.
pub fn read(event: &Value) -> anyhow::Result<Vec<Record>> {
    if event.get("Message").is_some_and(Value::is_string) {
        return Ok(vec![record(&json!({"Sns": event}))]);
    }
    let records = event.get("Records").and_then(Value::as_array);
    let records = records.context("the event: Records: expected a list, as SNS sends it")?;
    Ok(records.iter().map(record).collect())
}

fn record(record: &Value) -> Record {
    let sns = record.get("Sns").unwrap_or(&Value::Null);
    // SNS brings nothing but strings. By hand it may be written out, or be no record at all,
    // which somebody should see too.
    let text = match sns.get("Message").unwrap_or(record) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Record {
        id: text_of(sns, "MessageId").unwrap_or_default(),
        message: understood(&text).unwrap_or_else(|| other(sns, text)),
    }
}

/// The message as one of those that are known.
fn understood(text: &str) -> Option<Message> {
    let message: Value = serde_json::from_str(text).ok()?;
    if let Some(name) = text_of(&message, "AlarmName") {
        return Some(Message::Alarm(Box::new(alarm(&message, name))));
    }
    let (kind, title) = (text_of(&message, "kind")?, text_of(&message, "title")?);
    Some(Message::Alert(Box::new(alert(&message, kind, title))))
}

fn alert(message: &Value, kind: String, title: String) -> Alert {
    let text = |name: &str| text_of(message, name);
    let part = |name: &str| message.get(name).unwrap_or(&Value::Null);
    let remedy = |remedy: &Value| {
        Some(Remedy {
            label: text_of(remedy, "label").unwrap_or_default(),
            command: text_of(remedy, "command")?,
        })
    };
    Alert {
        severity: text("severity"),
        text: text("text").unwrap_or_default(),
        account: text("account"),
        region: text("region"),
        repository: text("repository"),
        component: text("component"),
        digest: text_of(part("image"), "digest"),
        tags: texts(part("image"), "tags"),
        scan: (kind == "scan-findings").then(|| scan(part("details"))),
        remedies: list(message, "remedies").iter().filter_map(remedy).collect(),
        event: text_of(part("source"), "id"),
        time: text_of(part("source"), "time"),
        kind,
        title,
    }
}

fn scan(details: &Value) -> Scan {
    let number = |name: &str| details.get(name).and_then(Value::as_u64);
    let counts = details.get("counts").and_then(Value::as_object).into_iter().flatten();
    let baseline = details.get("baseline").unwrap_or(&Value::Null);
    Scan {
        counts: counts.filter_map(|(of, count)| Some((of.clone(), count.as_u64()?))).collect(),
        threshold: text_of(details, "threshold"),
        is_complete: details.get("complete").and_then(Value::as_bool).unwrap_or(true),
        baseline: text_of(baseline, "tag").or_else(|| text_of(baseline, "digest")),
        new: number("newTotal"),
        fixed: number("fixedTotal"),
        findings: list(details, "findings").iter().filter_map(finding).collect(),
        total: number("findingsTotal"),
        accepted: number("acceptedTotal"),
        in_use: number("inUse"),
    }
}

fn finding(finding: &Value) -> Option<Finding> {
    let text = |name: &str| text_of(finding, name);
    let is = |name: &str| finding.get(name).and_then(Value::as_bool).unwrap_or_default();
    Some(Finding {
        id: text("id")?,
        severity: text("severity"),
        package: text("package"),
        installed: text("installed"),
        fixed: text("fixed"),
        is_exploited: is("exploitKnown"),
        epss: finding.get("epss").and_then(Value::as_f64),
        url: text("url"),
        is_new: is("new"),
    })
}

fn alarm(message: &Value, name: String) -> Alarm {
    let text = |name: &str| text_of(message, name);
    let trigger = message.get("Trigger").unwrap_or(&Value::Null);
    let metric = match (text_of(trigger, "Namespace"), text_of(trigger, "MetricName")) {
        (Some(namespace), Some(metric)) => Some(format!("{namespace} {metric}")),
        (namespace, metric) => metric.or(namespace),
    };
    let dimension = |of: &Value| Some((text_of(of, "name")?, text_of(of, "value")?));
    let arn = text("AlarmArn").unwrap_or_default();
    let part = |nth: usize| arn.split(':').nth(nth).filter(|it| !it.is_empty()).map(str::to_owned);
    Alarm {
        description: text("AlarmDescription"),
        state: text("NewStateValue"),
        before: text("OldStateValue"),
        reason: text("NewStateReason"),
        time: text("StateChangeTime"),
        account: text("AWSAccountId").or_else(|| part(4)),
        region: part(3).or_else(|| text("Region")),
        metric,
        dimensions: list(trigger, "Dimensions").iter().filter_map(dimension).collect(),
        name,
    }
}

fn other(sns: &Value, text: String) -> Message {
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let json = json.filter(|json| json.is_object() || json.is_array());
    // An event of EventBridge says by this what it is.
    let kind = json.as_ref().and_then(|event| text_of(event, "detail-type"));
    Message::Other(Other {
        subject: text_of(sns, "Subject").or(kind),
        is_json: json.is_some(),
        text: json.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or(text),
        topic: text_of(sns, "TopicArn"),
        id: text_of(sns, "MessageId"),
        time: text_of(sns, "Timestamp"),
    })
}

/// A text; none if it is empty, or no text. A number is taken for one.
fn text_of(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    list(value, name).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
