//! Reads the configuration from the environment variables.

use warden_aws::environment::{DeploymentScope, Variables};

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version of the policy (`POLICY_VERSION`).
    pub policy_version: String,
    /// The URL of the queue of sweeps (`SWEEP_QUEUE_URL`).
    pub queue: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// The ARN of the topic that alerts are published to (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The name of the event bus that alerts are put on (`ALERT_EVENT_BUS`).
    pub bus: String,
    /// The URL of the documentation that alerts link to (`DOCUMENTATION_URL`).
    pub documentation: String,
    /// The partition, the region and the account of the topic, and the name of the function `image-sweep`
    /// (`SWEEP_FUNCTION`).
    pub place: DeploymentScope,
    /// The name of the stack, which is a dimension of metrics (`STACK_NAME`).
    pub stack_name: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        Ok(Self {
            policy_version: variables.filled("POLICY_VERSION")?,
            queue: variables.filled("SWEEP_QUEUE_URL")?,
            table: variables.filled("LEDGER_TABLE")?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            bus: variables.filled("ALERT_EVENT_BUS")?,
            documentation: variables.documentation_url()?,
            place: variables.scope("SWEEP_FUNCTION")?,
            stack_name: variables.filled("STACK_NAME")?,
        })
    }
}
