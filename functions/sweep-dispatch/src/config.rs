//! Reads the configuration from the environment variables.

use warden_aws::environment::Variables;

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version of the policy (`POLICY_VERSION`).
    pub policy_version: String,
    /// The URL of the queue of sweeps (`SWEEP_QUEUE_URL`).
    pub queue: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
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
            stack_name: variables.filled("STACK_NAME")?,
        })
    }
}
