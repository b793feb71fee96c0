//! The simulated year: `docs/contributing/simulated-year.md` describes it.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use it::year::{self, Scenario};

/// Runs the year in another process, and prints its report. The functions write their metrics to standard
/// output too, as JSON.
pub fn run_in_process() -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let process = command.arg("--year-process").stdout(Stdio::piped()).spawn()?;
    let output = process.wait_with_output()?;
    for line in String::from_utf8(output.stdout)?.lines() {
        if !line.starts_with('{') {
            println!("{line}");
        }
    }
    ensure!(output.status.success(), "the year is not as it has to be");
    Ok(())
}

/// Runs the year.
pub fn run() -> anyhow::Result<()> {
    let started = Instant::now();
    // The time of the runtime is paused, so that a function that waits for ECR waits for no real time.
    let year = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build()?;
        anyhow::Ok(runtime.block_on(year::run(&Scenario::YEAR)))
    };
    // The thread of `main` belongs to another runtime.
    let report = std::thread::spawn(year).join();
    let report = report.map_err(|_| anyhow!("the year panicked"))?.context("starting a runtime")?;
    println!("{report}");
    println!("the run took {} s", started.elapsed().as_secs());
    ensure!(report.wrong.is_empty(), "{} images went that had to stay", report.wrong.len());
    let lost = report.lost_events.len() + report.failed_pipelines.len();
    ensure!(lost == 0, "{lost} events, pulls or pushes failed");
    Ok(())
}
