//! Whatever is published, Slack takes what is made of it, and nothing in it is a link, a format
//! or a mention that was not put there by us. What is asked of it is what the embedded Slack
//! asks of every message.

use local_aws::slack::check;
use serde_json::{Value, json};
use slack_notifier::{blocks, message};

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    // An envelope of SNS, or what stands in one.
    let read = serde_json::from_slice::<Value>(bytes).ok().and_then(|it| message::read(&it).ok());
    let records = read.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(bytes);
        let event = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": text}}]});
        message::read(&event).unwrap_or_default()
    });
    for record in records {
        for payload in [blocks::render(&record.message), blocks::plain(&record.message)] {
            let payload: Value = serde_json::from_str(&payload.json()).expect("JSON");
            let wrong = check(&payload);
            assert!(wrong.is_empty(), "{wrong:?} in {payload:#}");
        }
    }
}
