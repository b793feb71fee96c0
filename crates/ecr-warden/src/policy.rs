//! `ecr-warden policy`: checks a policy, and shows its effects, before it is deployed.

pub mod difference;
pub mod effects;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{NaiveDate, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use warden_core::image::{RepositoryName, RepositoryPattern};
use warden_core::properties::Problem;

use crate::deployed::{Connection, DeployedStack, Output};
use crate::policy_file::PolicyFile;
use crate::print::print;

/// The end of a check without the parameter `EnforceRepositories`.
const UNCHECKED: &str = "\nThe check does not know EnforceRepositories of the stack: a rule that enforces in \
     other repositories fails the deployment. Give the parameter with --enforce-repositories.";

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
    /// Shows what a policy would do to the images of the registry: the tags that it refuses and the
    /// images that it removes.
    ///
    /// Each tag and each image has its reason. The deployed function makes the plans, and changes
    /// nothing. Enforcement applies to tags that are pushed after the deployment: a refused tag of an
    /// earlier push is only reported. The settings of the repositories that the stack provisions are
    /// those of the deployed stack. A rule that enforces outside of `EnforceRepositories` of that stack is
    /// a mistake, and the command still shows what the policy would do.
    #[command(after_help = "\
Examples:
  ecr-warden policy test infra/sam/policy.yaml
  ecr-warden policy test infra/sam/policy.yaml --repository deployments --details
  ecr-warden policy test infra/sam/policy.yaml --against deployed

Exit codes:
  0  no tag would be refused and no image would be removed; with --against: the policies do the same
  1  a tag would be refused, an image would be removed or reported, or the policy has a mistake or enforces
     outside of EnforceRepositories; with --against: the policies do not do the same
  2  an error, or a repository for which the function has no plan")]
    Test(TestOptions),
}

/// The options of `ecr-warden policy check`.
#[derive(Args)]
pub struct CheckOptions {
    /// A file with a policy in YAML or JSON. - reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The parameter `EnforceRepositories` of the stack. A rule that enforces in other repositories is
    /// a mistake. Without this option, the check leaves that out, and says so.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    enforce_repositories: Option<Vec<RepositoryPattern>>,
}

/// The options of `ecr-warden policy test`.
#[derive(Args, Clone, Debug)]
pub struct TestOptions {
    /// A file with a policy in YAML or JSON. - reads standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Shows only the differences from another policy, image by image.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub against: Option<Against>,
    /// Tests only this repository. The option can be repeated.
    #[arg(long = "repository", value_name = "NAME")]
    pub repositories: Vec<RepositoryName>,
    /// Lists every tag and every image. Without the option, a long list is left out.
    #[arg(long)]
    pub details: bool,
    /// The stack and the format of the result.
    #[command(flatten)]
    pub connection: Connection,
}

/// The policy that a policy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The policy of the stack.
    Deployed,
}

/// The text that a command prints, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// The text.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

/// Runs a command.
pub async fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    let result = match command {
        PolicyCommand::Check(options) => check(options)?,
        PolicyCommand::Test(options) => {
            let file = PolicyFile::read(&options.file)?;
            let stack = DeployedStack::connect(&options.connection).await?;
            test(&stack, &file, options, Utc::now().date_naive()).await?
        }
    };
    print(&result.text)?;
    Ok(ExitCode::from(result.code))
}

fn check(options: &CheckOptions) -> anyhow::Result<CommandResult> {
    let file = PolicyFile::read(&options.file)?;
    let (mut text, code) = match file.parse(options.enforce_repositories.as_deref()) {
        Ok((governance, warnings)) => {
            let lines = warnings.iter().map(|warning| file.line("warning", warning));
            let rules = count(governance.document.rules.len(), "rule");
            let end = format!("{} has no mistake: {rules}", file.name());
            (lines.chain([end]).collect::<Vec<String>>().join("\n"), 0)
        }
        Err(problems) => (list_mistakes(&file, &problems), 1),
    };
    if options.enforce_repositories.is_none() {
        text.push_str(UNCHECKED);
    }
    Ok(CommandResult { text, code })
}

/// Tests a policy by the registry of a stack. The policy takes the settings of the provisioned
/// repositories and the sources of running images from the stack. Changes nothing.
pub async fn test(
    stack: &DeployedStack,
    file: &PolicyFile,
    options: &TestOptions,
    today: NaiveDate,
) -> anyhow::Result<CommandResult> {
    let is_json = options.connection.output == Output::Json;
    let ceiling = stack.enforced_patterns()?;
    let parse = |ceiling| file.parse_for(stack.governance.provisioned.clone(), ceiling);
    // A policy without other mistakes has its effects shown, because one deployment can change the policy
    // and EnforceRepositories.
    let outside = parse(Some(&ceiling)).err().unwrap_or_default();
    let lines = |problems: &[Problem]| -> Vec<String> {
        problems.iter().map(|problem| file.line("mistake", problem)).collect()
    };
    let Ok((governance, _)) = parse(None) else {
        let text = if is_json {
            format!("{:#}", json!({"mistakes": lines(&outside)}))
        } else {
            list_mistakes(file, &outside)
        };
        return Ok(CommandResult { text, code: 1 });
    };
    let named = &options.repositories;
    let (mut json, mut text, code) = match options.against {
        None => {
            let effects = effects::read_effects(stack, &governance, named, today).await?;
            (effects.to_json(), effects.to_text(options.details), effects.exit_code())
        }
        Some(Against::Deployed) => {
            let comparison =
                difference::compare_with_deployed(stack, &governance, named, today).await?;
            (comparison.to_json(), comparison.to_text(file.name()), comparison.exit_code())
        }
    };
    if let Some(json) = json.as_object_mut() {
        json.insert("mistakes".to_owned(), json!(lines(&outside)));
    }
    if !outside.is_empty() {
        text = format!(
            "{}\nThe stack {} refuses the policy until EnforceRepositories allows it. Then the policy would \
             have these effects:\n\n{text}",
            list_mistakes(file, &outside),
            stack.name
        );
    }
    let text = if is_json { format!("{json:#}") } else { text };
    Ok(CommandResult { text, code: code.max(u8::from(!outside.is_empty())) })
}

/// A line for each mistake, and a line with their number.
fn list_mistakes(file: &PolicyFile, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| file.line("mistake", problem));
    let end = format!("{} has {}", file.name(), count(problems.len(), "mistake"));
    lines.chain([end]).collect::<Vec<String>>().join("\n")
}

/// A number with a noun, such as `2 rules`.
fn count(count: usize, what: &str) -> String {
    if count == 1 {
        return format!("1 {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {what}s"),
    }
}
