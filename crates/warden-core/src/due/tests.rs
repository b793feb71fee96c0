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
