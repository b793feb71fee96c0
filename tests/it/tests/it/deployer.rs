//! The policies of `infra/sam/deployer-policy.yaml` allow every call that `sam deploy` and
//! CloudFormation make for the stack. They deny the same calls for another stack, and they allow no
//! action that none of these calls needs.
//!
//! [`HANDLER_CALLS`] lists the calls of CloudFormation for each type of resource. The source is the
//! `handlers` section of each type's schema in the CloudFormation registry, as of March 2026, without
//! the permissions for features that the template does not use (VPCs, file systems, Kinesis, layers).
//! A comment marks the types whose schema has no such section in public; their calls come from the API
//! reference. [`sam_calls`] lists the calls of the SAM CLI, from the source of version 1.167.

mod calls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use local_aws::policy::{Caller, Decision, Document, Request};
use local_aws::template::{Identity, Stack, Template};
use local_aws::world::evaluate;
use local_aws::{ACCOUNT, REGION};
use serde_json::Value;

use self::calls::{Calls, HANDLER_CALLS, KEY, ROLE, sam_calls};

static DEPLOYER_TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    Template::read(include_str!("../../../../infra/sam/deployer-policy.yaml")).unwrap()
});

const POLICIES: [&str; 3] = ["DeployerPolicy", "FunctionResourcesPolicy", "AlertResourcesPolicy"];

/// Every resource of the template exists with these parameters.
const EVERYTHING: &[(&str, &str)] = &[
    ("AlertEmail", "team@example.com"),
    (
        "SlackWebhookSecretArn",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-warden/slack-AbCdEf",
    ),
    (
        "GitHubOidcProviderArn",
        "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
    ),
    ("GitHubRepository", "octo-org/images"),
    (
        "EksOidcProviderArn",
        "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF",
    ),
    ("EksServiceAccounts", "ci/kaniko"),
    (
        "ScannerRoleArns",
        "arn:aws:iam::123456789012:role/a,arn:aws:iam::123456789012:role/b,arn:aws:iam::123456789012:role/c,\
         arn:aws:iam::123456789012:role/d,arn:aws:iam::123456789012:role/e",
    ),
];

/// The actions that IAM cannot limit to one stack, because they support no resource-level
/// permissions and no condition that names the stack.
const UNLIMITED: [&str; 10] = [
    "ecr:DeregisterPullTimeUpdateExclusion",
    "ecr:ListPullTimeUpdateExclusions",
    "ecr:RegisterPullTimeUpdateExclusion",
    "logs:DeleteQueryDefinition",
    "logs:DescribeLogGroups",
    "logs:DescribeQueryDefinitions",
    "logs:PutQueryDefinition",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
];

/// The values of the placeholders.
#[derive(Clone, Copy)]
struct Names<'a> {
    stack: &'a str,
    sam_stack: &'a str,
    bucket_account: &'a str,
    transform: &'a str,
    include: &'a str,
    parameter: &'a str,
    dashboard: &'a str,
    /// The service that calls on behalf of the deployer.
    called_via: &'a str,
}

const OURS: Names<'_> = Names {
    stack: "ecr-warden",
    sam_stack: "aws-sam-cli-managed-default",
    bucket_account: ACCOUNT,
    transform: "Serverless-2016-10-31",
    include: "Include",
    parameter: "CFN-AcceptedRisks-0A1B2C3D4E5F",
    dashboard: "Dashboard",
    called_via: "cloudformation.amazonaws.com",
};

const ANOTHER_STACK: Names<'_> = Names {
    stack: "payments",
    sam_stack: "aws-sam-cli-managed-dev",
    bucket_account: "210987654321",
    transform: "Macro",
    include: "OtherMacro",
    parameter: "CFN-Password-0A1B2C3D4E5F",
    dashboard: "Payments",
    called_via: "athena.amazonaws.com",
};

impl Names<'_> {
    fn fill(&self, text: &str, id: &str) -> String {
        [
            ("{region}", REGION),
            ("{account}", ACCOUNT),
            ("{stack}", self.stack),
            ("{samstack}", self.sam_stack),
            ("{bucketaccount}", self.bucket_account),
            ("{transform}", self.transform),
            ("{include}", self.include),
            ("{parameter}", self.parameter),
            ("{dashboard}", self.dashboard),
            ("{cloudformation}", self.called_via),
            ("{id}", id),
        ]
        .iter()
        .fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }

    fn requests(&self, calls: Calls, id: &str) -> Vec<Request> {
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/deployer");
        let context: BTreeMap<String, Vec<String>> = calls
            .context
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![self.fill(value, id)]))
            .collect();
        let request = |action: &&str| Request {
            caller: Caller::Role { arn: arn.clone(), session: "deployer".to_owned() },
            action: (*action).to_owned(),
            resource: self.fill(calls.resource, id),
            context: context.clone(),
        };
        calls.actions.iter().map(request).collect()
    }

    /// Every request of a deployment.
    fn all_requests(&self) -> BTreeSet<Request> {
        let mut requests: BTreeSet<Request> =
            sam_calls().into_iter().flat_map(|calls| self.requests(calls, "")).collect();
        for (id, kind) in deployed_resources() {
            let calls = find(HANDLER_CALLS, &kind);
            requests.extend(calls.iter().flat_map(|calls| self.requests(*calls, &id)));
        }
        requests
    }
}

/// The types of the resources that the SAM transform generates for an event of a function.
const EVENT_RESOURCES: &[(&str, &[&str])] = &[
    ("EventBridgeRule", &["AWS::Events::Rule", "AWS::Lambda::Permission"]),
    ("Schedule", &["AWS::Events::Rule", "AWS::Lambda::Permission"]),
    ("SNS", &["AWS::SNS::Subscription", "AWS::Lambda::Permission"]),
    ("SQS", &["AWS::Lambda::EventSourceMapping"]),
];

/// The entry of a type, which must be listed.
fn find<T>(table: &'static [(&str, &'static [T])], kind: &str) -> &'static [T] {
    let found = table.iter().find(|(listed, _)| *listed == kind);
    assert!(found.is_some(), "{kind} is not listed in {}", file!());
    found.unwrap().1
}

/// The logical IDs and the types of all resources, as the SAM transform leaves them.
fn deployed_resources() -> Vec<(String, String)> {
    let stack = evaluate(EVERYTHING).unwrap();
    let mut resources = Vec::new();
    for id in stack.resources().unwrap() {
        let kind = stack.resource_type(id).unwrap();
        if kind != "AWS::Serverless::Function" {
            resources.push((id.to_owned(), kind.to_owned()));
            continue;
        }
        let properties = stack.properties(id).unwrap();
        resources.push((id.to_owned(), "AWS::Lambda::Function".to_owned()));
        if properties.get("EventInvokeConfig").is_some() {
            let config = "AWS::Lambda::EventInvokeConfig".to_owned();
            resources.push((format!("{id}EventInvokeConfig"), config));
        }
        for (name, event) in properties["Events"].as_object().into_iter().flatten() {
            let generated = find(EVENT_RESOURCES, event["Type"].as_str().unwrap());
            resources
                .extend(generated.iter().map(|kind| (format!("{id}{name}"), (*kind).to_owned())));
        }
    }
    resources
}

/// The documents of the policies, for a stack of this name.
fn documents(stack_name: &str, attached_to: &str) -> Vec<Value> {
    let parameters = [("StackName", stack_name), ("AttachedTo", attached_to)];
    let parameters =
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: "deploy-ecr-warden".to_owned(),
        id: format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/deploy-ecr-warden/5f2c1a30"),
    };
    let stack = Stack::new(&DEPLOYER_TEMPLATE, identity, &parameters).unwrap();
    let document = |id: &str| stack.properties(id).unwrap()["PolicyDocument"].clone();
    POLICIES.map(document).into()
}

fn policies(attached_to: &str) -> Vec<Document> {
    let documents = documents(OURS.stack, attached_to);
    documents.iter().map(|document| Document::read(document).unwrap()).collect()
}

fn is_allowed(policies: &[Document], request: &Request) -> bool {
    let decisions = policies.iter().map(|policy| policy.decide(request));
    decisions.max() == Some(Decision::Allows)
}

/// The requests that the policies deny, one a line.
fn denied(policies: &[Document], requests: &BTreeSet<Request>) -> Vec<String> {
    let denied = requests.iter().filter(|request| !is_allowed(policies, request));
    denied.map(|request| format!("{} on {}", request.action, request.resource)).collect()
}

#[test]
fn a_deployer_may_make_every_call_of_a_deployment() {
    let denied = denied(&policies("deployer"), &OURS.all_requests());
    assert!(denied.is_empty(), "{denied:#?}");
}

#[test]
fn a_deployer_may_make_no_call_for_another_stack() {
    let requests = ANOTHER_STACK.all_requests();
    let policies = policies("deployer");
    let allowed = requests.iter().filter(|request| is_allowed(&policies, request));
    let allowed: BTreeSet<&str> = allowed.map(|request| request.action.as_str()).collect();
    assert_eq!(allowed, BTreeSet::from(UNLIMITED));
}

#[test]
fn a_deployer_passes_only_the_roles_of_the_stack_to_only_two_services() {
    let pass = |service: &'static str, role: &'static str| {
        let calls = Calls { actions: &["iam:PassRole"], resource: role, context: &[] };
        let mut request = OURS.requests(calls, "").remove(0);
        request.context.insert("iam:passedtoservice".to_owned(), vec![service.to_owned()]);
        is_allowed(&policies("deployer"), &request)
    };
    let ours = "arn:aws:iam::{account}:role/ecr-warden/{stack}-ImagePushRole-0A1B";
    assert!(pass("lambda.amazonaws.com", ours));
    assert!(!pass("ec2.amazonaws.com", ours));
    for other in [
        "arn:aws:iam::{account}:role/Administrator",
        "arn:aws:iam::{account}:role/{stack}-ImagePushRole-0A1B",
        "arn:aws:iam::{account}:role/ecr-warden/payments-Role-0A1B",
    ] {
        assert!(!pass("lambda.amazonaws.com", other), "{other}");
    }
}

#[test]
fn a_deployer_attaches_only_policies_of_the_stack() {
    let attach = |policy: &str| {
        let calls = Calls { actions: &["iam:AttachRolePolicy"], resource: ROLE, context: &[] };
        let mut request = OURS.requests(calls, "GitHubRole").remove(0);
        request.context.insert("iam:policyarn".to_owned(), vec![policy.to_owned()]);
        is_allowed(&policies("deployer"), &request)
    };
    assert!(attach(
        "arn:aws:iam::123456789012:policy/ecr-warden/ecr-warden-us-east-1-5f2c1a30-PushPullPolicy"
    ));
    assert!(!attach("arn:aws:iam::aws:policy/AdministratorAccess"));
}

#[test]
fn only_a_service_role_tags_keys_without_cloudformation_as_the_caller() {
    let by_hand = Calls { actions: &["kms:TagResource"], resource: KEY, context: &[] };
    let by_hand = OURS.requests(by_hand, "").remove(0);
    assert!(!is_allowed(&policies("deployer"), &by_hand));
    assert!(is_allowed(&policies("cloudformation-service-role"), &by_hand));
}

#[test]
fn a_service_role_with_the_resource_policies_may_make_every_call_for_the_resources() {
    let sam: BTreeSet<Request> =
        sam_calls().into_iter().flat_map(|calls| OURS.requests(calls, "")).collect();
    let requests: BTreeSet<Request> = OURS.all_requests().difference(&sam).cloned().collect();
    let policies = policies("cloudformation-service-role");
    let denied = denied(&policies[1..], &requests);
    assert!(denied.is_empty(), "{denied:#?}");
}

#[test]
fn the_policies_allow_no_action_that_no_call_needs() {
    let mut allowed = BTreeSet::new();
    for document in documents(OURS.stack, "deployer") {
        for statement in document["Statement"].as_array().unwrap() {
            assert_eq!(statement["Effect"], "Allow");
            let actions = &statement["Action"];
            let actions =
                actions.as_array().map_or(std::slice::from_ref(actions), Vec::as_slice).iter();
            allowed.extend(actions.map(|action| action.as_str().unwrap().to_owned()));
        }
    }
    let needed: BTreeSet<String> =
        OURS.all_requests().into_iter().map(|request| request.action).collect();
    assert_eq!(allowed, needed);
}

#[test]
fn a_mistake_in_any_statement_denies_a_call_of_a_deployment() {
    let policies = policies("deployer");
    let requests = OURS.all_requests();
    let mut missed = Vec::new();
    for (nth, policy) in policies.iter().enumerate() {
        for (number, statement) in policy.statements.iter().enumerate() {
            let resources =
                statement.resources.as_ref().map_or(0, |resources| resources.patterns.len());
            // Mistake 0 leaves the statement out, and each other mistake makes one resource wrong.
            for mistake in 0..=resources {
                let mut mutant = policies.clone();
                let statements = Arc::make_mut(&mut mutant[nth].statements);
                if mistake == 0 {
                    statements.remove(number);
                } else if let Some(resources) = &mut statements[number].resources {
                    resources.patterns[mistake - 1].push_str("-wrong");
                }
                if denied(&mutant, &requests).is_empty() {
                    missed.push(format!("{} {mistake}", statement.sid));
                }
            }
        }
    }
    assert!(missed.is_empty(), "no call is denied by a mistake in {missed:?}");
}

#[test]
fn each_policy_fits_into_a_managed_policy_with_the_longest_name_of_a_stack() {
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
    for (policy, document) in POLICIES.iter().zip(documents(&"s".repeat(24), "deployer")) {
        let text = document.to_string();
        let size = text.chars().filter(|character| !character.is_whitespace()).count();
        assert!(size <= 6_144, "{policy} has {size} characters");
    }
}
