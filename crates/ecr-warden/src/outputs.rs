//! `ecr-warden outputs`: prints the outputs of the stack.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use warden_core::properties::nearest;

use crate::deployed::{Connection, DeployedStack, Output};
use crate::print::{print, print_json, table};

/// The options of `ecr-warden outputs`.
#[derive(Args)]
pub struct OutputsOptions {
    /// The output whose value is printed alone. Without it, the command prints every output.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Prints one output or all outputs. The exit code is 1 if the stack has no output of this name.
pub async fn outputs(options: &OutputsOptions) -> anyhow::Result<ExitCode> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let is_json = options.connection.output == Output::Json;
    let Some(name) = &options.name else {
        let rows: Vec<_> =
            stack.outputs.iter().map(|(name, value)| [name.clone(), value.clone()]).collect();
        if is_json { print_json(&json!(stack.outputs)) } else { print(&table(&rows)) }?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(value) = stack.outputs.get(name) {
        if is_json { print_json(&json!(value)) } else { print(value) }?;
        return Ok(ExitCode::SUCCESS);
    }
    let known: Vec<&str> = stack.outputs.keys().map(String::as_str).collect();
    let nearest = nearest(name, &known).unwrap_or_default();
    crate::print::print_error(&anyhow::anyhow!(
        "the stack {} has no output {name}; the nearest name is {nearest}",
        stack.name
    ));
    Ok(ExitCode::from(1))
}
