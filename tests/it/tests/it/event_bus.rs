//! The event bus of the stack, and the rule on it that the documentation shows.

use local_aws::pattern::Pattern;
use local_aws::snippets::snippet;
use local_aws::template::Template;

use crate::deploy;

#[tokio::test]
async fn the_documented_rule_matches_the_event_of_a_violation_and_may_send_it() {
    let world = deploy(&[]).await;
    let _ = world.push("infrastructure", &["litellm-1.80.5"]);
    world.settle().await;
    let alert = world.alert();
    let events = world.bus_events();
    let [event] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(event["detail"], alert);

    let text = snippet("alerts/event-bus-rule.yaml").unwrap();
    let template = Template::read_document(&text).unwrap();
    let rule = &template["Resources"]["AlertRule"]["Properties"];
    assert_eq!(rule["EventBusName"], world.outputs["AlertEventBusName"]);
    let mut high = event.clone();
    high["detail"]["severity"] = "HIGH".into();
    let pattern = Pattern::new(&rule["EventPattern"]).unwrap();
    assert!(pattern.matches(&high));
    let policies = &template["Resources"]["AlertRuleRole"]["Properties"]["Policies"];
    let statement = &policies[0]["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Resource"], rule["Targets"][0]["Arn"]);
}
