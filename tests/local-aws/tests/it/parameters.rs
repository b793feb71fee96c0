//! The constraints of the service model on parameters, one test for each kind, and the errors of
//! malformed calls.

use serde_json::{Value, json};

use crate::{aws, ok, refused, with};

fn message(operation: &str, input: &Value) -> String {
    aws().by_hand(operation, input).unwrap_err().message
}

// Model: the constraints of each shape
#[test]
fn each_kind_of_constraint_is_checked() {
    let aws = aws();
    let app = json!({"repositoryName": "app"});
    let ids = |ids: Value| with(app.clone(), json!({"imageIds": ids}));
    let filters = |filters: Value| {
        let mutability = json!({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"});
        let filters = json!({"imageTagMutabilityExclusionFilters": filters});
        with(with(app.clone(), mutability), filters)
    };
    let filter = |text: &str| json!({"filterType": "WILDCARD", "filter": text});
    let scan_rule = |filter: &str| {
        let filters = json!([{"filter": filter, "filterType": "WILDCARD"}]);
        json!({"rules": [{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": filters}]})
    };
    let setting = |name: &str| json!({"name": name});
    for (operation, input) in [
        // Required.
        ("DescribeImages", json!({})),
        ("DescribeImages", json!({"repositoryName": null})),
        ("PutImageTagMutability", app.clone()),
        ("PutImageTagMutability", filters(json!([{"filterType": "WILDCARD"}]))),
        ("TagResource", json!({"resourceArn": "arn", "tags": [{"Key": "k"}]})),
        // Least and greatest length.
        ("GetAccountSetting", setting("")),
        ("GetAccountSetting", setting(&"x".repeat(65))),
        ("PutImageTagMutability", filters(json!([filter(&"x".repeat(129))]))),
        ("PutRegistryScanningConfiguration", scan_rule(&"x".repeat(256))),
        ("BatchGetImage", ids(json!([{"imageTag": ""}]))),
        ("BatchGetImage", ids(json!([{"imageTag": "x".repeat(301)}]))),
        // Pattern.
        ("DescribeImages", json!({"repositoryName": "App"})),
        ("DescribeImages", with(app.clone(), json!({"registryId": "12345678901"}))),
        ("DescribeImages", with(app.clone(), json!({"registryId": "1234567890123"}))),
        ("PutImageTagMutability", filters(json!([filter("a b")]))),
        ("PutRegistryScanningConfiguration", scan_rule("A")),
        (
            "CompleteLayerUpload",
            with(app.clone(), json!({"uploadId": "x", "layerDigests": ["sha256:0"]})),
        ),
        ("GetDownloadUrlForLayer", with(app.clone(), json!({"layerDigest": "sha256"}))),
        // Enumeration.
        ("DescribeImages", with(app.clone(), json!({"filter": {"tagStatus": "tagged"}}))),
        ("PutImageTagMutability", with(app.clone(), json!({"imageTagMutability": "NEVER"}))),
        // Range.
        ("DescribeImages", with(app.clone(), json!({"maxResults": 0}))),
        ("DescribeImages", with(app.clone(), json!({"maxResults": 1001}))),
        ("DescribeImages", with(app.clone(), json!({"maxResults": -1}))),
        // Least and greatest number of entries.
        ("BatchGetImage", ids(json!([]))),
        ("PutImageTagMutability", filters(json!([]))),
        ("PutImageTagMutability", filters(vec![filter("x"); 6].into())),
        ("GetAuthorizationToken", json!({"registryIds": []})),
        ("BatchGetRepositoryScanningConfiguration", json!({"repositoryNames": vec!["ab"; 26]})),
    ] {
        let code = refused(&aws, operation, input.clone());
        assert_eq!(code, "InvalidParameterException", "{operation} {input}");
    }
    for input in [
        with(app.clone(), json!({"maxResults": 1})),
        with(app.clone(), json!({"maxResults": 1000})),
        with(app.clone(), json!({"registryId": "123456789012"})),
        with(app.clone(), json!({"maxResults": null, "filter": null})),
        with(app.clone(), json!({"aMemberOfAnotherTime": true})),
    ] {
        ok(&aws, "DescribeImages", input);
    }
    ok(&aws, "PutRegistryScanningConfiguration", scan_rule(&"x".repeat(255)));
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
#[test]
fn a_value_of_another_type_cannot_be_read() {
    let aws = aws();
    let app = json!({"repositoryName": "app"});
    for (operation, input) in [
        ("DescribeImages", json!([])),
        ("DescribeImages", json!({"repositoryName": 1})),
        ("DescribeImages", json!({"repositoryName": ["app"]})),
        ("DescribeImages", with(app.clone(), json!({"maxResults": "10"}))),
        ("DescribeImages", with(app.clone(), json!({"maxResults": 1.5}))),
        ("DescribeImages", with(app.clone(), json!({"imageIds": {}}))),
        ("DescribeImages", with(app.clone(), json!({"imageIds": ["v1"]}))),
        ("DescribeImages", with(app.clone(), json!({"imageIds": [null]}))),
        ("DescribeImages", with(app.clone(), json!({"filter": "TAGGED"}))),
        ("DescribeImages", with(app.clone(), json!({"filter": {"tagStatus": 1}}))),
        ("DeleteRepository", with(app.clone(), json!({"force": "true"}))),
        (
            "UploadLayerPart",
            with(
                app.clone(),
                json!({
                    "uploadId": "00000000-0000-4000-8000-000000000000",
                    "partFirstByte": 0,
                    "partLastByte": 0,
                    "layerPartBlob": "not base64",
                }),
            ),
        ),
    ] {
        let code = refused(&aws, operation, input.clone());
        assert_eq!(code, "SerializationException", "{operation} {input}");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
#[test]
fn an_unsupported_operation_is_reported_as_unknown() {
    let aws = aws();
    for operation in
        ["ValidatePullThroughCacheRule", "PutSigningConfiguration", "NoSuchOperation", ""]
    {
        assert_eq!(refused(&aws, operation, json!({})), "UnknownOperationException", "{operation}");
    }
}

// Model: InvalidParameterException
#[test]
fn the_message_names_the_parameter_and_the_constraint() {
    for (operation, input, expected) in [
        (
            "DescribeImages",
            json!({}),
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must not be null'",
        ),
        (
            "DescribeImages",
            json!({"repositoryName": "app", "maxResults": 1001}),
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must have value less than or equal to 1000'",
        ),
        (
            "DescribeImages",
            json!({"repositoryName": "app", "imageIds": [{}, {"imageTag": ""}]}),
            "Invalid parameter at 'imageIds.2.member.imageTag' failed to satisfy constraint: 'must have length greater than or equal to 1'",
        ),
    ] {
        assert_eq!(message(operation, &input), expected);
    }
}
