//! The part of Block Kit that the renderings use.
//!
//! <https://docs.slack.dev/reference/block-kit/blocks>

use serde::Serialize;

/// A message for a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// The text of desktop notifications, and the message itself where there are no blocks.
    pub text: String,
    /// The message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Whether Slack shows a preview of the pages that links lead to.
    pub unfurl_links: bool,
    /// Whether Slack shows a preview of pictures.
    pub unfurl_media: bool,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// The title.
    Header {
        /// The title as plain text.
        text: Text,
    },
    /// A paragraph.
    Section {
        /// The text of the paragraph.
        text: Text,
    },
    /// Names and values in two columns.
    #[serde(rename = "section")]
    Fields {
        /// Each name with its value.
        fields: Vec<Text>,
    },
    /// Small print.
    Context {
        /// The lines.
        elements: Vec<Text>,
    },
}

/// A text, plain or formatted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Text {
    /// A text without formatting.
    PlainText {
        /// The text, escaped.
        text: String,
        /// Whether Slack replaces `:smile:` with a picture.
        emoji: bool,
    },
    /// A text with links, bold and code.
    Mrkdwn {
        /// The text, with everything else escaped.
        text: String,
        /// Whether Slack adds nothing: no address becomes a link, and no name a mention.
        verbatim: bool,
    },
}

impl Payload {
    /// A message of blocks, without previews.
    #[must_use]
    pub fn new(text: String, blocks: Vec<Block>) -> Self {
        Self { text, blocks, unfurl_links: false, unfurl_media: false }
    }

    /// The payload as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings always serialise")]
        serde_json::to_string(self).expect("a payload serialises")
    }
}

impl Text {
    /// A text without formatting. It has to be escaped already.
    #[must_use]
    pub fn plain(text: String) -> Self {
        Self::PlainText { text, emoji: false }
    }

    /// A text with links, bold and code. Everything else has to be escaped already.
    #[must_use]
    pub fn mrkdwn(text: String) -> Self {
        Self::Mrkdwn { text, verbatim: true }
    }
}
