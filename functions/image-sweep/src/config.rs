//! The configuration, from the environment variables.

use anyhow::{Context as _, bail};
use warden_aws::environment::Variables;
use warden_core::policy::Policies;

/// Where the function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentScope {
    /// Such as `aws`.
    pub partition: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// The function's name.
    pub function: String,
}

/// The configuration, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policies of the repositories that are governed (`GOVERNANCE`).
    pub policies: Policies,
    /// Where alerts go (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// Where the function is: where its topic is, and by its name (`AWS_LAMBDA_FUNCTION_NAME`).
    pub place: DeploymentScope,
    /// The ARN of the stack (`STACK_ID`).
    pub stack_id: String,
    /// Whether images should be scanned when they are pushed (`SCAN_ON_PUSH`).
    pub scan_on_push: bool,
}

impl Config {
    /// Reads the variables. The error names the one that is wrong, and everything wrong in it.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        let topic = variables.filled("ALERT_TOPIC_ARN")?;
        let place = place(&topic, variables.filled("AWS_LAMBDA_FUNCTION_NAME")?);
        let place = place.with_context(|| {
            format!("ALERT_TOPIC_ARN: expected the ARN of a topic of Amazon SNS, got {topic:?}")
        })?;
        Ok(Self {
            policies: variables.policies()?,
            topic,
            place,
            table: variables.filled("LEDGER_TABLE")?,
            stack_id: variables.filled("STACK_ID")?,
            scan_on_push: match variables.value("SCAN_ON_PUSH")? {
                "true" => true,
                "false" => false,
                other => bail!("SCAN_ON_PUSH: expected true or false, got {other:?}"),
            },
        })
    }
}

impl Config {
    /// The name of the stack, which its ARN has after `stack/`.
    #[must_use]
    pub fn stack_name(&self) -> &str {
        self.stack_id.split('/').nth(1).unwrap_or_default()
    }
}

fn place(topic: &str, function: String) -> Option<DeploymentScope> {
    let parts: Vec<&str> = topic.split(':').collect();
    let ["arn", partition, "sns", region, account, _] = parts[..] else { return None };
    let [partition, region, account] = [partition, region, account].map(str::to_owned);
    Some(DeploymentScope { partition, region, account, function })
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
            ("GOVERNANCE", "[]"),
            ("ALERT_TOPIC_ARN", topic),
            ("LEDGER_TABLE", "ledger"),
            ("STACK_ID", "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/1"),
            ("SCAN_ON_PUSH", scan_on_push),
        ];
        let variables = variables.into_iter().filter(|(_, value)| *value != "unset");
        let read = Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let said = read.map_or_else(|error| format!("{error:#}"), |it| it.scan_on_push.to_string());
        expected.assert_eq(&said);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_variable() {
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
