//! Writes PROXY headers.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::header::Header;
use super::v2;
use crate::endpoint::ProxyHeader;

/// The bytes of a header: to be sent before anything else, at once.
///
/// 107 at most. Addresses of two families are both written as IPv6. That nobody is announced is `UNKNOWN` in version 1, which
/// some receivers refuse, and `LOCAL` in version 2.
pub fn write(version: ProxyHeader, header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    match version {
        ProxyHeader::V1 => v1(header, &mut out),
        ProxyHeader::V2 => v2(header, &mut out),
    }
    out
}

/// Source and destination in one family.
enum Family {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

fn family(source: IpAddr, destination: IpAddr) -> Family {
    match (source.to_canonical(), destination.to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Family::V4(source.octets(), destination.octets()),
        (source, destination) => Family::V6(as_v6(source).octets(), as_v6(destination).octets()),
    }
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn v1(header: &Header, out: &mut Vec<u8>) {
    // A `Vec` takes everything.
    let _ = match header {
        Header::Local => write!(out, "PROXY UNKNOWN\r\n"),
        Header::Proxied { source, destination } => {
            let (name, from, to): (_, IpAddr, IpAddr) = match family(source.ip(), destination.ip()) {
                Family::V4(source, destination) => ("TCP4", source.into(), destination.into()),
                Family::V6(source, destination) => ("TCP6", source.into(), destination.into()),
            };
            write!(out, "PROXY {name} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
}

fn v2(header: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(v2::SIGNATURE);
    match header {
        Header::Local => out.extend_from_slice(&[v2::LOCAL, v2::UNSPEC, 0, 0]),
        Header::Proxied { source, destination } => {
            match family(source.ip(), destination.ip()) {
                Family::V4(from, to) => {
                    out.extend_from_slice(&[v2::PROXY, v2::TCP_OVER_IPV4, 0, 12]);
                    out.extend_from_slice(&from);
                    out.extend_from_slice(&to);
                }
                Family::V6(from, to) => {
                    out.extend_from_slice(&[v2::PROXY, v2::TCP_OVER_IPV6, 0, 36]);
                    out.extend_from_slice(&from);
                    out.extend_from_slice(&to);
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
}

/// A header for a client of which both ends are known; [`Header::Local`] otherwise.
pub fn announcing(client: Option<SocketAddr>, connected_to: Option<SocketAddr>) -> Header {
    match (client, connected_to) {
        (Some(source), Some(destination)) => Header::Proxied { source, destination },
        _ => Header::Local,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::tests::before_a_request;
    use super::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn what_is_written() {
        for (header, line, block) in [
            (Header::Local, "PROXY UNKNOWN\r\n", &b"\x20\x00\0\0"[..]),
            (
                proxied("192.0.2.1:56324", "198.51.100.2:443"),
                "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
                b"\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb",
            ),
            (
                proxied("[2001:db8::1]:1", "[::2]:2"),
                "PROXY TCP6 2001:db8::1 ::2 1 2\r\n",
                b"\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01\0\x02",
            ),
            (
                proxied("[::ffff:192.0.2.1]:1", "192.0.2.2:2"),
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
                b"\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02",
            ),
            (
                proxied("192.0.2.1:1", "[::2]:2"),
                "PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n",
                b"\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01\0\x02",
            ),
        ] {
            assert_eq!(String::from_utf8_lossy(&write(ProxyHeader::V1, &header)), line);
            assert_eq!(write(ProxyHeader::V2, &header), [v2::SIGNATURE, block].concat(), "{header:?}");
        }
    }

    #[test]
    fn only_a_client_whose_ends_are_both_known_is_announced() {
        let [client, local] = ["192.0.2.1:1", "192.0.2.2:80"].map(|text| text.parse::<SocketAddr>().unwrap());
        assert_eq!(announcing(Some(client), Some(local)), Header::Proxied { source: client, destination: local });
        for (client, local) in [(None, Some(local)), (Some(client), None), (None, None)] {
            assert_eq!(announcing(client, local), Header::Local);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(source: SocketAddr, destination: SocketAddr) {
            // Flow and zone are nobody else's.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let header = Header::Proxied { source: plain(source), destination: plain(destination) };
            for version in [ProxyHeader::V1, ProxyHeader::V2] {
                let bytes = write(version, &Header::Proxied { source, destination });
                prop_assert!(bytes.len() <= 107);
                prop_assert_eq!(before_a_request(&bytes), Ok(header));
                prop_assert_eq!(before_a_request(&write(version, &Header::Local)), Ok(Header::Local));
            }
        }
    }
}
