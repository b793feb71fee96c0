use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::graph::children;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";

fn tags(tags: &[&str]) -> Vec<Tag> {
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

/// The artifact type, if the manifest has one, the media type of the configuration, and those of the
/// layers.
type Types<'a> = (Option<&'a str>, &'a str, &'a [&'a str]);

/// The kind by the facts that ECR lists, and the kind by the manifest.
fn kinds(types: Types<'_>, tag_list: &[&str]) -> [ArtifactKind; 2] {
    let (artifact_type, config_type, layer_types) = types;
    let tags = tags(tag_list);
    let listed = ArtifactFacts {
        manifest_type: Some(OCI_MANIFEST),
        artifact_type: artifact_type.or(Some(config_type)),
        layer_types: None,
        tags: &tags,
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": config_type},
        "layers": layer_types.iter().map(|name| json!({"mediaType": name})).collect::<Vec<_>>(),
    });
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = artifact_type.into();
    }
    [classify(&listed), classify_manifest(&manifest.to_string(), &tags)]
}

#[test]
fn an_artifact_is_classified_by_the_media_types_that_tools_write() {
    use ArtifactKind::{Attestation, Cache, Chart, Image, Other, Sbom, Signature, Soci, Unknown};
    let signature = format!("sha256-{}", "a".repeat(64));
    let [sig, att, sbom] = [".sig", ".att", ".sbom"].map(|suffix| format!("{signature}{suffix}"));
    let key = "0123456789abcdef".repeat(4);
    let cosign = "application/vnd.dev.cosign.simplesigning.v1+json";
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let wasm = "application/vnd.wasm.config.v0+json";
    let cases: [(Types<'_>, &[&str], ArtifactKind, ArtifactKind); 31] = [
        // Images.
        ((None, OCI_CONFIG, &[OCI_LAYER]), &["a-v1.0.0"], Unknown, Image),
        ((None, DOCKER_CONFIG, &[DOCKER_LAYER]), &["a-v1.0.0"], Unknown, Image),
        ((None, OCI_CONFIG, &[]), &[], Unknown, Image),
        ((Some("application/vnd.example.app"), OCI_CONFIG, &[OCI_LAYER]), &[], Unknown, Image),
        ((None, "application/vnd.example.config", &[OCI_LAYER]), &[], Unknown, Other),
        ((None, OCI_CONFIG, &["application/vnd.erofs.layer.v1"]), &[], Unknown, Unknown),
        // cosign 2, with the configuration of an image. The tag decides until the manifest is read.
        ((None, OCI_CONFIG, &[cosign]), &[&sig], Signature, Signature),
        ((None, OCI_CONFIG, &[cosign]), &[], Unknown, Signature),
        (
            (None, OCI_CONFIG, &["application/vnd.dsse.envelope.v1+json"]),
            &[&att],
            Attestation,
            Attestation,
        ),
        ((None, OCI_CONFIG, &["text/spdx+json"]), &[&sbom], Sbom, Sbom),
        // Everybody can push such a tag: the layers of an image decide.
        ((None, OCI_CONFIG, &[OCI_LAYER]), &[&sig], Signature, Image),
        ((None, OCI_CONFIG, &[OCI_LAYER]), &[&sig, "a-v1.0.0"], Unknown, Image),
        ((None, OCI_CONFIG, &[OCI_LAYER]), &[&signature], Unknown, Image),
        // cosign 3, notation, Seekable OCI.
        ((Some(bundle), EMPTY, &[bundle]), &[], Signature, Signature),
        (
            (Some("application/vnd.dev.sigstore.bundle+json;version=0.2"), EMPTY, &[]),
            &[],
            Signature,
            Signature,
        ),
        (
            (Some("application/vnd.dev.cosign.artifact.sig.v1+json"), OCI_CONFIG, &[cosign]),
            &[],
            Signature,
            Signature,
        ),
        (
            (Some("application/vnd.cncf.notary.signature"), EMPTY, &["application/jose+json"]),
            &[],
            Signature,
            Signature,
        ),
        (
            (None, "application/vnd.cncf.notary.signature", &["application/cose"]),
            &[],
            Signature,
            Signature,
        ),
        (
            (None, "application/vnd.amazon.soci.index.v1+json", &["application/octet-stream"]),
            &[],
            Soci,
            Soci,
        ),
        ((Some("application/vnd.amazon.soci.index.v2+json"), EMPTY, &[]), &[], Soci, Soci),
        // buildx: an attestation as an image, as an artifact, and a cache.
        ((None, OCI_CONFIG, &[IN_TOTO, IN_TOTO]), &[], Unknown, Attestation),
        (
            (Some("application/vnd.docker.attestation.manifest.v1+json"), EMPTY, &[IN_TOTO]),
            &[],
            Attestation,
            Attestation,
        ),
        (
            (None, "application/vnd.buildkit.cacheconfig.v0", &[OCI_LAYER]),
            &["buildcache"],
            Cache,
            Cache,
        ),
        // kaniko caches each layer as an image.
        ((None, DOCKER_CONFIG, &[DOCKER_LAYER]), &[&key], Unknown, Cache),
        ((None, DOCKER_CONFIG, &[DOCKER_LAYER, DOCKER_LAYER]), &[&key], Unknown, Image),
        ((None, DOCKER_CONFIG, &[DOCKER_LAYER]), &[&key, "a-v1.0.0"], Unknown, Image),
        // Helm, oras, WebAssembly.
        (
            (None, "application/vnd.cncf.helm.config.v1+json", &[OCI_LAYER]),
            &["1.2.3"],
            Chart,
            Chart,
        ),
        ((Some("application/spdx+json"), EMPTY, &["application/spdx+json"]), &[], Sbom, Sbom),
        ((None, EMPTY, &["application/vnd.cyclonedx+json"]), &[], Other, Sbom),
        (
            (Some("application/vnd.unknown.artifact.v1"), EMPTY, &[OCI_LAYER]),
            &["a-v1.0.0"],
            Other,
            Other,
        ),
        ((None, wasm, &["application/wasm"]), &["a-v1.0.0"], Other, Other),
    ];
    for (types, tag_list, listed, read) in cases {
        assert_eq!(kinds(types, tag_list), [listed, read], "{types:?} {tag_list:?}");
    }
}

#[test]
fn partial_facts_never_prove_an_image() {
    let some = ArtifactFacts { artifact_type: Some(OCI_CONFIG), ..ArtifactFacts::default() };
    for facts in [ArtifactFacts::default(), some] {
        assert_eq!(classify(&facts), ArtifactKind::Unknown);
        assert!(classify(&facts).may_be_image());
    }
    for manifest in ["", "{}", r#"{"schemaVersion": 1, "fsLayers": []}"#] {
        assert_eq!(classify_manifest(manifest, &[]), ArtifactKind::Unknown, "{manifest}");
    }
    let index = ArtifactFacts { manifest_type: Some(OCI_INDEX), ..ArtifactFacts::default() };
    assert_eq!(classify(&index), ArtifactKind::Index);
    assert!(!ArtifactKind::Index.may_be_image());
}

/// Checks the kinds of the entries of an index, in order.
fn check_entries(entries: &[Value], expected: &Expect) {
    let mut manifests = entries.to_vec();
    for (nth, entry) in manifests.iter_mut().enumerate() {
        entry["digest"] = format!("sha256:{nth:064x}").into();
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let parts = children(&index.to_string()).unwrap();
    let kinds: Vec<String> = parts.values().map(ToString::to_string).collect();
    expected.assert_eq(&kinds.join(" "));
}

#[test]
fn the_parts_of_an_index_are_classified_by_their_entries() {
    let platform = |os: &str, architecture: &str| json!({"os": os, "architecture": architecture});
    let unknown = platform("unknown", "unknown");
    check_entries(
        &[
            json!({"mediaType": OCI_MANIFEST, "platform": platform("linux", "amd64")}),
            json!({"mediaType": OCI_MANIFEST, "platform": unknown, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}),
            json!({"mediaType": OCI_MANIFEST, "platform": unknown}),
            json!({"mediaType": OCI_MANIFEST, "platform": platform("linux", "unknown")}),
            json!({"mediaType": OCI_MANIFEST, "artifactType": "application/vnd.amazon.soci.index.v2+json", "platform": platform("linux", "amd64")}),
            json!({"mediaType": OCI_MANIFEST, "artifactType": OCI_CONFIG, "platform": platform("linux", "arm64")}),
            json!({"mediaType": OCI_INDEX}),
            json!({"mediaType": OCI_MANIFEST}),
            json!({}),
        ],
        &expect!["image attestation attestation image soci image index unknown unknown"],
    );
    // A cache that buildx exports as an index: https://github.com/moby/buildkit/pull/1746.
    check_entries(
        &[json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0"})],
        &expect!["cache"],
    );
}
