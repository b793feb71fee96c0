//! `ecr-warden check`: judges image tags before they are pushed, and says what the functions
//! would do about each.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use crate::print::print_error;
use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use warden_core::grammar::{ConformingTag, Placeholder};
use warden_core::image::{RepositoryName, Tag};
use warden_core::policy::{Policies, Policy, TagEnforcement};
use warden_core::properties::nearest;
use warden_core::quarantine::Quarantine;
use warden_core::tagging::{TagVerdict, Violation, judge};

/// The options of `ecr-warden check`.
#[derive(Args)]
pub struct Options {
    /// The images to be pushed, with or without the registry before the repository.
    #[arg(required = true, value_name = "REPOSITORY:TAG")]
    images: Vec<Image>,
    /// The stack whose policy decides: its output `Governance`, read with the AWS CLI.
    // Without a name, the AWS CLI describes every stack.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "ecr-warden",
        value_parser = NonEmptyStringValueParser::new()
    )]
    stack: String,
    /// A file with that output instead of a stack; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    policy: Option<PathBuf>,
}

/// The exit code when a tag could not be judged.
const NOT_JUDGED: u8 = 2;

/// Prints one line for each image, and an error on standard error for each image that could not
/// be judged. The worst image decides the exit code.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    check_all(options).unwrap_or_else(|error| {
        print_error(&error);
        ExitCode::from(NOT_JUDGED)
    })
}

fn check_all(options: &Options) -> anyhow::Result<ExitCode> {
    let policies = load_policies(options)?;
    let mut worst = 0;
    for image in &options.images {
        match check(&policies, image) {
            Ok(said) => {
                writeln!(std::io::stdout(), "{}", said.line).context("writing the result")?;
                worst = worst.max(u8::from(!said.may_be_pushed));
            }
            Err(error) => {
                print_error(&error);
                worst = NOT_JUDGED;
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// Loads the policies of the repositories: at least one.
fn load_policies(options: &Options) -> anyhow::Result<Policies> {
    let (list, of) = match options.policy.as_deref() {
        None => {
            (crate::stack::governance(&options.stack)?, format!("of the stack {}", options.stack))
        }
        Some(file) if file == Path::new("-") => {
            let mut list = String::new();
            let read = std::io::stdin().read_to_string(&mut list);
            read.context("reading the policy on standard input")?;
            (list, "on standard input".to_owned())
        }
        Some(file) => {
            let of = format!("in {}", file.display());
            let list = std::fs::read_to_string(file).map_err(|error| {
                anyhow!(
                    "no policy {of} ({error}); expected a file with a stack's output Governance, \
                     or - for standard input"
                )
            });
            (list?, of)
        }
    };
    let policies = Policies::parse(&list)
        .with_context(|| format!("the policy {of} is no output Governance of a stack"))?;
    ensure!(
        !policies.is_empty(),
        "the policy {of} is empty: the stack governs no repositories (its CreateEcrRepositories is \
         false)"
    );
    Ok(policies)
}

/// What somebody wants to push.
#[derive(Clone, Debug)]
pub struct Image {
    /// Without the registry; before it with what may be one, or the beginning of the name.
    names: Vec<RepositoryName>,
    tag: Tag,
}

/// What is said of an image.
#[derive(Debug)]
pub struct Said {
    /// Whether nothing would be done about it.
    pub may_be_pushed: bool,
    /// The image, and what the policy says of it.
    pub line: String,
}

impl FromStr for Image {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const EXPECTED: &str = "expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5";
        if text.contains('@') {
            bail!("a digest is of what has been pushed; {EXPECTED}");
        }
        // As Docker tells a registry from the beginning of a name.
        let registry = text
            .split_once('/')
            .map(|(registry, _)| registry)
            .filter(|registry| registry.contains(['.', ':']) || *registry == "localhost");
        let start = registry.map_or(0, |registry| registry.len() + 1);
        let (name, tag) = text
            .get(start..)
            .and_then(|rest| rest.split_once(':'))
            .filter(|(_, tag)| !tag.is_empty())
            .with_context(|| format!("there is no tag; {EXPECTED}"))?;
        let bare = name.parse::<RepositoryName>();
        let whole = registry.and_then(|registry| format!("{registry}/{name}").parse().ok());
        let names: Vec<RepositoryName> = whole.into_iter().chain(bare.clone()).collect();
        if let (Err(error), []) = (bare, &names[..]) {
            bail!("{name:?} is no name of a repository: {error}");
        }
        match tag.parse() {
            Ok(tag) => Ok(Self { names, tag }),
            Err(error) => bail!("{tag:?} is no tag: {error}"),
        }
    }
}

/// What the policy of the image's repository says of it. Of an image of no repository that is
/// known, nothing can be said.
pub fn check(policies: &Policies, image: &Image) -> anyhow::Result<Said> {
    let rule = image.names.iter().find_map(|name| policies.rule_for(name));
    let policy = rule.with_context(|| unknown(policies, image))?;
    let (may_be_pushed, said) = say(policy, &image.tag);
    Ok(Said { may_be_pushed, line: format!("{}:{} {said}", policy.repository_name, image.tag) })
}

fn unknown(policies: &Policies, image: &Image) -> String {
    let known: Vec<&str> = policies.iter().map(|policy| policy.repository_name.as_str()).collect();
    let name = image.names.last().map_or("", RepositoryName::as_str);
    let nearest = nearest(name, &known).unwrap_or_default();
    format!(
        "{name}:{} cannot be judged: the policy does not know the repository {name}; the nearest \
         of those that it knows ({}) is {nearest}",
        image.tag,
        known.join(", ")
    )
}

/// Whether it may be pushed, and the rest of a sentence that begins with the image.
fn say(policy: &Policy, tag: &Tag) -> (bool, String) {
    // Whether it stands is a matter of the image's digest, which nobody knows yet. Where it
    // does, it is what the image is cleaned up by.
    if Quarantine::read(tag).is_some() {
        let said =
            "is a quarantine tag, which only ECR Warden gives: push it under a name of its own";
        return (false, said.to_owned());
    }
    match judge(policy, tag.as_str()) {
        TagVerdict::Conforming(conforming) => (true, format!("conforms: {}", Shown(&conforming))),
        TagVerdict::Exempt(_) => {
            (true, "is not judged: it is a signature's or an attestation's".to_owned())
        }
        TagVerdict::Violation(Violation { reason, suggestion, .. }) => {
            let meant = suggestion.map(|meant| format!("; did you mean {meant}? "));
            let meant = meant.unwrap_or_else(|| ". ".to_owned());
            (false, format!("{reason}{meant}{}", done(policy.governance.tags.enforcement)))
        }
    }
}

/// What [`warden_core::enforcement`] does about a violation.
fn done(enforcement: TagEnforcement) -> &'static str {
    match enforcement {
        TagEnforcement::Report => "It would be reported",
        TagEnforcement::Quarantine => {
            "It would be quarantined, or only taken away if the image has a tag that conforms"
        }
        TagEnforcement::Archive => "Its image would be archived, unless it has a tag that conforms",
    }
}

/// A conforming tag, as `version 1.80.5 of litellm`.
struct Shown<'c>(&'c ConformingTag);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConformingTag { component, values } = self.0;
        if values.is_empty() {
            f.write_str("an image ")?;
        }
        for (name, value) in values {
            match name {
                Placeholder::Semver => write!(f, "version {value} ")?,
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

    /// What is said of each image by the policy of the stack that the tests have, a line each;
    /// an exclamation mark stands before what does not let it be pushed.
    fn say(images: &[&str], expected: &Expect) {
        let policies = Policies::parse(&crate::stack::tests::governance()).unwrap();
        let line = |text: &&str| {
            let image: Image = match text.parse() {
                Ok(image) => image,
                Err(error) => return format!("{text}? {error}\n"),
            };
            match check(&policies, &image) {
                Ok(Said { may_be_pushed: true, line }) => line + "\n",
                Ok(Said { may_be_pushed: false, line }) => format!("! {line}\n"),
                Err(error) => format!("{text}? {error:#}\n"),
            }
        };
        expected.assert_eq(&images.iter().map(line).collect::<String>());
    }

    #[test]
    fn what_conforms_is_told_with_what_it_is() {
        say(
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
    fn what_does_not_is_told_with_what_was_meant_and_what_would_be_done() {
        say(
            &[
                "infrastructure:litellm-1.80.5",
                "infrastructure:latest",
                "deployments:mcp_github_latest",
                "team-a/app:web-v0.0.0",
                "team-a/app:web-v1.0",
                "team-a/app:wbe-v1.0.0",
            ],
            &expect![[r#"
                ! infrastructure:litellm-1.80.5 is not made of {component}-v{semver}; did you mean litellm-v1.80.5? It would be quarantined, or only taken away if the image has a tag that conforms
                ! infrastructure:latest is not made of {component}-v{semver}. It would be quarantined, or only taken away if the image has a tag that conforms
                ! deployments:mcp_github_latest is not made of {component}-v{semver} or {component}-{channel} or {component}-{sha}; did you mean mcp-github-latest? It would be reported
                ! team-a/app:web-v0.0.0 is forbidden by *-v0.0.0. Its image would be archived, unless it has a tag that conforms
                ! team-a/app:web-v1.0 is not made of {component}-v{semver}; did you mean web-v1.0.0? Its image would be archived, unless it has a tag that conforms
                ! team-a/app:wbe-v1.0.0 is of the component wbe, which the policy does not know; the nearest known one is web; did you mean web-v1.0.0? Its image would be archived, unless it has a tag that conforms
            "#]],
        );
    }

    #[test]
    fn a_registry_is_taken_off_and_a_dot_in_a_name_is_none() {
        say(
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
    fn what_belongs_to_another_image_is_not_judged_and_a_quarantine_tag_is_not_for_pushing() {
        let hex = "0a".repeat(32);
        say(
            &[
                &format!("infrastructure:sha256-{hex}.sig"),
                &format!("infrastructure:sha256-{hex}"),
                "infrastructure:quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5",
                "deployments:quarantine-20261124-0a0a0a0a0a0a-latest",
                "deployments:quarantine-latest",
            ],
            &expect![[r#"
                infrastructure:sha256-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a.sig is not judged: it is a signature's or an attestation's
                infrastructure:sha256-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a is not judged: it is a signature's or an attestation's
                ! infrastructure:quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5 is a quarantine tag, which only ECR Warden gives: push it under a name of its own
                ! deployments:quarantine-20261124-0a0a0a0a0a0a-latest is a quarantine tag, which only ECR Warden gives: push it under a name of its own
                deployments:quarantine-latest conforms: channel latest of quarantine
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_judged_says_what_was_expected() {
        say(
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
                infrastructur:litellm-v1.80.5? infrastructur:litellm-v1.80.5 cannot be judged: the policy does not know the repository infrastructur; the nearest of those that it knows (infrastructure, deployments, team-a/app, team.b/app) is infrastructure
                litellm:v1.80.5? litellm:v1.80.5 cannot be judged: the policy does not know the repository litellm; the nearest of those that it knows (infrastructure, deployments, team-a/app, team.b/app) is team.b/app
                infrastructure? there is no tag; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure:? there is no tag; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                :litellm-v1.80.5? "" is no name of a repository: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                localhost:4566/infrastructure? there is no tag; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure@sha256:0a? a digest is of what has been pushed; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                infrastructure:litellm-v1.80.5@sha256:0a? a digest is of what has been pushed; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
                Infrastructure:litellm-v1.80.5? "Infrastructure" is no name of a repository: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                https://localhost/infrastructure:litellm-v1.80.5? "/localhost/infrastructure" is no name of a repository: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'
                infrastructure:litellm-v1.80.5+build? "litellm-v1.80.5+build" is no tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                infrastructure:a:b? "a:b" is no tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                ? there is no tag; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
            "#]],
        );
    }
}
