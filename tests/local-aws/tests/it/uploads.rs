//! Blobs, in the registry's own protocol.
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs>

use local_aws::ecr::image::manifest::digest;

use crate::port::{Answer, Port};

const UPLOADS: &str = "/v2/app/blobs/uploads/";

async fn begin(port: &Port) -> String {
    let begun = port.v2("POST", UPLOADS, &[], b"").await;
    assert_eq!(begun.status, 202);
    begun.header("location").to_owned()
}

async fn blob(port: &Port, method: &str, digest: &str) -> Answer {
    port.v2(method, &format!("/v2/app/blobs/{digest}"), &[], b"").await
}

// spec.md: pushing a blob monolithically
#[tokio::test]
async fn a_blob_is_pushed_at_once() {
    let port = Port::open().await;
    let digest = digest(b"layer");
    assert_eq!(blob(&port, "GET", &digest).await.error(), (404, "BLOB_UNKNOWN".to_owned()));
    let location = begin(&port).await;
    let done = port.v2("PUT", &format!("{location}?digest={digest}"), &[], b"layer").await;
    assert_eq!(done.status, 201);
    assert_eq!(done.header("location"), format!("/v2/app/blobs/{digest}"));
    assert_eq!(done.header("docker-content-digest"), digest);
    let found = blob(&port, "GET", &digest).await;
    assert_eq!((found.status, found.body.as_slice()), (200, &b"layer"[..]));
    let head = blob(&port, "HEAD", &digest).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "5");
    assert_eq!(head.header("docker-content-digest"), digest);
}

// spec.md: pushing a blob in chunks
#[tokio::test]
async fn a_blob_is_pushed_in_chunks_in_their_order() {
    let port = Port::open().await;
    let digest = digest(b"layers");
    let location = begin(&port).await;
    let chunk = port.v2("PATCH", &location, &[("content-range", "0-2")], b"lay").await;
    assert_eq!((chunk.status, chunk.header("range")), (202, "0-2"));
    let location = chunk.header("location").to_owned();
    for range in ["0-2", "4-5"] {
        let wrong = port.v2("PATCH", &location, &[("content-range", range)], b"ers").await;
        assert_eq!(wrong.status, 416, "{range}");
    }
    let state = port.v2("GET", &location, &[], b"").await;
    assert_eq!((state.status, state.header("range")), (204, "0-2"));
    let chunk = port.v2("PATCH", &location, &[("content-range", "3-4")], b"er").await;
    assert_eq!((chunk.status, chunk.header("range")), (202, "0-4"));
    let done = port.v2("PUT", &format!("{location}?digest={digest}"), &[], b"s").await;
    assert_eq!(done.status, 201);
    assert_eq!(blob(&port, "GET", &digest).await.body, b"layers");
}

// spec.md: stream upload, as Docker pushes
#[tokio::test]
async fn a_blob_is_pushed_as_one_stream_without_ranges() {
    let port = Port::open().await;
    let digest = digest(b"layer");
    let location = begin(&port).await;
    assert_eq!(port.v2("PATCH", &location, &[], b"layer").await.status, 202);
    let encoded = digest.replace(':', "%3A");
    let done = port.v2("PUT", &format!("{location}?digest={encoded}"), &[], b"").await;
    assert_eq!(done.status, 201);
    assert_eq!(blob(&port, "HEAD", &digest).await.status, 200);
}

// spec.md: error codes
#[tokio::test]
async fn a_missing_or_wrong_upload_is_an_error() {
    let port = Port::open().await;
    let digest = digest(b"layer");
    let unknown = format!("{UPLOADS}00000000-0000-4000-8000-0000000000ff");
    for (method, path) in [
        ("PATCH", unknown.clone()),
        ("GET", unknown.clone()),
        ("DELETE", unknown.clone()),
        ("PUT", format!("{unknown}?digest={digest}")),
    ] {
        let answer = port.v2(method, &path, &[], b"").await;
        assert_eq!(answer.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()), "{method}");
    }
    let location = begin(&port).await;
    let missing = port.v2("PUT", &location, &[], b"layer").await;
    assert_eq!(missing.error(), (400, "DIGEST_INVALID".to_owned()));
    let wrong = port.v2("PUT", &format!("{location}?digest={digest}"), &[], b"other").await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(blob(&port, "HEAD", &digest).await.status, 404);
    let location = begin(&port).await;
    assert_eq!(port.v2("DELETE", &location, &[], b"").await.status, 204);
    assert_eq!(port.v2("PATCH", &location, &[], b"layer").await.status, 404);
    let gone = port.v2("POST", "/v2/gone/blobs/uploads/", &[], b"").await;
    assert_eq!(gone.error(), (404, "NAME_UNKNOWN".to_owned()));
}

// spec.md: mounting a blob; https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
#[tokio::test]
async fn a_blob_is_uploaded_where_it_could_be_mounted() {
    let port = Port::open().await;
    let digest = digest(b"layer");
    let mount = format!("{UPLOADS}?mount={digest}&from=other");
    let begun = port.v2("POST", &mount, &[], b"").await;
    assert_eq!(begun.status, 202);
    assert!(begun.header("location").starts_with(UPLOADS));
}

// spec.md: a registry verifies the digest, and a client may try again
#[tokio::test]
async fn an_upload_with_the_wrong_digest_can_be_completed_with_the_right_one() {
    let port = Port::open().await;
    let location = begin(&port).await;
    let wrong = format!("{location}?digest={}", digest(b"other"));
    assert_eq!(port.v2("PUT", &wrong, &[], b"layer").await.status, 400);
    let right = format!("{location}?digest={}", digest(b"layer"));
    assert_eq!(port.v2("PUT", &right, &[], b"layer").await.status, 201);
}
