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

/// The maximum time in which a client sends the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// The maximum time in which a client sends the body, which can be a large layer.
const BODY: Duration = Duration::from_secs(10 * 60);

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

/// A connection that ends without an answer: by an injected fault, or because the client stopped in
/// the middle of a request.
#[derive(Debug)]
pub(crate) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset by peer")
    }
}

impl std::error::Error for Reset {}

impl LocalAws {
    /// Serves on the address. Port 0 takes any free port. The error names a port in use.
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
            // Dropping the set ends the connections.
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else {
                    // The process probably has no free file descriptors until a connection ends.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                // Without this, an answer in small pieces waits for acknowledgements of the client.
                let _ = stream.set_nodelay(true);
                connections.spawn(aws.clone().serve_connection(stream));
            }
        });
        Ok(Server { endpoint, task })
    }

    /// Serves a connection until the client closes it.
    pub async fn serve_connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(move |request| self.clone().answer(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
        // A connection that the client closes is no failure of the server.
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
