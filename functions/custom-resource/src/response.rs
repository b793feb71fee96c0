//! The answers to CloudFormation, by
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html>.

use std::time::Duration;

use anyhow::bail;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::{Method, Uri};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::warn;

use crate::request::{Request, ResponseUrl};

/// The attributes of a resource, for `Fn::GetAtt`.
pub type Data = Map<String, Value>;

/// The most bytes that CloudFormation accepts.
const MOST_BYTES: usize = 4_096;

/// The number of attempts to send the answer, and the time limit of one attempt. Together they take less
/// time than an invocation reserves for the answer.
const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The origins that may receive an answer.
#[derive(Clone, Debug)]
pub struct ResponseOrigins {
    hosts: Vec<String>,
    test_bed: Option<String>,
}

impl ResponseOrigins {
    /// The hosts of CloudFormation's bucket in a region, with the domain of AWS in the region's
    /// partition, and the origin of a test bed. The bucket's name has the region without hyphens:
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/vpc-interface-endpoints.html>.
    /// S3 serves one bucket under several hosts, and no other bucket has that name.
    #[must_use]
    pub fn new(region: &str, suffix: &str, test_bed: Option<String>) -> Self {
        let short = region.replace('-', "");
        let bucket = format!("cloudformation-custom-resource-response-{short}");
        let hosts = ["s3", &format!("s3.{region}"), &format!("s3-{region}")]
            .map(|service| format!("{bucket}.{service}.{suffix}"));
        Self { hosts: hosts.into(), test_bed }
    }

    /// Whether an answer may be sent to this URL.
    #[must_use]
    pub fn allow(&self, url: &ResponseUrl) -> bool {
        let after_origin = self.test_bed.as_ref().and_then(|origin| url.0.strip_prefix(origin));
        if after_origin.is_some_and(|path| path.starts_with('/')) {
            return true;
        }
        let Ok(uri) = url.0.parse::<Uri>() else { return false };
        // The authority must match as a whole, so it has no user and no port.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        uri.scheme_str() == Some("https") && self.hosts.iter().any(|host| host == authority)
    }
}

/// The answer to one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    physical_resource_id: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    data: Data,
}

impl Answer {
    /// The answer for a request that succeeded.
    #[must_use]
    pub fn success(request: &Request, physical_id: String, data: Data) -> Self {
        let mut answer = Self::new(request, physical_id);
        answer.data = data;
        // Data is never shortened, because half a policy is no policy.
        let bytes = answer.body().len();
        if bytes > MOST_BYTES {
            let reason = format!(
                "the attributes need an answer of {bytes} bytes, and CloudFormation accepts {MOST_BYTES}"
            );
            return Self::failed(request, answer.physical_resource_id, &reason);
        }
        answer
    }

    /// The answer for a request that failed. A long `reason` is shortened.
    #[must_use]
    pub fn failed(request: &Request, physical_id: String, reason: &str) -> Self {
        let mut answer = Self::new(request, physical_id);
        answer.status = "FAILED";
        let mut end = reason.len();
        loop {
            end = reason.floor_char_boundary(end);
            let cut = if end < reason.len() { "…" } else { "" };
            answer.reason = Some(format!("{}{cut}", reason.get(..end).unwrap_or_default()));
            // JSON escapes some characters, so the size of the whole answer is measured.
            let over = answer.body().len().saturating_sub(MOST_BYTES);
            if over == 0 || end == 0 {
                return answer;
            }
            end = end.saturating_sub(over.div_ceil(6).max(1));
        }
    }

    fn new(request: &Request, physical_resource_id: String) -> Self {
        Self {
            status: "SUCCESS",
            reason: None,
            physical_resource_id,
            stack_id: request.stack_id.clone(),
            request_id: request.request_id.clone(),
            logical_resource_id: request.logical_resource_id.clone(),
            data: Map::new(),
        }
    }

    /// The reason of a failure.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The answer as JSON of at most 4,096 bytes.
    #[must_use]
    pub fn body(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings always serialise")]
        serde_json::to_string(self).expect("an answer serialises")
    }
}

/// Sends an answer, with a limited number of attempts. The error does not contain the URL.
pub async fn deliver(http: &SharedHttpClient, url: &ResponseUrl, body: &str) -> anyhow::Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        // No Content-Type: the URL is signed for an empty one.
        let sent =
            warden_aws::http::send(http, Method::PUT, &url.0, None, body, ATTEMPT_TIMEOUT).await;
        let reason = match sent {
            Ok(answer) if (200..=299).contains(&answer.status) => return Ok(()),
            Ok(answer) => format!("status {}", answer.status),
            Err(error) => format!("{error:#}"),
        };
        if attempt == ATTEMPTS {
            bail!("{reason}, the last of {ATTEMPTS} attempts");
        }
        warn!("sending the answer to CloudFormation failed, and is tried again: {reason}");
        tokio::time::sleep(pause).await;
        pause *= 4;
        attempt += 1;
    }
}
