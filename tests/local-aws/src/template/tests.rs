use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/51af3dc0-da77-11e4-872e-1234567db123";

fn ours() -> Template {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/sam/template.yaml");
    Template::read(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn stack<'t>(template: &'t Template, parameters: &[(&str, &str)]) -> Result<Stack<'t>> {
    let identity = Identity {
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        name: "warden".to_owned(),
        id: STACK_ID.to_owned(),
    };
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Stack::new(template, identity, &parameters.collect())
}

fn attributes<const N: usize>(of: [(&str, Value); N]) -> Map<String, Value> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the properties of the one resource `It` come to, or why they do not.
fn check(text: &str, expected: &Expect) {
    let evaluated = || {
        let template = Template::read(text)?;
        let mut stack = stack(&template, &[])?;
        stack.resources()?;
        stack.made("Other", "other-1", attributes([("Arn", json!("arn:other/a-b"))]));
        stack.properties("It")
    };
    expected.assert_eq(&evaluated().map_or_else(|error| error.to_string(), |it| it.to_string()));
}

/// The same of its property `P`.
fn check_property(property: &str, expected: &Expect) {
    check(
        &format!(
            "Parameters:\n  List: {{ Type: CommaDelimitedList, Default: 'a, b' }}\n\
             Conditions:\n  Yes: !Equals [1, '1']\n  No: !Not [!Condition Yes]\n\
             Resources:\n  Other: {{ Type: T }}\n  It:\n    Type: T\n    \
             Properties:\n      P: {property}\n"
        ),
        expected,
    );
}

#[test]
fn our_template_makes_each_resource_after_what_it_refers_to() {
    let template = ours();
    let mut stack = stack(&template, &[]).unwrap();
    let resources = stack.resources().unwrap();
    let types: Vec<String> =
        resources.iter().map(|id| format!("{id} {}\n", stack.resource_type(id).unwrap())).collect();
    expect![[r#"
        AcceptedRisks AWS::SSM::Parameter
        AlertKey AWS::KMS::Key
        AlertTopic AWS::SNS::Topic
        AlertTopicPolicy AWS::SNS::TopicPolicy
        CustomResourceLogGroup AWS::Logs::LogGroup
        CustomResourceRole AWS::IAM::Role
        CustomResourceFunction AWS::Serverless::Function
        DeploymentsRepository Custom::EcrRepository
        FailedEvents AWS::SQS::Queue
        FailedEventsAlarm AWS::CloudWatch::Alarm
        InfrastructureRepository Custom::EcrRepository
        Ledger AWS::DynamoDB::Table
        UndeliveredEvents AWS::SQS::Queue
        ImagePushLogGroup AWS::Logs::LogGroup
        ImagePushRole AWS::IAM::Role
        ImagePushFunction AWS::Serverless::Function
        ImageSweepLogGroup AWS::Logs::LogGroup
        ImageSweepRole AWS::IAM::Role
        ImageSweepFunction AWS::Serverless::Function
        OurPullsDoNotCount Custom::EcrPullTimeExclusion
        PushPullPolicy Custom::EcrPushPullPolicy
        ScanCompleteLogGroup AWS::Logs::LogGroup
        ScanCompleteRole AWS::IAM::Role
        ScanCompleteFunction AWS::Serverless::Function
        SweepScheduleRole AWS::IAM::Role
        SweepDeploymentsSchedule AWS::Scheduler::Schedule
        SweepInfrastructureSchedule AWS::Scheduler::Schedule
        UndeliveredEventsAlarm AWS::CloudWatch::Alarm
        UndeliveredEventsPolicy AWS::SQS::QueuePolicy
        WhyImageWasKeptOrRemoved AWS::Logs::QueryDefinition
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
        DeploymentsRepositoryUri: DeploymentsRepository/RepositoryUri
        EcrLoginCommand: aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com
        EcrPushPullPolicyArn: PushPullPolicy/PolicyArn
        GatekeeperAllowedRepos: ["InfrastructureRepository/RepositoryUri:","InfrastructureRepository/RepositoryUri@","DeploymentsRepository/RepositoryUri:","DeploymentsRepository/RepositoryUri@"]
        Governance: [InfrastructureRepository/Governance,DeploymentsRepository/Governance]
        InfrastructureRepositoryUri: InfrastructureRepository/RepositoryUri
    "#]].assert_eq(&outputs.concat());
}

#[test]
fn our_custom_resource_gets_strings_and_goes_without_a_key() {
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
              "ProtectTags": ""
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
          "Description": "Provisions the repositories, the push/pull policy and the exclusion of pulls.",
          "Handler": "bootstrap",
          "LoggingConfig": {
            "LogFormat": "JSON",
            "LogGroup": "g"
          },
          "MemorySize": 256,
          "Role": "arn:r",
          "Runtime": "provided.al2023",
          "Timeout": 300
        }"#]]
    .assert_eq(&format!("{properties:#}"));
}

#[test]
fn our_role_may_keep_the_policy_that_is_named_after_the_stack() {
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
    let policy = "arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-51af3dc0";
    assert_eq!(find(&plain, "KeepThePushPullPolicy").unwrap()["Resource"], policy);
    assert_eq!(find(&plain, "AttachItToTheRoles"), None);
    let attach = find(&role(&[("CiCdRoleArns", roles)]), "AttachItToTheRoles").unwrap();
    assert_eq!(attach["Resource"], json!(roles.split(", ").collect::<Vec<_>>()));
}

#[test]
fn our_role_may_change_a_repository_only_as_it_is_enforced() {
    let template = ours();
    let changes = |parameters: &[(&str, &str)]| -> String {
        let mut stack = stack(&template, parameters).unwrap();
        for id in ["AlertKey", "AlertTopic", "FailedEvents", "ImagePushLogGroup", "Ledger"] {
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
        infrastructure ["ecr:BatchDeleteImage","ecr:PutImage"]
    "#]]
    .assert_eq(&changes(&[]));
    expect![[r#"
        deployments "ecr:UpdateImageStorageClass"
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
    // Beyond what it may whatever they ask for.
    let rights = |parameters: &[(&str, &str)]| -> String {
        let mut stack = stack(&template, parameters).unwrap();
        for id in ["AlertKey", "AlertTopic", "FailedEvents", "ImageSweepLogGroup", "Ledger"] {
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
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:UpdateImageStorageClass" ["infrastructure","deployments"]
        "ecr:BatchDeleteImage" "infrastructure"
    "#]].assert_eq(&rights(&[]));
    expect![[r#"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        ["ecr:GetRegistryScanningConfiguration","inspector2:GetClustersForImage","inspector2:ListCoverage"] "*"
    "#]]
        .assert_eq(&rights(&[("CleanupEnforcement", "report"), ("InUseSource", "inspector")]));
    expect![[r#"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:BatchDeleteImage" ["infrastructure","deployments"]
    "#]].assert_eq(&rights(&[
        ("CleanupEnforcement", "delete"),
        ("InfrastructureTagEnforcement", "report"),
    ]));
    expect![[r#"
        ["ecr:BatchGetImage","ecr:BatchGetRepositoryScanningConfiguration","ecr:DescribeImageScanFindings","ecr:DescribeImages","ecr:DescribeRepositories","ecr:GetLifecyclePolicy"] ["infrastructure","deployments"]
        "inspector2:ListFindings" "*"
        "ecr:UpdateImageStorageClass" ["infrastructure","deployments"]
        "ecr:BatchDeleteImage" "deployments"
    "#]].assert_eq(&rights(&[
        ("DeploymentsTagMutability", "IMMUTABLE"),
        ("DeploymentsTagEnforcement", "quarantine"),
        ("InfrastructureTagEnforcement", "archive"),
    ]));
    expect![""]
        .assert_eq(&rights(&[("CreateEcrRepositories", "false"), ("InUseSource", "inspector")]));
}

#[test]
fn our_schedules_name_their_repository_in_json() {
    let template = ours();
    let given =
        [("DeploymentsRepositoryName", "team/apps"), ("CleanupSchedule", "cron(0 3 * * ? *)")];
    let mut stack = stack(&template, &given).unwrap();
    for id in ["ImageSweepFunction", "SweepScheduleRole", "UndeliveredEvents"] {
        stack.made(id, id, attributes([("Arn", json!(id))]));
    }
    let schedule = stack.properties("SweepDeploymentsSchedule").unwrap();
    assert_eq!(schedule["ScheduleExpression"], "cron(0 3 * * ? *)");
    let input: Value = serde_json::from_str(schedule["Target"]["Input"].as_str().unwrap()).unwrap();
    assert_eq!(input, json!({"repository": "team/apps"}));
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
    let outputs = stack.outputs().unwrap();
    assert_eq!(
        outputs.keys().collect::<Vec<_>>(),
        ["AcceptedRisksParameter", "AlertTopicArn", "EcrLoginCommand", "Governance"]
    );
    assert_eq!(outputs["Governance"], "[]");
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
        ("DeploymentsRepositoryName", "infrastructure"),
        ("InfrastructureTagMutability", "MUTABLE"),
        ("DeploymentsTagEnforcement", "quarantine"),
        ("RepositoryNamePatterns", "Team-*"),
        ("AlertEmail", "nobody"),
        ("AlertSeverityThreshold", "UNTRIAGED"),
        ("SlackWebhookSecretArn", "https://hooks.slack.com/services/T/B/X"),
        ("QuarantineDays", "0"),
        ("CleanupEnforcement", "quarantine"),
        ("CleanupSchedule", "daily"),
        ("CleanupSchedule", "at(2027-01-15T08:00:00)"),
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
        Parameter PullPrincipals failed to satisfy constraint: account IDs and organisation IDs, separated by commas
        Rules.RepositoriesDiffer: InfrastructureRepositoryName and DeploymentsRepositoryName must differ.
        Rules.InfrastructureQuarantineNeedsImmutableTags: InfrastructureTagEnforcement=quarantine needs InfrastructureTagMutability=IMMUTABLE. A tag could move while it is being taken away; use report or archive.
        Rules.DeploymentsQuarantineNeedsImmutableTags: DeploymentsTagEnforcement=quarantine needs DeploymentsTagMutability=IMMUTABLE. A tag could move while it is being taken away; use report or archive.
        Parameter RepositoryNamePatterns failed to satisfy constraint: lower-case letters, digits, '.', '_', '-', '/' and '*', separated by spaces
        Parameter AlertEmail failed to satisfy constraint: empty, or an e-mail address
        Parameter 'AlertSeverityThreshold' must be one of AllowedValues
        Parameter SlackWebhookSecretArn failed to satisfy constraint: empty, or the full ARN of a secret of this region, with the six characters at its end
        Parameter 'QuarantineDays' must be a number not less than 1
        Parameter 'CleanupEnforcement' must be one of AllowedValues
        Parameter CleanupSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter CleanupSchedule failed to satisfy constraint: an expression of EventBridge Scheduler, such as rate(1 day) or cron(0 3 * * ? *)
        Parameter ProtectTags failed to satisfy constraint: letters, digits, '.', '_', '-' and '*', separated by spaces
        Parameter 'ProtectPulledWithinDays' must be a number not less than 1
        Parameter 'MaxRemovePercent' must be a number not greater than 100
        Parameter 'InUseSource' must be one of AllowedValues
        Rules.KeyNeedsEncryption: KmsKeyArn needs EnableEncryption=true.
    "#]].assert_eq(&said);
}

#[test]
fn a_parameter_without_a_default_must_be_given() {
    let template = Template::read(
        "Parameters:\n  P: { Type: String, AllowedPattern: 'a|b', MaxLength: 1 }\n  \
         S: { Type: AWS::SSM::Parameter::Name, Default: s }",
    )
    .unwrap();
    let check = |given: &[(&str, &str)], expected: Expect| {
        expected.assert_eq(&stack(&template, given).unwrap_err().to_string());
    };
    check(&[], expect!["Parameters: [P] must have values"]);
    check(&[("P", "ab")], expect!["Parameter 'P' must match pattern a|b"]);
    check(
        &[("P", "a")],
        expect![[r#""AWS::SSM::Parameter::Name" is no supported type of parameter S"#]],
    );
}

#[test]
fn a_function_gives_its_value() {
    check_property("!Ref Other", &expect![[r#"{"P":"other-1"}"#]]);
    check_property("!GetAtt Other.Arn", &expect![[r#"{"P":"arn:other/a-b"}"#]]);
    check_property("{ Fn::GetAtt: Other.Arn }", &expect![[r#"{"P":"arn:other/a-b"}"#]]);
    check_property(
        "!If [No, 1, !If [Yes, !Ref AWS::Region, 3]]",
        &expect![[r#"{"P":"us-east-1"}"#]],
    );
    check_property(
        "[1, !Ref AWS::NoValue, { A: !Ref AWS::NoValue }]",
        &expect![[r#"{"P":[1,{}]}"#]],
    );
    check_property(
        "[!If [No, 1, !Ref AWS::NoValue], !If [Yes, { A: 2 }, !Ref AWS::NoValue]]",
        &expect![[r#"{"P":[{"A":2}]}"#]],
    );
    check_property("!Join ['-', !Ref List]", &expect![[r#"{"P":"a-b"}"#]]);
    check_property(
        "!Join ['-', [a, 1, !Ref AWS::NoValue, !Ref AWS::StackName]]",
        &expect![[r#"{"P":"a-1-warden"}"#]],
    );
    check_property("!Split [/, !GetAtt Other.Arn]", &expect![[r#"{"P":["arn:other","a-b"]}"#]]);
    check_property("!Select [1, !Ref List]", &expect![[r#"{"P":"b"}"#]]);
    check_property(
        "!Sub '${AWS::Partition} ${Other} ${Other.Arn} ${!Other} $x'",
        &expect![[r#"{"P":"aws other-1 arn:other/a-b ${Other} $x"}"#]],
    );
    check_property(
        "!Sub ['${Other} ${A}', { Other: own, A: !Ref AWS::URLSuffix }]",
        &expect![[r#"{"P":"own amazonaws.com"}"#]],
    );
    // A policy has conditions of its own.
    check_property(
        "{ Condition: { StringEquals: { a: b } } }",
        &expect![[r#"{"P":{"Condition":{"StringEquals":{"a":"b"}}}}"#]],
    );
}

/// What the property comes to beside some mappings.
fn check_mapped(property: &str, expected: &Expect) {
    check(
        &format!(
            "Parameters:\n  Least: {{ Type: String, Default: HIGH }}\n\
             Mappings:\n  Severities:\n    HIGH: {{ Names: [CRITICAL, HIGH], Count: 2 }}\n    \
             LOW: {{ Names: [CRITICAL, HIGH, MEDIUM, LOW], Also: HIGH }}\n\
             Conditions:\n  Two: !Equals [!FindInMap [Severities, HIGH, Count], '2']\n\
             Resources:\n  Other: {{ Type: T }}\n  It:\n    Type: T\n    \
             Properties:\n      P: {property}\n"
        ),
        expected,
    );
}

#[test]
fn a_mapping_gives_a_text_or_a_list() {
    check_mapped(
        "!FindInMap [Severities, !Ref Least, Names]",
        &expect![[r#"{"P":["CRITICAL","HIGH"]}"#]],
    );
    check_mapped(
        "{ Fn::FindInMap: [Severities, !FindInMap [Severities, LOW, Also], Count] }",
        &expect![[r#"{"P":2}"#]],
    );
    check_mapped(
        "!Join [',', !FindInMap [Severities, HIGH, Names]]",
        &expect![[r#"{"P":"CRITICAL,HIGH"}"#]],
    );
    check_mapped(
        "!Sub ['${Count} names', { Count: !FindInMap [Severities, HIGH, Count] }]",
        &expect![[r#"{"P":"2 names"}"#]],
    );
    check_mapped("!If [Two, a, b]", &expect![[r#"{"P":"a"}"#]]);
}

#[test]
fn a_mapping_that_does_not_have_it_is_named() {
    check_mapped(
        "!FindInMap [Regions, HIGH, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: there is no mapping Regions"],
    );
    check_mapped(
        "!FindInMap [Severities, MEDIUM, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: Severities has no Names of MEDIUM"],
    );
    check_mapped(
        "!FindInMap [Severities, !Ref Other, Names]",
        &expect![
            "Resources.It.Properties.P.Fn::FindInMap: Other is a resource, and those are made later"
        ],
    );
    check_mapped(
        "!FindInMap [Severities, !Sub HIGH, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: Fn::Sub gives no key of a mapping"],
    );
    check(
        "Mappings: { M: { A: { B: !Ref AWS::Region } } }",
        &expect!["Mappings.M.A.B: expected a text, or a list of texts"],
    );
    check("Mappings: { M: { A: b } }", &expect!["Mappings.M.A: expected a map"]);
}

#[test]
fn a_condition_is_made_of_others() {
    for (condition, expected) in [
        ("!And [!Condition Yes, !Not [!Condition No]]", "true"),
        ("!And [!Condition Yes, !Condition No]", "false"),
        ("!Or [!Condition No, !Equals [!Ref AWS::Region, us-east-1]]", "true"),
        ("!Or [!Condition No, !Equals [!Ref AWS::Region, eu-west-1]]", "false"),
    ] {
        let text = format!(
            "Conditions:\n  A: {condition}\n  No: !Equals ['true', false]\n  Yes: !Equals ['true', true]\n\
             Resources: {{ It: {{ Type: T, Properties: {{ P: !If [A, 'true', 'false'] }} }} }}"
        );
        let template = Template::read(&text).unwrap();
        assert_eq!(
            stack(&template, &[]).unwrap().properties("It").unwrap()["P"],
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_is_not_known_is_named_with_its_place() {
    check_property(
        "!ImportValue a",
        &expect!["Resources.It.Properties.P: unknown tag !ImportValue"],
    );
    check_property(
        "[{ Fn::Base64: a }]",
        &expect!["Resources.It.Properties.P.0: unknown function Fn::Base64"],
    );
    check_property(
        "{ Fn::Sub: a, B: c }",
        &expect!["Resources.It.Properties.P: Fn::Sub stands beside other keys"],
    );
    check_property(
        "!Equals [a, b]",
        &expect!["Resources.It.Properties.P.Fn::Equals: Fn::Equals is for conditions"],
    );
    check_property("null", &expect!["Resources.It.Properties.P: null values are not allowed"]);
    check_property(
        "!Ref Nothing",
        &expect!["Resources.It.Properties.P: nothing is called Nothing"],
    );
    check_property(
        "!Sub '${Nothing.Arn}'",
        &expect!["Resources.It.Properties.P: nothing is called Nothing"],
    );
    check_property("!Sub '${Other'", &expect!["Resources.It.Properties.P: a ${ without its }"]);
    check_property(
        "!If [Maybe, a, b]",
        &expect!["Resources.It.Properties.P: there is no condition Maybe"],
    );
    check_property(
        "!GetAtt Other.Uri",
        &expect!["Resources.It.Properties.P.Fn::GetAtt: Other has no attribute Uri"],
    );
    check_property(
        "!Select [2, !Ref List]",
        &expect!["Resources.It.Properties.P.Fn::Select: there is no element 2"],
    );
    check_property(
        "!Join ['', a]",
        &expect![[r#"Resources.It.Properties.P.Fn::Join: expected a list, not "a""#]],
    );
    check_property(
        "'{{resolve:ssm:a}}'",
        &expect!["Resources.It.Properties.P: dynamic references are not supported"],
    );
    check(
        "Conditions: { C: !And [!Equals [a, a]] }",
        &expect!["Conditions.C.Fn::And: expected two conditions at least"],
    );
    check("Conditions: { C: !Sub a }", &expect!["Conditions.C.Fn::Sub: it gives no condition"]);
    check("Hooks: {}", &expect!["Hooks: not supported"]);
    check("Globals: { Api: {} }", &expect!["Globals.Api: not supported"]);
    check("Transform: AWS::Include", &expect!["Transform: not supported"]);
    check(
        "Resources: { It: { Type: T, Propertys: {} } }",
        &expect!["Resources.It: unknown attribute Propertys"],
    );
    check(
        "Resources: { It: { Type: T }, It: { Type: U } }",
        &expect!["duplicated key in mapping at byte 30 line 1 column 31"],
    );
}

#[test]
fn a_cycle_is_named() {
    check(
        r"
        Resources:
          A: { Type: T, DependsOn: B }
          B: { Type: T, Properties: { P: !Sub '${C.Arn}' } }
          C: { Type: T, DependsOn: [D, B] }
          D: { Type: T }
        ",
        &expect!["circular dependency: B -> C -> B"],
    );
    check(
        "Conditions:\n  A: !Not [!Condition B]\n  B: !Or [!Condition A, !Condition A]",
        &expect!["circular dependency: A -> B -> A"],
    );
}

#[test]
fn nothing_may_need_what_its_condition_leaves_out() {
    let template = |property: &str| {
        format!(
            "Conditions: {{ No: !Equals [a, b] }}\nResources:\n  A: {{ Type: T, Condition: No }}\n  \
             It: {{ Type: T, Properties: {{ P: {property} }} }}"
        )
    };
    check(&template("!Ref A"), &expect!["It needs A, whose condition does not hold"]);
    check(&template("!If [No, !Ref A, b]"), &expect![[r#"{"P":"b"}"#]]);
}

#[test]
fn a_function_s_own_values_come_after_the_globals_or_instead_of_them() {
    check(
        r"
        Transform: AWS::Serverless-2016-10-31
        Globals:
          Function: { Layers: [a], Timeout: 3, Tags: { A: 1, B: 2 }, Role: { Fn::Sub: a } }
        Resources:
          It:
            Type: AWS::Serverless::Function
            Properties: { Layers: [b], Timeout: 5, Tags: { B: 3 }, Role: { Fn::Join: ['', [c]] } }
        ",
        &expect![[r#"{"Layers":["a","b"],"Role":"c","Tags":{"A":1,"B":3},"Timeout":5}"#]],
    );
}
