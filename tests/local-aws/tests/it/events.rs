//! The events that ECR sends to EventBridge.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>

use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::content::{events, image, index, manifest, put, referrer};
use crate::{NOW, aws, ok, refused};

// ecr-eventbridge.html: event for a completed image push
#[test]
fn an_event_comes_in_the_envelope_of_eventbridge() {
    let aws = aws();
    let digest = put(&aws, &manifest(&aws, "layer"), Some("v1"));
    aws.state().set_clock(Some(NOW + 0.9));
    put(&aws, &manifest(&aws, "layer"), Some("v2"));
    let state = aws.state();
    let [first, second] = &state.events[..] else { panic!("two pushes are two events") };
    let expected = json!({
        "version": "0",
        "id": first["id"],
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "123456789012",
        "time": "2027-01-15T08:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "result": "SUCCESS",
            "repository-name": "app",
            "image-digest": digest,
            "action-type": "PUSH",
            "image-tag": "v1",
            "manifest-media-type": OCI_MANIFEST,
            "artifact-media-type": "application/vnd.oci.image.config.v1+json",
        },
    });
    assert_eq!(first, &expected);
    assert_eq!(second["time"], expected["time"]);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["id"].as_str().unwrap().len(), 36);
}

// ecr-eventbridge.html; as real events have it, a push without a tag has an empty one
#[test]
fn a_push_without_a_tag_comes_with_an_empty_one() {
    let aws = aws();
    let child = image(&aws, &[]);
    index(&aws, &[&child], Some("v1"));
    referrer(&aws, &child, "application/spdx+json");
    let pushes = events(&aws, "ECR Image Action");
    let values = |name: &str| pushes.iter().map(|detail| detail[name].clone()).collect::<Vec<_>>();
    assert_eq!(values("image-tag"), ["", "v1", ""]);
    assert_eq!(values("manifest-media-type"), [OCI_MANIFEST, OCI_INDEX, OCI_MANIFEST]);
    assert_eq!(
        values("artifact-media-type"),
        [
            json!("application/vnd.oci.image.config.v1+json"),
            Value::Null,
            json!("application/spdx+json")
        ]
    );
    assert_eq!(pushes[1].get("artifact-media-type"), None);
}

// ecr-eventbridge.html: each completed push
#[test]
fn a_refused_call_causes_no_event() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    put(&aws, &manifest, Some("v1"));
    let again =
        json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": "v1"});
    assert_eq!(refused(&aws, "PutImage", again), "ImageAlreadyExistsException");
    ok(
        &aws,
        "BatchDeleteImage",
        json!({"repositoryName": "app", "imageIds": [{"imageTag": "gone"}]}),
    );
    assert_eq!(aws.state().events.len(), 1);
}

// ecr-eventbridge.html: event for an image deletion
#[test]
fn the_event_of_a_deletion_names_the_tag_of_the_call() {
    let aws = aws();
    let tagged = image(&aws, &["v1"]);
    let untagged = image(&aws, &[]);
    let ids = json!([{"imageTag": "v1"}, {"imageDigest": untagged}]);
    ok(&aws, "BatchDeleteImage", json!({"repositoryName": "app", "imageIds": ids}));
    let deleted = events(&aws, "ECR Image Action").split_off(2);
    let expected = [(tagged, "v1"), (untagged, "")].map(|(digest, tag)| {
        json!({
            "result": "SUCCESS",
            "repository-name": "app",
            "image-digest": digest,
            "action-type": "DELETE",
            "image-tag": tag,
        })
    });
    assert_eq!(deleted, expected);
}
