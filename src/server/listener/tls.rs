//! TLS with the operator's certificate. A renewed one is taken up without a restart.

use crate::settings::tls::{CertificateFiles, Edition};
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

/// How often the files are looked at.
pub const RENEWAL: Duration = Duration::from_mins(1);

/// As ALPN has it on the wire.
const HTTP_1_1: &[u8] = b"\x08http/1.1";

/// The server's side of TLS. Cheap to clone; all clones have the same certificate.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: CertificateFiles,
    acceptor: RwLock<SslAcceptor>,
}

impl Tls {
    /// With the certificate in these files. Fails with a sentence that names what is wrong with them.
    pub fn new(files: CertificateFiles) -> Result<Self, String> {
        let acceptor = RwLock::new(acceptor(&files)?);
        Ok(Self(Arc::new(Inner { files, acceptor })))
    }

    /// Shakes hands with a client.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<SslStream<S>> {
        let ssl = Ssl::new(self.0.acceptor.read().unwrap_or_else(PoisonError::into_inner).context())?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        Ok(stream)
    }

    /// Looks at the files every so often, for ever, and takes up what is new in them. What does not work is
    /// told once, and the former certificate stays.
    pub async fn keep_current(self, every: Duration) {
        let mut known = self.0.files.edition().ok();
        loop {
            tokio::time::sleep(every).await;
            let tls = self.clone();
            let looking = tokio::task::spawn_blocking(move || tls.renew(known));
            known = looking.await.unwrap_or(known);
        }
    }

    /// Gives which edition was looked at last.
    fn renew(&self, known: Option<Edition>) -> Option<Edition> {
        // While a file is being replaced there may be none: it is looked for again.
        let found = self.0.files.edition().ok()?;
        if known == Some(found) {
            return known;
        }
        match acceptor(&self.0.files) {
            Ok(acceptor) => {
                *self.0.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                tracing::info!("took up the renewed TLS certificate");
            }
            Err(why) => tracing::warn!("the former TLS certificate stays in use: {why}"),
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
            "{} has no certificate in it. It takes PEM: -----BEGIN CERTIFICATE-----, the server's own first.",
            files.certificate.display()
        ));
    };
    let Ok(key) = private_key(key.expose_secret()) else {
        return Err(format!(
            "{} has no private key in it that can be read. It takes PEM without a passphrase.",
            files.key.display()
        ));
    };
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err(format!(
            "{} is not the key of the first certificate in {}. Name the two that belong together.",
            files.key.display(),
            files.certificate.display()
        ));
    }
    with(leaf, extra, &key).map_err(|error| format!("TLS cannot be set up: {error}."))
}

fn private_key(pem: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    // Without an answer of ours, OpenSSL would ask for a passphrase at the terminal.
    PKey::private_key_from_pem_callback(pem, |_| Ok(0))
}

/// TLS 1.2 and 1.3, the ciphers Mozilla advises.
fn with(leaf: &X509, extra: &[X509], key: &PKey<Private>) -> Result<SslAcceptor, ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_certificate(leaf)?;
    for certificate in extra {
        acceptor.add_extra_chain_cert(certificate.clone())?;
    }
    acceptor.set_private_key(key)?;
    // Idle connections need no buffers.
    acceptor.set_mode(SslMode::RELEASE_BUFFERS);
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP_1_1, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(acceptor.build())
}
