//! Reads a policy in YAML, with the line and the column of each value.
//!
//! CloudFormation includes the file in a template, so only what it accepts there is accepted here: one
//! document, without anchors, aliases, tags and merge keys.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use warden_core::node::{Key, Node, NodeValue, Position, Scalar};
use warden_core::properties::Problem;

/// The deepest nesting. A policy has five levels.
const DEEPEST: usize = 20;

/// Parses a text. Returns the document, as far as it could be parsed, and all problems of its syntax.
#[must_use]
pub fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        match event {
            Ok((event, span)) => builder.add(event, position(span.start)),
            Err(error) => {
                builder.problem(position(*error.marker()), error.info());
                return (None, builder.problems);
            }
        }
        if builder.open.len() > DEEPEST {
            let position = builder.open.last().and_then(|open| open.position);
            builder.problems.push(problem(position, "the nesting is too deep"));
            return (None, builder.problems);
        }
    }
    if builder.document.is_none() && builder.problems.is_empty() {
        builder.problems.push(problem(None, "the file has no policy; expected Version and Rules"));
    }
    (builder.document, builder.problems)
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

fn problem(position: Option<Position>, message: &str) -> Problem {
    Problem { position, ..Problem::new("policy", message) }
}

/// A list or a map whose end has not been read.
struct Open {
    position: Option<Position>,
    value: OpenValue,
}

enum OpenValue {
    List(Vec<Node>),
    /// A key waits for its value.
    Map(Vec<(Key, Node)>, Option<Key>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    document: Option<Node>,
    problems: Vec<Problem>,
}

impl Builder {
    fn problem(&mut self, position: Position, message: &str) {
        self.problems.push(problem(Some(position), message));
    }

    fn add(&mut self, event: Event<'_>, position: Position) {
        let (anchor, is_tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor > 0 {
            self.problem(position, "an anchor: CloudFormation accepts no anchors and aliases here");
        }
        if is_tagged {
            self.problem(position, "a tag: CloudFormation accepts no functions with ! here");
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if self.document.is_some() {
                    self.problem(position, "a second document; expected one");
                }
            }
            Event::Alias(_) => {
                self.problem(
                    position,
                    "an alias: CloudFormation accepts no anchors and aliases here",
                );
                self.close(NodeValue::Scalar(Scalar::Null), position);
            }
            Event::Scalar(text, style, ..) => {
                let text = text.into_owned();
                let scalar = match (style, text.as_str()) {
                    (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Scalar::Null,
                    (ScalarStyle::Plain, _) => Scalar::Plain(text),
                    _ => Scalar::Quoted(text),
                };
                self.close(NodeValue::Scalar(scalar), position);
            }
            Event::SequenceStart(..) => {
                let value = OpenValue::List(Vec::new());
                self.open.push(Open { position: Some(position), value });
            }
            Event::MappingStart(..) => {
                let value = OpenValue::Map(Vec::new(), None);
                self.open.push(Open { position: Some(position), value });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let value = match open.value {
                        OpenValue::List(nodes) => NodeValue::List(nodes),
                        OpenValue::Map(pairs, _) => NodeValue::Map(pairs),
                    };
                    self.close(value, open.position.unwrap_or(position));
                }
            }
        }
    }

    /// Puts a value whose end was read into the list or the map around it.
    fn close(&mut self, value: NodeValue, position: Position) {
        let node = Node { value, position: Some(position) };
        match self.open.last_mut().map(|open| &mut open.value) {
            None => {
                self.document.get_or_insert(node);
            }
            Some(OpenValue::List(nodes)) => nodes.push(node),
            Some(OpenValue::Map(pairs, key @ Some(_))) => {
                pairs.extend(key.take().map(|key| (key, node)));
            }
            Some(OpenValue::Map(_, key)) => {
                let (name, problem) = match node.value {
                    NodeValue::Scalar(Scalar::Plain(text)) if text == "<<" => {
                        (text, Some("a merge key (<<): CloudFormation accepts none here"))
                    }
                    NodeValue::Scalar(Scalar::Plain(text) | Scalar::Quoted(text)) => (text, None),
                    _ => (String::new(), Some("expected a key, such as Name")),
                };
                *key = Some(Key { name, position: node.position });
                if let Some(problem) = problem {
                    self.problem(position, problem);
                }
            }
        }
    }
}
