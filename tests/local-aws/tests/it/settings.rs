//! The settings of a registry: its policy, the account settings, and the pull-time exclusions.

use serde_json::json;

use crate::{NOW, aws, ok, pages, refused};

// Model: RegistryPolicyNotFoundException
#[test]
fn a_registry_has_at_most_one_policy() {
    let aws = aws();
    let missing = "RegistryPolicyNotFoundException";
    assert_eq!(refused(&aws, "GetRegistryPolicy", json!({})), missing);
    assert_eq!(refused(&aws, "DeleteRegistryPolicy", json!({})), missing);
    let bad = json!({"policyText": "{}"});
    assert_eq!(refused(&aws, "PutRegistryPolicy", bad), "InvalidParameterException");
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let expected = json!({"registryId": "123456789012", "policyText": policy});
    assert_eq!(ok(&aws, "PutRegistryPolicy", json!({"policyText": policy})), expected);
    assert_eq!(ok(&aws, "GetRegistryPolicy", json!({})), expected);
    assert_eq!(ok(&aws, "DeleteRegistryPolicy", json!({})), expected);
    assert_eq!(refused(&aws, "GetRegistryPolicy", json!({})), missing);
}

// Model: PutAccountSettingRequest
#[test]
fn an_accounts_settings_have_their_names_and_values() {
    let aws = aws();
    for (name, value) in [
        ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE"),
        ("REGISTRY_POLICY_SCOPE", "V2"),
        ("BLOB_MOUNTING", "ENABLED"),
        ("BLOB_MOUNTING", "DISABLED"),
    ] {
        let set = json!({"name": name, "value": value});
        assert_eq!(ok(&aws, "PutAccountSetting", set.clone()), set);
        assert_eq!(ok(&aws, "GetAccountSetting", json!({"name": name})), set);
        let bad = json!({"name": name, "value": "OTHER"});
        assert_eq!(refused(&aws, "PutAccountSetting", bad), "InvalidParameterException");
    }
    let unknown = json!({"name": "OTHER"});
    assert_eq!(refused(&aws, "GetAccountSetting", unknown), "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
#[test]
fn blobs_are_not_mounted_unless_that_is_set() {
    let setting = ok(&aws(), "GetAccountSetting", json!({"name": "BLOB_MOUNTING"}));
    assert_eq!(setting["value"], "DISABLED");
}

fn role(name: &str) -> serde_json::Value {
    json!({"principalArn": format!("arn:aws:iam::123456789012:role/{name}")})
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-time-update-exclusions-considerations.html
#[test]
fn an_exclusion_is_registered_and_deregistered_once() {
    let aws = aws();
    let scanner = role("path/scanner");
    let registered = ok(&aws, "RegisterPullTimeUpdateExclusion", scanner.clone());
    assert_eq!(registered, crate::with(scanner.clone(), json!({"createdAt": NOW})));
    let again = refused(&aws, "RegisterPullTimeUpdateExclusion", scanner.clone());
    assert_eq!(again, "ExclusionAlreadyExistsException");
    assert_eq!(ok(&aws, "DeregisterPullTimeUpdateExclusion", scanner.clone()), scanner);
    let gone = refused(&aws, "DeregisterPullTimeUpdateExclusion", scanner);
    assert_eq!(gone, "ExclusionNotFoundException");
    let bad = json!({"principalArn": "arn:aws:iam::123456789012:group/x"});
    let code = refused(&aws, "RegisterPullTimeUpdateExclusion", bad);
    assert_eq!(code, "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-time-update-exclusions.html
#[test]
fn there_are_up_to_a_hundred_exclusions_listed_in_pages() {
    let aws = aws();
    for n in 0..100 {
        ok(&aws, "RegisterPullTimeUpdateExclusion", role(&format!("r{n}")));
    }
    let more = refused(&aws, "RegisterPullTimeUpdateExclusion", role("more"));
    assert_eq!(more, "LimitExceededException");
    for (most, expected) in [(json!(null), [100].as_slice()), (json!(60), &[60, 40])] {
        let input = json!({"maxResults": most});
        let pages = pages(&aws, "ListPullTimeUpdateExclusions", &input, "pullTimeUpdateExclusions");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        assert!(pages.concat().contains(&role("r7")["principalArn"]));
    }
    let bad = json!({"nextToken": "not a token"});
    let code = refused(&aws, "ListPullTimeUpdateExclusions", bad);
    assert_eq!(code, "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
#[test]
fn an_authorization_token_is_for_twelve_hours_and_has_aws_for_its_user() {
    let aws = aws();
    let got = ok(&aws, "GetAuthorizationToken", json!({}));
    let data = got["authorizationData"].as_array().unwrap();
    assert_eq!(data.len(), 1);
    assert_eq!(data[0]["expiresAt"], NOW + 12.0 * 3_600.0);
    assert_eq!(data[0]["proxyEndpoint"], "https://123456789012.dkr.ecr.us-east-1.amazonaws.com");
    let token = data[0]["authorizationToken"].as_str().unwrap();
    let token = String::from_utf8(aws_smithy_types::base64::decode(token).unwrap()).unwrap();
    assert!(token.starts_with("AWS:"));
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-pulltimeupdateexclusion.html
#[tokio::test]
async fn cloudformation_creates_no_exclusion_that_the_registry_has_already() {
    let aws = aws();
    let scanner = "arn:aws:iam::123456789012:role/scanner";
    let create = || {
        let properties = json!({"PrincipalArn": scanner});
        let aws = aws.clone();
        async move { aws.make("AWS::ECR::PullTimeUpdateExclusion", "Scanner", &properties).await }
    };
    assert_eq!(create().await.unwrap(), (scanner.to_owned(), json!({})));
    let listed = ok(&aws, "ListPullTimeUpdateExclusions", json!({}));
    assert_eq!(listed["pullTimeUpdateExclusions"], json!([scanner]));
    let again = create().await.unwrap_err().to_string();
    assert!(again.ends_with("already exists"), "{again}");
}
