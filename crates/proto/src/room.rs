//! Room for the fields of a head, which the thread keeps for the next one: it is in the processor's cache still.

use std::cell::RefCell;

use crate::fields::Line;

/// Field lines for which there is room at once: few heads have more, with what a proxy adds. Their bytes are a power of two:
/// a size that fills a class of mimalloc exactly, and is none, costs 110 instructions more.
const USUAL_LINES: usize = 32;

/// Bytes for which there is room at once.
const USUAL_BYTES: usize = 1024;

/// What has grown beyond this is not kept.
const KEPT_BYTES: usize = 4 * 1024;

/// How many the thread keeps: what so many exchanges have in hand at once costs no allocation.
const KEPT_ROOMS: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

/// Room for bytes and the lines in them; both are empty.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: Vec<Line>,
}

impl Room {
    /// Room for a usual head: what was given back last, or new.
    pub(crate) fn lent() -> Self {
        let free = FREE.try_with(|free| free.try_borrow_mut().ok()?.pop());
        free.ok()
            .flatten()
            .unwrap_or_else(|| Self { bytes: Vec::with_capacity(USUAL_BYTES), lines: Vec::with_capacity(USUAL_LINES) })
    }

    /// Has the thread keep it, if it is as it was lent or little larger.
    pub(crate) fn give_back(mut self) {
        if self.lines.capacity() != USUAL_LINES || !(USUAL_BYTES..=KEPT_BYTES).contains(&self.bytes.capacity()) {
            return;
        }
        self.bytes.clear();
        self.lines.clear();
        // Where the thread is ending, it is freed like anything else.
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < KEPT_ROOMS
            {
                free.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        FREE.with_borrow(Vec::len)
    }

    #[test]
    fn what_was_given_back_is_lent_again_and_empty() {
        let mut room = Room::lent();
        room.bytes.extend_from_slice(b"A: b\r\n");
        let place = room.bytes.as_ptr();
        room.give_back();
        assert_eq!(kept(), 1);
        let again = Room::lent();
        assert_eq!((again.bytes.as_ptr(), again.bytes.len(), again.lines.len(), kept()), (place, 0, 0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let rooms: Vec<Room> = (0..=KEPT_ROOMS).map(|_| Room::lent()).collect();
        rooms.into_iter().for_each(Room::give_back);
        assert_eq!(kept(), KEPT_ROOMS);
        FREE.take();
        let sized = |bytes, lines| Room { bytes: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines) };
        for (bytes, lines, is_kept) in [
            (USUAL_BYTES, USUAL_LINES, true),
            (KEPT_BYTES, USUAL_LINES, true),
            (USUAL_BYTES - 1, USUAL_LINES, false),
            (KEPT_BYTES + 1, USUAL_LINES, false),
            (USUAL_BYTES, USUAL_LINES * 2, false),
            (0, 0, false),
        ] {
            sized(bytes, lines).give_back();
            assert_eq!(FREE.take().len(), usize::from(is_kept), "{bytes} {lines}");
        }
    }
}
