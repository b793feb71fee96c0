//! The command-line tool `ecr-warden`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ecr_warden::print::print_error;
use ecr_warden::{
    archived, arguments, check, explain, lifecycle, outputs, plan, policy, quarantined, replay,
    restore, status,
};

/// Governs Amazon ECR from the command line.
#[derive(Parser)]
// `cargo ecr-warden` runs a binary with another name.
#[command(name = "ecr-warden", bin_name = "ecr-warden", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks tags before they are pushed, by the policy of a deployed stack.
    ///
    /// Reads the policy of a stack, or from a file. Prints one line for each image.
    #[command(after_help = "\
Examples:
  ecr-warden check infrastructure:litellm-v1.80.5
  ecr-warden check --policy infra/sam/policy.yaml deployments:myapp-v1.0.0

Exit codes:
  0  every tag may be pushed
  1  a tag violates the policy
  2  a tag could not be judged, or the policy could not be read")]
    Check(check::Options),
    /// Checks a policy before it is deployed.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Shows which images the next sweep would remove, and why.
    ///
    /// The deployed function makes the plan, and changes nothing.
    #[command(after_help = "\
Examples:
  ecr-warden plan
  ecr-warden plan deployments --output json
  ecr-warden plan --rule platform

Exit codes:
  0  the plan was printed
  2  an error; with --rule: also if the plan of a repository cannot be read")]
    Plan(plan::PlanOptions),
    /// Shows why the next sweep keeps or removes one image.
    ///
    /// The deployed function makes the decision, and changes nothing.
    #[command(after_help = "\
Examples:
  ecr-warden explain deployments:myapp-v1.0.0
  ecr-warden explain deployments@sha256:…

Exit codes:
  0  the decision was printed
  1  the repository has no such image
  2  an error")]
    Explain(explain::ExplainOptions),
    /// Confirms a plan that you have read, so that the next sweep may remove its images.
    ///
    /// Three kinds of plan wait for a confirmation: the first plan that removes images from a
    /// repository, a plan after a policy change that removes more images, and a plan that a guard
    /// stopped. Without --plan, this command prints the waiting plans and their hash. With --rule, the
    /// command confirms each plan that has not changed since you read the table, and names the others.
    #[command(after_help = "\
Examples:
  ecr-warden confirm deployments
  ecr-warden confirm deployments --plan 0123456789abcdef
  ecr-warden confirm --rule platform --plan 01234567fedcba98

Exit codes:
  0  each plan that waits is confirmed, or no plan waits for a confirmation
  1  a plan waits and is not confirmed
  2  an error; with --rule: also if the plan of a repository cannot be read")]
    Confirm(plan::ConfirmOptions),
    /// Restores images from the archive, or adds a tag to an image.
    ///
    /// ECR needs about twenty minutes to restore an image from the archive.
    #[command(after_help = "\
Examples:
  ecr-warden restore deployments:myapp-v1.0.0
  ecr-warden restore infrastructure@sha256:… --tag litellm-v1.80.5

Exit codes:
  0  the images are restored, are being restored, or can be pulled already
  2  an error")]
    Restore(restore::RestoreOptions),
    /// Puts back the lifecycle policy that ECR Warden replaced when it adopted a repository.
    ///
    /// Run the command after the repository has left the stack. Without --apply, the command only shows
    /// the policy and its hash. The command changes nothing if somebody changed the lifecycle policy since ECR Warden
    /// wrote it.
    #[command(after_help = "\
Examples:
  ecr-warden restore-lifecycle infrastructure
  ecr-warden restore-lifecycle infrastructure --apply 0123456789abcdef

Exit codes:
  0  the replaced policy is shown, is put back, or is in force already
  1  no replaced policy is stored, or somebody changed the policy since
  2  an error")]
    RestoreLifecycle(lifecycle::RestoreLifecycleOptions),
    /// Lists the images in quarantine, and until when.
    ///
    /// The list has each quarantine tag, the day from which a sweep may remove the image, and an accepted
    /// tag for the image if there is one. JSON has also the command that restores each image.
    #[command(after_help = "\
Examples:
  ecr-warden quarantined
  ecr-warden quarantined --repository infrastructure --output json

Exit codes:
  0  the images are listed
  2  an error")]
    Quarantined(quarantined::QuarantinedOptions),
    /// Lists the images in the archive, and until when ECR keeps them.
    ///
    /// The images of a unit, such as the parts of an index, are one row, because a restore brings them
    /// back together. A lifecycle rule of the repository deletes an image some time after it was
    /// archived: 90 days by the rule of ECR Warden.
    #[command(after_help = "\
Examples:
  ecr-warden archived
  ecr-warden archived --repository deployments --output json

Exit codes:
  0  the images are listed
  2  an error")]
    Archived(archived::ArchivedOptions),
    /// Shows what is deployed, and what needs a person.
    ///
    /// Shows the last sweep of each repository and the plans that wait for a confirmation, the functions,
    /// the alarms and the queues. The command invokes no function and reads no image.
    #[command(after_help = "\
Examples:
  ecr-warden status
  ecr-warden status --repository deployments --output json

Exit codes:
  0  nothing needs attention
  1  something needs attention, such as an alarm, a message in a dead-letter queue, or a plan that waits
  2  an error")]
    Status(status::StatusOptions),
    /// Hands the events in the dead-letter queues back to their functions.
    ///
    /// Without --apply, the command only lists the messages. A message is deleted after its function has
    /// accepted the event. An event whose function does not belong to the stack stays in its queue.
    #[command(after_help = "\
Examples:
  ecr-warden replay
  ecr-warden replay --queue FailedEvents --apply

Exit codes:
  0  no message waits, or all messages were replayed
  1  messages wait in a queue
  2  an error")]
    Replay(replay::ReplayOptions),
    /// Prints the outputs of the stack, or the value of one output.
    #[command(after_help = "\
Examples:
  ecr-warden outputs
  ecr-warden outputs AlertTopicArn

Exit codes:
  0  the outputs are printed
  1  the stack has no such output
  2  an error")]
    Outputs(outputs::OutputsOptions),
}

fn main() -> ExitCode {
    match arguments::parse::<Options>() {
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
            Command::Check(options) => return check::run(&options).await,
            Command::Policy(command) => return policy::run(&command).await,
            Command::Plan(options) => return plan::plan(&options).await,
            Command::Explain(options) => {
                let is_present = explain::explain(&options).await?;
                return Ok(if is_present { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
            Command::Restore(options) => restore::restore(&options).await?,
            Command::RestoreLifecycle(options) => {
                return lifecycle::restore_lifecycle(&options).await;
            }
            Command::Quarantined(options) => quarantined::quarantined(&options).await?,
            Command::Archived(options) => archived::archived(&options).await?,
            Command::Status(options) => return status::status(&options).await,
            Command::Replay(options) => return replay::replay(&options).await,
            Command::Outputs(options) => return outputs::outputs(&options).await,
            Command::Confirm(options) => return plan::confirm(&options).await,
        }
        Ok(ExitCode::SUCCESS)
    })
}
