//! One HTTP/2 connection as a machine: the life that its streams share, in either role.

use std::marker::PhantomData;
use std::sync::Arc;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::time::Time;

use crate::config::ConnectionConfig;
use crate::frame_watch::{Flood, FrameWatch, GoAway};
use crate::h2_code::ErrorCode;
use crate::role::Role;

/// The sans-IO state of one HTTP/2 connection. RFC 9113
///
/// Frames are a framing layer's business, and exchanges that of each [`Stream`](crate::stream::Stream). This sees the bytes
/// of both directions go by ([`Self::receive`], [`Self::send`]) and is told of streams, and decides, alone: whether the peer
/// still lives, whether it floods us, which deadline of the connection runs, when it takes no more streams, and how it ends.
///
/// What the framing layer is to send for it, it says in [`Self::order`]; that it was sent, it sees.
///
/// ```text
///  server   Open ──retire──► Retiring ──Order::Announce──► Announced ──GOAWAY with the last stream was sent──► Final
///                                                              └──goaway_timeout──Order::Finish───────────────►│
///  client   Open ──retire, GOAWAY received──────────────────────────────────────────────────────────────────► Final
///
///           Final, and no stream is open: over
/// ```
#[derive(Debug)]
pub struct Multiplex<R: Role> {
    config: Arc<ConnectionConfig>,
    watch: FrameWatch,
    streams: u32,
    exchanges: u64,
    going: Going,
    ping: Ping,
    /// Since when no stream is open, or the peer's SETTINGS are owed.
    since: Time,
    /// When a byte last came, or was first waited for.
    progress: Time,
    /// From when on no further stream is taken.
    retires_at: Option<Time>,
    end: Option<(Intent, Phase)>,
    role: PhantomData<R>,
}

/// What the framing layer is to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// A PING: nothing was heard for long. Any byte answers it.
    Ping,
    /// A GOAWAY that names no stream yet ([`GoAway::ANNOUNCEMENT`]), and then, as soon as a PING behind it was answered, the
    /// one that names the last. What had been sent before the peer knew is served. RFC 9113 §6.8
    Announce,
    /// The GOAWAY that names the last stream, at once: the PING was not answered in time. Where the framing layer can only
    /// send it and drop what is open, it is left until nothing is.
    Finish,
}

/// How far the end has come that both sides know of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Going {
    /// Nowhere.
    Open,
    /// It is to be announced.
    Retiring(CloseReason),
    /// The announcement was ordered at this moment.
    Announced(CloseReason, Time),
    /// It was not answered in time.
    Overdue(CloseReason),
    /// No further stream comes to be.
    Final(CloseReason),
}

/// Whether we ask for a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ping {
    /// Not now.
    Quiet,
    /// It is to be sent.
    Wanted,
    /// It was ordered at this moment.
    Sent(Time),
}

impl<R: Role> Multiplex<R> {
    /// A connection on which nothing has happened.
    pub fn new(config: Arc<ConnectionConfig>, now: Time) -> Self {
        Self {
            retires_at: if R::RETIRES { config.retires_at(now) } else { None },
            watch: FrameWatch::new(config.clone(), R::SIDE),
            config,
            streams: 0,
            exchanges: 0,
            going: Going::Open,
            ping: Ping::Quiet,
            since: now,
            progress: now,
            end: None,
            role: PhantomData,
        }
    }

    /// What it is held to.
    pub fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    /// What crossed it.
    pub fn watch(&self) -> &FrameWatch {
        &self.watch
    }

    /// Streams that are open.
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// The peer sent these bytes, which the framing layer gets as well.
    ///
    /// # Errors
    /// [`Flood`] when it is too much. The connection ends, and [`Self::goaway_code`] is what it is told; the framing layer need
    /// not see the bytes.
    pub fn receive(&mut self, bytes: &[u8], now: Time) -> Result<(), Flood> {
        if !bytes.is_empty() {
            self.heard(now);
        }
        let had_settings = self.watch.has_settings();
        let judged = self.watch.receive(bytes, now);
        self.judge(judged)?;
        if !had_settings && self.watch.has_settings() {
            self.since = now;
        }
        if R::SIDE == Side::Upstream
            && let Some(goaway) = self.watch.peer_goaway()
            && !matches!(self.going, Going::Final(_))
        {
            // RFC 9113 §6.8: nothing is begun on a connection whose end was announced.
            let reason = if goaway.code == ErrorCode::None { CloseReason::Agreed } else { CloseReason::PeerClosed };
            self.going = Going::Final(reason);
        }
        self.settle();
        Ok(())
    }

    /// These bytes of the framing layer were given to the socket.
    ///
    /// # Errors
    /// As for [`Self::receive`].
    pub fn send(&mut self, bytes: &[u8], now: Time) -> Result<(), Flood> {
        let judged = self.watch.send(bytes, now);
        self.judge(judged)?;
        if let Some(goaway) = self.watch.own_goaway()
            && !goaway.is_announcement()
        {
            self.going = Going::Final(match goaway.code {
                ErrorCode::None => self.going_for().unwrap_or(CloseReason::Agreed),
                // The framing layer's own verdict.
                ErrorCode::EnhanceYourCalm => match Flood::told_in(bytes) {
                    Some(flood) => flood.into(),
                    None => CloseReason::Flooded(goaway.code.label()),
                },
                code => CloseReason::Protocol(code.label()),
            });
        }
        // A stream that the framing layer has taken already may be about to be told of: that is asked for first.
        if R::SIDE == Side::Upstream {
            self.settle();
        }
        Ok(())
    }

    /// The peer sent FIN. What is open then will never be whole.
    pub fn receive_end(&mut self) {
        self.end_with(Intent::Close(match self.watch.is_amid_frame() {
            true => CloseReason::Truncated,
            false if self.has_been_finished() => CloseReason::Agreed,
            false => CloseReason::PeerClosed,
        }));
    }

    /// Whether an origin has said that it ends the connection once it has acted on all that was asked for. What ends with it
    /// all the same, its own stream tells of: here one can be open that is whole.
    fn has_been_finished(&self) -> bool {
        let acts_on_all = |goaway: GoAway| !goaway.is_announcement() && goaway.last_stream >= self.watch.last_opened();
        R::SIDE == Side::Upstream
            && self.going == Going::Final(CloseReason::Agreed)
            && self.watch.peer_goaway().is_some_and(acts_on_all)
    }

    /// The framing layer has ended the connection for this reason. Where its GOAWAY went out, that said as much, or more.
    pub fn note_verdict(&mut self, reason: CloseReason) {
        let told = match self.going {
            Going::Final(told @ (CloseReason::Flooded(_) | CloseReason::Protocol(_))) => told,
            _ => reason,
        };
        self.end_with(Intent::Linger(told));
    }

    /// Whether a further stream may be opened. A client asks before it does; the peer's own bound is the framing layer's to
    /// know.
    pub fn can_open(&self) -> bool {
        self.end.is_none() && self.going == Going::Open && self.streams < self.config.http2.max_concurrent_streams
    }

    /// Whether a stream that the peer opens is still taken. One that is not gets RST_STREAM with REFUSED_STREAM, and can be sent
    /// again elsewhere (RFC 9113 §8.7): the peer has had its time to hear of the end.
    pub fn takes_streams(&self) -> bool {
        self.end.is_none() && !matches!(self.going, Going::Final(_))
    }

    /// A stream was opened, by whoever opens them.
    pub fn open_stream(&mut self, now: Time) {
        if self.streams == 0 {
            // A silence before it says nothing.
            self.progress = now;
        }
        self.streams = self.streams.saturating_add(1);
        self.exchanges += 1;
        if self.exchanges >= self.config.max_requests {
            self.retire(CloseReason::MaxRequests);
        } else if self.retires_at.is_some_and(|at| at <= now) {
            self.retire(CloseReason::MaxAge);
        }
    }

    /// A stream ended, in whatever way.
    pub fn close_stream(&mut self, now: Time) {
        self.streams = self.streams.saturating_sub(1);
        if self.streams == 0 {
            self.since = now;
            if !matches!(self.ping, Ping::Quiet) {
                self.ping = Ping::Quiet;
            }
        }
        self.settle();
    }

    /// A stream has waited for the peer in vain: it is asked for a sign of life now, unless it has been, or nobody waits.
    pub fn ask_for_a_sign(&mut self) {
        if self.streams > 0 && self.ping == Ping::Quiet {
            self.ping = Ping::Wanted;
        }
    }

    /// Takes no further stream once the peer knows, and ends when none is open any more. The first reason stays.
    pub fn retire(&mut self, reason: CloseReason) {
        if self.going == Going::Open {
            self.going = match R::SIDE {
                Side::Downstream => Going::Retiring(reason),
                // Nobody but us opens streams: we simply do not.
                Side::Upstream => Going::Final(reason),
            };
        }
        self.settle();
    }

    /// A drain began: as [`Self::retire`].
    pub fn start_drain(&mut self) {
        self.retire(CloseReason::Drained);
    }

    /// Whether its end was announced, or is to be.
    pub fn is_going(&self) -> bool {
        self.going != Going::Open
    }

    /// What is to be sent now, each thing once. Ask after every event, and after every stream that came with it was told of:
    /// with the last one that will be, the connection may be over.
    pub fn order(&mut self, now: Time) -> Option<Order> {
        self.settle();
        if self.end.is_some() {
            return None;
        }
        match self.going {
            // Before the peer has spoken there is nobody to tell.
            Going::Retiring(reason) if self.watch.has_settings() => {
                self.going = Going::Announced(reason, now);
                return Some(Order::Announce);
            }
            Going::Overdue(reason) => {
                self.going = Going::Final(reason);
                self.settle();
                return Some(Order::Finish);
            }
            _ => {}
        }
        if self.ping == Ping::Wanted {
            self.ping = Ping::Sent(now);
            return Some(Order::Ping);
        }
        None
    }

    /// What a GOAWAY says of the end, once there is one.
    pub fn goaway_code(&self) -> Option<ErrorCode> {
        self.end.and_then(|(intent, _)| intent.reason()).map(ErrorCode::of_connection)
    }

    /// The GOAWAY that says why the connection ends, where something is wrong, nobody has said it, and it can be said: for
    /// whoever has a framing layer that does not.
    pub fn unsaid_goaway(&self) -> Option<GoAway> {
        let code = self.goaway_code().filter(|code| *code != ErrorCode::None)?;
        let is_said = self.watch.own_goaway().is_some_and(|said| said.code != ErrorCode::None);
        let can_be_said = !is_said && self.watch.has_sent_whole_frames();
        can_be_said.then(|| GoAway { last_stream: self.watch.last_stream(), code })
    }

    /// The peer's GOAWAY: streams above [`GoAway::last_stream`] were not acted on, which is evidence for a retry.
    pub fn peer_goaway(&self) -> Option<GoAway> {
        self.watch.peer_goaway()
    }

    fn going_for(&self) -> Option<CloseReason> {
        match self.going {
            Going::Open => None,
            Going::Retiring(reason) | Going::Announced(reason, _) | Going::Overdue(reason) | Going::Final(reason) => {
                Some(reason)
            }
        }
    }

    fn judge(&mut self, judged: Result<(), Flood>) -> Result<(), Flood> {
        judged.inspect_err(|flood| self.end_with(Intent::Linger((*flood).into())))
    }

    fn heard(&mut self, now: Time) {
        self.progress = now;
        self.ping = Ping::Quiet;
    }

    fn settle(&mut self) {
        if self.streams == 0
            && let Going::Final(reason) = self.going
        {
            self.end_with(match R::SIDE {
                // What the client has sent meanwhile must not destroy what it has not read yet.
                Side::Downstream => Intent::Linger(reason),
                Side::Upstream => Intent::Close(reason),
            });
        }
    }

    fn end_with(&mut self, intent: Intent) {
        if self.end.is_none() {
            self.end = Some((intent, self.current_phase()));
        }
    }

    fn current_phase(&self) -> Phase {
        match (R::SIDE, self.streams) {
            (_, 1..) => Phase::Response,
            _ if self.watch.is_amid_head() => Phase::Head,
            (Side::Downstream, 0) if !self.watch.has_settings() => Phase::FirstByte,
            (Side::Upstream, 0) if self.exchanges > 0 => Phase::Parked,
            (_, 0) => Phase::Idle,
        }
    }

    fn ping_deadline(&self) -> Option<Deadline> {
        let config = &self.config.http2;
        let at = match self.ping {
            Ping::Quiet => self.progress.after(config.ping_interval),
            Ping::Wanted => return None,
            Ping::Sent(at) => at.after(config.ping_timeout),
        };
        Some(Deadline { at, timer: Timer::Ping })
    }

    /// What the connection as a whole waits for.
    fn own_deadline(&self) -> Option<Deadline> {
        let timeouts = &self.config.timeouts;
        if let Going::Announced(_, at) = self.going {
            return Some(Deadline { at: at.after(self.config.http2.goaway_timeout), timer: Timer::Drain });
        }
        if !self.watch.has_settings() {
            return Some(Deadline { at: self.since.after(timeouts.first_byte), timer: Timer::FirstByte });
        }
        let is_idle = self.streams == 0 && self.going == Going::Open;
        is_idle.then(|| Deadline { at: self.since.after(timeouts.idle), timer: Timer::Idle })
    }
}

impl<R: Role> Machine for Multiplex<R> {
    fn phase(&self) -> Phase {
        self.end.map_or_else(|| self.current_phase(), |(_, phase)| phase)
    }

    fn exchanges(&self) -> u64 {
        self.exchanges
    }

    fn deadline(&self, is_waiting: bool) -> Option<Deadline> {
        if self.end.is_some() {
            return None;
        }
        let mut deadline = self.own_deadline();
        if is_waiting {
            deadline = Deadline::earlier(deadline, self.watch.deadline());
            if self.streams > 0 {
                deadline = Deadline::earlier(deadline, self.ping_deadline());
            }
        }
        deadline
    }

    fn intent(&self) -> Intent {
        self.end.map_or(Intent::Continue, |(intent, _)| intent)
    }

    fn progressed(&mut self, now: Time) {
        self.progress = now;
    }

    fn received(&mut self, len: usize, _: bool, now: Time) {
        if len > 0 {
            self.heard(now);
        }
    }

    fn watch_received(&mut self, bytes: &[u8], now: Time) {
        // A flood is the connection's intent by then.
        let _ = self.receive(bytes, now);
    }

    fn watch_sent(&mut self, bytes: &[u8], now: Time) {
        let _ = self.send(bytes, now);
    }

    /// An idle connection of a client is not closed at once, which could cross a request: its end is announced first. A peer
    /// that owes a sign of life is asked for one.
    fn expired(&mut self, timer: Timer) {
        let reason = CloseReason::TimedOut(timer);
        match (timer, self.going, self.ping) {
            (Timer::Idle, ..) => self.retire(reason),
            (Timer::Drain, Going::Announced(reason, _), _) => self.going = Going::Overdue(reason),
            (Timer::Ping, _, Ping::Quiet) => self.ping = Ping::Wanted,
            (Timer::FirstByte, ..) => self.end_with(Intent::Close(reason)),
            (Timer::HeadRead | Timer::BodyRead, ..) => self.end_with(Intent::Linger(reason)),
            _ => self.end_with(Intent::Abort(reason)),
        }
    }

    fn end(&mut self, intent: Intent) {
        self.end_with(intent);
    }
}
