//! Whole exchanges over sockets without a kernel: of a server, of a client, and of a proxy, which is both.

use std::future::poll_fn;
use std::sync::Arc;

use http::{Method, StatusCode};
use sheave_client::config::ClientConfig;
use sheave_client::origin::Origin;
use sheave_client::pool::Pool;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::Observer;
use sheave_metrics::metrics::Metrics;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proxy::config::ProxyConfig;
use sheave_proxy::proxy::Proxy;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;

use crate::canned::{Canned, ORIGIN, Queue, ToOrigin, Words, run};
use crate::typical;

const GET: &[u8] = b"GET /1k HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// For as long as the program runs.
fn kept(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

/// Serves clients that each ask so often; one after the other.
async fn serve<H: Handler<Canned>>(handler: H, clock: Clock, observer: Arc<dyn Observer>, words: Words, each: &[u64]) {
    let mut config = ServerConfig::default();
    config.connection.max_requests = u64::MAX;
    let server = Server::new(handler, config, clock, observer, Drain::default());
    for times in each {
        let (client, closed) = Canned::client(words, *times);
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(Queue(vec![client])).await }
        });
        closed.await.unwrap();
        serving.abort();
    }
}

fn proxy(
    each: &[u64],
    request: &'static [u8],
    request_end: &'static [u8],
    response: Vec<u8>,
    response_end: &'static [u8],
) {
    run(async {
        let clock = Clock::start();
        let observer = Metrics::new(1).shard(0);
        let to_origin = ToOrigin(Words { says: kept(response), hears: request_end });
        let config = ProxyConfig { pseudonym: Some("sheave-bench".to_owned()), ..ProxyConfig::default() };
        let mut client = ClientConfig::default();
        client.connection.max_requests = u64::MAX;
        let origins = vec![Origin::at(ORIGIN)];
        let proxy = Proxy::new(origins, to_origin, config, client, clock, observer.clone()).unwrap();
        let words = Words { says: request, hears: response_end };
        serve(proxy, clock, observer, words, each).await;
    });
}

pub(crate) fn get_1k(rounds: u64) {
    proxy(&[rounds], GET, b"\r\n\r\n", typical::response(1 << 10), typical::END);
}

pub(crate) fn get_100k(rounds: u64) {
    proxy(&[rounds], GET, b"\r\n\r\n", typical::response(100 << 10), typical::END);
}

pub(crate) fn chunked_100k(rounds: u64) {
    let mut response =
        b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 07:13:02 GMT\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    response.extend_from_slice(&typical::chunked(&typical::body(100 << 10)));
    proxy(&[rounds], GET, b"\r\n\r\n", response, b"0\r\n\r\n");
}

pub(crate) fn post_16k(rounds: u64) {
    let mut request = b"POST /post HTTP/1.1\r\nHost: www.example.test\r\nContent-Length: 16384\r\n\r\n".to_vec();
    request.extend_from_slice(&typical::body(16 << 10));
    proxy(&[rounds], kept(request), typical::END, typical::response(64), typical::END);
}

/// A connection for each request.
pub(crate) fn new_connection(rounds: u64) {
    let each = vec![1; usize::try_from(rounds).unwrap()];
    proxy(&each, GET, b"\r\n\r\n", typical::response(1 << 10), typical::END);
}

struct Hello;

impl<S: Socket> Handler<S> for Hello {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.fields_mut().push(Known::ContentType, b"text/plain").unwrap();
        exchange.respond(&mut head, b"Hello, end.").await
    }
}

pub(crate) fn hello(rounds: u64) {
    run(async {
        let words = Words { says: GET, hears: typical::END };
        serve(Hello, Clock::start(), Metrics::new(1).shard(0), words, &[rounds]).await;
    });
}

pub(crate) fn call(rounds: u64) {
    run(async {
        let clock = Clock::start();
        let to_origin = ToOrigin(Words { says: kept(typical::response(1 << 10)), hears: b"\r\n\r\n" });
        let mut config = ClientConfig::default();
        config.connection.max_requests = u64::MAX;
        let pool = Pool::new(to_origin, config, clock, Metrics::new(1).shard(0));
        let endpoints = [Endpoint::from(ORIGIN)];
        for _ in 0..rounds {
            let mut head = RequestHead::new(Method::GET, "/1k").unwrap();
            head.fields_mut().push(Known::Host, b"www.example.test").unwrap();
            let mut call = pool.acquire(&endpoints, Reuse::Usual).await.unwrap();
            call.send_head(&head, "/1k", BodyLength::None, clock.now()).unwrap();
            poll_fn(|cx| call.poll_flush(cx, clock.now())).await;
            while !call.has_whole_response() {
                poll_fn(|cx| call.poll_response_with(cx, clock.now(), |batch| drop(batch.head))).await.unwrap();
            }
            call.finish();
        }
    });
}
