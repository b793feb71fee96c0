//! The pushes of the tests to the repository `app`: images, indexes of images, and referrers.

use local_aws::LocalAws;
use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::ok;

/// Pushes a small image with these tags, and returns its digest.
pub fn image(aws: &LocalAws, tags: &[&str]) -> String {
    let mut state = aws.state();
    let now = state.now();
    let digest = state.ecr().push_made_up("app", tags, now).unwrap();
    drop(state);
    // Events are handed on with the next call.
    ok(aws, "GetAuthorizationToken", json!({}));
    digest
}

/// Some bytes as a blob of the repository; gives its descriptor.
pub fn blob(aws: &LocalAws, media_type: &str, bytes: &[u8]) -> Value {
    let mut state = aws.state();
    let digest = state.ecr().repository("app").unwrap().layers.keep(bytes.to_vec());
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// The manifest of an image whose one layer has these bytes.
pub fn manifest(aws: &LocalAws, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(aws, "application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [blob(aws, "application/vnd.oci.image.layer.v1.tar+gzip", layer.as_bytes())],
    })
}

/// The manifest of an index.
pub fn index_of(children: &[&str]) -> Value {
    let described = |digest: &&str| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1});
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": children.iter().map(described).collect::<Vec<_>>(),
    })
}

/// Puts a manifest with a tag, or without one; gives its digest.
#[track_caller]
pub fn put(aws: &LocalAws, manifest: &Value, tag: Option<&str>) -> String {
    let input =
        json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": tag});
    let put = ok(aws, "PutImage", input);
    put["image"]["imageId"]["imageDigest"].as_str().unwrap().to_owned()
}

/// An index of these images; gives its digest.
#[track_caller]
pub fn index(aws: &LocalAws, children: &[&str], tag: Option<&str>) -> String {
    put(aws, &index_of(children), tag)
}

/// Pushes a referrer of an image, such as a signature, and returns its digest.
#[track_caller]
pub fn referrer(aws: &LocalAws, subject: &str, artifact_type: &str) -> String {
    let empty = blob(aws, "application/vnd.oci.empty.v1+json", b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        "annotations": {"org.example.of": artifact_type},
    });
    put(aws, &manifest, None)
}

/// The answer of `DescribeImages` for an image.
#[track_caller]
pub fn described(aws: &LocalAws, digest: &str) -> Value {
    let input = json!({"repositoryName": "app", "imageIds": [{"imageDigest": digest}]});
    ok(aws, "DescribeImages", input)["imageDetails"][0].clone()
}

/// The digests of all images of every storage class.
#[track_caller]
pub fn present(aws: &LocalAws) -> Vec<String> {
    let input =
        json!({"repositoryName": "app", "maxResults": 1000, "filter": {"imageStatus": "ANY"}});
    let images = ok(aws, "DescribeImages", input);
    let images = images["imageDetails"].as_array().unwrap().iter();
    images.map(|image| image["imageDigest"].as_str().unwrap().to_owned()).collect()
}

/// Moves an image to a storage class.
#[track_caller]
pub fn transition(aws: &LocalAws, digest: &str, class: &str) -> Value {
    let id = json!({"imageDigest": digest});
    let input = json!({"repositoryName": "app", "imageId": id, "targetStorageClass": class});
    ok(aws, "UpdateImageStorageClass", input)
}

/// The details of the events so far, by their `detail-type`.
pub fn events(aws: &LocalAws, detail_type: &str) -> Vec<Value> {
    let state = aws.state();
    let events = state.events.iter().filter(|event| event["detail-type"] == detail_type);
    events.map(|event| event["detail"].clone()).collect()
}
