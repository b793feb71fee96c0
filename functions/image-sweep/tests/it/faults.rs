//! Tests a failure of each call. A run with a failure removes no image that a run without failures
//! would keep. After the next run, the repository is the same as after a run without failures, and
//! every removal was published.

use std::collections::BTreeSet;
use std::time::Duration;

use local_aws::Fault;
use serde_json::{Value, json};

use crate::{DAY, DEPLOYMENTS, Function, NOW, QUARANTINE};

/// A repository with removable units of each kind, and with a unit that stays.
async fn prepare(enforcement: &str) -> Function {
    let mut parameters = vec![("*.Retention.Enforcement", enforcement)];
    if enforcement == "archive" {
        parameters.extend(QUARANTINE);
    }
    let function = Function::with(&parameters).await;
    function.index("a-v0.1.0", 200.0);
    function.versions("a", 3);
    function.index("b-v1.0.0", 200.0);
    function.push("", 1.0);
    let both = function.push("c-v1.0.0", 90.0);
    let gone = format!("sha256:{}", "0".repeat(64));
    {
        let mut state = function.aws.state();
        state.ecr().push_attached(DEPLOYMENTS, &gone, ".sig", NOW - 100.0 * DAY).unwrap();
    }
    if enforcement == "archive" {
        function.quarantine(&both);
    }
    // The audit publishes this tag.
    function.push("Bad", 90.0);
    function.calls();
    function
}

/// The digests of the active images, each with its tags.
fn state(function: &Function) -> BTreeSet<String> {
    let mut state = function.aws.state();
    let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
    let active = images.iter().filter(|image| image.status.name() == "ACTIVE");
    active.map(|image| format!("{} {:?}", image.digest, image.tags)).collect()
}

/// Whether every image of `after` is active.
fn has_all(function: &Function, after: &BTreeSet<String>) -> bool {
    let active = function.active();
    after.iter().all(|image| active.iter().any(|digest| image.starts_with(digest.as_str())))
}

/// The removals in the alerts.
fn published_removals(alerts: &[Value]) -> BTreeSet<String> {
    let cleanups = alerts.iter().filter(|alert| alert["kind"] == "cleanup");
    let images = cleanups.flat_map(|alert| alert["details"]["images"].as_array().unwrap());
    images.map(|image| format!("{} {}", image["decision"], image["digest"])).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_any_call_removes_no_kept_image_and_the_next_run_continues() {
    let mut cases = 0;
    for enforcement in ["archive", "delete"] {
        let faultless = prepare(enforcement).await;
        let before = state(&faultless);
        faultless.sweep().await;
        let (after, calls) = (state(&faultless), faultless.calls());
        let all = published_removals(&faultless.alerts());
        assert!(after.len() < before.len() && all.len() > 5, "{all:#?}");
        for (nth, operation) in calls.iter().enumerate() {
            let which = calls[..=nth].iter().filter(|call| *call == operation).count();
            for (what, fault) in [
                ("denied", Fault::Error(403, "AccessDeniedException")),
                ("500", Fault::Error(500, "InternalServerError")),
                ("throttled", Fault::Error(400, "ThrottlingException")),
                ("reset before", Fault::ResetBefore),
                ("reset after", Fault::ResetAfter),
            ] {
                let case = format!("{enforcement}: {operation} {which} {what}");
                let function = prepare(enforcement).await;
                assert_eq!(state(&function), before, "{case}");
                function.aws.fault(operation, which, fault);
                let order = json!({"repository": DEPLOYMENTS});
                let first = function.ask(&order, "first").await;
                assert!(has_all(&function, &after), "{case}: an image was removed that must stay");
                if first.is_err() {
                    // Lambda tries the event again.
                    let again = function.ask(&order, "first").await;
                    assert!(again.is_ok(), "{case}: {again:?}");
                }
                // If the run published its failures, the next run continues.
                function.aws.advance(Duration::from_secs(20 * 60));
                function.ask(&order, "next").await.unwrap();
                assert_eq!(state(&function), after, "{case}");
                let published = published_removals(&function.alerts());
                let missing: Vec<String> = all.difference(&published).cloned().collect();
                assert!(missing.is_empty(), "{case}: {missing:?} was not published");
                cases += 1;
            }
        }
    }
    assert!(cases > 150, "{cases}");
}

/// Each time the call is made, it fails.
#[tokio::test(start_paused = true)]
async fn a_call_that_always_fails_removes_no_kept_image() {
    for enforcement in ["archive", "delete"] {
        let faultless = prepare(enforcement).await;
        faultless.sweep().await;
        let (after, calls) = (state(&faultless), faultless.calls());
        for operation in calls.into_iter().collect::<BTreeSet<_>>() {
            for code in ["AccessDeniedException", "ThrottlingException"] {
                let function = prepare(enforcement).await;
                function.aws.fault(&operation, 0, Fault::Error(400, code));
                for _ in 0..3 {
                    let _ = function.ask(&json!({"repository": DEPLOYMENTS}), "first").await;
                }
                assert!(has_all(&function, &after), "{enforcement} {operation} {code}");
                function.aws.heal();
                function.aws.advance(Duration::from_secs(20 * 60));
                function.ask(&json!({"repository": DEPLOYMENTS}), "next").await.unwrap();
                assert_eq!(state(&function), after, "{enforcement} {operation} {code}");
            }
        }
    }
}
