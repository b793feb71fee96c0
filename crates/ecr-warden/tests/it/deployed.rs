//! Runs the built command against a stack that is deployed in the embedded AWS, by its documented
//! commands: their output and their exit codes.

use std::net::Ipv4Addr;

use expect_test::{Expect, expect};
use local_aws::ecr::DAY;
use local_aws::snippets::snippet;
use local_aws::world::{World, masked};
use local_aws::{ACCOUNT, REGION};
use serde_json::{Value, json};
use tokio::process::Command;

/// A deployed stack, whose functions are described and not run, on a port.
struct Deployed {
    world: World,
    server: local_aws::server::Server,
}

impl Deployed {
    async fn new() -> Self {
        let world = World::deploy(&[]).await;
        for folder in [
            "custom-resource",
            "image-push",
            "image-sweep",
            "scan-complete",
            "slack-notifier",
            "sweep-dispatch",
        ] {
            world.aws.lambda().create(world.function(folder).clone());
        }
        let server = world.aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        Self { world, server }
    }

    /// The output, the errors and the exit code of a command with these arguments.
    async fn output(&self, arguments: &[&str]) -> (String, String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecr-warden"));
        command.args(arguments).env_clear().envs([
            ("AWS_ENDPOINT_URL", self.server.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCOUNT),
            ("AWS_SECRET_ACCESS_KEY", "any"),
            ("AWS_REGION", REGION),
        ]);
        let output = command.output().await.unwrap();
        let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    }

    /// The output and the exit code in one text.
    async fn run(&self, arguments: &[&str]) -> String {
        let (stdout, stderr, code) = self.output(arguments).await;
        masked(&format!("{stdout}{stderr}exit {code}\n"))
    }

    /// Runs a documented command with more arguments.
    async fn documented(&self, name: &str, arguments: &[&str], expected: &Expect) {
        let script = snippet(name).unwrap();
        let words: Vec<&str> = script.split_whitespace().collect();
        assert_eq!(words[0], "ecr-warden", "{name}");
        expected.assert_eq(&self.run(&[&words[1..], arguments].concat()).await);
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let (json, stderr, _) = self.output(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}{stderr}"))
    }

    async fn send(&self, queue: &str, body: &Value) {
        let name = json!({"QueueName": format!("ecr-warden-{queue}")});
        let url = self.world.aws.ask("sqs", "AmazonSQS.GetQueueUrl", &name).await.unwrap();
        let message = json!({"QueueUrl": url["QueueUrl"], "MessageBody": body.to_string()});
        self.world.aws.ask("sqs", "AmazonSQS.SendMessage", &message).await.unwrap();
    }
}

#[tokio::test]
async fn outputs_are_printed_one_by_one_and_together() {
    let deployed = Deployed::new().await;
    deployed
        .documented(
            "outputs/outputs.sh",
            &[],
            &expect![[r#"
        arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic
        exit 0
    "#]],
        )
        .await;
    expect![[r#"
        ecr-warden: the stack ecr-warden has no output AlertTopic; the nearest name is AlertTopicArn
        exit 1
    "#]]
    .assert_eq(&deployed.run(&["outputs", "AlertTopic"]).await);
    expect![[r#"
        ecr-warden: there is no stack other in us-east-1: name the stack with --stack
        exit 2
    "#]]
    .assert_eq(&deployed.run(&["outputs", "--stack", "other"]).await);
    let all = deployed.json(&["outputs"]).await;
    assert_eq!(all, json!(deployed.world.outputs));
    let table = deployed.run(&["outputs"]).await;
    assert_eq!(table.lines().count(), deployed.world.outputs.len() + 1, "{table}");
}

#[tokio::test]
async fn the_status_has_the_exit_code_1_if_something_needs_attention() {
    let deployed = Deployed::new().await;
    deployed
        .documented(
            "runbooks/status.sh",
            &[],
            &expect![[r#"
                Stack ecr-warden: CREATE_COMPLETE
                Policy version: f8822ec2c3a88dca

                REPOSITORY      TAGS        CLEANUP  LAST SWEEP  RESULT
                deployments     report      archive  unknown
                infrastructure  quarantine  archive  unknown

                FUNCTION                STATE   DEPLOYED                      CODE
                CustomResourceFunction  Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==
                ImagePushFunction       Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==
                ScanCompleteFunction    Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==
                ImageSweepFunction      Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==
                SweepDispatchFunction   Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==
                SlackNotifierFunction   Active  2026-11-24T12:00:00.000+0000  bWFkZSB1cA==

                ALARM                   STATE  SINCE
                FailedEventsAlarm       OK     2027-01-15T08:00:00Z
                UndeliveredEventsAlarm  OK     2027-01-15T08:00:00Z
                FailedFindingsAlarm     OK     2027-01-15T08:00:00Z
                FailedSweepsAlarm       OK     2027-01-15T08:00:00Z
                FunctionErrorsAlarm     OK     2027-01-15T08:00:00Z
                FunctionThrottlesAlarm  OK     2027-01-15T08:00:00Z
                SweepsAlarm             OK     2027-01-15T08:00:00Z

                QUEUE              WAITING  IN FLIGHT
                FailedEvents       0        0
                FailedSweeps       0        0
                SweepQueue         0        0
                FailedFindings     0        0
                InspectorFindings  0        0
                UndeliveredEvents  0        0

                Nothing needs attention.
                exit 0
            "#]],
        )
        .await;
    deployed.send("FailedFindings", &json!({})).await;
    let printed = deployed.run(&["status", "--repository", "deployments"]).await;
    let (_, needs) = printed.split_once("Needs attention:\n").unwrap();
    expect![[r#"
          1 message waits in FailedFindings: ecr-warden replay --queue FailedFindings --stack ecr-warden --region us-east-1
        exit 1
    "#]].assert_eq(needs);
    let status = deployed.json(&["status", "--repository", "deployments"]).await;
    assert_eq!(status["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(status["needsAttention"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_replay_lists_first_and_has_the_exit_code_1_while_messages_wait() {
    let deployed = Deployed::new().await;
    deployed
        .documented(
            "operate/replay-events.sh",
            &[],
            &expect![[r#"
        No message waits.
        exit 0
    "#]],
        )
        .await;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:payments";
    let foreign = json!({"requestContext": {"functionArn": arn}, "requestPayload": {}});
    deployed.send("FailedEvents", &foreign).await;
    let function = deployed.world.function("image-push").arn();
    let event = local_aws::world::event("image-push", "near-miss");
    let failed = json!({
        "requestContext": {"functionArn": function},
        "requestPayload": event,
        "responsePayload": {"errorMessage": "publishing the alert\u{1b}[31m"},
    });
    deployed.send("FailedEvents", &failed).await;
    deployed.documented("operate/list-events.sh", &[], &expect![[r#"
        QUEUE         FUNCTION           STATE  EVENT                                           REASON
        FailedEvents                     kept   an unknown event                                "arn:aws:lambda:us-east-1:123456789012:function:payments" is not a function of the stack
        FailedEvents  ImagePushFunction  waits  ECR Image Action infrastructure litellm-1.80.5  publishing the alert[31m

        Nothing was replayed. Remove the cause of each error first.
        To replay the messages: ecr-warden replay --stack ecr-warden --region us-east-1 --apply
        exit 1
    "#]]).await;
    deployed
        .documented(
            "operate/list-events.sh",
            &["--queue", "FailedFindings"],
            &expect![[r#"
        No message waits.
        exit 0
    "#]],
        )
        .await;
    let found = deployed.json(&["replay"]).await;
    let states: Vec<&Value> =
        found["messages"].as_array().unwrap().iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["kept", "waits"]);
    // The function has no program here, and Lambda accepts the event.
    deployed.documented("operate/replay-events.sh", &["--queue", "FailedEvents"], &expect![[r#"
        QUEUE         FUNCTION           STATE     EVENT                                           REASON
        FailedEvents                     kept      an unknown event                                "arn:aws:lambda:us-east-1:123456789012:function:payments" is not a function of the stack
        FailedEvents  ImagePushFunction  replayed  ECR Image Action infrastructure litellm-1.80.5

        Replayed: 1. Still in a queue: 1.
        exit 1
    "#]]).await;
    expect![[r#"
        ecr-warden: invalid value 'Failed' for '--queue <QUEUE>'; [possible values: FailedEvents, FailedFindings, FailedSweeps, UndeliveredEvents]; a similar value exists: 'FailedSweeps'
        exit 2
    "#]].assert_eq(&deployed.run(&["replay", "--queue", "Failed"]).await);
}

/// The functions have no program here, so no plan can be read.
#[tokio::test]
async fn the_plans_of_a_rule_that_cannot_be_read_have_the_exit_code_2() {
    let deployed = Deployed::new().await;
    deployed.documented("cleanup/plan-rule.sh", &[], &expect![[r#"
        REPOSITORY      IMAGES   TO REMOVE  SIZE  PLAN  STATE
        infrastructure  unknown  unknown                no plan: the function ecr-warden-ImageSweepFunction failed: RequestId: 00000000-0000-4000-8000-000000000001 …

        Repositories: 1. Images: 0. To remove: 0 (0 B). Plans that wait for a confirmation: 0. Repositories without a plan: 1.
        exit 2
    "#]]).await;
    deployed.documented("cleanup/confirm-rule.sh", &[], &expect![[r#"
        REPOSITORY      IMAGES   TO REMOVE  SIZE  PLAN  STATE
        infrastructure  unknown  unknown                no plan: the function ecr-warden-ImageSweepFunction failed: RequestId: 00000000-0000-4000-8000-000000000003 …

        Repositories: 1. Images: 0. To remove: 0 (0 B). Plans that wait for a confirmation: 0. Repositories without a plan: 1.

        No plan waits for a confirmation.
        exit 2
    "#]]).await;
    expect![[r#"
        ecr-warden: the policy of the stack ecr-warden has no rule plattform; the nearest name is platform
        exit 2
    "#]].assert_eq(&deployed.run(&["plan", "--rule", "plattform"]).await);
    expect![[r#"
        ecr-warden: the argument '[REPOSITORY]...' cannot be used with '--rule <NAME>'; Usage: ecr-warden plan <REPOSITORY>...
        exit 2
    "#]].assert_eq(&deployed.run(&["plan", "deployments", "--rule", "platform"]).await);
}

#[tokio::test]
async fn images_in_quarantine_and_in_the_archive_are_listed_with_the_command_that_restores_them() {
    let deployed = Deployed::new().await;
    deployed
        .documented(
            "enforcement/quarantined.sh",
            &[],
            &expect![[r#"
        No image is in quarantine.
        exit 0
    "#]],
        )
        .await;
    deployed
        .documented(
            "cleanup/archived.sh",
            &[],
            &expect![[r#"
        No image is in the archive.
        exit 0
    "#]],
        )
        .await;
    let world = &deployed.world;
    let digest = {
        let mut state = world.aws.state();
        let at = state.now() - 100.0 * DAY;
        state.ecr().push_made_up("infrastructure", &["app-v1.0.0"], at).unwrap()
    };
    let quarantine = format!("quarantine-20250110-{}-litellm-1.80.5", &digest[7..19]);
    world.tag("infrastructure", &digest, &quarantine);
    let archived = world.push("deployments", &["app-v1.0.0"]);
    let archive = json!({
        "repositoryName": "deployments",
        "imageId": {"imageDigest": archived},
        "targetStorageClass": "ARCHIVE",
    });
    world.aws.by_hand("UpdateImageStorageClass", &archive).unwrap();
    deployed.documented("enforcement/quarantined.sh", &[], &expect![[r#"
        REPOSITORY      UNTIL       QUARANTINE TAG                                   SUGGESTED TAG
        infrastructure  2025-01-24  quarantine-20250110-…-litellm-1.80.5  litellm-v1.80.5

        To restore the image: ecr-warden restore infrastructure:quarantine-20250110-…-litellm-1.80.5 --tag litellm-v1.80.5 --stack ecr-warden --region us-east-1
        exit 0
    "#]]).await;
    deployed.documented("cleanup/archived.sh", &["--repository", "deployments"], &expect![[r#"
        REPOSITORY   ARCHIVED    KEPT UNTIL  IMAGES  DIGEST               TAGS
        deployments  2027-01-15  2027-04-15  1       sha256:…  app-v1.0.0

        To restore the image: ecr-warden restore deployments:app-v1.0.0 --stack ecr-warden --region us-east-1
        exit 0
    "#]]).await;
    expect![[r#"
        ecr-warden: no rule of the policy of the stack ecr-warden governs the repository deployment
        exit 2
    "#]]
    .assert_eq(&deployed.run(&["archived", "--repository", "deployment"]).await);
    let listed = deployed.json(&["quarantined"]).await;
    assert_eq!(listed[0]["tag"], quarantine.as_str());
    assert_eq!(listed[0]["suggestion"], "litellm-v1.80.5");
}
