//! `ecr-warden policy`: checks a policy before it is deployed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use warden_core::image::RepositoryPattern;

use crate::policy_file::PolicyFile;

/// The commands of `ecr-warden policy`.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Lists every mistake and warning of a policy, each with its line and column.
    ///
    /// A deployment makes the same checks. Only a deployment knows the settings of the repositories
    /// that the stack provisions.
    #[command(after_help = "\
Examples:
  ecr-warden policy check infra/sam/policy.yaml
  ecr-warden policy check infra/sam/policy.yaml --enforce-repositories infrastructure,deployments

Exit codes:
  0  the policy has no mistake
  1  the policy has a mistake
  2  the policy could not be read")]
    Check(CheckOptions),
}

/// The options of `ecr-warden policy check`.
#[derive(Args)]
pub struct CheckOptions {
    /// A file with a policy in YAML or JSON. - reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The parameter `EnforceRepositories` of the stack. A rule that enforces in other repositories is
    /// a mistake. Without this option, the check leaves that out.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    enforce_repositories: Option<Vec<RepositoryPattern>>,
}

/// Runs a command.
pub fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    let PolicyCommand::Check(options) = command;
    let file = PolicyFile::read(&options.file)?;
    let (lines, result) = match file.parse(options.enforce_repositories.as_deref()) {
        Ok((governance, warnings)) => {
            let lines = warnings.iter().map(|warning| file.line("warning", warning));
            let rules = count(governance.document.rules.len(), "rule");
            let end = format!("{} has no mistake: {rules}", file.name());
            (lines.chain([end]).collect::<Vec<String>>(), ExitCode::SUCCESS)
        }
        Err(problems) => {
            let lines = problems.iter().map(|problem| file.line("mistake", problem));
            let end = format!("{} has {}", file.name(), count(problems.len(), "mistake"));
            (lines.chain([end]).collect(), ExitCode::from(1))
        }
    };
    writeln!(std::io::stdout(), "{}", lines.join("\n")).context("writing the result")?;
    Ok(result)
}

fn count(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}
