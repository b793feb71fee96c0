//! A message as Slack shows it. Pure.
//!
//! All of it is made of other people's texts, so nothing stands in it as it came: plain text,
//! code, or a link to https. What there is no room for is left out as a whole, from the end, and
//! it is said how much: half a command would be worse than none.
//!
//! The limits are those of <https://docs.slack.dev/reference/block-kit/blocks>.

mod alarm;
mod alert;
mod console;

use crate::message::{Message, Other};
use crate::payload::{Block, Payload, Text};
use crate::text::{code, fitted, length};
use warden_core::text::{one_line, visible};

/// The most characters of a header, of a section, of a field, and of the text of notifications,
/// which is our own limit.
const LONGEST_HEADER: usize = 150;
const LONGEST_SECTION: usize = 3_000;
const LONGEST_FIELD: usize = 2_000;
const LONGEST_NOTICE: usize = 300;
/// The most characters of a line of small print: ours too.
const LONGEST_PRINT: usize = 300;
/// The most fields of a section.
const MOST_FIELDS: usize = 10;
/// The most characters of a message. Slack says nowhere how many it takes; it was seen to refuse
/// some 13,000 (unverified).
const LONGEST_MESSAGE: usize = 12_000;

/// The message in blocks.
#[must_use]
pub fn render(message: &Message) -> Payload {
    match message {
        Message::Alert(alert) => alert::render(alert),
        Message::Alarm(alarm) => alarm::render(alarm),
        Message::Other(other) => render_other(other),
    }
}

/// The message without blocks, for when Slack takes none.
#[must_use]
pub fn plain(message: &Message) -> Payload {
    let (title, text) = match message {
        Message::Alert(alert) => (alert::title(alert), alert.text.clone()),
        Message::Alarm(alarm) => (alarm::title(alarm), alarm::text(alarm)),
        Message::Other(other) => (title(other), other.text.clone()),
    };
    let mut message = notice(&title);
    if let Some(block) = code_block(&text, LONGEST_SECTION - length(&message) - 1) {
        message = format!("{message}\n{block}");
    }
    Payload::new(message, vec![])
}

fn title(other: &Other) -> String {
    let topic = other.topic.as_deref().and_then(|arn| arn.rsplit(':').next());
    match (&other.subject, topic) {
        (Some(subject), _) => subject.clone(),
        (None, Some(topic)) => format!("A message for {topic}"),
        (None, None) => "A message".to_owned(),
    }
}

fn render_other(other: &Other) -> Payload {
    let print = [
        other.topic.clone(),
        other.id.as_ref().map(|id| format!("Message {id}")),
        other.time.clone(),
    ];
    let mut layout = Layout::new(&title(other), &print);
    if other.is_json {
        layout.beside_title("");
        layout.code(&other.text);
    } else {
        layout.beside_title(&other.text);
    }
    layout.done()
}

/// A title as one line. Slack takes no empty one.
fn headline(title: &str) -> String {
    let title = one_line(title);
    if title.is_empty() { "A message without a title".to_owned() } else { title }
}

/// What notifications say.
fn notice(title: &str) -> String {
    // Slack makes links of addresses in this text, whatever they are, and formats it.
    fitted(&headline(title).replace("://", ": //").replace('`', "'"), LONGEST_NOTICE)
}

/// The text as a block of code, of at most so many characters; none of an empty one.
fn code_block(text: &str, most: usize) -> Option<String> {
    const FENCES: usize = "```\n\n```".len();
    let text = visible(text).replace("```", "'''");
    let text = text.trim_matches('\n');
    let is_empty = text.trim().is_empty();
    (!is_empty).then(|| format!("```\n{}\n```", fitted(text, most.saturating_sub(FENCES))))
}

/// A message that is being put together, and how much room is left in it.
struct Layout {
    notice: String,
    /// The title, where the header has not all of it.
    title: Option<String>,
    blocks: Vec<Block>,
    print: Vec<Text>,
    left: usize,
}

impl Layout {
    /// A message with a title and, at its end, small print.
    fn new(title: &str, print: &[Option<String>]) -> Self {
        let title = headline(title);
        let header = fitted(&title, LONGEST_HEADER);
        let print = print.iter().flatten().map(|text| fitted(&one_line(text), LONGEST_PRINT));
        let print: Vec<String> = print.filter(|text| !text.is_empty()).collect();
        let notice = notice(&title);
        let used = [&notice, &header].into_iter().chain(&print).map(|text| length(text));
        Self {
            left: LONGEST_MESSAGE - used.sum::<usize>(),
            notice,
            title: (fitted(&title, usize::MAX) != header).then_some(title),
            blocks: vec![Block::Header { text: Text::plain(header) }],
            print: print.into_iter().map(Text::plain).collect(),
        }
    }

    /// The first paragraph, with the whole title where the header has not all of it.
    fn beside_title(&mut self, text: &str) {
        let title = self.title.take().unwrap_or_default();
        let text = visible(&format!("{title}\n{text}"));
        let text = fitted(text.trim(), LONGEST_SECTION.min(self.left));
        if !text.is_empty() {
            self.left -= length(&text);
            self.blocks.push(Block::Section { text: Text::plain(text) });
        }
    }

    /// What is for reading letter by letter.
    fn code(&mut self, text: &str) {
        if let Some(block) = code_block(text, LONGEST_SECTION.min(self.left)) {
            self.section(block);
        }
    }

    /// Facts with their names, in two columns. Their values are escaped already, and short.
    fn fields(&mut self, fields: Vec<(&str, String)>) {
        let mut texts = Vec::new();
        for (name, value) in fields {
            let field = format!("*{name}*\n{value}");
            let length = length(&field);
            if texts.len() < MOST_FIELDS && length <= LONGEST_FIELD.min(self.left) {
                self.left -= length;
                texts.push(Text::mrkdwn(field));
            }
        }
        if !texts.is_empty() {
            self.blocks.push(Block::Fields { fields: texts });
        }
    }

    /// A paragraph that is escaped already, and that there is room for.
    fn section(&mut self, text: String) {
        self.left -= length(&text);
        self.blocks.push(Block::Section { text: Text::mrkdwn(text) });
    }

    fn done(mut self) -> Payload {
        if let Some(title) = self.title.take() {
            self.beside_title(&title);
        }
        if !self.print.is_empty() {
            self.blocks.push(Block::Context { elements: self.print });
        }
        Payload::new(self.notice, self.blocks)
    }
}

/// As many of these as code as there may be, and how many more there are.
fn some(values: &[String], most: usize, longest: usize) -> String {
    let shown: Vec<String> = values.iter().take(most).map(|value| code(value, longest)).collect();
    match values.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
