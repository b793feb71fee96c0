//! Renders a message as plain text, as a person sees it in Slack.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};
use serde_json::Value;

#[expect(clippy::expect_used, reason = "constants")]
static BOLD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\*([^*\n]+)\*").expect("an expression"));
#[expect(clippy::expect_used, reason = "constants")]
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<([^|>]+)\|([^>]+)>").expect("an expression"));

/// The message as text, with the address of each link after its text and with indented code.
#[must_use]
pub fn render(payload: &Value) -> String {
    let text = |object: &Value| shown(object, object["type"] == "mrkdwn");
    let blocks: Vec<String> = payload["blocks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|block| match block["type"].as_str() {
            Some("divider") => "---".to_owned(),
            Some("context") => {
                let elements = block["elements"].as_array().into_iter().flatten();
                elements.map(text).collect::<Vec<_>>().join("  |  ")
            }
            _ => {
                let texts = block.get("text").into_iter().map(text);
                // A field is its name and its value, a line each.
                let fields = block["fields"].as_array().into_iter().flatten().map(text);
                let fields = fields.map(|field| match field.split_once('\n') {
                    Some((name, value)) => format!("{name:<14}{value}"),
                    None => field,
                });
                texts.chain(fields).collect::<Vec<_>>().join("\n")
            }
        })
        .collect();
    if blocks.is_empty() {
        // The text of a webhook is formatted.
        let text = payload["text"].as_str().unwrap_or_default();
        return shown(&serde_json::json!({ "text": text }), true) + "\n";
    }
    blocks.join("\n\n") + "\n"
}

fn shown(object: &Value, is_formatted: bool) -> String {
    let text = object["text"].as_str().unwrap_or_default();
    let unescape =
        |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    if !is_formatted {
        return unescape(text);
    }
    // Every second part is a block of code.
    let parts = text.split("```").enumerate().map(|(nth, part)| {
        if nth % 2 == 1 {
            let lines = part.trim_matches('\n').lines();
            return lines.map(|line| format!("    {line}\n")).collect::<String>();
        }
        // Every second piece is inline code, in which markup has no meaning.
        let pieces = part.split('`').enumerate().map(|(nth, piece)| {
            if nth % 2 == 1 {
                return format!("`{piece}`");
            }
            let piece = BOLD.replace_all(piece, "$1");
            let link = |link: &Captures| format!("{} ({})", &link[2], &link[1]);
            LINK.replace_all(&piece, link).into_owned()
        });
        pieces.collect::<String>()
    });
    unescape(parts.collect::<String>().trim_end())
}
