//! Certificates and keys, read from PEM: what we show, and whom we believe.

use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

use crate::tls::provider::{provider, sha256};
use crate::tls::validity::Validity;

/// A certificate, with those that lead to its issuer, and its key.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    names: Arc<[String]>,
    validity: Validity,
}

/// Certificates of issuers that are believed.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    unusable: usize,
}

/// What is wrong with a file of certificates or keys.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PemFault {
    /// There is no `BEGIN CERTIFICATE` in it.
    NoCertificate,
    /// There is no key in it.
    NoKey,
    /// The key is encrypted with a passphrase.
    EncryptedKey,
    /// It is no PEM; the parser's words.
    Malformed(String),
    /// A certificate cannot be read; why.
    BadCertificate(String),
    /// The key cannot be read or is of no supported kind; why.
    BadKey(String),
    /// The key is not that of the certificate.
    Mismatch,
}

impl Identity {
    /// Reads a certificate, followed by those that lead to its issuer (the issuer's own may be left out), and the key.
    /// Both may be in one file.
    ///
    /// # Errors
    /// What is wrong with them. An expired certificate is none: see [`Self::validity`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, PemFault> {
        let chain = certificates_of(certificates)?;
        let key = key_of(key)?;
        Self::from_der(chain, key)
    }

    fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, PemFault> {
        let first = chain.first().ok_or(PemFault::NoCertificate)?;
        let validity = Validity::of(first).ok_or(PemFault::BadCertificate("it is not X.509".to_owned()))?;
        let names = {
            let certificate =
                EndEntityCert::try_from(first).map_err(|error| PemFault::BadCertificate(error.to_string()))?;
            certificate.valid_dns_names().map(str::to_owned).collect()
        };
        let key = CertifiedKey::from_der(chain, key, provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PemFault::Mismatch,
            Error::InvalidCertificate(error) => PemFault::BadCertificate(error.to_string()),
            error => PemFault::BadKey(error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), names, validity })
    }

    /// The DNS names that it is valid for, in the order of the certificate. Some begin with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// From when to when it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The SHA-256 of the certificate in lower-case hexadecimal.
    pub fn fingerprint(&self) -> Box<str> {
        self.key.cert.first().map(|certificate| sha256(certificate)).unwrap_or_default()
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl Roots {
    /// Reads one or more certificates.
    ///
    /// # Errors
    /// What is wrong with them: one that cannot be read is one too many.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, PemFault> {
        let mut store = RootCertStore::empty();
        for certificate in certificates_of(certificates)? {
            store.add(certificate).map_err(|error| PemFault::BadCertificate(error.to_string()))?;
        }
        Ok(Self { store: Arc::new(store), unusable: 0 })
    }

    /// Those that this machine believes: of the system's store, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point to.
    ///
    /// What cannot be read is counted and left out ([`Self::unusable`]). Without any, no origin is believed
    /// ([`Self::is_empty`]). Reads files, and takes some milliseconds.
    pub fn of_the_system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(found.certs);
        Self { store: Arc::new(store), unusable: ignored + found.errors.len() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// How many could not be read.
    pub fn unusable(&self) -> usize {
        self.unusable
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        self.store.clone()
    }
}

fn certificates_of(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(malformed)?;
    if found.is_empty() { Err(PemFault::NoCertificate) } else { Ok(found) }
}

fn key_of(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    // The second is OpenSSL's old form, which says it in a header that the parser takes for part of the key.
    if contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(PemFault::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => PemFault::NoKey,
        error => malformed(error),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn malformed(error: pem::Error) -> PemFault {
    PemFault::Malformed(error.to_string())
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("there is no certificate in it (a PEM block BEGIN CERTIFICATE)"),
            Self::NoKey => f.write_str("there is no private key in it (a PEM block BEGIN PRIVATE KEY)"),
            Self::EncryptedKey => f.write_str(
                "the private key is encrypted with a passphrase; decrypt it: openssl pkey -in encrypted.pem -out key.pem",
            ),
            Self::Malformed(why) => write!(f, "it is no PEM: {why}"),
            Self::BadCertificate(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::BadKey(why) => write!(f, "the private key cannot be read: {why}"),
            Self::Mismatch => f.write_str("the private key is not the key of the certificate"),
        }
    }
}

impl std::error::Error for PemFault {}
