//! `ecr-warden replay` against the deployed stack, with the rights of an operator.

use ecr_warden::deployed::DeployedStack;
use ecr_warden::replay::{DeadLetterQueue, QueueReplay, replay_queues};
use local_aws::world::{STACK, World, event, kinds};
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::rights::queue_url;
use crate::slack::Deployed;

use DeadLetterQueue::{FailedEvents, FailedFindings, FailedSweeps, UndeliveredEvents};

async fn replay(world: &World, queue: DeadLetterQueue, apply: bool) -> QueueReplay {
    let stack = DeployedStack::read(world.operator(), STACK).await.unwrap();
    let mut replays = replay_queues(&stack, &[queue], apply).await.unwrap();
    assert_eq!(replays.len(), 1);
    let replay = replays.remove(0);
    assert_eq!(replay.queue, queue);
    assert!(!replay.has_more);
    replay
}

/// The event, the error and the function of each message, or why the message stays.
fn shown(replay: &QueueReplay) -> Vec<(String, String, String)> {
    let letter = |letter: &ecr_warden::replay::message::Letter| {
        let function = match &letter.replay {
            Ok(replay) => replay.function().to_owned(),
            Err(why) => why.clone(),
        };
        (letter.event.clone(), letter.error.clone(), function)
    };
    let mut letters: Vec<_> = replay.letters.iter().map(letter).collect();
    letters.sort();
    letters
}

async fn send(aws: &LocalAws, queue: DeadLetterQueue, body: &Value, attributes: &Value) {
    let message = json!({
        "QueueUrl": queue_url(aws, queue.logical_id()).await,
        "MessageBody": body.to_string(),
        "MessageAttributes": attributes,
    });
    aws.ask("sqs", "AmazonSQS.SendMessage", &message).await.unwrap();
}

#[tokio::test]
async fn a_failed_event_is_listed_and_then_handed_back_to_its_function_once() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    // The function cannot claim the violation, so nothing holds a claim when the event is replayed.
    world.aws.fault("UpdateItem", 0, Fault::Error(400, "AccessDeniedException"));
    let _ = world.push("infrastructure", &["litellm-1.80.5"]);
    world.settle().await;
    assert_eq!(world.alerts(), Vec::<Value>::new());
    // A dry run leaves the message where it is, and a second one finds it too.
    for _ in 0..2 {
        let listed = replay(world, FailedEvents, false).await;
        let [(event, error, function)] = shown(&listed).try_into().unwrap();
        assert_eq!(event, "ECR Image Action infrastructure litellm-1.80.5");
        assert!(error.contains("AccessDeniedException"), "{error}");
        assert_eq!(function, "ImagePushFunction");
        assert_eq!(listed.waiting(), 1);
    }
    world.aws.heal();
    world.forget();
    let replayed = replay(world, FailedEvents, true).await;
    assert_eq!((replayed.letters.len(), replayed.waiting()), (1, 0));
    world.settle().await;
    assert_eq!(kinds(&world.alerts()), ["tag-violation"]);
    let again = replay(world, FailedEvents, true).await;
    assert_eq!(again.letters.len(), 0);
    world.settle().await;
    assert_eq!(world.alerts(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_of_a_function_outside_the_stack_is_never_replayed() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    // A function of the same account that the stack does not have.
    let other = world.function("image-push").clone();
    let other = local_aws::lambda::Function { name: "payments".to_owned(), ..other };
    let arn = other.arn();
    world.aws.lambda().create(other);
    let push = event("image-push", "near-miss");
    let failed = |arn: &str| {
        json!({
            "requestContext": {"functionArn": format!("{arn}:$LATEST")},
            "requestPayload": push,
            "responsePayload": {"errorMessage": "failed"},
        })
    };
    let custom = world.function("custom-resource").arn();
    for arn in [&arn, &custom] {
        send(&world.aws, FailedEvents, &failed(arn), &json!({})).await;
    }
    send(&world.aws, FailedEvents, &json!("text"), &json!({})).await;
    let target = json!({"TARGET_ARN": {"DataType": "String", "StringValue": arn}});
    send(&world.aws, UndeliveredEvents, &push, &target).await;
    world.forget();
    for (queue, count) in [(FailedEvents, 3), (UndeliveredEvents, 1)] {
        let replayed = replay(world, queue, true).await;
        assert_eq!((replayed.letters.len(), replayed.waiting()), (count, count), "{queue:?}");
        assert!(replayed.outcomes.is_empty());
        // Other receivers can get the messages again.
        assert_eq!(replay(world, queue, false).await.letters.len(), count, "{queue:?}");
    }
    let calls = world.calls();
    assert!(!calls.contains(&"Invoke".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn an_undelivered_event_stays_until_its_function_accepts_it() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    let gone = ["image-push", "slack-notifier"].map(|folder| world.function(folder).clone());
    for function in &gone {
        world.aws.lambda().delete(&function.name);
    }
    let _ = world.push("infrastructure", &["litellm-1.80.5"]);
    world.settle().await;
    let alert = event("slack-notifier", "tag-violation")["Records"][0]["Sns"].clone();
    let topic = &world.outputs["AlertTopicArn"];
    let message = alert["Message"].as_str().unwrap();
    let alarms = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:x";
    world.aws.publish_as("cloudwatch.amazonaws.com", alarms, topic, message).await.unwrap();
    let failed = replay(world, UndeliveredEvents, true).await;
    let functions: Vec<String> =
        shown(&failed).into_iter().map(|(_, _, function)| function).collect();
    assert_eq!(functions, ["ImagePushFunction", "SlackNotifierFunction"]);
    assert_eq!(failed.waiting(), 2, "{:?}", failed.outcomes);
    for outcome in failed.outcomes.values() {
        assert!(
            outcome.as_ref().is_err_and(|error| error.contains("ResourceNotFound")),
            "{outcome:?}"
        );
    }
    for function in gone {
        world.aws.lambda().create(function);
    }
    world.forget();
    let replayed = replay(world, UndeliveredEvents, true).await;
    assert_eq!((replayed.letters.len(), replayed.waiting()), (2, 0), "{:?}", replayed.outcomes);
    world.settle().await;
    assert_eq!(kinds(&world.alerts()), ["tag-violation"]);
    // The replayed alert, and the alert about the replayed push.
    assert_eq!(world.aws.slack().take_messages().len(), 2);
}

#[tokio::test]
async fn only_the_findings_that_the_function_handled_leave_their_queue() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    world.enable_enhanced_scanning();
    let digest = world.push("infrastructure", &["litellm-v1.80.5"]);
    world.settle().await;
    world.forget();
    let finding = local_aws::ecr::scan::finding::enhanced_finding(
        "CVE-2026-0001",
        "CRITICAL",
        "openssl",
        "3.0.17",
        Some("3.0.18"),
    );
    let finding = world.report_finding("infrastructure", &digest, &finding, "ACTIVE");
    send(&world.aws, FailedFindings, &finding, &json!({})).await;
    send(&world.aws, FailedFindings, &json!({"source": ["not", "an", "event"]}), &json!({})).await;
    let listed = replay(world, FailedFindings, false).await;
    let events: Vec<String> = shown(&listed).into_iter().map(|(event, ..)| event).collect();
    assert_eq!(events, ["Inspector2 Finding CVE-2026-0001 infrastructure", "an unknown event"]);
    let replayed = replay(world, FailedFindings, true).await;
    assert_eq!((replayed.letters.len(), replayed.waiting()), (2, 1), "{:?}", replayed.outcomes);
    world.settle().await;
    assert_eq!(kinds(&world.alerts()), ["scan-findings"]);
    let left = replay(world, FailedFindings, false).await;
    let [(event, ..)] = shown(&left).try_into().unwrap();
    assert_eq!(event, "an unknown event");
}

#[tokio::test]
async fn a_repository_whose_sweep_failed_is_swept() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    let pushed = event("image-sweep", "pushed")["Records"][0]["body"].take();
    let message: Value = serde_json::from_str(pushed.as_str().unwrap()).unwrap();
    for message in [message, json!({"repositories": []})] {
        send(&world.aws, FailedSweeps, &message, &json!({})).await;
    }
    let replayed = replay(world, FailedSweeps, true).await;
    let events: Vec<_> = shown(&replayed);
    let function = "ImageSweepFunction".to_owned();
    assert!(events.contains(&("a sweep of deployments".to_owned(), String::new(), function)));
    assert_eq!((replayed.letters.len(), replayed.waiting()), (2, 1), "{:?}", replayed.outcomes);
    world.settle().await;
    let log = world.aws.lambda().log(&world.function("image-sweep").name);
    assert!(log.contains(r#""SweepsCompleted":1"#), "{log}");
}

#[tokio::test]
async fn a_finding_that_did_not_reach_its_queue_is_handed_to_the_function_of_the_queue() {
    let deployed = Deployed::new().await;
    let world = &deployed.world;
    let queue = format!("arn:aws:sqs:us-east-1:123456789012:{STACK}-InspectorFindings");
    let target = json!({"TARGET_ARN": {"DataType": "String", "StringValue": queue}});
    let finding = event("scan-complete", "inspector-finding");
    send(&world.aws, UndeliveredEvents, &finding, &target).await;
    let replayed = replay(world, UndeliveredEvents, true).await;
    let [(_, _, function)] = shown(&replayed).try_into().unwrap();
    assert_eq!((function.as_str(), replayed.waiting()), ("ScanCompleteFunction", 0));
}
