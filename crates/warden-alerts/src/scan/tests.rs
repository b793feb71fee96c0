mod words;

use chrono::DateTime;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;

use super::super::tests::{about, limit_violations};
use super::*;
use crate::risks_changed;
use crate::slack::{self, Notification};
use warden_core::findings::{Level, Package, ScanHistory, Version, compare_scan, merge_findings};
use warden_core::image::Digest;
use warden_core::risks::RiskChanges;

const PARAMETER: &str = "/ecr-warden/ecr-warden/accepted-risks";

/// A risk that is accepted in every component.
fn risk(id: &str, until: &str) -> AcceptedRisk {
    AcceptedRisk {
        id: id.to_owned(),
        until: until.parse().unwrap(),
        reason: "not reachable".to_owned(),
        owner: "platform".to_owned(),
        component: None,
    }
}

/// The parameter of the accepted risks, and an event.
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

/// The history after a scan of version 5 with these findings.
fn before(findings: Vec<Finding>) -> ScanHistory {
    let scanned = scanned(5, ScanContents::All(findings));
    let memory = ScanHistory::default();
    let report = decided(&memory, &scanned, &[]);
    memory.record(&scanned, &report)
}

/// The alert about a scan. All its texts are within the limits.
fn alert_about(
    memory: &ScanHistory,
    scanned: &Scanned,
    risks: &[AcceptedRisk],
    unread: Option<&str>,
) -> Alert {
    let about = About { digest: scanned.version.clone(), ..about() };
    let tags: Vec<Tag> = scanned.tag.clone().into_iter().collect();
    let scan = ScanAlert { about: &about, tags: &tags, scanned, parameter: PARAMETER, owner: None };
    let alert = scan_findings(&scan, &decided(memory, scanned, risks), unread);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    alert
}

fn check_email(alert: &Alert, expected: &Expect) {
    crate::tests::assert_commands_are_shown(alert);
    expected.assert_eq(&alert.email());
}

#[test]
fn an_email_lists_new_known_and_accepted_findings() {
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
    let alert = alert_about(&memory, &scanned(6, ScanContents::All(found)), &[risk], None);
    check_email(
        &alert,
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 new finding: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 4 findings in all. Compared with the previous version litellm-v1.80.5, 1 finding is new and 1 is gone. Fixed packages exist for 1 finding. 3 tasks or pods use the image.

            New findings:
            - CRITICAL CVE-2026-1 in openssl 3.0.17, fixed in 3.0.18; an exploit is known; EPSS 0.91; https://nvd.nist.gov/vuln/detail/CVE-2026-1

            Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

            What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image.

            List all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a date, by an entry such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Reported before:
            - HIGH CVE-2026-2 in zlib 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2026-2

            Accepted:
            - HIGH CVE-2026-4: until 2026-12-31 (not reachable; platform)

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
fn the_alert_about_the_first_scan_of_a_component_states_that() {
    let found = vec![finding("CVE-2026-1", Level::Critical, "openssl", Some("3.0.18"))];
    let alert =
        alert_about(&ScanHistory::default(), &scanned(6, ScanContents::All(found)), &[], None);
    check_email(
        &alert,
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 finding: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL), and 1 finding in all. No earlier scan in the same release line of litellm is recorded for a comparison. Fixed packages exist for 1 finding.

            Findings:
            - CRITICAL CVE-2026-1 in openssl 3.0.17, fixed in 3.0.18; https://nvd.nist.gov/vuln/detail/CVE-2026-1

            Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

            What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image.

            List all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a date, by an entry such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

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
fn findings_that_cannot_be_read_are_counted_from_the_event() {
    let mut counts = Counts::default();
    counts.add(Level::Critical, 1);
    counts.add(Level::Medium, 7);
    let scanned = scanned(6, ScanContents::Counts(counts));
    let alert = alert_about(&before(Vec::new()), &scanned, &[], Some("AccessDeniedException: no"));
    check_email(
        &alert,
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 finding: 1 CRITICAL

            The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL), and 8 findings in all. The comparison with the previous version litellm-v1.80.5 is incomplete. The findings themselves could not be read (AccessDeniedException: no). The numbers are from the event, and include accepted risks.

            Why: the image has findings at or above AlertSeverityThreshold=HIGH.

            What to do: replace the packages and push a new version, or accept a finding that does not affect the image.

            List all findings:

                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0606060606060606060606060606060606060606060606060606060606060606

            Accept a finding until a date, by an entry such as {"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform"}:

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
fn failed_and_resolved_scans_have_a_reason_and_a_next_step() {
    let scanned = scanned(6, ScanContents::All(Vec::new()));
    let about = About { digest: scanned.version.clone(), ..about() };
    let tags = [scanned.tag.clone().unwrap()];
    let scan = ScanAlert {
        about: &about,
        tags: &tags,
        scanned: &scanned,
        parameter: PARAMETER,
        owner: None,
    };
    let reason = FailureReason::Described(Some("UnsupportedImageError:\n scratch"));
    let failed = scan_failed(&scan, "FAILED", reason);
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.6 failed
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (UnsupportedImageError:  scratch). ECR does not support the operating system or the package manager of the image. Other versions in the same release line of litellm do not cause this alert again.

        What to do: build the image on a supported base image, or turn on enhanced scanning, which supports more operating systems and package managers."#]].assert_eq(&format!("{}\n{}", failed.title, failed.text));
    let memory = before(vec![finding("CVE-2026-1", Level::High, "zlib", None)]);
    let resolved = scan_resolved(&scan, &decided(&memory, &scanned, &[]));
    expect![[r#"
        infrastructure:litellm-v1.80.6 has no open findings any more
        The scan of infrastructure:litellm-v1.80.6 found no open finding at or above HIGH.

        Why: an earlier alert reported findings in litellm.

        What to do: deploy this version. Older versions may still have the findings."#]]
    .assert_eq(&format!("{}\n{}", resolved.title, resolved.text));
    for alert in [failed, resolved] {
        assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
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
    assert_eq!(limit_violations(&message), Vec::<String>::new());
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
fn an_expiring_risk_is_reported_with_its_owner() {
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
            CVE-2026-4 in litellm is accepted only until 2026-12-31

            The acceptance of CVE-2026-4 in litellm ends after 2026-12-31. After that day, the next scan that finds CVE-2026-4 reports it.

            Why: platform accepted CVE-2026-4 until that day (not reachable).

            What to do: fix the finding, or enter a later day in the accepted risks.

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

            The parameter /ecr-warden/ecr-warden/accepted-risks cannot be read, so no finding counts as accepted.

            Why: [0].until: expected a day, got "soon".

            What to do: correct the parameter. Until then, this alert is sent once a day.

            Edit the accepted risks:

                aws ssm get-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --query Parameter.Value --output text > accepted-risks.json && ${EDITOR:-vi} accepted-risks.json && aws ssm put-parameter --region us-east-1 --name /ecr-warden/ecr-warden/accepted-risks --overwrite --tier Intelligent-Tiering --value file://accepted-risks.json

            Severity    MEDIUM
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
    for alert in [expiring, unreadable] {
        assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    }
}

/// The largest report: a thousand new findings, a thousand fixed findings, and a thousand accepted findings,
/// with the longest names, packages, versions and links.
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
    // A history of the longest names would not fit.
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
fn the_largest_report_fits_and_counts_the_omitted_findings() {
    let (memory, scanned, risks) = largest();
    let alert = alert_about(&memory, &scanned, &risks, None);
    let details = Value::Object(alert.details.clone());
    assert_eq!(
        ["findingsTotal", "newTotal", "fixedTotal", "acceptedTotal"]
            .map(|name| details[name].as_u64()),
        [Some(1_000); 4]
    );
    assert!(!details["findings"].as_array().unwrap().is_empty(), "{details:#}");
    assert_eq!(alert.within_limits().details, alert.details);
    let message: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    let default: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!(default["details"]["findingsTotal"], 1_000);
    // The lists of new and of accepted findings are shortened after a whole line.
    let text = &alert.within_limits().text;
    let more: Vec<&str> = text.lines().filter(|line| line.starts_with("and ")).collect();
    assert_eq!(text.lines().last(), more.last().copied());
    expect![[r#"
        and 996 more
        and 995 more"#]]
    .assert_eq(&more.join("\n"));
}

#[test]
fn a_list_ends_with_the_last_line_that_fits() {
    let listed = |end| {
        let mut text = "All".to_owned();
        add_list(&mut text, "New", ["ab", "\u{1f433}c"].map(str::to_owned).into_iter(), end);
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
    fn no_text_of_a_scanner_is_a_link_or_has_hidden_characters(
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
        let alert = alert_about(&ScanHistory::default(), &scanned, &[], Some(&texts[0]));
        let lines = alert.text.split("\n\n").skip(1).collect::<String>();
        // The only link is the sanitised URL of the finding.
        let words =
            lines.split_whitespace().filter(|word| !word.starts_with("https://example.com/"));
        let lines = words.collect::<Vec<_>>().join(" ");
        prop_assert!(!lines.contains("://"), "{lines}");
        prop_assert!(!lines.contains("](") && !lines.contains('<'), "{lines}");
        let first = alert.text.split("\n\n").next().unwrap_or_default();
        prop_assert!(!first.contains("://") && !first.contains("]("), "{first}");
        prop_assert!(!alert.text.contains(|c| c != '\n' && warden_core::text::is_hidden(c)));
    }
}

#[test]
fn the_previous_version_is_named_by_its_tag_or_its_digest() {
    let memory = before(Vec::new());
    let latest: Option<Version> =
        memory.latest.clone().map(|version| Version { tag: None, ..version });
    let memory = ScanHistory { latest, ..memory };
    let found = vec![finding("CVE-2026-1", Level::Critical, "openssl", None)];
    let alert = alert_about(&memory, &scanned(6, ScanContents::All(found)), &[], None);
    assert_eq!(alert.details["baseline"], json!({"digest": digest(5), "tag": null}));
    expect!["The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL), and 1 finding in all. Compared with the previous version sha256:0505050505050505050505050505050505050505050505050505050505050505, 1 finding is new and 0 are gone."].assert_eq(alert.text.lines().next().unwrap());
}
