//! A PROXY header: what is said of a beginning holds whatever follows, and what we write is read as the same header.

use sheave_net::endpoint::ProxyHeader;
use sheave_net::proxy_protocol::header::{Header, MAX_HEADER_BYTES};
use sheave_net::proxy_protocol::parse::{Parsed, parse};
use sheave_net::proxy_protocol::write::write;

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    let all = parse(data);
    for at in 0..data.len().min(2 * MAX_HEADER_BYTES) {
        match (parse(&data[..at]), all) {
            (Ok(Parsed::More(more)), Ok(Parsed::Whole { len, .. })) => {
                assert!(at + more.get() <= len, "at {at}, {more} more bytes are too many of {len}");
            }
            // What never becomes a header may be promised whatever it likes.
            (Ok(Parsed::More(_)), Ok(Parsed::More(_)) | Err(_)) => {}
            (begun, all) => assert_eq!(begun, all, "at {at} (left) and with what follows (right)"),
        }
    }
    if let Ok(Parsed::Whole { header, len }) = all {
        assert!(len <= data.len() && len <= MAX_HEADER_BYTES);
        is_read_as_it_was_written(header);
    }
    if let Ok(Parsed::More(more)) = all {
        assert!(data.len() + more.get() <= MAX_HEADER_BYTES, "what is kept has a bound");
    }
}

fn is_read_as_it_was_written(header: Header) {
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let bytes = write(version, &header);
        assert_eq!(parse(&bytes), Ok(Parsed::Whole { header, len: bytes.len() }), "{}", bytes.escape_ascii());
    }
}
