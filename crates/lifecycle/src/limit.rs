//! The limits on clients, and what becomes of whoever is beyond one.

use std::fmt;
use std::net::IpAddr;

/// A limit on clients. The label is stable for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Limit {
    /// Connections at a time.
    Connections,
    /// Connections at a time of one client.
    ConnectionsPerClient,
    /// New connections a second.
    AcceptRate,
    /// Exchanges at a time.
    Exchanges,
    /// Descriptors: the process's, or the machine's.
    Descriptors,
    /// Handshakes under way at a time.
    Handshakes,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::ConnectionsPerClient,
        Self::AcceptRate,
        Self::Exchanges,
        Self::Descriptors,
        Self::Handshakes,
    ];

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::ConnectionsPerClient => "max-connections-per-client",
            Self::AcceptRate => "accept-rate",
            Self::Exchanges => "max-requests-in-flight",
            Self::Descriptors => "open-files",
            Self::Handshakes => "max-handshakes",
        }
    }
}

/// What the operator wants done with whoever is beyond a limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OverLimit {
    /// Connections wait in the kernel's backlog until there is room. Nobody is turned away but where waiting would hold
    /// up others: see [`OverLimit::decide`].
    #[default]
    Wait,
    /// The first request is answered with 503 and `Retry-After`, and the connection closed so that the answer arrives.
    Answer,
    /// The connection is closed without a word.
    Close,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Nothing is accepted until there is room.
    Wait,
    /// 503 with `Retry-After`.
    Answer,
    /// Closed without an answer.
    Close,
}

impl OverLimit {
    /// What is done with whoever is beyond `limit`.
    ///
    /// Waiting is for limits that all clients share. The backlog is one line: a client beyond its own limit would keep all
    /// others waiting behind it, and a request that is here already cannot be put back. Both are answered. Before its
    /// handshake is over, nobody can be.
    pub const fn decide(self, limit: Limit) -> Overflow {
        match (self, limit) {
            (Self::Close, _) | (Self::Answer, Limit::Handshakes) => Overflow::Close,
            (Self::Answer, _) | (Self::Wait, Limit::ConnectionsPerClient | Limit::Exchanges) => Overflow::Answer,
            (Self::Wait, Limit::Connections | Limit::AcceptRate | Limit::Descriptors | Limit::Handshakes) => {
                Overflow::Wait
            }
        }
    }
}

/// Whom a limit per client counts as one: an IPv4 address, or an IPv6 network of 64 bits.
///
/// RFC 4291 §2.5.4 leaves the last 64 bits to the interface: a single host can have as many addresses as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientKey(u64, bool);

impl ClientKey {
    /// Whom `address` belongs to. IPv4 in IPv6 is IPv4.
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits() as u64, false),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self((a as u64) << 48 | (b as u64) << 32 | (c as u64) << 16 | d as u64, true)
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_whoever_is_beyond_a_limit() {
        use Overflow::{Answer, Close, Wait};
        for (policy, decisions) in [
            (OverLimit::Wait, [Wait, Answer, Wait, Answer, Wait, Wait]),
            (OverLimit::Answer, [Answer, Answer, Answer, Answer, Answer, Close]),
            (OverLimit::Close, [Close; 6]),
        ] {
            assert_eq!(Limit::ALL.map(|limit| policy.decide(limit)), decisions, "{policy:?}");
        }
    }

    #[test]
    fn who_counts_as_one_client() {
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            // The numbers alone would be the same.
            ("0.0.0.1", "0:0:0:1::", false),
        ] {
            let of = |text: &str| ClientKey::of(text.parse().unwrap());
            assert_eq!(of(one) == of(other), is_same, "{one} and {other}");
        }
    }
}
