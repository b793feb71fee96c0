//! Layers, and the calls that upload and download them:
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html>
//! and the pages of the four related operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::image::manifest::{digest, looks_like_digest};
use super::{Call, Error, Registry, error, present, text};

/// The part size that `InitiateLayerUpload` suggests, and the minimum size of every part except the
/// last one.
const PART_SIZE: usize = 10 * 1_024 * 1_024;
const LEAST_PART: usize = 5 * 1_024 * 1_024;

/// The layers of a repository, and the uploads in progress.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    stored: BTreeMap<String, Arc<Vec<u8>>>,
    uploads: BTreeMap<String, Upload>,
}

/// An upload in progress.
#[derive(Clone, Debug, Default)]
struct Upload {
    bytes: Vec<u8>,
    last_part: Option<usize>,
}

impl Layers {
    /// The layer with this digest.
    #[must_use]
    pub fn get(&self, digest: &str) -> Option<Arc<Vec<u8>>> {
        self.stored.get(digest).cloned()
    }

    /// Stores a layer and returns its digest.
    pub fn keep(&mut self, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        self.stored.insert(digest.clone(), Arc::new(bytes));
        digest
    }

    /// Begins an upload with this identifier.
    pub(crate) fn begin(&mut self, id: String) {
        self.uploads.insert(id, Upload::default());
    }

    /// The number of uploaded bytes.
    pub(crate) fn received(&self, id: &str) -> Option<usize> {
        self.uploads.get(id).map(|upload| upload.bytes.len())
    }

    /// Appends to an upload and returns the number of uploaded bytes.
    pub(crate) fn append(&mut self, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.uploads.get_mut(id)?;
        upload.bytes.extend_from_slice(bytes);
        upload.last_part = Some(bytes.len());
        Some(upload.bytes.len())
    }

    /// Ends an upload with its last bytes, if the layer has this digest. Otherwise nothing changes.
    pub(crate) fn complete(&mut self, id: &str, expected: &str, rest: &[u8]) -> Result<(), Error> {
        let upload = self.uploads.get(id).ok_or_else(|| no_upload(id))?;
        let bytes = [&upload.bytes, rest].concat();
        let found = digest(&bytes);
        if found != expected {
            let message = format!("The layer's digest is {found}, not {expected}");
            return Err(error("InvalidLayerException", message));
        }
        self.uploads.remove(id);
        self.stored.insert(found, Arc::new(bytes));
        Ok(())
    }

    /// Ends an upload without a layer.
    pub(crate) fn cancel(&mut self, id: &str) -> bool {
        self.uploads.remove(id).is_some()
    }
}

fn no_upload(id: &str) -> Error {
    error("UploadNotFoundException", format!("There is no upload '{id}' in the repository"))
}

impl Registry {
    pub(super) fn initiate_upload(&mut self, input: &Value) -> Result<Value, Error> {
        let id = self.begin_upload(text(input, "repositoryName"))?;
        Ok(json!({"uploadId": id, "partSize": PART_SIZE}))
    }

    /// Begins an upload and returns its identifier.
    pub(crate) fn begin_upload(&mut self, repository: &str) -> Result<String, Error> {
        self.repository(repository)?;
        let id = self.unique();
        self.repository(repository)?.layers.begin(id.clone());
        Ok(id)
    }

    pub(super) fn upload_part(&mut self, input: &Value) -> Result<Value, Error> {
        let id = text(input, "uploadId");
        let bytes =
            aws_smithy_types::base64::decode(text(input, "layerPartBlob")).unwrap_or_default();
        let layers = &mut self.named(input)?.layers;
        let upload = layers.uploads.get(id).ok_or_else(|| no_upload(id))?;
        if upload.last_part.is_some_and(|size| size < LEAST_PART) {
            let message = "A part that is not the last has at least 5 MiB";
            return Err(error("LayerPartTooSmallException", message));
        }
        let (received, size) = (upload.bytes.len(), bytes.len());
        let first = input["partFirstByte"].as_u64();
        let last = input["partLastByte"].as_u64();
        if first != u64::try_from(received).ok()
            || last.map(|last| last + 1) != u64::try_from(received + size).ok()
        {
            let message = format!("The part has {size} bytes, and byte {received} is the next");
            return Err(error("InvalidLayerPartException", message));
        }
        layers.append(id, &bytes);
        Ok(self.about(input, json!({"uploadId": id, "lastByteReceived": input["partLastByte"]})))
    }

    pub(super) fn complete_upload(&mut self, input: &Value) -> Result<Value, Error> {
        let id = text(input, "uploadId");
        let digest = input["layerDigests"][0].as_str().unwrap_or_default().to_owned();
        let layers = &mut self.named(input)?.layers;
        if layers.received(id).ok_or_else(|| no_upload(id))? == 0 {
            return Err(error("EmptyUploadException", "The upload has no parts"));
        }
        if layers.get(&digest).is_some() {
            let message = format!("Layer with digest '{digest}' already exists");
            return Err(error("LayerAlreadyExistsException", message));
        }
        layers.complete(id, &digest, &[])?;
        Ok(self.about(input, json!({"uploadId": id, "layerDigest": digest})))
    }

    pub(super) fn check_layers(&mut self, input: &Value) -> Result<Value, Error> {
        let repository = self.named(input)?;
        let (mut layers, mut failures) = (Vec::new(), Vec::new());
        let digests = input["layerDigests"].as_array().into_iter().flatten();
        for digest in digests.filter_map(Value::as_str) {
            if digest.is_empty() {
                let reason = "Invalid request parameters: layer digest cannot be empty";
                failures.push(json!({"layerDigest": digest, "failureCode": "MissingLayerDigest", "failureReason": reason}));
                continue;
            }
            if !looks_like_digest(digest) {
                let reason = "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
                failures.push(json!({"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason}));
                continue;
            }
            let layer = repository.layers.get(digest);
            layers.push(present(json!({
                "layerDigest": digest,
                "layerAvailability": if layer.is_some() { "AVAILABLE" } else { "UNAVAILABLE" },
                "layerSize": layer.map(|bytes| bytes.len()),
            })));
        }
        Ok(json!({"layers": layers, "failures": failures}))
    }

    pub(super) fn download_url(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        let (name, digest) = (text(input, "repositoryName"), text(input, "layerDigest"));
        let (account, region) = (self.account.clone(), self.region.clone());
        let repository = self.repository(name)?;
        if repository.layers.get(digest).is_none() {
            let message = format!("Layer with digest '{digest}' does not exist in '{name}'");
            return Err(error("LayersNotFoundException", message));
        }
        let needs = |image: &super::Image| image.manifest.blobs.iter().any(|blob| blob == digest);
        if !repository.images.iter().any(needs) {
            let message = format!("No image in '{name}' has the layer '{digest}'");
            return Err(error("LayerInaccessibleException", message));
        }
        let url = format!("{}/layers/{account}/{region}/{name}/{digest}", call.endpoint);
        Ok(json!({"downloadUrl": url, "layerDigest": digest}))
    }
}
