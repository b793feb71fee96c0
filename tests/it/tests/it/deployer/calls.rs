//! The calls that CloudFormation and the SAM CLI make for a deployment.

pub(super) const FUNCTION: &str =
    "arn:aws:lambda:{region}:{account}:function:{stack}-{id}-0A1B2C3D4E5F";
pub(super) const KEY: &str =
    "arn:aws:kms:{region}:{account}:key/0a1b2c3d-0000-0000-0000-000000000000";
pub(super) const LOG_GROUP: &str =
    "arn:aws:logs:{region}:{account}:log-group:{stack}-{id}-0A1B2C3D4E5F";
pub(super) const POLICY: &str =
    "arn:aws:iam::{account}:policy/ecr-warden/{stack}-{id}-0A1B2C3D4E5F";
pub(super) const QUEUE: &str = "arn:aws:sqs:{region}:{account}:{stack}-{id}-0A1B2C3D4E5F";
pub(super) const ROLE: &str = "arn:aws:iam::{account}:role/ecr-warden/{stack}-{id}-0A1B2C3D4E5F";
pub(super) const RULE: &str = "arn:aws:events:{region}:{account}:rule/{stack}-{id}-0A1B2C3D4E5F";
pub(super) const SCHEDULE: &str =
    "arn:aws:scheduler:{region}:{account}:schedule/default/{stack}-{id}-0A1B2C";
pub(super) const TABLE: &str =
    "arn:aws:dynamodb:{region}:{account}:table/{stack}-{id}-0A1B2C3D4E5F";
pub(super) const TOPIC: &str = "arn:aws:sns:{region}:{account}:{stack}-AlertTopic-0A1B2C3D4E5F";
pub(super) const ARTIFACT: &str =
    "arn:aws:s3:::{samstack}-samclisourcebucket-0a1b2c/{stack}/0a1b2c3d4e5f60718293a4b5c6d7e8f9";
pub(super) const BUCKET: &str = "arn:aws:s3:::{samstack}-samclisourcebucket-0a1b2c";
pub(super) const STACK_ARN: &str = "arn:aws:cloudformation:{region}:{account}:stack/{stack}/*";
pub(super) const SAM_STACK_ARN: &str =
    "arn:aws:cloudformation:{region}:{account}:stack/{samstack}/*";

/// Calls of the same resource. The resource and the values of the context have placeholders.
#[derive(Clone, Copy)]
pub(super) struct Calls {
    pub(super) actions: &'static [&'static str],
    pub(super) resource: &'static str,
    pub(super) context: &'static [(&'static str, &'static str)],
}

pub(super) const fn on(resource: &'static str, actions: &'static [&'static str]) -> Calls {
    Calls { actions, resource, context: &[] }
}

impl Calls {
    const fn with(self, context: &'static [(&'static str, &'static str)]) -> Self {
        Self { context, ..self }
    }
}

pub(super) const DASHBOARD: &[&str] =
    &["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"];
pub(super) const INVOKE_CUSTOM_RESOURCE: Calls = on(
    "arn:aws:lambda:{region}:{account}:function:{stack}-CustomResourceFunction-0A1B",
    &["lambda:InvokeFunction"],
);

/// The calls of CloudFormation that create, read, update and delete a resource, by its type.
pub(super) const HANDLER_CALLS: &[(&str, &[Calls])] = &[
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
                "arn:aws:iam::{account}:policy/ecr-warden/{stack}-us-east-1-5f2c1a30-PushPullPolicy",
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
                    "lambda:PutFunctionRecursionConfig",
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
        "AWS::Events::EventBus",
        &[on(
            "arn:aws:events:{region}:{account}:event-bus/{stack}-AlertEventBus",
            &[
                "events:CreateEventBus",
                "events:DescribeEventBus",
                "events:ListTagsForResource",
                "events:TagResource",
                "events:UntagResource",
                "events:UpdateEventBus",
                "events:DeleteEventBus",
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
    (
        "AWS::ECR::PullTimeUpdateExclusion",
        &[on(
            "*",
            &[
                "ecr:ListPullTimeUpdateExclusions",
                "ecr:RegisterPullTimeUpdateExclusion",
                "ecr:DeregisterPullTimeUpdateExclusion",
            ],
        )],
    ),
    // CloudFormation invokes the function that the service token names.
    ("Custom::EcrGovernance", &[INVOKE_CUSTOM_RESOURCE]),
    ("Custom::EcrPushPullPolicy", &[INVOKE_CUSTOM_RESOURCE]),
    ("Custom::EcrRepository", &[INVOKE_CUSTOM_RESOURCE]),
];

pub(super) const OWN_BUCKET: (&str, &str) = ("aws:resourceaccount", "{bucketaccount}");
pub(super) const MAPPED_FUNCTION: (&str, &str) = (
    "lambda:functionarn",
    "arn:aws:lambda:{region}:{account}:function:{stack}-ScanCompleteFunction-0A1B2C3D4E5F",
);

/// The calls of the SAM CLI itself, for `sam deploy` and `sam delete`.
pub(super) fn sam_calls() -> Vec<Calls> {
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
        // The template includes the policy.
        on(
            "arn:aws:cloudformation:{region}:aws:transform/{include}",
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
