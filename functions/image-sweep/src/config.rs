//! What the function is told in its environment.

use anyhow::bail;
use aws::environment::Variables;
use governance::image::RepositoryName;
use governance::policy::Policy;

/// The configuration, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policies of the repositories that are governed (`GOVERNANCE`).
    pub policies: Vec<Policy>,
    /// Where alerts go (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// Whether images should be scanned when they are pushed (`SCAN_ON_PUSH`).
    pub scan_on_push: bool,
}

impl Config {
    /// Reads the variables. The error names the one that is wrong, and everything wrong in it.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        Ok(Self {
            policies: variables.policies()?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            table: variables.filled("LEDGER_TABLE")?,
            scan_on_push: match variables.value("SCAN_ON_PUSH")? {
                "true" => true,
                "false" => false,
                other => bail!("SCAN_ON_PUSH: expected true or false, got {other:?}"),
            },
        })
    }

    /// The policy of a repository, if it is governed.
    #[must_use]
    pub fn policy(&self, repository: &RepositoryName) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.repository_name == *repository)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(scan_on_push: &str, expected: &Expect) {
        let variables = [
            ("GOVERNANCE", "[]"),
            ("ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts"),
            ("LEDGER_TABLE", "ledger"),
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
    }
}
