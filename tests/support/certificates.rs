//! Certificate authorities for tests.

#![allow(clippy::unwrap_used, reason = "a test harness")]

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameBuilder};
use std::net::IpAddr;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// A certificate authority.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its key, as PEM.
pub struct Issued {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Authority {
    /// A self-signed authority.
    pub fn new(name: &str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let (name, extensions) = (named(name), BasicConstraints::new().critical().ca().build().unwrap());
        let mut certificate = builder(&name, &key, &(-1..10));
        certificate.set_issuer_name(&name).unwrap();
        certificate.append_extension(extensions).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: certificate.build(), key }
    }

    /// The authority's certificate, as PEM.
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// A certificate for hosts or addresses, valid on these days from now.
    pub fn issue(&self, common_name: &str, hosts: &[&str], days: &Range<i64>) -> Issued {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut certificate = builder(&named(common_name), &key, days);
        certificate.set_issuer_name(self.certificate.subject_name()).unwrap();
        if !hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in hosts {
                if host.parse::<IpAddr>().is_ok() {
                    names.ip(host)
                } else {
                    names.dns(host)
                };
            }
            let names = names.build(&certificate.x509v3_context(Some(&self.certificate), None)).unwrap();
            certificate.append_extension(names).unwrap();
        }
        certificate.sign(&self.key, MessageDigest::sha256()).unwrap();
        Issued {
            certificate: certificate.build().to_pem().unwrap(),
            key: key.private_key_to_pem_pkcs8().unwrap(),
        }
    }
}

fn named(name: &str) -> X509Name {
    let mut built = X509NameBuilder::new().unwrap();
    built.append_entry_by_text("CN", name).unwrap();
    built.build()
}

fn builder(name: &X509Name, key: &PKey<Private>, days: &Range<i64>) -> openssl::x509::X509Builder {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    certificate.set_subject_name(name).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(&Asn1Time::from_unix(now + days.start * 86_400).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::from_unix(now + days.end * 86_400).unwrap()).unwrap();
    certificate
}
