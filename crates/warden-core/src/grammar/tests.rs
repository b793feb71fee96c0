use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

mod words;

const INFRASTRUCTURE: &str = "{component}-v{semver}";
const DEPLOYMENTS: &str = "{component}-v{semver} {component}-{channel} {component}-{sha}";

fn grammar(templates: &str) -> Grammar {
    let templates = templates.split(' ').map(|template| template.parse().unwrap()).collect();
    Grammar::new(templates, default_channels(), vec![]).unwrap()
}

/// Checks how the grammar reads each tag, with one line for each tag.
fn check(templates: &str, tags: &[&str], expected: &Expect) {
    let (grammar, repository) = (grammar(templates), "infrastructure".parse().unwrap());
    let mut lines = String::new();
    for text in tags {
        let tag: Tag = text.parse().unwrap();
        let result = match grammar.match_tag(&repository, &tag) {
            Some(ConformingTag { component, values, .. }) => {
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
        ab-c -> no
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
        &["v1.2.3", "1.2.3", "build-7", "build-007", "20261123", "2026-11-23", "20261323", "a.b-c"],
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
    check("{component}-{component}", expect!["the template has the placeholder {component} twice"]);
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

/// The kind of a tag, as text. None for a violation.
fn kind(grammar: &Grammar, tag: &str) -> Option<String> {
    let conforming = grammar.match_tag(&"apps".parse().unwrap(), &tag.parse().unwrap())?;
    Some(grammar.describe_kind(&conforming.kind()))
}

#[test]
fn a_pre_release_that_is_the_name_of_a_variant_or_a_platform_is_no_part_of_the_version() {
    check(
        INFRASTRUCTURE,
        &[
            "app-v1.0.0-rc.1",
            "app-v1.0.0-alpine",
            "app-v1.0.0-rc.1-slim-bookworm",
            "app-v1.0.0-arm64",
            "app-v1.0.0-alpine3.20-linux-amd64",
        ],
        &expect![[r#"
            app-v1.0.0-rc.1 -> app: semver=1.0.0-rc.1
            app-v1.0.0-alpine -> app: semver=1.0.0 variant=alpine
            app-v1.0.0-rc.1-slim-bookworm -> app: semver=1.0.0-rc.1 variant=slim-bookworm
            app-v1.0.0-arm64 -> app: semver=1.0.0 platform=arm64
            app-v1.0.0-alpine3.20-linux-amd64 -> app: semver=1.0.0 variant=alpine3.20 platform=linux-amd64
        "#]],
    );
    check(
        "{component}-{semver}-{variant} {component}-{semver}-{platform} {platform}-{component}-{version}",
        &[
            "app-1.0.0-alpine",
            "app-1.0.0-rc.1-alpine-slim",
            "app-1.0.0-arm64-alpine",
            "app-1.0.0-alpine-arm64",
            "app-1.0.0-arm64",
            "arm64-app-1.0",
            "app-1.0.0-rc.1",
        ],
        &expect![[r#"
            app-1.0.0-alpine -> app: semver=1.0.0 variant=alpine
            app-1.0.0-rc.1-alpine-slim -> app: semver=1.0.0-rc.1 variant=alpine-slim
            app-1.0.0-arm64-alpine -> app: semver=1.0.0 platform=arm64 variant=alpine
            app-1.0.0-alpine-arm64 -> app: semver=1.0.0 variant=alpine platform=arm64
            app-1.0.0-arm64 -> app: semver=1.0.0 platform=arm64
            arm64-app-1.0 -> app: platform=arm64 version=1.0
            app-1.0.0-rc.1 -> no
        "#]],
    );
    check(
        "re:(?<component>[a-z]+)_(?<semver>[0-9.]+(?:-[a-z0-9.-]+)?) re:(?<semver>[0-9-]+[a-z]+)[.](?<variant>.+)",
        &["app_1.2-alpine", "app_1.2-beta", "1-alpine.x"],
        &expect![[r#"
            app_1.2-alpine -> app: semver=1.2 variant=alpine
            app_1.2-beta -> app: semver=1.2-beta
            1-alpine.x -> infrastructure: semver=1-alpine variant=x
        "#]],
    );
}

#[test]
fn b5_a_build_is_never_a_component() {
    let tags = ["main-abc1234-1700000000", "myapp-20261127-abc1234", "myapp-1700000000-abc1234"];
    check(
        DEPLOYMENTS,
        &tags,
        &expect![[r#"
            main-abc1234-1700000000 -> no
            myapp-20261127-abc1234 -> no
            myapp-1700000000-abc1234 -> no
        "#]],
    );
    check(
        "{branch}-{sha}-{timestamp} {component}-{date}-{sha} {component}-{timestamp}-{sha}",
        &tags,
        &expect![[r#"
            main-abc1234-1700000000 -> infrastructure: branch=main sha=abc1234 timestamp=1700000000
            myapp-20261127-abc1234 -> myapp: date=20261127 sha=abc1234
            myapp-1700000000-abc1234 -> myapp: timestamp=1700000000 sha=abc1234
        "#]],
    );
}

#[test]
fn b6_a_version_without_a_component_gets_no_suggestion() {
    let tags = [
        "12.0.1",
        "24.04",
        "2026.11.27",
        "v12.0.1",
        "1.0.0-rc.1",
        "1700000000",
        "7-1.2.3",
        "main-1.2.3",
        "release-1.2.3",
        "sha-1.2.3",
        "pr-12-1.2.3",
        "abc12.0.1",
        "svc-2026.01.05",
        "2026-1.0.0",
    ];
    for grammar in [grammar(INFRASTRUCTURE), grammar(DEPLOYMENTS), grammar("{component}-{semver}")]
    {
        for tag in tags {
            let tag = tag.parse().unwrap();
            assert_eq!(grammar.suggest(&"apps".parse().unwrap(), &tag), None, "{tag}");
        }
    }
}

#[test]
fn b7_digits_are_a_commit_only_where_no_template_reads_them_otherwise() {
    check(
        DEPLOYMENTS,
        &["myapp-999999", "myapp-1000000", "MYAPP-1000000", "myapp-1000000000000"],
        &expect![[r#"
            myapp-999999 -> no
            myapp-1000000 -> myapp: sha=1000000
            MYAPP-1000000 -> no
            myapp-1000000000000 -> myapp: sha=1000000000000
        "#]],
    );
    for (template, tag, expected) in [
        ("{component}-{number}", "myapp-1000000", "number=1000000"),
        ("{component}-{timestamp}", "myapp-1700000000", "timestamp=1700000000"),
        ("{component}-{date}", "myapp-20261127", "date=20261127"),
        ("re:(?<component>[a-z]+)-(?<calver>[0-9]+)", "myapp-202611271", "calver=202611271"),
        // No number has a leading zero, so the digits can only be a commit.
        ("{component}-{number}", "myapp-0123456", "sha=0123456"),
        ("{component}-{slug}", "myapp-1000000", "sha=1000000"),
    ] {
        // The order of the templates does not matter.
        for grammar in [
            format!("{{component}}-{{sha}} {template}"),
            format!("re:x {template} {{component}}-{{sha}}"),
        ] {
            if template.contains("slug") && grammar.starts_with("re:") {
                continue;
            }
            let grammar = self::grammar(&grammar);
            let read = grammar.match_tag(&"apps".parse().unwrap(), &tag.parse().unwrap()).unwrap();
            let values: Vec<String> =
                read.values.iter().map(|(name, text)| format!("{name}={text}")).collect();
            assert_eq!(values, [expected], "{grammar} {tag}");
            assert_eq!(
                read.has_only_digits_as_sha(),
                expected.starts_with("sha"),
                "{grammar} {tag}"
            );
        }
    }
}

#[test]
fn b16_a_variant_and_b14_a_platform_is_a_kind_of_its_own() {
    let grammar = grammar(DEPLOYMENTS);
    let table = [
        ("app-v1.0.0", "app"),
        ("app-v1.1.0-rc.1", "app"),
        ("app-v1.0.0-alpine", "app alpine"),
        ("app-v1.0.0-slim", "app slim"),
        ("app-v1.0.0-arm64", "app arm64"),
        ("app-v1.0.0-slim-arm64", "app slim arm64"),
        ("app-prod", "app, tags {component}-{channel}"),
        ("app-abc1234", "app, tags {component}-{sha}"),
    ];
    for (tag, expected) in table {
        assert_eq!(kind(&grammar, tag).as_deref(), Some(expected));
    }
    assert_eq!(
        kind(&self::grammar(INFRASTRUCTURE), "app-v1.0.0-slim").as_deref(),
        Some("app slim")
    );
}

#[test]
fn b24_a_calendar_version_has_leading_zeros_in_january() {
    check(
        "{component}-{calver}-{sha}",
        &["svc-2026.11.27-abc1234", "svc-2026.01.05-abc1234", "svc-2026-01-05-0123456"],
        &expect![[r#"
            svc-2026.11.27-abc1234 -> svc: calver=2026.11.27 sha=abc1234
            svc-2026.01.05-abc1234 -> svc: calver=2026.01.05 sha=abc1234
            svc-2026-01-05-0123456 -> svc: calver=2026-01-05 sha=0123456
        "#]],
    );
    // A version has no leading zero. The cure is another template, and not another tag.
    check(
        "{component}-{semver}-{sha}",
        &["svc-2026.11.27-abc1234", "svc-2026.01.05-abc1234"],
        &expect![[r#"
            svc-2026.11.27-abc1234 -> svc: semver=2026.11.27 sha=abc1234
            svc-2026.01.05-abc1234 -> no
        "#]],
    );
}

#[test]
fn a_boundary_between_placeholders_is_never_inside_a_run_of_digits() {
    check(
        "{component}{number} {number}{sha} {slug}{sha}",
        &["app12", "abc12", "app1", "12abc1234", "app-abc1234", "app0123456"],
        &expect![[r#"
            app12 -> app: number=12
            abc12 -> no
            app1 -> app: number=1
            12abc1234 -> no
            app-abc1234 -> no
            app0123456 -> infrastructure: slug=app sha=0123456
        "#]],
    );
}

#[test]
fn a_component_that_is_named_like_something_else_is_doubted() {
    let doubt = |name: &str| doubt_component(&name.parse().unwrap());
    for name in ["main", "master", "pr-123", "feature-x", "dependabot-npm"] {
        assert_eq!(doubt(name), Some("a branch"), "{name}");
    }
    for name in ["myapp-417", "2026", "main-abc1234", "myapp-1700000000"] {
        assert_eq!(doubt(name), Some("a build"), "{name}");
    }
    assert_eq!(["sha", "myapp-sha", "build"].map(doubt), [Some("a word before a version"); 3]);
    assert_eq!(["svc-2026-11", "svc-2026-11-27"].map(doubt), [Some("a date"); 2]);
    assert_eq!(["prod", "latest"].map(doubt), [Some("a channel"); 2]);
    for name in
        ["litellm", "open-webui", "postgres-16", "mcp-github", "main-api", "prod-api", "7zip"]
    {
        assert_eq!(doubt(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

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
        component in "[a-z][a-z0-9]{0,5}(-[a-z][a-z0-9]{0,5}){0,2}",
        version in "(0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})",
    ) {
        let tag: Tag = format!("{component}-v{version}").parse().unwrap();
        let found = grammar(INFRASTRUCTURE).match_tag(&"ab".parse().unwrap(), &tag).unwrap();
        prop_assert_eq!(found.component.as_str(), component);
        prop_assert_eq!(found.values, [(Placeholder::Semver, version)]);
    }

    #[test]
    fn no_boundary_between_placeholders_is_inside_a_run_of_hexadecimal_digits(
        template in super::template::tests::any_template(),
        texts in proptest::collection::vec("[a-c0-2]{1,8}|a|-|app|1[.]0[.]2(-rc){0,1}(-alpine){0,1}(-arm64){0,1}|24[.]04|20261231|0123456|1700000000|latest|slim|amd64", 13),
    ) {
        let mut texts = texts.iter();
        let tag: String = template.split_inclusive('}').map(|part| match part.split_once('{') {
            Some((literal, _)) => format!("{literal}{}", texts.next().unwrap()),
            None => part.to_owned(),
        }).collect();
        let Ok(tag) = tag.parse::<Tag>() else { return Ok(()) };
        let template: Template = template.parse().unwrap();
        let repository = "infrastructure".parse().unwrap();
        let Some(read) = template.match_tag(0, &default_channels(), &repository, &tag) else { return Ok(()) };
        // Without the literals, the values are the tag: in order, and each exactly once.
        let text = template.to_string();
        let mut rest = tag.as_str();
        let mut before = None;
        for part in text.split_inclusive('}') {
            let (literal, name) = part.split_once('{').unwrap_or((part, ""));
            rest = rest.strip_prefix(literal).unwrap();
            let Ok(name) = name.trim_end_matches('}').parse::<Placeholder>() else { continue };
            let value = match name {
                Placeholder::Component => read.component.as_str(),
                name => read.value(name).unwrap(),
            };
            let first = value.bytes().next().unwrap();
            if let (true, Some(last)) = (literal.is_empty(), before) {
                prop_assert!(!(u8::is_ascii_hexdigit(&last) && first.is_ascii_hexdigit()), "{} {}", template, tag);
            }
            rest = rest.strip_prefix(value).unwrap();
            if name == Placeholder::Semver {
                for suffix in [Placeholder::Variant, Placeholder::Platform] {
                    let is_implicit = !text.contains(&format!("{{{suffix}}}"));
                    if let Some(value) = read.value(suffix).filter(|_| is_implicit) {
                        rest = rest.strip_prefix(&format!("-{value}")).unwrap_or(rest);
                    }
                }
            }
            before = tag.as_str().as_bytes().get(tag.as_str().len() - rest.len() - 1).copied();
        }
    }

    #[test]
    fn the_kind_does_not_depend_on_the_version(
        component in "[g-z]{1,6}(-[g-z]{1,5}){0,2}",
        (one, other) in ("[0-9]{1,3}[.][0-9][.][0-9](-rc[.][0-9]){0,1}", "[1-9][.][0-9][.][0-9]{1,2}"),
        suffix in "|-alpine|-slim-bookworm|-arm64|-alpine-linux-arm-v7",
    ) {
        let grammar = grammar(DEPLOYMENTS);
        let tags = [one, other].map(|version| format!("{component}-v{version}{suffix}"));
        if let [Some(one), Some(other)] = tags.map(|tag| kind(&grammar, &tag)) {
            prop_assert!(one.starts_with(&component));
            prop_assert_eq!(one, other);
        }
    }
}
