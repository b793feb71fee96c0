//! The sentences of each alert about a scan.

use super::*;

/// Checks the title and the first paragraph of an alert.
fn check_first(alert: &Alert, expected: &Expect) {
    let first = alert.text.split("\n\n").next().unwrap_or_default();
    expected.assert_eq(&format!("{}\n{first}\n", alert.title));
}

#[test]
fn an_alert_names_the_image_the_platform_and_the_number_of_users() {
    let used = Finding {
        in_use: Some(1),
        ..finding("CVE-2026-1", Level::Critical, "openssl", Some("3.0.18"))
    };
    let unused = Finding { in_use: Some(0), ..finding("CVE-2026-2", Level::High, "zlib", None) };
    let other = finding("CVE-2026-3", Level::High, "curl", Some("8"));
    let memory = ScanHistory::default();
    // An event about one finding in an image of an index.
    let some = Scanned { image: digest(60), ..scanned(6, ScanContents::Some(vec![used.clone()])) };
    check_first(
        &alert_about(&memory, &some, &[], None),
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 finding: 1 CRITICAL
            The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL). No earlier scan in the same release line of litellm is recorded for a comparison. Fixed packages exist for 1 finding. 1 task or pod uses the image. The findings are in sha256:3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c, the image for one platform.
        "#]],
    );
    let unnamed =
        Scanned { tag: None, component: None, ..scanned(6, ScanContents::All(vec![unused])) };
    check_first(
        &alert_about(&memory, &unnamed, &[], None),
        &expect![[r#"
            infrastructure@sha256:0606060606060606060606060606060606060606060606060606060606060606 has 1 finding: 1 HIGH
            The scan of infrastructure@sha256:0606060606060606060606060606060606060606060606060606060606060606 found 1 finding at or above HIGH (1 HIGH), and 1 finding in all. The tags of the image name no component, so there is no earlier version for a comparison.
        "#]],
    );
    // An earlier alert reported one of the findings.
    let both = scanned(6, ScanContents::All(vec![used, other.clone()]));
    check_first(
        &alert_about(&before(vec![other]), &both, &[], None),
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 new finding: 1 CRITICAL
            The scan of infrastructure:litellm-v1.80.6 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 2 findings in all. Compared with the previous version litellm-v1.80.5, 1 finding is new and 0 are gone. Fixed packages exist for 2 findings. 1 task or pod uses the image.
        "#]],
    );
}

#[test]
fn an_alert_names_the_compared_version_or_the_reason_without_one() {
    let found = || ScanContents::All(vec![finding("CVE-2026-1", Level::Critical, "openssl", None)]);
    // The scan is of an older version.
    check_first(
        &alert_about(&before(vec![]), &scanned(4, found()), &[], None),
        &expect![[r#"
            infrastructure:litellm-v1.80.4 has 1 finding: 1 CRITICAL
            The scan of infrastructure:litellm-v1.80.4 found 1 finding at or above HIGH (1 CRITICAL), and 1 finding in all. This version is not the newest one: a version that was pushed later has already been scanned.
        "#]],
    );
    // The history has only numbers from an event.
    let from_event = scanned(5, ScanContents::Counts([Level::Critical].into_iter().collect()));
    let memory = ScanHistory::default();
    let report = decided(&memory, &from_event, &[]);
    let memory = memory.record(&from_event, &report);
    check_first(
        &alert_about(&memory, &scanned(6, found()), &[], None),
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 finding: 1 CRITICAL
            The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL), and 1 finding in all. No earlier version is recorded for a comparison. 1 finding is new.
        "#]],
    );
    // The previous version had no findings, and the event is about one finding.
    let ScanContents::All(one) = found() else { unreachable!() };
    let some = scanned(6, ScanContents::Some(one));
    check_first(
        &alert_about(&before(vec![]), &some, &[], None),
        &expect![[r#"
            infrastructure:litellm-v1.80.6 has 1 new finding: 1 CRITICAL
            The scan of infrastructure:litellm-v1.80.6 found 1 finding at or above HIGH (1 CRITICAL). The comparison with the previous version litellm-v1.80.5 is incomplete.
        "#]],
    );
}

#[test]
fn the_line_of_a_finding_has_each_fact_about_its_urgency() {
    let package = |name: &str, fixed| Package::new(name, None, fixed).unwrap();
    let many = |count: usize| (0..count).map(|nth| package(&format!("p{nth}"), None)).collect();
    let finding =
        |id: &str, packages| Finding { packages, ..Finding::new(id, Level::High).unwrap() };
    let found = vec![
        finding("1-bare", vec![]),
        Finding { exploit: Some(false), ..finding("2-three", many(3)) },
        finding("3-four", many(4)),
        Finding { epss: Some(0.0), ..finding("4-five", many(5)) },
        finding("5-fixed", vec![package("a", None), package("b", Some("2"))]),
        finding("6-lapsed", vec![]),
    ];
    let risk = risk("6-lapsed", "2026-11-23");
    let alert =
        alert_about(&ScanHistory::default(), &scanned(6, ScanContents::All(found)), &[risk], None);
    let lines: Vec<&str> = alert.text.lines().filter(|line| line.starts_with("- ")).collect();
    expect![[r#"
        - HIGH 5-fixed in a; b, fixed in 2
        - HIGH 1-bare
        - HIGH 2-three in p0; p1; p2
        - HIGH 3-four in p0; p1; p2 and 1 more package
        - HIGH 4-five in p0; p1; p2 and 2 more packages; EPSS 0.00
        - HIGH 6-lapsed; accepted until 2026-11-23, and not any more"#]]
    .assert_eq(&lines.join("\n"));
    let findings = &alert.details["findings"];
    let detail = |id: &str| {
        let mut findings = findings.as_array().unwrap().iter();
        findings.find(|finding| finding["id"] == id).unwrap().to_string()
    };
    expect![[r#"{"acceptedUntil":null,"epss":null,"exploitKnown":null,"fixed":"2","id":"5-fixed","installed":null,"new":true,"package":"a","packages":2,"severity":"HIGH","url":null}"#]].assert_eq(&detail("5-fixed"));
    expect![[r#"{"acceptedUntil":"2026-11-23","epss":null,"exploitKnown":null,"fixed":null,"id":"6-lapsed","installed":null,"new":true,"package":null,"packages":0,"severity":"HIGH","url":null}"#]].assert_eq(&detail("6-lapsed"));
}

#[test]
fn a_list_names_twenty_five_findings_and_counts_the_others() {
    let many = |count: usize| {
        let one = |nth: usize| Finding::new(&format!("CVE-{nth:02}"), Level::High).unwrap();
        let alert = alert_about(
            &ScanHistory::default(),
            &scanned(6, ScanContents::All((0..count).map(one).collect())),
            &[],
            None,
        );
        let (list, _) = alert.text.split_once("\n\nWhy: ").unwrap();
        let listed = list.lines().filter(|line| line.starts_with("- ")).count();
        (listed, list.lines().last().unwrap().to_owned())
    };
    let lists = [many(1), many(25), many(26)];
    assert_eq!(lists.each_ref().map(|(listed, _)| *listed), [1, 25, 25]);
    expect![[r#"
        - HIGH CVE-00
        - HIGH CVE-24
        and 1 more"#]]
    .assert_eq(&lists.map(|(_, last)| last).join("\n"));
}

#[test]
fn the_details_have_at_most_fifty_findings_and_a_hundred_ids() {
    let one = |nth: usize| Finding::new(&format!("CVE-{nth:03}"), Level::High).unwrap();
    let all = |range: std::ops::Range<usize>| ScanContents::All(range.map(one).collect());
    let memory = before((0..120).map(one).collect());
    let details = alert_about(&memory, &scanned(6, all(110..230)), &[], None).details;
    let lengths = ["findings", "new", "fixed", "accepted"]
        .map(|name| details[name].as_array().unwrap().len());
    assert_eq!(lengths, [50, 100, 100, 0]);
    let totals = ["findingsTotal", "newTotal", "fixedTotal", "acceptedTotal"]
        .map(|name| details[name].as_u64().unwrap());
    assert_eq!(totals, [120, 110, 110, 0]);
    assert_eq!(details["complete"], true);
}

#[test]
fn the_alert_about_a_failed_scan_has_the_next_step() {
    let scanned = scanned(6, ScanContents::All(Vec::new()));
    let about = about();
    let scan = ScanAlert {
        about: &about,
        tags: &[],
        scanned: &scanned,
        parameter: PARAMETER,
        owner: None,
    };
    let mut lines = String::new();
    let none = FailureReason::Described(None);
    for (status, reason) in [
        ("UNSUPPORTED_IMAGE", none),
        ("FAILED", FailureReason::Described(Some("UnsupportedImageError: scratch"))),
        ("IMAGE_SIZE_EXCEEDED", none),
        ("IMAGE_ARCHIVED", none),
        ("SCAN_ELIGIBILITY_EXPIRED", none),
        ("FAILED", none),
        ("FAILED", FailureReason::Unreadable("AccessDeniedException: no")),
    ] {
        let alert = scan_failed(&scan, status, reason);
        let labels: Vec<&str> = alert.remedies.iter().map(|remedy| remedy.label.as_str()).collect();
        lines += &format!("{}\n  {labels:?} {}\n", alert.text, Value::from(alert.details));
    }
    expect![[r#"
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is UNSUPPORTED_IMAGE. ECR does not support the operating system or the package manager of the image. Other versions in the same release line of litellm do not cause this alert again.

        What to do: build the image on a supported base image, or turn on enhanced scanning, which supports more operating systems and package managers.
          [] {"reason":"","status":"UNSUPPORTED_IMAGE"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (UnsupportedImageError: scratch). ECR does not support the operating system or the package manager of the image. Other versions in the same release line of litellm do not cause this alert again.

        What to do: build the image on a supported base image, or turn on enhanced scanning, which supports more operating systems and package managers.
          [] {"reason":"UnsupportedImageError: scratch","status":"FAILED"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is IMAGE_SIZE_EXCEEDED. The image is larger than the limit of the scanner.

        What to do: remove files that the image does not need, or scan the image in the pipeline that builds it.
          [] {"reason":"","status":"IMAGE_SIZE_EXCEEDED"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is IMAGE_ARCHIVED. Images in the archive are not scanned.

        What to do: nothing, or restore the image to scan it.
          ["Restore the image from the archive"] {"reason":"","status":"IMAGE_ARCHIVED"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is SCAN_ELIGIBILITY_EXPIRED. Amazon Inspector no longer scans the image, because of its age.

        What to do: push the image again, or increase the re-scan duration in the settings of Amazon Inspector.
          [] {"reason":"","status":"SCAN_ELIGIBILITY_EXPIRED"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED.

        What to do: scan the image again. If the scan fails again, check the scanning configuration of the registry.
          ["Scan the image again (basic scanning scans an image once in 24 hours)"] {"reason":"","status":"FAILED"}
        The image infrastructure:litellm-v1.80.6 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (the reason could not be read: AccessDeniedException: no).

        What to do: scan the image again. If the scan fails again, check the scanning configuration of the registry.
          ["Scan the image again (basic scanning scans an image once in 24 hours)"] {"reason":"the reason could not be read: AccessDeniedException: no","status":"FAILED"}
    "#]].assert_eq(&lines);
    let restore = scan_failed(&scan, "IMAGE_ARCHIVED", none).remedies.remove(0);
    expect!["ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"].assert_eq(&restore.command);
}

#[test]
fn the_alert_about_resolved_findings_counts_the_accepted_findings() {
    let risk = risk("CVE-2026-1", "2026-12-31");
    let found = vec![finding("CVE-2026-1", Level::High, "zlib", None)];
    let scanned = scanned(6, ScanContents::All(found.clone()));
    let about = about();
    let scan = ScanAlert {
        about: &about,
        tags: &[],
        scanned: &scanned,
        parameter: PARAMETER,
        owner: None,
    };
    let resolved = scan_resolved(&scan, &decided(&before(found), &scanned, &[risk]));
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.6 found no open finding at or above HIGH. 1 finding at or above HIGH is accepted.

        Why: an earlier alert reported findings in litellm.

        What to do: deploy this version. Older versions may still have the findings."#]].assert_eq(&resolved.text);
    assert_eq!(resolved.component, scanned.component);
    assert_eq!(resolved.details["acceptedTotal"], 1);
}

#[test]
fn the_alert_about_a_risk_of_every_component_names_no_component() {
    let source = about().source;
    let place = place(&source);
    let risk = risk("CVE-2026-4", "2026-12-31");
    let alert = risk_expiring(&place, &risk);
    expect![[r#"
        CVE-2026-4 is accepted only until 2026-12-31
        {"component":null,"id":"CVE-2026-4","owner":"platform","reason":"not reachable","until":"2026-12-31"}"#]].assert_eq(&format!("{}\n{}", alert.title, Value::from(alert.details)));
    let unreadable = unreadable_risks(&place, "no leave");
    expect![[r#"{"error":"no leave","parameter":"/ecr-warden/ecr-warden/accepted-risks","rule":"accepted-risks"}"#]].assert_eq(&Value::from(unreadable.details).to_string());
}
