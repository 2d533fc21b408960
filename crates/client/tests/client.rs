//! The client as its users have it, against origins that record what they get: requests, responses, redirects, retries.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use kit::message::Message;
use kit::origin::{Origin, ok};
use kit::recorder::Recorder;
use kit::run::{run, run_in_parallel};
use sheave_client::builder::ClientBuilder;
use sheave_client::client::Client;
use sheave_client::content::Content;
use sheave_client::failure::ErrorKind;
use sheave_client::redirect::{RedirectAction, RedirectFault, RedirectPolicy};
use sheave_client::url::UrlFault;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::{GiveUp, RetryPolicy, Sent};
use sheave_net::host_port::HostPort;
use sheave_net::lookup::Lookup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client, and a witness of its connections.
struct Rig {
    client: Client,
    recorder: Arc<Recorder>,
}

impl Rig {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let recorder = Arc::new(Recorder::default());
        let client = configure(Client::builder().observer(recorder.clone())).build().unwrap();
        Self { client, recorder }
    }

    /// Why connections ended, in order.
    fn ends(&self) -> Vec<CloseReason> {
        self.recorder.log().reasons(Side::Upstream)
    }

    /// Ends all, and holds the laws against what happened.
    fn finish(self) {
        let stats = self.client.pool_stats();
        assert_eq!((stats.busy, stats.waiting), (0, 0));
        drop(self.client);
        self.recorder.check_laws();
    }
}

fn url(origin: &Origin, path: &str) -> String {
    format!("http://{}{path}", origin.address)
}

/// The one request that came.
fn only(origin: &Origin) -> Message {
    let mut requests = origin.requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0).1
}

/// An origin that answers each request with what `answer` makes of it.
async fn answering(answer: impl Fn(&Message) -> String + Clone + Send + Sync + 'static) -> Origin {
    Origin::start(move |mut connection| {
        let answer = answer.clone();
        async move {
            while let Some(request) = connection.request().await {
                if !connection.wire.try_send(answer(&request)).await {
                    return;
                }
            }
        }
    })
    .await
}

#[test]
fn requests_are_what_they_were_made_to_be() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::with(|builder| builder.user_agent("sheave").default_header("x-all", "yes"));
        let response = rig
            .client
            .post(url(&origin, "/a?b=c"))
            .query(&[("d e", "f&g")])
            .header("X-One", "1")
            .header("x-one", "2")
            .basic_auth("user", Some("pass"))
            .body("hello")
            .send()
            .await
            .unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_11));
        assert_eq!(response.url().to_string(), url(&origin, "/a?b=c&d+e=f%26g"));
        assert_eq!((response.remote_addr(), response.content_length()), (origin.address, Some(2)));
        assert!(!response.connection().is_reused && response.connection().secured.is_none());
        assert_eq!(response.text().await.unwrap(), "ok");
        let request = only(&origin);
        let host = origin.address.to_string();
        assert_eq!(request.head.start, "POST /a?b=c&d+e=f%26g HTTP/1.1");
        assert_eq!(request.head.fields[0], ("Host".to_owned(), host));
        for (name, values) in [
            ("x-one", &["1", "2"][..]),
            ("authorization", &["Basic dXNlcjpwYXNz"]),
            ("content-length", &["5"]),
            ("user-agent", &["sheave"]),
            ("x-all", &["yes"]),
        ] {
            assert_eq!(request.all(name), values, "{name}");
        }
        assert_eq!(request.body, b"hello");
        rig.finish();
    });
}

/// Without content, and with what comes in pieces.
#[test]
fn content_is_framed_as_it_comes() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::new();
        let (none, zero, chunked) = (None, Some("0"), Some("chunked"));
        for (method, content, length, coding, body) in [
            (Method::GET, Content::empty(), none, none, ""),
            (Method::DELETE, Content::empty(), none, none, ""),
            (Method::POST, Content::empty(), zero, none, ""),
            (Method::PUT, Content::from("abc"), Some("3"), none, "abc"),
            (Method::GET, Content::from(vec![b'x'; 3]), Some("3"), none, "xxx"),
            (Method::POST, Content::stream(Pieces::of(["ab", "c"])), none, chunked, "abc"),
            (Method::POST, Content::of(Pieces::of(["ab", "c"]).sized()), Some("3"), none, "abc"),
        ] {
            let text = format!("{method} {content:?}");
            let response = rig.client.request(method, url(&origin, "/")).body(content).send().await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), "ok", "{text}");
            let request = only(&origin);
            assert_eq!(
                (request.field("content-length"), request.field("transfer-encoding")),
                (length, coding),
                "{text}"
            );
            assert_eq!(request.body, body.as_bytes(), "{text}");
        }
        assert_eq!(origin.accepted(), 1, "one connection is enough");
        rig.finish();
    });
}

/// Pieces of content, as a stream or a body.
struct Pieces {
    left: Vec<Result<Frame<Bytes>, io::Error>>,
    size: Option<u64>,
}

impl Pieces {
    fn of<const N: usize>(pieces: [&'static str; N]) -> Self {
        let mut left: Vec<_> = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece)))).collect();
        left.reverse();
        Self { left, size: None }
    }

    fn sized(mut self) -> Self {
        let len = |frame: &Result<Frame<Bytes>, io::Error>| frame.as_ref().unwrap().data_ref().unwrap().len() as u64;
        self.size = Some(self.left.iter().map(len).sum());
        self
    }

    /// Ends with it.
    fn then(mut self, last: Result<Frame<Bytes>, io::Error>) -> Self {
        self.left.insert(0, last);
        self
    }
}

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.left.pop().map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.left.pop())
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[test]
fn content_and_trailers_go_both_ways() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            while connection.request().await.is_some() {
                connection
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nEtag: x\r\n\r\n")
                    .await;
            }
        })
        .await;
        let rig = Rig::new();
        let trailers: HeaderMap = [(http::header::ETAG, "y".parse().unwrap())].into_iter().collect();
        let body = Pieces::of(["hello"]).then(Ok(Frame::trailers(trailers)));
        let request = Request::put(url(&origin, "/x")).header("trailer", "etag").body(body).unwrap();
        let response = rig.client.execute(request).await.unwrap();
        let (bytes, trailers) = response.bytes_and_trailers().await.unwrap();
        assert_eq!((&bytes[..], trailers.unwrap()["etag"].to_str().unwrap()), (&b"abc"[..], "x"));
        let request = only(&origin);
        assert_eq!((&request.body[..], kit::message::named(&request.trailers, "etag")), (&b"hello"[..], vec!["y"]));
        // Piece by piece, and as the ecosystem's types.
        let mut response = rig.client.get(url(&origin, "/")).send().await.unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = response.chunk().await.unwrap() {
            pieces.extend_from_slice(&piece);
        }
        assert_eq!(pieces, b"abc");
        let response = rig.client.get(url(&origin, "/")).send().await.unwrap().into_http();
        assert!(response.extensions().get::<sheave_client::connection_facts::ConnectionFacts>().unwrap().is_reused);
        assert_eq!(response.into_body().bytes(3).await.unwrap(), "abc");
        rig.finish();
    });
}

#[test]
fn connections_are_free_when_the_last_byte_has_come() {
    run(async {
        let origin = answering(|_| ok(&"x".repeat(1000))).await;
        let rig = Rig::new();
        let first = rig.client.get(url(&origin, "/1")).send().await.unwrap();
        // Its content came with its head, or is here a moment later: that it is not asked for stands in nobody's way.
        let (text, second) = (first.text(), rig.client.get(url(&origin, "/2")).send().await.unwrap());
        assert_eq!((text.await.unwrap().len(), second.text().await.unwrap().len()), (1000, 1000));
        let stats = rig.client.pool_stats();
        assert_eq!((stats.busy, stats.idle), (0, origin.accepted()));
        rig.client.close_idle_connections();
        assert_eq!(rig.client.pool_stats().idle, 0);
        rig.finish();
    });
}

#[test]
fn a_response_that_is_dropped_takes_its_connection_along() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            connection.wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            connection.drain().await;
        })
        .await;
        let rig = Rig::new();
        for count in 1..3 {
            let response = rig.client.get(url(&origin, "/")).send().await.unwrap();
            drop(response);
            assert_eq!(rig.ends(), vec![CloseReason::Cancelled; count]);
        }
        assert_eq!(origin.accepted(), 2);
        rig.finish();
    });
}

#[test]
fn a_response_larger_than_wanted_is_an_error() {
    run(async {
        let origin = answering(|request| match request.target() {
            "/known" => ok("hello"),
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n".to_owned(),
        })
        .await;
        let rig = Rig::with(|builder| builder.max_collected_bytes(5));
        for path in ["/known", "/chunked"] {
            let get = || rig.client.get(url(&origin, path)).send();
            assert_eq!(get().await.unwrap().bytes().await.unwrap(), "hello");
            let error = get().await.unwrap().bytes_up_to(4).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TooLarge { max_bytes: 4 }), "{error:?}");
            assert_eq!((error.label(), error.request_was_sent()), ("response-too-large", Sent::Yes));
        }
        rig.finish();
    });
}

#[test]
fn heads_without_content() {
    run(async {
        let origin = answering(|request| match request.target() {
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_owned(),
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_owned(),
        })
        .await;
        let rig = Rig::new();
        for (method, path, status) in [(Method::HEAD, "/", 200), (Method::GET, "/304", 304), (Method::GET, "/204", 204)]
        {
            let response = rig.client.request(method, url(&origin, path)).send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.content_length()), (status, Some(0)));
            assert_eq!(response.bytes().await.unwrap(), "");
        }
        assert_eq!(origin.accepted(), 1);
        rig.finish();
    });
}

/// What cannot be sent is told before anything is.
#[test]
fn what_cannot_be_sent() {
    run(async {
        let rig = Rig::new();
        let client = &rig.client;
        for (request, label) in [
            (client.get("/path"), "invalid-url"),
            (client.get("http://a b/"), "invalid-url"),
            (client.get("ftp://a/"), "invalid-url"),
            (client.get("http://a..b/"), "invalid-url"),
            (client.get("http://a/").header("a b", "c"), "invalid-request"),
            (client.get("http://a/").header("a", "b\n"), "invalid-request"),
            (client.get("http://a/").bearer_auth("a\n"), "invalid-request"),
            (client.get("http://a/").version(http::Version::HTTP_3), "invalid-request"),
            (client.get("http://127.0.0.1/").header("upgrade", "a").version(http::Version::HTTP_2), "invalid-request"),
            (client.request(Method::CONNECT, "http://127.0.0.1/"), "invalid-request"),
            (client.post("http://127.0.0.1/").header("content-length", "4").body("five5"), "invalid-request"),
            (client.post("http://127.0.0.1/").header("content-length", "x").body("x"), "invalid-request"),
        ] {
            let error = request.send().await.unwrap_err();
            assert_eq!((error.label(), error.request_was_sent()), (label, Sent::No), "{error}");
            assert!(error.is_builder() && !error.is_safe_to_retry() && error.attempts() == 0, "{error}");
        }
        assert!(rig.recorder.log().opened.is_empty());
        rig.finish();
    });
}

#[test]
fn why_there_is_no_connection() {
    run(async {
        struct Nobody;
        impl Lookup for Nobody {
            async fn lookup(&self, _: &HostPort) -> io::Result<Vec<SocketAddr>> {
                Err(io::Error::other("no such host"))
            }
        }
        let rig = Rig::with(|builder| builder.resolver(Nobody));
        let error = rig.client.get("http://nobody.example/").send().await.unwrap_err();
        assert_eq!((error.label(), error.request_was_sent()), ("lookup-failed", Sent::No));
        assert!(error.is_connect() && error.is_safe_to_retry() && !error.is_timeout());
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no such host");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = rig.client.post(format!("http://{address}/")).body("x").send().await.unwrap_err();
        assert_eq!((error.label(), error.request_was_sent()), ("upstream-connect-refused", Sent::No));
        assert!(error.is_connect() && error.is_safe_to_retry());
        assert_eq!(error.close_reason().map(CloseReason::label), Some("peer-reset"));
        rig.finish();
    });
}

/// Names are resolved by whom they are to be.
#[test]
fn names_are_looked_up() {
    run(async {
        let origin = Origin::friendly().await;
        struct One(SocketAddr);
        impl Lookup for One {
            async fn lookup(&self, _: &HostPort) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![self.0])
            }
        }
        let lookup = One(origin.address);
        let rig = Rig::with(|builder| builder.resolver(lookup));
        for _ in 0..2 {
            let response = rig.client.get("http://Some.Example/").send().await.unwrap();
            assert_eq!(response.remote_addr(), origin.address);
            assert_eq!(response.text().await.unwrap(), "ok");
            assert_eq!(only(&origin).field("host"), Some("some.example"));
        }
        rig.finish();
    });
}

/// Retries happen on evidence, under a budget, with content that is still here; else the error says why not.
#[test]
fn retries_on_evidence() {
    run(async {
        // Every second connection answers; the others are closed without a word.
        let moody = async || {
            Origin::start(async |mut connection| {
                connection.must_request().await;
                if connection.number % 2 == 1 {
                    connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
                }
            })
            .await
        };
        let long = || Content::stream(Pieces::of([LONG, "x"]));
        let policy = |max_attempts| RetryPolicy { max_attempts, ..RetryPolicy::default() };
        for (method, content, policy, key, expected) in [
            (Method::GET, Content::empty(), policy(3), false, None),
            (Method::PUT, Content::from("x"), policy(3), false, None),
            (Method::PUT, Content::stream(Pieces::of(["a", "b"])), policy(3), false, None),
            (Method::PUT, long(), policy(3), false, Some(GiveUp::BodyGone)),
            (Method::GET, Content::empty(), policy(1), false, Some(GiveUp::Attempts)),
            (Method::POST, Content::from("x"), policy(3), false, Some(GiveUp::NoEvidence)),
            (Method::POST, Content::from("x"), policy(3), true, None),
        ] {
            let origin = moody().await;
            let rig = Rig::with(|builder| builder.retry(policy).trust_idempotency_key(key));
            let text = format!("{method} {content:?} {policy:?} {key}");
            let request = rig.client.request(method.clone(), url(&origin, "/")).header("idempotency-key", "1");
            let sent = request.body(content).send().await;
            match (sent, expected) {
                (Ok(response), None) => {
                    assert_eq!(response.connection().attempts, 2, "{text}");
                    assert_eq!(response.text().await.unwrap(), "ok");
                    let bodies: Vec<_> = origin.requests().into_iter().map(|(_, request)| request.body).collect();
                    assert_eq!((bodies.len(), &bodies[0]), (2, &bodies[1]), "the same twice: {text}");
                }
                (Err(error), Some(why)) => {
                    assert_eq!((error.gave_up(), error.attempts()), (Some(why), 1), "{text}");
                    assert_eq!(error.label(), "upstream-closed");
                    assert_eq!(
                        (error.request_was_sent(), error.is_safe_to_retry()),
                        (Sent::Maybe, method != Method::POST)
                    );
                }
                (sent, expected) => panic!("{text}: {sent:?}, not {expected:?}"),
            }
            rig.finish();
        }
    });
}

/// More than is kept of a stream.
const LONG: &str = match std::str::from_utf8(&[b'x'; 70_000]) {
    Ok(text) => text,
    Err(_) => "",
};

#[test]
fn truncated_content_is_never_whole() {
    run(async {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            let origin = Origin::start(move |mut connection| async move {
                connection.must_request().await;
                connection.send(response).await;
            })
            .await;
            let rig = Rig::new();
            let got = rig.client.get(url(&origin, "/")).send().await.unwrap();
            let error = got.bytes().await.unwrap_err();
            assert_eq!((error.label(), error.request_was_sent()), ("upstream-truncated", Sent::Yes), "{response:?}");
            assert_eq!(error.close_reason(), Some(CloseReason::Truncated));
            rig.finish();
        }
    });
}

/// Content that fails ends its request visibly, and its connection.
#[test]
fn content_that_fails() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::new();
        let content = Content::of(Pieces::of(["hello"]).then(Err(io::Error::other("out of order"))));
        let error = rig.client.put(url(&origin, "/")).body(content).send().await.unwrap_err();
        assert_eq!((error.label(), error.attempts()), ("content-failed", 1));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "out of order");
        assert_eq!(rig.ends(), [CloseReason::Cancelled]);
        assert!(origin.requests().is_empty(), "what is not whole is no request");
        rig.finish();
    });
}

#[test]
fn redirects_are_followed_by_policy() {
    run(async {
        let other = answering(|request| ok(&format!("{:?}", request.field("authorization")))).await;
        let elsewhere = url(&other, "/");
        let origin = answering(move |request| {
            let moved = |status: &str, to: &str| {
                format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 5\r\n\r\nmoved")
            };
            match request.target() {
                "/303" => moved("303", "seen?x"),
                "/307" => moved("307", "/seen"),
                "/loop" => moved("302", "/loop"),
                "/away" => moved("302", &elsewhere),
                "/ftp" => moved("301", "ftp://a/"),
                "/user" => moved("301", "//a@b/"),
                target => ok(&format!("{} {target} {}", request.head.request_line().0, request.text())),
            }
        })
        .await;
        let rig = Rig::new();
        let send = async |method: Method, path: &str, content: Content| {
            rig.client.request(method, url(&origin, path)).bearer_auth("t").body(content).send().await
        };
        for (method, path, text) in [
            (Method::POST, "/303", "GET /seen?x "),
            (Method::POST, "/307", "POST /seen hello"),
            (Method::POST, "/away", "None"),
        ] {
            let response = send(method, path, Content::from("hello")).await.unwrap();
            assert_eq!(response.text().await.unwrap(), text, "{path}");
        }
        assert_eq!(origin.accepted(), 1, "what nobody reads of a redirect is read away");
        for (path, content, label) in [
            ("/loop", Content::empty(), "redirect-too-many"),
            ("/ftp", Content::empty(), "redirect-location"),
            ("/user", Content::empty(), "redirect-location"),
            ("/307", Content::stream(Pieces::of([LONG])), "redirect-content-gone"),
        ] {
            let error = send(Method::POST, path, content).await.unwrap_err();
            assert!(error.is_redirect() && !error.is_safe_to_retry());
            assert_eq!(error.label(), label);
            if let ErrorKind::Redirect(RedirectFault::Location(fault)) = error.kind() {
                assert_eq!(*fault, if path == "/ftp" { UrlFault::Scheme } else { UrlFault::Credentials });
            }
        }
        rig.finish();
        for policy in [RedirectPolicy::none(), RedirectPolicy::custom(|_| RedirectAction::Stop)] {
            let rig = Rig::with(|builder| builder.redirect(policy));
            let response = rig.client.get(url(&origin, "/303")).send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (303, "moved"));
            rig.finish();
        }
    });
}

/// Content waits until it is asked for, refused, or nobody has answered for a while.
#[test]
fn content_waits_to_be_asked_for() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            loop {
                let Ok(head) = connection.wire.head().await else { return };
                let answer = match head.target() {
                    "/continue" => "HTTP/1.1 100 Continue\r\n\r\n",
                    "/hint" => "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
                    "/silent" => "",
                    "/known" if head.field("expect").is_none() => "",
                    "/known" => "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
                    _ => "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
                };
                connection.send(answer).await;
                if answer.contains(" 4") {
                    connection.drain().await;
                    return;
                }
                let mut body = Vec::new();
                while body.len() < 5 {
                    body.extend(connection.wire.take().await.unwrap());
                }
                connection.send(ok(std::str::from_utf8(&body).unwrap())).await;
            }
        })
        .await;
        let rig = Rig::with(|builder| builder.continue_timeout(Duration::from_millis(20)));
        for (path, status, text) in [
            ("/continue", 200, "hello"),
            ("/hint", 200, "hello"),
            ("/silent", 200, "hello"),
            ("/known", 200, "hello"),
            ("/refused", 413, ""),
        ] {
            let response = rig.client.put(url(&origin, path)).expect_continue().body("hello").send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(response.text().await.unwrap(), text, "{path}");
        }
        rig.finish();
    });
}

/// The last clone takes all along: connections, and the tasks that looked after them.
#[test]
fn interim_responses_are_shown() {
    run(async {
        let origin = answering(|request| match request.target() {
            "/" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 302 Found\r\n\
                    Location: /there\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            }
            _ => format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("ok")),
        })
        .await;
        let rig = Rig::new();
        let shown = Arc::new(std::sync::Mutex::new(Vec::new()));
        let shown_too = shown.clone();
        let request = rig.client.get(url(&origin, "/")).on_informational(move |interim| {
            let link = interim.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            shown_too.lock().unwrap().push((interim.status().as_u16(), link));
        });
        assert!(request.try_clone().is_some() && format!("{request:?}").starts_with("RequestBuilder"));
        let response = request.send().await.unwrap();
        assert_eq!((response.status(), response.text().await.unwrap()), (StatusCode::OK, "ok".to_owned()));
        let shown = std::mem::take(&mut *shown.lock().unwrap());
        assert_eq!(shown, [(103, Some("</a>".to_owned())), (102, None), (100, None)]);
        rig.finish();
    });
}

/// Answers offers to switch as their path says, and echoes what comes through the tunnel, in capitals.
async fn switching() -> Origin {
    Origin::start(|mut connection| async move {
        while let Some(request) = connection.request().await {
            assert_eq!((request.field("Upgrade"), request.field("Connection")), (Some("shout"), Some("upgrade")));
            if request.target() == "/declines" {
                connection.send(ok("not today")).await;
                continue;
            }
            let early = if request.target() == "/early" { "EARLY" } else { "" };
            connection
                .send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n{early}"
                ))
                .await;
            if request.target() == "/cut" {
                return connection.wire.reset();
            }
            while let Ok(heard) = connection.wire.take().await {
                if !connection.wire.try_send(heard.to_ascii_uppercase()).await {
                    return;
                }
            }
            return;
        }
    })
    .await
}

#[test]
fn a_connection_that_switches_is_the_callers() {
    run_in_parallel(async {
        let origin = switching().await;
        let rig = Rig::new();
        let ask = |path| rig.client.get(url(&origin, path)).header("connection", "upgrade").header("upgrade", "shout");
        let response = ask("/early").timeout(Duration::from_secs(5)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut stream = response.upgrade().await.unwrap();
        assert_eq!(
            (rig.client.pool_stats().busy, rig.client.pool_stats().idle),
            (1, 0),
            "it counts as long as it is there"
        );
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"EARLY", "what came with the head is not lost");
        // Both halves at once, in tasks of their own, with more than the buffers of both sides hold.
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent = tokio::spawn(async move {
            writer.write_all(&vec![b'a'; 8_000_000]).await.unwrap();
            writer.shutdown().await.unwrap();
            writer
        });
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert!(heard.len() == 8_000_000 && heard.iter().all(|byte| *byte == b'A'));
        drop((reader, sent.await.unwrap()));

        // One that is not switched is a response like others, on a connection that is kept.
        for _ in 0..2 {
            let response = ask("/declines").send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "not today");
        }
        assert_eq!(origin.accepted(), 2);
        let error = ask("/declines").send().await.unwrap().upgrade().await.unwrap_err();
        assert_eq!((error.label(), error.request_was_sent()), ("not-upgraded", Sent::Yes));
        // A 101 has no content, and what is behind it is no content either.
        let response = ask("/early").send().await.unwrap();
        assert_eq!((response.content_length(), response.bytes().await.unwrap().len()), (Some(0), 0));
        // An origin's reset is no end.
        let mut stream = ask("/cut").send().await.unwrap().upgrade().await.unwrap();
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(stream);
        assert_eq!(rig.client.pool_stats().busy, 0);
        rig.finish();
    });
}

#[test]
fn nothing_is_left_of_a_client() {
    run(async {
        let origin = Origin::friendly().await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let rig = Rig::new();
        let client = rig.client.clone();
        assert_eq!(client.get(url(&origin, "/")).send().await.unwrap().text().await.unwrap(), "ok");
        drop(rig.client);
        assert_eq!(client.pool_stats().idle, 1);
        drop(client);
        assert_eq!(rig.recorder.log().reasons(Side::Upstream).len(), 1);
        rig.recorder.check_laws();
        // The origin's one task for the connection ends when it sees the end, and the client's with the next turn.
        while tasks() > 1 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A client outlives the runtime of its first request.
#[test]
fn another_runtime_begins_anew() {
    let rig = Rig::new();
    for _ in 0..2 {
        run(async {
            let origin = Origin::friendly().await;
            for turn in 0..2 {
                let response = rig.client.get(url(&origin, "/")).send().await.unwrap();
                assert_eq!(response.connection().is_reused, turn > 0);
                assert_eq!(response.text().await.unwrap(), "ok");
            }
        });
        assert_eq!(rig.client.pool_stats().idle, 0, "they ended with their runtime");
    }
    rig.finish();
}

/// Futures and what they give can be moved and shared between threads.
#[test]
fn all_is_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync>() {}
    fn is_send<T: Send>(_: &T) {}
    is_send_and_sync::<Client>();
    is_send_and_sync::<sheave_client::request::RequestBuilder>();
    is_send_and_sync::<sheave_client::response::Response>();
    is_send_and_sync::<sheave_client::response_body::ResponseBody>();
    is_send_and_sync::<sheave_client::failure::Error>();
    let client = Client::new();
    is_send(&client.get("http://a/").send());
}
