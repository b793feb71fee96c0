//! What functions are told in their environment. An error names the variable.

use anyhow::{Context as _, bail};
use warden_core::policy::Policies;

/// The variables.
#[derive(Clone, Debug)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// These.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// A variable that has to be set, be it to nothing.
    pub fn value(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.0.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
        found.with_context(|| format!("{name} is not set"))
    }

    /// A variable that has to be set to something.
    pub fn filled(&self, name: &str) -> anyhow::Result<String> {
        match self.value(name)? {
            "" => bail!("{name} is empty"),
            value => Ok(value.to_owned()),
        }
    }

    /// The policies of the governed repositories (`GOVERNANCE`). The error names every mistake.
    pub fn policies(&self) -> anyhow::Result<Policies> {
        Policies::parse(self.value("GOVERNANCE")?).context("GOVERNANCE")
    }
}
