//! The frames of an HTTP/2 connection: one verdict wherever the bytes are split, and what has begun has a deadline.

use std::sync::Arc;

use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::time::Time;
use sheave_proto::config::ConnectionConfig;
use sheave_proto::frame_watch::{Flood, FrameWatch, GoAway};
use sheave_proto::multiplex::Multiplex;
use sheave_proto::role::{Client, Role, Server};

const NOW: Time = Time::from_micros(1);

/// Everything that can be told of a watch from outside.
#[derive(Debug, PartialEq)]
struct Story {
    verdict: Result<(), Flood>,
    is_amid: (bool, bool),
    has_settings: bool,
    last_stream: u32,
    ends: (Option<GoAway>, Option<GoAway>),
    has_deadline: bool,
}

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    // What the peer sends, and then what we do.
    let split = usize::from(*first) * data.len() / 255;
    let (received, sent) = data.split_at(split);
    let config = Arc::new(ConnectionConfig::default());
    for side in Side::ALL {
        let tell = |piece_len: usize| tell(&config, side, received, sent, piece_len);
        let whole = tell(data.len().max(1));
        for piece_len in [1, 9, 13] {
            assert_eq!(tell(piece_len), whole, "in pieces of {piece_len} (left) and whole (right)");
        }
    }
    lives_on::<Server>(&config, received, sent);
    lives_on::<Client>(&config, received, sent);
}

fn tell(config: &Arc<ConnectionConfig>, side: Side, received: &[u8], sent: &[u8], piece_len: usize) -> Story {
    let mut watch = FrameWatch::new(config.clone(), side);
    let verdict = received
        .chunks(piece_len)
        .try_for_each(|piece| watch.receive(piece, NOW))
        .and_then(|()| sent.chunks(piece_len).try_for_each(|piece| watch.send(piece, NOW)));
    if verdict.is_err() {
        // Where it stood when it judged depends on the pieces, and means nothing any more.
        let ends = (None, None);
        return Story {
            verdict,
            is_amid: (false, false),
            has_settings: false,
            last_stream: 0,
            ends,
            has_deadline: true,
        };
    }
    let is_amid = (watch.is_amid_head(), watch.is_amid_frame());
    assert_eq!(watch.deadline().is_some(), is_amid.0 || is_amid.1, "what has begun is waited for, and nothing else");
    Story {
        verdict,
        is_amid,
        has_settings: watch.has_settings(),
        last_stream: watch.last_stream(),
        ends: (watch.peer_goaway(), watch.own_goaway()),
        has_deadline: watch.deadline().is_some(),
    }
}

/// A connection either has ended, or waits for something that will end it.
fn lives_on<R: Role>(config: &Arc<ConnectionConfig>, received: &[u8], sent: &[u8]) {
    let mut multiplex = Multiplex::<R>::new(config.clone(), NOW);
    let judged = multiplex.receive(received, NOW).and_then(|()| multiplex.send(sent, NOW));
    assert!(judged.is_ok() || multiplex.intent() != Intent::Continue, "a flood ends it");
    // Its driver asks after each turn, whether a deadline is due or not.
    multiplex.order(NOW);
    for _ in 0..8 {
        let Some(due) = multiplex.deadline(true) else { break };
        multiplex.expired(due.timer);
        multiplex.order(due.at);
    }
    assert_ne!(multiplex.intent(), Intent::Continue, "nothing more comes, and yet it lives on");
}
