//! The watch over frames: every flood by its name, honest peers let pass, and the same verdict wherever the bytes are split.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::time::Time;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::frame_watch::{Flood, FrameWatch, GoAway};
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::h2_config::FloodBounds;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 0x10;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("a short payload").to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn rst(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.number().to_be_bytes())
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[0; 8])
}

fn window_update(increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &increment.to_be_bytes())
}

/// A whole request or response without content.
fn headers(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82; 30])
}

const fn ms(millis: u64) -> Time {
    Time::from_micros(millis * 1000)
}

fn config() -> Arc<ConnectionConfig> {
    Arc::default()
}

/// A watch over a client that has just said its preface and SETTINGS.
fn over_client() -> FrameWatch {
    let mut watch = FrameWatch::new(config(), Side::Downstream);
    watch.receive(PREFACE, ms(0)).expect("nothing is too much yet");
    watch.receive(&frame(SETTINGS, 0, 0, &[]), ms(0)).expect("nothing is too much yet");
    watch.send(&frame(SETTINGS, ACK, 0, &[]), ms(0)).expect("nothing is too much yet");
    watch
}

/// Which frame is one too many, counted from one, and by what name, of those that come every `pause` microseconds.
fn too_many(watch: &mut FrameWatch, pause: u64, next: &mut dyn FnMut(u32) -> Vec<u8>) -> Option<(u32, Flood)> {
    (1..30_000).find_map(|count| {
        let now = Time::from_micros(u64::from(count) * pause);
        watch.receive(&next(count), now).err().map(|flood| (count, flood))
    })
}

#[test]
fn every_flood_has_its_name_and_its_bound() {
    type Attack = Box<dyn FnMut(u32) -> Vec<u8>>;
    let b = FloodBounds::default();
    let attacks: Vec<(Attack, u32, Flood)> = vec![
        (
            Box::new(|n| [headers(2 * n - 1), rst(2 * n - 1, ErrorCode::Cancel)].concat()),
            b.resets.burst.get(),
            Flood::RapidReset,
        ),
        (Box::new(|_| frame(SETTINGS, 0, 0, &[])), b.settings.burst.get() - 1, Flood::Settings),
        (Box::new(|_| ping()), b.pings.burst.get(), Flood::Ping),
        (Box::new(|_| frame(PRIORITY, 0, 1, &[0; 5])), b.priorities.burst.get(), Flood::Priority),
        (Box::new(|_| frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")), b.priorities.burst.get(), Flood::Priority),
        (Box::new(|_| frame(DATA, 0, 1, &[])), b.empty_frames.burst.get(), Flood::EmptyFrames),
        (Box::new(|_| frame(DATA, PADDED, 1, &[200; 201])), b.empty_frames.burst.get(), Flood::EmptyFrames),
        (Box::new(|_| window_update(1)), b.window_updates.burst.get(), Flood::WindowUpdate),
        (Box::new(|_| frame(0xfa, 0xff, 7, b"grease")), b.unknown_frames.burst.get(), Flood::UnknownFrames),
        (Box::new(|_| frame(GOAWAY, 0, 0, &[0; 8])), b.unknown_frames.burst.get(), Flood::UnknownFrames),
        (
            Box::new(|n| if n == 1 { frame(HEADERS, 0, 1, b"x") } else { frame(CONTINUATION, 0, 1, b"") }),
            b.max_continuations + 1,
            Flood::Continuation,
        ),
        (
            Box::new(|n| frame(if n == 1 { HEADERS } else { CONTINUATION }, 0, 1, &[0; 16_384 + 4096])),
            6,
            Flood::HeadBlock,
        ),
    ];
    for (mut attack, allowed, flood) in attacks {
        let mut watch = over_client();
        assert_eq!(too_many(&mut watch, 1, &mut *attack), Some((allowed + 1, flood)));
        // The first verdict stays, also for what we send.
        assert_eq!(watch.receive(b"", ms(1)), Err(flood));
        assert_eq!(watch.send(b"", ms(1)), Err(flood));
    }
    let too_large = frame(HEADERS, END_HEADERS, 1, &vec![0; 128 * 1024 + 1]);
    assert_eq!(over_client().receive(&too_large, ms(0)), Err(Flood::HeadBlock));
}

#[test]
fn floods_of_our_own_making() {
    let bounds = FloodBounds::default();
    for (code, allowed, flood) in [
        (ErrorCode::Protocol, bounds.provoked_resets.burst.get(), Some(Flood::MadeYouReset)),
        (ErrorCode::FlowControl, bounds.provoked_resets.burst.get(), Some(Flood::MadeYouReset)),
        (ErrorCode::StreamClosed, bounds.provoked_resets.burst.get(), Some(Flood::MadeYouReset)),
        (ErrorCode::FrameSize, bounds.provoked_resets.burst.get(), Some(Flood::MadeYouReset)),
        (ErrorCode::RefusedStream, bounds.refused_streams.burst.get(), Some(Flood::RefusedStreams)),
        // These are our own affairs.
        (ErrorCode::Cancel, 5000, None),
        (ErrorCode::Internal, 5000, None),
        (ErrorCode::None, 5000, None),
    ] {
        let mut watch = over_client();
        for count in 1..=allowed {
            assert_eq!(watch.send(&rst(count, code), ms(0)), Ok(()), "{code:?}, number {count}");
        }
        assert_eq!(watch.send(&rst(1, code), ms(0)).err(), flood, "{code:?}");
    }
    // What an origin resets, and what it makes us reset, is as much as we ask for.
    let mut watch = FrameWatch::new(config(), Side::Upstream);
    for _ in 0..5000 {
        watch.receive(&rst(1, ErrorCode::RefusedStream), ms(0)).unwrap();
        watch.send(&rst(1, ErrorCode::Protocol), ms(0)).unwrap();
    }
}

#[test]
fn answers_that_are_not_read_add_up() {
    let bounds = FloodBounds::default();
    // Within every rate, and never acknowledged, since the peer reads nothing.
    let mut watch = over_client();
    let found = too_many(&mut watch, 100_000, &mut |_| ping());
    assert_eq!(found, Some((bounds.max_unanswered + 1, Flood::Unanswered)));
    // Half of them SETTINGS.
    let mut watch = over_client();
    let found = too_many(&mut watch, 1_000_000, &mut |n| if n % 2 == 0 { ping() } else { frame(SETTINGS, 0, 0, &[]) });
    assert_eq!(found, Some((bounds.max_unanswered + 1, Flood::Unanswered)));
    // And answered.
    let mut watch = over_client();
    for count in 0..5000 {
        let now = ms(count * 100);
        watch.receive(&ping(), now).unwrap();
        watch.send(&frame(PING, ACK, 0, &[0; 8]), now).unwrap();
    }
}

#[test]
fn a_rate_is_allowed_for_ever_and_twice_of_it_is_not() {
    let bounds = FloodBounds::default();
    type Next = fn(u32) -> Vec<u8>;
    let table: [(Next, u32, Flood); 5] = [
        (
            |n| [headers(2 * n - 1), rst(2 * n - 1, ErrorCode::Cancel)].concat(),
            bounds.resets.per_second.get(),
            Flood::RapidReset,
        ),
        (|_| frame(PRIORITY, 0, 1, &[0; 5]), bounds.priorities.per_second.get(), Flood::Priority),
        (|_| frame(DATA, 0, 1, &[]), bounds.empty_frames.per_second.get(), Flood::EmptyFrames),
        (|_| window_update(1), bounds.window_updates.per_second.get(), Flood::WindowUpdate),
        (|_| frame(0xb, 0, 0, b""), bounds.unknown_frames.per_second.get(), Flood::UnknownFrames),
    ];
    for (mut next, per_second, flood) in table {
        let pause = 1_000_000 / u64::from(per_second);
        assert_eq!(too_many(&mut over_client(), pause, &mut next), None, "{flood}");
        assert_eq!(too_many(&mut over_client(), pause / 2, &mut next).map(|(_, flood)| flood), Some(flood));
    }
}

#[test]
fn a_browser_that_leaves_page_after_page() {
    // A hundred images are asked for and cancelled, every other second, with what browsers send besides.
    let mut watch = over_client();
    let mut stream = 1;
    for page in 0..500 {
        let now = ms(page * 2000);
        for _ in 0..100 {
            watch.receive(&headers(stream), now).unwrap();
            watch.receive(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1,i"), now).unwrap();
            watch.receive(&window_update(12_517_377), now).unwrap();
            stream += 2;
        }
        for cancelled in 0..100 {
            watch.receive(&rst(stream - 200 + 2 * cancelled, ErrorCode::Cancel), now).unwrap();
        }
    }
    // Four pages at once are what a finger can do.
    let mut watch = over_client();
    let mut cancel = |count: u32| {
        (0..count).try_for_each(|_| watch.receive(&[headers(1), rst(1, ErrorCode::Cancel)].concat(), ms(0)))
    };
    assert_eq!(cancel(400), Ok(()));
}

#[test]
fn a_relay_whose_users_cancel_half_of_what_they_ask_for() {
    let mut watch = over_client();
    for count in 0..20_000 {
        let now = Time::from_micros(count * 100);
        let stream = u32::try_from(4 * count + 1).unwrap();
        watch.receive(&[headers(stream), headers(stream + 2)].concat(), now).unwrap();
        watch.send(&headers(stream), now).unwrap();
        watch.receive(&rst(stream + 2, ErrorCode::Cancel), now).unwrap();
    }
    // With none of them answered, that is the attack.
    let mut watch = over_client();
    let attacked = too_many(&mut watch, 100, &mut |n| [headers(2 * n - 1), rst(2 * n - 1, ErrorCode::Cancel)].concat());
    assert!(attacked.is_some_and(|(count, _)| count < 510), "{attacked:?}");
}

#[test]
fn a_grpc_client_that_measures_the_path_with_every_message() {
    // Ten thousand small messages a second both ways; a PING and two WINDOW_UPDATEs for each that it receives.
    let message = frame(DATA, 0, 1, b"\0\0\0\0\x0bhello there");
    let mut watch = over_client();
    watch.receive(&frame(HEADERS, END_HEADERS, 1, &[0x82; 30]), ms(0)).unwrap();
    for count in 0..100_000 {
        let now = Time::from_micros(count * 100);
        watch.receive(&message, now).unwrap();
        watch.send(&message, now).unwrap();
        watch.receive(&[ping(), window_update(16), window_update(16)].concat(), now).unwrap();
        watch.send(&frame(PING, ACK, 0, &[0; 8]), now).unwrap();
    }
}

#[test]
fn windows_that_open_byte_by_byte_earn_nothing() {
    let mut watch = over_client();
    let mut updates = 0;
    let flood = loop {
        updates += 1;
        if let Err(flood) = watch.receive(&window_update(1), ms(1)) {
            break flood;
        }
        watch.send(&frame(DATA, 0, 1, b"x"), ms(1)).unwrap();
    };
    assert_eq!((updates, flood), (FloodBounds::default().window_updates.burst.get() + 1, Flood::WindowUpdate));
}

#[test]
fn labels_stay() {
    let labels: Vec<_> = Flood::ALL.iter().map(|flood| flood.label()).collect();
    let expected = [
        "rapid-reset",
        "made-you-reset",
        "refused-streams",
        "continuation",
        "head-block",
        "settings",
        "ping",
        "priority",
        "empty-frames",
        "window-update",
        "unknown-frames",
        "unanswered",
    ];
    assert_eq!(labels, expected);
    assert_eq!(CloseReason::from(Flood::Ping), CloseReason::Flooded("ping"));
    assert!(Flood::ALL.iter().all(|flood| !flood.to_string().is_empty()));
}

fn due(millis: u64, timer: Timer) -> Option<Deadline> {
    Some(Deadline { at: ms(millis), timer })
}

/// Head deadline 10 s, body deadline 20 s.
fn timed() -> FrameWatch {
    let timeouts = Timeouts { head: Duration::from_secs(10), body: Duration::from_secs(20), ..Timeouts::default() };
    let mut watch =
        FrameWatch::new(ConnectionConfig { timeouts, ..ConnectionConfig::default() }.into(), Side::Downstream);
    watch.receive(PREFACE, ms(0)).expect("nothing is too much yet");
    watch
}

#[test]
fn what_has_begun_must_end() {
    let mut watch = timed();
    assert_eq!(watch.deadline(), None);
    // A head keeps its deadline, however many frames it takes, and whatever comes in between.
    let head = frame(HEADERS, 0, 1, &[0; 20]);
    watch.receive(&head[..3], ms(1000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_frame()), (due(11_000, Timer::HeadRead), true));
    watch.receive(&head[3..12], ms(2000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_head()), (due(11_000, Timer::HeadRead), true));
    watch.receive(&head[12..], ms(3000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_frame()), (due(11_000, Timer::HeadRead), false));
    let rest = frame(CONTINUATION, END_HEADERS, 1, &[0; 20]);
    watch.receive(&rest[..28], ms(4000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_head()), (due(11_000, Timer::HeadRead), true));
    watch.receive(&rest[28..], ms(5000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_head()), (None, false));
    // A frame that follows in the same bytes has its own.
    let both = [headers(3), frame(DATA, 0, 3, &[0; 100])[..50].to_vec()].concat();
    watch.receive(&both, ms(6000)).unwrap();
    assert_eq!((watch.deadline(), watch.is_amid_head()), (due(46_000, Timer::BodyRead), false));
    watch.receive(&[0; 40], ms(7000)).unwrap();
    assert_eq!(watch.deadline(), due(46_000, Timer::BodyRead), "dripping does not move it");
    watch.receive(&[&[0; 19][..], &ping()[..4]].concat(), ms(8000)).unwrap();
    assert_eq!(watch.deadline(), due(18_000, Timer::HeadRead), "the next one began");
    watch.receive(&ping()[4..], ms(9000)).unwrap();
    assert_eq!(watch.deadline(), None);
    // Of two heads in the same bytes, the second is the one that is waited for.
    let two = [headers(5), frame(HEADERS, 0, 7, b"x")].concat();
    watch.receive(&two[..10], ms(10_000)).unwrap();
    watch.receive(&two[10..], ms(12_000)).unwrap();
    assert_eq!(watch.deadline(), due(22_000, Timer::HeadRead));
}

#[test]
fn a_preface_is_waited_for_as_a_head_is() {
    let timeouts = Timeouts { head: Duration::from_secs(10), ..Timeouts::default() };
    let config = ConnectionConfig { timeouts, ..ConnectionConfig::default() };
    let mut watch = FrameWatch::new(config.into(), Side::Downstream);
    assert_eq!(watch.deadline(), None, "nothing has begun");
    watch.receive(b"PRI", ms(1000)).unwrap();
    assert_eq!(watch.deadline(), due(11_000, Timer::HeadRead));
    watch.receive(&PREFACE[3..], ms(2000)).unwrap();
    assert_eq!((watch.deadline(), watch.has_settings()), (None, false));
    watch.receive(&frame(SETTINGS, ACK, 0, &[]), ms(2000)).unwrap();
    assert!(!watch.has_settings(), "an acknowledgement is none");
    let settings = frame(SETTINGS, 0, 0, &[0; 6]);
    for byte in &settings {
        assert!(!watch.has_settings(), "what they say is not here yet");
        watch.receive(&[*byte], ms(2000)).unwrap();
    }
    assert!(watch.has_settings());
    watch.receive(&settings[..10], ms(2000)).unwrap();
    assert!(watch.has_settings(), "later ones change what was said");
}

#[test]
fn what_is_said_of_the_end_is_noted() {
    let mut watch = FrameWatch::new(config(), Side::Upstream);
    let goaway = |last: u32, code: ErrorCode| {
        frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &code.number().to_be_bytes(), b"debug data"].concat())
    };
    watch.send(PREFACE, ms(0)).unwrap();
    for byte in goaway(GoAway::ANNOUNCEMENT | 1 << 31, ErrorCode::None) {
        assert_eq!(watch.peer_goaway(), None);
        watch.receive(&[byte], ms(0)).unwrap();
        if watch.peer_goaway().is_some() {
            break;
        }
    }
    assert!(watch.peer_goaway().is_some_and(GoAway::is_announcement), "the reserved bit means nothing");
    let mut watch = FrameWatch::new(config(), Side::Upstream);
    watch.send(PREFACE, ms(0)).unwrap();
    watch.receive(&goaway(7, ErrorCode::EnhanceYourCalm), ms(0)).unwrap();
    assert_eq!(watch.peer_goaway(), Some(GoAway { last_stream: 7, code: ErrorCode::EnhanceYourCalm }));
    watch.send(&goaway(0, ErrorCode::None), ms(0)).unwrap();
    assert_eq!(watch.own_goaway(), Some(GoAway { last_stream: 0, code: ErrorCode::None }));
    // Too short to say anything: the framing layer refuses it.
    watch.receive(&frame(GOAWAY, 0, 0, b"\0\0"), ms(0)).unwrap();
    assert!(!watch.take_pong());
    watch.receive(&frame(PING, ACK, 0, &[0; 8]), ms(0)).unwrap();
    assert!(watch.take_pong() && !watch.take_pong());
}

/// Everything that can be told of a watch from outside.
fn told(watch: &FrameWatch) -> impl PartialEq + std::fmt::Debug + use<> {
    let timers = watch.deadline().map(|due| due.timer);
    let ends = (watch.peer_goaway(), watch.own_goaway());
    (watch.is_amid_head(), watch.is_amid_frame(), watch.has_settings(), watch.last_stream(), timers, ends)
}

/// A conversation with a bit of everything.
fn everything() -> Vec<u8> {
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[0; 12]),
        frame(HEADERS, PADDED | 0x20, 1, &[4; 40]),
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, END_HEADERS, 1, &[9; 10]),
        frame(DATA, PADDED, 1, &[3; 10]),
        frame(DATA, PADDED, 1, &[5; 6]),
        frame(DATA, 0, 1, &[]),
        frame(DATA, END_STREAM, 1, &[0; 300]),
        rst(1, ErrorCode::Cancel),
        window_update(7),
        ping(),
        frame(PING, ACK, 0, &[1; 8]),
        frame(0xee, 0, 9, b"unknown"),
        frame(PRIORITY, 0, 3, &[0; 5]),
        headers(3),
        frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, 9, 9]),
        frame(DATA, PADDED, 3, &[]),
        frame(RST_STREAM, 0, 3, &[0]),
        headers(5)[..20].to_vec(),
    ]
    .concat()
}

#[test]
fn the_same_at_every_split() {
    let bytes = everything();
    let mut whole = FrameWatch::new(config(), Side::Downstream);
    whole.receive(&bytes, ms(0)).unwrap();
    assert_eq!((whole.last_stream(), whole.is_amid_head()), (5, true));
    for split in 0..=bytes.len() {
        for second in [split, bytes.len().min(split + 1), bytes.len().min(split + 9)] {
            let mut watch = FrameWatch::new(config(), Side::Downstream);
            for part in [&bytes[..split], &bytes[split..second], &bytes[second..]] {
                watch.receive(part, ms(0)).unwrap();
            }
            assert_eq!(told(&watch), told(&whole), "split at {split} and {second}");
        }
    }
    let mut watch = FrameWatch::new(config(), Side::Downstream);
    bytes.iter().for_each(|byte| watch.receive(&[*byte], ms(0)).unwrap());
    assert_eq!(told(&watch), told(&whole));
}

#[test]
fn an_idle_watch_is_small() {
    assert!(size_of::<FrameWatch>() <= 448, "{}", size_of::<FrameWatch>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_one_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        splits in prop::collection::vec(0..600usize, 0..5),
        is_client in any::<bool>(),
    ) {
        let side = if is_client { Side::Downstream } else { Side::Upstream };
        one_verdict(&bytes, &splits, side);
    }

    #[test]
    fn any_frames_give_one_verdict(
        frames in prop::collection::vec((0..12u8, any::<u8>(), 0..4u32, 0..40usize, any::<u8>()), 0..400),
        splits in prop::collection::vec(0..5000usize, 0..5),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, stream, len, fill)| frame(*kind, *flags, *stream, &vec![*fill; *len])).collect();
        one_verdict(&bytes, &splits, Side::Upstream);
    }
}

fn one_verdict(bytes: &[u8], splits: &[usize], side: Side) {
    let mut whole = FrameWatch::new(config(), side);
    let verdict = (whole.receive(bytes, ms(5)), whole.send(bytes, ms(5)));
    let mut splits: Vec<usize> = splits.iter().map(|at| (*at).min(bytes.len())).chain([0, bytes.len()]).collect();
    splits.sort_unstable();
    let mut pieces = FrameWatch::new(config(), side);
    let parts: Vec<&[u8]> = splits.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
    let received = parts.iter().try_for_each(|part| pieces.receive(part, ms(5)));
    let sent = parts.iter().try_for_each(|part| pieces.send(part, ms(5)));
    assert_eq!((received, sent), verdict);
    if verdict == (Ok(()), Ok(())) {
        assert_eq!(told(&pieces), told(&whole));
    }
}
