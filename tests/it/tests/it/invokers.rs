//! The documented service control policy denies invocations and changes of the functions to all
//! callers but the deployer and the AWS services.

use std::collections::BTreeMap;

use local_aws::authorization::{Verdict, judge};
use local_aws::policy::{Caller, Decision, Document, Request};
use local_aws::snippets::snippet;
use local_aws::{ACCOUNT, REGION};
use serde_json::json;

const FUNCTIONS: [&str; 6] = [
    "CustomResourceFunction",
    "ImagePushFunction",
    "ImageSweepFunction",
    "ScanCompleteFunction",
    "SlackNotifierFunction",
    "SweepDispatchFunction",
];
const DEPLOYER: &str = "platform-deployer";
const SCHEDULE: &str = "ecr-warden/ecr-warden-SweepScheduleRole-1ABCDEF";

fn service_control_policy() -> Document {
    let policy = snippet("security/deny-invocation.json").unwrap();
    // <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html>
    assert!(policy.len() < 5_120);
    Document::parse(&policy).unwrap()
}

fn role(name: &str) -> Caller {
    Caller::Role { arn: format!("arn:aws:iam::{ACCOUNT}:role/{name}"), session: "x".to_owned() }
}

fn function(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:ecr-warden-{name}-AbCdEf123456")
}

fn request(caller: Caller, action: &str, resource: String) -> Request {
    let context = match &caller {
        Caller::Role { arn, .. } => {
            vec![("aws:principalarn", arn.clone()), ("aws:principalisawsservice", "false".into())]
        }
        Caller::Service(service) => vec![
            ("aws:principalservicename", service.clone()),
            ("aws:principalisawsservice", "true".into()),
        ],
    };
    let context = context.into_iter().map(|(key, value)| (key.to_owned(), vec![value]));
    let context: BTreeMap<String, Vec<String>> = context.collect();
    Request { caller, action: action.to_owned(), resource, context }
}

#[test]
fn a_role_that_may_invoke_every_function_may_not_invoke_a_function_of_ecr_warden() {
    // The statement of `AWSLambdaRole`.
    let managed = Document::read(&json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": ["*"]},
    ]}));
    let managed = managed.unwrap();
    let policy = service_control_policy();
    for name in FUNCTIONS {
        let forged = request(role("step-functions"), "lambda:InvokeFunction", function(name));
        assert_eq!(judge(&forged, std::slice::from_ref(&managed), &[]), Verdict::Allowed, "{name}");
        let policies = [managed.clone(), policy.clone()];
        assert_eq!(judge(&forged, &policies, &[]), Verdict::DeniedByIdentityPolicy, "{name}");
    }
    let other = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:payments");
    let other = request(role("step-functions"), "lambda:InvokeFunction", other);
    assert_eq!(judge(&other, &[managed, policy], &[]), Verdict::Allowed);
}

#[test]
fn the_deployer_the_schedule_and_the_services_may_invoke() {
    let policy = service_control_policy();
    for service in ["events.amazonaws.com", "sns.amazonaws.com", "lambda.amazonaws.com"] {
        let caller = Caller::Service(service.to_owned());
        let sent = request(caller, "lambda:InvokeFunction", function("ImagePushFunction"));
        assert_eq!(policy.decide(&sent), Decision::NoMatch, "{service}");
    }
    for caller in [DEPLOYER, SCHEDULE] {
        let sent =
            request(role(caller), "lambda:InvokeFunction", function("SweepDispatchFunction"));
        assert_eq!(policy.decide(&sent), Decision::NoMatch, "{caller}");
    }
}

#[test]
fn only_the_deployer_may_change_a_function_or_its_role() {
    let policy = service_control_policy();
    let our_role = || format!("arn:aws:iam::{ACCOUNT}:role/ecr-warden/ecr-warden-ImagePushRole-1A");
    for (action, resource) in [
        ("lambda:UpdateFunctionCode", function("ImagePushFunction")),
        ("lambda:UpdateFunctionConfiguration", function("ImagePushFunction")),
        ("lambda:AddPermission", function("CustomResourceFunction")),
        ("iam:PassRole", our_role()),
        ("iam:PutRolePolicy", our_role()),
        ("iam:AttachRolePolicy", our_role()),
        ("iam:UpdateAssumeRolePolicy", our_role()),
    ] {
        for caller in ["developer", SCHEDULE] {
            let sent = request(role(caller), action, resource.clone());
            assert_eq!(policy.decide(&sent), Decision::Denies, "{caller} {action}");
        }
        let sent = request(role(DEPLOYER), action, resource);
        assert_eq!(policy.decide(&sent), Decision::NoMatch, "{action}");
    }
}
