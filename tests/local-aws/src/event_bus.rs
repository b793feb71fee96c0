//! The event buses of a stack. They record their events and deliver them to nobody: no rule of the
//! template is on such a bus.
//!
//! Validated against the API reference: the largest size, and the answer with one result and one error
//! code for each entry. Guesses: a bus that does not exist refuses an entry as `InvalidArgument`, an entry
//! that is too large fails the whole call, and a call has at most ten entries.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>

use serde_json::{Map, Value, json};

use crate::ecr::event::timestamp;
use crate::{ACCOUNT, REGION, State};

/// The most entries of a call.
const ENTRIES: usize = 10;
/// The most bytes of a call.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html>
const BYTES: usize = 262_144;
const FIELDS: &[&str] = &["Detail", "DetailType", "EventBusName", "Resources", "Source"];

/// `PutEvents`: records the events of each bus. A field of an entry that is not served is an error.
pub fn put_events(state: &mut State, input: &Value) -> Result<Value, (u16, &'static str, String)> {
    let invalid = |message: String| Err((400, "ValidationException", message));
    let entries = input["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !(1..=ENTRIES).contains(&entries.len()) {
        return invalid(format!("{} entries; a call has 1 to {ENTRIES}", entries.len()));
    }
    let unknown = |entry: &Value| {
        let mut fields = entry.as_object().into_iter().flat_map(Map::keys);
        fields.find(|field| !FIELDS.contains(&field.as_str())).cloned()
    };
    if let Some(field) = entries.iter().find_map(unknown) {
        return invalid(format!("the field {field} is not served here"));
    }
    let bytes: usize = entries.iter().map(size).sum();
    if bytes > BYTES {
        return invalid(format!(
            "Total size of the entries in the request is over the limit: {bytes}"
        ));
    }
    let results: Vec<Value> = entries.iter().map(|entry| put_event(state, entry)).collect();
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    Ok(json!({"FailedEntryCount": failed, "Entries": results}))
}

/// The bytes of an entry, as the service counts them.
fn size(entry: &Value) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let resources = entry["Resources"].as_array().into_iter().flatten().map(text);
    ["Detail", "DetailType", "Source"].map(|field| text(&entry[field])).iter().sum::<usize>()
        + resources.sum::<usize>()
}

/// The name of a bus, which an entry may name by its ARN.
fn bus_name(entry: &Value) -> &str {
    let bus = entry["EventBusName"].as_str().unwrap_or("default");
    bus.rsplit_once(":event-bus/").map_or(bus, |(_, name)| name)
}

/// The ARN of the bus of an entry.
#[must_use]
pub fn bus_arn(entry: &Value) -> String {
    crate::local_arn("events", &format!("event-bus/{}", bus_name(entry)))
}

fn put_event(state: &mut State, entry: &Value) -> Value {
    let refused = |code: &str, message: &str| json!({"ErrorCode": code, "ErrorMessage": message});
    let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty());
    let (Some(source), Some(kind), Some(detail)) =
        (text("Source"), text("DetailType"), text("Detail"))
    else {
        return refused("InvalidArgument", "Parameter Source, DetailType or Detail is not valid.");
    };
    if source.starts_with("aws.") {
        return refused("NotAuthorizedForSourceException", "Not authorized for the source.");
    }
    let Ok(detail @ Value::Object(_)) = serde_json::from_str(detail) else {
        return refused("MalformedDetail", "Detail is malformed.");
    };
    let time = timestamp(state.now());
    let Some(events) = state.event_buses.get_mut(bus_name(entry)) else {
        return refused("InvalidArgument", "The event bus does not exist.");
    };
    let id = format!("00000000-0000-0000-0000-{:012}", events.len());
    events.push(json!({
        "version": "0",
        "id": id,
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": time,
        "region": REGION,
        "resources": entry.get("Resources").cloned().unwrap_or_else(|| json!([])),
        "detail": detail,
    }));
    json!({"EventId": id})
}
