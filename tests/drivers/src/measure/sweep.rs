//! Sweeps of a large repository, beside a loop that only pages through it: both with the same
//! clients, against an ECR that answers from memory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use local_aws::LocalAws;
use local_aws::lambda::Function;
use serde_json::{Value, json};

use crate::still::{self, Repository, Still};
use crate::{Benchmark, function, median, work};

/// A bootstrap, and what was seen of it.
struct Subject {
    label: String,
    function: Function,
    /// Whether it is to do more than to look.
    sweeps: bool,
    times: Vec<Duration>,
    /// The most that one of its processes ever had, in bytes.
    memory: u64,
    /// How many calls of ECR an invocation makes.
    calls: usize,
}

/// Measures both, and prints them.
pub async fn measure(
    aws: &LocalAws,
    benchmark: &Benchmark,
    endpoint: &str,
    roots: &Path,
) -> anyhow::Result<()> {
    let Benchmark { sweep_processes: processes, sweep_invocations: invocations, .. } = benchmark;
    println!(
        "\nsweeps, beside a loop that only pages through the repository: medians of {processes} processes with {invocations} invocations each\n\
         the aim: within 2.5× of the loop, and under 150 MB at most\n"
    );
    println!(
        "{:<38}{:>8}{:>15}{:>16}{:>15}",
        "", "time", "here and now", "memory at most", "calls of ECR"
    );
    for thousands in benchmark.sweep_thousands.iter().copied() {
        let still = Still::serve(Repository::of(thousands)).await?;
        let mut environment = work::environment("");
        environment.extend([
            ("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned()),
            ("AWS_ENDPOINT_URL_ECR".to_owned(), still.endpoint.clone()),
            ("SSL_CERT_FILE".to_owned(), roots.display().to_string()),
            ("GOVERNANCE".to_owned(), policy(still.repository().keep).to_string()),
            ("SCAN_ON_PUSH".to_owned(), "true".to_owned()),
        ]);
        let pair = [("paging", "pager", false), ("sweep", "image-sweep", true)];
        let mut subjects = pair.map(|(what, name, sweeps)| {
            let label = format!("{what}, {thousands},000 images");
            let program = benchmark.programs.path(name);
            let function =
                function(&label, &program, environment.clone(), Duration::from_secs(300));
            Subject { label, function, sweeps, times: Vec::new(), memory: 0, calls: 0 }
        });
        for _ in 0..*processes {
            for subject in &mut subjects {
                observe(aws, &still, subject, *invocations)
                    .await
                    .with_context(|| subject.label.clone())?;
            }
        }
        let looking = median(&subjects.first().context("nothing was measured")?.times)?;
        for Subject { label, times, memory, calls, .. } in &subjects {
            let (time, memory) = (median(times)?, memory / 1_000_000);
            let ratio = time / looking;
            println!("{label:<38}{ratio:>7.1}×{time:>13.2} s{memory:>13} MB{calls:>15}");
        }
    }
    Ok(())
}

/// One process: its invocations, each of which has the same to do.
async fn observe(
    aws: &LocalAws,
    still: &Still,
    subject: &mut Subject,
    invocations: usize,
) -> anyhow::Result<()> {
    aws.lambda().create(subject.function.clone());
    for n in 0..invocations {
        // What was told and claimed before is not to be known.
        work::renew_ledger(aws).await?;
        still.take_calls();
        let event = json!({"repository": still::NAME});
        let invoked = aws.lambda().invoke(&subject.function.name, event).await?;
        if let Some(error) = invoked.error {
            bail!("{error}: {}\n{}", invoked.payload, invoked.log);
        }
        let calls = still.take_calls();
        let told = std::mem::take(&mut aws.state().deliveries);
        let of = |operation: &str| calls.get(operation).copied().unwrap_or_default();
        let is_whole = of("DescribeImages") * still::PAGE >= still.repository().images;
        let is_done = of("UpdateImageStorageClass") >= still::OVER && !told.is_empty();
        ensure!(
            is_whole && (is_done || !subject.sweeps),
            "invocation {n} ended with {calls:?} and {} alerts\n{}",
            told.len(),
            invoked.log
        );
        subject.times.push(invoked.duration);
        subject.memory = subject.memory.max(invoked.max_memory.unwrap_or_default());
        subject.calls = calls.values().sum();
    }
    // The memory is to be free for the next one.
    aws.lambda().stop();
    Ok(())
}

/// Every component keeps so many of its units, and a run archives those above.
fn policy(keep: usize) -> Value {
    json!([{
        "RepositoryName": still::NAME,
        "ImageTagMutability": "MUTABLE",
        "LifecycleTagCount": 10,
        "LifecycleUntaggedDays": 3,
        "Governance": {
            "Tags": {
                "Grammar": "{component}-v{semver} {component}-{channel} {component}-{sha}",
                "Enforcement": "report",
            },
            "Retention": {
                "KeepPerComponent": keep,
                "MaxRemovePercent": 25,
                "Enforcement": "archive",
            },
        },
    }])
}
