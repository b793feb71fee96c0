//! Messages that are too long.

use super::*;

#[test]
fn a_title_that_does_not_fit_into_the_header_is_whole_in_the_text() {
    let title = format!("{} end", "x".repeat(170));
    let partial = json!({"kind": "k", "title": title}).to_string();
    let whole = alert(&[("/title", json!(title)), ("/severity", json!("LOW"))]).to_string();
    for (text, severity) in [(partial, ""), (whole, "LOW: ")] {
        let shown = slack::render(&payload(&text));
        let header = format!("{severity}{}…\n", "x".repeat(149 - severity.len()));
        assert!(shown.starts_with(&header), "{shown}");
        assert!(shown.contains(&format!("\n{severity}{title}\n")), "{shown}");
    }
}

/// The lines of a message that count its omitted parts.
fn omissions(shown: &str) -> String {
    let lines = shown.lines().filter(|line| line.starts_with("and ") || line.contains(" fit "));
    lines.collect::<Vec<_>>().join("\n")
}

/// The largest alert about findings, with texts that escaping makes several times as long.
fn largest() -> Value {
    let wide = |length: usize| "<&>".repeat(length / 3);
    let finding = json!({
        "id": wide(300),
        "severity": "CRITICAL",
        "package": wide(300),
        "packages": 1,
        "installed": wide(300),
        "fixed": wide(300),
        "exploitKnown": true,
        "epss": 0.5,
        "url": format!("https://example.com/{}", "&".repeat(150)),
        "new": true,
        "acceptedUntil": null,
    });
    let remedy = json!({"label": wide(300), "command": "x".repeat(2_600)});
    alert(&[
        ("/title", json!(wide(300))),
        ("/text", json!(wide(8_000))),
        ("/repository", json!("a".repeat(256))),
        ("/component", json!("c".repeat(128))),
        ("/image/tags", json!(vec!["t".repeat(128); 50])),
        ("/details/counts", json!({"CRITICAL": u64::MAX, "HIGH": u64::MAX})),
        ("/details/baseline/tag", json!("b".repeat(128))),
        ("/details/newTotal", json!(7)),
        ("/details/findings", json!(vec![finding; 200])),
        ("/details/findingsTotal", json!(400)),
        ("/details/inUse", json!(12)),
        ("/remedies", json!(vec![remedy; 4])),
        ("/source", json!({"id": wide(300), "time": wide(300)})),
    ])
}

#[test]
fn the_largest_alert_states_how_much_it_omits() {
    let shown = slack::render(&payload(&largest().to_string()));
    let findings = shown.lines().filter(|line| line.starts_with("• ")).count();
    assert_eq!(findings, 4);
    expect![[r#"
        and 396 more
        4 remedies do not fit into this message. The e-mail of this alert has all remedies."#]]
    .assert_eq(&omissions(&shown));
    // With a short text and no findings, there is room for two commands.
    let mut alert = largest();
    alert["text"] = "short".into();
    alert["details"]["findings"] = json!([]);
    let shown = slack::render(&payload(&alert.to_string()));
    assert_eq!(shown.matches(&"x".repeat(2_600)).count(), 2, "{shown}");
    expect!["2 remedies do not fit into this message. The e-mail of this alert has all remedies."]
        .assert_eq(&omissions(&shown));
}

#[test]
fn the_largest_malformed_alert_is_within_the_limits() {
    let mut alert = largest();
    alert["component"] = "<&>".repeat(100).into();
    alert["details"] = Value::Null;
    let shown = slack::render(&payload(&alert.to_string()));
    assert_eq!(shown.matches(&"x".repeat(2_600)).count(), 2, "{shown}");
    expect!["2 remedies do not fit into this message. The e-mail of this alert has all remedies."]
        .assert_eq(&omissions(&shown));
}

#[test]
fn a_command_is_whole_or_omitted() {
    let one_omitted = expect![
        "1 remedy does not fit into this message. The e-mail of this alert has all remedies."
    ];
    for (length, is_shown) in [(2_980, true), (2_990, false)] {
        let command = "x".repeat(length);
        let remedies =
            json!([{"label": "Undo", "command": command}, {"label": "y", "command": "z"}]);
        let alert = json!({"kind": "k", "title": "t", "remedies": remedies});
        let shown = slack::render(&payload(&alert.to_string()));
        assert_eq!(shown.contains(&command), is_shown, "{length}");
        assert_eq!(shown.contains("xxx"), is_shown, "{length}");
        assert!(shown.contains("    z\n"), "{shown}");
        if is_shown {
            assert_eq!(omissions(&shown), "", "{length}");
        } else {
            one_omitted.assert_eq(&omissions(&shown));
        }
    }
}

#[test]
fn of_a_hundred_commands_ten_are_shown_and_ninety_are_counted() {
    let remedies = vec![json!({"label": "y", "command": "z"}); 100];
    let alert = json!({"kind": "k", "title": "t", "remedies": remedies});
    let shown = slack::render(&payload(&alert.to_string()));
    assert_eq!(shown.matches("    z\n").count(), 10, "{shown}");
    expect!["90 remedies do not fit into this message. The e-mail of this alert has all remedies."]
        .assert_eq(&omissions(&shown));
}
