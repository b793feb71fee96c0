//! The release line of a tag: the tags whose versions follow each other. A scan is compared with the
//! previous version of the same line, so a scan of one line never resolves a finding of another.

use std::fmt::Write as _;

use crate::grammar::{Grammar, Placeholder, TagKind, is_build_word};
use crate::image::{Component, RepositoryName, Tag};
use crate::retention::is_channel_tag;

/// The release line of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseLine {
    /// The component.
    pub component: Component,
    /// The kind of the tag ([`TagKind`]) without the component, and the channel if the tag has one. For
    /// example `{component}-v{semver} alpine arm64`. The ledger stores histories under this text, so it has
    /// the text of the template, and not its position in the grammar.
    pub kind: String,
    /// The texts of `{branch}` and `{slug}` beside a version, without commits and times. For example
    /// `slug=main`. None if no text is left.
    pub branch: Option<String>,
}

/// Finds the tag that names the release line of an image, and the line. A version is preferred to a
/// channel, because a version gets a channel later; then the first template decides. None if no tag
/// conforms.
#[must_use]
pub fn find_release_line<'t>(
    repository: &RepositoryName,
    grammar: &Grammar,
    tags: &'t [Tag],
) -> Option<(&'t Tag, ReleaseLine)> {
    let conforming = tags.iter().filter_map(|tag| {
        let conforming = grammar.match_tag(repository, tag)?;
        Some((is_channel_tag(grammar.channels(), &conforming, tag), conforming, tag))
    });
    let (is_channel, conforming, tag) =
        conforming.min_by_key(|(is_channel, conforming, tag)| {
            (*is_channel, conforming.template, tag.as_str())
        })?;
    let TagKind { component, template, variant, platform } = conforming.kind();
    let mut kind = grammar.templates().nth(template)?.to_string();
    for part in [variant, platform].into_iter().flatten() {
        let _ = write!(kind, " {part}");
    }
    let mut branches = Vec::new();
    for (name, text) in &conforming.values {
        match name {
            Placeholder::Slug | Placeholder::Branch if conforming.has_version() => {
                // A commit or a time would make each build a branch of its own.
                let words: Vec<&str> =
                    text.split('-').filter(|word| !is_build_word(word)).collect();
                if !words.is_empty() {
                    branches.push(format!("{name}={}", words.join("-")));
                }
            }
            // Without a version beside it, a slug or a branch may be the version.
            Placeholder::Slug | Placeholder::Branch if !is_channel => {}
            Placeholder::Channel | Placeholder::Slug | Placeholder::Branch => {
                let _ = write!(kind, " {name}={text}");
            }
            _ => {}
        }
    }
    let branch = Some(branches.join(" ")).filter(|branch| !branch.is_empty());
    Some((tag, ReleaseLine { component, kind, branch }))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::grammar::default_channels;

    /// Checks the tag and the release line of each image, whose tags are separated by spaces.
    fn check(templates: &str, images: &[&str], expected: &Expect) {
        let templates = templates.split(' ').map(|template| template.parse().unwrap()).collect();
        let grammar = Grammar::new(templates, default_channels(), vec![]).unwrap();
        let repository = "infrastructure".parse().unwrap();
        let mut lines = String::new();
        for image in images {
            let tags: Vec<Tag> = image.split(' ').map(|tag| tag.parse().unwrap()).collect();
            let _ = match find_release_line(&repository, &grammar, &tags) {
                Some((tag, ReleaseLine { component, kind, branch })) => {
                    let branch = branch.map(|branch| format!(", {branch}")).unwrap_or_default();
                    writeln!(lines, "{tag}: {component}, {kind}{branch}")
                }
                None => writeln!(lines, "{image}: none"),
            };
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn versions_builds_variants_and_platforms_are_lines_of_their_own() {
        check(
            "{component}-v{semver} {component}-{sha}",
            &[
                "app-v1.0.0",
                "app-v2.0.0-rc.1",
                "app-abc1234",
                "app-v1.0.0-amd64",
                "app-v1.0.0-arm64",
                "app-v1.0.0-linux-riscv64",
                "app-v1.0.0-alpine",
                "app-v1.0.0-alpine3.19-arm64",
                "app-v1.0.0-rc.1-slim",
                "amd64-v1.0.0",
                "latest",
            ],
            &expect![[r#"
                app-v1.0.0: app, {component}-v{semver}
                app-v2.0.0-rc.1: app, {component}-v{semver}
                app-abc1234: app, {component}-{sha}
                app-v1.0.0-amd64: app, {component}-v{semver} amd64
                app-v1.0.0-arm64: app, {component}-v{semver} arm64
                app-v1.0.0-linux-riscv64: app, {component}-v{semver} linux-riscv64
                app-v1.0.0-alpine: app, {component}-v{semver} alpine
                app-v1.0.0-alpine3.19-arm64: app, {component}-v{semver} alpine3.19 arm64
                app-v1.0.0-rc.1-slim: app, {component}-v{semver} slim
                amd64-v1.0.0: amd64, {component}-v{semver}
                latest: none
            "#]],
        );
    }

    #[test]
    fn a_channel_and_a_branch_are_lines_of_their_own_and_a_slug_alone_is_a_version() {
        check(
            "{component}-{slug}-{sha} {component}.{channel} {component}--{slug} {branch}_{semver}",
            &[
                "app-main-abc1234",
                "app-fix-1-abc1235",
                "app.dev",
                "app.prod",
                "app--b17",
                "app--b18",
                "app--dev",
                "JIRA-1_1.0.0-slim",
            ],
            &expect![[r#"
                app-main-abc1234: app, {component}-{slug}-{sha}, slug=main
                app-fix-1-abc1235: app, {component}-{slug}-{sha}, slug=fix-1
                app.dev: app, {component}.{channel} channel=dev
                app.prod: app, {component}.{channel} channel=prod
                app--b17: app, {component}--{slug}
                app--b18: app, {component}--{slug}
                app--dev: app, {component}--{slug} slug=dev
                JIRA-1_1.0.0-slim: infrastructure, {branch}_{semver} slim, branch=JIRA-1
            "#]],
        );
    }

    #[test]
    fn a_commit_or_a_time_within_a_branch_makes_no_line_of_its_own() {
        check(
            "{branch}-{sha}",
            &["main-1764300000-abc1234", "main-1764400000-abc1235", "20261127-abc1236"],
            &expect![[r#"
                main-1764300000-abc1234: infrastructure, {branch}-{sha}, branch=main
                main-1764400000-abc1235: infrastructure, {branch}-{sha}, branch=main
                20261127-abc1236: infrastructure, {branch}-{sha}
            "#]],
        );
    }

    #[test]
    fn the_line_of_an_image_does_not_depend_on_the_order_of_its_tags() {
        let grammar = "{component}-{channel} {component}-v{semver} {component}-{sha}";
        let line = expect![[r#"
            app-v1.0.0: app, {component}-v{semver}
            app-v1.0.0: app, {component}-v{semver}
        "#]];
        check(
            grammar,
            &["app-prod app-abc1234 app-v1.0.0 odd", "app-v1.0.0 odd app-abc1234 app-prod"],
            &line,
        );
    }

    #[test]
    fn the_line_of_a_tag_does_not_depend_on_the_order_of_the_templates() {
        let line = expect!["app-abc1234: app, {component}-{sha}\n"];
        check("{component}-v{semver} {component}-{sha}", &["app-abc1234"], &line);
        check("{component}-{sha} {component}-v{semver}", &["app-abc1234"], &line);
    }
}
