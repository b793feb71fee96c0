//! The protocol of registries, `/v2/`, which `docker push`, `skopeo` and similar clients use: the OCI
//! distribution specification 1.1, with the authentication of
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>.
//!
//! A call is recorded, and a fault applies to it, under the ECR operation of its entry in
//! `CloudTrail`. ECR redirects the reader of a layer; here the answer contains the layer.

#![expect(clippy::result_large_err, reason = "a refusal is an answer like any other")]

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::call::{Called, response};
use crate::ecr::creation_template::Reason;
use crate::ecr::image::manifest::{OCI_INDEX, is_digest};
use crate::ecr::image::{Image, Push, Status};
use crate::ecr::{Error, Registry, Time, present};

/// A request of the protocol, parsed from its path.
pub(crate) enum Route<'p> {
    Base,
    Blob(&'p str, &'p str),
    Uploads(&'p str),
    Upload(&'p str, &'p str),
    Manifest(&'p str, &'p str),
    Tags(&'p str),
    Referrers(&'p str, &'p str),
    Unknown,
}

impl<'p> Route<'p> {
    pub fn read(path: &'p str) -> Self {
        let Some(rest) = path.strip_prefix("/v2") else { return Self::Unknown };
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return Self::Base;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Self::Tags(name);
        }
        if let Some((name, id)) = rest.rsplit_once("/blobs/uploads") {
            return match id.trim_start_matches('/') {
                "" => Self::Uploads(name),
                id => Self::Upload(name, id),
            };
        }
        let Some((front, last)) = rest.rsplit_once('/') else { return Self::Unknown };
        match front.rsplit_once('/') {
            Some((name, "blobs")) => Self::Blob(name, last),
            Some((name, "manifests")) => Self::Manifest(name, last),
            Some((name, "referrers")) => Self::Referrers(name, last),
            _ => Self::Unknown,
        }
    }

    /// The repository that the path names, or an empty text.
    pub fn repository(&self) -> &'p str {
        match self {
            Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Manifest(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => name,
            Self::Base | Self::Unknown => "",
        }
    }

    /// The operation of the entry in `CloudTrail`.
    pub fn operation(&self, method: &Method) -> &'static str {
        match (self, method) {
            (Self::Blob(..), &Method::HEAD) => "BatchCheckLayerAvailability",
            (Self::Blob(..), _) => "GetDownloadUrlForLayer",
            (Self::Uploads(_), _) => "InitiateLayerUpload",
            (Self::Upload(..), &Method::PUT) => "CompleteLayerUpload",
            (Self::Upload(..), _) => "UploadLayerPart",
            (Self::Manifest(..), &Method::PUT) => "PutImage",
            (Self::Manifest(..), _) => "BatchGetImage",
            (Self::Tags(_), _) => "ListImages",
            (Self::Referrers(..), _) => "ListImageReferrers",
            // `CloudTrail` has no entries of these two requests.
            (Self::Base, _) => "the registry's version",
            (Self::Unknown, _) => "an unknown path of the registry",
        }
    }
}

/// The content of an authorization token: the registry, the expiry, and the principal.
struct Token {
    account: String,
    region: String,
    expires_at: Time,
    principal: Option<String>,
}

impl Token {
    fn read(request: &Request<Bytes>) -> Option<Self> {
        let header = request.headers().get("authorization")?.to_str().ok()?;
        let decoded = aws_smithy_types::base64::decode(header.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let mut parts = text.strip_prefix("AWS:")?.splitn(4, '/').map(str::to_owned);
        Some(Self {
            account: parts.next()?,
            region: parts.next()?,
            expires_at: parts.next()?.parse().ok()?,
            principal: parts.next(),
        })
    }
}

/// The registry of a request, by its authorization token.
pub(crate) fn authorize(
    request: &Request<Bytes>,
    called: &mut Called,
    now: Time,
) -> Result<(), Response<Bytes>> {
    let Some(token) = Token::read(request) else {
        let mut refused = problem(401, "UNAUTHORIZED", "Not Authorized");
        let challenge = "Basic realm=\"ecr\",service=\"ecr.amazonaws.com\"";
        refused.headers_mut().insert("www-authenticate", HeaderValue::from_static(challenge));
        return Err(refused);
    };
    if now >= token.expires_at {
        let message = "Your authorization token has expired. Reauthenticate and try again.";
        return Err(problem(403, "DENIED", message));
    }
    (called.account, called.region, called.token) = (token.account, token.region, token.principal);
    Ok(())
}

/// Serves a request.
pub(crate) fn serve(
    registry: &mut Registry,
    request: &Request<Bytes>,
    now: Time,
) -> Response<Bytes> {
    registry.settle(now);
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let query = Query::read(request.uri().query().unwrap_or_default());
    let method = request.method();
    let served = match (Route::read(&path), method) {
        (Route::Base, &Method::GET | &Method::HEAD) => Ok(response(200, "application/json", "{}")),
        (Route::Blob(name, digest), &Method::GET | &Method::HEAD) => blob(registry, name, digest),
        (Route::Uploads(name), &Method::POST) => {
            registry.create_if_missing(name, Reason::Push, now);
            begin(registry, name, &query, request.body())
        }
        (Route::Upload(name, id), _) => upload(registry, name, id, &query, request),
        (Route::Manifest(name, reference), &Method::PUT) => {
            registry.create_if_missing(name, Reason::Push, now);
            put(registry, name, reference, request, now)
        }
        (Route::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
            // A HEAD request is no pull.
            let principal = Token::read(request).and_then(|token| token.principal);
            let counts = method == Method::GET && registry.records_pulls_by(principal.as_deref());
            get(registry, name, reference, counts, now)
        }
        (Route::Tags(name), &Method::GET) => tags(registry, name, &query),
        (Route::Referrers(name, digest), &Method::GET) => referrers(registry, name, digest, &query),
        _ => Err(problem(405, "UNSUPPORTED", "The operation is unsupported.")),
    };
    let mut served = served.unwrap_or_else(|refused| refused);
    let version = HeaderValue::from_static("registry/2.0");
    served.headers_mut().insert("docker-distribution-api-version", version);
    served
}

type Served = Result<Response<Bytes>, Response<Bytes>>;

fn blob(registry: &mut Registry, name: &str, digest: &str) -> Served {
    let layer = repository(registry, name)?.layers.get(digest);
    let layer = layer.ok_or_else(|| problem(404, "BLOB_UNKNOWN", "blob unknown to registry"))?;
    let blob = response(200, "application/octet-stream", layer.to_vec());
    Ok(with(blob, &[("docker-content-digest", digest)]))
}

fn begin(registry: &mut Registry, name: &str, query: &Query, body: &Bytes) -> Served {
    let id = registry.begin_upload(name).map_err(|error| refuse(&error))?;
    if let Some(digest) = query.get("digest") {
        return complete(registry, name, &id, digest, body);
    }
    // Blobs are not mounted, because ECR answers with an upload by default.
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    let begun = response(202, "application/json", "");
    Ok(with(begun, &[("location", &location), ("docker-upload-uuid", &id), ("range", "0-0")]))
}

fn upload(
    registry: &mut Registry,
    name: &str,
    id: &str,
    query: &Query,
    request: &Request<Bytes>,
) -> Served {
    let unknown = || problem(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    let layers = &mut repository(registry, name)?.layers;
    let received = layers.received(id).ok_or_else(unknown)?;
    let (status, received) = match *request.method() {
        Method::PUT => {
            let invalid = || problem(400, "DIGEST_INVALID", "the digest is missing");
            let digest = query.get("digest").ok_or_else(invalid)?;
            return complete(registry, name, id, digest, request.body());
        }
        Method::PATCH => {
            let range =
                request.headers().get("content-range").and_then(|value| value.to_str().ok());
            let first = range.and_then(|range| range.split('-').next()?.parse::<usize>().ok());
            if first.is_some_and(|first| first != received) {
                return Err(problem(416, "BLOB_UPLOAD_INVALID", "the part is not the next one"));
            }
            (202, layers.append(id, request.body()).ok_or_else(unknown)?)
        }
        Method::GET => (204, received),
        Method::DELETE => {
            layers.cancel(id);
            return Ok(response(204, "application/json", ""));
        }
        _ => return Err(problem(405, "UNSUPPORTED", "The operation is unsupported.")),
    };
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    let range = format!("0-{}", received.saturating_sub(1));
    let state = response(status, "application/json", "");
    Ok(with(state, &[("location", &location), ("docker-upload-uuid", id), ("range", &range)]))
}

fn complete(registry: &mut Registry, name: &str, id: &str, digest: &str, rest: &Bytes) -> Served {
    let layers = &mut repository(registry, name)?.layers;
    layers.complete(id, digest, rest).map_err(|error| refuse(&error))?;
    let location = format!("/v2/{name}/blobs/{digest}");
    let done = response(201, "application/json", "");
    Ok(with(done, &[("location", &location), ("docker-content-digest", digest)]))
}

fn put(
    registry: &mut Registry,
    name: &str,
    reference: &str,
    request: &Request<Bytes>,
    now: Time,
) -> Served {
    let Ok(manifest) = std::str::from_utf8(request.body()) else {
        return Err(problem(400, "MANIFEST_INVALID", "the manifest is not text"));
    };
    let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    let (tag, digest) =
        if reference.contains(':') { (None, Some(reference)) } else { (Some(reference), None) };
    let push = Push { repository: name, manifest, media_type, tag, digest };
    let digest = match registry.push(&push, now) {
        Ok(digest) => digest,
        // A layer with the right digest was pushed before.
        Err(error) if error.code == "ImageAlreadyExistsException" => {
            crate::ecr::image::manifest::digest(manifest.as_bytes())
        }
        Err(error) => return Err(refuse(&error)),
    };
    let subject = repository(registry, name)?.images.get(&digest);
    let subject = subject.and_then(|image| image.manifest.subject.clone());
    let location = format!("/v2/{name}/manifests/{digest}");
    let done = response(201, "application/json", "");
    let mut done = with(done, &[("location", &location), ("docker-content-digest", &digest)]);
    if let Some(subject) = subject {
        done = with(done, &[("oci-subject", &subject)]);
    }
    Ok(done)
}

fn get(registry: &mut Registry, name: &str, reference: &str, counts: bool, now: Time) -> Served {
    let unknown = || problem(404, "MANIFEST_UNKNOWN", "Requested image not found");
    let repository = repository(registry, name)?;
    let images = &repository.images;
    let image = if is_digest(reference) { images.get(reference) } else { images.tagged(reference) };
    let digest = image.ok_or_else(unknown)?.digest.clone();
    let image = repository.pull(&digest, counts, now).ok_or_else(unknown)?;
    let mut found = response(200, "application/json", image.manifest_text.clone());
    let media_type = HeaderValue::from_str(&image.manifest.media_type);
    if let Ok(media_type) = media_type {
        found.headers_mut().insert("content-type", media_type);
    }
    Ok(with(found, &[("docker-content-digest", &digest)]))
}

fn tags(registry: &mut Registry, name: &str, query: &Query) -> Served {
    let images = repository(registry, name)?.images.iter();
    let active = images.filter(|image| image.status == Status::Active);
    let mut tags: Vec<&String> = active.flat_map(|image| &image.tags).collect();
    tags.sort();
    if let Some(last) = query.get("last") {
        tags.retain(|tag| tag.as_str() > last);
    }
    let most = query.get("n").and_then(|most| most.parse::<usize>().ok()).unwrap_or(1_000);
    let more = tags.len() > most;
    tags.truncate(most);
    let next = tags
        .last()
        .filter(|_| more)
        .map(|last| format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\""));
    let list = json!({"name": name, "tags": tags}).to_string();
    let list = response(200, "application/json", list);
    Ok(match next {
        Some(next) => with(list, &[("link", &next)]),
        None => list,
    })
}

fn referrers(registry: &mut Registry, name: &str, digest: &str, query: &Query) -> Served {
    let images = repository(registry, name)?.images.iter();
    let artifact_type = query.get("artifactType");
    let is_referrer = |image: &&Image| {
        image.manifest.subject.as_deref() == Some(digest)
            && image.status == Status::Active
            && artifact_type
                .is_none_or(|wanted| image.manifest.artifact_type.as_deref() == Some(wanted))
    };
    let describe = |image: &Image| {
        present(json!({
            "mediaType": image.manifest.media_type,
            "digest": image.digest,
            "size": image.manifest_text.len(),
            "artifactType": image.manifest.artifact_type,
            "annotations": image.manifest.annotations,
        }))
    };
    let manifests: Vec<Value> = images.filter(is_referrer).map(describe).collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let found = response(200, OCI_INDEX, index.to_string());
    Ok(if artifact_type.is_some() {
        with(found, &[("oci-filters-applied", "artifactType")])
    } else {
        found
    })
}

fn repository<'r>(
    registry: &'r mut Registry,
    name: &str,
) -> Result<&'r mut crate::ecr::Repository, Response<Bytes>> {
    registry.repository(name).map_err(|error| refuse(&error))
}

/// An error of ECR, in the words of the protocol.
fn refuse(error: &Error) -> Response<Bytes> {
    let (status, code) = match error.code {
        "RepositoryNotFoundException" => (404, "NAME_UNKNOWN"),
        "ImageTagAlreadyExistsException" => (400, "TAG_INVALID"),
        "LayersNotFoundException" => (404, "MANIFEST_BLOB_UNKNOWN"),
        "ReferencedImagesNotFoundException" => (404, "MANIFEST_UNKNOWN"),
        "ImageDigestDoesNotMatchException" | "InvalidLayerException" => (400, "DIGEST_INVALID"),
        "UploadNotFoundException" => (404, "BLOB_UPLOAD_UNKNOWN"),
        "LimitExceededException" => (429, "TOOMANYREQUESTS"),
        _ => (400, "MANIFEST_INVALID"),
    };
    problem(status, code, &error.message)
}

/// An error in the format of the specification.
pub(crate) fn problem(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
    response(status, "application/json", body)
}

fn with(mut response: Response<Bytes>, headers: &[(&'static str, &str)]) -> Response<Bytes> {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

/// The query parameters of a request.
struct Query(crate::query::Input);

impl Query {
    fn read(query: &str) -> Self {
        Self(crate::query::read(query))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
