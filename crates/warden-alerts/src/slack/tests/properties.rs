//! Slack accepts the rendering of any message.

use proptest::prelude::*;

use super::*;

/// Texts with a meaning in some syntax, and any others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<!channel>".to_owned()),
        Just("<https://evil.example|x>".to_owned()),
        Just("http://evil.example".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        Just("https://example.com/a?b&c|d".to_owned()),
        Just("```".to_owned()),
        Just("`".to_owned()),
        Just("\u{202e}\u{200b}\u{200d}\u{0}\u{1b}\u{e0100}".to_owned()),
        Just("&amp;&lt;&".to_owned()),
        Just("👩‍👩‍👧".to_owned()),
        Just("\n\n".to_owned()),
        Just(String::new()),
        Just("us-east-1".to_owned()),
        Just("sha256:".to_owned() + &"0a".repeat(32)),
        ".{0,40}",
        "\\PC{0,400}",
        (".{1,8}", 1_usize..2_000).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// Any JSON value, with few levels.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => hostile().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([[]])),
        1 => Just(json!({"a": {}})),
    ]
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::collection::vec(proptest::option::of(any_value()), names.len()).prop_map(
        move |values| {
            let fields = names.iter().zip(values);
            fields.filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
        },
    )
}

prop_compose! {
    /// A message with a kind and a title, and with any values in the fields of an alert.
    fn malformed_alert()(
        mut alert in object(&["severity", "text", "account", "region", "repository", "component", "image", "details"]),
        kind in prop_oneof![Just("scan-findings".to_owned()), hostile()],
        title in hostile(),
        image in object(&["digest"]),
        tags in proptest::collection::vec(any_value(), 0..60),
        remedies in proptest::collection::vec(object(&["label", "command"]), 0..60),
        source in object(&["id", "time"]),
        has_image in any::<bool>(),
    ) -> Value {
        alert["kind"] = kind.into();
        alert["title"] = title.into();
        alert["source"] = source;
        alert["remedies"] = remedies.into();
        if has_image {
            alert["image"] = image;
            alert["image"]["tags"] = tags.into();
        }
        alert
    }
}

prop_compose! {
    fn finding()(
        id in hostile(),
        package in proptest::option::of(hostile()),
        installed in proptest::option::of(hostile()),
        fixed in proptest::option::of(hostile()),
        url in proptest::option::of(hostile()),
        epss in proptest::option::of(any::<f64>()),
        is_new in any::<bool>(),
    ) -> Value {
        json!({
            "id": id, "severity": "HIGH", "package": package, "packages": 1,
            "installed": installed, "fixed": fixed, "exploitKnown": is_new, "epss": epss,
            "url": url, "new": is_new, "acceptedUntil": null,
        })
    }
}

prop_compose! {
    /// An alert that deserialises, with any texts.
    fn any_alert()(
        texts in proptest::collection::vec(hostile(), 6),
        findings in proptest::collection::vec(finding(), 0..30),
        total in any::<usize>(),
        remedies in proptest::collection::vec((hostile(), hostile()), 0..60),
        has_details in any::<bool>(),
    ) -> Value {
        let [title, text, account, region, id, time] = texts.try_into().unwrap();
        let remedies: Vec<Value> = remedies
            .into_iter()
            .map(|(label, command)| json!({"label": label, "command": command}))
            .collect();
        let mut alert = alert(&[
            ("/title", title.into()),
            ("/text", text.into()),
            ("/account", account.into()),
            ("/region", region.into()),
            ("/details/findings", findings.into()),
            ("/details/findingsTotal", total.into()),
            ("/remedies", remedies.into()),
            ("/source", json!({"id": id, "time": time})),
        ]);
        if !has_details {
            alert["details"] = json!({});
        }
        alert
    }
}

prop_compose! {
    fn any_alarm()(
        mut alarm in object(&["AlarmDescription", "NewStateValue", "OldStateValue", "NewStateReason", "StateChangeTime", "Region", "AWSAccountId", "AlarmArn"]),
        name in hostile(),
        mut trigger in object(&["Namespace", "MetricName"]),
        dimensions in proptest::collection::vec(object(&["name", "value"]), 0..12),
    ) -> Value {
        trigger["Dimensions"] = dimensions.into();
        alarm["AlarmName"] = name.into();
        alarm["Trigger"] = trigger;
        alarm
    }
}

proptest! {
    #[test]
    fn slack_accepts_every_alert(alert in any_alert()) {
        payload(&alert.to_string());
    }

    #[test]
    fn slack_accepts_every_malformed_alert(alert in malformed_alert()) {
        if let Some(notification) = Notification::read(&alert.to_string()) {
            payloads(&notification);
        }
    }

    #[test]
    fn slack_accepts_every_alarm(alarm in any_alarm()) {
        if let Some(notification) = Notification::read(&alarm.to_string()) {
            payloads(&notification);
        }
    }

    #[test]
    fn slack_accepts_every_other_message(
        text in hostile(),
        subject in proptest::option::of(hostile()),
        topic in proptest::option::of(hostile()),
        is_json in any::<bool>(),
    ) {
        let (id, time) = (topic.clone(), subject.clone());
        payloads(&Notification::Unknown(UnknownMessage { subject, text, is_json, topic, id, time }));
    }
}
