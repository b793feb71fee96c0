//! The page of the rights that the template grants: each role and the policy of operators.
//! [`REASONS`] says why a statement exists.

use std::collections::BTreeSet;

use local_aws::world::TEMPLATE;
use serde_json::Value;

use super::{table, template};

/// The reason of each statement, by its name. A role before the name limits a reason to that role.
const REASONS: [(&str, &str); 65] = [
    ("WriteLogs", "The function writes its log."),
    ("WriteTraces", "X-Ray samples the invocations. The actions take no ARN."),
    ("PublishAlerts", "The function publishes alerts."),
    ("PutAlertEvents", "The function puts each alert on the event bus of the stack."),
    ("EncryptAlerts", "The topic of alerts is encrypted with this key."),
    ("SendToDeadLetterQueue", "Lambda keeps an event that failed three times."),
    ("DenyConfirming", "Only an operator confirms a plan, and only a deployment writes a policy."),
    ("ReadPolicy", "The policy is in the ledger, under its version."),
    (
        "CustomResourceRole StorePolicy",
        "The function writes the policy of a deployment to the ledger, and nothing else.",
    ),
    (
        "CustomResourceRole DescribeStack",
        "The stack's events prove that CloudFormation sent a request. The status of the stack says whether it rolls back.",
    ),
    (
        "CustomResourceRole ReadRepositories",
        "The function compares the repository with its properties. After a rename it also reads the old repository.",
    ),
    (
        "CustomResourceRole ManageRepositories",
        "The function creates and changes the two repositories, and tags them as this stack's only.",
    ),
    (
        "CustomResourceRole RemoveOtherResourceTags",
        "The function removes resource tags that left the stack, but never a tag of ECR Warden.",
    ),
    (
        "CustomResourceRole DenySettingOwnerTag",
        "The function never marks an existing repository of another owner as this stack's.",
    ),
    (
        "CustomResourceRole DeleteOwnedRepositories",
        "The function deletes only a repository that this stack made and that no stack adopted. After a rename this is the old repository.",
    ),
    ("CustomResourceRole UseRepositoryKey", "ECR encrypts the repositories with this key."),
    (
        "CustomResourceRole ManagePushPullPolicies",
        "The function manages the push/pull policies of this stack, and no other policy.",
    ),
    (
        "CustomResourceRole AttachPushPullPolicy",
        "The function attaches the push/pull policy for all repositories to the roles of `CiCdRoleArns`.",
    ),
    (
        "CustomResourceRole DetachPushPullPolicy",
        "The function detaches that policy from a role that left `CiCdRoleArns`.",
    ),
    ("CustomResourceRole DenyOwnRole", "The function never changes a role of ECR Warden."),
    (
        "ImagePushRole RecordPublishedAlerts",
        "The function publishes an alert once, and completes an interrupted enforcement.",
    ),
    ("QueueSweeps", "The function asks for the sweep of a repository."),
    (
        "QueueRechecks",
        "The findings of an image are compared again later, or when its index is pushed.",
    ),
    (
        "ImagePushRole DescribeImages",
        "The function decides by the present state of the image, not by the event.",
    ),
    (
        "DescribeReplicationAndCaches",
        "The function changes no replicated repository unless `WhenReplicated: act`, and wildcards match no repository that a pull-through cache fills. The actions take no ARN.",
    ),
    (
        "ListCacheRules",
        "Wildcards of the policy match no repository that a pull-through cache fills. The action takes no ARN.",
    ),
    (
        "ImagePushRole EnforceTags",
        "The function replaces tags and archives images, after it read the native lifecycle rules.",
    ),
    (
        "ImageSweepRole RecordRuns",
        "One sweep at a time works on a repository. The ledger has the policy, confirmations, replicas, removals, untagged images and open findings.",
    ),
    (
        "ImageSweepRole RemoveImages",
        "The function archives, restores and deletes images, and removes quarantine tags. ECR has no narrower right to remove a tag.",
    ),
    ("ImageSweepRole ReceiveSweeps", "Lambda polls the queue of sweeps."),
    ("ImageSweepRole DescribeImages", "The function decides and audits by what ECR says."),
    (
        "ImageSweepRole ReadInspectorFindings",
        "ECR reads the findings of enhanced scanning with the rights of the caller. The action takes no ARN.",
    ),
    (
        "ImageSweepRole ListImagesInUse",
        "Amazon Inspector says which images run. The actions take no ARN.",
    ),
    (
        "ScanCompleteRole RecordScans",
        "The function compares a scan with the version before, and publishes an alert once. It deletes the record of an image whose index took over the history.",
    ),
    (
        "ScanCompleteRole ReadAcceptedRisks",
        "The function reads the accepted risks. It cannot change them.",
    ),
    ("ScanCompleteRole ReceiveFindings", "Lambda polls the queue of Amazon Inspector's findings."),
    (
        "ScanCompleteRole DescribeScans",
        "The function reads the findings, when the image was pushed, and whether a failed scan was of an image.",
    ),
    (
        "ScanCompleteRole ReadInspectorFindings",
        "ECR reads the findings of enhanced scanning with the rights of the caller. The action takes no ARN.",
    ),
    ("SlackNotifierRole ReadWebhookSecret", "The secret holds the URL of the webhook."),
    (
        "SlackNotifierRole DecryptWebhookSecret",
        "A key of this account may encrypt the secret. The key decrypts nothing else for the function.",
    ),
    (
        "SweepDispatchRole ListRepositories",
        "A round lists the registry. The action lists all repositories or none.",
    ),
    (
        "SweepDispatchRole ReadPolicyAndPublishedAlerts",
        "The policy and the published alerts are in the ledger.",
    ),
    (
        "SweepDispatchRole ReadLastSweepsAndReports",
        "A round reads when each repository was swept, and the weekly digest reads what rules reported.",
    ),
    (
        "SweepDispatchRole RecordPublishedAlerts",
        "The ledger records the published digests. The role may write no other record.",
    ),
    ("SweepScheduleRole InvokeSweepDispatch", "The schedule starts the rounds of sweeps."),
    (
        "SweepScheduleRole SendUndeliveredEvents",
        "The scheduler keeps an event that it could not deliver.",
    ),
    ("GitHubRole ReadStack", "`ecr-warden check` finds the policy's version and the ledger."),
    ("GitHubRole WaitForScan", "A workflow waits for the scan of its image."),
    (
        "GitHubRole WaitForInspectorScan",
        "The same with enhanced scanning. The action takes no ARN.",
    ),
    ("EksPullRole GetAuthorizationToken", "A pod logs in. The action takes no ARN."),
    ("EksPullRole PullImages", "A pod pulls images."),
    (
        "OperatorPolicy ReadStack",
        "`ecr-warden` finds the function, the ledger and the policy of the stack.",
    ),
    ("OperatorPolicy ReadPlans", "`ecr-warden plan` and `ecr-warden explain` ask the function."),
    (
        "OperatorPolicy ConfirmPlans",
        "`ecr-warden confirm` writes a confirmation, and nothing else, to the ledger.",
    ),
    (
        "OperatorPolicy ReadSweepsAndUnits",
        "`ecr-warden status` shows the last sweeps. `ecr-warden restore` and `ecr-warden archived` read the images of a unit.",
    ),
    ("OperatorPolicy ReadFunctions", "`ecr-warden status` shows the functions."),
    ("OperatorPolicy ReadAlarms", "`ecr-warden status` shows the alarms."),
    ("OperatorPolicy ReadQueues", "`ecr-warden status` shows how many messages wait."),
    (
        "OperatorPolicy TakeMessages",
        "`ecr-warden replay` reads the messages of the dead-letter queues, and deletes a message whose event was accepted.",
    ),
    (
        "OperatorPolicy ReplayEvents",
        "`ecr-warden replay` hands an event back to its function. The function decides by the present state of the image, not by the event.",
    ),
    (
        "OperatorPolicy ReplayAlerts",
        "The same for the function that posts to Slack, which `ecr-warden status` shows too.",
    ),
    (
        "OperatorPolicy ReadImages",
        "`ecr-warden` lists the governed repositories. `ecr-warden quarantined` and `ecr-warden archived` list images, and `ecr-warden restore` reads the image that it restores.",
    ),
    ("RestorePolicy RestoreImages", "`ecr-warden restore` restores images and adds tags."),
    ("PushPullPolicy Login", "A pipeline logs in. The action takes no ARN."),
    ("PushPullPolicy PushAndPull", "A pipeline pushes to and pulls from the repositories."),
];

pub fn page() -> String {
    let mut text = "Each function has a role of its own in `infra/sam/template.yaml`. This page lists \
                    every statement of these roles, of the roles for workflows and pods, and of the \
                    policies that the stack makes for pipelines and operators. Tests compare each role \
                    with the calls that its function makes: a role grants what is called, and no more.\n\n\
                    `…` in an ARN stands for the partition, the region and the account of the stack. \
                    `${Name}` stands for a parameter or a resource of the template, \
                    `${EnforcedRepository}` for each pattern of the parameter `EnforceRepositories`, \
                    and `${Id}` for the first part of the stack's UUID.\n\n"
        .to_owned();
    let mut used = BTreeSet::new();
    for (id, resource) in TEMPLATE.resources() {
        let properties = &resource["Properties"];
        let documents: Vec<&Value> = match resource["Type"].as_str().unwrap() {
            "AWS::IAM::Role" => {
                let policies = properties["Policies"].as_array().into_iter().flatten();
                policies.map(|policy| &policy["PolicyDocument"]).collect()
            }
            "AWS::IAM::ManagedPolicy" => vec![&properties["PolicyDocument"]],
            _ => continue,
        };
        text += &format!("## {id}\n\n{}\n\n", properties["Description"].as_str().unwrap());
        if let Some(name) = resource["Condition"].as_str() {
            text += &format!("Exists if {}.\n\n", template::condition(name));
        }
        if let Some(trust) = properties.get("AssumeRolePolicyDocument") {
            text += &format!("Trusts {}.\n\n", trusted(trust));
        }
        if properties.get("ManagedPolicyArns").is_some() {
            text += "Also has the [push/pull policy](#pushpullpolicy).\n\n";
        }
        let statements = documents.iter().filter_map(|document| document["Statement"].as_array());
        text += &statements_table(id, statements.flatten(), &mut used);
    }
    text += "## PushPullPolicy\n\nThe custom resource `PushPullPolicy` makes this policy for all \
             repositories of the stack: the output `EcrPushPullPolicyArn`. The custom resources \
             `InfrastructurePushPullPolicy` and `DeploymentsPushPullPolicy` make the same policy for \
             one repository each.\n\n";
    let repositories = ["infrastructure", "deployments"].map(|name| {
        format!("arn:aws:ecr:us-east-1:123456789012:repository/{name}").parse().unwrap()
    });
    let document = custom_resource::push_pull::document::document(&repositories);
    let document =
        document.to_string().replace("arn:aws:ecr:us-east-1:123456789012:", "arn:…:ecr:…:");
    let document: Value = serde_json::from_str(&document).unwrap();
    let statements = document["Statement"].as_array().unwrap();
    text += &statements_table("PushPullPolicy", statements.iter(), &mut used);
    let known: BTreeSet<&str> = REASONS.iter().map(|(statement, _)| *statement).collect();
    assert_eq!(used, known, "each reason belongs to a statement");
    text
}

fn statements_table<'a>(
    id: &str,
    statements: impl Iterator<Item = &'a Value>,
    used: &mut BTreeSet<&'static str>,
) -> String {
    let rows = statements.map(|statement| {
        let (condition, statement) = match statement.get("Fn::If") {
            Some(parts) => (parts[0].as_str(), &parts[1]),
            None => (None, statement),
        };
        let name = statement["Sid"].as_str().unwrap_or_else(|| panic!("{statement} has no name"));
        let is_of = |key: &str| key == name || key == format!("{id} {name}");
        let reason = REASONS.iter().find(|(key, _)| is_of(key));
        let (key, reason) = reason.unwrap_or_else(|| panic!("{id} {name} has no reason"));
        used.insert(key);
        let condition = condition.map(|name| format!("<br>Only if {}.", template::condition(name)));
        let effect = if statement["Effect"] == "Deny" { "**denies** " } else { "" };
        let code = |text: &String| format!("`{}`", template::shortened(text));
        let list = |value: &Value| {
            let mut texts = template::texts(value);
            // The template has an element for each repository that the parameter can name.
            texts.dedup();
            texts.iter().map(code).collect::<Vec<_>>()
        };
        let actions = effect.to_owned() + &list(&statement["Action"]).join("<br>");
        let resources = list(&statement["Resource"]).join(", ") + &limits(statement);
        let reason = format!("**{name}**<br>{reason}{}", condition.unwrap_or_default());
        vec![reason, format!("{actions}<br>on {resources}")]
    });
    table(&["statement", "actions and resources"], rows)
}

/// The condition of a statement.
fn limits(statement: &Value) -> String {
    let mut text = String::new();
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().unwrap() {
            let values = template::texts(value).join(", ");
            text += &format!("<br>if `{operator}` `{key}`: `{}`", template::shortened(&values));
        }
    }
    text
}

/// The principal that may assume a role.
fn trusted(trust: &Value) -> String {
    let service = &trust["Statement"][0]["Principal"]["Service"];
    if let Some(service) = service.as_str() {
        return format!("`{service}`");
    }
    let document = template::texts(trust).concat();
    let (_, rest) = document.split_once("\"Federated\": \"").unwrap();
    let (provider, rest) = rest.split_once('"').unwrap();
    let (_, subject) = rest.split_once("sub\": [").unwrap();
    let (_, subject) = subject.split_once('"').unwrap();
    let (subject, _) = subject.split_once('"').unwrap();
    // The template computes these values from the parameters.
    let subject = subject.replace("${First}", "${GitHubSubjects}");
    let subject = subject.replace("${ServiceAccounts}", "${EksServiceAccounts}");
    format!("tokens of `{provider}` with the subject `{subject}`")
}
