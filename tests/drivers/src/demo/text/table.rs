//! A plan as a table: first the removed images, then the kept images, each with its reason.

use serde_json::Value;

use super::super::{word, words};
use super::{WIDTH, broken};

/// The widths of the columns.
const NAME: usize = 31;
const DECISION: usize = 8;
const REASON: usize = WIDTH - NAME - DECISION - 4;

/// One row: one image, or several images that are kept for the same reason.
#[derive(Debug)]
struct Row {
    /// The names, each with the number that its reason starts with, or 0.
    names: Vec<(u32, String)>,
    decision: String,
    /// The reason without that number.
    reason: String,
}

/// The plan that the function returned, as text.
pub fn render(answer: &Value) -> String {
    let mut table = row("image", "decision", "reason")
        + &row(&"-".repeat(NAME), &"-".repeat(DECISION), &"-".repeat(REASON));
    for [name, decision, reason] in rows(answer) {
        table += &row(&name, &decision, &reason);
    }
    table
}

/// The rows of that plan: images, decision and reason.
pub fn rows(answer: &Value) -> Vec<[String; 3]> {
    let mut all = Vec::new();
    for list in ["removals", "keeps"] {
        let mut rows: Vec<Row> = Vec::new();
        for entry in answer[list].as_array().into_iter().flatten() {
            let new = Row::from_entry(entry);
            match rows.iter_mut().find(|row| row.has_same_reason(&new)) {
                Some(row) => row.names.extend(new.names),
                None => rows.push(new),
            }
        }
        all.extend(rows.into_iter().map(Row::into_columns));
    }
    all
}

impl Row {
    fn from_entry(entry: &Value) -> Self {
        let tags = words(&entry["tags"]);
        let name = if tags.is_empty() { word(&entry["digest"]).to_owned() } else { tags.join(" ") };
        let reason = word(&entry["reason"]);
        let numbered = reason.strip_prefix("number ").and_then(|rest| rest.split_once(' '));
        let numbered = numbered.and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
        let (number, reason) = numbered.unwrap_or((0, reason));
        Self {
            names: vec![(number, shorten_digests(&name))],
            decision: word(&entry["decision"]).to_owned(),
            reason: shorten_digests(reason),
        }
    }

    fn has_same_reason(&self, other: &Self) -> bool {
        self.decision == "keep" && other.decision == "keep" && self.reason == other.reason
    }

    fn into_columns(mut self) -> [String; 3] {
        self.names.sort_unstable();
        let ((first, name), (last, _)) = (&self.names[0], &self.names[self.names.len() - 1]);
        let more = match self.names.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let number = match (first, last) {
            (0, _) => String::new(),
            (first, last) if first == last => format!("number {first} "),
            (first, last) => format!("numbers {first} to {last} "),
        };
        [format!("{name}{more}"), self.decision, format!("{number}{}", self.reason)]
    }
}

fn row(name: &str, decision: &str, reason: &str) -> String {
    let lines = broken(reason, &[' '], REASON).enumerate().map(|(nth, line)| {
        let (name, decision) = if nth == 0 { (name, decision) } else { ("", "") };
        format!("   {name:<NAME$}  {decision:<DECISION$}  {line}\n")
    });
    lines.collect()
}

/// The text with each digest cut to twelve digits and an ellipsis. Twelve digits suffice for a person.
pub fn shorten_digests(text: &str) -> String {
    let mut short = String::new();
    let mut digits = 0;
    for letter in text.chars() {
        digits = if letter.is_ascii_hexdigit() { digits + 1 } else { 0 };
        match digits {
            ..=12 => short.push(letter),
            13 => short.push('…'),
            _ => {}
        }
    }
    short
}
