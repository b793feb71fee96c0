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
        AlertEventBus AWS::Events::EventBus
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
        SweepDispatchLogGroup AWS::Logs::LogGroup
        SweepDispatchRole AWS::IAM::Role
        AlertTopicPolicy AWS::SNS::TopicPolicy
        CustomResourceLogGroup AWS::Logs::LogGroup
        CustomResourceRole AWS::IAM::Role
        CustomResourceFunction AWS::Serverless::Function
        FailedEventsAlarm AWS::CloudWatch::Alarm
        UndeliveredEvents AWS::SQS::Queue
        UndeliveredEventsAlarm AWS::CloudWatch::Alarm
        FailedFindingsAlarm AWS::CloudWatch::Alarm
        FailedSweepsAlarm AWS::CloudWatch::Alarm
        Governance Custom::EcrGovernance
        ImagePushFunction AWS::Serverless::Function
        ScanCompleteFunction AWS::Serverless::Function
        ImageSweepFunction AWS::Serverless::Function
        SweepDispatchFunction AWS::Serverless::Function
        FunctionErrorsAlarm AWS::CloudWatch::Alarm
        FunctionThrottlesAlarm AWS::CloudWatch::Alarm
        SweepScheduleRole AWS::IAM::Role
        SweepDispatchSchedule AWS::Scheduler::Schedule
        SweepsAlarm AWS::CloudWatch::Alarm
        Dashboard AWS::CloudWatch::Dashboard
        DeploymentsRepository Custom::EcrRepository
        DeploymentsPushPullPolicy Custom::EcrPushPullPolicy
        ImagePushPullTimeExclusion AWS::ECR::PullTimeUpdateExclusion
        ImageSweepPullTimeExclusion AWS::ECR::PullTimeUpdateExclusion
        InfrastructureRepository Custom::EcrRepository
        InfrastructurePushPullPolicy Custom::EcrPushPullPolicy
        InspectorFindingRule AWS::Events::Rule
        InspectorFindingsPolicy AWS::SQS::QueuePolicy
        KeepOrRemoveReasonsQuery AWS::Logs::QueryDefinition
        OpenFindingsQuery AWS::Logs::QueryDefinition
        OperatorPolicy AWS::IAM::ManagedPolicy
        PushPullPolicy Custom::EcrPushPullPolicy
        RestorePolicy AWS::IAM::ManagedPolicy
        ScanCompletePullTimeExclusion AWS::ECR::PullTimeUpdateExclusion
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
        let given = ["Arn", "PolicyArn", "QueueName", "RepositoryUri", "Version", "Warnings"]
            .map(|name| (name, text(name)));
        stack.made(id, id, attributes(given));
    }
    let outputs = stack.outputs().unwrap();
    let outputs: Vec<String> =
        outputs.iter().map(|(name, text)| format!("{name}: {text}\n")).collect();
    expect![[r#"
        AcceptedRisksParameter: AcceptedRisks
        AlertEventBusName: AlertEventBus
        AlertTopicArn: AlertTopic
        DashboardUrl: https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/Dashboard
        DeploymentsRepositoryUri: DeploymentsRepository/RepositoryUri
        EcrLoginCommand: aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com
        EcrPushPullPolicyArn: PushPullPolicy/PolicyArn
        GatekeeperAllowedRepos: ["InfrastructureRepository/RepositoryUri:","InfrastructureRepository/RepositoryUri@","DeploymentsRepository/RepositoryUri:","DeploymentsRepository/RepositoryUri@"]
        InfrastructureRepositoryUri: InfrastructureRepository/RepositoryUri
        OperatorPolicyArn: OperatorPolicy
        PolicyVersion: Governance/Version
        PolicyWarnings: Governance/Warnings
        RestorePolicyArn: RestorePolicy
    "#]].assert_eq(&outputs.concat());
}

#[test]
fn our_custom_resource_receives_strings_and_no_key() {
    let template = ours();
    let mut stack = stack(&template, &[("ScanOnPush", "false")]).unwrap();
    stack.made("Governance", "g", attributes([("Version", json!("0123456789abcdef"))]));
    stack.made("CustomResourceFunction", "f", attributes([("Arn", json!("arn:f"))]));
    let sent = as_cloudformation_sends(stack.properties("InfrastructureRepository").unwrap());
    expect![[r#"
        {
          "EncryptionType": "KMS",
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
          "PolicyVersion": "0123456789abcdef",
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
    stack.made("Ledger", "ledger", Map::new());
    let properties = stack.properties("CustomResourceFunction").unwrap();
    expect![[r#"
        {
          "Architectures": [
            "arm64"
          ],
          "CodeUri": "../../functions/custom-resource",
          "Description": "Checks and stores the policy, and provisions the repositories and the push/pull policies.",
          "Environment": {
            "Variables": {
              "LEDGER_TABLE": "ledger",
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
        for id in ["CustomResourceLogGroup", "Ledger"] {
            stack.made(id, id, attributes([("Arn", json!(id))]));
        }
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

/// The statements of a role about images, each with the names of its repositories.
fn rights(role: &str, parameters: &[(&str, &str)]) -> String {
    let template = ours();
    let mut stack = stack(&template, parameters).unwrap();
    for id in [
        "AlertEventBus",
        "AlertKey",
        "AlertTopic",
        "FailedEvents",
        "ImagePushLogGroup",
        "ImageSweepLogGroup",
        "InspectorFindings",
        "Ledger",
        "SweepQueue",
    ] {
        stack.made(id, id, attributes([("Arn", json!(id))]));
    }
    let properties = stack.properties(role).unwrap();
    let statements = properties["Policies"][0]["PolicyDocument"]["Statement"].clone();
    let line = |statement: &Value| {
        let actions = statement["Action"].to_string();
        let resources = statement["Resource"].to_string();
        let resources = resources.replace("arn:aws:ecr:us-east-1:123456789012:repository/", "");
        actions
            .contains("ecr:")
            .then(|| format!("{actions} {}\n", resources.replace(r#","-""#, "")))
    };
    statements.as_array().unwrap().iter().filter_map(line).collect()
}

#[test]
fn our_functions_may_change_images_only_in_the_repositories_of_the_ceiling() {
    expect![[r#"
        ["ecr:BatchGetImage","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] "*"
        ["ecr:DescribePullThroughCacheRules","ecr:DescribeRegistry"] "*"
        ["ecr:BatchDeleteImage","ecr:PutImage","ecr:UpdateImageStorageClass"] ["infrastructure","deployments"]
    "#]].assert_eq(&rights("ImagePushRole", &[]));
    expect![[r#"
        ["ecr:BatchGetImage","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] "*"
        ["ecr:DescribePullThroughCacheRules","ecr:DescribeRegistry"] "*"
        ["ecr:BatchDeleteImage","ecr:PutImage","ecr:UpdateImageStorageClass"] [""]
    "#]].assert_eq(&rights("ImagePushRole", &[("EnforceRepositories", "")]));
    expect![[r#"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] "*"
        ["ecr:DescribePullThroughCacheRules","ecr:DescribeRegistry"] "*"
        ["ecr:BatchDeleteImage","ecr:UpdateImageStorageClass"] ["team-a/*","web"]
    "#]]
        .assert_eq(&rights("ImageSweepRole", &[("EnforceRepositories", "team-a/*, web")]));
    let inspector = [("EnforceRepositories", "team-a/*"), ("InUseSources", "pull-time,inspector")];
    expect![[r#"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy","ecr:ListTagsForResource"] "*"
        ["ecr:GetRegistryScanningConfiguration","inspector2:GetClustersForImage","inspector2:ListCoverage"] "*"
        ["ecr:DescribePullThroughCacheRules","ecr:DescribeRegistry"] "*"
        ["ecr:BatchDeleteImage","ecr:UpdateImageStorageClass"] ["team-a/*"]
    "#]].assert_eq(&rights("ImageSweepRole", &inspector));
}

#[test]
fn our_roles_name_each_of_twenty_patterns() {
    let names: Vec<String> = (1..=20).map(|nth| format!("team-{nth}/*")).collect();
    let rights = rights("ImageSweepRole", &[("EnforceRepositories", &names.join(","))]);
    for name in &names {
        assert!(rights.contains(&format!("{name:?}")), "{name}");
    }
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
        let given = ["Arn", "PolicyArn", "QueueName", "RepositoryUri", "Version"]
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
    let is_one = |id: &&str| stack.resource_type(id).unwrap().starts_with("Custom::");
    let found: Vec<&str> = resources.iter().copied().filter(is_one).collect();
    assert_eq!(found, ["Governance"]);
    stack.made("CustomResourceFunction", "f", attributes([("Arn", json!("arn:f"))]));
    stack.made("Ledger", "ledger", Map::new());
    assert_eq!(stack.properties("Governance").unwrap().get("Repositories"), None);
    stack.made("AlertTopic", "arn:topic", Map::new());
    stack.made("AlertEventBus", "warden-AlertEventBus", Map::new());
    stack.made("AcceptedRisks", "/accepted-risks", Map::new());
    stack.made("Dashboard", "warden-Dashboard", Map::new());
    stack.made("OperatorPolicy", "arn:policy", Map::new());
    stack.made("RestorePolicy", "arn:policy", Map::new());
    let version = attributes([("Version", json!("0123456789abcdef")), ("Warnings", json!("none"))]);
    stack.made("Governance", "governance", version);
    let outputs = stack.outputs().unwrap();
    assert_eq!(
        outputs.keys().collect::<Vec<_>>(),
        [
            "AcceptedRisksParameter",
            "AlertEventBusName",
            "AlertTopicArn",
            "DashboardUrl",
            "EcrLoginCommand",
            "OperatorPolicyArn",
            "PolicyVersion",
            "PolicyWarnings",
            "RestorePolicyArn",
        ]
    );
}

#[test]
fn our_custom_resource_receives_the_exclusions_as_a_list() {
    let template = ours();
    let exclusions = |parameters: &[(&str, &str)]| {
        let mut stack = stack(&template, parameters).unwrap();
        stack.made("CustomResourceFunction", "f", attributes([("Arn", json!("arn:f"))]));
        stack.made("Governance", "g", attributes([("Version", json!("0123456789abcdef"))]));
        let properties = stack.properties("DeploymentsRepository").unwrap();
        properties.get("ImageTagMutabilityExclusionFilters").cloned()
    };
    assert_eq!(exclusions(&[]), None);
    let both = [
        ("DeploymentsTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
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
        ("LifecycleImpactLimit", "-1"),
        ("InfrastructureLifecycleTagCount", "100001"),
        ("InfrastructureLifecycleTagCount", "many"),
        ("PullPrincipals", "123456789012,someone"),
        ("PullPrincipals", "ou-ab12-11111111"),
        ("DeploymentsMutabilityExclusions", "a,b,c,d,e,f"),
        ("DeploymentsMutabilityExclusions", "sha256-*"),
        ("InfrastructureTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
        ("DeploymentsRepositoryName", "infrastructure"),
        ("AlertEmail", "nobody"),
        ("SlackWebhookSecretArn", "https://hooks.slack.com/services/T/B/X"),
        ("SweepSchedule", "daily"),
        ("SweepSchedule", "at(2027-01-15T08:00:00)"),
        ("InUseSources", "pulls"),
        ("EnforceRepositories", "Team-*"),
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
        Parameter 'LifecycleImpactLimit' must be a number not less than 0
        Parameter 'InfrastructureLifecycleTagCount' must be a number not greater than 100000
        Parameter 'InfrastructureLifecycleTagCount' must be a number
        Parameter PullPrincipals failed to satisfy constraint: account IDs, organization IDs, organizational units with their organization (o-.../ou-...), ARNs of IAM roles, and lambda.amazonaws.com, separated by commas
        Parameter PullPrincipals failed to satisfy constraint: account IDs, organization IDs, organizational units with their organization (o-.../ou-...), ARNs of IAM roles, and lambda.amazonaws.com, separated by commas
        Parameter DeploymentsMutabilityExclusions failed to satisfy constraint: at most five wildcards of letters, digits, '.', '_', '-' and '*', separated by commas, without spaces
        Rules.DeploymentsMutabilityExclusionsNeedBoth: DeploymentsMutabilityExclusions and a value WITH_EXCLUSION of DeploymentsTagMutability need each other. Set both, or set DeploymentsTagMutability to MUTABLE or IMMUTABLE and leave DeploymentsMutabilityExclusions empty.
        Rules.InfrastructureMutabilityExclusionsNeedBoth: InfrastructureMutabilityExclusions and a value WITH_EXCLUSION of InfrastructureTagMutability need each other. Set both, or set InfrastructureTagMutability to MUTABLE or IMMUTABLE and leave InfrastructureMutabilityExclusions empty.
        Rules.RepositoriesDiffer: InfrastructureRepositoryName and DeploymentsRepositoryName must differ. Change one of the two names.
        Parameter AlertEmail failed to satisfy constraint: empty, or an e-mail address
        Parameter SlackWebhookSecretArn failed to satisfy constraint: empty, or the full ARN of a secret of this region, with the six characters at its end
        Parameter SweepSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter SweepSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter 'InUseSources' must be one of AllowedValues
        Parameter EnforceRepositories failed to satisfy constraint: at most 20 names of repositories, each of at most 200 characters, with '*' for any text, separated by commas
        Rules.KeyNeedsEncryption: KmsKeyArn needs EnableEncryption=true. Set EnableEncryption=true, or leave KmsKeyArn empty.
    "#]].assert_eq(&said);
}
