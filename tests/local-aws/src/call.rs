//! Reads a request by its protocol: the operation, the service and the caller.

#![expect(clippy::result_large_err, reason = "an error is an answer like any other")]

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{ACCOUNT, REGION, distribution, query};

/// A call: the operation and the caller. An access key of twelve digits is the caller's account, and
/// any other access key belongs to [`ACCOUNT`]. A session token that is the ARN of a role or user
/// identifies the caller, and so does the session token of a function's process.
#[derive(Clone, Debug)]
pub struct Called {
    /// The service of the signature, such as `ecr`.
    pub service: String,
    /// The operation, such as `PutImage`.
    pub operation: String,
    /// The caller's account.
    pub account: String,
    /// The region of the signature.
    pub region: String,
    /// The session token.
    pub token: Option<String>,
}

/// The input of a call, by its protocol.
pub(crate) enum Input {
    /// JSON, for an operation that `x-amz-target` names.
    Json(Value),
    /// A form, which names the operation.
    Query(query::Input),
    /// A path and a method.
    Rest {
        /// The path of the request.
        path: String,
    },
    /// The protocol of registries.
    Distribution {
        /// The repository, or an empty text where the request names no repository.
        repository: String,
    },
}

impl Called {
    /// A call without a session token, in [`ACCOUNT`] and [`REGION`].
    pub(crate) fn new(service: &str, operation: &str) -> Self {
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            token: None,
        }
    }

    /// Reads a request. The error is the answer to a malformed request.
    pub(crate) fn read(request: &Request<Bytes>) -> Result<(Self, Input), Response<Bytes>> {
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let token = text("x-amz-security-token").map(str::to_owned);
        let mut called = Self { token, ..Self::new("", "") };
        let scope = text("authorization").and_then(|header| header.split("Credential=").nth(1));
        if let Some([key, _date, region, service, ..]) =
            scope.map(|scope| scope.split('/').collect::<Vec<_>>()).as_deref()
        {
            (*service).clone_into(&mut called.service);
            (*region).clone_into(&mut called.region);
            if key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit()) {
                (*key).clone_into(&mut called.account);
            }
        }
        if let Some((target, operation)) =
            text("x-amz-target").and_then(|target| target.rsplit_once('.'))
        {
            operation.clone_into(&mut called.operation);
            if target.starts_with("AmazonEC2ContainerRegistry_V") {
                "ecr".clone_into(&mut called.service);
            }
            return match serde_json::from_slice(request.body()) {
                Ok(input @ Value::Object(_)) => Ok((called, Input::Json(input))),
                _ => {
                    Err(json_error(400, "SerializationException", "the body is not a JSON object"))
                }
            };
        }
        let form = text("content-type")
            .is_some_and(|media_type| media_type.starts_with("application/x-www-form-urlencoded"));
        if !form {
            called.operation = rest_operation(request);
            let path = request.uri().path().to_owned();
            return Ok((called, Input::Rest { path }));
        }
        let Ok(body) = std::str::from_utf8(request.body()) else {
            let body = query::error("MalformedQueryString", "the body is not text");
            return Err(response(400, "text/xml", body));
        };
        let input = query::read(body);
        called.operation = input.get("Action").cloned().unwrap_or_default();
        Ok((called, Input::Query(input)))
    }

    /// An error in the protocol of the call.
    #[expect(clippy::unused_self, reason = "a caller reads it as the error of the call")]
    pub(crate) fn error(
        &self,
        input: &Input,
        status: u16,
        code: &str,
        message: &str,
    ) -> Response<Bytes> {
        match input {
            Input::Query(_) => response(status, "text/xml", query::error(code, message)),
            Input::Json(_) | Input::Rest { .. } => json_error(status, code, message),
            Input::Distribution { .. } => distribution::problem(status, code, message),
        }
    }
}

/// The operation that the path and the method of a request name.
fn rest_operation(request: &Request<Bytes>) -> String {
    match (request.method().as_str(), request.uri().path()) {
        ("POST", "/coverage/list") => "ListCoverage".to_owned(),
        ("POST", "/cluster/get") => "GetClustersForImage".to_owned(),
        ("POST", path) if path.ends_with("/invocations") => "Invoke".to_owned(),
        ("GET", path) if path.ends_with("/configuration") => "GetFunctionConfiguration".to_owned(),
        (method, path) => format!("{method} {path}"),
    }
}

pub(crate) fn json_error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = json!({"__type": code, "message": message}).to_string();
    let mut response = response(status, "application/x-amz-json-1.1", body);
    if let Ok(code) = code.parse() {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

pub(crate) fn json_answer(answer: &Value) -> Response<Bytes> {
    response(200, "application/x-amz-json-1.1", answer.to_string())
}

pub(crate) fn response(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
