//! The rendering of a CloudWatch alarm for Slack.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>

use serde_json::Value;
use warden_core::text::one_line;

use super::alert::add_runbook;
use super::console;
use super::layout::{Layout, code_list};
use super::payload::Payload;
use super::text::{code, link};
use crate::WHY;
use crate::partial::readable;

/// A change of the state of an alarm. Every field but the name may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// The name of the alarm.
    pub name: String,
    /// The purpose of the alarm.
    pub description: Option<String>,
    /// `ALARM`, `OK` or `INSUFFICIENT_DATA`.
    pub state: Option<String>,
    /// The previous state.
    pub previous_state: Option<String>,
    /// The reason of the change.
    pub reason: Option<String>,
    /// The time of the change.
    pub time: Option<String>,
    /// The account's twelve digits.
    pub account: Option<String>,
    /// Such as `us-east-1`: the ARN has it, the field `Region` has `US East (N. Virginia)`.
    pub region: Option<String>,
    /// The metric, with its namespace.
    pub metric: Option<String>,
    /// The dimensions of the metric, such as `QueueName` and the name of the queue.
    pub dimensions: Vec<(String, String)>,
    /// The URL of the runbook. A message has no such field: the notifier finds the URL in the
    /// description.
    pub runbook: Option<String>,
}

impl Alarm {
    /// Reads a message. Returns `None` where the message has no `AlarmName`.
    #[must_use]
    pub fn read(message: &Value) -> Option<Self> {
        let field = |name: &str| message.get(name).and_then(readable);
        let trigger = message.get("Trigger").unwrap_or(&Value::Null);
        let of_trigger = |name: &str| trigger.get(name).and_then(readable);
        let metric = match (of_trigger("Namespace"), of_trigger("MetricName")) {
            (Some(namespace), Some(metric)) => Some(format!("{namespace} {metric}")),
            (namespace, metric) => metric.or(namespace),
        };
        let dimensions = trigger.get("Dimensions").and_then(Value::as_array);
        let dimension = |dimension: &Value| {
            Some((
                dimension.get("name").and_then(readable)?,
                dimension.get("value").and_then(readable)?,
            ))
        };
        let arn = field("AlarmArn").unwrap_or_default();
        let part_of_arn = |index: usize| {
            arn.split(':').nth(index).filter(|part| !part.is_empty()).map(str::to_owned)
        };
        Some(Self {
            name: field("AlarmName")?,
            description: field("AlarmDescription"),
            state: field("NewStateValue"),
            previous_state: field("OldStateValue"),
            reason: field("NewStateReason"),
            time: field("StateChangeTime"),
            account: field("AWSAccountId").or_else(|| part_of_arn(4)),
            region: part_of_arn(3).or_else(|| field("Region")),
            metric,
            dimensions: dimensions.into_iter().flatten().filter_map(dimension).collect(),
            runbook: None,
        })
    }
}

pub fn title(alarm: &Alarm) -> String {
    match &alarm.state {
        Some(state) => format!("{state}: {}", alarm.name),
        None => alarm.name.clone(),
    }
}

pub fn text(alarm: &Alarm) -> String {
    let why = alarm.reason.as_ref().map(|reason| format!("{WHY}{reason}"));
    let texts = [&alarm.description, &why];
    texts.into_iter().flatten().cloned().collect::<Vec<_>>().join("\n\n")
}

pub fn render(alarm: &Alarm) -> Payload {
    let place: Vec<String> =
        [&alarm.account, &alarm.region].into_iter().flatten().cloned().collect();
    let small_print = [Some(place.join(", ")), alarm.time.clone()];
    let mut layout = Layout::new(&title(alarm), &small_print);
    layout.add_text(&text(alarm));
    add_runbook(&mut layout, alarm.runbook.as_deref());
    let url = alarm.region.as_deref().and_then(|region| console::alarm(region, &alarm.name));
    let mut fields = vec![("Alarm", link(url.as_deref(), &one_line(&alarm.name), 300))];
    match (&alarm.previous_state, &alarm.state) {
        (Some(before), Some(now)) => {
            fields.push(("State", format!("{}, before {}", code(now, 40), code(before, 40))));
        }
        (None, Some(now)) => fields.push(("State", code(now, 40))),
        (_, None) => {}
    }
    fields.extend(alarm.metric.iter().map(|metric| ("Metric", code(metric, 300))));
    let dimensions: Vec<String> =
        alarm.dimensions.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !dimensions.is_empty() {
        fields.push(("Dimensions", code_list(&dimensions, 5, 300)));
    }
    layout.add_fields(fields);
    layout.finish()
}
