//! No rendering of any alert has a hidden character.

use super::*;
use crate::slack::{Notification, render, render_without_blocks};

/// Texts in which about every second character is hidden.
fn texts() -> impl Strategy<Value = String> {
    let characters = vec![
        'a',
        ' ',
        '\n',
        '"',
        'é',
        '\u{1f469}',
        '\u{0}',
        '\u{1b}',
        '\t',
        '\r',
        '\u{7f}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200f}',
        '\u{2028}',
        '\u{202e}',
        '\u{2060}',
        '\u{206f}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0001}',
        '\u{e0100}',
    ];
    let characters = prop::collection::vec(prop::sample::select(characters), 0..40);
    prop_oneof![
        characters.prop_map(|characters| characters.into_iter().collect::<String>()),
        any::<String>(),
    ]
}

prop_compose! {
    fn any_alert()(
        kind in prop::sample::select(vec![AlertKind::TagViolation, AlertKind::ScanFindings, AlertKind::Cleanup]),
        texts in prop::collection::vec(texts(), 13),
        remedies in prop::collection::vec((texts(), texts()), 0..6),
    ) -> Alert {
        let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
        let remedy = |(label, command): (String, String)| Remedy { label, command, aws_cli: None };
        let [title, text, account, region, id, time, other, name, installed, fixed, url, cve, page] =
            texts.try_into().unwrap();
        let details = json!({
            "counts": {"HIGH": 1}, "threshold": "HIGH", "complete": true, "new": [cve],
            "newTotal": 1, "fixed": [], "fixedTotal": 0, "findingsTotal": 1, "accepted": [],
            "acceptedTotal": 0, "other": {"texts": [other]},
            "findings": [{
                "id": cve, "severity": "HIGH", "package": name, "packages": 1,
                "installed": installed, "fixed": fixed, "url": format!("https://a.example/{url}"),
                "new": true,
            }],
        });
        Alert {
            kind,
            title,
            text,
            account,
            region,
            details: details.as_object().unwrap().clone(),
            remedies: remedies.into_iter().map(remedy).collect(),
            runbook: Some(format!("https://a.example/{page}")),
            source: Source { id, time },
            ..alert
        }
    }
}

/// Every text in a value.
fn texts_in(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts_in).collect(),
        Value::Object(fields) => fields.values().flat_map(texts_in).collect(),
        _ => vec![],
    }
}

fn check_visible(rendering: &Value) {
    for text in texts_in(rendering) {
        assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text:?} in {rendering:#}");
    }
}

proptest! {
    #[test]
    fn no_rendering_has_a_hidden_character(alert in any_alert()) {
        let message = alert.message("aws");
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let text = |protocol: &str| body[protocol].as_str().unwrap();
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        check_visible(&json!([message.subject, text("email")]));
        check_visible(&json(text("default")));
        check_visible(&json(text("https")));
        // The notifier reads alerts of other writers too.
        let published = Notification::read(text("default")).unwrap();
        let unlimited = Notification::Alert(Box::new(alert.clone()));
        let mut malformed = json!(alert);
        malformed["account"] = json!({"of": alert.account});
        let malformed = PartialAlert::read(&malformed).map(Notification::PartialAlert);
        for notification in [published, unlimited].into_iter().chain(malformed) {
            check_visible(&json(&render(&notification).json()));
            check_visible(&json(&render_without_blocks(&notification).json()));
        }
    }
}
