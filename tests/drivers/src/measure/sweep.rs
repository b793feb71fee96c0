//! Sweeps of a large repository, beside a loop that only pages through the repository. Both use the
//! same clients and call an ECR with rendered answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use local_aws::LocalAws;
use local_aws::lambda::Function;
use serde_json::json;

use crate::static_ecr::{self, Repository, StaticEcr};
use crate::{Benchmark, function, median, work};

/// A bootstrap and its measured figures.
struct Subject {
    label: String,
    function: Function,
    /// Whether it sweeps; otherwise it only pages.
    sweeps: bool,
    times: Vec<Duration>,
    /// The highest memory of its processes, in bytes.
    memory: u64,
    /// The number of calls of ECR in an invocation.
    calls: usize,
}

/// Measures both and prints the figures.
pub async fn measure(
    aws: &LocalAws,
    benchmark: &Benchmark,
    endpoint: &str,
    roots: &Path,
) -> anyhow::Result<()> {
    let Benchmark { sweep_processes: processes, sweep_invocations: invocations, .. } = benchmark;
    println!(
        "\nsweeps, beside a loop that only pages through the repository: medians of {processes} processes with {invocations} invocations each\n\
         target: within 2.5× of the loop, and never above 150 MB\n"
    );
    println!("{:<38}{:>8}{:>15}{:>16}{:>15}", "", "ratio", "time", "maximum memory", "ECR calls");
    for thousands in benchmark.sweep_thousands.iter().copied() {
        let ecr = StaticEcr::serve(Repository::generate(thousands)).await?;
        let mut environment = work::environment("");
        environment.extend([
            ("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned()),
            ("AWS_ENDPOINT_URL_ECR".to_owned(), ecr.endpoint.clone()),
            ("SSL_CERT_FILE".to_owned(), roots.display().to_string()),
            ("SCAN_ON_PUSH".to_owned(), "true".to_owned()),
        ]);
        let programs = [("paging", "pager", false), ("sweep", "image-sweep", true)];
        let mut subjects = programs.map(|(what, name, sweeps)| {
            let label = format!("{what}, {thousands},000 images");
            let program = benchmark.programs.path(name);
            let function =
                function(&label, &program, environment.clone(), Duration::from_secs(300));
            Subject { label, function, sweeps, times: Vec::new(), memory: 0, calls: 0 }
        });
        for _ in 0..*processes {
            for subject in &mut subjects {
                observe(aws, &ecr, subject, *invocations)
                    .await
                    .with_context(|| subject.label.clone())?;
            }
        }
        let paging = median(&subjects.first().context("nothing was measured")?.times)?;
        for Subject { label, times, memory, calls, .. } in &subjects {
            let (time, memory) = (median(times)?, memory / 1_000_000);
            let ratio = time / paging;
            println!("{label:<38}{ratio:>7.1}×{time:>13.2} s{memory:>13} MB{calls:>15}");
        }
    }
    Ok(())
}

/// Starts a process and measures its invocations, each of which does the same work.
async fn observe(
    aws: &LocalAws,
    ecr: &StaticEcr,
    subject: &mut Subject,
    invocations: usize,
) -> anyhow::Result<()> {
    aws.lambda().create(subject.function.clone());
    for n in 0..invocations {
        // The invocation must not see the claims and records of the one before.
        work::renew_ledger(aws, ecr.repository().keep).await?;
        ecr.take_calls();
        let event = json!({"repository": static_ecr::NAME});
        let invoked = aws.lambda().invoke(&subject.function.name, event).await?;
        if let Some(error) = invoked.error {
            bail!("{error}: {}\n{}", invoked.payload, invoked.log);
        }
        let calls = ecr.take_calls();
        let alerts = std::mem::take(&mut aws.state().deliveries);
        let count = |operation: &str| calls.get(operation).copied().unwrap_or_default();
        let has_read_all = count("DescribeImages") * static_ecr::PAGE >= ecr.repository().images;
        let has_swept = count("UpdateImageStorageClass") >= static_ecr::OVER && !alerts.is_empty();
        ensure!(
            has_read_all && (has_swept || !subject.sweeps),
            "invocation {n} ended with {calls:?} and {} alerts\n{}",
            alerts.len(),
            invoked.log
        );
        subject.times.push(invoked.duration);
        subject.memory = subject.memory.max(invoked.max_memory.unwrap_or_default());
        subject.calls = calls.values().sum();
    }
    // Frees the memory for the next process.
    aws.lambda().stop();
    Ok(())
}
