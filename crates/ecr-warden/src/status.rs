//! `ecr-warden status`: shows what is deployed, and what needs a person.
//!
//! The command reads: it invokes no function and reads no image.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum as _};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use warden_aws::json::JsonClient;
use warden_aws::ledger::{LastRun, SweepRecord};
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::RepositoryName;
use warden_core::policy::Policy;
use warden_core::text::short_line;

use crate::deployed::{Connection, DeployedStack, Output, StackResource};
use crate::print::{print, print_json, table};
use crate::replay::DeadLetterQueue;

/// The most names in a call of `DescribeAlarms`.
const MOST_NAMES: usize = 100;
/// The most repositories that a table shows.
const MOST_SHOWN: usize = 50;
/// The most characters of a reason in a table.
const REASON_LENGTH: usize = 100;

/// The states of a stack that need no person.
const QUIET: [&str; 4] =
    ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"];

/// The options of `ecr-warden status`.
#[derive(Args)]
pub struct StatusOptions {
    /// Shows only this repository. The option can be repeated.
    #[arg(long = "repository", value_name = "NAME")]
    repositories: Vec<RepositoryName>,
    #[command(flatten)]
    connection: Connection,
}

/// The state of a deployed stack.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The name of the stack.
    pub stack: String,
    /// The status of the stack.
    pub status: String,
    /// The version of the policy, where the stack has one.
    pub policy_version: Option<String>,
    /// The governed repositories.
    pub repositories: Vec<RepositoryState>,
    /// The functions.
    pub functions: Vec<FunctionState>,
    /// The alarms.
    pub alarms: Vec<AlarmState>,
    /// The queues.
    pub queues: Vec<QueueState>,
    /// The problems that need a person, each with the command that helps.
    pub needs_attention: Vec<String>,
}

/// A governed repository and its last sweep.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryState {
    /// The name.
    pub repository: RepositoryName,
    /// The action for a tag that violates the policy.
    pub tag_enforcement: String,
    /// The action on an image that no rule keeps.
    pub cleanup_enforcement: String,
    /// The last sweep that ended. None if the ledger has no result.
    pub last_sweep: Option<LastRun>,
    /// Whether the plan of the last sweep waits for a confirmation.
    pub is_waiting: bool,
}

/// The configuration of a function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionState {
    /// The logical ID.
    pub function: String,
    /// `Active`, or another state of Lambda.
    pub state: String,
    /// When the function was last changed.
    pub changed_at: String,
    /// The hash of the code.
    pub code: String,
}

/// An alarm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmState {
    /// The logical ID.
    pub alarm: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// When the state last changed.
    pub since: Option<DateTime<Utc>>,
    /// The reason that CloudWatch gives.
    pub reason: String,
}

/// The number of messages in a queue. SQS counts approximately.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueState {
    /// The logical ID.
    pub queue: String,
    /// The messages that a receiver can get.
    pub waiting: u64,
    /// The messages that a receiver has, and has not deleted.
    pub in_flight: u64,
    /// Whether each message is an event that was not handled.
    pub is_dead_letter_queue: bool,
}

/// Prints the state of the stack. The exit code is 1 if something needs a person.
pub async fn status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let status = read_status(&stack, &options.repositories).await?;
    match options.connection.output {
        Output::Json => print_json(&json!(status))?,
        Output::Table => print(&status.to_text())?,
    }
    let is_quiet = status.needs_attention.is_empty();
    Ok(if is_quiet { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads the state of the stack.
pub async fn read_status(
    stack: &DeployedStack,
    repositories: &[RepositoryName],
) -> anyhow::Result<Status> {
    let resources = stack.resources().await?;
    let of_kind = |kind: &str| -> Vec<&StackResource> {
        resources.iter().filter(|resource| resource.kind == kind).collect()
    };
    let queues = of_kind("AWS::SQS::Queue");
    let queue = queues.first().with_context(|| format!("the stack {} has no queue", stack.name))?;
    let (sqs, cloudwatch) = (stack.sqs(&queue.physical_id)?, stack.cloudwatch(&queue.physical_id)?);
    let (prefixes, repositories, functions, alarms, queues) = tokio::try_join!(
        stack.registry.cache_prefixes(),
        read_repositories(stack, repositories),
        read_functions(stack, of_kind("AWS::Lambda::Function")),
        read_alarms(&cloudwatch, of_kind("AWS::CloudWatch::Alarm")),
        read_queues(&sqs, queues),
    )?;
    let mut status = Status {
        stack: stack.name.clone(),
        status: stack.status.clone(),
        policy_version: stack.outputs.get("PolicyVersion").cloned(),
        repositories,
        functions,
        alarms,
        queues,
        needs_attention: Vec::new(),
    };
    let warnings = stack.outputs.get("PolicyWarnings").map(String::as_str);
    let warnings = warnings.filter(|warnings| *warnings != "none");
    status.needs_attention = status.list_needs(&stack.to_options(), warnings.unwrap_or_default());
    let mut patterns = stack.governance.document.rules.iter().flat_map(|rule| &rule.repositories);
    if prefixes.iter().any(|prefix| prefix == "ROOT")
        && patterns.any(|pattern| !pattern.is_literal())
    {
        status.needs_attention.push(
            "a pull-through cache rule with the prefix ROOT exists: wildcards match no repository; \
             name each repository in full in the policy"
                .to_owned(),
        );
    }
    Ok(status)
}

async fn read_repositories(
    stack: &DeployedStack,
    named: &[RepositoryName],
) -> anyhow::Result<Vec<RepositoryState>> {
    let policies = stack.select_repositories(named).await?;
    let repositories: Vec<RepositoryName> =
        policies.iter().map(|policy| policy.repository_name.clone()).collect();
    let mut records = stack.ledger().await?.sweep_records(&repositories).await?;
    let state = |policy: &Policy| {
        let name = &policy.repository_name;
        RepositoryState::new(policy, records.remove(name).unwrap_or_default())
    };
    Ok(policies.iter().map(state).collect())
}

impl RepositoryState {
    fn new(policy: &Policy, record: SweepRecord) -> Self {
        let SweepRecord { last_run, confirmed_at } = record;
        let is_waiting = last_run.as_ref().is_some_and(|run| {
            // The next sweep carries out a plan that was confirmed since.
            run.waiting > 0 && confirmed_at.is_none_or(|confirmed| confirmed < run.began_at)
        });
        Self {
            repository: policy.repository_name.clone(),
            tag_enforcement: policy.tag_enforcement().to_string(),
            cleanup_enforcement: policy.cleanup().to_string(),
            last_sweep: last_run,
            is_waiting,
        }
    }

    /// The result of the last sweep in a few words.
    fn result(&self) -> String {
        let Some(run) = &self.last_sweep else { return String::new() };
        let LastRun { examined, removed, left, stopped, waiting, .. } = run;
        let text = match (stopped, examined) {
            _ if self.is_waiting => format!("plan of {waiting} images waits for a confirmation"),
            _ if *waiting > 0 => format!("plan of {waiting} images confirmed since"),
            (Some(why), _) => format!("stopped: {why}"),
            (None, Some(examined)) if *left > 0 => {
                format!("{examined} images examined, {removed} removed, {left} left")
            }
            (None, Some(examined)) => format!("{examined} images examined, {removed} removed"),
            (None, None) => String::new(),
        };
        short_line(&text, REASON_LENGTH)
    }
}

async fn read_functions(
    stack: &DeployedStack,
    resources: Vec<&StackResource>,
) -> anyhow::Result<Vec<FunctionState>> {
    let client = aws_sdk_lambda::Client::new(&stack.sdk);
    let read = |resource: &StackResource| {
        let get = client.get_function_configuration().function_name(&resource.physical_id);
        let logical_id = resource.logical_id.clone();
        async move {
            let read = get.send().await.map_err(warden_aws::explain);
            let read = read.with_context(|| format!("reading the function {logical_id}"))?;
            let state = read.state().map_or("unknown", |state| state.as_str()).to_owned();
            let last = read.last_update_status().map(|status| status.as_str());
            anyhow::Ok(FunctionState {
                function: logical_id,
                state: match last {
                    Some("Failed") => "the last update failed".to_owned(),
                    _ => state,
                },
                changed_at: read.last_modified.unwrap_or_default(),
                code: read.code_sha256.unwrap_or_default(),
            })
        }
    };
    stream::iter(resources.into_iter().map(read)).buffered(CONCURRENT_CALLS).try_collect().await
}

/// The answer of `DescribeAlarms`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribedAlarms {
    #[serde(default)]
    metric_alarms: Vec<DescribedAlarm>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribedAlarm {
    alarm_name: String,
    state_value: String,
    state_reason: Option<String>,
    state_updated_timestamp: Option<f64>,
}

async fn read_alarms(
    cloudwatch: &JsonClient,
    resources: Vec<&StackResource>,
) -> anyhow::Result<Vec<AlarmState>> {
    const READING: &str = "reading the alarms";
    let mut found = BTreeMap::new();
    for resources in resources.chunks(MOST_NAMES) {
        let names: Vec<&str> =
            resources.iter().map(|resource| resource.physical_id.as_str()).collect();
        let mut input = json!({"AlarmNames": names, "MaxRecords": MOST_NAMES});
        loop {
            let page = cloudwatch.call("DescribeAlarms", &input).await.context(READING)?;
            let page: DescribedAlarms = serde_json::from_value(page).context(READING)?;
            let alarms = page.metric_alarms.into_iter();
            found.extend(alarms.map(|alarm| (alarm.alarm_name.clone(), alarm)));
            let Some(token) = page.next_token else { break };
            if let Some(fields) = input.as_object_mut() {
                fields.insert("NextToken".to_owned(), token.into());
            }
        }
    }
    let state = |resource: &StackResource| {
        let name = resource.logical_id.clone();
        match found.remove(&resource.physical_id) {
            Some(alarm) => AlarmState {
                alarm: name,
                state: alarm.state_value,
                since: alarm.state_updated_timestamp.and_then(to_time),
                reason: alarm.state_reason.unwrap_or_default(),
            },
            // Somebody deleted the alarm.
            None => AlarmState {
                alarm: name,
                state: "missing".to_owned(),
                since: None,
                reason: "the alarm does not exist".to_owned(),
            },
        }
    };
    Ok(resources.into_iter().map(state).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
fn to_time(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds as i64, 0)
}

async fn read_queues(
    sqs: &JsonClient,
    resources: Vec<&StackResource>,
) -> anyhow::Result<Vec<QueueState>> {
    const WAITING: &str = "ApproximateNumberOfMessages";
    const IN_FLIGHT: &str = "ApproximateNumberOfMessagesNotVisible";
    let is_dead_letter_queue = |name: &str| {
        DeadLetterQueue::value_variants().iter().any(|queue| queue.logical_id() == name)
    };
    let mut queues = Vec::new();
    for StackResource { logical_id, physical_id, .. } in resources {
        let reading = || format!("reading the queue {logical_id}");
        let input = json!({"QueueUrl": physical_id, "AttributeNames": [WAITING, IN_FLIGHT]});
        let got = sqs.call("GetQueueAttributes", &input).await.with_context(reading)?;
        let number = |name: &str| {
            let number = got.get("Attributes").and_then(|found| found.get(name)?.as_str());
            let number = number.and_then(|number| number.parse().ok());
            number.with_context(|| format!("SQS did not return {name}")).with_context(reading)
        };
        queues.push(QueueState {
            queue: logical_id.clone(),
            waiting: number(WAITING)?,
            in_flight: number(IN_FLIGHT)?,
            is_dead_letter_queue: is_dead_letter_queue(logical_id),
        });
    }
    Ok(queues)
}

impl Status {
    /// Lists what needs a person.
    fn list_needs(&self, stack: &str, policy_warnings: &str) -> Vec<String> {
        let mut needs = Vec::new();
        if !QUIET.contains(&self.status.as_str()) {
            needs.push(format!("the stack has the status {}", self.status));
        }
        if !policy_warnings.is_empty() {
            needs.push(format!("the policy has warnings: {policy_warnings}"));
        }
        for function in self.functions.iter().filter(|function| function.state != "Active") {
            // Lambda deactivates a function that was not invoked for weeks, and activates it again.
            if function.state != "Inactive" {
                needs.push(format!("{}: {}", function.function, function.state));
            }
        }
        let is_quiet = |alarm: &&AlarmState| ["OK", "INSUFFICIENT_DATA"].contains(&&*alarm.state);
        for alarm in self.alarms.iter().filter(|alarm| !is_quiet(alarm)) {
            let reason = short_line(&alarm.reason, REASON_LENGTH);
            needs.push(format!("{} is in the state {}: {reason}", alarm.alarm, alarm.state));
        }
        for queue in self.queues.iter().filter(|queue| queue.is_dead_letter_queue) {
            let wait = match queue.waiting + queue.in_flight {
                0 => continue,
                1 => "1 message waits".to_owned(),
                count => format!("{count} messages wait"),
            };
            let name = &queue.queue;
            needs.push(format!("{wait} in {name}: ecr-warden replay --queue {name} {stack}"));
        }
        for state in &self.repositories {
            let name = &state.repository;
            if state.is_waiting {
                needs.push(format!(
                    "the plan of {name} waits for a confirmation: ecr-warden confirm {name} {stack}"
                ));
            } else if state.last_sweep.as_ref().is_some_and(|run| run.examined.is_none()) {
                needs.push(format!("the last sweep of {name} {}", state.result()));
            }
        }
        needs
    }

    fn to_text(&self) -> String {
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut text = format!("Stack {}: {}", self.stack, self.status);
        if let Some(version) = &self.policy_version {
            text += &format!("\nPolicy version: {version}");
        }
        let mut add = |rows: String| text += &format!("\n\n{rows}");
        let head = ["REPOSITORY", "TAGS", "CLEANUP", "LAST SWEEP", "RESULT"].map(str::to_owned);
        let row = |state: &RepositoryState| {
            let sweep = state.last_sweep.as_ref();
            [
                state.repository.to_string(),
                state.tag_enforcement.clone(),
                state.cleanup_enforcement.clone(),
                sweep.map_or_else(|| "unknown".to_owned(), |sweep| time(sweep.began_at)),
                state.result(),
            ]
        };
        let mut rows = vec![head];
        rows.extend(self.repositories.iter().take(MOST_SHOWN).map(row));
        let mut repositories = table(&rows);
        if let Some(more @ 1..) = self.repositories.len().checked_sub(MOST_SHOWN) {
            repositories +=
                &format!("\n{more} more rows are not shown. --output json prints all of them.");
        }
        add(repositories);
        let mut rows = vec![["FUNCTION", "STATE", "DEPLOYED", "CODE"].map(str::to_owned)];
        rows.extend(self.functions.iter().map(|function| {
            let code = function.code.chars().take(12).collect();
            [function.function.clone(), function.state.clone(), function.changed_at.clone(), code]
        }));
        add(table(&rows));
        let mut rows = vec![["ALARM", "STATE", "SINCE"].map(str::to_owned)];
        rows.extend(self.alarms.iter().map(|alarm| {
            [alarm.alarm.clone(), alarm.state.clone(), alarm.since.map(time).unwrap_or_default()]
        }));
        add(table(&rows));
        let mut rows = vec![["QUEUE", "WAITING", "IN FLIGHT"].map(str::to_owned)];
        rows.extend(self.queues.iter().map(|queue| {
            [queue.queue.clone(), queue.waiting.to_string(), queue.in_flight.to_string()]
        }));
        add(table(&rows));
        add(match self.needs_attention.as_slice() {
            [] => "Nothing needs attention.".to_owned(),
            needs => format!("Needs attention:\n  {}", needs.join("\n  ")),
        });
        text
    }
}

#[cfg(test)]
mod tests;
