//! Eight bytes at a time, as one number.
//!
//! What is looked for is marked in the highest bit of each byte. **The first mark is always right**; behind it others may be
//! wrong, as a subtraction borrows from the bytes behind. So a word without a mark holds nothing of what is looked for.

/// The eight bytes that begin at `at`, the first of them lowest; zeros stand for those that are not there.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last_word(bytes, at),
    }
}

/// As [`word`], where fewer than eight bytes are left.
#[cold]
#[inline(never)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let left = bytes.len().saturating_sub(at);
    if left == 0 {
        return 0;
    }
    if let Some(eight) = bytes.last_chunk() {
        return u64::from_le_bytes(*eight) >> (8 * (8 - left));
    }
    // Both halves may hold some of the bytes, in the same place.
    let halves = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(low), Some(high)) => {
            u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << (8 * (bytes.len() - 4))
        }
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    halves >> (8 * at)
}

/// The byte, eight times.
pub(crate) const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the bytes that are less than `bound`, which is 0x80 at most.
pub(crate) const fn less(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(every(bound)) & !word & every(0x80)
}

/// Marks the bytes that are `byte`.
pub(crate) const fn same(word: u64, byte: u8) -> u64 {
    less(word ^ every(byte), 1)
}

/// Where the first mark stands, from 0 to 7; 8 where there is none.
pub(crate) const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Where the first byte stands that `marks` marks; `None` where there is none.
#[inline]
pub(crate) fn find(bytes: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for eight in words {
        let found = marks(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(at + first(found));
        }
        at += 8;
    }
    if rest.is_empty() {
        return None;
    }
    // A mark behind the last byte is none of its.
    let among_last = first(marks(last_word(bytes, at)));
    (among_last < rest.len()).then_some(at + among_last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_there_and_zeros() {
        let bytes: Vec<u8> = (1..=20).collect();
        for len in 0..=bytes.len() {
            for at in 0..=len {
                let mut expected = [0; 8];
                let there = &bytes[at..len.min(at + 8)];
                expected[..there.len()].copy_from_slice(there);
                assert_eq!(word(&bytes[..len], at), u64::from_le_bytes(expected), "at {at} of {len}");
            }
        }
        assert_eq!(word(b"abc", 7), 0);
    }

    #[test]
    fn the_first_mark_is_right() {
        for one in 0..=u8::MAX {
            for other in 0..=u8::MAX {
                for place in 0..8 {
                    let mut bytes = [other; 8];
                    bytes[place] = one;
                    let word = u64::from_le_bytes(bytes);
                    let first_of = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|&byte| is(byte)).unwrap_or(8);
                    assert_eq!(first(less(word, b' ')), first_of(&|byte| byte < b' '), "{bytes:?}");
                    assert_eq!(first(same(word, b':')), first_of(&|byte| byte == b':'), "{bytes:?}");
                }
            }
        }
    }
}
