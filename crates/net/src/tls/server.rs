//! The server's side of TLS: which certificates are shown, to whom, and what is asked of clients.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, UnbufferedServerConnection, WebPkiClientVerifier,
    danger::ClientCertVerifier,
};

use crate::secured::Alpn;
use crate::socket::Socket;
use crate::tls::certificate::{Identity, Roots};
use crate::tls::provider::provider;
use crate::tls::session::Session;
use crate::tls::sni::ByName;
use crate::tls::socket::TlsSocket;
use crate::tls::version::MinVersion;

/// Sessions that are kept for clients without session tickets, which only TLS 1.2 knows: about 1 MB when full.
const KEPT_SESSIONS: usize = 4096;

/// What a server shows and asks for.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Certificates, chosen by the name that the client asks for; the first one for whoever asks for none that is there.
    /// At least one.
    pub identities: Vec<Identity>,
    /// Whether clients are asked for a certificate. Default: they are not.
    pub clients: ClientCertificates,
    /// The oldest version of TLS. Default: TLS 1.2.
    pub min_version: MinVersion,
    /// What is spoken, most wanted first. A client that offers others alone is refused (RFC 7301 §3.2); one that offers
    /// nothing is not. Default: HTTP/2, then HTTP/1.1.
    pub alpn: Vec<Alpn>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Default, Debug)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    Unasked,
    /// Those that show one must be believed by these; those that show none are let in.
    Optional(Roots),
    /// Those that show none are refused, too.
    Required(Roots),
}

impl ServerSettings {
    /// These certificates, and defaults.
    pub fn new(identities: Vec<Identity>) -> Self {
        Self {
            identities,
            clients: ClientCertificates::Unasked,
            min_version: MinVersion::default(),
            alpn: vec![Alpn::Http2, Alpn::Http1],
        }
    }
}

/// Why settings cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// A server has no certificate.
    NoIdentity,
    /// The bundle of issuers is empty, so that nobody could be believed.
    NoRoots,
    /// What rustls says.
    Rejected(String),
}

/// The server's side of TLS. Cheap to clone; clones share sessions and what [`Self::replace`] replaces.
///
/// Sessions are resumed: by tickets that live for 12 hours at most under keys that change every 6, and that only this
/// process knows; and, for clients of TLS 1.2 without tickets, from memory. Early data (0-RTT) is not accepted: what comes
/// in it could have been sent by anybody who had recorded it.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    current: ArcSwap<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    /// Secures connections as `settings` say.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn new(settings: &ServerSettings) -> Result<Self, SettingsError> {
        let tickets = Ticketer::new().map_err(rejected)?;
        let config = configured(settings, &tickets)?;
        Ok(Self(Arc::new(Shared { current: ArcSwap::from_pointee(config), tickets })))
    }

    /// Secures connections that begin from now on as `settings` say. Those that are there notice nothing. Where clients are
    /// asked for certificates, sessions from before are not resumed: they were let in by other rules.
    ///
    /// # Errors
    /// Why that cannot be; all stays as it was.
    pub fn replace(&self, settings: &ServerSettings) -> Result<(), SettingsError> {
        let config = match settings.clients {
            ClientCertificates::Unasked => configured(settings, &self.0.tickets)?,
            ClientCertificates::Optional(_) | ClientCertificates::Required(_) => {
                configured(settings, &Ticketer::new().map_err(rejected)?)?
            }
        };
        self.0.current.store(Arc::new(config));
        Ok(())
    }

    /// The server's side of a connection that was accepted. Nothing is read before [`Socket::poll_handshake`].
    pub fn accept<S: Socket>(&self, socket: S) -> TlsSocket<S> {
        let session = UnbufferedServerConnection::new(self.0.current.load_full());
        TlsSocket::new(socket, session.map(Session::Server), None)
    }
}

fn configured(settings: &ServerSettings, tickets: &Arc<dyn ProducesTickets>) -> Result<ServerConfig, SettingsError> {
    let by_name = ByName::new(&settings.identities).ok_or(SettingsError::NoIdentity)?;
    let clients: Arc<dyn ClientCertVerifier> = match &settings.clients {
        ClientCertificates::Unasked => Arc::new(NoClientAuth),
        ClientCertificates::Optional(roots) => client_verifier(roots, true)?,
        ClientCertificates::Required(roots) => client_verifier(roots, false)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(settings.min_version.versions())
        .map_err(rejected)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols =
        settings.alpn.iter().flat_map(|alpn| alpn.names()).map(|name| name.as_bytes().to_vec()).collect();
    config.ticketer = tickets.clone();
    config.session_storage = ServerSessionMemoryCache::new(KEPT_SESSIONS);
    Ok(config)
}

fn client_verifier(roots: &Roots, is_optional: bool) -> Result<Arc<dyn ClientCertVerifier>, SettingsError> {
    if roots.is_empty() {
        return Err(SettingsError::NoRoots);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.store(), provider().clone());
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| SettingsError::Rejected(error.to_string()))
}

pub(super) fn rejected(error: rustls::Error) -> SettingsError {
    SettingsError::Rejected(error.to_string())
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => f.write_str("a server needs at least one certificate"),
            Self::NoRoots => f.write_str("without a certificate of an issuer nobody can be believed"),
            Self::Rejected(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SettingsError {}
