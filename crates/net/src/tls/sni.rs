//! Which certificate a client is shown, by the name that it asks for. RFC 6066 §3

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::certificate::Identity;

/// Certificates by their names. Whoever asks for none of them, or for nothing, is shown the first.
#[derive(Debug)]
pub(super) struct ByName {
    default: Arc<CertifiedKey>,
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`, which stands for one label. RFC 9525 §6.3
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// `None` without an identity.
    pub(super) fn new(identities: &[Identity]) -> Option<Self> {
        let default = identities.first()?.key().clone();
        let mut found = Self { default, exact: HashMap::new(), wildcard: HashMap::new() };
        for identity in identities {
            for name in identity.names() {
                let name = name.to_ascii_lowercase();
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut found.wildcard, rest),
                    None => (&mut found.exact, &*name),
                };
                names.entry(name.into()).or_default().push(identity.key().clone());
            }
        }
        Some(found)
    }

    /// Those for a name, most wanted first.
    fn candidates(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        if let Some(exact) = self.exact.get(&*name) {
            return exact;
        }
        let rest = name.split_once('.').map(|(_, rest)| rest);
        rest.and_then(|rest| self.wildcard.get(rest)).map_or(&[], Vec::as_slice)
    }
}

thread_local! {
    /// What rustls shows to a resolver and does not tell afterwards, for connections that own no buffers.
    static ASKED_FOR: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The name that the client asked for whose greeting was processed last in this thread. Taken by it.
pub(super) fn take_asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED_FOR.set(name.map(Into::into));
        let candidates = name.map_or(&[][..], |name| self.candidates(name));
        // An RSA and an ECDSA certificate may have the same name.
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let found = candidates.iter().find(usable).or(candidates.first());
        Some(found.unwrap_or(&self.default).clone())
    }
}
