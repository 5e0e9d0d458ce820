//! TLS with a PostgreSQL server: checks its certificate, presents ours, and explains failures.

use crate::domain::engines::postgres::parameters::{Identity, Parameters, Root, Verification};
use crate::domain::engines::postgres::server::Endpoint;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{ConnectConfiguration, SslConnector, SslMethod, SslRef, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Where systems store trusted authorities, as one file that every version of the tools can read.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of authorities that this system trusts.
pub(super) fn bundle() -> Option<PathBuf> {
    BUNDLES.iter().map(PathBuf::from).find(|file| file.is_file())
}

/// The file of authorities for a server, if its certificate is checked.
pub(super) fn authorities(parameters: &Parameters) -> Option<PathBuf> {
    match (parameters.verification(), &parameters.root) {
        (Verification::Nothing, _) => None,
        (_, Some(Root::File(file))) => Some(file.clone()),
        _ => bundle(),
    }
}

/// Checks the files that the parameters name, as a connection would.
pub(crate) fn look_over(parameters: &Parameters) -> Result<(), String> {
    client(parameters).map(drop)
}

/// Starts TLS on a connection to `endpoint`.
pub(super) async fn begin(
    stream: TcpStream,
    endpoint: &Endpoint,
    parameters: &Parameters,
) -> Result<SslStream<TcpStream>, String> {
    let refused = Arc::new(Mutex::new(None));
    let mut session = client(parameters)?;
    if parameters.verification() != Verification::Nothing {
        let refused = Arc::clone(&refused);
        session.set_verify_callback(SslVerifyMode::PEER, move |good, context| {
            if !good {
                let shown = context.current_cert().map(ToOwned::to_owned);
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = shown;
            }
            good
        });
    }
    session.set_verify_hostname(parameters.verification() == Verification::Name);
    let failed = |why: &dyn std::fmt::Display| format!("TLS with {endpoint} could not be started: {why}.");
    let session = session.into_ssl(&endpoint.host).map_err(|error| failed(&error))?;
    let mut stream = SslStream::new(session, stream).map_err(|error| failed(&error))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => {
            let shown = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(words(stream.ssl().verify_result(), shown.as_ref(), endpoint, parameters, &error))
        }
    }
}

/// The hash of the server's certificate for channel binding (RFC 5929).
pub(super) fn end_point(session: &SslRef) -> Option<Vec<u8>> {
    let certificate = session.peer_certificate()?;
    let digest = match certificate.signature_algorithm().object().nid().signature_algorithms()?.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        other => MessageDigest::from_nid(other)?,
    };
    certificate.digest(digest).ok().map(|sum| sum.to_vec())
}

fn client(parameters: &Parameters) -> Result<ConnectConfiguration, String> {
    let unusable =
        |error: openssl::error::ErrorStack| format!("TLS cannot be used on this machine: {error}.");
    let mut client = SslConnector::builder(SslMethod::tls_client()).map_err(unusable)?;
    client.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(unusable)?;
    if parameters.verification() == Verification::Nothing {
        client.set_verify(SslVerifyMode::NONE);
    } else {
        client.set_verify(SslVerifyMode::PEER);
        if let Some(file) = authorities(parameters) {
            let mut store = X509StoreBuilder::new().map_err(unusable)?;
            for certificate in certificates("sslrootcert", &file)? {
                store.add_cert(certificate).map_err(unusable)?;
            }
            client.set_cert_store(store.build());
        }
    }
    if let Some(Identity { certificate, key }) = &parameters.identity {
        let mut chain = certificates("sslcert", certificate)?.into_iter();
        let own = chain.next().ok_or_else(|| no_certificate("sslcert", certificate))?;
        client.set_certificate(&own).map_err(unusable)?;
        for certificate in chain {
            client.add_extra_chain_cert(certificate).map_err(unusable)?;
        }
        let other = |_| {
            format!(
                "the key {} (sslkey) does not belong to the certificate {}.",
                key.display(),
                certificate.display()
            )
        };
        client.set_private_key(&*private_key(key)?).map_err(other)?;
        client.check_private_key().map_err(other)?;
    }
    client.build().configure().map_err(unusable)
}

fn certificates(name: &str, file: &Path) -> Result<Vec<X509>, String> {
    let pem = fs::read(file).map_err(|error| unreadable(name, file, &error))?;
    match X509::stack_from_pem(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(no_certificate(name, file)),
    }
}

fn no_certificate(name: &str, file: &Path) -> String {
    format!("{} ({name}) is not a PEM certificate.", file.display())
}

fn unreadable(name: &str, file: &Path, error: &io::Error) -> String {
    format!(
        "{} ({name}) cannot be read: {error}. Correct the path, or make the file readable for Holdfast's \
         user.",
        file.display()
    )
}

/// The key of our certificate. libpq refuses one that others can read; so does Holdfast, with an explanation.
fn private_key(file: &Path) -> Result<PKey<Private>, String> {
    let found = fs::metadata(file).map_err(|error| unreadable("sslkey", file, &error))?;
    let open_to = if found.uid() == 0 { 0o037 } else { 0o077 };
    if !found.is_file() || found.mode() & open_to != 0 {
        return Err(format!(
            "the key {} (sslkey) must not be readable by other users, or PostgreSQL's tools refuse it. Run: \
             chmod 600 {0}",
            file.display()
        ));
    }
    let pem = fs::read(file).map_err(|error| unreadable("sslkey", file, &error))?;
    let mut locked = false;
    // Without a callback, OpenSSL would ask on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |_| {
        locked = true;
        Ok(0)
    });
    key.map_err(|_| {
        let why = if locked { "has a passphrase; store it without one" } else { "is not a PEM private key" };
        format!("{} (sslkey) {why}.", file.display())
    })
}

/// Why TLS failed, with the next step. `shown` is the rejected certificate.
fn words(
    verdict: X509VerifyResult,
    shown: Option<&X509>,
    endpoint: &Endpoint,
    parameters: &Parameters,
    error: &openssl::ssl::Error,
) -> String {
    const EXPIRED: i32 = 10;
    const NOT_YET: i32 = 9;
    const OTHER_NAME: [i32; 2] = [62, 64];
    let counted = match &parameters.root {
        Some(Root::File(file)) => format!("{} (sslrootcert)", file.display()),
        _ => "this system".to_owned(),
    };
    match (verdict.as_raw(), shown) {
        (0, _) => {
            let reason = error.ssl_error().and_then(|stack| stack.errors().first()?.reason());
            let reason = reason.map_or_else(|| error.to_string(), str::to_owned);
            format!(
                "TLS with {endpoint} failed: {reason}. Nothing was sent. Holdfast does not retry without \
                 TLS; to connect without TLS, write ?sslmode=disable."
            )
        }
        (EXPIRED, Some(certificate)) => format!(
            "the certificate of {endpoint}, or of an authority in its chain, has expired ({}). Nothing was \
             sent. Renew it at the server.",
            certificate.not_after()
        ),
        (NOT_YET, _) => format!(
            "the certificate of {endpoint} is not valid yet. Nothing was sent. Check the clocks of both \
             machines."
        ),
        (code, Some(certificate)) if OTHER_NAME.contains(&code) => format!(
            "the certificate of {endpoint} is for {}, not for {}. Nothing was sent. Use the certificate's \
             name in the URL, or give the server a certificate for this host.",
            names(certificate),
            endpoint.host
        ),
        _ => format!(
            "the certificate of {endpoint} is from an authority that {counted} does not trust ({}). Nothing \
             was sent. Name the authority's file: sslrootcert=/path/to/authority.crt",
            verdict.error_string()
        ),
    }
}

/// The host names in a certificate.
fn names(certificate: &X509Ref) -> String {
    const SHOWN: usize = 5;
    let alternative = certificate.subject_alt_names();
    let mut names: Vec<String> = alternative
        .iter()
        .flatten()
        .filter_map(|name| {
            let address = || match name.ipaddress()? {
                v4 if v4.len() == 4 => {
                    Some(std::net::IpAddr::from(<[u8; 4]>::try_from(v4).ok()?).to_string())
                }
                v6 => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(v6).ok()?).to_string()),
            };
            name.dnsname().map(str::to_owned).or_else(address)
        })
        .collect();
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        names.extend(common.filter_map(|entry| entry.data().to_string().ok()));
    }
    match names.len() {
        0 => "nobody".to_owned(),
        1..=SHOWN => names.join(", "),
        _ => format!("{} and others", names[..SHOWN].join(", ")),
    }
}
