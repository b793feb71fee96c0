//! The envelope of events of `EventBridge`
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>).

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warden_alerts::Source;

/// The most characters of the path of a field, and of the mistake, in an error. Both repeat text of
/// the event.
const LONGEST_PATH: usize = 200;
const LONGEST_ERROR: usize = 400;

/// The age of an event at which ECR must know the image of the event.
///
/// ECR does not guarantee read-after-event consistency: `DescribeImages` may not know the image of an
/// event for a while. Lambda retries a failed event after one minute, and again two minutes later. The
/// last attempt at an event that was delivered promptly is therefore older than this. A function never
/// drops a younger event.
///
/// See case A9 in `docs/contributing/prior-art.md`.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(150);

/// Whether the event is so young that ECR may not know its image yet. 'Not found' is an error then, and
/// Lambda retries the event. An event with a time in the future is young too, because clocks differ.
#[must_use]
pub fn is_young(source: &Source, now: DateTime<Utc>) -> bool {
    let time = DateTime::parse_from_rfc3339(&source.time);
    time.is_ok_and(|time| now.signed_duration_since(time) < SETTLED_AFTER)
}

/// The longest time between an event and its first attempt or retry: EventBridge delivers for 24 hours, and
/// Lambda retries for six.
const DELIVERED_WITHIN: TimeDelta = TimeDelta::hours(30);

/// The time of an event, if the time is plausible, or otherwise the nearest plausible time. So a forged event
/// is not much older than its arrival. An event without a valid time happened now.
#[must_use]
pub fn plausible_time(source: &Source, now: DateTime<Utc>) -> DateTime<Utc> {
    let time = DateTime::parse_from_rfc3339(&source.time);
    time.map_or(now, |time| time.to_utc().clamp(now - DELIVERED_WITHIN, now))
}

/// The account, the region and the identity of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The twelve digits of the account.
    pub account: String,
    /// The region, such as `us-east-1`.
    pub region: String,
    /// The ID and the time of the event.
    pub source: Source,
}

/// Reads an event with a detail of this type. The error names the invalid field.
pub fn read<T: DeserializeOwned + Serialize>(
    payload: &Value,
) -> anyhow::Result<EventBridgeEvent<T>> {
    if !payload.is_object() {
        bail!("the event: expected an EventBridge event, which is a JSON object");
    }
    deserialized("", payload)
}

/// Reads a part of an event, such as its detail.
pub fn deserialized<T: DeserializeOwned>(part: &str, value: &Value) -> anyhow::Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        // A missing field has the path of its object.
        let path = cut(&error.path().to_string(), LONGEST_PATH);
        let path = match (part, path.as_str()) {
            ("", ".") => String::new(),
            ("", path) => format!("{path}: "),
            (part, ".") => format!("{part}: "),
            (part, path) => format!("{part}.{path}: "),
        };
        anyhow!("the event: {path}{}", cut(&error.inner().to_string(), LONGEST_ERROR))
    })
}

/// Reads the origin of an event. The values are part of commands that people run, and every principal
/// that may invoke the function can forge them. Therefore only plain characters are accepted.
pub fn origin<T: DeserializeOwned + Serialize>(
    event: &EventBridgeEvent<T>,
) -> anyhow::Result<Origin> {
    let plain = |name: &str, value: Option<&String>, most: usize| {
        let value = required(name, value)?;
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        ensure!(
            is_plain && (1..=most).contains(&value.len()),
            "the event: {name}: expected at most {most} letters, digits and '-', got {:?}",
            shown(value)
        );
        Ok(value.clone())
    };
    let time = event.time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    Ok(Origin {
        account: plain("account", event.account.as_ref(), 12)?,
        region: plain("region", event.region.as_ref(), 32)?,
        source: Source { id: plain("id", event.id.as_ref(), 64)?, time: required("time", time)? },
    })
}

/// Reads a required field.
pub fn required<T>(name: &str, value: Option<T>) -> anyhow::Result<T> {
    value.with_context(|| format!("the event: {name}: this required field is missing"))
}

/// Parses a field that is a name or a digest.
pub fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error| anyhow!("the event: {name}: {error}, got {:?}", shown(text)))
}

/// The beginning of a text, for an error. The text may have any length.
#[must_use]
pub fn shown(text: &str) -> String {
    cut(text, 80)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Words {
        #[allow(dead_code, reason = "the test only deserialises the field")]
        count: Option<u64>,
    }

    #[test]
    fn an_event_is_young_until_150_seconds_after_its_time() {
        let source = Source { id: String::new(), time: "2026-11-24T10:00:00Z".to_owned() };
        let is_young_at = |time: &str| is_young(&source, time.parse().unwrap());
        assert!(is_young_at("2026-11-24T09:59:00Z"));
        assert!(is_young_at("2026-11-24T10:01:31Z"));
        assert!(!is_young_at("2026-11-24T10:03:00Z"));
    }

    #[test]
    fn an_event_happened_in_the_last_thirty_hours() {
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-11-24T09:59:00Z", "2026-11-24T09:59:00Z"),
            ("2026-11-24T11:00:00Z", "2026-11-24T10:00:00Z"),
            ("1970-01-01T00:00:00Z", "2026-11-23T04:00:00Z"),
            ("yesterday", "2026-11-24T10:00:00Z"),
        ] {
            let source = Source { id: String::new(), time: time.to_owned() };
            let expected: DateTime<Utc> = expected.parse().unwrap();
            assert_eq!(plausible_time(&source, now), expected, "{time}");
        }
    }

    #[test]
    fn an_error_about_a_long_event_is_short() {
        let name = "\u{1f433}".repeat(5_000);
        for event in [serde_json::json!({name.as_str(): 1}), serde_json::json!({"count": name})] {
            let error = deserialized::<Words>("detail", &event).unwrap_err().to_string();
            assert!(error.chars().count() < 700, "{error}");
            assert!(error.starts_with("the event: detail."), "{error}");
        }
        let error = deserialized::<Words>("", &serde_json::json!({"counts": 1})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the event: counts: unknown field `counts`, expected `count`"
        );
    }
}
