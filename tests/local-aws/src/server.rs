//! The embedded AWS on a port, over plain HTTP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::LocalAws;
use crate::call::json_error;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long it may take to send the rest, which can be a large layer.
const BODY: Duration = Duration::from_secs(10 * 60);

/// A port that is served until this is dropped.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    task: JoinHandle<()>,
}

impl Server {
    /// Such as `http://127.0.0.1:4566`.
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

/// Why a connection ends without an answer: a fault that was asked for, or a client that
/// stopped in the middle of a request.
#[derive(Debug)]
pub(crate) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset by peer")
    }
}

impl std::error::Error for Reset {}

impl LocalAws {
    /// Serves on the address; port 0 is any free one. The error says if it is in use.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let port = address.port();
            let said = match error.kind() {
                io::ErrorKind::AddrInUse => format!("port {port} is in use; choose another one"),
                _ => format!("port {port} cannot be listened on: {error}"),
            };
            io::Error::new(error.kind(), said)
        })?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        self.set_endpoint(&endpoint);
        let aws = self.clone();
        let task = tokio::spawn(async move {
            // The connections end with the port.
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely: others have to end first.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                // An answer in small pieces would wait for the client's acknowledgements.
                let _ = stream.set_nodelay(true);
                connections.spawn(aws.clone().serve_connection(stream));
            }
        });
        Ok(Server { endpoint, task })
    }

    /// Serves one connection until its client has gone.
    pub async fn serve_connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(move |request| self.clone().answer(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
        // A client that breaks off is its own affair.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
        let (head, body) = request.into_parts();
        let body = tokio::time::timeout(BODY, body.collect()).await.map_err(|_| Reset)?;
        let response = match body {
            Ok(body) => self.handle(Request::from_parts(head, body.to_bytes())).await?,
            Err(error) => json_error(400, "SerializationException", &error.to_string()),
        };
        Ok(response.map(Full::new))
    }
}
