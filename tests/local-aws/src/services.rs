//! The services beside ECR and IAM: SNS, `DynamoDB`, Secrets Manager and SQS by the winterbaume
//! crates, Parameter Store and Inspector by our own.
//!
//! The crates keep the state; what they would let pass and AWS does not is checked here, in
//! front of them. Operations are served by name: what is not listed is answered as an unknown
//! operation, because the crates answer much of the rest with an empty success.

mod dynamodb;
mod json;
mod parameters;
mod reserved;
mod sns;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use winterbaume_core::{MockRequest, MockResponse, MockService, auth};
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_sqs::SqsService;

pub use self::parameters::ParameterChange;
pub use self::sns::{Attribute, Delivery, lambda_event};
use crate::REGION;
use crate::inspector::Inspector;

/// What an operation came to.
type Answer = Result<MockResponse, Refusal>;

/// The services, one set for everything that is served.
#[derive(Default)]
pub struct Services {
    sns: sns::Sns,
    dynamodb: dynamodb::DynamoDb,
    parameters: parameters::Parameters,
    secrets_manager: SecretsManagerService,
    sqs: SqsService,
    inspector: Mutex<Inspector>,
}

impl Services {
    /// Services with nothing in them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this is where the service of that signing name is.
    #[must_use]
    pub fn serves(&self, service: &str) -> bool {
        matches!(service, "sns" | "dynamodb" | "ssm" | "secretsmanager" | "sqs" | "inspector2")
    }

    /// What Inspector knows, to look at and to change.
    pub fn inspector(&self) -> MutexGuard<'_, Inspector> {
        self.inspector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the topics' subscribers were sent since the last time, in the order of publishing.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        self.sns.take_deliveries()
    }

    /// The changes of parameters since the last time.
    pub fn take_parameter_changes(&self) -> Vec<ParameterChange> {
        self.parameters.take_changes()
    }

    /// Serves one request to the service of that signing name.
    ///
    /// The region is the one that it was signed for. There is one account, the crates' own:
    /// whoever passes requests on refuses those of others. Signatures are not checked.
    pub async fn handle(&self, service: &str, request: Request<Bytes>) -> Response<Bytes> {
        let call = Call::read(service, request.clone());
        let answer = match service {
            "inspector2" => return self.inspector().handle(&request),
            "sns" => self.sns.serve(&call).await,
            "dynamodb" => self.dynamodb.serve(&call).await,
            "ssm" => self.parameters.serve(&call),
            "secretsmanager" => json::secrets(&self.secrets_manager, &call).await,
            "sqs" => json::queues(&self.sqs, &call).await,
            _ => Err(call.unknown()),
        };
        let answer = answer.unwrap_or_else(|refusal| refusal.answer(service));
        let mut response = Response::new(answer.body);
        // A crate's status is one of a few constants; were it none, the caller must not retry.
        *response.status_mut() =
            http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::NOT_IMPLEMENTED);
        *response.headers_mut() = answer.headers;
        response
    }
}

/// One request, as far as all services read it alike.
struct Call {
    service: String,
    /// Behind the dot of `X-Amz-Target`; empty in the query protocol, which has it in its form.
    operation: String,
    region: String,
    method: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn read(service: &str, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default();
        let region = auth::extract_region_from_headers(&parts.headers);
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            region: region.unwrap_or_else(|| REGION.to_owned()),
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: parts.headers,
            body,
        }
    }

    /// Passes it on as it came.
    async fn forward(&self, service: &impl MockService) -> MockResponse {
        self.forward_as(service, &self.operation, self.body.clone()).await
    }

    /// Passes it on as another operation or with another body.
    async fn forward_as(
        &self,
        service: &impl MockService,
        operation: &str,
        body: impl Into<Bytes>,
    ) -> MockResponse {
        let mut headers = self.headers.clone();
        if let Ok(target) = format!("local.{operation}").parse() {
            headers.insert("x-amz-target", target);
        }
        service
            .handle(MockRequest {
                method: self.method.clone(),
                // The crates find the region in the host.
                uri: format!("https://{}.{}.amazonaws.com{}", self.service, self.region, self.path),
                headers,
                body: body.into(),
            })
            .await
    }

    fn unknown(&self) -> Refusal {
        let operation = &self.operation;
        Refusal::new("UnknownOperationException", format!("{operation} is not served here"))
    }
}

/// A request that a service does not take, with the code and the message of its answer.
#[derive(Debug)]
struct Refusal {
    status: u16,
    code: String,
    message: String,
}

impl Refusal {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    fn answer(self, service: &str) -> MockResponse {
        if service == "sns" {
            let body = crate::query::error(&self.code, &self.message);
            return MockResponse::xml(self.status, body);
        }
        let body = serde_json::json!({"__type": self.code, "message": self.message});
        let mut answer = MockResponse::json(self.status, body.to_string());
        if self.code == json::NO_QUEUE.0
            && let Ok(code) = json::NO_QUEUE.1.parse()
        {
            answer.headers.insert("x-amzn-query-error", code);
        }
        answer
    }
}
