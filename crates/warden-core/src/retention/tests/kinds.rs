//! Each kind of tag is counted apart and has its own order of versions, and a channel is not a version. A
//! tag such as `web-12@9` was pushed nine days ago.

use super::*;

const DEPLOYMENTS: &str = "{component}-v{semver} {component}-{channel} {component}-{sha}";

/// The names of the images that a policy with this grammar removes. It keeps `keep` images.
fn removed<'n>(grammar: &str, keep: u32, images: &[(&'n str, &'n str)]) -> Vec<&'n str> {
    let policy = with(&[
        ("Tags.Grammar", json!(grammar)),
        ("LifecycleTagPrefixes", json!([])),
        ("Retention.Keep", json!(keep)),
    ]);
    let inventory = inventory(images);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    assert_eq!(plan.stopped, None);
    let is_removed = |name: &str| plan.decision_of(image_id(&inventory, name)) == "delete";
    images.iter().map(|(name, _)| *name).filter(|name| is_removed(name)).collect()
}

// See case B4 in docs/contributing/prior-art.md.
#[test]
fn b4_builds_never_evict_releases() {
    let builds: Vec<(String, String)> = (0..12)
        .map(|nth| (format!("build{nth:02}"), format!("myapp-abc12{nth:02}, pushed {}", 20 + nth)))
        .collect();
    let mut images = vec![
        ("one", "myapp-v1.0.0, pushed 90"),
        ("two", "myapp-v1.1.0, pushed 80"),
        ("three", "myapp-v1.2.0, pushed 70"),
    ];
    images.extend(builds.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert_eq!(removed(DEPLOYMENTS, 10, &images), ["build10", "build11"]);
}

// See case B12 in docs/contributing/prior-art.md.
#[test]
fn b12_an_ignored_tag_is_no_version_and_keeps_its_image() {
    let images = [
        ("cache", "buildcache, pushed 90"),
        ("prefixed", "litellm-cache, pushed 90"),
        ("ignored", "litellm-v0.1.0, pushed 20"),
        ("new", "litellm-v1.1.0, pushed 30"),
        ("old", "litellm-v1.0.0, pushed 40"),
    ];
    let ignored = ("Tags.Ignored", json!(["buildcache*", "*-cache", "*-v0.*"]));
    let prefixes = ("LifecycleTagPrefixes", json!(["litellm"]));
    let policy = with(&[("Retention.Keep", json!(1)), prefixes, ignored]);
    check(
        &policy,
        &images,
        &[],
        &expect![[r#"
            cache: keep: its tag buildcache matches buildcache* of Ignored
            prefixed: keep: its tag litellm-cache matches *-cache of Ignored
            ignored: keep: its tag litellm-v0.1.0 matches *-v0.* of Ignored
            new: keep: number 1 of 2 of litellm (the newest is kept)
            old: delete: number 2 of 2 of litellm (the newest is kept)
        "#]],
    );
}

#[test]
fn a_channel_of_the_rule_keeps_the_image_that_it_points_at() {
    let images = [
        ("canary", "litellm-canary, pushed 50"),
        ("pre", "litellm-pre-prod, pushed 50"),
        ("prod", "litellm-prod, pushed 50"),
    ];
    let grammar = ("Tags.Grammar", json!("{component}-{slug}"));
    let channels = ("Tags.Channels", json!(["canary", "pre-prod"]));
    let prefixes = ("LifecycleTagPrefixes", json!([]));
    check(
        &with(&[grammar, channels, prefixes]),
        &images,
        &[],
        &expect![[r#"
        canary: keep: the channel litellm-canary points at it
        pre: keep: the channel litellm-pre-prod points at it
        prod: keep: number 1 of 1 of litellm (the newest 2 are kept)
    "#]],
    );
}

// See case B16 in docs/contributing/prior-art.md.
#[test]
fn b16_each_variant_and_each_platform_is_counted_apart() {
    let images = [
        ("old", "app-v1.0.0, pushed 40"),
        ("old-alpine", "app-v1.0.0-alpine, pushed 40"),
        ("old-slim-arm64", "app-v1.0.0-slim-arm64, pushed 40"),
        ("mid", "app-v1.1.0, pushed 30"),
        ("mid-alpine", "app-v1.1.0-alpine, pushed 30"),
        ("new", "app-v1.2.0, pushed 20"),
    ];
    assert_eq!(removed("{component}-v{semver}", 2, &images), ["old"]);
    assert_eq!(removed("{component}-v{semver}", 1, &images), ["old", "old-alpine", "mid"]);
}

// See case A17 in docs/contributing/prior-art.md.
#[test]
fn a17_a_unit_takes_one_place_in_each_kind_of_its_tags() {
    let images = [
        ("amd", "app-v2.0.0-amd64, pushed 20"),
        ("arm", "app-v2.0.0-arm64, pushed 20"),
        ("index", "app-v2.0.0, pushed 20, needs amd arm"),
        ("old-amd", "app-v1.0.0-amd64, pushed 40"),
        ("old", "app-v1.0.0, pushed 40, needs old-amd"),
        ("older", "app-v0.9.0-amd64, pushed 50"),
    ];
    assert_eq!(removed("{component}-v{semver}", 1, &images), ["old-amd", "old", "older"]);
    assert_eq!(removed("{component}-v{semver}", 2, &images), ["older"]);
}

// See case B19 in docs/contributing/prior-art.md.
#[test]
fn b19_a_channel_keeps_the_image_that_it_points_at_now() {
    let images = [
        ("p1", "myapp-aaa1111-prod, pushed 50"),
        ("p2", "myapp-aaa2222-prod, pushed 40"),
        ("s1", "myapp-aaa3333-staging, pushed 45"),
        ("d1", "myapp-aaa4444-dev, pushed 15"),
        ("d2", "myapp-aaa5555-dev, pushed 10"),
        ("other", "web-aaa6666-prod, pushed 60"),
    ];
    // Two places, and the newest image of each channel.
    assert_eq!(removed("{component}-{sha}-{channel}", 2, &images), ["p1"]);
    // No channel is read in a tag that has a commit.
    let slugs = images.map(|(name, text)| (name, text));
    assert_eq!(removed("{component}-{slug}", 2, &slugs), ["p1", "p2", "s1"]);
    // The default grammar of `deployments` does not match these tags, so they are kept.
    assert!(removed(DEPLOYMENTS, 1, &images).is_empty());
}

#[test]
fn a_channel_alone_takes_no_place_of_a_version() {
    let images = [
        ("prod", "myapp-prod, pushed 10"),
        ("dev", "myapp-dev, pushed 11"),
        ("release", "myapp-v1.0.0 myapp-latest, pushed 50"),
        ("mid", "myapp-v1.1.0, pushed 40"),
        ("old", "myapp-v0.9.0, pushed 60"),
    ];
    assert_eq!(removed(DEPLOYMENTS, 1, &images), ["old"]);
    assert_eq!(removed("re:(?<component>myapp)-(v(?<semver>.*)|[a-z]+)", 1, &images), ["old"]);
}

#[test]
fn the_highest_version_of_each_kind_is_kept_beside_the_newest() {
    for (grammar, old, middle, new) in [
        ("{component}-v{semver}", "app-v1.10.0", "app-v1.9.0", "app-v1.9.1"),
        ("{component}-v{semver}", "app-v1.0.0", "app-v1.0.0-rc.2", "app-v1.0.0-rc.1"),
        ("{component}-{version}", "app-24.10", "app-24.4", "app-24.4.1"),
        ("{component}-{calver}", "app-2026.11.5", "app-2026.02.28", "app-2026.03.01"),
        (
            "{component}-{date}-{sha}",
            "app-20261101-fff1234",
            "app-20260101-ab12345",
            "app-20260102-ab12346",
        ),
        ("{component}-{number}", "app-100", "app-98", "app-99"),
        ("{component}-{timestamp}", "app-1700000009999", "app-1700000000", "app-1700000001"),
        ("re:(?<component>app)_(?<version>[0-9.]+)", "app_10", "app_9", "app_9.1"),
    ] {
        let texts =
            [(old, 90), (middle, 50), (new, 10)].map(|(tag, days)| format!("{tag}, pushed {days}"));
        let images = [("old", &*texts[0]), ("middle", &*texts[1]), ("new", &*texts[2])];
        assert_eq!(removed(grammar, 1, &images), ["middle"], "{grammar}");
    }
    // The highest version of a variant does not count for the other images.
    let images = [
        ("alpine", "app-v9.0.0-alpine, pushed 90"),
        ("old", "app-v2.0.0, pushed 80"),
        ("middle", "app-v1.0.0, pushed 50"),
        ("new", "app-v1.0.1, pushed 10"),
    ];
    assert_eq!(removed("{component}-v{semver}", 1, &images), ["middle"]);
}

#[test]
fn a_commit_a_slug_and_a_prefix_have_no_order_but_the_push_of_the_tag() {
    for (grammar, old, new) in [
        ("{component}-{sha}", "app-fff1234", "app-aaa1234"),
        // A commit of digits is not a number.
        ("{component}-{sha}", "app-9999999", "app-1000000"),
        ("{component}-{sha}-{channel}", "app-fff1234-dev", "app-aaa1234-dev"),
        ("{component}-{slug}", "app-z9", "app-a1"),
        ("{component}-{branch}-{sha}", "app-z.9-fff1234", "app-a.1-aaa1234"),
    ] {
        let texts = [(old, 90), (new, 10)].map(|(tag, days)| format!("{tag}, pushed {days}"));
        let images = [("old", &*texts[0]), ("new", &*texts[1])];
        assert_eq!(removed(grammar, 1, &images), ["old"], "{grammar}");
    }
}

// See case B19 in docs/contributing/prior-art.md.
#[test]
fn b19_a_channel_points_at_the_image_that_got_its_tag_last() {
    let images = [
        ("back", "myapp-aaa1111-prod@9, pushed 90"),
        ("gone", "myapp-aaa2222-prod, pushed 50"),
        ("s1", "myapp-aaa3333-staging@8, pushed 40"),
    ];
    assert_eq!(removed("{component}-{sha}-{channel}", 1, &images), ["gone"]);
}

#[test]
fn the_tag_of_a_part_counts_beside_the_tag_of_the_same_kind_of_its_index() {
    let images = [
        ("part", "app-v9.0.0, pushed 40"),
        ("index", "app-v1.0.0, pushed 40, needs part"),
        ("new", "app-v2.1.0, pushed 20"),
        ("old", "app-v2.0.0, pushed 30"),
    ];
    assert_eq!(removed("{component}-v{semver}", 1, &images), ["old"]);
}

// See case P42 in docs/contributing/prior-art.md.
#[test]
fn a_tag_with_a_letter_after_the_prefix_does_not_count_for_the_prefix() {
    check(
        &with(&[("Retention.Keep", json!(1)), ("LifecycleTagPrefixes", json!(["v", "dev"]))]),
        &[
            ("v2", "v2, pushed 20"),
            ("v1", "v1, pushed 30"),
            ("vault", "vault-1.15, pushed 40"),
            ("dev", "dev-1, pushed 50"),
            ("devbox", "devbox-2, pushed 60"),
        ],
        &[],
        &expect![[r#"
            v2: keep: number 1 of 2 of the prefix v (the newest is kept)
            v1: delete: number 2 of 2 of the prefix v (the newest is kept)
            vault: keep: the tag vault-1.15 matches neither the grammar nor a lifecycle prefix
            dev: keep: number 1 of 1 of the prefix dev (the newest is kept)
            devbox: keep: the tag devbox-2 matches neither the grammar nor a lifecycle prefix
        "#]],
    );
}

#[test]
fn a_tag_of_a_version_or_of_a_pull_request_is_no_channel() {
    let expire = json!([{"Tags": ["*"], "AfterDays": 14}]);
    check(
        &with(&[("Tags.Ignored", json!(["buildcache*"])), ("Retention.Expire", expire)]),
        &[
            ("request", "pr-123-dev, pushed 400"),
            ("version", "web-1.2.3-prod, pushed 400"),
            ("cache", "buildcache-dev, pushed 400"),
            ("channel", "web-prod, pushed 400"),
            ("named", "web-2-prod, pushed 400"),
        ],
        &[],
        &expect![[r#"
            request: delete: its tag pr-123-dev expired on 2025-11-03, by Expire
            version: delete: its tag web-1.2.3-prod expired on 2025-11-03, by Expire
            cache: delete: its tag buildcache-dev expired on 2025-11-03, by Expire
            channel: keep: the channel web-prod points at it
            named: keep: the channel web-2-prod points at it
        "#]],
    );
}
