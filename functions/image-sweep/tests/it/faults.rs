//! Whatever call goes wrong, nothing goes that a faultless run would have kept; and the next run
//! leaves what a faultless one would have left, with everything told that went.

use std::collections::BTreeSet;
use std::time::Duration;

use local_aws::Fault;
use serde_json::{Value, json};

use crate::{DAY, DEPLOYMENTS, Function, NOW, QUARANTINE};

/// A repository with a unit of each kind that goes, and one that stays.
async fn prepare(enforcement: &str) -> Function {
    let mut parameters = vec![("CleanupEnforcement", enforcement)];
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
    // Something to tell beside.
    function.push("Bad", 90.0);
    function.calls();
    function
}

/// The digests of what can be pulled, each with its tags.
fn state(function: &Function) -> BTreeSet<String> {
    let mut state = function.aws.state();
    let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
    let there = images.iter().filter(|image| image.status.name() == "ACTIVE");
    there.map(|image| format!("{} {:?}", image.digest, image.tags)).collect()
}

/// Whether every image of `after` is there.
fn has_all(function: &Function, after: &BTreeSet<String>) -> bool {
    let there = function.active();
    after.iter().all(|image| there.iter().any(|digest| image.starts_with(digest.as_str())))
}

/// What alerts say went.
fn told(alerts: &[Value]) -> BTreeSet<String> {
    let of = alerts.iter().filter(|alert| alert["kind"] == "cleanup");
    let images = of.flat_map(|alert| alert["details"]["images"].as_array().unwrap());
    images.map(|image| format!("{} {}", image["decision"], image["digest"])).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_call_goes_wrong_nothing_goes_that_should_stay_and_the_next_run_goes_on() {
    let mut cases = 0;
    for enforcement in ["archive", "delete"] {
        let faultless = prepare(enforcement).await;
        let before = state(&faultless);
        faultless.sweep().await;
        let (after, calls) = (state(&faultless), faultless.calls());
        let all = told(&faultless.alerts());
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
                assert!(has_all(&function, &after), "{case}: something went that should stay");
                if first.is_err() {
                    // As Lambda does it.
                    let again = function.ask(&order, "first").await;
                    assert!(again.is_ok(), "{case}: {again:?}");
                }
                // Or the next run, where what failed was told.
                function.aws.advance(Duration::from_secs(20 * 60));
                function.ask(&order, "next").await.unwrap();
                assert_eq!(state(&function), after, "{case}");
                let missing: Vec<String> =
                    all.difference(&told(&function.alerts())).cloned().collect();
                assert!(missing.is_empty(), "{case}: {missing:?} went and was not told");
                cases += 1;
            }
        }
    }
    assert!(cases > 150, "{cases}");
}

/// A call that fails as often as it is made.
#[tokio::test(start_paused = true)]
async fn what_fails_for_good_leaves_everything_that_should_stay() {
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
