//! Kills an attempt before or after each of its calls. The next attempt still publishes the alert. A
//! second alert is published only if the attempt was killed between publishing and recording that.

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
    /// Builds a function and the event of which this fact must be published.
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
        let _ = function.bus_events();
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

/// The calls of an attempt: each is an operation and the number of its call.
async fn points(what: What) -> Vec<(String, usize)> {
    let (function, event) = what.prepare().await;
    function.handle(&event, "request").await.unwrap();
    assert_eq!(kinds(&function.alerts()), [what.kind()]);
    let mut points: Vec<(String, usize)> = Vec::new();
    for call in function.calls() {
        let before = points.iter().filter(|(earlier, _)| *earlier == call).count();
        points.push((call, before + 1));
    }
    points
}

/// Kills an attempt at a call, before or after AWS carries out the call. A minute later handles the
/// event again, as a retry (`same`) or as another request. Returns the number of alerts.
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
    let events = function.bus_events().len();
    assert!((1..=2).contains(&events), "{what:?}, {call} {nth}: {events} events");
    alerts.len()
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_killed_at_any_call_is_published_by_the_next() {
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
        // The client of EventBridge has timeouts of its own. The fault matrix of `tests/it` kills a
        // function while it puts an event on the bus.
        let is_hanging = |(_, (call, _)): &(usize, &(String, usize))| call != "PutEvents";
        for (at, point) in points.iter().enumerate().filter(is_hanging) {
            for (after, same) in [(false, true), (false, false), (true, true), (true, false)] {
                let alerts = cut_off(what, point, after, same).await;
                cuts += 1;
                // An attempt that was killed between publishing and recording may publish twice. The
                // next call puts the event on the bus at the same time.
                let is_recorded = at > publish + 2 || (at == publish + 2 && after);
                let unknown = (at > publish || (at == publish && after)) && !is_recorded;
                let most = if unknown { 2 } else { 1 };
                assert!(
                    (1..=most).contains(&alerts),
                    "{what:?}, {point:?}, {after}: {alerts} alerts"
                );
            }
        }
    }
    assert!(cuts > 100, "{cuts}");
}
