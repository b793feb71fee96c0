//! What `EventBridge` brings, as far as all functions read it alike
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

/// The most characters of a field's path, and of what is wrong with it, in an error: both repeat
/// what came.
const LONGEST_PATH: usize = 200;
const LONGEST_ERROR: usize = 400;

/// The age of an event from which on ECR must know what the event names.
///
/// ECR promises no read-after-event consistency: an image that its event names may be unknown to
/// `DescribeImages` for a while. Lambda tries a failed event again after one minute, and two minutes
/// after that. So the last attempt at a prompt event is older than this, and no event is let go
/// sooner, however late `EventBridge` delivers it.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(150);

/// Whether ECR may not know yet what the event names. 'Not found' then is an error, and Lambda
/// tries again. Clocks differ, so an event of the future is young too.
#[must_use]
pub fn is_young(source: &Source, now: DateTime<Utc>) -> bool {
    let time = DateTime::parse_from_rfc3339(&source.time);
    time.is_ok_and(|time| now.signed_duration_since(time) < SETTLED_AFTER)
}

/// Whose event it is, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// The event.
    pub source: Source,
}

/// Reads an event with a detail of one form. The error names the field that cannot be
/// understood.
pub fn read<T: DeserializeOwned + Serialize>(
    payload: &Value,
) -> anyhow::Result<EventBridgeEvent<T>> {
    if !payload.is_object() {
        bail!("the event: expected an object of EventBridge");
    }
    deserialized("", payload)
}

/// Reads a part of an event, such as its detail.
pub fn deserialized<T: DeserializeOwned>(part: &str, value: &Value) -> anyhow::Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        // What the object as a whole lacks has no path.
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

/// Whose event it is. These stand in commands that people run, and anybody who may invoke the
/// function could have made them up.
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

/// A field that has to be there.
pub fn required<T>(name: &str, value: Option<T>) -> anyhow::Result<T> {
    value.with_context(|| format!("the event: {name}: missing, and required"))
}

/// A field that is a name or a digest.
pub fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error| anyhow!("the event: {name}: {error}, got {:?}", shown(text)))
}

/// As much of a text as an error repeats: it may be of any length.
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
        #[allow(dead_code, reason = "it is only read")]
        count: Option<u64>,
    }

    #[test]
    fn an_event_is_young_for_longer_than_the_registry_lags_and_shorter_than_lambda_retries() {
        let source = Source { id: String::new(), time: "2026-11-24T10:00:00Z".to_owned() };
        let is_young_at = |time: &str| is_young(&source, time.parse().unwrap());
        assert!(is_young_at("2026-11-24T09:59:00Z"));
        assert!(is_young_at("2026-11-24T10:01:31Z"));
        assert!(!is_young_at("2026-11-24T10:03:00Z"));
    }

    #[test]
    fn an_error_is_not_as_long_as_the_event() {
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
