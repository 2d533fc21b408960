//! Version 1: one line of text. §2.1

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::header::{Header, HeaderError, canonical};
use super::parse::Parsed;

/// `PROXY UNKNOWN` and its line end.
pub(super) const MIN_LEN: usize = 15;

/// With the line end.
pub(super) const MAX_LEN: usize = 107;

const GREETING: &[u8] = b"PROXY";

/// Fields of an announced connection: two addresses, two ports.
const FIELDS: usize = 4;

/// What stands between the greeting and the addresses.
#[derive(Clone, Copy)]
enum Protocol {
    Tcp4,
    Tcp6,
    Unknown,
}

impl Protocol {
    const ALL: [(Self, &'static [u8]); 3] =
        [(Self::Tcp4, b" TCP4 "), (Self::Tcp6, b" TCP6 "), (Self::Unknown, b" UNKNOWN")];

    /// The fewest bytes that each field can have.
    const fn min_lens(self) -> [usize; FIELDS] {
        match self {
            Self::Tcp4 => [7, 7, 1, 1],
            Self::Tcp6 | Self::Unknown => [2, 2, 1, 1],
        }
    }
}

/// As [`super::parse::parse`], for what begins with the version's first byte.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    // The line's CR can be here at the latest.
    let line = &bytes[..bytes.len().min(MAX_LEN - 1)];
    let text = line.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let (greeting, rest) = text.split_at(text.len().min(GREETING.len()));
    if !GREETING.starts_with(greeting) {
        return Err(HeaderError::Missing);
    }
    let has_line_end = match bytes.get(text.len()..) {
        _ if text.len() == MAX_LEN - 1 => false,
        Some([b'\r', b'\n', ..]) => true,
        Some([] | [b'\r']) => false,
        // A CR alone, an LF alone.
        _ => return Err(HeaderError::Malformed),
    };
    let protocol = Protocol::ALL.into_iter().find_map(|(protocol, name)| Some((protocol, rest.strip_prefix(name)?)));
    let Some((protocol, fields)) = protocol else {
        let can_become_one = Protocol::ALL.iter().any(|(_, name)| name.starts_with(rest));
        return match has_line_end {
            false if can_become_one => too_long_or_more(bytes, text, MIN_LEN.saturating_sub(bytes.len())),
            _ => Err(HeaderError::Malformed),
        };
    };
    if has_line_end {
        let header = header(protocol, fields).ok_or(HeaderError::Malformed)?;
        return Ok(Parsed::Whole { header, len: text.len() + 2 });
    }
    if let Protocol::Unknown = protocol {
        return match fields.first() {
            None | Some(b' ') => too_long_or_more(bytes, text, 0),
            Some(_) => Err(HeaderError::Malformed),
        };
    }
    let ended = fields.iter().filter(|byte| **byte == b' ').count();
    let lens = protocol.min_lens();
    let Some((least, later)) = lens.get(ended..).and_then(<[_]>::split_first) else {
        return Err(HeaderError::Malformed);
    };
    let begun = fields.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let of_later: usize = later.iter().map(|least| 1 + least).sum();
    too_long_or_more(bytes, text, least.saturating_sub(begun.len()) + of_later + 2)
}

/// The line has not ended: at least so many bytes of it are missing, and its end in any case.
fn too_long_or_more(bytes: &[u8], text: &[u8], missing: usize) -> Result<Parsed, HeaderError> {
    if text.len() == MAX_LEN - 1 {
        return Err(HeaderError::TooLong);
    }
    let has_cr = bytes.len() > text.len();
    Ok(Parsed::more(if has_cr { 1 } else { missing.max(2) }))
}

/// What a line without its end says.
fn header(protocol: Protocol, fields: &[u8]) -> Option<Header> {
    match protocol {
        // "The receiver must ignore anything presented before the CRLF."
        Protocol::Unknown => matches!(fields.first(), None | Some(b' ')).then_some(Header::Local),
        Protocol::Tcp4 => proxied::<Ipv4Addr>(fields),
        Protocol::Tcp6 => proxied::<Ipv6Addr>(fields),
    }
}

fn proxied<A: FromStr + Into<IpAddr>>(fields: &[u8]) -> Option<Header> {
    let mut fields = std::str::from_utf8(fields).ok()?.split(' ');
    let mut next = || fields.next();
    // The standard library is as strict as it is asked for here: no leading zeros in IPv4, no zone behind IPv6.
    let [source, destination] = [next()?.parse::<A>().ok()?, next()?.parse::<A>().ok()?];
    let [source_port, destination_port] = [port(next()?)?, port(next()?)?];
    if next().is_some() {
        return None;
    }
    Some(Header::Proxied {
        source: canonical(SocketAddr::new(source.into(), source_port)),
        destination: canonical(SocketAddr::new(destination.into(), destination_port)),
    })
}

/// Decimal digits without a sign, and without zeros before them.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::{at_every_split, before_a_request};
    use super::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn what_lines_say() {
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, header) in [
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", proxied("192.168.0.1:56324", "192.168.0.11:443")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
                proxied("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", proxied("0.0.0.0:0", "0.0.0.0:0")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2", proxied("[2001:db8::1]:1", "[::1]:2")),
            ("PROXY TCP6 2001:DB8::A 2001:0db8:0:0:0:0:0:1 1 2", proxied("[2001:db8::a]:1", "[2001:db8::1]:2")),
            ("PROXY TCP6 :: :: 0 0", proxied("[::]:0", "[::]:0")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2", proxied("192.0.2.1:1", "192.0.2.2:2")),
            (
                &format!("PROXY TCP6 {longest} {longest} 65535 65535"),
                proxied(&format!("[{longest}]:65535"), &format!("[{longest}]:65535")),
            ),
            ("PROXY UNKNOWN", Header::Local),
            ("PROXY UNKNOWN ", Header::Local),
            ("PROXY UNKNOWN what \0 ever\x7f", Header::Local),
            (&format!("PROXY UNKNOWN {longest} {longest} 65535 65535"), Header::Local),
        ] {
            assert_eq!(before_a_request(format!("{line}\r\n").as_bytes()), Ok(header), "{line}");
        }
    }

    #[test]
    fn what_no_line_may_be() {
        for line in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r \n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n",
            "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP4 \u{661}.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 \r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP6 [::1] ::2 1 2\r\n",
            "PROXY TCP6 ::1%1 ::2 1 2\r\n",
            "PROXY TCP6 1::2::3 ::2 1 2\r\n",
            "PROXY TCP6 1:2:3:4:5:6:7 ::2 1 2\r\n",
            "PROXY TCP6 00001::1 ::2 1 2\r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN\rx\n",
            "PROXY UNKNOWN a\rb\r\n",
            "PROXY UNKNOWN a\nb\r\n",
            "PROXY \r\n",
            "PROXY\r\n",
            "PRO\r\n",
        ] {
            assert_eq!(at_every_split(line.as_bytes()), Err(HeaderError::Malformed), "{line:?}");
        }
        let mut not_text = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec();
        not_text[12] = 0xFF;
        assert_eq!(at_every_split(&not_text), Err(HeaderError::Malformed));
    }

    #[test]
    fn a_line_that_does_not_end_in_107_bytes_is_too_long() {
        let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
        assert_eq!(before_a_request(line(107).as_bytes()), Ok(Header::Local));
        for len in [108, 109, 110, 5000] {
            let line = line(len);
            assert_eq!(at_every_split(line.as_bytes()), Err(HeaderError::TooLong), "{len}");
            assert!(parse(&line.as_bytes()[..105]).is_ok() && parse(&line.as_bytes()[..106]).is_err());
        }
        let endless = format!("PROXY TCP4 {}", "1".repeat(200));
        assert_eq!(at_every_split(endless.as_bytes()), Err(HeaderError::TooLong));
    }

    #[test]
    fn an_ordinary_line_is_read_in_few_pieces() {
        for (line, reads) in [
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", 7),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", 10),
            ("PROXY UNKNOWN\r\n", 1),
        ] {
            let (mut at, mut made) = (0, 0);
            while let Ok(Parsed::More(more)) = super::super::parse::parse(&line.as_bytes()[..at]) {
                at += more.get();
                made += 1;
            }
            assert!(at == line.len() && made <= reads, "{line:?}: {made} reads");
        }
    }
}
