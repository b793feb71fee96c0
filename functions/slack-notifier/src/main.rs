//! The bootstrap of `slack-notifier`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    slack_notifier::run().await
}
