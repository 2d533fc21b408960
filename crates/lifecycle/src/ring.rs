//! The last events of a connection, kept in a few bytes and read only when it ends badly.

use std::fmt;

use crate::phase::Phase;
use crate::time::Time;

/// How many events are kept.
const KEPT: u8 = 8;

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
    /// It entered a phase.
    Entered(Phase),
    /// Our side was shut.
    Shut,
}

/// The last eight events and their moments. Old ones make room for new ones; equal ones in a row are added up.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    events: [(u32, Happening); KEPT as usize],
    len: u8,
    next: u8,
    since: Time,
}

impl Ring {
    /// The ring of a connection that came to be at `now`.
    pub const fn new(now: Time) -> Self {
        Self { events: [(0, Happening::Opened); KEPT as usize], len: 1, next: 1, since: now }
    }

    /// Notes what happened at `now`.
    pub fn note(&mut self, happening: Happening, now: Time) {
        let at = u32::try_from(now.since(self.since).as_micros() / 100).unwrap_or(u32::MAX);
        let last = usize::from((self.next + KEPT - 1) % KEPT);
        match (&mut self.events[last].1, happening) {
            (Happening::Read(sum), Happening::Read(more)) | (Happening::Written(sum), Happening::Written(more)) => {
                *sum = sum.saturating_add(more);
                self.events[last].0 = at;
            }
            (old, new) if *old == new => self.events[last].0 = at,
            _ => {
                self.events[usize::from(self.next)] = (at, happening);
                self.next = (self.next + 1) % KEPT;
                self.len = (self.len + 1).min(KEPT);
            }
        }
    }

    /// The events in their order, with tenths of a millisecond since the connection came to be.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Happening)> + '_ {
        let first = (self.next + KEPT - self.len) % KEPT;
        (0..self.len).map(move |place| self.events[usize::from((first + place) % KEPT)])
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
                Happening::Entered(phase) => f.write_str(phase.label()),
                Happening::Shut => f.write_str("shut"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Time {
        Time::from_micros(1000 + micros)
    }

    #[test]
    fn keeps_the_last_events_in_order() {
        let mut ring = Ring::new(at(0));
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
        assert_eq!(ring.iter().count(), usize::from(KEPT));
        assert_eq!(ring.iter().last(), Some((60_000, Happening::Written(19))));
        assert_eq!(ring.iter().next(), Some((60_000, Happening::Read(16))));
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Ring>() <= 120, "{}", size_of::<Ring>());
    }
}
