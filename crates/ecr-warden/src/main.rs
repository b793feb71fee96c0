//! The command-line tool `ecr-warden`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ecr_warden::print::print_error;
use ecr_warden::{arguments, check, explain, plan, restore};

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
    /// Shows which images the next sweep would remove, and why.
    ///
    /// The function makes the plan. It changes nothing. Exits with 0, or 2 after an error.
    ///
    /// Examples: ecr-warden plan; ecr-warden plan deployments --output json
    Plan(plan::PlanOptions),
    /// Shows why a sweep keeps or removes one image.
    ///
    /// Exits with 0, or 2 after an error.
    ///
    /// Example: ecr-warden explain deployments:myapp-v1.0.0
    Explain(explain::ExplainOptions),
    /// Confirms a plan that you read, so that the next sweep may carry it out.
    ///
    /// The first plan that removes images from a repository waits for a confirmation. So does a
    /// plan that a guard stopped, and a plan after a change of the policy that may remove more.
    /// Exits with 0 when the plan is confirmed or no plan waits, 1 when it is not confirmed, and 2
    /// after an error.
    ///
    /// Example: ecr-warden confirm deployments --plan 0123456789abcdef
    Confirm(plan::ConfirmOptions),
    /// Restores an image from the archive, or adds a tag to it.
    ///
    /// Exits with 0, or 2 after an error.
    ///
    /// Examples: ecr-warden restore deployments:myapp-v1.0.0;
    /// ecr-warden restore infrastructure@sha256:… --tag litellm-v1.80.5
    Restore(restore::RestoreOptions),
}

fn main() -> ExitCode {
    match arguments::parse::<Options>() {
        Ok(Options { command: Command::Check(options) }) => check::run(&options),
        Ok(Options { command }) => run(command).unwrap_or_else(|error| {
            print_error(&error);
            ExitCode::from(2)
        }),
        Err(exit) => exit,
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Check(options) => return Ok(check::run(&options)),
            Command::Plan(options) => plan::plan(&options).await?,
            Command::Explain(options) => explain::explain(&options).await?,
            Command::Restore(options) => restore::restore(&options).await?,
            Command::Confirm(options) => {
                let is_confirmed = plan::confirm(&options).await?;
                return Ok(if is_confirmed { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
