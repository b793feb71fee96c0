//! Tests the record of complete sweeps, which decides when the next sweep is due.

use std::time::Duration;

use image_sweep::Context;
use local_aws::Fault;
use serde_json::json;
use warden_core::due::{DueReason, SWEPT_WITHIN};

use crate::{DEPLOYMENTS, Function, kinds};

impl Function {
    /// Why the repository is due after this time.
    async fn due_after(&self, hours: u64) -> Option<DueReason> {
        let history = self.history().await;
        let repository = DEPLOYMENTS.parse().unwrap();
        let Context { policy, registry, ledger, .. } = &self.context;
        let policy = policy.find_rule(&repository, registry, ledger).await.unwrap().unwrap();
        let facts = registry.repository_facts(&repository).await.unwrap().unwrap();
        let later = self.now() + chrono::Duration::hours(hours.try_into().unwrap());
        history.due(&policy, &facts.to_string(), later)
    }
}

#[tokio::test]
async fn a_complete_sweep_without_a_rest_is_due_again_after_six_days() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    assert_eq!(function.due_after(0).await, Some(DueReason::NeverSwept));
    assert_eq!(function.sweep().await["removed"], 3);
    assert_eq!(function.history().await.complete.unwrap().due_at, function.now() + SWEPT_WITHIN);
    assert_eq!(function.due_after(143).await, None);
    assert_eq!(function.due_after(144).await, Some(DueReason::Time));
}

#[tokio::test]
async fn a_repository_is_due_when_the_protection_of_an_old_version_ends() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 3);
    {
        let mut state = function.aws.state();
        let pulled_at = state.now() - 28.0 * local_aws::ecr::DAY;
        state.ecr().image(DEPLOYMENTS, &images[0]).unwrap().pulled_at = Some(pulled_at);
    }
    assert_eq!(function.sweep().await["planned"], 0);
    assert_eq!(function.due_after(47).await, None);
    assert_eq!(function.due_after(48).await, Some(DueReason::Time));
}

#[tokio::test]
async fn a_plan_that_waits_is_due_after_six_days_or_when_it_is_confirmed() {
    // The first plan of an adopted repository waits, and so does a plan that removes many images.
    for (is_adopted, count) in [(true, 5), (false, 40)] {
        let function = Function::new("archive").await;
        if is_adopted {
            function.adopt();
        }
        function.versions("a", count);
        assert_eq!(function.sweep().await["removed"], 0);
        assert!(function.history().await.incomplete_since.is_none());
        assert_eq!(function.due_after(143).await, None);
        assert_eq!(function.due_after(144).await, Some(DueReason::Time));
        function.aws.advance(Duration::from_secs(86_400));
        function.confirm(&function.read().await).await;
        assert_eq!(function.due_after(0).await, Some(DueReason::Confirmed));
        assert_eq!(function.sweep().await["removed"], count - 2);
        assert_eq!(function.due_after(1).await, None);
    }
}

#[tokio::test]
async fn the_alert_about_a_waiting_plan_repeats_each_week_if_only_due_sweeps_run() {
    let function = Function::new("archive").await;
    function.adopt();
    function.versions("a", 5);
    let mut sweeps = 0;
    for _ in 0..28 {
        if function.due_after(0).await.is_some() {
            function.sweep().await;
            sweeps += 1;
        }
        function.aws.advance(Duration::from_secs(86_400));
    }
    // The days begin on a Friday and touch five weeks.
    assert_eq!((sweeps, kinds(&function.alerts())), (5, vec!["cleanup"; 5]));
}

#[tokio::test]
async fn a_plan_of_which_only_a_part_is_confirmed_is_due_at_the_next_round_and_waits_again() {
    let function = Function::new("archive").await;
    function.adopt();
    function.versions("a", 5);
    function.sweep().await;
    let mut part = function.read().await;
    part["removals"].as_array_mut().unwrap().truncate(1);
    function.confirm_images(&part, false).await;
    assert_eq!(function.sweep().await["removed"], 1);
    assert_eq!(function.due_after(1).await, Some(DueReason::Time));
    function.aws.advance(Duration::from_secs(86_400));
    let swept = function.sweep().await;
    assert_eq!((&swept["removed"], &swept["confirmable"]), (&json!(0), &json!(true)));
    assert_eq!(function.due_after(1).await, None);
    function.confirm(&function.read().await).await;
    assert_eq!(function.due_after(0).await, Some(DueReason::Confirmed));
    assert_eq!(function.sweep().await["removed"], 2);
}

/// Two unknown mutabilities cannot be compared.
#[tokio::test]
async fn a_repository_with_an_unknown_mutability_is_due_at_each_round() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    let unknown = json!("FROZEN");
    {
        let mut state = function.aws.state();
        let described = &mut state.ecr().repository(DEPLOYMENTS).unwrap().described;
        described.insert("imageTagMutability".to_owned(), unknown);
    }
    for _ in 0..2 {
        function.sweep().await;
        assert_eq!(function.due_after(1).await, Some(DueReason::Time));
    }
}

#[tokio::test]
async fn a_plan_that_is_needs_another_source_or_fails_is_due_at_the_next_round() {
    let function = Function::inspected().await;
    function.versions("a", 5);
    let swept = function.sweep().await;
    assert_eq!((&swept["guard"], &swept["confirmable"]), (&json!("nothing-in-use"), &json!(true)));
    assert_eq!(function.due_after(1).await, Some(DueReason::Time));
    assert!(function.history().await.incomplete_since.is_none());

    let function = Function::new("archive").await;
    function.versions("a", 5);
    function.aws.fault("UpdateImageStorageClass", 1, Fault::Error(400, "ValidationException"));
    let swept = function.sweep().await;
    assert_eq!(
        (&swept["removed"], &swept["failed"], &swept["left"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert_eq!(function.due_after(1).await, Some(DueReason::Time));
}

#[tokio::test]
async fn a_plan_that_is_only_reported_is_not_due_at_the_next_round() {
    let function = Function::new("report").await;
    function.versions("a", 30);
    assert_eq!(function.sweep().await["planned"], 28);
    assert_eq!(function.due_after(143).await, None);
}

#[tokio::test]
async fn a_sweep_that_cannot_read_everything_or_has_no_time_left_is_not_complete() {
    let function = Function::with(&[("InUseSources", "pull-time,inspector")]).await;
    function.versions("a", 5);
    assert!(function.sweep().await["stopped"].is_string());
    assert_eq!(function.history().await.incomplete_since, Some(function.now()));
    assert_eq!(function.due_after(1).await, Some(DueReason::NeverSwept));

    let function = Function::new("archive").await;
    function.versions("a", 5);
    let order = json!({"repository": DEPLOYMENTS});
    let swept = function.ask_within(&order, "late", Duration::from_secs(30)).await.unwrap();
    assert_eq!(swept["left"], 3);
    assert_eq!(function.due_after(1).await, Some(DueReason::NeverSwept));
    assert_eq!(function.sweep().await["removed"], 3);
    assert_eq!(function.due_after(1).await, None);
}

#[tokio::test]
async fn a_sweep_that_fails_after_a_complete_sweep_makes_the_repository_due() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    function.sweep().await;
    let complete = function.history().await.complete;
    function.aws.advance(Duration::from_secs(3_600));
    function.aws.fault("DescribeImages", 0, Fault::Error(403, "AccessDeniedException"));
    function.ask(&json!({"repository": DEPLOYMENTS}), "denied").await.unwrap_err();
    let history = function.history().await;
    assert_eq!(history.complete, complete);
    assert_eq!(history.incomplete_since, Some(function.now()));
    assert_eq!(function.due_after(0).await, Some(DueReason::Interrupted));
    // Later attempts do not move the time since which no sweep was complete.
    let failed_at = function.now();
    function.aws.advance(Duration::from_secs(3_600));
    function.ask(&json!({"repository": DEPLOYMENTS}), "denied again").await.unwrap_err();
    assert_eq!(function.history().await.incomplete_since, Some(failed_at));
}

#[tokio::test]
async fn a_changed_setting_of_the_repository_makes_it_due() {
    let function = Function::new("archive").await;
    function.sweep().await;
    assert_eq!(function.due_after(1).await, None);
    let put = json!({"repositoryName": DEPLOYMENTS, "imageTagMutability": "IMMUTABLE"});
    function.aws.by_hand("PutImageTagMutability", &put).unwrap();
    assert_eq!(function.due_after(1).await, Some(DueReason::SettingsChanged));
}
