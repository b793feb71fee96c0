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
    /// The names of the snippets that the page repeats.
    pub snippets: BTreeSet<String>,
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
                    page.snippets.extend(marked_snippet(&html).map(str::to_owned));
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

/// A page with the text of each snippet. The comment `<!-- snippets/NAME -->` stands before the
/// block that repeats the snippet: GitHub, to which alerts link, shows no included files.
pub fn with_snippets(page: &str, snippet: impl Fn(&str) -> String) -> String {
    let mut lines = page.lines();
    let mut text = String::new();
    let mut add = |line: &str| text += &(line.trim_end().to_owned() + "\n");
    while let Some(line) = lines.next() {
        add(line);
        let Some(name) = marked_snippet(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        add(lines.next().unwrap_or_default());
        snippet(name).lines().for_each(|line| add(&format!("{indent}{line}")));
        add(lines.by_ref().find(|line| line.trim() == "```").unwrap_or_default());
    }
    text
}

/// The name in the comment that stands before a snippet.
fn marked_snippet(line: &str) -> Option<&str> {
    line.trim().strip_prefix("<!-- snippets/")?.strip_suffix(" -->")
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
             <!-- snippets/one.sh -->\n```sh\nold\n```\n\n- k\n\n  ```text\n  l\n  ```\n",
        );
        assert_eq!(page.links, ["b.md#c", "e.svg", "f.md", "h.md"]);
        let anchors = ["what-it-costs-a-month", "name", "mark"].map(str::to_owned);
        assert_eq!(page.anchors, anchors.into());
        assert_eq!(page.snippets, ["one.sh".to_owned()].into());
        assert_eq!(
            (page.blocks[1].language.as_str(), page.blocks[1].text.as_str()),
            ("text", "l\n")
        );
    }
    #[test]
    fn a_block_after_a_comment_has_the_text_of_the_snippet() {
        let page = "a\n\n  <!-- snippets/one.sh -->\n  ```sh\n  old\n  ```\n\nb\n";
        let written = with_snippets(page, |name| format!("new {name}\n\nline"));
        let expected = page.replace("  old", "  new one.sh\n\n  line");
        assert_eq!(written, expected);
        assert_eq!(with_snippets(&written, |name| format!("new {name}\n\nline")), expected);
    }
}
