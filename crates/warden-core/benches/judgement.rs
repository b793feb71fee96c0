//! Measures the verdict about a tag, in nanoseconds: a conforming tag, which is by far the most frequent
//! case, and a violation with a suggestion. `cargo measure` runs this benchmark and prints ratios.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "the values are constants")]

use std::hint::black_box;
use std::time::Instant;

use chrono::NaiveDate;
use warden_core::image::{Digest, Tag};
use warden_core::policy::Policy;
use warden_core::tagging::judge_image;

const POLICY: &str = r#"{"RepositoryName":"deployments","Rule":"applications","Tags":{"Grammar":["{component}-v{semver}","{component}-{channel}","{component}-{sha}"],"Enforcement":"report"}}"#;
const TIMES: u32 = 20_000;

fn main() {
    let policy = Policy::parse(POLICY).unwrap();
    let digest: Digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
    let today = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
    for (name, tag) in [("conforming", "myapp-0123abcdef"), ("violation", "mcp_github_latest")] {
        let tag: Tag = tag.parse().unwrap();
        let judge = || judge_image(black_box(&policy), &digest, black_box(&tag), today);
        // The first call compiles the regular expressions.
        black_box(judge());
        let started = Instant::now();
        for _ in 0..TIMES {
            black_box(judge());
        }
        println!("{name} {}", started.elapsed().as_nanos() / u128::from(TIMES));
    }
}
