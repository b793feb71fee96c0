//! What a push may be called: the grammar, the components there are, and the tags that are
//! refused although they conform.

use chrono::NaiveDate;

use crate::grammar::Conforming;
use crate::image::{Component, Digest, RepositoryName, RepositoryPattern, Tag};
use crate::policy::Policy;
use crate::properties::nearest;
use crate::quarantine::Quarantine;

/// What the policy says of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagVerdict {
    /// It may be called that.
    Conforming(Conforming),
    /// It is none of the grammar's business.
    Exempt(TagExemption),
    /// It may not.
    Violation(Violation),
}

/// Why a tag is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagExemption {
    /// It is a signature's or an attestation's, and so its subject's business.
    Signature,
    /// We gave it to the image.
    Quarantine,
}

keywords!(
    /// The rules of tags.
    TagRule {
        /// What ECR takes for a tag at all.
        Syntax = "syntax",
        /// [`crate::policy::Tags::forbidden`].
        Forbidden = "forbidden",
        /// [`crate::policy::Tags::grammar`].
        Grammar = "grammar",
        /// [`crate::policy::Tags::components`].
        Component = "component",
    }
);

/// A tag that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: TagRule,
    /// What is wrong with the tag: the end of a sentence that begins with it.
    pub reason: String,
    /// What the image is a version of, as far as that can be told.
    pub component: Option<Component>,
    /// A tag that breaks no rule, and was probably meant.
    pub suggestion: Option<Tag>,
}

/// Judges what somebody wants to call an image, by its name alone. The first rule that is
/// broken decides, in the order of [`TagRule`].
#[must_use]
pub fn judge(policy: &Policy, text: &str) -> TagVerdict {
    let tag: Tag = match text.parse() {
        Ok(tag) => tag,
        Err(error) => {
            let error: crate::image::InvalidTag = error;
            return TagVerdict::Violation(Violation {
                rule: TagRule::Syntax,
                reason: format!("is no tag: {error}"),
                component: None,
                suggestion: None,
            });
        }
    };
    if tag.subject().is_some() {
        return TagVerdict::Exempt(TagExemption::Signature);
    }
    let (repository, tags) = (&policy.repository_name, &policy.governance.tags);
    if Quarantine::read(&tag).is_some() {
        return TagVerdict::Violation(Violation {
            rule: TagRule::Grammar,
            reason: "has the form of a quarantine tag, which only ECR Warden adds, and is not one \
                     of this image"
                .to_owned(),
            component: None,
            suggestion: None,
        });
    }
    if let Some(wildcard) = tags.forbidden.iter().find(|wildcard| wildcard.matches(&tag)) {
        return TagVerdict::Violation(Violation {
            rule: TagRule::Forbidden,
            reason: format!("is forbidden by {wildcard}"),
            component: component(policy, &tag),
            suggestion: None,
        });
    }
    let Some(conforming) = tags.grammar.conforming(repository, &tag) else {
        let suggestion = tags.grammar.suggestion(repository, &tag);
        let suggestion = suggestion.and_then(|candidate| acceptable(policy, candidate));
        return TagVerdict::Violation(Violation {
            rule: TagRule::Grammar,
            reason: format!("is not made of {}", tags.grammar.to_string().replace(' ', " or ")),
            component: suggestion.as_ref().and_then(|tag| component(policy, tag)),
            suggestion,
        });
    };
    if tags.components.is_empty() || tags.components.contains(&conforming.component) {
        return TagVerdict::Conforming(conforming);
    }
    let known: Vec<&str> = tags.components.iter().map(Component::as_str).collect();
    let nearest = nearest(conforming.component.as_str(), &known).unwrap_or_default();
    TagVerdict::Violation(Violation {
        rule: TagRule::Component,
        reason: format!(
            "is of the component {}, which the policy does not know; the nearest known one is {nearest}",
            conforming.component
        ),
        suggestion: acceptable(policy, tag),
        component: Some(conforming.component),
    })
}

/// Judges a tag of the image of this digest as it is today. Unlike [`judge`], it recognises the
/// quarantine tags that we gave to the image.
#[must_use]
pub fn judge_image(policy: &Policy, digest: &Digest, tag: &Tag, today: NaiveDate) -> TagVerdict {
    match exemption(digest, tag, today) {
        Some(exemption) => TagVerdict::Exempt(exemption),
        None => judge(policy, tag.as_str()),
    }
}

/// Why a tag of the image of this digest is not judged today, if it is not.
#[must_use]
pub fn exemption(digest: &Digest, tag: &Tag, today: NaiveDate) -> Option<TagExemption> {
    if tag.subject().is_some() {
        return Some(TagExemption::Signature);
    }
    let quarantine = Quarantine::read(tag)?;
    quarantine.is_genuine(digest, today).then_some(TagExemption::Quarantine)
}

/// Whether a tag is accepted: an image with an accepted tag may lose each of its other tags.
///
/// An accepted tag matches the grammar, its component is allowed, and no wildcard forbids it. The
/// tag of a signature is not accepted, because the signature follows its subject. A quarantine tag
/// is not accepted either, whoever gave it to the image, because it is removed in its time.
///
/// Enforcement, the plan of a sweep, and the last check before a tag is removed all ask this
/// function. [`judge`] gives [`TagVerdict::Conforming`] for the same tags; this is much faster,
/// because it does not look for the reason.
#[must_use]
pub fn is_accepted_tag(policy: &Policy, tag: &Tag) -> bool {
    if tag.subject().is_some() || Quarantine::read(tag).is_some() {
        return false;
    }
    let tags = &policy.governance.tags;
    let is_allowed =
        |component: &Component| tags.components.is_empty() || tags.components.contains(component);
    tags.forbidden.iter().all(|wildcard| !wildcard.matches(tag))
        && component(policy, tag).is_some_and(|component| is_allowed(&component))
}

/// Whether a repository of this name is expected: one of the patterns says so, or there are
/// none.
#[must_use]
pub fn is_expected(patterns: &[RepositoryPattern], repository: &RepositoryName) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(repository))
}

fn component(policy: &Policy, tag: &Tag) -> Option<Component> {
    let conforming = policy.governance.tags.grammar.conforming(&policy.repository_name, tag)?;
    Some(conforming.component)
}

/// A tag that breaks no rule: `tag`, which conforms, or the same of a component that is
/// known and one letter away. More than a letter would be a guess, and what is suggested is
/// the command that people run.
fn acceptable(policy: &Policy, tag: Tag) -> Option<Tag> {
    let (tags, of) = (&policy.governance.tags, component(policy, &tag)?);
    let tag = if tags.components.is_empty() || tags.components.contains(&of) {
        tag
    } else {
        let is_near = |known: &&Component| strsim::osa_distance(known.as_str(), of.as_str()) <= 1;
        let known = tags.components.iter().find(is_near)?;
        // Checked below: the first occurrence need not be the component.
        let spelled = tag.as_str().replacen(of.as_str(), known.as_str(), 1).parse().ok()?;
        (component(policy, &spelled).as_ref() == Some(known)).then_some(spelled)?
    };
    tags.forbidden.iter().all(|wildcard| !wildcard.matches(&tag)).then_some(tag)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::{GUIDE, policy};

    /// What is said of each tag, a line each.
    fn check(changes: &[(&str, Value)], tags: &[&str], expected: &Expect) {
        let policy = policy(GUIDE, changes);
        let line = |text: &&str| match judge(&policy, text) {
            TagVerdict::Conforming(conforming) => format!("{text}: {}\n", conforming.component),
            TagVerdict::Exempt(why) => format!("{text}: {why:?}\n"),
            TagVerdict::Violation(violation) => {
                let Violation { rule, reason, component, suggestion } = violation;
                let component = component.map_or_else(String::new, |it| format!(" ({it})"));
                let meant = suggestion.map_or_else(String::new, |tag| format!(" -> {tag}"));
                format!("{rule}: {text} {reason}{component}{meant}\n")
            }
        };
        expected.assert_eq(&tags.iter().map(line).collect::<String>());
    }

    #[test]
    fn the_grammar_decides_and_suggests() {
        check(
            &[],
            &["litellm-v1.80.5", "litellm-1.80.5", "latest", "", "a b", "-x"],
            &expect![[r#"
                litellm-v1.80.5: litellm
                grammar: litellm-1.80.5 is not made of {component}-v{semver} (litellm) -> litellm-v1.80.5
                grammar: latest is not made of {component}-v{semver}
                syntax:  is no tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                syntax: a b is no tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                syntax: -x is no tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
            "#]],
        );
    }

    #[test]
    fn an_unknown_component_is_refused_and_only_a_slip_is_corrected() {
        check(
            &[("Governance.Tags.Components", json!(["litellm", "mcp-github"]))],
            &[
                "litellm-v1.0.0",
                "litelm-v1.0.0",
                "litelm-1.0.0",
                "mcp-gitlab-v1.0.0",
                "mcp-gitlab-1.0.0",
                "postgres-v1.0.0",
            ],
            &expect![[r#"
                litellm-v1.0.0: litellm
                component: litelm-v1.0.0 is of the component litelm, which the policy does not know; the nearest known one is litellm (litelm) -> litellm-v1.0.0
                grammar: litelm-1.0.0 is not made of {component}-v{semver} (litellm) -> litellm-v1.0.0
                component: mcp-gitlab-v1.0.0 is of the component mcp-gitlab, which the policy does not know; the nearest known one is mcp-github (mcp-gitlab)
                grammar: mcp-gitlab-1.0.0 is not made of {component}-v{semver}
                component: postgres-v1.0.0 is of the component postgres, which the policy does not know; the nearest known one is litellm (postgres)
            "#]],
        );
    }

    #[test]
    fn what_is_forbidden_is_refused_although_it_conforms_and_is_never_suggested() {
        check(
            &[("Governance.Tags.Forbidden", json!(["*-v0.0.0", "latest"]))],
            &["litellm-v0.0.0", "litellm-0.0.0", "latest", "litellm-v0.0.1"],
            &expect![[r#"
                forbidden: litellm-v0.0.0 is forbidden by *-v0.0.0 (litellm)
                grammar: litellm-0.0.0 is not made of {component}-v{semver}
                forbidden: latest is forbidden by latest
                litellm-v0.0.1: litellm
            "#]],
        );
    }

    #[test]
    fn signatures_and_our_own_quarantine_tags_are_exempt() {
        let hex = "0a".repeat(32);
        let (policy, digest) = (policy(GUIDE, &[]), format!("sha256:{hex}").parse().unwrap());
        let judge = |tag: &str, today: &str| {
            judge_image(&policy, &digest, &tag.parse().unwrap(), today.parse().unwrap())
        };
        for kind in ["", ".sig", ".att", ".sbom"] {
            let exempt = TagVerdict::Exempt(TagExemption::Signature);
            assert_eq!(judge(&format!("sha256-{hex}{kind}"), "2026-11-24"), exempt);
        }
        let ours = "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5";
        assert_eq!(judge(ours, "2026-11-24"), TagVerdict::Exempt(TagExemption::Quarantine));
        // One of a day to come would be kept until then.
        assert!(matches!(judge(ours, "2025-11-24"), TagVerdict::Violation(_)));
        let another_s = "quarantine-20261124-0b0a0a0a0a0a-litellm-1.80.5";
        assert!(matches!(judge(another_s, "2026-11-24"), TagVerdict::Violation(_)));
    }

    #[test]
    fn neither_a_signature_nor_a_quarantine_tag_nor_a_forbidden_version_is_accepted() {
        let changes = [
            ("Governance.Tags.Components", json!(["a", "b"])),
            ("Governance.Tags.Forbidden", json!(["*-rc.*"])),
        ];
        let policy = policy(GUIDE, &changes);
        let is_accepted = |tag: &str| is_accepted_tag(&policy, &tag.parse().unwrap());
        assert!(is_accepted("a-v1.0.0"));
        for tag in [
            "a-1.0.0",
            "a-v1.0.0-rc.1",
            "c-v1.0.0",
            "quarantine-20261124-0a0a0a0a0a0a-a-v1.0.0",
            &format!("sha256-{}", "0a".repeat(32)),
            &format!("sha256-{}.sig", "0a".repeat(32)),
        ] {
            assert!(!is_accepted(tag), "{tag}");
        }
    }

    #[test]
    fn any_repository_is_expected_where_no_pattern_says_otherwise() {
        let name = "team-a/app".parse().unwrap();
        let patterns = |texts: &[&str]| -> Vec<RepositoryPattern> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(is_expected(&[], &name));
        assert!(is_expected(&patterns(&["infrastructure", "team-*"]), &name));
        assert!(!is_expected(&patterns(&["infrastructure", "team-*/api"]), &name));
    }

    proptest! {
        #[test]
        fn the_accepted_tags_are_those_that_are_judged_to_conform(
            text in "[a-c]{1,2}-v?[01][.]0[.]0|quarantine-2026110[1-9]-0[ab]0a0a0a0a0a-(x|a-v1[.]0[.]0)|sha256-(0a){32}|[a-z-]{1,9}",
        ) {
            let Ok(tag) = text.parse::<Tag>() else { return Ok(()) };
            let policy = policy(GUIDE, &[
                ("Governance.Tags.Components", json!(["a", "b", "ab"])),
                ("Governance.Tags.Forbidden", json!(["*-v0.0.0"])),
            ]);
            let digest: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
            let today = "2026-11-05".parse().unwrap();
            let verdict = judge_image(&policy, &digest, &tag, today);
            let is_conforming = matches!(verdict, TagVerdict::Conforming(_));
            prop_assert_eq!(is_accepted_tag(&policy, &tag), is_conforming);
            let is_exempt = matches!(verdict, TagVerdict::Exempt(_));
            prop_assert_eq!(exemption(&digest, &tag, today).is_some(), is_exempt);
        }

        #[test]
        fn what_is_suggested_breaks_no_rule(
            text in "(litellm|litelm|mcp-github|mcpgithub|other)[._-]{0,2}[vV]?[0-9]{1,2}[.][0-9][.][0-9]",
        ) {
            let changes = [
                ("Governance.Tags.Components", json!(["litellm", "mcp-github"])),
                ("Governance.Tags.Forbidden", json!(["*-v0.*"])),
            ];
            let policy = policy(GUIDE, &changes);
            if let TagVerdict::Violation(Violation { suggestion: Some(tag), .. }) = judge(&policy, &text) {
                prop_assert!(matches!(judge(&policy, tag.as_str()), TagVerdict::Conforming(_)), "{}", tag);
                prop_assert_ne!(tag.as_str(), text);
            }
        }
    }
}
