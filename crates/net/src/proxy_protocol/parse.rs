//! Reads a PROXY header of either version from the bytes that are there, and says how many more it needs.

use std::num::NonZeroUsize;

use super::header::{Header, HeaderError};
use super::{v1, v2};

/// What the bytes that are there come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A whole header.
    Whole {
        /// What it says.
        header: Header,
        /// How many of the bytes it is made of; the others are none of its business.
        len: usize,
    },
    /// The beginning of one. If it becomes one, at least so many bytes more belong to it: whoever reads no more than these
    /// touches nothing behind it.
    More(NonZeroUsize),
}

impl Parsed {
    /// So many more bytes at least, and one in any case.
    pub(super) fn more(len: usize) -> Self {
        Self::More(NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN))
    }
}

/// Reads a header from the beginning of `bytes`.
///
/// What it says of a beginning holds whatever follows: an error stays that error, and a whole header stays as it is. Costs
/// no memory; time in proportion to a header's length, and for the beginning of version 2 next to none.
///
/// # Errors
/// No header begins so. [`HeaderError::CutOff`] is none of these: to know of an end is the reader's business.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    // §2.2: the first byte tells the versions apart.
    match bytes.first() {
        None => Ok(Parsed::more(v1::MIN_LEN.min(v2::FIXED_LEN))),
        Some(b'P') => v1::parse(bytes),
        Some(b'\r') => v2::parse(bytes),
        Some(_) => Err(HeaderError::Missing),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What reading comes to, byte for byte; checks at each beginning that what is said there holds for what follows.
    pub(crate) fn at_every_split(bytes: &[u8]) -> Result<Parsed, HeaderError> {
        let whole = parse(bytes);
        for at in 0..bytes.len() {
            match (parse(&bytes[..at]), whole) {
                (Ok(Parsed::More(more)), Ok(Parsed::Whole { len, .. })) => {
                    assert!(at + more.get() <= len, "at {at} of {len}, {more} more would be too many");
                }
                (Ok(Parsed::More(_)), Ok(Parsed::More(_)) | Err(_)) => {}
                (begun, whole) => assert_eq!(begun, whole, "at {at}"),
            }
        }
        whole
    }

    /// As [`at_every_split`], with a request behind it: as whole as without, and nothing of the request is taken.
    pub(crate) fn before_a_request(header: &[u8]) -> Result<Header, HeaderError> {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: o\r\n\r\n");
        match at_every_split(&bytes)? {
            Parsed::Whole { header: read, len } => {
                assert_eq!(len, header.len());
                assert_eq!(parse(header), Ok(Parsed::Whole { header: read, len }));
                Ok(read)
            }
            Parsed::More(more) => panic!("{more} more bytes are asked for"),
        }
    }

    #[test]
    fn whatever_is_something_else_is_refused_at_the_first_byte_that_shows_it() {
        for (bytes, shown_at) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"\x16\x03\x01\x02\x00", 1),
            (b"\0", 1),
            (b"proxy TCP4 ", 1),
            (b"POST / HTTP/1.1\r\n", 2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
            (b"PROX Y", 5),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", 5),
            (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        ] {
            assert_eq!(at_every_split(bytes), Err(HeaderError::Missing), "{bytes:?}");
            assert!(parse(&bytes[..shown_at]).is_err() && parse(&bytes[..shown_at - 1]).is_ok(), "{bytes:?}");
        }
        assert_eq!(parse(b""), Ok(Parsed::more(15)));
    }
}
