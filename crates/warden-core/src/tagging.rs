//! Judges a tag by the policy: the tag must match the grammar, its component must be allowed, and no
//! wildcard may forbid the tag.

use chrono::NaiveDate;

use crate::grammar::ConformingTag;
use crate::image::{Component, Digest, RepositoryName, RepositoryPattern, Tag};
use crate::mutability::{Mutability, tag_can_move};
use crate::policy::Policy;
use crate::properties::nearest;
use crate::quarantine::Quarantine;

/// The verdict of the policy about a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagVerdict {
    /// The tag is accepted.
    Conforming(ConformingTag),
    /// The rules do not apply to the tag.
    Exempt(TagExemption),
    /// The tag violates a rule.
    Violation(Violation),
}

/// Why a tag is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagExemption {
    /// The policy has no grammar, so it judges no tag.
    NoGrammar,
    /// The tag belongs to a signature or an attestation, which follows its subject.
    Signature,
    /// The tag is a quarantine tag that enforcement gave to this image.
    Quarantine,
    /// A wildcard of [`crate::policy::Tags::ignored`] matches the tag.
    Ignored,
}

keywords!(
    /// A rule for tags.
    TagRule {
        /// The text must be a valid tag for ECR.
        Syntax = "syntax",
        /// [`crate::policy::Tags::forbidden`].
        Forbidden = "forbidden",
        /// [`crate::policy::Tags::grammar`].
        Grammar = "grammar",
        /// [`crate::policy::Tags::components`].
        Component = "component",
    }
);

/// The violation of a rule by a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: TagRule,
    /// The mistake: the end of a sentence that begins with the tag.
    pub reason: String,
    /// The component of the image. None if the tag does not show the component.
    pub component: Option<Component>,
    /// An accepted tag with the component and the version that the person probably meant.
    pub suggestion: Option<Tag>,
}

/// Judges a tag by its text alone. The first violated rule decides, in the order of [`TagRule`].
#[must_use]
pub fn judge(policy: &Policy, text: &str) -> TagVerdict {
    let Some((tags, grammar)) = policy.tags.as_ref().zip(policy.grammar()) else {
        return TagVerdict::Exempt(TagExemption::NoGrammar);
    };
    let tag: Tag = match text.parse() {
        Ok(tag) => tag,
        Err(error) => {
            let error: crate::image::InvalidTag = error;
            return TagVerdict::Violation(Violation {
                rule: TagRule::Syntax,
                reason: format!("is not a valid tag: {error}"),
                component: None,
                suggestion: None,
            });
        }
    };
    if tag.subject().is_some() {
        return TagVerdict::Exempt(TagExemption::Signature);
    }
    let repository = &policy.repository_name;
    if Quarantine::read(&tag).is_some() {
        return TagVerdict::Violation(Violation {
            rule: TagRule::Grammar,
            reason:
                "has the form of a quarantine tag, but is not a quarantine tag that ECR Warden \
                     gave to this image"
                    .to_owned(),
            component: None,
            suggestion: None,
        });
    }
    if policy.ignores(&tag).is_some() {
        return TagVerdict::Exempt(TagExemption::Ignored);
    }
    if let Some(wildcard) = tags.forbidden.iter().find(|wildcard| wildcard.matches(&tag)) {
        return TagVerdict::Violation(Violation {
            rule: TagRule::Forbidden,
            reason: format!("is forbidden by {wildcard}"),
            component: find_component(policy, &tag),
            suggestion: None,
        });
    }
    let Some(conforming) = grammar.match_tag(repository, &tag) else {
        let suggestion = grammar.suggest(repository, &tag);
        let suggestion = suggestion.and_then(|candidate| correct_component(policy, candidate));
        return TagVerdict::Violation(Violation {
            rule: TagRule::Grammar,
            reason: format!("does not match {}", grammar.to_string().replace(' ', " or ")),
            component: suggestion.as_ref().and_then(|tag| find_component(policy, tag)),
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
            "has the component {}, which the policy does not list; the nearest listed component is \
             {nearest}",
            conforming.component
        ),
        suggestion: correct_component(policy, tag),
        component: Some(conforming.component),
    })
}

/// Judges a tag of the image with this digest. Unlike [`judge`], this function recognises the
/// quarantine tags that enforcement gave to the image.
#[must_use]
pub fn judge_image(policy: &Policy, digest: &Digest, tag: &Tag, today: NaiveDate) -> TagVerdict {
    match find_exemption(digest, tag, today) {
        Some(exemption) => TagVerdict::Exempt(exemption),
        None => judge(policy, tag.as_str()),
    }
}

/// Finds the reason why a tag of the image with this digest is not judged under any grammar, if there
/// is one.
#[must_use]
pub fn find_exemption(digest: &Digest, tag: &Tag, today: NaiveDate) -> Option<TagExemption> {
    if tag.subject().is_some() {
        return Some(TagExemption::Signature);
    }
    let quarantine = Quarantine::read(tag)?;
    quarantine.is_genuine(digest, today).then_some(TagExemption::Quarantine)
}

/// Suggests an accepted tag for an image in quarantine: the tag that the image lost, if the policy accepts
/// that tag by now, or the correction of the tag.
#[must_use]
pub fn suggest_restored_tag(policy: &Policy, quarantine: &Quarantine<'_>) -> Option<Tag> {
    let removed = quarantine.removed_tag()?;
    match judge(policy, removed.as_str()) {
        TagVerdict::Conforming(_) => Some(removed),
        TagVerdict::Violation(violation) => violation.suggestion,
        TagVerdict::Exempt(_) => None,
    }
}

/// Whether a tag is accepted. [`keeps_accepted_tag`] says whether an image with such a tag may lose
/// another tag.
///
/// An accepted tag matches the grammar, its component is allowed, and no wildcard forbids it. The
/// tag of a signature is not accepted, because the signature follows its subject. A quarantine tag
/// is not accepted either, whoever gave it to the image, because it is removed in its time.
///
/// Enforcement, the plan of a sweep, and the last check before a tag is removed all call this
/// function. [`judge`] returns [`TagVerdict::Conforming`] for the same tags. This function is much
/// faster, because it does not look for the reason.
#[must_use]
pub fn is_accepted_tag(policy: &Policy, tag: &Tag) -> bool {
    let Some(grammar) = policy.grammar() else { return false };
    grammar
        .match_tag(&policy.repository_name, tag)
        .is_some_and(|conforming| accepts(policy, tag, &conforming))
}

/// Whether a tag that matches the grammar is accepted ([`is_accepted_tag`]).
pub(crate) fn accepts(policy: &Policy, tag: &Tag, conforming: &ConformingTag) -> bool {
    let Some(tags) = &policy.tags else { return false };
    Quarantine::read(tag).is_none()
        && tags.forbidden.iter().all(|wildcard| !wildcard.matches(tag))
        && (tags.components.is_empty() || tags.components.contains(&conforming.component))
}

/// Whether the only reading of a tag is a commit of digits ([`ConformingTag::has_only_digits_as_sha`]).
#[must_use]
pub fn is_read_as_digits(policy: &Policy, tag: &Tag) -> bool {
    let grammar = policy.grammar();
    let conforming = grammar.and_then(|grammar| grammar.match_tag(&policy.repository_name, tag));
    conforming.is_some_and(|conforming| conforming.has_only_digits_as_sha())
}

/// Whether one of the tags of an image is accepted and cannot move to another image. Only such an image
/// may lose a tag: ECR deletes an image with its last tag.
#[must_use]
pub fn keeps_accepted_tag(policy: &Policy, tags: &[Tag], mutability: Option<&Mutability>) -> bool {
    tags.iter().any(|tag| !tag_can_move(mutability, tag) && is_accepted_tag(policy, tag))
}

/// Whether a repository of this name is expected: a pattern matches the name, or there is no pattern.
#[must_use]
pub fn is_expected(patterns: &[RepositoryPattern], repository: &RepositoryName) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(repository))
}

fn find_component(policy: &Policy, tag: &Tag) -> Option<Component> {
    let conforming = policy.grammar()?.match_tag(&policy.repository_name, tag)?;
    Some(conforming.component)
}

/// Whether the name is probably a misspelling of a listed component: two letters are swapped, a hyphen is added
/// or missing, or one letter of a word of at least four letters differs. Components with other digits, such as
/// `orders-v1` and `orders-v2`, are never misspellings. Neither are `service-a` and `service-b`, or `api` and
/// `app`: the word is too short.
fn is_misspelled(name: &Component, known: &Component) -> bool {
    const SHORT: usize = 3;
    let (name, known) = (name.as_str(), known.as_str());
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().filter(|letter| *letter != '-').collect();
        letters.sort_unstable();
        letters
    };
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_close = |(one, other): (&str, &str)| one == other || one.len().min(other.len()) > SHORT;
    strsim::osa_distance(known, name) <= 1
        && digits(name) == digits(known)
        && (sorted(name) == sorted(known) || name.split('-').zip(known.split('-')).all(is_close))
}

/// Makes an accepted tag from a tag that matches the grammar: the tag itself, or the tag with a
/// only listed component of which the component is a misspelling ([`is_misspelled`]). A larger
/// difference would be a guess, and people run the command that contains the suggestion.
fn correct_component(policy: &Policy, tag: Tag) -> Option<Tag> {
    let (tags, component) = (policy.tags.as_ref()?, find_component(policy, &tag)?);
    let tag = if tags.components.is_empty() || tags.components.contains(&component) {
        tag
    } else {
        // Of two similar components, either may be meant.
        let mut near = tags.components.iter().filter(|known| is_misspelled(&component, known));
        let known = near.next().filter(|_| near.next().is_none())?;
        let spelled = tag.as_str().replacen(component.as_str(), known.as_str(), 1).parse().ok()?;
        // The text that was replaced may be another part of the tag.
        (find_component(policy, &spelled).as_ref() == Some(known)).then_some(spelled)?
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

    /// Checks the verdict about each tag, with one line for each tag.
    fn check(changes: &[(&str, Value)], tags: &[&str], expected: &Expect) {
        let policy = policy(GUIDE, changes);
        let line = |text: &&str| match judge(&policy, text) {
            TagVerdict::Conforming(conforming) => format!("{text}: {}\n", conforming.component),
            TagVerdict::Exempt(exemption) => format!("{text}: {exemption:?}\n"),
            TagVerdict::Violation(violation) => {
                let Violation { rule, reason, component, suggestion } = violation;
                let component = component.map_or_else(String::new, |name| format!(" ({name})"));
                let suggestion = suggestion.map_or_else(String::new, |tag| format!(" -> {tag}"));
                format!("{rule}: {text} {reason}{component}{suggestion}\n")
            }
        };
        expected.assert_eq(&tags.iter().map(line).collect::<String>());
    }

    #[test]
    fn a_tag_that_does_not_match_the_grammar_is_a_violation_with_a_suggestion() {
        check(
            &[],
            &["litellm-v1.80.5", "litellm-1.80.5", "latest", "", "a b", "-x"],
            &expect![[r#"
                litellm-v1.80.5: litellm
                grammar: litellm-1.80.5 does not match {component}-v{semver} (litellm) -> litellm-v1.80.5
                grammar: latest does not match {component}-v{semver}
                syntax:  is not a valid tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                syntax: a b is not a valid tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
                syntax: -x is not a valid tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
            "#]],
        );
    }

    // See case B12 in docs/contributing/prior-art.md.
    #[test]
    fn b12_an_ignored_tag_is_not_judged_and_a_quarantine_tag_is_never_ignored() {
        let quarantine = format!("quarantine-20261124-{}-x", "0".repeat(12));
        let changes = [
            ("Tags.Ignored", json!(["buildcache*", "litellm-v0.*", "quarantine-*"])),
            ("Tags.Forbidden", json!(["buildcache-x"])),
        ];
        check(
            &changes,
            &[
                "buildcache",
                "buildcache-x",
                "litellm-v0.1.0",
                "litellm-v1.0.0",
                "cache",
                &quarantine,
            ],
            &expect![[r#"
                buildcache: Ignored
                buildcache-x: Ignored
                litellm-v0.1.0: Ignored
                litellm-v1.0.0: litellm
                grammar: cache does not match {component}-v{semver}
                grammar: quarantine-20261124-000000000000-x has the form of a quarantine tag, but is not a quarantine tag that ECR Warden gave to this image
            "#]],
        );
    }

    #[test]
    fn the_channels_of_the_rule_take_the_place_of_the_default_ones() {
        let changes = [
            ("Tags.Grammar", json!("{component}-{channel}")),
            ("Tags.Channels", json!(["canary", "pre-prod"])),
        ];
        check(
            &changes,
            &[
                "litellm-canary",
                "litellm-pre-prod",
                "litellm-prod",
                "litellm-Canary",
                "litellm-v1.0.0",
            ],
            &expect![[r#"
                litellm-canary: litellm
                litellm-pre-prod: litellm
                grammar: litellm-prod does not match {component}-{channel}
                grammar: litellm-Canary does not match {component}-{channel} (litellm) -> litellm-canary
                grammar: litellm-v1.0.0 does not match {component}-{channel}
            "#]],
        );
    }

    #[test]
    fn a_component_that_is_not_listed_is_a_violation_and_only_one_letter_is_corrected() {
        check(
            &[("Tags.Components", json!(["litellm", "mcp-github"]))],
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
                component: litelm-v1.0.0 has the component litelm, which the policy does not list; the nearest listed component is litellm (litelm) -> litellm-v1.0.0
                grammar: litelm-1.0.0 does not match {component}-v{semver} (litellm) -> litellm-v1.0.0
                component: mcp-gitlab-v1.0.0 has the component mcp-gitlab, which the policy does not list; the nearest listed component is mcp-github (mcp-gitlab)
                grammar: mcp-gitlab-1.0.0 does not match {component}-v{semver}
                component: postgres-v1.0.0 has the component postgres, which the policy does not list; the nearest listed component is litellm (postgres)
            "#]],
        );
    }

    #[test]
    fn a_repository_is_listed_as_the_component_of_templates_without_a_component() {
        let repository: RepositoryName = "team/app_1".parse().unwrap();
        let judge_with = |name: &str| {
            let changes =
                [("Tags.Components", json!([name])), ("Tags.Grammar", json!(["v{semver}"]))];
            let policy = policy(GUIDE, &changes);
            let policy = Policy { repository_name: repository.clone(), ..policy };
            judge(&policy, "v1.0.0")
        };
        assert!(matches!(judge_with("team/app_1"), TagVerdict::Conforming(_)));
        assert!(matches!(judge_with("app"), TagVerdict::Violation(_)));
    }

    #[test]
    fn a_component_is_corrected_only_if_it_is_a_misspelling_of_one_listed_component() {
        let components = json!([
            "web-a",
            "web-b",
            "orders-v1",
            "api",
            "openwebui",
            "myapp",
            "serverx",
            "servery"
        ]);
        let policy = policy(GUIDE, &[("Tags.Components", components)]);
        for (tag, expected) in [
            ("web-c-v1.0.0", None),
            ("orders-v2-v1.0.0", None),
            ("app-v1.0.0", None),
            ("serverz-v1.0.0", None),
            ("sreverx-v1.0.0", Some("serverx-v1.0.0")),
            ("open-webui-v1.0.0", Some("openwebui-v1.0.0")),
            ("MyApp-v1.0.0", Some("myapp-v1.0.0")),
            ("mayapp-v1.0.0", Some("myapp-v1.0.0")),
        ] {
            let TagVerdict::Violation(Violation { suggestion, .. }) = judge(&policy, tag) else {
                panic!("{tag} conforms");
            };
            assert_eq!(suggestion.as_ref().map(Tag::as_str), expected, "{tag}");
        }
    }

    #[test]
    fn a_forbidden_tag_is_a_violation_although_it_matches_the_grammar_and_is_never_suggested() {
        check(
            &[("Tags.Forbidden", json!(["*-v0.0.0", "latest"]))],
            &["litellm-v0.0.0", "litellm-0.0.0", "latest", "litellm-v0.0.1"],
            &expect![[r#"
                forbidden: litellm-v0.0.0 is forbidden by *-v0.0.0 (litellm)
                grammar: litellm-0.0.0 does not match {component}-v{semver}
                forbidden: latest is forbidden by latest
                litellm-v0.0.1: litellm
            "#]],
        );
    }

    #[test]
    fn signatures_and_genuine_quarantine_tags_are_exempt() {
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
        // An image with a quarantine tag of a future day would be kept until that day.
        assert!(matches!(judge(ours, "2025-11-24"), TagVerdict::Violation(_)));
        let of_another_image = "quarantine-20261124-0b0a0a0a0a0a-litellm-1.80.5";
        assert!(matches!(judge(of_another_image, "2026-11-24"), TagVerdict::Violation(_)));
    }

    #[test]
    fn neither_a_signature_nor_a_quarantine_tag_nor_a_forbidden_version_is_accepted() {
        let changes =
            [("Tags.Components", json!(["a", "b"])), ("Tags.Forbidden", json!(["*-rc.*"]))];
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
    fn without_a_grammar_no_tag_is_judged_and_none_is_accepted() {
        for path in ["Tags", "Tags.Grammar"] {
            let policy = policy(GUIDE, &[(path, Value::Null)]);
            for tag in ["a-v1.0.0", "latest", "-x"] {
                assert_eq!(judge(&policy, tag), TagVerdict::Exempt(TagExemption::NoGrammar));
            }
            assert!(!is_accepted_tag(&policy, &"a-v1.0.0".parse().unwrap()));
        }
    }

    #[test]
    fn every_repository_is_expected_if_there_is_no_pattern() {
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
                ("Tags.Components", json!(["a", "b", "ab"])),
                ("Tags.Forbidden", json!(["*-v0.0.0"])),
            ]);
            let digest: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
            let today = "2026-11-05".parse().unwrap();
            let verdict = judge_image(&policy, &digest, &tag, today);
            let is_conforming = matches!(verdict, TagVerdict::Conforming(_));
            prop_assert_eq!(is_accepted_tag(&policy, &tag), is_conforming);
            let is_exempt = matches!(verdict, TagVerdict::Exempt(_));
            prop_assert_eq!(find_exemption(&digest, &tag, today).is_some(), is_exempt);
        }

        #[test]
        fn a_suggested_tag_violates_no_rule(
            text in "(litellm|litelm|mcp-github|mcpgithub|other)[._-]{0,2}[vV]?[0-9]{1,2}[.][0-9][.][0-9]",
        ) {
            let changes = [
                ("Tags.Components", json!(["litellm", "mcp-github"])),
                ("Tags.Forbidden", json!(["*-v0.*"])),
            ];
            let policy = policy(GUIDE, &changes);
            if let TagVerdict::Violation(Violation { suggestion: Some(tag), .. }) = judge(&policy, &text) {
                prop_assert!(matches!(judge(&policy, tag.as_str()), TagVerdict::Conforming(_)), "{}", tag);
                prop_assert_ne!(tag.as_str(), text);
            }
        }
    }
}
