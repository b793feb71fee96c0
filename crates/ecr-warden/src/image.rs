//! Parses an image on the command line, which is given by its tag or its digest.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use warden_core::image::{Digest, RepositoryName, Tag};

/// An image of a repository, without the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag or the digest.
    pub name: ImageName,
}

/// The name of an image in its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A tag of the image.
    Tag(Tag),
    /// The digest of the image.
    Digest(Digest),
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.name, ImageName::Tag(_)) { ':' } else { '@' };
        write!(f, "{}{separator}{}", self.repository, self.name)
    }
}

impl FromStr for ImageReference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // A repository name of ECR has no colon, and an ECR registry host is not a repository name.
        let (host, rest) = text.split_once('/').unwrap_or(("", text));
        let path = if host.contains(".dkr.ecr.") { rest } else { text };
        let (repository, name) = if let Some((repository, digest)) = path.split_once('@') {
            let digest = digest.parse().map_err(|error| anyhow!("{digest:?}: {error}"))?;
            // `repository:tag@digest` names the image by its digest.
            (repository.split(':').next().unwrap_or_default(), ImageName::Digest(digest))
        } else {
            let (repository, tag) = path.split_once(':').context(
                "expected REPOSITORY:TAG or REPOSITORY@DIGEST, such as \
                 infrastructure:litellm-v1.80.5",
            )?;
            let tag = tag.parse().map_err(|error| anyhow!("{tag:?} is not a tag: {error}"))?;
            (repository, ImageName::Tag(tag))
        };
        let repository = repository
            .parse()
            .map_err(|error| anyhow!("{repository:?} is not a repository name: {error}"))?;
        Ok(Self { repository, name })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), expected);
    }

    fn check_error(text: &str, expected: &Expect) {
        expected.assert_eq(&text.parse::<ImageReference>().unwrap_err().to_string());
    }

    #[test]
    fn an_image_is_parsed_by_its_tag_or_its_digest_with_or_without_the_registry() {
        let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        let by_digest = format!("team/web@{DIGEST}");
        check("web:v1.0.0", "web:v1.0.0");
        check(&by_digest, &by_digest);
        check(&format!("{host}/team/web:v1.0.0"), "team/web:v1.0.0");
        check(&format!("{host}/{by_digest}"), &by_digest);
        check(&format!("team/web:v1.0.0@{DIGEST}"), &by_digest);
    }

    #[test]
    fn an_error_names_the_expected_value() {
        check_error(
            "web",
            &expect![
                "expected REPOSITORY:TAG or REPOSITORY@DIGEST, such as infrastructure:litellm-v1.80.5"
            ],
        );
        check_error(
            "web:",
            &expect![[
                r#""" is not a tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'"#
            ]],
        );
        check_error(
            "Web:v1",
            &expect![[
                r#""Web" is not a repository name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'"#
            ]],
        );
        check_error(
            "web@sha256:12",
            &expect![[r#""sha256:12": expected sha256: and 64 lower-case hexadecimal digits"#]],
        );
    }
}
