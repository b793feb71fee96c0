//! Reads the configuration from the environment variables.

use warden_aws::environment::Variables;

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version of the policy (`POLICY_VERSION`).
    pub policy_version: String,
    /// The ARN of the topic that alerts are published to (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The name of the event bus that alerts are put on (`ALERT_EVENT_BUS`).
    pub bus: String,
    /// The URL of the documentation that alerts link to (`DOCUMENTATION_URL`).
    pub documentation: String,
    /// The name of the stack, for commands in alerts (`STACK_NAME`).
    pub stack_name: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// The name of the parameter of accepted risks (`ACCEPTED_RISKS_PARAMETER`).
    pub parameter: String,
    /// The URL of the queue of rechecks (`RECHECK_QUEUE_URL`).
    pub rechecks: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        Ok(Self {
            policy_version: variables.filled("POLICY_VERSION")?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            bus: variables.filled("ALERT_EVENT_BUS")?,
            documentation: variables.documentation_url()?,
            stack_name: variables.filled("STACK_NAME")?,
            table: variables.filled("LEDGER_TABLE")?,
            parameter: variables.filled("ACCEPTED_RISKS_PARAMETER")?,
            rechecks: variables.filled("RECHECK_QUEUE_URL")?,
        })
    }
}
