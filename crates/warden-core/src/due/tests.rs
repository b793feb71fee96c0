use serde_json::json;

use super::*;
use crate::graph::Graph;
use crate::policy::tests::{GUIDE, policy};
use crate::retention::tests::{inventory, now, two};
use crate::retention::{RunningImages, plan_retention};

const SETTINGS: &str = "1 IMMUTABLE";

/// The record of a sweep of this image.
fn swept(image: &str, has_rest: bool) -> CompleteSweep {
    let (policy, inventory) = (two(), inventory(&[("image", image)]));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    CompleteSweep::new(&plan, SETTINGS.to_owned(), has_rest, now())
}

/// The history after a complete sweep of an image that stays for years.
fn idle() -> SweepHistory {
    let complete = Some(swept("a-v1.0.0, pushed 100", false));
    SweepHistory { complete, ..SweepHistory::default() }
}

fn due(history: &SweepHistory, after: TimeDelta) -> Option<DueReason> {
    history.due(&two(), SETTINGS, now() + after)
}

#[test]
fn a_repository_without_a_complete_sweep_is_due() {
    let history = SweepHistory::default();
    assert_eq!(due(&history, TimeDelta::zero()), Some(DueReason::NeverSwept));
}

#[test]
fn an_idle_repository_is_due_after_six_days() {
    assert_eq!(due(&idle(), TimeDelta::minutes(6 * 24 * 60 - 1)), None);
    assert_eq!(due(&idle(), TimeDelta::days(6)), Some(DueReason::Time));
}

#[test]
fn a_repository_is_due_when_its_plan_changes() {
    // An untagged image stays for three days.
    let complete = Some(swept(", pushed 1", false));
    let history = SweepHistory { complete, ..SweepHistory::default() };
    let days = i64::from(two().retention.unwrap().untagged_days) - 1;
    assert_eq!(due(&history, TimeDelta::minutes(days * 24 * 60 - 1)), None);
    assert_eq!(due(&history, TimeDelta::days(days)), Some(DueReason::Time));
}

#[test]
fn a_plan_that_was_not_carried_out_is_due_at_the_next_round() {
    let complete = Some(swept("a-v1.0.0, pushed 100", true));
    let history = SweepHistory { complete, ..SweepHistory::default() };
    assert_eq!(due(&history, TimeDelta::minutes(1)), Some(DueReason::Time));
    assert!(!history.is_overdue(now() + TimeDelta::days(1)));
}

/// The history after a sweep of a plan that nobody has confirmed.
fn waiting(confirmed_at: Option<DateTime<Utc>>) -> SweepHistory {
    let policy = two();
    let versions: Vec<String> =
        (0..3).map(|nth| format!("a-v1.{nth}.0, pushed {}", 100 - nth)).collect();
    let images: Vec<(&str, &str)> =
        ["one", "two", "three"].into_iter().zip(versions.iter().map(String::as_str)).collect();
    let inventory = inventory(&images);
    let graph = Graph::build(&inventory).unwrap();
    let mut plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    plan.apply_confirmation(None, None, now());
    let complete = CompleteSweep::new(&plan, SETTINGS.to_owned(), false, now());
    assert!(complete.waits);
    SweepHistory { complete: Some(complete), confirmed_at, ..SweepHistory::default() }
}

#[test]
fn a_plan_that_waits_is_due_after_a_confirmation_or_after_six_days() {
    assert_eq!(due(&waiting(None), TimeDelta::minutes(6 * 24 * 60 - 1)), None);
    assert_eq!(due(&waiting(None), TimeDelta::days(6)), Some(DueReason::Time));
    let confirmed = waiting(Some(now() + TimeDelta::days(1)));
    assert_eq!(due(&confirmed, TimeDelta::days(2)), Some(DueReason::Confirmed));
    // Only a plan that waits needs the confirmation.
    let history = SweepHistory { confirmed_at: confirmed.confirmed_at, ..idle() };
    assert_eq!(due(&history, TimeDelta::days(2)), None);
}

/// The clock of the operator may be late, and a sweep may have begun before the confirmation was written.
#[test]
fn a_sweep_has_read_a_confirmation_of_an_hour_earlier() {
    for (minutes, expected) in [(0, None), (1, Some(DueReason::Confirmed))] {
        let confirmed_at = now() - TimeDelta::hours(1) + TimeDelta::minutes(minutes);
        assert_eq!(due(&waiting(Some(confirmed_at)), TimeDelta::hours(1)), expected, "{minutes}");
    }
}

/// A recorded push stands for pushes until an hour later, and each of them is complete an hour after it.
#[test]
fn a_sweep_covers_a_push_two_hours_after_the_push_was_recorded() {
    for (minutes, expected) in [(0, None), (1, Some(DueReason::Pushed))] {
        let pushed_at = now() - TimeDelta::hours(2) + TimeDelta::minutes(minutes);
        let history = SweepHistory { pushed_at: Some(pushed_at), ..idle() };
        assert_eq!(due(&history, TimeDelta::hours(1)), expected, "{minutes}");
    }
    let history = SweepHistory { pushed_at: Some(now() + TimeDelta::hours(5)), ..idle() };
    assert_eq!(due(&history, TimeDelta::hours(6)), Some(DueReason::Pushed));
}

#[test]
fn an_interrupted_sweep_or_removal_makes_a_repository_due() {
    let history = SweepHistory { incomplete_since: Some(now()), ..idle() };
    assert_eq!(due(&history, TimeDelta::hours(1)), Some(DueReason::Interrupted));
    let history = SweepHistory { has_unfinished_unit: true, ..idle() };
    assert_eq!(due(&history, TimeDelta::hours(1)), Some(DueReason::Interrupted));
}

#[test]
fn a_changed_policy_or_setting_makes_a_repository_due() {
    let other = policy(GUIDE, &[("Retention.UntaggedDays", json!(30))]);
    assert_eq!(idle().due(&other, SETTINGS, now()), Some(DueReason::PolicyChanged));
    assert_eq!(idle().due(&two(), "1 MUTABLE", now()), Some(DueReason::SettingsChanged));
}

#[test]
fn a_repository_is_overdue_a_day_after_it_was_due_without_a_complete_sweep() {
    let is_overdue =
        |history: &SweepHistory, days| history.is_overdue(now() + TimeDelta::days(days));
    assert!(!is_overdue(&idle(), 7));
    assert!(is_overdue(&idle(), 8));
    let history = SweepHistory { incomplete_since: Some(now()), ..SweepHistory::default() };
    assert!(!is_overdue(&history, 1));
    assert!(is_overdue(&history, 2));
    // The first round finds repositories that no sweep knows yet.
    assert!(!is_overdue(&SweepHistory::default(), 100));
}
