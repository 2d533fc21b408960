//! Which timer runs, and when it will have run out.

use crate::time::Time;

/// What a deadline waits for. The label is stable for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// From accept to a connection that can carry HTTP: a PROXY header, and the TLS handshake.
    Handshake,
    /// From then to the first byte of the first request.
    FirstByte,
    /// From the first byte of a head to its last.
    HeadRead,
    /// Between two reads of a message body.
    BodyRead,
    /// A message body's floor of bytes a second.
    BodyRate,
    /// Between two writes, while bytes are owed.
    Write,
    /// Between two exchanges.
    Idle,
    /// From a PING to its answer. RFC 9113 §6.7
    Ping,
    /// From the call to an established connection.
    Connect,
    /// From the request's last byte to the response's head.
    Response,
    /// One exchange as a whole.
    Exchange,
    /// Between two bytes of a tunnel, either way.
    TunnelIdle,
    /// A tunnel as a whole.
    TunnelAge,
    /// From the shutdown of our side to the peer's.
    Linger,
    /// The grace that a drain gives.
    Drain,
}

impl Timer {
    /// All timers.
    pub const ALL: [Self; 15] = [
        Self::Handshake,
        Self::FirstByte,
        Self::HeadRead,
        Self::BodyRead,
        Self::BodyRate,
        Self::Write,
        Self::Idle,
        Self::Ping,
        Self::Connect,
        Self::Response,
        Self::Exchange,
        Self::TunnelIdle,
        Self::TunnelAge,
        Self::Linger,
        Self::Drain,
    ];

    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::FirstByte => "first-byte",
            Self::HeadRead => "head",
            Self::BodyRead => "body",
            Self::BodyRate => "body-rate",
            Self::Write => "write",
            Self::Idle => "idle",
            Self::Ping => "ping",
            Self::Connect => "connect",
            Self::Response => "response",
            Self::Exchange => "exchange",
            Self::TunnelIdle => "tunnel-idle",
            Self::TunnelAge => "tunnel-age",
            Self::Linger => "linger",
            Self::Drain => "drain",
        }
    }
}

/// A timer and the moment in which it runs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// The moment from which on it has passed.
    pub at: Time,
    /// What it waits for.
    pub timer: Timer,
}

impl Deadline {
    /// Whether it has passed.
    pub fn has_passed(self, now: Time) -> bool {
        self.at <= now
    }

    /// The earlier of two that may be absent.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.at < one.at { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_one_wins_and_the_first_at_a_tie() {
        let at = |micros, timer| Some(Deadline { at: Time::from_micros(micros), timer });
        assert_eq!(Deadline::earlier(at(1, Timer::Idle), at(2, Timer::Write)), at(1, Timer::Idle));
        assert_eq!(Deadline::earlier(at(2, Timer::Idle), at(1, Timer::Write)), at(1, Timer::Write));
        assert_eq!(Deadline::earlier(at(1, Timer::Idle), at(1, Timer::Write)), at(1, Timer::Idle));
        assert_eq!(Deadline::earlier(None, at(1, Timer::Write)), at(1, Timer::Write));
        assert_eq!(Deadline::earlier(None, None), None);
        assert!(at(1, Timer::Idle).is_some_and(|deadline| deadline.has_passed(Time::from_micros(1))));
    }
}
