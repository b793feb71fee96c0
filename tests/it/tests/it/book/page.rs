//! A page as Markdown: its links, the anchors of its headings, and its blocks of code.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex_lite::Regex;

/// The parts of a page that the tests check.
#[derive(Debug, Default)]
pub struct Page {
    pub links: Vec<String>,
    pub anchors: BTreeSet<String>,
    pub blocks: Vec<Block>,
}

/// A fenced block of code.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    pub text: String,
}

impl Page {
    pub fn read(text: &str) -> Self {
        let attributes = Regex::new(r#"\b(?:href|src|srcset)="([^"]+)""#).unwrap();
        let identifiers = Regex::new(r#"\bid="([^"]+)""#).unwrap();
        let mut page = Self::default();
        let (mut heading, mut explicit) = (None, None);
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        let mut in_block = false;
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_HEADING_ATTRIBUTES
            | Options::ENABLE_STRIKETHROUGH;
        for event in Parser::new_ext(text, options) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let found = attributes.captures_iter(&html).map(|found| found[1].to_owned());
                    page.links.extend(found);
                    page.anchors
                        .extend(identifiers.captures_iter(&html).map(|found| found[1].to_owned()));
                }
                Event::Start(Tag::Heading { id, .. }) => {
                    (heading, explicit) = (Some(String::new()), id);
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = slug(&heading.take().unwrap_or_default());
                    let nth = count.entry(anchor.clone()).or_default();
                    let numbered = if *nth == 0 { anchor } else { format!("{anchor}-{nth}") };
                    *nth += 1;
                    page.anchors.insert(explicit.take().map_or(numbered, |id| id.into_string()));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    page.blocks.push(Block { language, text: String::new() });
                    in_block = true;
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(words) | Event::Code(words) => {
                    if let (true, Some(block)) = (in_block, page.blocks.last_mut()) {
                        block.text += &words;
                    } else if let Some(heading) = &mut heading {
                        *heading += &words;
                    }
                }
                _ => {}
            }
        }
        page
    }
}

impl Block {
    /// The files that the block includes. None if the block has any text of its own.
    pub fn includes(&self) -> Option<Vec<&str>> {
        let lines = self.text.lines().map(str::trim).filter(|line| !line.is_empty());

        let files: Option<Vec<&str>> = lines
            .map(|line| {
                let file = line.strip_prefix("{{#include ")?.strip_suffix("}}")?.trim();
                // A part of a file stands after a colon.
                Some(file.split_once(':').map_or(file, |(file, _)| file))
            })
            .collect();
        files.filter(|files| !files.is_empty())
    }
}

/// The anchor of a heading, as mdBook and GitHub make it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_links_anchors_and_blocks() {
        let page = Page::read(
            "# What `it` costs, a month\n\n## Named {#name}\n\n[a](b.md#c) ![d](e.svg)\n\n\
             <a id=\"mark\" href=\"f.md\">f</a>\n\n| [g](h.md) |\n| --- |\n\n\
             ```sh\n{{#include ../snippets/i.sh}}\n{{#include ../snippets/j.sh:2:3}}\n```\n\n\
             - k\n\n  ```text\n  l\n  ```\n",
        );
        assert_eq!(page.links, ["b.md#c", "e.svg", "f.md", "h.md"]);
        let anchors = ["what-it-costs-a-month", "name", "mark"].map(str::to_owned);
        assert_eq!(page.anchors, anchors.into());
        let includes: Vec<_> = page.blocks.iter().map(Block::includes).collect();
        assert_eq!(includes, [Some(vec!["../snippets/i.sh", "../snippets/j.sh"]), None]);
        assert_eq!(
            (page.blocks[1].language.as_str(), page.blocks[1].text.as_str()),
            ("text", "l\n")
        );
    }
}
