//! All faults of an origin together, and what becomes of each request under them.

use std::time::Duration;

use super::share::{Share, Turns};
use super::spec::{Ending, Fault};

/// What an origin does to its connections. Without any fault it is well-behaved, and keeps idle connections for ever.
#[derive(Default, Debug)]
pub(crate) struct Faults {
    /// The port is held and not listened to.
    pub(crate) is_refusing: bool,
    /// How idle connections end.
    pub(crate) idle: Option<Idle>,
    /// What `Keep-Alive: timeout=` says, in seconds.
    pub(crate) keep_alive: Option<u64>,
    never_answer: Option<Turns>,
    close_after_request: Option<(Turns, Ending)>,
    die_after: Option<(Turns, Cut)>,
    stall_after: Option<(Turns, Cut)>,
    drip: Option<(Turns, Duration)>,
    double_response: Option<Turns>,
    half_close: Option<Turns>,
}

/// How an idle connection ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Idle {
    after: Duration,
    jitter: f64,
    /// How.
    pub(crate) ending: Ending,
    /// Whether a 408 is said first.
    pub(crate) says_408: bool,
}

impl Idle {
    /// How long one connection is kept; `draw` lies between 0 and 1.
    pub(crate) fn after(&self, draw: f64) -> Duration {
        self.after.mul_f64(1.0 + self.jitter * (2.0 * draw - 1.0))
    }
}

/// Where a body is cut off, and what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// Bytes of the body that are sent.
    pub(crate) after: u64,
    /// How the connection ends; `None` leaves it open, and says nothing more.
    pub(crate) ending: Option<Ending>,
}

/// What becomes of a request that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Nothing, for ever.
    NeverAnswer,
    /// The connection is closed.
    Close(Ending),
    /// It is answered.
    Answer(Answer),
}

/// How a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Answer {
    /// Where the body is cut off.
    pub(crate) cut: Option<Cut>,
    /// The pause between two bytes of the body.
    pub(crate) drip: Option<Duration>,
    /// Whether the response is sent twice.
    pub(crate) is_double: bool,
    /// Whether FIN follows it, while requests are still read.
    pub(crate) is_half_closed: bool,
}

impl Faults {
    /// Puts faults together.
    ///
    /// # Errors
    ///
    /// A sentence that says which of them is given twice, or could never happen beside which other.
    pub(crate) fn new(list: &[Fault]) -> Result<Self, String> {
        let mut faults = Self::default();
        let mut jitter = None;
        let mut says_408 = false;
        for (place, fault) in list.iter().enumerate() {
            let is_same = |other: &Fault| match (fault, other) {
                (Fault::Idle(..), Fault::Idle(..)) => true,
                _ => fault.name() == other.name(),
            };
            if let Some(other) = list[..place].iter().find(|other| is_same(other)) {
                return Err(format!("{} and {}: one of them is all there can be", other.name(), fault.name()));
            }
            match *fault {
                Fault::Idle(after, ending) => {
                    faults.idle = Some(Idle { after, jitter: 0.0, ending, says_408: false });
                }
                Fault::Jitter(share) => jitter = Some(share),
                Fault::Timeout408 => says_408 = true,
                Fault::KeepAliveLie(seconds) => faults.keep_alive = Some(seconds),
                Fault::CloseAfterRequest(share, ending) => {
                    faults.close_after_request = Some((Turns::new(share), ending));
                }
                Fault::NeverAnswer(share) => faults.never_answer = Some(Turns::new(share)),
                Fault::DieAfter(after, share, ending) => {
                    faults.die_after = Some((Turns::new(share), Cut { after, ending: Some(ending) }));
                }
                Fault::StallAfter(after, share) => {
                    faults.stall_after = Some((Turns::new(share), Cut { after, ending: None }));
                }
                Fault::Drip(every, share) => faults.drip = Some((Turns::new(share), every)),
                Fault::DoubleResponse(share) => faults.double_response = Some(Turns::new(share)),
                Fault::HalfClose(share) => faults.half_close = Some(Turns::new(share)),
                Fault::Refuse => faults.is_refusing = true,
            }
        }
        contradiction(list).map_or(Ok(()), Err)?;
        match &mut faults.idle {
            Some(idle) => (idle.jitter, idle.says_408) = (jitter.unwrap_or_default(), says_408),
            None if jitter.is_some() => {
                return Err("jitter needs idle-close or idle-reset: it varies their time".into());
            }
            None if says_408 => return Err("timeout-408 needs idle-close or idle-reset: it comes before them".into()),
            None => {}
        }
        Ok(faults)
    }

    /// What becomes of the next request.
    pub(crate) fn fate(&self) -> Fate {
        let takes = |turns: &Option<Turns>| turns.as_ref().is_some_and(Turns::takes_next);
        if takes(&self.never_answer) {
            return Fate::NeverAnswer;
        }
        if let Some(ending) = next(&self.close_after_request) {
            return Fate::Close(ending);
        }
        let cut = next(&self.die_after).or_else(|| next(&self.stall_after));
        let is_whole = cut.is_none();
        Fate::Answer(Answer {
            cut,
            drip: next(&self.drip),
            is_double: is_whole && takes(&self.double_response),
            is_half_closed: is_whole && takes(&self.half_close),
        })
    }
}

/// What is to be done with the next request, if the fault takes it.
fn next<T: Copy>(fault: &Option<(Turns, T)>) -> Option<T> {
    fault.as_ref().filter(|(turns, _)| turns.takes_next()).map(|(_, what)| *what)
}

/// Says which fault could never happen, because another takes every request before it gets there.
fn contradiction(list: &[Fault]) -> Option<String> {
    if let Some(other) = list.iter().find(|fault| **fault != Fault::Refuse)
        && list.contains(&Fault::Refuse)
    {
        return Some(format!("{} never happens beside refuse: nobody gets a connection", other.name()));
    }
    // In the order in which a request meets them. Those that take it leave nothing to those behind them.
    let rank = |fault: &Fault| match fault {
        Fault::NeverAnswer(_) => 0,
        Fault::CloseAfterRequest(..) => 1,
        Fault::DieAfter(..) => 2,
        Fault::StallAfter(..) => 3,
        Fault::DoubleResponse(_) => 4,
        Fault::HalfClose(_) => 5,
        Fault::Idle(..) | Fault::Jitter(_) | Fault::Timeout408 => 6,
        // They need no more than a response that begins.
        Fault::Drip(..) | Fault::KeepAliveLie(_) => 2,
        Fault::Refuse => 7,
    };
    let share = |fault: &Fault| match fault {
        Fault::NeverAnswer(share)
        | Fault::CloseAfterRequest(share, _)
        | Fault::DieAfter(_, share, _)
        | Fault::StallAfter(_, share)
        | Fault::HalfClose(share) => Some(*share),
        _ => None,
    };
    let taker = list.iter().filter(|fault| share(fault).is_some_and(Share::is_all)).min_by_key(|fault| rank(fault))?;
    let never = list.iter().find(|fault| rank(fault) > rank(taker))?;
    Some(format!("{} never happens beside {}, which takes every request", never.name(), taker.name()))
}

#[cfg(test)]
mod tests {
    use super::super::spec::Spec;
    use super::*;

    fn faults(text: &str) -> Result<Faults, String> {
        let read = |word: &str| match word.parse() {
            Ok(Spec::Fault(fault)) => fault,
            other => panic!("{word}: {other:?}"),
        };
        Faults::new(&text.split_whitespace().map(read).collect::<Vec<_>>())
    }

    #[test]
    fn each_request_has_one_fate_and_shares_are_of_what_is_left() {
        let faults =
            faults("never-answer=1/2 close-after-request=1/2,reset die-after=9,1/2 double-response").expect("fits");
        let twice = Fate::Answer(Answer { is_double: true, ..Answer::default() });
        let dies = Fate::Answer(Answer { cut: Some(Cut { after: 9, ending: Some(Ending::Fin) }), ..Answer::default() });
        let fates: Vec<Fate> = (0..8).map(|_| faults.fate()).collect();
        let [never, close] = [Fate::NeverAnswer, Fate::Close(Ending::Reset)];
        assert_eq!(fates, [twice, never, close, never, dies, never, close, never]);
    }

    #[test]
    fn without_a_fault_it_behaves() {
        let faults = faults("").expect("fits");
        assert_eq!(faults.fate(), Fate::Answer(Answer::default()));
        assert!(faults.idle.is_none() && faults.keep_alive.is_none() && !faults.is_refusing);
    }

    #[test]
    fn idle_times_vary_both_ways() {
        let faults = faults("jitter=20% idle-reset=1s timeout-408").expect("fits");
        let idle = faults.idle.expect("is set");
        assert_eq!((idle.ending, idle.says_408), (Ending::Reset, true));
        assert_eq!([0.0, 0.5, 1.0].map(|draw| idle.after(draw).as_millis()), [800, 1000, 1200]);
    }

    #[test]
    fn says_which_fault_could_never_happen() {
        for (text, part) in [
            ("idle-close=1s idle-reset=1s", "idle-close and idle-reset"),
            ("drip=1s drip=2s", "drip and drip"),
            ("jitter=10%", "jitter needs idle-close"),
            ("timeout-408", "timeout-408 needs idle-close"),
            ("refuse drip=1s", "drip never happens beside refuse"),
            ("never-answer idle-close=1s", "idle-close never happens beside never-answer"),
            ("close-after-request drip=1s", "drip never happens beside close-after-request"),
            ("never-answer keep-alive-lie=5s", "keep-alive-lie never happens"),
            ("die-after=1 stall-after=1", "stall-after never happens beside die-after"),
            ("stall-after=1 double-response", "double-response never happens beside stall-after"),
            ("half-close idle-close=1s", "idle-close never happens beside half-close"),
        ] {
            let error = faults(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
        for text in [
            "refuse",
            "die-after=1 drip=1s",
            "die-after=1,1/2 stall-after=1",
            "never-answer=1/2 close-after-request=1/2 idle-close=1s jitter=5% keep-alive-lie=9s",
            "double-response half-close=1/2 idle-close=1s",
        ] {
            assert!(faults(text).is_ok(), "{text}");
        }
    }
}
