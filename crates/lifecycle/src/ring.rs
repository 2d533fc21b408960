//! The last events of a connection, kept in a few bytes and read only when it ends badly.

use std::fmt;
use std::time::Duration;

/// How many events are kept.
const KEPT: usize = 6;

/// What happened on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// It came to be.
    Opened,
    /// So many bytes were read.
    Read(u32),
    /// The peer's FIN was read.
    End,
    /// So many bytes were written.
    Written(u32),
    /// A write found no room.
    Blocked,
    /// A read or a write failed.
    Failed,
    /// Our side was shut.
    Shut,
}

/// The last six events and their moments. Old ones make room for new ones; equal ones in a row are added up.
///
/// Every connection has one, so it is written small: amounts are told up to 256 MiB, and moments up to five days.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// The last one first.
    events: [(u32, Packed); KEPT],
    len: u8,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// The ring of a connection that came to be just now.
    pub const fn new() -> Self {
        Self { events: [(0, Packed::of(Happening::Opened)); KEPT], len: 1 }
    }

    /// Notes what happened when the connection was so old.
    pub fn note(&mut self, happening: Happening, age: Duration) {
        // In 64 bits: this is done for each read and write.
        let tenths = age.as_secs().saturating_mul(10_000).saturating_add(u64::from(age.subsec_nanos() / 100_000));
        let at = u32::try_from(tenths).unwrap_or(u32::MAX);
        let (before, now) = (self.events[0].1, Packed::of(happening));
        if before.kind() == now.kind() {
            self.events[0] = (at, before.and(now));
        } else {
            // Some forty bytes, which takes less than to reckon in a circle.
            self.events.copy_within(..KEPT - 1, 1);
            self.events[0] = (at, now);
            self.len += u8::from(usize::from(self.len) < KEPT);
        }
    }

    /// The events in their order, with tenths of a millisecond since the connection came to be.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Happening)> + '_ {
        self.events[..usize::from(self.len)].iter().rev().map(|&(at, packed)| (at, packed.happening()))
    }
}

/// `+0.0ms opened, +0.2ms read 81, +0.3ms wrote 255, +5000.1ms read end`
impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (at, happening)) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            write!(f, "+{}.{}ms ", at / 10, at % 10)?;
            match happening {
                Happening::Opened => f.write_str("opened"),
                Happening::Read(len) => write!(f, "read {len}"),
                Happening::End => f.write_str("read end"),
                Happening::Written(len) => write!(f, "wrote {len}"),
                Happening::Blocked => f.write_str("write blocked"),
                Happening::Failed => f.write_str("failed"),
                Happening::Shut => f.write_str("shut"),
            }?;
        }
        Ok(())
    }
}

/// What happened, in four bytes: the upper four bits say what, the others how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed(u32);

impl Packed {
    const AMOUNT_BITS: u32 = 28;
    const MAX_AMOUNT: u32 = (1 << Self::AMOUNT_BITS) - 1;

    const fn of(happening: Happening) -> Self {
        let (kind, amount) = match happening {
            Happening::Opened => (0, 0),
            Happening::Read(len) => (1, len),
            Happening::End => (2, 0),
            Happening::Written(len) => (3, len),
            Happening::Blocked => (4, 0),
            Happening::Failed => (5, 0),
            Happening::Shut => (6, 0),
        };
        let amount = if amount > Self::MAX_AMOUNT { Self::MAX_AMOUNT } else { amount };
        Self(kind << Self::AMOUNT_BITS | amount)
    }

    const fn kind(self) -> u32 {
        self.0 >> Self::AMOUNT_BITS
    }

    const fn amount(self) -> u32 {
        self.0 & Self::MAX_AMOUNT
    }

    /// As much more of the same.
    const fn and(self, more: Self) -> Self {
        let sum = self.amount() + more.amount();
        let amount = if sum > Self::MAX_AMOUNT { Self::MAX_AMOUNT } else { sum };
        Self(self.kind() << Self::AMOUNT_BITS | amount)
    }

    const fn happening(self) -> Happening {
        match self.kind() {
            1 => Happening::Read(self.amount()),
            2 => Happening::End,
            3 => Happening::Written(self.amount()),
            4 => Happening::Blocked,
            5 => Happening::Failed,
            6 => Happening::Shut,
            _ => Happening::Opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn keeps_the_last_events_in_order() {
        let mut ring = Ring::new();
        assert_eq!(ring.to_string(), "+0.0ms opened");
        ring.note(Happening::Read(40), at(200));
        ring.note(Happening::Read(41), at(250));
        ring.note(Happening::Written(255), at(300));
        ring.note(Happening::End, at(5_000_100));
        assert_eq!(ring.to_string(), "+0.0ms opened, +0.2ms read 81, +0.3ms wrote 255, +5000.1ms read end");
        for round in 0..20 {
            ring.note(Happening::Read(round), at(6_000_000));
            ring.note(Happening::Written(round), at(6_000_000));
        }
        assert_eq!(ring.iter().count(), KEPT);
        assert_eq!(ring.iter().last(), Some((60_000, Happening::Written(19))));
        assert_eq!(ring.iter().next(), Some((60_000, Happening::Read(17))));
    }

    #[test]
    fn every_event_comes_out_as_it_went_in() {
        const MOST: u32 = (1 << 28) - 1;
        let mut ring = Ring::new();
        let events = [
            Happening::Read(0),
            Happening::Blocked,
            Happening::Written(MOST),
            Happening::Failed,
            Happening::Read(7),
            Happening::End,
            Happening::Shut,
            Happening::Opened,
        ];
        for events in [&events[..KEPT], &events[events.len() - KEPT..]] {
            events.iter().for_each(|&event| ring.note(event, at(0)));
            assert!(ring.iter().map(|(_, event)| event).eq(events.iter().copied()));
        }
        ring.note(Happening::Read(u32::MAX), at(0));
        ring.note(Happening::Read(1), at(0));
        assert_eq!(ring.iter().last(), Some((0, Happening::Read(MOST))), "more than can be told");
    }

    #[test]
    fn is_small() {
        assert_eq!(size_of::<Ring>(), 52);
    }
}
