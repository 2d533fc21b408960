//! A response's head, and what is known of the content behind it, before it is decided whose it is.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use sheave_lifecycle::retry::Progress;
use sheave_net::socket::Socket;
use sheave_proto::error::ProtocolError;

use crate::connection_facts::ConnectionFacts;
use crate::content::Content;
use crate::conversation::Conversation;
use crate::error::{CallError, ClientError};
use crate::failure::ErrorKind;
use crate::response_head::{Head, MAX_FIELDS};
use crate::upgraded::Upgraded;

/// How long the rest of a response is waited for that nobody wants.
const MAX_DISCARDING: Duration = Duration::from_millis(100);

/// A response whose content may still be on its way.
pub(crate) struct Answer<S: Socket> {
    pub(crate) head: Head,
    pub(crate) facts: ConnectionFacts,
    pub(crate) rest: Rest<S>,
    /// The request's content, where the exchange is over.
    content: Content,
}

/// The content of a response as far as it has not been taken.
pub(crate) struct Rest<S: Socket> {
    /// `None` when the exchange is over, and its connection is kept or closed.
    conversation: Option<Box<Conversation<S>>>,
    ready: Bytes,
    /// Seldom there: in a box, so that a response is small.
    trailers: Option<Box<HeaderMap>>,
}

impl<S: Socket> Answer<S> {
    /// What arrived first, which is a head.
    ///
    /// # Errors
    /// It has more fields than there is room for.
    pub(crate) fn of(mut conversation: Box<Conversation<S>>, attempts: u32) -> Result<Self, ErrorKind> {
        let call = conversation.call();
        let facts = ConnectionFacts {
            address: call.address(),
            id: call.connection_id(),
            is_reused: call.is_reused(),
            secured: call.secured().cloned(),
            attempts,
        };
        let refused = |error| ErrorKind::Exchange(ClientError::Call(CallError::Protocol(error), Progress::Answered));
        // The connection shows a head before any content.
        let head = conversation.arrived_mut().head.take().ok_or_else(|| refused(ProtocolError::TruncatedHead))?;
        let head = Head::of(head).ok_or_else(|| refused(ProtocolError::TooManyFields { limit: MAX_FIELDS }))?;
        let mut rest = Rest { conversation: Some(conversation), ready: Bytes::new(), trailers: None };
        let content = rest.take();
        Ok(Self { head, facts, rest, content })
    }

    /// Reads no more than so many bytes of the response, and not for long, so that its connection can be used again; gives
    /// the request's content back.
    pub(crate) async fn discard(mut self, max_bytes: usize) -> Content {
        let mut discarded = 0;
        let read = async {
            while discarded <= max_bytes
                && let Some(conversation) = &mut self.rest.conversation
                && let Ok(()) = poll_fn(|cx| conversation.poll_arrived(cx)).await
            {
                let content = self.rest.take();
                discarded += self.rest.ready.len();
                if self.rest.conversation.is_none() {
                    self.content = content;
                }
            }
        };
        // Longer than that, a new connection is had sooner.
        let _ = tokio::time::timeout(MAX_DISCARDING, read).await;
        match self.rest.conversation {
            Some(conversation) => conversation.give_up(),
            None => self.content,
        }
    }
}

impl<S: Socket> Rest<S> {
    /// Takes what arrived; where that was the end, the connection is free from here on, whenever the content is read. Gives
    /// the request's content back then.
    fn take(&mut self) -> Content {
        let Some(conversation) = &mut self.conversation else { return Content::empty() };
        let arrived = conversation.arrived_mut();
        self.ready = std::mem::take(&mut arrived.data);
        self.trailers =
            arrived.trailers.take().as_ref().and_then(|fields| HeaderMap::try_from(fields).ok().map(Box::new));
        match self.conversation.take_if(|conversation| conversation.arrived().is_end) {
            Some(conversation) => conversation.finish(),
            None => Content::empty(),
        }
    }

    /// The next part, content or trailers; `None` after the end.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorKind>>> {
        loop {
            // A 101 has no content: what came behind it is the other protocol's.
            if !self.ready.is_empty() && !self.is_tunnel() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready)))));
            }
            let Some(conversation) = self.conversation.as_mut().filter(|conversation| !conversation.is_tunnel()) else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))));
            };
            match ready!(conversation.poll_arrived(cx)) {
                Ok(()) => {
                    self.take();
                }
                Err(broken) => {
                    if let Some(conversation) = self.conversation.take() {
                        conversation.end(&broken);
                    }
                    return Poll::Ready(Some(Err(broken.into())));
                }
            }
        }
    }

    /// Nobody wants what is left: the connection is closed.
    pub(crate) fn give_up(&mut self) {
        (self.conversation, self.ready, self.trailers) = (None, Bytes::new(), None);
    }

    fn is_tunnel(&self) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.is_tunnel())
    }

    /// What the connection has switched to, if it has, and the request's content was whole.
    pub(crate) fn into_upgraded(self) -> Option<Upgraded<S>> {
        let conversation = self.conversation.filter(|conversation| conversation.is_tunnel())?;
        conversation.into_upgraded(self.ready)
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_tunnel() || self.ready.is_empty() && self.conversation.is_none() && self.trailers.is_none()
    }

    /// How many bytes are left, where that is certain.
    pub(crate) fn left(&self) -> Option<u64> {
        self.conversation.is_none().then_some(self.ready.len() as u64)
    }
}
