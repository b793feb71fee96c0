mod alone;
mod history;
mod lines;
mod open;
mod scanners;

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::image::{Component, Digest, Tag};
use crate::risks::AcceptedRisk;

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
}

fn at(n: u8) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + i64::from(n) * 86_400, 0).unwrap()
}

fn today() -> NaiveDate {
    at(0).date_naive()
}

/// Parses findings from a text such as `CVE-1:C CVE-2:H`.
fn findings(text: &str) -> Vec<Finding> {
    let one = |word: &str| {
        let (id, level) = word.split_once(':').unwrap();
        let level = match level {
            "C" => Level::Critical,
            "H" => Level::High,
            "M" => Level::Medium,
            _ => Level::Untriaged,
        };
        Finding::new(id, level).unwrap()
    };
    merge_findings(text.split_whitespace().map(one))
}

/// The scan of version `n` of `litellm`, pushed on day `n`, with its image `image`.
fn scan_of(n: u8, image: u8, found: ScanContents) -> Scanned {
    Scanned {
        component: Some("litellm".parse().unwrap()),
        version: digest(n),
        tag: Some(format!("litellm-v{n}").parse().unwrap()),
        pushed: at(n),
        image: digest(image),
        images: 1,
        found,
    }
}

fn scan(n: u8, text: &str) -> Scanned {
    scan_of(n, n, ScanContents::All(findings(text)))
}

fn risk(id: &str, until: &str) -> AcceptedRisk {
    AcceptedRisk {
        id: id.to_owned(),
        until: until.parse().unwrap(),
        reason: "not reachable".to_owned(),
        owner: "platform".to_owned(),
        component: None,
    }
}

/// A sequence of scans. Each scan adds a line with the decision.
struct Story {
    history: ScanHistory,
    risks: Vec<AcceptedRisk>,
    lines: String,
}

impl Story {
    fn new() -> Self {
        Self { history: ScanHistory::default(), risks: Vec::new(), lines: String::new() }
    }

    fn then(&mut self, name: &str, scanned: &Scanned) -> &mut Self {
        let report = compare_scan(&self.history, scanned, &self.risks, Severity::High, today());
        let ids = |counted: &mut dyn Iterator<Item = &ReportedFinding>| {
            counted.map(|counted| counted.finding.id.clone()).collect::<Vec<_>>().join(" ")
        };
        let before = report.baseline.as_ref().and_then(|before| before.tag.as_ref());
        let _ = writeln!(
            self.lines,
            "{name}: {:?}; new [{}] of [{}], fixed [{}], accepted {}; {}{}",
            report.verdict,
            ids(&mut report.news()),
            ids(&mut report.counted.iter()),
            report.fixed.join(" "),
            report.accepted.len(),
            before.map_or_else(|| "first".to_owned(), |tag| format!("after {tag}")),
            if report.is_latest { "" } else { ", older" },
        );
        self.history = std::mem::take(&mut self.history).record(scanned, &report);
        self
    }

    fn check(&self, expected: &Expect) {
        expected.assert_eq(&self.lines);
    }
}

#[test]
fn a_finding_is_news_once_and_not_if_the_version_before_had_it() {
    Story::new()
        .then("v1", &scan(1, "A:C B:H M:M"))
        .then("v1 again", &scan(1, "A:C B:H M:M"))
        .then("v1, one more", &scan(1, "A:C B:H C:H"))
        .then("v2, one fixed, one new", &scan(2, "B:H C:H D:C"))
        .then("v3, nothing new", &scan(3, "B:H C:H D:C"))
        .then("v4, one that v2 had fixed", &scan(4, "A:C B:H"))
        .check(&expect![[r#"
            v1: Publish; new [A B] of [A B], fixed [], accepted 0; first
            v1 again: Nothing; new [] of [A B], fixed [], accepted 0; first
            v1, one more: Publish; new [C] of [C A B], fixed [], accepted 0; first
            v2, one fixed, one new: Publish; new [D] of [D B C], fixed [A], accepted 0; after litellm-v1
            v3, nothing new: Nothing; new [] of [D B C], fixed [], accepted 0; after litellm-v2
            v4, one that v2 had fixed: Publish; new [A] of [A B], fixed [C D], accepted 0; after litellm-v3
        "#]]);
}

// See case P24 in docs/contributing/prior-art.md.
#[test]
fn a_finding_with_a_higher_level_is_news_and_one_with_a_lower_level_is_not() {
    Story::new()
        .then("v1", &scan(1, "A:H B:C"))
        .then("re-scored", &scan(1, "A:C B:H"))
        .then("the same again", &scan(1, "A:C B:H"))
        .then("below the threshold", &scan(1, "A:M B:H"))
        .then("and back", &scan(1, "A:C B:H"))
        .check(&expect![[r#"
            v1: Publish; new [B A] of [B A], fixed [], accepted 0; first
            re-scored: Publish; new [A] of [A B], fixed [], accepted 0; first
            the same again: Nothing; new [] of [A B], fixed [], accepted 0; first
            below the threshold: Nothing; new [] of [B], fixed [], accepted 0; first
            and back: Nothing; new [] of [A B], fixed [], accepted 0; first
        "#]]);
}

#[test]
fn a_clean_scan_resolves_only_an_open_alert() {
    Story::new()
        .then("v1, clean", &scan(1, "M:M"))
        .then("v2", &scan(2, "A:C"))
        .then("v3, clean", &scan(3, ""))
        .then("v3 again", &scan(3, ""))
        .then("v4 has it again", &scan(4, "A:C"))
        .then("v4 after a re-scan", &scan(4, ""))
        .then("v4 has it after all", &scan(4, "A:C"))
        .check(&expect![[r#"
            v1, clean: Nothing; new [] of [], fixed [], accepted 0; first
            v2: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v1
            v3, clean: Resolve; new [] of [], fixed [A], accepted 0; after litellm-v2
            v3 again: Nothing; new [] of [], fixed [A], accepted 0; after litellm-v2
            v4 has it again: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v3
            v4 after a re-scan: Resolve; new [] of [], fixed [], accepted 0; after litellm-v3
            v4 has it after all: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v3
        "#]]);
}

// See case P25 in docs/contributing/prior-art.md.
#[test]
fn the_images_of_an_index_are_one_version() {
    let part = |n, image, text: &str| Scanned {
        images: 2,
        ..scan_of(n, image, ScanContents::All(findings(text)))
    };
    Story::new()
        .then("amd64", &part(1, 11, "A:C B:H"))
        .then("arm64, one more", &part(1, 12, "A:C B:H C:H"))
        .then("v2, amd64", &part(2, 21, "A:C"))
        .then("v2, arm64 has what v1 had", &part(2, 22, "A:C B:H"))
        .then("v3, arm64 is clean", &part(3, 32, ""))
        .then("v3, amd64 is not", &part(3, 31, "A:C"))
        .then("v3, amd64 is now", &part(3, 31, ""))
        .check(&expect![[r#"
            amd64: Publish; new [A B] of [A B], fixed [], accepted 0; first
            arm64, one more: Publish; new [C] of [C A B], fixed [], accepted 0; first
            v2, amd64: Nothing; new [] of [A], fixed [], accepted 0; after litellm-v1
            v2, arm64 has what v1 had: Nothing; new [] of [A B], fixed [C], accepted 0; after litellm-v1
            v3, arm64 is clean: Nothing; new [] of [], fixed [], accepted 0; after litellm-v2
            v3, amd64 is not: Nothing; new [] of [A], fixed [B], accepted 0; after litellm-v2
            v3, amd64 is now: Resolve; new [] of [], fixed [A B], accepted 0; after litellm-v2
        "#]]);
}

#[test]
fn a_version_is_clean_if_all_findings_of_its_other_images_are_accepted() {
    let part = |image, text: &str| Scanned {
        images: 2,
        ..scan_of(1, image, ScanContents::All(findings(text)))
    };
    let mut story = Story::new();
    story.risks = vec![risk("A", &today().to_string())];
    story
        .then("amd64 has what is accepted", &part(11, "A:C"))
        .then("arm64 has more", &part(12, "A:C B:H"))
        .then("arm64 has not", &part(12, "A:C"))
        .check(&expect![[r#"
            amd64 has what is accepted: Nothing; new [] of [], fixed [], accepted 1; first
            arm64 has more: Publish; new [B] of [B], fixed [], accepted 1; first
            arm64 has not: Resolve; new [] of [], fixed [], accepted 1; first
        "#]]);
}

#[test]
fn a_finding_of_an_older_version_is_published_once_for_all_older_versions() {
    let mut story = Story::new();
    story
        .then("v5", &scan(5, "A:C"))
        .then("v3 is scanned again", &scan(3, "A:C B:H"))
        .then("v2 too", &scan(2, "B:H"))
        .then("v4, clean", &scan(4, ""))
        .then("v5 has the published findings of v3", &scan(5, "A:C B:H"))
        .then("v3 again", &scan(3, "A:C B:H"))
        .check(&expect![[r#"
            v5: Publish; new [A] of [A], fixed [], accepted 0; first
            v3 is scanned again: Publish; new [B] of [B A], fixed [], accepted 0; first, older
            v2 too: Nothing; new [] of [B], fixed [], accepted 0; first, older
            v4, clean: Nothing; new [] of [], fixed [], accepted 0; first, older
            v5 has the published findings of v3: Publish; new [B] of [B A], fixed [], accepted 0; first
            v3 again: Nothing; new [] of [A B], fixed [], accepted 0; first, older
        "#]]);
    assert_eq!(story.history.latest.as_ref().unwrap().digest, digest(5));
}

#[test]
fn an_accepted_finding_does_not_count_until_its_last_day_is_over() {
    let mut story = Story::new();
    let [before, until] = [today().pred_opt().unwrap(), today()].map(|day| day.to_string());
    story.risks = vec![risk("A", &until)];
    story.then("accepted", &scan(1, "A:C")).then("with another", &scan(1, "A:C B:H"));
    story.risks = vec![risk("A", &until), risk("B", &until)];
    story.then("both accepted", &scan(1, "A:C B:H"));
    story.risks = vec![risk("A", &before), risk("B", &until)];
    story.then("one is over", &scan(1, "A:C B:H"));
    story.check(&expect![[r#"
        accepted: Nothing; new [] of [], fixed [], accepted 1; first
        with another: Publish; new [B] of [B], fixed [], accepted 1; first
        both accepted: Resolve; new [] of [], fixed [], accepted 2; first
        one is over: Publish; new [A] of [A], fixed [], accepted 1; first
    "#]]);
    let report = compare_scan(
        &ScanHistory::default(),
        &scan(1, "A:C"),
        &story.risks,
        Severity::High,
        today(),
    );
    assert_eq!(report.counted[0].lapsed, Some(today().pred_opt().unwrap()));
}

#[test]
fn a_finding_is_news_again_when_its_acceptance_ends() {
    let until = today().to_string();
    let mut story = Story::new();
    story.then("published", &scan(1, "A:C B:H"));
    story.risks = vec![risk("A", &until), risk("B", &until)];
    story.then("both accepted", &scan(2, "A:C B:H"));
    story.risks = vec![risk("A", "2020-01-01"), risk("B", &until)];
    story.then("one is over", &scan(2, "A:C B:H")).then("the same", &scan(2, "A:C B:H"));
    story.risks = vec![];
    story.then("the other is withdrawn", &scan(3, "A:C B:H"));
    story.check(&expect![[r#"
        published: Publish; new [A B] of [A B], fixed [], accepted 0; first
        both accepted: Resolve; new [] of [], fixed [], accepted 2; after litellm-v1
        one is over: Publish; new [A] of [A], fixed [], accepted 1; after litellm-v1
        the same: Nothing; new [] of [A], fixed [], accepted 1; after litellm-v1
        the other is withdrawn: Publish; new [B] of [B A], fixed [], accepted 0; after litellm-v2
    "#]]);
}

#[test]
fn findings_that_cannot_be_read_are_published_from_events_and_recorded_as_published() {
    let counts = |n: u64| {
        let mut counts = Counts::default();
        counts.add(Level::Critical, n);
        counts.add(Level::Low, 9);
        ScanContents::Counts(counts)
    };
    let one = Finding::new("A", Level::Critical).unwrap();
    let mut story = Story::new();
    story
        .then("v1", &scan(1, "B:H"))
        .then("v2, three", &scan_of(2, 2, counts(3)))
        .then("again", &scan_of(2, 2, counts(3)))
        .then("four", &scan_of(2, 2, counts(4)))
        .then("none that counts", &scan_of(3, 3, counts(0)))
        .then("one finding", &scan_of(2, 2, ScanContents::Some(vec![one.clone()])))
        .then("it comes again", &scan_of(2, 2, ScanContents::Some(vec![one])))
        .then("another", &scan_of(2, 2, ScanContents::Some(findings("C:C"))));
    assert_eq!(
        story.history.latest.as_ref().unwrap().digest,
        digest(1),
        "version 2 is no baseline, because its findings were not read"
    );
    story.then("read after all", &scan(2, "A:C B:H C:C"));
    story.check(&expect![[r#"
        v1: Publish; new [B] of [B], fixed [], accepted 0; first
        v2, three: Publish; new [] of [], fixed [], accepted 0; after litellm-v1
        again: Nothing; new [] of [], fixed [], accepted 0; after litellm-v1
        four: Publish; new [] of [], fixed [], accepted 0; after litellm-v1
        none that counts: Nothing; new [] of [], fixed [], accepted 0; after litellm-v1
        one finding: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v1
        it comes again: Nothing; new [] of [A], fixed [], accepted 0; after litellm-v1
        another: Publish; new [C] of [C], fixed [], accepted 0; after litellm-v1
        read after all: Nothing; new [] of [A C B], fixed [], accepted 0; after litellm-v1
    "#]]);
}

#[test]
fn each_finding_that_returns_and_is_known_from_events_is_published_once() {
    let event = |text| scan_of(3, 3, ScanContents::Some(findings(text)));
    Story::new()
        .then("v1", &scan(1, "A:C B:C"))
        .then("v2", &scan(2, ""))
        .then("A is back in v3", &event("A:C"))
        .then("once more", &event("A:C"))
        .then("and so is B", &event("B:C"))
        .check(&expect![[r#"
            v1: Publish; new [A B] of [A B], fixed [], accepted 0; first
            v2: Resolve; new [] of [], fixed [A B], accepted 0; after litellm-v1
            A is back in v3: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v2
            once more: Nothing; new [] of [A], fixed [], accepted 0; after litellm-v2
            and so is B: Publish; new [B] of [B], fixed [], accepted 0; after litellm-v2
        "#]]);
}

#[test]
fn a_report_prints_the_decision_and_the_counts() {
    let mut history = ScanHistory::default();
    let mut lines = String::new();
    for (n, text) in [(2, "A:C B:H M:M"), (3, "A:C B:H C:H"), (4, "A:C"), (1, "A:C"), (5, "")] {
        let scanned = scan(n, text);
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        lines += &format!("v{n}: {report}\n");
        history = history.record(&scanned, &report);
    }
    expect![[r#"
        v2: send an alert about 1 CRITICAL, 1 HIGH new: 1 CRITICAL, 1 HIGH at or above HIGH, 0 accepted, 3 findings in total
        v3: send an alert about 1 HIGH new: 1 CRITICAL, 2 HIGH at or above HIGH, 0 accepted, 3 findings in total; 0 fixed since litellm-v2
        v4: send no alert: 1 CRITICAL at or above HIGH, 0 accepted, 1 findings in total; 2 fixed since litellm-v3
        v1: send no alert: 1 CRITICAL at or above HIGH, 0 accepted, 1 findings in total; not the latest version
        v5: send an alert that resolves the last alert: none at or above HIGH, 0 accepted, 0 findings in total; 1 fixed since litellm-v4
    "#]].assert_eq(&lines);
}

#[test]
fn a_report_of_counts_names_the_event_as_their_source() {
    let counts = Counts::from_iter([Level::Critical, Level::Low]);
    let scanned = scan_of(1, 1, ScanContents::Counts(counts));
    let report = compare_scan(&ScanHistory::default(), &scanned, &[], Severity::High, today());
    expect!["send an alert with the counts of the event: none at or above HIGH, 0 accepted, 2 findings in total"]
        .assert_eq(&report.to_string());
}

#[test]
fn the_most_important_finding_comes_first() {
    let finding = |id: &str, level, exploit, fix, epss, in_use| Finding {
        exploit,
        fix,
        epss,
        in_use,
        ..Finding::new(id, level).unwrap()
    };
    let all = vec![
        finding("6-in-use", Level::High, None, None, None, Some(3)),
        finding("7-high", Level::High, None, None, None, None),
        finding("5-critical", Level::Critical, Some(false), Some(false), None, None),
        finding("4-probable", Level::High, None, None, Some(0.1), None),
        finding("3-more-probable", Level::High, None, None, Some(0.9), None),
        finding("2-fixed", Level::High, None, Some(true), None, None),
        finding("1-exploited", Level::High, Some(true), None, None, None),
    ];
    let scanned = scan_of(1, 1, ScanContents::All(all));
    let report = compare_scan(&ScanHistory::default(), &scanned, &[], Severity::High, today());
    let order: Vec<&str> =
        report.counted.iter().map(|counted| counted.finding.id.as_str()).collect();
    let mut expected = order.clone();
    expected.sort_unstable();
    assert_eq!(order, expected);
}

#[test]
fn a_version_that_was_scanned_with_a_higher_threshold_is_no_baseline() {
    let mut history = ScanHistory::default();
    let mut record = |scanned: &Scanned, threshold| {
        let report = compare_scan(&history, scanned, &[], threshold, today());
        history = std::mem::take(&mut history).record(scanned, &report);
        report
    };
    record(&scan(1, "A:C M:M"), Severity::High);
    let lower = record(&scan(2, "A:C M:M N:M"), Severity::Medium);
    // With the lower threshold, version 1 may also have had the other two findings.
    assert_eq!((lower.baseline, lower.fixed.len()), (None, 0));
    assert_eq!(lower.counted.iter().filter(|counted| counted.is_new).count(), 2);
    let next = record(&scan(3, "A:C M:M"), Severity::Medium);
    assert_eq!((next.baseline.unwrap().digest, next.fixed), (digest(2), vec!["N".to_owned()]));
}

#[test]
fn an_event_about_a_recorded_finding_brings_no_news() {
    let mut story = Story::new();
    story.then("v1", &scan(1, "A:C")).then("v2", &scan(2, "A:C B:H"));
    let has_no_news = |version: u8, text: &str, active: bool| {
        let finding = &findings(text)[0];
        story.history.has_no_news(&digest(version), &digest(version), finding, active)
    };
    assert!(has_no_news(2, "A:C", true) && has_no_news(2, "B:H", true));
    assert!(!has_no_news(2, "B:C", true), "the level is higher");
    assert!(!has_no_news(2, "C:H", true), "the finding is new");
    assert!(!has_no_news(2, "A:C", false), "a recorded finding was closed");
    assert!(has_no_news(2, "C:H", false), "the closed finding was not recorded");
    assert!(has_no_news(1, "A:C", true), "the finding was published for the version before");
    assert!(!has_no_news(1, "C:H", true));
    assert!(has_no_news(1, "A:C", false), "the version is not the latest");
    assert!(!has_no_news(3, "A:C", true), "another version may be newer");
}

#[test]
fn findings_of_several_packages_with_one_id_are_merged() {
    let finding = |level, package: &str, fixed| Finding {
        packages: Package::new(package, Some("1.0"), fixed).into_iter().collect(),
        ..Finding::new("CVE-1", level).unwrap()
    };
    let merged = merge_findings([
        finding(Level::Medium, "libssl3", None),
        finding(Level::High, "openssl", Some("1.1")),
        finding(Level::High, "openssl", Some("1.1")),
        Finding { exploit: Some(true), epss: Some(0.2), ..finding(Level::Low, "zlib", None) },
    ]);
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].level, merged[0].packages.len()), (Level::High, 3));
    assert_eq!((merged[0].exploit, merged[0].epss), (Some(true), Some(0.2)));
    assert!(merged[0].has_fix());
    assert_eq!(Package::new("a", Some("NotAvailable"), Some("")).unwrap().installed, None);
}

// See case P19 in docs/contributing/prior-art.md.
#[test]
fn counts_print_every_level_with_the_highest_first() {
    let mut counts = Counts::default();
    counts.add(Level::read("INFORMATIONAL"), 9);
    counts.add(Level::read("UNDEFINED"), 1);
    counts.add(Level::read("UNTRIAGED"), 1);
    counts.add(Level::read("CRITICAL"), 2);
    counts.add(Level::read("HIGH"), 0);
    expect!["2 CRITICAL, 2 UNTRIAGED, 9 INFORMATIONAL"].assert_eq(&counts.to_string());
    expect!["2 CRITICAL"].assert_eq(&counts.at_or_above(Level::Low).to_string());
    expect!["none"].assert_eq(&Counts::default().to_string());
    let json = r#"{"INFORMATIONAL":9,"UNTRIAGED":2,"CRITICAL":2}"#;
    assert_eq!(serde_json::to_string(&counts).unwrap(), json);
    assert_eq!(serde_json::from_str::<Counts>(json).unwrap(), counts);
    let other = r#"{"INFORMATIONAL":9,"UNDEFINED":1,"COSMIC":1,"CRITICAL":2,"LOW":0}"#;
    assert_eq!(serde_json::from_str::<Counts>(other).unwrap(), counts);
}

#[test]
fn a_history_fits_into_an_item() {
    let many = |n: u8| {
        let one = |nth: usize| Finding::new(&format!("{n}-{nth:060}"), Level::High).unwrap();
        scan_of(n, n, ScanContents::All((0..9_000).map(one).collect()))
    };
    let mut history = ScanHistory::default();
    for n in 1..4 {
        let scanned = many(n);
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        history = history.record(&scanned, &report);
        let json = [
            serde_json::to_string(&history.latest).unwrap(),
            serde_json::to_string(&history.previous).unwrap(),
            serde_json::to_string(&history.published).unwrap(),
        ];
        assert!(json.iter().map(String::len).sum::<usize>() < 380_000);
    }
    assert_eq!(history.latest.unwrap().digest, digest(3));
    assert!(
        history.published.latest.ids().count() > 3_000,
        "only the findings that do not fit are removed"
    );
    // The history keeps as many findings as a real image may have, so they are published once.
    let many = |n: u8| {
        let one = |nth: usize| Finding::new(&format!("CVE-2026-{nth:05}"), Level::High).unwrap();
        scan_of(n, n, ScanContents::All((0..4_000).map(one).collect()))
    };
    let mut history = ScanHistory::default();
    for n in 1..5 {
        let scanned = many(n);
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        assert_eq!(report.verdict == ScanVerdict::Publish, n == 1, "{n}");
        history = history.record(&scanned, &report);
    }
    let known = |version: &Option<Version>| {
        version
            .iter()
            .flat_map(|version| version.images.values())
            .flat_map(SeverityById::ids)
            .count()
    };
    let kept = |history: &ScanHistory| {
        let published =
            [&history.published.latest, &history.published.older].map(|known| known.ids().count());
        (known(&history.latest), known(&history.previous), published)
    };
    assert_eq!(kept(&history), (4_000, 4_000, [4_000, 0]), "these findings fit");
    // The least useful part is removed first, and completely.
    let mut older = |n: u8, name: &str, many: usize| {
        let one = |nth: usize| Finding::new(&format!("{name}-{nth:059}"), Level::High).unwrap();
        let scanned = scan_of(n, n, ScanContents::All((0..many).map(one).collect()));
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        history = std::mem::take(&mut history).record(&scanned, &report);
        kept(&history)
    };
    assert_eq!(older(1, "some", 2_500), (4_000, 0, [4_000, 2_500]));
    assert_eq!(older(2, "many", 3_000), (4_000, 0, [4_000, 0]));
}

fn any_scan() -> impl Strategy<Value = Scanned> {
    let ids = prop::collection::vec(("[A-F]", 0..5_usize), 0..6);
    (1..4_u8, 0..2_u8, ids).prop_map(|(version, image, ids)| {
        let levels =
            [Level::Critical, Level::High, Level::Medium, Level::Untriaged, Level::Informational];
        let all = ids.into_iter().map(|(id, level)| Finding::new(&id, levels[level]).unwrap());
        scan_of(version, version * 10 + image, ScanContents::All(merge_findings(all)))
    })
}

proptest! {
    #[test]
    fn a_repeated_scan_is_never_news_and_does_not_change_the_history(
        scans in prop::collection::vec(any_scan(), 1..12),
    ) {
        let mut history = ScanHistory::default();
        for scanned in &scans {
            let first = compare_scan(&history, scanned, &[], Severity::High, today());
            let once = history.record(scanned, &first);
            let second = compare_scan(&once, scanned, &[], Severity::High, today());
            prop_assert_eq!(second.verdict, ScanVerdict::Nothing);
            history = once.clone().record(scanned, &second);
            prop_assert_eq!(&history, &once);
        }
    }

    #[test]
    fn every_finding_that_counts_in_the_latest_version_was_published(
        scans in prop::collection::vec(any_scan(), 1..12),
        risks in prop::collection::vec("[A-F]", 0..3),
    ) {
        let risks: Vec<AcceptedRisk> = risks.iter().map(|id| risk(id, "2099-01-01")).collect();
        let mut history = ScanHistory::default();
        for scanned in &scans {
            let report = compare_scan(&history, scanned, &risks, Severity::High, today());
            history = history.record(scanned, &report);
            let published = |counted: &ReportedFinding| {
                let level = history.published.latest.level(&counted.finding.id);
                level >= Some(counted.finding.level)
            };
            if report.is_latest {
                prop_assert!(report.counted.iter().all(published));
                prop_assert_eq!(report.counted.is_empty() || history.published.is_open, true);
            }
        }
    }

    #[test]
    fn a_stored_history_is_read_back(scans in prop::collection::vec(any_scan(), 0..8)) {
        let mut history = ScanHistory::default();
        for scanned in &scans {
            let report = compare_scan(&history, scanned, &[], Severity::High, today());
            history = history.record(scanned, &report);
        }
        let through = |json: String| serde_json::from_str::<Option<Version>>(&json).unwrap();
        prop_assert_eq!(through(serde_json::to_string(&history.latest).unwrap()), history.latest);
        prop_assert_eq!(through(serde_json::to_string(&history.previous).unwrap()), history.previous);
        let published = serde_json::to_string(&history.published).unwrap();
        prop_assert_eq!(serde_json::from_str::<PublishedFindings>(&published).unwrap(), history.published);
    }
}
