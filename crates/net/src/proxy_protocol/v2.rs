//! Version 2: a block of bytes. §2.2

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c;
use super::header::{Header, HeaderError, MAX_HEADER_BYTES, canonical};
use super::parse::Parsed;

/// What every header begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and protocol, and the length of what follows.
pub(super) const FIXED_LEN: usize = 16;

/// The version in the upper four bits, the command in the lower.
pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;

/// The family in the upper four bits, the protocol in the lower.
pub(super) const UNSPEC: u8 = 0x00;
pub(super) const TCP_OVER_IPV4: u8 = 0x11;
pub(super) const TCP_OVER_IPV6: u8 = 0x21;

/// A value's type and length come before it.
const TLV_FIXED_LEN: usize = 3;
const TLV_CRC32C: u8 = 0x03;

/// As [`super::parse::parse`], for what begins with the version's first byte.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let given = bytes.len().min(SIGNATURE.len());
    if !SIGNATURE.starts_with(&bytes[..given]) {
        return Err(HeaderError::Missing);
    }
    let command = bytes.get(12).copied().unwrap_or(LOCAL);
    if !matches!(command, LOCAL | PROXY) {
        return Err(HeaderError::Unsupported);
    }
    let family = bytes.get(13).copied().unwrap_or(UNSPEC);
    // Of a LOCAL header, the family is ignored.
    if command == PROXY && (family >> 4 > 3 || family & 0xF > 2) {
        return Err(HeaderError::Unsupported);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_LEN>() else {
        return Ok(Parsed::more(FIXED_LEN - bytes.len()));
    };
    let len = FIXED_LEN + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > MAX_HEADER_BYTES {
        return Err(HeaderError::TooLong);
    }
    let is_local = command == LOCAL;
    if !is_local && addresses_len(family).is_some_and(|addresses| FIXED_LEN + addresses > len) {
        return Err(HeaderError::Malformed);
    }
    let Some(whole) = bytes.get(..len) else {
        return Ok(Parsed::more(len - bytes.len()));
    };
    // "Discard the protocol block including the family."
    let header = if is_local { Header::Local } else { proxied(whole, family)? };
    Ok(Parsed::Whole { header, len })
}

/// How long the addresses of a family are; `None` where that is not defined, and what follows is not looked at.
const fn addresses_len(family: u8) -> Option<usize> {
    match (family >> 4, family & 0xF) {
        (_, 0) => None,
        (1, _) => Some(12),
        (2, _) => Some(36),
        (3, _) => Some(216),
        _ => None,
    }
}

fn proxied(whole: &[u8], family: u8) -> Result<Header, HeaderError> {
    let Some(addresses_len) = addresses_len(family) else {
        return Ok(Header::Local);
    };
    let (addresses, _) = whole[FIXED_LEN..].split_at(addresses_len);
    check_values(whole, FIXED_LEN + addresses_len)?;
    Ok(match family {
        TCP_OVER_IPV4 => addresses_of::<4>(addresses, |ip| Ipv4Addr::from(ip).into()),
        TCP_OVER_IPV6 => addresses_of::<16>(addresses, |ip| Ipv6Addr::from(ip).into()),
        // Nothing that a TCP connection could be announced by: "falls back to the UNSPEC mode".
        _ => Header::Local,
    })
}

fn addresses_of<const N: usize>(block: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Header {
    let end = |ip_at: usize, port_at: usize| {
        let mut octets = [0; N];
        octets.copy_from_slice(&block[ip_at..ip_at + N]);
        canonical(SocketAddr::new(ip(octets), u16::from_be_bytes([block[port_at], block[port_at + 1]])))
    };
    Header::Proxied { source: end(0, 2 * N), destination: end(N, 2 * N + 2) }
}

/// Walks over the values behind the addresses. None is of use here, but the checksum of all.
fn check_values(whole: &[u8], mut at: usize) -> Result<(), HeaderError> {
    let mut has_checksum = false;
    while at < whole.len() {
        let Some([kind, high, low]) = whole.get(at..at + TLV_FIXED_LEN) else {
            return Err(HeaderError::Malformed);
        };
        let begin = at + TLV_FIXED_LEN;
        let end = begin + usize::from(u16::from_be_bytes([*high, *low]));
        let value = whole.get(begin..end).ok_or(HeaderError::Malformed)?;
        if *kind == TLV_CRC32C {
            // Two could not be checked: which of them is taken for zero while the other is?
            let expected: [u8; 4] = value.try_into().map_err(|_| HeaderError::Malformed)?;
            if std::mem::replace(&mut has_checksum, true) {
                return Err(HeaderError::Malformed);
            }
            if crc32c::of(&[&whole[..begin], &[0; 4], &whole[end..]]) != u32::from_be_bytes(expected) {
                return Err(HeaderError::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::{at_every_split, before_a_request};
    use super::*;

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x04, 0xD2, 0x01, 0xBB];

    fn v6() -> Vec<u8> {
        let [source, destination] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
        [&source[..], &destination, &[0x04, 0xD2, 0x01, 0xBB]].concat()
    }

    fn block(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
        let rest = rest.concat();
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, &rest].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &len[..], value].concat()
    }

    /// With its checksum, and `behind` after it.
    fn checksummed(behind: &[u8]) -> Vec<u8> {
        let zeros = block(PROXY, TCP_OVER_IPV4, &[&V4, &tlv(0x04, b"pad"), &tlv(TLV_CRC32C, &[0; 4]), behind]);
        let at = FIXED_LEN + V4.len() + 6 + TLV_FIXED_LEN;
        let sum = crc32c::of(&[&zeros]).to_be_bytes();
        [&zeros[..at], &sum, &zeros[at + 4..]].concat()
    }

    fn proxied_v4() -> Header {
        Header::Proxied { source: "192.0.2.1:1234".parse().unwrap(), destination: "198.51.100.2:443".parse().unwrap() }
    }

    #[test]
    fn what_blocks_say() {
        let v6 = v6();
        let mapped: Vec<u8> = [[192, 0, 2, 1], [198, 51, 100, 2]]
            .iter()
            .flat_map(|ip| Ipv4Addr::from(*ip).to_ipv6_mapped().octets())
            .chain([0x04, 0xD2, 0x01, 0xBB])
            .collect();
        let longest = tlv(0xE0, &vec![7; MAX_HEADER_BYTES - FIXED_LEN - V4.len() - TLV_FIXED_LEN]);
        for (what, bytes, header) in [
            ("IPv4", block(PROXY, TCP_OVER_IPV4, &[&V4]), proxied_v4()),
            (
                "IPv6",
                block(PROXY, TCP_OVER_IPV6, &[&v6]),
                Header::Proxied {
                    source: "[2001:db8::1]:1234".parse().unwrap(),
                    destination: "[2001:db8::2]:443".parse().unwrap(),
                },
            ),
            ("IPv4 as IPv6", block(PROXY, TCP_OVER_IPV6, &[&mapped]), proxied_v4()),
            ("values", block(PROXY, TCP_OVER_IPV4, &[&V4, &tlv(0x02, b"example.test"), &tlv(0x04, b"")]), proxied_v4()),
            ("as long as may be", block(PROXY, TCP_OVER_IPV4, &[&V4, &longest]), proxied_v4()),
            ("a checksum", checksummed(b""), proxied_v4()),
            ("a checksum, and more", checksummed(&tlv(0x05, b"id")), proxied_v4()),
            ("UDP over IPv4", block(PROXY, 0x12, &[&V4]), Header::Local),
            ("UDP over IPv6", block(PROXY, 0x22, &[&v6]), Header::Local),
            ("Unix", block(PROXY, 0x31, &[&[b'/'; 216], &tlv(0x04, b"x")]), Header::Local),
            ("Unix datagrams", block(PROXY, 0x32, &[&[b'/'; 216]]), Header::Local),
            ("unspecified", block(PROXY, UNSPEC, &[]), Header::Local),
            ("unspecified, with whatever", block(PROXY, UNSPEC, &[b"\x03whatever"]), Header::Local),
            ("a family without a protocol", block(PROXY, 0x10, &[b"x"]), Header::Local),
            ("a protocol without a family", block(PROXY, 0x01, &[b"x"]), Header::Local),
            ("LOCAL", block(LOCAL, UNSPEC, &[]), Header::Local),
            ("LOCAL of a family", block(LOCAL, TCP_OVER_IPV4, &[&V4]), Header::Local),
            ("LOCAL of no known family", block(LOCAL, 0xFF, &[b"x"]), Header::Local),
            ("LOCAL without its addresses", block(LOCAL, TCP_OVER_IPV6, &[b"x"]), Header::Local),
        ] {
            assert_eq!(before_a_request(&bytes), Ok(header), "{what}");
        }
    }

    #[test]
    fn what_no_block_may_be() {
        use HeaderError::{Checksum, Malformed, TooLong, Unsupported};
        let mut flipped = checksummed(b"");
        flipped[16] ^= 1;
        let mut wrong = checksummed(b"");
        *wrong.last_mut().unwrap() ^= 1;
        let twice = tlv(TLV_CRC32C, &crc32c::of(&[&checksummed(b"")]).to_be_bytes());
        for (what, bytes, error) in [
            ("version 1", block(0x11, TCP_OVER_IPV4, &[&V4]), Unsupported),
            ("version 3", block(0x31, TCP_OVER_IPV4, &[&V4]), Unsupported),
            ("no version", block(0x01, TCP_OVER_IPV4, &[&V4]), Unsupported),
            ("command 2", block(0x22, TCP_OVER_IPV4, &[&V4]), Unsupported),
            ("family 4", block(PROXY, 0x41, &[&V4]), Unsupported),
            ("protocol 3", block(PROXY, 0x13, &[&V4]), Unsupported),
            ("nothing behind IPv4", block(PROXY, TCP_OVER_IPV4, &[]), Malformed),
            ("too little behind IPv4", block(PROXY, TCP_OVER_IPV4, &[&V4[..11]]), Malformed),
            ("IPv4 as IPv6", block(PROXY, TCP_OVER_IPV6, &[&V4]), Malformed),
            ("too little behind Unix", block(PROXY, 0x31, &[&[0; 215]]), Malformed),
            ("half a value's head", block(PROXY, TCP_OVER_IPV4, &[&V4, &[4, 0]]), Malformed),
            ("half a value", block(PROXY, TCP_OVER_IPV4, &[&V4, &[4, 0, 2, 0]]), Malformed),
            ("a value beyond the end", block(PROXY, TCP_OVER_IPV4, &[&V4, &[4, 0xFF, 0xFF, 0]]), Malformed),
            ("a wrong checksum", wrong, Checksum),
            ("a flipped bit", flipped, Checksum),
            ("a short checksum", block(PROXY, TCP_OVER_IPV4, &[&V4, &tlv(TLV_CRC32C, &[0; 3])]), Malformed),
            ("two checksums", checksummed(&twice), Malformed),
            ("4097 bytes", block(PROXY, UNSPEC, &[&[0; MAX_HEADER_BYTES + 1 - FIXED_LEN]]), TooLong),
            ("65551 bytes", block(LOCAL, UNSPEC, &[&[0; 0xFFFF]]), TooLong),
        ] {
            assert_eq!(at_every_split(&bytes), Err(error), "{what}");
        }
    }

    #[test]
    fn it_is_known_from_the_fixed_bytes_how_long_it_is() {
        let header = block(PROXY, TCP_OVER_IPV4, &[&V4]);
        assert_eq!(parse(&header[..1]), Ok(Parsed::more(15)));
        assert_eq!(parse(&header[..15]), Ok(Parsed::more(1)));
        assert_eq!(parse(&header[..16]), Ok(Parsed::more(12)));
        let too_long = block(LOCAL, UNSPEC, &[&[0; MAX_HEADER_BYTES]]);
        assert_eq!(parse(&too_long[..16]), Err(HeaderError::TooLong), "before a byte of it is kept");
    }
}
