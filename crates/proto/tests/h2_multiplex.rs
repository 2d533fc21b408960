//! A connection of many streams: its deadlines, its signs of life, and how both sides come to know of its end.

use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::frame_watch::{Flood, GoAway};
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::h2_config::Http2Config;
use sheave_proto::multiplex::{Multiplex, Order};
use sheave_proto::role::{Client, Role, Server};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const PONG: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0";
/// A head that is not whole.
const HALF_A_HEAD: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01x";

const fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn goaway(last_stream: u32, code: ErrorCode) -> Vec<u8> {
    [&b"\0\0\x08\x07\0\0\0\0\0"[..], &last_stream.to_be_bytes(), &code.number().to_be_bytes()].concat()
}

fn config() -> ConnectionConfig {
    let timeouts = Timeouts {
        first_byte: Duration::from_secs(5),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        ..Timeouts::default()
    };
    let http2 = Http2Config {
        ping_interval: Duration::from_secs(30),
        ping_timeout: Duration::from_secs(20),
        goaway_timeout: Duration::from_secs(2),
        ..Http2Config::default()
    };
    ConnectionConfig { timeouts, http2, max_age: None, max_requests: 100, ..ConnectionConfig::default() }
}

/// A client's connection, at the moment in which its SETTINGS came.
fn server(config: impl Into<Arc<ConnectionConfig>>) -> Multiplex<Server> {
    let mut multiplex = Multiplex::new(config.into(), at(0));
    multiplex.receive(PREFACE, at(1)).expect("nothing is too much yet");
    multiplex.receive(SETTINGS, at(1)).expect("nothing is too much yet");
    multiplex
}

/// An origin's connection, at the moment in which its SETTINGS came.
fn client(config: impl Into<Arc<ConnectionConfig>>) -> Multiplex<Client> {
    let mut multiplex = Multiplex::new(config.into(), at(0));
    multiplex.send(PREFACE, at(0)).expect("nothing is too much yet");
    multiplex.receive(SETTINGS, at(1)).expect("nothing is too much yet");
    multiplex
}

fn due(seconds: u64, timer: Timer) -> Option<Deadline> {
    Some(Deadline { at: at(seconds), timer })
}

/// What a driver does when a deadline has passed: tells, and asks what to send.
fn expire<R: Role>(multiplex: &mut Multiplex<R>) -> (Timer, Option<Order>) {
    let due = multiplex.deadline(true).expect("a deadline runs");
    multiplex.expired(due.timer);
    (due.timer, multiplex.order(due.at))
}

#[test]
fn a_silent_client_is_not_free() {
    let mut multiplex = Multiplex::<Server>::new(config().into(), at(0));
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::FirstByte, due(5, Timer::FirstByte)));
    // Half a preface is no more than none; a whole one without SETTINGS neither.
    multiplex.receive(&PREFACE[..9], at(1)).unwrap();
    assert_eq!(multiplex.deadline(true), due(5, Timer::FirstByte));
    multiplex.receive(&PREFACE[9..], at(2)).unwrap();
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::FirstByte, due(5, Timer::FirstByte)));
    assert_eq!(expire(&mut multiplex), (Timer::FirstByte, None));
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::TimedOut(Timer::FirstByte)));
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::FirstByte, None));
}

#[test]
fn an_idle_connection_is_ended_without_crossing_a_request() {
    let mut multiplex = server(config());
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::Idle, due(61, Timer::Idle)));
    assert_eq!(multiplex.deadline(false), due(61, Timer::Idle));
    multiplex.receive(PONG, at(20)).unwrap();
    assert_eq!(multiplex.deadline(true), due(61, Timer::Idle), "a frame is no request");
    assert_eq!(expire(&mut multiplex), (Timer::Idle, Some(Order::Announce)));
    assert_eq!((multiplex.intent(), multiplex.order(at(61))), (Intent::Continue, None));
    multiplex.send(&goaway(GoAway::ANNOUNCEMENT, ErrorCode::None), at(61)).unwrap();
    assert_eq!(multiplex.deadline(true), due(63, Timer::Drain));
    // A request was on its way.
    multiplex.open_stream(at(62));
    multiplex.receive(PONG, at(62)).unwrap();
    multiplex.send(&goaway(1, ErrorCode::None), at(62)).unwrap();
    assert_eq!((multiplex.intent(), multiplex.phase()), (Intent::Continue, Phase::Response));
    assert_eq!(multiplex.deadline(true), due(92, Timer::Ping), "the last stream has its time");
    multiplex.close_stream(at(64));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::TimedOut(Timer::Idle)));
    assert_eq!((multiplex.phase(), multiplex.goaway_code()), (Phase::Idle, Some(ErrorCode::None)));
}

#[test]
fn an_announcement_that_nobody_answers() {
    let mut multiplex = server(config());
    multiplex.open_stream(at(2));
    multiplex.start_drain();
    assert_eq!(multiplex.order(at(3)), Some(Order::Announce));
    multiplex.send(&goaway(GoAway::ANNOUNCEMENT, ErrorCode::None), at(3)).unwrap();
    assert!(multiplex.is_going() && multiplex.takes_streams() && !multiplex.can_open());
    multiplex.retire(CloseReason::MaxAge);
    assert_eq!(multiplex.order(at(3)), None, "said once");
    assert_eq!(expire(&mut multiplex), (Timer::Drain, Some(Order::Finish)));
    assert_eq!(multiplex.intent(), Intent::Continue, "the stream goes on");
    assert!(!multiplex.takes_streams(), "and no other begins");
    multiplex.close_stream(at(6));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::Drained));
    // Without a stream it is over at once.
    let mut multiplex = server(config());
    multiplex.start_drain();
    assert_eq!(multiplex.order(at(3)), Some(Order::Announce));
    assert_eq!(expire(&mut multiplex), (Timer::Drain, Some(Order::Finish)));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::Drained));
}

#[test]
fn nobody_is_told_of_the_end_before_they_have_spoken() {
    let mut multiplex = Multiplex::<Server>::new(config().into(), at(0));
    multiplex.start_drain();
    assert_eq!(multiplex.order(at(0)), None);
    multiplex.receive(PREFACE, at(1)).unwrap();
    multiplex.receive(SETTINGS, at(1)).unwrap();
    assert_eq!(multiplex.order(at(1)), Some(Order::Announce));
}

#[test]
fn old_and_much_used_connections_retire() {
    let aged = ConnectionConfig { max_age: Some(Duration::from_secs(1000)), ..config() };
    let mut multiplex = server(aged);
    multiplex.open_stream(at(800));
    assert!(!multiplex.is_going());
    multiplex.close_stream(at(1000));
    assert_eq!(multiplex.order(at(1000)), None, "age closes no idle connection");
    multiplex.open_stream(at(1001));
    assert_eq!(multiplex.order(at(1001)), Some(Order::Announce));
    multiplex.send(&goaway(3, ErrorCode::None), at(1001)).unwrap();
    multiplex.close_stream(at(1002));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::MaxAge));

    let mut multiplex = server(ConnectionConfig { max_requests: 2, ..config() });
    multiplex.open_stream(at(2));
    assert_eq!(multiplex.order(at(2)), None);
    multiplex.open_stream(at(2));
    assert_eq!(multiplex.order(at(2)), Some(Order::Announce));
    multiplex.send(&goaway(3, ErrorCode::None), at(2)).unwrap();
    multiplex.close_stream(at(2));
    assert_eq!((multiplex.streams(), multiplex.exchanges(), multiplex.intent()), (1, 2, Intent::Continue));
    multiplex.close_stream(at(2));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::MaxRequests));

    let mut multiplex = client(ConnectionConfig { max_requests: 1, max_age: Some(Duration::ZERO), ..config() });
    assert!(multiplex.can_open(), "whoever keeps it to be used again knows its age better");
    multiplex.open_stream(at(2));
    assert!(!multiplex.can_open());
    assert_eq!((multiplex.order(at(2)), multiplex.intent()), (None, Intent::Continue));
    multiplex.close_stream(at(2));
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::MaxRequests));
}

#[test]
fn a_silent_peer_is_asked_for_a_sign_of_life_while_a_stream_is_open() {
    let mut multiplex = server(config());
    multiplex.open_stream(at(50));
    assert_eq!((multiplex.deadline(true), multiplex.deadline(false)), (due(80, Timer::Ping), None));
    multiplex.received(1, true, at(60));
    assert_eq!(multiplex.deadline(true), due(90, Timer::Ping));
    assert_eq!(expire(&mut multiplex), (Timer::Ping, Some(Order::Ping)));
    assert_eq!((multiplex.order(at(90)), multiplex.deadline(true)), (None, due(110, Timer::Ping)));
    // Any byte answers.
    multiplex.receive(b"\0", at(100)).unwrap();
    assert_eq!(multiplex.deadline(true), due(110, Timer::HeadRead), "half a frame is no more than a byte");
    multiplex.receive(&PONG[1..], at(101)).unwrap();
    assert_eq!(multiplex.deadline(true), due(131, Timer::Ping));
    assert_eq!(expire(&mut multiplex), (Timer::Ping, Some(Order::Ping)));
    assert_eq!(expire(&mut multiplex), (Timer::Ping, None));
    assert_eq!(multiplex.intent(), Intent::Abort(CloseReason::TimedOut(Timer::Ping)));
    assert_eq!(multiplex.phase(), Phase::Response);

    // Asked for and never sent, since the stream is gone: it is not owed.
    let mut multiplex = server(config());
    multiplex.open_stream(at(50));
    multiplex.expired(Timer::Ping);
    multiplex.close_stream(at(80));
    assert_eq!((multiplex.order(at(80)), multiplex.deadline(true)), (None, due(140, Timer::Idle)));
}

#[test]
fn half_a_head_is_timed_out() {
    let mut multiplex = server(config());
    multiplex.receive(HALF_A_HEAD, at(20)).unwrap();
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::Head, due(30, Timer::HeadRead)));
    assert_eq!(multiplex.deadline(false), due(61, Timer::Idle), "it is not read");
    multiplex.expired(Timer::HeadRead);
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::TimedOut(Timer::HeadRead)));
    assert_eq!(multiplex.phase(), Phase::Head);
}

#[test]
fn a_flood_ends_it_by_its_name() {
    let mut multiplex = server(config());
    multiplex.open_stream(at(2));
    let flood = (0..10_000).find_map(|_| multiplex.receive(b"\0\0\0\x04\0\0\0\0\0", at(2)).err());
    assert_eq!(flood, Some(Flood::Settings));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::Flooded("settings")));
    assert_eq!(multiplex.goaway_code(), Some(ErrorCode::EnhanceYourCalm));
    assert_eq!(multiplex.order(at(2)), None);

    let mut multiplex = server(config());
    let reset = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x01";
    let flood = (0..10_000).find_map(|_| multiplex.send(reset, at(2)).err());
    assert_eq!(flood, Some(Flood::MadeYouReset));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::Flooded("made-you-reset")));
}

/// Only behind whole frames, and only what was not said.
#[test]
fn what_nobody_has_said_of_the_end_can_be_said() {
    let flooded = |sent: &[u8]| {
        let mut multiplex = client(config());
        multiplex.open_stream(at(1));
        multiplex.send(sent, at(1)).expect("nothing is too much yet");
        assert!((0..10_000).any(|_| multiplex.receive(SETTINGS, at(2)).is_err()));
        multiplex.unsaid_goaway().map(|said| said.frame().to_vec())
    };
    let calm = goaway(0, ErrorCode::EnhanceYourCalm);
    assert_eq!(flooded(SETTINGS), Some(calm.clone()));
    assert_eq!(flooded(&goaway(0, ErrorCode::None)), Some(calm.clone()), "that it was to end anyway is not why");
    assert_eq!(flooded(&calm), None);
    for len in 1..HALF_A_HEAD.len() {
        assert_eq!(flooded(&HALF_A_HEAD[..len]), None, "amid a frame");
    }
    assert_eq!(client(config()).unsaid_goaway(), None);
    let mut unbegun: Multiplex<Client> = Multiplex::new(config().into(), at(0));
    assert!((0..10_000).any(|_| unbegun.receive(SETTINGS, at(2)).is_err()));
    assert_eq!(unbegun.unsaid_goaway(), None, "before the preface");
}

#[test]
fn what_the_framing_layer_says_of_the_end_is_its_reason() {
    for (code, reason) in [
        (ErrorCode::None, CloseReason::Agreed),
        (ErrorCode::Protocol, CloseReason::Protocol("protocol-error")),
        (ErrorCode::Compression, CloseReason::Protocol("compression-error")),
        (ErrorCode::EnhanceYourCalm, CloseReason::Flooded("enhance-your-calm")),
    ] {
        let mut multiplex = server(config());
        multiplex.send(&goaway(0, code), at(2)).unwrap();
        // A stream that came before may not have been told of.
        assert_eq!(multiplex.intent(), Intent::Continue);
        assert_eq!(multiplex.order(at(2)), None);
        assert_eq!(multiplex.intent(), Intent::Linger(reason));
        assert_eq!(
            multiplex.goaway_code(),
            Some(code).filter(|code| *code != ErrorCode::Compression).or(Some(ErrorCode::Protocol))
        );
    }
}

#[test]
fn a_stream_that_is_told_of_after_the_last_goaway_went_out_is_served() {
    let mut multiplex = server(config());
    multiplex.send(&goaway(1, ErrorCode::None), at(2)).unwrap();
    multiplex.open_stream(at(2));
    assert_eq!((multiplex.order(at(2)), multiplex.intent()), (None, Intent::Continue));
    multiplex.close_stream(at(3));
    assert_eq!(multiplex.intent(), Intent::Linger(CloseReason::Agreed));
}

#[test]
fn an_origins_end_is_heeded() {
    let mut multiplex = client(config());
    assert_eq!((multiplex.phase(), multiplex.can_open()), (Phase::Idle, true));
    multiplex.open_stream(at(2));
    multiplex.receive(&goaway(GoAway::ANNOUNCEMENT, ErrorCode::None), at(3)).unwrap();
    assert!(!multiplex.can_open() && multiplex.intent() == Intent::Continue);
    multiplex.receive(&goaway(1, ErrorCode::None), at(4)).unwrap();
    assert_eq!(multiplex.peer_goaway().map(|goaway| goaway.last_stream), Some(1));
    multiplex.close_stream(at(5));
    assert_eq!((multiplex.intent(), multiplex.phase()), (Intent::Close(CloseReason::Agreed), Phase::Parked));

    // Its FIN behind that is what was agreed, though a stream that it has answered is not closed here yet.
    for (last, reason) in [(1, CloseReason::Agreed), (0, CloseReason::PeerClosed)] {
        let mut multiplex = client(config());
        multiplex.open_stream(at(2));
        multiplex.send(b"\0\0\x01\x01\x05\0\0\0\x01x", at(2)).unwrap();
        multiplex.receive(&goaway(last, ErrorCode::None), at(3)).unwrap();
        multiplex.receive_end();
        assert_eq!(multiplex.intent(), Intent::Close(reason), "{last}");
    }

    let mut multiplex = client(config());
    multiplex.receive(&goaway(0, ErrorCode::EnhanceYourCalm), at(3)).unwrap();
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::PeerClosed));
    // A client's GOAWAY only says that it will ask for nothing more.
    let mut multiplex = server(config());
    multiplex.open_stream(at(2));
    multiplex.receive(&goaway(0, ErrorCode::None), at(3)).unwrap();
    assert_eq!(multiplex.intent(), Intent::Continue);
}

#[test]
fn as_many_streams_as_may_be() {
    let mut multiplex = client(ConnectionConfig {
        http2: Http2Config { max_concurrent_streams: 2, ..Http2Config::default() },
        ..config()
    });
    multiplex.open_stream(at(2));
    assert!(multiplex.can_open());
    multiplex.open_stream(at(2));
    assert!(!multiplex.can_open());
    multiplex.close_stream(at(2));
    assert!(multiplex.can_open());
    multiplex.close_stream(at(2));
    assert_eq!((multiplex.phase(), multiplex.deadline(true)), (Phase::Parked, due(62, Timer::Idle)));
    assert_eq!(expire(&mut multiplex), (Timer::Idle, None));
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::TimedOut(Timer::Idle)));
}

#[test]
fn the_first_reason_stays() {
    let fault = IoFault { op: Op::Read, errno: Errno::ECONNRESET };
    let mut multiplex = server(config());
    multiplex.open_stream(at(2));
    multiplex.end(Intent::Abort(CloseReason::from_fault(fault)));
    multiplex.receive_end();
    multiplex.start_drain();
    multiplex.expired(Timer::Write);
    multiplex.close_stream(at(3));
    assert_eq!(multiplex.intent(), Intent::Abort(CloseReason::PeerReset(fault)));
    assert_eq!((multiplex.phase(), multiplex.order(at(3))), (Phase::Response, None));

    let mut multiplex = server(config());
    multiplex.receive_end();
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::PeerClosed));
    let mut multiplex = server(config());
    multiplex.receive(&HALF_A_HEAD[..9], at(2)).unwrap();
    multiplex.receive_end();
    assert_eq!(multiplex.intent(), Intent::Close(CloseReason::Truncated));
    let mut multiplex = server(config());
    multiplex.expired(Timer::Write);
    assert_eq!(multiplex.intent(), Intent::Abort(CloseReason::TimedOut(Timer::Write)));
}
