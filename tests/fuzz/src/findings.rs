//! Findings of scanners: a second identical scan has no new findings, no finding is counted twice, an
//! accepted finding does not count, and no name contains hidden characters or a link.

use arbitrary::{Arbitrary, Unstructured};
use chrono::{DateTime, NaiveDate};
use warden_core::findings::{
    Counts, Finding, Level, Package, ScanContents, ScanHistory, ScanVerdict, Scanned, compare_scan,
    merge_findings,
};
use warden_core::policy::Severity;
use warden_core::risks::AcceptedRisk;
use warden_core::text::{is_hidden, link};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    scans: Vec<Scan<'a>>,
    risks: &'a str,
    accepted: Vec<&'a str>,
    threshold: u8,
}

#[derive(Arbitrary, Debug)]
struct Scan<'a> {
    version: u8,
    findings: Vec<Said<'a>>,
    is_counted: bool,
}

#[derive(Arbitrary, Debug)]
struct Said<'a> {
    id: &'a str,
    level: &'a str,
    package: (&'a str, Option<&'a str>, Option<&'a str>),
    url: &'a str,
}

const THRESHOLDS: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Informational];

fn finding(said: &Said<'_>) -> Option<Finding> {
    let (name, installed, fixed) = said.package;
    let found = Finding::new(said.id, Level::read(said.level))?;
    let packages: Vec<Package> = Package::new(name, installed, fixed).into_iter().collect();
    let texts = packages.iter().flat_map(|package| {
        [Some(&package.name), package.installed.as_ref(), package.fixed.as_ref()]
    });
    for text in texts.flatten().chain([&found.id]) {
        assert!(!text.contains(['<', '>', '[', ']', '`', '|']), "{text:?}");
        assert!(!text.contains("://") && !text.contains(is_hidden), "{text:?}");
    }
    let url = link(said.url);
    assert!(url.as_ref().is_none_or(|url| url.starts_with("https://") && url.is_ascii()));
    Some(Finding { packages, url, ..found })
}

fn scanned(scan: &Scan<'_>) -> Scanned {
    let digest = format!("sha256:{:064x}", scan.version).parse().expect("a digest");
    let findings = merge_findings(scan.findings.iter().filter_map(finding));
    let found = if scan.is_counted {
        let mut counts = Counts::default();
        for finding in &findings {
            counts.add(finding.level, 1);
        }
        assert_eq!(usize::try_from(counts.total()), Ok(findings.len()));
        ScanContents::Counts(counts)
    } else {
        ScanContents::All(findings)
    };
    Scanned {
        component: "litellm".parse().ok(),
        version: digest,
        tag: format!("litellm-v1.0.{}", scan.version).parse().ok(),
        pushed: DateTime::from_timestamp(1_800_000_000 + i64::from(scan.version), 0)
            .expect("a time"),
        image: format!("sha256:{:064x}", scan.version).parse().expect("a digest"),
        images: 1,
        found,
    }
}

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let today = NaiveDate::from_ymd_opt(2026, 12, 1).expect("a day");
    // A list of accepted risks with a mistake is refused as a whole.
    let mut risks = AcceptedRisk::parse_list(input.risks).unwrap_or_default();
    let until = NaiveDate::from_ymd_opt(2026, 12, 31).expect("a day");
    risks.extend(input.accepted.iter().map(|id| AcceptedRisk {
        id: (*id).to_owned(),
        until,
        reason: "x".to_owned(),
        owner: "y".to_owned(),
        component: None,
    }));
    let threshold = THRESHOLDS[usize::from(input.threshold) % THRESHOLDS.len()];
    let mut memory = ScanHistory::default();
    for scan in &input.scans {
        let scanned = scanned(scan);
        let first = compare_scan(&memory, &scanned, &risks, threshold, today);
        let lowest = Level::from(threshold);
        assert!(first.counted.iter().all(|counted| counted.finding.level >= lowest));
        let is_accepted = |id: &str| {
            let covers = |risk: &AcceptedRisk| {
                risk.until >= today && risk.covers(id, scanned.component.as_ref())
            };
            risks.iter().any(covers)
        };
        assert!(!first.counted.iter().any(|counted| is_accepted(&counted.finding.id)));
        assert!(first.accepted.iter().all(|accepted| is_accepted(&accepted.id)));
        memory = memory.record(&scanned, &first);
        let again = compare_scan(&memory, &scanned, &risks, threshold, today);
        assert_ne!(again.verdict, ScanVerdict::Publish, "{first} and again {again}");
        assert_eq!(memory.clone().record(&scanned, &again), memory);
    }
}
