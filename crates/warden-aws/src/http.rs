//! Requests to other servers than AWS, with the HTTP client of the SDK. A second HTTP client would read
//! the TLS roots a second time, and make each function larger.
//!
//! The URLs of these requests are secrets: anybody who has a URL can answer CloudFormation or write to
//! Slack in place of the function. This module prints no URL, and disables the logs of the SDK for these
//! requests, because the SDK logs requests at the levels DEBUG and TRACE.

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

/// The timeout for a connection.
///
/// The HTTP client keeps a connector for each timeout, and each connector reads all TLS roots.
/// Therefore all users of the HTTP client share this timeout.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most bytes that are read of a response.
const LARGEST_ANSWER: usize = 16 * 1_024;

/// When the TLS roots are read. Reading them takes three times as long as the rest of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// At the start, when Lambda provides a whole processor: for a function that makes a call for
    /// every event.
    AtStart,
    /// At the first call: for a function that makes no call for most events.
    AtFirstCall,
}

/// Builds the HTTP client of a process.
#[must_use]
pub fn client(roots: Roots) -> SharedHttpClient {
    let hyper = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let is_ready = AtomicBool::new(roots == Roots::AtFirstCall);
    SharedHttpClient::new(Client { hyper, is_ready })
}

/// The HTTP client of the SDK, which reads the TLS roots once. The SDK's client alone reads them for
/// each client of a service, and again for the connections.
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

/// The response to a request. The caller decides whether the status is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code, such as 200.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The beginning of the body, as text.
    pub body: String,
}

/// Sends a request once. Returns the response if it is complete within `timeout`. The error does not
/// contain the URL.
///
/// The URL is sent unchanged, because its signature may cover every character. A signature may cover
/// `Content-Type` too, so the request has this header only if `content_type` is given.
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
        Err(_) => Err(anyhow!("no complete response within {} s", timeout.as_secs_f32())),
    }
}

/// Reads the beginning of the body of a response.
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

/// A response whose body was not read yet.
#[derive(Debug)]
struct Head {
    status: u16,
    retry_after: Option<String>,
    body: SdkBody,
}

/// Takes a response before its body was read. The SDK would read the whole body, of any length.
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
        Err(OrchestratorError::other("the body of the response was already taken"))
    }
}

/// Splits a URL into the scheme with the authority and the path with the query, without any change.
fn split(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let path = url.get(authority..)?.find('/')? + authority;
    Some(url.split_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_without_a_change() {
        let url = "https://example.com:8443/a%2Fb?c=%2B&d";
        assert_eq!(split(url), Some(("https://example.com:8443", "/a%2Fb?c=%2B&d")));
        assert_eq!(split("https://example.com"), None);
        assert_eq!(split("/a"), None);
    }
}
