//! What can go wrong on a wire, where, and how it is written down.

use std::fmt;
use std::str::FromStr;

use sheave_lifecycle::phase::Side;

/// Which connection: the n-th of its side, from 1. Written `client1`, `origin2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WireName {
    /// Accepted by what is tested, or opened by it.
    pub is_upstream: bool,
    /// Which of its side, from 1, in the order in which they were established.
    pub number: u32,
}

impl WireName {
    /// The n-th connection that a client opened.
    pub const fn client(number: u32) -> Self {
        Self { is_upstream: false, number }
    }

    /// The n-th connection to an origin.
    pub const fn origin(number: u32) -> Self {
        Self { is_upstream: true, number }
    }

    /// Its side, seen from what is tested.
    pub const fn side(self) -> Side {
        if self.is_upstream { Side::Upstream } else { Side::Downstream }
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_upstream { "origin" } else { "client" }, self.number)
    }
}

/// A direction, seen from what is tested.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

impl Way {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];

    /// The direction back.
    pub const fn back(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// When a fault happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// As soon as so many bytes of that direction have been delivered; with zero, once the connection stands.
    Bytes {
        /// The connection.
        wire: WireName,
        /// The direction.
        way: Way,
        /// How many bytes.
        offset: usize,
    },
    /// After so many operations on sockets of what is tested, from 1: a point between any two polls.
    Operation(u64),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { wire, way, offset } => write!(f, "{wire}.{way}@{offset}"),
            Self::Operation(number) => write!(f, "op@{number}"),
        }
    }
}

/// What happens. What a peer does, it does as an application that was written that way would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The direction pauses for so many milliseconds. A whole message comes in two pieces.
    Split(u64),
    /// The direction pauses for so many milliseconds after each byte from here on.
    Drip(u64),
    /// The direction stands still for ever, and its sender's buffer has no more room.
    Stall,
    /// The peer shuts its writing side, so many milliseconds later.
    HalfClose(u64),
    /// The peer reads what is there and closes: FIN, and RST for whatever still comes. So many milliseconds later.
    Fin(u64),
    /// The peer closes with RST, so many milliseconds later.
    Rst(u64),
    /// What is tested is drained. At a byte, the direction pauses for a millisecond.
    Drain,
    /// The tasks of what is tested are dropped. At a byte, as for [`Self::Drain`].
    Cancel,
}

impl Action {
    fn parts(self) -> (&'static str, u64) {
        match self {
            Self::Split(after) => ("split", after),
            Self::Drip(every) => ("drip", every),
            Self::Stall => ("stall", 0),
            Self::HalfClose(after) => ("half", after),
            Self::Fin(after) => ("fin", after),
            Self::Rst(after) => ("rst", after),
            Self::Drain => ("drain", 0),
            Self::Cancel => ("cancel", 0),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, millis) = self.parts();
        f.write_str(name)?;
        if millis > 0 { write!(f, "+{millis}") } else { Ok(()) }
    }
}

/// Something that goes wrong, once. Written `client1.in@17=rst+1` or `op@33=cancel`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.trigger, self.action)
    }
}

/// A text that is no fault, or no plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be read as part of a simulated run: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl FromStr for Fault {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        read(text).ok_or_else(|| Unreadable(text.to_owned()))
    }
}

fn read(text: &str) -> Option<Fault> {
    let (trigger, action) = text.split_once('=')?;
    let (place, offset) = trigger.split_once('@')?;
    let trigger = match place.split_once('.') {
        None if place == "op" => Trigger::Operation(offset.parse().ok()?),
        None => return None,
        Some((wire, way)) => {
            let way = Way::BOTH.into_iter().find(|it| it.to_string() == way)?;
            let (is_upstream, number) = match (wire.strip_prefix("client"), wire.strip_prefix("origin")) {
                (Some(number), _) => (false, number),
                (_, Some(number)) => (true, number),
                _ => return None,
            };
            let wire = WireName { is_upstream, number: number.parse().ok()? };
            Trigger::Bytes { wire, way, offset: offset.parse().ok()? }
        }
    };
    let (name, millis) = match action.split_once('+') {
        Some((name, millis)) => (name, millis.parse().ok()?),
        None => (action, 0),
    };
    let action = match name {
        "split" => Action::Split(millis),
        "drip" => Action::Drip(millis),
        "stall" => Action::Stall,
        "half" => Action::HalfClose(millis),
        "fin" => Action::Fin(millis),
        "rst" => Action::Rst(millis),
        "drain" => Action::Drain,
        "cancel" => Action::Cancel,
        _ => return None,
    };
    Some(Fault { trigger, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "client1.in@0=rst",
            "client12.out@70000=rst+1",
            "origin2.in@17=split+1",
            "origin1.out@3=drip+120",
            "client1.in@9=half",
            "client1.in@9=fin+1",
            "client1.in@9=stall",
            "origin1.in@1=drain",
            "op@33=cancel",
        ] {
            assert_eq!(text.parse::<Fault>().map(|fault| fault.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "client1", "client1.in@x=rst", "client.in@1=rst", "client1.up@1=rst", "op@1=explode", "ip@1=rst"]
        {
            assert_eq!(text.parse::<Fault>(), Err(Unreadable(text.to_owned())));
        }
    }
}
