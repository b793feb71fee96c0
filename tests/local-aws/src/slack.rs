//! Slack, which receives messages by an incoming webhook:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
//!
//! It rejects each message in which [`check()`] finds a mistake. A test can set a [`Reply`], such as
//! a rate limit, a delay, an error or an unknown webhook. The webhook is `/services/T…/B…/…` at
//! [`HOST`] behind the SDK's HTTP client, and on each port that is served.

mod check;
mod show;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use self::check::check;
pub use self::show::render;
use crate::server::Reset;

/// The host of Slack behind the SDK's HTTP client.
pub const HOST: &str = "hooks.slack.com";

/// A reaction to a message that a test sets.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Slack answers with this status and text, and the channel does not receive the message.
    Answer(u16, &'static str),
    /// Slack answers with 429 and, if set, a `Retry-After` of so many seconds.
    Busy(Option<&'static str>),
    /// Slack checks the message and answers after this time.
    Slow(Duration),
    /// Slack never answers.
    Hang,
    /// The connection breaks before Slack checks the message.
    Reset,
    /// Slack checks the message, and the connection breaks before the answer.
    ResetAfter,
}

/// A workspace with one channel. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Slack(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    attempts: usize,
    messages: Vec<Value>,
    refused: Vec<String>,
    script: VecDeque<Reply>,
    always: Option<Reply>,
}

/// A port that is served until this value is dropped.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    task: JoinHandle<()>,
}

impl Server {
    /// The URL of the port, such as `http://127.0.0.1:4566`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Slack {
    /// Sets the reactions to the next messages, in order. Slack checks the messages after those.
    pub fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner().script.extend(replies);
    }

    /// Sets the reaction to each message from now on. Without one, Slack checks the messages.
    pub fn always(&self, reply: Option<Reply>) {
        self.inner().always = reply;
    }

    /// The number of received messages since the last time, with those that were rejected.
    #[must_use]
    pub fn take_attempts(&self) -> usize {
        std::mem::take(&mut self.inner().attempts)
    }

    /// The messages that the channel received since the last time.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Value> {
        std::mem::take(&mut self.inner().messages)
    }

    /// The mistakes in messages since the last time.
    #[must_use]
    pub fn take_refused(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().refused)
    }

    /// Serves on the address. Port 0 takes any free port.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let slack = self.clone();
        let task = tokio::spawn(async move {
            // Dropping the set ends the connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let slack = slack.clone();
                let service = service_fn(move |request| slack.clone().serve_one(request));
                connections.spawn(async move {
                    let served =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A connection that the client closes is no failure of the server.
                    let _ = served.await;
                });
            }
        });
        Ok(Server { endpoint, task })
    }

    async fn serve_one(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
        Ok(self.answer(&Request::from_parts(head, body)).await?.map(Full::new))
    }

    /// Answers a request. The error is a broken connection.
    pub(crate) async fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Reset> {
        let reply = {
            let mut inner = self.inner();
            inner.attempts += 1;
            inner.script.pop_front().or_else(|| inner.always.clone())
        };
        match reply {
            None => Ok(self.judge(request)),
            Some(Reply::Answer(status, text)) => Ok(answer(status, text)),
            Some(Reply::Busy(seconds)) => {
                let mut busy = answer(429, "rate_limited");
                if let Some(seconds) = seconds {
                    let seconds = header::HeaderValue::from_static(seconds);
                    busy.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                Ok(busy)
            }
            Some(Reply::Slow(by)) => {
                let judged = self.judge(request);
                tokio::time::sleep(by).await;
                Ok(judged)
            }
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::Reset) => Err(Reset),
            Some(Reply::ResetAfter) => {
                let _ = self.judge(request);
                Err(Reset)
            }
        }
    }

    fn judge(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let parts: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        let ["services", team, service, _] = parts.as_slice() else {
            return answer(404, "no_service");
        };
        if !team.starts_with('T') || !service.starts_with('B') {
            return answer(404, "no_team");
        }
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
        let payload: Option<Value> = serde_json::from_slice(request.body()).ok();
        let Some(payload) = payload.filter(|_| is_json && request.method() == Method::POST) else {
            return answer(400, "invalid_payload");
        };
        let wrong = check(&payload);
        if wrong.is_empty() {
            self.inner().messages.push(payload);
            return answer(200, "ok");
        }
        self.inner().refused.extend(wrong);
        let has_text = payload["text"].as_str().is_some_and(|text| !text.is_empty());
        answer(400, if has_text { "invalid_blocks" } else { "no_text" })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(status: u16, text: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(text.as_bytes()));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    answer
}

#[cfg(test)]
mod tests;
