//! What a connection goes to, and how: connections to equal endpoints are as good as each other.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls::client::ClientTls;
use crate::tls::name::PeerName;

/// What a connection goes to: a place, and for whom it is.
///
/// Cheap to clone, to hash and to compare: an address, and two pointers that are null for plain HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    site: Site,
    client: Option<Arc<Announced>>,
}

/// An address and the manner in which it is spoken to: what a pool keeps connections by, and knows things of.
#[derive(Clone, Debug)]
pub struct Site {
    address: SocketAddr,
    manner: Option<Arc<Hashed>>,
}

/// How an address is spoken to. The default is plain HTTP/1 over TCP.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Manner {
    /// TLS, if that is to be between us and the address.
    pub tls: Option<Secure>,
    /// Which versions of HTTP may be spoken. Without TLS there is no choice to be made on the wire: then
    /// [`Protocols::Either`] is HTTP/1.
    pub protocols: Protocols,
    /// Whether each connection begins with a PROXY header that names the client for whom it was made.
    pub announces: Option<ProxyHeader>,
}

/// TLS to an address: by whose rules, and to whom.
#[derive(Clone, Debug)]
pub struct Secure {
    /// Whom we believe, and what we show of ourselves.
    pub client: ClientTls,
    /// Whose certificate the other side must have.
    pub name: PeerName,
}

/// Which versions of HTTP may be spoken to an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Protocols {
    /// HTTP/1 alone.
    #[default]
    Http1,
    /// HTTP/2 alone: by prior knowledge (RFC 9113 §3.3), or as all that is offered by ALPN.
    Http2,
    /// What the other side chooses by ALPN (RFC 7301), HTTP/2 first.
    Either,
}

/// A version of the PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxyHeader {
    /// One line of text.
    V1,
    /// The binary one.
    V2,
}

/// The client for whom a connection is made, as a PROXY header tells it. Such a connection is for that client alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Announced {
    /// The client's end of its connection; `None` where it has no IP address.
    pub source: Option<SocketAddr>,
    /// Our end of it.
    pub destination: Option<SocketAddr>,
}

/// A manner with its hash, which is asked for more often than it changes.
#[derive(Debug)]
struct Hashed {
    manner: Manner,
    hash: u64,
}

static PLAIN: Manner = Manner { tls: None, protocols: Protocols::Http1, announces: None };

impl Manner {
    /// Whether it is HTTP/1 over TCP, and nothing else.
    pub fn is_plain(&self) -> bool {
        *self == PLAIN
    }

    /// Whether TLS is between us and the address.
    pub fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it has no part for layers between TCP and HTTP: a socket of TCP alone will do.
    pub fn is_bare(&self) -> bool {
        self.announces.is_none() && self.tls.is_none()
    }

    /// The scheme and version by which it is told from others: `http`, `h2c` or `https`.
    pub fn scheme(&self) -> &'static str {
        match (&self.tls, self.protocols) {
            (Some(_), _) => "https",
            (None, Protocols::Http2) => "h2c",
            (None, _) => "http",
        }
    }
}

impl PartialEq for Secure {
    fn eq(&self, other: &Self) -> bool {
        self.client.is_same(&other.client) && self.name == other.name
    }
}

impl Eq for Secure {}

impl Hash for Secure {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Endpoint {
    /// An address that is spoken to in such a manner, on behalf of nobody in particular.
    pub fn new(address: SocketAddr, manner: Manner) -> Self {
        Site::new(address, manner).into()
    }

    /// The same place on behalf of one client. Without [`Manner::announces`] nobody is announced, and this changes
    /// nothing.
    #[must_use]
    pub fn on_behalf_of(mut self, client: impl Into<Arc<Announced>>) -> Self {
        if self.manner().announces.is_some() {
            self.client = Some(client.into());
        }
        self
    }

    /// The same address, spoken to in another manner.
    #[must_use]
    pub fn spoken_to(&self, manner: Manner) -> Self {
        Self { client: self.client.clone(), ..Self::new(self.address(), manner) }
    }

    /// The place.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// How it is spoken to.
    #[inline]
    pub fn manner(&self) -> &Manner {
        self.site.manner()
    }

    /// On behalf of whom, where connections say so.
    pub fn client(&self) -> Option<&Arc<Announced>> {
        self.client.as_ref()
    }
}

impl Site {
    /// An address that is spoken to in such a manner.
    pub fn new(address: SocketAddr, manner: Manner) -> Self {
        if manner.is_plain() {
            return Self { address, manner: None };
        }
        let mut hasher = DefaultHasher::new();
        manner.hash(&mut hasher);
        Self { address, manner: Some(Arc::new(Hashed { manner, hash: hasher.finish() })) }
    }

    /// Another address that is spoken to in the same manner.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, manner: self.manner.clone() }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is spoken to.
    #[inline]
    pub fn manner(&self) -> &Manner {
        self.manner.as_ref().map_or(&PLAIN, |hashed| &hashed.manner)
    }
}

impl PartialEq for Site {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
            && match (&self.manner, &other.manner) {
                (None, None) => true,
                (Some(one), Some(other)) => Arc::ptr_eq(one, other) || are_alike(one, other),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }
}

/// Apart, so that what is asked for each request stays short: manners are made once for each origin.
#[cold]
#[inline(never)]
fn are_alike(one: &Hashed, other: &Hashed) -> bool {
    one.manner == other.manner
}

impl Eq for Site {}

impl Hash for Site {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        if let Some(hashed) = &self.manner {
            state.write_u64(hashed.hash);
        }
    }
}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.site.hash(state);
        if let Some(client) = &self.client {
            client.hash(state);
        }
    }
}

impl From<SocketAddr> for Endpoint {
    /// Plain HTTP/1.
    fn from(address: SocketAddr) -> Self {
        Site::from(address).into()
    }
}

impl From<SocketAddr> for Site {
    /// Plain HTTP/1.
    fn from(address: SocketAddr) -> Self {
        Self { address, manner: None }
    }
}

impl From<Site> for Endpoint {
    fn from(site: Site) -> Self {
        Self { site, client: None }
    }
}

impl fmt::Display for Site {
    /// The address alone for plain HTTP/1; `address (h2c)` or `address (https example.com)` otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address, f)?;
        match (&self.manner().tls, self.manner().protocols) {
            (Some(secure), _) => write!(f, " (https {})", secure.name),
            (None, Protocols::Http2) => f.write_str(" (h2c)"),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::tls::client::{ClientSettings, Trust};

    use super::*;

    const H2C: Manner = Manner { tls: None, protocols: Protocols::Http2, announces: None };
    const ANNOUNCING: Manner = Manner { tls: None, protocols: Protocols::Http1, announces: Some(ProxyHeader::V2) };

    fn secure(client: &ClientTls, name: &str) -> Manner {
        let secure = Secure { client: client.clone(), name: name.parse().unwrap() };
        Manner { tls: Some(secure), protocols: Protocols::Either, announces: None }
    }

    fn tls() -> ClientTls {
        ClientTls::new(&ClientSettings::new(Trust::AnybodyInsecurely)).unwrap()
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    fn client(last: u8) -> Announced {
        Announced { source: Some(address(last)), destination: None }
    }

    #[test]
    #[expect(clippy::mutable_key_type, reason = "they are compared by what of TLS never changes")]
    fn equal_is_what_may_share_a_connection() {
        let plain = Endpoint::from(address(1));
        let all = [
            plain.clone(),
            Endpoint::from(address(2)),
            Endpoint::new(address(1), H2C),
            Endpoint::new(address(1), ANNOUNCING),
            Endpoint::new(address(1), ANNOUNCING).on_behalf_of(client(7)),
            Endpoint::new(address(1), ANNOUNCING).on_behalf_of(client(8)),
        ];
        let set: HashSet<_> = all.iter().cloned().collect();
        assert_eq!(set.len(), all.len(), "all differ");
        let again = [
            Endpoint::new(address(1), Manner::default()),
            Endpoint::new(address(1), Manner { protocols: Protocols::Http2, ..Manner::default() }),
            Endpoint::new(address(1), ANNOUNCING).on_behalf_of(client(8)),
        ];
        assert!(again.iter().all(|endpoint| set.contains(endpoint)), "made anew, they are the same");
        assert_eq!(plain.clone().on_behalf_of(client(7)), plain, "nobody is told");
        assert_eq!(all[4].site(), all[5].site(), "what is known of a place is known for all clients");
        assert_eq!(all[4].spoken_to(ANNOUNCING), all[4]);
    }

    #[test]
    fn secured_connections_are_as_good_as_each_other_by_name_and_rules() {
        let (one, other) = (tls(), tls());
        let site = |client, name| Site::new(address(1), secure(client, name));
        let clone = one.clone();
        assert_eq!(site(&one, "a.example"), site(&clone, "A.example."));
        assert_ne!(site(&one, "a.example"), site(&one, "b.example"));
        assert_ne!(site(&one, "a.example"), site(&other, "a.example"));
        assert_ne!(site(&one, "a.example"), Site::from(address(1)));
        assert_eq!(site(&one, "a.example").to_string(), "192.0.2.1:80 (https a.example)");
        assert_eq!([secure(&one, "a").scheme(), H2C.scheme(), Manner::default().scheme()], ["https", "h2c", "http"]);
    }

    #[test]
    fn costs_little() {
        assert!(size_of::<Endpoint>() <= 48, "{}", size_of::<Endpoint>());
        assert!(Endpoint::from(address(1)).manner().is_plain());
        assert!(H2C.is_bare() && !H2C.is_plain() && !ANNOUNCING.is_bare());
    }

    #[test]
    fn says_more_than_the_address_where_there_is_more() {
        assert_eq!(Site::from(address(1)).to_string(), "192.0.2.1:80");
        assert_eq!(Site::new(address(1), H2C).to_string(), "192.0.2.1:80 (h2c)");
    }
}
