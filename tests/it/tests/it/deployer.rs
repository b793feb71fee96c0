//! The policies of `infra/sam/deployer-policy.yaml` allow every call that `sam deploy` and
//! CloudFormation make for the stack. They deny the same calls for another stack, and they allow no
//! action that none of these calls needs.
//!
//! [`HANDLER_CALLS`] lists the calls of CloudFormation for each type of resource. The source is the
//! `handlers` section of each type's schema in the CloudFormation registry, as of March 2026, without
//! the permissions for features that the template does not use (VPCs, file systems, Kinesis, layers).
//! A comment marks the types whose schema has no such section in public; their calls come from the API
//! reference. [`sam_calls`] lists the calls of the SAM CLI, from the source of version 1.167.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use local_aws::policy::{Caller, Decision, Document, Request};
use local_aws::template::{Identity, Stack, Template};
use local_aws::world::evaluate;
use local_aws::{ACCOUNT, REGION};
use serde_json::Value;

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
];

/// The actions that IAM cannot limit to one stack, because they support no resource-level
/// permissions and no condition that names the stack.
const UNLIMITED: [&str; 7] = [
    "logs:DeleteQueryDefinition",
    "logs:DescribeLogGroups",
    "logs:DescribeQueryDefinitions",
    "logs:PutQueryDefinition",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
];

const FUNCTION: &str = "arn:aws:lambda:{region}:{account}:function:{stack}-{id}-0A1B2C3D4E5F";
const KEY: &str = "arn:aws:kms:{region}:{account}:key/0a1b2c3d-0000-0000-0000-000000000000";
const LOG_GROUP: &str = "arn:aws:logs:{region}:{account}:log-group:{stack}-{id}-0A1B2C3D4E5F";
const POLICY: &str = "arn:aws:iam::{account}:policy/ecr-warden/{stack}-{id}-0A1B2C3D4E5F";
const QUEUE: &str = "arn:aws:sqs:{region}:{account}:{stack}-{id}-0A1B2C3D4E5F";
const ROLE: &str = "arn:aws:iam::{account}:role/ecr-warden/{stack}-{id}-0A1B2C3D4E5F";
const RULE: &str = "arn:aws:events:{region}:{account}:rule/{stack}-{id}-0A1B2C3D4E5F";
const SCHEDULE: &str = "arn:aws:scheduler:{region}:{account}:schedule/default/{stack}-{id}-0A1B2C";
const TABLE: &str = "arn:aws:dynamodb:{region}:{account}:table/{stack}-{id}-0A1B2C3D4E5F";
const TOPIC: &str = "arn:aws:sns:{region}:{account}:{stack}-AlertTopic-0A1B2C3D4E5F";
const ARTIFACT: &str =
    "arn:aws:s3:::{samstack}-samclisourcebucket-0a1b2c/{stack}/0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const BUCKET: &str = "arn:aws:s3:::{samstack}-samclisourcebucket-0a1b2c";
const STACK_ARN: &str = "arn:aws:cloudformation:{region}:{account}:stack/{stack}/*";
const SAM_STACK_ARN: &str = "arn:aws:cloudformation:{region}:{account}:stack/{samstack}/*";

/// Calls of the same resource. The resource and the values of the context have placeholders.
#[derive(Clone, Copy)]
struct Calls {
    actions: &'static [&'static str],
    resource: &'static str,
    context: &'static [(&'static str, &'static str)],
}

const fn on(resource: &'static str, actions: &'static [&'static str]) -> Calls {
    Calls { actions, resource, context: &[] }
}

impl Calls {
    const fn with(self, context: &'static [(&'static str, &'static str)]) -> Self {
        Self { context, ..self }
    }
}

const DASHBOARD: &[&str] =
    &["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"];
const INVOKE_CUSTOM_RESOURCE: Calls = on(
    "arn:aws:lambda:{region}:{account}:function:{stack}-CustomResourceFunction-0A1B",
    &["lambda:InvokeFunction"],
);

/// The calls of CloudFormation that create, read, update and delete a resource, by its type.
const HANDLER_CALLS: &[(&str, &[Calls])] = &[
    (
        "AWS::IAM::Role",
        &[
            on(
                ROLE,
                &[
                    // Create and read.
                    "iam:CreateRole",
                    "iam:GetRole",
                    "iam:GetRolePolicy",
                    "iam:ListAttachedRolePolicies",
                    "iam:ListRolePolicies",
                    "iam:PutRolePolicy",
                    // Update, and stack tags.
                    "iam:TagRole",
                    "iam:UntagRole",
                    "iam:UpdateAssumeRolePolicy",
                    "iam:UpdateRole",
                    "iam:UpdateRoleDescription",
                    // Delete.
                    "iam:DeleteRole",
                    "iam:DeleteRolePolicy",
                ],
            ),
            on(ROLE, &["iam:AttachRolePolicy", "iam:DetachRolePolicy"]).with(&[(
                "iam:policyarn",
                "arn:aws:iam::{account}:policy/ecr-warden/{stack}-us-east-1-5f2c1a30",
            )]),
        ],
    ),
    // The schema has no public handlers: the calls are those of the API reference.
    (
        "AWS::IAM::ManagedPolicy",
        &[on(
            POLICY,
            &[
                "iam:CreatePolicy",
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:ListEntitiesForPolicy",
                "iam:ListPolicyVersions",
                "iam:CreatePolicyVersion",
                "iam:TagPolicy",
                "iam:UntagPolicy",
                "iam:DeletePolicy",
                "iam:DeletePolicyVersion",
            ],
        )],
    ),
    (
        "AWS::Lambda::Function",
        &[
            on(
                FUNCTION,
                &[
                    "lambda:CreateFunction",
                    "lambda:GetFunction",
                    "lambda:GetFunctionCodeSigningConfig",
                    "lambda:GetFunctionConfiguration",
                    "lambda:GetFunctionRecursionConfig",
                    "lambda:GetFunctionScalingConfig",
                    "lambda:GetRuntimeManagementConfig",
                    "lambda:ListTags",
                    "lambda:TagResource",
                    "lambda:UntagResource",
                    "lambda:UpdateFunctionCode",
                    "lambda:UpdateFunctionConfiguration",
                    "lambda:DeleteFunction",
                ],
            ),
            on(
                "arn:aws:iam::{account}:role/ecr-warden/{stack}-ImagePushRole-0A1B2C",
                &["iam:PassRole"],
            )
            .with(&[("iam:passedtoservice", "lambda.amazonaws.com")]),
            on(ARTIFACT, &["s3:GetObject", "s3:GetObjectVersion"]).with(&[OWN_BUCKET]),
        ],
    ),
    // The schemas of the next two types have no public handlers: the calls are those of the API
    // reference.
    (
        "AWS::Lambda::Permission",
        &[on(
            "arn:aws:lambda:{region}:{account}:function:{stack}-ImagePushFunction-0A1B2C3D4E5F",
            &["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"],
        )],
    ),
    (
        "AWS::Lambda::EventInvokeConfig",
        &[on(
            "arn:aws:lambda:{region}:{account}:function:{stack}-ImagePushFunction-0A1B2C3D4E5F",
            &[
                "lambda:GetFunctionEventInvokeConfig",
                "lambda:PutFunctionEventInvokeConfig",
                "lambda:UpdateFunctionEventInvokeConfig",
                "lambda:DeleteFunctionEventInvokeConfig",
            ],
        )],
    ),
    (
        "AWS::Lambda::EventSourceMapping",
        &[
            on("*", &["lambda:CreateEventSourceMapping"]).with(&[MAPPED_FUNCTION]),
            on(
                "arn:aws:lambda:{region}:{account}:event-source-mapping:0a1b2c3d-0000",
                &[
                    "lambda:GetEventSourceMapping",
                    "lambda:UpdateEventSourceMapping",
                    "lambda:DeleteEventSourceMapping",
                ],
            )
            .with(&[MAPPED_FUNCTION]),
        ],
    ),
    // The schema has no public handlers. The rules here have no targets that need a role.
    (
        "AWS::Events::Rule",
        &[on(
            RULE,
            &[
                "events:DescribeRule",
                "events:ListTagsForResource",
                "events:ListTargetsByRule",
                "events:PutRule",
                "events:PutTargets",
                "events:TagResource",
                "events:UntagResource",
                "events:DeleteRule",
                "events:RemoveTargets",
            ],
        )],
    ),
    (
        "AWS::Scheduler::Schedule",
        &[
            on(
                SCHEDULE,
                &[
                    "scheduler:CreateSchedule",
                    "scheduler:GetSchedule",
                    "scheduler:UpdateSchedule",
                    "scheduler:DeleteSchedule",
                ],
            ),
            on(
                "arn:aws:iam::{account}:role/ecr-warden/{stack}-SweepScheduleRole-0A1B",
                &["iam:PassRole"],
            )
            .with(&[("iam:passedtoservice", "scheduler.amazonaws.com")]),
        ],
    ),
    (
        "AWS::DynamoDB::Table",
        &[on(
            TABLE,
            &[
                "dynamodb:CreateTable",
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeContributorInsights",
                "dynamodb:DescribeKinesisStreamingDestination",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:GetResourcePolicy",
                "dynamodb:ListTagsOfResource",
                "dynamodb:TagResource",
                "dynamodb:UntagResource",
                "dynamodb:UpdateContinuousBackups",
                "dynamodb:UpdateTable",
                "dynamodb:UpdateTimeToLive",
                "dynamodb:DeleteTable",
            ],
        )],
    ),
    (
        "AWS::SQS::Queue",
        &[on(
            QUEUE,
            &[
                "sqs:CreateQueue",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ListQueueTags",
                "sqs:SetQueueAttributes",
                "sqs:TagQueue",
                "sqs:UntagQueue",
                "sqs:DeleteQueue",
            ],
        )],
    ),
    (
        "AWS::SQS::QueuePolicy",
        &[on(
            "arn:aws:sqs:{region}:{account}:{stack}-UndeliveredEvents-0A1B2C3D4E5F",
            &["sqs:SetQueueAttributes"],
        )],
    ),
    (
        "AWS::SNS::Topic",
        &[on(
            TOPIC,
            &[
                "sns:CreateTopic",
                "sns:GetDataProtectionPolicy",
                "sns:GetTopicAttributes",
                "sns:ListSubscriptionsByTopic",
                "sns:ListTagsForResource",
                "sns:SetTopicAttributes",
                "sns:TagResource",
                "sns:UntagResource",
                "sns:DeleteTopic",
            ],
        )],
    ),
    ("AWS::SNS::TopicPolicy", &[on(TOPIC, &["sns:SetTopicAttributes"])]),
    (
        "AWS::SNS::Subscription",
        &[
            on(TOPIC, &["sns:GetTopicAttributes", "sns:Subscribe"]),
            on(
                "*",
                &[
                    "sns:GetSubscriptionAttributes",
                    "sns:SetSubscriptionAttributes",
                    "sns:Unsubscribe",
                ],
            ),
        ],
    ),
    (
        "AWS::KMS::Key",
        &[
            on("*", &["kms:CreateKey"]).with(&[("aws:requesttag/ecr-warden:stack", "{stack}")]),
            on(
                KEY,
                &[
                    "kms:DescribeKey",
                    "kms:DisableKeyRotation",
                    "kms:EnableKeyRotation",
                    "kms:GetKeyPolicy",
                    "kms:GetKeyRotationStatus",
                    "kms:ListResourceTags",
                    "kms:PutKeyPolicy",
                    "kms:ScheduleKeyDeletion",
                    "kms:UpdateKeyDescription",
                ],
            )
            .with(&[("aws:resourcetag/ecr-warden:stack", "{stack}")]),
            on(KEY, &["kms:TagResource", "kms:UntagResource"])
                .with(&[("aws:calledvia", "{cloudformation}")]),
        ],
    ),
    (
        "AWS::SSM::Parameter",
        &[on(
            "arn:aws:ssm:{region}:{account}:parameter/{parameter}",
            &[
                "ssm:AddTagsToResource",
                "ssm:GetParameters",
                "ssm:ListTagsForResource",
                "ssm:PutParameter",
                "ssm:RemoveTagsFromResource",
                "ssm:DeleteParameter",
            ],
        )],
    ),
    // The schema has no public handlers.
    (
        "AWS::CloudWatch::Alarm",
        &[on(
            "arn:aws:cloudwatch:{region}:{account}:alarm:{stack}-{id}-0A1B2C3D4E5F",
            &[
                "cloudwatch:DescribeAlarms",
                "cloudwatch:ListTagsForResource",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
                "cloudwatch:DeleteAlarms",
            ],
        )],
    ),
    // The schema has no public handlers, and the form of a generated name is a guess.
    (
        "AWS::CloudWatch::Dashboard",
        &[
            on("arn:aws:cloudwatch::{account}:dashboard/{stack}-{id}-0A1B2C3D4E5F", DASHBOARD),
            on("arn:aws:cloudwatch::{account}:dashboard/{dashboard}-0A1B2C3D4E5F", DASHBOARD),
        ],
    ),
    (
        "AWS::Logs::LogGroup",
        &[
            on(
                LOG_GROUP,
                &[
                    "logs:CreateLogGroup",
                    "logs:DescribeIndexPolicies",
                    "logs:GetDataProtectionPolicy",
                    "logs:ListTagsForResource",
                    "logs:ListTagsLogGroup",
                    "logs:PutRetentionPolicy",
                    "logs:TagLogGroup",
                    "logs:TagResource",
                    "logs:DeleteRetentionPolicy",
                    "logs:UntagLogGroup",
                    "logs:UntagResource",
                    "logs:DeleteLogGroup",
                ],
            ),
            on(
                "arn:aws:logs:{region}:{account}:log-group::log-stream:",
                &["logs:DescribeLogGroups"],
            ),
        ],
    ),
    (
        "AWS::Logs::QueryDefinition",
        &[on(
            "*",
            &[
                "logs:DescribeQueryDefinitions",
                "logs:PutQueryDefinition",
                "logs:DeleteQueryDefinition",
            ],
        )],
    ),
    // CloudFormation invokes the function that the service token names.
    ("Custom::EcrPullTimeExclusion", &[INVOKE_CUSTOM_RESOURCE]),
    ("Custom::EcrPushPullPolicy", &[INVOKE_CUSTOM_RESOURCE]),
    ("Custom::EcrRepository", &[INVOKE_CUSTOM_RESOURCE]),
];

const OWN_BUCKET: (&str, &str) = ("aws:resourceaccount", "{bucketaccount}");
const MAPPED_FUNCTION: (&str, &str) = (
    "lambda:functionarn",
    "arn:aws:lambda:{region}:{account}:function:{stack}-ScanCompleteFunction-0A1B2C3D4E5F",
);

/// The calls of the SAM CLI itself, for `sam deploy` and `sam delete`.
fn sam_calls() -> Vec<Calls> {
    const MANAGED: &[&str] = &[
        "cloudformation:CreateChangeSet",
        "cloudformation:DescribeChangeSet",
        "cloudformation:DescribeStacks",
        "cloudformation:ExecuteChangeSet",
    ];
    vec![
        on(
            STACK_ARN,
            &[
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplateSummary",
                // `sam deploy --on-failure` and `--tags`.
                "cloudformation:DeleteStack",
                "cloudformation:RollbackStack",
                "cloudformation:TagResource",
                "cloudformation:UntagResource",
                // `sam delete`.
                "cloudformation:GetTemplate",
                "cloudformation:ListChangeSets",
                // `sam list`, the console, and a roll-back that failed.
                "cloudformation:ContinueUpdateRollback",
                "cloudformation:DescribeStackResource",
                "cloudformation:DescribeStackResources",
                "cloudformation:ListStackResources",
            ],
        ),
        on(
            "arn:aws:cloudformation:{region}:{account}:stack/{stack}-0a1b2c3d-CompanionStack/*",
            &["cloudformation:DescribeStacks"],
        ),
        on(
            "arn:aws:cloudformation:{region}:aws:transform/{transform}",
            &["cloudformation:CreateChangeSet"],
        ),
        on(SAM_STACK_ARN, MANAGED),
        // CloudFormation's calls for the bucket of the managed stack.
        on(
            BUCKET,
            &[
                "s3:CreateBucket",
                "s3:GetBucketPolicy",
                "s3:GetBucketPublicAccessBlock",
                "s3:GetBucketTagging",
                "s3:GetBucketVersioning",
                "s3:GetEncryptionConfiguration",
                "s3:PutBucketPolicy",
                "s3:PutBucketPublicAccessBlock",
                "s3:PutBucketTagging",
                "s3:PutBucketVersioning",
                "s3:PutEncryptionConfiguration",
            ],
        )
        .with(&[OWN_BUCKET]),
        on(BUCKET, &["s3:ListBucket"]).with(&[OWN_BUCKET]),
        on(
            ARTIFACT,
            &["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
        )
        .with(&[OWN_BUCKET]),
    ]
}

/// The values of the placeholders.
#[derive(Clone, Copy)]
struct Names<'a> {
    stack: &'a str,
    sam_stack: &'a str,
    bucket_account: &'a str,
    transform: &'a str,
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
    parameter: "CFN-AcceptedRisks-0A1B2C3D4E5F",
    dashboard: "Dashboard",
    called_via: "cloudformation.amazonaws.com",
};

const ANOTHER_STACK: Names<'_> = Names {
    stack: "payments",
    sam_stack: "aws-sam-cli-managed-dev",
    bucket_account: "210987654321",
    transform: "Include",
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
    assert!(attach("arn:aws:iam::123456789012:policy/ecr-warden/ecr-warden-us-east-1-5f2c1a30"));
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
