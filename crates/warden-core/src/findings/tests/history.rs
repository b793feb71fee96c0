//! What is remembered, and what is made of it.

use super::*;

#[test]
fn what_is_known_of_an_image_is_each_vulnerability_at_its_worst() {
    let all = [findings("B:H A:M"), findings("B:C")].concat();
    let known: SeverityById = all.iter().collect();
    let pairs: Vec<(&str, Level)> = known.iter().collect();
    assert_eq!(pairs, [("A", Level::Medium), ("B", Level::Critical)]);
    assert_eq!(known.ids().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!((known.level("B"), known.level("C")), (Some(Level::Critical), None));
    assert!(!known.is_empty() && SeverityById::default().is_empty());
}

#[test]
fn an_event_about_what_is_accepted_or_was_told_as_less_is_read() {
    let mut story = Story::new();
    story.then("v1", &scan(1, "A:H")).then("v2", &scan(2, "A:H"));
    story.then("v1 has another", &scan(1, "A:H B:H"));
    story.risks = vec![risk("C", "2099-01-01")];
    story.then("v2 has one that is accepted", &scan(2, "A:H C:H"));
    let knows = |version: u8, text: &str, active: bool| {
        let finding = &findings(text)[0];
        story.memory.knows(&digest(version), &digest(version), finding, active)
    };
    assert!(!knows(2, "C:H", true) && !knows(2, "C:H", false), "it may not be accepted any more");
    assert!(knows(1, "B:H", true), "it was told, of what was an older version by then");
    assert!(knows(1, "A:M", true) && !knows(1, "A:C", true), "it is worse than it was told");
    assert!(knows(2, "A:H", true));
    let other_image = story.memory.knows(&digest(2), &digest(22), &findings("A:H")[0], true);
    assert!(!other_image, "another image of the version may not have been scanned");
}

#[test]
fn what_was_told_from_events_is_remembered_for_one_version() {
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
            three: Tell; new [] of [], fixed [], accepted 0; first
            four: Tell; new [] of [], fixed [], accepted 0; first
            three again: Nothing; new [] of [], fixed [], accepted 0; first
            another version: Tell; new [] of [], fixed [], accepted 0; first
            again: Nothing; new [] of [], fixed [], accepted 0; first
            one finding: Tell; new [A] of [A], fixed [], accepted 0; first
            it again, and another: Tell; new [B] of [B A], fixed [], accepted 0; first
            one below the threshold: Nothing; new [] of [], fixed [], accepted 0; first
        "#]]);
}

#[test]
fn an_image_that_was_scanned_under_a_higher_threshold_is_none_to_compare_with() {
    let part = |n, image, text: &str| Scanned {
        images: 2,
        ..scan_of(n, image, ScanContents::All(findings(text)))
    };
    let baseline = |scans: &[(Scanned, Severity)], last: &Scanned| {
        let mut memory = ScanHistory::default();
        for (scanned, threshold) in scans {
            let report = compare_scan(&memory, scanned, &[], *threshold, today());
            memory = memory.after(scanned, &report);
        }
        compare_scan(&memory, last, &[], Severity::High, today()).baseline.map(|it| it.digest)
    };
    let (critical, high) = (Severity::Critical, Severity::High);
    // One of two images was; the same image alone was scanned again.
    let two = [(part(1, 11, "A:C"), critical), (part(1, 12, "A:C B:H"), high)];
    assert_eq!(baseline(&two, &scan(2, "")), None);
    let alone = [(scan(1, "A:C"), critical), (scan(1, "A:C B:H"), high)];
    assert_eq!(baseline(&alone, &scan(2, "")), Some(digest(1)));
    let lowered = [(part(1, 11, "A:C"), high), (part(1, 12, "A:C"), critical)];
    assert_eq!(baseline(&lowered, &scan(2, "")), None);
    assert_eq!(baseline(&[(scan(1, "A:C"), Severity::Low)], &scan(2, "")), Some(digest(1)));
}
