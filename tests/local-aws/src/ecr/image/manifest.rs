//! Manifests of the OCI image specification 1.1 and of Docker's schema 2:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html>.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ecr::{Error, model, text};

/// An OCI image, or a referrer of an image.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index: an image for several platforms.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The fields of a manifest that ECR reads.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The media type: four types are supported.
    pub media_type: String,
    /// The artifact type, or else the media type of the configuration.
    pub artifact_type: Option<String>,
    /// The digest of the image to which a referrer refers.
    pub subject: Option<String>,
    /// The digests of the images of an index.
    pub children: Vec<String>,
    /// The digests of the configuration and the layers.
    pub blobs: Vec<String>,
    /// The sum of the sizes that the descriptors of the layers state, in bytes.
    pub size: u64,
    /// The annotations, or null.
    pub annotations: Value,
}

impl Manifest {
    /// Reads a manifest of the given type, or of the type that it states. ECR does not guess a type.
    pub fn read(manifest: &str, media_type: Option<&str>) -> Result<Self, Error> {
        let invalid = |constraint: &str| model::unsatisfied("ImageManifest", constraint);
        let value: Value =
            serde_json::from_str(manifest).map_err(|_| invalid("Invalid JSON syntax"))?;
        if value["schemaVersion"] != 2 {
            return Err(invalid("schemaVersion must be 2"));
        }
        let own = value["mediaType"].as_str();
        if let (Some(own), Some(given)) = (own, media_type)
            && own != given
        {
            return Err(invalid(&format!("mediaType {own} is not the given one, {given}")));
        }
        let media_type = media_type.or(own);
        let media_type = media_type.ok_or_else(|| invalid("the media type is missing"))?;
        let digests = |list: &Value| -> Result<Vec<String>, Error> {
            let list = list.as_array().ok_or_else(|| invalid("a list is missing"))?;
            list.iter()
                .map(|descriptor| digest_of(descriptor).map_err(|why| invalid(&why)))
                .collect()
        };
        let (children, blobs, size) = match media_type {
            OCI_INDEX | DOCKER_LIST => (digests(&value["manifests"])?, Vec::new(), 0),
            OCI_MANIFEST | DOCKER_MANIFEST => {
                let mut blobs = digests(&value["layers"])?;
                blobs.push(digest_of(&value["config"]).map_err(|why| invalid(&why))?);
                let sizes =
                    value["layers"].as_array().into_iter().flatten().chain([&value["config"]]);
                let mut sizes = sizes.filter_map(|descriptor| descriptor["size"].as_u64());
                let size = sizes.try_fold(0_u64, u64::checked_add);
                (Vec::new(), blobs, size.ok_or_else(|| invalid("the sizes are too large"))?)
            }
            other => return Err(invalid(&format!("the media type {other} is not supported"))),
        };
        let subject = match &value["subject"] {
            Value::Null => None,
            subject => Some(digest_of(subject).map_err(|why| invalid(&why))?),
        };
        let types = [&value["artifactType"], &value["config"]["mediaType"]];
        Ok(Self {
            media_type: media_type.to_owned(),
            artifact_type: types.into_iter().find_map(Value::as_str).map(str::to_owned),
            subject,
            children,
            blobs,
            size,
            annotations: value["annotations"].clone(),
        })
    }

    /// Whether the manifest is an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_LIST].contains(&self.media_type.as_str())
    }
}

fn digest_of(descriptor: &Value) -> Result<String, String> {
    let digest = text(descriptor, "digest");
    if is_digest(digest) {
        Ok(digest.to_owned())
    } else {
        Err(format!("'{digest}' is not a digest"))
    }
}

/// Whether the text is a SHA-256 digest.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether the text has the form of a digest in a call, by any algorithm.
#[must_use]
pub fn looks_like_digest(text: &str) -> bool {
    // Equivalent to the pattern of the model. A batch checks every image, so it avoids the regex engine.
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
        !algorithm.is_empty()
            && algorithm.bytes().all(of_name)
            && !hex.is_empty()
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether the text is a tag, by the OCI distribution specification.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    model::matches("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", text)
}

/// The digest of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
