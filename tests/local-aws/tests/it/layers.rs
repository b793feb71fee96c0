//! Layers, by the calls of the API.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html>

use aws_smithy_types::base64;
use local_aws::LocalAws;
use local_aws::ecr::image::manifest::{OCI_MANIFEST, digest};
use serde_json::{Value, json};

use crate::{aws, ok, refused, with};

const FIVE_MIB: usize = 5 * 1024 * 1024;

#[track_caller]
fn initiate(aws: &LocalAws) -> Value {
    let begun = ok(aws, "InitiateLayerUpload", json!({"repositoryName": "app"}));
    assert!(begun["partSize"].as_u64().unwrap() >= FIVE_MIB as u64);
    json!({"repositoryName": "app", "uploadId": begun["uploadId"]})
}

fn part(first: usize, bytes: &[u8]) -> Value {
    let last = first + bytes.len() - 1;
    json!({"partFirstByte": first, "partLastByte": last, "layerPartBlob": base64::encode(bytes)})
}

fn named(digest: &str) -> Value {
    json!({"layerDigests": [digest]})
}

/// A layer of one part; gives its digest.
#[track_caller]
pub fn upload(aws: &LocalAws, bytes: &[u8]) -> String {
    let id = initiate(aws);
    ok(aws, "UploadLayerPart", with(id.clone(), part(0, bytes)));
    let digest = digest(bytes);
    ok(aws, "CompleteLayerUpload", with(id, named(&digest)));
    digest
}

// Model: UploadLayerPartResponse, CompleteLayerUploadResponse
#[test]
fn a_layer_comes_in_parts_and_is_available_when_complete() {
    let aws = aws();
    let (first, last) = (vec![1; FIVE_MIB], vec![2; 10]);
    let whole = [first.as_slice(), &last].concat();
    let digest = digest(&whole);
    let id = initiate(&aws);
    let availability = || {
        let input = with(json!({"repositoryName": "app"}), named(&digest));
        ok(&aws, "BatchCheckLayerAvailability", input)["layers"][0].clone()
    };
    assert_eq!(availability()["layerAvailability"], "UNAVAILABLE");
    let sent = ok(&aws, "UploadLayerPart", with(id.clone(), part(0, &first)));
    assert_eq!(sent["lastByteReceived"], FIVE_MIB - 1);
    assert_eq!(sent["uploadId"], id["uploadId"]);
    let sent = ok(&aws, "UploadLayerPart", with(id.clone(), part(FIVE_MIB, &last)));
    assert_eq!(sent["lastByteReceived"], FIVE_MIB + 9);
    let complete = ok(&aws, "CompleteLayerUpload", with(id.clone(), named(&digest)));
    assert_eq!(complete["layerDigest"], digest);
    let expected = json!({
        "layerDigest": digest,
        "layerAvailability": "AVAILABLE",
        "layerSize": FIVE_MIB + 10,
    });
    assert_eq!(availability(), expected);
    let over = refused(&aws, "CompleteLayerUpload", with(id, named(&digest)));
    assert_eq!(over, "UploadNotFoundException");
}

// Model: InvalidLayerPartException
#[test]
fn a_part_begins_where_the_last_one_ended() {
    let aws = aws();
    let id = initiate(&aws);
    let bytes = vec![0; FIVE_MIB];
    let skipped = with(id.clone(), part(1, &bytes));
    assert_eq!(refused(&aws, "UploadLayerPart", skipped), "InvalidLayerPartException");
    let wrong_size = with(with(id.clone(), part(0, &bytes)), json!({"partLastByte": FIVE_MIB}));
    assert_eq!(refused(&aws, "UploadLayerPart", wrong_size), "InvalidLayerPartException");
    ok(&aws, "UploadLayerPart", with(id.clone(), part(0, &bytes)));
    let again = with(id, part(0, &bytes));
    assert_eq!(refused(&aws, "UploadLayerPart", again), "InvalidLayerPartException");
}

// Model: LayerPartTooSmallException
#[test]
fn only_the_last_part_is_smaller_than_five_mebibytes() {
    let aws = aws();
    let id = initiate(&aws);
    ok(&aws, "UploadLayerPart", with(id.clone(), part(0, b"small")));
    let next = with(id, part(5, b"next"));
    assert_eq!(refused(&aws, "UploadLayerPart", next), "LayerPartTooSmallException");
}

// Model: CompleteLayerUpload's errors
#[test]
fn an_upload_ends_with_the_digest_of_what_was_sent() {
    let aws = aws();
    let id = initiate(&aws);
    let expected = digest(b"layer");
    let empty = refused(&aws, "CompleteLayerUpload", with(id.clone(), named(&expected)));
    assert_eq!(empty, "EmptyUploadException");
    ok(&aws, "UploadLayerPart", with(id.clone(), part(0, b"other")));
    let wrong = refused(&aws, "CompleteLayerUpload", with(id, named(&expected)));
    assert_eq!(wrong, "InvalidLayerException");
    let unknown =
        json!({"repositoryName": "app", "uploadId": "00000000-0000-4000-8000-0000000000ff"});
    let code = refused(&aws, "UploadLayerPart", with(unknown, part(0, b"layer")));
    assert_eq!(code, "UploadNotFoundException");
    upload(&aws, b"layer");
    let id = initiate(&aws);
    ok(&aws, "UploadLayerPart", with(id.clone(), part(0, b"layer")));
    let again = refused(&aws, "CompleteLayerUpload", with(id, named(&expected)));
    assert_eq!(again, "LayerAlreadyExistsException");
}

// Model: LayerFailureCode
#[test]
fn an_invalid_digest_is_a_failure_beside_the_layers() {
    let aws = aws();
    let digest = upload(&aws, b"layer");
    let input =
        json!({"repositoryName": "app", "layerDigests": [digest, "nonsense", "", "sha256:abc"]});
    let found = ok(&aws, "BatchCheckLayerAvailability", input);
    assert_eq!(found["layers"].as_array().unwrap().len(), 2);
    let failures = found["failures"].as_array().unwrap();
    let code = |digest: &str| {
        let failure = failures.iter().find(|failure| failure["layerDigest"] == digest);
        failure.map_or(Value::Null, |failure| failure["failureCode"].clone())
    };
    assert_eq!(failures.len(), 2);
    assert_eq!(code("nonsense"), "InvalidLayerDigest");
    assert_eq!(code(""), "MissingLayerDigest");
}

// Model: LayersNotFoundException, LayerInaccessibleException
#[test]
fn a_layer_is_downloaded_once_an_image_has_it() {
    let aws = aws();
    let url = |digest: &str| json!({"repositoryName": "app", "layerDigest": digest});
    let missing = url(&digest(b"missing"));
    assert_eq!(refused(&aws, "GetDownloadUrlForLayer", missing), "LayersNotFoundException");
    let (config, layer) = (upload(&aws, b"{}"), upload(&aws, b"layer"));
    let code = refused(&aws, "GetDownloadUrlForLayer", url(&layer));
    assert_eq!(code, "LayerInaccessibleException");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/gzip", "digest": layer, "size": 5}],
    });
    let put = json!({"repositoryName": "app", "imageManifest": manifest.to_string()});
    ok(&aws, "PutImage", put);
    let found = ok(&aws, "GetDownloadUrlForLayer", url(&layer));
    assert_eq!(found["layerDigest"], layer);
    assert!(found["downloadUrl"].as_str().unwrap().ends_with(&layer));
}
