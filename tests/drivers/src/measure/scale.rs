//! Rounds, sweeps and pushes of thousands of repositories, in this process.
//!
//! The functions run one invocation after the other against the embedded AWS, so a time is a time of
//! both. A ratio of times shows how the work grows.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use it::many_repositories::{ManyRepositories, name};
use local_aws::{Fault, log};

/// The numbers of repositories and of images in each of them.
const SHAPES: [(usize, u32); 2] = [(1_000, 100), (10_000, 10)];
const PUSHES: usize = 10_000;
/// The most repositories whose sweeps ECR throttles.
const MOST_THROTTLED: usize = 1_000;
/// ECR throttles a call of each of these operations in each sweep.
const THROTTLED: [&str; 2] = ["DescribeImages", "UpdateImageStorageClass"];
/// ECR throttles every call of one in so many sweeps, which fail.
const FAILING: usize = 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The columns of services. `aws` is the sum of the others.
const SERVICES: [&str; 4] = ["ecr", "dynamodb", "sqs", "sns"];

/// Measures each shape in a process of its own, because the memory of a process does not shrink. The
/// processes run at the same time.
pub fn measure_all() -> anyhow::Result<()> {
    println!(
        "calls by service; MB of the bodies of requests and answers; the largest growth of the memory \
         of this process in one invocation, with the growth of the embedded AWS; time, and its ratio \
         to the first round\n"
    );
    let start = |(repositories, images)| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--scale-shape", &format!("{repositories},{images}")]);
        Ok(command.stdout(Stdio::piped()).spawn()?)
    };
    let processes: Vec<Child> = SHAPES.into_iter().map(start).collect::<anyhow::Result<_>>()?;
    for (process, (repositories, _)) in processes.into_iter().zip(SHAPES) {
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "measuring {repositories} repositories failed");
        // The functions write their metrics to standard output too, as JSON.
        for line in String::from_utf8(output.stdout)?.lines() {
            if !line.starts_with('{') {
                println!("{line}");
            }
        }
        println!();
    }
    Ok(())
}

/// Measures one shape, which is two numbers with a comma.
pub async fn measure_shape(shape: &str) -> anyhow::Result<()> {
    let (repositories, images) = shape.split_once(',').context("a shape is two numbers")?;
    let (repositories, images) = (repositories.parse::<usize>()?, images.parse::<u32>()?);
    // The first sweeps find nothing to remove. Each push then makes its sweep archive an older image.
    let registry = ManyRepositories::deploy(repositories, images, images).await;
    let mut measured = Measured { registry, repositories, first: None, row: Row::default() };
    let [ecr, dynamodb, sqs, sns] = SERVICES;
    let title = format!("{repositories} repositories × {images} images");
    println!(
        "{title:<34}{ecr:>9}{dynamodb:>10}{sqs:>8}{sns:>8}{:>8}{:>9}{:>10}{:>9}{:>9}{:>8}",
        "other", "MB sent", "received", "memory", "time", "ratio"
    );
    measured.round("a first round").await?;
    measured.sweeps().await?;
    measured.registry.world.aws.advance(DAY);
    measured.round("a round the day after").await?;
    let due = measured.registry.queued().await.len();
    ensure!(due == 0, "{due} repositories are due the day after their sweep");
    measured.pushes(PUSHES, 2).await?;
    measured.sweeps().await?;
    // A day later, each push queues a sweep again, which has one image to archive.
    measured.registry.world.aws.advance(DAY);
    measured.pushes(repositories.min(MOST_THROTTLED), 3).await?;
    measured.throttled_sweeps().await?;
    measured.check(images)
}

/// The figures of some invocations.
#[derive(Default)]
struct Row {
    calls: BTreeMap<String, usize>,
    sent: usize,
    received: usize,
    /// In KB.
    memory: u64,
    time: Duration,
}

struct Measured {
    registry: ManyRepositories,
    /// The number of repositories.
    repositories: usize,
    /// The time of the first round.
    first: Option<Duration>,
    row: Row,
}

impl Measured {
    async fn round(&mut self, label: &str) -> anyhow::Result<()> {
        let started = self.begin()?;
        self.registry.start_round().await?;
        self.end(started)?;
        self.first.get_or_insert(self.row.time);
        self.print(label);
        Ok(())
    }

    /// Handles all messages of the queue.
    async fn sweeps(&mut self) -> anyhow::Result<()> {
        let messages = self.registry.queued().await;
        for message in &messages {
            let started = self.begin()?;
            self.registry.sweep(message).await?;
            self.end(started)?;
        }
        self.print(&format!("  its {} sweeps", messages.len()));
        Ok(())
    }

    /// Pushes so many conforming tags with this major version, to each repository in turn.
    async fn pushes(&mut self, count: usize, major: u32) -> anyhow::Result<()> {
        for nth in 0..count {
            let (repository, minor) = (name(nth % self.repositories), nth / self.repositories);
            let started = self.begin()?;
            self.registry.push(&repository, &format!("myapp-v{major}.{minor}.0")).await?;
            self.end(started)?;
        }
        self.print(&format!("{count} pushes"));
        Ok(())
    }

    /// Handles all messages of the queue while ECR throttles, and then the failed messages again, as the
    /// queue delivers them.
    async fn throttled_sweeps(&mut self) -> anyhow::Result<()> {
        let messages = self.registry.queued().await;
        let (mut failed, mut throttled) = (Vec::new(), 0);
        for (nth, message) in messages.iter().enumerate() {
            let started = self.begin()?;
            let aws = &self.registry.world.aws;
            let throttling = || Fault::Error(400, "ThrottlingException");
            if nth % FAILING == 0 {
                aws.fault(THROTTLED[0], 0, throttling());
            } else {
                for operation in THROTTLED {
                    aws.fault(operation, 1, throttling());
                }
            }
            let swept = self.registry.sweep(message).await;
            let aws = &self.registry.world.aws;
            let calls = |operation: &str| {
                let state = aws.state();
                state.calls.iter().filter(|call| call.operation == operation).count()
            };
            if swept.is_err() {
                throttled += calls(THROTTLED[0]);
                failed.push(message);
            } else {
                throttled += THROTTLED.iter().filter(|operation| calls(operation) > 0).count();
            }
            aws.heal();
            self.end(started)?;
        }
        ensure!(failed.len() == messages.len().div_ceil(FAILING), "{} failed", failed.len());
        self.print(&format!("  its {} sweeps, throttled", messages.len()));
        println!("    {throttled} calls were throttled, and {} sweeps failed", failed.len());
        // The visibility timeout of the queue.
        self.registry.world.aws.advance(Duration::from_secs(90 * 60));
        for message in &failed {
            let started = self.begin()?;
            self.registry.sweep(message).await?;
            self.end(started)?;
        }
        self.print("  the failed sweeps again");
        Ok(())
    }

    /// Checks that each repository has so many active images: no sweep is lost.
    fn check(&self, images: u32) -> anyhow::Result<()> {
        let mut state = self.registry.world.aws.state();
        let repositories = &state.ecr().repositories;
        ensure!(repositories.len() == self.repositories, "{} repositories", repositories.len());
        for (name, repository) in repositories {
            let active = repository.images.iter().filter(|image| image.status.name() == "ACTIVE");
            let active = active.count();
            ensure!(u32::try_from(active)? == images, "{name} has {active} active images");
        }
        println!("  each repository has {images} active images: no sweep is lost");
        Ok(())
    }

    /// Begins an invocation. Returns the time and the memory.
    fn begin(&self) -> anyhow::Result<(Instant, u64)> {
        let mut state = self.registry.world.aws.state();
        state.calls.clear();
        (state.sent_bytes, state.received_bytes) = (0, 0);
        drop(state);
        // Resets the highest memory of this process: `man 5 proc`.
        std::fs::write("/proc/self/clear_refs", "5")?;
        Ok((Instant::now(), memory("VmRSS:")?))
    }

    /// Adds an invocation to the figures.
    fn end(&mut self, (started, before): (Instant, u64)) -> anyhow::Result<()> {
        let Row { calls, sent, received, memory: most, time } = &mut self.row;
        *time += started.elapsed();
        *most = (*most).max(memory("VmHWM:")?.saturating_sub(before));
        let mut state = self.registry.world.aws.state();
        for call in std::mem::take(&mut state.calls) {
            *calls.entry(call.service).or_default() += 1;
        }
        *sent += state.sent_bytes;
        *received += state.received_bytes;
        state.deliveries.clear();
        drop(state);
        let _ = log::text();
        Ok(())
    }

    /// Prints the figures since the last time.
    fn print(&mut self, label: &str) {
        let Row { mut calls, sent, received, memory, time } = std::mem::take(&mut self.row);
        let [ecr, dynamodb, sqs, sns] =
            SERVICES.map(|service| calls.remove(service).unwrap_or_default());
        let others: usize = calls.values().sum();
        let megabytes = |bytes: usize| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
        let ratio = self.first.map_or(1.0, |first| time.as_secs_f64() / first.as_secs_f64());
        println!(
            "{label:<34}{ecr:>9}{dynamodb:>10}{sqs:>8}{sns:>8}{others:>8}{:>9}{:>10}{:>6} MB{:>7.1} s{ratio:>7.1}×",
            megabytes(sent),
            megabytes(received),
            memory / 1_000,
            time.as_secs_f64(),
        );
    }
}

/// A field of the status of this process, in KB.
fn memory(field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("/proc/self/status has no {field}"))?.parse()?)
}
