//! A policy in a file. Every mistake and warning has its line and column.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use warden_core::image::RepositoryPattern;
use warden_core::policy::{Governance, MOST_DOCUMENT_BYTES, Provisioned};
use warden_core::properties::{Invalid, Problem};

use crate::yaml;

/// A file with a policy in YAML or JSON.
#[derive(Debug)]
pub struct PolicyFile {
    /// The name for people.
    name: String,
    text: String,
}

impl PolicyFile {
    /// A file with this name and this text.
    #[must_use]
    pub fn new(name: String, text: String) -> Self {
        Self { name, text }
    }

    /// Reads the file. `-` is standard input.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let (mut text, mut name) = (String::new(), path.display().to_string());
        let read = if path == Path::new("-") {
            "standard input".clone_into(&mut name);
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(path)
        };
        let text = read.with_context(|| {
            format!("{name} cannot be read; expected a policy, such as infra/sam/policy.yaml")
        })?;
        Ok(Self::new(name, text))
    }

    /// Parses the policy, and returns it with its warnings. With a `ceiling` (the patterns of the
    /// parameter `EnforceRepositories`), a rule that enforces outside of it is a mistake. The settings
    /// from the parameters of a stack are not known.
    pub fn parse(
        &self,
        ceiling: Option<&[RepositoryPattern]>,
    ) -> Result<(Governance, Vec<Problem>), Vec<Problem>> {
        self.parse_for(Provisioned::default(), ceiling)
    }

    /// Parses the policy for a stack with these settings.
    pub fn parse_for(
        &self,
        provisioned: Provisioned,
        ceiling: Option<&[RepositoryPattern]>,
    ) -> Result<(Governance, Vec<Problem>), Vec<Problem>> {
        let bytes = self.text.len();
        if bytes > MOST_DOCUMENT_BYTES {
            let message =
                format!("the file has {bytes} bytes; at most {MOST_DOCUMENT_BYTES} are allowed");
            return Err(vec![Problem::new("policy", message)]);
        }
        let (node, mut problems) = yaml::parse(&self.text);
        let Some(node) = node else { return Err(problems) };
        match Governance::read(&node, provisioned, ceiling) {
            Ok(governance) if problems.is_empty() => {
                let mut warnings = governance.warnings();
                for warning in &mut warnings {
                    warning.position = node.locate(&warning.property).position;
                }
                warnings.sort_by_key(|warning| warning.position);
                Ok((governance, warnings))
            }
            read => {
                problems.extend(read.err().into_iter().flat_map(|Invalid(problems)| problems));
                problems.sort_by_key(|problem| problem.position);
                Err(problems)
            }
        }
    }

    /// A problem as one line, in the form that editors know:
    /// `policy.yaml:12:7: mistake: Rules[0] (platform).Scan: …`.
    #[must_use]
    pub fn line(&self, kind: &str, problem: &Problem) -> String {
        let position = problem.position.map(|at| format!("{}:{}:", at.line, at.column));
        format!("{}:{} {kind}: {problem}", self.name, position.unwrap_or_default())
    }

    /// The name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The policy of the test data.
    pub(crate) fn governance() -> Governance {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy.yaml");
        PolicyFile::read(&file).unwrap().parse(None).unwrap().0
    }
}
