//! What each alert of a scan says, sentence by sentence.

use super::*;

/// The title, and what the text says before its lists.
fn check_first(alert: &Alert, expected: &Expect) {
    let first = alert.text.split("\n\n").next().unwrap_or_default();
    expected.assert_eq(&format!("{}\n{first}\n", alert.title));
}

#[test]
fn an_alert_says_how_the_image_is_called_where_it_was_found_and_who_uses_it() {
    let used = Finding {
        in_use: Some(1),
        ..finding("CVE-2026-1", Level::Critical, "openssl", Some("3.0.18"))
    };
    let unused = Finding { in_use: Some(0), ..finding("CVE-2026-2", Level::High, "zlib", None) };
    let other = finding("CVE-2026-3", Level::High, "curl", Some("8"));
    let memory = ScanHistory::default();
    // By an event about one finding, in an image of an index.
    let some = Scanned { image: digest(60), ..scanned(6, ScanContents::Some(vec![used.clone()])) };
    check_first(
        &told(&memory, &some, &[], None),
        &expect![[r#"
        1 finding in infrastructure:litellm-v1.80.6: 1 CRITICAL
        The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH. It is the first scan of litellm to be remembered: there is nothing to compare it with. For 1 there is a fix. The image is in use by 1 task or pod. It was found in sha256:3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c, its image for one platform.
    "#]],
    );
    let unnamed =
        Scanned { tag: None, component: None, ..scanned(6, ScanContents::All(vec![unused])) };
    check_first(
        &told(&memory, &unnamed, &[], None),
        &expect![[r#"
        1 finding in infrastructure@sha256:0606060606060606060606060606060606060606060606060606060606060606: 1 HIGH
        The scan of infrastructure@sha256:0606060606060606060606060606060606060606060606060606060606060606 found 1 HIGH at or above HIGH, of 1 finding in all. Its tags name no component, so that there is nothing to compare it with.
    "#]],
    );
    // What is new is told where something was told before.
    let both = scanned(6, ScanContents::All(vec![used, other.clone()]));
    check_first(
        &told(&before(vec![other]), &both, &[], None),
        &expect![[r#"
        1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL
        The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL, 1 HIGH at or above HIGH, of 2 findings in all. Compared with litellm-v1.80.5, the version before: 1 new, 0 gone. For 2 there is a fix. The image is in use by 1 task or pod.
    "#]],
    );
}

#[test]
fn an_alert_says_with_what_it_was_compared_or_why_not() {
    let found = || ScanContents::All(vec![finding("CVE-2026-1", Level::Critical, "openssl", None)]);
    // Of an older version.
    check_first(
        &told(&before(vec![]), &scanned(4, found()), &[], None),
        &expect![[r#"
        1 finding in infrastructure:litellm-v1.80.4: 1 CRITICAL
        The scan of infrastructure:litellm-v1.80.4 found 1 CRITICAL at or above HIGH, of 1 finding in all. A version that was pushed later has been scanned already: this is an older one.
    "#]],
    );
    // After what could only be told from an event.
    let from_event = scanned(5, ScanContents::Counts([Level::Critical].into_iter().collect()));
    let memory = ScanHistory::default();
    let report = decided(&memory, &from_event, &[]);
    let memory = memory.record(&from_event, &report);
    check_first(
        &told(&memory, &scanned(6, found()), &[], None),
        &expect![[r#"
        1 finding in infrastructure:litellm-v1.80.6: 1 CRITICAL
        The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH, of 1 finding in all. No version before it is remembered that it could be compared with; 1 new.
    "#]],
    );
    // Of a version that was clean, and by an event about one finding.
    let ScanContents::All(one) = found() else { unreachable!() };
    let some = scanned(6, ScanContents::Some(one));
    check_first(
        &told(&before(vec![]), &some, &[], None),
        &expect![[r#"
        1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL
        The scan of infrastructure:litellm-v1.80.6 found 1 CRITICAL at or above HIGH. The version before, litellm-v1.80.5, could not be compared with it in full.
    "#]],
    );
}

#[test]
fn a_finding_is_a_line_with_all_that_tells_how_urgent_it_is() {
    let package = |name: &str, fixed| Package::new(name, None, fixed).unwrap();
    let many = |count: usize| (0..count).map(|nth| package(&format!("p{nth}"), None)).collect();
    let of = |id: &str, packages| Finding { packages, ..Finding::new(id, Level::High).unwrap() };
    let found = vec![
        of("1-bare", vec![]),
        Finding { exploit: Some(false), ..of("2-three", many(3)) },
        of("3-four", many(4)),
        Finding { epss: Some(0.0), ..of("4-five", many(5)) },
        of("5-fixed", vec![package("a", None), package("b", Some("2"))]),
        of("6-lapsed", vec![]),
    ];
    let risk = risk("6-lapsed", "2026-11-23");
    let alert = told(&ScanHistory::default(), &scanned(6, ScanContents::All(found)), &[risk], None);
    let lines: Vec<&str> = alert.text.lines().filter(|line| line.starts_with("- ")).collect();
    expect![[r#"
        - HIGH 5-fixed in a; b, fixed in 2
        - HIGH 1-bare
        - HIGH 2-three in p0; p1; p2
        - HIGH 3-four in p0; p1; p2 and 1 package more
        - HIGH 4-five in p0; p1; p2 and 2 packages more; EPSS 0.00
        - HIGH 6-lapsed; it was accepted until 2026-11-23"#]]
    .assert_eq(&lines.join("\n"));
    let findings = &alert.details["findings"];
    let of = |id: &str| {
        findings.as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().to_string()
    };
    expect![[r#"{"acceptedUntil":null,"epss":null,"exploitKnown":null,"fixed":"2","id":"5-fixed","installed":null,"new":true,"package":"a","packages":2,"severity":"HIGH","url":null}"#]].assert_eq(&of("5-fixed"));
    expect![[r#"{"acceptedUntil":"2026-11-23","epss":null,"exploitKnown":null,"fixed":null,"id":"6-lapsed","installed":null,"new":true,"package":null,"packages":0,"severity":"HIGH","url":null}"#]].assert_eq(&of("6-lapsed"));
}

#[test]
fn a_list_names_twenty_five_and_says_how_many_more_there_are() {
    let many = |count: usize| {
        let one = |nth: usize| Finding::new(&format!("CVE-{nth:02}"), Level::High).unwrap();
        let alert = told(
            &ScanHistory::default(),
            &scanned(6, ScanContents::All((0..count).map(one).collect())),
            &[],
            None,
        );
        let listed = alert.text.lines().filter(|line| line.starts_with("- ")).count();
        (listed, alert.text.lines().last().unwrap().to_owned())
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
fn machines_get_fifty_findings_at_most_and_twice_as_many_names() {
    let one = |nth: usize| Finding::new(&format!("CVE-{nth:03}"), Level::High).unwrap();
    let of = |range: std::ops::Range<usize>| ScanContents::All(range.map(one).collect());
    let memory = before((0..120).map(one).collect());
    let details = told(&memory, &scanned(6, of(110..230)), &[], None).details;
    let lengths = ["findings", "new", "fixed", "accepted"]
        .map(|name| details[name].as_array().unwrap().len());
    assert_eq!(lengths, [50, 100, 100, 0]);
    let totals = ["findingsTotal", "newTotal", "fixedTotal", "acceptedTotal"]
        .map(|name| details[name].as_u64().unwrap());
    assert_eq!(totals, [120, 110, 110, 0]);
    assert_eq!(details["complete"], true);
}

#[test]
fn what_can_be_done_about_a_scan_that_failed_is_told_with_it() {
    let scanned = scanned(6, ScanContents::All(Vec::new()));
    let about = about();
    let scan = ScanAlert { about: &about, tags: &[], scanned: &scanned, parameter: PARAMETER };
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
        let labels: Vec<&str> = alert.remedies.iter().map(|it| it.label.as_str()).collect();
        lines += &format!("{}\n  {labels:?} {}\n", alert.text, Value::from(alert.details));
    }
    expect![[r#"
        ECR says UNSUPPORTED_IMAGE. What is in the image is not known. Its operating system or its package manager is none that ECR scans: build it on a base image that is, or turn on enhanced scanning, which knows more of them.
          [] {"reason":"","status":"UNSUPPORTED_IMAGE"}
        ECR says FAILED (UnsupportedImageError: scratch). What is in the image is not known. Its operating system or its package manager is none that ECR scans: build it on a base image that is, or turn on enhanced scanning, which knows more of them.
          [] {"reason":"UnsupportedImageError: scratch","status":"FAILED"}
        ECR says IMAGE_SIZE_EXCEEDED. What is in the image is not known. It is larger than what is scanned: leave out of it what it does not need, or scan it where it is built.
          [] {"reason":"","status":"IMAGE_SIZE_EXCEEDED"}
        ECR says IMAGE_ARCHIVED. What is in the image is not known. It is in the archive, where nothing is scanned: bring it back first, or leave it.
          ["Bring it back from the archive"] {"reason":"","status":"IMAGE_ARCHIVED"}
        ECR says SCAN_ELIGIBILITY_EXPIRED. What is in the image is not known. Amazon Inspector has stopped watching it by its age: push it again, or lengthen the re-scan duration in Inspector's settings.
          [] {"reason":"","status":"SCAN_ELIGIBILITY_EXPIRED"}
        ECR says FAILED. What is in the image is not known. Scan it again; if that fails too, see the registry's scanning configuration.
          ["Scan it again (basic scanning takes one scan an image in 24 hours)"] {"reason":"","status":"FAILED"}
        ECR says FAILED (the reason could not be read: AccessDeniedException: no). What is in the image is not known. Scan it again; if that fails too, see the registry's scanning configuration.
          ["Scan it again (basic scanning takes one scan an image in 24 hours)"] {"reason":"the reason could not be read: AccessDeniedException: no","status":"FAILED"}
    "#]].assert_eq(&lines);
    let restore = scan_failed(&scan, "IMAGE_ARCHIVED", none).remedies.remove(0);
    expect!["ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"].assert_eq(&restore.command);
}

#[test]
fn the_end_of_an_alert_names_what_is_accepted_and_the_component() {
    let risk = risk("CVE-2026-1", "2026-12-31");
    let found = vec![finding("CVE-2026-1", Level::High, "zlib", None)];
    let scanned = scanned(6, ScanContents::All(found.clone()));
    let about = about();
    let scan = ScanAlert { about: &about, tags: &[], scanned: &scanned, parameter: PARAMETER };
    let resolved = scan_resolved(&scan, &decided(&before(found), &scanned, &[risk]));
    expect!["The scan of infrastructure:litellm-v1.80.6 found nothing that counts at or above HIGH: the last alert about litellm is over. What it has at or above HIGH is accepted (1). Older versions may still have what it was about."].assert_eq(&resolved.text);
    assert_eq!(resolved.component, scanned.component);
    assert_eq!(resolved.details["acceptedTotal"], 1);
}

#[test]
fn a_risk_of_every_component_is_told_without_one() {
    let source = about().source;
    let place = place(&source);
    let risk = risk("CVE-2026-4", "2026-12-31");
    let alert = risk_expiring(&place, &risk);
    expect![[r#"
        CVE-2026-4 is accepted until 2026-12-31 only
        {"component":null,"id":"CVE-2026-4","owner":"platform","reason":"not reachable","until":"2026-12-31"}"#]].assert_eq(&format!("{}\n{}", alert.title, Value::from(alert.details)));
    let unreadable = unreadable_risks(&place, "no leave");
    expect![[r#"{"error":"no leave","parameter":"/ecr-warden/ecr-warden/accepted-risks","rule":"accepted-risks"}"#]].assert_eq(&Value::from(unreadable.details).to_string());
}
