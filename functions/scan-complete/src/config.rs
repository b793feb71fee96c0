//! The configuration, from the environment variables.

use warden_aws::environment::Variables;
use warden_core::policy::Policies;

/// The configuration, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policies of the repositories that are governed (`GOVERNANCE`).
    pub policies: Policies,
    /// Where alerts go (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// The name of the parameter of accepted risks (`ACCEPTED_RISKS_PARAMETER`).
    pub parameter: String,
}

impl Config {
    /// Reads the variables. The error names the one that is wrong, and everything wrong in it.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        Ok(Self {
            policies: variables.policies()?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            table: variables.filled("LEDGER_TABLE")?,
            parameter: variables.filled("ACCEPTED_RISKS_PARAMETER")?,
        })
    }
}
