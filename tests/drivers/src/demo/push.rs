//! Pushes images as `docker push` does, in the protocol of registries: first the layers, then the
//! manifest. <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#push>

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use local_aws::LocalAws;
use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST, digest};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A client of the registry that is logged in.
pub struct Client {
    address: String,
    authorization: String,
}

impl Client {
    /// Logs in, as `aws ecr get-login-password` and `docker login` do.
    pub fn login(aws: &LocalAws) -> anyhow::Result<Self> {
        let endpoint = aws.endpoint().context("the embedded AWS listens on no port")?;
        let login = aws.by_hand("GetAuthorizationToken", &json!({}));
        let login = login.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        let token = &login["authorizationData"][0]["authorizationToken"];
        Ok(Self {
            address: endpoint.trim_start_matches("http://").to_owned(),
            authorization: format!(
                "Basic {}",
                token.as_str().context("the answer contains no token")?
            ),
        })
    }

    /// Pushes an image whose only layer is this text, by a tag or by its digest, and returns its
    /// digest. `artifact` is the media type of the configuration of an artefact, such as a signature.
    pub async fn image(
        &self,
        repository: &str,
        tag: Option<&str>,
        layer: &str,
        artifact: Option<&str>,
    ) -> anyhow::Result<String> {
        let rootfs = json!({"type": "layers", "diff_ids": [digest(layer.as_bytes())]});
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string();
        let described = |media_type: &str, text: &str| {
            let digest = digest(text.as_bytes());
            json!({"mediaType": media_type, "digest": digest, "size": text.len()})
        };
        let kind = artifact.unwrap_or("application/vnd.oci.image.config.v1+json");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(kind, &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        for blob in [&config, layer] {
            let path =
                format!("/v2/{repository}/blobs/uploads/?digest={}", digest(blob.as_bytes()));
            self.send("POST", &path, "application/octet-stream", blob).await?;
        }
        self.manifest(repository, tag, OCI_MANIFEST, &manifest).await
    }

    /// Pushes an index of images that the repository contains, and returns its digest.
    pub async fn index(
        &self,
        repository: &str,
        tag: &str,
        images: &[String],
    ) -> anyhow::Result<String> {
        let described = |(digest, architecture): (&String, &str)| {
            let platform = json!({"os": "linux", "architecture": architecture});
            json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 2, "platform": platform})
        };
        let images: Vec<Value> = images.iter().zip(["amd64", "arm64"]).map(described).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images});
        self.manifest(repository, Some(tag), OCI_INDEX, &index).await
    }

    async fn manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: &Value,
    ) -> anyhow::Result<String> {
        let manifest = manifest.to_string();
        let digest = digest(manifest.as_bytes());
        let path = format!("/v2/{repository}/manifests/{}", tag.unwrap_or(&digest));
        self.send("PUT", &path, media_type, &manifest).await?;
        Ok(digest)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("authorization", &self.authorization)
            .header("content-type", content_type)
            .body(Full::new(Bytes::from(body.to_owned())))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        let answer = String::from_utf8_lossy(&answer);
        ensure!(status == 201, "{method} {path}: {status}: {answer}");
        Ok(())
    }
}
