//! What of a request's body is kept, so that it can be sent again.

use bytes::BytesMut;

/// The part of a body that was passed on, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    kept: BytesMut,
    /// Bytes that were passed on and not kept.
    lost: bool,
    is_end: bool,
}

impl Replay {
    /// Notes what was passed on; keeps it if `keeps` and there is room under `max` bytes.
    pub(crate) fn note(&mut self, data: &[&[u8]], is_end: bool, has_trailers: bool, keeps: bool, max: usize) {
        let len: usize = data.iter().map(|piece| piece.len()).sum();
        self.is_end |= is_end;
        // Trailers are not kept: a body that had some would lose them.
        if has_trailers || (len > 0 && (!keeps || self.kept.len() + len > max)) {
            self.lost = true;
            self.kept = BytesMut::new();
        }
        if !self.lost {
            data.iter().for_each(|piece| self.kept.extend_from_slice(piece));
        }
    }

    /// Whether all that was passed on is here.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost
    }

    /// What was passed on, and whether that was the whole body.
    pub(crate) fn kept(&self) -> (&[u8], bool) {
        (&self.kept, self.is_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_all_or_nothing() {
        let mut replay = Replay::default();
        assert!(replay.is_whole(), "nothing was passed on, so nothing is lost");
        replay.note(&[b"ab", b"c"], false, false, true, 4);
        assert_eq!((replay.kept(), replay.is_whole()), ((&b"abc"[..], false), true));
        replay.note(&[], true, false, false, 4);
        assert_eq!((replay.kept(), replay.is_whole()), ((&b"abc"[..], true), true));
        replay.note(&[b"de"], false, false, true, 4);
        assert!(!replay.is_whole(), "beyond the bound");
        replay.note(&[b"f"], false, false, true, 4);
        assert_eq!(replay.kept().0, b"", "what is of no use is not kept");

        let mut replay = Replay::default();
        replay.note(&[b"a"], false, false, false, 4);
        assert!(!replay.is_whole(), "not kept");
        let mut replay = Replay::default();
        replay.note(&[], true, true, true, 4);
        assert!(!replay.is_whole(), "trailers are lost");
    }
}
