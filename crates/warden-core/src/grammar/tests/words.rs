//! No word of a tag is split in a suggestion, and no date, build or quarantine tag is read as a component or a
//! version.

use super::*;

#[test]
fn b17_a_suggestion_never_splits_a_word() {
    check(
        DEPLOYMENTS,
        &[
            "MyApp-latest",
            "myapp-Latest",
            "api-Prod",
            "Web-ABC1234",
            "sha-ABC1234",
            "LiteLLMv1.80.5",
            "LiteLLM1.80.5",
            "mcp_GitHub_latest",
        ],
        &expect![[r#"
            MyApp-latest -> no; myapp-latest?
            myapp-Latest -> no; myapp-latest?
            api-Prod -> no; api-prod?
            Web-ABC1234 -> no; web-abc1234?
            sha-ABC1234 -> no
            LiteLLMv1.80.5 -> no
            LiteLLM1.80.5 -> no; litellm-v1.80.5?
            mcp_GitHub_latest -> no; mcp-github-latest?
        "#]],
    );
    for (templates, tag) in [
        ("{component}-main-{sha}", "domain-abc1234"),
        ("{component}-release-{sha}", "prerelease-abc1234"),
        ("{component}-build-{number}", "rebuild-12"),
        ("{component}-x-{sha}", "fox-abc1234"),
        ("{semver}_{component}", "1.2.3-my-svc"),
        ("{semver}-{component}", "1.2.3-rc1_my-svc"),
        ("{component}-{semver}", "dev1.2.3"),
        (INFRASTRUCTURE, "srv1.2.3"),
        ("{component}-{branch}-{sha}", "svc-abc1234"),
    ] {
        assert_eq!(suggestion(templates, tag), None, "{templates}, {tag}");
    }
}

#[test]
fn b5_a_component_contains_no_date_and_no_commit_of_git_describe() {
    check(
        DEPLOYMENTS,
        &[
            "svc-2026-11-27-abc1234",
            "svc-2026-11-27-prod",
            "app-20261127t093012z-abc1234",
            "app-gabc1234-prod",
            "gateway-abc1234",
            "postgres-16-abc1234",
        ],
        &expect![[r#"
            svc-2026-11-27-abc1234 -> no
            svc-2026-11-27-prod -> no
            app-20261127t093012z-abc1234 -> no
            app-gabc1234-prod -> no
            gateway-abc1234 -> gateway: sha=abc1234
            postgres-16-abc1234 -> postgres-16: sha=abc1234
        "#]],
    );
}

#[test]
fn b6_a_calendar_version_with_two_digits_of_the_year_gets_no_suggestion() {
    for (templates, tag) in [
        ("v{semver}", "24.04"),
        ("v{semver}", "26.01.05"),
        (INFRASTRUCTURE, "svc-24.04"),
        (INFRASTRUCTURE, "svc-24.10"),
        (INFRASTRUCTURE, "svc-26.01.05"),
        ("{component}-{semver}-{sha}", "svc-26.01.05-abc1234"),
    ] {
        assert_eq!(suggestion(templates, tag), None, "{templates}, {tag}");
    }
    assert_eq!(suggestion(INFRASTRUCTURE, "svc-1.2.03").as_deref(), Some("svc-v1.2.3"));
}

#[test]
fn b6_a_suggestion_never_has_a_branch_or_a_build_as_its_component() {
    for tag in
        ["pr12-1.2.3", "hotfix-1.2.3", "build-12-1.2.3", "svc-build-12-1.2", "gabc1234-1.2.3"]
    {
        assert_eq!(suggestion(INFRASTRUCTURE, tag), None, "{tag}");
    }
}

#[test]
fn b16_a_platform_with_an_underscore_matches_before_another_placeholder() {
    check(
        "{component}-{semver}-{sha}",
        &["svc-1.2.3-amd64-abc1234", "svc-1.2.3-x86_64-abc1234", "svc-1.2.3_abc1234"],
        &expect![[r#"
            svc-1.2.3-amd64-abc1234 -> svc: semver=1.2.3 platform=amd64 sha=abc1234
            svc-1.2.3-x86_64-abc1234 -> svc: semver=1.2.3 platform=x86_64 sha=abc1234
            svc-1.2.3_abc1234 -> no; svc-1.2.3-abc1234?
        "#]],
    );
}

#[test]
fn a_quarantine_tag_matches_no_template() {
    let quarantine = "quarantine-20261124-0a0a0a0a0a0a-web-main-abc1234";
    for templates in ["{component}-{slug}", "{branch}-{sha}", "{slug}"] {
        let tag = quarantine.parse().unwrap();
        assert_eq!(grammar(templates).match_tag(&"apps".parse().unwrap(), &tag), None);
        assert_eq!(suggestion(templates, &quarantine.replace('q', "Q")), None, "{templates}");
    }
}

fn suggestion(templates: &str, tag: &str) -> Option<String> {
    let tag = grammar(templates).suggest(&"apps".parse().unwrap(), &tag.parse().unwrap())?;
    Some(tag.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_word_of_a_suggestion_is_a_word_of_the_tag(
        text in "[A-Za-z]{1,6}([._-]?[A-Za-z]{1,6}){0,2}[._-]?(main[._-])?[vV]?([0-9][.][0-9]([.][0-9])?|[A-Ca-c]{3}[0-9]{4})",
        templates in prop::sample::select(vec![
            DEPLOYMENTS, "{component}-main-{sha}", "{component}-{branch}-{sha}", "{component}-{slug}-v{semver}",
        ]),
    ) {
        let Some(suggestion) = suggestion(templates, &text) else { return Ok(()) };
        let words: Vec<String> =
            text.split(['.', '_', '-']).map(str::to_ascii_lowercase).collect();
        // A separator may be missing before a version, so a word may end before a digit.
        let is_word = |word: &str| {
            words.iter().any(|known| {
                known.strip_prefix(word).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit())
                })
            })
        };
        let letters = |word: &&str| *word != "v" && word.bytes().all(|byte| byte.is_ascii_lowercase());
        for word in suggestion.split(['.', '_', '-']).filter(letters) {
            prop_assert!(is_word(word), "{}: {}", text, suggestion);
        }
    }
}
