//! Amazon Inspector: `ListCoverage` and `GetClustersForImage`, which report the use of images as a test
//! sets it.
//!
//! <https://docs.aws.amazon.com/inspector/v2/APIReference/API_ListCoverage.html>,
//! <https://docs.aws.amazon.com/inspector/v2/APIReference/API_GetClustersForImage.html>

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::{ACCOUNT, REGION};

/// The images and clusters that Inspector reports.
#[derive(Clone, Debug, Default)]
pub struct Inspector {
    /// The covered images, in the order of the list.
    pub images: Vec<Coverage>,
    /// The clusters that run an image, by [`image_arn`].
    pub clusters: BTreeMap<String, Vec<Cluster>>,
}

/// A covered image.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// The name of the repository.
    pub repository: String,
    /// The digest.
    pub digest: String,
    /// The tags.
    pub tags: Vec<String>,
    /// The number of ECS tasks and EKS pods that run the image, where it is known.
    pub in_use_count: Option<u64>,
    /// The last time at which it ran, in seconds since 1970.
    pub last_in_use_at: Option<i64>,
    /// The time of the last pull, in seconds since 1970.
    pub pulled_at: Option<i64>,
    /// `ACTIVE` or `INACTIVE`, and the reason.
    pub status: (&'static str, &'static str),
}

/// A cluster that runs an image.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The ARN of the ECS or EKS cluster.
    pub arn: String,
    /// The workloads that run the image in the cluster.
    pub workloads: Vec<Workload>,
}

/// A workload that runs an image in a cluster.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The last time at which it ran, in seconds since 1970.
    pub last_in_use: i64,
    /// The number of running units.
    pub running: u64,
    /// The number of stopped units.
    pub stopped: u64,
    /// The kind of workload.
    pub of: Orchestrator,
}

/// The kinds of workloads that Inspector observes.
#[derive(Clone, Debug)]
pub enum Orchestrator {
    /// ECS tasks.
    Ecs {
        /// The service or the group, as in `service:web`.
        group: String,
        /// The definition of the tasks.
        task_definition_arn: String,
    },
    /// EKS pods.
    Eks {
        /// The namespace.
        namespace: String,
        /// The name and the kind of the owner, as in `web`, `Deployment`.
        owners: Vec<(String, String)>,
    },
}

/// The ARN of an image in Inspector.
#[must_use]
pub fn image_arn(repository: &str, digest: &str) -> String {
    format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}/{digest}")
}

/// An error: status, code, message and the field with the mistake.
type Error = (StatusCode, &'static str, String, &'static str);

/// The supported filters. Every other filter is an error, because it would have no effect.
const FILTERS: &[&str] = &[
    "accountId",
    "ecrImageInUseCount",
    "ecrImageLastInUseAt",
    "ecrImageTags",
    "ecrRepositoryName",
    "resourceId",
    "resourceType",
    "scanStatusCode",
    "scanStatusReason",
];

impl Inspector {
    /// Serves a request.
    #[must_use]
    pub fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let served = read(request.body()).and_then(|input| match request.uri().path() {
            "/coverage/list" if request.method() == "POST" => self.list_coverage(&input),
            "/cluster/get" if request.method() == "POST" => self.get_clusters(&input),
            path => {
                let message = format!("{} {path} is not served here", request.method());
                Err((StatusCode::NOT_FOUND, "UnknownOperationException", message, ""))
            }
        });
        let (status, code, body) = match served {
            Ok(output) => (StatusCode::OK, None, output),
            Err((status, code, message, field)) => {
                let fields = json!([{"name": field, "message": message}]);
                let reason = "FIELD_VALIDATION_FAILED";
                let body = match code {
                    "ValidationException" => {
                        json!({"message": message, "reason": reason, "fields": fields})
                    }
                    _ => json!({"message": message}),
                };
                (status, Some(code), body)
            }
        };
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("application/json"));
        if let Some(code) = code {
            headers.insert("x-amzn-errortype", http::HeaderValue::from_static(code));
        }
        response
    }

    fn list_coverage(&self, input: &Value) -> Result<Value, Error> {
        let no_filter = Map::new();
        let filter = input.get("filterCriteria").and_then(Value::as_object).unwrap_or(&no_filter);
        for (name, conditions) in filter {
            check_filter(name, conditions)?;
        }
        let found = self.images.iter().filter(|image| {
            filter.iter().all(|(name, conditions)| image.matches(name, list(conditions)))
        });
        let (page, next) = page(input, found.collect(), 200)?;
        let page: Vec<Value> = page.into_iter().map(Coverage::resource).collect();
        Ok(with_next(json!({"coveredResources": page}), next))
    }

    fn get_clusters(&self, input: &Value) -> Result<Value, Error> {
        let id = input.pointer("/filter/resourceId").and_then(Value::as_str).unwrap_or_default();
        if !(id.starts_with("arn:") && id.contains(":ecr:") && id.contains(":repository/")) {
            return Err(invalid("filter.resourceId", "expected the ARN of an image"));
        }
        let clusters = self.clusters.get(id).into_iter().flatten().map(Cluster::information);
        let (page, next) = page(input, clusters.collect(), 100)?;
        Ok(with_next(json!({"cluster": page}), next))
    }
}

impl Coverage {
    /// Whether an image matches a filter: one of its values must match, and no excluding value may.
    fn matches(&self, name: &str, conditions: &[Value]) -> bool {
        if name == "ecrImageLastInUseAt" {
            let Some(at) = self.last_in_use_at else { return false };
            let bound = |of: &Value, name: &str| of.get(name).and_then(Value::as_i64);
            return conditions.iter().any(|range| {
                bound(range, "startInclusive").is_none_or(|start| start <= at)
                    && bound(range, "endInclusive").is_none_or(|end| at <= end)
            });
        }
        if name == "ecrImageInUseCount" {
            let Some(count) = self.in_use_count.map(u64::cast_signed) else { return false };
            let bound = |of: &Value, name: &str| of.get(name).and_then(Value::as_i64);
            return conditions.iter().any(|range| {
                bound(range, "lowerInclusive").is_none_or(|lower| lower <= count)
                    && bound(range, "upperInclusive").is_none_or(|upper| count <= upper)
            });
        }
        let arn;
        let values: Vec<&str> = match name {
            "accountId" => vec![ACCOUNT],
            "ecrImageTags" => self.tags.iter().map(String::as_str).collect(),
            "ecrRepositoryName" => vec![&self.repository],
            "resourceId" => {
                arn = image_arn(&self.repository, &self.digest);
                vec![&arn]
            }
            "resourceType" => vec!["AWS_ECR_CONTAINER_IMAGE"],
            "scanStatusCode" => vec![self.status.0],
            _ => vec![self.status.1],
        };
        let is = |condition: &Value| {
            condition
                .get("value")
                .and_then(Value::as_str)
                .is_some_and(|value| values.contains(&value))
        };
        let excludes = |condition: &&Value| condition["comparison"] == "NOT_EQUALS";
        let (not, any): (Vec<&Value>, Vec<&Value>) = conditions.iter().partition(excludes);
        !not.into_iter().any(is) && (any.is_empty() || any.into_iter().any(is))
    }

    fn resource(&self) -> Value {
        let mut image = json!({"tags": self.tags});
        if let Some(count) = self.in_use_count {
            image["inUseCount"] = count.into();
        }
        if let Some(at) = self.last_in_use_at {
            image["lastInUseAt"] = at.into();
        }
        if let Some(at) = self.pulled_at {
            image["imagePulledAt"] = at.into();
        }
        let repository = json!({"name": self.repository, "scanFrequency": "CONTINUOUS_SCAN"});
        json!({
            "resourceType": "AWS_ECR_CONTAINER_IMAGE",
            "resourceId": image_arn(&self.repository, &self.digest),
            "accountId": ACCOUNT,
            "scanType": "PACKAGE",
            "scanStatus": {"statusCode": self.status.0, "reason": self.status.1},
            "resourceMetadata": {"ecrRepository": repository, "ecrImage": image},
        })
    }
}

impl Cluster {
    fn information(&self) -> Value {
        let details: Vec<Value> = self.workloads.iter().map(Workload::details).collect();
        json!({"clusterArn": self.arn, "clusterDetails": details})
    }
}

impl Workload {
    fn details(&self) -> Value {
        let metadata = match &self.of {
            Orchestrator::Ecs { group, task_definition_arn } => json!({"awsEcsMetadataDetails": {
                "detailsGroup": group, "taskDefinitionArn": task_definition_arn,
            }}),
            Orchestrator::Eks { namespace, owners } => {
                let owner = |(name, kind): &(String, String)| json!({"name": name, "type": kind});
                let owners: Vec<Value> = owners.iter().map(owner).collect();
                json!({"awsEksMetadataDetails": {
                    "namespace": namespace, "workloadInfoList": owners,
                }})
            }
        };
        json!({
            "lastInUse": self.last_in_use,
            "runningUnitCount": self.running,
            "stoppedUnitCount": self.stopped,
            "clusterMetadata": metadata,
        })
    }
}

fn read(body: &Bytes) -> Result<Value, Error> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    if let Ok(input @ Value::Object(_)) = serde_json::from_slice(body) {
        return Ok(input);
    }
    let message = "the body is not a JSON object".to_owned();
    Err((StatusCode::BAD_REQUEST, "SerializationException", message, ""))
}

fn check_filter(name: &str, conditions: &Value) -> Result<(), Error> {
    if !FILTERS.contains(&name) {
        return Err(invalid("filterCriteria", &format!("{name} is not served here")));
    }
    if !conditions.is_array() || !(1..=10).contains(&list(conditions).len()) {
        return Err(invalid("filterCriteria", &format!("{name}: expected 1 to 10 conditions")));
    }
    let number = |of: &Value, name: &str| of.get(name).is_none_or(Value::is_i64);
    let good = |condition: &Value| {
        if name == "ecrImageInUseCount" {
            return number(condition, "lowerInclusive") && number(condition, "upperInclusive");
        }
        if name == "ecrImageLastInUseAt" {
            return number(condition, "startInclusive") && number(condition, "endInclusive");
        }
        let value = condition.get("value").and_then(Value::as_str).unwrap_or_default();
        (1..=1024).contains(&value.chars().count())
            && matches!(condition["comparison"].as_str(), Some("EQUALS" | "NOT_EQUALS"))
    };
    if list(conditions).iter().all(good) {
        Ok(())
    } else {
        Err(invalid("filterCriteria", &format!("{name}: a condition is malformed")))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A page, and the start of the next page.
fn page<T>(input: &Value, all: Vec<T>, most: u64) -> Result<(Vec<T>, Option<usize>), Error> {
    let size = match input.get("maxResults") {
        None | Some(Value::Null) => most,
        Some(size) => size
            .as_u64()
            .filter(|size| (1..=most).contains(size))
            .ok_or_else(|| invalid("maxResults", &format!("expected a number from 1 to {most}")))?,
    };
    let start = match input.get("nextToken") {
        None | Some(Value::Null) => 0,
        Some(token) => token
            .as_str()
            .and_then(|token| token.strip_prefix("from-")?.parse().ok())
            .filter(|start| *start <= all.len())
            .ok_or_else(|| invalid("nextToken", "it is not one of ours"))?,
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let (end, total) = (start.saturating_add(size), all.len());
    let page = all.into_iter().skip(start).take(size).collect();
    Ok((page, (end < total).then_some(end)))
}

fn with_next(mut output: Value, next: Option<usize>) -> Value {
    if let Some(next) = next {
        output["nextToken"] = format!("from-{next}").into();
    }
    output
}

fn invalid(field: &'static str, message: &str) -> Error {
    (StatusCode::BAD_REQUEST, "ValidationException", format!("{field}: {message}"), field)
}
