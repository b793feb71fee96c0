//! Tags as a grammar: which tags conform, which component they belong to, and what a tag
//! that nearly conforms was meant to be.
//!
//! A [`Template`] is literal text with placeholders, such as `{component}-v{semver}`, or
//! `re:` and a regular expression. Both compile to one regular expression that is matched
//! against a whole tag in linear time, whatever people write.

mod suggestion;
mod template;

use std::fmt;

use serde::{Serialize, Serializer};

pub use template::{CHANNELS, InvalidTemplate, Placeholder, Template};

use crate::image::{Component, RepositoryName, Tag};

/// The templates of a repository's tags, at least one, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    templates: Vec<Template>,
}

/// What a conforming tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conforming {
    /// What the image is a version of.
    pub component: Component,
    /// The other placeholders of the template with their text, in the template's order.
    pub values: Vec<(Placeholder, String)>,
}

impl Grammar {
    /// A grammar of these templates. `None` where there are none: nothing would conform.
    #[must_use]
    pub fn new(templates: Vec<Template>) -> Option<Self> {
        (!templates.is_empty()).then_some(Self { templates })
    }

    /// What `tag` says in `repository`, by the first template that matches it as a whole,
    /// with the shortest component; `None` where no template does, and for signatures and
    /// attestations, which are their subject's business ([`Tag::subject`]).
    #[must_use]
    pub fn conforming(&self, repository: &RepositoryName, tag: &Tag) -> Option<Conforming> {
        if tag.subject().is_some() {
            return None;
        }
        self.templates.iter().find_map(|template| template.conforming(repository, tag))
    }

    /// The conforming tag that `tag` was probably meant to be, if there is a good guess:
    /// the same component and version, spelled as the first template has it that fits.
    /// `None` for a tag that conforms, and for one that says too little.
    #[must_use]
    pub fn suggestion(&self, repository: &RepositoryName, tag: &Tag) -> Option<Tag> {
        if tag.subject().is_some() || self.conforming(repository, tag).is_some() {
            return None;
        }
        let lower = tag.as_str().to_lowercase();
        self.templates
            .iter()
            .filter_map(|template| template.respell(tag))
            .chain([lower])
            .filter_map(|spelled| spelled.parse().ok())
            .find(|candidate| self.conforming(repository, candidate).is_some())
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

    /// Every tag with what the grammar says of it, a line each.
    fn check(templates: &str, tags: &[&str], expected: &Expect) {
        let (grammar, repository) = (grammar(templates), "infrastructure".parse().unwrap());
        let mut lines = String::new();
        for text in tags {
            let tag: Tag = text.parse().unwrap();
            let said = match grammar.conforming(&repository, &tag) {
                Some(Conforming { component, values }) => {
                    let values: Vec<String> =
                        values.iter().map(|(name, text)| format!(" {name}={text}")).collect();
                    format!("{component}:{}", values.concat())
                }
                None => match grammar.suggestion(&repository, &tag) {
                    Some(suggestion) => format!("no; {suggestion}?"),
                    None => "no".to_owned(),
                },
            };
            lines += &format!("{text} -> {said}\n");
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn a_tag_conforms_as_a_whole_and_names_its_component() {
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
    fn a_near_miss_gets_a_suggestion_and_a_guess_does_not() {
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
    fn a_v_that_a_template_does_not_have_is_left_out_of_the_suggestion() {
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
    fn where_something_follows_a_version_it_is_told_from_it() {
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
    fn a_component_ends_before_two_hyphens_and_a_number_has_all_its_digits() {
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
    fn a_grammar_is_another_where_a_template_is() {
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
    fn a_regular_expression_is_anchored_and_names_its_groups() {
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
    fn a_bad_template_says_what_is_wrong_with_it() {
        let check = |template: &str, expected: Expect| {
            expected.assert_eq(&template.parse::<Template>().unwrap_err().to_string());
        };
        check("", expect!["expected a template, such as {component}-v{semver}"]);
        check(
            "{component}-v{semvr}",
            expect!["unknown placeholder {semvr}; the nearest known one is {semver}"],
        );
        check("{component}-{component}", expect!["the placeholder {component} stands in it twice"]);
        check("{component", expect!["a { or } without its counterpart"]);
        check("component}", expect!["a { or } without its counterpart"]);
        check("{component}:{semver}", expect!["':' cannot stand in a tag"]);
        check("re:a b", expect!["white space cannot stand in a tag"]);
        check(
            "re:stable)|(?:x",
            expect!["not a regular expression: found closing ')' without matching '('"],
        );
        check("re:(", expect!["not a regular expression: found open group without closing ')'"]);
        check(
            "re:(?<componnent>[a-z]+)",
            expect!["unknown group componnent; the nearest known one is component"],
        );
        check(
            "re:(((((a{99}){99}){99}){99}){99})",
            expect!["not a regular expression: compiled regex exceeded size limit"],
        );
    }

    proptest! {
        #[test]
        fn a_suggestion_conforms_and_what_conforms_needs_none(
            text in "[A-Za-z0-9]{1,8}([._-]{1,2}[vV]?[A-Za-z0-9]{1,8}){0,4}",
        ) {
            let repository = "infrastructure".parse().unwrap();
            let tag: Tag = text.parse().unwrap();
            for grammar in [grammar(INFRASTRUCTURE), grammar(DEPLOYMENTS), grammar("{slug} {date}")] {
                let conforms = grammar.conforming(&repository, &tag).is_some();
                if let Some(suggestion) = grammar.suggestion(&repository, &tag) {
                    prop_assert!(!conforms && suggestion != tag);
                    prop_assert!(grammar.conforming(&repository, &suggestion).is_some());
                }
            }
        }

        #[test]
        fn what_the_template_writes_it_reads_back(
            component in "[a-z0-9]{1,6}(-[a-z][a-z0-9]{0,5}){0,2}",
            version in "(0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})",
        ) {
            let tag: Tag = format!("{component}-v{version}").parse().unwrap();
            let said = grammar(INFRASTRUCTURE).conforming(&"ab".parse().unwrap(), &tag).unwrap();
            prop_assert_eq!(said.component.as_str(), component);
            prop_assert_eq!(said.values, [(Placeholder::Semver, version)]);
        }
    }
}
