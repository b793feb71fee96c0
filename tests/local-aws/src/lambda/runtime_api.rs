//! The Runtime API of a process. Each process has its own port, because `AWS_LAMBDA_RUNTIME_API` contains
//! only a host and a port.

use std::io;
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::Function;
use crate::call::response;

/// The maximum size of an answer: 6 MB and 100 bytes, as the error of Lambda states.
const ANSWER: usize = 6 * 1_024 * 1_024 + 100;

/// A request of a process.
pub enum Asked {
    /// A request for the next event.
    Next(Next),
    /// The answer to the current event.
    Response(Bytes),
    /// An error of the current event or of the start of the process.
    Error(Bytes),
}

/// A pending `GET /next`.
pub struct Next(oneshot::Sender<Response<Bytes>>);

impl Next {
    /// Answers the request with an event.
    pub fn send(self, request_id: &str, event: &str, function: &Function) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline = (now + function.timeout).as_millis().to_string();
        let mut next = response(200, "application/json", event.to_owned());
        for (name, value) in [
            ("lambda-runtime-aws-request-id", request_id),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", &function.arn()),
            ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                next.headers_mut().insert(name, value);
            }
        }
        // The task that waits for the answer notices that a process has ended.
        let _ = self.0.send(next);
    }
}

/// A request, and the channel for its answer.
struct Pending(Request<Bytes>, oneshot::Sender<Response<Bytes>>);

/// The port of a process.
pub struct RuntimeApi {
    address: String,
    requests: mpsc::Receiver<Pending>,
    task: JoinHandle<()>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RuntimeApi {
    pub async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (sender, requests) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else { continue };
                let sender = sender.clone();
                let service = service_fn(move |request| ask(request, sender.clone()));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A process may end at any time, and its connections with it.
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Ok(Self { address, requests, task })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next valid request of the process. An invalid request gets an error. `current` is the ID of
    /// the current event, or empty.
    pub async fn asked(&mut self, current: &str) -> Asked {
        loop {
            let Some(Pending(request, reply)) = self.requests.recv().await else {
                return std::future::pending().await;
            };
            let path = request.uri().path().strip_prefix("/2018-06-01/runtime/").unwrap_or("");
            let parts: Vec<&str> = path.split('/').collect();
            let refuse = |status: u16, kind: &str, message: &str| {
                let body = json!({"errorType": kind, "errorMessage": message}).to_string();
                response(status, "application/json", body)
            };
            let accepted = || response(202, "application/json", r#"{"status":"OK"}"#);
            let refused = match (request.method(), &parts[..]) {
                (&Method::GET, ["invocation", "next"]) => return Asked::Next(Next(reply)),
                (&Method::POST, ["invocation", id, "response" | "error"]) if *id != current => {
                    refuse(400, "InvalidRequestID", "Invalid request ID")
                }
                (&Method::POST, ["invocation", _, "response"]) => {
                    if request.body().len() > ANSWER {
                        let message = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
                        let _ = reply.send(refuse(413, "RequestEntityTooLarge", message));
                        let error = json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message});
                        return Asked::Error(error.to_string().into());
                    }
                    let _ = reply.send(accepted());
                    return Asked::Response(request.into_body());
                }
                (&Method::POST, ["init", "error"] | ["invocation", _, "error"]) => {
                    let _ = reply.send(accepted());
                    return Asked::Error(request.into_body());
                }
                _ => refuse(404, "NotFound", "there is no such path"),
            };
            let _ = reply.send(refused);
        }
    }
}

/// Forwards a request and waits for its answer.
async fn ask(
    request: Request<Incoming>,
    sender: mpsc::Sender<Pending>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let gone = || io::Error::from(io::ErrorKind::ConnectionReset);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| gone())?.to_bytes();
    let (reply, answer) = oneshot::channel();
    sender.send(Pending(Request::from_parts(head, body), reply)).await.map_err(|_| gone())?;
    answer.await.map(|answer| answer.map(Full::new)).map_err(|_| gone())
}
