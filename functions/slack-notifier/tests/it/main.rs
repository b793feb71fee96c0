//! The notifier with an embedded Slack and an embedded AWS.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod delivery;
mod input;
mod port;
mod secret;

use std::ops::Deref;
use std::time::Duration;

use local_aws::slack::Slack;
use local_aws::world::{self, SECRET, World};
use serde_json::{Value, json};
use slack_notifier::config::Config;
use slack_notifier::{Context, handle};
use tokio::time::Instant;

/// The time of an invocation.
const TIME: Duration = Duration::from_secs(44);

/// The function and the stack that it is deployed in.
struct Function {
    world: World,
    /// The ARN of the secret.
    arn: String,
    context: Context,
}

impl Deref for Function {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Function {
    async fn new() -> Self {
        let world = World::deploy(&[]).await;
        let variables = world.function("slack-notifier").environment.clone();
        let arn = variables["SLACK_WEBHOOK_SECRET_ARN"].clone();
        let config = Config::read(variables).unwrap();
        let context = Context::new(config, &world.sdk("slack-notifier")).unwrap();
        Self { world, arn, context }
    }

    /// A function whose secret has this value.
    async fn with_secret(value: &str) -> Self {
        let function = Self::new().await;
        function.put_secret("SecretString", value).await;
        function
    }

    /// Stores another value in the secret: `SecretString` or `SecretBinary`.
    async fn put_secret(&self, kind: &str, value: &str) {
        let put = json!({"SecretId": self.arn, kind: value});
        let target = "secretsmanager.PutSecretValue";
        self.aws.ask("secretsmanager", target, &put).await.unwrap();
    }

    fn slack(&self) -> &Slack {
        self.aws.slack()
    }

    async fn handle(&self, event: &Value) -> anyhow::Result<()> {
        handle(&self.context, event, Instant::now() + TIME).await
    }

    /// Handles a small alert, and returns the error, which contains no secret.
    async fn fail(&self) -> String {
        let error = format!("{:#}", self.handle(&event("scan-resolved")).await.unwrap_err());
        assert!(!error.contains(SECRET), "{error}");
        error
    }
}

fn config(arn: &str) -> Config {
    let documentation = "https://example.com/docs";
    let variables = [("SLACK_WEBHOOK_SECRET_ARN", arn), ("DOCUMENTATION_URL", documentation)];
    Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

/// An event of `events/slack-notifier`.
fn event(name: &str) -> Value {
    world::event("slack-notifier", name)
}
