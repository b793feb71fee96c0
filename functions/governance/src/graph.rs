//! How images refer to each other: an index to the image of each platform.

use std::collections::BTreeSet;

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

/// The images of an index, each once, by its manifest
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
pub fn children(manifest: &str) -> Result<BTreeSet<Digest>, InvalidIndex> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
    }
    let index: Index =
        serde_json::from_str(manifest).map_err(|error| InvalidIndex(error.to_string()))?;
    let digest = |descriptor: Descriptor| {
        let parsed = descriptor.digest.parse();
        parsed.map_err(|error| InvalidIndex(format!("{error}, got {:?}", descriptor.digest)))
    };
    index.manifests.into_iter().map(digest).collect()
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
        let both = digests.iter().chain(&digests).map(descriptor);
        let index = json!({"schemaVersion": 2, "manifests": both.collect::<Vec<_>>()});
        let found = children(&index.to_string()).unwrap();
        assert_eq!(found.iter().map(Digest::as_str).collect::<Vec<_>>(), digests);

        for wrong in ["", "[]", r#"{"manifests": [{}]}"#, r#"{"layers": []}"#] {
            assert!(children(wrong).is_err(), "{wrong}");
        }
        let error = children(r#"{"manifests": [{"digest": "sha512:0"}]}"#).unwrap_err();
        assert!(error.to_string().ends_with("got \"sha512:0\""), "{error}");
    }
}
