//! Tests of random sequences of scans of several release lines.

use std::collections::HashMap;

use super::*;
use crate::grammar::Grammar;

/// The tags of a version of each kind, of each branch and of each channel. `#` stands for the version.
const TAGS: [&str; 10] = [
    "app-v1.#.0",
    "app-v1.#.0-alpine",
    "app-v1.#.0-arm64",
    "app-v1.#.0-alpine-arm64",
    "app-abc000#",
    "app-main-abc000#",
    "app-fix-1-abc000#",
    "app-prod",
    "app-dev",
    "web-v1.#.0",
];
/// The position of the first of the two branches in [`TAGS`].
const FIRST_BRANCH: usize = 5;

/// The histories of a repository, as the ledger has them.
struct Histories {
    grammar: Grammar,
    by_line: HashMap<ReleaseLine, ScanHistory>,
}

impl Histories {
    fn new() -> Self {
        let templates = [
            "{component}-v{semver}",
            "{component}-{branch}-{sha}",
            "{component}-{sha}",
            "{component}-{channel}",
        ];
        let templates = templates.into_iter().map(|template| template.parse().unwrap()).collect();
        Self {
            grammar: Grammar::new(templates, crate::grammar::default_channels(), vec![]).unwrap(),
            by_line: HashMap::new(),
        }
    }

    /// Scans version `n` of a tag of [`TAGS`]. Returns the decision.
    fn scan(&mut self, nth: usize, n: u8, text: &str) -> ScanVerdict {
        let tag: Tag = TAGS[nth].replace('#', &n.to_string()).parse().unwrap();
        let tags = std::slice::from_ref(&tag);
        let repository = "infrastructure".parse().unwrap();
        let (_, line) = find_release_line(&repository, &self.grammar, tags).unwrap();
        let version = u8::try_from(nth).unwrap() * 16 + n;
        let found = ScanContents::All(findings(text));
        let scanned = Scanned { pushed: at(n), ..scan_of(version, version, found) };
        let history = self.by_line.remove(&line).unwrap_or_default();
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        self.by_line.insert(line, history.record(&scanned, &report));
        report.verdict
    }
}

fn any_findings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "A:H", "B:C", "A:H B:C"])
}

proptest! {
    #[test]
    fn a_scan_of_one_line_never_resolves_a_finding_of_another(
        scans in prop::collection::vec((0..TAGS.len(), 0..10_u8, any_findings()), 1..24),
    ) {
        let mut histories = Histories::new();
        let mut alone = TAGS.map(|_| Histories::new());
        let mut is_open = TAGS.map(|_| false);
        for (nth, n, text) in scans {
            let verdict = histories.scan(nth, n, text);
            match verdict {
                ScanVerdict::Publish => is_open[nth] = true,
                ScanVerdict::Resolve => {
                    prop_assert!(is_open[nth], "no alert about {} is open", TAGS[nth]);
                    is_open[nth] = false;
                }
                ScanVerdict::Nothing => {}
            }
            // The scans of other lines change no decision.
            prop_assert_eq!(alone[nth].scan(nth, n, text), verdict);
        }
    }

    #[test]
    fn alternating_branches_make_no_pairs_of_found_and_resolved(
        findings in prop::array::uniform2(any_findings()),
        turns in prop::collection::vec(0..2_usize, 1..10),
    ) {
        let mut histories = Histories::new();
        let mut is_published = [false, false];
        for (n, branch) in (0..).zip(turns) {
            let has_news = !is_published[branch] && !findings[branch].is_empty();
            let expected = if has_news { ScanVerdict::Publish } else { ScanVerdict::Nothing };
            let verdict = histories.scan(FIRST_BRANCH + branch, n, findings[branch]);
            prop_assert_eq!(verdict, expected);
            is_published[branch] |= has_news;
        }
    }
}
