//! cosign signs and attests images in repositories of each tag mutability (case B8 of prior-art.md).
//! The test sends the registry requests of cosign to the embedded ECR. Then the functions handle the
//! pushes and sweep the repository.
//!
//! The requests were read in the sources of cosign 2.6.4 (commit 26261f05) and cosign 3.1.2 (commit
//! 193d2153), and of their registry client go-containerregistry 0.20.7 (commit e075f209) and 0.21.7
//! (commit c68d8997). Each function below names the file that sends its requests.
//! docs/contributing/local-aws.md lists the answers of ECR that AWS documents, and the guesses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use custom_resource::push_pull::document::document;
use local_aws::ecr::image::manifest::{OCI_INDEX, OCI_MANIFEST, digest};
use local_aws::ecr::{Call, Image};
use local_aws::server::Server;
use local_aws::world::{World, kinds};
use local_aws::{ACCOUNT, Fault};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use warden_aws::Invocation;

const REPOSITORY: &str = "infrastructure";
const MANIFESTS: &str = "/v2/infrastructure/manifests";
const BLOBS: &str = "/v2/infrastructure/blobs";
const BINARY: &str = "application/octet-stream";
const BUNDLE_3: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNATURE_3: &str = "https://sigstore.dev/cosign/sign/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// The outcome of a command. The error is the code of the registry protocol.
type Outcome = Result<(), String>;

/// The answer to a request.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1
    }

    /// Whether the registry accepted a manifest.
    fn outcome(&self) -> Outcome {
        match self.status {
            201 => Ok(()),
            _ => Err(self.json()["errors"][0]["code"].as_str().unwrap().to_owned()),
        }
    }
}

/// A stack with its functions in this process, and a pipeline that pushes and signs images. The role
/// of the pipeline has the push/pull policy of the stack and no other right.
struct Stack {
    world: World,
    push: image_push::Context,
    sweep: image_sweep::Context,
    server: Server,
    role: String,
}

impl Stack {
    async fn deploy(mutability: &str, exclusions: &str) -> Self {
        // A deployment refuses `quarantine` for MUTABLE tags. This operator changed the repository later.
        let deployed = if mutability == "MUTABLE" { "IMMUTABLE" } else { mutability };
        let world = World::deploy(&[
            ("InfrastructureTagMutability", deployed),
            ("InfrastructureMutabilityExclusions", exclusions),
            ("InfrastructureLifecycleTagCount", "1"),
            ("platform.Tags.Enforcement", "quarantine"),
            ("platform.Retention.Enforcement", "delete"),
        ])
        .await;
        if mutability == "MUTABLE" {
            let set = json!({"repositoryName": REPOSITORY, "imageTagMutability": "MUTABLE"});
            world.aws.by_hand("PutImageTagMutability", &set).unwrap();
        }
        let arn = format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{REPOSITORY}");
        let policy = document(&[arn.parse().unwrap()]);
        let role = json!({
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
                "Action": "sts:AssumeRole",
            }]},
            "Policies": [{"PolicyName": "PushPull", "PolicyDocument": policy}],
        });
        let role = world.aws.make_role("pipeline", &role).unwrap();
        let environment = |folder: &str| world.function(folder).environment.clone();
        let push = image_push::config::Config::read(environment("image-push")).unwrap();
        let push = image_push::Context::new(push, &world.sdk("image-push"));
        let sweep = image_sweep::config::Config::read(environment("image-sweep")).unwrap();
        let sweep = image_sweep::Context::new(sweep, &world.sdk("image-sweep"));
        let server = world.aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        world.forget();
        Self { world, push, sweep, server, role }
    }

    /// Sends a request of the registry protocol with a new authorization token.
    async fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let token = {
            let mut state = self.world.aws.state();
            let (principal, now) = (Some(self.role.as_str()), state.now());
            let call = Call { operation: "GetAuthorizationToken", principal, now, endpoint: "" };
            let answer = state.ecr().serve(&call, &json!({})).unwrap();
            answer["authorizationData"][0]["authorizationToken"].as_str().unwrap().to_owned()
        };
        let address = self.server.endpoint().trim_start_matches("http://");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Basic {token}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, BINARY, "").await
    }

    /// Uploads a blob, unless the registry has it.
    ///
    /// go-containerregistry, `pkg/v1/remote/write.go`: HEAD of the blob; after 404 POST of an upload,
    /// PATCH with the content, PUT with the digest.
    async fn upload(&self, content: &str) {
        let digest = digest(content.as_bytes());
        let known = self.send("HEAD", &format!("{BLOBS}/{digest}"), BINARY, "").await;
        if known.status == 404 {
            let begun = self.send("POST", &format!("{BLOBS}/uploads/"), BINARY, "").await;
            assert_eq!(begun.status, 202, "{}", begun.body);
            let sent = self.send("PATCH", begun.header("location"), BINARY, content).await;
            assert_eq!(sent.status, 202, "{}", sent.body);
            let path = format!("{}?digest={digest}", sent.header("location"));
            assert_eq!(self.send("PUT", &path, BINARY, "").await.status, 201);
        } else {
            assert_eq!(known.status, 200, "{}", known.body);
        }
    }

    /// Pushes a manifest under a tag, unless the tag points at the manifest already. The registry has all
    /// layers except the last one, which has this content.
    ///
    /// go-containerregistry, `pkg/v1/remote/pusher.go`: HEAD of the tag, the uploads of the layers and
    /// of the configuration, PUT of the manifest. A PUT that is refused with 400 is not tried again.
    async fn write(&self, tag: &str, layers: &[Value], last: &str, diffs: &[Value]) -> Outcome {
        let rootfs = json!({"type": "layers", "diff_ids": diffs});
        let config = json!({"architecture": "", "os": "", "config": {}, "rootfs": rootfs});
        let config = config.to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        let (manifest, path) = (manifest.to_string(), format!("{MANIFESTS}/{tag}"));
        let found = self.send("HEAD", &path, BINARY, "").await;
        let digest = digest(manifest.as_bytes());
        if found.status == 200 && found.header("docker-content-digest") == digest {
            return Ok(());
        }
        self.upload(last).await;
        self.upload(&config).await;
        self.send("PUT", &path, OCI_MANIFEST, &manifest).await.outcome()
    }

    /// Builds and pushes an image, and returns its digest.
    async fn image(&self, tag: &str) -> String {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar", tag);
        let diffs = [layer["digest"].clone()];
        assert_eq!(self.write(tag, &[layer], tag, &diffs).await, Ok(()));
        let head = self.send("HEAD", &format!("{MANIFESTS}/{tag}"), BINARY, "").await;
        head.header("docker-content-digest").to_owned()
    }

    /// Appends a signature or an attestation to the manifest that has the tag.
    ///
    /// cosign 2, `pkg/oci/remote/signatures.go` and `pkg/oci/mutate/signatures.go`: GET of the manifest,
    /// where 404 is an empty list; GET of its configuration; then [`Self::write`] of all layers. A
    /// signature that the list has already is not added (`pkg/cosign/remote/remote.go`), but two entries
    /// of the transparency log, the default of cosign 2, always differ.
    async fn append(&self, tag: &str, media_type: &str, payload: &str) -> Outcome {
        let (mut layers, mut diffs) = (vec![], vec![]);
        let found = self.get(&format!("{MANIFESTS}/{tag}")).await;
        if found.status == 200 {
            let found = found.json();
            layers.clone_from(found["layers"].as_array().unwrap());
            let config = found["config"]["digest"].as_str().unwrap();
            let config = self.get(&format!("{BLOBS}/{config}")).await.json();
            diffs.clone_from(config["rootfs"]["diff_ids"].as_array().unwrap());
        }
        let layer = descriptor(media_type, payload);
        diffs.push(layer["digest"].clone());
        layers.push(layer);
        self.write(tag, &layers, payload, &diffs).await
    }

    /// `cosign sign` of cosign 2, `cmd/cosign/cli/sign/sign.go`: GET of the image, then [`Self::append`]
    /// to the tag `sha256-<hex>.sig`.
    async fn sign_2(&self, image: &str, nth: usize) -> Outcome {
        assert_eq!(self.get(&format!("{MANIFESTS}/{image}")).await.status, 200);
        let signing = "application/vnd.dev.cosign.simplesigning.v1+json";
        self.append(&tag_of(image, ".sig"), signing, &format!("signature {nth} of {image}")).await
    }

    /// `cosign attest` of cosign 2, `cmd/cosign/cli/attest/attest.go`: [`Self::append`] to the tag
    /// `sha256-<hex>.att`. The command does not read the image.
    async fn attest_2(&self, image: &str, nth: usize) -> Outcome {
        let envelope = "application/vnd.dsse.envelope.v1+json";
        self.append(&tag_of(image, ".att"), envelope, &format!("statement {nth} of {image}")).await
    }

    /// `cosign attach sbom` of cosign 2, `cmd/cosign/cli/attach/sbom.go`: [`Self::write`] of one layer
    /// under the tag `sha256-<hex>.sbom`, without the layers that the tag has.
    async fn attach_sbom(&self, image: &str, nth: usize) -> Outcome {
        let content = format!("SBOM {nth} of {image}");
        let sbom = descriptor("text/spdx", &content);
        let diffs = [sbom["digest"].clone()];
        self.write(&tag_of(image, ".sbom"), &[sbom], &content, &diffs).await
    }

    /// `cosign sign` (with [`SIGNATURE_3`]) and `cosign attest` of cosign 3. `sign` first sends GET of the
    /// image (`cmd/cosign/cli/sign/sign.go`). Then both send, by `pkg/oci/remote/write.go`: HEAD of the
    /// image, the uploads of `{}` and of the bundle, PUT of a manifest with a subject by its digest.
    ///
    /// After the PUT, go-containerregistry (`pkg/v1/remote/write.go`) sends GET of the referrers. If the
    /// registry answers 404 or 400, it adds the manifest to an index with the tag `sha256-<hex>`: GET and
    /// PUT of that tag.
    async fn attach_3(&self, image: &str, predicate_type: &str, nth: usize) -> Outcome {
        let path = format!("{MANIFESTS}/{image}");
        if predicate_type == SIGNATURE_3 {
            assert_eq!(self.get(&path).await.status, 200);
        }
        let subject = self.send("HEAD", &path, BINARY, "").await;
        let size: u64 = subject.header("content-length").parse().unwrap();
        let bundle = format!("{predicate_type} {nth} of {image}");
        let mut config = descriptor("application/vnd.oci.empty.v1+json", "{}");
        config["artifactType"] = BUNDLE_3.into();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_3,
            "config": config,
            "layers": [descriptor(BUNDLE_3, &bundle)],
            "subject": {"mediaType": OCI_MANIFEST, "digest": image, "size": size},
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": predicate_type,
                "org.opencontainers.image.created": "2027-01-15T08:00:00Z",
            },
        });
        self.upload("{}").await;
        self.upload(&bundle).await;
        let manifest = manifest.to_string();
        let mut entry = descriptor(OCI_MANIFEST, &manifest);
        let path = format!("{MANIFESTS}/{}", entry["digest"].as_str().unwrap());
        self.send("PUT", &path, OCI_MANIFEST, &manifest).await.outcome()?;
        let referrers = self.get(&format!("/v2/{REPOSITORY}/referrers/{image}")).await;
        if referrers.status == 200 {
            let listed = referrers.json()["manifests"].as_array().unwrap().clone();
            assert!(listed.iter().any(|referrer| referrer["digest"] == entry["digest"]));
            return Ok(());
        }
        let path = format!("{MANIFESTS}/{}", tag_of(image, ""));
        let found = self.get(&path).await;
        let mut index = match found.status {
            200 => found.json(),
            _ => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        };
        entry["artifactType"] = BUNDLE_3.into();
        index["manifests"].as_array_mut().unwrap().push(entry);
        self.send("PUT", &path, OCI_INDEX, &index.to_string()).await.outcome()
    }

    /// Sends each command twice. `moved` is the outcome of a command that has to move a tag.
    async fn sign_all(&self, image: &str, moved: &Outcome) {
        for (nth, expected) in [(1, &Ok(())), (2, moved)] {
            assert_eq!(self.sign_2(image, nth).await, *expected, "cosign 2 sign, {nth}");
            assert_eq!(self.attest_2(image, nth).await, *expected, "cosign 2 attest, {nth}");
            assert_eq!(self.attach_sbom(image, nth).await, *expected, "attach sbom, {nth}");
            for predicate in [SIGNATURE_3, PROVENANCE] {
                assert_eq!(self.attach_3(image, predicate, nth).await, Ok(()), "{predicate} {nth}");
            }
        }
        // A registry without the referrers API, as ECR was before it supported OCI 1.1.
        self.world.aws.fault("ListImageReferrers", 0, Fault::Error(404, "NOT_FOUND"));
        assert_eq!(self.attach_3(image, PROVENANCE, 3).await, Ok(()), "the first fallback tag");
        assert_eq!(self.attach_3(image, PROVENANCE, 4).await, *moved, "the fallback tag moves");
        self.world.aws.heal();
    }

    /// Has `image-push` handle each push event since the last time. Returns the tags of the events.
    async fn handle_pushes(&self) -> BTreeSet<String> {
        let events = std::mem::take(&mut self.world.aws.state().events);
        let pushes = events.iter().filter(|event| event["detail"]["action-type"] == "PUSH");
        let mut tags = BTreeSet::new();
        for event in pushes {
            let id = event["id"].as_str().unwrap();
            image_push::handle(&self.push, event, id, self.world.now()).await.unwrap();
            tags.insert(event["detail"]["image-tag"].as_str().unwrap().to_owned());
        }
        tags
    }

    /// Sweeps as the schedule does, and returns the digests of the images that were removed.
    async fn sweep(&self) -> BTreeSet<String> {
        let before = self.images(|_| true);
        let (request_id, now) = ("sweep".to_owned(), self.world.now());
        let invocation = Invocation { request_id, now, time_left: Duration::from_secs(900) };
        let event = json!({"repository": REPOSITORY});
        let answer = image_sweep::handle(&self.sweep, &event, &invocation).await.unwrap();
        assert_eq!(
            (&answer["stopped"], &answer["failed"]),
            (&Value::Null, &json!(0)),
            "{answer:#}"
        );
        &before - &self.images(|_| true)
    }

    /// The digests of the images that pass the filter.
    fn images(&self, filter: impl Fn(&Image) -> bool) -> BTreeSet<String> {
        let mut state = self.world.aws.state();
        let images = state.ecr().repositories[REPOSITORY].images.iter();
        images.filter(|image| filter(image)).map(|image| image.digest.clone()).collect()
    }
}

/// The descriptor of a blob or a manifest.
fn descriptor(media_type: &str, content: &str) -> Value {
    let digest = digest(content.as_bytes());
    json!({"mediaType": media_type, "digest": digest, "size": content.len()})
}

/// The tag that cosign gives to an artifact of this image: `sha256-<hex>` and a suffix.
fn tag_of(image: &str, suffix: &str) -> String {
    format!("{}{suffix}", image.replacen(':', "-", 1))
}

/// Case B8 in docs/contributing/prior-art.md.
#[tokio::test]
async fn signatures_are_pushed_kept_and_removed_with_their_image() {
    let refused = Err("TAG_INVALID".to_owned());
    for (mutability, exclusions, moved) in [
        ("IMMUTABLE", "", &refused),
        ("IMMUTABLE_WITH_EXCLUSION", "sha256-*", &Ok(())),
        ("MUTABLE", "", &Ok(())),
    ] {
        let stack = Stack::deploy(mutability, exclusions).await;
        let image = stack.image("litellm-v1.80.5").await;
        stack.sign_all(&image, moved).await;

        // No tag of a signature is judged, and no sweep removes a signature of an image that stays.
        let events = stack.handle_pushes().await;
        assert_eq!(stack.sweep().await, [].into(), "{mutability}");
        // Only the changed tag mutability is reported.
        let audits: &[&str] = if mutability == "MUTABLE" { &["self-audit"] } else { &[] };
        assert_eq!(kinds(&stack.world.alerts()), audits, "{mutability}");
        let mut expected: BTreeSet<String> =
            ["", ".sig", ".att", ".sbom"].map(|suffix| tag_of(&image, suffix)).into();
        expected.insert("litellm-v1.80.5".to_owned());
        let tags: BTreeSet<String> = {
            let mut state = stack.world.aws.state();
            let images = state.ecr().repositories[REPOSITORY].images.iter();
            images.flat_map(|image| image.tags.clone()).collect()
        };
        assert_eq!(tags, expected, "{mutability}");
        // The event of a push by digest has an empty tag.
        expected.insert(String::new());
        assert_eq!(events, expected, "{mutability}");

        // A moved tag leaves an untagged manifest. The manifest that has the tag contains its layers.
        let left = stack.images(|image| image.tags.is_empty() && image.manifest.subject.is_none());
        assert_eq!(left.len(), if moved.is_ok() { 4 } else { 0 }, "{mutability}");
        stack.world.aws.advance(Duration::from_secs(40 * 24 * 60 * 60));
        assert_eq!(stack.sweep().await, left, "{mutability}");

        // The rule keeps one version, so the next version removes the image with its signatures.
        let old = stack.images(|_| true);
        let newer = stack.image("litellm-v1.80.6").await;
        stack.sign_all(&newer, moved).await;
        stack.handle_pushes().await;
        assert_eq!(stack.sweep().await, old, "{mutability}");
    }
}
