//! One request, as its protocol has it: which operation of which service, by whom.

#![expect(clippy::result_large_err, reason = "a refusal is an answer like any other")]

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{ACCOUNT, REGION, distribution, query};

/// Who calls what. Access keys that are twelve digits name their account, and any other one
/// belongs to [`ACCOUNT`]; a session token that is the ARN of a role or user names the
/// caller, as does that of a function's process.
#[derive(Clone, Debug)]
pub struct Called {
    /// The name it is signed for, such as `ecr`.
    pub service: String,
    /// Such as `PutImage`.
    pub operation: String,
    /// The caller's account.
    pub account: String,
    /// The region it is signed for.
    pub region: String,
    /// The session token, if there is one.
    pub token: Option<String>,
}

/// What a call's body is in.
pub(crate) enum Input {
    /// JSON, under an `x-amz-target`.
    Json(Value),
    /// A form.
    Query(query::Input),
    /// By its path and method.
    Rest {
        /// The path of the request.
        path: String,
    },
    /// The registry's own protocol.
    Distribution {
        /// The repository, empty where the request names none.
        repository: String,
    },
}

impl Called {
    /// A call of nobody known.
    pub(crate) fn of(service: &str, operation: &str) -> Self {
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            token: None,
        }
    }

    /// Reads a request; none if it is malformed, with the answer to that.
    pub(crate) fn read(request: &Request<Bytes>) -> Result<(Self, Input), Response<Bytes>> {
        let text = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
        let token = text("x-amz-security-token").map(str::to_owned);
        let mut called = Self { token, ..Self::of("", "") };
        let scope = text("authorization").and_then(|it| it.split("Credential=").nth(1));
        if let Some([key, _date, region, service, ..]) =
            scope.map(|scope| scope.split('/').collect::<Vec<_>>()).as_deref()
        {
            (*service).clone_into(&mut called.service);
            (*region).clone_into(&mut called.region);
            if key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit()) {
                (*key).clone_into(&mut called.account);
            }
        }
        if let Some((target, operation)) = text("x-amz-target").and_then(|it| it.rsplit_once('.')) {
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
            .is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
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
    #[expect(clippy::unused_self, reason = "it reads as what the call is answered with")]
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

/// The operation of a protocol that has it in the path and the method, where it is served.
fn rest_operation(request: &Request<Bytes>) -> String {
    match (request.method().as_str(), request.uri().path()) {
        ("POST", "/coverage/list") => "ListCoverage".to_owned(),
        ("POST", "/cluster/get") => "GetClustersForImage".to_owned(),
        ("POST", path) if path.ends_with("/invocations") => "Invoke".to_owned(),
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
