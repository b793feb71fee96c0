//! The embedded AWS over TLS, with a certificate that each run generates.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use local_aws::LocalAws;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The bundles of trusted roots on Debian, on Red Hat and Amazon Linux, and on Alpine.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A port that speaks TLS, and two bundles of roots that contain its certificate.
pub struct Tls {
    /// Such as `https://localhost:4567`.
    pub endpoint: String,
    /// The bundle with the certificate of the port only.
    pub one_root: PathBuf,
    /// The bundle with the system's roots and that certificate, and the number of roots.
    pub system_roots: (PathBuf, usize),
}

/// Serves the AWS over TLS until the process ends, and writes the bundles to `folder`.
pub async fn serve(aws: &LocalAws, folder: &Path) -> anyhow::Result<Tls> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = format!("https://localhost:{}", listener.local_addr()?.port());
    let aws = aws.clone();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // A handshake in small pieces would otherwise wait for the client's delayed
            // acknowledgements, 40 ms at a time.
            let _ = stream.set_nodelay(true);
            let (aws, acceptor) = (aws.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    aws.serve_connection(stream).await;
                }
            });
        }
    });
    fs::create_dir_all(folder)?;
    let own = made.cert.pem();
    let one_root = folder.join("one-root.pem");
    fs::write(&one_root, &own)?;
    let found = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
    let roots = found.context("no bundle of the system's roots was found")?;
    let bundle = format!("{roots}\n{own}");
    let path = folder.join("system-roots.pem");
    fs::write(&path, &bundle).context("writing a bundle of roots")?;
    let system_roots = (path, bundle.matches("BEGIN CERTIFICATE").count());
    Ok(Tls { endpoint, one_root, system_roots })
}
