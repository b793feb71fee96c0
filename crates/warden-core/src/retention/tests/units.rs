//! Units: images that are kept or removed together.

use expect_test::expect;
use serde_json::json;

use super::*;

/// Everybody who can push can give an image the tag of a signature.
#[test]
fn a_version_that_is_tagged_as_a_signature_too_is_a_version() {
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
            new: keep: number 1 of 3 of a, which keeps 2
            newer: keep: number 2 of 3 of a, which keeps 2
            old: delete: number 3 of 3 of a, which keeps 2
            chart: keep: number 1 of 1 of b, which keeps 2
        "#]],
    );
}

#[test]
fn what_is_in_the_archive_is_never_deleted_with_what_needs_it() {
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
            new: keep: number 1 of 3 of a, which keeps 2
            newer: keep: number 2 of 3 of a, which keeps 2
            old: delete: number 3 of 3 of a, which keeps 2
            one: keep: it is in the archive, where ECR's own rule sees to it
            other: delete: it is part of @old: number 3 of 3 of a, which keeps 2
        "#]],
    );
    let (policy, inventory) =
        (two(), inventory(&[("old", "sig:gone, needs one"), ("one", ", archived")]));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    assert_eq!(plan.removals[0].images, [image_id(&inventory, "old")]);
}

// 2
#[test]
fn a_part_of_many_does_not_evict_what_is_called_so_itself() {
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
            one: keep: number 1 of 2 of a, which keeps 2
            two: keep: number 1 of 2 of b, which keeps 2
            part: keep: it is part of @two: number 1 of 2 of b, which keeps 2
            quiet: keep: number 2 of 2 of b, which keeps 2
        "#]],
    );
}

// 2, 16
#[test]
fn the_only_version_of_a_component_stays_though_it_is_a_part_of_another_s() {
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
            new: keep: number 1 of 3 of app, which keeps 2
            newer: keep: number 2 of 3 of app, which keeps 2
            wraps: keep: number 1 of 1 of worker, which keeps 2
            worker: keep: it is part of @wraps: number 1 of 1 of worker, which keeps 2
        "#]],
    );
}

// 5, 13
#[test]
fn an_index_its_images_and_its_signatures_are_one() {
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
            index: keep: number 1 of 4 of a, which keeps 2
            amd: keep: it is part of @index: number 1 of 4 of a, which keeps 2
            arm: keep: it is part of @index: number 1 of 4 of a, which keeps 2
            signed: keep: it belongs to @index: number 1 of 4 of a, which keeps 2
            second: keep: number 2 of 4 of a, which keeps 2
            third: delete: number 3 of 4 of a, which keeps 2
            old: delete: it is part of @third: number 3 of 4 of a, which keeps 2
            attested: delete: it is part of @third: number 3 of 4 of a, which keeps 2
            sbom: delete: it belongs to @third: number 3 of 4 of a, which keeps 2
            list: delete: it belongs to @third: number 3 of 4 of a, which keeps 2
            fourth: keep: it was pulled on 2026-11-19, within 30 days (said of @x86, which is part of it)
            x86: keep: it is part of @fourth: it was pulled on 2026-11-19, within 30 days (said of @x86, which is part of it)
            alone: keep: it has had no tag since 2026-10-05, and Untagged=report only reports it
        "#]],
    );
}

// 6
#[test]
fn an_index_that_cannot_be_read_stops_it_and_one_in_the_archive_does_not() {
    let mut inventory = inventory(&[("index", "a-v1.0.0, needs amd"), ("amd", "")]);
    inventory.indexes.clear();
    let error = Graph::build(&inventory).unwrap_err();
    assert_eq!(error, UnknownParts(digest("index")));
    let index = image_id(&inventory, "index");
    // An index that ECR restores from the archive has images too, which cannot be read yet.
    inventory.images[index].status = ImageStatus::Activating;
    assert_eq!(Graph::build(&inventory).unwrap_err(), UnknownParts(digest("index")));
    inventory.images[index].status = ImageStatus::Archived;
    assert_eq!(Graph::build(&inventory).unwrap().units.len(), 2);
}

// 13
#[test]
fn what_refers_to_nothing_any_more_goes_once_it_is_old_enough() {
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
            orphan: delete: what it refers to, sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, is gone
            young: keep: it was pushed on 2026-11-21, within 7 days
            by-manifest: delete: what it refers to, sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, is gone
            of-both: keep: it belongs to @there: number 1 of 1 of a, which keeps 2
            there: keep: number 1 of 1 of a, which keeps 2
            named: keep: the tag sbom-of-something neither conforms nor has a counted prefix
            mine: keep: it belongs to nothing but itself, by its tags
        "#]],
    );
    // A list that was read while images were pushed may lack a subject.
    let mut inventory = inventory(&images);
    inventory.gone.clear();
    let graph = Graph::build(&inventory).unwrap();
    assert!(plan_retention(&two(), &inventory, graph, &RunningImages::new(), now()).is_empty());
}

#[test]
fn what_cannot_be_known_is_kept() {
    check(
        &with(&[("Governance.Retention.KeepPerComponent", json!(1))]),
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
            new: keep: number 1 of 4 of a, which keeps 1
            when: keep: ECR does not say when it was pushed
            odd: keep: it has a tag or a subject that is not understood
            circle: keep: it belongs to nothing but itself, by its tags
            other: keep: it belongs to @circle: it belongs to nothing but itself, by its tags
            archived: keep: it is in the archive, where ECR's own rule sees to it
            signed: keep: it belongs to @archived: it is in the archive, where ECR's own rule sees to it
            goes: delete: number 3 of 4 of a, which keeps 1
        "#]],
    );
}

/// A digest cannot depend on itself, so only made-up digests allow this. No rule can judge it.
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
            new: keep: number 1 of 4 of a, which keeps 2
            newer: keep: number 2 of 4 of a, which keeps 2
            one: keep: it belongs to nothing but itself, by its tags
            other: keep: it belongs to nothing but itself, by its tags
            part: keep: it belongs to nothing but itself, by its tags
        "#]],
    );
}

/// A list of signatures that contains a version is unusual, but can be pushed.
#[test]
fn the_last_version_stays_though_what_names_it_refers_to_nothing() {
    let one = with(&[("Governance.Retention.KeepPerComponent", json!(1))]);
    let images = [("list", "sig:gone, needs version"), ("version", "a-v1.0.0")];
    check(
        &one,
        &images,
        &[],
        &expect![[r#"
        list: keep: number 1 of 1 of a, which keeps 1
        version: keep: it is part of @list: number 1 of 1 of a, which keeps 1
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

/// The index lost its tag. Its part is a version all the same, and needs the index to be removed.
#[test]
fn an_untagged_index_is_a_version_where_one_of_its_parts_is_called_one() {
    let one = with(&[
        ("Governance.Retention.KeepPerComponent", json!(1)),
        ("Governance.Retention.Untagged", json!("delete")),
    ]);
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
            index: keep: number 1 of 2 of a, which keeps 1
            part: keep: it is part of @index: number 1 of 2 of a, which keeps 1
            old: delete: number 2 of 2 of a, which keeps 1
            named: delete: it is part of @old: number 2 of 2 of a, which keeps 1
            unnamed: delete: it is part of @old: number 2 of 2 of a, which keeps 1
        "#]],
    );
}

// 2
#[test]
fn what_is_named_in_something_that_is_no_version_takes_no_version_s_place() {
    let one = with(&[("Governance.Retention.KeepPerComponent", json!(1))]);
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
            circle: keep: it belongs to nothing but itself, by its tags
            other: keep: it belongs to @circle: it belongs to nothing but itself, by its tags
            part: keep: it belongs to nothing but itself, by its tags
            version: keep: number 1 of 1 of a, which keeps 1
        "#]],
    );
}
