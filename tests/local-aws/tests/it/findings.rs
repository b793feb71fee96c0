//! Invented findings by the service model, and the events of Inspector.
//! <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>

use local_aws::LocalAws;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use serde_json::{Value, json};

use crate::content::{events, image};
use crate::{DAY, NOW, aws, ok};

/// An AWS whose images Inspector scans.
fn enhanced() -> LocalAws {
    let aws = aws();
    let filter = json!({"filter": "*", "filterType": "WILDCARD"});
    let rule = json!({"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [filter]});
    let input = json!({"scanType": "ENHANCED", "rules": [rule]});
    ok(&aws, "PutRegistryScanningConfiguration", input);
    aws
}

/// Sends the event of a finding, and returns its detail.
#[track_caller]
fn tell(aws: &LocalAws, digest: &str, finding: &Value, status: &str) -> Value {
    let mut state = aws.state();
    let now = state.now();
    state.ecr().tell_of_finding("app", digest, finding, status, now).unwrap();
    drop(state);
    // Events are handed on with the next call.
    ok(aws, "GetAuthorizationToken", json!({}));
    events(aws, "Inspector2 Finding").pop().unwrap()
}

/// The answer of `DescribeImageScanFindings` for an image.
#[track_caller]
fn found(aws: &LocalAws, digest: &str) -> Value {
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
    ok(aws, "DescribeImageScanFindings", input)
}

/// The findings that are listed for an image: vulnerability and status.
#[track_caller]
fn listed(aws: &LocalAws, digest: &str) -> Vec<(String, String)> {
    let found = found(aws, digest);
    let findings = found["imageScanFindings"]["enhancedFindings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings
        .map(|finding| {
            (&finding["packageVulnerabilityDetails"]["vulnerabilityId"], &finding["status"])
        })
        .map(|(id, status)| (text(id), text(status)))
        .collect()
}

fn high() -> Value {
    enhanced_finding("CVE-2026-0001", "HIGH", "libssl3", "3.0.13", Some("3.0.14"))
}

// Model: ImageScanFinding
#[test]
fn a_basic_finding_names_the_package_in_its_attributes() {
    let finding = basic_finding("CVE-2026-0001", "HIGH", "openssl", "3.0.13");
    let members: Vec<&String> = finding.as_object().unwrap().keys().collect();
    assert_eq!(members, ["attributes", "description", "name", "severity", "uri"]);
    let attribute = |key: &str, value: &str| json!({"key": key, "value": value});
    let expected = [
        attribute("package_version", "3.0.13"),
        attribute("package_name", "openssl"),
        attribute("CVSS2_SCORE", "7.5"),
    ];
    assert_eq!(finding["attributes"], json!(expected));
    assert!(finding["uri"].as_str().unwrap().starts_with("https://"));
    let unknown = basic_finding("CVE-2026-0002", "UNDEFINED", "openssl", "3.0.13");
    assert_eq!(unknown["attributes"].as_array().unwrap().len(), 2);
}

// Model: EnhancedImageScanFinding
#[test]
fn an_enhanced_finding_is_listed_on_its_image() {
    let aws = enhanced();
    let digest = image(&aws, &["v1", "v2"]);
    let mut medium = enhanced_finding("CVE-2026-0002", "MEDIUM", "zlib", "1.3", None);
    medium["resources"][0]["details"]["awsEcrContainerImage"]["inUseCount"] = 3.into();
    medium["epss"] = json!({"score": 0.5});
    let findings = Ok(vec![high(), medium]);
    aws.state().ecr().complete_scan("app", &digest, findings, NOW).unwrap();
    let found = found(&aws, &digest);
    let [high, medium] = &found["imageScanFindings"]["enhancedFindings"].as_array().unwrap()[..]
    else {
        panic!("{found:#}")
    };
    let arn = format!("arn:aws:ecr:us-east-1:123456789012:repository/app/{digest}");
    let expected = json!({
        "awsAccountId": "123456789012",
        "description": high["description"],
        "exploitAvailable": "NO",
        "findingArn": high["findingArn"],
        "firstObservedAt": NOW,
        "fixAvailable": "YES",
        "lastObservedAt": NOW,
        "packageVulnerabilityDetails": {
            "cvss": [{"baseScore": 7.5, "source": "NVD", "version": "3.1"}],
            "referenceUrls": ["https://nvd.nist.gov/vuln/detail/CVE-2026-0001"],
            "relatedVulnerabilities": [],
            "source": "NVD",
            "sourceUrl": "https://nvd.nist.gov/vuln/detail/CVE-2026-0001",
            "vendorSeverity": "high",
            "vulnerabilityId": "CVE-2026-0001",
            "vulnerablePackages": [{
                "arch": "AMD64",
                "epoch": 0,
                "fixedInVersion": "3.0.14",
                "name": "libssl3",
                "packageManager": "OS",
                "version": "3.0.13",
            }],
        },
        "remediation": {"recommendation": {"text": "None Provided"}},
        "resources": [{
            "details": {
                "awsEcrContainerImage": {
                    "architecture": "amd64",
                    "imageHash": digest,
                    "imageTags": ["v1", "v2"],
                    "platform": "DEBIAN_12",
                    "pushedAt": NOW,
                    "registry": "123456789012",
                    "repositoryName": "app",
                },
            },
            "id": arn,
            "tags": {},
            "type": "AWS_ECR_CONTAINER_IMAGE",
        }],
        "score": 7.5,
        "scoreDetails": {"cvss": {"score": 7.5, "scoreSource": "NVD", "version": "3.1"}},
        "severity": "HIGH",
        "status": "ACTIVE",
        "title": "CVE-2026-0001 - libssl3",
        "type": "PACKAGE_VULNERABILITY",
        "updatedAt": NOW,
    });
    assert_eq!(high, &expected);
    assert_eq!(medium["fixAvailable"], "NO");
    assert_eq!(medium["resources"][0]["details"]["awsEcrContainerImage"]["inUseCount"], 3);
    assert_eq!(medium.get("epss"), None);
    assert_ne!(medium["findingArn"], high["findingArn"]);
}

// eventbridge-integration.html: Amazon ECR package vulnerability finding
#[test]
fn the_event_of_a_finding_has_the_names_of_inspector_and_times_as_texts() {
    let aws = enhanced();
    let digest = image(&aws, &["v1"]);
    aws.state().set_clock(Some(NOW + 0.411));
    let mut finding = high();
    finding["epss"] = json!({"score": 0.00045});
    finding["packageVulnerabilityDetails"]["vendorCreatedAt"] = 1_799_900_000.into();
    let on = &mut finding["resources"][0]["details"]["awsEcrContainerImage"];
    on["inUseCount"] = 2.into();
    on["lastInUseAt"] = (NOW - 60.0).into();
    let detail = tell(&aws, &digest, &finding, "ACTIVE");
    let arn = format!("arn:aws:ecr:us-east-1:123456789012:repository/app/{digest}");
    let now = "Fri Jan 15 08:00:00.411 UTC 2027";
    let expected = json!({
        "awsAccountId": "123456789012",
        "description": finding["description"],
        "epss": {"score": 0.00045},
        "exploitAvailable": "NO",
        "findingArn": detail["findingArn"],
        "firstObservedAt": now,
        "fixAvailable": "YES",
        "inspectorScore": 7.5,
        "inspectorScoreDetails": {
            "adjustedCvss": {
                "adjustments": [],
                "cvssSource": "NVD",
                "score": 7.5,
                "scoreSource": "NVD",
                "version": "3.1",
            },
        },
        "lastObservedAt": now,
        "packageVulnerabilityDetails": {
            "cvss": [{"baseScore": 7.5, "source": "NVD", "version": "3.1"}],
            "referenceUrls": ["https://nvd.nist.gov/vuln/detail/CVE-2026-0001"],
            "relatedVulnerabilities": [],
            "source": "NVD",
            "sourceUrl": "https://nvd.nist.gov/vuln/detail/CVE-2026-0001",
            "vendorCreatedAt": "Thu Jan 14 04:13:20.000 UTC 2027",
            "vendorSeverity": "high",
            "vulnerabilityId": "CVE-2026-0001",
            "vulnerablePackages": [{
                "arch": "AMD64",
                "epoch": 0,
                "fixedInVersion": "3.0.14",
                "name": "libssl3",
                "packageManager": "OS",
                "version": "3.0.13",
            }],
        },
        "remediation": {"recommendation": {"text": "None Provided"}},
        "resources": [{
            "details": {
                "awsEcrContainerImage": {
                    "architecture": "amd64",
                    "imageHash": digest,
                    "imageTags": ["v1"],
                    "inUseCount": 2,
                    "lastInUseAt": "Fri Jan 15 07:59:00.000 UTC 2027",
                    "platform": "DEBIAN_12",
                    "pushedAt": "Fri Jan 15 08:00:00.000 UTC 2027",
                    "registry": "123456789012",
                    "repositoryName": "app",
                },
            },
            "id": arn,
            "partition": "aws",
            "region": "us-east-1",
            "type": "AWS_ECR_CONTAINER_IMAGE",
        }],
        "severity": "HIGH",
        "status": "ACTIVE",
        "title": "CVE-2026-0001 - libssl3",
        "type": "PACKAGE_VULNERABILITY",
        "updatedAt": now,
    });
    assert_eq!(detail, expected);
    let finding_arn = detail["findingArn"].as_str().unwrap();
    let prefix = "arn:aws:inspector2:us-east-1:123456789012:finding/";
    assert_eq!(finding_arn.strip_prefix(prefix).map(str::len), Some(32), "{finding_arn}");
    let state = aws.state();
    let event = state.events.last().unwrap();
    assert_eq!(event["source"], "aws.inspector2");
    assert_eq!(event["detail-type"], "Inspector2 Finding");
    assert_eq!(event["resources"], json!([arn]));
    assert_eq!(event["time"], "2027-01-15T08:00:00Z");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced.html
#[test]
fn the_listed_findings_agree_with_the_events() {
    let aws = enhanced();
    let digest = image(&aws, &["v1"]);
    assert_eq!(found(&aws, &digest)["imageScanStatus"]["status"], "PENDING");
    let first = tell(&aws, &digest, &high(), "ACTIVE");
    assert_eq!(found(&aws, &digest)["imageScanStatus"]["status"], "ACTIVE");
    let low = enhanced_finding("CVE-2026-0002", "LOW", "zlib", "1.3", None);
    tell(&aws, &digest, &low, "ACTIVE");
    let pair = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    let (one, two) = ("CVE-2026-0001", "CVE-2026-0002");
    assert_eq!(listed(&aws, &digest), [pair(one, "ACTIVE"), pair(two, "ACTIVE")]);

    // A day later it is worse than it was, and is the same finding.
    aws.advance(DAY);
    let worse = enhanced_finding(one, "CRITICAL", "libssl3", "3.0.13", None);
    let again = tell(&aws, &digest, &worse, "ACTIVE");
    assert_eq!(again["findingArn"], first["findingArn"]);
    assert_eq!(again["firstObservedAt"], first["firstObservedAt"]);
    assert_eq!(again["lastObservedAt"], "Sat Jan 16 08:00:00.000 UTC 2027");
    let counts =
        |aws: &LocalAws| found(aws, &digest)["imageScanFindings"]["findingSeverityCounts"].clone();
    assert_eq!(counts(&aws), json!({"CRITICAL": 1, "LOW": 1}));

    tell(&aws, &digest, &low, "SUPPRESSED");
    assert_eq!(listed(&aws, &digest), [pair(one, "ACTIVE"), pair(two, "SUPPRESSED")]);
    aws.advance(DAY);
    let closed = tell(&aws, &digest, &worse, "CLOSED");
    assert_eq!(
        (&closed["status"], &closed["findingArn"]),
        (&json!("CLOSED"), &first["findingArn"])
    );
    assert_eq!(closed["lastObservedAt"], again["lastObservedAt"]);
    assert_eq!(closed["updatedAt"], "Sun Jan 17 08:00:00.000 UTC 2027");
    assert_eq!(listed(&aws, &digest), [pair(two, "SUPPRESSED")]);
    // The ARN alone identifies a finding too, and a closed finding can become active again.
    let arn =
        found(&aws, &digest)["imageScanFindings"]["enhancedFindings"][0]["findingArn"].clone();
    tell(&aws, &digest, &json!({"findingArn": arn, "severity": "LOW"}), "CLOSED");
    tell(&aws, &digest, &worse, "CLOSED");
    assert_eq!((listed(&aws, &digest), counts(&aws)), (Vec::new(), json!({})));
    assert_eq!(events(&aws, "Inspector2 Scan"), Vec::<Value>::new());
}

#[test]
fn one_vulnerability_is_another_finding_on_another_image() {
    let aws = enhanced();
    let arns = ["v1", "v2"].map(|tag| {
        let digest = image(&aws, &[tag]);
        tell(&aws, &digest, &high(), "ACTIVE")["findingArn"].clone()
    });
    assert_ne!(arns[0], arns[1]);
}

#[test]
fn a_finding_that_inspector_would_not_tell_of_is_refused() {
    let code = |aws: &LocalAws, digest: &str, status: &str| {
        let mut state = aws.state();
        let refused = state.ecr().tell_of_finding("app", digest, &high(), status, NOW);
        refused.unwrap_err().code
    };
    let basic = aws();
    let digest = image(&basic, &["v1"]);
    assert_eq!(code(&basic, &digest, "ACTIVE"), "ValidationException");
    let aws = enhanced();
    let digest = image(&aws, &["v1"]);
    assert_eq!(code(&aws, &digest, "OPEN"), "ValidationException");
    assert_eq!(code(&aws, "sha256:0", "ACTIVE"), "ImageNotFoundException");
}
