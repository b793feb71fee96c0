//! What is open, and what levels and counts come to.

use super::*;

fn component() -> Component {
    "litellm".parse().unwrap()
}

#[test]
fn an_accepted_risk_of_another_component_is_none_here() {
    let risk =
        AcceptedRisk { component: Some("openwebui".parse().unwrap()), ..risk("A", "2099-01-01") };
    let scanned = scan(1, "A:C");
    assert_eq!(scanned.component, Some(component()));
    let report = compare_scan(&ScanHistory::default(), &scanned, &[risk], Severity::High, today());
    assert_eq!((report.accepted.len(), report.counted.len()), (0, 1));
}

/// The standing after these scans, with `MEDIUM`, `HIGH` and `CRITICAL`.
fn standing(memory: &ScanHistory, threshold: Severity, expected: &Expect) {
    let standing = memory.standing(threshold);
    let open = standing.open.map(|open| {
        let of = [Severity::Medium, Severity::High, Severity::Critical].map(|it| open.of(it));
        format!("{}: {} {of:?}", open.tag.unwrap(), open.counts)
    });
    let unread = standing.unread.map(|unread| unread.as_str()[7..9].to_owned());
    expected.assert_eq(&format!("{open:?}, unread {unread:?}"));
}

#[test]
fn what_is_open_is_what_counts_in_the_latest_version_and_is_not_accepted() {
    let mut story = Story::new();
    standing(&story.memory, Severity::High, &expect!["None, unread None"]);
    story.then("v1", &scan(1, "A:C B:H M:M")).then("v2", &scan(2, "A:C B:H C:H D:M"));
    story.then("older", &scan(1, "A:C E:C"));
    let expected = expect![[
        r#"Some("litellm-v2: 1 CRITICAL, 2 HIGH [None, Some(2), Some(1)]"), unread None"#
    ]];
    standing(&story.memory, Severity::High, &expected);
    // What was below the threshold then is not remembered, and one above it is another question.
    standing(&story.memory, Severity::Medium, &expected);
    standing(
        &story.memory,
        Severity::Critical,
        &expect![[r#"Some("litellm-v2: 1 CRITICAL [None, None, Some(1)]"), unread None"#]],
    );
    story.risks = vec![risk("A", "2099-01-01")];
    story.then("one accepted", &scan(2, "A:C B:H"));
    standing(
        &story.memory,
        Severity::High,
        &expect![[r#"Some("litellm-v2: 1 HIGH [None, Some(1), Some(0)]"), unread None"#]],
    );
    story.then("nothing", &scan(3, "D:M"));
    standing(
        &story.memory,
        Severity::High,
        &expect![[r#"Some("litellm-v3: none [None, Some(0), Some(0)]"), unread None"#]],
    );
}

#[test]
fn what_several_images_of_an_index_have_is_open_once_and_as_bad_as_in_any() {
    let of = |image: u8, text: &str| Scanned {
        images: 2,
        ..scan_of(1, image, ScanContents::All(findings(text)))
    };
    let mut story = Story::new();
    story.then("amd64", &of(11, "A:H B:H")).then("arm64", &of(12, "A:C C:H"));
    standing(
        &story.memory,
        Severity::High,
        &expect![[
            r#"Some("litellm-v1: 1 CRITICAL, 2 HIGH [None, Some(2), Some(1)]"), unread None"#
        ]],
    );
}

#[test]
fn what_could_only_be_told_from_counts_is_no_figure() {
    let mut story = Story::new();
    let counts: Counts = [Level::Critical, Level::High].into_iter().collect();
    story.then("counts", &scan_of(1, 1, ScanContents::Counts(counts.clone())));
    standing(&story.memory, Severity::High, &expect![[r#"None, unread Some("01")"#]]);
    story.then("read", &scan(1, "A:C"));
    standing(
        &story.memory,
        Severity::High,
        &expect![[r#"Some("litellm-v1: 1 CRITICAL [None, Some(0), Some(1)]"), unread None"#]],
    );
    story.then("counts of v2", &scan_of(2, 2, ScanContents::Counts(counts)));
    standing(
        &story.memory,
        Severity::High,
        &expect![[r#"Some("litellm-v1: 1 CRITICAL [None, Some(0), Some(1)]"), unread Some("02")"#]],
    );
}

#[test]
fn what_a_scanner_left_open_is_informational() {
    let mut memory = ScanHistory::default();
    let scanned = scan(1, "A:?");
    let report = compare_scan(&memory, &scanned, &[], Severity::Informational, today());
    memory = memory.after(&scanned, &report);
    let open = memory.standing(Severity::Informational).open.unwrap();
    assert_eq!((open.of(Severity::Informational), open.of(Severity::Low)), (Some(1), Some(0)));
}

#[test]
fn each_level_has_the_severity_that_alerts_know_and_each_severity_its_level() {
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
        [Severity::High, Severity::Informational, Severity::Low].map(|it| counts.of(it)),
        [2, 2, 0]
    );
    assert_eq!((counts.total(), counts.worst()), (5, Some(Critical)));
    assert_eq!((Counts::default().total(), Counts::default().worst()), (0, None));
    let mut most = Counts::default();
    for level in [High, High, Critical] {
        most.add(level, u64::MAX);
    }
    assert_eq!((most.of(Severity::High), most.total()), (u64::MAX, u64::MAX));
}
