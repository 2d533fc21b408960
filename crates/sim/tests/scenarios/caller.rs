//! The user of a client in the client's scenarios: asks one after the other, under every deadline that there is.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;
use sheave_client::call::Call;
use sheave_client::error::CallError;
use sheave_client::pool::Pool;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_proto::batch::Batch;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_sim::connector::SimConnector;
use sheave_sim::socket::SimSocket;

use crate::catalogue::{self, Content, Exchange, Scenario, pattern};
use crate::settings::ORIGIN;

/// How long it waits for a 100.
const CONTINUE_PATIENCE: Duration = Duration::from_millis(50);

/// What a call gave as a whole response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    pub(crate) place: usize,
    pub(crate) status: u16,
    pub(crate) exchange: Option<usize>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailer: Option<String>,
}

/// What was heard, for whoever judges the run.
pub(crate) type Diary = Arc<Mutex<Vec<Heard>>>;

/// Plays its share of `scenario` through `pool`.
pub(crate) async fn play(
    pool: Arc<Pool<SimConnector>>,
    scenario: Arc<Scenario>,
    which: usize,
    clock: Clock,
    diary: Diary,
) {
    for place in scenario.share(which) {
        let exchange = &scenario.exchanges[place];
        if exchange.think > 0 {
            tokio::time::sleep(Duration::from_millis(exchange.think)).await;
        }
        let call = match pool.checkout(&ORIGIN.into(), clock.now(), Reuse::Usual) {
            Some(call) => call,
            None => match pool.connect(&[ORIGIN.into()], Reuse::Never).await {
                Ok(call) => call,
                Err(_) => continue,
            },
        };
        if let Ok(heard) = ask(call, place, exchange, clock).await {
            diary.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        }
    }
}

async fn ask(mut call: Call<SimSocket>, place: usize, exchange: &Exchange, clock: Clock) -> Result<Heard, CallError> {
    let method = Method::from_bytes(exchange.method.as_bytes()).expect("a method of the catalogue");
    let target = format!("/{place}");
    let mut head = RequestHead::new(method, &target).expect("a target of the catalogue");
    let _ = head.fields_mut().push(Known::Host, b"o");
    if exchange.expects_continue {
        let _ = head.fields_mut().push(Known::Expect, b"100-continue");
    }
    let body = match exchange.request {
        Content::Length(len) => BodyLength::Known(len as u64),
        Content::Chunked(..) => BodyLength::Chunked,
        _ => BodyLength::None,
    };
    let began = clock.now();
    call.send_head(&head, &target, body, began)?;
    let mut asking = Asking {
        call,
        clock,
        alarm: Alarm::default(),
        pieces: pieces(place, exchange),
        trailers: exchange.request.has_trailers().then(|| {
            let mut fields = Fields::new();
            let _ = fields.push_named("T", catalogue::trailer(place, true).as_bytes());
            fields
        }),
        awaits_continue_until: exchange.expects_continue.then(|| began.after(CONTINUE_PATIENCE)),
        heard: Heard { place, status: 0, exchange: None, content: Vec::new(), trailer: None },
    };
    poll_fn(|cx| asking.poll(cx)).await?;
    asking.call.finish();
    Ok(asking.heard)
}

/// The content of a request in the pieces in which it is sent, the last first.
fn pieces(place: usize, exchange: &Exchange) -> Vec<Vec<u8>> {
    let content = pattern(place, true, exchange.request.len());
    let sizes = match exchange.request {
        Content::Chunked(sizes, _) => sizes.to_vec(),
        _ if content.is_empty() => Vec::new(),
        _ => vec![content.len()],
    };
    let mut rest = &content[..];
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for size in sizes {
        let (piece, behind) = rest.split_at(size);
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces.reverse();
    pieces
}

struct Asking {
    call: Call<SimSocket>,
    clock: Clock,
    alarm: Alarm,
    pieces: Vec<Vec<u8>>,
    trailers: Option<Fields>,
    awaits_continue_until: Option<Time>,
    heard: Heard,
}

impl Asking {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let now = self.clock.now();
        loop {
            if self.awaits_continue_until.is_some_and(|until| until <= now) {
                self.awaits_continue_until = None;
            }
            while self.call.is_sending() && self.awaits_continue_until.is_none() {
                if self.call.has_sent_head() && self.call.poll_flush(cx, now).is_pending() {
                    break;
                }
                let piece = self.pieces.pop().unwrap_or_default();
                let is_end = self.pieces.is_empty();
                let trailers = self.trailers.as_ref().filter(|_| is_end);
                let data = [&piece[..]];
                self.call.send_body(cx, now, if piece.is_empty() { &[] } else { &data }, is_end, trailers)?;
            }
            let _ = self.call.poll_flush(cx, now);
            if let Some(fault) = self.call.local_fault() {
                return Poll::Ready(Err(CallError::Io(fault)));
            }
            let (heard, awaits) = (&mut self.heard, &mut self.awaits_continue_until);
            let part = self.call.poll_response_with(cx, now, |batch| hear(heard, awaits, batch));
            match part {
                Poll::Ready(Ok(())) if self.call.has_whole_response() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let own = self.call.deadline().map(|deadline| deadline.at);
        let next = [own, self.awaits_continue_until].into_iter().flatten().min();
        match self.alarm.poll(cx, self.clock, now, next) {
            Poll::Ready(()) if own.is_some_and(|own| own <= now) => Poll::Ready(Err(self.call.expire())),
            // The patience with the 100 is over, or the runtime's clock is a moment ahead.
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn hear(heard: &mut Heard, awaits: &mut Option<Time>, batch: Batch<'_, ResponseHead>) {
    if !batch.interim.is_empty() || batch.head.is_some() {
        *awaits = None;
    }
    if let Some(head) = batch.head {
        heard.status = head.status().as_u16();
        let text = head.fields().get_named("X").and_then(|value| std::str::from_utf8(value).ok());
        heard.exchange = text.and_then(|text| text.parse().ok());
    }
    batch.data.iter().for_each(|piece| heard.content.extend_from_slice(piece));
    if let Some(trailers) = batch.trailers {
        heard.trailer = trailers.get_named("T").map(|value| String::from_utf8_lossy(value).into_owned());
    }
}
