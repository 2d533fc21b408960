//! The client's side of TLS: whom it believes, and what it shows of itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::secured::Alpn;
use crate::socket::Socket;
use crate::tls::certificate::{Identity, Roots};
use crate::tls::name::PeerName;
use crate::tls::provider::provider;
use crate::tls::server::{SettingsError, rejected};
use crate::tls::session::Session;
use crate::tls::socket::TlsSocket;
use crate::tls::version::MinVersion;

/// How many servers' sessions are kept, so that connections to them begin with less: some KiB each.
const KEPT_SERVERS: usize = 256;

/// Whom a client believes, and what it shows.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Whose word for a server's name is believed.
    pub trust: Trust,
    /// What is shown to servers that ask for a certificate. Default: none.
    pub identity: Option<Identity>,
    /// The oldest version of TLS. Default: TLS 1.2.
    pub min_version: MinVersion,
    /// What is offered, most wanted first. Default: HTTP/2, then HTTP/1.1.
    pub alpn: Vec<Alpn>,
}

/// Whose word for a server's name is believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These issuers'.
    Roots(Roots),
    /// Anybody's: whoever sits on the way can read and change everything. For experiments.
    AnybodyInsecurely,
}

impl ClientSettings {
    /// These issuers, and defaults.
    pub fn new(trust: Trust) -> Self {
        Self { trust, identity: None, min_version: MinVersion::default(), alpn: vec![Alpn::Http2, Alpn::Http1] }
    }
}

/// The client's side of TLS. Cheap to clone; clones share what [`Self::replace`] replaces, and the sessions that can be
/// resumed, which are kept by name.
#[derive(Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    current: ArcSwap<ClientConfig>,
    renewals: AtomicU64,
}

impl ClientTls {
    /// Secures connections as `settings` say.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn new(settings: &ClientSettings) -> Result<Self, SettingsError> {
        let current = ArcSwap::from_pointee(configured(settings)?);
        Ok(Self(Arc::new(Shared { current, renewals: AtomicU64::new(0) })))
    }

    /// Secures connections that begin from now on as `settings` say. Those that are there notice nothing, and no session
    /// from before is resumed: it was begun by other rules. Pools retire connections from before within a sweep.
    ///
    /// # Errors
    /// Why that cannot be; all stays as it was.
    pub fn replace(&self, settings: &ClientSettings) -> Result<(), SettingsError> {
        self.0.current.store(Arc::new(configured(settings)?));
        self.0.renewals.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// How often [`Self::replace`] has replaced them: for whoever keeps connections.
    pub fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }

    /// The client's side of a connection to the server of that name. Nothing is written before
    /// [`Socket::poll_handshake`].
    pub fn connect<S: Socket>(&self, socket: S, name: &PeerName) -> TlsSocket<S> {
        self.began(socket, name, UnbufferedClientConnection::new(self.0.current.load_full(), name.0.clone()))
    }

    /// As [`Self::connect`], with an offer of its own by ALPN: most wanted first, nothing if empty.
    pub fn connect_offering<S: Socket>(&self, socket: S, name: &PeerName, alpn: &[Alpn]) -> TlsSocket<S> {
        let config = self.0.current.load_full();
        let session = UnbufferedClientConnection::new_with_alpn(config, name.0.clone(), on_the_wire(alpn));
        self.began(socket, name, session)
    }

    fn began<S: Socket>(
        &self,
        socket: S,
        name: &PeerName,
        session: Result<UnbufferedClientConnection, Error>,
    ) -> TlsSocket<S> {
        let asked_for = matches!(name.0, ServerName::DnsName(_)).then(|| name.to_string().into());
        TlsSocket::new(socket, session.map(Session::Client), asked_for)
    }

    /// Whether another is this one: then their connections are as good as each other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn configured(settings: &ClientSettings) -> Result<ClientConfig, SettingsError> {
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(settings.min_version.versions())
        .map_err(rejected)?;
    let builder = match &settings.trust {
        Trust::Roots(roots) if roots.is_empty() => return Err(SettingsError::NoRoots),
        Trust::Roots(roots) => builder.with_root_certificates(roots.store()),
        Trust::AnybodyInsecurely => builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous)),
    };
    let mut config = match &settings.identity {
        Some(identity) => {
            let key = rustls::sign::SingleCertAndKey::from(identity.key().clone());
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = on_the_wire(&settings.alpn);
    config.resumption = Resumption::in_memory_sessions(KEPT_SERVERS);
    Ok(config)
}

fn on_the_wire(alpn: &[Alpn]) -> Vec<Vec<u8>> {
    alpn.iter().map(|alpn| alpn.name().as_bytes().to_vec()).collect()
}

/// Believes every certificate; that the server holds its key is still checked.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
