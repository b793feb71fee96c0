//! What the function is told in its environment.

use anyhow::{Context as _, ensure};

/// The configuration, valid as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The ARN of the secret that has the webhook's URL (`SLACK_WEBHOOK_SECRET_ARN`). It is no
    /// secret itself.
    pub secret: String,
}

impl Config {
    /// Reads the variables. The error names the one that is wrong.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        const NAME: &str = "SLACK_WEBHOOK_SECRET_ARN";
        let secret =
            variables.into_iter().find_map(|(name, value)| (name == NAME).then_some(value));
        let secret = secret.with_context(|| format!("{NAME} is not set"))?;
        let parts: Vec<&str> = secret.splitn(7, ':').collect();
        let is_arn = matches!(parts.as_slice(), ["arn", _, "secretsmanager", _, _, "secret", name] if !name.is_empty());
        // What stands there instead may be the webhook's URL, so it is not repeated.
        ensure!(is_arn, "{NAME}: expected the ARN of a secret of Secrets Manager");
        Ok(Self { secret })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn read(value: &str) -> anyhow::Result<Config> {
        Config::read([("SLACK_WEBHOOK_SECRET_ARN".to_owned(), value.to_owned())])
    }

    #[test]
    fn it_is_the_arn_of_a_secret_and_what_else_it_may_be_is_not_repeated() {
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
