//! Manifests, tags and referrers, in the registry's own protocol.
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md>

use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST, digest};
use serde_json::{Value, json};

use crate::content::{described, image, manifest, put, referrer, transition};
use crate::port::{Answer, Port};
use crate::{NOW, call_as, ok};

async fn push(port: &Port, reference: &str, manifest: &Value) -> Answer {
    let headers = [("content-type", manifest["mediaType"].as_str().unwrap())];
    let path = format!("/v2/app/manifests/{reference}");
    port.v2("PUT", &path, &headers, manifest.to_string().as_bytes()).await
}

async fn pull(port: &Port, method: &str, reference: &str) -> Answer {
    port.v2(method, &format!("/v2/app/manifests/{reference}"), &[], b"").await
}

// spec.md: pushing manifests, pulling manifests
#[tokio::test]
async fn a_manifest_is_pushed_and_pulled_by_tag_and_by_digest() {
    let port = Port::open().await;
    let manifest = manifest(&port.aws, "layer");
    let digest = digest(manifest.to_string().as_bytes());
    for reference in ["v1", &digest] {
        // The second push changes nothing, and is as good as the first.
        let done = push(&port, reference, &manifest).await;
        assert_eq!(done.status, 201);
        assert_eq!(done.header("location"), format!("/v2/app/manifests/{digest}"));
        assert_eq!(done.header("docker-content-digest"), digest);
    }
    for reference in ["v1", &digest, &digest.replace(':', "%3A")] {
        let found = pull(&port, "GET", reference).await;
        assert_eq!((found.status, found.header("content-type")), (200, OCI_MANIFEST));
        assert_eq!(found.header("docker-content-digest"), digest);
        assert_eq!(found.body, manifest.to_string().as_bytes());
        let head = pull(&port, "HEAD", reference).await;
        assert_eq!((head.status, head.header("content-type")), (200, OCI_MANIFEST));
        assert_eq!(head.header("content-length"), found.body.len().to_string());
        assert_eq!(head.header("docker-content-digest"), digest);
        assert!(head.body.is_empty());
    }
    assert_eq!(described(&port.aws, &digest)["imageTags"], json!(["v1"]));
}

// spec.md: error codes
#[tokio::test]
async fn a_missing_or_invalid_manifest_is_an_error() {
    let port = Port::open().await;
    let good = manifest(&port.aws, "layer");
    let zeros = format!("sha256:{}", "0".repeat(64));
    for reference in ["gone", zeros.as_str()] {
        let unknown = (404, "MANIFEST_UNKNOWN".to_owned());
        assert_eq!(pull(&port, "GET", reference).await.error(), unknown);
        assert_eq!(pull(&port, "HEAD", reference).await.status, 404);
    }
    let wrong = push(&port, &zeros, &good).await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".to_owned()));
    let headers = [("content-type", OCI_MANIFEST)];
    for body in [&b"{"[..], b"", b"\xff", b"{\"schemaVersion\": 2}"] {
        let answer = port.v2("PUT", "/v2/app/manifests/v1", &headers, body).await;
        assert_eq!(answer.error(), (400, "MANIFEST_INVALID".to_owned()), "{body:?}");
    }
    let mut no_layer = good.clone();
    no_layer["layers"][0]["digest"] = zeros.into();
    let missing = push(&port, "v1", &no_layer).await;
    assert_eq!(missing.error(), (404, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    let bad_tag = push(&port, "-v1", &good).await;
    assert_eq!(bad_tag.status, 400);
    let gone = port.v2("GET", "/v2/gone/manifests/v1", &[], b"").await;
    assert_eq!(gone.error(), (404, "NAME_UNKNOWN".to_owned()));
    let no_route = port.v2("GET", "/v2/app", &[], b"").await;
    assert!((400..500).contains(&no_route.status));
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
#[tokio::test]
async fn an_immutable_tag_is_not_pushed_over() {
    let port = Port::open().await;
    let set = json!({"repositoryName": "app", "imageTagMutability": "IMMUTABLE"});
    ok(&port.aws, "PutImageTagMutability", set);
    let first = manifest(&port.aws, "first");
    assert_eq!(push(&port, "v1", &first).await.status, 201);
    assert_eq!(push(&port, "v1", &first).await.status, 201);
    let refused = push(&port, "v1", &manifest(&port.aws, "second")).await;
    assert_eq!(refused.error(), (400, "TAG_INVALID".to_owned()));
    let message = refused.json()["errors"][0]["message"].clone();
    assert!(message.as_str().unwrap().contains("'v1' already exists"), "{message}");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/delete_image.html
#[tokio::test]
async fn nothing_is_deleted_in_this_protocol() {
    let port = Port::open().await;
    let digest = image(&port.aws, &["v1"]);
    for reference in ["v1", &digest] {
        let refused = pull(&port, "DELETE", reference).await;
        assert_eq!(refused.error(), (405, "UNSUPPORTED".to_owned()));
    }
    assert_eq!(pull(&port, "HEAD", "v1").await.status, 200);
}

// Model: ImageDetail, lastRecordedPullTime; a HEAD is no pull by the specification
#[tokio::test]
async fn a_get_of_a_manifest_is_a_pull_and_a_head_is_not() {
    let port = Port::open().await;
    let digest = image(&port.aws, &["v1"]);
    pull(&port, "HEAD", "v1").await;
    assert_eq!(described(&port.aws, &digest).get("lastRecordedPullTime"), None);
    pull(&port, "GET", "v1").await;
    assert_eq!(described(&port.aws, &digest)["lastRecordedPullTime"], NOW);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-time-update-exclusions.html
#[tokio::test]
async fn a_pull_with_the_token_of_an_excluded_role_is_not_recorded() {
    let port = Port::open().await;
    let digest = image(&port.aws, &["v1"]);
    let [scanner, other] =
        ["scanner", "other"].map(|name| format!("arn:aws:iam::123456789012:role/{name}"));
    ok(&port.aws, "RegisterPullTimeUpdateExclusion", json!({"principalArn": scanner}));
    for (role, recorded) in [(scanner, Value::Null), (other, json!(NOW))] {
        let token = call_as(&port.aws, &role, "GetAuthorizationToken", &json!({})).unwrap();
        let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap();
        let found = port.v2_by(token, "GET", "/v2/app/manifests/v1", &[], b"").await;
        assert_eq!(found.status, 200);
        assert_eq!(described(&port.aws, &digest)["lastRecordedPullTime"], recorded);
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
#[tokio::test]
async fn an_archived_image_is_not_found_until_it_is_pushed_again() {
    let port = Port::open().await;
    let manifest = manifest(&port.aws, "layer");
    let digest = put(&port.aws, &manifest, Some("v1"));
    transition(&port.aws, &digest, "ARCHIVE");
    assert_eq!(pull(&port, "GET", "v1").await.error(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(push(&port, "v1", &manifest).await.status, 201);
    assert_eq!(pull(&port, "GET", "v1").await.status, 200);
}

// spec.md: listing tags
#[tokio::test]
async fn tags_are_listed_in_their_order_and_in_pages() {
    let port = Port::open().await;
    let empty = port.v2("GET", "/v2/app/tags/list", &[], b"").await;
    assert_eq!(empty.json(), json!({"name": "app", "tags": []}));
    image(&port.aws, &["c", "a"]);
    image(&port.aws, &["b", "e", "d"]);
    let mut path = "/v2/app/tags/list?n=2".to_owned();
    for (expected, more) in [(["a", "b"].as_slice(), true), (&["c", "d"], true), (&["e"], false)] {
        let page = port.v2("GET", &path, &[], b"").await;
        assert_eq!(page.json(), json!({"name": "app", "tags": expected}));
        let link = page.header("link");
        assert_eq!(!link.is_empty(), more);
        if let Some((next, rel)) = link.split_once(">; ") {
            assert_eq!(rel, "rel=\"next\"");
            next.trim_start_matches('<').clone_into(&mut path);
        }
    }
    let after = port.v2("GET", "/v2/app/tags/list?last=c", &[], b"").await;
    assert_eq!(after.json()["tags"], json!(["d", "e"]));
    let none = port.v2("GET", "/v2/app/tags/list?n=0", &[], b"").await;
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), ""));
}

// spec.md: pushing manifests with subject, listing referrers
#[tokio::test]
async fn the_referrers_of_a_manifest_are_listed_as_an_index() {
    let port = Port::open().await;
    let subject = image(&port.aws, &["v1"]);
    let sbom = referrer(&port.aws, &subject, "application/spdx+json");
    let mut signature = manifest(&port.aws, "signature");
    signature["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 1});
    signature["config"]["mediaType"] = "application/vnd.example.signature".into();
    let digest = digest(signature.to_string().as_bytes());
    let pushed = push(&port, &digest, &signature).await;
    assert_eq!((pushed.status, pushed.header("oci-subject")), (201, subject.as_str()));
    let path = format!("/v2/app/referrers/{subject}");
    let all = port.v2("GET", &path, &[], b"").await;
    assert_eq!((all.status, all.header("content-type")), (200, OCI_INDEX));
    assert_eq!(all.header("oci-filters-applied"), "");
    let all = all.json();
    assert_eq!((&all["schemaVersion"], &all["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let manifests = all["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    // Without an artifact type of its own, it is that of its configuration.
    assert!(manifests.contains(&json!({
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": signature.to_string().len(),
        "artifactType": "application/vnd.example.signature",
    })));
    let filtered =
        port.v2("GET", &format!("{path}?artifactType=application%2Fspdx%2Bjson"), &[], b"").await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let filtered = filtered.json();
    assert_eq!(filtered["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(filtered["manifests"][0]["digest"], sbom);
    let none = format!("/v2/app/referrers/sha256:{}", "0".repeat(64));
    let none = port.v2("GET", &none, &[], b"").await;
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
}

// spec.md: workflow categories, <name>
#[tokio::test]
async fn a_repositorys_name_may_have_slashes_and_words_of_the_protocol() {
    let port = Port::open().await;
    for name in ["team/a/web", "a/manifests/b", "blobs/uploads", "x/tags", "v2/referrers/y"] {
        ok(&port.aws, "CreateRepository", json!({"repositoryName": name}));
        let layer = digest(b"{}");
        let begun = port.v2("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"").await;
        let location = begun.header("location");
        assert!(location.starts_with(&format!("/v2/{name}/blobs/uploads/")), "{location}");
        let done = port.v2("PUT", &format!("{location}?digest={layer}"), &[], b"{}").await;
        assert_eq!(done.status, 201, "{name}");
        let described = json!({"mediaType": "application/json", "digest": layer, "size": 2});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described,
            "layers": [described],
        });
        let headers = [("content-type", OCI_MANIFEST)];
        let path = format!("/v2/{name}/manifests/v1");
        let done = port.v2("PUT", &path, &headers, manifest.to_string().as_bytes()).await;
        assert_eq!(done.status, 201, "{name}");
        assert_eq!(port.v2("GET", &path, &[], b"").await.status, 200, "{name}");
        let tags = port.v2("GET", &format!("/v2/{name}/tags/list"), &[], b"").await;
        assert_eq!(tags.json(), json!({"name": name, "tags": ["v1"]}));
    }
}
