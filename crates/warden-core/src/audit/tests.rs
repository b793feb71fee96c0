use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::graph::Graph;
use crate::mutability::tests::mutability;
use crate::policy::tests::{GUIDE, policy};
use crate::retention::tests::{digest, image_id, inventory, now};
use crate::retention::{RunningImages, UnitRemover, plan_retention};

fn check(
    changes: &[(&str, Value)],
    observed: Option<RepositorySettings>,
    images: &[(&str, &str)],
    expected: &Expect,
) {
    let policy = policy(GUIDE, changes);
    let as_deployed = RepositorySettings {
        mutability: Some(mutability("IMMUTABLE", &[])),
        lifecycle: Some(lifecycle::document(&policy)),
        scan_on_push: true,
        scan_frequency: "SCAN_ON_PUSH".to_owned(),
        unscanned: vec![],
        archived_units: HashMap::new(),
    };
    let inventory = inventory(images);
    let plan = plan_retention(
        &policy,
        &inventory,
        Graph::build(&inventory).unwrap(),
        &RunningImages::new(),
        now(),
    );
    let found = audit(&plan, &observed.unwrap_or(as_deployed), now());
    let line = |deviation: &Deviation| format!("{}: {}\n", deviation.rule, deviation.text);
    expected.assert_eq(&found.iter().map(line).collect::<String>());
}

const GOOD: [(&str, &str); 2] = [("a", "a-v1.0.0"), ("signature", "sig:a")];

#[test]
fn a_repository_that_agrees_with_its_policy_has_no_deviation() {
    check(&[], None, &GOOD, &expect![[""]]);
    check(&[], None, &[], &expect![[""]]);
}

// See case P14 in docs/contributing/prior-art.md.
#[test]
fn a_rule_or_pattern_without_an_image_is_reported() {
    let both = [
        ("LifecycleScope", json!("repository")),
        ("LifecycleTagPrefixes", json!(["v", "a-"])),
        ("Retention.ProtectTags", json!("a-* prod-*")),
    ];
    check(
        &both,
        None,
        &GOOD,
        &expect![[r#"
            dead-rule: no tag matches the pattern prod-* of ProtectTags
            dead-rule: no image matches the lifecycle rule 3 ("Keep the last 20 images tagged v*")
        "#]],
    );
    let list = json!({"rules": [
        {"rulePriority": 1, "description": "Keep", "selection": {
            "tagStatus": "tagged", "tagPrefixList": ["a-", "v"],
            "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}},
        {"rulePriority": 2, "selection": {
            "tagStatus": "tagged", "tagPatternList": ["*-v1*"],
            "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}},
    ]});
    let observed = RepositorySettings {
        mutability: Some(mutability("MUTABLE", &[])),
        lifecycle: Some(list.to_string()),
        scan_on_push: true,
        scan_frequency: "MANUAL".to_owned(),
        unscanned: vec![image_id(&inventory(&GOOD), "a")],
        archived_units: HashMap::new(),
    };
    check(
        &[],
        Some(observed),
        &GOOD,
        &expect![[r#"
            drift: ImageTagMutability is MUTABLE, and the policy requires IMMUTABLE
            drift: the lifecycle policy differs from the deployed one
            dead-rule: no image matches the lifecycle rule 1 ("Keep")
            scanning: ScanOnPush is true, but the scanning configuration of the registry or of the repository allows only manual scans
            unscanned: 1 image was pushed lately and not scanned: a-v1.0.0
        "#]],
    );
    let with_exclusion = [
        ("Mutability.ImageTagMutability", json!("IMMUTABLE_WITH_EXCLUSION")),
        ("Mutability.ImageTagMutabilityExclusionFilters", json!(["sha256-*", "dev"])),
        ("LifecycleTagPrefixes", json!([])),
    ];
    for (filters, deviations) in [
        (
            &["sha256-*"][..],
            &expect![[r#"
                drift: ImageTagMutability is IMMUTABLE_WITH_EXCLUSION (except sha256-*), and the policy requires IMMUTABLE_WITH_EXCLUSION (except dev, sha256-*)
            "#]],
        ),
        (&["dev", "sha256-*"], &expect![""]),
    ] {
        let changed = policy(GUIDE, &with_exclusion);
        let observed = RepositorySettings {
            mutability: Some(mutability("IMMUTABLE_WITH_EXCLUSION", filters)),
            lifecycle: Some(lifecycle::document(&changed)),
            ..RepositorySettings::default()
        };
        check(&with_exclusion, Some(observed), &[], deviations);
    }
    check(
        &[],
        Some(RepositorySettings {
            mutability: Some(mutability("IMMUTABLE", &[])),
            ..RepositorySettings::default()
        }),
        &[],
        &expect![[r#"
            drift: the repository has no lifecycle policy any more
        "#]],
    );
}

#[test]
fn tags_that_violate_the_policy_are_counted_with_examples() {
    let many: Vec<(String, String)> =
        (0..7).map(|nth| (nth.to_string(), format!("Bad{nth}"))).collect();
    let mut images: Vec<(&str, &str)> =
        many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    images.push(("ours", "quarantine:20261120"));
    images.push(("away", "bad-too, archived"));
    check(
        &[],
        None,
        &images,
        &expect![[r#"
            tags: 7 tags violate the policy: Bad0 does not match {component}-v{semver}; Bad1 does not match {component}-v{semver}; Bad2 does not match {component}-v{semver}; Bad3 does not match {component}-v{semver}; Bad4 does not match {component}-v{semver}; and others
        "#]],
    );
    check(
        &[],
        None,
        &images[6..],
        &expect![[r#"
            tags: 1 tag violates the policy: Bad6 does not match {component}-v{semver}
        "#]],
    );
}

#[test]
fn a_policy_without_a_grammar_judges_no_tag() {
    let no_grammar = [("Tags.Grammar", Value::Null)];
    check(&no_grammar, None, &[("a", "Bad")], &expect![[""]]);
}

#[test]
fn the_settings_of_a_repository_that_the_stack_does_not_provision_are_not_compared() {
    let not_provisioned = [("Mutability", Value::Null)];
    check(&not_provisioned, Some(RepositorySettings::default()), &GOOD, &expect![[""]]);
    check(
        &[],
        Some(RepositorySettings::default()),
        &GOOD,
        &expect![[r#"
            drift: ImageTagMutability is unknown, and the policy requires IMMUTABLE
            drift: the repository has no lifecycle policy any more
        "#]],
    );
}

#[test]
fn a_kept_index_with_an_archived_part_is_reported() {
    let images = [
        ("index", "a-v1.0.0, needs one other"),
        ("one", ", archived"),
        ("other", ""),
        ("whole", "b-v1.0.0, archived"),
    ];
    check(
        &[],
        None,
        &images,
        &expect![[r#"
            incomplete-unit: 1 index cannot be pulled completely: a-v1.0.0 needs sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed, which is archived
        "#]],
    );
}

#[test]
fn a_text_has_five_examples_at_most() {
    let examples_of = |count: usize| {
        let all = (0..count).map(|number| number.to_string());
        examples(count, all, |count| format!("{count} numbers"))
    };
    assert_eq!(examples_of(0), None);
    expect!["1 numbers: 0"].assert_eq(&examples_of(1).unwrap());
    expect!["5 numbers: 0; 1; 2; 3; 4"].assert_eq(&examples_of(5).unwrap());
    expect!["6 numbers: 0; 1; 2; 3; 4; and others"].assert_eq(&examples_of(6).unwrap());
}

#[test]
fn only_tags_of_kept_images_that_were_not_pushed_in_the_last_hour_are_judged() {
    check(
        &[("Retention.Keep", json!(1))],
        None,
        &[
            ("stays", "Bad1, pushed 1"),
            ("now", "Bad2, pushed 0"),
            ("when", "Bad3, pushed ?"),
            ("new", "a-v2.0.0, pushed 10"),
            ("goes", "a-v1.0.0 quarantine:20261001, pushed 20"),
        ],
        &expect![[r#"
            tags: 1 tag violates the policy: Bad1 does not match {component}-v{semver}
        "#]],
    );
    let hours = |hours: i64, minutes: i64| {
        let policy = policy(GUIDE, &[]);
        let mut inventory = inventory(&[("one", "Bad")]);
        let ago = Duration::hours(hours) + Duration::minutes(minutes);
        let image = image_id(&inventory, "one");
        inventory.images[image].pushed_at = Some(now() - ago);
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
        find_bad_tags(&plan, now()).len()
    };
    assert_eq!([hours(0, 59), hours(1, 0), hours(1, 1)], [0, 0, 1]);
}

#[test]
fn each_kept_index_that_lacks_a_part_is_reported_once_and_a_removed_index_never() {
    check(
        &[("Retention.Keep", json!(2))],
        None,
        &[
            ("one", "a-v3.0.0, pushed 10, needs away"),
            ("two", "a-v2.0.0, pushed 20, needs away there"),
            ("goes", "a-v1.0.0, pushed 30, needs away"),
            ("archived", "a-v0.1.0, pushed 40, archived"),
            ("there", ""),
            ("away", ", archived"),
        ],
        &expect![[r#"
            incomplete-unit: 2 indexes cannot be pulled completely: a-v2.0.0 needs sha256:378ce56a9d146d5174c89d1c0353d7f8e2244e89bb83935a5b1bdcf5e74b4e7f, which is archived; a-v3.0.0 needs sha256:378ce56a9d146d5174c89d1c0353d7f8e2244e89bb83935a5b1bdcf5e74b4e7f, which is archived
        "#]],
    );
}

#[test]
fn unscanned_images_are_counted_and_manual_scans_are_reported() {
    let observed = |scan_on_push, frequency: &str, unscanned| RepositorySettings {
        mutability: Some(mutability("IMMUTABLE", &[])),
        lifecycle: Some(lifecycle::document(&policy(GUIDE, &[]))),
        scan_on_push,
        scan_frequency: frequency.to_owned(),
        unscanned,
        archived_units: HashMap::new(),
    };
    let unnamed = [("a", "a-v1.0.0"), ("b", "b-v1.0.0"), ("c", ", of a")];
    let unscanned = ["a", "c"].map(|name| image_id(&inventory(&unnamed), name));
    check(
        &[],
        Some(observed(true, "SCAN_ON_PUSH", unscanned.to_vec())),
        &unnamed,
        &expect![[r#"
        unscanned: 2 images were pushed lately and not scanned: a-v1.0.0; sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6
    "#]],
    );
    check(&[], Some(observed(true, "CONTINUOUS_SCAN", vec![])), &GOOD, &expect![[""]]);
    check(&[], Some(observed(false, "MANUAL", vec![])), &GOOD, &expect![[""]]);
}

#[test]
fn a_rule_with_prefixes_and_patterns_selects_images_with_a_tag_for_each() {
    let observed = |selection: Value| RepositorySettings {
        mutability: Some(mutability("IMMUTABLE", &[])),
        lifecycle: Some(
            json!({"rules": [{"rulePriority": 7, "selection": selection}]}).to_string(),
        ),
        ..RepositorySettings::default()
    };
    let images = [("a", "a-v1.0.0 b-v2.0.0"), ("b", "c-v1.0.0")];
    let mut lines = BTreeSet::new();
    for (selection, is_dead) in [
        (json!({"tagPrefixList": ["a-"], "tagPatternList": ["*-v2*"]}), false),
        (json!({"tagPrefixList": ["c-"], "tagPatternList": ["*-v2*"]}), true),
        (json!({"tagPrefixList": ["a-"], "tagPatternList": ["*-v3*"]}), true),
        (json!({"tagPrefixList": ["a-", "b-"]}), false),
        (json!({"tagPrefixList": ["a-", "c-"]}), true),
        (json!({"tagPatternList": ["*-v1*", "b-*"]}), false),
        (json!({"tagPatternList": ["x*"]}), true),
        (json!({"tagStatus": "untagged"}), false),
    ] {
        let policy = policy(GUIDE, &[]);
        let inventory = inventory(&images);
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
        let found = audit(&plan, &observed(selection.clone()), now());
        let rules: Vec<AuditRule> = found.iter().map(|deviation| deviation.rule).collect();
        let expected =
            if is_dead { &[AuditRule::Drift, AuditRule::Dead][..] } else { &[AuditRule::Drift] };
        assert_eq!(rules, expected, "{selection}");
        lines.extend(
            found.iter().map(|deviation| format!("{}: {}\n", deviation.rule, deviation.text)),
        );
    }
    expect![[r#"
        dead-rule: no image matches the lifecycle rule 7
        drift: the lifecycle policy differs from the deployed one
    "#]]
    .assert_eq(&lines.into_iter().collect::<String>());
}

#[test]
fn an_index_that_lacks_an_image_is_found_in_the_archive_and_outside() {
    let unit = |root: &str, parts: [&str; 2]| UnitRecord {
        root: digest(root),
        removed: vec![digest(parts[0])],
        shared: vec![digest(parts[1])],
        remover: UnitRemover::SweepArchives,
        began: now(),
    };
    let units = [unit("whole", ["c", "d"]), unit("lost", ["e", "gone"])];
    let observed = RepositorySettings {
        mutability: Some(mutability("IMMUTABLE", &[])),
        lifecycle: Some(lifecycle::document(&policy(GUIDE, &[]))),
        scan_on_push: true,
        scan_frequency: "SCAN_ON_PUSH".to_owned(),
        archived_units: units.map(|unit| (unit.root.clone(), unit)).into(),
        ..RepositorySettings::default()
    };
    check(
        &[],
        Some(observed),
        &[
            ("good", "a-v1.0.0, needs a b"),
            ("a", ""),
            ("b", ""),
            ("torn", "a-v2.0.0, needs a part"),
            ("missing", "a-v3.0.0, needs a nowhere"),
            ("part", ", archived"),
            ("whole", "a-v4.0.0, archived, needs c d"),
            ("c", ", archived"),
            ("d", ""),
            ("lost", "a-v5.0.0, archived, needs e gone"),
            ("e", ", archived"),
        ],
        &expect![[r#"
            incomplete-unit: 5 indexes cannot be pulled completely: a-v2.0.0 needs sha256:37a680133bd09342f934afb8dd2c7d9e1b624da5f35e3a38adb103e37c055ed1, which is archived; a-v3.0.0 needs sha256:20aeff0494e828d188c704e1f488a589b15ae01d11f6cb129f62129caa6cc543, which is deleted; a-v4.0.0 needs sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6, which is archived; a-v5.0.0 (archived) needs sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, which is deleted; a-v5.0.0 needs sha256:3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea, which is archived
            untagged: images have had no tag for more than 7 days, and with Untagged=report they are only reported; the oldest: sha256:18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4
        "#]],
    );
}

/// The texts about the grammar of a repository with these tags, one image each.
fn doubts(grammar: &str, components: &[&str], tags: &[String]) -> Vec<String> {
    let changes = [
        ("Tags.Grammar", json!(grammar)),
        ("Tags.Components", json!(components)),
        ("LifecycleTagPrefixes", json!([])),
    ];
    let policy = policy(GUIDE, &changes);
    let images: Vec<(&str, &str)> = tags.iter().map(|tag| (tag.as_str(), tag.as_str())).collect();
    let inventory = inventory(&images);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let found = audit(&plan, &RepositorySettings::default(), now());
    let found = found.into_iter().filter(|deviation| deviation.rule == AuditRule::Grammar);
    found.map(|deviation| deviation.text).collect()
}

fn tags(template: &str, count: u32) -> Vec<String> {
    (0..count).map(|nth| template.replace("NN", &format!("{:02}", nth + 10))).collect()
}

const DEPLOYMENTS: &str = "{component}-v{semver} {component}-{channel} {component}-{sha}";

// See case B19 in docs/contributing/prior-art.md.
#[test]
fn b19_components_that_are_branches_or_builds_are_reported() {
    for (template, count) in
        [("sha-abc12NN", 1), ("main-abc12NN", 1), ("pr-1NN-abc1234", 2), ("myapp-1NN-abc1234", 2)]
    {
        let found = doubts(DEPLOYMENTS, &[], &tags(template, 20));
        assert_eq!(found.len(), count, "{template}: {found:?}");
        assert!(found[0].contains("probably something else"), "{found:?}");
    }
    // A feature branch has no telling name, but one image.
    let found = doubts(DEPLOYMENTS, &[], &tags("fix-aNN-abc1234", 10));
    assert!(
        matches!(&found[..], [text] if text.starts_with("10 of 10 components have one image each"))
    );
    assert!(doubts(DEPLOYMENTS, &[], &tags("fix-aNN-abc1234", 9)).is_empty());
    // A component that the policy lists is no doubt, and neither is one with the name of the repository.
    assert!(doubts(DEPLOYMENTS, &["main"], &tags("main-abc12NN", 20)).is_empty());
    assert!(doubts("sha-{sha}", &[], &tags("sha-abc12NN", 20)).is_empty());
    assert!(doubts(DEPLOYMENTS, &[], &tags("web-abc12NN", 20)).is_empty());
}

#[test]
fn channels_on_many_images_are_reported() {
    let slugs = tags("web-fNN-prod", 13);
    let found = doubts("{component}-{slug}", &[], &slugs);
    assert!(
        matches!(&found[..], [text] if text.starts_with("channel tags keep 13 images of web: ")),
        "{found:?}"
    );
    assert!(doubts("{component}-{slug}", &[], &slugs[1..]).is_empty());
    assert!(doubts("{component}-{slug}", &[], &tags("web-abc12NN-prod", 20)).is_empty());
    assert!(doubts("{component}-{sha}-{channel}", &[], &tags("web-abc12NN-prod", 20)).is_empty());
}

// See case B24 in docs/contributing/prior-art.md.
#[test]
fn b24_a_version_that_only_matched_dates_is_reported() {
    let grammar = "{component}-{semver}-{sha} {component}-v{semver}";
    let mut dated = tags("svc-2026.11.NN-abc1234", 3);
    let found = doubts(grammar, &[], &dated);
    assert!(
        matches!(&found[..], [text] if text.starts_with("{semver} of {component}-{semver}-{sha} has only matched dates")),
        "{found:?}"
    );
    assert!(doubts(grammar, &[], &dated[1..]).is_empty());
    dated.push("svc-1.2.3-abc1234".to_owned());
    assert!(doubts(grammar, &[], &dated).is_empty());
    assert!(doubts("{component}-{calver}-{sha}", &[], &dated[..3]).is_empty());
}
