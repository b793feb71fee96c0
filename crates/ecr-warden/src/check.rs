//! `ecr-warden check`: judges image tags before they are pushed, and prints the enforcement that each
//! tag would cause.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use warden_core::grammar::{ConformingTag, Placeholder};
use warden_core::image::{RepositoryName, Tag};
use warden_core::policy::{Governance, Policy, RepositoryOrigin, TagEnforcement};
use warden_core::quarantine::Quarantine;
use warden_core::tagging::{TagExemption, TagVerdict, Violation, judge};

use crate::arguments::StackOption;
use crate::deployed::{DeployedStack, load_configuration};
use crate::policy_file::PolicyFile;
use crate::print::print_error;

/// The options of `ecr-warden check`.
#[derive(Args)]
pub struct Options {
    /// The images to push, with or without the registry before the repository.
    #[arg(required = true, value_name = "REPOSITORY:TAG")]
    images: Vec<Image>,
    #[command(flatten)]
    stack: StackOption,
    /// The region of the stack. The default is the region of the AWS configuration.
    #[arg(long, conflicts_with = "policy")]
    region: Option<String>,
    /// The profile of the AWS configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    profile: Option<String>,
    /// A file with a policy, such as infra/sam/policy.yaml, instead of --stack. - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    policy: Option<PathBuf>,
}

/// The exit code when a tag could not be judged.
const NOT_JUDGED: u8 = 2;

/// Prints one line for each image, and an error on standard error for each image that could not
/// be judged. The worst image decides the exit code.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let governance = load_policy(options).await?;
    let mut worst = 0;
    for image in &options.images {
        match check(&governance, image) {
            Ok(judged) => {
                writeln!(std::io::stdout(), "{}", judged.line).context("writing the result")?;
                worst = worst.max(u8::from(!judged.may_be_pushed));
            }
            Err(error) => {
                print_error(&error);
                worst = NOT_JUDGED;
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// Loads the policy of the stack, or of the file.
async fn load_policy(options: &Options) -> anyhow::Result<Governance> {
    let Some(file) = options.policy.as_deref() else {
        let (region, profile) = (options.region.as_deref(), options.profile.as_deref());
        let sdk = load_configuration(region, profile).await?;
        return Ok(DeployedStack::read(sdk, &options.stack.stack).await?.governance);
    };
    let file = PolicyFile::read(file)?;
    file.parse(None).map(|(governance, _)| governance).map_err(|problems| {
        let mistakes: Vec<String> =
            problems.iter().map(|problem| file.line("mistake", problem)).collect();
        anyhow!("the policy is invalid: {}", mistakes.join("; "))
    })
}

/// An image to push.
#[derive(Clone, Debug)]
pub struct Image {
    /// The possible repository names. The first part of a path may be a registry or a part of the
    /// name, so there may be a name with it and a name without it.
    names: Vec<RepositoryName>,
    tag: Tag,
}

/// The judgement of an image.
#[derive(Debug)]
pub struct JudgedImage {
    /// Whether the functions would do nothing about the image.
    pub may_be_pushed: bool,
    /// The image and its judgement, as one line.
    pub line: String,
}

impl FromStr for Image {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const EXPECTED: &str = "expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5";
        if text.contains('@') {
            bail!("a digest names an image that was pushed already; {EXPECTED}");
        }
        // Docker recognises a registry in the same way.
        let registry = text
            .split_once('/')
            .map(|(registry, _)| registry)
            .filter(|registry| registry.contains(['.', ':']) || *registry == "localhost");
        let start = registry.map_or(0, |registry| registry.len() + 1);
        let (name, tag) = text
            .get(start..)
            .and_then(|rest| rest.split_once(':'))
            .filter(|(_, tag)| !tag.is_empty())
            .with_context(|| format!("the tag is missing; {EXPECTED}"))?;
        let bare = name.parse::<RepositoryName>();
        let whole = registry.and_then(|registry| format!("{registry}/{name}").parse().ok());
        let names: Vec<RepositoryName> = whole.into_iter().chain(bare.clone()).collect();
        if let (Err(error), []) = (bare, &names[..]) {
            bail!("{name:?} is not a repository name: {error}");
        }
        match tag.parse() {
            Ok(tag) => Ok(Self { names, tag }),
            Err(error) => bail!("{tag:?} is not a tag: {error}"),
        }
    }
}

/// Judges an image by the rule of its repository. An image of a repository without a rule is an error.
pub fn check(governance: &Governance, image: &Image) -> anyhow::Result<JudgedImage> {
    let rule = |name| governance.rule_for(name, RepositoryOrigin::Pushed);
    let policy = image.names.iter().find_map(rule);
    let policy = policy.with_context(|| {
        let name = image.names.last().map_or("", RepositoryName::as_str);
        format!(
            "{name}:{} cannot be judged: no rule of the policy governs the repository {name}",
            image.tag
        )
    })?;
    let (may_be_pushed, judgement) = judge_tag(&policy, &image.tag);
    let line = format!("{}:{} {judgement}", policy.repository_name, image.tag);
    Ok(JudgedImage { may_be_pushed, line })
}

/// Whether the tag may be pushed, and the rest of a sentence that begins with the image.
fn judge_tag(policy: &Policy, tag: &Tag) -> (bool, String) {
    // A quarantine tag counts only on the image with the digest in its name, which is not known before
    // the push. If the tag counted, a sweep would remove the image because of it.
    if Quarantine::read(tag).is_some() {
        let judgement =
            "is a quarantine tag, which only ECR Warden may add: push the image with another tag";
        return (false, judgement.to_owned());
    }
    match judge(policy, tag.as_str()) {
        TagVerdict::Conforming(conforming) => {
            (true, format!("conforms: {}", ConformingText(&conforming)))
        }
        TagVerdict::Exempt(TagExemption::NoGrammar) => {
            (true, format!("is not judged: the rule {} has no Grammar", policy.rule))
        }
        TagVerdict::Exempt(TagExemption::Ignored) => {
            (true, format!("is not judged: the rule {} ignores it", policy.rule))
        }
        TagVerdict::Exempt(TagExemption::Signature | TagExemption::Quarantine) => {
            (true, "is not judged: it is the tag of a signature or an attestation".to_owned())
        }
        TagVerdict::Violation(Violation { reason, suggestion, .. }) => {
            let suggestion = suggestion.map(|suggestion| format!("; did you mean {suggestion}? "));
            let suggestion = suggestion.unwrap_or_else(|| ". ".to_owned());
            let outcome = describe_enforcement(policy.tag_enforcement());
            (false, format!("{reason}{suggestion}{outcome}"))
        }
    }
}

/// The outcome of a violation ([`warden_core::enforcement`]).
fn describe_enforcement(enforcement: TagEnforcement) -> &'static str {
    match enforcement {
        TagEnforcement::Report => "The push would be reported",
        TagEnforcement::Quarantine => {
            "The image would be quarantined, or only lose this tag if it has a conforming tag"
        }
        TagEnforcement::Archive => {
            "The image would be archived, or only be reported if it has a conforming tag"
        }
    }
}

/// The text of a conforming tag, such as `version 1.80.5 of litellm`.
struct ConformingText<'c>(&'c ConformingTag);

impl fmt::Display for ConformingText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConformingTag { component, values, .. } = self.0;
        if values.is_empty() {
            f.write_str("an image ")?;
        }
        for (name, value) in values {
            match name {
                Placeholder::Semver | Placeholder::Version | Placeholder::Calver => {
                    write!(f, "version {value} ")?;
                }
                name => write!(f, "{name} {value} ")?,
            }
        }
        write!(f, "of {component}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Judges each image by the policy in the test data. The line of an image that may not
    /// be pushed begins with an exclamation mark.
    fn check_images(images: &[&str], expected: &Expect) {
        let governance = crate::policy_file::tests::governance();
        let line = |text: &&str| {
            let image: Image = match text.parse() {
                Ok(image) => image,
                Err(error) => return format!("{text}? {error}\n"),
            };
            match check(&governance, &image) {
                Ok(JudgedImage { may_be_pushed: true, line }) => line + "\n",
                Ok(JudgedImage { may_be_pushed: false, line }) => format!("! {line}\n"),
                Err(error) => format!("{text}? {error:#}\n"),
            }
        };
        expected.assert_eq(&images.iter().map(line).collect::<String>());
    }

    #[test]
    fn the_line_of_a_conforming_tag_has_its_component_and_version() {
        check_images(
            &[
                "infrastructure:litellm-v1.80.5",
                "infrastructure:open-webui-v0.1.0-rc.1",
                "deployments:slack-latest",
                "deployments:myapp-0123abc",
                "team.b/app:v1.0.0",
                "team.b/app:stable",
            ],
            &expect![[r#"
                infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
                infrastructure:open-webui-v0.1.0-rc.1 conforms: version 0.1.0-rc.1 of open-webui
                deployments:slack-latest conforms: channel latest of slack
                deployments:myapp-0123abc conforms: sha 0123abc of myapp
                team.b/app:v1.0.0 conforms: version 1.0.0 of team.b/app
                team.b/app:stable conforms: an image of team.b/app
            "#]],
        );
    }

    #[test]
    fn the_line_of_a_violation_has_a_suggestion_and_the_outcome() {
        check_images(
            &[
                "infrastructure:litellm-1.80.5",
                "infrastructure:latest",
                "deployments:mcp_github_latest",
                "team-a/app:web-v0.0.0",
                "team-a/app:web-v1.0",
                "team-a/app:wbe-v1.0.0",
            ],
            &expect![[r#"
                ! infrastructure:litellm-1.80.5 does not match {component}-v{semver}; did you mean litellm-v1.80.5? The image would be quarantined, or only lose this tag if it has a conforming tag
                ! infrastructure:latest does not match {component}-v{semver}. The image would be quarantined, or only lose this tag if it has a conforming tag
                ! deployments:mcp_github_latest does not match {component}-v{semver} or {component}-{channel} or {component}-{sha}; did you mean mcp-github-latest? The push would be reported
                ! team-a/app:web-v0.0.0 is forbidden by *-v0.0.0. The image would be archived, or only be reported if it has a conforming tag
                ! team-a/app:web-v1.0 does not match {component}-v{semver}; did you mean web-v1.0.0? The image would be archived, or only be reported if it has a conforming tag
                ! team-a/app:wbe-v1.0.0 has the component wbe, which the policy does not list; the nearest listed component is web; did you mean web-v1.0.0? The image would be archived, or only be reported if it has a conforming tag
            "#]],
        );
    }

    #[test]
    fn a_registry_is_removed_and_a_dot_in_a_name_is_not_a_registry() {
        check_images(
            &[
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/infrastructure:litellm-v1.80.5",
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/team-a/app:web-v1.0.0",
                "localhost:4566/infrastructure:litellm-v1.80.5",
                "localhost/infrastructure:litellm-v1.80.5",
                "team.b/app:v1.0.0",
                "registry.example/team.b/app:v1.0.0",
            ],
            &expect![[r#"
                infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
                team-a/app:web-v1.0.0 conforms: version 1.0.0 of web
                infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
                infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
                team.b/app:v1.0.0 conforms: version 1.0.0 of team.b/app
                team.b/app:v1.0.0 conforms: version 1.0.0 of team.b/app
            "#]],
        );
    }

    #[test]
    fn a_signature_is_not_judged_and_a_quarantine_tag_may_not_be_pushed() {
        let hex = "0a".repeat(32);
        check_images(
            &[
                &format!("infrastructure:sha256-{hex}.sig"),
                &format!("infrastructure:sha256-{hex}"),
                "infrastructure:quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5",
                "deployments:quarantine-20261124-0a0a0a0a0a0a-latest",
                "deployments:quarantine-latest",
            ],
            &expect![[r#"
                infrastructure:sha256-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a.sig is not judged: it is the tag of a signature or an attestation
                infrastructure:sha256-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a is not judged: it is the tag of a signature or an attestation
                ! infrastructure:quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5 is a quarantine tag, which only ECR Warden may add: push the image with another tag
                ! deployments:quarantine-20261124-0a0a0a0a0a0a-latest is a quarantine tag, which only ECR Warden may add: push the image with another tag
                deployments:quarantine-latest conforms: channel latest of quarantine
            "#]],
        );
    }

    #[test]
    fn an_error_about_an_image_names_the_expected_value() {
        check_images(
            &[
                "infrastructur:litellm-v1.80.5",
                "litellm:v1.80.5",
                "infrastructure",
                "infrastructure:",
                ":litellm-v1.80.5",
                "localhost:4566/infrastructure",
                "infrastructure@sha256:0a",
                "infrastructure:litellm-v1.80.5@sha256:0a",
                "Infrastructure:litellm-v1.80.5",
                "https://localhost/infrastructure:litellm-v1.80.5",
                "infrastructure:litellm-v1.80.5+build",
                "infrastructure:a:b",
                "",
            ],
            &expect![[r#"
                infrastructur:litellm-v1.80.5? infrastructur:litellm-v1.80.5 cannot be judged: no rule of the policy governs the repository infrastructur
                litellm:v1.80.5? litellm:v1.80.5 cannot be judged: no rule of the policy governs the repository litellm
                infrastructure? the tag is missing; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure:? the tag is missing; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                :litellm-v1.80.5? "" is not a repository name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                localhost:4566/infrastructure? the tag is missing; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure@sha256:0a? a digest names an image that was pushed already; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure:litellm-v1.80.5@sha256:0a? a digest names an image that was pushed already; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                Infrastructure:litellm-v1.80.5? "Infrastructure" is not a repository name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                https://localhost/infrastructure:litellm-v1.80.5? "/localhost/infrastructure" is not a repository name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                infrastructure:litellm-v1.80.5+build? "litellm-v1.80.5+build" is not a tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                infrastructure:a:b? "a:b" is not a tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                ? the tag is missing; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
            "#]],
        );
    }
}
