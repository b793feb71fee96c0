//! The bootstrap of what tells Slack.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    slack_notifier::run().await
}
