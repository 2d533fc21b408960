//! One simulated run as a line of text: everything that makes it what it is.

use std::fmt;
use std::str::FromStr;

use crate::fault::{Fault, Unreadable};
use crate::tcp::Buffers;

/// All that distinguishes a run from others of the same code. The same plan gives the same run, event by event.
///
/// Written as a line: the scenario, then what differs from the defaults, then the scenario's own options, then the faults,
/// such as `relay/get seed=7 receive=12 max-idle=0 origin1.in@17=rst`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Which scenario: `world/exchanges`.
    pub scenario: String,
    /// What random choices of the tested code begin with. Default: 0.
    pub seed: u64,
    /// How much each kernel keeps (`send`, `receive`).
    pub buffers: Buffers,
    /// One in so many operations on sockets, at random, has to be tried again, as when a task's budget is used up.
    /// Default: 0, none.
    pub spurious: u64,
    /// One in so many things that the reactor has to tell, at random, is told a turn later. Default: 0, none.
    pub lag: u64,
    /// After how many polls of tasks the reactor is looked at. Default: 1; a runtime's own is 61.
    pub interval: u32,
    /// What whoever plays the scenario makes of it: a configuration, by names of its own.
    pub options: Vec<(String, u64)>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The value of an option, if it has one.
    pub fn option(&self, name: &str) -> Option<u64> {
        self.options.iter().find(|(it, _)| it == name).map(|(_, value)| *value)
    }

    /// A run of `scenario` in which nothing goes wrong.
    pub fn calm(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed: 0,
            buffers: Buffers::default(),
            spurious: 0,
            lag: 0,
            interval: 1,
            options: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The same run with one fault alone.
    #[must_use]
    pub fn with(&self, fault: Fault) -> Self {
        Self { faults: vec![fault], ..self.clone() }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calm = Self::calm(&self.scenario);
        f.write_str(&self.scenario)?;
        let mut knob = |name, value: u64, default: u64| match value == default {
            true => Ok(()),
            false => write!(f, " {name}={value}"),
        };
        knob("seed", self.seed, calm.seed)?;
        knob("send", self.buffers.send_bytes as u64, calm.buffers.send_bytes as u64)?;
        knob("receive", self.buffers.receive_bytes as u64, calm.buffers.receive_bytes as u64)?;
        knob("spurious", self.spurious, calm.spurious)?;
        knob("lag", self.lag, calm.lag)?;
        knob("interval", u64::from(self.interval), u64::from(calm.interval))?;
        self.options.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
        self.faults.iter().try_for_each(|fault| write!(f, " {fault}"))
    }
}

impl FromStr for Plan {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut words = text.split_whitespace();
        let mut plan = Self::calm(words.next().ok_or_else(|| Unreadable(text.to_owned()))?);
        for word in words {
            if word.contains('@') {
                plan.faults.push(word.parse()?);
                continue;
            }
            let unreadable = || Unreadable(word.to_owned());
            let (name, value) = word.split_once('=').ok_or_else(unreadable)?;
            let number = || value.parse::<u64>().map_err(|_| unreadable());
            let size = || value.parse::<usize>().map_err(|_| unreadable());
            match name {
                "seed" => plan.seed = number()?,
                "send" => plan.buffers.send_bytes = size()?,
                "receive" => plan.buffers.receive_bytes = size()?,
                "spurious" => plan.spurious = number()?,
                "lag" => plan.lag = number()?,
                "interval" => plan.interval = value.parse().map_err(|_| unreadable())?,
                name => plan.options.push((name.to_owned(), number()?)),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "relay/get",
            "relay/get seed=7 send=1 receive=12 spurious=3 lag=2 interval=61",
            "server/post client1.in@17=rst op@9=drain",
            "server/post seed=1 max-requests=2 max-idle=0 op@9=drain",
        ] {
            assert_eq!(text.parse::<Plan>().map(|plan| plan.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "relay/get seed",
            "relay/get seed=x",
            "relay/get colour=red",
            "relay/get interval=x",
            "relay/get client1.in@1=x",
        ] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
