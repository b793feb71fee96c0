//! The text of a run, for a terminal.

mod table;

use local_aws::slack;
use serde_json::Value;

use super::story::{Alert, Part, Scene, Settings, Shown, Statement};
use super::word;

pub use table::{rows, shorten_digests};

/// The maximum width of a line that can be broken, without its indentation.
pub const WIDTH: usize = 96;

/// The title and the explanation of a step.
pub fn heading(scene: &Scene) -> String {
    let why: String = folded(&scene.why).map(|line| format!("   {line}\n")).collect();
    format!("\n== {}\n{why}\n", scene.title)
}

/// The outcome of a step, at the end of the step's parts.
pub fn outcome(outcome: &str) -> String {
    format!("\n{}", indented(3, &format!("Outcome: {outcome}")))
}

/// The files and commands that show more, for the end of the run.
pub fn next_places(page: &str) -> String {
    let width = page.len().max("cargo demo --keep-running".len());
    format!(
        "\nWhere to look next\n      \
         {page:<width$}  every step, plan and alert, as a page for the browser\n      \
         {:<width$}  every log line, AWS call and alert, in the terminal\n      \
         {:<width$}  the embedded AWS stays up: push an image of your own\n      \
         {:<width$}  how to deploy ECR Warden to an AWS account\n",
        "cargo demo --verbose", "cargo demo --keep-running", "README.md",
    )
}

/// A fact of a step.
pub fn part(part: &Part) -> String {
    match part {
        Part::Resource { kind, physical_id, plans } => {
            let plans: String =
                plans.iter().map(|plan| indented(6, &without_document(plan))).collect();
            format!("   {kind:<26} {physical_id}\n{plans}")
        }
        Part::Settings(found) => settings(found),
        Part::Policy { arn, statements } => {
            format!("   {arn}\n{}", statements.iter().map(statement).collect::<String>())
        }
        Part::Outputs { values } => {
            let output = |(name, value): (&String, &String)| {
                // A command stays on one line, so that a reader can copy it.
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
        Part::Calls { operations, grouped: false } => {
            let all = if operations.is_empty() { "none".to_owned() } else { operations.join(", ") };
            format!("   AWS calls: {all}\n")
        }
        Part::Calls { operations, grouped: true } => {
            let each: Vec<String> = grouped_calls(operations)
                .into_iter()
                .map(|(call, count)| match count {
                    1 => call.to_owned(),
                    _ => format!("{call} ({count} times)"),
                })
                .collect();
            indented(3, &format!("AWS calls: {}", each.join(", ")))
        }
        Part::Image { repository, digest, tags } => {
            format!("   image in {repository}: {digest}\n   tags: {}\n", tags.join(", "))
        }
        Part::Accepted { risk } => format!("   accepted risk: {risk}\n\n"),
        Part::Request { function, payload } => format!(
            "   aws lambda invoke --function-name {function}\n      --payload '{payload}'\n\n"
        ),
        Part::Plan { answer, whole: false } => format!("   {}\n", plan_counts(answer)),
        Part::Plan { answer, whole: true } => {
            format!("   {}\n\n{}\n", plan_counts(answer), table::render(answer))
        }
        Part::Explained { answer } => {
            let day = |at: &str| word(&answer[at]).split('T').next().unwrap_or_default().to_owned();
            format!(
                "   {}: {}\n   pushed on {}\n   last pulled on {}\n",
                word(&answer["decision"]),
                word(&answer["reason"]),
                day("pushedAt"),
                day("pulledAt"),
            )
        }
        Part::Archived { repository, digests, as_planned } => {
            let planned = if *as_planned { ", the ones that the plan named" } else { "" };
            format!("   images in the archive of {repository}: {}{planned}\n", digests.len())
        }
        Part::Fact { text } => indented(3, text),
        Part::Alert(sent) => alert(sent),
        Part::NoAlert => "   no alert was sent\n".to_owned(),
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

/// The renderings of an alert that the verbose text contains.
pub fn alert(alert: &Alert) -> String {
    let json =
        || titled("the same alert as JSON, for queues and functions", &format!("{:#}", alert.json));
    let slack = || alert.slack.as_ref().map_or_else(String::new, slack_message);
    match alert.shown {
        Shown::Nothing => String::new(),
        Shown::Title => format!("   alert: {}\n", alert.field("title")),
        Shown::Email => email(alert),
        Shown::EmailAndSlack => email(alert) + &slack(),
        Shown::Slack => slack(),
        Shown::All => email(alert) + &json() + &slack(),
    }
}

/// The e-mail of an alert.
pub fn email(alert: &Alert) -> String {
    let text = format!("Subject: {}\n\n{}", alert.email.subject, alert.email.text);
    titled(&format!("e-mail to {}", alert.email.to), &text)
}

/// A message as Slack shows it.
pub fn slack_message(message: &Value) -> String {
    titled("Slack message", &slack::render(message))
}

/// The numbers of a plan, in one line.
pub fn plan_counts(plan: &Value) -> String {
    let number = |name: &str| plan[name].as_u64().unwrap_or_default();
    let stopped = plan["stopped"].as_str();
    let stopped = stopped.map_or_else(String::new, |why| format!("; stopped: {why}"));
    format!(
        "plan {}: {} images, {} kept, {} to remove, {} MB{stopped}",
        word(&plan["hash"]),
        number("examined"),
        number("kept"),
        number("planned"),
        number("bytes") / 1_000_000,
    )
}

/// Each operation with the number of its calls, in the order of the first call of each.
pub fn grouped_calls(operations: &[String]) -> Vec<(&str, usize)> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for call in operations {
        match groups.iter_mut().find(|(operation, _)| operation == call) {
            Some((_, count)) => *count += 1,
            None => groups.push((call, 1)),
        }
    }
    groups
}

/// A decision of the custom resource without its policy document, which another step shows.
pub fn without_document(plan: &str) -> String {
    plan.split_once(" {").map_or_else(|| plan.to_owned(), |(what, _)| format!("{what} {{…}}"))
}

/// The lines of a text, unchanged, under a title.
fn titled(title: &str, text: &str) -> String {
    let lines: String =
        text.lines().map(|line| format!("{}\n", format!("      {line}").trim_end())).collect();
    format!("\n   {title}\n{lines}")
}

/// The text in lines that fit a terminal, each indented by this number of spaces.
fn indented(by: usize, text: &str) -> String {
    folded(text).map(|line| format!("{:by$}{line}\n", "")).collect()
}

fn folded(text: &str) -> impl Iterator<Item = String> {
    broken(text, &[' '], WIDTH)
}

/// The text in lines of at most this width, broken after one of these characters.
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
