//! The kind of an artifact in a repository: an image, or something that tools store like an image.
//!
//! ECR reports the media type of a manifest and one artifact type: `artifactType`, or else the media
//! type of the configuration. These facts do not prove that an artifact is an image, because older tools
//! give other artifacts the configuration of an image
//! (<https://github.com/opencontainers/image-spec/blob/main/artifacts-guidance.md>). The media types of
//! the layers do. Without them, such an artifact is [`ArtifactKind::Unknown`] and may be an image.
//!
//! No kind makes an artifact removable: the retention rules do not ask for it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::graph::is_index;
use crate::image::Tag;

keywords!(
    /// The kind of an artifact.
    ArtifactKind {
        /// A container image for one platform.
        Image = "image",
        /// An index of other manifests.
        Index = "index",
        /// A signature of an image.
        Signature = "signature",
        /// A statement about an image, such as its provenance.
        Attestation = "attestation",
        /// A list of the packages of an image.
        Sbom = "sbom",
        /// An index of Seekable OCI, with which a node starts an image before it is downloaded.
        Soci = "soci",
        /// A chart of Helm.
        Chart = "chart",
        /// A cache of build steps.
        Cache = "cache",
        /// Another artifact that is no container image.
        Other = "other",
        /// The known facts do not decide.
        Unknown = "unknown",
    }
);

impl ArtifactKind {
    /// Whether the artifact is an image, or may be one. A scanner can scan only images.
    #[must_use]
    pub fn may_be_image(self) -> bool {
        matches!(self, Self::Image | Self::Unknown)
    }
}

/// The known facts about an artifact.
#[derive(Clone, Debug, Default)]
pub struct ArtifactFacts<'a> {
    /// The media type of the manifest.
    pub manifest_type: Option<&'a str>,
    /// `artifactType`, or else the media type of the configuration.
    pub artifact_type: Option<&'a str>,
    /// The media types of the layers. None if the manifest was not read.
    pub layer_types: Option<Vec<&'a str>>,
    /// The tags.
    pub tags: &'a [Tag],
}

/// Finds the kind of an artifact.
#[must_use]
pub fn classify(facts: &ArtifactFacts<'_>) -> ArtifactKind {
    let by_type = facts.artifact_type.and_then(find_kind);
    let by_layers = facts.layer_types.as_deref().map(classify_layers);
    match (by_type, by_layers) {
        // The tool oras gives every file the same types, and may store it as a layer of an image.
        (Some(ArtifactKind::Other), Some(kind)) if !kind.may_be_image() => kind,
        (Some(kind), _) if kind != ArtifactKind::Image => kind,
        _ if facts.manifest_type.is_some_and(is_index) => ArtifactKind::Index,
        (None, Some(kind)) if facts.artifact_type.is_some() && kind.may_be_image() => {
            ArtifactKind::Other
        }
        (_, Some(ArtifactKind::Image)) if is_kaniko_layer(facts) => ArtifactKind::Cache,
        (_, Some(kind)) => kind,
        // ECR may report the artifact type of an image, so a type that is not listed proves nothing.
        (_, None) => kind_of_tags(facts.tags).unwrap_or(ArtifactKind::Unknown),
    }
}

/// Finds the kind of an artifact by its manifest, which is no index. A manifest that cannot be parsed is
/// [`ArtifactKind::Unknown`].
#[must_use]
pub fn classify_manifest(manifest: &str, tags: &[Tag]) -> ArtifactKind {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        media_type: Option<String>,
        artifact_type: Option<String>,
        config: Content,
        layers: Vec<Content>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Content {
        media_type: String,
    }
    let Ok(manifest) = serde_json::from_str::<Manifest>(manifest) else {
        return ArtifactKind::Unknown;
    };
    let config_type = manifest.config.media_type.as_str();
    // An image may have an artifact type that is not in the table.
    let artifact_type = manifest.artifact_type.as_deref();
    let artifact_type = artifact_type.filter(|own| find_kind(own).is_some());
    classify(&ArtifactFacts {
        manifest_type: manifest.media_type.as_deref(),
        artifact_type: artifact_type.or(Some(config_type)),
        layer_types: Some(manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect()),
        tags,
    })
}

/// An entry of an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    media_type: Option<String>,
    artifact_type: Option<String>,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
}

impl Descriptor {
    /// The kind of the artifact that the entry points at.
    pub(crate) fn kind(&self) -> ArtifactKind {
        // https://docs.docker.com/build/metadata/attestations/attestation-storage/: buildx gives an
        // attestation this annotation and the platform unknown/unknown. `docker manifest` and crane copy
        // the platform alone.
        let reference = self.annotations.get("vnd.docker.reference.type").map(String::as_str);
        let is_unknown = |name: &Option<String>| name.as_deref() == Some("unknown");
        let platform = self.platform.as_ref();
        let mut types = [&self.artifact_type, &self.media_type].into_iter().flatten();
        match types.find_map(|name| find_kind(name)) {
            Some(kind) if kind != ArtifactKind::Image => kind,
            _ if reference == Some("attestation-manifest") => ArtifactKind::Attestation,
            _ if platform.is_some_and(|platform| {
                is_unknown(&platform.os) && is_unknown(&platform.architecture)
            }) =>
            {
                ArtifactKind::Attestation
            }
            _ if self.media_type.as_deref().is_some_and(is_index) => ArtifactKind::Index,
            _ if platform.is_some() => ArtifactKind::Image,
            _ => ArtifactKind::Unknown,
        }
    }
}

/// The kind for a media type of an artifact, a configuration or a layer that belongs to one kind of
/// artifact. None for a media type that several kinds have, or that is not listed.
fn find_kind(media_type: &str) -> Option<ArtifactKind> {
    // A parameter follows, as in `application/vnd.dev.sigstore.bundle+json;version=0.3`.
    let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let kind = match name.as_str() {
        "application/vnd.oci.image.config.v1+json"
        | "application/vnd.docker.container.image.v1+json" => ArtifactKind::Image,
        // https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and
        // https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md.
        // A bundle of Sigstore contains a signature, of the image or of an attestation.
        _ if has_prefix(&[
            "application/vnd.dev.cosign.artifact.sig.",
            "application/vnd.dev.cosign.simplesigning.",
            "application/vnd.dev.sigstore.bundle",
            "application/vnd.cncf.notary.signature",
        ]) =>
        {
            ArtifactKind::Signature
        }
        // https://docs.docker.com/build/metadata/attestations/attestation-storage/ and
        // https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md.
        _ if has_prefix(&[
            "application/vnd.docker.attestation.manifest.",
            "application/vnd.in-toto",
            "application/vnd.dsse.envelope.",
            "application/vnd.dev.cosign.artifact.att.",
        ]) =>
        {
            ArtifactKind::Attestation
        }
        // https://github.com/sigstore/cosign/blob/main/specs/SBOM_SPEC.md, and the media types of IANA.
        _ if has_prefix(&[
            "application/spdx",
            "text/spdx",
            "application/vnd.cyclonedx",
            "application/vnd.syft",
            "application/vnd.dev.cosign.artifact.sbom.",
        ]) =>
        {
            ArtifactKind::Sbom
        }
        // https://github.com/awslabs/soci-snapshotter/blob/main/docs/soci-index-manifest-v2.md.
        _ if has_prefix(&["application/vnd.amazon.soci."]) => ArtifactKind::Soci,
        // https://helm.sh/docs/topics/registries/.
        _ if has_prefix(&["application/vnd.cncf.helm."]) => ArtifactKind::Chart,
        // https://github.com/moby/buildkit/blob/master/cache/remotecache/v1/spec.go.
        _ if has_prefix(&["application/vnd.buildkit.cacheconfig."]) => ArtifactKind::Cache,
        // Wasm: https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/. oras writes the
        // types `empty` and `unknown` (https://oras.land/docs/concepts/artifact/). Flux, Falco and Open
        // Policy Agent have types of the CNCF; Docker has plugins and models.
        _ if has_prefix(&[
            "application/wasm",
            "application/vnd.wasm.",
            "application/vnd.oci.empty.",
            "application/vnd.unknown.",
            "application/vnd.cncf.",
            "application/vnd.docker.plugin.",
            "application/vnd.docker.ai.",
        ]) =>
        {
            ArtifactKind::Other
        }
        _ => return None,
    };
    Some(kind)
}

/// The kind of an artifact with the configuration of an image.
fn classify_layers(layer_types: &[&str]) -> ArtifactKind {
    let is_image_layer = |name: &&str| {
        name.starts_with("application/vnd.oci.image.layer.")
            || name.starts_with("application/vnd.docker.image.rootfs.")
    };
    // An image can have no layer at all.
    if layer_types.is_empty() || layer_types.iter().any(is_image_layer) {
        return ArtifactKind::Image;
    }
    layer_types.iter().find_map(|name| find_kind(name)).unwrap_or(ArtifactKind::Unknown)
}

/// Whether kaniko cached the layer of one build step: the only tag is the key, 64 hexadecimal digits
/// (<https://github.com/GoogleContainerTools/kaniko/blob/main/pkg/executor/push.go>).
fn is_kaniko_layer(facts: &ArtifactFacts<'_>) -> bool {
    let has_one_layer = facts.layer_types.as_ref().is_some_and(|layers| layers.len() == 1);
    let is_key = |tag: &Tag| {
        let key = tag.as_str();
        key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    has_one_layer && matches!(facts.tags, [tag] if is_key(tag))
}

/// The kind by the tags that cosign 2 gives to an artifact. None if the tags do not agree.
fn kind_of_tags(tags: &[Tag]) -> Option<ArtifactKind> {
    let kind_of = |tag: &Tag| {
        tag.subject()?;
        let (_, suffix) = tag.as_str().rsplit_once('.')?;
        Some(match suffix {
            "sig" => ArtifactKind::Signature,
            "att" => ArtifactKind::Attestation,
            _ => ArtifactKind::Sbom,
        })
    };
    let (first, rest) = tags.split_first()?;
    kind_of(first).filter(|kind| rest.iter().all(|tag| kind_of(tag) == Some(*kind)))
}

#[cfg(test)]
mod tests;
