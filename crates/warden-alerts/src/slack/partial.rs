//! The rendering for Slack of an alert that does not deserialise: the title, the text, the commands, and
//! the other readable fields as code.

use warden_core::text::one_line;

use super::alert::add_remedies;
use super::layout::Layout;
use super::payload::Payload;
use crate::PartialAlert;

pub fn title(alert: &PartialAlert) -> String {
    let title = if one_line(&alert.title).is_empty() { &alert.kind } else { &alert.title };
    match alert.severity.as_deref().map(word).filter(|word| !word.is_empty()) {
        Some(severity) => format!("{severity}: {title}"),
        None => title.clone(),
    }
}

pub fn render(alert: &PartialAlert) -> Payload {
    let mut layout = Layout::new(&title(alert), &[Some(alert.kind.clone())]);
    layout.add_text(&alert.text);
    add_remedies(&mut layout, &alert.remedies);
    let facts = alert.facts.iter();
    let facts = facts.map(|(name, value)| format!("{}: {}", one_line(name), one_line(value)));
    layout.add_code(&facts.collect::<Vec<_>>().join("\n"));
    layout.finish()
}

/// A severity as one word in capitals.
fn word(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
    letters.take(40).collect::<String>().to_ascii_uppercase()
}
