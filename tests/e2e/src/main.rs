//! `cargo e2e`: builds and deploys the real template with the SAM CLI, onto an emulator of
//! CloudFormation, Lambda and IAM that others wrote (ministack) and the embedded ECR, and
//! looks at what then stands with the AWS CLI, as a user would.
//!
//! In reading order: [`scenario`] says what has to hold, [`stack`] deploys and asks,
//! [`registry`] holds the embedded ECR to what others know of it, [`local`] installs and
//! starts what all of that needs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it does is for reading")]
#![expect(clippy::indexing_slicing, reason = "only of JSON, which takes any name")]

mod local;
mod readme;
mod registry;
mod scenario;
mod stack;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let checks = scenario::run(&local::Local::start()?)?;
            println!("\n{checks} checks passed in {} s", started.elapsed().as_secs());
        }
        ["--install"] => println!("the tools are in {}", local::install()?.join("bin").display()),
        _ => anyhow::bail!(
            "expected no argument, or --install to only install the tools; got {}",
            arguments.join(" ")
        ),
    }
    Ok(())
}
