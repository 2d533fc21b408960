//! A drain under way, to be waited for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sheave_lifecycle::drain::DrainReport;
use sheave_net::drain::Drain;

use crate::live::Live;

/// A drain that has begun. As a future it is ready when every listener of the server is closed and every connection has
/// ended, and says what became of them. It need not be waited for: dropped, the drain goes on.
pub struct Draining(Pin<Box<dyn Future<Output = DrainReport> + Send>>);

impl Draining {
    pub(crate) fn of(live: Arc<Live>, drain: Drain) -> Self {
        Self(Box::pin(async move {
            loop {
                let ended = live.ended();
                if live.is_over() {
                    return drain.report();
                }
                ended.await;
            }
        }))
    }
}

impl Future for Draining {
    type Output = DrainReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DrainReport> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining").finish_non_exhaustive()
    }
}
