//! The parts of a message, within the limits of
//! <https://docs.slack.dev/reference/block-kit/blocks>.

use warden_core::text::{one_line, visible};

use super::payload::{Block, Payload, Text};
use super::text::{code, fitted, length};

/// The most characters of a section.
pub const LONGEST_SECTION: usize = 3_000;
/// The most characters of a header and of a field.
const LONGEST_HEADER: usize = 150;
const LONGEST_FIELD: usize = 2_000;
/// The most characters of the text of a desktop notification, and of a line of small print. These
/// limits are ours.
const LONGEST_NOTICE: usize = 300;
const LONGEST_SMALL_PRINT: usize = 300;
/// The most fields of a section.
const MOST_FIELDS: usize = 10;
/// The most characters of a message. Slack documents no limit, but seems to refuse messages of about
/// 13,000 characters (unverified).
pub const LONGEST_MESSAGE: usize = 12_000;

/// A message under construction, with the number of characters that still fit.
pub struct Layout {
    notice: String,
    /// The title, as long as the message lacks the part that did not fit into the header.
    title: Option<String>,
    blocks: Vec<Block>,
    /// Names and values for the end of the message.
    fields: Vec<Text>,
    small_print: Vec<Text>,
    left: usize,
}

impl Layout {
    /// A message with a title, and with small print at the end.
    pub fn new(title: &str, small_print: &[Option<String>]) -> Self {
        let title = headline(title);
        let header = fitted(&title, LONGEST_HEADER);
        let lines = small_print.iter().flatten();
        let lines = lines.map(|text| fitted(&one_line(text), LONGEST_SMALL_PRINT));
        let lines: Vec<String> = lines.filter(|text| !text.is_empty()).collect();
        let notice = notice(&title);
        let used = [&notice, &header].into_iter().chain(&lines).map(|text| length(text));
        Self {
            left: LONGEST_MESSAGE - used.sum::<usize>(),
            notice,
            title: (fitted(&title, usize::MAX) != header).then_some(title),
            blocks: vec![Block::Header { text: Text::plain(header) }],
            fields: vec![],
            small_print: lines.into_iter().map(Text::plain).collect(),
        }
    }

    /// The number of characters that still fit.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Adds plain text. The first text begins with the whole title if the header has only a part of the
    /// title.
    pub fn add_text(&mut self, text: &str) {
        let title = self.title.take().unwrap_or_default();
        let text = visible(&format!("{title}\n{text}"));
        let text = fitted(text.trim(), LONGEST_SECTION.min(self.left));
        if !text.is_empty() {
            self.left -= length(&text);
            self.blocks.push(Block::Section { text: Text::plain(text) });
        }
    }

    /// Adds a block of code.
    pub fn add_code(&mut self, text: &str) {
        if let Some(block) = code_block(text, LONGEST_SECTION.min(self.left)) {
            self.add_section(block);
        }
    }

    /// Adds names and values in two columns, which follow all other parts of the message. The values
    /// are escaped already.
    pub fn add_fields(&mut self, fields: Vec<(&str, String)>) {
        for (name, value) in fields {
            let field = format!("*{name}*\n{value}");
            let length = length(&field);
            if self.fields.len() < MOST_FIELDS && length <= LONGEST_FIELD.min(self.left) {
                self.left -= length;
                self.fields.push(Text::mrkdwn(field));
            }
        }
    }

    /// Adds a paragraph. The text is escaped already, and fits.
    pub fn add_section(&mut self, text: String) {
        self.left -= length(&text);
        self.blocks.push(Block::Section { text: Text::mrkdwn(text) });
    }

    /// The finished message.
    pub fn finish(mut self) -> Payload {
        if let Some(title) = self.title.take() {
            self.add_text(&title);
        }
        if !self.fields.is_empty() {
            self.blocks.push(Block::Fields { fields: self.fields });
        }
        if !self.small_print.is_empty() {
            self.blocks.push(Block::Context { elements: self.small_print });
        }
        Payload::new(self.notice, self.blocks)
    }
}

/// A title as one line. Slack refuses an empty one.
fn headline(title: &str) -> String {
    let title = one_line(title);
    if title.is_empty() { "A message without a title".to_owned() } else { title }
}

/// The text of a desktop notification.
pub fn notice(title: &str) -> String {
    // Slack formats this text, and turns every address in it into a link.
    fitted(&headline(title).replace("://", ": //").replace('`', "'"), LONGEST_NOTICE)
}

/// The text as a block of code with at most `limit` characters, or `None` if the text is blank.
pub fn code_block(text: &str, limit: usize) -> Option<String> {
    const FENCES: usize = "```\n\n```".len();
    let text = visible(text).replace("```", "'''");
    let text = text.trim_matches('\n');
    let is_empty = text.trim().is_empty();
    (!is_empty).then(|| format!("```\n{}\n```", fitted(text, limit.saturating_sub(FENCES))))
}

/// The first `most` values as code, each with at most `longest` characters, and the number of the
/// other values.
pub fn code_list(values: &[String], most: usize, longest: usize) -> String {
    let shown: Vec<String> = values.iter().take(most).map(|value| code(value, longest)).collect();
    match values.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
