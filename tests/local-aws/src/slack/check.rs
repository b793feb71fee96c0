//! Finds mistakes in a message. The check is stricter than Slack, which ignores unknown fields.
//!
//! <https://docs.slack.dev/reference/block-kit/blocks>,
//! <https://docs.slack.dev/reference/block-kit/composition-objects/text-object> and
//! <https://docs.slack.dev/messaging/formatting-message-text>. Only what is used here is known:
//! headers, sections, contexts and dividers; in texts, links to https.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Map, Value};

/// The maximum number of characters in all texts of a message. The limit of Slack is unverified.
const LONGEST_MESSAGE: usize = 13_000;
/// The maximum length of a `text` that Slack does not truncate.
const LONGEST_TEXT: usize = 4_000;
/// The maximum length of a text in a context. Slack documents none, so this is the smallest of the
/// other limits.
const LONGEST_ELEMENT: usize = 2_000;

#[expect(clippy::expect_used, reason = "a constant")]
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<https://[^<>|\s]+\|[^<>|\n]+>").expect("an expression"));

/// The mistakes in a payload.
#[must_use]
pub fn check(payload: &Value) -> Vec<String> {
    let mut check = Check { wrong: Vec::new(), characters: 0 };
    let Some(payload) = payload.as_object() else {
        return vec!["the payload is no object".to_owned()];
    };
    check.known(payload, "payload", &["text", "blocks", "unfurl_links", "unfurl_media"]);
    check.flag(payload, "payload", "unfurl_links");
    check.flag(payload, "payload", "unfurl_media");
    match payload.get("text").and_then(Value::as_str) {
        Some(text) => check.text(text, "text", LONGEST_TEXT, false),
        None => check.say("text", "missing"),
    }
    match payload.get("blocks") {
        None => {}
        Some(Value::Array(blocks)) => {
            if !(1..=50).contains(&blocks.len()) {
                check.say("blocks", &format!("{} of them", blocks.len()));
            }
            for (nth, block) in blocks.iter().enumerate() {
                check.block(block, &format!("blocks[{nth}]"));
            }
        }
        Some(_) => check.say("blocks", "no list"),
    }
    if check.characters > LONGEST_MESSAGE {
        check.say("payload", &format!("{} characters", check.characters));
    }
    check.wrong
}

struct Check {
    wrong: Vec<String>,
    characters: usize,
}

impl Check {
    fn say(&mut self, path: &str, what: &str) {
        self.wrong.push(format!("{path}: {what}"));
    }

    fn known(&mut self, object: &Map<String, Value>, path: &str, names: &[&str]) {
        for name in object.keys().filter(|name| !names.contains(&name.as_str())) {
            self.say(path, &format!("unknown field {name}"));
        }
    }

    fn flag(&mut self, object: &Map<String, Value>, path: &str, name: &str) {
        if object.get(name).is_some_and(|value| !value.is_boolean()) {
            self.say(&format!("{path}.{name}"), "neither true nor false");
        }
    }

    fn block(&mut self, block: &Value, path: &str) {
        let Some(object) = block.as_object() else { return self.say(path, "no object") };
        let at = |name: &str| format!("{path}.{name}");
        match block["type"].as_str() {
            Some("header") => {
                self.known(object, path, &["type", "text"]);
                self.text_object(&block["text"], &at("text"), 150, &["plain_text"]);
            }
            Some("section") => {
                self.known(object, path, &["type", "text", "fields"]);
                if object.contains_key("text") {
                    self.text_object(&block["text"], &at("text"), 3_000, ANY);
                }
                if object.contains_key("fields") {
                    self.texts(&block["fields"], &at("fields"), 2_000);
                }
                if !object.contains_key("text") && !object.contains_key("fields") {
                    self.say(path, "neither text nor fields");
                }
            }
            Some("context") => {
                self.known(object, path, &["type", "elements"]);
                self.texts(&block["elements"], &at("elements"), LONGEST_ELEMENT);
            }
            Some("divider") => self.known(object, path, &["type"]),
            other => self.say(path, &format!("unknown type {other:?}")),
        }
    }

    fn texts(&mut self, texts: &Value, path: &str, most: usize) {
        let Some(texts) = texts.as_array() else { return self.say(path, "no list") };
        if !(1..=10).contains(&texts.len()) {
            self.say(path, &format!("{} of them", texts.len()));
        }
        for (nth, text) in texts.iter().enumerate() {
            self.text_object(text, &format!("{path}[{nth}]"), most, ANY);
        }
    }

    fn text_object(&mut self, object: &Value, path: &str, most: usize, kinds: &[&str]) {
        let Some(fields) = object.as_object() else { return self.say(path, "no text object") };
        let kind = object["type"].as_str().unwrap_or_default();
        if !kinds.contains(&kind) {
            self.say(path, &format!("type {kind:?}, where {kinds:?} may be"));
        }
        let option = if kind == "mrkdwn" { "verbatim" } else { "emoji" };
        self.known(fields, path, &["type", "text", option]);
        self.flag(fields, path, option);
        if kind == "mrkdwn" && object["verbatim"] != true {
            self.say(path, "not verbatim: addresses in it become links");
        }
        match object["text"].as_str() {
            Some(text) => self.text(text, path, most, kind == "mrkdwn"),
            None => self.say(path, "no text"),
        }
    }

    /// A text of 1 to `most` characters, counted as JavaScript does, in which nothing means
    /// anything but, if it may, links, bold and code.
    fn text(&mut self, text: &str, path: &str, most: usize, has_links: bool) {
        let characters = text.encode_utf16().count();
        self.characters += characters;
        if !(1..=most).contains(&characters) {
            self.say(path, &format!("{characters} characters, where 1 to {most} may be"));
        }
        if text.trim().is_empty() {
            self.say(path, "nothing to see");
        }
        if let Some(control) = text.chars().find(|letter| letter.is_control() && *letter != '\n') {
            self.say(path, &format!("the control character {control:?}"));
        }
        let rest = if has_links { LINK.replace_all(text, "") } else { text.into() };
        if let Some(at) = rest.find(['<', '>']) {
            let shown: String = rest.chars().skip(at).take(20).collect();
            self.say(path, &format!("{shown:?} is not escaped, and no link to https"));
        }
        for (at, _) in text.match_indices('&') {
            let entity = ["&amp;", "&lt;", "&gt;"];
            if !text
                .get(at..)
                .is_some_and(|rest| entity.iter().any(|entity| rest.starts_with(entity)))
            {
                self.say(path, "an ampersand is not escaped");
            }
        }
        // The text of a message is formatted too.
        if (has_links || path == "text") && text.matches("```").count() % 2 == 1 {
            self.say(path, "a block of code does not end");
        }
    }
}

const ANY: &[&str] = &["plain_text", "mrkdwn"];
