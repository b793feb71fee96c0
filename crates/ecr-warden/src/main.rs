//! The command-line tool: `ecr-warden check REPOSITORY:TAG…`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ecr_warden::{arguments, check};

/// Governs Amazon ECR from the command line.
#[derive(Parser)]
#[command(name = "ecr-warden")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks tags before they are pushed, by the policy of a deployed stack.
    ///
    /// Exits with 0 when every tag conforms, 1 when a tag violates the policy, and 2 when a tag
    /// could not be judged.
    Check(check::Options),
}

fn main() -> ExitCode {
    match arguments::parse::<Options>() {
        Ok(Options { command: Command::Check(options) }) => check::run(&options),
        Err(exit) => exit,
    }
}
