//! A plan as a table: what goes, then what stays, with the reasons.

use serde_json::Value;

use super::super::{word, words};
use super::{WIDTH, broken};

/// How wide each column is.
const NAME: usize = 30;
const DECISION: usize = 8;
const REASON: usize = WIDTH - NAME - DECISION - 4;

/// One line: of one image, or of several that stay for the same reason.
#[derive(Debug)]
struct Row {
    /// Each with its number, if the reason is one.
    names: Vec<(u32, String)>,
    decision: String,
    /// Without the number.
    reason: String,
}

/// The plan that an answer of the function is.
pub fn of(answer: &Value) -> String {
    let mut table = row("image", "decision", "reason")
        + &row(&"-".repeat(NAME), &"-".repeat(DECISION), &"-".repeat(REASON));
    for [name, decision, reason] in rows(answer) {
        table += &row(&name, &decision, &reason);
    }
    table
}

/// The same: of each row the images, the decision, and the reason.
pub fn rows(answer: &Value) -> Vec<[String; 3]> {
    let mut all = Vec::new();
    for list in ["removals", "keeps"] {
        let mut rows: Vec<Row> = Vec::new();
        for entry in answer[list].as_array().into_iter().flatten() {
            let one = Row::of(entry);
            match rows.iter_mut().find(|row| row.is_like(&one)) {
                Some(row) => row.names.extend(one.names),
                None => rows.push(one),
            }
        }
        all.extend(rows.iter_mut().map(Row::written));
    }
    all
}

impl Row {
    fn of(entry: &Value) -> Self {
        let tags = words(&entry["tags"]);
        let name = if tags.is_empty() { word(&entry["digest"]).to_owned() } else { tags.join(" ") };
        let reason = word(&entry["reason"]);
        let numbered = reason.strip_prefix("number ").and_then(|rest| rest.split_once(' '));
        let numbered = numbered.and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
        let (number, reason) = numbered.unwrap_or((0, reason));
        Self {
            names: vec![(number, short(&name))],
            decision: word(&entry["decision"]).to_owned(),
            reason: short(reason),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.decision == "keep" && other.decision == "keep" && self.reason == other.reason
    }

    fn written(&mut self) -> [String; 3] {
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
        [format!("{name}{more}"), self.decision.clone(), format!("{number}{}", self.reason)]
    }
}

fn row(name: &str, decision: &str, reason: &str) -> String {
    let lines = broken(reason, &[' '], REASON).enumerate().map(|(nth, line)| {
        let (name, decision) = if nth == 0 { (name, decision) } else { ("", "") };
        format!("   {name:<NAME$}  {decision:<DECISION$}  {line}\n")
    });
    lines.collect()
}

/// The text with its digests cut to twelve digits, as people tell them apart.
pub fn short(text: &str) -> String {
    let mut short = String::new();
    let mut digits = 0;
    for letter in text.chars() {
        digits = if letter.is_ascii_hexdigit() { digits + 1 } else { 0 };
        if digits <= 12 {
            short.push(letter);
        }
    }
    short
}
