//! Slack accepts the rendering of every published message. No text in it is a link, a format or a
//! mention that the rendering did not add, and no character is hidden. The embedded Slack checks
//! every message in the same way.

use local_aws::slack::check;
use serde_json::{Value, json};
use slack_notifier::record;
use warden_alerts::slack::{Notification, render, render_without_blocks};
use warden_core::text::is_hidden;

/// The documentation that messages may link to.
pub(crate) const DOCUMENTATION: &str = "https://github.com/ecr-warden/ecr-warden/blob/main/docs";

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    // The input is an event of SNS, or the text of a message.
    let read = serde_json::from_slice::<Value>(bytes).ok();
    let records =
        read.and_then(|event| record::read(&event, DOCUMENTATION).ok()).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(bytes);
            let event = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": text}}]});
            record::read(&event, DOCUMENTATION).unwrap_or_default()
        });
    for record in records {
        check_renderings(&record.notification);
    }
}

/// Checks both renderings of a message.
pub fn check_renderings(notification: &Notification) {
    for payload in [render(notification), render_without_blocks(notification)] {
        let payload: Value = serde_json::from_str(&payload.json()).expect("JSON");
        let wrong = check(&payload);
        assert!(wrong.is_empty(), "{wrong:?} in {payload:#}");
        check_visible(&payload);
    }
}

/// Checks that no text has a hidden character.
fn check_visible(value: &Value) {
    match value {
        Value::String(text) => {
            assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text:?}");
        }
        Value::Array(values) => values.iter().for_each(check_visible),
        Value::Object(fields) => fields.values().for_each(check_visible),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
