//! Measures the report on a thousand findings, in nanoseconds. The version before has a thousand
//! findings too, and half of them are the same. `cargo measure` runs this benchmark and prints ratios.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "the values are constants")]

use std::hint::black_box;
use std::time::Instant;

use chrono::DateTime;
use warden_core::findings::{
    Finding, Level, Package, ScanContents, ScanHistory, Scanned, compare_scan,
};
use warden_core::policy::Severity;

const TIMES: u32 = 200;

/// The scan of a version with a thousand findings. `from` is the number of the first one.
fn scanned(version: u8, from: usize) -> Scanned {
    let finding = |nth: usize| {
        let level = if nth.is_multiple_of(10) { Level::Critical } else { Level::High };
        let package = Package::new("openssl", Some("3.0.17"), Some("3.0.18"));
        Finding {
            packages: package.into_iter().collect(),
            exploit: Some(nth.is_multiple_of(7)),
            epss: Some(0.01),
            url: Some(format!("https://nvd.nist.gov/vuln/detail/CVE-2026-{nth:05}")),
            ..Finding::new(&format!("CVE-2026-{nth:05}"), level).unwrap()
        }
    };
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap();
    Scanned {
        component: Some("litellm".parse().unwrap()),
        version: digest(version),
        tag: None,
        pushed: DateTime::from_timestamp(i64::from(version), 0).unwrap(),
        image: digest(version),
        images: 1,
        found: ScanContents::All((from..from + 1_000).map(finding).collect()),
    }
}

fn main() {
    let today = DateTime::from_timestamp(1_800_000_000, 0).unwrap().date_naive();
    let before = scanned(1, 0);
    let first = compare_scan(&ScanHistory::default(), &before, &[], Severity::High, today);
    let history = ScanHistory::default().record(&before, &first);
    let next = scanned(2, 500);
    let decide = || compare_scan(black_box(&history), black_box(&next), &[], Severity::High, today);
    assert_eq!((decide().news().count(), decide().fixed.len()), (500, 500));
    let started = Instant::now();
    for _ in 0..TIMES {
        black_box(decide());
    }
    let each = started.elapsed().as_nanos() / u128::from(TIMES);
    println!("report on 1,000 against 1,000 {each}");
}
