//! The same bytes whole and one by one.

use std::fmt::Debug;

use sheave_proto::error::ProtocolError;

/// What a reader made of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome<T> {
    /// A whole, and how many bytes it took.
    Whole(T, usize),
    /// It took all and asks for more.
    More,
    Refused(ProtocolError),
}

/// Feeds `data` to a fresh reader whole, to another byte by byte, and returns what both made of it.
///
/// # Panics
/// They differ: whoever reads from the network in other pieces would read another message.
pub(crate) fn whole_and_byte_by_byte<R, T: Debug + PartialEq>(
    data: &[u8],
    fresh: impl Fn() -> R,
    receive: impl Fn(&mut R, &mut &[u8]) -> Result<Option<T>, ProtocolError>,
) -> Outcome<T> {
    let whole = feed(data, data.len(), fresh(), &receive);
    let byte_by_byte = feed(data, 1, fresh(), &receive);
    assert_eq!(whole, byte_by_byte, "whole (left) and byte by byte (right)");
    whole
}

fn feed<R, T>(
    data: &[u8],
    piece_len: usize,
    mut reader: R,
    receive: impl Fn(&mut R, &mut &[u8]) -> Result<Option<T>, ProtocolError>,
) -> Outcome<T> {
    let mut taken = 0;
    for piece in data.chunks(piece_len.max(1)) {
        let mut input = piece;
        match receive(&mut reader, &mut input) {
            Err(error) => return Outcome::Refused(error),
            Ok(Some(whole)) => return Outcome::Whole(whole, taken + piece.len() - input.len()),
            Ok(None) => assert!(input.is_empty(), "a reader that asks for more has taken all"),
        }
        taken += piece.len();
    }
    Outcome::More
}
