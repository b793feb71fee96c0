//! The incoming webhook of a Slack channel:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
//!
//! Only the status 200 with the body `ok` means that Slack accepted a message. A permanently refused message
//! is not sent again. Other failures are retried a few times, while the function has time. If the response
//! of Slack is lost, the retry sends the message a second time.

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

/// The timeout of one attempt, the number of attempts after failures, and the pause after the first attempt.
/// Later pauses are longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest time that an attempt needs.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// The webhook. The first message reads the URL from the secret.
pub struct Webhook {
    secrets: aws_sdk_secretsmanager::Client,
    secret: String,
    http: SharedHttpClient,
    url: Mutex<Option<Arc<WebhookUrl>>>,
}

/// The failure of a delivery.
enum Undelivered {
    /// Slack refused the blocks.
    Blocks(String),
    /// Any other failure.
    Error(anyhow::Error),
}

impl Webhook {
    /// The webhook whose URL is in the secret with this ARN.
    pub fn new(sdk: &SdkConfig, secret: String) -> anyhow::Result<Self> {
        Ok(Self {
            secrets: aws_sdk_secretsmanager::Client::new(sdk),
            secret,
            http: sdk.http_client().context("the SDK has no HTTP client")?,
            url: Mutex::default(),
        })
    }

    /// Delivers a message, or `plain` if Slack refuses the blocks of the message. The error states the
    /// reason, and the next step if the failure is permanent.
    pub async fn deliver(
        &self,
        message: &Payload,
        plain: &Payload,
        until: Instant,
    ) -> anyhow::Result<()> {
        let url = timeout_at(until, self.url()).await;
        let url = url.map_err(|_| anyhow!("reading the secret took too long"))??;
        match self.send(&url, message, until).await {
            Ok(()) => Ok(()),
            Err(Undelivered::Blocks(refused)) => {
                error!(
                    "Slack refused the blocks ({refused}), so the message is sent without blocks"
                );
                let sent = self.send(&url, plain, until).await;
                sent.map_err(Undelivered::error).context("the message without blocks")
            }
            Err(other) => Err(other.error()),
        }
    }

    /// The URL from the secret. A process reads the secret once, and again after a refusal.
    async fn url(&self) -> anyhow::Result<Arc<WebhookUrl>> {
        if let Some(url) = self.cached().clone() {
            return Ok(url);
        }
        let asked = self.secrets.get_secret_value().secret_id(&self.secret).send().await;
        let found = asked.map_err(warden_aws::explain);
        let found = found.with_context(|| format!("reading the secret {}", self.secret))?;
        let text =
            found.secret_string().context("the secret has no text value: store the URL as text")?;
        let url = WebhookUrl::parse(text).with_context(|| format!("the secret {}", self.secret))?;
        let url = Arc::new(url);
        *self.cached() = Some(Arc::clone(&url));
        Ok(url)
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Arc<WebhookUrl>>> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one payload until Slack accepts or permanently refuses the payload, or until the time is over.
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
                Outcome::Accepted => {
                    info!("Slack accepted the message");
                    return Ok(());
                }
                Outcome::Blocks(refused) => return Err(Undelivered::Blocks(refused)),
                Outcome::Refused(refused) => {
                    // A person may store another URL in the secret, so the next message reads the secret.
                    *self.cached() = None;
                    return Err(Undelivered::Error(anyhow!(
                        "Slack refused the message permanently: {refused}"
                    )));
                }
                Outcome::Wait(Some(wait)) => {
                    (format!("Slack asks to wait for {} s", wait.as_secs()), wait)
                }
                Outcome::Wait(None) => {
                    let wait = pause;
                    pause *= 3;
                    ("Slack asks to wait, and gives no time".to_owned(), wait)
                }
                Outcome::Failed(reason) => {
                    if attempt == ATTEMPTS {
                        let reason = anyhow!("{reason} (attempt {ATTEMPTS} of {ATTEMPTS})");
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
                let reason = anyhow!("{reason}, and the function has no time for another attempt");
                return Err(Undelivered::Error(reason));
            }
            warn!(
                "the message is not delivered yet, and the next attempt is in {} s: {reason}",
                wait.as_secs()
            );
            sleep(wait).await;
        }
    }
}

impl Undelivered {
    fn error(self) -> anyhow::Error {
        match self {
            Self::Blocks(refused) => anyhow!("Slack refused the message permanently: {refused}"),
            Self::Error(error) => error,
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("secret", &self.secret).finish_non_exhaustive()
    }
}
