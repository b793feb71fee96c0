//! `ecr-warden replay`: hands the events in the dead-letter queues back to their functions.
//!
//! The command reads the queues, prints what it would do, and stops there unless `--apply` is given. A
//! message is deleted after its function has accepted the event, and never before.

pub mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use aws_sdk_lambda::types::InvocationType;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use warden_aws::json::JsonClient;
use warden_core::text::short_line;

use self::message::{Letter, Message, Replay, Targets};
use crate::deployed::{Connection, DeployedStack, Output, StackResource};
use crate::print::{print, print_json, table};

/// The time in seconds for which nobody else receives the messages. It is longer than a replay takes.
const HIDDEN: i32 = 15 * 60;
/// The time in seconds for which SQS looks for messages. Without a wait, it asks only some of its servers.
const WAIT: i32 = 1;
/// The most messages of a call of `ReceiveMessage`.
const PAGE: i32 = 10;
/// The most messages that one run reads from a queue.
const MOST_MESSAGES: usize = 1_000;
/// The most messages of a batch for a function. An event has at most 256 KB, and Lambda accepts 6 MB.
const BATCH: usize = 10;
/// The most messages that a table shows.
const MOST_SHOWN: usize = 50;
/// The most characters of an error in a table.
const ERROR_LENGTH: usize = 100;

/// The functions that Lambda invokes with the messages of a queue, by the logical IDs of the queues.
const FED: [(&str, &str); 1] = [("InspectorFindings", "ScanCompleteFunction")];

/// The options of `ecr-warden replay`.
#[derive(Args)]
pub struct ReplayOptions {
    /// Replays only the messages of this queue. The option can be repeated.
    #[arg(long = "queue", value_enum, value_name = "QUEUE")]
    queues: Vec<DeadLetterQueue>,
    /// Invokes the functions, and deletes each message whose event was accepted. Without this option, the
    /// command only lists the messages.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A queue of events that were not handled. The name is the logical ID of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum DeadLetterQueue {
    /// Events for which a function failed in all attempts.
    #[value(name = "FailedEvents")]
    FailedEvents,
    /// Findings of Amazon Inspector, and rechecks of images, for which a function failed in all attempts.
    #[value(name = "FailedFindings")]
    FailedFindings,
    /// Repositories whose sweep failed in all attempts.
    #[value(name = "FailedSweeps")]
    FailedSweeps,
    /// Events and alerts that no function received.
    #[value(name = "UndeliveredEvents")]
    UndeliveredEvents,
}

impl DeadLetterQueue {
    /// The logical ID of the queue.
    #[must_use]
    pub fn logical_id(self) -> &'static str {
        match self {
            Self::FailedEvents => "FailedEvents",
            Self::FailedFindings => "FailedFindings",
            Self::FailedSweeps => "FailedSweeps",
            Self::UndeliveredEvents => "UndeliveredEvents",
        }
    }
}

/// The answer of `ReceiveMessage`.
#[derive(Deserialize)]
struct Received {
    #[serde(rename = "Messages", default)]
    messages: Vec<Message>,
}

/// The messages of one queue.
#[derive(Debug)]
pub struct QueueReplay {
    /// The queue.
    pub queue: DeadLetterQueue,
    /// The messages, with the action of a replay for each.
    pub letters: Vec<Letter>,
    /// The outcome of a replay, by the IDs of the messages: the error if the function did not accept the
    /// event. Empty without a replay.
    pub outcomes: BTreeMap<String, Result<(), String>>,
    /// Whether the queue may have more messages than the command reads at once.
    pub has_more: bool,
}

/// Lists the messages, and replays them with `--apply`. The exit code is 1 if a message waits afterwards.
pub async fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let replays = replay_queues(&stack, &options.queues, options.apply).await?;
    match options.connection.output {
        Output::Json => print_json(&to_json(&replays))?,
        Output::Table => print(&to_text(&replays, options.apply, &stack.to_options()))?,
    }
    let waits = replays.iter().any(|replay| replay.waiting() > 0 || replay.has_more);
    Ok(if waits { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Reads these queues, or every queue if the list is empty. Replays their messages if `apply` is set.
pub async fn replay_queues(
    stack: &DeployedStack,
    queues: &[DeadLetterQueue],
    apply: bool,
) -> anyhow::Result<Vec<QueueReplay>> {
    let resources = stack.resources().await?;
    let targets = targets(stack, &resources)?;
    let queues: BTreeSet<DeadLetterQueue> = match queues {
        [] => DeadLetterQueue::value_variants().iter().copied().collect(),
        named => named.iter().copied().collect(),
    };
    let mut replays = Vec::new();
    for queue in queues {
        let resource = resources.iter().find(|resource| resource.logical_id == queue.logical_id());
        let resource = resource.with_context(|| {
            format!("the stack {} has no queue {}", stack.name, queue.logical_id())
        })?;
        let client = Queue::new(stack, &resource.physical_id)?;
        let (messages, has_more) = client.receive().await?;
        let letters = messages.into_iter().map(|message| message::read(queue, message, &targets));
        let letters: Vec<Letter> = letters.collect();
        let replayed = if apply {
            let functions = &targets.functions;
            client.replay(stack, functions, &letters).await
        } else {
            Ok(BTreeMap::new())
        };
        // The other messages become visible at once, also after an error.
        let replayed_ids = replayed.as_ref().map(accepted).unwrap_or_default();
        let others = letters.iter().map(|letter| &letter.message);
        let others = others.filter(|message| !replayed_ids.contains(message.id.as_str()));
        let released = client.release(others).await;
        let outcomes = replayed?;
        released?;
        replays.push(QueueReplay { queue, letters, outcomes, has_more });
    }
    Ok(replays)
}

/// The messages whose events were accepted.
fn accepted(outcomes: &BTreeMap<String, Result<(), String>>) -> BTreeSet<&str> {
    let accepted = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    accepted.map(|(id, _)| id.as_str()).collect()
}

/// The functions and the queues of the stack, by their ARNs.
fn targets(stack: &DeployedStack, resources: &[StackResource]) -> anyhow::Result<Targets> {
    let mut targets = Targets::default();
    for StackResource { logical_id, kind, physical_id } in resources {
        if kind == "AWS::Lambda::Function" {
            let arn = stack.arn("lambda", &format!("function:{physical_id}"))?;
            targets.functions.insert(arn, logical_id.clone());
        } else if let Some((_, function)) = FED.iter().find(|(queue, _)| queue == logical_id) {
            targets.queues.insert(queue_arn(stack, physical_id)?, (*function).to_owned());
        }
    }
    Ok(targets)
}

/// The ARN of the queue with this URL.
fn queue_arn(stack: &DeployedStack, url: &str) -> anyhow::Result<String> {
    let name = url.rsplit('/').next().unwrap_or_default();
    ensure!(!name.is_empty(), "CloudFormation returned no URL of a queue");
    stack.arn("sqs", name)
}

/// A queue of the stack.
struct Queue<'a> {
    client: JsonClient,
    url: &'a str,
    arn: String,
}

impl<'a> Queue<'a> {
    fn new(stack: &DeployedStack, url: &'a str) -> anyhow::Result<Self> {
        Ok(Self { client: stack.sqs(url)?, url, arn: queue_arn(stack, url)? })
    }

    /// Receives the messages, and hides them from other receivers. Returns also whether the queue may
    /// have more.
    async fn receive(&self) -> anyhow::Result<(Vec<Message>, bool)> {
        let (mut messages, mut seen) = (Vec::new(), BTreeSet::new());
        let input = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": PAGE,
            "VisibilityTimeout": HIDDEN,
            "WaitTimeSeconds": WAIT,
            "MessageAttributeNames": ["All"],
        });
        while messages.len() < MOST_MESSAGES {
            let reading = || format!("reading the queue {}", self.arn);
            let received =
                self.client.call("ReceiveMessage", &input).await.with_context(reading)?;
            let received: Received = serde_json::from_value(received).with_context(reading)?;
            if received.messages.is_empty() {
                return Ok((messages, false));
            }
            for message in received.messages {
                // SQS may deliver a message twice.
                if seen.insert(message.id.clone()) {
                    messages.push(message);
                }
            }
        }
        Ok((messages, true))
    }

    /// Hands the events to their functions, and deletes the messages of the accepted events.
    async fn replay(
        &self,
        stack: &DeployedStack,
        functions: &BTreeMap<String, String>,
        letters: &[Letter],
    ) -> anyhow::Result<BTreeMap<String, Result<(), String>>> {
        let name_of = |function: &str| {
            let found = functions.iter().find(|(_, logical_id)| *logical_id == function);
            let name = found.and_then(|(arn, _)| arn.rsplit(':').next());
            name.with_context(|| format!("the stack {} has no {function}", stack.name))
        };
        let mut outcomes = BTreeMap::new();
        let mut batches: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for letter in letters {
            let message = &letter.message;
            match &letter.replay {
                Err(_) => {}
                Ok(Replay::Batch { function }) => {
                    batches.entry(function).or_default().push(message);
                }
                Ok(Replay::Invoke { function, payload }) => {
                    let accepted = invoke_async(stack, name_of(function)?, payload).await;
                    let outcome = self.delete_if_accepted(message, accepted).await;
                    outcomes.insert(message.id.clone(), outcome);
                }
            }
        }
        for (function, messages) in batches {
            let name = name_of(function)?;
            for batch in messages.chunks(BATCH) {
                let records = batch.iter().map(|message| message::record(message, &self.arn));
                let event = json!({"Records": records.collect::<Vec<_>>()});
                let answer = stack.invoke_by_name(name, &event).await;
                for message in batch {
                    let accepted = is_handled(message, answer.as_ref());
                    let outcome = self.delete_if_accepted(message, accepted).await;
                    outcomes.insert(message.id.clone(), outcome);
                }
            }
        }
        Ok(outcomes)
    }

    /// Deletes the message if its function has accepted the event.
    async fn delete_if_accepted(
        &self,
        message: &Message,
        accepted: Result<(), String>,
    ) -> Result<(), String> {
        accepted?;
        let input = json!({"QueueUrl": self.url, "ReceiptHandle": message.receipt});
        let deleted = self.client.call("DeleteMessage", &input).await;
        // A second replay of the event changes nothing.
        deleted.map(|_| ()).map_err(|error| {
            format!("the function accepted the event, but the message was not deleted: {error:#}")
        })
    }

    /// Makes messages visible to other receivers.
    async fn release(&self, messages: impl Iterator<Item = &Message>) -> anyhow::Result<()> {
        let messages: Vec<&Message> = messages.collect();
        for batch in messages.chunks(10) {
            let entry = |(number, message): (usize, &&Message)| {
                json!({
                    "Id": number.to_string(),
                    "ReceiptHandle": message.receipt,
                    "VisibilityTimeout": 0,
                })
            };
            let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
            let input = json!({"QueueUrl": self.url, "Entries": entries});
            let changed = self.client.call("ChangeMessageVisibilityBatch", &input).await;
            // A message that is not released becomes visible when its time is over.
            changed.with_context(|| {
                format!("releasing the messages of {}, which are hidden for 15 minutes", self.arn)
            })?;
        }
        Ok(())
    }
}

/// Queues an event for a function. The error says why Lambda did not accept the event.
async fn invoke_async(stack: &DeployedStack, name: &str, payload: &Value) -> Result<(), String> {
    let invoke = aws_sdk_lambda::Client::new(&stack.sdk).invoke().function_name(name);
    let invoke = invoke.invocation_type(InvocationType::Event);
    let invoked = invoke.payload(payload.to_string().into_bytes().into()).send().await;
    let invoked = invoked.map_err(warden_aws::explain);
    invoked.map(|_| ()).map_err(|error| format!("Lambda did not accept the event: {error:#}"))
}

/// Whether the answer of a function says that it has handled this message.
fn is_handled(message: &Message, answer: Result<&Value, &anyhow::Error>) -> Result<(), String> {
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    let failures = answer.get("batchItemFailures").and_then(Value::as_array);
    let failures = failures.ok_or("the function did not say which messages it handled")?;
    let is_this = |failure: &&Value| {
        failure.get("itemIdentifier").and_then(Value::as_str) == Some(message.id.as_str())
    };
    match failures.iter().find(is_this) {
        None => Ok(()),
        Some(_) => Err("the function failed again; its log has the error".to_owned()),
    }
}

impl QueueReplay {
    /// The number of messages that are still in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.letters.len() - accepted(&self.outcomes).len()
    }

    /// The state of a message, and the reason if it was not replayed.
    fn state<'l>(&'l self, letter: &'l Letter) -> (&'static str, &'l str) {
        match (&letter.replay, self.outcomes.get(&letter.message.id)) {
            (Err(why), _) => ("kept", why),
            (_, None) => ("waits", &letter.error),
            (_, Some(Ok(()))) => ("replayed", ""),
            (_, Some(Err(why))) => ("failed", why),
        }
    }
}

fn to_json(replays: &[QueueReplay]) -> Value {
    let letter = |replay: &QueueReplay, letter: &Letter| {
        let (state, reason) = replay.state(letter);
        json!({
            "queue": replay.queue.logical_id(),
            "messageId": letter.message.id,
            "function": letter.replay.as_ref().ok().map(Replay::function),
            "event": letter.event,
            "error": letter.error,
            "state": state,
            "reason": reason,
        })
    };
    let all = replays
        .iter()
        .flat_map(|replay| replay.letters.iter().map(move |found| letter(replay, found)));
    let more: Vec<&str> = replays
        .iter()
        .filter(|replay| replay.has_more)
        .map(|replay| replay.queue.logical_id())
        .collect();
    json!({"messages": all.collect::<Vec<_>>(), "queuesWithMore": more})
}

fn to_text(replays: &[QueueReplay], is_applied: bool, stack: &str) -> String {
    let head = ["QUEUE", "FUNCTION", "STATE", "EVENT", "REASON"].map(str::to_owned);
    let row = |replay: &QueueReplay, letter: &Letter| {
        let (state, reason) = replay.state(letter);
        let function = letter.replay.as_ref().map_or("", Replay::function);
        let reason = short_line(reason, ERROR_LENGTH);
        [replay.queue.logical_id(), function, state, &letter.event, &reason].map(str::to_owned)
    };
    let rows = replays
        .iter()
        .flat_map(|replay| replay.letters.iter().map(move |letter| row(replay, letter)));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return "No message waits.".to_owned();
    }
    let shown = rows.iter().take(MOST_SHOWN).cloned();
    let mut text = table(&[head].into_iter().chain(shown).collect::<Vec<_>>());
    if let Some(more @ 1..) = rows.len().checked_sub(MOST_SHOWN) {
        text += &format!("\n{more} more rows are not shown. --output json prints all of them.");
    }
    for replay in replays.iter().filter(|replay| replay.has_more) {
        let queue = replay.queue.logical_id();
        text += &format!(
            "\n{queue} may have more messages: the command reads {MOST_MESSAGES} at once."
        );
    }
    let waiting: usize = replays.iter().map(QueueReplay::waiting).sum();
    if is_applied {
        let replayed = rows.len() - waiting;
        text += &format!("\n\nReplayed: {replayed}. Still in a queue: {waiting}.");
    } else {
        let names: Vec<&str> = replays.iter().map(|replay| replay.queue.logical_id()).collect();
        let queues = if names.len() < DeadLetterQueue::value_variants().len() {
            names.iter().map(|name| format!("--queue {name} ")).collect()
        } else {
            String::new()
        };
        text += "\n\nNothing was replayed. Remove the cause of each error first.";
        text += &format!("\nTo replay the messages: ecr-warden replay {queues}{stack} --apply");
    }
    text
}
