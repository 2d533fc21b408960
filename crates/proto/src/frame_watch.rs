//! Follows the frames that cross an HTTP/2 connection, and says when a peer sends more of something than anybody needs.

use std::sync::Arc;

use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::time::Time;

use crate::config::ConnectionConfig;
use crate::h2_code::ErrorCode;

mod buckets;
mod flood;
mod frames;

pub use flood::Flood;

use buckets::Buckets;
use frames::{Frame, Frames, Kind, PREFACE_LEN};

/// A peer's GOAWAY. RFC 9113 §6.8
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GoAway {
    /// The last stream that its sender acts on; 2^31-1 in an announcement.
    pub last_stream: u32,
    /// Why.
    pub code: ErrorCode,
}

impl GoAway {
    /// The number that no stream reaches: it says that the end is near, and not yet where.
    pub const ANNOUNCEMENT: u32 = (1 << 31) - 1;

    /// Whether it only announces the one that names the last stream.
    pub const fn is_announcement(self) -> bool {
        self.last_stream == Self::ANNOUNCEMENT
    }

    /// The frame that says it.
    pub fn frame(self) -> [u8; 17] {
        let mut frame = [0; 17];
        (frame[2], frame[3]) = (8, 7);
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        frame[13..].copy_from_slice(&self.code.number().to_be_bytes());
        frame
    }
}

/// Reads the headers of the frames that are received and sent, wherever the bytes are split, and nothing else: of payloads, what
/// counts, and no byte is kept.
///
/// A framing layer reads the same bytes. It knows what is valid; this knows how much of it is too much, and how long a peer
/// takes for what it began, which a framing layer does not show. It allocates nothing, and costs some nanoseconds a frame.
#[derive(Debug)]
pub struct FrameWatch {
    config: Arc<ConnectionConfig>,
    side: Side,
    received: Frames,
    sent: Frames,
    buckets: Buckets,
    /// Since when the frame that is being received is not whole.
    frame_since: Option<Time>,
    head: Option<OpenHead>,
    /// The highest stream that the peer opened.
    last_stream: u32,
    /// The highest stream that we opened, as far as it was sent.
    last_opened: u32,
    /// PING and SETTINGS that were received and not yet acknowledged.
    unanswered: u32,
    settings: Settings,
    has_pong: bool,
    peer_goaway: Option<GoAway>,
    own_goaway: Option<GoAway>,
    flood: Option<Flood>,
}

/// How far the peer's first SETTINGS came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settings {
    Awaited,
    /// Its header came; what it says may not have.
    Begun,
    Whole,
}

/// A head of which not all frames came.
#[derive(Clone, Copy, Debug)]
struct OpenHead {
    since: Time,
    continuations: u32,
    bytes: u32,
    /// Whether the frame that is being received is its last.
    is_last: bool,
}

impl FrameWatch {
    /// A watch over a connection on which nothing was sent either way. `side` is the peer's: clients are downstream, and say
    /// their preface first. RFC 9113 §3.4
    pub fn new(config: Arc<ConnectionConfig>, side: Side) -> Self {
        let (received, sent) = match side {
            Side::Downstream => (PREFACE_LEN, 0),
            Side::Upstream => (0, PREFACE_LEN),
        };
        Self {
            buckets: Buckets::new(&config.http2.floods),
            config,
            side,
            received: Frames::new(received),
            sent: Frames::new(sent),
            frame_since: None,
            head: None,
            last_stream: 0,
            last_opened: 0,
            unanswered: 0,
            settings: Settings::Awaited,
            has_pong: false,
            peer_goaway: None,
            own_goaway: None,
            flood: None,
        }
    }

    /// The peer sent these bytes.
    ///
    /// # Errors
    /// [`Flood`] when it is too much: the connection is to end. The first verdict stays.
    pub fn receive(&mut self, bytes: &[u8], now: Time) -> Result<(), Flood> {
        if let Some(flood) = self.flood {
            return Err(flood);
        }
        let mut input = bytes;
        let was_in_payload = self.received.is_in_payload();
        // Of a frame whose header had begun before, and of those that begin now.
        let mut header_since = self.frame_since.filter(|_| !was_in_payload);
        let mut began = None;
        while let Some(frame) = self.received.next(&mut input) {
            self.note_whole_settings();
            let since = header_since.take().unwrap_or(now);
            began = Some(since);
            if let Err(flood) = self.judge_received(frame, since, now) {
                self.flood = Some(flood);
                return Err(flood);
            }
        }
        if self.received.is_in_payload() {
            self.frame_since = began.or(self.frame_since);
        } else {
            let since = if began.is_some() || was_in_payload { None } else { self.frame_since };
            self.frame_since = self.received.is_amid().then_some(since.unwrap_or(now));
            self.forget_whole_head();
            self.note_whole_settings();
        }
        Ok(())
    }

    /// These bytes were given to the peer: not before the socket took them.
    ///
    /// # Errors
    /// As for [`Self::receive`].
    pub fn send(&mut self, bytes: &[u8], now: Time) -> Result<(), Flood> {
        if let Some(flood) = self.flood {
            return Err(flood);
        }
        let mut input = bytes;
        while let Some(frame) = self.sent.next(&mut input) {
            if let Err(flood) = self.judge_sent(frame, now) {
                self.flood = Some(flood);
                return Err(flood);
            }
        }
        Ok(())
    }

    /// Until when the peer must have sent the rest of the head, or the frame, that it began.
    ///
    /// A head has [`Timeouts::head`](crate::config::Timeouts::head) from its first byte to its last, however many frames it
    /// takes, and so has every frame but DATA. A frame of DATA, which holds up all other streams, has as long as a slow body is
    /// borne: twice [`Timeouts::body`](crate::config::Timeouts::body).
    pub fn deadline(&self) -> Option<Deadline> {
        let timeouts = &self.config.timeouts;
        if let Some(head) = self.head {
            return Some(Deadline { at: head.since.after(timeouts.head), timer: Timer::HeadRead });
        }
        let since = self.frame_since?;
        Some(match self.received.current() {
            Some(Kind::Data) => Deadline { at: since.after(timeouts.body.saturating_mul(2)), timer: Timer::BodyRead },
            _ => Deadline { at: since.after(timeouts.head), timer: Timer::HeadRead },
        })
    }

    /// Whether part of a head came, and not all of it.
    pub fn is_amid_head(&self) -> bool {
        self.head.is_some()
    }

    /// Whether part of a frame, or of the preface, came, and not all of it.
    pub fn is_amid_frame(&self) -> bool {
        self.received.is_amid()
    }

    /// Whether all that was sent are whole frames, so that one more can stand behind them.
    pub fn has_sent_whole_frames(&self) -> bool {
        self.sent.is_between()
    }

    /// Whether the peer's first SETTINGS came, and all that they say: it does speak HTTP/2.
    pub fn has_settings(&self) -> bool {
        self.settings == Settings::Whole
    }

    /// Whether a PING of ours was answered since this was last asked.
    pub fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.has_pong)
    }

    /// What the peer said of its end, the latest.
    pub fn peer_goaway(&self) -> Option<GoAway> {
        self.peer_goaway
    }

    /// What we said of ours, the latest.
    pub fn own_goaway(&self) -> Option<GoAway> {
        self.own_goaway
    }

    /// The highest stream that the peer opened; zero for none.
    pub fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// The frame before this point is whole.
    fn note_whole_settings(&mut self) {
        if self.settings == Settings::Begun {
            self.settings = Settings::Whole;
        }
    }

    /// The frame that was received last is whole: so is its head, where it was the last of it.
    fn forget_whole_head(&mut self) {
        if self.head.is_some_and(|head| head.is_last) {
            self.head = None;
        }
    }

    /// The highest stream that we opened of which a byte was given to the socket; zero for none. Of those above it the peer
    /// knows nothing.
    pub fn last_opened(&self) -> u32 {
        self.last_opened
    }

    fn judge_received(&mut self, frame: Frame, since: Time, now: Time) -> Result<(), Flood> {
        self.forget_whole_head();
        let (floods, buckets) = (&self.config.http2.floods, &mut self.buckets);
        match frame.kind {
            Kind::Data if frame.is_empty_data() && !frame.ends_stream() => {
                return buckets.empty_frames.take(now).or_flood(Flood::EmptyFrames);
            }
            Kind::Data => {}
            Kind::Headers | Kind::PushPromise => {
                if frame.stream > self.last_stream && self.side == Side::Downstream {
                    self.last_stream = frame.stream;
                    buckets.priorities.earn(4);
                    buckets.window_updates.earn(4);
                    buckets.unknown_frames.earn(2);
                }
                self.head = Some(OpenHead { since, continuations: 0, bytes: frame.len, is_last: frame.ends_headers() });
                return (frame.len <= floods.max_head_block_bytes).or_flood(Flood::HeadBlock);
            }
            Kind::Continuation => {
                // Without a head before it, it is an error that the framing layer sees.
                let Some(head) = &mut self.head else { return Ok(()) };
                head.continuations += 1;
                head.bytes = head.bytes.saturating_add(frame.len);
                head.is_last = frame.ends_headers();
                (head.continuations <= floods.max_continuations).or_flood(Flood::Continuation)?;
                return (head.bytes <= floods.max_head_block_bytes).or_flood(Flood::HeadBlock);
            }
            Kind::Priority => return buckets.priorities.take(now).or_flood(Flood::Priority),
            Kind::ResetStream if self.side == Side::Downstream => {
                return buckets.resets.take(now).or_flood(Flood::RapidReset);
            }
            // An origin ends with it what we asked for: there can be no more of them than requests of ours.
            Kind::ResetStream => {}
            Kind::Settings if frame.is_ack() => {}
            Kind::Settings => {
                if self.settings == Settings::Awaited {
                    self.settings = Settings::Begun;
                }
                self.unanswered += 1;
                buckets.settings.take(now).or_flood(Flood::Settings)?;
                return (self.unanswered <= floods.max_unanswered).or_flood(Flood::Unanswered);
            }
            Kind::Ping if frame.is_ack() => self.has_pong = true,
            Kind::Ping => {
                self.unanswered += 1;
                buckets.pings.take(now).or_flood(Flood::Ping)?;
                return (self.unanswered <= floods.max_unanswered).or_flood(Flood::Unanswered);
            }
            Kind::GoAway => {
                self.peer_goaway = Some(frame.goaway());
                return buckets.unknown_frames.take(now).or_flood(Flood::UnknownFrames);
            }
            Kind::WindowUpdate => return buckets.window_updates.take(now).or_flood(Flood::WindowUpdate),
            Kind::Unknown => return buckets.unknown_frames.take(now).or_flood(Flood::UnknownFrames),
        }
        Ok(())
    }

    fn judge_sent(&mut self, frame: Frame, now: Time) -> Result<(), Flood> {
        let buckets = &mut self.buckets;
        if frame.kind == Kind::Headers && self.side == Side::Upstream {
            self.last_opened = self.last_opened.max(frame.stream);
        }
        match frame.kind {
            Kind::Data => {
                buckets.pings.earn(1);
                if frame.len >= WORTH_ITS_HEADER || frame.ends_stream() {
                    buckets.window_updates.earn(10);
                }
                if frame.ends_stream() {
                    buckets.resets.earn(1);
                }
            }
            Kind::Headers if frame.ends_stream() => buckets.resets.earn(1),
            Kind::ResetStream if self.side == Side::Downstream => match frame.code() {
                ErrorCode::RefusedStream => return buckets.refused_streams.take(now).or_flood(Flood::RefusedStreams),
                code if code.is_provoked() => return buckets.provoked_resets.take(now).or_flood(Flood::MadeYouReset),
                _ => {}
            },
            Kind::Settings | Kind::Ping if frame.is_ack() => self.unanswered = self.unanswered.saturating_sub(1),
            Kind::GoAway => self.own_goaway = Some(frame.goaway()),
            _ => {}
        }
        Ok(())
    }
}

/// Bytes from which on a frame of DATA is more content than framing.
const WORTH_ITS_HEADER: u32 = 16;

trait OrFlood {
    fn or_flood(self, flood: Flood) -> Result<(), Flood>;
}

impl OrFlood for bool {
    fn or_flood(self, flood: Flood) -> Result<(), Flood> {
        if self { Ok(()) } else { Err(flood) }
    }
}
