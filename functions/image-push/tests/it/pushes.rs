//! Tests what the ledger learns about the pushes of tags.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use local_aws::Fault;
use serde_json::{Value, json};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::tag_times::binding_key;

use crate::Function;

impl Function {
    /// The recorded push of a tag of `deployments`.
    async fn recorded(&self, digest: &str, tag: &str) -> Option<DateTime<Utc>> {
        let repository: RepositoryName = "deployments".parse().unwrap();
        let recorded = self.ledger().sightings(&repository, self.now()).await.unwrap();
        let (digest, tag): (Digest, Tag) = (digest.parse().unwrap(), tag.parse().unwrap());
        recorded.pushes.get(binding_key(&digest, &tag))
    }
}

/// The event with another time.
fn at(event: &Value, time: &str) -> Value {
    let mut event = event.clone();
    event["time"] = time.into();
    event
}

#[tokio::test]
async fn a_push_is_recorded_with_the_time_of_its_event_in_any_order_of_the_events() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("deployments", &["myapp-v1.0.0"]);
    let pushed_at = function.now();
    let earlier = at(&events[0], &(pushed_at - TimeDelta::hours(2)).to_rfc3339());
    function.aws.advance(Duration::from_secs(600));
    for event in [&earlier, &events[0], &earlier, &events[0]] {
        function.handle_all(std::slice::from_ref(event)).await;
    }
    assert_eq!(function.recorded(&digest, "myapp-v1.0.0").await, Some(pushed_at));
    assert_eq!(function.recorded(&digest, "myapp-v1.0.1").await, None);
}

#[tokio::test]
async fn a_forged_event_makes_no_tag_old() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.handle_all(&[at(&events[0], "2020-01-01T00:00:00Z")]).await;
    let recorded = function.recorded(&digest, "myapp-v1.0.0").await;
    assert_eq!(recorded, Some(function.now() - TimeDelta::hours(30)));
    function.handle_all(&[at(&events[0], "2099-01-01T00:00:00Z")]).await;
    assert_eq!(function.recorded(&digest, "myapp-v1.0.0").await, Some(function.now()));
}

#[tokio::test]
async fn a_push_that_is_not_recorded_queues_no_sweep_until_the_retry_records_it() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.aws.fault("UpdateItem", 1, Fault::Error(400, "AccessDeniedException"));
    function.handle(&events[0], "first").await.unwrap_err();
    function.aws.heal();
    assert_eq!(function.take_messages("SweepQueue").await.len(), 0);
    function.handle(&events[0], "first").await.unwrap();
    assert_eq!(function.recorded(&digest, "myapp-v1.0.0").await, Some(function.now()));
    assert_eq!(function.take_messages("SweepQueue").await.len(), 1);
}

#[tokio::test]
async fn thousands_of_pushes_between_two_sweeps_fail_no_event_and_make_every_tag_young() {
    let function = Function::new("report").await;
    // The ledger has room for 10,000 pushes. An entry of a set has 12 bytes.
    let entries: Vec<String> = (0..10_000).map(|nth| format!("AAAAAAAA{nth:08}")).collect();
    let item = json!({"fact": {"S": "pushes deployments"}, "pushes": {"BS": entries}});
    let put = json!({"TableName": function.context.config.table, "Item": item});
    function.aws.ask("dynamodb", "DynamoDB_20120810.PutItem", &put).await.unwrap();
    let (digest, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.handle_all(&events).await;
    assert_eq!(function.recorded(&digest, "myapp-v1.0.0").await, None);
    let repository: RepositoryName = "deployments".parse().unwrap();
    let recorded = function.ledger().sightings(&repository, function.now()).await.unwrap();
    assert!(recorded.earlier.is_some_and(|earlier| earlier.tags.is_empty()));
}
