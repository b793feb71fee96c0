//! The JSON of alerts, written and read.

use super::*;

/// The message of an event in `events/slack-notifier`.
fn published(event: &str) -> Value {
    let path = format!("{}/../../events/slack-notifier/{event}.json", env!("CARGO_MANIFEST_DIR"));
    let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_str(event["Records"][0]["Sns"]["Message"].as_str().unwrap()).unwrap()
}

#[test]
fn every_alert_in_the_events_deserialises() {
    for (event, kind) in [
        ("tag-violation", AlertKind::TagViolation),
        ("scan-findings", AlertKind::ScanFindings),
        ("scan-resolved", AlertKind::ScanResolved),
    ] {
        let written = published(event);
        let alert = Alert::deserialize(&written).unwrap();
        assert_eq!((alert.kind, alert.version), (kind, VERSION));
        assert_eq!(json!(alert), written);
    }
    let alert = Alert::deserialize(published("scan-findings")).unwrap();
    let details = ScanDetails::deserialize(Value::Object(alert.details.clone())).unwrap();
    assert_eq!((details.findings.len(), details.findings_total), (13, 40));
    assert_eq!((details.counts.total(), details.new.len()), (82, 3));
    assert_eq!(json!(details), json!(alert.details));
}

#[test]
fn a_component_with_the_name_of_its_repository_is_read_back() {
    for name in ["litellm", "team/app_1", &"r".repeat(256)] {
        let repository: RepositoryName = name.parse().unwrap();
        let component = Some(Component::from(&repository));
        let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
        let alert = Alert { component, repository: Some(repository), ..alert };
        assert_eq!(serde_json::from_str::<Alert>(&alert.json()).unwrap(), alert);
    }
}

#[test]
fn fields_of_a_newer_version_are_ignored() {
    let mut newer = published("tag-violation");
    newer["version"] = json!(2);
    newer["surprise"] = json!({"a": 1});
    newer["image"]["surprise"] = json!(1);
    let alert = Alert::deserialize(&newer).unwrap();
    assert_eq!((alert.version, alert.kind), (2, AlertKind::TagViolation));
}

#[test]
fn a_message_that_is_not_an_alert_does_not_deserialise() {
    for event in ["cloudwatch-alarm", "event-of-a-rule"] {
        assert!(Alert::deserialize(published(event)).is_err(), "{event}");
    }
    let alert = published("tag-violation");
    for (field, value) in [
        ("kind", json!("comet")),
        ("severity", json!("high")),
        ("title", json!(1)),
        ("account", Value::Null),
        ("repository", json!("Not a name")),
        ("component", json!("Not a name")),
        ("image", json!("sha256:0")),
        ("details", Value::Null),
        ("remedies", json!(["duck"])),
        ("source", json!({})),
    ] {
        let mut other = alert.clone();
        other[field] = value;
        assert!(Alert::deserialize(&other).is_err(), "{field}");
    }
    for field in alert.as_object().unwrap().keys() {
        let is_optional = ["repository", "component", "owner", "image", "runbook", "policy"]
            .contains(&field.as_str());
        let mut other = alert.clone();
        other.as_object_mut().unwrap().remove(field);
        assert_eq!(Alert::deserialize(&other).is_ok(), is_optional, "{field}");
    }
}

#[test]
fn the_readable_parts_of_an_alert_that_does_not_deserialise_are_kept() {
    let alert = json!({
        "version": 7,
        "kind": "comet",
        "title": "Seen over infrastructure",
        "text": ["one", "two"],
        "account": 123_456_789_012_u64,
        "region": " ",
        "image": {"digest": "sha256:0", "tags": ["a", "b"], "size": null},
        "remedies": [{"label": "Look up"}, "duck", {"command": "date"}],
        "details": {"orbit": 1},
    });
    let text = |text: &str| text.to_owned();
    let facts = [
        ("account", "123456789012"),
        ("image digest", "sha256:0"),
        ("image tags", "a, b"),
        ("version", "7"),
    ];
    let expected = PartialAlert {
        kind: text("comet"),
        severity: None,
        title: text("Seen over infrastructure"),
        text: text("one, two"),
        facts: facts.map(|(name, value)| (text(name), text(value))).into(),
        remedies: vec![Remedy::aws("", text("date"))],
    };
    assert_eq!(PartialAlert::read(&alert), Some(expected));
    for other in [
        json!({"kind": "k"}),
        json!({"title": "t"}),
        json!({"kind": "", "title": "t"}),
        json!("kind title"),
        json!(["kind", "title"]),
        Value::Null,
    ] {
        assert_eq!(PartialAlert::read(&other), None, "{other}");
    }
}
