//! `ecr-warden status` against the deployed stack, with the rights of an operator.

use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use ecr_warden::replay::DeadLetterQueue;
use ecr_warden::status::{Status, read_status};
use local_aws::ecr::DAY;
use local_aws::world::{STACK, World};
use local_aws::{ACCOUNT, REGION};
use serde_json::json;
use std::collections::BTreeSet;

use super::{REPOSITORY, archive_an_index};
use crate::rights::queue_url;
use crate::{deploy, stop_sweep_queue};

async fn status(world: &World, repositories: &[&str]) -> anyhow::Result<Status> {
    let stack = DeployedStack::read(world.operator(), STACK).await?;
    let repositories: Vec<_> = repositories.iter().map(|name| name.parse().unwrap()).collect();
    read_status(&stack, &repositories).await
}

#[tokio::test]
async fn a_quiet_stack_has_its_sweeps_functions_alarms_and_queues_and_needs_nobody() {
    let world = deploy(&[]).await;
    // The sweep that the pushes queue would be the last sweep, and would remove nothing.
    stop_sweep_queue(&world);
    archive_an_index(&world).await;
    world.settle().await;
    world.forget();
    let status = status(&world, &[]).await.unwrap();
    assert_eq!(status.needs_attention, Vec::<String>::new());
    assert_eq!(status.status, "CREATE_COMPLETE");
    let [deployments, infrastructure] = status.repositories.as_slice() else {
        panic!("{:#?}", status.repositories)
    };
    assert_eq!(infrastructure.last_sweep, None);
    assert_eq!(
        (infrastructure.tag_enforcement.as_str(), infrastructure.cleanup_enforcement.as_str()),
        ("quarantine", "archive")
    );
    let run = deployments.last_sweep.as_ref().unwrap();
    assert_eq!((run.examined, run.removed, run.left, run.waiting), (Some(13), 3, 0, 0));
    let functions: Vec<&str> =
        status.functions.iter().map(|function| function.function.as_str()).collect();
    let expected = [
        "CustomResourceFunction",
        "ImagePushFunction",
        "ImageSweepFunction",
        "ScanCompleteFunction",
        "SweepDispatchFunction",
    ];
    assert_eq!(BTreeSet::from_iter(functions), BTreeSet::from(expected));
    assert!(status.functions.iter().all(|function| function.state == "Active"));
    assert!(status.alarms.len() >= 5, "{:?}", status.alarms);
    assert!(status.alarms.iter().all(|alarm| alarm.state == "OK" && alarm.since.is_some()));
    let queues: BTreeSet<(&str, bool)> = status
        .queues
        .iter()
        .map(|queue| (queue.queue.as_str(), queue.is_dead_letter_queue))
        .collect();
    let expected = [
        ("FailedEvents", true),
        ("FailedFindings", true),
        ("FailedSweeps", true),
        ("InspectorFindings", false),
        ("SweepQueue", false),
        ("UndeliveredEvents", true),
    ];
    assert_eq!(queues, BTreeSet::from(expected));
    // The command reads no image and invokes no function.
    let calls = world.calls();
    for call in ["BatchGetImage", "DescribeImages", "Invoke"] {
        assert!(!calls.contains(&call.to_owned()), "{calls:?}");
    }
}

#[tokio::test]
async fn an_alarm_and_a_message_in_a_dead_letter_queue_need_a_person() {
    let world = deploy(&[]).await;
    for queue in [DeadLetterQueue::FailedEvents, DeadLetterQueue::UndeliveredEvents] {
        let url = queue_url(&world.aws, queue.logical_id()).await;
        let message = json!({"QueueUrl": url, "MessageBody": "{}"});
        world.aws.ask("sqs", "AmazonSQS.SendMessage", &message).await.unwrap();
    }
    {
        let mut state = world.aws.state();
        let name = format!("{STACK}-FailedEventsAlarm");
        let alarm = state.alarms.get_mut(&name).unwrap();
        "ALARM".clone_into(&mut alarm.state);
        "1 datapoint was greater than the threshold".clone_into(&mut alarm.reason);
        assert!(state.alarms.remove(&format!("{STACK}-FunctionErrorsAlarm")).is_some());
    }
    let status = status(&world, &[]).await.unwrap();
    let needs: BTreeSet<&str> = status.needs_attention.iter().map(String::as_str).collect();
    let expected = [
        "FailedEventsAlarm is in the state ALARM: 1 datapoint was greater than the threshold",
        "FunctionErrorsAlarm is in the state missing: the alarm does not exist",
        "1 message waits in FailedEvents: ecr-warden replay --queue FailedEvents --stack ecr-warden --region us-east-1",
        "1 message waits in UndeliveredEvents: ecr-warden replay --queue UndeliveredEvents --stack ecr-warden --region us-east-1",
    ];
    assert_eq!(needs, BTreeSet::from(expected));
}

#[tokio::test]
async fn a_plan_waits_in_the_status_until_a_person_confirms_it() {
    let world = deploy(&[]).await;
    let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{REPOSITORY}");
    let tags = json!({"resourceArn": arn, "tagKeys": ["ecr-warden:owner"]});
    world.aws.by_hand("UntagResource", &tags).unwrap();
    for nth in 0..12 {
        let mut state = world.aws.state();
        let at = state.now() - (90.0 - f64::from(nth)) * DAY;
        state.ecr().push_made_up(REPOSITORY, &[&format!("app-v1.{nth}.0")], at).unwrap();
        state.ecr().events.clear();
    }
    let sweep = &world.function("image-sweep").name;
    let request = json!({"repository": REPOSITORY});
    let swept = world.aws.lambda().invoke(sweep, request).await.unwrap();
    assert_eq!(swept.payload["removed"], 0, "{:#}", swept.payload);
    let waiting = status(&world, &[REPOSITORY]).await.unwrap();
    let [state] = waiting.repositories.as_slice() else { panic!("{:?}", waiting.repositories) };
    assert!(state.is_waiting);
    assert_eq!(state.last_sweep.as_ref().unwrap().waiting, 2);
    assert_eq!(
        waiting.needs_attention,
        [
            "the plan of deployments waits for a confirmation: ecr-warden confirm deployments --stack ecr-warden --region us-east-1"
        ]
    );
    let stack = DeployedStack::read(world.operator(), STACK).await.unwrap();
    let named = [REPOSITORY.parse().unwrap()];
    let Confirmed::Not { command, .. } =
        confirm_plans(&stack, &named, None, world.now()).await.unwrap()
    else {
        panic!("no plan waits")
    };
    let hash = command.rsplit(' ').next();
    // The clock of the embedded AWS runs, and the sweep began in an earlier second.
    let later = world.now() + chrono::Duration::seconds(2);
    let confirmed = confirm_plans(&stack, &named, hash, later).await.unwrap();
    assert!(matches!(confirmed, Confirmed::Yes(_)));
    let confirmed = status(&world, &[REPOSITORY]).await.unwrap();
    assert_eq!(confirmed.needs_attention, Vec::<String>::new());
}

#[tokio::test]
async fn a_sweep_that_cannot_read_its_repository_needs_a_person() {
    let world = deploy(&[("InUseSources", "pull-time,inspector")]).await;
    let sweep = &world.function("image-sweep").name;
    let request = json!({"repository": REPOSITORY});
    let swept = world.aws.lambda().invoke(sweep, request).await.unwrap();
    assert!(swept.payload["stopped"].is_string(), "{:#}", swept.payload);
    let status = status(&world, &[REPOSITORY]).await.unwrap();
    let [need] = status.needs_attention.as_slice() else { panic!("{:?}", status.needs_attention) };
    assert!(
        need.starts_with("the last sweep of deployments stopped: the running images"),
        "{need}"
    );
}

#[tokio::test]
async fn a_cache_of_every_name_needs_a_person_if_the_policy_has_wildcards() {
    let wildcards = [
        ("platform.Repositories", r#"["infrastructure", "team/*"]"#),
        ("EnforceRepositories", "infrastructure,deployments,team/*"),
    ];
    for parameters in [&[][..], &wildcards] {
        let world = deploy(parameters).await;
        let create = |prefix: &str| {
            let rule =
                json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": "public.ecr.aws"});
            world.aws.by_hand("CreatePullThroughCacheRule", &rule).unwrap();
        };
        create("hub");
        assert_eq!(status(&world, &[]).await.unwrap().needs_attention, Vec::<String>::new());
        create("ROOT");
        let needs = status(&world, &[]).await.unwrap().needs_attention;
        assert_eq!(needs.len(), usize::from(!parameters.is_empty()), "{needs:?}");
        assert!(needs.iter().all(|need| need.contains("prefix ROOT")), "{needs:?}");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_governed_is_an_error() {
    let world = deploy(&[]).await;
    let error = status(&world, &["deployment"]).await.unwrap_err();
    assert!(error.to_string().contains("governs the repository deployment"), "{error}");
    let none = deploy(&[("CreateEcrRepositories", "false")]).await;
    let stack = DeployedStack::read(none.aws.config(), STACK).await.unwrap();
    assert_eq!(read_status(&stack, &[]).await.unwrap().repositories.len(), 0);
}
