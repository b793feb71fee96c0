//! The environment variables of a function. Each error names the variable.

use anyhow::{Context as _, bail, ensure};

/// The environment variables.
#[derive(Clone, Debug)]
pub struct Variables(Vec<(String, String)>);

/// The partition, the region and the account of the deployment, and the name of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentScope {
    /// The partition, such as `aws`.
    pub partition: String,
    /// The region, such as `us-east-1`.
    pub region: String,
    /// The account ID of twelve digits.
    pub account: String,
    /// The name of the function `image-sweep`.
    pub function: String,
}

impl Variables {
    /// Collects these variables.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Reads a required variable, which may be empty.
    pub fn value(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.with_context(|| format!("{name} is not set"))
    }

    /// Reads a required variable, which must not be empty.
    pub fn filled(&self, name: &str) -> anyhow::Result<String> {
        match self.value(name)? {
            "" => bail!("{name} is empty"),
            value => Ok(value.to_owned()),
        }
    }

    /// Reads the scope of the deployment from the topic of the alerts (`ALERT_TOPIC_ARN`), and the name of the
    /// function `image-sweep` from the variable with this name.
    pub fn scope(&self, function: &str) -> anyhow::Result<DeploymentScope> {
        let function = self.filled(function)?;
        let topic = self.filled("ALERT_TOPIC_ARN")?;
        let parts: Vec<&str> = topic.split(':').collect();
        let ["arn", partition, "sns", region, account, _] = parts[..] else {
            bail!("ALERT_TOPIC_ARN: expected the ARN of a topic of Amazon SNS, got {topic:?}");
        };
        let [partition, region, account] = [partition, region, account].map(str::to_owned);
        Ok(DeploymentScope { partition, region, account, function })
    }

    /// Reads the URL of the documentation that alerts link to (`DOCUMENTATION_URL`). Pages are below it, so it
    /// does not end with `/`.
    pub fn documentation_url(&self) -> anyhow::Result<String> {
        const NAME: &str = "DOCUMENTATION_URL";
        let url = self.filled(NAME)?;
        let host = url.strip_prefix("https://").unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        ensure!(
            host.starts_with(|first: char| first.is_ascii_alphanumeric())
                && host.bytes().all(is_plain)
                && !host.ends_with('/'),
            "{NAME}: expected a URL of https with letters, digits, '.', '_', '-' and '/', and without '/' at \
             the end, got {url:?}"
        );
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_plain_url_of_https() {
        let read = |url: &str| {
            Variables::new([("DOCUMENTATION_URL".to_owned(), url.to_owned())]).documentation_url()
        };
        let url = "https://github.com/ecr-warden/ecr-warden/blob/main/docs";
        assert_eq!(read(url).unwrap(), url);
        for wrong in [
            "",
            "docs",
            "https://",
            "https:///docs",
            "http://example.com/docs",
            "https://example.com/docs/",
            "https://example.com/docs?a=b",
            "https://user@example.com/docs",
            "https://example.com/docs <x>",
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with("DOCUMENTATION_URL"), "{error}");
        }
    }
}
