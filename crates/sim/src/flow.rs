//! What travels on the simulated network, when, and the faults that strike it.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Action, Trigger, Way};
use crate::net::{Due, State};
use crate::tcp::End;
use crate::trace::{What, WireIndex};
use crate::wire::Hold;

impl State {
    /// Lets everything travel that can, and strikes where a fault waits.
    pub(crate) fn flow(&mut self, wire: WireIndex) {
        while self.flow_one(wire, Way::In) | self.flow_one(wire, Way::Out) {}
    }

    fn is_held(&self, wire: WireIndex, way: Way) -> bool {
        !matches!(self.wires[wire].paths[way as usize].hold, Hold::Open)
    }

    /// One step in one direction; whether there was one.
    fn flow_one(&mut self, index: WireIndex, way: Way) -> bool {
        if self.is_held(index, way) || self.strike(index, way) {
            return !self.is_held(index, way);
        }
        let wire = &self.wires[index];
        let path = &wire.paths[way as usize];
        let from = wire.sender(way);
        let until_fault = self.faults.iter().filter_map(|fault| match fault.trigger {
            Trigger::Bytes { wire: name, way: its, offset } if name == wire.name && its == way => {
                offset.checked_sub(path.delivered)
            }
            _ => None,
        });
        let until_drip = path.drips.map(|_| 1);
        let len = until_fault.chain(until_drip).min().unwrap_or(usize::MAX).min(wire.tcp.deliverable(from));
        if len > 0 {
            self.deliver(index, way, len);
        } else if wire.tcp.owes_fin(from) {
            self.wires[index].tcp.deliver_fin(from);
            self.tell(What::FinDelivered(index, way));
        } else if wire.tcp.owes_rst(from) {
            self.wires[index].tcp.deliver_rst(from);
            self.tell(What::RstDelivered(index, way));
        } else {
            return false;
        }
        self.queue(index, End::Opener);
        self.queue(index, End::Acceptor);
        true
    }

    fn deliver(&mut self, index: WireIndex, way: Way, len: usize) {
        let now = self.now();
        let wire = &mut self.wires[index];
        let from = wire.sender(way);
        wire.tcp.deliver(from, len);
        let path = &mut wire.paths[way as usize];
        path.delivered += len;
        if let Some(every) = path.drips {
            path.hold = Hold::Dripping(now + every);
            self.schedule(now + every, Due::Resume(index, way));
        }
        self.tell(What::Delivered(index, way, len));
    }

    /// Lets the faults happen that wait at this place; whether there was one.
    fn strike(&mut self, index: WireIndex, way: Way) -> bool {
        let wire = &self.wires[index];
        let here = Trigger::Bytes { wire: wire.name, way, offset: wire.paths[way as usize].delivered };
        let Some(place) = self.faults.iter().position(|fault| fault.trigger == here) else { return false };
        let fault = self.faults.remove(place);
        self.tell(What::Fault(fault));
        if matches!(fault.action, Action::Drain | Action::Cancel) {
            // With so many bytes delivered, and no more yet.
            self.act(index, way, Action::Split(1));
        }
        let after = match fault.action {
            Action::HalfClose(after) | Action::Fin(after) | Action::Rst(after) => Duration::from_millis(after),
            _ => Duration::ZERO,
        };
        if after.is_zero() {
            self.act(index, way, fault.action);
        } else {
            // Nothing more travels that way meanwhile: the peer acts with so many bytes behind it, and no more.
            let at = self.now() + after;
            self.wires[index].paths[way as usize].hold = Hold::Until(at);
            self.schedule(at, Due::Act(index, way, fault.action));
        }
        true
    }

    fn act(&mut self, index: WireIndex, way: Way, action: Action) {
        let now = self.now();
        let wire = &mut self.wires[index];
        let peer = wire.ours.other();
        let path = &mut wire.paths[way as usize];
        match action {
            Action::Split(millis) => {
                let at = now + Duration::from_millis(millis);
                path.hold = Hold::Until(at);
                self.schedule(at, Due::Resume(index, way));
            }
            Action::Drip(millis) => path.drips = Some(Duration::from_millis(millis.max(1))),
            Action::Stall => {
                path.hold = Hold::Forever;
                let sender = wire.sender(way);
                wire.tcp.fill_send_buffer(sender);
            }
            Action::HalfClose(_) | Action::Fin(_) | Action::Rst(_) => {
                path.hold = Hold::Open;
                if !wire.tcp.is_held(peer) {
                    return;
                }
                if way == Way::In {
                    // What did not travel was never written.
                    wire.tcp.unwrite(peer);
                }
                match action {
                    Action::HalfClose(_) => {
                        // Fails only when the connection is over, and then there is nothing to shut.
                        let _ = self.shutdown(index, peer);
                    }
                    Action::Fin(_) => {
                        let farewell = wire.tcp.read_and_close(peer);
                        self.closed(index, peer, farewell);
                    }
                    _ => {
                        let farewell = wire.tcp.reset(peer);
                        self.closed(index, peer, farewell);
                    }
                }
            }
            Action::Drain => self.must_drain = true,
            Action::Cancel => self.is_cancelled = true,
        }
    }

    // Time.

    fn schedule(&mut self, at: Duration, due: Due) {
        self.timers_made += 1;
        self.timers.insert((at, self.timers_made), due);
    }

    /// The moment of the next thing that is due.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        self.timers_seen = self.timers_made;
        self.timers.first_key_value().map(|((at, _), _)| self.began + *at)
    }

    /// Lets all come to its end that was under way when everything was dropped: what was sent arrives.
    pub(crate) fn run_out(&mut self) {
        for index in 0..self.wires.len() {
            for path in &mut self.wires[index].paths {
                path.drips = None;
                if !matches!(path.hold, Hold::Forever) {
                    path.hold = Hold::Open;
                }
            }
            self.flow(index);
        }
    }

    /// Lets happen what is due.
    pub(crate) fn run_due(&mut self) {
        let now = self.now();
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Due::Resume(index, way) => {
                    let hold = &mut self.wires[index].paths[way as usize].hold;
                    if matches!(hold, Hold::Until(at) | Hold::Dripping(at) if *at <= now) {
                        *hold = Hold::Open;
                    }
                    self.flow(index);
                }
                Due::Act(index, way, action) => {
                    self.act(index, way, action);
                    self.flow(index);
                }
            }
        }
    }
}
