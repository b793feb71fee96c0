//! Requests that are no calls of AWS, by the SDK's own HTTP client: a second client would read
//! the TLS roots a second time, and make each function larger.
//!
//! The URLs that they go to are secrets: whoever has one can answer or write in our name. So
//! nothing here prints one, and what the SDK logs of a request at its most talkative levels is
//! not logged of these.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_runtime_api::client::ser_de::DeserializeResponse;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::timeout::TimeoutConfig;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// How long a connection may take to be made.
///
/// The HTTP client keeps a connector for each value of it, and each connector has read all
/// TLS roots: whoever uses that client beside the SDK takes this one.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most bytes that are read of an answer.
const LARGEST_ANSWER: usize = 16 * 1_024;

/// When the TLS roots are read, which takes three times as long as all else at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// At the start, when Lambda gives a whole processor: for functions that always call.
    AtStart,
    /// At the first call: for a function most of whose events end without any.
    AtFirstCall,
}

/// The HTTP client of a process.
#[must_use]
pub fn client(roots: Roots) -> SharedHttpClient {
    let hyper = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let is_ready = AtomicBool::new(roots == Roots::AtFirstCall);
    SharedHttpClient::new(Client { hyper, is_ready })
}

/// The SDK's own client, which reads the roots for each client of a service that is built with
/// it, and then again for the connections; this one does so once at most.
#[derive(Debug)]
struct Client {
    hyper: SharedHttpClient,
    is_ready: AtomicBool,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.hyper.http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        if self.is_ready.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.hyper.validate_base_client_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.hyper.connector_metadata()
    }
}

/// What was answered, whatever the status: that one of them is an error is for the caller to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The text, cut off where it is longer than any that is expected.
    pub body: String,
}

/// Sends a request once, and gives the answer if it has come as a whole within `timeout`. The
/// error does not say where it went.
///
/// The URL is sent to the letter, since it may be signed as it stands; for the same reason there
/// is no header `Content-Type` unless one is given.
pub async fn send(
    http: &SharedHttpClient,
    method: http::Method,
    url: &str,
    content_type: Option<&'static str>,
    body: &str,
    timeout: Duration,
) -> anyhow::Result<Answer> {
    let (origin, path) = split(url).context("expected a URL")?;
    let operation = Operation::builder()
        .service_name("http")
        .operation_name("send")
        .http_client(http.clone())
        .endpoint_url(origin)
        .no_auth()
        .no_retry()
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
        .serializer(move |(path, body): (String, String)| {
            let request = http::Request::builder().method(method.clone()).uri(path);
            let request = match content_type {
                Some(content_type) => request.header("content-type", content_type),
                None => request,
            };
            Ok(HttpRequest::try_from(request.body(SdkBody::from(body))?)?)
        })
        .deserializer_impl::<Head, Infallible>(ReadHead)
        .build();
    let sent = async {
        let Head { status, retry_after, body } =
            operation.invoke((path.to_owned(), body.to_owned())).await?;
        anyhow::Ok(Answer { status, retry_after, body: read(body).await? })
    };
    match tokio::time::timeout(timeout, sent.with_subscriber(NoSubscriber::default())).await {
        Ok(answer) => answer,
        Err(_) => Err(anyhow!("no answer within {} s", timeout.as_secs_f32())),
    }
}

/// The beginning of an answer's body.
async fn read(body: SdkBody) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut stream = ByteStream::new(body);
    while bytes.len() < LARGEST_ANSWER
        && let Some(chunk) = stream.next().await
    {
        bytes.extend_from_slice(&chunk?);
    }
    bytes.truncate(LARGEST_ANSWER);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An answer whose body has still to be read.
#[derive(Debug)]
struct Head {
    status: u16,
    retry_after: Option<String>,
    body: SdkBody,
}

/// Takes an answer before its body has come: the SDK would read all of it, however long.
#[derive(Debug)]
struct ReadHead;

impl DeserializeResponse for ReadHead {
    fn deserialize_streaming_with_config(
        &self,
        response: &mut HttpResponse,
        _: &ConfigBag,
    ) -> Option<Result<Output, OrchestratorError<Error>>> {
        Some(Ok(Output::erase(Head {
            status: response.status().as_u16(),
            retry_after: response.headers().get("retry-after").map(str::to_owned),
            body: response.take_body(),
        })))
    }

    fn deserialize_nonstreaming_with_config(
        &self,
        _: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        Err(OrchestratorError::other("an answer that was taken already"))
    }
}

/// A URL's scheme and authority, and its path with the query, to the letter.
fn split(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let path = url.get(authority..)?.find('/')? + authority;
    Some(url.split_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_to_the_letter() {
        let url = "https://example.com:8443/a%2Fb?c=%2B&d";
        assert_eq!(split(url), Some(("https://example.com:8443", "/a%2Fb?c=%2B&d")));
        assert_eq!(split("https://example.com"), None);
        assert_eq!(split("/a"), None);
    }
}
