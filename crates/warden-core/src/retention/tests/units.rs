//! Units: images that are kept or removed together.

use expect_test::expect;
use serde_json::json;

use super::*;

/// Anybody who can push can give an image the tag of a signature.
#[test]
fn a_version_that_also_has_the_tag_of_a_signature_counts_as_a_version() {
    check(
        &two(),
        &[
            ("new", "a-v9.0.0 sig:old, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("old", "a-v1.0.0"),
            ("chart", "b-v1.0.0, of old"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of a (the newest 2 and the highest 2 are kept)
            old: delete: number 3 of 3 of a (the newest 2 are kept)
            chart: keep: number 1 of 1 of b (the newest 2 are kept)
        "#]],
    );
}

#[test]
fn an_archived_image_is_not_deleted_with_the_index_that_needs_it() {
    check(
        &two(),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("old", "a-v1.0.0, needs one other"),
            ("one", "gold, archived"),
            ("other", ""),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of a (the newest 2 and the highest 2 are kept)
            old: delete: number 3 of 3 of a (the newest 2 are kept)
            one: keep: it is archived, and only a lifecycle rule of ECR or a person deletes archived images
            other: delete: it is part of @old: number 3 of 3 of a (the newest 2 are kept)
        "#]],
    );
    let (policy, inventory) =
        (two(), inventory(&[("old", "sig:gone, needs one"), ("one", ", archived")]));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    assert_eq!(plan.removals[0].images, [image_id(&inventory, "old")]);
}

// See case P2 in docs/contributing/prior-art.md.
#[test]
fn a_part_of_many_indexes_takes_one_place_in_the_count() {
    check(
        &two(),
        &[
            ("one", "a-v9.0.0, pushed 8, needs part"),
            ("two", "a-v9.1.0, pushed 9, needs part"),
            ("part", "b-v1.0.0, pushed 10"),
            ("quiet", "b-v0.1.0, pushed 90"),
        ],
        &[],
        &expect![[r#"
            one: keep: number 1 by push and number 2 by version of 2 of a (the newest 2 and the highest 2 are kept)
            two: keep: number 2 by push and number 1 by version of 2 of a (the newest 2 and the highest 2 are kept)
            part: keep: it is part of @two: number 2 by push and number 1 by version of 2 of a (the newest 2 and the highest 2 are kept)
            quiet: keep: number 2 of 2 of b (the newest 2 are kept)
        "#]],
    );
}

// See the cases P2 and P16 in docs/contributing/prior-art.md.
#[test]
fn the_only_version_of_a_component_is_kept_although_another_component_contains_it() {
    check(
        &two(),
        &[
            ("new", "app-v9.0.0, pushed 8"),
            ("newer", "app-v9.1.0, pushed 9"),
            ("wraps", "app-v1.0.0, needs worker"),
            ("worker", "worker-v1.0.0"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of app (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of app (the newest 2 and the highest 2 are kept)
            wraps: keep: number 1 of 1 of worker (the newest 2 are kept)
            worker: keep: it is part of @wraps: number 1 of 1 of worker (the newest 2 are kept)
        "#]],
    );
}

// See the cases P5 and P13 in docs/contributing/prior-art.md.
#[test]
fn an_index_with_its_images_and_signatures_is_kept_or_removed_as_one_unit() {
    let images = [
        ("index", "a-v9.0.0, pushed 10, needs amd arm"),
        ("amd", ", pushed 10"),
        ("arm", ", pushed 10"),
        ("signed", "sig:index"),
        ("second", "a-v8.0.0, pushed 20"),
        ("third", "a-v7.0.0, pushed 30, needs amd old attested"),
        ("old", ", pushed 30"),
        ("attested", ", pushed 30, of old"),
        ("sbom", ", pushed 30, of third"),
        ("list", "referrers:third, pushed 30, needs sbom"),
        ("fourth", "a-v6.0.0, pushed 40, needs x86"),
        ("x86", ", pushed 40, pulled 5"),
        ("alone", ", pushed 50"),
    ];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
            index: keep: number 1 of 4 of a (the newest 2 are kept)
            amd: keep: it is part of @index: number 1 of 4 of a (the newest 2 are kept)
            arm: keep: it is part of @index: number 1 of 4 of a (the newest 2 are kept)
            signed: keep: it belongs to @index: number 1 of 4 of a (the newest 2 are kept)
            second: keep: number 2 of 4 of a (the newest 2 are kept)
            third: delete: number 3 of 4 of a (the newest 2 are kept)
            old: delete: it is part of @third: number 3 of 4 of a (the newest 2 are kept)
            attested: delete: it is part of @third: number 3 of 4 of a (the newest 2 are kept)
            sbom: delete: it belongs to @third: number 3 of 4 of a (the newest 2 are kept)
            list: delete: it belongs to @third: number 3 of 4 of a (the newest 2 are kept)
            fourth: keep: its image @x86 is kept: it was pulled on 2026-11-19, within the last 30 days
            x86: keep: it is part of @fourth: its image @x86 is kept: it was pulled on 2026-11-19, within the last 30 days
            alone: keep: it has had no tag since 2026-10-05, and with Untagged=report it is only reported
        "#]],
    );
}

#[test]
fn an_image_is_removed_after_each_index_that_needs_it_also_if_a_signature_is_an_index() {
    let inventory = inventory(&[
        ("shared", ", pushed 90"),
        ("index", "quarantine:20261001, pushed 80, needs shared"),
        ("signed", "quarantine:20261001, pushed 90"),
        ("signature", "sig:signed, pushed 90, needs shared"),
    ]);
    let graph = Graph::build(&inventory).unwrap();
    let policy = two();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    // A sweep removes the referrers after all other images.
    let images = plan.removals.iter().flat_map(|removal| &removal.images);
    let order = images.chain(plan.removals.iter().flat_map(|removal| &removal.referrers));
    let order: Vec<ImageId> = order.copied().collect();
    let expected = ["signed", "index", "signature", "shared"];
    assert_eq!(order, expected.map(|name| image_id(&inventory, name)));
}

// See case P6 in docs/contributing/prior-art.md.
#[test]
fn an_active_index_that_cannot_be_read_stops_the_plan_and_an_archived_index_does_not() {
    let mut inventory = inventory(&[("index", "a-v1.0.0, needs amd"), ("amd", "")]);
    inventory.indexes.clear();
    let error = Graph::build(&inventory).unwrap_err();
    assert_eq!(error, UnknownParts(digest("index")));
    let index = image_id(&inventory, "index");
    // The images of an index that ECR is restoring cannot be read yet.
    inventory.images[index].status = ImageStatus::Activating;
    assert_eq!(Graph::build(&inventory).unwrap_err(), UnknownParts(digest("index")));
    inventory.images[index].status = ImageStatus::Archived;
    assert_eq!(Graph::build(&inventory).unwrap().units.len(), 2);
}

// See case P13 in docs/contributing/prior-art.md.
#[test]
fn a_referrer_without_a_subject_is_removed_after_the_minimum_age() {
    let images = [
        ("orphan", "sig:gone, pushed 8"),
        ("young", "sig:gone, pushed 3"),
        ("by-manifest", ", pushed 8, of gone"),
        ("of-both", "sig:gone, pushed 8, of there"),
        ("there", "a-v1.0.0"),
        ("named", "sig:gone sbom-of-something"),
        ("mine", "sig:mine"),
    ];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
            orphan: delete: it refers to sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, which does not exist any more
            young: keep: it was pushed on 2026-11-21, within the last 7 days
            by-manifest: delete: it refers to sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, which does not exist any more
            of-both: keep: it belongs to @there: number 1 of 1 of a (the newest 2 are kept)
            there: keep: number 1 of 1 of a (the newest 2 are kept)
            named: keep: the tag sbom-of-something matches neither the grammar nor a lifecycle prefix
            mine: keep: it and other images refer to each other
        "#]],
    );
    // A list that was read while images were pushed may lack a subject.
    let mut inventory = inventory(&images);
    inventory.gone.clear();
    let graph = Graph::build(&inventory).unwrap();
    assert!(plan_retention(&two(), &inventory, graph, &RunningImages::new(), now()).is_empty());
}

#[test]
fn an_image_with_an_unknown_fact_is_kept() {
    check(
        &with(&[("Retention.Keep", json!(1))]),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("when", "a-v1.0.0, pushed ?"),
            ("odd", "a-v2.0.0, odd"),
            ("circle", "sig:other"),
            ("other", "sig:circle"),
            ("archived", "a-v3.0.0, archived"),
            ("signed", "sig:archived"),
            ("goes", "a-v4.0.0"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 of 4 of a (the newest is kept)
            when: keep: ECR does not report when it was pushed
            odd: keep: it has a tag or a subject that cannot be parsed
            circle: keep: it and other images refer to each other
            other: keep: it belongs to @circle: it and other images refer to each other
            archived: keep: it is archived, and only a lifecycle rule of ECR or a person deletes archived images
            signed: keep: it belongs to @archived: it is archived, and only a lifecycle rule of ECR or a person deletes archived images
            goes: delete: number 2 of 4 of a (the newest is kept)
        "#]],
    );
}

/// A digest cannot depend on itself, so only invented digests allow such a cycle. No rule can judge
/// the cycle.
#[test]
fn indexes_that_need_each_other_and_their_images_are_kept() {
    check(
        &two(),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("one", "a-v1.0.0, of elsewhere, needs other part"),
            ("other", "a-v2.0.0, of elsewhere, needs one"),
            ("part", ""),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 4 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 4 of a (the newest 2 and the highest 2 are kept)
            one: keep: it and other images refer to each other
            other: keep: it and other images refer to each other
            part: keep: it and other images refer to each other
        "#]],
    );
}

/// An index of signatures that contains a version is unusual, but somebody can push one.
#[test]
fn the_last_version_is_kept_although_it_is_a_part_of_an_orphan() {
    let one = with(&[("Retention.Keep", json!(1))]);
    let images = [("list", "sig:gone, needs version"), ("version", "a-v1.0.0")];
    check(
        &one,
        &images,
        &[],
        &expect![[r#"
            list: keep: number 1 of 1 of a (the newest is kept)
            version: keep: it is part of @list: number 1 of 1 of a (the newest is kept)
        "#]],
    );
    let images = [("list", "sig:gone, needs waits"), ("waits", "quarantine:20261120")];
    check(
        &one,
        &images,
        &[],
        &expect![[r#"
        list: keep: it is in quarantine until 2026-12-04
        waits: keep: it is part of @list: it is in quarantine until 2026-12-04
    "#]],
    );
}

/// The index lost its tag. Its part still has the tag of a version, and ECR removes the part only
/// after the index.
#[test]
fn an_untagged_index_counts_as_a_version_if_a_part_has_the_tag_of_a_version() {
    let one = with(&[("Retention.Keep", json!(1)), ("Retention.Untagged", json!("delete"))]);
    check(
        &one,
        &[
            ("index", ", pushed 9, needs part"),
            ("part", "a-v9.0.0, pushed 9"),
            ("old", ", pushed 90, needs named unnamed"),
            ("named", "a-v1.0.0, pushed 90"),
            ("unnamed", ", pushed 90"),
        ],
        &[],
        &expect![[r#"
            index: keep: number 1 of 2 of a (the newest is kept)
            part: keep: it is part of @index: number 1 of 2 of a (the newest is kept)
            old: delete: number 2 of 2 of a (the newest is kept)
            named: delete: it is part of @old: number 2 of 2 of a (the newest is kept)
            unnamed: delete: it is part of @old: number 2 of 2 of a (the newest is kept)
        "#]],
    );
}

// See case P2 in docs/contributing/prior-art.md.
#[test]
fn images_that_refer_to_each_other_take_no_place_of_a_version() {
    let one = with(&[("Retention.Keep", json!(1))]);
    check(
        &one,
        &[
            ("circle", "sig:other, pushed 9, needs part"),
            ("other", "sig:circle, pushed 9, needs part"),
            ("part", "a-v9.0.0, pushed 9"),
            ("version", "a-v1.0.0, pushed 90"),
        ],
        &[],
        &expect![[r#"
            circle: keep: it and other images refer to each other
            other: keep: it belongs to @circle: it and other images refer to each other
            part: keep: it and other images refer to each other
            version: keep: number 1 of 1 of a (the newest is kept)
        "#]],
    );
}

/// A signature list of an untagged image can contain a tagged version.
#[test]
fn a_version_within_a_referrer_of_an_untagged_image_is_not_removed_as_untagged() {
    let one = with(&[("Retention.Keep", json!(1)), ("Retention.Untagged", json!("archive"))]);
    check(
        &one,
        &[("untagged", ""), ("version", "a-v1.0.0"), ("list", "sig:untagged, needs version")],
        &[],
        &expect![[r#"
            untagged: keep: number 1 of 1 of a (the newest is kept)
            version: keep: it belongs to @untagged: number 1 of 1 of a (the newest is kept)
            list: keep: it belongs to @untagged: number 1 of 1 of a (the newest is kept)
        "#]],
    );
}

#[test]
fn referrers_are_kept_in_a_repository_that_has_only_referrers() {
    let policy = two();
    let referrers = [("signature", "sig:elsewhere"), ("bundle", ", of elsewhere")];
    check(
        &policy,
        &referrers,
        &[],
        &expect![[r#"
        signature: keep: the repository has only signatures and other referrers, so the images that they refer to are probably in another repository
        bundle: keep: the repository has only signatures and other referrers, so the images that they refer to are probably in another repository
    "#]],
    );
    let with_image = [&referrers[..], &[("image", "a-v1.0.0")]].concat();
    check(
        &policy,
        &with_image,
        &[],
        &expect![[r#"
        signature: delete: it refers to sha256:7b1b763ee8f62eb88e4742a760f912d0b19bcd58b2b948999784bacc15a7f4d7, which does not exist any more
        bundle: delete: it refers to sha256:7b1b763ee8f62eb88e4742a760f912d0b19bcd58b2b948999784bacc15a7f4d7, which does not exist any more
        image: keep: number 1 of 1 of a (the newest 2 are kept)
    "#]],
    );
}

#[test]
fn a_quarantined_image_that_is_beyond_the_count_stays_until_its_quarantine_is_over() {
    check(
        &with(&[("Retention.Keep", json!(1)), ("Tags.Forbidden", json!(["*-rc.*"]))]),
        &[
            ("new", "a-v1.0.0, pushed 50"),
            ("waits", "a-v1.0.0-rc.1 quarantine:20261124, pushed 60"),
            ("over", "a-v1.0.0-rc.2 quarantine:20261101, pushed 70"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 of 3 of a (the newest is kept)
            waits: keep: it is in quarantine until 2026-12-08
            over: delete: number 3 by push and number 2 by version of 3 of a (the newest and the highest are kept)
        "#]],
    );
}
