//! One exchange on two connections: both directions at once, in one task, with nothing between read and write.

use std::future::poll_fn;
use std::task::{Context, Poll};

use sheave_client::call::Call;
use sheave_client::error::CallError;
use sheave_lifecycle::time::Time;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_proto::version::Version;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Expired};

use crate::forward::{prepare_request_trailers, prepare_response};
use crate::replay::Replay;
use crate::settled::Settled;
use crate::words::{self, Translation};

/// How a pump ended.
#[derive(Debug)]
pub(crate) enum Pumped {
    /// The response is whole, and with the client's connection to deliver.
    Done,
    /// The client failed; there is nobody to answer, or only to be told what it did wrong.
    Client(HandlerError),
    /// The origin failed.
    Origin(CallError),
    /// Both connections are a tunnel from here on.
    Switched,
    /// The client was answered by somebody else, whatever the origin says.
    Answered,
    /// The final response's head is here, and is to be seen before it is sent.
    Held(Box<Held>),
}

/// A response of which nothing was sent yet, as far as it came with its head.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) head: ResponseHead,
    pub(crate) body: BodyLength,
    data: Vec<u8>,
    trailers: Option<Fields>,
    is_end: bool,
}

/// What a pump works on.
pub(crate) struct Pump<'p, 'c, D: Socket, U: Socket> {
    pub(crate) exchange: &'p mut Exchange<'c, D>,
    pub(crate) call: &'p mut Call<U>,
    pub(crate) config: &'p Settled,
    /// The request went out in other words than the client's.
    pub(crate) translation: Option<Box<Translation>>,
    pub(crate) replay: &'p mut Replay,
    /// Whether the body is worth keeping for another attempt.
    pub(crate) keeps_body: bool,
    /// Whether the final response's head is to be seen before it is sent.
    pub(crate) holds_head: bool,
    /// The final response's head came at this moment.
    pub(crate) answered_at: Option<Time>,
}

impl<D: Socket, U: Socket> Pump<'_, '_, D, U> {
    /// Pumps until the response is whole or a side fails.
    ///
    /// The request's head has been given to the call; it leaves with the first bytes of the body that are there.
    pub(crate) async fn run(&mut self) -> Pumped {
        poll_fn(|cx| {
            let now = self.exchange.now();
            loop {
                if let Poll::Ready(end) = self.poll_request(cx, now) {
                    return Poll::Ready(end);
                }
                match self.poll_response(cx, now) {
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Ready(Ok(())) if self.exchange.is_tunnel() => return Poll::Ready(Pumped::Switched),
                    Poll::Ready(Ok(())) if self.exchange.has_answered() => return Poll::Ready(Pumped::Done),
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending => break,
                }
            }
            // Asked last: a response that is here is worth more than the question whether somebody waits for it.
            if !self.call.is_sending()
                && self.exchange.has_whole_request()
                && let Poll::Ready(gone) = self.exchange.poll_gone(cx, now)
            {
                return Poll::Ready(Pumped::Client(gone));
            }
            self.exchange.poll_deadline(cx, now, self.call.deadline()).map(|expired| match expired {
                Expired::Client => Pumped::Client(HandlerError::Client),
                Expired::Other => Pumped::Origin(self.call.expire()),
            })
        })
        .await
    }

    /// Moves the request on as far as it goes. Ready only with an end: what it moved, the origin answers.
    fn poll_request(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Pumped> {
        loop {
            if !self.call.is_sending() {
                let _ = self.call.poll_flush(cx, now);
                if let Some(fault) = self.call.local_fault() {
                    return Poll::Ready(Pumped::Origin(CallError::Io(fault)));
                }
                if !self.exchange.has_whole_request() {
                    // The origin takes no more: what the client still sends is not read while the answer may come.
                    self.exchange.rest();
                }
                return Poll::Pending;
            }
            // The head waits for the first bytes of the body, which are often here: one write for both.
            if self.call.has_sent_head() && self.call.poll_flush(cx, now).is_pending() {
                self.exchange.rest();
                return Poll::Pending;
            }
            let (call, replay) = (&mut *self.call, &mut *self.replay);
            let (keeps, config) = (self.keeps_body, self.config);
            let waker = cx.waker();
            let moved = self.exchange.poll_body_with(cx, now, |mut batch| {
                let cx = &mut Context::from_waker(waker);
                // It ends here, and with it what it was sent on as: the less of it the origin sees, the better.
                if batch.error.is_some() {
                    return Ok(());
                }
                batch.trailers.iter_mut().for_each(|trailers| prepare_request_trailers(trailers, config));
                let sent = call.send_body(cx, now, &batch.data, batch.is_end, batch.trailers.as_ref());
                // What a dead connection did not take is here still, and nowhere else: another attempt can send it.
                let keeps = keeps || call.has_written_nothing();
                replay.note(&batch.data, batch.is_end, batch.trailers.is_some(), keeps, config.max_replay_bytes);
                sent
            });
            match moved {
                Poll::Ready(Ok(Ok(()))) => {}
                Poll::Ready(Ok(Err(error))) => return Poll::Ready(Pumped::Origin(error)),
                Poll::Ready(Err(gone)) => return Poll::Ready(Pumped::Client(gone)),
                Poll::Pending => {
                    let _ = self.call.poll_flush(cx, now);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Moves one read's worth of the response on. Ready when something moved.
    fn poll_response(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), Pumped>> {
        match self.exchange.poll_flush(cx, now) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(gone)) => return Poll::Ready(Err(Pumped::Client(gone))),
            Poll::Pending => {
                self.call.rest();
                return Poll::Pending;
            }
        }
        if self.call.has_whole_response() {
            return Poll::Pending;
        }
        let (exchange, config, answered_at) = (&mut *self.exchange, self.config, &mut self.answered_at);
        let (translation, holds_head) = (self.translation.as_deref(), self.holds_head);
        let waker = cx.waker();
        let moved = self.call.poll_response_with(cx, now, |batch| {
            let cx = &mut Context::from_waker(waker);
            if batch.head.is_some() {
                *answered_at = Some(now);
            }
            pass_on(exchange, cx, now, batch, config, translation, holds_head)
        });
        moved.map(|moved| moved.unwrap_or_else(|error| Err(Pumped::Origin(error))))
    }
}

/// Passes one read's worth of a response on to the client.
fn pass_on<D: Socket>(
    exchange: &mut Exchange<'_, D>,
    cx: &mut Context<'_>,
    now: Time,
    batch: Batch<'_, ResponseHead>,
    config: &Settled,
    translation: Option<&Translation>,
    holds_head: bool,
) -> Result<(), Pumped> {
    let broken = |error| Pumped::Origin(CallError::Protocol(error));
    for head in batch.interim.into_iter().chain(batch.head) {
        let mut head = words::for_client(head, translation).map_err(broken)?;
        let body = prepare_response(&mut head, exchange.request().method(), config).map_err(broken)?;
        if words::is_switch(exchange.request(), &head) {
            // The call took it only because it answers what was offered.
            exchange.switch(&mut head).map_err(Pumped::Client)?;
        } else if holds_head && !head.status().is_informational() {
            // It is the last of them.
            let (data, trailers, is_end) = (batch.data.concat(), batch.trailers, batch.is_end);
            return Err(Pumped::Held(Box::new(Held { head, body, data, trailers, is_end })));
        } else {
            exchange.send_head_at(&mut head, body, now).map_err(Pumped::Client)?;
        }
    }
    pass_on_body(exchange, cx, now, &batch.data, batch.is_end, batch.trailers)
}

fn pass_on_body<D: Socket>(
    exchange: &mut Exchange<'_, D>,
    cx: &mut Context<'_>,
    now: Time,
    data: &[&[u8]],
    is_end: bool,
    trailers: Option<Fields>,
) -> Result<(), Pumped> {
    if data.is_empty() && !is_end || exchange.has_answered() {
        return Ok(());
    }
    // RFC 9112 §7.1.2: trailers need chunks, which HTTP/1.0 does not know.
    let mut trailers = trailers.filter(|_| exchange.peer_version() != Version::Http10);
    if let Some(trailers) = &mut trailers {
        let broken = |error| Pumped::Origin(CallError::Protocol(error));
        sheave_proto::hop::strip_hop_by_hop(trailers).map_err(broken)?;
    }
    exchange.send_body(cx, now, data, is_end, trailers.as_ref()).map_err(Pumped::Client)
}

impl Held {
    /// Sends it on. What follows is a pump's again.
    pub(crate) async fn release<D: Socket>(mut self: Box<Self>, exchange: &mut Exchange<'_, D>) -> Result<(), Pumped> {
        exchange.send_head(&mut self.head, self.body).map_err(Pumped::Client)?;
        let (data, mut trailers) = ([&self.data[..]], self.trailers.take());
        let data: &[&[u8]] = if self.data.is_empty() { &[] } else { &data };
        poll_fn(|cx| {
            let now = exchange.clock().now();
            Poll::Ready(pass_on_body(exchange, cx, now, data, self.is_end, trailers.take()))
        })
        .await
    }
}
