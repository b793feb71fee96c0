//! Tests how a run reads a repository, and that it stops if it cannot read something.

use expect_test::expect;
use local_aws::Fault;
use local_aws::ecr::Call;
use local_aws::world::masked;
use serde_json::json;

use crate::{DEPLOYMENTS, Function, changes, count, digests, sorted};

// Cases P5 and P13 in docs/contributing/prior-art.md.
#[tokio::test]
async fn an_index_its_images_and_its_signature_are_removed_or_kept_together() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        let old = function.index("a-v1.0.0", 90.0);
        let kept = [function.index("a-v2.0.0", 80.0), function.index("a-v3.0.0", 70.0)];
        let answer = function.sweep().await;
        assert_eq!((&answer["removed"], &answer["failed"]), (&json!(4), &json!(0)));
        assert_eq!(digests(&answer["removals"]), sorted(old.to_vec()));
        assert_eq!(function.active(), sorted(kept.concat()));
    }
}

// Case P6 in docs/contributing/prior-art.md.
#[tokio::test]
async fn an_index_that_cannot_be_read_stops_the_run_and_is_published_once_a_day() {
    let function = Function::new("delete").await;
    let [index, ..] = function.index("a-v9.0.0", 10.0);
    function.versions("a", 5);
    let before = function.active();
    // The manifest is not valid JSON.
    function.aws.state().ecr().image(DEPLOYMENTS, &index).unwrap().manifest_text = "{".to_owned();
    let answer = function.sweep().await;
    let why = answer["stopped"].as_str().unwrap();
    assert!(why.contains(&index), "{why}");
    expect!["the index sha256:… of deployments cannot be read: the manifest is not an index: EOF while parsing an object at line 1 column 1"].assert_eq(&masked(why));
    assert_eq!((function.active(), answer.get("removed")), (before.clone(), None));
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!((&alert["kind"], &alert["details"]["stopped"]), (&json!("cleanup"), &json!(why)));
    function.sweep().await;
    assert!(function.alerts().is_empty() && function.active() == before);
    function.aws.advance(std::time::Duration::from_secs(86_400));
    function.sweep().await;
    assert_eq!(function.alerts().len(), 1);
    assert_eq!(function.read().await["stopped"], why);
    // The manifest of an archived index is not needed.
    function.aws.state().ecr().image(DEPLOYMENTS, &index).unwrap().status =
        local_aws::ecr::image::Status::Archived;
    assert_eq!(function.sweep().await["removed"], 3);
}

// Case B23 in docs/contributing/prior-art.md.
#[tokio::test]
async fn scanners_that_pull_every_image_every_day_do_not_keep_images() {
    const SCANNER: &str = "arn:aws:iam::123456789012:role/scanner";
    const OTHER: &str = "arn:aws:iam::123456789012:role/ci/other-scanner";
    let both = format!("{OTHER},{SCANNER}");
    for (roles, removed) in [("", 0), (OTHER, 0), (SCANNER, 3), (&both, 3)] {
        let parameters = [("*.Retention.Enforcement", "archive"), ("ScannerRoleArns", roles)];
        let function = Function::with(&parameters).await;
        // A new repository of the stack accepts its policy.
        function.sweep().await;
        let images = function.versions("a", 5);
        function.record_tags(DEPLOYMENTS).await;
        let ids: Vec<_> = images.iter().map(|digest| json!({"imageDigest": digest})).collect();
        let input = json!({"repositoryName": DEPLOYMENTS, "imageIds": ids});
        for _ in 0..40 {
            let mut state = function.aws.state();
            let (operation, principal, now) = ("BatchGetImage", Some(SCANNER), state.now());
            let call = Call { operation, principal, now, endpoint: "" };
            let pulled = state.ecr().serve(&call, &input).unwrap();
            assert_eq!(pulled["images"].as_array().unwrap().len(), 5);
            drop(state);
            function.aws.advance(std::time::Duration::from_secs(86_400));
        }
        assert_eq!(function.sweep().await["removed"], removed, "{roles}");
    }
}

// Case P8 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_removes_nothing() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 1_010);
    function.calls();
    for nth in 2..8 {
        function.aws.fault("DescribeImages", nth, Fault::Error(400, "ThrottlingException"));
    }
    let order = json!({"repository": DEPLOYMENTS});
    let error = function.ask(&order, "request").await.unwrap_err();
    expect![
        "sweeping deployments: listing the images of deployments: ThrottlingException: made to fail"
    ]
    .assert_eq(&format!("{error:#}"));
    assert_eq!(function.active().len(), images.len());
    assert_eq!(changes(&function.calls()), [""; 0]);
}

// Case P15 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn nothing_is_removed_if_the_running_images_cannot_be_listed() {
    let mut reasons = String::new();
    // The calls are denied, throttled, or fail on the server.
    for fault in [
        Fault::Error(403, "AccessDeniedException"),
        Fault::Error(429, "ThrottlingException"),
        Fault::Error(500, "InternalServerException"),
    ] {
        for operation in ["ListCoverage", "GetRegistryScanningConfiguration"] {
            let function = Function::inspected().await;
            let images = function.versions("a", 5);
            function.report_running(DEPLOYMENTS, &images[0]);
            function.aws.fault(operation, 0, fault.clone());
            let answer = function.sweep().await;
            let why = answer["stopped"].as_str().unwrap();
            reasons += &format!("{why}\n");
            assert_eq!(function.active(), sorted(images));
            assert_eq!(function.alerts()[0]["details"]["stopped"], why);
        }
    }
    expect![[r#"
        the running images cannot be listed: listing the running images with Amazon Inspector: AccessDeniedException: made to fail
        the running images cannot be listed: reading the registry scanning configuration: AccessDeniedException: made to fail
        the running images cannot be listed: listing the running images with Amazon Inspector: ThrottlingException: made to fail
        the running images cannot be listed: reading the registry scanning configuration: ThrottlingException: made to fail
        the running images cannot be listed: listing the running images with Amazon Inspector: InternalServerException: made to fail
        the running images cannot be listed: reading the registry scanning configuration: InternalServerException: made to fail
    "#]].assert_eq(&reasons);
    // Enhanced scanning was turned off, so the list of Inspector is stale.
    let function = Function::inspected().await;
    let images = function.versions("a", 5);
    function.report_running(DEPLOYMENTS, &images[0]);
    let basic = json!({"scanType": "BASIC", "rules": []});
    function.aws.by_hand("PutRegistryScanningConfiguration", &basic).unwrap();
    let answer = function.sweep().await;
    expect!["the running images cannot be listed: InUseSources has inspector, but the registry has no enhanced scanning; turn on enhanced scanning or remove inspector from InUseSources"].assert_eq(answer["stopped"].as_str().unwrap());
    // Inspector lists no running image.
    let function = Function::inspected().await;
    let images = function.versions("a", 5);
    let answer = function.sweep().await;
    expect!["Amazon Inspector reports no running image of the repository: either no workload runs one, or Inspector does not see the workloads"].assert_eq(answer["stopped"].as_str().unwrap());
    assert_eq!(function.active(), sorted(images));
}

// Case P1 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_running_image_is_kept_and_its_workload_is_named() {
    use local_aws::inspector::{Cluster, Orchestrator, Workload, image_arn};
    let function = Function::inspected().await;
    let images = function.versions("a", 5);
    let [index, part, ..] = function.index("a-v0.9.0", 200.0);
    function.report_running(DEPLOYMENTS, &images[1]);
    // A part of the index runs.
    function.report_running(DEPLOYMENTS, &part);
    let workload = Workload {
        last_in_use: 1_799_900_000,
        running: 2,
        stopped: 0,
        of: Orchestrator::Eks {
            namespace: "llm".to_owned(),
            owners: vec![("litellm".to_owned(), "Deployment".to_owned())],
        },
    };
    let cluster = Cluster {
        arn: "arn:aws:eks:us-east-1:123456789012:cluster/production".to_owned(),
        workloads: vec![workload],
    };
    let arn = image_arn(DEPLOYMENTS, &images[1]);
    function.aws.services().inspector().clusters.insert(arn, vec![cluster]);
    let answer = function.sweep().await;
    assert_eq!(digests(&answer["removals"]), sorted(vec![images[0].clone(), images[2].clone()]));
    assert!(function.active().contains(&index) && function.active().contains(&images[1]));
    let keeps = answer["keeps"].as_array().unwrap();
    let reason = |digest: &String| {
        let entry = keeps.iter().find(|entry| entry["digest"] == *digest).unwrap();
        entry["reason"].as_str().unwrap().to_owned()
    };
    let (image, index) = (reason(&images[1]), reason(&index));
    assert!(index.contains(&part), "{index}");
    expect![[r#"
        2 workloads run it, according to Amazon Inspector: production llm/litellm
        its image sha256:… is kept: 2 workloads run it, according to Amazon Inspector"#]]
    .assert_eq(&masked(&format!("{image}\n{index}")));
    let calls = function.calls();
    // One list of the images that run now, and one list of the images that ran recently.
    assert_eq!((count(&calls, "ListCoverage"), count(&calls, "GetClustersForImage")), (2, 2));
    // An image that runs once a day is in use too.
    {
        let mut inspector = function.aws.services().inspector();
        inspector.images.iter_mut().for_each(|image| image.in_use_count = Some(0));
    }
    let keeps = function.read().await["keeps"].clone();
    let entry =
        keeps.as_array().unwrap().iter().find(|entry| entry["digest"] == images[1].as_str());
    expect!["a workload ran it within the last 30 days, according to Amazon Inspector: production llm/litellm"]
        .assert_eq(entry.unwrap()["reason"].as_str().unwrap());
}

// Case P13 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_signature_without_its_subject_is_removed() {
    let function = Function::new("delete").await;
    let there = function.push("a-v1.0.0", 100.0);
    let gone = format!("sha256:{}", "0".repeat(64));
    let orphan = {
        let mut state = function.aws.state();
        let at = crate::NOW - 100.0 * crate::DAY;
        state.ecr().push_attached(DEPLOYMENTS, &gone, ".sig", at).unwrap()
    };
    let answer = function.sweep().await;
    assert_eq!(digests(&answer["removals"]), [orphan]);
    assert!(answer["removals"][0]["reason"].as_str().unwrap().contains(&gone));
    assert_eq!(function.active(), [there]);
}
