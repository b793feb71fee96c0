//! `cargo run -p check-tag -- infrastructure:litellm-v1.80.5`: judges tags before they are
//! pushed, by the policy that a stack enforces and by the code that enforces it.
//!
//! [`stack`] reads the policy, [`mod@check`] says what it says of an image.

#![expect(clippy::print_stderr, reason = "what is wrong is for reading")]

mod check;
mod stack;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use governance::policy::Policy;

use crate::check::{Image, check};

/// Judges tags before they are pushed, by the policy of a deployed stack.
///
/// Exits with 0 where all conform, 1 where one does not, and 2 where one cannot be judged.
#[derive(Parser)]
#[command(name = "check-tag")]
struct Options {
    /// What is to be pushed, with or without the registry before it.
    #[arg(required = true, value_name = "REPOSITORY:TAG")]
    images: Vec<Image>,
    /// The stack whose policy it is: its output `Governance`, read with the AWS CLI.
    // Without a name, the AWS CLI tells of any stack.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "ecr-warden",
        value_parser = NonEmptyStringValueParser::new()
    )]
    stack: String,
    /// A file with that output instead; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    policy: Option<PathBuf>,
}

/// How it ends where something could not be judged.
const NOT_JUDGED: u8 = 2;

fn main() -> ExitCode {
    let options = match arguments::parse::<Options>() {
        Ok(options) => options,
        Err(end) => return end,
    };
    run(&options).unwrap_or_else(|error| {
        tell(&error);
        ExitCode::from(NOT_JUDGED)
    })
}

fn tell(error: &anyhow::Error) {
    eprintln!("check-tag: {}", arguments::in_one_line(&format!("{error:#}")));
}

fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policies = policies(options)?;
    let mut worst = 0;
    for image in &options.images {
        match check(&policies, image) {
            Ok(said) => {
                writeln!(std::io::stdout(), "{}", said.line).context("writing what it says")?;
                worst = worst.max(u8::from(!said.may_be_pushed));
            }
            Err(error) => {
                tell(&error);
                worst = NOT_JUDGED;
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// The policies of the repositories, at least one.
fn policies(options: &Options) -> anyhow::Result<Vec<Policy>> {
    let (list, of) = match options.policy.as_deref() {
        None => (stack::governance(&options.stack)?, format!("of the stack {}", options.stack)),
        Some(file) if file == Path::new("-") => {
            let mut list = String::new();
            let read = std::io::stdin().read_to_string(&mut list);
            read.context("reading the policy on standard input")?;
            (list, "on standard input".to_owned())
        }
        Some(file) => {
            let of = format!("in {}", file.display());
            let list = std::fs::read_to_string(file).map_err(|error| {
                anyhow!(
                    "no policy {of} ({error}); expected a file with a stack's output Governance, \
                     or - for standard input"
                )
            });
            (list?, of)
        }
    };
    let policies = Policy::parse_list(&list)
        .with_context(|| format!("the policy {of} is no output Governance of a stack"))?;
    ensure!(
        !policies.is_empty(),
        "the policy {of} is empty: the stack governs no repositories (its CreateEcrRepositories is \
         false)"
    );
    Ok(policies)
}
