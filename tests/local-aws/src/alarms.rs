//! The alarms of CloudWatch. A test sets the state of an alarm: nothing is measured here.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>

use std::ops::Bound;

use serde_json::{Value, json};

use crate::State;
use crate::ecr::Time;

/// The most alarms of a page, if the call does not say.
const PAGE: usize = 50;
/// The most names in a call.
const NAMES: usize = 100;

/// An alarm.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// The reason of the state.
    pub reason: String,
    /// The time of the last change of the state.
    pub since: Time,
}

/// `DescribeAlarms`: the alarms with these names. Unknown names are left out.
pub fn describe(state: &State, input: &Value) -> Result<Value, (u16, &'static str, String)> {
    let names: Vec<&str> =
        input["AlarmNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() || names.len() > NAMES {
        let message = format!("AlarmNames: {} names; only 1 to {NAMES} are served", names.len());
        return Err((400, "ValidationError", message));
    }
    let after = input["NextToken"].as_str().map_or(Bound::Unbounded, Bound::Excluded);
    let rest = state.alarms.range::<str, _>((after, Bound::Unbounded));
    let mut found: Vec<_> = rest.filter(|(name, _)| names.contains(&name.as_str())).collect();
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let alarms: Vec<Value> = found
        .iter()
        .map(|(name, Alarm { state, reason, since })| {
            json!({
                "AlarmName": name,
                "AlarmArn": crate::local_arn("cloudwatch", &format!("alarm:{name}")),
                "StateValue": state,
                "StateReason": reason,
                "StateUpdatedTimestamp": since,
            })
        })
        .collect();
    let mut output = json!({"MetricAlarms": alarms, "CompositeAlarms": []});
    if let Some((name, _)) = found.last().filter(|_| has_more) {
        output["NextToken"] = json!(name);
    }
    Ok(output)
}
