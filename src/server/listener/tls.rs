//! TLS with the operator's certificate. A renewed certificate is loaded without a restart.

use crate::settings::tls::{CertificateFiles, FileVersion};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslMethod, SslMode, select_next_proto};
use openssl::x509::X509;
use secrecy::ExposeSecret as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// How often the certificate files are checked for changes.
pub const RENEWAL: Duration = Duration::from_mins(1);

/// The protocol name in ALPN's wire format.
const HTTP_1_1: &[u8] = b"\x08http/1.1";

/// The server side of TLS. Cheap to clone; all clones share one certificate.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: CertificateFiles,
    acceptor: RwLock<SslAcceptor>,
}

impl Tls {
    /// Loads the certificate and its key. Fails with a sentence that names the file and the problem.
    pub fn new(files: CertificateFiles) -> Result<Self, String> {
        let acceptor = RwLock::new(acceptor(&files)?);
        Ok(Self(Arc::new(Inner { files, acceptor })))
    }

    /// Completes the handshake with a client.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<SslStream<S>> {
        let ssl = Ssl::new(self.0.acceptor.read().unwrap_or_else(PoisonError::into_inner).context())?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        Ok(stream)
    }

    /// Checks the files at this interval, forever, and loads a renewed certificate. If the new files do not work, logs
    /// that once and keeps the old certificate.
    pub async fn keep_current(self, every: Duration) {
        let mut known = self.0.files.version().ok();
        loop {
            tokio::time::sleep(every).await;
            let tls = self.clone();
            let checking = tokio::task::spawn_blocking(move || tls.renew(known));
            known = checking.await.unwrap_or(known);
        }
    }

    /// Loads the files if they changed. Returns the version that was checked last.
    fn renew(&self, known: Option<FileVersion>) -> Option<FileVersion> {
        // A file may be missing while it is being replaced; the next check finds it.
        let found = self.0.files.version().ok()?;
        if known == Some(found) {
            return known;
        }
        match acceptor(&self.0.files) {
            Ok(acceptor) => {
                *self.0.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                tracing::info!("loaded the renewed TLS certificate");
            }
            Err(why) => {
                tracing::warn!("could not load the renewed TLS certificate; the old one stays in use: {why}");
            }
        }
        Some(found)
    }
}

fn acceptor(files: &CertificateFiles) -> Result<SslAcceptor, String> {
    let (pem, key) = (files.read_certificate(), files.read_key());
    let pem = pem.map_err(|error| error.to_string())?;
    let key = key.map_err(|error| error.to_string())?;
    let chain = X509::stack_from_pem(&pem).unwrap_or_default();
    let (Some(leaf), extra) = (chain.first(), chain.get(1..).unwrap_or_default()) else {
        return Err(format!(
            "{} contains no certificate. Use PEM text (-----BEGIN CERTIFICATE-----), the server's own certificate first.",
            files.certificate.display()
        ));
    };
    let Ok(key) = private_key(key.expose_secret()) else {
        return Err(format!(
            "{} contains no readable private key. Use PEM text without a passphrase.",
            files.key.display()
        ));
    };
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err(format!(
            "{} is not the private key of the first certificate in {}. Use a certificate and its own key.",
            files.key.display(),
            files.certificate.display()
        ));
    }
    build(leaf, extra, &key).map_err(|error| format!("Could not set up TLS: {error}."))
}

fn private_key(pem: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    // Without this callback, OpenSSL would ask for a passphrase on the terminal.
    PKey::private_key_from_pem_callback(pem, |_| Ok(0))
}

/// TLS 1.2 and 1.3, with the ciphers that Mozilla recommends.
fn build(leaf: &X509, extra: &[X509], key: &PKey<Private>) -> Result<SslAcceptor, ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_certificate(leaf)?;
    for certificate in extra {
        acceptor.add_extra_chain_cert(certificate.clone())?;
    }
    acceptor.set_private_key(key)?;
    // Idle connections release their buffers.
    acceptor.set_mode(SslMode::RELEASE_BUFFERS);
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP_1_1, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(acceptor.build())
}
