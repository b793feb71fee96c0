//! A wrong resource in any statement of the template, or a statement that is missing, is denied
//! something in a scenario.
//!
//! Each scenario runs once, and the embedded AWS records what the roles asked for. Then every
//! statement is mutated in memory: left out, and with each of its resources wrong. The statements
//! of the custom resources' role that its own tests exercise are mutated beside those.
//!
//! `cargo test --workspace --test it rights -- --nocapture` prints how many were caught.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ecr_warden::archived::list_archived;
use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use ecr_warden::replay::{QueueReplay, replay_queues};
use ecr_warden::restore::restore_image;
use ecr_warden::status::read_status;
use local_aws::authorization::mutation::{Mutant, Record};
use local_aws::ecr::DAY;
use local_aws::ecr::image::Status;
use local_aws::ecr::scan::finding::enhanced_finding;
use local_aws::policy::{Caller, Request};
use local_aws::world::{self, STACK, TEMPLATE, World, store_webhook};
use local_aws::{ACCOUNT, Fault, LocalAws, REGION};
use serde_json::{Value, json};

use crate::faults::function::{self, Function};
use crate::faults::scenarios::scenarios;
use crate::{program, stop_sweep_queue};

/// The statements of the role of the custom resources that only a process exercises. The others
/// are mutated in `functions/custom-resource/tests/it/privileges.rs`.
const OF_CUSTOM_RESOURCES: [&str; 2] = ["WriteLogs", "WriteTraces"];

/// Adds the requests of the functions in every scenario of `events/`.
async fn events(found: &mut BTreeMap<Mutant, bool>) {
    for of in [
        Function::ImagePush,
        Function::ScanComplete,
        Function::ImageSweep,
        Function::SlackNotifier,
        Function::SweepDispatch,
    ] {
        for scenario in scenarios(of) {
            let (world, event) = scenario.prepare().await;
            let time = of.timeout(&world);
            of.invoke(&world, &event, "request", time, || ()).await.unwrap();
            add(found, &mut world.aws.state());
        }
    }
}

fn add(found: &mut BTreeMap<Mutant, bool>, state: &mut local_aws::State) {
    merge(found, Record::new(state).unwrap().mutants());
}

fn merge(found: &mut BTreeMap<Mutant, bool>, mutants: BTreeMap<Mutant, bool>) {
    for (mutant, is_caught) in mutants {
        *found.entry(mutant).or_default() |= is_caught;
    }
}

/// Adds the requests about a push, a scan and a sweep of either repository, which both quarantine tags.
async fn both_repositories(found: &mut BTreeMap<Mutant, bool>, cleanup: &str, scope: &str) {
    let world = function::deploy(&[
        ("*.Retention.Enforcement", cleanup),
        ("LifecycleScope", scope),
        ("InfrastructureLifecycleTagCount", "1"),
        ("DeploymentsLifecycleTagCount", "1"),
        ("*.Retention.MaxRemovePercent", "100"),
        ("DeploymentsTagMutability", "IMMUTABLE"),
        ("applications.Tags.Enforcement", "quarantine"),
    ])
    .await;
    for repository in ["infrastructure", "deployments"] {
        for version in 1..4 {
            let mut state = world.aws.state();
            let at = state.now() - (90.0 - f64::from(version)) * DAY;
            let tag = format!("litellm-v1.80.{version}");
            state.ecr().push_made_up(repository, &[&tag], at).unwrap();
        }
        world.forget();
        let digest = world.push(repository, &["litellm-v1.80.5"]);
        let quarantine = format!("quarantine-20261101-{}-litellm-1.0.0", &digest[7..19]);
        world.tag(repository, &digest, &quarantine);
        let _ = world.push(repository, &["breaks.the-rules"]);
        let pushed = std::mem::take(&mut world.aws.state().ecr().events);
        let pushed = [pushed, std::mem::take(&mut world.aws.state().events)].concat();
        for event in pushed {
            attempt(&world, Function::ImagePush, &event).await;
        }
        let scanned = world.complete_scan(repository, &digest, Ok(Vec::new()));
        attempt(&world, Function::ScanComplete, &scanned).await;
        attempt(&world, Function::ImageSweep, &json!({"repository": repository})).await;
    }
    add(found, &mut world.aws.state());
}

/// Adds the requests of a sweep that completes what enforcement began to archive.
async fn completions(found: &mut BTreeMap<Mutant, bool>) {
    let world = function::deploy(&[
        ("*.Retention.Enforcement", "report"),
        ("platform.Tags.Enforcement", "archive"),
        ("applications.Tags.Enforcement", "archive"),
    ])
    .await;
    for repository in ["infrastructure", "deployments"] {
        let part = world.push(repository, &[]);
        world.forget();
        let index = world.push_index(repository, &[part], "breaks.the-rules");
        let pushed = std::mem::take(&mut world.aws.state().ecr().events).remove(0);
        // The part is archived, and then no attempt of Lambda archives the index.
        for nth in 2..20 {
            let denied = Fault::Error(400, "AccessDeniedException");
            world.aws.fault("UpdateImageStorageClass", nth, denied);
        }
        let function = Function::ImagePush;
        let time = function.timeout(&world);
        function.invoke(&world, &pushed, "request", time, || ()).await.unwrap_err();
        world.aws.heal();
        world.aws.advance(Duration::from_secs(600));
        attempt(&world, Function::ImageSweep, &json!({"repository": repository})).await;
        let image = world.aws.state().ecr().image(repository, &index).unwrap().clone();
        assert_eq!(image.status, Status::Archived);
    }
    add(found, &mut world.aws.state());
}

async fn attempt(world: &World, of: Function, event: &Value) {
    of.invoke(world, event, "request", of.timeout(world), || ()).await.unwrap();
}

/// Adds the requests of Lambda, Scheduler, EventBridge, SNS and CloudWatch, with real processes.
async fn services(found: &mut BTreeMap<Mutant, bool>) {
    let aws = LocalAws::default();
    let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let secret = store_webhook(&aws, slack.endpoint()).await.unwrap();
    let parameters = [("Tracing", "Active"), ("SlackWebhookSecretArn", secret.as_str())];
    let world = World::run(aws.clone(), &parameters, program()).await;
    let _ = world.push("infrastructure", &["litellm-v1.80.5"]);
    world.settle().await;
    aws.fire_schedules(&world.function("sweep-dispatch").name).unwrap();
    world.settle().await;
    // An image that has no index yet waits in the queue of findings, which two functions may send to.
    let part = world.push("infrastructure", &[]);
    let scanned = world.complete_scan("infrastructure", &part, Ok(Vec::new()));
    aws.state().ecr().events.push(scanned);
    world.settle().await;
    let _ = world.push_index("infrastructure", &[part], "openwebui-v0.6.35");
    world.settle().await;
    // Findings come through a queue, which refuses every other sender.
    world.enable_enhanced_scanning();
    let digest = world.push("infrastructure", &["openwebui-v0.6.36"]);
    report_finding(&world, &digest, "CVE-1");
    world.settle().await;
    let queue =
        json!({"QueueUrl": queue_url(&aws, "InspectorFindings").await, "MessageBody": "{}"});
    let sent = aws.call_as(&stranger(&aws), "sqs", "SendMessage", &queue).await.unwrap();
    assert!(sent.1.contains("AccessDeniedException"), "{}", sent.1);
    // An event that no function understands fails three times, and Lambda sends it to the queue.
    for folder in ["image-push", "scan-complete", "image-sweep", "slack-notifier"] {
        let name = &world.function(folder).name;
        aws.lambda().invoke_async(name, json!({"source": ["not", "an", "event"]})).unwrap();
    }
    world.settle().await;
    aws.fault("DescribeRepositories", 0, Fault::Error(400, "AccessDeniedException"));
    aws.fire_schedules(&world.function("sweep-dispatch").name).unwrap();
    world.settle().await;
    aws.heal();
    let failed = world.failed_events().await.len();
    assert!(failed >= 5, "{failed} events are in the dead-letter queue");
    let topic = &world.outputs["AlertTopicArn"];
    let alarm = format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{STACK}-FailedEventsAlarm");
    aws.publish_as("cloudwatch.amazonaws.com", &alarm, topic, "alarm").await.unwrap();
    let rule = format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/by-hand");
    aws.publish_as("events.amazonaws.com", &rule, topic, "event").await.unwrap();
    world.settle().await;
    // Events for functions that are gone wait in a queue.
    for folder in ["image-push", "sweep-dispatch", "slack-notifier"] {
        aws.lambda().delete(&world.function(folder).name);
    }
    let _ = world.push("infrastructure", &["litellm-v1.80.6"]);
    aws.publish_as("cloudwatch.amazonaws.com", &alarm, topic, "alarm").await.unwrap();
    aws.fire_schedules(&world.function("sweep-dispatch").name).unwrap();
    world.settle().await;
    // A role that may publish to any topic is denied by the topic.
    let forged = json!({"TopicArn": topic, "Message": "an alert"});
    let published = aws.call_as(&stranger(&aws), "sns", "Publish", &forged).await.unwrap();
    assert_eq!(published.0, 403, "{}", published.1);
    let mut record = Record::new(&mut aws.state()).unwrap();
    // The test bed counts every call as HTTPS, so a request over plain HTTP is made up.
    record.add(Request {
        caller: Caller::Service("cloudwatch.amazonaws.com".to_owned()),
        action: "sns:Publish".to_owned(),
        resource: topic.clone(),
        context: BTreeMap::from([
            ("aws:securetransport".to_owned(), vec!["false".to_owned()]),
            ("aws:sourceaccount".to_owned(), vec![ACCOUNT.to_owned()]),
        ]),
    });
    merge(found, record.mutants());
}

/// Has Inspector report a finding of an image of `infrastructure`, for every rule.
pub fn report_finding(world: &World, digest: &str, id: &str) {
    let mut state = world.aws.state();
    let now = state.now();
    let finding = enhanced_finding(id, "CRITICAL", "openssl", "3.0.17", Some("3.0.18"));
    state.ecr().tell_of_finding("infrastructure", digest, &finding, "ACTIVE", now).unwrap();
}

/// The URL of a queue of the stack.
pub async fn queue_url(aws: &LocalAws, name: &str) -> Value {
    let name = json!({"QueueName": format!("{STACK}-{name}")});
    aws.ask("sqs", "AmazonSQS.GetQueueUrl", &name).await.unwrap()["QueueUrl"].take()
}

/// Makes a role that IAM allows everything, and gives its ARN.
pub fn stranger(aws: &LocalAws) -> String {
    let allowed = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let document = json!({"Version": "2012-10-17", "Statement": [allowed]});
    let service = json!({"Service": "lambda.amazonaws.com"});
    let trusted = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": service});
    let role = json!({
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trusted]},
        "Policies": [{"PolicyName": "everything", "PolicyDocument": document}],
    });
    aws.make_role("stranger", &role).unwrap()
}

/// Adds the requests of a workflow and of a pod.
async fn clients(found: &mut BTreeMap<Mutant, bool>) {
    const PROVIDERS: &str = "arn:aws:iam::123456789012:oidc-provider";
    let github = format!("{PROVIDERS}/token.actions.githubusercontent.com");
    let eks = format!("{PROVIDERS}/oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF");
    let world = function::deploy(&[
        ("GitHubOidcProviderArn", &github),
        ("GitHubRepository", "octo-org/images"),
        ("EksOidcProviderArn", &eks),
        ("EksServiceAccounts", "ci/kaniko"),
    ])
    .await;
    world.enable_enhanced_scanning();
    let mut pulled = Vec::new();
    for repository in ["infrastructure", "deployments"] {
        let digest = world.push(repository, &["app-v1.0.0"]);
        let _ = world.complete_scan(repository, &digest, Ok(Vec::new()));
        pulled.push(json!({"repositoryName": repository, "imageIds": [{"imageDigest": digest}]}));
    }
    let github = world.outputs["GitHubRoleArn"].as_str();
    let eks = world.outputs["EksPullRoleArn"].as_str();
    for role in [github, eks] {
        allowed(&world, role, "ecr", "GetAuthorizationToken", json!({})).await;
        for images in &pulled {
            allowed(&world, role, "ecr", "BatchGetImage", images.clone()).await;
        }
    }
    for images in pulled {
        let scan = json!({
            "repositoryName": images["repositoryName"],
            "imageId": images["imageIds"][0],
        });
        allowed(&world, github, "ecr", "DescribeImageScanFindings", scan).await;
    }
    let stack = json!({"StackName": STACK});
    allowed(&world, github, "cloudformation", "DescribeStacks", stack).await;
    let policy = json!({"S": format!("policy {}", world.outputs["PolicyVersion"])});
    let ledger = &world.function("image-push").environment["LEDGER_TABLE"];
    let item = json!({"TableName": ledger, "Key": {"fact": policy}});
    allowed(&world, github, "dynamodb", "DynamoDB_20120810.GetItem", item).await;
    add(found, &mut world.aws.state());
}

/// Adds the requests of an operator who confirms plans of both repositories, restores what the sweeps
/// archived, reads the state of the stack and replays events.
async fn operators(found: &mut BTreeMap<Mutant, bool>) {
    let aws = LocalAws::default();
    let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let secret = store_webhook(&aws, slack.endpoint()).await.unwrap();
    let parameters = [
        ("SlackWebhookSecretArn", secret.as_str()),
        ("InfrastructureLifecycleTagCount", "1"),
        ("DeploymentsLifecycleTagCount", "1"),
    ];
    let world = World::run(aws, &parameters, program()).await;
    // A sweep that a push queues would hold the lease of the sweep below.
    stop_sweep_queue(&world);
    let repositories = ["infrastructure", "deployments"];
    for repository in repositories {
        let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}");
        let tags = json!({"resourceArn": arn, "tagKeys": ["ecr-warden:owner"]});
        world.aws.by_hand("UntagResource", &tags).unwrap();
        {
            // The repository is older than the policy, so its first plan waits.
            let mut state = world.aws.state();
            let long_ago = state.now() - 90.0 * DAY;
            let found = state.ecr().repositories.get_mut(repository).unwrap();
            found.described["createdAt"] = json!(long_ago);
        }
        for version in 1..3 {
            let mut state = world.aws.state();
            let at = state.now() - (90.0 - f64::from(version)) * DAY;
            let tag = format!("litellm-v1.80.{version}");
            state.ecr().push_made_up(repository, &[&tag], at).unwrap();
        }
    }
    let deployed = DeployedStack::read(world.operator(), STACK).await.unwrap();
    let unread = confirm_plans(&deployed, &[], None, world.now()).await.unwrap();
    let command = match &unread {
        Confirmed::Not { plans, command, .. } if plans.len() == 2 => command,
        _ => "",
    };
    let hash = command.rsplit(' ').next();
    let confirmed = confirm_plans(&deployed, &[], hash, world.now()).await.unwrap();
    assert!(matches!(confirmed, Confirmed::Yes(images) if images.len() == 2));
    for repository in repositories {
        let sweep = &world.function("image-sweep").name;
        let request = json!({"repository": repository});
        let swept = world.aws.lambda().invoke(sweep, request).await.unwrap();
        assert_eq!(swept.payload["removed"], 1, "{:#}", swept.payload);
        let image = format!("{repository}:litellm-v1.80.1").parse().unwrap();
        restore_image(&deployed, &image, None).await.unwrap();
        world.aws.advance(Duration::from_secs(3_600));
        let tag = "litellm-v1.80.9".parse().unwrap();
        restore_image(&deployed, &image, Some(&tag)).await.unwrap();
    }
    status_and_replays(&world, &deployed).await;
    // A function that writes a confirmation, or the time of the deployment of a policy, is denied.
    let policy = format!("policy {}", world.outputs["PolicyVersion"]);
    for role in ["ImagePushRole", "ScanCompleteRole", "ImageSweepRole", "SweepDispatchRole"] {
        for key in ["confirmation infrastructure", &policy] {
            let update = json!({
                "TableName": format!("{STACK}-Ledger"),
                "Key": {"fact": {"S": key}},
                "UpdateExpression": "SET deployed_at = :time",
                "ExpressionAttributeValues": {":time": {"N": "0"}},
            });
            let role = format!("arn:aws:iam::{ACCOUNT}:role/ecr-warden/{STACK}-{role}");
            denied(&world, &role, "UpdateItem", &update).await;
        }
    }
    // So is an operator who writes that time.
    let item = json!({"fact": {"S": policy}, "deployed_at": {"N": "0"}});
    let put = json!({"TableName": format!("{STACK}-Ledger"), "Item": item});
    denied(&world, &format!("arn:aws:iam::{ACCOUNT}:role/operator"), "PutItem", &put).await;
    add(found, &mut world.aws.state());
}

/// Makes the requests of an operator who reads the state of the stack and replays a message of each queue
/// for each function.
async fn status_and_replays(world: &World, stack: &DeployedStack) {
    read_status(stack, &[]).await.unwrap();
    list_archived(stack, &[]).await.unwrap();
    let send = async |queue: &str, body: Value| {
        let url = queue_url(&world.aws, queue).await;
        let message = json!({"QueueUrl": url, "MessageBody": body.to_string()});
        world.aws.ask("sqs", "AmazonSQS.SendMessage", &message).await.unwrap();
    };
    for (folder, event) in [
        ("image-push", world::event("image-push", "conforming")),
        ("scan-complete", world::event("scan-complete", "without-counts-and-tags")),
        ("sweep-dispatch", world::event("sweep-dispatch", "scheduled")),
    ] {
        let arn = world.function(folder).arn();
        let failed = json!({"requestContext": {"functionArn": arn}, "requestPayload": event});
        send("FailedEvents", failed).await;
    }
    let alert = world::event("slack-notifier", "tag-violation")["Records"][0]["Sns"].take();
    send("UndeliveredEvents", alert).await;
    let finding = world::event("scan-complete", "inspector-scan-of-a-server");
    send("FailedFindings", finding).await;
    send("FailedSweeps", json!({"repository": "infrastructure"})).await;
    let replays = replay_queues(stack, &[], true).await.unwrap();
    let outcomes = replays.iter().flat_map(|replay| replay.outcomes.values());
    assert_eq!(outcomes.filter(|outcome| outcome.is_ok()).count(), 6, "{replays:#?}");
    // A message that nobody can replay is released.
    send("UndeliveredEvents", json!({})).await;
    let replays = replay_queues(stack, &[], true).await.unwrap();
    assert_eq!(replays.iter().map(QueueReplay::waiting).sum::<usize>(), 1);
    world.settle().await;
}

async fn denied(world: &World, role: &str, operation: &str, input: &Value) {
    let answer = world.aws.call_as(role, "dynamodb", operation, input).await.unwrap();
    assert!(answer.1.contains("AccessDeniedException"), "{role} {operation}: {}", answer.1);
}

async fn allowed(world: &World, role: &str, service: &str, operation: &str, input: Value) {
    let answer = world.aws.call_as(role, service, operation, &input).await.unwrap();
    assert_eq!(answer.0, 200, "{operation}: {}", answer.1);
}

/// A statement by the name of its role or of the resource that it protects.
fn statements() -> BTreeSet<(String, String)> {
    let named = TEMPLATE.statements().into_iter().map(|(id, sid)| {
        let of_resource =
            ["AlertTopicPolicy", "InspectorFindingsPolicy", "UndeliveredEventsPolicy"];
        let of_resource = of_resource.contains(&id.as_str());
        let id = if of_resource { id.trim_end_matches("Policy") } else { &id };
        (id.to_owned(), sid)
    });
    let is_here = |(id, sid): &(String, String)| {
        id != "CustomResourceRole" || OF_CUSTOM_RESOURCES.contains(&sid.as_str())
    };
    named.filter(is_here).collect()
}

#[tokio::test]
async fn a_mistake_in_any_statement_is_denied_something_in_a_scenario() {
    let mut found = BTreeMap::new();
    services(&mut found).await;
    clients(&mut found).await;
    operators(&mut found).await;
    tokio::time::pause();
    for (cleanup, scope) in
        [("archive", "component"), ("delete", "component"), ("archive", "repository")]
    {
        both_repositories(&mut found, cleanup, scope).await;
    }
    completions(&mut found).await;
    events(&mut found).await;
    let statements = statements();
    let of_template = |mutant: &Mutant| {
        let owner = match mutant.owner.as_str() {
            "operator" if mutant.sid == "RestoreImages" => "RestorePolicy",
            "operator" => "OperatorPolicy",
            owner => owner.trim_start_matches(&format!("{STACK}-")),
        };
        (owner.to_owned(), mutant.sid.clone())
    };
    found.retain(|mutant, _| statements.contains(&of_template(mutant)));
    let seen: BTreeSet<(String, String)> = found.keys().map(of_template).collect();
    let never_deployed: Vec<_> = statements.difference(&seen).collect();
    assert!(never_deployed.is_empty(), "in no scenario: {never_deployed:?}");
    let missed: Vec<&Mutant> =
        found.iter().filter(|(_, is_caught)| !**is_caught).map(|(mutant, _)| mutant).collect();
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        let (mutants, caught) = (found.len(), found.len() - missed.len());
        println!("{} statements, {mutants} mutants, {caught} caught", statements.len());
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
