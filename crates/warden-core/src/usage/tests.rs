use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::findings::{Counts, Level};
use crate::graph::Graph;
use crate::policy::tests::{GUIDE, policy};
use crate::retention::tests::{digest, image_id, inventory, now};
use crate::retention::{RunningImages, plan_retention};

/// The row of each component after these images were removed, with its newest tag, a line each.
fn check(enforcement: &str, images: &[(&str, &str)], removed: &[&str], expected: &Expect) {
    let changes = [
        ("Governance.Retention.Enforcement", json!(enforcement)),
        ("Governance.Tags.Grammar", json!("{component}-v{semver} {component}-{channel}")),
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
fn an_index_its_images_and_its_signatures_are_one_image_with_all_their_bytes() {
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
fn what_is_in_the_archive_is_counted_apart_and_what_went_there_just_now_too() {
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
            app: 2 images, 2.0 kB; 2 images, 3.0 kB, in the archive app-v3.0.0
            gone: 0 images, 0 B; 1 image, 1.0 kB, in the archive 
        "#]],
    );
    check(
        "delete",
        &images,
        &["index", "amd"],
        &expect![[r#"
            app: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive app-v3.0.0
            gone: 0 images, 0 B; 1 image, 1.0 kB, in the archive 
        "#]],
    );
    check("delete", &[("only", "app-v1.0.0")], &["only"], &expect![""]);
    check("delete", &[], &[], &expect![""]);
}

#[test]
fn an_image_is_of_each_component_that_it_is_called_and_of_those_of_its_parts_where_of_none() {
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
fn the_newest_is_what_was_pushed_last_and_called_as_a_version_where_it_is() {
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

/// The line and the counts of a component with these recorded scans. `old` was pushed 20 days ago
/// and `new` 10 days ago. `away` is archived.
fn say(latest: Option<(&str, i64, Level, &[Level])>, unread: Option<&str>, expected: &Expect) {
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
        counts: levels.iter().copied().collect::<Counts>().from(lowest),
    });
    let standing = OpenFindingsStatus { open, unread: unread.map(digest) };
    let findings = usage.findings(standing, Severity::High);
    let counts = [Severity::Critical, Severity::High, Severity::Medium]
        .map(|severity| findings.open().and_then(|open| open.of(severity)));
    let mut line = usage.rows[0].line(&policy.repository_name, &findings);
    for name in ["old", "new"] {
        line = line.replace(digest(name).as_str(), &format!("@{name}"));
    }
    expected.assert_eq(&format!("{line}\n{counts:?}\n"));
}

#[test]
fn what_is_not_known_has_no_figures_and_is_not_nothing() {
    use Level::{Critical, High, Medium};
    say(
        Some(("new", 10, High, &[Critical, High, High])),
        None,
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; 3 findings are open in app-new: 1 CRITICAL, 2 HIGH
            [Some(1), Some(2), None]
        "#]],
    );
    say(
        Some(("new", 10, High, &[])),
        // An unread scan of an earlier or a deleted version does not matter.
        Some("old"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; no finding is open in app-new
            [Some(0), Some(0), None]
        "#]],
    );
    say(
        Some(("old", 20, Critical, &[Critical])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; 1 finding is open in app-old: 1 CRITICAL, of CRITICAL and above, which counted when it was scanned; what was found in the later @new could not be read
            [Some(1), None, None]
        "#]],
    );
    say(
        Some(("new", 10, High, &[Medium])),
        Some("new"),
        &expect![[r#"
            app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; no finding is open in app-new; it was scanned again, and that could not be read
            [Some(0), Some(0), None]
        "#]],
    );
    say(
        None,
        None,
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; not scanned yet
        [None, None, None]
    "#]],
    );
    say(
        None,
        Some("new"),
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; what was found in @new could not be read
        [None, None, None]
    "#]],
    );
    say(
        None,
        Some("elsewhere"),
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; not scanned yet
        [None, None, None]
    "#]],
    );
    say(
        Some(("away", 100, High, &[High])),
        None,
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; not scanned since app-away, which cannot be pulled any more
        [None, None, None]
    "#]],
    );
    say(
        Some(("away", 100, High, &[High])),
        Some("old"),
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; what was found in @old could not be read
        [None, None, None]
    "#]],
    );
}

#[test]
fn what_is_of_no_component_and_what_is_remembered_elsewhere_has_words_of_its_own() {
    let repository = "infrastructure".parse().unwrap();
    let row = ComponentUsageRow {
        images: 1,
        bytes: 999,
        archived_bytes: 1_000,
        ..ComponentUsageRow::default()
    };
    expect!["what is of no component in infrastructure: 1 image, 999 B; 0 images, 1.0 kB, in the archive; what is open is remembered by image"].assert_eq(&row.line(&repository, &FindingsStatus::ByImage));
    expect![
        "what is of no component in infrastructure: 0 images, 0 B; what is open could not be read"
    ]
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
fn what_could_not_be_read_of_a_version_that_was_pushed_at_the_same_time_does_not_matter() {
    say(
        Some(("old", 10, Level::High, &[])),
        Some("new"),
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; no finding is open in app-old
        [Some(0), Some(0), None]
    "#]],
    );
    say(
        Some(("old", 11, Level::High, &[])),
        Some("new"),
        &expect![[r#"
        app in infrastructure: 2 images, 2.0 kB; 1 image, 1.0 kB, in the archive; no finding is open in app-old; what was found in the later @new could not be read
        [Some(0), Some(0), None]
    "#]],
    );
}

#[test]
fn what_went_has_no_row_and_what_is_left_of_it_is_counted() {
    let images = [("gone", "a-v1.0.0, needs part"), ("part", ""), ("stays", "b-v1.0.0")];
    check(
        "delete",
        &images,
        &["gone", "part"],
        &expect![[r#"
        b: 1 image, 1.0 kB b-v1.0.0
    "#]],
    );
    // The part is still there.
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
        a: 0 images, 1.0 kB; 1 image, 1.0 kB, in the archive 
        b: 1 image, 1.0 kB b-v1.0.0
    "#]],
    );
    check(
        "archive",
        &images,
        &["part"],
        &expect![[r#"
        a: 1 image, 1.0 kB; 0 images, 1.0 kB, in the archive a-v1.0.0
        b: 1 image, 1.0 kB b-v1.0.0
    "#]],
    );
}

#[test]
fn what_has_no_bytes_is_there_too_and_so_are_parts_in_the_archive_of_what_went() {
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
            c: 0 images, 0 B; 0 images, 1.0 kB, in the archive 
            a: 1 image, 0 B a-v1.0.0
            b: 0 images, 0 B; 1 image, 0 B, in the archive 
        "#]],
    );
}
