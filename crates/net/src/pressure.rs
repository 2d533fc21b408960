//! What a worker's connections do for others who wait for a place: busy ones end politely, the idle longest give way.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sheave_lifecycle::time::Time;

/// Who has been idle for less than this is not shed: a request may be on its way, and its answer will end the connection
/// politely.
const SPARED: Duration = Duration::from_millis(200);

/// How many connections give way at once at most.
const SHED_AT_ONCE: u32 = 32;

/// No connection has said since when it is idle.
const NOBODY: u64 = u64::MAX;

/// Whether somebody waits for a place, and who is to give way.
///
/// While it is on, every response says `Connection: close`, so that places go round and nobody is lost. Connections that
/// are idle anyway are shed, the idle longest first. That takes two rounds, so that nothing has to be kept up to date for
/// it while there is room: in the first, all idle connections say since when they are; in the second, those give way that
/// have been idle for the longest time, or nearly. Who begins a round wakes the connections.
#[derive(Debug)]
pub struct Pressure {
    stage: AtomicU8,
    /// Since when the idle longest is idle, or up to when one must have fallen idle to give way; in microseconds.
    idle_since: AtomicU64,
    /// How many may still give way.
    wanted: AtomicU32,
}

const OFF: u8 = 0;
const ON: u8 = 1;
const ASKING: u8 = 2;
const SHEDDING: u8 = 3;

impl Default for Pressure {
    fn default() -> Self {
        Self { stage: AtomicU8::new(OFF), idle_since: AtomicU64::new(NOBODY), wanted: AtomicU32::new(0) }
    }
}

impl Pressure {
    /// Whether somebody waits. One relaxed load: cheap enough for every response.
    pub fn is_on(&self) -> bool {
        self.stage.load(Ordering::Relaxed) != OFF
    }

    /// Somebody waits; or nobody does any more.
    pub fn turn(&self, is_on: bool) {
        if self.is_on() == is_on {
            return;
        }
        let _ = match is_on {
            true => self.stage.compare_exchange(OFF, ON, Ordering::AcqRel, Ordering::Relaxed),
            false => Ok(self.stage.swap(OFF, Ordering::AcqRel)),
        };
    }

    /// Begins the first round: whoever is idle is to say since when. Wake the connections then.
    pub fn ask(&self) {
        self.idle_since.store(NOBODY, Ordering::Relaxed);
        self.stage.store(ASKING, Ordering::Release);
    }

    /// Begins the second round, in which those give way that have been idle about as long as the idle longest: at most 32,
    /// and nobody who has been idle for less than 200 ms. False when there is nobody; else wake the connections then.
    pub fn shed(&self, now: Time) -> bool {
        let longest = self.idle_since.load(Ordering::Acquire);
        let idle_for = now.as_micros().saturating_sub(longest);
        if longest == NOBODY || Duration::from_micros(idle_for) < SPARED {
            self.stage.store(ON, Ordering::Release);
            return false;
        }
        self.idle_since.store(longest + idle_for / 8, Ordering::Relaxed);
        self.wanted.store(SHED_AT_ONCE, Ordering::Relaxed);
        self.stage.store(SHEDDING, Ordering::Release);
        true
    }

    /// A connection that is idle says since when, and learns whether it is to give way now. One relaxed load while there is
    /// no round.
    pub fn is_to_give_way(&self, idle_since: Time) -> bool {
        match self.stage.load(Ordering::Relaxed) {
            OFF | ON => false,
            ASKING => {
                self.idle_since.fetch_min(idle_since.as_micros(), Ordering::AcqRel);
                false
            }
            _ => {
                let is_meant = idle_since.as_micros() <= self.idle_since.load(Ordering::Acquire);
                let take = |wanted: u32| wanted.checked_sub(1);
                is_meant && self.wanted.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// Who gives way at `now` out of connections that are idle since these moments.
    fn shed(now: u64, idle_since: &[u64]) -> Vec<u64> {
        let pressure = Pressure::default();
        pressure.turn(true);
        pressure.ask();
        assert!(!idle_since.iter().any(|since| pressure.is_to_give_way(ms(*since))), "nobody gives way in this round");
        if !pressure.shed(ms(now)) {
            assert!(pressure.is_on());
            return Vec::new();
        }
        idle_since.iter().copied().filter(|since| pressure.is_to_give_way(ms(*since))).collect()
    }

    #[test]
    fn the_idle_longest_gives_way() {
        for (now, idle_since, gone) in [
            (10_000, vec![5000, 1000, 9000], vec![1000]),
            (10_000, vec![2000, 2100, 3000, 3001], vec![2000, 2100, 3000]),
            // Whoever may be about to ask is spared.
            (10_000, vec![9801, 9999], vec![]),
            (10_000, vec![9800, 9999], vec![9800]),
            (10_000, vec![], vec![]),
        ] {
            assert_eq!(shed(now, &idle_since), gone, "{idle_since:?} at {now}");
        }
        assert_eq!(shed(10_000, &[0; 100]).len(), 32, "a whole fleet is not");
    }

    #[test]
    fn nobody_gives_way_unasked_or_when_it_is_over() {
        let pressure = Pressure::default();
        assert!(!pressure.is_on() && !pressure.is_to_give_way(ms(0)));
        pressure.turn(true);
        assert!(pressure.is_on() && !pressure.is_to_give_way(ms(0)));
        pressure.ask();
        pressure.is_to_give_way(ms(0));
        assert!(pressure.shed(ms(1000)));
        pressure.turn(true);
        assert!(pressure.is_to_give_way(ms(0)), "more of them who wait do not end the round");
        pressure.turn(false);
        assert!(!pressure.is_on() && !pressure.is_to_give_way(ms(0)));
    }
}
