//! The services other than ECR and IAM: SNS, `DynamoDB`, Secrets Manager and SQS by the winterbaume
//! crates, and Parameter Store and Inspector by this crate.
//!
//! The winterbaume crates keep the state. This module first checks what AWS refuses and these crates
//! accept. It lists the operations that it serves and answers every other one as an unknown
//! operation, because the crates answer many of the others with an empty success.

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

/// The result of an operation.
type Answer = Result<MockResponse, Refusal>;

/// The services of one embedded AWS.
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
    /// Services without any resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the service of this signing name is served here.
    #[must_use]
    pub fn serves(&self, service: &str) -> bool {
        matches!(service, "sns" | "dynamodb" | "ssm" | "secretsmanager" | "sqs" | "inspector2")
    }

    /// The data of Inspector, which a test may read and change.
    pub fn inspector(&self) -> MutexGuard<'_, Inspector> {
        self.inspector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages to subscribers of topics since the last time, in the order of publishing.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        self.sns.take_deliveries()
    }

    /// The changes of parameters since the last time.
    pub fn take_parameter_changes(&self) -> Vec<ParameterChange> {
        self.parameters.take_changes()
    }

    /// Serves a request to the service of this signing name, in the region of the signature.
    ///
    /// There is one account, the account of the crates. The caller of this function refuses requests
    /// of other accounts. Signatures are not checked.
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
        // The status of a crate is one of a few constants. A caller must not retry an invalid status.
        *response.status_mut() =
            http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::NOT_IMPLEMENTED);
        *response.headers_mut() = answer.headers;
        response
    }
}

/// The parts of a request that all services read.
struct Call {
    service: String,
    /// The operation in `X-Amz-Target`. Empty in the query protocol, whose form names the operation.
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

    /// Forwards the request unchanged.
    async fn forward(&self, service: &impl MockService) -> MockResponse {
        self.forward_as(service, &self.operation, self.body.clone()).await
    }

    /// Forwards the request as another operation or with another body.
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
                // The crates read the region from the host.
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

/// A refused request: the code and the message of the answer.
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
