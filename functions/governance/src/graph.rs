//! How images refer to each other: an index to the image of each platform, and to what is
//! attested of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::image::Digest;

/// Whether a manifest of this media type is an index: an image for several platforms.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// What a part of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The image for a platform.
    Image,
    /// What is attested of one of those: no image, though it looks like one
    /// (<https://docs.docker.com/build/metadata/attestations/attestation-storage/>).
    Attestation,
}

/// The parts of an index, each once, by its manifest
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
pub fn children(manifest: &str) -> Result<BTreeMap<Digest, Part>, InvalidIndex> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let index: Index =
        serde_json::from_str(manifest).map_err(|error| InvalidIndex(error.to_string()))?;
    let part = |Descriptor { digest, annotations }: Descriptor| {
        let kind = annotations.get("vnd.docker.reference.type").map(String::as_str);
        let part = match kind {
            Some("attestation-manifest") => Part::Attestation,
            _ => Part::Image,
        };
        let parsed = digest.parse().map(|digest| (digest, part));
        parsed.map_err(|error| InvalidIndex(format!("{error}, got {digest:?}")))
    };
    index.manifests.into_iter().map(part).collect()
}

/// A manifest that is no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is no index: {0}")]
pub struct InvalidIndex(String);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_index_names_its_images_and_what_is_none_is_an_error() {
        let digests = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let descriptor = |digest: &String| json!({"digest": digest, "size": 1, "platform": {}});
        let mut both: Vec<_> = digests.iter().chain(&digests[..1]).map(descriptor).collect();
        let annotations = json!({
            "vnd.docker.reference.digest": digests[0],
            "vnd.docker.reference.type": "attestation-manifest",
        });
        both[1]["annotations"] = annotations;
        let index = json!({"schemaVersion": 2, "manifests": both});
        let found = children(&index.to_string()).unwrap();
        let found: Vec<_> = found.iter().map(|(digest, part)| (digest.as_str(), *part)).collect();
        assert_eq!(
            found,
            [(digests[0].as_str(), Part::Image), (digests[1].as_str(), Part::Attestation)]
        );

        for wrong in ["", "[]", r#"{"manifests": [{}]}"#, r#"{"layers": []}"#] {
            assert!(children(wrong).is_err(), "{wrong}");
        }
        let error = children(r#"{"manifests": [{"digest": "sha512:0"}]}"#).unwrap_err();
        assert!(error.to_string().ends_with("got \"sha512:0\""), "{error}");
    }
}
