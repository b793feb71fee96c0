//! `cargo e2e`: builds and deploys the real template with the SAM CLI, onto an emulator of
//! CloudFormation, Lambda and IAM that others wrote (ministack) and the embedded ECR, and
//! looks at what then stands with the AWS CLI, as a user would.
//!
//! In reading order: [`scenario`] says what has to hold, [`stack`] deploys and asks,
//! [`registry`] holds the embedded ECR to what others know of it, [`policies`] the embedded
//! evaluation of policies to that of others, [`local`] installs and
//! starts what all of that needs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it does is for reading")]
#![expect(clippy::indexing_slicing, reason = "only of JSON, which takes any name")]

mod local;
mod policies;
mod readme;
mod registry;
mod scenario;
mod stack;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ecr_warden::arguments;

/// Deploys the real template onto a local CloudFormation and Lambda, and looks at what then
/// stands.
///
/// Needs Python 3.11 or newer; the rest it installs under target/e2e.
#[derive(Parser)]
#[command(name = "cargo e2e", bin_name = "cargo e2e")]
struct Options {
    /// Only installs the tools.
    #[arg(long)]
    install: bool,
    /// Only compares the evaluation of policies with that of ministack.
    #[arg(long)]
    policies: bool,
}

fn main() -> ExitCode {
    let options: Options = match arguments::parse() {
        Ok(options) => options,
        Err(end) => return end,
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
        println!("{requests} requests, {allowed} allowed: all decisions are the same");
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
    fn a_mistake_in_the_arguments_is_told_with_the_nearest_option() {
        assert!(Options::try_parse_from(["e2e", "--install"]).unwrap().install);
        let error = Options::try_parse_from(["e2e", "--instal"]).err().unwrap();
        assert_eq!(
            arguments::in_one_line(&error.to_string()),
            "unexpected argument '--instal' found; a similar argument exists: '--install'; \
             Usage: cargo e2e --install"
        );
    }
}
