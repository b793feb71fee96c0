//! Referrers of an image, such as signatures and bills of materials.

use local_aws::ecr::image::manifest::OCI_MANIFEST;
use serde_json::{Value, json};

use crate::content::{described, image, referrer, transition};
use crate::{aws, ok, pages, refused, with};

const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
const SBOM: &str = "application/spdx+json";

fn list(subject: &str, more: Value) -> Value {
    with(json!({"repositoryName": "app", "subjectId": {"imageDigest": subject}}), more)
}

fn digests(answer: &Value) -> Vec<&str> {
    let referrers = answer["referrers"].as_array().unwrap().iter();
    let mut digests: Vec<&str> =
        referrers.map(|referrer| referrer["digest"].as_str().unwrap()).collect();
    digests.sort_unstable();
    digests
}

// Model: ImageReferrer; ImageDetail, subjectManifestDigest
#[test]
fn a_referrer_is_listed_under_its_subject_with_its_type_and_annotations() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    let signature = referrer(&aws, &subject, SIGNATURE);
    let listed = ok(&aws, "ListImageReferrers", list(&subject, json!({})));
    let size = listed["referrers"][0]["size"].as_u64().unwrap();
    assert!(size > 0);
    let expected = json!({"referrers": [{
        "digest": signature,
        "mediaType": OCI_MANIFEST,
        "artifactType": SIGNATURE,
        "size": size,
        "annotations": {"org.example.of": SIGNATURE},
        "artifactStatus": "ACTIVE",
    }]});
    assert_eq!(listed, expected);
    let described = described(&aws, &signature);
    assert_eq!(described["subjectManifestDigest"], subject);
    assert_eq!(described["artifactMediaType"], SIGNATURE);
}

// Model: ListImageReferrersFilter
#[test]
fn referrers_are_filtered_by_type_and_status_and_active_ones_are_the_default() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    let other = image(&aws, &["v2"]);
    let signature = referrer(&aws, &subject, SIGNATURE);
    let sbom = referrer(&aws, &subject, SBOM);
    referrer(&aws, &other, SIGNATURE);
    transition(&aws, &sbom, "ARCHIVE");
    let mut both = [signature.as_str(), sbom.as_str()];
    both.sort_unstable();
    let cases: [(Value, &[&str]); 6] = [
        (json!({}), &[&signature]),
        (json!({"artifactStatus": "ANY"}), &both),
        (json!({"artifactStatus": "ARCHIVED"}), &[&sbom]),
        (json!({"artifactTypes": [SBOM]}), &[]),
        (json!({"artifactTypes": [SBOM], "artifactStatus": "ANY"}), &[&sbom]),
        (json!({"artifactTypes": [SBOM, SIGNATURE], "artifactStatus": "ANY"}), &both),
    ];
    for (filter, expected) in cases {
        let listed = ok(&aws, "ListImageReferrers", list(&subject, json!({"filter": filter})));
        assert_eq!(digests(&listed), expected, "{filter}");
    }
}

// Model: ListImageReferrersRequest, maxResults
#[test]
fn a_page_of_referrers_has_twenty_unless_asked_for_up_to_fifty() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    for n in 0..51 {
        referrer(&aws, &subject, &format!("application/example.{n}"));
    }
    for (most, expected) in
        [(json!(null), [20, 20, 11].as_slice()), (json!(50), &[50, 1]), (json!(17), &[17, 17, 17])]
    {
        let input = list(&subject, json!({"maxResults": most}));
        let sizes: Vec<usize> =
            pages(&aws, "ListImageReferrers", &input, "referrers").iter().map(Vec::len).collect();
        assert_eq!(sizes, expected, "{most}");
    }
    let too_many = list(&subject, json!({"maxResults": 51}));
    assert_eq!(refused(&aws, "ListImageReferrers", too_many), "InvalidParameterException");
    let bad = list(&subject, json!({"nextToken": "not a token"}));
    assert_eq!(refused(&aws, "ListImageReferrers", bad), "InvalidParameterException");
}

// https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-manifests-with-subject
#[test]
fn a_referrer_may_come_before_its_subject() {
    let aws = aws();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let signature = referrer(&aws, &zeros, SIGNATURE);
    let listed = ok(&aws, "ListImageReferrers", list(&zeros, json!({})));
    assert_eq!(digests(&listed), [signature]);
}
