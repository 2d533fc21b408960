//! One connection to a misbehaving origin, from accept to whatever end the faults have for it.

use std::time::Duration;

use super::plan::{Answer, Fate, Faults, Idle};
use super::request::Request;
use super::spec::Ending;
use super::tally::{End, Tally};
use super::wire::{NoMore, Wire};
use crate::demo::pattern;
use crate::size;

/// The longest body that can be asked for.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// Serves one connection to its end.
pub(crate) async fn serve(mut wire: Wire, faults: &Faults, tally: &Tally) {
    tally.accepted();
    let (end, ending) = match exchanges(&mut wire, faults, tally).await {
        Ok(end) => end,
        Err(NoMore::Fin) => (End::PeerClosed, Ending::Fin),
        Err(NoMore::Lost) => (End::PeerReset, Ending::Fin),
        Err(NoMore::Nonsense) => {
            let _ = wire.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            (End::Nonsense, Ending::Fin)
        }
    };
    // Counted before the peer can know of it.
    tally.ended(end, wire.received, wire.sent);
    wire.close(ending);
}

/// Exchange after exchange, until one side has had enough.
async fn exchanges(wire: &mut Wire, faults: &Faults, tally: &Tally) -> Result<(End, Ending), NoMore> {
    let mut is_first = true;
    loop {
        // A connection that has carried nothing yet is not idle: its request is on the way.
        if let Some(idle) = faults.idle.filter(|_| !is_first)
            && !wakes_in_time(wire, &idle).await?
        {
            return Ok(end_idle(wire, &idle).await);
        }
        is_first = false;
        let request = Request::parse(&wire.head().await?).ok_or(NoMore::Nonsense)?;
        tally.request(&request);
        if request.waits_for_100 {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        wire.discard(request.body).await?;
        let answer = match faults.fate() {
            Fate::NeverAnswer => return Err(wire.discard_all().await),
            Fate::Close(ending) => return Ok((End::AfterRequest, ending)),
            Fate::Answer(answer) => answer,
        };
        respond(wire, faults, &request, &answer).await?;
        if let Some(cut) = answer.cut {
            return match cut.ending {
                Some(ending) => Ok((End::AmidBody, ending)),
                None => Err(wire.discard_all().await),
            };
        }
        tally.answered();
        if answer.is_double {
            respond(wire, faults, &request, &Answer::default()).await?;
        }
        if answer.is_half_closed {
            wire.half_close();
            return Err(wire.discard_all().await);
        }
        if request.is_last {
            return Ok((End::Last, Ending::Fin));
        }
    }
}

/// Whether the next request begins before the time for it is over.
async fn wakes_in_time(wire: &mut Wire, idle: &Idle) -> Result<bool, NoMore> {
    match tokio::time::timeout(idle.after(fastrand::f64()), wire.has_more()).await {
        Ok(more) => more.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Ends an idle connection as a server does whose timer fired: without another look at what may have come.
async fn end_idle(wire: &mut Wire, idle: &Idle) -> (End, Ending) {
    let end = if wire.has_unread() { End::IdleUnread } else { End::Idle };
    if idle.says_408 {
        let _ = wire.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    }
    (end, idle.ending)
}

/// Writes a response, as far as `answer` lets it.
async fn respond(wire: &mut Wire, faults: &Faults, request: &Request, answer: &Answer) -> Result<(), NoMore> {
    let (text, pattern_bytes) = content(request);
    // What is cut off must be longer than what is left of it.
    let least = answer.cut.map_or(0, |cut| cut.after.saturating_add(1));
    let len = (text.len() as u64 + pattern_bytes).max(least);
    let mut head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n");
    if let Some(seconds) = faults.keep_alive {
        head.push_str(&format!("Keep-Alive: timeout={seconds}\r\n"));
    }
    if let Some(id) = &request.id {
        head.push_str(&format!("X-Race-Id: {id}\r\n"));
    }
    if request.is_last {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    let has_body = request.method != "HEAD";
    let sent = if has_body { answer.cut.map_or(len, |cut| cut.after) } else { 0 };
    let mut bytes = head.into_bytes();
    let of_text = usize::try_from(sent).unwrap_or(usize::MAX).min(text.len());
    if let Some(pause) = answer.drip {
        wire.write(&bytes).await?;
        return drip(wire, pause, &text.as_bytes()[..of_text], sent).await;
    }
    // One write for all of a short response, as servers do.
    bytes.extend_from_slice(&text.as_bytes()[..of_text]);
    let mut at = of_text as u64;
    loop {
        let piece = pattern::bytes(at - of_text as u64, sent - at);
        bytes.extend_from_slice(piece);
        at += piece.len() as u64;
        wire.write(&bytes).await?;
        if at == sent {
            return Ok(());
        }
        bytes.clear();
    }
}

async fn drip(wire: &mut Wire, pause: Duration, text: &[u8], len: u64) -> Result<(), NoMore> {
    for at in 0..len {
        tokio::time::sleep(pause).await;
        let of_text = usize::try_from(at).ok().and_then(|at| text.get(at..=at));
        wire.write(of_text.unwrap_or_else(|| pattern::bytes(at - text.len() as u64, 1))).await?;
    }
    Ok(())
}

/// What a request is answered with: a text, or so many bytes for `/bytes/N`.
fn content(request: &Request) -> (String, u64) {
    let path = request.target.split('?').next().unwrap_or_default();
    match path.strip_prefix("/bytes/").and_then(|len| size::parse(len).ok()) {
        Some(len) => (String::new(), len.min(MAX_BODY_BYTES)),
        None => (format!("{} {} {}\n", request.method, path, request.id.as_deref().unwrap_or("-")), 0),
    }
}
