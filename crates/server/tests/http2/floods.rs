//! One attack after the other: the attacker's connection ends by the attack's name, within bounds, and others are served.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY, Raw, SETTINGS,
    WINDOW_UPDATE, block, frame, get, post, request, reset,
};
use crate::peer::MANNERS;
use crate::rig::{OK, config, play, play_on};

/// More than any attack is borne.
const MAX_ATTACK_BYTES: usize = 4 << 20;

/// Writes `opening`, and then what `attack` gives for each round until the connection is over.
///
/// Gives how it ended, and the code that the attacker was told.
fn attacked(opening: Vec<u8>, attack: impl Fn(u32) -> Vec<u8> + 'static) -> (String, Option<u32>) {
    let code = std::sync::Arc::new(std::sync::Mutex::new(None));
    let told = code.clone();
    let known = play(&config(), move |rig| async move {
        let mut neighbour = rig.client().await;
        assert_eq!(neighbour.get("/hello").await.unwrap().status, OK);
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&opening).await;
        let mut written = 0;
        'attack: for round in 0.. {
            let bytes = attack(round);
            written += bytes.len();
            assert!(written < MAX_ATTACK_BYTES, "it is borne");
            if raw.socket.write_all(&bytes).await.is_err() {
                break;
            }
            if round % 16 == 0 {
                rig.sleep(1).await;
                while raw.has_more() {
                    match raw.next().await {
                        Some(it) if it.kind == GOAWAY => {
                            *told.lock().unwrap() = Some(it.number(4));
                            break 'attack;
                        }
                        Some(_) => {}
                        None => break 'attack,
                    }
                }
            }
        }
        drop(raw);
        rig.sleep(10).await;
        assert_eq!(rig.told.ends().len(), 1, "the attacker's connection is over, and no other");
        assert_eq!(rig.handler.running(), 0, "what it had asked for is given up");
        assert_eq!(neighbour.get("/hello").await.unwrap().status, OK);
        neighbour.leave().await.unwrap();
    });
    let code = *code.lock().unwrap();
    (known.ends[0].split(" in ").next().unwrap().to_owned(), code)
}

fn holds(opening: Vec<u8>, attack: impl Fn(u32) -> Vec<u8> + 'static, name: &str) {
    assert_eq!(attacked(opening, attack), (format!("flooded ({name})"), Some(ENHANCE_YOUR_CALM)));
}

fn stream(round: u32) -> u32 {
    2 * round + 1
}

#[test]
fn rapid_reset() {
    holds(vec![], |round| [get(stream(round), "/never"), reset(stream(round), 8)].concat(), "rapid-reset");
}

#[test]
fn made_you_reset() {
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":path", "/never"), (":authority", "o"), ("content-length", "1")];
    let head = block(&fields);
    let round = move |round| {
        let too_much = frame(DATA, END_STREAM, stream(round), b"ab");
        [frame(HEADERS, END_HEADERS, stream(round), &head), too_much].concat()
    };
    holds(vec![], round, "made-you-reset");
}

#[test]
fn more_streams_than_there_may_be() {
    holds(vec![], |round| get(stream(round), "/never"), "refused-streams");
}

#[test]
fn continuation() {
    let head = frame(HEADERS, END_STREAM, 1, &request("GET", "/hello"));
    holds(head, |_| frame(CONTINUATION, 0, 1, &block(&[("x", "y")])), "continuation");
}

#[test]
fn heads_of_many_large_frames() {
    let head = frame(HEADERS, END_STREAM, 1, &request("GET", "/hello"));
    let field = block(&[("x", &"y".repeat(16_000))]);
    let (reason, code) = attacked(head, move |_| frame(CONTINUATION, 0, 1, &field));
    assert_eq!(reason, "flooded (continuation)");
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

#[test]
fn a_field_section_that_unpacks_to_far_more() {
    // A field of 4,000 bytes goes into the table; each byte that follows stands for all of them. RFC 7541 §7.3
    let mut bomb = request("GET", "/hello");
    bomb.extend_from_slice(&[0x40, 1, b'x', 127, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'y'; 4000]);
    bomb.extend(std::iter::repeat_n(0x80 | 62, 12_000));
    assert!(bomb.len() < 1 << 14);
    let (reason, code) = attacked(vec![], move |round| frame(HEADERS, END_STREAM | END_HEADERS, stream(round), &bomb));
    assert_eq!((reason.as_str(), code), ("flooded (head-block)", Some(ENHANCE_YOUR_CALM)));
}

#[test]
fn settings() {
    holds(vec![], |_| frame(SETTINGS, 0, 0, &[]), "settings");
}

#[test]
fn ping() {
    holds(vec![], |_| frame(PING, 0, 0, b"12345678"), "ping");
}

#[test]
fn priority() {
    holds(vec![], |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]), "priority");
}

#[test]
fn empty_frames() {
    holds(post(1, "/never"), |_| frame(DATA, 0, 1, &[]), "empty-frames");
}

#[test]
fn window_update() {
    holds(vec![], |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()), "window-update");
}

#[test]
fn unknown_frames() {
    holds(vec![], |_| frame(0xbe, 0, 0, b"?"), "unknown-frames");
}

/// No more than one answer waits in the framing layer, which reads nothing while it does: so this is no flood by name, but a
/// client that takes nothing.
#[test]
fn answers_that_nobody_reads() {
    let plan = "http2 send=500 receive=500".parse().unwrap();
    let known = play_on(&plan, MANNERS[0], &config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&get(1, "/never")).await;
        // As fast as is borne for ever.
        let ping = frame(PING, 0, 0, b"12345678");
        for _ in 0..500 {
            if !rig.told.ends().is_empty() {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(60), raw.socket.write_all(&ping)).await;
            rig.sleep(60).await;
        }
        panic!("it is borne");
    });
    assert_eq!(known.ends, ["timeout-write in response"]);
    assert_eq!(known.exchanges, ["1. GET /never HTTP/2 0 reset 0>0 timeout-write"]);
}
