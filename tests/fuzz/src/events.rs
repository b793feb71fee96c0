//! Events of functions: each one is parsed, or refused with a readable error, and the result is the
//! same every time.

use std::fmt::Debug;

use chrono::DateTime;
use serde_json::Value;

/// Reads an input twice. An error is its whole text.
fn check<T: Debug>(read: impl Fn() -> Result<T, String>) {
    match (read(), read()) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!(!one.is_empty() && one.len() < 10_000, "{one}");
        }
        _ => panic!("it is read at one time, and not at another"),
    }
}

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(bytes) else { return };
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    check(|| warden_aws::push::read_push(&event).map_err(|error| format!("{error:#}")));
    check(|| scan_complete::event::read(&event).map_err(|error| format!("{error:#}")));
    check(|| image_sweep::event::read(&event, "id", now).map_err(|error| format!("{error:#}")));
    check(|| {
        slack_notifier::record::read(&event, crate::blocks::DOCUMENTATION)
            .map_err(|error| format!("{error:#}"))
    });
}
