//! Text that others wrote cannot inject markup into the page.

use serde_json::json;

use super::super::inventory::{Component, Image, Repository, Status};
use super::super::story::{Email, Part, Scene, Shown};
use super::*;

const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=\"alert(1)\">&amp;'";

#[test]
fn hostile_text_is_escaped_in_every_part_of_the_page() {
    let text = || HOSTILE.to_owned();
    let finding = json!({
        "id": HOSTILE, "severity": HOSTILE, "package": HOSTILE, "installed": HOSTILE,
        "fixed": HOSTILE, "url": format!("javascript:{HOSTILE}"), "new": true, "until": HOSTILE,
        "reason": HOSTILE, "owner": HOSTILE, "decision": HOSTILE, "digest": HOSTILE, "tags": [HOSTILE],
    });
    let alert = |kind: &str| {
        Part::Alert(Box::new(Alert {
            json: json!({
                "kind": kind, "title": HOSTILE, "text": HOSTILE, "severity": HOSTILE,
                "repository": HOSTILE, "component": HOSTILE, "source": {"id": HOSTILE, "time": HOSTILE},
                "image": {"digest": HOSTILE, "tags": [HOSTILE]},
                "details": {
                    "findings": [finding], "accepted": [finding], "fixed": [HOSTILE],
                    "images": [finding], "baseline": {"tag": HOSTILE}, "stopped": HOSTILE,
                },
            }),
            email: Email { to: text(), subject: text(), text: text() },
            slack: Some(json!({"text": HOSTILE, "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": HOSTILE}},
                {"type": "section", "text": {"type": "mrkdwn", "text": format!("*{HOSTILE}* `{HOSTILE}`")}},
                {"type": "section", "text": {"type": "mrkdwn", "text": format!("```{HOSTILE}```")}},
                {"type": "section", "fields": [
                    {"type": "mrkdwn", "text": "<javascript:alert(1)|a link>"},
                    {"type": "mrkdwn", "text": "&lt;script&gt;alert(1)&lt;/script&gt;"},
                ]},
                {"type": "context", "elements": [{"type": "plain_text", "text": HOSTILE}]},
            ]})),
            chat: Some(json!({"content": HOSTILE})),
            shown: Shown::All,
        }))
    };
    let plan =
        json!({"repository": HOSTILE, "hash": HOSTILE, "stopped": HOSTILE, "keeps": [finding]});
    let scene = Scene {
        title: text(),
        why: text(),
        outcome: text(),
        parts: vec![
            Part::Resource { kind: text(), physical_id: text(), plans: vec![text()] },
            Part::Policy { arn: text(), statements: Vec::new() },
            Part::Outputs { values: [(text(), text())].into() },
            Part::Log { lines: vec![text()] },
            Part::Calls { operations: vec![text()], grouped: false },
            Part::Image { repository: text(), digest: text(), tags: vec![text()] },
            Part::Accepted { risk: finding.clone() },
            Part::Request { function: text(), payload: json!({"repository": HOSTILE}) },
            Part::Plan { answer: plan, whole: true },
            Part::Explained { answer: finding.clone() },
            Part::Fact { text: text() },
            alert("tag-violation"),
            alert("scan-findings"),
            alert("scan-failed"),
            alert("cleanup"),
        ],
    };
    let image = Image {
        digest: text(),
        tags: vec![text()],
        pushed_at: text(),
        bytes: 1,
        status: Status::Reported,
        reason: text(),
        belongs_to: None,
    };
    let component = Component { name: Some(text()), images: vec![image] };
    let story = Story {
        account: text(),
        region: text(),
        began: text(),
        scenes: vec![scene],
        repositories: vec![Repository {
            name: text(),
            settings: None,
            components: vec![component],
        }],
        ..Story::default()
    };
    let page = render(&story).into_string();
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 40, "{page}");
    for wrong in ["<script", "<img", "href=\"javascript", "onerror=\""] {
        assert!(!page.contains(wrong), "{wrong} is in the page:\n{page}");
    }
}

#[test]
fn slack_markup_is_formatted_as_slack_does() {
    let shown = |text: &str| {
        let block = json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
        slack::render(&json!({"blocks": [block]})).into_string()
    };
    for (text, expected) in [
        ("a *bold* word", "a <strong>bold</strong> word"),
        ("5 * 3", "5 * 3"),
        ("`a*b*c`", "<code>a*b*c</code>"),
        (
            "<https://a.example/?b|see>",
            "<a href=\"https://a.example/?b\" rel=\"noreferrer\">see</a>",
        ),
        ("run:\n```\na &gt; b\n```", "run:<pre>a &gt; b</pre>"),
        ("a &lt; b", "a &lt; b"),
    ] {
        let found = shown(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}
