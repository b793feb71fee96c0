//! Every function of the workspace in one program, so that tests and `cargo demo` link the SDK
//! once. `_HANDLER` names the function, as Lambda sets it.

pub mod many_repositories;
mod probe;
pub mod year;

use lambda_runtime::Error;

/// Serves the Lambda Runtime API as the function that `handler` names, until the process ends.
pub async fn serve(handler: &str) -> Result<(), Error> {
    match handler {
        "custom-resource" => custom_resource::run().await,
        "image-push" => image_push::run().await,
        "image-sweep" => image_sweep::run().await,
        "scan-complete" => scan_complete::run().await,
        "slack-notifier" => slack_notifier::run().await,
        "sweep-dispatch" => sweep_dispatch::run().await,
        "probe" => probe::run().await,
        other => Err(format!("there is no function {other}").into()),
    }
}
