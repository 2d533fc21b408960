//! Sec-WebSocket-Accept: proof that who answers a key speaks WebSocket. RFC 6455 §4.2.2

/// Sixteen random bytes in base64.
pub(super) type Key = [u8; 24];

/// Twenty bytes of SHA-1 in base64.
pub(super) type Accept = [u8; 28];

/// What answers this key.
pub(super) fn accept_for(key: &[u8]) -> Accept {
    let mut text = Vec::with_capacity(key.len() + GUID.len());
    text.extend_from_slice(key);
    text.extend_from_slice(GUID);
    base64(&sha1(&text))
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 4648 §4, with padding, into as many bytes as that makes.
pub(super) fn base64<const OUT: usize>(bytes: &[u8]) -> [u8; OUT] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = [b'='; OUT];
    for (three, four) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        // So many bytes have one digit more.
        for (index, digit) in four.iter_mut().enumerate().take(three.len() + 1) {
            *digit = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63];
        }
    }
    out
}

/// RFC 3174. It proves nothing to an enemy any more, and is not asked to: it tells a WebSocket from what is none.
fn sha1(message: &[u8]) -> [u8; 20] {
    // A one, zeros up to eight bytes before the end of a block, and the length in bits.
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(message.len() as u64).wrapping_mul(8).to_be_bytes());

    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, _) = padded.as_chunks::<64>();
    for block in blocks {
        let mut words = [0; 80];
        let (quads, _) = block.as_chunks::<4>();
        for (word, quad) in words.iter_mut().zip(quads) {
            *word = u32::from_be_bytes(*quad);
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(add);
        }
    }
    let mut digest = [0; 20];
    for (four, word) in digest.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_of_the_rfc_and_around_every_block() {
        for (message, digest) in [
            (&b""[..], "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
            (
                b"0123456701234567012345670123456701234567012345670123456701234567",
                "e0c094e867ef46c350ef54a7f59dd60bed92ae83",
            ),
            (&[b'a'; 55], "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
            (&[b'a'; 56], "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
            (&[b'a'; 57], "f08f24908d682555111be7ff6f004e78283d989a"),
            (&[b'a'; 63], "03f09f5b158a7a8cdad920bddc29b81c18a551f5"),
            (&[b'a'; 64], "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
            (&[b'a'; 65], "11655326c708d70319be2610e8a57d9a5b959d3b"),
        ] {
            assert_eq!(hex(&sha1(message)), digest, "{} bytes", message.len());
        }
    }

    #[test]
    fn base64_of_the_rfc() {
        assert_eq!(&base64::<0>(b""), b"");
        assert_eq!(&base64::<4>(b"f"), b"Zg==");
        assert_eq!(&base64::<4>(b"fo"), b"Zm8=");
        assert_eq!(&base64::<4>(b"foo"), b"Zm9v");
        assert_eq!(&base64::<8>(b"foobar"), b"Zm9vYmFy");
        assert_eq!(&base64::<4>(&[0xfb, 0xff, 0xfe]), b"+//+");
    }

    #[test]
    fn the_handshake_of_the_rfc() {
        assert_eq!(&accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&base64::<24>(b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }
}
