//! Tests violations of rules that only report, which the weekly digest has.

use std::time::Duration;

use chrono::{DateTime, Utc};
use local_aws::Fault;
use warden_alerts::RepositoryReport;
use warden_aws::ledger::{Ledger, week};
use warden_core::image::RepositoryName;

use crate::Function;

impl Function {
    /// The entry of `infrastructure` in the digest of this week.
    pub(crate) async fn report(&self) -> RepositoryReport {
        self.report_about("infrastructure", self.now()).await
    }

    /// The entry of a repository in the digest of the week of a time.
    pub(crate) async fn report_about(&self, name: &str, at: DateTime<Utc>) -> RepositoryReport {
        let ledger = Ledger::new(&self.aws.config(), self.context.config.table.clone());
        let repository: RepositoryName = name.parse().unwrap();
        let mut reports = ledger.reports([&repository], &week(at)).await.unwrap();
        reports.remove(&repository).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_violation_of_a_rule_that_reports_is_in_the_digest_and_publishes_no_alert() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5", "litellm-v1.80.5"]);
    function.handle_all(&events).await;
    let report = function.report().await;
    assert_eq!(report.violations(), 1);
    let [violation] = &report.examples[..] else { panic!("{report:#?}") };
    assert_eq!((violation.tag.as_str(), violation.digest.as_str()), ("litellm-1.80.5", &*digest));
    assert_eq!(violation.reason, "does not match {component}-v{semver}");
    assert!(function.alerts().is_empty() && function.bus_events().is_empty());
}

#[tokio::test]
async fn the_same_violation_is_counted_once_a_week() {
    let function = Function::new("report").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    for days in [0, 0, 1] {
        function.aws.advance(Duration::from_secs(days * 86_400));
        function.handle_all(&events).await;
        assert_eq!(function.report().await.violations(), 1);
    }
    // 2027-01-15 is a Friday, so two days later another week begins.
    function.aws.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(function.report().await.violations(), 0);
    for _ in 0..2 {
        function.handle_all(&events).await;
        assert_eq!(function.report().await.violations(), 1);
    }
}

#[tokio::test]
async fn violations_beyond_the_examples_are_counted() {
    let function = Function::new("report").await;
    let tags: Vec<String> = (0..9).map(|nth| format!("bad-{nth}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (_, events) = function.push("infrastructure", &tags);
    for _ in 0..2 {
        function.handle_all(&events).await;
        let report = function.report().await;
        assert_eq!((report.violations(), report.examples.len()), (9, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_attempt_counts_a_violation_once() {
    // The calls are the claim, the record and the settlement.
    for nth in 1..=3 {
        let function = Function::new("report").await;
        function.queue_sweeps().await;
        let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.aws.fault("UpdateItem", nth, Fault::Hang);
        let killed = function.handle(&events[0], "request");
        tokio::time::timeout(Duration::from_secs(5), killed).await.unwrap_err();
        function.aws.heal();
        function.handle(&events[0], "request").await.unwrap();
        assert_eq!(function.report().await.violations(), 1, "{nth}");
    }
}

#[tokio::test]
async fn a_violation_that_cannot_be_recorded_fails_the_event_and_is_recorded_by_a_retry() {
    let function = Function::new("report").await;
    function.queue_sweeps().await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.aws.fault("UpdateItem", 2, Fault::Error(400, "AccessDeniedException"));
    let error = function.handle(&events[0], "request").await.unwrap_err();
    assert!(format!("{error:#}").contains("recording a violation in infrastructure"), "{error:#}");
    function.aws.heal();
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.report().await.violations(), 1);
}

#[tokio::test]
async fn a_rule_that_enforces_since_the_report_publishes_its_outcome() {
    let mut function = Function::new("report").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    function.change_policy(&[("platform.Tags.Enforcement", "quarantine")]).await;
    function.handle(&events[0], "again").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    assert_eq!(function.report().await.violations(), 1);
}
