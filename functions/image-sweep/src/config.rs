//! Reads the configuration from the environment variables.

use anyhow::bail;
use warden_aws::environment::{DeploymentScope, Variables};

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
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// The partition, the region and the account of the topic, and the name of the function
    /// (`AWS_LAMBDA_FUNCTION_NAME`).
    pub place: DeploymentScope,
    /// The ARN of the stack (`STACK_ID`).
    pub stack_id: String,
    /// The name of the stack, which follows `stack/` in its ARN.
    pub stack_name: String,
    /// Whether images should be scanned when they are pushed (`SCAN_ON_PUSH`).
    pub scan_on_push: bool,
}

impl Config {
    /// Reads the variables. The error names the wrong variable.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        let stack_id = variables.filled("STACK_ID")?;
        Ok(Self {
            stack_name: stack_id.split('/').nth(1).unwrap_or_default().to_owned(),
            stack_id,
            policy_version: variables.filled("POLICY_VERSION")?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            bus: variables.filled("ALERT_EVENT_BUS")?,
            documentation: variables.documentation_url()?,
            place: variables.scope("AWS_LAMBDA_FUNCTION_NAME")?,
            table: variables.filled("LEDGER_TABLE")?,
            scan_on_push: match variables.value("SCAN_ON_PUSH")? {
                "true" => true,
                "false" => false,
                other => bail!("SCAN_ON_PUSH: expected true or false, got {other:?}"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(scan_on_push: &str, expected: &Expect) {
        check_with("arn:aws:sns:us-east-1:123456789012:alerts", scan_on_push, expected);
    }

    fn check_with(topic: &str, scan_on_push: &str, expected: &Expect) {
        let variables = [
            ("AWS_LAMBDA_FUNCTION_NAME", "sweep"),
            ("POLICY_VERSION", "0123456789abcdef"),
            ("ALERT_TOPIC_ARN", topic),
            ("ALERT_EVENT_BUS", "ecr-warden-AlertEventBus"),
            ("DOCUMENTATION_URL", "https://example.com/docs"),
            ("LEDGER_TABLE", "ledger"),
            ("STACK_ID", "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/1"),
            ("SCAN_ON_PUSH", scan_on_push),
        ];
        let variables = variables.into_iter().filter(|(_, value)| *value != "unset");
        let read = Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let result = match read {
            Ok(config) => config.scan_on_push.to_string(),
            Err(error) => format!("{error:#}"),
        };
        expected.assert_eq(&result);
    }

    #[test]
    fn an_error_names_the_wrong_variable() {
        check("true", &expect!["true"]);
        check("false", &expect!["false"]);
        check("yes", &expect![[r#"SCAN_ON_PUSH: expected true or false, got "yes""#]]);
        check("unset", &expect!["SCAN_ON_PUSH is not set"]);
        check_with(
            "alerts",
            "true",
            &expect![[
                r#"ALERT_TOPIC_ARN: expected the ARN of a topic of Amazon SNS, got "alerts""#
            ]],
        );
    }
}
