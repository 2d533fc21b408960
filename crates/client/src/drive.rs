//! The task of one HTTP/2 connection: reads and writes for all its streams, and sees to what is due between them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, Connection};
use h2::{Ping, PingPong};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::socket::Socket;
use sheave_net::wire::{Lent, Wire};
use sheave_proto::config::ConnectionConfig;
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::multiplex::{Multiplex, Order};
use sheave_proto::role::Client;

use crate::multiplexed::{MultiplexLeg, Multiplexed};
use crate::place::Place;

/// The framing layer of a connection.
type Framing<S> = Connection<Lent<Multiplex<Client>, S>, Bytes>;

/// Begins HTTP/2 on a connection that is ready for it, and has a task drive it for as long as it lives.
///
/// # Errors
/// The connection ended before our preface was written, or took none of it for the time that a write may stand still.
pub(crate) async fn begin<S: Socket + 'static>(
    leg: MultiplexLeg<S>,
    place: Place<S>,
    config: Arc<ConnectionConfig>,
) -> Result<Arc<Multiplexed<S>>, CloseReason> {
    let (wire, lent) = leg.lend();
    let (write_timeout, clock) = wire.with(|leg| (leg.context().write_timeout, leg.context().clock));
    let handshake = async {
        let begun = builder(&config).handshake::<_, Bytes>(lent).await.ok()?;
        poll_fn(|cx| wire.poll_send(cx, clock.now())).await.ok()?;
        Some(begun)
    };
    let (requests, framing) = match tokio::time::timeout(write_timeout, handshake).await {
        Ok(Some(begun)) => begun,
        failed => {
            let reason = if failed.is_err() { CloseReason::TimedOut(Timer::Write) } else { CloseReason::PeerClosed };
            let mut leg = Wire::take_back(wire);
            leg.machine_mut().end(Intent::Abort(reason));
            let reason = leg.machine().intent().reason().unwrap_or(reason);
            leg.close_now();
            return Err(reason);
        }
    };
    let connection = Arc::new(Multiplexed::new(wire, requests, config, &place.endpoint));
    let driver = Driver {
        pings: None,
        framing: Some(framing),
        connection: connection.clone(),
        place: Some(place),
        alarm: Alarm::default(),
        told: Told::default(),
    };
    driver.enlist();
    tokio::spawn(driver.run());
    Ok(connection)
}

fn builder(config: &ConnectionConfig) -> Builder {
    let http2 = &config.http2;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(http2.stream_window_bytes)
        .initial_connection_window_size(http2.connection_window_bytes.max(http2.stream_window_bytes))
        .max_frame_size(http2.max_frame_bytes.clamp(16_384, (1 << 24) - 1))
        .max_header_list_size(u32::try_from(config.limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(http2.max_send_buffer_bytes)
        .initial_max_send_streams(http2.max_concurrent_streams as usize);
    builder
}

/// What the pool was told of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Told {
    /// Whether its streams' number is known: the origin's SETTINGS came.
    pub(crate) is_settled: bool,
    /// Streams that it takes at a time.
    pub(crate) limit: usize,
    /// Whether it takes no more.
    pub(crate) is_going: bool,
}

/// The task. Dropped, it ends the connection.
struct Driver<S: Socket> {
    pings: Option<PingPong>,
    framing: Option<Framing<S>>,
    connection: Arc<Multiplexed<S>>,
    place: Option<Place<S>>,
    alarm: Alarm,
    told: Told,
}

impl<S: Socket> Driver<S> {
    /// Enters it among those of its site.
    fn enlist(&self) {
        if let Some(place) = &self.place {
            place.enlist(&self.connection);
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        self.end();
    }

    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.connection.register(cx);
            let Some(framing) = &mut self.framing else { return Poll::Ready(()) };
            let polled = Pin::new(&mut *framing).poll(cx);
            let max_send_streams = framing.max_concurrent_send_streams();
            let now = self.connection.context.clock.now();
            // All that streams have to say leaves in one write.
            self.connection.send(cx, now);
            let looked = self.connection.with(|leg| look(leg, polled, now));
            let Some((over, order, told, deadline)) = looked else { return Poll::Ready(()) };
            let limit = max_send_streams.min(self.connection.config.http2.max_concurrent_streams as usize);
            self.tell(Told { limit, ..told });
            if over {
                return Poll::Ready(());
            }
            if order == Some(Order::Ping) {
                self.ping();
                continue;
            }
            if let Some(pings) = &mut self.pings {
                // Any byte answers; this only makes room for the next.
                let _ = pings.poll_pong(cx);
            }
            let context = &self.connection.context;
            match self.alarm.poll(cx, context.clock, now, deadline.map(|due| due.at)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {
                    let timer = deadline.map(|due| due.timer);
                    let _ = self.connection.with(|leg| timer.map(|timer| leg.machine_mut().expired(timer)));
                }
            }
        }
    }

    fn ping(&mut self) {
        if self.pings.is_none() {
            self.pings = self.framing.as_mut().and_then(Connection::ping_pong);
        }
        if let Some(pings) = &mut self.pings {
            // One that is under way already asks the same.
            let _ = pings.send_ping(Ping::opaque());
        }
    }

    /// Tells the pool what has changed.
    fn tell(&mut self, told: Told) {
        if self.told == told {
            return;
        }
        self.told = told;
        if told.is_going {
            self.connection.open_no_more();
        }
        if told.is_settled || told.is_going {
            self.connection.note_settled();
        }
        if let Some(place) = &self.place {
            place.tell(&self.connection, told);
        }
    }

    /// The connection is over: says farewell where it can, and gives its place back last.
    fn end(&mut self) {
        let Some(mut framing) = self.framing.take() else { return };
        self.connection.open_no_more();
        self.connection.note_settled();
        let is_clean =
            self.connection.with(|leg| matches!(leg.machine().intent(), Intent::Close(_) | Intent::Linger(_)));
        if is_clean == Some(true) {
            // Nobody holds it any more, so this writes GOAWAY. What the kernel does not take now is not worth waiting for.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _ = Pin::new(&mut framing).poll(&mut cx);
            self.connection.send(&mut cx, self.connection.context.clock.now());
        }
        // Before streams are woken, so that they learn why.
        self.connection.finish(CloseReason::Cancelled);
        drop(framing);
        if let Some(place) = self.place.take() {
            place.strike_off(&self.connection);
        }
    }
}

impl<S: Socket> Drop for Driver<S> {
    fn drop(&mut self) {
        self.end();
    }
}

type Looked = (bool, Option<Order>, Told, Option<sheave_lifecycle::deadline::Deadline>);

/// What follows from what the framing layer did: whether it is over, what it is to send, and until when to wait.
fn look<S: Socket>(leg: &mut MultiplexLeg<S>, polled: Poll<Result<(), h2::Error>>, now: Time) -> Looked {
    let has_ended = leg.has_ended();
    let machine = leg.machine_mut();
    if let Poll::Ready(result) = polled {
        conclude(machine, result, has_ended);
    }
    let order = machine.order(now);
    let is_over = machine.intent() != Intent::Continue;
    let told = Told { is_settled: machine.watch().has_settings(), limit: 0, is_going: is_over || machine.is_going() };
    (is_over, order, told, leg.deadline())
}

/// The framing layer has nothing more to do. Where the machine has not seen why, this is it.
fn conclude(machine: &mut Multiplex<Client>, result: Result<(), h2::Error>, has_ended: bool) {
    match result {
        // A fault of the socket has ended the machine already.
        Err(error) if error.is_io() => machine.end(Intent::Abort(CloseReason::PeerClosed)),
        Err(error) => {
            let code = error.reason().map_or(ErrorCode::Internal, |reason| ErrorCode::of(reason.into()));
            machine.end(match error.is_remote() {
                true => Intent::Close(CloseReason::PeerClosed),
                false => Intent::Close(CloseReason::Protocol(code.label())),
            });
        }
        Ok(()) if has_ended => machine.receive_end(),
        // It said farewell, because nobody is left who could open a stream.
        Ok(()) => machine.end(Intent::Close(CloseReason::Agreed)),
    }
}
