//! Calls a service by the protocol AWS JSON, with the HTTP client, the retries and the signatures of the
//! SDK.
//!
//! The functions queue sweeps and put events, and the command-line tool makes a few calls of SQS and
//! CloudWatch. The SDK crates of both take half a minute to compile, and the crate of CloudWatch brings a
//! second HTTP stack.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>

use anyhow::{Context as _, anyhow, bail};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use serde_json::Value;

use crate::ServiceError;

/// A client of one service.
#[derive(Debug)]
pub struct JsonClient {
    call: Operation<(String, String), Value, ServiceError>,
    target: &'static str,
}

impl JsonClient {
    /// Builds a client. `service` is the name in signatures, such as `sqs`, and `target` the part of the
    /// header `X-Amz-Target` before the operation, such as `AmazonSQS`. An endpoint of the configuration
    /// replaces `endpoint`.
    pub fn new(
        sdk: &SdkConfig,
        service: &'static str,
        target: &'static str,
        endpoint: &str,
    ) -> anyhow::Result<Self> {
        let credentials = sdk.credentials_provider().context("there are no AWS credentials")?;
        let http = sdk.http_client().context("the configuration has no HTTP client")?;
        let mut signing = Layer::new("signing");
        signing.store_put(AuthSchemeOptionResolverParams::new(()));
        signing.store_put(SigV4OperationSigningConfig {
            region: sdk.region().cloned().map(Into::into),
            name: Some(service.into()),
            ..SigV4OperationSigningConfig::default()
        });
        let mut components = RuntimeComponentsBuilder::new("signing")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                SCHEME_ID,
            ])))
            .with_identity_resolver(SCHEME_ID, credentials);
        // All clients of a configuration share the cached credentials.
        if let Some(cache) = sdk.identity_cache() {
            components.set_identity_cache(Some(cache));
        }
        let plugin = StaticRuntimePlugin::new()
            .with_config(signing.freeze())
            .with_runtime_components(components);
        let retries = sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        // EventBridge has the version 1.1 of the protocol. The answers have the same form.
        let version = if service == "events" { "1.1" } else { "1.0" };
        let call = Operation::builder()
            .service_name(service)
            .operation_name("call")
            .http_client(http)
            .endpoint_url(sdk.endpoint_url().unwrap_or(endpoint))
            .standard_retry(&retries)
            .retry_classifier(TransientErrorClassifier::<ServiceError>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(sdk.timeout_config().cloned().unwrap_or_else(crate::timeouts))
            .sleep_impl(TokioSleep::new())
            .runtime_plugin(plugin)
            .serializer(move |(target, body): (String, String)| {
                let request = http::Request::post("/")
                    .header("content-type", format!("application/x-amz-json-{version}"))
                    .header("x-amz-target", target);
                Ok(HttpRequest::try_from(request.body(SdkBody::from(body))?)?)
            })
            .deserializer(|response: &HttpResponse| {
                read(response.status().is_success(), response.body().bytes().unwrap_or_default())
            })
            .build();
        Ok(Self { call, target })
    }

    /// Builds a client of SQS. The endpoint is the beginning of the URL of a queue.
    pub fn sqs(sdk: &SdkConfig, queue_url: &str) -> anyhow::Result<Self> {
        Self::new(sdk, "sqs", "AmazonSQS", &endpoint(queue_url)?)
    }

    /// Calls an operation, and returns its output.
    pub async fn call(&self, operation: &str, input: &Value) -> anyhow::Result<Value> {
        let target = format!("{}.{operation}", self.target);
        let called = self.call.invoke((target, input.to_string())).await;
        called.map_err(|error| match error {
            SdkError::ServiceError(refused) => anyhow::Error::new(refused.into_err()),
            other => anyhow::Error::new(other),
        })
    }
}

/// The scheme and the host of the URL of a queue.
pub fn endpoint(queue_url: &str) -> anyhow::Result<String> {
    let parts: Vec<&str> = queue_url.splitn(4, '/').collect();
    match parts.as_slice() {
        [scheme, "", host, _] if !host.is_empty() => Ok(format!("{scheme}//{host}")),
        _ => bail!("{queue_url:?} is not the URL of a queue"),
    }
}

/// Reads an answer. An operation without an output has an empty answer.
fn read(is_success: bool, body: &[u8]) -> Result<Value, OrchestratorError<ServiceError>> {
    let answer: Value = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).map_err(|error| {
            OrchestratorError::other(anyhow!("the answer is not JSON: {error}"))
        })?,
    };
    if is_success {
        return Ok(answer);
    }
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    // A code may have a namespace before it and a URL after it.
    let code = text("__type").unwrap_or("UnknownError");
    let code = code.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or(code);
    let message = text("message").or_else(|| text("Message")).map(str::to_owned);
    Err(OrchestratorError::operation(ServiceError { code: code.to_owned(), message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_queue_is_the_beginning_of_its_url() {
        let url = "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/warden-FailedEvents-1";
        assert_eq!(endpoint(url).unwrap(), "https://sqs.cn-north-1.amazonaws.com.cn");
        assert_eq!(endpoint("http://127.0.0.1:4566/1/q").unwrap(), "http://127.0.0.1:4566");
        for url in ["", "queue", "https://", "https:///q"] {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_answer_is_an_output_or_the_error_of_the_service() {
        assert_eq!(read(true, b"").unwrap(), Value::Null);
        assert_eq!(read(true, br#"{"a": 1}"#).unwrap(), serde_json::json!({"a": 1}));
        let check = |body: &[u8], expected: &str| {
            let error = read(false, body).unwrap_err();
            assert_eq!(error.as_operation_error().unwrap().to_string(), expected);
        };
        check(
            br#"{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no queue"}"#,
            "QueueDoesNotExist: no queue",
        );
        check(
            br#"{"__type": "AccessDenied:http://internal/", "Message": "denied"}"#,
            "AccessDenied: denied",
        );
        check(b"{}", "UnknownError");
        assert!(read(false, b"<html>").unwrap_err().as_operation_error().is_none());
    }
}
