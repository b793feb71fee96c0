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
    /// The URL of the queue of sweeps (`SWEEP_QUEUE_URL`).
    pub queue: String,
    /// The URL of the queue of rechecks of findings (`RECHECK_QUEUE_URL`).
    pub rechecks: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable and lists its mistakes.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        Ok(Self {
            policy_version: variables.filled("POLICY_VERSION")?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            bus: variables.filled("ALERT_EVENT_BUS")?,
            documentation: variables.documentation_url()?,
            stack_name: variables.filled("STACK_NAME")?,
            table: variables.filled("LEDGER_TABLE")?,
            queue: variables.filled("SWEEP_QUEUE_URL")?,
            rechecks: variables.filled("RECHECK_QUEUE_URL")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_variable_that_is_not_set() {
        let variables = [
            ("POLICY_VERSION", "0123456789abcdef"),
            ("ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts"),
            ("ALERT_EVENT_BUS", "ecr-warden-AlertEventBus"),
            ("DOCUMENTATION_URL", "https://example.com/docs"),
            ("STACK_NAME", "ecr-warden"),
            ("LEDGER_TABLE", "ledger"),
            ("SWEEP_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/sweeps"),
            ("RECHECK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/findings"),
        ];
        let read = |without: &str| {
            let set = variables.iter().filter(|(name, _)| *name != without);
            Config::read(set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        };
        assert_eq!(read("").unwrap().policy_version, "0123456789abcdef");
        for (name, _) in variables {
            assert_eq!(read(name).unwrap_err().to_string(), format!("{name} is not set"));
        }
    }
}
