//! The environment variables of a function. Each error names the variable.

use anyhow::{Context as _, bail};
use warden_core::policy::Policies;

/// The environment variables.
#[derive(Clone, Debug)]
pub struct Variables(Vec<(String, String)>);

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

    /// Reads the policies of the governed repositories (`GOVERNANCE`). The error names every mistake.
    pub fn policies(&self) -> anyhow::Result<Policies> {
        Policies::parse(self.value("GOVERNANCE")?).context("GOVERNANCE")
    }
}
