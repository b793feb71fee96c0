//! `PutImage`: what comes in, and what does not.

use local_aws::ecr::image::manifest::{OCI_MANIFEST, digest};
use serde_json::json;

use crate::content::{described, image, index, index_of, manifest, put};
use crate::{DAY, NOW, aws, ok, refused};

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
#[test]
fn a_pushed_image_is_answered_with_and_described() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    let text = manifest.to_string();
    let input = json!({"repositoryName": "app", "imageManifest": text, "imageTag": "v1"});
    let put = ok(&aws, "PutImage", input);
    let digest = digest(text.as_bytes());
    let expected = json!({"image": {
        "registryId": "123456789012",
        "repositoryName": "app",
        "imageId": {"imageDigest": digest, "imageTag": "v1"},
        "imageManifest": text,
        "imageManifestMediaType": OCI_MANIFEST,
    }});
    assert_eq!(put, expected);
    let expected = json!({
        "registryId": "123456789012",
        "repositoryName": "app",
        "imageDigest": digest,
        "imageTags": ["v1"],
        "imageSizeInBytes": "layer".len() + "{}".len(),
        "imagePushedAt": NOW,
        "imageManifestMediaType": OCI_MANIFEST,
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
        "imageStatus": "ACTIVE",
    });
    assert_eq!(described(&aws, &digest), expected);
}

// Model: ImageDetail, imageSizeInBytes
#[test]
fn an_index_is_as_large_as_the_largest_of_its_images() {
    let aws = aws();
    let small = put(&aws, &manifest(&aws, "s"), None);
    let large = put(&aws, &manifest(&aws, "large"), None);
    let index = index(&aws, &[&small, &large], Some("v1"));
    let size = |digest: &str| described(&aws, digest)["imageSizeInBytes"].clone();
    assert_eq!(size(&index), size(&large));
}

// Model: InvalidParameterException, ImageDigestDoesNotMatchException, LayersNotFoundException
#[test]
fn an_invalid_manifest_or_one_without_its_layers_is_refused() {
    let aws = aws();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let good = manifest(&aws, "layer");
    let mut no_layer = good.clone();
    no_layer["layers"][0]["digest"] = zeros.clone().into();
    let mut no_config = good.clone();
    no_config["config"]["digest"] = zeros.clone().into();
    let cases = [
        (json!({"imageManifest": "{"}), "InvalidParameterException"),
        (json!({"imageManifest": ""}), "InvalidParameterException"),
        (json!({"imageManifest": "{\"schemaVersion\":2}"}), "InvalidParameterException"),
        (
            json!({"imageManifest": good.to_string(), "imageManifestMediaType": "text/plain"}),
            "InvalidParameterException",
        ),
        (
            json!({"imageManifest": good.to_string(), "imageDigest": zeros}),
            "ImageDigestDoesNotMatchException",
        ),
        (json!({"imageManifest": no_layer.to_string()}), "LayersNotFoundException"),
        (json!({"imageManifest": no_config.to_string()}), "LayersNotFoundException"),
        (
            json!({"imageManifest": index_of(&[&zeros]).to_string()}),
            "ReferencedImagesNotFoundException",
        ),
    ];
    for (input, code) in cases {
        let input = crate::with(json!({"repositoryName": "app", "imageTag": "v1"}), input);
        assert_eq!(refused(&aws, "PutImage", input.clone()), code, "{input}");
    }
    let listed = ok(&aws, "ListImages", json!({"repositoryName": "app"}));
    assert_eq!(listed, json!({"imageIds": []}));
    let digest = digest(good.to_string().as_bytes());
    let input =
        json!({"repositoryName": "app", "imageManifest": good.to_string(), "imageDigest": digest});
    ok(&aws, "PutImage", input);
}

// Model: PutImageRequest, imageManifestMediaType
#[test]
fn a_manifest_that_does_not_say_its_media_type_comes_with_one() {
    let aws = aws();
    let mut manifest = manifest(&aws, "layer");
    manifest.as_object_mut().unwrap().remove("mediaType");
    let input = json!({"repositoryName": "app", "imageManifest": manifest.to_string()});
    assert_eq!(refused(&aws, "PutImage", input.clone()), "InvalidParameterException");
    let input = crate::with(input, json!({"imageManifestMediaType": OCI_MANIFEST}));
    let put = ok(&aws, "PutImage", input);
    assert_eq!(put["image"]["imageManifestMediaType"], OCI_MANIFEST);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html
#[test]
fn an_image_that_is_pushed_under_another_tag_has_both_and_keeps_its_age() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    let digest = put(&aws, &manifest, Some("v1"));
    aws.advance(DAY);
    assert_eq!(put(&aws, &manifest, Some("v2")), digest);
    let described = described(&aws, &digest);
    assert_eq!(described["imageTags"], json!(["v1", "v2"]));
    assert_eq!(described["imagePushedAt"], NOW);
}

// Model: ImageAlreadyExistsException
#[test]
fn a_push_that_changes_nothing_is_an_error() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    put(&aws, &manifest, Some("v1"));
    for tag in [Some("v1"), None] {
        let input = json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": tag});
        assert_eq!(refused(&aws, "PutImage", input), "ImageAlreadyExistsException");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
#[test]
fn a_moved_tag_leaves_the_old_image_untagged() {
    let aws = aws();
    let old = image(&aws, &["latest"]);
    let new = image(&aws, &["latest"]);
    assert_eq!(described(&aws, &old).get("imageTags"), None);
    assert_eq!(described(&aws, &new)["imageTags"], json!(["latest"]));
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
#[test]
fn an_image_has_at_most_a_thousand_tags() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    for n in 0..1_000 {
        put(&aws, &manifest, Some(&format!("v{n}")));
    }
    let input =
        json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": "more"});
    assert_eq!(refused(&aws, "PutImage", input), "LimitExceededException");
}

// https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
#[test]
fn tags_follow_the_specification() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    let longest = "x".repeat(128);
    for tag in ["_", "1.0", "v1.0-rc.1_x", "UPPER", &longest] {
        put(&aws, &manifest, Some(tag));
    }
    for tag in [".a", "-a", "a b", "a/b", "a:b", "ä", "", &"x".repeat(129)] {
        let input = json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": tag});
        assert_eq!(refused(&aws, "PutImage", input), "InvalidParameterException", "{tag}");
    }
}
