//! `cargo demo`: the main job, on an AWS in memory, with every step said.
//!
//! It shows what stands by asking AWS for it, not by what it thinks that it did. What it shows
//! is a [`Story`], which is told as text on the way, and as JSON and as a page in the end.

#![expect(clippy::print_stderr, reason = "a person reads why the demonstration failed")]
#![expect(clippy::indexing_slicing, reason = "only of JSON, which takes any name")]

mod deployment;
mod inbox;
mod keep;
mod page;
mod push;
mod pushes;
mod scans;
mod standing;
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
use local_aws::{ACCOUNT, LocalAws, REGION, Rule};
use serde_json::Value;

use self::inbox::Inbox;
use self::story::{Alert, Story};

/// Deploys the template onto an AWS in memory, pushes good and bad images, completes scans,
/// sweeps, and shows what becomes of each, with the alerts as people get them. The whole of it
/// is also a page, which is written at the end.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Options {
    /// Prints one JSON document in the place of the text
    #[arg(long)]
    json: bool,
    /// Leaves the AWS in memory up at the end, with the functions at work, until it is interrupted
    #[arg(long)]
    keep_running: bool,
    /// The port of the AWS in memory; 0 is any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The folder for the page and the functions' environments [default: target/demo]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Lambda's `_HANDLER` makes this program one of the functions: the demonstration starts itself
/// again as each of them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Ok(handler) = std::env::var("_HANDLER") {
        let Err(error) = it::serve(&handler).await else { return ExitCode::SUCCESS };
        eprintln!("\n{handler}: {error}");
        return ExitCode::FAILURE;
    }
    let options: Options = match ecr_warden::arguments::parse() {
        Ok(options) => options,
        Err(end) => return end,
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
            began: written(aws.state().now()),
            aloud: !self.json,
            ..Story::default()
        };
        let told = tell(&mut story, &aws, slack.endpoint()).await;
        story.error = told.as_ref().err().map(|error| format!("{error:#}"));
        if self.json {
            print(&format!("{:#}\n", serde_json::to_value(&story)?));
        }
        told?;

        let folder = self.folder();
        let page = folder.join("index.html");
        keep::write(&page, &page::of(&story).into_string())?;
        self.say(&format!("\nAll of it, to look at and to print: {}\n", shown(&page)));
        if self.keep_running {
            self.stay_up(&aws, &server, &folder).await?;
        }
        aws.lambda().stop();
        Ok(())
    }

    async fn stay_up(&self, aws: &LocalAws, server: &Server, folder: &Path) -> anyhow::Result<()> {
        keep::write_environments(aws, folder)?;
        self.say(&keep::invitation(server.endpoint(), &shown(folder)));
        match keep::up(aws, |text| self.say(text)).await? {}
    }

    /// Says something to who reads along: the standard output may be for the JSON alone.
    fn say(&self, text: &str) {
        if self.json { eprint!("{text}") } else { print(text) }
    }

    fn folder(&self) -> PathBuf {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        let target = || Path::new(root).canonicalize().unwrap_or_else(|_| root.into());
        self.output.clone().unwrap_or_else(|| target().join("demo"))
    }
}

/// Prints it. Whoever reads along may have read enough (`cargo demo | head`): what is shown still
/// has to be right.
fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

async fn tell(story: &mut Story, aws: &LocalAws, slack: &str) -> anyhow::Result<()> {
    story.tell(&format!(
        "ECR Warden on an AWS in memory: account {ACCOUNT}, {REGION}, {}\n",
        story.endpoint
    ));
    let outputs = deployment::show(story, aws, slack).await?;
    let inbox = |function| Inbox { aws, function };
    // Pushes are for it too, once an hour. What it makes of them comes last, and by itself.
    let sweeper = inbox("ecr-warden-ImageSweepFunction");
    let is_for_it = |rule: &mut Rule| rule.is_for(sweeper.function);
    let its_rules: Vec<Rule> = aws.state().rules.extract_if(.., is_for_it).collect();
    pushes::show(story, &inbox("ecr-warden-ImagePushFunction")).await?;
    let parameter = output(&outputs, "AcceptedRisksParameter")?;
    scans::show(story, &inbox("ecr-warden-ScanCompleteFunction"), parameter).await?;
    aws.state().rules.extend(its_rules);
    sweeps::show(story, &sweeper).await?;
    pushes::show_replica(story, &inbox("ecr-warden-ImagePushFunction")).await?;
    let alerts: Vec<&Alert> = story.alerts().collect();
    let repositories = standing::ask_all(aws, output(&outputs, "Governance")?, &alerts).await?;
    story.repositories = repositories;
    Ok(())
}

/// The messages of a function's log that say what it was about to do.
fn plans(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter_map(|line| {
        let about = line.get("repository.name").or_else(|| line.get("iam.policy"));
        about.and(line["message"].as_str()).map(str::to_owned)
    });
    messages.flat_map(|message| message.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn output<'o>(outputs: &'o BTreeMap<String, String>, name: &str) -> anyhow::Result<&'o str> {
    outputs.get(name).map(String::as_str).with_context(|| format!("there is no output {name}"))
}

fn ask(aws: &LocalAws, operation: &str, input: &Value) -> anyhow::Result<Value> {
    let answer = aws.by_hand(operation, input);
    answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().map(word).collect(),
        one => vec![word(one)],
    }
}

/// A time as RFC 3339.
fn written(time: Time) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds, for ages to come")]
    let time = DateTime::from_timestamp_millis((time * 1_000.0) as i64).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
