//! The SNS topic to which alerts are published.

use anyhow::Context as _;
use aws_config::SdkConfig;
use warden_alerts::Alert;

/// The topic.
#[derive(Debug)]
pub struct Topic {
    client: aws_sdk_sns::Client,
    arn: String,
}

impl Topic {
    /// Builds a client for the topic with this ARN.
    #[must_use]
    pub fn new(config: &SdkConfig, arn: String) -> Self {
        Self { client: aws_sdk_sns::Client::new(config), arn }
    }

    /// Publishes an alert with a text for each protocol. One call.
    pub async fn publish(&self, alert: &Alert) -> anyhow::Result<()> {
        let partition = self.arn.split(':').nth(1).unwrap_or("aws");
        let message = alert.message(partition);
        let publish = self.client.publish().topic_arn(&self.arn).message_structure("json");
        let sent = publish.subject(message.subject).message(message.body).send().await;
        sent.map_err(crate::explain)
            .with_context(|| format!("publishing the alert {:?}", alert.title))?;
        Ok(())
    }
}
