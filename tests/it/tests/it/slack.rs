//! `slack-notifier` as a process: what is published comes into the channel, or ends in the queue
//! with the reason, and the webhook's URL is nowhere to be read.

use std::net::Ipv4Addr;
use std::ops::Deref;

use expect_test::expect;
use local_aws::LocalAws;
use local_aws::lambda::Function;
use local_aws::slack::{self, Reply};
use local_aws::world::{SECRET, World, event, store_webhook};
use serde_json::Value;

use crate::{deploy, program, stop_sweep_queue};

const FUNCTION: &str = "ecr-warden-SlackNotifierFunction";

/// The deployed stack with a webhook.
pub struct Deployed {
    pub world: World,
    _slack: slack::Server,
}

impl Deref for Deployed {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Deployed {
    pub async fn new() -> Self {
        let aws = LocalAws::default();
        let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let secret = store_webhook(&aws, slack.endpoint()).await.unwrap();
        let parameters = [("SlackWebhookSecretArn", secret.as_str())];
        let world = World::run(aws, &parameters, program()).await;
        stop_sweep_queue(&world);
        Self { world, _slack: slack }
    }

    /// Pushes a tag that violates the policy, so that an alert is published.
    async fn publish_alert(&self) {
        let _ = self.push("infrastructure", &["litellm-1.80.5"]);
        self.settle().await;
    }

    /// The log of the function, which contains no secret.
    fn log(&self) -> String {
        let log = self.aws.lambda().log(FUNCTION);
        assert!(!log.contains(SECRET), "{log}");
        log
    }
}

#[tokio::test]
async fn the_channel_receives_an_alert() {
    let deployed = Deployed::new().await;
    deployed.publish_alert().await;
    let messages = deployed.aws.slack().take_messages();
    assert_eq!(messages.len(), 1, "{}", deployed.log());
    let shown = slack::render(&messages[0]);
    assert!(shown.contains("    m=$(aws ecr batch-get-image"), "{shown}");
    // The rest has the time in it.
    let (title, rest) = shown.split_once('\n').unwrap();
    let labels: Vec<&str> = rest.lines().filter(|line| line.ends_with(':')).collect();
    expect![[r#"
        HIGH: The image infrastructure:litellm-1.80.5 was quarantined
        Restore the image as litellm-v1.80.5:
        Or with the AWS CLI:
        Restore the tag litellm-1.80.5 (first change the grammar, or the enforcement to report: under this policy, the tag is removed again):
        Or with the AWS CLI:"#]].assert_eq(&format!("{title}\n{}", labels.join("\n")));
    assert!(deployed.aws.state().undelivered.is_empty());
    deployed.log();
}

#[tokio::test]
async fn a_message_that_slack_refuses_in_every_attempt_ends_in_the_queue_with_the_reason() {
    let deployed = Deployed::new().await;
    let page = "Cannot POST /services/T0000000/B0000000/marked-secret";
    deployed.aws.slack().next([Reply::Answer(404, page)]);
    deployed.aws.slack().always(Some(Reply::Answer(404, "no_service")));
    deployed.publish_alert().await;
    // Each attempt of Lambda sends the message once.
    assert_eq!(deployed.aws.slack().take_attempts(), 3);
    let received = deployed.failed_event().await;
    expect!["Slack refused the message permanently: status 404, no_service: create a new webhook, and store its URL in the secret"].assert_eq(received["responsePayload"]["errorMessage"].as_str().unwrap());
    let alert = received["requestPayload"]["Records"][0]["Sns"]["Message"].as_str().unwrap();
    let alert: Value = serde_json::from_str(alert).unwrap();
    assert_eq!(alert["details"]["tag"], "litellm-1.80.5");
    assert_eq!(alert["details"]["action"], "quarantined");
    assert!(!received.to_string().contains(SECRET), "{received}");
    assert!(deployed.log().contains("Cannot POST …"));
}

#[tokio::test]
async fn no_message_is_lost_while_slack_fails() {
    let deployed = Deployed::new().await;
    deployed.aws.slack().next([Reply::Reset, Reply::Busy(Some("1"))]);
    deployed.publish_alert().await;
    assert_eq!(deployed.aws.slack().take_messages().len(), 1, "{}", deployed.log());
    // The second attempt of Lambda's is in time as well.
    let refused = Reply::Answer(403, "action_prohibited");
    deployed.aws.slack().next([refused]);
    deployed.publish_alert().await;
    assert_eq!(deployed.aws.slack().take_messages().len(), 1, "{}", deployed.log());
}

/// The SDK logs requests and answers at these levels, which anybody may set who may configure
/// the function.
#[tokio::test]
async fn the_secret_is_logged_at_no_level() {
    let deployed = Deployed::new().await;
    let event = event("slack-notifier", "tag-violation");
    for level in ["debug", "trace"] {
        let function = deployed.function("slack-notifier").clone();
        let mut environment = function.environment.clone();
        environment.insert("AWS_LAMBDA_LOG_LEVEL".to_owned(), level.to_owned());
        let name = level.to_owned();
        deployed.aws.lambda().create(Function { name, environment, ..function });
        let replies = [Reply::Answer(500, ""), Reply::Reset];
        deployed.aws.slack().next(replies);
        let invoked = deployed.aws.lambda().invoke(level, event.clone()).await.unwrap();
        assert_eq!(invoked.error, None, "{}", invoked.log);
        assert_eq!(deployed.aws.slack().take_messages().len(), 1);
        assert!(invoked.log.lines().count() > 20, "{}", invoked.log);
        let found = invoked.log.lines().find(|line| line.contains(SECRET));
        assert_eq!(found, None, "at {level}");
    }
}

#[tokio::test]
async fn without_a_webhook_there_is_no_notifier() {
    let world = deploy(&[]).await;
    let resources = &world.aws.state().stacks[0].resources;
    let is_notifier = |name: &str| name.starts_with("SlackNotifier");
    assert!(!resources.iter().any(|resource| is_notifier(&resource.id)), "{resources:?}");
}
