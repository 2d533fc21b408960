//! Two observers told as one, and observers behind a shared pointer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::close::CloseReason;
use crate::drain::DrainPhase;
use crate::errno::IoFault;
use crate::observe::{
    Closed, ConnectionId, Encryption, ExchangeEnd, HandshakeFailed, Identified, Moved, Observer, Opened,
};
use crate::phase::Side;
use crate::retry::Evidence;

/// Tells two observers, the first one first.
#[derive(Clone, Copy, Default, Debug)]
pub struct Both<A, B>(pub A, pub B);

/// Every method of [`Observer`], passed on to each of `$to`.
macro_rules! pass_on {
    ($self:ident => $($to:expr),+) => {
        pass_on!(@methods $self [$($to),+]
            opened(it: &Opened), identified(it: &Identified), secured(side: Side, it: &Encryption<'_>),
            handshake_failed(it: &HandshakeFailed<'_>), moved(it: &Moved), closed(it: &Closed), refused(limit: &'static str), held_back(limit: &'static str),
            accept_failed(fault: IoFault), switched(id: ConnectionId), exchange_ended(end: &ExchangeEnd<'_>),
            connect_failed(address: Option<SocketAddr>, reason: CloseReason), parked(it: &Moved),
            reused(id: ConnectionId, parked_for: Duration), found_dead(id: ConnectionId, reason: CloseReason),
            retried(evidence: Evidence), drain_moved(phase: DrainPhase));
    };
    (@methods $self:ident $to:tt $($name:ident $arguments:tt),+) => {
        $(pass_on!(@method $self $to $name $arguments);)+
    };
    (@method $self:ident [$($to:expr),+] $name:ident ($one:ident: $kind:ty)) => {
        fn $name(&$self, $one: $kind) {
            $($to.$name($one);)+
        }
    };
    (@method $self:ident [$($to:expr),+] $name:ident ($one:ident: $kind:ty, $two:ident: $other:ty)) => {
        fn $name(&$self, $one: $kind, $two: $other) {
            $($to.$name($one, $two);)+
        }
    };
}

impl<A: Observer, B: Observer> Observer for Both<A, B> {
    pass_on!(self => self.0, self.1);

    fn hears_exchanges(&self) -> bool {
        self.0.hears_exchanges() || self.1.hears_exchanges()
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    pass_on!(self => (**self));

    fn hears_exchanges(&self) -> bool {
        (**self).hears_exchanges()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::observe::Silent;
    use crate::phase::Phase;

    #[test]
    fn exchanges_are_told_where_one_of_them_listens() {
        assert!(!Both(Silent, Arc::new(Silent)).hears_exchanges());
        assert!(Both(Silent, Arc::new(Heard::default())).hears_exchanges());
        assert!(Both(Heard::default(), Silent).hears_exchanges());
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn refused(&self, limit: &'static str) {
            self.0.lock().expect("not poisoned").push(limit.to_owned());
        }

        fn parked(&self, it: &Moved) {
            self.0.lock().expect("not poisoned").push(it.id.0.to_string());
        }
    }

    #[test]
    fn both_hear_everything_once_and_in_order() {
        let (one, other) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
        let both: Arc<dyn Observer> = Arc::new(Both(one.clone(), Both(other.clone(), Silent)));
        both.refused("max-connections");
        let side = Side::Upstream;
        let phase = Phase::Parked;
        both.parked(&Moved { side, id: ConnectionId(7), phase, exchanges: 1, bytes_in: 1, bytes_out: 1 });
        for heard in [one, other] {
            assert_eq!(*heard.0.lock().expect("not poisoned"), ["max-connections", "7"]);
        }
    }
}
