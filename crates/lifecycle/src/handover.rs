//! From serving to drained by way of a successor: which step leads where, and what follows from it.
//!
//! ```text
//!                  asked                confirmed
//!   ┌─────────┐ ───────────► ┌──────────┐ ─────────────► ┌─────────────┐
//!   │ Serving │              │ Starting │                │ HandedOver  │  drains; the successor has the sockets
//!   └─────────┘ ◄─────────── └──────────┘                └─────────────┘
//!        │         failed          │
//!        │ drain                   │ drain: the successor is stopped
//!        ▼                         ▼
//!   ┌───────────────────────────────────┐
//!   │ Leaving                           │  drains; nobody takes over
//!   └───────────────────────────────────┘
//! ```

/// How a process stands to its successor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// It serves, and no successor is on its way.
    Serving,
    /// It serves, and a successor has been started that has not said yet that it serves, too.
    Starting,
    /// The successor serves; this process drains.
    HandedOver,
    /// This process drains, and nobody comes after it.
    Leaving,
}

/// What happens to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// A successor is asked for.
    Asked,
    /// The successor says that it serves.
    Confirmed,
    /// The successor could not be started, ended, or said nothing in time.
    Failed,
    /// A drain is asked for.
    DrainAsked,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Start a successor.
    Start,
    /// Say that one is on its way already.
    SayUnderWay,
    /// Say that it is too late for one: this process drains.
    SayTooLate,
    /// Leave the listening sockets to the successor, and drain.
    HandOver,
    /// Serve on, and say why.
    ServeOn,
    /// Drain.
    Drain,
    /// Stop the successor that is on its way, and drain.
    StopAndDrain,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::Serving, Self::Starting, Self::HandedOver, Self::Leaving];

    /// A name that stays stable for ever: for logs and pages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Starting => "starting-successor",
            Self::HandedOver => "handed-over",
            Self::Leaving => "leaving",
        }
    }

    /// Where `step` leads, and what is to be done.
    #[must_use]
    pub const fn step(self, step: Step) -> (Self, Act) {
        match (self, step) {
            (Self::Serving, Step::Asked) => (Self::Starting, Act::Start),
            (Self::Serving, Step::DrainAsked) => (Self::Leaving, Act::Drain),
            (Self::Starting, Step::Asked) => (Self::Starting, Act::SayUnderWay),
            (Self::Starting, Step::Confirmed) => (Self::HandedOver, Act::HandOver),
            (Self::Starting, Step::Failed) => (Self::Serving, Act::ServeOn),
            (Self::Starting, Step::DrainAsked) => (Self::Leaving, Act::StopAndDrain),
            (Self::HandedOver | Self::Leaving, Step::Asked) => (self, Act::SayTooLate),
            // A word that crossed a decision changes nothing.
            (Self::Serving | Self::HandedOver | Self::Leaving, Step::Confirmed | Step::Failed)
            | (Self::HandedOver | Self::Leaving, Step::DrainAsked) => (self, Act::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use Act::{Drain, HandOver, Nothing, SayTooLate, SayUnderWay, ServeOn, Start, StopAndDrain};
        use Stage::{HandedOver, Leaving, Serving, Starting};
        let steps = [Step::Asked, Step::Confirmed, Step::Failed, Step::DrainAsked];
        let table = [
            (Serving, [(Starting, Start), (Serving, Nothing), (Serving, Nothing), (Leaving, Drain)]),
            (Starting, [(Starting, SayUnderWay), (HandedOver, HandOver), (Serving, ServeOn), (Leaving, StopAndDrain)]),
            (
                HandedOver,
                [(HandedOver, SayTooLate), (HandedOver, Nothing), (HandedOver, Nothing), (HandedOver, Nothing)],
            ),
            (Leaving, [(Leaving, SayTooLate), (Leaving, Nothing), (Leaving, Nothing), (Leaving, Nothing)]),
        ];
        assert_eq!(table.map(|(stage, _)| stage), Stage::ALL);
        for (stage, row) in table {
            for (step, expected) in steps.into_iter().zip(row) {
                assert_eq!(stage.step(step), expected, "{} by {step:?}", stage.label());
            }
        }
    }

    #[test]
    fn whatever_happens_somebody_serves_until_somebody_asked_for_the_end() {
        // Every sequence of five steps: this process stops serving only by a confirmation or by a wish.
        let steps = [Step::Asked, Step::Confirmed, Step::Failed, Step::DrainAsked];
        for sequence in 0..4_usize.pow(5) {
            let mut stage = Stage::Serving;
            for position in 0..5 {
                let step = steps[sequence / 4_usize.pow(position) % 4];
                let (next, act) = stage.step(step);
                let stops = matches!(act, Act::HandOver | Act::Drain | Act::StopAndDrain);
                assert_eq!(
                    stops,
                    matches!(stage, Stage::Serving | Stage::Starting)
                        && matches!(next, Stage::HandedOver | Stage::Leaving)
                );
                assert!(!stops || matches!(step, Step::Confirmed | Step::DrainAsked), "{stage:?} by {step:?}");
                stage = next;
            }
        }
    }
}
