//! Answers the admin address.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use sheave_metrics::metrics::{CONTENT_TYPE, Metrics};
use sheave_net::socket::Socket;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;

use super::drain::DrainView;
use super::origins;
use super::pages;
use super::readiness::Readiness;
use crate::pools::Pools;
use crate::sink::Counts;

/// How many turns of the thread's other tasks an answer waits for, to show what they did.
const TURNS: usize = 16;

/// The admin pages' handler.
pub(crate) struct Admin {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    drain: DrainView,
    access_log: Option<Box<dyn Fn() -> Counts + Send + Sync>>,
    pools: Pools,
}

impl Admin {
    /// Pages about these numbers, this readiness, this drain, an access log, if there is one, and these pools.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        readiness: Readiness,
        drain: DrainView,
        access_log: Option<Box<dyn Fn() -> Counts + Send + Sync>>,
        pools: Pools,
    ) -> Self {
        Self { metrics, readiness, drain, access_log, pools }
    }

    /// Begins a drain, if who asks may.
    async fn begin_drain(&self, peer: Option<SocketAddr>, has_origin: bool) -> Page {
        if let Err((status, why)) = self.drain.ask(peer, has_origin) {
            return Page::text(status, why);
        }
        // The process's course is another task of this thread: after its turn the answer shows what it did.
        for _ in 0..TURNS {
            if self.drain.is_draining() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Page::json(StatusCode::ACCEPTED, self.drain.page())
    }

    fn page(&self, target: &str) -> Page {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        match path {
            "/" => Page::text(StatusCode::OK, pages::INDEX),
            "/healthz" => Page::text(StatusCode::OK, "ok\n"),
            "/readyz" if self.readiness.is_ready() => Page::text(StatusCode::OK, "ready\n"),
            "/readyz" => Page::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/metrics" => {
                let access_log = self.access_log.as_ref().map(|counts| counts());
                let addresses = self.pools.addresses();
                let body = pages::metrics(self.metrics.encode(), access_log, &addresses).into_bytes();
                Page { status: StatusCode::OK, content_type: CONTENT_TYPE, body }
            }
            "/connections" => match pages::limit(query) {
                Ok(limit) => Page::json(StatusCode::OK, pages::connections(self.metrics.connections(), limit)),
                Err(what) => Page::text(StatusCode::BAD_REQUEST, what),
            },
            "/origins" => Page::json(StatusCode::OK, origins::page(&self.pools.addresses())),
            "/drain" => Page::json(StatusCode::OK, self.drain.page()),
            _ => Page::text(StatusCode::NOT_FOUND, "there is nothing here; / says what there is\n"),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl<S: Socket> Handler<S> for Admin {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let request = exchange.request();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_drain = request.path_and_query() == "/drain";
        let page = if is_read {
            self.page(request.path_and_query())
        } else if is_drain && request.method() == Method::POST {
            let has_origin = request.fields().contains(Known::Origin);
            self.begin_drain(exchange.peer(), has_origin).await
        } else {
            Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD, and POST /drain\n")
        };
        let mut head = ResponseHead::new(page.status);
        let fields = head.fields_mut();
        let mut push =
            |name, value: &str| fields.push(name, value.as_bytes()).map_err(|_| HandlerError::Failed("admin-field"));
        push(Known::ContentType, page.content_type)?;
        push(Known::CacheControl, "no-store")?;
        if page.status == StatusCode::METHOD_NOT_ALLOWED {
            push(Known::Allow, if is_drain { "GET, HEAD, POST" } else { "GET, HEAD" })?;
        }
        exchange.respond(&mut head, &page.body).await
    }
}

/// One answer.
struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Page {
    fn text(status: StatusCode, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.as_bytes().to_vec() }
    }

    fn json(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", body }
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::drain::DrainPlan;
    use sheave_net::clock::Clock;
    use sheave_net::drain::Drain;

    use super::*;
    use sheave_net::balance::Loads;

    fn admin(readiness: Readiness) -> Admin {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let drains = vec![Drain::default()];
        let view = DrainView::new(drains, Loads::new(1), DrainPlan::default(), Clock::start(), events);
        Admin::new(Arc::new(Metrics::new(1)), readiness, view, None, Pools::default())
    }

    #[test]
    fn ready_until_the_drain_begins() {
        let readiness = Readiness::default();
        let admin = admin(readiness.clone());
        assert_eq!(admin.page("/readyz").status, StatusCode::OK);
        readiness.drain();
        assert_eq!(admin.page("/readyz").status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(admin.page("/healthz").status, StatusCode::OK);
    }

    #[test]
    fn every_page_that_is_listed_is_there() {
        let admin = admin(Readiness::default());
        for path in pages::INDEX.split_whitespace().filter(|word| word.starts_with('/')) {
            assert_eq!(admin.page(path).status, StatusCode::OK, "{path}");
        }
        for (target, status) in [
            ("/connections?limit=5", StatusCode::OK),
            ("/connections?limit=x", StatusCode::BAD_REQUEST),
            ("/metrics?x=y", StatusCode::OK),
            ("/nothing", StatusCode::NOT_FOUND),
            ("/metrics/", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(admin.page(target).status, status, "{target}");
        }
    }
}
