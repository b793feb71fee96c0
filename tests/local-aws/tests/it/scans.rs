//! Scans of images, and the registry's configuration of them.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{events, image, index};
use crate::{DAY, NOW, aws, ok, pages, refused, with};

fn image_of(tag: &str) -> Value {
    json!({"repositoryName": "app", "imageId": {"imageTag": tag}})
}

fn rule(frequency: &str, filters: &[&str]) -> Value {
    let filter = |it: &&str| json!({"filter": it, "filterType": "WILDCARD"});
    let filters: Vec<Value> = filters.iter().map(filter).collect();
    json!({"scanFrequency": frequency, "repositoryFilters": filters})
}

#[track_caller]
fn configure(aws: &LocalAws, scan_type: &str, rules: &[Value]) -> Value {
    ok(aws, "PutRegistryScanningConfiguration", json!({"scanType": scan_type, "rules": rules}))
}

/// How often a repository is scanned.
#[track_caller]
fn frequency(aws: &LocalAws, repository: &str) -> Value {
    let input = json!({"repositoryNames": [repository]});
    let found = ok(aws, "BatchGetRepositoryScanningConfiguration", input);
    found["scanningConfigurations"][0]["scanFrequency"].clone()
}

fn complete(aws: &LocalAws, digest: &str, severities: &[&str]) {
    let finding = |(n, severity): (usize, &&str)| json!({"name": format!("CVE-2026-{n:04}"), "severity": severity});
    let findings = severities.iter().enumerate().map(finding).collect();
    let mut state = aws.state();
    let now = state.now();
    state.ecr().complete_scan("app", digest, Ok(findings), now).unwrap();
    drop(state);
    ok(aws, "GetAuthorizationToken", json!({}));
}

// Model: PutImageScanningConfigurationRequest
#[test]
fn a_repository_that_scans_on_push_scans_what_is_pushed_from_then_on() {
    let aws = aws();
    image(&aws, &["before"]);
    let scanning = json!({"scanOnPush": true});
    let input = json!({"repositoryName": "app", "imageScanningConfiguration": scanning});
    let answer = ok(&aws, "PutImageScanningConfiguration", input);
    assert_eq!(answer["imageScanningConfiguration"], scanning);
    image(&aws, &["after"]);
    assert_eq!(
        refused(&aws, "DescribeImageScanFindings", image_of("before")),
        "ScanNotFoundException"
    );
    let found = ok(&aws, "DescribeImageScanFindings", image_of("after"));
    assert_eq!(found["imageScanStatus"], json!({"status": "IN_PROGRESS"}));
    assert_eq!(found.get("imageScanFindings"), None);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-basic.html
#[test]
fn the_registrys_rules_scan_on_push_too() {
    let aws = aws();
    configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &["a*"])]);
    image(&aws, &["v1"]);
    ok(&aws, "DescribeImageScanFindings", image_of("v1"));
    configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &["b*"])]);
    image(&aws, &["v2"]);
    assert_eq!(refused(&aws, "DescribeImageScanFindings", image_of("v2")), "ScanNotFoundException");
}

// Model: ImageScanFindings, FindingSeverityCounts
#[test]
fn a_complete_scan_has_its_findings_counted_by_severity() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let started = ok(&aws, "StartImageScan", image_of("v1"));
    assert_eq!(started["imageScanStatus"], json!({"status": "IN_PROGRESS"}));
    assert_eq!(started["imageId"], json!({"imageDigest": digest, "imageTag": "v1"}));
    complete(&aws, &digest, &["HIGH", "LOW", "HIGH"]);
    let found = ok(&aws, "DescribeImageScanFindings", image_of("v1"));
    assert_eq!(found["imageScanStatus"]["status"], "COMPLETE");
    assert_eq!(found["imageId"], json!({"imageDigest": digest, "imageTag": "v1"}));
    let findings = &found["imageScanFindings"];
    assert_eq!(findings["findingSeverityCounts"], json!({"HIGH": 2, "LOW": 1}));
    assert_eq!(findings["imageScanCompletedAt"], NOW);
    assert_eq!(findings["findings"].as_array().unwrap().len(), 3);
}

// Model: DescribeImageScanFindingsRequest
#[test]
fn findings_come_in_pages() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    complete(&aws, &digest, &["LOW"; 103]);
    let page = |more: Value| {
        let found = ok(&aws, "DescribeImageScanFindings", with(image_of("v1"), more));
        let count = found["imageScanFindings"]["findings"].as_array().unwrap().len();
        assert_eq!(found["imageScanFindings"]["findingSeverityCounts"], json!({"LOW": 103}));
        (count, found["nextToken"].clone())
    };
    let (first, token) = page(json!({}));
    assert_eq!((first, page(json!({"nextToken": token}))), (100, (3, Value::Null)));
    assert_eq!(page(json!({"maxResults": 1000})), (103, Value::Null));
    let bad = with(image_of("v1"), json!({"nextToken": "not a token"}));
    assert_eq!(refused(&aws, "DescribeImageScanFindings", bad), "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_StartImageScan.html
#[test]
fn an_image_is_scanned_once_in_24_hours_the_scan_on_push_included() {
    let aws = aws();
    image(&aws, &["by-hand"]);
    ok(&aws, "StartImageScan", image_of("by-hand"));
    configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &["*"])]);
    let digest = image(&aws, &["on-push"]);
    complete(&aws, &digest, &[]);
    for tag in ["by-hand", "on-push"] {
        assert_eq!(
            refused(&aws, "StartImageScan", image_of(tag)),
            "LimitExceededException",
            "{tag}"
        );
    }
    aws.advance(DAY);
    for tag in ["by-hand", "on-push"] {
        ok(&aws, "StartImageScan", image_of(tag));
    }
}

// Model: UnsupportedImageTypeException, ImageNotFoundException
#[test]
fn only_an_image_is_scanned() {
    let aws = aws();
    configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &["*"])]);
    let child = image(&aws, &[]);
    index(&aws, &[&child], Some("multi"));
    assert_eq!(refused(&aws, "StartImageScan", image_of("multi")), "UnsupportedImageTypeException");
    assert_eq!(
        refused(&aws, "DescribeImageScanFindings", image_of("multi")),
        "ScanNotFoundException"
    );
    assert_eq!(refused(&aws, "StartImageScan", image_of("gone")), "ImageNotFoundException");
    assert_eq!(
        refused(&aws, "DescribeImageScanFindings", image_of("gone")),
        "ImageNotFoundException"
    );
}

// Model: ScanStatus
#[test]
fn a_scan_that_did_not_work_out_says_why() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let outcome = Err(("UNSUPPORTED_IMAGE", "UnsupportedImageError: the system is not known"));
    aws.state().ecr().complete_scan("app", &digest, outcome, NOW).unwrap();
    let found = ok(&aws, "DescribeImageScanFindings", image_of("v1"));
    assert_eq!(found["imageScanStatus"]["status"], "UNSUPPORTED_IMAGE");
    assert!(found["imageScanStatus"]["description"].is_string());
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
#[test]
fn the_event_of_a_basic_scan_counts_the_severities_that_occur() {
    let aws = aws();
    let digest = image(&aws, &["v1", "v2"]);
    complete(&aws, &digest, &["CRITICAL", "MEDIUM", "MEDIUM"]);
    let expected = json!({
        "scan-status": "COMPLETE",
        "repository-name": "app",
        "finding-severity-counts": {"CRITICAL": 1, "MEDIUM": 2},
        "image-digest": digest,
        "image-tags": ["v1", "v2"],
    });
    assert_eq!(events(&aws, "ECR Image Scan"), [expected]);
    let state = aws.state();
    let event = state.events.last().unwrap();
    assert_eq!(event["source"], "aws.ecr");
    assert_eq!(event["resources"], json!(["arn:aws:ecr:us-east-1:123456789012:repository/app"]));
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
#[test]
fn a_basic_scan_that_found_nothing_or_failed_has_counts_of_nothing() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    complete(&aws, &digest, &[]);
    let failed = Err(("FAILED", "InternalServerException"));
    aws.state().ecr().complete_scan("app", &digest, failed, NOW).unwrap();
    ok(&aws, "GetAuthorizationToken", json!({}));
    let sent = events(&aws, "ECR Image Scan");
    let sent =
        sent.iter().map(|scan| (scan["scan-status"].clone(), &scan["finding-severity-counts"]));
    let expected = ["COMPLETE", "FAILED"].map(|status| (json!(status), json!({})));
    assert_eq!(sent.map(|(status, counts)| (status, counts.clone())).collect::<Vec<_>>(), expected);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced.html
#[test]
fn inspector_sends_the_event_of_an_enhanced_scan_with_the_arn_and_the_total() {
    let aws = aws();
    configure(&aws, "ENHANCED", &[rule("CONTINUOUS_SCAN", &["*"])]);
    let digest = image(&aws, &["v1"]);
    let found = ok(&aws, "DescribeImageScanFindings", image_of("v1"));
    assert_eq!(found["imageScanStatus"]["status"], "PENDING");
    complete(&aws, &digest, &["HIGH", "HIGH", "UNTRIAGED"]);
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/app";
    let expected = json!({
        "scan-status": "INITIAL_SCAN_COMPLETE",
        "repository-name": arn,
        "finding-severity-counts": {"HIGH": 2, "UNTRIAGED": 1, "TOTAL": 3},
        "image-digest": digest,
        "image-tags": ["v1"],
    });
    assert_eq!(events(&aws, "Inspector2 Scan"), [expected]);
    assert_eq!(aws.state().events.last().unwrap()["source"], "aws.inspector2");
    let found = ok(&aws, "DescribeImageScanFindings", image_of("v1"));
    assert_eq!(found["imageScanStatus"]["status"], "ACTIVE");
    assert_eq!(found["imageScanFindings"]["enhancedFindings"].as_array().unwrap().len(), 3);
    assert_eq!(found["imageScanFindings"].get("findings"), None);
    assert_eq!(refused(&aws, "StartImageScan", image_of("v1")), "ValidationException");
}

// Model: GetRegistryScanningConfigurationResponse
#[test]
fn the_registry_scans_basically_and_by_hand_unless_it_is_set() {
    let aws = aws();
    let got = ok(&aws, "GetRegistryScanningConfiguration", json!({}));
    let basic = json!({"scanType": "BASIC", "rules": []});
    assert_eq!(got, json!({"registryId": "123456789012", "scanningConfiguration": basic}));
    assert_eq!(frequency(&aws, "app"), "MANUAL");
    let rules = [rule("SCAN_ON_PUSH", &["x*"]), rule("CONTINUOUS_SCAN", &["app"])];
    let set = json!({"scanType": "ENHANCED", "rules": rules});
    let put = configure(&aws, "ENHANCED", &rules);
    assert_eq!(put, json!({"registryScanningConfiguration": set}));
    let got = ok(&aws, "GetRegistryScanningConfiguration", json!({}));
    assert_eq!(got["scanningConfiguration"], set);
    assert_eq!(frequency(&aws, "app"), "CONTINUOUS_SCAN");
    let basic = json!({"scanType": "BASIC", "rules": [rule("CONTINUOUS_SCAN", &["*"])]});
    let code = refused(&aws, "PutRegistryScanningConfiguration", basic);
    assert_eq!(code, "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
#[test]
fn a_filter_without_a_wildcard_is_for_every_name_that_contains_it() {
    let aws = aws();
    for name in ["prod", "repo-prod", "prod-repo", "repo-prod-repo", "prodrepo", "other"] {
        ok(&aws, "CreateRepository", json!({"repositoryName": name}));
    }
    let cases: [(&str, &[&str]); 5] = [
        ("prod", &["prod", "prod-repo", "prodrepo", "repo-prod", "repo-prod-repo"]),
        ("*prod", &["prod", "repo-prod"]),
        ("prod*", &["prod", "prod-repo", "prodrepo"]),
        ("*prod*", &["prod", "prod-repo", "prodrepo", "repo-prod", "repo-prod-repo"]),
        ("prod*repo", &["prod-repo", "prodrepo"]),
    ];
    for (filter, expected) in cases {
        configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &[filter])]);
        let all = pages(&aws, "DescribeRepositories", &json!({}), "repositories").concat();
        let names = all.iter().map(|repository| repository["repositoryName"].as_str().unwrap());
        let scanned: Vec<&str> =
            names.filter(|name| frequency(&aws, name) == "SCAN_ON_PUSH").collect();
        assert_eq!(scanned, expected, "{filter}");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
#[test]
fn continuous_scans_come_before_scans_on_push() {
    let aws = aws();
    let (push, continuous) = (rule("SCAN_ON_PUSH", &["*"]), rule("CONTINUOUS_SCAN", &["app"]));
    for rules in [[push.clone(), continuous.clone()], [continuous, push]] {
        configure(&aws, "ENHANCED", &rules);
        assert_eq!(frequency(&aws, "app"), "CONTINUOUS_SCAN");
    }
}

// Model: RepositoryScanningConfiguration, RepositoryScanningConfigurationFailure
#[test]
fn the_scanning_configuration_is_returned_for_existing_repositories() {
    let aws = aws();
    configure(&aws, "BASIC", &[rule("SCAN_ON_PUSH", &["a*", "z*"])]);
    let input = json!({"repositoryNames": ["app", "gone"]});
    let found = ok(&aws, "BatchGetRepositoryScanningConfiguration", input);
    let expected = json!([{
        "repositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/app",
        "repositoryName": "app",
        "scanOnPush": true,
        "scanFrequency": "SCAN_ON_PUSH",
        "appliedScanFilters": [{"filter": "a*", "filterType": "WILDCARD"}],
    }]);
    assert_eq!(found["scanningConfigurations"], expected);
    assert_eq!(found["failures"][0]["repositoryName"], "gone");
    assert_eq!(found["failures"][0]["failureCode"], "REPOSITORY_NOT_FOUND");
}
