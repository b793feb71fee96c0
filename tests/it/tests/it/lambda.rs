//! Tests of the embedded Lambda, by
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_aws::lambda::{DeadLetter, InvokeError, Lambda, Posted};
use serde_json::{Value, json};

use crate::probe;

/// A Lambda that records its dead letters.
fn lambda() -> (Lambda, Arc<Mutex<Vec<DeadLetter>>>) {
    let letters = Arc::new(Mutex::new(Vec::new()));
    let recorded = letters.clone();
    let record = move |letter| -> Posted {
        recorded.lock().unwrap().push(letter);
        Box::pin(async {})
    };
    let lambda = Lambda::new(record, |_| true);
    lambda.retry_after([Duration::from_millis(10), Duration::from_millis(20)]);
    lambda.create(probe("probe"));
    (lambda, letters)
}

#[tokio::test]
async fn a_free_process_serves_the_next_event() {
    let (lambda, _) = lambda();
    let cold = lambda.invoke("probe", json!({"n": 1})).await.unwrap();
    let warm = lambda.invoke("probe", json!({"n": 2})).await.unwrap();
    assert!(cold.cold_start.is_some() && warm.cold_start.is_none());
    assert_eq!(cold.payload["process"], warm.payload["process"]);
    assert_eq!(warm.payload["event"], json!({"n": 2}));
    assert_eq!(warm.payload["request"], *warm.request_id);
    assert_ne!(cold.request_id, warm.request_id);
    if cfg!(target_os = "linux") {
        assert!(cold.max_memory > Some(100_000) && warm.max_memory >= cold.max_memory);
    }
    lambda.create(probe("probe"));
    let replaced = lambda.invoke("probe", json!({})).await.unwrap();
    assert_ne!(replaced.payload["process"], warm.payload["process"]);
}

#[tokio::test]
async fn a_process_that_has_ended_meanwhile_is_replaced() {
    let (lambda, _) = lambda();
    let before = lambda.invoke("probe", json!({})).await.unwrap();
    let process = before.payload["process"].to_string();
    let killed = Command::new("kill").args(["-9", &process]).status().unwrap();
    assert!(killed.success());
    let state = || Command::new("ps").args(["-o", "stat=", "-p", &process]).output().unwrap();
    while !matches!(state().stdout.first(), None | Some(b'Z')) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = lambda.invoke("probe", json!({})).await.unwrap();
    assert!(after.error.is_none() && after.cold_start.is_some());
}

#[tokio::test]
async fn a_caller_that_stops_waiting_frees_its_concurrency() {
    let (lambda, _) = lambda();
    let mut alone = probe("alone");
    alone.reserved_concurrency = Some(1);
    lambda.create(alone);
    let sleep = lambda.invoke("alone", json!({"do": "sleep", "milliseconds": 200}));
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    lambda.invoke_async("alone", json!({})).unwrap();
    lambda.settled().await;
    assert!(lambda.invoke("alone", json!({})).await.is_ok());
}

#[tokio::test]
async fn two_simultaneous_events_run_in_two_processes_within_the_reserved_concurrency() {
    let (lambda, _) = lambda();
    let sleep = json!({"do": "sleep", "milliseconds": 300});
    let (one, other) =
        tokio::join!(lambda.invoke("probe", sleep.clone()), lambda.invoke("probe", sleep.clone()));
    assert_ne!(one.unwrap().payload["process"], other.unwrap().payload["process"]);

    let mut alone = probe("alone");
    alone.reserved_concurrency = Some(1);
    lambda.create(alone);
    let (one, other) =
        tokio::join!(lambda.invoke("alone", sleep.clone()), lambda.invoke("alone", sleep.clone()));
    assert!(one.is_ok());
    assert_eq!(other.unwrap_err(), InvokeError::Throttled("alone".to_owned()));
    // An asynchronous event waits until the concurrency is free.
    for _ in 0..3 {
        lambda.invoke_async("alone", json!({"do": "print", "line": "here"})).unwrap();
    }
    lambda.settled().await;
    assert_eq!(lambda.log("alone").matches("here").count(), 3);
}

#[tokio::test]
async fn the_process_has_only_the_environment_variables_that_lambda_sets() {
    let (lambda, _) = lambda();
    let mut function = probe("probe");
    function.environment.insert("POLICY_VERSION".to_owned(), "[]".to_owned());
    lambda.create(function);
    let found = lambda.invoke("probe", json!({"do": "environment"})).await.unwrap().payload;
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "probe"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "123456789012"),
        ("TZ", ":UTC"),
        ("_HANDLER", "probe"),
        ("POLICY_VERSION", "[]"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
    assert!(found["CARGO_MANIFEST_DIR"].is_null() && found["HOME"].is_null(), "{found:#}");
}

#[tokio::test]
async fn a_failed_event_reports_its_error_and_a_running_process_serves_the_next_event() {
    let (lambda, _) = lambda();
    let before = lambda.invoke("probe", json!({})).await.unwrap().payload;
    for (event, message) in [
        (json!({"do": "fail", "why": "x"}), "demanded failure: \"x\""),
        (json!({"do": "panic"}), "demanded panic"),
    ] {
        let failed = lambda.invoke("probe", event).await.unwrap();
        assert!(failed.error.is_some());
        let found = failed.payload["errorMessage"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
    let after = lambda.invoke("probe", json!({})).await.unwrap().payload;
    assert_eq!(before["process"], after["process"]);

    let exited = lambda.invoke("probe", json!({"do": "exit"})).await.unwrap();
    assert_eq!(exited.error.as_deref(), Some("Runtime.ExitError"));
    let message = exited.payload["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Error: Runtime exited with error: exit status 3"), "{message}");
    let anew = lambda.invoke("probe", json!({})).await.unwrap();
    assert!(anew.cold_start.is_some());
}

#[tokio::test]
async fn a_timeout_ends_the_process() {
    let (lambda, _) = lambda();
    let mut function = probe("slow");
    function.timeout = Duration::from_millis(500);
    lambda.create(function);
    let sleep = json!({"do": "sleep", "milliseconds": 60_000});
    let late = lambda.invoke("slow", sleep).await.unwrap();
    assert_eq!(late.error.as_deref(), Some("Sandbox.Timedout"));
    let message = late.payload["errorMessage"].as_str().unwrap();
    assert!(message.ends_with("Error: Task timed out after 0.50 seconds"), "{message}");
    assert!(lambda.invoke("slow", json!({})).await.unwrap().cold_start.is_some());
}

#[tokio::test]
async fn a_process_that_does_not_start_is_an_error_with_its_log() {
    let (lambda, _) = lambda();
    let mut missing = probe("missing");
    missing.program = "/no/such/bootstrap".into();
    lambda.create(missing);
    let failed = lambda.invoke("missing", json!({})).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("Runtime.InvalidEntrypoint"));

    let mut ending = probe("ending");
    ending.environment.insert("PROBE_ENDS_AT_START".to_owned(), String::new());
    lambda.create(ending);
    let failed = lambda.invoke("ending", json!({})).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("Runtime.ExitError"));
    assert!(failed.log.contains("has to end at its start"), "{}", failed.log);

    let unknown = lambda.invoke("unknown", json!({})).await.unwrap_err();
    assert_eq!(unknown.code(), "ResourceNotFoundException");
}

#[tokio::test]
async fn the_log_contains_both_outputs() {
    let (lambda, _) = lambda();
    let printed = lambda.invoke("probe", json!({"do": "print", "line": "one"})).await.unwrap();
    assert_eq!(printed.log, "\"one\"\nand to stderr\n");
    lambda.invoke("probe", json!({"do": "print", "line": "two"})).await.unwrap();
    assert!(lambda.log("probe").ends_with("\"two\"\nand to stderr\n"));
}

#[tokio::test]
async fn an_asynchronous_event_is_attempted_three_times_and_then_sent_to_both_queues() {
    let (lambda, letters) = lambda();
    let mut function = probe("probe");
    function.dead_letter = Some("arn:aws:sqs:us-east-1:123456789012:dead".to_owned());
    function.on_failure = Some("arn:aws:sqs:us-east-1:123456789012:failed".to_owned());
    lambda.create(function);
    let event = json!({"do": "fail", "why": "always"});
    let id = lambda.invoke_async("probe", event.clone()).unwrap();
    lambda.settled().await;
    let letters = std::mem::take(&mut *letters.lock().unwrap());
    assert_eq!(letters.len(), 2, "{letters:#?}");
    assert_eq!(letters[0].body, event);
    assert_eq!(letters[0].attributes["RequestID"], id);
    assert_eq!(letters[0].attributes["ErrorMessage"], "demanded failure: \"always\"");
    let record = &letters[1].body;
    assert_eq!(record["requestPayload"], event);
    assert_eq!(record["requestContext"]["requestId"], *id);
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert_eq!(record["responsePayload"]["errorMessage"], "demanded failure: \"always\"");
}

#[tokio::test]
async fn a_second_attempt_has_the_same_request_id_and_may_succeed() {
    let (lambda, letters) = lambda();
    let path = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
    let event = json!({"do": "fail-once", "path": path});
    let id = lambda.invoke_async("probe", event).unwrap();
    lambda.settled().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), id);
    std::fs::remove_file(path).unwrap();
    assert!(letters.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let (lambda, _) = lambda();
    let event = |size: usize| Value::String("x".repeat(size));
    let too_large = lambda.invoke("probe", event(6 * 1_024 * 1_024)).await.unwrap_err();
    assert_eq!(too_large.code(), "RequestTooLargeException");
    assert!(lambda.invoke_async("probe", event(1_024 * 1_024)).is_err());
    assert!(lambda.invoke_async("probe", event(1_000_000)).is_ok());
    let big = lambda.invoke("probe", event(4_000_000)).await.unwrap();
    assert!(big.error.is_none(), "{:?}", big.error);
}
