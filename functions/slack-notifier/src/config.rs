//! The configuration, from the environment variables.

use anyhow::ensure;
use warden_aws::environment::Variables;

/// The configuration, valid as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The ARN of the secret that has the URL of the webhook (`SLACK_WEBHOOK_SECRET_ARN`). The ARN is
    /// not secret.
    pub secret: String,
    /// The URL of the documentation that messages may link to (`DOCUMENTATION_URL`).
    pub documentation: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        const NAME: &str = "SLACK_WEBHOOK_SECRET_ARN";
        let variables = Variables::new(variables);
        let secret = variables.value(NAME)?.to_owned();
        let parts: Vec<&str> = secret.splitn(7, ':').collect();
        let is_arn = matches!(parts.as_slice(), ["arn", _, "secretsmanager", _, _, "secret", name] if !name.is_empty());
        // A wrong value may be the URL of the webhook, which is secret, so the error does not repeat it.
        ensure!(is_arn, "{NAME}: expected the ARN of a secret of Secrets Manager");
        Ok(Self { secret, documentation: variables.documentation_url()? })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn read(value: &str) -> anyhow::Result<Config> {
        let documentation = "https://example.com/docs";
        let variables = [("SLACK_WEBHOOK_SECRET_ARN", value), ("DOCUMENTATION_URL", documentation)];
        Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn the_secret_is_an_arn_and_an_error_does_not_repeat_a_wrong_value() {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-warden/slack-AbCdEf";
        assert_eq!(read(arn).unwrap().secret, arn);
        let unset = Config::read([]).unwrap_err();
        expect!["SLACK_WEBHOOK_SECRET_ARN is not set"].assert_eq(&unset.to_string());
        for wrong in
            ["", "https://hooks.slack.com/services/T/B/X", "arn:aws:ssm:us-east-1:1:secret:x"]
        {
            expect!["SLACK_WEBHOOK_SECRET_ARN: expected the ARN of a secret of Secrets Manager"]
                .assert_eq(&read(wrong).unwrap_err().to_string());
        }
    }
}
