use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::InUse;

/// A policy of two rules, as CloudFormation sends it.
pub(crate) fn two_rules() -> Value {
    json!({
        "Version": "1",
        "Rules": [
            {
                "Name": "platform",
                "Repositories": ["infrastructure"],
                "Owner": "platform-team",
                "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "quarantine"},
                "Retention": {"Enforcement": "archive", "Untagged": "delete"},
            },
            {"Name": "rest", "Repositories": ["*"], "Scan": {"Threshold": "CRITICAL"}},
        ],
    })
}

fn settings(mutability: &str) -> Provisioned {
    let filters =
        if mutability.ends_with("_WITH_EXCLUSION") { json!(["sha256-*"]) } else { json!([]) };
    let settings = json!({
        "Repositories": [{
            "RepositoryName": "infrastructure",
            "ImageTagMutability": mutability,
            "ImageTagMutabilityExclusionFilters": filters,
            "LifecycleTagCount": "12",
            "LifecycleUntaggedDays": "5",
            "LifecycleTagPrefixes": ["v"],
            "LifecycleScope": "repository",
        }],
        "InUseSources": ["pull-time", "inspector"],
    });
    let node = Node::from(&settings);
    let mut reader = Reader::new(&node);
    let settings = Provisioned::read(&mut reader);
    assert_eq!(reader.finish(), []);
    settings
}

fn patterns(texts: &[&str]) -> Vec<RepositoryPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn read(policy: &Value) -> Governance {
    Governance::read(&Node::from(policy), settings("IMMUTABLE"), None).unwrap()
}

/// Checks the mistakes of a policy under a ceiling, with one line for each.
fn check_mistakes(policy: &Value, mutability: &str, ceiling: &[&str], expected: &Expect) {
    let (node, ceiling) = (Node::from(policy), patterns(ceiling));
    let read = Governance::read(&node, settings(mutability), Some(&ceiling));
    let Invalid(problems) = read.unwrap_err();
    let lines: Vec<String> = problems.iter().map(|problem| format!("{problem}\n")).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn the_normal_form_has_every_default_and_is_read_back() {
    let governance = read(&two_rules());
    let normalised = governance.normalised();
    expect![[r#"{"Policy":{"Version":"1","Unmatched":"ignore","Replicas":[],"Rules":[{"Name":"platform","Repositories":["infrastructure"],"Owner":"platform-team","Tags":{"Grammar":["{component}-v{semver}"],"Components":[],"Forbidden":[],"Ignored":[],"Channels":["latest","dev","staging","prod"],"Enforcement":"quarantine","QuarantineDays":14},"Retention":{"Keep":20,"Untagged":"delete","UntaggedDays":7,"Expire":[],"ProtectTags":[],"ProtectPulledWithinDays":30,"MinimumAgeDays":7,"MaxRemovePercent":25,"WhenReplicated":"report","Enforcement":"archive"},"Scan":{"Threshold":"HIGH"}},{"Name":"rest","Repositories":["*"],"Scan":{"Threshold":"CRITICAL"}}]},"Repositories":[{"RepositoryName":"infrastructure","ImageTagMutability":"IMMUTABLE","ImageTagMutabilityExclusionFilters":[],"LifecycleTagCount":12,"LifecycleUntaggedDays":5,"LifecycleTagPrefixes":["v"],"LifecycleScope":"repository"}],"InUseSources":["pull-time","inspector"]}"#]].assert_eq(&normalised);
    assert_eq!(Governance::parse(&normalised), Ok(governance.clone()));
    let document = &governance.document;
    assert_eq!(PolicyDocument::parse(&document.normalised()).as_ref(), Ok(document));
}

#[test]
fn the_version_depends_on_the_policy_and_on_the_provisioned_repositories() {
    let governance = read(&two_rules());
    let version = governance.version();
    assert_eq!(version.as_str().parse::<PolicyVersion>(), Ok(version.clone()));
    assert_eq!(read(&two_rules()).version(), version);
    let mut other = governance.clone();
    other.document.rules.pop();
    assert_ne!(other.version(), version);
    let mut other = governance;
    other.provisioned.repositories.clear();
    assert_ne!(other.version(), version);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let governance = read(&two_rules());
    let rule = |name: &str| {
        let policy = governance.rule_for(&name.parse().unwrap(), RepositoryOrigin::Pushed);
        policy.map(|policy| policy.rule.to_string())
    };
    assert_eq!(rule("infrastructure").as_deref(), Some("platform"));
    assert_eq!(rule("team/app").as_deref(), Some("rest"));
    let mut policy = two_rules();
    policy["Rules"].as_array_mut().unwrap().pop();
    let governance = read(&policy);
    let other = "team/app".parse().unwrap();
    assert_eq!(governance.rule_for(&other, RepositoryOrigin::Pushed), None);
}

#[test]
fn a_provisioned_repository_takes_its_settings_from_the_stack() {
    let governance = read(&two_rules());
    let name = "infrastructure".parse().unwrap();
    let policy = governance.rule_for(&name, RepositoryOrigin::Pushed).unwrap();
    let retention = policy.retention.unwrap();
    assert_eq!((retention.keep, retention.untagged_days), (12, 5));
    assert_eq!(retention.untagged, CleanupEnforcement::Delete);
    assert_eq!(policy.mutability.unwrap().setting, TagMutability::Immutable);
    assert_eq!(policy.lifecycle_scope, LifecycleScope::Repository);
    assert_eq!(policy.lifecycle_tag_prefixes, ["v".parse().unwrap()]);
    assert_eq!(policy.owner.unwrap().as_str(), "platform-team");

    assert_eq!(policy.in_use, InUse::Inspector);

    let other = governance.rule_for(&"team/app".parse().unwrap(), RepositoryOrigin::Pushed);
    let other = other.unwrap();
    assert_eq!((other.tags, other.retention, other.mutability), (None, None, None));
    assert_eq!(other.lifecycle_scope, LifecycleScope::Component);
}

#[test]
fn wildcards_never_match_repositories_that_other_software_fills() {
    let mut policy = two_rules();
    policy["Replicas"] = json!(["copies/*"]);
    let named = [
        "cdk-hnb659fds-container-assets-123456789012-us-east-1",
        "myapp0a1b2c3d/resizer0123abcdrepo",
        "docker-hub/library/nginx",
        "copies/app",
        "mirror",
    ];
    for (name, origin, governs_by_wildcard) in [
        (named[0], RepositoryOrigin::Pushed, false),
        (named[1], RepositoryOrigin::Pushed, false),
        (named[2], RepositoryOrigin::PullThroughCache, false),
        (named[2], RepositoryOrigin::Pushed, true),
        (named[3], RepositoryOrigin::Pushed, false),
        (named[4], RepositoryOrigin::Replication, false),
        (named[4], RepositoryOrigin::Pushed, true),
        ("cdk-assets", RepositoryOrigin::Pushed, true),
        ("myapp/resizerrepo", RepositoryOrigin::Pushed, true),
    ] {
        let repository = name.parse().unwrap();
        let is_governed = |policy: &Value| read(policy).rule_for(&repository, origin).is_some();
        assert_eq!(is_governed(&policy), governs_by_wildcard, "{name} {origin:?}");
        let mut full = policy.clone();
        full["Rules"][1]["Repositories"] = json!(["*", name]);
        assert!(is_governed(&full), "{name} {origin:?}");
    }
}

#[test]
fn a_rule_only_reports_in_a_replica() {
    let mut policy = two_rules();
    policy["Rules"][0]["Repositories"] = json!(["copies/app", "mirror"]);
    policy["Rules"][0]["Tags"]["Enforcement"] = json!("archive");
    policy["Replicas"] = json!(["copies/*"]);
    let governance = read(&policy);
    let enforcements = |name: &str, origin: RepositoryOrigin| {
        let policy = governance.rule_for(&name.parse().unwrap(), origin).unwrap();
        (policy.tags.unwrap().enforcement, policy.retention.unwrap().enforcement)
    };
    let reports = (TagEnforcement::Report, CleanupEnforcement::Report);
    let enforces = (TagEnforcement::Archive, CleanupEnforcement::Archive);
    assert_eq!(enforcements("copies/app", RepositoryOrigin::Pushed), reports);
    assert_eq!(enforcements("mirror", RepositoryOrigin::Replication), reports);
    assert_eq!(enforcements("mirror", RepositoryOrigin::PullThroughCache), enforces);
    assert_eq!(enforcements("mirror", RepositoryOrigin::Pushed), enforces);
}

#[test]
fn the_origin_of_a_repository_is_its_cache_rule_or_its_replication() {
    let origin = |name: &str, prefixes: &[&str], is_replica: bool| {
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        RepositoryOrigin::classify(&name.parse().unwrap(), &prefixes, is_replica)
    };
    assert_eq!(
        origin("docker/nginx", &["quay", "docker"], false),
        RepositoryOrigin::PullThroughCache
    );
    assert_eq!(origin("docker/nginx", &["docker/"], false), RepositoryOrigin::PullThroughCache);
    assert_eq!(origin("docker/nginx", &["docker"], true), RepositoryOrigin::Replication);
    assert_eq!(origin("docker-own/nginx", &["docker"], false), RepositoryOrigin::Pushed);
    assert_eq!(origin("docker", &["docker"], false), RepositoryOrigin::Pushed);
    // The name of a repository of the prefix ROOT looks like any other name.
    assert_eq!(origin("team/app", &["ROOT"], false), RepositoryOrigin::PullThroughCache);
}

#[test]
fn a_rule_that_enforces_outside_of_the_ceiling_is_a_mistake() {
    let mut policy = two_rules();
    policy["Rules"][0]["Repositories"] = json!(["infrastructure", "team-a/*", "team-*"]);
    policy["Rules"][1]["Retention"] = json!({"Enforcement": "delete"});
    check_mistakes(
        &policy,
        "IMMUTABLE",
        &["infrastructure", "team-a/*"],
        &expect![[r#"
            Rules[0] (platform).Repositories[2]: team-* is outside the parameter EnforceRepositories (infrastructure, team-a/*), and the rule platform enforces: add team-* to EnforceRepositories, or set Tags.Enforcement to report
            Rules[1] (rest).Repositories[0]: * is outside the parameter EnforceRepositories (infrastructure, team-a/*), and the rule rest enforces: add * to EnforceRepositories, or set Retention.Enforcement to report
        "#]],
    );
    let names: Vec<String> = (0..21).map(|nth| format!("team-{nth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check_mistakes(
        &json!({"Version": "1", "Rules": []}),
        "IMMUTABLE",
        &names,
        &expect![[r#"
            EnforceRepositories: expected at most 20 patterns, got 21
        "#]],
    );
    let ceiling = patterns(&["infra*"]);
    let node = Node::from(&two_rules());
    assert!(Governance::read(&node, Provisioned::default(), Some(&ceiling)).is_ok());
}

#[test]
fn quarantine_needs_tags_that_cannot_move() {
    check_mistakes(
        &two_rules(),
        "MUTABLE",
        &["infrastructure"],
        &expect![[r#"
            Rules[0] (platform).Tags.Enforcement: quarantine needs tags that cannot move, and ImageTagMutability of infrastructure is MUTABLE: a mutable tag could move to another image just before it is removed; use report or archive, or IMMUTABLE tags
        "#]],
    );
    let node = Node::from(&two_rules());
    for mutability in ["IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"] {
        assert!(Governance::read(&node, settings(mutability), None).is_ok());
    }
}

#[test]
fn a_setting_without_effect_is_a_warning() {
    let policy = json!({
        "Version": "1",
        "Replicas": ["copies/*"],
        "Rules": [
            {"Name": "a", "Repositories": ["team-*"], "Tags": {"Enforcement": "archive"}},
            {"Name": "b", "Repositories": ["team-a/*", "team-b"]},
            {"Name": "c", "Repositories": ["copies/app"], "Retention": {"Enforcement": "delete"}},
            {"Name": "d", "Repositories": ["copies/a*", "cdk-x-container-assets-*", "other"]},
            {"Name": "e", "Repositories": ["team-a/*", "more"]},
        ],
    });
    let lines: Vec<String> =
        read(&policy).warnings().iter().map(|warning| format!("{warning}\n")).collect();
    expect![[r#"
        Rules[0] (a).Tags: without Grammar, the rule judges no tag and reads no version
        Rules[1] (b).Repositories: no repository gets this rule: earlier rules match all its patterns
        Rules[2] (c).Retention.Enforcement: has no effect: all repositories of the rule are in Replicas, and nothing changes a replica
        Rules[3] (d).Repositories[0]: copies/a* matches only repositories that wildcards never match; name each repository in full
        Rules[3] (d).Repositories[1]: cdk-x-container-assets-* matches only repositories that wildcards never match; name each repository in full
        Rules: no rule matches the repository infrastructure, which the stack provisions
    "#]]
    .assert_eq(&lines.concat());
    assert_eq!(read(&two_rules()).warnings(), []);
}

#[test]
fn a_component_that_is_no_component_and_a_channel_of_each_branch_are_warnings() {
    let policy = json!({"Version": "1", "Rules": [{
        "Name": "a",
        "Repositories": ["infrastructure"],
        "Tags": {
            "Enforcement": "report",
            "Grammar": [
                "{component}-{branch}-{channel}", "{component}-{channel}", "{component}-{sha}-{channel}",
                "{component}-{slug}-{sha}-{channel}", "re:(?<slug>[a-z]+)_(?<channel>[a-z]+)",
            ],
            "Components": ["litellm", "main", "web-20261127", "sha"],
        },
    }]});
    let paths: Vec<String> =
        read(&policy).warnings().into_iter().map(|warning| warning.property).collect();
    assert_eq!(
        paths,
        [0, 4]
            .map(|nth| format!("Rules[0] (a).Tags.Grammar[{nth}]"))
            .into_iter()
            .chain([1, 2, 3].map(|nth| format!("Rules[0] (a).Tags.Components[{nth}]")))
            .collect::<Vec<_>>()
    );
}

/// A name of a repository that the pattern matches, with the texts in place of its stars.
fn fill(pattern: &str, texts: &[String]) -> String {
    let mut texts = texts.iter();
    let part = |c: char| match c {
        '*' => texts.next().cloned().unwrap_or_default(),
        c => c.to_string(),
    };
    pattern.chars().map(part).collect()
}

proptest! {
    #[test]
    fn a_pattern_that_contains_another_matches_all_its_names(
        outer in "[ab*/]{1,6}",
        inner in "[ab*/]{1,8}",
        texts in prop::collection::vec("[ab/-]{0,4}", 8),
    ) {
        let (Ok(outer), Ok(inner)) =
            (outer.parse::<RepositoryPattern>(), inner.parse::<RepositoryPattern>()) else {
            return Ok(());
        };
        prop_assert!(inner.contains(&inner));
        if let Ok(name) = fill(inner.as_str(), &texts).parse::<RepositoryName>() {
            prop_assert!(inner.matches(&name));
            prop_assert!(!outer.contains(&inner) || outer.matches(&name), "{name}");
        }
    }

    #[test]
    fn the_rule_of_a_repository_matches_its_name(
        patterns in prop::collection::vec(prop::collection::vec("[ab*]{2,3}", 1..3), 1..5),
        name in "[ab]{2,4}",
    ) {
        let rules: Vec<Value> = patterns
            .iter()
            .enumerate()
            .map(|(nth, patterns)| json!({"Name": format!("r{nth}"), "Repositories": patterns}))
            .collect();
        let governance = read(&json!({"Version": "1", "Rules": rules}));
        let name: RepositoryName = name.parse().unwrap();
        let matches = |patterns: &Vec<String>| {
            patterns.iter().any(|text| text.parse::<RepositoryPattern>().unwrap().matches(&name))
        };
        let found = governance.find_rule(&name, RepositoryOrigin::Pushed).map(|(nth, _)| nth);
        prop_assert_eq!(found, patterns.iter().position(matches));
    }
}
