use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::findings::{Counts, Level};
use crate::graph::Graph;
use crate::policy::tests::{GUIDE, policy};
use crate::retention::tests::{digest, image_id, inventory, now};
use crate::retention::{RunningImages, plan_retention};

/// Checks the row of each component after these images were removed, with the newest tag, one line
/// for each.
fn check(enforcement: &str, images: &[(&str, &str)], removed: &[&str], expected: &Expect) {
    let changes = [
        ("Retention.Enforcement", json!(enforcement)),
        ("Tags.Grammar", json!("{component}-v{semver} {component}-{channel}")),
    ];
    let (policy, inventory) = (policy(GUIDE, &changes), inventory(images));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let removed: Vec<ImageId> = removed.iter().map(|name| image_id(&inventory, name)).collect();
    let mut lines = String::new();
    for row in measure_usage(&plan, &removed).rows {
        let newest = row.newest.as_ref().map_or("", Tag::as_str);
        lines += &format!("{}: {row} {newest}\n", row.name());
    }
    expected.assert_eq(&lines);
}

#[test]
fn an_index_with_its_images_and_signatures_counts_as_one_image_with_all_bytes() {
    check(
        "report",
        &[
            ("index", "app-v2.0.0 app-latest, pushed 10, needs amd arm"),
            ("amd", ", pushed 10"),
            ("arm", ", pushed 10"),
            ("signed", "sig:index, pushed 9"),
            ("before", "app-v1.0.0, pushed 20, needs amd old"),
            ("old", ", pushed 20"),
            ("alone", "b-v1.0.0"),
            ("untagged", ""),
            ("orphan", "sig:gone"),
            ("bad", "Bad"),
        ],
        &[],
        &expect![[r#"
            app: 2 images, 6.0 kB app-v2.0.0
            b: 1 image, 1.0 kB b-v1.0.0
            (none): 3 images, 3.0 kB 
        "#]],
    );
}

#[test]
fn archived_images_are_counted_separately_also_if_this_run_archived_them() {
    let images = [
        ("new", "app-v3.0.0, pushed 10"),
        ("back", "app-v2.0.0, pushed 20, activating"),
        ("index", "app-v1.0.0, pushed 30, needs amd"),
        ("amd", ", pushed 30"),
        ("old", "app-v0.9.0, pushed 90, archived"),
        ("away", "gone-v1.0.0, archived"),
    ];
    check(
        "archive",
        &images,
        &["index", "amd"],
        &expect![[r#"
            app: 2 images, 2.0 kB; archived: 2 images, 3.0 kB app-v3.0.0
            gone: 0 images, 0 B; archived: 1 image, 1.0 kB 
        "#]],
    );
    check(
        "delete",
        &images,
        &["index", "amd"],
        &expect![[r#"
            app: 2 images, 2.0 kB; archived: 1 image, 1.0 kB app-v3.0.0
            gone: 0 images, 0 B; archived: 1 image, 1.0 kB 
        "#]],
    );
    check("delete", &[("only", "app-v1.0.0")], &["only"], &expect![""]);
    check("delete", &[], &[], &expect![""]);
}

#[test]
fn an_index_counts_for_the_components_of_its_tags_or_otherwise_of_its_parts() {
    check(
        "report",
        &[
            ("both", "a-v1.0.0 b-v1.0.0"),
            ("list", ", needs amd arm"),
            ("amd", "c-v1.0.0"),
            ("arm", "c-v1.0.1"),
            ("chart", "d-v1.0.0, of both"),
            ("waits", "quarantine:20261120"),
            ("circle", "sig:other"),
            ("other", "sig:circle"),
        ],
        &[],
        &expect![[r#"
            c: 1 image, 3.0 kB c-v1.0.0
            a: 1 image, 1.0 kB a-v1.0.0
            b: 1 image, 1.0 kB b-v1.0.0
            d: 1 image, 1.0 kB d-v1.0.0
            (none): 3 images, 3.0 kB 
        "#]],
    );
}

#[test]
fn the_newest_tag_is_that_of_the_last_push_and_a_version_is_preferred_to_a_channel() {
    check(
        "report",
        &[
            ("old", "app-v9.0.0, pushed 30"),
            ("new", "app-latest app-v1.0.0, pushed 10"),
            ("when", "app-v8.0.0, pushed ?"),
            ("channel", "b-latest b-dev"),
        ],
        &[],
        &expect![[r#"
            app: 3 images, 3.0 kB app-v1.0.0
            b: 1 image, 1.0 kB b-dev
        "#]],
    );
}

/// Checks the line and the counts of a component with these recorded scans. `old` was pushed 20 days
/// ago and `new` 10 days ago. `away` is archived.
fn check_line(
    latest: Option<(&str, i64, Level, &[Level])>,
    unread: Option<&str>,
    expected: &Expect,
) {
    let policy = policy(GUIDE, &[]);
    let inventory = inventory(&[
        ("old", "app-v1.0.0, pushed 20"),
        ("new", "app-v2.0.0, pushed 10"),
        ("away", "app-v0.9.0, archived"),
    ]);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let usage = measure_usage(&plan, &[]);
    let open = latest.map(|(name, days, lowest, levels)| OpenFindings {
        version: digest(name),
        tag: format!("app-{name}").parse().ok(),
        pushed: now() - chrono::Duration::days(days),
        lowest,
        counts: levels.iter().copied().collect::<Counts>().at_or_above(lowest),
    });
    let standing = OpenFindingsStatus { open, unread: unread.map(digest) };
    let findings = usage.findings(standing, Severity::High);
    let counts = [Severity::Critical, Severity::High, Severity::Medium]
        .map(|severity| findings.open().and_then(|open| open.count_of(severity)));
    let mut line = usage.rows[0].line(&policy.repository_name, &findings);
    for name in ["old", "new"] {
        line = line.replace(digest(name).as_str(), &format!("@{name}"));
    }
    expected.assert_eq(&format!("{line}\n{counts:?}\n"));
}

#[test]
fn unknown_findings_have_no_counts_and_are_not_shown_as_zero() {
    use Level::{Critical, High, Medium};
    check_line(
        Some(("new", 10, High, &[Critical, High, High])),
        None,
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; 3 findings are open in app-new: 1 CRITICAL, 2 HIGH
            [Some(1), Some(2), None]
        "#]],
    );
    check_line(
        Some(("new", 10, High, &[])),
        // An unread scan of an earlier or a deleted version does not matter.
        Some("old"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no finding is open in app-new
            [Some(0), Some(0), None]
        "#]],
    );
    check_line(
        Some(("old", 20, Critical, &[Critical])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; 1 finding is open in app-old: 1 CRITICAL (the scan counted only findings of CRITICAL and above); the findings of the later version @new could not be read
            [Some(1), None, None]
        "#]],
    );
    check_line(
        Some(("new", 10, High, &[Medium])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no finding is open in app-new; the findings of a later scan could not be read
            [Some(0), Some(0), None]
        "#]],
    );
    check_line(
        None,
        None,
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no version was scanned yet
            [None, None, None]
        "#]],
    );
    check_line(
        None,
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; the findings of @new could not be read
            [None, None, None]
        "#]],
    );
    check_line(
        None,
        Some("elsewhere"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no version was scanned yet
            [None, None, None]
        "#]],
    );
    check_line(
        Some(("away", 100, High, &[High])),
        None,
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no version was scanned after app-away, which cannot be pulled any more
            [None, None, None]
        "#]],
    );
    check_line(
        Some(("away", 100, High, &[High])),
        Some("old"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; the findings of @old could not be read
            [None, None, None]
        "#]],
    );
}

#[test]
fn images_without_a_component_and_unknown_findings_have_their_own_texts() {
    let repository = "infrastructure".parse().unwrap();
    let row = ComponentUsageRow {
        images: 1,
        bytes: 999,
        archived_bytes: 1_000,
        ..ComponentUsageRow::default()
    };
    expect!["images without a component in infrastructure: 1 image, 999 B; archived: 0 images, 1.0 kB; the findings are recorded for each image"].assert_eq(&row.line(&repository, &FindingsStatus::ByImage));
    expect!["images without a component in infrastructure: 0 images, 0 B; the open findings could not be read from the ledger"]
    .assert_eq(&ComponentUsageRow::default().line(&repository, &FindingsStatus::Unknown));
    let version = digest("v1");
    let open = OpenFindings {
        version: version.clone(),
        tag: None,
        pushed: now(),
        lowest: Level::High,
        counts: Counts::default(),
    };
    assert_eq!(open_version_name(&open), version.as_str());
    let tagged = OpenFindings { tag: "app-v1.0.0".parse().ok(), ..open.clone() };
    assert_eq!(
        (open_version_name(&tagged), FindingsStatus::Gone(open).open()),
        ("app-v1.0.0", None)
    );
}

/// Neither version is later than the other.
#[test]
fn an_unread_scan_of_a_version_pushed_at_the_same_time_does_not_matter() {
    check_line(
        Some(("old", 10, Level::High, &[])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no finding is open in app-old
            [Some(0), Some(0), None]
        "#]],
    );
    check_line(
        Some(("old", 11, Level::High, &[])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; archived: 1 image, 1.0 kB; no finding is open in app-old; the findings of the later version @new could not be read
            [Some(0), Some(0), None]
        "#]],
    );
}

#[test]
fn a_removed_component_has_no_row_and_the_remaining_parts_are_counted() {
    let images = [("gone", "a-v1.0.0, needs part"), ("part", ""), ("stays", "b-v1.0.0")];
    check(
        "delete",
        &images,
        &["gone", "part"],
        &expect![[r#"
        b: 1 image, 1.0 kB b-v1.0.0
    "#]],
    );
    // The part was not removed.
    check(
        "delete",
        &images,
        &["gone"],
        &expect![[r#"
        a: 0 images, 1.0 kB 
        b: 1 image, 1.0 kB b-v1.0.0
    "#]],
    );
    check(
        "archive",
        &images,
        &["gone"],
        &expect![[r#"
            a: 0 images, 1.0 kB; archived: 1 image, 1.0 kB 
            b: 1 image, 1.0 kB b-v1.0.0
        "#]],
    );
    check(
        "archive",
        &images,
        &["part"],
        &expect![[r#"
            a: 1 image, 1.0 kB; archived: 0 images, 1.0 kB a-v1.0.0
            b: 1 image, 1.0 kB b-v1.0.0
        "#]],
    );
}

#[test]
fn a_component_without_bytes_or_with_only_archived_parts_has_a_row() {
    check(
        "delete",
        &[
            ("here", "a-v1.0.0, empty"),
            ("away", "b-v1.0.0, empty, archived"),
            ("gone", "c-v1.0.0, needs part"),
            ("part", ", archived"),
        ],
        &["gone"],
        &expect![[r#"
            c: 0 images, 0 B; archived: 0 images, 1.0 kB 
            a: 1 image, 0 B a-v1.0.0
            b: 0 images, 0 B; archived: 1 image, 0 B 
        "#]],
    );
}
