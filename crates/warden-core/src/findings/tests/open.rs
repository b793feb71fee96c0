//! Open findings, levels and counts.

use super::*;

fn component() -> Component {
    "litellm".parse().unwrap()
}

#[test]
fn an_accepted_risk_of_another_component_does_not_apply() {
    let risk =
        AcceptedRisk { component: Some("openwebui".parse().unwrap()), ..risk("A", "2099-01-01") };
    let scanned = scan(1, "A:C");
    assert_eq!(scanned.component, Some(component()));
    let report = compare_scan(&ScanHistory::default(), &scanned, &[risk], Severity::High, today());
    assert_eq!((report.accepted.len(), report.counted.len()), (0, 1));
}

/// Checks the open findings of a history, with the counts of `MEDIUM`, `HIGH` and `CRITICAL`.
fn check_open(history: &ScanHistory, threshold: Severity, expected: &Expect) {
    let status = history.open_findings(threshold);
    let open = status.open.map(|open| {
        let counts = [Severity::Medium, Severity::High, Severity::Critical]
            .map(|severity| open.count_of(severity));
        format!("{}: {} {counts:?}", open.tag.unwrap(), open.counts)
    });
    let unread = status.unread.map(|unread| unread.as_str()[7..9].to_owned());
    expected.assert_eq(&format!("{open:?}, unread {unread:?}"));
}

#[test]
fn findings_that_count_in_the_latest_version_and_are_not_accepted_are_open() {
    let mut story = Story::new();
    check_open(&story.history, Severity::High, &expect!["None, unread None"]);
    story.then("v1", &scan(1, "A:C B:H M:M")).then("v2", &scan(2, "A:C B:H C:H D:M"));
    story.then("older", &scan(1, "A:C E:C"));
    let expected = expect![[
        r#"Some("litellm-v2: 1 CRITICAL, 2 HIGH [None, Some(2), Some(1)]"), unread None"#
    ]];
    check_open(&story.history, Severity::High, &expected);
    // A lower threshold finds no more: the history has no findings below the threshold of the scan.
    check_open(&story.history, Severity::Medium, &expected);
    check_open(
        &story.history,
        Severity::Critical,
        &expect![[r#"Some("litellm-v2: 1 CRITICAL [None, None, Some(1)]"), unread None"#]],
    );
    story.risks = vec![risk("A", "2099-01-01")];
    story.then("one accepted", &scan(2, "A:C B:H"));
    check_open(
        &story.history,
        Severity::High,
        &expect![[r#"Some("litellm-v2: 1 HIGH [None, Some(1), Some(0)]"), unread None"#]],
    );
    story.then("nothing", &scan(3, "D:M"));
    check_open(
        &story.history,
        Severity::High,
        &expect![[r#"Some("litellm-v3: none [None, Some(0), Some(0)]"), unread None"#]],
    );
}

#[test]
fn a_finding_of_several_images_of_an_index_is_open_once_with_its_highest_level() {
    let image = |image: u8, text: &str| Scanned {
        images: 2,
        ..scan_of(1, image, ScanContents::All(findings(text)))
    };
    let mut story = Story::new();
    story.then("amd64", &image(11, "A:H B:H")).then("arm64", &image(12, "A:C C:H"));
    check_open(
        &story.history,
        Severity::High,
        &expect![[
            r#"Some("litellm-v1: 1 CRITICAL, 2 HIGH [None, Some(2), Some(1)]"), unread None"#
        ]],
    );
}

#[test]
fn findings_that_were_only_counted_are_unread() {
    let mut story = Story::new();
    let counts: Counts = [Level::Critical, Level::High].into_iter().collect();
    story.then("counts", &scan_of(1, 1, ScanContents::Counts(counts.clone())));
    check_open(&story.history, Severity::High, &expect![[r#"None, unread Some("01")"#]]);
    story.then("read", &scan(1, "A:C"));
    check_open(
        &story.history,
        Severity::High,
        &expect![[r#"Some("litellm-v1: 1 CRITICAL [None, Some(0), Some(1)]"), unread None"#]],
    );
    story.then("counts of v2", &scan_of(2, 2, ScanContents::Counts(counts)));
    check_open(
        &story.history,
        Severity::High,
        &expect![[r#"Some("litellm-v1: 1 CRITICAL [None, Some(0), Some(1)]"), unread Some("02")"#]],
    );
}

#[test]
fn a_finding_without_a_severity_is_informational() {
    let mut history = ScanHistory::default();
    let scanned = scan(1, "A:?");
    let report = compare_scan(&history, &scanned, &[], Severity::Informational, today());
    history = history.record(&scanned, &report);
    let open = history.open_findings(Severity::Informational).open.unwrap();
    assert_eq!(
        (open.count_of(Severity::Informational), open.count_of(Severity::Low)),
        (Some(1), Some(0))
    );
}

#[test]
fn each_level_has_a_severity_and_each_severity_a_level() {
    for (word, level, severity) in [
        ("CRITICAL", Level::Critical, Severity::Critical),
        ("HIGH", Level::High, Severity::High),
        ("MEDIUM", Level::Medium, Severity::Medium),
        ("LOW", Level::Low, Severity::Low),
        ("UNTRIAGED", Level::Untriaged, Severity::Informational),
        ("UNDEFINED", Level::Untriaged, Severity::Informational),
        ("high", Level::Untriaged, Severity::Informational),
        ("INFORMATIONAL", Level::Informational, Severity::Informational),
    ] {
        assert_eq!((Level::read(word), level.severity()), (level, severity), "{word}");
        assert_eq!(Level::from(severity).severity(), severity);
    }
}

#[test]
fn counts_are_summed_by_severity_and_never_overflow() {
    use Level::{Critical, High, Informational, Untriaged};
    let counts: Counts = [High, Critical, High, Informational, Untriaged].into_iter().collect();
    assert_eq!(
        [Severity::High, Severity::Informational, Severity::Low]
            .map(|severity| counts.count_of(severity)),
        [2, 2, 0]
    );
    assert_eq!((counts.total(), counts.worst()), (5, Some(Critical)));
    assert_eq!((Counts::default().total(), Counts::default().worst()), (0, None));
    let mut most = Counts::default();
    for level in [High, High, Critical] {
        most.add(level, u64::MAX);
    }
    assert_eq!((most.count_of(Severity::High), most.total()), (u64::MAX, u64::MAX));
}
