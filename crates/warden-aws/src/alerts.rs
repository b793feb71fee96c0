//! The SNS topic to which alerts are published.

use anyhow::Context as _;
use aws_config::SdkConfig;
use warden_alerts::Alert;

/// The topic.
#[derive(Debug)]
pub struct Topic {
    client: aws_sdk_sns::Client,
    arn: String,
    documentation: String,
    stack: String,
    policy: String,
}

impl Topic {
    /// Builds a client for the topic with this ARN. `documentation` is the URL of the documentation
    /// that alerts link to, `stack` the name of the stack that their commands name, and `policy` the version
    /// of the policy that the function follows.
    #[must_use]
    pub fn new(
        config: &SdkConfig,
        arn: String,
        documentation: String,
        stack: String,
        policy: String,
    ) -> Self {
        Self { client: aws_sdk_sns::Client::new(config), arn, documentation, stack, policy }
    }

    /// Publishes an alert with the URL of its runbook, the version of the policy, commands that name the
    /// stack, and a text for each protocol. One call.
    pub async fn publish(&self, alert: &Alert) -> anyhow::Result<()> {
        let partition = self.arn.split(':').nth(1).unwrap_or("aws");
        let alert = alert.clone().with_runbook(&self.documentation).with_stack(&self.stack);
        let alert = alert.with_policy(&self.policy);
        let message = alert.message(partition);
        let publish = self.client.publish().topic_arn(&self.arn).message_structure("json");
        let sent = publish.subject(message.subject).message(message.body).send().await;
        sent.map_err(crate::explain)
            .with_context(|| format!("publishing the alert {:?}", alert.title))?;
        Ok(())
    }
}
