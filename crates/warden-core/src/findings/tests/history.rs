//! The history of scans, and the comparison with it.

use super::*;

#[test]
fn each_vulnerability_of_an_image_is_recorded_with_its_highest_level() {
    let all = [findings("B:H A:M"), findings("B:C")].concat();
    let known: SeverityById = all.iter().collect();
    let pairs: Vec<(&str, Level)> = known.iter().collect();
    assert_eq!(pairs, [("A", Level::Medium), ("B", Level::Critical)]);
    assert_eq!(known.ids().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!((known.level("B"), known.level("C")), (Some(Level::Critical), None));
    assert!(!known.is_empty() && SeverityById::default().is_empty());
}

#[test]
fn an_event_about_an_accepted_finding_or_a_higher_level_may_bring_news() {
    let mut story = Story::new();
    story.then("v1", &scan(1, "A:H")).then("v2", &scan(2, "A:H"));
    story.then("v1 has another", &scan(1, "A:H B:H"));
    story.risks = vec![risk("C", "2099-01-01")];
    story.then("v2 has one that is accepted", &scan(2, "A:H C:H"));
    let has_no_news = |version: u8, text: &str, active: bool| {
        let finding = &findings(text)[0];
        story.history.has_no_news(&digest(version), &digest(version), finding, active)
    };
    assert!(
        !has_no_news(2, "C:H", true) && !has_no_news(2, "C:H", false),
        "the acceptance may have ended"
    );
    assert!(
        has_no_news(1, "B:H", true),
        "the finding was published for version 1 when version 2 was the latest"
    );
    assert!(
        has_no_news(1, "A:M", true) && !has_no_news(1, "A:C", true),
        "the level is higher than the published level"
    );
    assert!(has_no_news(2, "A:H", true));
    let other_image = story.history.has_no_news(&digest(2), &digest(22), &findings("A:H")[0], true);
    assert!(!other_image, "another image of the version may not have been scanned");
}

#[test]
fn facts_published_from_events_are_recorded_for_one_version() {
    let counts = |n: u64| {
        let mut counts = Counts::default();
        counts.add(Level::Critical, n);
        ScanContents::Counts(counts)
    };
    Story::new()
        .then("three", &scan_of(2, 2, counts(3)))
        .then("four", &scan_of(2, 2, counts(4)))
        .then("three again", &scan_of(2, 2, counts(3)))
        .then("another version", &scan_of(3, 3, counts(3)))
        .then("again", &scan_of(3, 3, counts(3)))
        .then("one finding", &scan_of(3, 3, ScanContents::Some(findings("A:H M:M"))))
        .then("it again, and another", &scan_of(3, 3, ScanContents::Some(findings("A:H B:H"))))
        .then("one below the threshold", &scan_of(3, 3, ScanContents::Some(findings("M:M"))))
        .check(&expect![[r#"
            three: Publish; new [] of [], fixed [], accepted 0; first
            four: Publish; new [] of [], fixed [], accepted 0; first
            three again: Nothing; new [] of [], fixed [], accepted 0; first
            another version: Publish; new [] of [], fixed [], accepted 0; first
            again: Nothing; new [] of [], fixed [], accepted 0; first
            one finding: Publish; new [A] of [A], fixed [], accepted 0; first
            it again, and another: Publish; new [B] of [B A], fixed [], accepted 0; first
            one below the threshold: Nothing; new [] of [], fixed [], accepted 0; first
        "#]]);
}

#[test]
fn a_version_is_no_baseline_if_one_of_its_images_was_scanned_with_a_higher_threshold() {
    let part = |n, image, text: &str| Scanned {
        images: 2,
        ..scan_of(n, image, ScanContents::All(findings(text)))
    };
    let baseline = |scans: &[(Scanned, Severity)], last: &Scanned| {
        let mut history = ScanHistory::default();
        for (scanned, threshold) in scans {
            let report = compare_scan(&history, scanned, &[], *threshold, today());
            history = history.record(scanned, &report);
        }
        compare_scan(&history, last, &[], Severity::High, today())
            .baseline
            .map(|before| before.digest)
    };
    let (critical, high) = (Severity::Critical, Severity::High);
    // In `two`, one of two images was scanned with the higher threshold. In `alone`, the only image was
    // scanned again with the lower threshold.
    let two = [(part(1, 11, "A:C"), critical), (part(1, 12, "A:C B:H"), high)];
    assert_eq!(baseline(&two, &scan(2, "")), None);
    let alone = [(scan(1, "A:C"), critical), (scan(1, "A:C B:H"), high)];
    assert_eq!(baseline(&alone, &scan(2, "")), Some(digest(1)));
    let lowered = [(part(1, 11, "A:C"), high), (part(1, 12, "A:C"), critical)];
    assert_eq!(baseline(&lowered, &scan(2, "")), None);
    assert_eq!(baseline(&[(scan(1, "A:C"), Severity::Low)], &scan(2, "")), Some(digest(1)));
}
