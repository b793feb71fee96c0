use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn section(text: &Value) -> Value {
    json!({"text": "x", "blocks": [{"type": "section", "text": text}]})
}

fn mrkdwn(text: &str) -> Value {
    section(&json!({"type": "mrkdwn", "text": text, "verbatim": true}))
}

fn wrong(payload: &Value, expected: &Expect) {
    expected.assert_eq(&check(payload).join("\n"));
}

#[test]
fn a_valid_message_is_accepted() {
    let many: Vec<Value> = (0..10).map(|_| json!({"type": "plain_text", "text": "x"})).collect();
    let payload = json!({
        "text": "x &amp; y",
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "é".repeat(150), "emoji": false}},
            {"type": "divider"},
            {"type": "section", "text": {"type": "plain_text", "text": "x".repeat(3_000)}},
            {"type": "section", "fields": many},
            {"type": "section", "text": {
                "type": "mrkdwn",
                "verbatim": true,
                "text": "*a* <https://example.com/?a=b&amp;c|CVE &lt;1&gt;> and `b`\n```\nc &amp;&amp; d\n```",
            }},
            {"type": "context", "elements": many},
        ],
    });
    assert_eq!(check(&payload), [""; 0]);
    assert_eq!(check(&json!({"text": "alone"})), [""; 0]);
}

#[test]
fn a_message_with_too_many_too_few_or_unknown_fields_is_refused() {
    wrong(&json!([]), &expect!["the payload is no object"]);
    wrong(
        &json!({"blocks": [], "channel": "#general"}),
        &expect![[r#"
        payload: unknown field channel
        text: missing
        blocks: 0 of them"#]],
    );
    wrong(
        &json!({"text": ""}),
        &expect![[r#"
        text: 0 characters, where 1 to 4000 may be
        text: nothing to see"#]],
    );
    wrong(
        &json!({"text": "x", "blocks": [{"type": "image"}, {"type": "section"}]}),
        &expect![[r#"
        blocks[0]: unknown type Some("image")
        blocks[1]: neither text nor fields"#]],
    );
    let fifty_one: Vec<Value> = (0..51).map(|_| json!({"type": "divider"})).collect();
    wrong(&json!({"text": "x", "blocks": fifty_one}), &expect!["blocks: 51 of them"]);
    let header = json!({"type": "mrkdwn", "text": "x".repeat(151)});
    wrong(
        &json!({"text": "x", "blocks": [{"type": "header", "text": header}]}),
        &expect![[r#"
        blocks[0].text: type "mrkdwn", where ["plain_text"] may be
        blocks[0].text: not verbatim: addresses in it become links
        blocks[0].text: 151 characters, where 1 to 150 may be"#]],
    );
    let eleven: Vec<Value> = (0..11).map(|_| json!({"type": "plain_text", "text": "x"})).collect();
    wrong(
        &json!({"text": "x", "blocks": [{"type": "section", "fields": eleven}]}),
        &expect!["blocks[0].fields: 11 of them"],
    );
    wrong(
        &section(&json!({"type": "plain_text", "text": "x", "verbatim": true})),
        &expect!["blocks[0].text: unknown field verbatim"],
    );
    wrong(
        &section(&json!({"type": "plain_text", "text": "👩".repeat(1_501)})),
        &expect!["blocks[0].text: 3002 characters, where 1 to 3000 may be"],
    );
    wrong(
        &section(&json!({"type": "plain_text", "text": " \n"})),
        &expect!["blocks[0].text: nothing to see"],
    );
    let long =
        json!({"type": "section", "text": {"type": "plain_text", "text": "x".repeat(2_900)}});
    wrong(&json!({"text": "x", "blocks": vec![long; 5]}), &expect!["payload: 14501 characters"]);
}

#[test]
fn a_message_with_forged_markup_is_refused() {
    wrong(
        &section(&json!({"type": "mrkdwn", "text": "x"})),
        &expect!["blocks[0].text: not verbatim: addresses in it become links"],
    );
    for text in [
        "<!channel>",
        "<@U123>",
        "<https://example.com>",
        "<http://example.com|x>",
        "<javascript:alert(1)|x>",
        "<https://example.com/a b|x>",
        "a > b",
    ] {
        assert_eq!(check(&mrkdwn(text)).len(), 1, "{text}");
    }
    wrong(
        &mrkdwn("a & b &copy;"),
        &expect![[r#"
        blocks[0].text: an ampersand is not escaped
        blocks[0].text: an ampersand is not escaped"#]],
    );
    wrong(&mrkdwn("```\nrm -r"), &expect!["blocks[0].text: a block of code does not end"]);
    wrong(&mrkdwn("a\u{1b}[31m"), &expect![[r#"blocks[0].text: the control character '\u{1b}'"#]]);
    let link = json!({"type": "plain_text", "text": "<https://example.com|x>"});
    wrong(
        &section(&link),
        &expect![[
            r#"blocks[0].text: "<https://example.com" is not escaped, and no link to https"#
        ]],
    );
}

#[test]
fn a_message_is_shown_as_people_see_it() {
    let text = |text: &str| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    let payload = json!({"text": "x", "blocks": [
        {"type": "header", "text": {"type": "plain_text", "text": "HIGH: a &lt; b"}},
        {"type": "section", "fields": [text("*Repository*\n`infra*struct*ure`"), text("*Image*\n<https://example.com/?a&amp;b|sha256:0a>")]},
        {"type": "section", "text": text("*Restore it*:\n```\naws ecr x &amp;&amp; aws *y*\n```")},
        {"type": "context", "elements": [text("one"), text("two")]},
    ]});
    expect![[r#"
        HIGH: a < b

        Repository    `infra*struct*ure`
        Image         sha256:0a (https://example.com/?a&b)

        Restore it:
            aws ecr x && aws *y*

        one  |  two
    "#]]
    .assert_eq(&render(&payload));
    expect![[r#"
        HIGH: x
            a < b
    "#]]
    .assert_eq(&render(&json!({"text": "HIGH: x\n```\na &lt; b\n```"})));
}
