//! The grammar of tags. It decides whether a tag conforms, finds the component of the tag, and
//! suggests a conforming tag in place of one that nearly conforms.
//!
//! A [`Template`] is literal text with placeholders, such as `{component}-v{semver}`, or
//! `re:` and a regular expression. Both compile to one regular expression, which must match the
//! whole tag. A match takes linear time for every template.

mod suggestion;
mod template;

use std::fmt;

use serde::{Serialize, Serializer};

pub use template::{CHANNELS, InvalidTemplate, Placeholder, Template};

use crate::image::{Component, RepositoryName, Tag};

/// The templates for the tags of a repository, in order. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    templates: Vec<Template>,
}

/// The parts of a tag that conforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConformingTag {
    /// The component.
    pub component: Component,
    /// The other placeholders, each with the text that it matched, in the order of the template.
    pub values: Vec<(Placeholder, String)>,
}

impl Grammar {
    /// Makes a grammar of these templates. `None` for an empty list: no tag would conform.
    #[must_use]
    pub fn new(templates: Vec<Template>) -> Option<Self> {
        (!templates.is_empty()).then_some(Self { templates })
    }

    /// The templates, in order.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter()
    }

    /// Matches a tag. The first template that matches the whole tag decides, with the shortest
    /// component. `None` if no template matches. `None` also for the tag of a signature or an
    /// attestation ([`Tag::subject`]): it follows its subject, and no rule judges it.
    #[must_use]
    pub fn match_tag(&self, repository: &RepositoryName, tag: &Tag) -> Option<ConformingTag> {
        if tag.subject().is_some() {
            return None;
        }
        self.templates.iter().find_map(|template| template.match_tag(repository, tag))
    }

    /// Suggests a conforming tag for a tag that nearly conforms: the same component and version,
    /// spelled by the first template that fits. `None` for a tag that conforms, and for a tag whose
    /// component or version is not clear.
    #[must_use]
    pub fn suggest(&self, repository: &RepositoryName, tag: &Tag) -> Option<Tag> {
        if tag.subject().is_some() || self.match_tag(repository, tag).is_some() {
            return None;
        }
        let lower = tag.as_str().to_lowercase();
        self.templates
            .iter()
            .filter_map(|template| template.respell(tag))
            .chain([lower])
            .filter_map(|spelled| spelled.parse().ok())
            .find(|candidate| self.match_tag(repository, candidate).is_some())
    }
}

impl fmt::Display for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, template) in self.templates.iter().enumerate() {
            write!(f, "{}{template}", if nth == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for Grammar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    const INFRASTRUCTURE: &str = "{component}-v{semver}";
    const DEPLOYMENTS: &str = "{component}-v{semver} {component}-{channel} {component}-{sha}";

    fn grammar(templates: &str) -> Grammar {
        let templates = templates.split(' ').map(|template| template.parse().unwrap()).collect();
        Grammar::new(templates).unwrap()
    }

    /// Checks how the grammar reads each tag, with one line for each tag.
    fn check(templates: &str, tags: &[&str], expected: &Expect) {
        let (grammar, repository) = (grammar(templates), "infrastructure".parse().unwrap());
        let mut lines = String::new();
        for text in tags {
            let tag: Tag = text.parse().unwrap();
            let result = match grammar.match_tag(&repository, &tag) {
                Some(ConformingTag { component, values }) => {
                    let values: Vec<String> =
                        values.iter().map(|(name, text)| format!(" {name}={text}")).collect();
                    format!("{component}:{}", values.concat())
                }
                None => match grammar.suggest(&repository, &tag) {
                    Some(suggestion) => format!("no; {suggestion}?"),
                    None => "no".to_owned(),
                },
            };
            lines += &format!("{text} -> {result}\n");
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn the_whole_tag_must_match_and_names_its_component() {
        check(
            INFRASTRUCTURE,
            &[
                "litellm-v1.80.5",
                "open-web-ui-v0.1.0-rc.1",
                "vllm-v1.0.0",
                "a-v1.0.0-b-v2.0.0",
                "litellm-v1.80.5.1",
                "litellm-v01.80.5",
                "-v1.0.0".trim_start_matches('-'),
                "sha256-0",
            ],
            &expect![[r#"
                litellm-v1.80.5 -> litellm: semver=1.80.5
                open-web-ui-v0.1.0-rc.1 -> open-web-ui: semver=0.1.0-rc.1
                vllm-v1.0.0 -> vllm: semver=1.0.0
                a-v1.0.0-b-v2.0.0 -> a: semver=1.0.0-b-v2.0.0
                litellm-v1.80.5.1 -> no
                litellm-v01.80.5 -> no; litellm-v1.80.5?
                v1.0.0 -> no
                sha256-0 -> no
            "#]],
        );
    }

    #[test]
    fn a_tag_gets_a_suggestion_only_if_its_component_and_version_are_clear() {
        check(
            INFRASTRUCTURE,
            &[
                "litellm-1.80.5",
                "LiteLLM-v1.80.5",
                "latest",
                "litellm_v1.80.5",
                "litellm-V1.80.5",
                "litellm1.80.5",
                "Open_WebUI-0.1",
                "litellm-v1",
                "litellm-latest",
                "litellm",
            ],
            &expect![[r#"
                litellm-1.80.5 -> no; litellm-v1.80.5?
                LiteLLM-v1.80.5 -> no; litellm-v1.80.5?
                latest -> no
                litellm_v1.80.5 -> no; litellm-v1.80.5?
                litellm-V1.80.5 -> no; litellm-v1.80.5?
                litellm1.80.5 -> no; litellm-v1.80.5?
                Open_WebUI-0.1 -> no; open-webui-v0.1.0?
                litellm-v1 -> no
                litellm-latest -> no
                litellm -> no
            "#]],
        );
    }

    #[test]
    fn a_suggestion_omits_a_v_that_the_template_does_not_have() {
        check(
            "{component}-{semver}",
            &["litellm-1.80.5", "litellm-v1.80.5", "litellm-V1.80"],
            &expect![[r#"
                litellm-1.80.5 -> litellm: semver=1.80.5
                litellm-v1.80.5 -> no; litellm-1.80.5?
                litellm-V1.80 -> no; litellm-1.80.0?
            "#]],
        );
        check(
            "{component}-{number}",
            &["litellm-7", "litellm-v7"],
            &expect![[r#"
            litellm-7 -> litellm: number=7
            litellm-v7 -> no
        "#]],
        );
    }

    #[test]
    fn a_component_after_a_version_is_not_read_as_a_pre_release() {
        check(
            "{semver}-{component}",
            &["1.0.2-a", "1.0.2-rc.1-open-webui", "1.0.2", "1.0-a"],
            &expect![[r#"
                1.0.2-a -> a: semver=1.0.2
                1.0.2-rc.1-open-webui -> open-webui: semver=1.0.2-rc.1
                1.0.2 -> no
                1.0-a -> no; 1.0.0-a?
            "#]],
        );
    }

    #[test]
    fn a_component_ends_before_two_hyphens_and_a_number_takes_all_its_digits() {
        check(
            "{component}--{slug}",
            &["ab--c", "a-b--c-d", "a--b--c", "ab-c"],
            &expect![[r#"
            ab--c -> ab: slug=c
            a-b--c-d -> a-b: slug=c-d
            a--b--c -> no; a--b-c?
            ab-c -> no; a--b-c?
        "#]],
        );
        check(
            "build-{number} {number}.{component}",
            &["build-170", "build-0", "build-00", "17.a", "0.a", "01.a"],
            &expect![[r#"
                build-170 -> infrastructure: number=170
                build-0 -> infrastructure: number=0
                build-00 -> no; build-0?
                17.a -> a: number=17
                0.a -> a: number=0
                01.a -> no; 1.a?
            "#]],
        );
    }

    #[test]
    fn grammars_with_different_templates_are_not_equal() {
        assert_eq!(grammar(DEPLOYMENTS), grammar(DEPLOYMENTS));
        assert_ne!(grammar(INFRASTRUCTURE), grammar("{component}-{semver}"));
        assert_ne!(grammar(INFRASTRUCTURE), grammar(DEPLOYMENTS));
    }

    #[test]
    fn the_first_template_that_matches_decides() {
        check(
            DEPLOYMENTS,
            &[
                "mcp-github-v1.0.0",
                "slack-latest",
                "mcp-github-latest",
                "custom-app-dev",
                "myapp-0123abc",
                "myapp-0123ABC",
                "custom-app-Prod",
                "mcp_github_latest",
                "latest",
                "myapp-feature",
                "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "litellm-1.80.5.1",
            ],
            &expect![[r#"
                mcp-github-v1.0.0 -> mcp-github: semver=1.0.0
                slack-latest -> slack: channel=latest
                mcp-github-latest -> mcp-github: channel=latest
                custom-app-dev -> custom-app: channel=dev
                myapp-0123abc -> myapp: sha=0123abc
                myapp-0123ABC -> no; myapp-0123abc?
                custom-app-Prod -> no; custom-app-prod?
                mcp_github_latest -> no; mcp-github-latest?
                latest -> no
                myapp-feature -> no
                sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef -> no
                litellm-1.80.5.1 -> no
            "#]],
        );
    }

    #[test]
    fn without_a_component_the_repository_is_the_component() {
        check(
            "v{semver} build-{number} {date} {component}.{slug}",
            &[
                "v1.2.3",
                "1.2.3",
                "build-7",
                "build-007",
                "20261123",
                "2026-11-23",
                "20261323",
                "a.b-c",
            ],
            &expect![[r#"
                v1.2.3 -> infrastructure: semver=1.2.3
                1.2.3 -> no; v1.2.3?
                build-7 -> infrastructure: number=7
                build-007 -> no; build-7?
                20261123 -> infrastructure: date=20261123
                2026-11-23 -> no; 20261123?
                20261323 -> no
                a.b-c -> a: slug=b-c
            "#]],
        );
    }

    #[test]
    fn a_regular_expression_must_match_the_whole_tag_and_its_groups_are_placeholders() {
        check(
            "re:(?<component>[a-z]+)_r(?<number>[0-9]+)|stable",
            &["litellm_r12", "xlitellm_r12.", "stable", "unstable", "LiteLLM_R12"],
            &expect![[r#"
                litellm_r12 -> litellm: number=12
                xlitellm_r12. -> no
                stable -> infrastructure:
                unstable -> no
                LiteLLM_R12 -> no; litellm_r12?
            "#]],
        );
    }

    #[test]
    fn the_error_of_an_invalid_template_names_the_mistake() {
        let check = |template: &str, expected: Expect| {
            expected.assert_eq(&template.parse::<Template>().unwrap_err().to_string());
        };
        check("", expect!["expected a template, such as {component}-v{semver}"]);
        check(
            "{component}-v{semvr}",
            expect!["unknown placeholder {semvr}; the nearest placeholder is {semver}"],
        );
        check(
            "{component}-{component}",
            expect!["the template has the placeholder {component} twice"],
        );
        check("{component", expect!["the template has a { or } without its counterpart"]);
        check("component}", expect!["the template has a { or } without its counterpart"]);
        check("{component}:{semver}", expect!["a tag cannot contain ':'"]);
        check("re:a b", expect!["a tag cannot contain white space"]);
        check(
            "re:stable)|(?:x",
            expect!["invalid regular expression: found closing ')' without matching '('"],
        );
        check("re:(", expect!["invalid regular expression: found open group without closing ')'"]);
        check(
            "re:(?<componnent>[a-z]+)",
            expect!["unknown group componnent; the nearest placeholder is component"],
        );
        check(
            "re:(((((a{99}){99}){99}){99}){99})",
            expect!["invalid regular expression: compiled regex exceeded size limit"],
        );
    }

    proptest! {
        #[test]
        fn a_suggestion_conforms_and_a_conforming_tag_gets_no_suggestion(
            text in "[A-Za-z0-9]{1,8}([._-]{1,2}[vV]?[A-Za-z0-9]{1,8}){0,4}",
        ) {
            let repository = "infrastructure".parse().unwrap();
            let tag: Tag = text.parse().unwrap();
            for grammar in [grammar(INFRASTRUCTURE), grammar(DEPLOYMENTS), grammar("{slug} {date}")] {
                let conforms = grammar.match_tag(&repository, &tag).is_some();
                if let Some(suggestion) = grammar.suggest(&repository, &tag) {
                    prop_assert!(!conforms && suggestion != tag);
                    prop_assert!(grammar.match_tag(&repository, &suggestion).is_some());
                }
            }
        }

        #[test]
        fn a_tag_written_by_a_template_is_read_back_by_it(
            component in "[a-z0-9]{1,6}(-[a-z][a-z0-9]{0,5}){0,2}",
            version in "(0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})",
        ) {
            let tag: Tag = format!("{component}-v{version}").parse().unwrap();
            let found = grammar(INFRASTRUCTURE).match_tag(&"ab".parse().unwrap(), &tag).unwrap();
            prop_assert_eq!(found.component.as_str(), component);
            prop_assert_eq!(found.values, [(Placeholder::Semver, version)]);
        }
    }
}
