//! A server's connection over several requests: the same story whole and byte by byte, and answers that can be read.

use std::sync::Arc;

use bytes::BytesMut;
use http::{Method, StatusCode};
use sheave_lifecycle::machine::{Intent, Machine as _};
use sheave_lifecycle::time::Time;
use sheave_proto::body::{BodyEvent, BodyReader};
use sheave_proto::config::ConnectionConfig;
use sheave_proto::connection::{Connection, Event};
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::Fields;
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::limits::Limits;
use sheave_proto::read_head::ResponseReader;
use sheave_proto::role::Server;
use sheave_proto::state::{RequestState, State};

/// One exchange as the server saw it.
#[derive(Debug, PartialEq)]
struct Exchange {
    head: RequestHead,
    content: Vec<u8>,
    trailers: Option<Fields>,
    is_whole: bool,
}

/// Everything that can be told of a connection from outside.
#[derive(Debug, PartialEq)]
struct Story {
    exchanges: Vec<Exchange>,
    error: Option<ProtocolError>,
    was_refused_with_an_answer: bool,
    sent: Vec<u8>,
    state: State,
    intent: Intent,
    /// Bytes that were never taken, since the connection was over.
    left: usize,
}

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    let whole = tell(data, data.len().max(1));
    let byte_by_byte = tell(data, 1);
    assert_eq!(whole, byte_by_byte, "whole (left) and byte by byte (right)");
    assert!(whole.exchanges.iter().rev().skip(1).all(|exchange| exchange.is_whole), "only the last may be cut");
    // Every request that was whole has its answer; what was refused has one more at most.
    let complete = whole.exchanges.iter().filter(|exchange| exchange.is_whole).count();
    assert_eq!(answers_in(&whole), complete + usize::from(whole.was_refused_with_an_answer));
}

/// Feeds `data` in pieces and answers every request once it is whole.
fn tell(data: &[u8], piece_len: usize) -> Story {
    let now = Time::from_micros(1);
    let mut connection = Connection::<Server>::new(Arc::new(ConnectionConfig::default()), now);
    let mut story = Story {
        exchanges: Vec::new(),
        error: None,
        was_refused_with_an_answer: false,
        sent: Vec::new(),
        state: connection.state(),
        intent: connection.intent(),
        left: 0,
    };
    // A reader's buffer: what was not taken stays at its front.
    let mut held: Vec<u8> = Vec::new();
    for piece in data.chunks(piece_len) {
        held.extend_from_slice(piece);
        let taken = story.take(&mut connection, &held, now);
        held.drain(..taken);
        if story.error.is_some() {
            break;
        }
    }
    if story.error.is_none() {
        story.error = connection.receive_end(now).err();
    }
    if story.error.is_some() && connection.can_answer() {
        story.was_refused_with_an_answer = true;
        story.answer(&mut connection, StatusCode::BAD_REQUEST, now);
    }
    story.state = connection.state();
    story.intent = connection.intent();
    // After a refusal the reader's place in the input means nothing.
    story.left = if story.error.is_none() { held.len() } else { 0 };
    story
}

impl Story {
    /// Lets the connection take what it can; returns how many bytes it took.
    fn take(&mut self, connection: &mut Connection<Server>, held: &[u8], now: Time) -> usize {
        let mut input = held;
        loop {
            match connection.receive(&mut input, now) {
                Ok(Some(Event::Head(head))) => {
                    self.exchanges.push(Exchange { head, content: Vec::new(), trailers: None, is_whole: false });
                    if connection.awaits_continue() {
                        self.send(connection, &ResponseHead::new(StatusCode::CONTINUE), BodyLength::None, now);
                    }
                }
                Ok(Some(Event::Data(data))) => {
                    let exchange = self.exchanges.last_mut().expect("data follows a head");
                    assert!(!data.is_empty() && !exchange.is_whole);
                    exchange.content.extend_from_slice(data);
                }
                Ok(Some(Event::End(trailers))) => {
                    self.exchanges.last_mut().expect("an end follows a head").trailers = trailers;
                }
                Ok(Some(Event::Informational(head))) => panic!("a request is never interim: {head:?}"),
                Ok(None) => return held.len() - input.len(),
                Err(error) => {
                    self.error = Some(error);
                    return held.len() - input.len();
                }
            }
            if connection.can_answer() && connection.state().request == RequestState::Done {
                self.exchanges.last_mut().expect("an answer follows a head").is_whole = true;
                self.answer(connection, StatusCode::OK, now);
            }
        }
    }

    /// A response of two bytes.
    fn answer(&mut self, connection: &mut Connection<Server>, status: StatusCode, now: Time) {
        let length = BodyLength::Known(2);
        self.send(connection, &ResponseHead::new(status), length, now);
        let method = self.exchanges.last().map_or(Method::GET, |exchange| exchange.head.method().clone());
        if self.error.is_some() || framing::allows_content(status, &method) {
            let Ok(frame) = connection.frame(2) else { return };
            for bytes in [&*frame.prefix, b"ok", frame.suffix] {
                self.sent.extend_from_slice(bytes);
            }
            let mut out = BytesMut::new();
            connection.finish(None, &mut out, now).expect("two bytes were declared and sent");
            self.sent.extend_from_slice(&out);
        }
    }

    fn send(&mut self, connection: &mut Connection<Server>, head: &ResponseHead, length: BodyLength, now: Time) {
        let mut out = BytesMut::new();
        connection.send_head(head, length, &mut out, now).expect("an answer is owed");
        self.sent.extend_from_slice(&out);
    }
}

/// Reads what was sent as a row of responses, with nothing in between or after, and counts the final ones.
fn answers_in(story: &Story) -> usize {
    let limits = Limits::default();
    let mut input = story.sent.as_slice();
    let mut methods = story.exchanges.iter().map(|exchange| exchange.head.method().clone());
    let mut finals = 0;
    while !input.is_empty() {
        let head = ResponseReader::new().receive(&mut input, &limits).expect("we send what we read");
        let head = head.expect("a head is sent whole");
        if head.status().is_informational() {
            continue;
        }
        finals += 1;
        let method = methods.next().unwrap_or(Method::GET);
        let length = framing::response_body(&head, &method).expect("we frame in one way");
        let mut body = BodyReader::new(length, &limits).expect("two bytes are few");
        while let Some(event) = body.receive(&mut input).expect("we send what we read") {
            if matches!(event, BodyEvent::End(_)) {
                break;
            }
        }
        // RFC 9112 §9.6: after a response that says close there is none.
        assert!(framing::keeps_alive(head.version(), head.fields()) || input.is_empty(), "something follows a close");
    }
    finals
}
