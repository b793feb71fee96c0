//! `cargo e2e`: builds and deploys the real template with the SAM CLI, and checks the deployed
//! stack with the AWS CLI, as a user would. CloudFormation, Lambda and IAM are those of ministack,
//! an emulator of other authors. ECR, Inspector and Slack are the embedded ones.
//!
//! In reading order: [`scenario`] lists the checks, [`stack`] deploys and queries a stack,
//! [`registry`] compares the embedded ECR with the service model that AWS publishes, [`policies`]
//! compares the embedded policy evaluation with that of ministack, and [`local`] installs the tools
//! and starts the emulators.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a person reads the progress")]
#![expect(clippy::indexing_slicing, reason = "only JSON is indexed, which accepts any key")]

mod local;
mod policies;
mod registry;
mod scenario;
mod stack;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ecr_warden::arguments;

/// Deploys the real template onto a local CloudFormation and Lambda, and checks the stack.
///
/// Needs Python 3.11 or newer. Installs every other tool under target/e2e.
#[derive(Parser)]
#[command(name = "cargo e2e", bin_name = "cargo e2e")]
struct Options {
    /// Installs the tools and exits.
    #[arg(long)]
    install: bool,
    /// Compares the evaluation of policies with that of ministack and exits.
    #[arg(long)]
    policies: bool,
}

fn main() -> ExitCode {
    let options: Options = match arguments::parse() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    if options.install {
        println!("the tools are in {}", local::install()?.join("bin").display());
        return Ok(());
    }
    if options.policies {
        let venv = local::install()?;
        let mut python = std::process::Command::new(venv.join("bin/python"));
        let (requests, allowed) = policies::compare(&mut python, &local::root()?)?;
        println!("{requests} requests, {allowed} allowed: both evaluators agree on every decision");
        return Ok(());
    }
    let checks = scenario::run(&local::Local::start()?)?;
    println!("\n{checks} checks passed in {} s", started.elapsed().as_secs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_reported_with_the_nearest_known_option() {
        assert!(Options::try_parse_from(["e2e", "--install"]).unwrap().install);
        let error = Options::try_parse_from(["e2e", "--instal"]).err().unwrap();
        assert_eq!(
            arguments::in_one_line(&error.to_string()),
            "unexpected argument '--instal' found; a similar argument exists: '--install'; \
             Usage: cargo e2e --install"
        );
    }
}
