//! An attempt that is cut off before or after any call is made up for by the next: what is
//! news is told at least once, and more than once only if it was cut off just when it told.

use std::time::Duration;

use local_aws::Fault;
use serde_json::Value;

use crate::{Function, basic, enhanced, kinds};

/// The facts that must be published.
#[derive(Clone, Copy, Debug)]
enum What {
    Findings,
    Part,
    Finding,
    Resolved,
    Failed,
    Reminder,
    Change,
    Unreadable,
}

impl What {
    /// A function that has to tell it, and the event.
    async fn prepare(self) -> (Function, Value) {
        let function = match self {
            Self::Finding => Function::enhanced().await,
            _ => Function::new().await,
        };
        let event = match self {
            Self::Findings => {
                let image = function.push(&["litellm-v1.80.5"]);
                function.scan(&image, Ok(basic("CVE-1:HIGH")))
            }
            Self::Part => {
                let images = function.push_index("litellm-v1.80.5", 2).await;
                function.scan(&images[0], Ok(basic("CVE-1:HIGH")))
            }
            Self::Finding => {
                let image = function.push(&["litellm-v1.80.5"]);
                function.finding(&image, &enhanced("CVE-1:HIGH")[0], "ACTIVE")
            }
            Self::Resolved => {
                let image = function.push(&["litellm-v1.80.5"]);
                function.scanned(&image, "CVE-1:HIGH").await;
                let image = function.push(&["litellm-v1.80.6"]);
                function.scan(&image, Ok(Vec::new()))
            }
            Self::Failed => {
                let image = function.push(&["litellm-v1.80.5"]);
                function.scan(&image, Err(("FAILED", "")))
            }
            Self::Reminder => {
                let risk =
                    r#"[{"id": "CVE-1", "until": "2027-01-18", "reason": "x", "owner": "y"}]"#;
                function.accept(risk).await;
                crate::event("each-day")
            }
            Self::Change => {
                let risk =
                    r#"[{"id": "CVE-1", "until": "2027-01-31", "reason": "x", "owner": "y"}]"#;
                function.accept(risk).await;
                crate::event("risks-changed")
            }
            Self::Unreadable => {
                function.accept("[").await;
                crate::event("each-day")
            }
        };
        function.aws.state().calls.clear();
        (function, event)
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Findings | Self::Part | Self::Finding => "scan-findings",
            Self::Resolved => "scan-resolved",
            Self::Failed => "scan-failed",
            Self::Reminder => "risk-expiring",
            Self::Change => "risks-changed",
            Self::Unreadable => "self-audit",
        }
    }
}

/// The points of an attempt, each the nth call of an operation.
async fn points(what: What) -> Vec<(String, usize)> {
    let (function, event) = what.prepare().await;
    function.handle(&event, "request").await.unwrap();
    assert_eq!(kinds(&function.alerts()), [what.kind()]);
    let mut points: Vec<(String, usize)> = Vec::new();
    for call in function.calls() {
        let before = points.iter().filter(|(of, _)| *of == call).count();
        points.push((call, before + 1));
    }
    points
}

/// Cuts an attempt off at a point, before or after the call is carried out, and makes it again
/// a minute later; or brings the event as another request, which is never retried itself.
async fn cut_off(what: What, (call, nth): &(String, usize), after: bool, same: bool) -> usize {
    let (function, event) = what.prepare().await;
    if after {
        function.aws.fault(call, *nth, Fault::ResetAfter);
        function.aws.fault(call, nth + 1, Fault::Hang);
    } else {
        function.aws.fault(call, *nth, Fault::Hang);
    }
    let handled = function.handle(&event, "request");
    let ended = tokio::time::timeout(Duration::from_secs(45), handled).await;
    assert!(ended.is_err(), "{what:?} was not cut off at {call} {nth}");
    function.aws.heal();
    function.aws.advance(Duration::from_secs(60));
    let id = if same { "request" } else { "another" };
    function.handle(&event, id).await.unwrap();
    // A later event publishes nothing more.
    function.aws.advance(Duration::from_secs(60));
    function.handle(&event, "later").await.unwrap();
    let alerts = function.alerts();
    assert!(kinds(&alerts).iter().all(|kind| *kind == what.kind()), "{alerts:#?}");
    alerts.len()
}

// 21
#[tokio::test(start_paused = true)]
async fn cut_off_before_or_after_any_call_it_is_told_all_the_same() {
    let mut cuts = 0;
    for what in [
        What::Findings,
        What::Part,
        What::Finding,
        What::Resolved,
        What::Failed,
        What::Reminder,
        What::Change,
        What::Unreadable,
    ] {
        let points = points(what).await;
        let publish = points.iter().position(|(call, _)| call == "Publish").unwrap();
        for (at, point) in points.iter().enumerate() {
            for (after, same) in [(false, true), (false, false), (true, true), (true, false)] {
                let told = cut_off(what, point, after, same).await;
                cuts += 1;
                // Between the publication and its record, nobody can know.
                let unknown = (at == publish && after) || (at == publish + 1 && !after);
                let most = if unknown { 2 } else { 1 };
                assert!(
                    (1..=most).contains(&told),
                    "{what:?}, {point:?}, {after}: told {told} times"
                );
            }
        }
    }
    assert!(cuts > 100, "{cuts}");
}
