//! A socket lent to another engine, on loopback: what is counted, watched, timed and told is as if it had not been lent.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::{Closed, Observer};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::leg::{Ends, Leg, LegContext, LingerPlan};
use sheave_net::wire::{Lent, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Notes what goes by, and ends the connection when a `!` came.
#[derive(Default)]
struct Watcher {
    received: Vec<u8>,
    sent: Vec<u8>,
    lengths: Vec<usize>,
    is_busy: bool,
    end: Option<Intent>,
}

impl Machine for Watcher {
    fn phase(&self) -> Phase {
        if self.is_busy { Phase::Response } else { Phase::Idle }
    }

    fn exchanges(&self) -> u64 {
        7
    }

    fn deadline(&self, _: bool) -> Option<Deadline> {
        None
    }

    fn intent(&self) -> Intent {
        self.end.unwrap_or(Intent::Continue)
    }

    fn progressed(&mut self, _: Time) {}

    fn received(&mut self, len: usize, _: bool, _: Time) {
        self.lengths.push(len);
    }

    fn watch_received(&mut self, bytes: &[u8], _: Time) {
        self.received.extend_from_slice(bytes);
        if bytes.contains(&b'!') {
            self.end(Intent::Linger(CloseReason::Flooded("bangs")));
        }
    }

    fn watch_sent(&mut self, bytes: &[u8], _: Time) {
        self.sent.extend_from_slice(bytes);
    }

    fn expired(&mut self, timer: Timer) {
        self.end(Intent::Abort(CloseReason::TimedOut(timer)));
    }

    fn end(&mut self, intent: Intent) {
        self.end.get_or_insert(intent);
    }
}

#[derive(Default)]
struct Ended(Mutex<Vec<Closed>>);

impl Observer for Ended {
    fn closed(&self, closed: &Closed) {
        self.0.lock().unwrap().push(*closed);
    }
}

impl Ended {
    fn only(&self) -> (CloseReason, u64, u64) {
        let closed = self.0.lock().unwrap();
        assert_eq!(closed.len(), 1, "told once");
        (closed[0].reason, closed[0].bytes_in, closed[0].bytes_out)
    }
}

struct Rig {
    wire: Wire<Watcher, TcpStream>,
    lent: Lent<Watcher, TcpStream>,
    peer: TcpStream,
    ended: Arc<Ended>,
}

async fn rig(left_over: &[u8]) -> Rig {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let ended = Arc::new(Ended::default());
    let clock = Clock::start();
    let context = LegContext {
        clock,
        observer: ended.clone(),
        write_timeout: Duration::from_secs(3),
        linger: LingerPlan::default(),
    };
    let ends = Ends { side: Side::Downstream, peer: None, local: None };
    let mut leg = Leg::open(Watcher::default(), accepted.unwrap().0, ends, Arc::new(context), clock.now());
    leg.put_back(left_over);
    let (wire, lent) = leg.lend();
    Rig { wire, lent, peer: peer.unwrap(), ended }
}

#[tokio::test]
async fn what_goes_by_is_counted_and_watched_in_order_and_the_end_is_told_once() {
    let Rig { wire, mut lent, mut peer, ended } = rig(b"left over, ").await;
    peer.write_all(b"hello").await.unwrap();
    let mut text = [0; 16];
    lent.read_exact(&mut text[..4]).await.unwrap();
    lent.read_exact(&mut text[4..]).await.unwrap();
    assert_eq!(&text, b"left over, hello");
    lent.write_all(b"b").await.unwrap();
    lent.write_all(b"ye").await.unwrap();
    lent.flush().await.unwrap();
    assert_eq!(wire.with(|leg| (leg.machine().sent.len(), leg.has_unsent())), (0, true), "gathered until it is sent");
    lent.shutdown().await.unwrap();
    assert_eq!(wire.with(|leg| (leg.machine().sent.len(), leg.has_unsent())), (3, false));
    lent.write_all(b"!").await.unwrap();
    poll_fn(|cx| wire.poll_send(cx, Clock::start().now())).await.unwrap();
    wire.with(|leg| {
        assert_eq!(leg.buffer_bytes(), 0, "what is gathered lies in the thread's buffer");
        assert_eq!(leg.machine().received, b"left over, hello");
        assert_eq!(leg.machine().sent, b"bye!");
        assert_eq!(leg.machine().lengths, [5], "what was left over had been counted");
        leg.machine_mut().end(Intent::Close(CloseReason::Agreed));
    });
    let ended_as = wire.close(&mut Alarm::default(), &mut Drain::default().watch()).await;
    assert_eq!(ended_as, (CloseReason::Agreed, Phase::Idle));
    assert_eq!(ended.only(), (CloseReason::Agreed, 5, 4));
    assert_eq!(lent.write_all(b"late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(lent.read(&mut text).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let mut received = Vec::new();
    peer.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"bye!");
}

#[tokio::test]
async fn what_the_machine_ends_the_connection_for_does_not_reach_the_engine() {
    let Rig { wire, mut lent, mut peer, ended } = rig(b"").await;
    peer.write_all(b"wait!").await.unwrap();
    let mut bytes = [0; 16];
    // The engine waits for ever; whoever owns the connection looks at the machine after each poll.
    let read = tokio::time::timeout(Duration::from_millis(200), lent.read(&mut bytes)).await;
    assert!(read.is_err(), "the flood is not the engine's to see");
    lent.write_all(b"calm").await.unwrap();
    drop(lent);
    assert_eq!(wire.with(|leg| leg.machine().intent()), Intent::Linger(CloseReason::Flooded("bangs")));
    let (mut alarm, mut watch) = (Alarm::default(), Drain::default().watch());
    let closing = wire.close(&mut alarm, &mut watch);
    let reading = async {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        drop(peer);
        received
    };
    let (ended_as, received) = tokio::join!(closing, reading);
    assert_eq!((ended_as.0, received.as_slice()), (CloseReason::Flooded("bangs"), &b"calm"[..]));
    assert_eq!(ended.only().0, CloseReason::Flooded("bangs"));
}

#[tokio::test]
async fn a_write_that_stands_still_has_a_deadline_and_a_wire_that_is_dropped_amid_it_is_reset() {
    let Rig { wire, mut lent, mut peer, ended } = rig(b"").await;
    assert_eq!(wire.with(|leg| leg.deadline()), None);
    let block = vec![7; 1 << 20];
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(50), lent.write(&block)).await {
        written.unwrap();
    }
    let deadline = wire.with(|leg| leg.deadline());
    assert!(deadline.is_some_and(|deadline| deadline.timer == Timer::Write), "{deadline:?}");
    wire.with(|leg| leg.machine_mut().is_busy = true);
    drop(wire);
    assert_eq!(ended.only().0, CloseReason::Cancelled);
    let mut received = Vec::new();
    let error = peer.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_kernels_refusal_becomes_the_reason() {
    let Rig { wire, mut lent, peer, ended } = rig(b"").await;
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = lent.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    drop(wire);
    assert_eq!(ended.only().0.label(), "peer-reset");
}
