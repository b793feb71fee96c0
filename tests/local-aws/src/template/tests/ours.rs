//! The evaluation of the template of this project.

use super::*;

#[test]
fn our_template_creates_each_resource_after_its_dependencies() {
    let template = ours();
    let mut stack = stack(&template, &[]).unwrap();
    let resources = stack.resources().unwrap();
    let types: Vec<String> =
        resources.iter().map(|id| format!("{id} {}\n", stack.resource_type(id).unwrap())).collect();
    expect![[r#"
        AcceptedRisks AWS::SSM::Parameter
        AlertKey AWS::KMS::Key
        AlertTopic AWS::SNS::Topic
        ImagePushLogGroup AWS::Logs::LogGroup
        Ledger AWS::DynamoDB::Table
        FailedEvents AWS::SQS::Queue
        FailedSweeps AWS::SQS::Queue
        SweepQueue AWS::SQS::Queue
        ImagePushRole AWS::IAM::Role
        ScanCompleteLogGroup AWS::Logs::LogGroup
        FailedFindings AWS::SQS::Queue
        InspectorFindings AWS::SQS::Queue
        ScanCompleteRole AWS::IAM::Role
        ImageSweepLogGroup AWS::Logs::LogGroup
        ImageSweepRole AWS::IAM::Role
        AlertTopicPolicy AWS::SNS::TopicPolicy
        CustomResourceLogGroup AWS::Logs::LogGroup
        CustomResourceRole AWS::IAM::Role
        CustomResourceFunction AWS::Serverless::Function
        FailedEventsAlarm AWS::CloudWatch::Alarm
        UndeliveredEvents AWS::SQS::Queue
        UndeliveredEventsAlarm AWS::CloudWatch::Alarm
        FailedFindingsAlarm AWS::CloudWatch::Alarm
        FailedSweepsAlarm AWS::CloudWatch::Alarm
        InfrastructureRepository Custom::EcrRepository
        DeploymentsRepository Custom::EcrRepository
        ImagePushFunction AWS::Serverless::Function
        ScanCompleteFunction AWS::Serverless::Function
        SweepDispatchLogGroup AWS::Logs::LogGroup
        SweepDispatchRole AWS::IAM::Role
        SweepDispatchFunction AWS::Serverless::Function
        ImageSweepFunction AWS::Serverless::Function
        FunctionErrorsAlarm AWS::CloudWatch::Alarm
        FunctionThrottlesAlarm AWS::CloudWatch::Alarm
        SweepScheduleRole AWS::IAM::Role
        SweepDispatchSchedule AWS::Scheduler::Schedule
        SweepsAlarm AWS::CloudWatch::Alarm
        Dashboard AWS::CloudWatch::Dashboard
        DeploymentsPushPullPolicy Custom::EcrPushPullPolicy
        ImagePushPullTimeExclusion AWS::ECR::PullTimeUpdateExclusion
        ImageSweepPullTimeExclusion AWS::ECR::PullTimeUpdateExclusion
        InfrastructurePushPullPolicy Custom::EcrPushPullPolicy
        InspectorFindingRule AWS::Events::Rule
        InspectorFindingsPolicy AWS::SQS::QueuePolicy
        KeepOrRemoveReasonsQuery AWS::Logs::QueryDefinition
        OpenFindingsQuery AWS::Logs::QueryDefinition
        OperatorPolicy AWS::IAM::ManagedPolicy
        PushPullPolicy Custom::EcrPushPullPolicy
        TagViolationsQuery AWS::Logs::QueryDefinition
        UndeliveredEventsPolicy AWS::SQS::QueuePolicy
    "#]]
    .assert_eq(&types.concat());
    let early = stack.properties("PushPullPolicy").unwrap_err();
    expect![[r#"
        Resources.PushPullPolicy.Properties.RepositoryArns.0.Fn::GetAtt: InfrastructureRepository is not made yet"#]]
    .assert_eq(&early.to_string());

    for id in resources {
        stack.properties(id).unwrap();
        let text = |name: &str| json!(format!("{id}/{name}"));
        let given = ["Arn", "Governance", "PolicyArn", "QueueName", "RepositoryUri"]
            .map(|name| (name, text(name)));
        stack.made(id, id, attributes(given));
    }
    let outputs = stack.outputs().unwrap();
    let outputs: Vec<String> =
        outputs.iter().map(|(name, text)| format!("{name}: {text}\n")).collect();
    expect![[r#"
        AcceptedRisksParameter: AcceptedRisks
        AlertTopicArn: AlertTopic
        DashboardUrl: https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/Dashboard
        DeploymentsRepositoryUri: DeploymentsRepository/RepositoryUri
        EcrLoginCommand: aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com
        EcrPushPullPolicyArn: PushPullPolicy/PolicyArn
        GatekeeperAllowedRepos: ["InfrastructureRepository/RepositoryUri:","InfrastructureRepository/RepositoryUri@","DeploymentsRepository/RepositoryUri:","DeploymentsRepository/RepositoryUri@"]
        Governance: [InfrastructureRepository/Governance,DeploymentsRepository/Governance]
        InfrastructureRepositoryUri: InfrastructureRepository/RepositoryUri
        OperatorPolicyArn: OperatorPolicy
    "#]].assert_eq(&outputs.concat());
}

#[test]
fn our_custom_resource_receives_strings_and_no_key() {
    let template = ours();
    let mut stack = stack(&template, &[("ScanOnPush", "false")]).unwrap();
    stack.made("CustomResourceFunction", "f", attributes([("Arn", json!("arn:f"))]));
    let sent = as_cloudformation_sends(stack.properties("InfrastructureRepository").unwrap());
    expect![[r#"
        {
          "EncryptionType": "KMS",
          "Governance": {
            "Retention": {
              "Enforcement": "archive",
              "InUse": "pull-time",
              "MaxRemovePercent": "25",
              "ProtectPulledWithinDays": "30",
              "ProtectTags": "",
              "Untagged": "delete",
              "WhenReplicated": "report"
            },
            "Scan": {
              "Threshold": "HIGH"
            },
            "Tags": {
              "Enforcement": "quarantine",
              "Grammar": "{component}-v{semver}",
              "QuarantineDays": "14"
            }
          },
          "ImageTagMutability": "IMMUTABLE",
          "LifecycleImpactLimit": "50",
          "LifecycleScope": "component",
          "LifecycleTagCount": "20",
          "LifecycleTagPrefixes": [
            "v",
            "prod",
            "staging",
            "dev"
          ],
          "LifecycleUntaggedDays": "7",
          "OnDelete": "retain",
          "OnExisting": "fail",
          "PolicyVersion": "1",
          "PullPrincipals": [
            ""
          ],
          "RepositoryName": "infrastructure",
          "ScanOnPush": "false",
          "ServiceTimeout": "600",
          "ServiceToken": "arn:f"
        }"#]]
    .assert_eq(&format!("{sent:#}"));
}

#[test]
fn our_function_is_merged_with_the_globals() {
    let template = ours();
    let mut stack = stack(&template, &[("Architecture", "arm64")]).unwrap();
    stack.made("CustomResourceRole", "r", attributes([("Arn", json!("arn:r"))]));
    stack.made("CustomResourceLogGroup", "g", Map::new());
    let properties = stack.properties("CustomResourceFunction").unwrap();
    expect![[r#"
        {
          "Architectures": [
            "arm64"
          ],
          "CodeUri": "../../functions/custom-resource",
          "Description": "Provisions the repositories and the push/pull policies.",
          "Environment": {
            "Variables": {
              "STACK_ID": "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/51af3dc0-da77-11e4-872e-1234567db123",
              "URL_SUFFIX": "amazonaws.com"
            }
          },
          "Handler": "bootstrap",
          "LoggingConfig": {
            "LogFormat": "JSON",
            "LogGroup": "g"
          },
          "MemorySize": 256,
          "Role": "arn:r",
          "Runtime": "provided.al2023",
          "Timeout": 300,
          "Tracing": "PassThrough"
        }"#]]
    .assert_eq(&format!("{properties:#}"));
}

#[test]
fn our_role_may_manage_the_policies_that_are_named_after_the_stack() {
    let template = ours();
    let role = |parameters: &[(&str, &str)]| {
        let mut stack = stack(&template, parameters).unwrap();
        stack.made("CustomResourceLogGroup", "g", attributes([("Arn", json!("arn:g"))]));
        let properties = stack.properties("CustomResourceRole").unwrap();
        let statements = properties["Policies"][0]["PolicyDocument"]["Statement"].clone();
        statements.as_array().unwrap().clone()
    };
    let find = |statements: &[Value], sid: &str| {
        statements.iter().find(|statement| statement["Sid"] == sid).cloned()
    };
    let (plain, roles) =
        (role(&[]), "arn:aws:iam::123456789012:role/a, arn:aws:iam::123456789012:role/b");
    let policy = "arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-51af3dc0-";
    let managed = find(&plain, "ManagePushPullPolicies").unwrap();
    assert_eq!(managed["Resource"], format!("{policy}*PushPullPolicy"));
    assert_eq!(find(&plain, "AttachPushPullPolicy"), None);
    let attach = find(&role(&[("CiCdRoleArns", roles)]), "AttachPushPullPolicy").unwrap();
    assert_eq!(attach["Resource"], json!(roles.split(", ").collect::<Vec<_>>()));
    let attached = &attach["Condition"]["ArnEquals"]["iam:PolicyARN"];
    assert_eq!(*attached, format!("{policy}PushPullPolicy"));
}

#[test]
fn our_role_may_change_a_repository_only_if_its_policy_is_enforced() {
    let template = ours();
    let changes = |parameters: &[(&str, &str)]| -> String {
        let mut stack = stack(&template, parameters).unwrap();
        for id in
            ["AlertKey", "AlertTopic", "FailedEvents", "ImagePushLogGroup", "Ledger", "SweepQueue"]
        {
            stack.made(id, id, attributes([("Arn", json!(id))]));
        }
        let properties = stack.properties("ImagePushRole").unwrap();
        let statements = &properties["Policies"][0]["PolicyDocument"]["Statement"];
        let line = |statement: &Value| {
            let name = statement["Resource"].as_str()?.rsplit('/').next()?.to_owned();
            let changes = statement["Action"].to_string();
            let is_change = ["Delete", "Put", "Update"].iter().any(|verb| changes.contains(verb));
            (is_change && changes.contains("ecr:")).then(|| format!("{name} {changes}\n"))
        };
        statements.as_array().unwrap().iter().filter_map(line).collect()
    };
    expect![[r#"
        infrastructure ["ecr:BatchDeleteImage","ecr:GetLifecyclePolicy","ecr:PutImage"]
    "#]]
    .assert_eq(&changes(&[]));
    expect![[r#"
        deployments ["ecr:GetLifecyclePolicy","ecr:UpdateImageStorageClass"]
    "#]]
    .assert_eq(&changes(&[
        ("InfrastructureTagEnforcement", "report"),
        ("DeploymentsTagEnforcement", "archive"),
    ]));
    expect![""].assert_eq(&changes(&[("CreateEcrRepositories", "false")]));
}

#[test]
fn our_sweep_may_do_only_what_its_parameters_ask_for() {
    let template = ours();
    // The permissions beyond those that the role has with every parameter.
    let rights = |parameters: &[(&str, &str)]| -> String {
        let mut stack = stack(&template, parameters).unwrap();
        for id in
            ["AlertKey", "AlertTopic", "FailedEvents", "ImageSweepLogGroup", "Ledger", "SweepQueue"]
        {
            stack.made(id, id, attributes([("Arn", json!(id))]));
        }
        let properties = stack.properties("ImageSweepRole").unwrap();
        let statements = properties["Policies"][0]["PolicyDocument"]["Statement"].clone();
        let line = |statement: &Value| {
            let resources = statement["Resource"].to_string();
            let resources = resources.replace("arn:aws:ecr:us-east-1:123456789012:repository/", "");
            format!("{} {resources}\n", statement["Action"])
        };
        statements.as_array().unwrap().iter().skip(5).map(line).collect()
    };
    expect![[r#"
        "dynamodb:BatchWriteItem" "Ledger"
        "sqs:SendMessage" "FailedEvents"
        ["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"] "SweepQueue"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:DescribeRegistry" "*"
        "ecr:UpdateImageStorageClass" ["infrastructure","deployments"]
        "ecr:BatchDeleteImage" ["infrastructure","deployments"]
    "#]].assert_eq(&rights(&[]));
    expect![[r#"
        "dynamodb:BatchWriteItem" "Ledger"
        "sqs:SendMessage" "FailedEvents"
        ["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"] "SweepQueue"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        ["ecr:GetRegistryScanningConfiguration","inspector2:GetClustersForImage","inspector2:ListCoverage"] "*"
    "#]]
        .assert_eq(&rights(&[("CleanupEnforcement", "report"), ("InUseSource", "inspector")]));
    expect![[r#"
        "dynamodb:BatchWriteItem" "Ledger"
        "sqs:SendMessage" "FailedEvents"
        ["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"] "SweepQueue"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:DescribeRegistry" "*"
        "ecr:BatchDeleteImage" ["infrastructure","deployments"]
    "#]].assert_eq(&rights(&[
        ("CleanupEnforcement", "delete"),
        ("InfrastructureTagEnforcement", "report"),
    ]));
    expect![[r#"
        "dynamodb:BatchWriteItem" "Ledger"
        "sqs:SendMessage" "FailedEvents"
        ["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"] "SweepQueue"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:DescribeRegistry" "*"
        "ecr:UpdateImageStorageClass" ["infrastructure","deployments"]
        "ecr:UpdateImageStorageClass" "infrastructure"
        "ecr:BatchDeleteImage" ["infrastructure","deployments"]
    "#]].assert_eq(&rights(&[
        ("DeploymentsTagMutability", "IMMUTABLE"),
        ("DeploymentsTagEnforcement", "quarantine"),
        ("InfrastructureTagEnforcement", "archive"),
    ]));
    expect![[r#"
        "sqs:SendMessage" "FailedEvents"
        ["sqs:DeleteMessage","sqs:GetQueueAttributes","sqs:ReceiveMessage"] "SweepQueue"
    "#]]
    .assert_eq(&rights(&[("CreateEcrRepositories", "false"), ("InUseSource", "inspector")]));
}

#[test]
fn our_schedule_starts_the_rounds_and_no_sweep() {
    let template = ours();
    let mut stack = stack(&template, &[("SweepSchedule", "cron(0 3 * * ? *)")]).unwrap();
    for id in ["SweepDispatchFunction", "SweepScheduleRole", "UndeliveredEvents"] {
        stack.made(id, id, attributes([("Arn", json!(id))]));
    }
    let schedule = stack.properties("SweepDispatchSchedule").unwrap();
    assert_eq!(schedule["ScheduleExpression"], "cron(0 3 * * ? *)");
    assert_eq!(schedule["Target"]["Arn"], "SweepDispatchFunction");
    let schedules = stack.resources().unwrap().into_iter();
    let kind = |id: &&str| stack.resource_type(id).unwrap() == "AWS::Scheduler::Schedule";
    assert_eq!(schedules.filter(kind).collect::<Vec<_>>(), ["SweepDispatchSchedule"]);
}

#[test]
fn our_queue_hides_a_message_for_six_times_the_timeout_of_the_sweep() {
    let template = ours();
    let mut stack = stack(&template, &[]).unwrap();
    let ids = stack.resources().unwrap();
    for id in ids {
        stack.properties(id).unwrap();
        let text = |name: &str| json!(format!("{id}/{name}"));
        let given = ["Arn", "Governance", "PolicyArn", "QueueName", "RepositoryUri"]
            .map(|name| (name, text(name)));
        stack.made(id, id, attributes(given));
    }
    let [queue, sweep] =
        ["SweepQueue", "ImageSweepFunction"].map(|id| stack.properties(id).unwrap());
    let timeout = sweep["Timeout"].as_u64().unwrap();
    assert_eq!(queue["VisibilityTimeout"].as_u64(), Some(6 * timeout));
    assert_eq!(queue["RedrivePolicy"]["deadLetterTargetArn"], "FailedSweeps/Arn");
    // The next round, a day later, queues a repository again.
    let attempts = queue["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap();
    let retention = queue["MessageRetentionPeriod"].as_u64().unwrap();
    assert!(retention == 86_400 && attempts * 6 * timeout < retention);
    let source = &sweep["Events"]["Queued"]["Properties"];
    assert_eq!((&source["Queue"], &source["BatchSize"]), (&json!("SweepQueue/Arn"), &json!(1)));
}

#[test]
fn without_repositories_our_template_has_nothing_for_them() {
    let template = ours();
    let mut stack = stack(&template, &[("CreateEcrRepositories", "false")]).unwrap();
    let resources = stack.resources().unwrap();
    let types = ["Custom::", "AWS::Scheduler::"];
    let is_one =
        |id: &&str| types.iter().any(|of| stack.resource_type(id).unwrap().starts_with(of));
    assert_eq!(resources.iter().copied().find(is_one), None);
    stack.made("AlertTopic", "arn:topic", Map::new());
    stack.made("AcceptedRisks", "/accepted-risks", Map::new());
    stack.made("Dashboard", "warden-Dashboard", Map::new());
    let outputs = stack.outputs().unwrap();
    assert_eq!(
        outputs.keys().collect::<Vec<_>>(),
        [
            "AcceptedRisksParameter",
            "AlertTopicArn",
            "DashboardUrl",
            "EcrLoginCommand",
            "Governance"
        ]
    );
    assert_eq!(outputs["Governance"], "[]");
}

#[test]
fn our_custom_resource_receives_the_exclusions_as_a_list() {
    let template = ours();
    let exclusions = |parameters: &[(&str, &str)]| {
        let mut stack = stack(&template, parameters).unwrap();
        stack.made("CustomResourceFunction", "f", attributes([("Arn", json!("arn:f"))]));
        let properties = stack.properties("DeploymentsRepository").unwrap();
        properties.get("ImageTagMutabilityExclusionFilters").cloned()
    };
    assert_eq!(exclusions(&[]), None);
    let both = [
        ("DeploymentsTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
        ("DeploymentsTagEnforcement", "quarantine"),
        ("DeploymentsMutabilityExclusions", "sha256-*,*-dev"),
    ];
    assert_eq!(exclusions(&both), Some(json!(["sha256-*", "*-dev"])));
}

#[test]
fn our_template_refuses_what_its_parameters_and_rules_do() {
    let (template, mut said) = (ours(), String::new());
    for given in [
        ("Nme", "x"),
        ("InfrastructureTagMutability", "mutable"),
        ("InfrastructureRepositoryName", "UPPER"),
        ("InfrastructureTagGrammar", ""),
        ("LifecycleImpactLimit", "-1"),
        ("InfrastructureLifecycleTagCount", "100001"),
        ("InfrastructureLifecycleTagCount", "many"),
        ("PullPrincipals", "123456789012,someone"),
        ("PullPrincipals", "ou-ab12-11111111"),
        ("DeploymentsMutabilityExclusions", "a,b,c,d,e,f"),
        ("DeploymentsMutabilityExclusions", "sha256-*"),
        ("InfrastructureTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
        ("DeploymentsRepositoryName", "infrastructure"),
        ("InfrastructureTagMutability", "MUTABLE"),
        ("DeploymentsTagEnforcement", "quarantine"),
        ("RepositoryNamePatterns", "Team-*"),
        ("AlertEmail", "nobody"),
        ("AlertSeverityThreshold", "UNTRIAGED"),
        ("SlackWebhookSecretArn", "https://hooks.slack.com/services/T/B/X"),
        ("QuarantineDays", "0"),
        ("CleanupEnforcement", "quarantine"),
        ("SweepSchedule", "daily"),
        ("SweepSchedule", "at(2027-01-15T08:00:00)"),
        ("ProtectTags", "prod/*"),
        ("ProtectPulledWithinDays", "0"),
        ("MaxRemovePercent", "101"),
        ("InUseSource", "pulls"),
    ] {
        said += &format!("{}\n", stack(&template, &[given]).unwrap_err());
    }
    let key = ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/a");
    stack(&template, &[key]).unwrap();
    said += &format!("{}\n", stack(&template, &[key, ("EnableEncryption", "false")]).unwrap_err());
    expect![[r#"
        Parameters: [Nme] do not exist in the template
        Parameter 'InfrastructureTagMutability' must be one of AllowedValues
        Parameter InfrastructureRepositoryName failed to satisfy constraint: lower-case letters and digits, joined by '.', '_', '-' and '/'
        Parameter 'InfrastructureTagGrammar' must contain at least 1 characters
        Parameter 'LifecycleImpactLimit' must be a number not less than 0
        Parameter 'InfrastructureLifecycleTagCount' must be a number not greater than 100000
        Parameter 'InfrastructureLifecycleTagCount' must be a number
        Parameter PullPrincipals failed to satisfy constraint: account IDs, organization IDs, organizational units with their organization (o-.../ou-...), ARNs of IAM roles, and lambda.amazonaws.com, separated by commas
        Parameter PullPrincipals failed to satisfy constraint: account IDs, organization IDs, organizational units with their organization (o-.../ou-...), ARNs of IAM roles, and lambda.amazonaws.com, separated by commas
        Parameter DeploymentsMutabilityExclusions failed to satisfy constraint: at most five wildcards of letters, digits, '.', '_', '-' and '*', separated by commas, without spaces
        Rules.DeploymentsMutabilityExclusionsNeedBoth: DeploymentsMutabilityExclusions and a value WITH_EXCLUSION of DeploymentsTagMutability need each other. Set both, or set DeploymentsTagMutability to MUTABLE or IMMUTABLE and leave DeploymentsMutabilityExclusions empty.
        Rules.InfrastructureMutabilityExclusionsNeedBoth: InfrastructureMutabilityExclusions and a value WITH_EXCLUSION of InfrastructureTagMutability need each other. Set both, or set InfrastructureTagMutability to MUTABLE or IMMUTABLE and leave InfrastructureMutabilityExclusions empty.
        Rules.RepositoriesDiffer: InfrastructureRepositoryName and DeploymentsRepositoryName must differ. Change one of the two names.
        Rules.InfrastructureQuarantineNeedsImmutableTags: InfrastructureTagEnforcement=quarantine needs tags that cannot move, because a mutable tag could move to another image before the function removes it. Set InfrastructureTagMutability=IMMUTABLE or a value WITH_EXCLUSION, or use report or archive.
        Rules.DeploymentsQuarantineNeedsImmutableTags: DeploymentsTagEnforcement=quarantine needs tags that cannot move, because a mutable tag could move to another image before the function removes it. Set DeploymentsTagMutability=IMMUTABLE or a value WITH_EXCLUSION, or use report or archive.
        Parameter RepositoryNamePatterns failed to satisfy constraint: lower-case letters, digits, '.', '_', '-', '/' and '*', separated by spaces
        Parameter AlertEmail failed to satisfy constraint: empty, or an e-mail address
        Parameter 'AlertSeverityThreshold' must be one of AllowedValues
        Parameter SlackWebhookSecretArn failed to satisfy constraint: empty, or the full ARN of a secret of this region, with the six characters at its end
        Parameter 'QuarantineDays' must be a number not less than 1
        Parameter 'CleanupEnforcement' must be one of AllowedValues
        Parameter SweepSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter SweepSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter ProtectTags failed to satisfy constraint: letters, digits, '.', '_', '-' and '*', separated by spaces
        Parameter 'ProtectPulledWithinDays' must be a number not less than 1
        Parameter 'MaxRemovePercent' must be a number not greater than 100
        Parameter 'InUseSource' must be one of AllowedValues
        Rules.KeyNeedsEncryption: KmsKeyArn needs EnableEncryption=true. Set EnableEncryption=true, or leave KmsKeyArn empty.
    "#]].assert_eq(&said);
}
