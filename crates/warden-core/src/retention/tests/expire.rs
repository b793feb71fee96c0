//! Tags that no count keeps expire by age and use.

use super::*;

fn expiring(expire: Value, changes: &[(&str, Value)]) -> Policy {
    let prefixes = ("LifecycleTagPrefixes", json!([]));
    let all = [&[("Retention.Expire", expire), prefixes], changes].concat();
    with(&all)
}

// See case B15 in docs/contributing/prior-art.md.
#[test]
fn b15_tags_of_pull_requests_and_layers_expire_by_age_and_use() {
    let layer = "0123456789abcdef".repeat(4);
    let images = [
        ("old", "pr-123, pushed 20"),
        ("last-day", "pr-124, pushed 14"),
        ("young", "pr-125, pushed 8"),
        ("pulled", "pr-126, pushed 90, pulled 3"),
        ("unused", "myapp-pr-4, pushed 400"),
        ("used", "myapp-pr-5, pushed 400, pulled 59"),
        ("no-longer-used", "myapp-pr-6, pushed 400, pulled 61"),
        ("layer", &format!("{layer}, pushed 400")),
        ("two", "pr-127 myapp-pr-7, pushed 50"),
        ("channel", "myapp-prod, pushed 400"),
        ("newest", "litellm-v1.1.0 pr-128, pushed 400"),
        ("second", "litellm-v1.0.0 pr-129, pushed 410"),
        ("beyond", "litellm-v0.9.0 pr-130, pushed 420"),
        ("part", "pr-131, pushed 400"),
        ("index", "keep-me, pushed 50, needs part"),
    ];
    let expire = json!([
        {"Tags": ["pr-*"], "AfterDays": 14},
        {"Tags": ["*"], "NotPulledForDays": 60},
    ]);
    let more = ("Retention.MaxRemovePercent", json!(100));
    check(
        &expiring(expire, &[more]),
        &images,
        &[],
        &expect![[r#"
        old: delete: its tag pr-123 expired on 2026-11-18, by Expire
        last-day: keep: its tag pr-124 expires on 2026-11-24, by Expire
        young: keep: its tag pr-125 expires on 2026-11-30, by Expire
        pulled: keep: it was pulled on 2026-11-21, within the last 30 days
        unused: delete: its tag myapp-pr-4 expired on 2025-12-19, by Expire
        used: keep: its tag myapp-pr-5 expires on 2026-11-25, by Expire
        no-longer-used: delete: its tag myapp-pr-6 expired on 2026-11-23, by Expire
        layer: delete: its tag 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef expired on 2025-12-19, by Expire
        two: keep: its tag myapp-pr-7 expires on 2026-12-04, by Expire
        channel: keep: the channel myapp-prod points at it
        newest: keep: number 1 of 3 of litellm (the newest 2 are kept)
        second: keep: number 2 of 3 of litellm (the newest 2 are kept)
        beyond: delete: number 3 of 3 of litellm (the newest 2 are kept)
        part: keep: it is part of @index: its tag keep-me expires on 2026-12-04, by Expire
        index: keep: its tag keep-me expires on 2026-12-04, by Expire
    "#]],
    );
}

#[test]
fn with_both_numbers_both_must_be_over_and_ignored_tags_expire_too() {
    let images = [
        ("old", "buildcache-1, pushed 100, pulled 50"),
        ("used", "buildcache-2, pushed 100, pulled 35"),
        ("young", "buildcache-3, pushed 50, pulled 45"),
        ("other", "cache, pushed 400"),
    ];
    let expire = json!([{"Tags": ["buildcache*"], "AfterDays": 60, "NotPulledForDays": 40}]);
    let ignored = ("Tags.Ignored", json!(["*cache*"]));
    let more = ("Retention.MaxRemovePercent", json!(100));
    check(
        &expiring(expire, &[ignored, more]),
        &images,
        &[],
        &expect![[r#"
        old: delete: its tag buildcache-1 expired on 2026-11-14, by Expire
        used: keep: its tag buildcache-2 expires on 2026-11-29, by Expire
        young: keep: its tag buildcache-3 expires on 2026-12-04, by Expire
        other: keep: its tag cache matches *cache* of Ignored
    "#]],
    );
}

#[test]
fn in_scope_repository_no_tag_expires() {
    let expire = json!([{"Tags": ["*"], "AfterDays": 1}]);
    let scope = ("LifecycleScope", json!("repository"));
    check(
        &expiring(expire, &[scope]),
        &[("old", "pr-1, pushed 90")],
        &[],
        &expect![[r#"
        old: keep: the tag pr-1 matches neither the grammar nor a lifecycle prefix
    "#]],
    );
}

// See case B15 in docs/contributing/prior-art.md.
#[test]
fn b15_a_plan_counts_the_images_that_no_rule_covers() {
    let images = [
        ("part", ", pushed 90"),
        ("index", "main, pushed 90, needs part"),
        ("two", "pr-1 pr-2, pushed 90"),
        ("expires", "tmp-1, pushed 8"),
        ("young", "pr-3, pushed 1"),
        ("channel", "myapp-prod, pushed 90"),
        ("version", "litellm-v1.0.0, pushed 90"),
        ("archived", "pr-4, pushed 90, archived"),
    ];
    let expire = json!([{"Tags": ["tmp-*"], "AfterDays": 14}]);
    let (policy, inventory) = (expiring(expire, &[]), inventory(&images));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    expect!["2 images (3.0 kB): main, pr-1"].assert_eq(&plan.uncovered().unwrap().to_string());
}

#[test]
fn a_pull_of_a_part_is_a_use_of_its_index() {
    let images = [
        ("part", ", pushed 400, pulled 40"),
        ("index", "pr-7, pushed 400, needs part"),
        ("unused-part", ", pushed 400, pulled 366"),
        ("unused", "pr-8, pushed 400, needs unused-part"),
    ];
    let expire = json!([{"Tags": ["*"], "NotPulledForDays": 365}]);
    let more = ("Retention.MaxRemovePercent", json!(100));
    check(
        &expiring(expire, &[more]),
        &images,
        &[],
        &expect![[r#"
        part: keep: it is part of @index: its tag pr-7 expires on 2027-10-15, by Expire
        index: keep: its tag pr-7 expires on 2027-10-15, by Expire
        unused-part: delete: it is part of @unused: its tag pr-8 expired on 2026-11-23, by Expire
        unused: delete: its tag pr-8 expired on 2026-11-23, by Expire
    "#]],
    );
}

#[test]
fn the_last_tagged_image_of_a_repository_never_expires() {
    let images = [
        ("old", "pr-1, pushed 90"),
        ("last", "pr-2, pushed 80"),
        ("untagged", ", pushed 1"),
        ("archived", "pr-3, pushed 70, archived"),
    ];
    let expire = json!([{"Tags": ["*"], "AfterDays": 14}]);
    let more = ("Retention.MaxRemovePercent", json!(100));
    check(
        &expiring(expire, &[more]),
        &images,
        &[],
        &expect![[r#"
        old: delete: its tag pr-1 expired on 2026-09-09, by Expire
        last: keep: all its tags expired, and it is the last tagged image of the repository
        untagged: keep: it has had no tag since 2026-11-23, for at most 7 days
        archived: keep: it is archived, and only a lifecycle rule of ECR or a person deletes archived images
    "#]],
    );
}
