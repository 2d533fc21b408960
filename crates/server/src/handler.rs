//! What answers requests.

use std::future::Future;

use sheave_net::socket::Socket;

use crate::error::HandlerError;
use crate::exchange::Exchange;

/// Answers requests. One handler serves all connections of a server.
pub trait Handler<S: Socket>: Send + Sync + 'static {
    /// Answers the request of `exchange`.
    ///
    /// What it leaves undone is done for it: a response that was not begun becomes a 500, one that was begun and not
    /// ended is cut off visibly, a body that was not read is read and thrown away up to a bound.
    ///
    /// # Errors
    /// The reason why no proper answer could be given: the response is a 500, or cut off, and the reason is counted.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await point: the exchange's deadline passed, or a drain was forced.
    fn handle(&self, exchange: &mut Exchange<'_, S>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}
