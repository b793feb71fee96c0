//! Tests the lines that a run logs about each component.

use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};
use warden_aws::ledger::{CleanScanOutcome, HistoryClaim};
use warden_core::findings::{
    Finding, Level, ReleaseLine, ScanContents, ScanHistory, Scanned, SeverityById, Version,
    find_release_line,
};
use warden_core::grammar::{Grammar, default_channels};

use crate::{DEPLOYMENTS, Function, count, event};

/// Writes the scan history of a release line to the ledger, as a scan with these findings does.
async fn scanned(function: &Function, tag: &str, version: &str, levels: &[Level], accepted: &str) {
    let ids = levels.iter().enumerate();
    let findings: Vec<Finding> =
        ids.filter_map(|(nth, level)| Finding::new(&format!("CVE-2027-{nth}"), *level)).collect();
    let latest = version_of(function, tag, version, findings.iter().collect());
    let mut history = ScanHistory { latest: Some(latest), ..ScanHistory::default() };
    history.published.accepted.extend((!accepted.is_empty()).then(|| accepted.to_owned()));
    remember(function, tag, version, &history).await;
}

fn version_of(function: &Function, tag: &str, version: &str, known: SeverityById) -> Version {
    Version {
        digest: version.parse().unwrap(),
        tag: Some(tag.parse().unwrap()),
        pushed: function.now(),
        threshold: Level::High,
        images: [(version.parse().unwrap(), known)].into(),
    }
}

async fn remember(function: &Function, tag: &str, version: &str, history: &ScanHistory) {
    let (repository, line) = (DEPLOYMENTS.parse().unwrap(), line(tag));
    let (ledger, digest) = (&function.context.ledger, version.parse().unwrap());
    let line = Some(&line);
    let claim = ledger.claim_history(&repository, line, &digest, "scan", "event", function.now());
    assert!(matches!(claim.await.unwrap(), HistoryClaim::Ours(_)));
    ledger.release_history(&repository, line, &digest, "scan", Some(history)).await.unwrap();
}

/// The release line of a version such as `a-v1.0.0`.
fn line(tag: &str) -> ReleaseLine {
    let grammar =
        Grammar::new(vec!["{component}-v{semver}".parse().unwrap()], default_channels(), vec![])
            .unwrap();
    let tags = [tag.parse().unwrap()];
    find_release_line(&DEPLOYMENTS.parse().unwrap(), &grammar, &tags).unwrap().1
}

/// The messages about components that were logged since the last call of this function.
fn logged_messages() -> String {
    let lines = local_aws::log::lines("component.name");
    lines.iter().map(|line| format!("{}\n", line["message"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn each_component_is_logged_with_its_images_and_its_open_findings() {
    use Level::{Critical, High};
    let function = Function::new("archive").await;
    let a = function.versions("a", 3);
    let [b, ..] = function.index("b-v1.0.0", 90.0);
    let c = function.push("c-v1.0.0", 90.0);
    function.push("d-v1.0.0", 90.0);
    function.push("", 1.0);
    scanned(&function, "a-v1.2.0", &a[2], &[Critical, High, High, High], "CVE-2027-3").await;
    scanned(&function, "b-v1.0.0", &b, &[High], "CVE-2027-0").await;
    // `pass` records a scan without findings.
    let scanned = Scanned {
        component: Some(line("c-v1.0.0").component),
        version: c.parse().unwrap(),
        tag: Some("c-v1.0.0".parse().unwrap()),
        pushed: function.now(),
        image: c.parse().unwrap(),
        images: 1,
        found: ScanContents::All(vec![]),
    };
    let clean = version_of(&function, "c-v1.0.0", &c, SeverityById::default());
    let repository = DEPLOYMENTS.parse().unwrap();
    let passed = function
        .context
        .ledger
        .record_clean_scan(&repository, Some(&line("c-v1.0.0")), &scanned, &clean, function.now())
        .await;
    assert_eq!(passed.unwrap(), CleanScanOutcome::Recorded);

    assert_eq!(function.sweep().await["removed"], 1);
    let mut lines = local_aws::log::lines("component.name");
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("timestamp");
    }
    expect![[r#"
        {"component.archived":1,"component.archived_bytes":1000000,"component.bytes":2000000,"component.images":2,"component.name":"a","component.newest":"a-v1.2.0","findings.critical":1,"findings.high":2,"findings.open":3,"findings.summary":"3 findings are open in a-v1.2.0: 1 CRITICAL, 2 HIGH","findings.version":"a-v1.2.0","level":"INFO","message":"a in deployments: 2 images, 2.0 MB; archived: 1 image, 1.0 MB; 3 findings are open in a-v1.2.0: 1 CRITICAL, 2 HIGH","repository.name":"deployments"}
        {"component.archived":0,"component.archived_bytes":0,"component.bytes":2000187,"component.images":1,"component.name":"b","component.newest":"b-v1.0.0","findings.critical":0,"findings.high":0,"findings.open":0,"findings.summary":"no finding is open in b-v1.0.0","findings.version":"b-v1.0.0","level":"INFO","message":"b in deployments: 1 image, 2.0 MB; no finding is open in b-v1.0.0","repository.name":"deployments"}
        {"component.archived":0,"component.archived_bytes":0,"component.bytes":1000000,"component.images":1,"component.name":"c","component.newest":"c-v1.0.0","findings.critical":0,"findings.high":0,"findings.open":0,"findings.summary":"no finding is open in c-v1.0.0","findings.version":"c-v1.0.0","level":"INFO","message":"c in deployments: 1 image, 1.0 MB; no finding is open in c-v1.0.0","repository.name":"deployments"}
        {"component.archived":0,"component.archived_bytes":0,"component.bytes":1000000,"component.images":1,"component.name":"d","component.newest":"d-v1.0.0","findings.summary":"no version was scanned yet","level":"INFO","message":"d in deployments: 1 image, 1.0 MB; no version was scanned yet","repository.name":"deployments"}
        {"component.archived":0,"component.archived_bytes":0,"component.bytes":1000000,"component.images":1,"component.name":"(none)","findings.summary":"the findings are recorded for each image","level":"INFO","message":"images without a component in deployments: 1 image, 1.0 MB; the findings are recorded for each image","repository.name":"deployments"}
    "#]].assert_eq(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}

#[tokio::test]
async fn removed_images_are_not_counted_and_images_of_a_stopped_plan_are() {
    let function = Function::new("delete").await;
    function.versions("a", 3);
    function.sweep().await;
    expect![[r#"
        a in deployments: 2 images, 2.0 MB; no version was scanned yet
    "#]]
    .assert_eq(&logged_messages());

    let function = Function::with(&[
        ("*.Retention.Enforcement", "delete"),
        ("*.Retention.MaxRemovePercent", "1"),
    ])
    .await;
    function.versions("a", 30);
    assert!(function.sweep().await["stopped"].is_string());
    expect![[r#"
        a in deployments: 30 images, 30.0 MB; no version was scanned yet
    "#]]
    .assert_eq(&logged_messages());
}

#[tokio::test]
async fn only_a_sweep_logs_the_components() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    let push = event("pushed");
    function.ask(&push, "first").await.unwrap();
    assert_eq!(local_aws::log::lines("component.name").len(), 1);
    function.read().await;
    let ask = json!({"repository": DEPLOYMENTS, "image": "a-v1.0.0"});
    function.ask(&ask, "why").await.unwrap();
    assert_eq!(local_aws::log::lines("component.name"), Vec::<Value>::new());
    // A failed run logs no components.
    function.aws.fault("DescribeImages", 0, Fault::Error(403, "AccessDeniedException"));
    function.ask(&json!({"repository": DEPLOYMENTS}), "blind").await.unwrap_err();
    assert_eq!(local_aws::log::lines("component.name"), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn open_findings_that_cannot_be_read_do_not_fail_the_run() {
    let mut shown = String::new();
    for fault in [
        Fault::Error(400, "AccessDeniedException"),
        Fault::Error(400, "ProvisionedThroughputExceededException"),
        Fault::Hang,
    ] {
        let function = Function::new("archive").await;
        let a = function.versions("a", 3);
        scanned(&function, "a-v1.2.0", &a[2], &[Level::High], "").await;
        // The first calls read the record of untagged images and the mark of a replica. Without
        // them a run stops, so only later calls fail.
        for nth in 3..20 {
            function.aws.fault("BatchGetItem", nth, fault.clone());
        }
        assert_eq!(function.sweep().await["removed"], 1);
        let lines = local_aws::log::lines("repository.name");
        let warning = lines.iter().find(|line| line["level"] == "WARN").unwrap();
        let line = lines.iter().find(|line| line.get("component.name").is_some()).unwrap();
        for line in [warning, line] {
            shown += &format!("{}\n", line["message"].as_str().unwrap());
        }
        assert!(line.get("findings.open").is_none() && line.get("findings.critical").is_none());
    }
    expect![[r#"
        deployments: the open findings of its components are unknown: reading the open findings of deployments: AccessDeniedException: made to fail
        a in deployments: 2 images, 2.0 MB; archived: 1 image, 1.0 MB; the open findings could not be read from the ledger
        deployments: the open findings of its components are unknown: reading the open findings of deployments: ProvisionedThroughputExceededException: made to fail
        a in deployments: 2 images, 2.0 MB; archived: 1 image, 1.0 MB; the open findings could not be read from the ledger
        deployments: the open findings of its components are unknown: reading the ledger took longer than 10s
        a in deployments: 2 images, 2.0 MB; archived: 1 image, 1.0 MB; the open findings could not be read from the ledger
    "#]].assert_eq(&shown);
}

#[tokio::test]
async fn one_call_reads_a_hundred_components_and_five_hundred_are_logged() {
    let function = Function::new("report").await;
    let mut versions = Vec::new();
    for nth in 0..502 {
        versions.push(function.push(&format!("c{nth:03}-v1.0.0"), 90.0));
    }
    scanned(&function, "c500-v1.0.0", &versions[500], &[Level::High], "").await;
    for (nth, size) in [(500, 1_000_000_000), (501, 9)] {
        function.aws.state().ecr().image(DEPLOYMENTS, &versions[nth]).unwrap().manifest.size = size;
    }
    function.calls();
    function.sweep().await;
    // The additional call reads the record of untagged images.
    assert_eq!(count(&function.calls(), "BatchGetItem"), 5 + 1);
    let lines = local_aws::log::lines("repository.name");
    let written: Vec<&Value> =
        lines.iter().filter(|line| line.get("component.name").is_some()).collect();
    assert_eq!((written.len(), &written[0]["findings.high"]), (500, &json!(1)));
    assert!(written.iter().all(|line| line["component.name"] != "c501"));
    let left = lines.iter().find(|line| line["components.left"] == 2).unwrap();
    expect!["deployments: 2 components with the fewest bytes are not logged"]
        .assert_eq(left["message"].as_str().unwrap());
}

/// `DynamoDB` returns at most 16 MB in one response, and the keys of the remaining items.
#[tokio::test]
async fn items_that_do_not_fit_into_a_response_are_read_with_another_call() {
    let function = Function::new("report").await;
    let findings: Vec<Finding> = (0..7_200)
        .filter_map(|nth| Finding::new(&format!("{nth:>050}"), Level::Critical))
        .collect();
    let known: SeverityById = findings.iter().collect();
    for nth in 0..45 {
        let tag = format!("c{nth}-v1.0.0");
        let version = function.push(&tag, 90.0);
        let latest = Some(version_of(&function, &tag, &version, known.clone()));
        remember(&function, &tag, &version, &ScanHistory { latest, ..ScanHistory::default() })
            .await;
    }
    function.calls();
    function.sweep().await;
    // The additional call reads the record of untagged images.
    assert_eq!(count(&function.calls(), "BatchGetItem"), 2 + 1);
    let lines = local_aws::log::lines("component.name");
    assert_eq!(lines.len(), 45);
    assert!(lines.iter().all(|line| line["findings.critical"] == 7_200));
}
