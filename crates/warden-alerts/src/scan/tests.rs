mod words;

use chrono::DateTime;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;

use super::super::tests::{about, against_the_limits};
use super::*;
use crate::risks_changed;
use crate::slack::{self, Notification};
use warden_core::findings::{Level, Package, ScanHistory, Version, compare_scan, merge_findings};
use warden_core::image::Digest;
use warden_core::risks::RiskChanges;

const PARAMETER: &str = "/ecr-warden/ecr-warden/accepted-risks";

/// What is accepted in every component.
fn risk(id: &str, until: &str) -> AcceptedRisk {
    AcceptedRisk {
        id: id.to_owned(),
        until: until.parse().unwrap(),
        reason: "not reachable".to_owned(),
        owner: "platform".to_owned(),
        component: None,
    }
}

/// Where the accepted risks are.
fn place(source: &Source) -> AlertOrigin<'_> {
    AlertOrigin { account: "123456789012", region: "us-east-1", source, parameter: PARAMETER }
}

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
}

fn finding(id: &str, level: Level, package: &str, fixed: Option<&str>) -> Finding {
    Finding {
        packages: Package::new(package, Some("3.0.17"), fixed).into_iter().collect(),
        url: Some(format!("https://nvd.nist.gov/vuln/detail/{id}")),
        ..Finding::new(id, level).unwrap()
    }
}

/// The scan of version `n` of `litellm`.
fn scanned(n: u8, found: ScanContents) -> Scanned {
    Scanned {
        component: Some("litellm".parse().unwrap()),
        version: digest(n),
        tag: Some(format!("litellm-v1.80.{n}").parse().unwrap()),
        pushed: DateTime::from_timestamp(1_800_000_000 + i64::from(n), 0).unwrap(),
        image: digest(n),
        images: 1,
        found,
    }
}

fn decided(memory: &ScanHistory, scanned: &Scanned, risks: &[AcceptedRisk]) -> FindingsReport {
    compare_scan(memory, scanned, risks, Severity::High, "2026-11-24".parse().unwrap())
}

/// What is remembered after version 5 had these.
fn before(findings: Vec<Finding>) -> ScanHistory {
    let scanned = scanned(5, ScanContents::All(findings));
    let memory = ScanHistory::default();
    let report = decided(&memory, &scanned, &[]);
    memory.record(&scanned, &report)
}

/// The alert of a scan, of which all texts are within all limits.
fn told(
    memory: &ScanHistory,
    scanned: &Scanned,
    risks: &[AcceptedRisk],
    unread: Option<&str>,
) -> Alert {
    let about = About { digest: scanned.version.clone(), ..about() };
    let tags: Vec<Tag> = scanned.tag.clone().into_iter().collect();
    let scan = ScanAlert { about: &about, tags: &tags, scanned, parameter: PARAMETER };
    let alert = scan_findings(&scan, &decided(memory, scanned, risks), unread);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    alert
}

fn check_email(alert: &Alert, expected: &Expect) {
    crate::tests::assert_commands_are_shown(alert);
    expected.assert_eq(&alert.email());
}

#[test]
fn an_email_says_what_is_new_what_can_be_fixed_and_what_is_accepted() {
    let memory = before(vec![
        finding("CVE-2026-2", Level::High, "zlib", None),
        finding("CVE-2026-3", Level::High, "curl", None),
    ]);
    let found = vec![
        Finding {
            exploit: Some(true),
            epss: Some(0.91),
            in_use: Some(3),
            ..finding("CVE-2026-1", Level::Critical, "openssl", Some("3.0.18"))
        },
        finding("CVE-2026-2", Level::High, "zlib", None),
        finding("CVE-2026-4", Level::High, "glibc", None),
        finding("CVE-2026-5", Level::Medium, "bash", None),
    ];
    let risk = risk("CVE-2026-4", "2026-12-31");
    let alert = told(&memory, &scanned(6, ScanContents::All(found)), &[risk], None);
    check_email(
        &alert,
        &expect![[r#"
            1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL, 1 HIGH at or above HIGH, of 4 findings in all. Compared with litellm-v1.80.5, the version before: 1 new, 1 gone. For 1 there is a fix. The image is in use by 3 tasks or pods.

            New:
            - CRITICAL CVE-2026-1 in openssl 3.0.17, fixed in 3.0.18; an exploit is known; EPSS 0.91; https://nvd.nist.gov/vuln/detail/CVE-2026-1

            Told before:
            - HIGH CVE-2026-2 in zlib 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2026-2

            Accepted:
            - HIGH CVE-2026-4: until 2026-12-31 (not reachable; platform)

            See all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a day, by a line in the list such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    CRITICAL
            Repository  infrastructure
            Component   litellm
            Image       sha256:0606060606060606060606060606060606060606060606060606060606060606
            Tags        litellm-v1.80.6
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn the_first_scan_of_a_component_says_so() {
    let found = vec![finding("CVE-2026-1", Level::Critical, "openssl", Some("3.0.18"))];
    let alert = told(&ScanHistory::default(), &scanned(6, ScanContents::All(found)), &[], None);
    check_email(
        &alert,
        &expect![[r#"
            1 finding in infrastructure:litellm-v1.80.6: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH, of 1 finding in all. It is the first scan of litellm to be remembered: there is nothing to compare it with. For 1 there is a fix.

            Found:
            - CRITICAL CVE-2026-1 in openssl 3.0.17, fixed in 3.0.18; https://nvd.nist.gov/vuln/detail/CVE-2026-1

            See all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a day, by a line in the list such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    CRITICAL
            Repository  infrastructure
            Component   litellm
            Image       sha256:0606060606060606060606060606060606060606060606060606060606060606
            Tags        litellm-v1.80.6
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn what_could_not_be_read_is_told_from_the_event() {
    let mut counts = Counts::default();
    counts.add(Level::Critical, 1);
    counts.add(Level::Medium, 7);
    let scanned = scanned(6, ScanContents::Counts(counts));
    let alert = told(&before(Vec::new()), &scanned, &[], Some("AccessDeniedException: no"));
    check_email(
        &alert,
        &expect![[r#"
            1 finding in infrastructure:litellm-v1.80.6: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH, of 8 findings in all. The version before, litellm-v1.80.5, could not be compared with it in full. The findings themselves could not be read (AccessDeniedException: no): what is told is what the event says, and accepted risks are not taken off.

            See all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a day, by a line in the list such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    CRITICAL
            Repository  infrastructure
            Component   litellm
            Image       sha256:0606060606060606060606060606060606060606060606060606060606060606
            Tags        litellm-v1.80.6
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
    expect![[r#"{"accepted":[],"acceptedTotal":0,"baseline":{"digest":"sha256:0505050505050505050505050505050505050505050505050505050505050505","tag":"litellm-v1.80.5"},"complete":false,"counts":{"CRITICAL":1,"MEDIUM":7},"findings":[],"findingsTotal":0,"fixed":[],"fixedTotal":0,"inUse":null,"new":[],"newTotal":0,"threshold":"HIGH"}"#]].assert_eq(&serde_json::to_string(&alert.details).unwrap());
}

#[test]
fn a_failure_says_what_to_do_and_an_end_what_is_over() {
    let scanned = scanned(6, ScanContents::All(Vec::new()));
    let about = About { digest: scanned.version.clone(), ..about() };
    let tags = [scanned.tag.clone().unwrap()];
    let scan = ScanAlert { about: &about, tags: &tags, scanned: &scanned, parameter: PARAMETER };
    let reason = FailureReason::Described(Some("UnsupportedImageError:\n scratch"));
    let failed = scan_failed(&scan, "FAILED", reason);
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.6 failed
        ECR says FAILED (UnsupportedImageError:  scratch). What is in the image is not known. Its operating system or its package manager is none that ECR scans: build it on a base image that is, or turn on enhanced scanning, which knows more of them."#]].assert_eq(&format!("{}\n{}", failed.title, failed.text));
    let memory = before(vec![finding("CVE-2026-1", Level::High, "zlib", None)]);
    let resolved = scan_resolved(&scan, &decided(&memory, &scanned, &[]));
    expect![[r#"
        infrastructure:litellm-v1.80.6 has no open findings any more
        The scan of infrastructure:litellm-v1.80.6 found nothing that counts at or above HIGH: the last alert about litellm is over. Older versions may still have what it was about."#]].assert_eq(&format!("{}\n{}", resolved.title, resolved.text));
    for alert in [failed, resolved] {
        assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    }
}

#[test]
fn a_change_of_the_accepted_risks_is_rendered_for_people_and_machines() {
    let source = about().source;
    let place = place(&source);
    let (old, new) = (risk("CVE-2026-4", "2026-12-31"), risk("CVE-2026-4", "2027-12-31"));
    let added: Vec<AcceptedRisk> =
        (0..200).map(|nth| risk(&format!("CVE-2026-9{nth}"), "2026-12-31")).collect();
    let changes = RiskChanges { added, removed: vec![], changed: vec![(old, new)] };
    let alert = risks_changed(&place, 7, &changes);
    let message = alert.message("aws");
    assert_eq!(against_the_limits(&message), Vec::<String>::new());
    let texts: Value = serde_json::from_str(&message.body).unwrap();
    let [json, amazon_q] = ["default", "https"]
        .map(|name| serde_json::from_str::<Value>(texts[name].as_str().unwrap()).unwrap());
    assert_eq!((&json["kind"], &json["details"]["version"]), (&json!("risks-changed"), &json!(7)));
    assert_eq!(amazon_q["metadata"]["eventType"], "risks-changed");
    let read = Notification::read(texts["default"].as_str().unwrap()).unwrap();
    let Notification::Alert(in_slack) = &read else { panic!("{read:?}") };
    assert!(in_slack.could_have_written(&in_slack.remedies[0]));
    let shown = serde_json::to_string(&slack::render(&read)).unwrap();
    for text in [amazon_q.to_string(), texts["email"].to_string(), shown] {
        assert!(text.contains("200 added, 1 changed"), "{text}");
    }
}

#[test]
fn risks_are_told_to_whoever_answers_for_them() {
    let source = about().source;
    let place = place(&source);
    let risk = AcceptedRisk {
        component: Some("litellm".parse().unwrap()),
        ..risk("CVE-2026-4", "2026-12-31")
    };
    let expiring = risk_expiring(&place, &risk);
    check_email(
        &expiring,
        &expect![[r#"
            CVE-2026-4 in litellm is accepted until 2026-12-31 only

            platform answers for CVE-2026-4 in litellm, which is accepted until 2026-12-31 (not reachable). After that day it counts again, and is told with the next scan that finds it. Fix it, or set another day.

            Edit the accepted risks:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    MEDIUM
            Component   litellm
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
    let unreadable = unreadable_risks(&place, "[0].until: expected a day, got \"soon\"");
    check_email(
        &unreadable,
        &expect![[r#"
            The accepted risks cannot be read

            The parameter /ecr-warden/ecr-warden/accepted-risks cannot be read: [0].until: expected a day, got "soon". No finding is accepted until it can; this is told once a day.

            Edit the accepted risks:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    MEDIUM
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
    for alert in [expiring, unreadable] {
        assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    }
}

/// A report as large as can be: a thousand findings that are new, a thousand that are gone, a
/// thousand that are accepted, with the longest names, packages, versions and links.
fn largest() -> (ScanHistory, Scanned, Vec<AcceptedRisk>) {
    let wide = |prefix: &str, nth: usize, most: usize| {
        let rest = "\u{1f433}".repeat(most - prefix.len() - 6);
        format!("{prefix}{nth:06}{rest}")
    };
    let finding = |prefix: &str, nth: usize| {
        let packages = (0..20).map(|package| {
            let name = wide("p", package, 80);
            Package::new(&name, Some(&wide("i", package, 60)), Some(&wide("f", package, 60)))
        });
        Finding {
            packages: packages.flatten().collect(),
            exploit: Some(true),
            fix: Some(true),
            epss: Some(0.123_456),
            in_use: Some(u64::MAX),
            url: Some(format!("https://{}", "a".repeat(292))),
            ..Finding::new(&wide(prefix, nth, 64), Level::Critical).unwrap()
        }
    };
    let many = |prefix: &'static str| (0..1_000).map(move |nth| finding(prefix, nth));
    // What is remembered of the widest names would not be all of it.
    let old = |nth| Finding::new(&format!("CVE-2020-{nth:05}"), Level::Critical).unwrap();
    let memory = before((0..1_000).map(old).collect());
    let risk = |nth| AcceptedRisk {
        id: wide("acc-", nth, 64),
        until: "2099-12-31".parse().unwrap(),
        reason: "\u{1f433}".repeat(200),
        owner: "\u{1f433}".repeat(200),
        component: None,
    };
    let found = merge_findings(many("new-").chain(many("acc-")));
    (memory, scanned(6, ScanContents::All(found)), (0..1_000).map(risk).collect())
}

#[test]
fn the_largest_report_fits_and_says_how_much_it_leaves_out() {
    let (memory, scanned, risks) = largest();
    let alert = told(&memory, &scanned, &risks, None);
    let details = Value::Object(alert.details.clone());
    assert_eq!(
        ["findingsTotal", "newTotal", "fixedTotal", "acceptedTotal"].map(|it| details[it].as_u64()),
        [Some(1_000); 4]
    );
    assert!(!details["findings"].as_array().unwrap().is_empty(), "{details:#}");
    assert_eq!(alert.within_limits().details, alert.details);
    let message: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    let default: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!(default["details"]["findingsTotal"], 1_000);
    // Of what is new and what is accepted, each cut at the end of a line.
    let text = &alert.within_limits().text;
    let more: Vec<&str> = text.lines().filter(|line| line.starts_with("and ")).collect();
    assert_eq!(text.lines().last(), more.last().copied());
    expect![[r#"
        and 996 more
        and 995 more"#]]
    .assert_eq(&more.join("\n"));
}

#[test]
fn a_list_ends_with_the_line_that_fits_to_the_character() {
    let listed = |end| {
        let mut text = "All".to_owned();
        list(&mut text, "New", ["ab", "\u{1f433}c"].map(str::to_owned).into_iter(), end);
        text
    };
    expect![[r#"
        All

        New:
        - ab
        - 🐳c"#]]
    .assert_eq(&listed(19));
    expect![[r#"
        All

        New:
        - ab
        and 1 more"#]]
    .assert_eq(&listed(18));
    expect![[r#"
        All

        New:
        and 2 more"#]]
    .assert_eq(&listed(13));
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "CVE-1",
        "<!channel>",
        "http://evil.example",
        "[x](http://evil.example)",
        "`",
        "\u{202e}",
        "\u{0}",
        "\n\n",
        "*_~",
        "|",
        "&amp;",
        "javascript:alert(1)",
        "\u{1f433}",
        "=cmd()",
        "http:",
        "/",
        "//",
        "[",
        "\u{200b}",
    ]);
    prop::collection::vec(pieces, 1..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whatever_a_scanner_says_leads_nowhere_and_hides_nothing(
        texts in prop::collection::vec(hostile(), 5),
    ) {
        let url = format!("https://example.com/{}", texts[4]);
        let found = Finding::new(&texts[0], Level::High).map(|found| Finding {
            packages: Package::new(&texts[1], Some(&texts[2]), Some(&texts[3])).into_iter().collect(),
            url: warden_core::text::link(&url),
            ..found
        });
        let found: Vec<Finding> = found.into_iter().collect();
        let scanned = scanned(6, ScanContents::All(found));
        let alert = told(&ScanHistory::default(), &scanned, &[], Some(&texts[0]));
        let lines = alert.text.split("\n\n").skip(1).collect::<String>();
        // One link there may be, and it leads where it says.
        let words = lines.split_whitespace().filter(|it| !it.starts_with("https://example.com/"));
        let lines = words.collect::<Vec<_>>().join(" ");
        prop_assert!(!lines.contains("://"), "{lines}");
        prop_assert!(!lines.contains("](") && !lines.contains('<'), "{lines}");
        let first = alert.text.split("\n\n").next().unwrap_or_default();
        prop_assert!(!first.contains("://") && !first.contains("]("), "{first}");
        prop_assert!(!alert.text.contains(|c| c != '\n' && warden_core::text::is_hidden(c)));
    }
}

#[test]
fn a_version_is_known_by_its_tag_or_its_digest() {
    let memory = before(Vec::new());
    let latest: Option<Version> = memory.latest.clone().map(|it| Version { tag: None, ..it });
    let memory = ScanHistory { latest, ..memory };
    let found = vec![finding("CVE-2026-1", Level::Critical, "openssl", None)];
    let alert = told(&memory, &scanned(6, ScanContents::All(found)), &[], None);
    assert_eq!(alert.details["baseline"], json!({"digest": digest(5), "tag": null}));
    expect!["The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH, of 1 finding in all. Compared with sha256:0505050505050505050505050505050505050505050505050505050505050505, the version before: 1 new, 0 gone."].assert_eq(alert.text.lines().next().unwrap());
}
