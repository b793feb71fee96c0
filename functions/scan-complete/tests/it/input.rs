//! Tests invalid events, and events that the function ignores.

use expect_test::{Expect, expect};
use local_aws::pattern::Pattern;
use local_aws::world;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Function, basic, enhanced, event};

/// Handles every file of the events folder, with an image that exists.
#[tokio::test(start_paused = true)]
async fn every_example_event_is_handled() {
    let mut published = String::new();
    for (name, mut event) in world::events("scan-complete") {
        let function = if name.starts_with("inspector") {
            Function::enhanced().await
        } else {
            Function::new().await
        };
        let image = function.push(&["litellm-v1.80.5"]);
        if name == "failed" {
            function.scan(&image, Err(("FAILED", "")));
        } else if name.starts_with("inspector") {
            function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
        } else {
            function.scan(&image, Ok(basic("CVE-1:HIGH")));
        }
        let hash = "/detail/resources/0/details/awsEcrContainerImage/imageHash";
        for pointer in ["/detail/image-digest", hash] {
            if let Some(digest) = event.pointer_mut(pointer) {
                *digest = image.clone().into();
            }
        }
        function.handle(&event, "request").await.unwrap();
        let alerts = function.alerts();
        let kinds: Vec<String> = alerts
            .iter()
            .map(|alert| format!(" {} {}", alert["kind"], alert["component"]))
            .collect();
        published += &format!("{name}:{}\n", kinds.concat());
    }
    expect![[r#"
        clean:
        critical: "scan-findings" "litellm"
        each-day:
        failed: "scan-failed" "litellm"
        first: "scan-findings" "litellm"
        inspector-finding: "scan-findings" "openwebui"
        inspector-finding-closed:
        inspector-scan: "scan-findings" "openwebui"
        inspector-scan-of-a-server:
        part-of-an-index: "scan-findings" "litellm"
        recheck: "scan-findings" "litellm"
        risks-changed:
        unmanaged-repository:
        without-counts-and-tags: "scan-findings" "litellm"
    "#]]
    .assert_eq(&published);
}

/// Matches every example event with every event rule of the template.
#[test]
fn the_event_rules_match_only_the_events_that_the_function_handles() {
    let stack = world::evaluate(&[("*.Scan.Threshold", "HIGH")]).unwrap();
    let function = stack.properties("ScanCompleteFunction").unwrap();
    let events = function["Events"].clone();
    let rule = stack.properties("InspectorFindingRule").unwrap()["EventPattern"].clone();
    let rules: Vec<(String, Pattern)> = events
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, event)| event["Type"] == "EventBridgeRule")
        .map(|(name, event)| (name.clone(), &event["Properties"]["Pattern"]))
        .chain([("InspectorFindingRule".to_owned(), &rule)])
        .map(|(name, pattern)| (name, Pattern::new(pattern).unwrap()))
        .collect();
    let through = |event: &Value| -> Vec<&str> {
        let matching = rules.iter().filter(|(_, pattern)| pattern.matches(event));
        matching.map(|(name, _)| name.as_str()).collect()
    };
    let mut lines = String::new();
    let variables = &function["Environment"]["Variables"];
    for (name, mut event) in world::events("scan-complete") {
        if name == "risks-changed" {
            // No resource is created here, so the parameter gets a made-up name.
            event["detail"]["name"] = variables["ACCEPTED_RISKS_PARAMETER"].clone();
        }
        lines += &format!("{name}: {}\n", through(&event).join(" "));
    }
    expect![[r#"
        clean: Scanned
        critical: Scanned
        each-day: 
        failed: Scanned
        first: Scanned
        inspector-finding: InspectorFindingRule
        inspector-finding-closed: InspectorFindingRule
        inspector-scan: ScannedByInspector
        inspector-scan-of-a-server: 
        part-of-an-index: Scanned
        recheck: 
        risks-changed: RisksChanged
        unmanaged-repository: Scanned
        without-counts-and-tags: Scanned
    "#]]
    .assert_eq(&lines);
    for (pointer, value) in
        [("/detail/status", "SUPPRESSED"), ("/detail/resources/0/type", "AWS_EC2_INSTANCE")]
    {
        let mut finding = event("inspector-finding");
        *finding.pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(through(&finding), [] as [&str; 0], "{pointer}");
    }
}

/// The event with this value at the pointer. A null removes the field.
fn with(name: &str, pointer: &str, value: Value) -> Value {
    let mut event = event(name);
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let object = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(field),
        value => object.insert(field.to_owned(), value),
    };
    event
}

#[tokio::test]
async fn an_invalid_event_is_an_error_that_names_the_field_and_makes_no_call() {
    let function = Function::new().await;
    let check = async |event: Value, expected: Expect| {
        let error = function.handle(&event, "request").await.unwrap_err();
        expected.assert_eq(&format!("{error:#}"));
        assert_eq!(function.calls(), [] as [&str; 0]);
    };
    check(json!([]), expect!["the event: expected an EventBridge event, which is a JSON object"])
        .await;
    check(
        with("critical", "/detail-type", json!("ECR Image Action")),
        expect![[r#"the event: detail-type: expected ECR Image Scan, Inspector2 Scan, Inspector2 Finding, Parameter Store Change or Scheduled Event, got "ECR Image Action""#]],
    )
    .await;
    check(
        with("critical", "/detail/image-digest", json!("sha256:0")),
        expect![[r#"the event: detail.image-digest: expected sha256: and 64 lower-case hexadecimal digits, got "sha256:0""#]],
    )
    .await;
    check(
        with("critical", "/detail/scan-status", Value::Null),
        expect!["the event: detail.scan-status: this required field is missing"],
    )
    .await;
    check(
        with("critical", "/detail/image-tags", json!("litellm")),
        expect![[
            r#"the event: detail.image-tags: invalid type: string "litellm", expected a sequence"#
        ]],
    )
    .await;
    check(
        with("critical", "/region", json!("us east")),
        expect![[
            r#"the event: region: expected at most 32 letters, digits and '-', got "us east""#
        ]],
    )
    .await;
    check(
        with(
            "inspector-finding",
            "/detail/packageVulnerabilityDetails/vulnerabilityId",
            json!("\u{7}"),
        ),
        expect!["the event: detail.packageVulnerabilityDetails.vulnerabilityId: expected an identifier, got a blank text"],
    )
    .await;
}

#[tokio::test]
async fn an_ignored_event_costs_no_call() {
    let function = Function::new().await;
    for event in [
        with("critical", "/detail/scan-status", json!("ANYTHING")),
        with("critical", "/detail/repository-name", json!("scratch")),
        with("inspector-finding", "/detail/resources", Value::Null),
        with("inspector-finding", "/detail/packageVulnerabilityDetails", Value::Null),
        // The finding of a member account, which its administrator account gets too.
        with(
            "inspector-finding",
            "/detail/resources/0/details/awsEcrContainerImage/registry",
            json!("210987654321"),
        ),
    ] {
        function.handle(&event, "request").await.unwrap();
    }
    assert_eq!(function.calls(), [] as [&str; 0]);
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("infrastructure")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z-]{1,12}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

const POINTERS: [&str; 14] = [
    "/detail",
    "/detail/scan-status",
    "/detail/repository-name",
    "/detail/finding-severity-counts",
    "/detail/finding-severity-counts/CRITICAL",
    "/detail/image-tags",
    "/detail/image-digest",
    "/detail/severity",
    "/detail/epss",
    "/detail/resources",
    "/detail/packageVulnerabilityDetails",
    "/detail/packageVulnerabilityDetails/vulnerablePackages",
    "/detail/packageVulnerabilityDetails/sourceUrl",
    "/time",
];

proptest! {
    #[test]
    fn no_event_causes_a_panic(
        name in prop::sample::select(vec!["critical", "inspector-scan", "inspector-finding"]),
        pointer in prop::sample::select(POINTERS.to_vec()),
        value in anything(),
    ) {
        let mut event = event(name);
        if let Some(place) = event.pointer_mut(pointer) {
            *place = value;
        }
        // An invalid event is an error, never a panic.
        let _ = scan_complete::event::read(&event);
    }
}
