//! The story as text, for a terminal.

mod table;

use local_aws::slack;
use serde_json::Value;

use super::story::{Alert, Part, Scene, Settings, Shown, Statement};
use super::word;

pub use table::{rows, short as short_digests};

/// How wide a line is at most, without its indentation, wherever it can be broken.
pub const WIDTH: usize = 96;

/// What a scene is, and why.
pub fn head(scene: &Scene) -> String {
    let why: String = folded(&scene.why).map(|line| format!("   {line}\n")).collect();
    format!("\n== {}\n{why}\n", scene.title)
}

/// Something to see.
pub fn part(part: &Part) -> String {
    match part {
        Part::Resource { kind, physical_id, plans } => {
            let plans: String = plans.iter().map(|plan| indented(6, &shortened(plan))).collect();
            format!("   {kind:<26} {physical_id}\n{plans}")
        }
        Part::Settings(found) => settings(found),
        Part::Policy { arn, statements } => {
            format!("   {arn}\n{}", statements.iter().map(statement).collect::<String>())
        }
        Part::Outputs { values } => {
            let output = |(name, value): (&String, &String)| {
                // A command stays whole, to be copied.
                let lines: Vec<String> = if value.starts_with('[') {
                    broken(value, &[','], WIDTH).collect()
                } else {
                    vec![value.clone()]
                };
                let lines: String = lines.iter().map(|line| format!("      {line}\n")).collect();
                format!("   {name}\n{lines}")
            };
            values.iter().map(output).collect()
        }
        Part::Log { lines } => lines.iter().map(|line| indented(3, line)).collect(),
        Part::Calls { operations, counted: false } => {
            let all = if operations.is_empty() { "none".to_owned() } else { operations.join(", ") };
            format!("   calls of AWS: {all}\n")
        }
        Part::Calls { operations, counted: true } => {
            let each: Vec<String> = counted(operations)
                .into_iter()
                .map(|(call, count)| match count {
                    1 => call.to_owned(),
                    _ => format!("{call} ({count} times)"),
                })
                .collect();
            indented(3, &format!("calls of AWS: {}", each.join(", ")))
        }
        Part::Image { repository, digest, tags } => {
            format!("   in {repository} now: {digest}\n   tagged {}\n", tags.join(","))
        }
        Part::Accepted { risk } => format!("   accepted: {risk}\n\n"),
        Part::Request { function, payload } => format!(
            "   aws lambda invoke --function-name {function}\n      --payload '{payload}'\n\n"
        ),
        Part::Plan { answer, whole: false } => format!("   {}\n", counts(answer)),
        Part::Plan { answer, whole: true } => {
            format!("   {}\n\n{}\n", counts(answer), table::of(answer))
        }
        Part::Explained { answer } => {
            let day = |at: &str| word(&answer[at]).split('T').next().unwrap_or_default().to_owned();
            format!(
                "   {}: {}\n   pushed on {}\n   pulled on {}\n",
                word(&answer["decision"]),
                word(&answer["reason"]),
                day("pushedAt"),
                day("pulledAt"),
            )
        }
        Part::Archived { repository, digests, as_planned } => {
            let planned = if *as_planned { ", as planned" } else { "" };
            format!("   in the archive of {repository} now: {}{planned}\n", digests.len())
        }
        Part::Fact { text } => indented(3, text),
        Part::Alert(told) => alert(told),
        Part::NothingTold => "   nothing is told\n".to_owned(),
    }
}

fn settings(found: &Settings) -> String {
    let scanned = if found.scanned_on_push { "yes" } else { "no" };
    let tags = found.tags.iter().map(|(name, value)| format!("      {name} = {value}\n"));
    let rules =
        found.lifecycle.iter().map(|(rule, what)| format!("      lifecycle {rule}: {what}\n"));
    format!(
        "   {}\n      tags            {}\n      scanned on push {scanned}\n      encrypted with  {}\n{}",
        found.uri,
        found.tag_mutability,
        found.encrypted_with,
        tags.chain(rules).collect::<String>(),
    )
}

fn statement(statement: &Statement) -> String {
    let allowed = indented(6, &format!("{} {}", statement.effect, statement.actions.join(", ")));
    let on = statement.resources.iter().map(|on| format!("         on {on}\n"));
    allowed + &on.collect::<String>()
}

/// An alert, as far as it is shown, as each of its readers gets it.
pub fn alert(alert: &Alert) -> String {
    let email = || {
        let text = format!("Subject: {}\n\n{}", alert.email.subject, alert.email.text);
        titled(&format!("e-mail to {}", alert.email.to), &text)
    };
    let json =
        || titled("the same as JSON, for queues and functions", &format!("{:#}", alert.json));
    let slack = || alert.slack.as_ref().map_or_else(String::new, in_slack);
    match alert.shown {
        Shown::Nothing => String::new(),
        Shown::Title => format!("   told: {}\n", alert.field("title")),
        Shown::Email => email(),
        Shown::EmailAndSlack => email() + &slack(),
        Shown::Slack => slack(),
        Shown::All => email() + &json() + &slack(),
    }
}

/// A message as it is seen in Slack.
pub fn in_slack(message: &Value) -> String {
    titled("in Slack", &slack::render(message))
}

/// A plan in a line.
pub fn counts(plan: &Value) -> String {
    let number = |name: &str| plan[name].as_u64().unwrap_or_default();
    let stopped = plan["stopped"].as_str();
    let stopped = stopped.map_or_else(String::new, |why| format!("; stopped: {why}"));
    format!(
        "plan {}: of {} images {} stay and {} go, {} MB{stopped}",
        word(&plan["hash"]),
        number("examined"),
        number("kept"),
        number("planned"),
        number("bytes") / 1_000_000,
    )
}

/// Each call with how often it was made, in the order of the first of each.
pub fn counted(operations: &[String]) -> Vec<(&str, usize)> {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for call in operations {
        match counted.iter_mut().find(|(of, _)| of == call) {
            Some((_, count)) => *count += 1,
            None => counted.push((call, 1)),
        }
    }
    counted
}

/// A plan without the policy that is put: whole policies are shown further down.
pub fn shortened(plan: &str) -> String {
    plan.split_once(" {").map_or_else(|| plan.to_owned(), |(what, _)| format!("{what} {{…}}"))
}

/// Lines as they are, under a title.
fn titled(title: &str, text: &str) -> String {
    let lines: String =
        text.lines().map(|line| format!("{}\n", format!("      {line}").trim_end())).collect();
    format!("\n   {title}\n{lines}")
}

/// The text in lines that fit a terminal, with so much space before each.
fn indented(by: usize, text: &str) -> String {
    folded(text).map(|line| format!("{:by$}{line}\n", "")).collect()
}

fn folded(text: &str) -> impl Iterator<Item = String> {
    broken(text, &[' '], WIDTH)
}

/// The text in lines of this width, wherever they can be broken after one of these.
fn broken(text: &str, after: &[char], width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for piece in text.split_inclusive(after) {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + piece.trim_end().len() <= width => {
                line.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned())
}
