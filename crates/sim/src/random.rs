//! Plans at random, the same ones for the same seed.

use crate::fault::{Action, Fault, Trigger, Way, WireName};
use crate::plan::Plan;
use crate::tcp::Buffers;

/// What a scenario looks like without faults, and what can be varied of it.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    /// Its connections, with the bytes in each direction.
    pub wires: Vec<(WireName, [usize; 2])>,
    /// Operations on sockets of what is tested.
    pub operations: u64,
    /// Options, each with the values that it may have.
    pub options: &'a [(&'a str, &'a [u64])],
}

/// A small generator of numbers (SplitMix64): fast, the same everywhere, and good enough to look in odd places.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that begins with `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero where that is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// A place below `bound`; zero where that is zero.
    pub fn choice(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// One of `options`; `None` where there is none.
    pub fn pick<'o, T>(&mut self, options: &'o [T]) -> Option<&'o T> {
        let place = self.choice(options.len());
        options.get(place)
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A plan for `scenario`, of that shape.
    pub fn plan(&mut self, scenario: &str, seed: u64, shape: &Shape<'_>) -> Plan {
        let mut plan = Plan { seed, ..Plan::calm(scenario) };
        if self.is_one_in(2) {
            // Small enough to be in the way, and large enough for the run to come to its end.
            let longest = shape.wires.iter().flat_map(|(_, lens)| *lens).max().unwrap_or(0);
            let scale = 1 + longest / 1000;
            let size = |rng: &mut Self| scale * (1 + rng.choice(120));
            plan.buffers = Buffers { send_bytes: size(self), receive_bytes: size(self) };
        }
        if self.is_one_in(3) {
            plan.spurious = 2 + self.below(8);
        }
        if self.is_one_in(3) {
            plan.lag = 2 + self.below(5);
        }
        if self.is_one_in(3) {
            plan.interval = [2, 5, 61][self.choice(3)];
        }
        for (name, values) in shape.options {
            if self.is_one_in(4)
                && let Some(value) = self.pick(values)
            {
                plan.options.push(((*name).to_owned(), *value));
            }
        }
        for _ in 0..=self.below(3) {
            let fault = self.fault(shape);
            plan.faults.extend(fault);
        }
        plan
    }

    fn fault(&mut self, shape: &Shape<'_>) -> Option<Fault> {
        if self.is_one_in(10) {
            let action = if self.is_one_in(2) { Action::Drain } else { Action::Cancel };
            return Some(Fault { trigger: Trigger::Operation(1 + self.below(shape.operations)), action });
        }
        let (mut name, lens) = *self.pick(&shape.wires)?;
        if self.is_one_in(3) {
            // One that exists only once another has failed.
            name.number += 1;
        }
        let way = *self.pick(&Way::BOTH)?;
        let offset = self.choice(lens[way as usize] + 1);
        let millis = [0, 0, 1, 7][self.choice(4)];
        let action = match self.below(12) {
            0..=3 => Action::Split(1 + self.below(40)),
            // So many bytes, one by one, would not be through when the run has to be.
            4 if lens[way as usize] < 1000 => Action::Drip(1 + self.below(150)),
            4 | 5 => Action::Stall,
            6 => Action::HalfClose(millis),
            7 | 8 => Action::Fin(millis),
            9 | 10 => Action::Rst(millis),
            _ => Action::Drain,
        };
        Some(Fault { trigger: Trigger::Bytes { wire: name, way, offset }, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape<'static> {
        let wires = vec![(WireName::client(1), [40, 90]), (WireName::origin(1), [90, 150])];
        Shape { wires, operations: 30, options: &[("max-idle", &[0, 1])] }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_another() {
        let plan = |seed| Rng::new(seed).plan("relay/get", seed, &shape());
        assert_eq!(plan(3), plan(3));
        let texts: std::collections::BTreeSet<String> = (0..50).map(|seed| plan(seed).to_string()).collect();
        assert_eq!(texts.len(), 50);
    }

    #[test]
    fn every_plan_can_be_written_down() {
        for seed in 0..500 {
            let plan = Rng::new(seed).plan("server/get", seed, &shape());
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }
}
