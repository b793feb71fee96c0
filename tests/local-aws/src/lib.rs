//! An AWS in memory, behind the SDK's HTTP client: no port, no thread, no clock of its own.
//!
//! It answers as the service models say, with the services' own errors; what it does not
//! know is answered as an unknown operation. Every call is recorded, and any call can be
//! made to fail.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "it serves tests, which end when something is off"
)]

pub mod ecr;
pub mod iam;
mod query;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

/// The account that everything is in.
pub const ACCOUNT: &str = "123456789012";
/// The region that everything is in.
pub const REGION: &str = "us-east-1";
/// What a custom resource answers to.
pub const RESPONSE_URL: &str = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3Aus-east-1%3A123456789012%3Astack/warden/example%7CRepository%7Cexample?AWSAccessKeyId=AKIDEXAMPLE&Expires=1800000000&Signature=%2Bmarked-secret%2Fsignature%3D";

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The service refuses it with this status and code.
    Error(u16, &'static str),
    /// The connection breaks before anything was done.
    ResetBefore,
    /// The connection breaks after it was done.
    ResetAfter,
    /// No answer ever comes.
    Hang,
    /// The caller's process has a defect just there.
    Panic,
}

/// Everything there is.
#[derive(Default)]
pub struct State {
    /// Amazon ECR.
    pub ecr: ecr::Ecr,
    /// AWS IAM.
    pub iam: iam::Iam,
    /// What `DescribeStacks` says of any stack.
    pub stack_status: String,
    /// What was sent to [`RESPONSE_URL`] and taken.
    pub answers: Vec<Value>,
    /// The operations that were called, in order; an answer is `Answer`.
    pub calls: Vec<String>,
    faults: Vec<(String, usize, Fault)>,
}

/// An AWS, shared by whoever clones it.
#[derive(Clone, Default)]
pub struct LocalAws(Arc<Mutex<State>>);

impl LocalAws {
    /// Its state, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the `nth` (from 1) call of `operation` from now on go wrong; 0 for each one.
    pub fn fault(&self, operation: &str, nth: usize, fault: Fault) {
        let mut state = self.state();
        let before = state.calls.iter().filter(|call| *call == operation).count();
        let nth = if nth == 0 { 0 } else { before + nth };
        state.faults.push((operation.to_owned(), nth, fault));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// The calls since the last time that changed something, or meant to.
    #[must_use]
    pub fn take_changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.state().calls);
        let reads = ["Describe", "Get", "List", "StartLifecyclePolicyPreview", "Answer"];
        calls.into_iter().filter(|call| !reads.iter().any(|read| call.starts_with(read))).collect()
    }

    /// A client configuration that reaches nothing but this.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "local-aws");
        let connector = SharedHttpConnector::new(self.clone());
        let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .http_client(client)
            .build()
    }

    async fn serve(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let call = Call::read(&request);
        let fault = {
            let mut state = self.state();
            state.calls.push(call.operation.clone());
            let nth = state.calls.iter().filter(|made| **made == call.operation).count();
            let mut faults = state.faults.iter();
            faults
                .find(|(of, at, _)| *of == call.operation && (*at == nth || *at == 0))
                .map(|fault| fault.2.clone())
        };
        let reset = || ConnectorError::io("connection reset by peer".into());
        match fault {
            None => Ok(self.answer(&call)),
            Some(Fault::Error(status, code)) => Ok(call.error(status, code, "made to fail")),
            Some(Fault::ResetBefore) => Err(reset()),
            Some(Fault::ResetAfter) => {
                let _ = self.answer(&call);
                Err(reset())
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a defect while calling {}", call.operation),
        }
    }

    fn answer(&self, call: &Call) -> HttpResponse {
        let state = &mut *self.state();
        match &call.body {
            Body::Answer(body) => {
                state.answers.push(serde_json::from_str(body).expect("an answer is JSON"));
                response(200, String::new())
            }
            Body::Json(input) => match state.ecr.serve(&call.operation, input) {
                Ok(output) => response(200, output.to_string()),
                Err(error) => call.error(400, error.code, &error.message),
            },
            Body::Query(input) if call.operation == "DescribeStacks" => {
                let name = input.get("StackName").map_or("", String::as_str);
                let status = &state.stack_status;
                response(
                    200,
                    query::result(
                        "DescribeStacks",
                        &format!(
                            "<Stacks><member><StackName>{name}</StackName><StackId>{name}</StackId>\
                         <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>{status}</StackStatus></member></Stacks>"
                        ),
                    ),
                )
            }
            Body::Query(input) => match state.iam.serve(&call.operation, input) {
                Ok(output) => response(200, query::result(&call.operation, &output)),
                Err((status, code, message)) => call.error(status, code, &message),
            },
        }
    }
}

impl std::fmt::Debug for LocalAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalAws")
    }
}

impl HttpConnector for LocalAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().serve(request))
    }
}

/// One call, as its protocol has it.
struct Call {
    operation: String,
    body: Body,
}

enum Body {
    Json(Value),
    Query(query::Input),
    Answer(String),
}

impl Call {
    fn read(request: &HttpRequest) -> Self {
        let bytes = request.body().bytes().unwrap_or_default();
        let text = String::from_utf8(bytes.to_vec()).expect("a body is text");
        if request.method() == "PUT" {
            assert_eq!(request.uri(), RESPONSE_URL, "the URL was changed on its way");
            assert_eq!(
                request.headers().get("content-type"),
                None,
                "the URL is signed without one"
            );
            return Self { operation: "Answer".to_owned(), body: Body::Answer(text) };
        }
        if let Some(target) = request.headers().get("x-amz-target") {
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            return Self {
                operation,
                body: Body::Json(serde_json::from_str(&text).unwrap_or_default()),
            };
        }
        let input = query::read(&text);
        let operation = input.get("Action").cloned().unwrap_or_default();
        Self { operation, body: Body::Query(input) }
    }

    fn error(&self, status: u16, code: &str, message: &str) -> HttpResponse {
        let body = match self.body {
            Body::Json(_) => json!({"__type": code, "message": message}).to_string(),
            Body::Query(_) => query::error(code, message),
            Body::Answer(_) => String::new(),
        };
        response(status, body)
    }
}

fn response(status: u16, body: String) -> HttpResponse {
    let response =
        http::Response::builder().status(status).body(SdkBody::from(body)).expect("a response");
    HttpResponse::try_from(response).expect("a response")
}
