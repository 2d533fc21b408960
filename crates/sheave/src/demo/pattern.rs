//! Bytes without end that anybody can check: byte `i` of a body is `32 + i % 95`, all of printable ASCII in a circle.

/// The circle's length.
const PERIOD: usize = 95;

/// A good deal of rounds, so that large bodies go out in large writes.
const BLOCK_BYTES: usize = PERIOD * 690;

static BLOCK: [u8; BLOCK_BYTES + PERIOD] = {
    let mut block = [0; BLOCK_BYTES + PERIOD];
    let mut at = 0;
    while at < block.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 95")]
        let place = (at % PERIOD) as u8;
        block[at] = b' ' + place;
        at += 1;
    }
    block
};

/// The bytes of a body from `offset` on: as many as are at hand, no more than `len`.
pub(crate) fn bytes(offset: u64, len: u64) -> &'static [u8] {
    // Below 95, and so in range; and the block is longer than a whole one by that much.
    let from = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
    let len = usize::try_from(len).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
    &BLOCK[from..from + len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_same_body() {
        let expected: Vec<u8> = (0..200_000_u32).map(|i| 32 + u8::try_from(i % 95).expect("small")).collect();
        for step in [1, 7, 94, 95, 96, 4096, 65_535, u64::MAX] {
            let mut body = Vec::new();
            while body.len() < 200_000 {
                let left = 200_000 - body.len() as u64;
                body.extend_from_slice(bytes(body.len() as u64, left.min(step)));
            }
            assert!(body == expected, "in steps of {step}");
        }
        assert_eq!(bytes(u64::MAX, 0), b"");
    }
}
