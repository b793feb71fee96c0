//! Reads the configuration from the environment variables.

use anyhow::anyhow;
use warden_aws::environment::Variables;
use warden_core::image::RepositoryPattern;
use warden_core::policy::Policies;

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policies of the governed repositories (`GOVERNANCE`).
    pub policies: Policies,
    /// The patterns of expected repository names. An empty list expects every name
    /// (`REPOSITORY_NAME_PATTERNS`).
    pub patterns: Vec<RepositoryPattern>,
    /// The ARN of the topic that alerts are published to (`ALERT_TOPIC_ARN`).
    pub topic: String,
    /// The URL of the documentation that alerts link to (`DOCUMENTATION_URL`).
    pub documentation: String,
    /// The name of the stack, for commands in alerts (`STACK_NAME`).
    pub stack_name: String,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
    /// The URL of the queue of sweeps (`SWEEP_QUEUE_URL`).
    pub queue: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable and lists its mistakes.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        let pattern = |text: &str| -> anyhow::Result<RepositoryPattern> {
            let parsed = text.parse();
            parsed.map_err(|error| anyhow!("REPOSITORY_NAME_PATTERNS: {error}, got {text:?}"))
        };
        Ok(Self {
            policies: variables.policies()?,
            patterns: variables
                .value("REPOSITORY_NAME_PATTERNS")?
                .split_whitespace()
                .map(pattern)
                .collect::<anyhow::Result<_>>()?,
            topic: variables.filled("ALERT_TOPIC_ARN")?,
            documentation: variables.documentation_url()?,
            stack_name: variables.filled("STACK_NAME")?,
            table: variables.filled("LEDGER_TABLE")?,
            queue: variables.filled("SWEEP_QUEUE_URL")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const POLICY: &str = r#"{"RepositoryName": "infrastructure", "LifecycleTagCount": 20, "LifecycleUntaggedDays": 7, "Governance": {"Tags": {"Grammar": "{component}-v{semver}", "Enforcement": "report"}, "Retention": {"Enforcement": "report"}}}"#;

    fn read(changes: &[(&str, &str)]) -> anyhow::Result<Config> {
        let governance = format!("[{POLICY}]");
        let variables = [
            ("GOVERNANCE", governance.as_str()),
            ("REPOSITORY_NAME_PATTERNS", "infrastructure team-*/app"),
            ("ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts"),
            ("DOCUMENTATION_URL", "https://example.com/docs"),
            ("STACK_NAME", "ecr-warden"),
            ("LEDGER_TABLE", "ledger"),
            ("SWEEP_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/sweeps"),
        ];
        let override_of = |name: &str| {
            changes.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value)
        };
        let variables = variables.map(|(name, value)| (name, override_of(name).unwrap_or(value)));
        let set = variables.into_iter().filter(|(_, value)| *value != "unset");
        Config::read(set.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    fn check(changes: &[(&str, &str)], expected: &Expect) {
        expected.assert_eq(&format!("{:#}", read(changes).unwrap_err()));
    }

    #[test]
    fn a_repository_without_a_policy_is_not_governed() {
        let config = read(&[]).unwrap();
        assert_eq!(config.patterns.len(), 2);
        assert!(config.policies.rule_for(&"infrastructure".parse().unwrap()).is_some());
        assert!(config.policies.rule_for(&"deployments".parse().unwrap()).is_none());
        let none = read(&[("GOVERNANCE", "[]"), ("REPOSITORY_NAME_PATTERNS", "")]).unwrap();
        assert!(none.policies.is_empty() && none.patterns.is_empty());
    }

    #[test]
    fn an_error_names_the_wrong_variable() {
        check(&[("GOVERNANCE", "unset")], &expect!["GOVERNANCE is not set"]);
        check(
            &[("GOVERNANCE", "{")],
            &expect![
                "GOVERNANCE: list: expected a JSON list: invalid type: map, expected a sequence at line 1 column 0"
            ],
        );
        check(
            &[("GOVERNANCE", "[{}]")],
            &expect![
                "GOVERNANCE: [0].RepositoryName: this required property is missing; [0].LifecycleTagCount: this required property is missing; [0].LifecycleUntaggedDays: this required property is missing; [0].Governance.Tags.Grammar: expected at least one template, such as {component}-v{semver}; [0].Governance.Tags.Enforcement: this required property is missing; [0].Governance.Retention.Enforcement: this required property is missing"
            ],
        );
        let misspelt = format!("[{}]", POLICY.replace("semver", "semvr"));
        check(
            &[("GOVERNANCE", &misspelt)],
            &expect![[
                r#"GOVERNANCE: infrastructure: Governance.Tags.Grammar: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}""#
            ]],
        );
        let twice = format!("[{POLICY}, {POLICY}]");
        check(
            &[("GOVERNANCE", &twice)],
            &expect!["GOVERNANCE: [1].RepositoryName: there are two policies for infrastructure"],
        );
        check(
            &[("REPOSITORY_NAME_PATTERNS", "team-? x")],
            &expect![[
                r#"REPOSITORY_NAME_PATTERNS: expected a repository name, or lower-case letters, digits, '.', '_', '-', '/' and '*', got "team-?""#
            ]],
        );
        check(&[("ALERT_TOPIC_ARN", "unset")], &expect!["ALERT_TOPIC_ARN is not set"]);
        check(&[("DOCUMENTATION_URL", "unset")], &expect!["DOCUMENTATION_URL is not set"]);
        check(&[("LEDGER_TABLE", "")], &expect!["LEDGER_TABLE is empty"]);
    }
}
