//! A function that fails, sleeps or prints as its event demands, for tests of the embedded Lambda.

#![expect(clippy::panic, reason = "an event asks for a panic")]
#![expect(clippy::indexing_slicing, reason = "indexing JSON never panics")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests read what it prints")]

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Serves the Lambda runtime until it ends the process.
pub async fn run() -> Result<(), Error> {
    if std::env::var_os("PROBE_ENDS_AT_START").is_some() {
        return Err("the probe has to end at its start".into());
    }
    lambda_runtime::run(service_fn(probe)).await
}

async fn probe(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    match event["do"].as_str() {
        Some("fail") => Err(format!("demanded failure: {}", event["why"]).into()),
        Some("panic") => panic!("demanded panic"),
        Some("exit") => std::process::exit(3),
        Some("sleep") => {
            let milliseconds = event["milliseconds"].as_u64().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(json!({"process": std::process::id()}))
        }
        Some("print") => {
            println!("{}", event["line"]);
            eprintln!("and to stderr");
            Ok(Value::Null)
        }
        Some("environment") => {
            let variables: serde_json::Map<String, Value> =
                std::env::vars().map(|(name, value)| (name, value.into())).collect();
            Ok(variables.into())
        }
        // Fails until a file exists, which the first failure creates.
        Some("fail-once") => {
            let path = event["path"].as_str().unwrap_or_default();
            if std::fs::exists(path)? {
                return Ok(json!("done"));
            }
            std::fs::write(path, context.request_id)?;
            Err("the first time".into())
        }
        // Events of EventBridge and messages of SNS are printed to the log.
        None if event["detail-type"].is_string() || event["Records"].is_array() => {
            println!("{event}");
            Ok(Value::Null)
        }
        _ => Ok(
            json!({"event": event, "request": context.request_id, "process": std::process::id()}),
        ),
    }
}
