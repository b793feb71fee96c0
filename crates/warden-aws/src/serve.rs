//! Runs a function on the Lambda Runtime API.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use crate::http::Roots;
use crate::{Failure, config, telemetry, time_left};

/// An invocation, as Lambda describes it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request ID. Lambda's retries of an event have the same request ID.
    pub request_id: String,
    /// When the invocation started.
    pub now: DateTime<Utc>,
    /// The time from the start to the deadline.
    pub time_left: Duration,
}

/// Serves the Lambda Runtime API until Lambda ends the process.
///
/// `build` builds the context once, from the configuration of the SDK and the environment. If `build`
/// fails, the process ends before its first event. An error of `handle` becomes a [`Failure`].
pub async fn serve<Context, Output: Serialize>(
    roots: Roots,
    build: impl FnOnce(&SdkConfig) -> anyhow::Result<Context>,
    handle: impl AsyncFn(&Context, Value, Invocation) -> anyhow::Result<Output>,
) -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let context = build(&config(roots).await)
        .inspect_err(|error| error!("the function's environment: {error:#}"))?;
    let (context, handle) = (&context, &handle);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let now = SystemTime::now();
        let invocation = Invocation {
            time_left: time_left(&event.context, now),
            now: now.into(),
            request_id: event.context.request_id,
        };
        // On the heap: the compiler cannot lay out the nested futures of every function.
        Box::pin(handle(context, event.payload, invocation)).await.map_err(Failure::from)
    }))
    .await
}
