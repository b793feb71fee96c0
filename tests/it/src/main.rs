//! Every function of the workspace in one program: under a Lambda Runtime API it is the one
//! that `_HANDLER` names. Started by hand (`cargo demo`) it is the demonstration, which runs
//! itself again as the functions.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the demonstration is for reading")]
#![expect(clippy::indexing_slicing, reason = "only of JSON, which takes any name")]

mod demo;
mod probe;
mod push;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let handler = std::env::var("_HANDLER");
    let done = match handler.as_deref() {
        Ok("custom-resource") => custom_resource::run().await,
        Ok("image-push") => image_push::run().await,
        Ok("image-sweep") => image_sweep::run().await,
        Ok("scan-complete") => scan_complete::run().await,
        Ok("slack-notifier") => slack_notifier::run().await,
        Ok("probe") => probe::run().await,
        Ok(other) => Err(format!("there is no function {other}").into()),
        Err(_) => return demo::run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{}: {error}", handler.as_deref().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
