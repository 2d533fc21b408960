//! Two connections that carry another protocol: bytes both ways as they come, each direction to its own end.

use std::future::poll_fn;
use std::task::{Context, Poll};

use sheave_client::call::Call;
use sheave_client::error::CallError;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::time::Time;
use sheave_net::socket::Socket;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Expired};

/// How a tunnel ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Both sides ended their directions, and each has what the other sent.
    Well,
    /// The client failed, or was silent for too long.
    Client(HandlerError),
    /// The other side did.
    Origin(CallError),
}

/// Relays until both directions have ended, or a side fails. Ends both connections then.
///
/// # Errors
/// The client failed.
///
/// # Cancel safety
/// Dropped, both connections are reset.
pub(crate) async fn relay<D: Socket, U: Socket>(
    exchange: &mut Exchange<'_, D>,
    mut call: Call<U>,
) -> Result<(), HandlerError> {
    let ended = poll_fn(|cx| poll_relay(cx, exchange, &mut call)).await;
    match ended {
        Ended::Well => {
            call.finish();
            Ok(())
        }
        Ended::Client(gone) => {
            call.abandon(CloseReason::OtherSide);
            Err(gone)
        }
        Ended::Origin(error) => {
            call.abandon(error.close_reason());
            exchange.note_error(error.label());
            exchange.truncate(CloseReason::OtherSide);
            Ok(())
        }
    }
}

fn poll_relay<D: Socket, U: Socket>(
    cx: &mut Context<'_>,
    exchange: &mut Exchange<'_, D>,
    call: &mut Call<U>,
) -> Poll<Ended> {
    let now = exchange.now();
    loop {
        let up = poll_up(cx, exchange, call, now);
        if let Poll::Ready(Err(end)) = up {
            return Poll::Ready(end);
        }
        let down = poll_down(cx, exchange, call, now);
        if let Poll::Ready(Err(end)) = down {
            return Poll::Ready(end);
        }
        if up.is_pending() && down.is_pending() {
            break;
        }
    }
    let has_ended = exchange.has_whole_request() && exchange.has_answered();
    // What ended a direction stands behind all that went through it: it is here once nothing is owed.
    if has_ended && call.poll_flush(cx, now).is_ready() && exchange.poll_flush(cx, now).is_ready() {
        return Poll::Ready(call.write_fault().map_or(Ended::Well, |fault| Ended::Origin(CallError::Io(fault))));
    }
    exchange.poll_deadline(cx, now, call.deadline()).map(|expired| match expired {
        Expired::Client => Ended::Client(HandlerError::Client),
        Expired::Other => Ended::Origin(call.expire()),
    })
}

/// Moves one read's worth of what the client sends. Ready when something moved.
fn poll_up<D: Socket, U: Socket>(
    cx: &mut Context<'_>,
    exchange: &mut Exchange<'_, D>,
    call: &mut Call<U>,
    now: Time,
) -> Poll<Result<(), Ended>> {
    let is_flushed = call.poll_flush(cx, now).is_ready();
    if let Some(fault) = call.write_fault() {
        // Whoever reads no more may still have said something; after that, nobody is there.
        if call.local_fault().is_some() || call.has_whole_response() {
            return Poll::Ready(Err(Ended::Origin(CallError::Io(fault))));
        }
    } else if is_flushed && !exchange.has_whole_request() {
        let waker = cx.waker();
        let moved = exchange.poll_body_with(cx, now, |batch| {
            let cx = &mut Context::from_waker(waker);
            call.send_body(cx, now, &batch.data, batch.is_end, batch.trailers.as_ref())
        });
        return moved.map(|moved| match moved {
            Ok(sent) => sent.map_err(Ended::Origin),
            Err(gone) => Err(Ended::Client(gone)),
        });
    }
    if !exchange.has_whole_request() {
        // What cannot be passed on is not read.
        exchange.rest();
    }
    Poll::Pending
}

/// Moves one read's worth of what the other side sends. Ready when something moved.
fn poll_down<D: Socket, U: Socket>(
    cx: &mut Context<'_>,
    exchange: &mut Exchange<'_, D>,
    call: &mut Call<U>,
    now: Time,
) -> Poll<Result<(), Ended>> {
    match exchange.poll_flush(cx, now) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(gone)) => return Poll::Ready(Err(Ended::Client(gone))),
        Poll::Pending => {
            call.rest();
            return Poll::Pending;
        }
    }
    if call.has_whole_response() {
        return Poll::Pending;
    }
    let waker = cx.waker();
    let moved = call.poll_response_with(cx, now, |batch| {
        let cx = &mut Context::from_waker(waker);
        exchange.send_body(cx, now, &batch.data, batch.is_end, None)
    });
    moved.map(|moved| match moved {
        Ok(sent) => sent.map_err(Ended::Client),
        Err(error) => Err(Ended::Origin(error)),
    })
}
