//! Images that are scanned before their index is pushed.

use super::*;

/// The digest and the tag of version `n` of a line, which is an index.
fn index(n: u8) -> (Digest, Tag) {
    (digest(n), format!("litellm-v{n}").parse().unwrap())
}

/// The history of image `image` after a scan before its index was pushed.
fn scanned_alone(image: u8, text: &str) -> ScanHistory {
    let alone = Scanned { component: None, tag: None, ..scan(image, text) };
    let report = compare_scan(&ScanHistory::default(), &alone, &[], Severity::High, today());
    ScanHistory::default().record(&alone, &report)
}

/// The history of a line after index `n` took over the histories of these images.
fn take_over(history: ScanHistory, n: u8, images: &[(u8, ScanHistory)]) -> ScanHistory {
    let (index, tag) = index(n);
    let version = PushedVersion { digest: &index, tag: Some(&tag), pushed: at(n) };
    images
        .iter()
        .fold(history, |history, (image, alone)| history.take_over(version, &digest(*image), alone))
}

/// The scan of an image of index `n`, which has two images.
fn part(n: u8, image: u8, text: &str) -> Scanned {
    Scanned { images: 2, ..scan_of(n, image, ScanContents::All(findings(text))) }
}

#[test]
fn the_index_of_images_that_alerts_were_about_has_no_news() {
    let mut story = Story::new();
    story.then("v1", &scan(1, "A:H"));
    let alone = [(21, scanned_alone(21, "A:H B:H")), (22, scanned_alone(22, "C:C"))];
    story.history = take_over(std::mem::take(&mut story.history), 2, &alone);
    story
        .then("v2, one image", &part(2, 21, "A:H B:H"))
        .then("v2, the other image", &part(2, 22, "C:C D:H"))
        .then("v3", &part(3, 31, "B:H C:C"))
        .then("v3, the other image", &part(3, 32, ""))
        .check(&expect![[r#"
            v1: Publish; new [A] of [A], fixed [], accepted 0; first
            v2, one image: Nothing; new [] of [A B], fixed [], accepted 0; after litellm-v1
            v2, the other image: Publish; new [D] of [D C], fixed [], accepted 0; after litellm-v1
            v3: Nothing; new [] of [C B], fixed [], accepted 0; after litellm-v2
            v3, the other image: Nothing; new [] of [], fixed [A D], accepted 0; after litellm-v2
        "#]]);
}

#[test]
fn an_open_alert_about_an_image_alone_is_resolved_by_the_next_version_of_its_index() {
    let mut story = Story::new();
    story.history = take_over(ScanHistory::default(), 2, &[(21, scanned_alone(21, "A:H"))]);
    story.then("v3", &part(3, 31, "")).then("v3, the other image", &part(3, 32, "")).check(
        &expect![[r#"
            v3: Nothing; new [] of [], fixed [], accepted 0; after litellm-v2
            v3, the other image: Resolve; new [] of [], fixed [A], accepted 0; after litellm-v2
        "#]],
    );
}

#[test]
fn a_finding_of_a_late_index_is_no_news_for_an_older_version() {
    let mut story = Story::new();
    story.then("v3", &scan(3, "A:H"));
    let before = story.history.clone();
    story.history =
        take_over(std::mem::take(&mut story.history), 2, &[(21, scanned_alone(21, "B:H"))]);
    assert_eq!((&story.history.latest, &story.history.previous), (&before.latest, &None));
    story.then("v2", &part(2, 21, "B:H")).check(&expect![[r#"
        v3: Publish; new [A] of [A], fixed [], accepted 0; first
        v2: Nothing; new [] of [B], fixed [], accepted 0; first, older
    "#]]);
}

#[test]
fn facts_that_alerts_published_from_events_are_taken_over() {
    let found = || ScanContents::Some(findings("A:H"));
    let alone = Scanned { component: None, tag: None, ..scan_of(21, 21, found()) };
    let none = ScanHistory::default();
    let report = compare_scan(&none, &alone, &[], Severity::High, today());
    let alone = ScanHistory::default().record(&alone, &report);
    let mut story = Story::new();
    story.history = take_over(none, 2, &[(21, alone)]);
    story
        .then("the same event", &Scanned { images: 2, ..scan_of(2, 21, found()) })
        .then("all findings", &part(2, 21, "A:H"))
        .check(&expect![[r#"
            the same event: Nothing; new [] of [A], fixed [], accepted 0; first
            all findings: Nothing; new [] of [A], fixed [], accepted 0; first
        "#]]);
}

#[test]
fn an_accepted_finding_of_an_image_alone_is_news_for_the_index_when_the_acceptance_ends() {
    let risks = [risk("A", "2099-01-01")];
    let alone = Scanned { component: None, tag: None, ..scan(21, "A:H") };
    let report = compare_scan(&ScanHistory::default(), &alone, &risks, Severity::High, today());
    let alone = ScanHistory::default().record(&alone, &report);
    let mut story = Story::new();
    story.then("v1", &scan(1, "A:H"));
    let images = [(21, alone)];
    story.history = take_over(std::mem::take(&mut story.history), 2, &images);
    story.then("v2", &part(2, 21, "A:H"));
    // The second time, the image of the index is recorded, so nothing changes.
    story.history = take_over(std::mem::take(&mut story.history), 2, &images);
    story.then("v2 again", &part(2, 21, "A:H")).check(&expect![[r#"
        v1: Publish; new [A] of [A], fixed [], accepted 0; first
        v2: Publish; new [A] of [A], fixed [], accepted 0; after litellm-v1
        v2 again: Nothing; new [] of [A], fixed [], accepted 0; after litellm-v1
    "#]]);
}

const IDS: [&str; 4] = ["A:H", "B:C", "C:H", "D:M"];

/// Some of [`IDS`], as a text.
fn any_text() -> impl Strategy<Value = String> {
    prop::sample::subsequence(&IDS[..], 0..=IDS.len()).prop_map(|ids| ids.join(" "))
}

/// The images of an index: the findings of each, and whether it was scanned before the push of the index.
fn any_images() -> impl Strategy<Value = Vec<(String, bool)>> {
    prop::collection::vec((any_text(), any::<bool>()), 1..4)
}

/// The scans of the images of an index, in the order of `order` and then each once. Returns the history, and
/// the published findings of each alert.
fn scan_images(
    before: &ScanHistory,
    images: &[(String, bool)],
    order: &[usize],
) -> (ScanHistory, Vec<String>) {
    let digest_of = |nth: usize| 20 + u8::try_from(nth).unwrap();
    let scanned = images.iter().enumerate().filter(|(_, (_, is_early))| *is_early);
    let early: Vec<(u8, ScanHistory)> = scanned
        .map(|(nth, (text, _))| (digest_of(nth), scanned_alone(digest_of(nth), text)))
        .collect();
    let mut history = before.clone();
    let mut published = Vec::new();
    for nth in order.iter().map(|nth| nth % images.len()).chain(0..images.len()) {
        history = take_over(history, 2, &early);
        let found = ScanContents::All(findings(&images[nth].0));
        let scanned = Scanned { images: images.len(), ..scan_of(2, digest_of(nth), found) };
        let report = compare_scan(&history, &scanned, &[], Severity::High, today());
        published.extend(report.news().map(|new| new.finding.id.clone()));
        if report.verdict == ScanVerdict::Resolve {
            published.push("resolved".to_owned());
        }
        history = history.record(&scanned, &report);
    }
    published.sort();
    (history, published)
}

proptest! {
    #[test]
    fn the_order_of_the_scans_of_an_index_changes_nothing(
        before in prop::option::of(any_text()),
        images in any_images(),
        orders in prop::array::uniform2(prop::collection::vec(0..4_usize, 0..6)),
    ) {
        let mut story = Story::new();
        if let Some(text) = before {
            story.then("v1", &scan(1, &text));
        }
        let [one, other] = orders.map(|order| scan_images(&story.history, &images, &order));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_finding_is_published_once_for_the_index_and_never_after_an_alert_about_its_image_alone(
        before in prop::option::of(any_text()),
        images in any_images(),
        order in prop::collection::vec(0..4_usize, 0..6),
    ) {
        let mut story = Story::new();
        if let Some(text) = before {
            story.then("v1", &scan(1, &text));
        }
        let (history, published) = scan_images(&story.history, &images, &order);
        let mut once = published.clone();
        once.dedup();
        prop_assert_eq!(&once, &published);
        let level = |id: &String| history.published.latest.level(id);
        for (text, is_early) in &images {
            for finding in findings(text).iter().filter(|finding| finding.level >= Level::High) {
                prop_assert!(level(&finding.id) == Some(finding.level), "{} was published", finding.id);
                prop_assert!(!is_early || !published.contains(&finding.id), "{}", finding.id);
            }
        }
    }
}
