//! An ECR with one large repository that no call changes, so that each sweep finds the same images.
//! Its answers are rendered in advance, so that the measured time is the time of the caller.

mod repository;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local_aws::{ACCOUNT, REGION};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use repository::{OVER, PAGE, Repository};

use crate::work::STACK;

/// The name of the repository.
pub const NAME: &str = "deployments";

/// The port on which the repository is served until the process ends.
pub struct StaticEcr {
    /// Such as `http://127.0.0.1:4567`.
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    repository: Repository,
    calls: Mutex<BTreeMap<String, usize>>,
}

/// An answer, or the name of an error.
type Answer = Result<Bytes, &'static str>;

impl StaticEcr {
    /// Serves the repository.
    pub async fn serve(repository: Repository) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared { repository, calls: Mutex::default() });
        let served = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&served);
                let answer = service_fn(move |request| Arc::clone(&shared).answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::spawn(connection);
            }
        });
        Ok(Self { endpoint, shared })
    }

    /// The repository that is served.
    pub fn repository(&self) -> &Repository {
        &self.shared.repository
    }

    /// The number of calls of each operation since the last time.
    pub fn take_calls(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let input = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default();
        {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            *calls.entry(operation.to_owned()).or_default() += 1;
        }
        let (status, body) = match self.repository.serve(operation, &input) {
            Ok(body) => (200, body),
            Err(code) => (400, json!({"__type": code, "message": operation}).to_string().into()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let json = http::HeaderValue::from_static("application/x-amz-json-1.1");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        Ok(response)
    }
}

impl Repository {
    fn serve(&self, operation: &str, input: &Value) -> Answer {
        let answer = match operation {
            "DescribeImages" if input["imageIds"].is_array() => {
                return self.named(input).ok_or("ImageNotFoundException");
            }
            "DescribeImages" => return self.page(input).ok_or("InvalidParameterException"),
            "BatchGetImage" => return Ok(self.manifests(input)),
            "BatchDeleteImage" => json!({"imageIds": input["imageIds"], "failures": []}),
            "UpdateImageStorageClass" => json!({
                "registryId": ACCOUNT,
                "repositoryName": NAME,
                "imageId": input["imageId"],
                "imageStatus": "ARCHIVED",
            }),
            "DescribePullThroughCacheRules" => json!({"pullThroughCacheRules": []}),
            "DescribeRegistry" => json!({
                "registryId": ACCOUNT,
                "replicationConfiguration": {"rules": []},
            }),
            "DescribeRepositories" => json!({"repositories": [{
                "repositoryArn": arn(),
                "registryId": ACCOUNT,
                "repositoryName": NAME,
                "repositoryUri": format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}"),
                // A sweep needs no confirmation in a new repository.
                "createdAt": chrono::Utc::now().timestamp(),
                "imageTagMutability": "MUTABLE",
                "imageScanningConfiguration": {"scanOnPush": true},
                "encryptionConfiguration": {"encryptionType": "AES256"},
            }]}),
            "BatchGetRepositoryScanningConfiguration" => json!({
                "scanningConfigurations": [{
                    "repositoryArn": arn(),
                    "repositoryName": NAME,
                    "scanOnPush": true,
                    "scanFrequency": "SCAN_ON_PUSH",
                    "appliedScanFilters": [],
                }],
                "failures": [],
            }),
            "DescribeImageScanFindings" => json!({
                "registryId": ACCOUNT,
                "repositoryName": NAME,
                "imageId": input["imageId"],
                "imageScanStatus": {"status": "COMPLETE"},
                "imageScanFindings": {"findingSeverityCounts": {}, "findings": []},
            }),
            // A sweep needs no confirmation in a repository that the stack created.
            "ListTagsForResource" => json!({"tags": [{
                "Key": "ecr-warden:owner",
                "Value": format!("{STACK}/DeploymentsRepository"),
            }]}),
            "GetLifecyclePolicy" => return Err("LifecyclePolicyNotFoundException"),
            _ => return Err("UnknownOperationException"),
        };
        Ok(answer.to_string().into())
    }
}

fn arn() -> String {
    format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{NAME}")
}
