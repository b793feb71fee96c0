//! What Slack is sent: as much of Block Kit as is used here.
//!
//! <https://docs.slack.dev/reference/block-kit/blocks>

use serde::Serialize;

/// A message for a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// What notifications say; and the message itself, where there are no blocks.
    pub text: String,
    /// The message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Whether links are shown with what is behind them.
    pub unfurl_links: bool,
    /// The same for pictures.
    pub unfurl_media: bool,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// A line in large letters.
    Header {
        /// Plain text.
        text: Text,
    },
    /// A paragraph.
    Section {
        /// What it says.
        text: Text,
    },
    /// Facts in two columns.
    #[serde(rename = "section")]
    Fields {
        /// Each of them.
        fields: Vec<Text>,
    },
    /// Small print.
    Context {
        /// Each line of it.
        elements: Vec<Text>,
    },
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Text {
    /// Nothing in it means anything.
    PlainText {
        /// The text, escaped.
        text: String,
        /// Whether `:smile:` is a picture.
        emoji: bool,
    },
    /// With links, bold and code.
    Mrkdwn {
        /// The text, escaped but for that.
        text: String,
        /// Whether it is left as it is: no address becomes a link by itself, and no name a
        /// mention.
        verbatim: bool,
    },
}

impl Payload {
    /// A message of blocks. It shows nothing of what its links lead to.
    #[must_use]
    pub fn new(text: String, blocks: Vec<Block>) -> Self {
        Self { text, blocks, unfurl_links: false, unfurl_media: false }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings always serialise")]
        serde_json::to_string(self).expect("a payload serialises")
    }
}

impl Text {
    /// A text in which nothing means anything. It has to be escaped already.
    #[must_use]
    pub fn plain(text: String) -> Self {
        Self::PlainText { text, emoji: false }
    }

    /// A text with links, bold and code. What is not meant as such has to be escaped already.
    #[must_use]
    pub fn mrkdwn(text: String) -> Self {
        Self::Mrkdwn { text, verbatim: true }
    }
}
