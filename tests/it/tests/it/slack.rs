//! `slack-notifier` as a process: what is published comes into the channel, or ends in the queue
//! with the reason, and the webhook's URL is nowhere to be read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use local_aws::LocalAws;
use local_aws::cloudformation::Deployment;
use local_aws::lambda::Function;
use local_aws::slack::{self, Reply};
use local_aws::template::Template;
use serde_json::{Value, json};

use crate::pushes::receive;
use crate::{probe, program, without_sweeps};

const FUNCTION: &str = "stack-SlackNotifierFunction";
const SECRET: &str = "marked-secret";

/// The deployed stack with a webhook, and the ports of both.
pub struct Deployed {
    pub aws: LocalAws,
    /// The ARN of the secret.
    secret: String,
    _aws: local_aws::server::Server,
    _slack: slack::Server,
}

impl Deployed {
    pub async fn new() -> Self {
        let aws = LocalAws::default();
        let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let url = format!("{}/services/T0000000/B0000000/{SECRET}", slack.endpoint());
        let secret = json!({"Name": "ecr-warden/slack", "SecretString": url});
        let request = http::Request::post("/")
            .header("x-amz-target", "secretsmanager.CreateSecret")
            .body(secret.to_string().into())
            .unwrap();
        let made = aws.services().handle("secretsmanager", request).await;
        let made: Value = serde_json::from_slice(made.body()).unwrap();
        let template = Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap();
        let secret = made["ARN"].as_str().unwrap().to_owned();
        let deployment = Deployment {
            template: &template,
            name: "stack",
            parameters: &BTreeMap::from([("SlackWebhookSecretArn".to_owned(), secret.clone())]),
            program: program(),
        };
        aws.deploy(&deployment, |_| ()).await.unwrap();
        without_sweeps(&aws);
        aws.lambda().retry_after([Duration::from_millis(10), Duration::from_millis(10)]);
        Self { aws, secret, _aws: server, _slack: slack }
    }

    /// Has a bad tag pushed, of which an alert is published.
    async fn alert(&self) {
        {
            let mut state = self.aws.state();
            let now = state.now();
            state.ecr().push_made_up("infrastructure", &["litellm-1.80.5"], now).unwrap();
        }
        // Any call hands on what is to be told.
        self.aws.by_hand("DescribeRepositories", &json!({})).unwrap();
        self.aws.lambda().settled().await;
    }

    /// What the function has logged, in which nothing is secret.
    fn log(&self) -> String {
        let log = self.aws.lambda().log(FUNCTION);
        assert!(!log.contains(SECRET), "{log}");
        log
    }
}

#[tokio::test]
async fn an_alert_comes_into_the_channel() {
    let deployed = Deployed::new().await;
    deployed.alert().await;
    let messages = deployed.aws.slack().take_messages();
    assert_eq!(messages.len(), 1, "{}", deployed.log());
    let shown = slack::render(&messages[0]);
    assert!(shown.starts_with("HIGH: infrastructure:litellm-1.80.5 was quarantined\n"), "{shown}");
    assert!(shown.contains("Restore it as litellm-v1.80.5:\n    m=$(aws ecr"), "{shown}");
    assert!(deployed.aws.state().undelivered.is_empty());
    deployed.log();
}

#[tokio::test]
async fn what_slack_refuses_for_good_ends_in_the_queue_with_the_reason() {
    let deployed = Deployed::new().await;
    let page = "Cannot POST /services/T0000000/B0000000/marked-secret";
    deployed.aws.slack().next([Reply::Answer(404, page)]);
    deployed.aws.slack().always(Some(Reply::Answer(404, "no_service")));
    deployed.alert().await;
    // One attempt for each of Lambda's.
    assert_eq!(deployed.aws.slack().take_attempts(), 3);
    let received = receive(&deployed.aws, "stack-FailedEvents").await;
    assert_eq!(
        received["responsePayload"]["errorMessage"],
        "Slack refused it for good: status 404, no_service: make a new webhook, and put its URL into the secret"
    );
    let alert = received["requestPayload"]["Records"][0]["Sns"]["Message"].as_str().unwrap();
    assert!(alert.contains("litellm-1.80.5 was quarantined"), "{alert}");
    assert!(!received.to_string().contains(SECRET), "{received}");
    assert!(deployed.log().contains("Cannot POST …"));
}

#[tokio::test]
async fn slack_out_of_order_loses_nothing() {
    let deployed = Deployed::new().await;
    deployed.aws.slack().next([Reply::Reset, Reply::Busy(Some("1"))]);
    deployed.alert().await;
    assert_eq!(deployed.aws.slack().take_messages().len(), 1, "{}", deployed.log());
    // The second attempt of Lambda's is in time as well.
    let refused = Reply::Answer(403, "action_prohibited");
    deployed.aws.slack().next([refused]);
    deployed.alert().await;
    assert_eq!(deployed.aws.slack().take_messages().len(), 1, "{}", deployed.log());
}

/// The SDK logs requests and answers at these levels, which anybody may set who may configure
/// the function.
#[tokio::test]
async fn at_no_level_is_the_secret_logged() {
    let deployed = Deployed::new().await;
    let event = include_str!("../../../../events/slack-notifier/tag-violation.json");
    let event: Value = serde_json::from_str(event).unwrap();
    for level in ["debug", "trace"] {
        let environment = [
            ("AWS_ENDPOINT_URL", deployed.aws.endpoint().unwrap()),
            ("AWS_LAMBDA_LOG_LEVEL", level.to_owned()),
            ("SLACK_WEBHOOK_SECRET_ARN", deployed.secret.clone()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        deployed.aws.lambda().create(Function {
            handler: "slack-notifier".to_owned(),
            environment,
            ..probe(level)
        });
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
    let aws = LocalAws::default();
    let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap();
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &BTreeMap::new(),
        program: program(),
    };
    let mut made = Vec::new();
    aws.deploy(&deployment, |resource| made.push(resource.id)).await.unwrap();
    assert!(!made.iter().any(|id| id.starts_with("SlackNotifier")), "{made:?}");
}
