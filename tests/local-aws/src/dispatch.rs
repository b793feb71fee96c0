//! Passes each request to its service, and applies the injected faults.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use percent_encoding::percent_decode_str;

use crate::call::{self, Called, Input, json_answer, response};
use crate::cloudformation::{events, stacks};
use crate::delay::Delays;
use crate::{
    ACCOUNT, Fault, LocalAws, RESPONSE_URL, alarms, distribution, ecr, event_bus, query, server,
};

const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

impl LocalAws {
    /// Serves a request. The error is a broken connection.
    pub(crate) async fn handle(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, server::Reset> {
        let sent = request.body().len();
        let response = self.pass(request).await;
        let mut state = self.state();
        state.sent_bytes += sent;
        state.received_bytes += response.as_ref().map_or(0, |response| response.body().len());
        response
    }

    /// Passes a request to its service.
    async fn pass(&self, request: Request<Bytes>) -> Result<Response<Bytes>, server::Reset> {
        let path = request.uri().path();
        if path.starts_with("/v2/") || path == "/v2" {
            return self.distribute(&request).await;
        }
        if request.method() == Method::GET && path.starts_with("/layers/") {
            // The download URLs of ECR point to a bucket of S3.
            let called = Called::new("s3", "GetObject");
            let input = Input::Rest { path: path.to_owned() };
            return self.with_faults(&called, &input, async { self.layer(path) }).await;
        }
        let (called, input) = match Called::read(&request) {
            Ok(read) => read,
            Err(malformed) => return Ok(malformed),
        };
        if request.method() == Method::PUT && called.service.is_empty() {
            let called = Called { operation: "Answer".to_owned(), ..called };
            let serve = async { self.take_answer(&request) };
            return self.with_faults(&called, &input, serve).await;
        }
        if called.account != ACCOUNT && self.has_one_account(&called.service) {
            let code = if matches!(input, Input::Query(_)) {
                "AccessDenied"
            } else {
                "AccessDeniedException"
            };
            let message = format!("only account {ACCOUNT} is served here");
            let refused = called.error(&input, 403, code, &message);
            return self.with_faults(&called, &input, std::future::ready(refused)).await;
        }
        if self.services().serves(&called.service) {
            let serve = async {
                if let ("sqs", Input::Json(input)) = (called.service.as_str(), &input)
                    && let Some(answer) = self.delay_messages(&called.operation, input)
                {
                    return json_answer(&answer);
                }
                let response = self.services().handle(&called.service, request).await;
                if let ("sqs", Input::Json(input)) = (called.service.as_str(), &input)
                    && response.status().is_success()
                {
                    self.poll_after(&called.operation, input);
                }
                response
            };
            return self.with_faults(&called, &input, serve).await;
        }
        if called.service == "lambda" {
            return self.with_faults(&called, &input, self.invoke(&request)).await;
        }
        self.with_faults(&called, &input, async { self.call(&called, &input) }).await
    }

    /// Whether a service is served for [`ACCOUNT`] only.
    fn has_one_account(&self, service: &str) -> bool {
        matches!(service, "cloudformation" | "events" | "iam" | "lambda" | "monitoring")
            || self.services().serves(service)
    }

    async fn distribute(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, server::Reset> {
        let route = distribution::Route::read(request.uri().path());
        let operation = route.operation(request.method());
        let input = Input::Distribution { repository: route.repository().to_owned() };
        let mut called = Called::new("ecr", operation);
        let now = self.state().now();
        if let Err(refused) = distribution::authorize(request, &mut called, now) {
            return Ok(refused);
        }
        let serve = async {
            let mut state = self.state();
            let registry = state.registry(&called.account, &called.region);
            distribution::serve(registry, request, now)
        };
        self.with_faults(&called, &input, serve).await
    }

    /// Records and serves a call, unless the caller has no permission or a fault applies.
    async fn with_faults(
        &self,
        called: &Called,
        input: &Input,
        serve: impl Future<Output = Response<Bytes>> + Send,
    ) -> Result<Response<Bytes>, server::Reset> {
        let (fault, delay) = {
            let mut state = self.state();
            state.calls.push(called.clone());
            let delay = state.delays.as_mut().map(Delays::next_delays);
            (state.faults.take_next(&called.operation), delay)
        };
        let serve = async {
            if let Some((before, _)) = delay {
                tokio::time::sleep(before).await;
            }
            let response = match self.denied(called, input) {
                Some(denied) => denied,
                None => serve.await,
            };
            self.deliver();
            self.deliver_messages().await;
            if let Some((_, after)) = delay {
                tokio::time::sleep(after).await;
            }
            response
        };
        let kill = async {
            let token = called.token.as_deref().unwrap_or_default();
            let killed = self.lambda().kill(token).await;
            assert!(killed, "{} was not called by a function", called.operation);
            Err(server::Reset)
        };
        match fault {
            None => Ok(serve.await),
            Some(Fault::Error(status, code)) => {
                Ok(called.error(input, status, code, "made to fail"))
            }
            Some(Fault::ResetBefore) => Err(server::Reset),
            Some(Fault::ResetAfter) => {
                let _ = serve.await;
                Err(server::Reset)
            }
            Some(Fault::Slow(by)) => {
                tokio::time::sleep(by).await;
                Ok(serve.await)
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                let _ = serve.await;
                std::future::pending().await
            }
            Some(Fault::Panic) => panic!("a defect while calling {}", called.operation),
            Some(Fault::KillBefore) => kill.await,
            Some(Fault::KillAfter) => {
                let _ = serve.await;
                kill.await
            }
        }
    }

    fn call(&self, called: &Called, input: &Input) -> Response<Bytes> {
        let state = &mut *self.state();
        let operation = called.operation.as_str();
        let served = match (called.service.as_str(), input) {
            ("ecr", Input::Json(input)) => {
                let principal = state.principal(called);
                let call = ecr::Call {
                    operation,
                    principal: principal.as_deref(),
                    now: state.now(),
                    endpoint: self.0.endpoint.get().map_or("", String::as_str),
                };
                let served = state.serve_ecr((&called.account, &called.region), &call, input);
                served
                    .map(|output| json_answer(&output))
                    .map_err(|error| (400, error.code, error.message))
            }
            ("cloudformation", Input::Query(input))
                if matches!(
                    operation,
                    "DescribeStackEvents"
                        | "DescribeStackResource"
                        | "DescribeStacks"
                        | "ListStackResources"
                ) =>
            {
                let described = match operation {
                    "DescribeStackEvents" => events::describe(state, input),
                    "DescribeStackResource" => stacks::describe_resource(state, input),
                    "ListStackResources" => stacks::list_resources(state, input),
                    _ => stacks::describe(state, input),
                };
                described.map(|output| response(200, "text/xml", query::result(operation, &output)))
            }
            // The name of CloudWatch in a signature.
            ("monitoring", Input::Json(input)) if operation == "DescribeAlarms" => {
                alarms::describe(state, input).map(|output| json_answer(&output))
            }
            ("events", Input::Json(input)) if operation == "PutEvents" => {
                event_bus::put_events(state, input).map(|output| json_answer(&output))
            }
            ("iam", Input::Query(input)) => {
                let served = state.iam.serve(operation, input);
                served.map(|output| response(200, "text/xml", query::result(operation, &output)))
            }
            ("", _) => {
                let message = "this is an AWS in memory, and that is no call that is signed for one of its services";
                Err((400, "UnknownOperationException", message.to_owned()))
            }
            (service, Input::Query(_)) => {
                Err((400, "InvalidAction", format!("{operation} of '{service}' is not served")))
            }
            (service, _) => Err((
                400,
                "UnknownOperationException",
                format!("{operation} of '{service}' is not served"),
            )),
        };
        served.unwrap_or_else(|(status, code, message)| called.error(input, status, code, &message))
    }

    /// Accepts an answer to CloudFormation, at a URL that is signed without a content type.
    fn take_answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let expected = RESPONSE_URL.splitn(4, '/').nth(3);
        let found = request.uri().path_and_query().and_then(|path| path.as_str().strip_prefix('/'));
        let answer = serde_json::from_slice(request.body());
        match answer {
            Ok(answer) if found == expected && !request.headers().contains_key("content-type") => {
                self.state().answers.push(answer);
                self.0.answered.notify_waiters();
                response(200, "application/xml", "")
            }
            Ok(_) => response(
                403,
                "application/xml",
                "<Error><Code>SignatureDoesNotMatch</Code></Error>",
            ),
            Err(_) => {
                response(400, "application/xml", "<Error><Code>InvalidRequest</Code></Error>")
            }
        }
    }

    /// A layer, at the URL of `GetDownloadUrlForLayer`.
    fn layer(&self, path: &str) -> Response<Bytes> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let mut parts = path.trim_start_matches("/layers/").splitn(3, '/');
        let layer = (|| {
            let (account, region, rest) = (parts.next()?, parts.next()?, parts.next()?);
            let (name, digest) = rest.rsplit_once('/')?;
            let mut state = self.state();
            let key = (account.to_owned(), region.to_owned());
            state.registries.get_mut(&key)?.repository(name).ok()?.layers.get(digest)
        })();
        match layer {
            Some(layer) => response(200, "application/octet-stream", layer.to_vec()),
            None => response(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>"),
        }
    }

    /// Invokes or describes a function.
    async fn invoke(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let name = request.uri().path().strip_prefix("/2015-03-31/functions/");
        if let (Some(name), &Method::GET) =
            (name.and_then(|rest| rest.strip_suffix("/configuration")), request.method())
        {
            return match self.lambda().describe(name) {
                Ok(described) => response(200, "application/json", described.to_string()),
                Err(error) => call::json_error(error.status(), error.code(), &error.to_string()),
            };
        }
        let name = name.and_then(|rest| rest.strip_suffix("/invocations"));
        let (Some(name), &Method::POST) = (name, request.method()) else {
            return call::json_error(400, "UnknownOperationException", "only Invoke is served");
        };
        let body = if request.body().is_empty() { &b"{}"[..] } else { request.body() };
        let Ok(event) = serde_json::from_slice(body) else {
            let message = "Could not parse request body into json";
            return call::json_error(400, "InvalidRequestContentException", message);
        };
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let invoked = match header("x-amz-invocation-type") {
            None | Some("RequestResponse") => self.lambda().invoke(name, event).await.map(Some),
            Some("Event") => self.lambda().invoke_async(name, event).map(|_| None),
            Some(other) => {
                let message = format!("the invocation type {other} is not served");
                return call::json_error(400, "InvalidParameterValueException", &message);
            }
        };
        match invoked {
            Err(error) => call::json_error(error.status(), error.code(), &error.to_string()),
            Ok(None) => response(202, "application/json", ""),
            Ok(Some(invoked)) => {
                let mut answer = response(200, "application/json", invoked.payload.to_string());
                let version = HeaderValue::from_static("$LATEST");
                answer.headers_mut().insert("x-amz-executed-version", version);
                if header("x-amz-log-type") == Some("Tail") {
                    // Lambda returns the last 4 KB of the log.
                    let log = invoked.log.as_bytes();
                    let tail = log.get(log.len().saturating_sub(4_096)..).unwrap_or_default();
                    let tail = HeaderValue::from_str(&aws_smithy_types::base64::encode(tail));
                    let tail = tail.ok().map(|tail| (LOG_RESULT, tail));
                    answer.headers_mut().extend(tail);
                }
                if invoked.error.is_some() {
                    let unhandled = HeaderValue::from_static("Unhandled");
                    answer.headers_mut().insert("x-amz-function-error", unhandled);
                }
                answer
            }
        }
    }
}
