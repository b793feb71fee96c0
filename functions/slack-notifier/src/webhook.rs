//! The incoming webhook of a Slack channel:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
//!
//! Slack has taken a message when it answers 200 and `ok`, and in no other case. What it refuses
//! for good is not sent again; for the rest there are a few attempts, as long as the function has
//! time. An answer that was lost on its way looks like none, so that a message may come twice.

mod outcome;
mod url;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::Method;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};
use warden_alerts::slack::Payload;

use self::outcome::{Outcome, outcome};
use self::url::WebhookUrl;

/// How long one attempt may take, how often it is tried where that may help, and the pause after
/// the first attempt, which grows.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// What an attempt needs at least.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// The webhook, whose URL is read from its secret when it is first needed.
pub struct Webhook {
    secrets: aws_sdk_secretsmanager::Client,
    secret: String,
    http: SharedHttpClient,
    url: Mutex<Option<Arc<WebhookUrl>>>,
}

/// How a message was not delivered.
enum Undelivered {
    /// The blocks are what Slack does not take.
    Blocks(String),
    /// Something else.
    Error(anyhow::Error),
}

impl Webhook {
    /// The webhook whose URL is in the secret of this ARN.
    pub fn new(sdk: &SdkConfig, secret: String) -> anyhow::Result<Self> {
        Ok(Self {
            secrets: aws_sdk_secretsmanager::Client::new(sdk),
            secret,
            http: sdk.http_client().context("the SDK has no HTTP client")?,
            url: Mutex::default(),
        })
    }

    /// Delivers a message, or `plain` if Slack does not take its blocks. The error says why it
    /// did not arrive, and what to do if that will not change by itself.
    pub async fn deliver(
        &self,
        message: &Payload,
        plain: &Payload,
        until: Instant,
    ) -> anyhow::Result<()> {
        let url = timeout_at(until, self.url()).await;
        let url = url.map_err(|_| anyhow!("no time was left to read the secret"))??;
        match self.send(&url, message, until).await {
            Ok(()) => Ok(()),
            Err(Undelivered::Blocks(refused)) => {
                error!("{refused}; the message is sent again without blocks");
                let sent = self.send(&url, plain, until).await;
                sent.map_err(Undelivered::error).context("without blocks too")
            }
            Err(other) => Err(other.error()),
        }
    }

    /// The URL, read once a process as long as it serves its purpose.
    async fn url(&self) -> anyhow::Result<Arc<WebhookUrl>> {
        if let Some(url) = self.cached().clone() {
            return Ok(url);
        }
        let asked = self.secrets.get_secret_value().secret_id(&self.secret).send().await;
        let found = asked.map_err(warden_aws::explain);
        let found = found.with_context(|| format!("reading the secret {}", self.secret))?;
        let text = found.secret_string().context("the secret has no text: store the URL as one")?;
        let url = WebhookUrl::parse(text).with_context(|| format!("the secret {}", self.secret))?;
        let url = Arc::new(url);
        *self.cached() = Some(Arc::clone(&url));
        Ok(url)
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Arc<WebhookUrl>>> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one payload until it is taken, refused for good, or there is no time left.
    async fn send(
        &self,
        url: &WebhookUrl,
        payload: &Payload,
        until: Instant,
    ) -> Result<(), Undelivered> {
        let body = payload.json();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let sent = warden_aws::http::send(
                &self.http,
                Method::POST,
                url.expose(),
                Some("application/json; charset=utf-8"),
                &body,
                ATTEMPT_TIMEOUT.min(left),
            );
            let outcome = match sent.await {
                Ok(answer) => outcome(&answer, !payload.blocks.is_empty(), url),
                Err(error) => Outcome::Failed(url.redact(&format!("{error:#}"))),
            };
            let (reason, wait) = match outcome {
                Outcome::Taken => {
                    info!("Slack has taken the message");
                    return Ok(());
                }
                Outcome::Blocks(refused) => return Err(Undelivered::Blocks(refused)),
                Outcome::Refused(refused) => {
                    // It may have been replaced in the secret meanwhile, or will be.
                    *self.cached() = None;
                    return Err(Undelivered::Error(anyhow!(
                        "Slack refused it for good: {refused}"
                    )));
                }
                Outcome::Wait(Some(wait)) => {
                    (format!("Slack asks to wait {} s", wait.as_secs()), wait)
                }
                Outcome::Wait(None) => {
                    let wait = pause;
                    pause *= 3;
                    ("Slack asks to wait, and does not say how long".to_owned(), wait)
                }
                Outcome::Failed(reason) => {
                    if attempt == ATTEMPTS {
                        let reason = anyhow!("{reason}, the last of {ATTEMPTS} attempts");
                        return Err(Undelivered::Error(reason));
                    }
                    attempt += 1;
                    let wait = pause;
                    pause *= 3;
                    (reason, wait)
                }
            };
            let needed = wait.saturating_add(SHORTEST_ATTEMPT);
            if until.saturating_duration_since(Instant::now()) < needed {
                let reason = anyhow!("{reason}, and the function has no time left for that");
                return Err(Undelivered::Error(reason));
            }
            warn!("not delivered yet, and tried again in {} s: {reason}", wait.as_secs());
            sleep(wait).await;
        }
    }
}

impl Undelivered {
    fn error(self) -> anyhow::Error {
        match self {
            Self::Blocks(refused) => anyhow!("Slack refused it for good: {refused}"),
            Self::Error(error) => error,
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("secret", &self.secret).finish_non_exhaustive()
    }
}
