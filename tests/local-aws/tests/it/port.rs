//! The port, spoken to over plain HTTP/1.1; and what it makes of what is no request.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_smithy_types::base64;
use local_aws::server::Server;
use local_aws::{ACCOUNT, LocalAws};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{aws, ok};

/// An AWS on a port.
pub struct Port {
    pub aws: LocalAws,
    server: Server,
}

/// The headers and the body of a request, and the error that it is answered with.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [u8], &'c str);

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses an answer. None if the text is no answer.
    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(of, _)| of.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the code, of an error of the API or of `/v2/`.
    #[track_caller]
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        let code = body["__type"].as_str().or(body["errors"][0]["code"].as_str());
        (self.status, code.unwrap().to_owned())
    }
}

impl Port {
    pub async fn open() -> Self {
        let aws = aws();
        let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        Self { aws, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.endpoint().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Sends the bytes and nothing after them, and gives what comes until the connection ends.
    pub async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address()).await.unwrap();
            // The other side may have heard enough.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut found = Vec::new();
            let _ = stream.read_to_end(&mut found).await;
            found
        };
        tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap()
    }

    /// The answer to a request; none if the connection breaks.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
        let mut found = Vec::new();
        let end = stream.read_to_end(&mut found);
        let _ = tokio::time::timeout(Duration::from_secs(20), end).await.unwrap();
        Answer::read(&found)
    }

    /// A call of ECR, signed with an access key for a region.
    pub async fn signed(
        &self,
        key: &str,
        region: &str,
        operation: &str,
        input: &Value,
    ) -> Option<Answer> {
        let credential = format!("Credential={key}/20270115/{region}/ecr/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0");
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        self.send("POST", "/", &headers, input.to_string().as_bytes()).await
    }

    /// A call of ECR by the account itself.
    pub async fn call(&self, operation: &str, input: Value) -> Option<Answer> {
        self.signed(ACCOUNT, local_aws::REGION, operation, &input).await
    }

    /// A request of the registry's own protocol, with an authorization token.
    pub async fn v2(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let token = ok(&self.aws, "GetAuthorizationToken", json!({}));
        let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap();
        self.v2_by(token, method, path, headers, body).await
    }

    /// The same with a certain token.
    pub async fn v2_by(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let authorization = format!("Basic {token}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend(headers);
        self.send(method, path, &all, body).await.unwrap()
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html
#[tokio::test]
async fn a_call_on_the_port_is_answered_in_json() {
    let port = Port::open().await;
    let answer = port.call("DescribeRepositories", json!({})).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.json()["repositories"][0]["repositoryName"], "app");
    let gone = port.call("ListImages", json!({"repositoryName": "gone"})).await.unwrap();
    assert_eq!(gone.error(), (400, "RepositoryNotFoundException".to_owned()));
    assert_eq!(gone.header("x-amzn-errortype"), "RepositoryNotFoundException");
    assert!(gone.json()["message"].as_str().unwrap().contains("'gone'"));
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
#[tokio::test]
async fn a_malformed_call_is_answered_with_an_error() {
    let port = Port::open().await;
    let target = ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories");
    let cases: [Case<'_>; 7] = [
        (&[target], b"", "SerializationException"),
        (&[target], b"{", "SerializationException"),
        (&[target], b"[]", "SerializationException"),
        (&[target], b"\xff\xfe\x00garbage", "SerializationException"),
        (&[], b"{}", "UnknownOperationException"),
        (&[("x-amz-target", "nonsense")], b"{}", "UnknownOperationException"),
        (&[("x-amz-target", "Other_V1.DescribeRepositories")], b"{}", "UnknownOperationException"),
    ];
    for (headers, body, code) in cases {
        let answer = port.send("POST", "/", headers, body).await.unwrap();
        assert_eq!(answer.error(), (400, code.to_owned()), "{headers:?} {body:?}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for body in [&b"\xff\xfe"[..], b"", b"Action=DescribeRepositories&%zz=%", b"&&=&"] {
        let answer = port.send("POST", "/", &form, body).await.unwrap();
        assert_eq!(answer.status, 400, "{body:?}");
    }
    for path in ["/", "/nothing", "/layers/", "/layers/a/b/c/d", "/layers/%ff/%00/x/y", "/v3/"] {
        let answer = port.send("GET", path, &[], b"").await.unwrap();
        assert!((400..500).contains(&answer.status), "{path} {answer:?}");
    }
}

// https://www.rfc-editor.org/rfc/rfc9112
#[tokio::test]
async fn a_malformed_request_is_answered_or_closed_without_effect_on_others() {
    let port = Port::open().await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\n";
    let huge = format!("{head}x-huge: {}\r\n\r\n", "x".repeat(2_000_000));
    let many = format!("{head}{}\r\n", "a: b\r\n".repeat(1_000));
    for bytes in [
        "",
        "\r\n\r\n",
        "garbage",
        "garbage\r\n\r\n",
        "GET",
        "GET / HTTP/9.9\r\n\r\n",
        head,
        &format!("{head}content-length: 10\r\n\r\n"),
        &format!("{head}content-length: 10\r\n\r\n{{}}"),
        &format!("{head}content-length: -1\r\n\r\n"),
        &format!("{head}content-length: 99999999999999999999\r\n\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nab"),
        &format!("{head}authorization: AWS4-HMAC-SHA256 Credential=\r\ncontent-length: 0\r\n\r\n"),
        &huge,
        &many,
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
    ] {
        let found = port.exchange(bytes.as_bytes()).await;
        let status = Answer::read(&found).map(|answer| answer.status);
        assert!(status.is_none_or(|status| status >= 400), "{bytes:.100} {status:?}");
        assert!(port.call("DescribeRepositories", json!({})).await.is_some(), "{bytes:.100}");
    }
}

// https://www.rfc-editor.org/rfc/rfc9112
#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_of_a_request_is_let_go() {
    let port = Port::open().await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\n";
    for half in [head, &format!("{head}content-length: 10\r\n\r\n{{")] {
        let mut stream = TcpStream::connect(port.address()).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        let mut found = Vec::new();
        // The server's patience is what ends this, by a clock that is turned on.
        let end = stream.read_to_end(&mut found);
        let _ = tokio::time::timeout(Duration::from_secs(3_600), end).await.unwrap();
        assert!(Answer::read(&found).is_none_or(|answer| answer.status >= 400));
    }
}

// https://docs.rs/tokio/latest/tokio/net/struct.TcpListener.html#method.bind
#[tokio::test]
async fn a_port_in_use_is_said_in_a_sentence() {
    let port = Port::open().await;
    let error = LocalAws::default().serve(port.address()).await.unwrap_err();
    let expected = format!("port {} is in use; choose another one", port.address().port());
    assert_eq!(error.to_string(), expected);
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
#[tokio::test]
async fn a_layer_is_downloaded_from_where_its_url_says() {
    let port = Port::open().await;
    let digest = crate::content::image(&port.aws, &["v1"]);
    let manifest = json!({"repositoryName": "app", "imageIds": [{"imageDigest": digest}]});
    let manifest = ok(&port.aws, "BatchGetImage", manifest)["images"][0]["imageManifest"].clone();
    let manifest: Value = serde_json::from_str(manifest.as_str().unwrap()).unwrap();
    let layer = manifest["layers"][0].clone();
    let input = json!({"repositoryName": "app", "layerDigest": layer["digest"]});
    let url = port.call("GetDownloadUrlForLayer", input).await.unwrap().json();
    let url = url["downloadUrl"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(port.server.endpoint()).unwrap();
    let found = port.send("GET", path, &[], b"").await.unwrap();
    assert_eq!((found.status, json!(found.body.len())), (200, layer["size"].clone()));
    let unknown = path.replace("sha256:", "sha256:0");
    assert_eq!(port.send("GET", &unknown, &[], b"").await.unwrap().status, 404);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
#[tokio::test]
async fn the_registrys_protocol_asks_for_a_token_that_has_not_expired() {
    let port = Port::open().await;
    let anonymous = port.send("GET", "/v2/", &[], b"").await.unwrap();
    assert_eq!(anonymous.error(), (401, "UNAUTHORIZED".to_owned()));
    assert!(anonymous.header("www-authenticate").starts_with("Basic realm="));
    let others = ["", "!", "QVdT", &base64::encode("AWS:nonsense"), &base64::encode("me:a/b/1e99")];
    for token in others {
        let answer = port.v2_by(token, "GET", "/v2/", &[], b"").await;
        assert_eq!(answer.status, 401, "{token}");
    }
    assert_eq!(port.v2("GET", "/v2/", &[], b"").await.status, 200);
    let token = ok(&port.aws, "GetAuthorizationToken", json!({}));
    let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap();
    port.aws.advance(Duration::from_secs(12 * 3_600 - 1));
    assert_eq!(port.v2_by(token, "GET", "/v2/", &[], b"").await.status, 200);
    port.aws.advance(Duration::from_secs(1));
    let expired = port.v2_by(token, "GET", "/v2/", &[], b"").await;
    assert_eq!(expired.error(), (403, "DENIED".to_owned()));
}
