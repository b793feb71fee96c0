//! Images that tests invent, as `DescribeImages` and other operations show them.

use local_aws::ecr::image::Status;
use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::content::{described, present};
use crate::{NOW, aws, ok};

const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

// `Registry::push_made_up`, `Registry::image`
#[test]
fn a_test_sets_the_age_the_size_and_the_status_of_an_image() {
    let aws = aws();
    let digest = {
        let mut state = aws.state();
        let registry = state.ecr();
        let digest = registry.push_made_up("app", &["v1", "v2"], NOW - 9.0).unwrap();
        let image = registry.image("app", &digest).unwrap();
        image.manifest.size = 5_000;
        image.pulled_at = Some(NOW - 8.0);
        (image.status, image.archived_at) = (Status::Archived, Some(NOW - 7.0));
        image.activated_at = Some(NOW - 6.0);
        digest
    };
    let expected = json!({
        "registryId": "123456789012",
        "repositoryName": "app",
        "imageDigest": digest,
        "imageTags": ["v1", "v2"],
        "imageSizeInBytes": 5_000,
        "imagePushedAt": NOW - 9.0,
        "imageManifestMediaType": OCI_MANIFEST,
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
        "lastRecordedPullTime": NOW - 8.0,
        "imageStatus": "ARCHIVED",
        "lastArchivedAt": NOW - 7.0,
        "lastActivatedAt": NOW - 6.0,
    });
    assert_eq!(described(&aws, &digest), expected);
    assert_eq!(
        aws.state().ecr().image("app", "sha256:0").unwrap_err().code,
        "ImageNotFoundException"
    );
}

// `Registry::push_index`
#[test]
fn an_index_has_its_images_and_two_of_the_same_are_two() {
    let aws = aws();
    let (children, [one, other]) = {
        let mut state = aws.state();
        let registry = state.ecr();
        let children = [(); 2].map(|()| registry.push_made_up("app", &[], NOW).unwrap());
        let mut index = |tags| registry.push_index("app", &children, tags, NOW).unwrap();
        let indexes = [index(&["v1", "latest"]), index(&[])];
        let missing = registry.push_index("app", &["sha256:0"], &[], NOW).unwrap_err();
        assert_eq!(missing.code, "InvalidParameterException");
        let missing = format!("sha256:{}", "0".repeat(64));
        let missing = registry.push_index("app", &[missing], &[], NOW).unwrap_err();
        assert_eq!(missing.code, "ReferencedImagesNotFoundException");
        (children, indexes)
    };
    assert_ne!(one, other);
    let found = described(&aws, &one);
    assert_eq!(found["imageManifestMediaType"], OCI_INDEX);
    assert_eq!(found["imageTags"], json!(["latest", "v1"]));
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageDigest": one}]});
    let manifest = ok(&aws, "BatchGetImage", ids)["images"][0]["imageManifest"].clone();
    let manifest: Value = serde_json::from_str(manifest.as_str().unwrap()).unwrap();
    let parts = manifest["manifests"].as_array().unwrap().iter();
    assert_eq!(parts.map(|part| part["digest"].as_str().unwrap()).collect::<Vec<_>>(), children);
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageDigest": children[0]}]});
    let failed = ok(&aws, "BatchDeleteImage", ids);
    assert_eq!(failed["failures"][0]["failureCode"], "ImageReferencedByManifestList");
}

// `Registry::push_referrer`, `Registry::push_attached`
#[test]
fn a_referrer_names_its_subject_and_outlives_it() {
    let aws = aws();
    let (subject, mut belongings) = {
        let mut state = aws.state();
        let registry = state.ecr();
        let subject = registry.push_made_up("app", &["v1"], NOW).unwrap();
        let signed = registry.push_attached("app", &subject, ".sig", NOW).unwrap();
        let mut referrer = || registry.push_referrer("app", &subject, SIGNATURE, NOW).unwrap();
        let belongings = [signed, referrer(), referrer()];
        (subject, belongings)
    };
    let [signed, referrer, other] = belongings.each_ref().map(|digest| described(&aws, digest));
    assert_ne!(referrer["imageDigest"], other["imageDigest"]);
    assert_eq!(signed["imageTags"], json!([format!("{}.sig", subject.replace(':', "-"))]));
    assert_eq!(signed.get("subjectManifestDigest"), None);
    assert_eq!(referrer["subjectManifestDigest"], subject);
    assert_eq!(referrer["artifactMediaType"], SIGNATURE);
    assert_eq!(referrer.get("imageTags"), None);
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageDigest": subject}]});
    assert_eq!(ok(&aws, "BatchDeleteImage", ids)["failures"], json!([]));
    belongings.sort_unstable();
    assert_eq!(present(&aws), belongings);
}
