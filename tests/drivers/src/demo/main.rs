//! `cargo demo`: deploys the template on an embedded AWS, pushes and scans images, and sweeps.
//!
//! The demonstration reads every fact back from the embedded AWS or from a log of a function. It
//! collects them in a [`Story`], prints them as text, and writes them as JSON and as a page.

#![expect(clippy::print_stderr, reason = "a person reads why the demonstration failed")]
#![expect(clippy::indexing_slicing, reason = "only JSON is indexed, which accepts any name")]

mod deployment;
mod inbox;
mod inventory;
mod keep_running;
mod page;
mod push;
mod pushes;
mod scans;
mod story;
mod sweeps;
mod text;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, SecondsFormat};
use clap::Parser;
use local_aws::ecr::Time;
use local_aws::server::Server;
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::Value;

use self::inbox::Inbox;
use self::story::{Alert, Narration, Story};

/// Runs ECR Warden on an embedded AWS: deploys the template, pushes good and bad images, completes
/// scans, and removes images that nobody needs. Prints one line for each step and one alert, and
/// writes a page with every detail. Needs no AWS account.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Options {
    /// Prints every log line, every AWS call and every alert of each step
    #[arg(long, conflicts_with = "json")]
    verbose: bool,
    /// Prints one JSON document instead of the text
    #[arg(long)]
    json: bool,
    /// Keeps the embedded AWS and the functions running at the end, until it is interrupted
    #[arg(long)]
    keep_running: bool,
    /// The port of the embedded AWS; 0 takes any free port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The folder for the page and the functions' environments [default: target/demo]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Runs one function where Lambda's `_HANDLER` names it, because the embedded AWS starts this
/// program again for each function; otherwise runs the demonstration.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Ok(handler) = std::env::var("_HANDLER") {
        let Err(error) = it::serve(&handler).await else { return ExitCode::SUCCESS };
        eprintln!("\n{handler}: {error}");
        return ExitCode::FAILURE;
    }
    let options: Options = match ecr_warden::arguments::parse() {
        Ok(options) => options,
        Err(exit_code) => return exit_code,
    };
    match options.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    async fn run(&self) -> anyhow::Result<()> {
        let aws = LocalAws::default();
        let server = aws.serve((Ipv4Addr::LOCALHOST, self.port).into()).await;
        let server = server.context("--port")?;
        let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let mut story = Story {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            endpoint: server.endpoint().to_owned(),
            began: rfc3339(aws.state().now()),
            narration: match (self.json, self.verbose) {
                (true, _) => Narration::Silent,
                (false, true) => Narration::Verbose,
                (false, false) => Narration::Brief,
            },
            ..Story::default()
        };
        let completed = run_steps(&mut story, &aws, slack.endpoint()).await;
        story.error = completed.as_ref().err().map(|error| format!("{error:#}"));
        if self.json {
            print(&format!("{:#}\n", serde_json::to_value(&story)?));
        }
        completed?;

        let folder = self.folder();
        let page = folder.join("index.html");
        keep_running::write_file(&page, &page::render(&story).into_string())?;
        self.print_beside_json(&text::next_places(&shortest_path(&page)));
        if self.keep_running {
            self.keep_running(&story, &aws, &server, &folder).await?;
        }
        aws.lambda().stop();
        Ok(())
    }

    async fn keep_running(
        &self,
        story: &Story,
        aws: &LocalAws,
        server: &Server,
        folder: &Path,
    ) -> anyhow::Result<()> {
        keep_running::write_environments(aws, folder)?;
        let hash = keep_running::leave_waiting_plan(aws).await?;
        let undo = story.alerts().next().map_or("", Alert::first_command);
        let commands =
            keep_running::commands(server.endpoint(), &shortest_path(folder), &hash, undo);
        self.print_beside_json(&commands);
        match keep_running::print_alerts(aws, |text| self.print_beside_json(text)).await? {}
    }

    /// Prints a text for a person: to the standard error where the standard output is JSON.
    fn print_beside_json(&self, text: &str) {
        if self.json { eprint!("{text}") } else { print(text) }
    }

    fn folder(&self) -> PathBuf {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        let target = || Path::new(root).canonicalize().unwrap_or_else(|_| root.into());
        self.output.clone().unwrap_or_else(|| target().join("demo"))
    }
}

/// Prints a text. A closed standard output (`cargo demo | head`) is no failure, because the
/// demonstration still verifies every step.
fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The path, relative to the working directory where the path is below it.
fn shortest_path(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

async fn run_steps(story: &mut Story, aws: &LocalAws, slack: &str) -> anyhow::Result<()> {
    story.print(&format!(
        "ECR Warden on an embedded AWS: account {ACCOUNT}, {REGION}, {}. No AWS account is used.\n",
        story.endpoint
    ));
    story.begin_chapter("Deploy the stack");
    let outputs = deployment::show(story, aws, slack).await?;
    let inbox = |function| Inbox { aws, function };
    // A push also queues a sweep, once an hour. The queue waits until the steps that show sweeps, so
    // that no sweep runs during another step.
    let sweeper = inbox("ecr-warden-ImageSweepFunction");
    aws.disable_event_sources(sweeper.function);
    story.begin_chapter("Check the tag of each push");
    pushes::show(story, &inbox("ecr-warden-ImagePushFunction")).await?;
    story.begin_chapter("Compare each scan with the version before");
    let parameter = output(&outputs, "AcceptedRisksParameter")?;
    scans::show(story, &inbox("ecr-warden-ScanCompleteFunction"), parameter).await?;
    sweeps::forget_pushes(aws).await?;
    aws.enable_event_sources(sweeper.function);
    story.begin_chapter("Remove images that nobody needs");
    sweeps::show(story, &sweeper).await?;
    story.begin_chapter("Change nothing in a replica");
    pushes::show_replica(story, &inbox("ecr-warden-ImagePushFunction")).await?;
    let alerts: Vec<&Alert> = story.alerts().collect();
    let version = output(&outputs, "PolicyVersion")?;
    let repositories = inventory::read_repositories(aws, version, &alerts).await?;
    story.repositories = repositories;
    Ok(())
}

/// The lines of a function's log that name its decisions: those with a repository or an IAM
/// policy.
fn decision_lines(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter_map(|line| {
        let subject = line.get("repository.name").or_else(|| line.get("iam.policy"));
        subject.and(line["message"].as_str()).map(str::to_owned)
    });
    messages.flat_map(|message| message.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn output<'o>(outputs: &'o BTreeMap<String, String>, name: &str) -> anyhow::Result<&'o str> {
    let value = outputs.get(name).map(String::as_str);
    value.with_context(|| format!("the stack has no output {name}"))
}

/// Calls ECR as an operator does.
fn call_ecr(aws: &LocalAws, operation: &str, input: &Value) -> anyhow::Result<Value> {
    let answer = aws.by_hand(operation, input);
    answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().map(word).collect(),
        single => vec![word(single)],
    }
}

/// The number with its noun, such as `1 image` or `2 images`.
fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A time as RFC 3339.
fn rfc3339(time: Time) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit an i64")]
    let time = DateTime::from_timestamp_millis((time * 1_000.0) as i64).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
