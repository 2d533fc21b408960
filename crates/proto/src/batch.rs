//! One read's worth of a message, taken apart at once, so that a relay passes it on with one write.

use sheave_lifecycle::time::Time;

use crate::connection::{Connection, Event};
use crate::error::ProtocolError;
use crate::few::Few;
use crate::fields::Fields;
use crate::head::{RequestHead, ResponseHead};
use crate::role::{Client, Server};
use crate::state::{RequestState, ResponseState};

/// How many pieces of body one batch holds at most; what is left waits for the next.
const MAX_PIECES: usize = 64;

/// What one read brought of one message. Never reaches into the next message.
#[derive(Debug)]
pub struct Batch<'b, H> {
    /// Interim responses, in order. Client role only. They are seldom, and have no room in here.
    pub interim: Vec<H>,
    /// The head, if it became whole.
    pub head: Option<H>,
    /// Pieces of the body, in order, none empty.
    pub data: Few<&'b [u8], 8>,
    /// Whether the message is whole now.
    pub is_end: bool,
    /// The trailer fields that came with the end.
    pub trailers: Option<Fields>,
    /// What cannot be read of what follows.
    pub error: Option<ProtocolError>,
}

impl<H> Batch<'_, H> {
    /// Bytes of body.
    pub fn len(&self) -> usize {
        self.data.iter().map(|piece| piece.len()).sum()
    }

    /// Whether it holds no byte of body.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl<'b, H> Batch<'b, H> {
    fn new() -> Self {
        Self { interim: Vec::new(), head: None, data: Few::new(), is_end: false, trailers: None, error: None }
    }

    /// Adds an event; says whether there may be more.
    fn take(&mut self, event: Result<Option<Event<'b, H>>, ProtocolError>) -> bool {
        match event {
            Ok(None) => return false,
            Ok(Some(Event::Informational(head))) => self.interim.push(head),
            Ok(Some(Event::Head(head))) => self.head = Some(head),
            Ok(Some(Event::Data(piece))) => self.data.push(piece),
            Ok(Some(Event::End(trailers))) => {
                self.is_end = true;
                self.trailers = trailers;
                return false;
            }
            Err(error) => {
                self.error = Some(error);
                return false;
            }
        }
        self.data.len() < MAX_PIECES
    }
}

impl Connection<Server> {
    /// Takes what `input` holds of the request whose head has been received.
    ///
    /// In a tunnel that is all of it, whatever it looks like.
    pub fn receive_body_batch<'b>(&mut self, input: &mut &'b [u8], now: Time) -> Batch<'b, RequestHead> {
        let mut batch = Batch::new();
        while matches!(self.state().request, RequestState::Body | RequestState::Tunnel)
            && batch.take(self.receive(input, now))
        {}
        batch
    }

    /// The client's FIN as a batch: it is the end of its direction of a tunnel, and a request's truncation.
    pub fn receive_body_end_batch<'b>(&mut self, now: Time) -> Batch<'b, RequestHead> {
        let mut batch = Batch::new();
        let is_tunnel = self.state().request == RequestState::Tunnel;
        match self.receive_end(now) {
            Ok(()) => batch.is_end = is_tunnel,
            Err(error) => batch.error = Some(error),
        }
        batch
    }
}

impl Connection<Client> {
    /// Takes what `input` holds of the response that is owed, or under way.
    ///
    /// Bytes behind its end are left where they are: they are nobody's. Those behind a head that makes the connection a
    /// tunnel are the tunnel's.
    pub fn receive_batch<'b>(&mut self, input: &mut &'b [u8], now: Time) -> Batch<'b, ResponseHead> {
        let mut batch = Batch::new();
        while matches!(self.state().response, ResponseState::Owed | ResponseState::Body | ResponseState::Tunnel)
            && batch.take(self.receive(input, now))
        {}
        // No end follows a head that has no body.
        batch.is_end |=
            batch.head.is_some() && !matches!(self.state().response, ResponseState::Body | ResponseState::Tunnel);
        batch
    }

    /// The origin's FIN as a batch: it may be the end of a response's body, and is that of its direction of a tunnel.
    pub fn receive_end_batch<'b>(&mut self, now: Time) -> Batch<'b, ResponseHead> {
        let mut batch = Batch::new();
        let end = self.receive_end(now);
        batch.take(end);
        batch
    }
}
