//! Addresses into text without the formatter: a proxy says one in each message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// An address as text. None is longer than 39 bytes.
pub(crate) struct AddressText {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl AddressText {
    /// Room for the longest, and for what is written beyond an octet's digits.
    pub(crate) const ROOM: usize = 64;

    /// Writes it as the standard library does: in IPv6 as RFC 5952 says, with an embedded address of IPv4 as such.
    pub(crate) fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; Self::ROOM], len: 0 };
        match address {
            IpAddr::V4(address) => text.push_v4(address),
            IpAddr::V6(address) => text.push_v6(address),
        }
        text
    }

    /// The bytes, and how many of them are the text.
    pub(crate) const fn into_parts(self) -> ([u8; Self::ROOM], usize) {
        (self.bytes, self.len)
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_v4(&mut self, address: Ipv4Addr) {
        for octet in address.octets() {
            let (digits, len) = OCTETS[usize::from(octet)];
            self.bytes[self.len..self.len + 4].copy_from_slice(&digits);
            self.len += usize::from(len);
        }
        // The last dot.
        self.len -= 1;
    }

    fn push_v6(&mut self, address: Ipv6Addr) {
        if let Some(embedded) = address.to_ipv4_mapped() {
            b"::ffff:".iter().for_each(|byte| self.push(*byte));
            return self.push_v4(embedded);
        }
        let segments = address.segments();
        let zeros = longest_zeros(segments);
        for (index, segment) in segments.into_iter().enumerate() {
            if zeros.contains(&index) {
                if index == zeros.start {
                    self.push(b':');
                    self.push(b':');
                }
                continue;
            }
            if index > 0 && index != zeros.end {
                self.push(b':');
            }
            let digits = (16 - segment.leading_zeros()).div_ceil(4).max(1);
            for digit in (0..digits).rev() {
                self.push(b"0123456789abcdef"[usize::from(segment >> (4 * digit) & 15)]);
            }
        }
    }
}

/// Where the longest run of zeros is, the first of several; nowhere if none has two (RFC 5952 §4.2).
fn longest_zeros(segments: [u16; 8]) -> Range<usize> {
    let (mut longest, mut run) = (0..0, 0..0);
    for (index, segment) in segments.into_iter().enumerate() {
        run = if segment == 0 { run.start..index + 1 } else { index + 1..index + 1 };
        if run.len() > longest.len() {
            longest = run.clone();
        }
    }
    if longest.len() < 2 { 0..0 } else { longest }
}

/// Each octet in decimal with a dot behind it, and the length of both.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut octet = 0u8;
    loop {
        let digits = if octet >= 100 {
            [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10, b'.']
        } else if octet >= 10 {
            [b'0' + octet / 10, b'0' + octet % 10, b'.', b'.']
        } else {
            [b'0' + octet, b'.', b'.', b'.']
        };
        let len = if octet >= 100 {
            4
        } else if octet >= 10 {
            3
        } else {
            2
        };
        table[octet as usize] = (digits, len);
        if octet == u8::MAX {
            break table;
        }
        octet += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: IpAddr) {
        let (bytes, len) = AddressText::of(address).into_parts();
        assert_eq!(&bytes[..len], address.to_string().as_bytes());
    }

    #[test]
    fn as_the_formatter_writes_them() {
        for octet in 0..=u8::MAX {
            check(Ipv4Addr::new(octet, 0, 10, octet).into());
            check(Ipv4Addr::new(255, octet, 1, 99).into());
        }
        for text in [
            "255.255.255.255",
            "::",
            "::1",
            "1::",
            "::ffff:255.255.255.255",
            "::ffff:0.0.0.0",
            "::1.2.3.4",
            "2001:db8::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            check(text.parse().unwrap());
        }
        // Every pattern of zeros, among segments of every number of digits.
        for pattern in 0..=u8::MAX {
            for first in [1, 0x12, 0x123, 0x1234, 0xffff] {
                let segment = |index: u16| if pattern >> index & 1 == 1 { u16::wrapping_add(first, index) } else { 0 };
                let segments = [0, 1, 2, 3, 4, 5, 6, 7].map(segment);
                check(Ipv6Addr::from(segments).into());
            }
        }
    }
}
