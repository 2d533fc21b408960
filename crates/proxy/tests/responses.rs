//! What of an origin's response reaches the client: all of it framed anew, or a 502, or a visible cut; and whether the
//! origin's connection serves again.

mod kit;

use std::sync::Arc;

use kit::message::{Lines, Message};
use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{Cut, End};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;
use sheave_proto::limits::Limits;
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An origin that answers each connection's first request with `response`, byte by byte or at once, and the others with
/// `next`.
async fn origin_saying(response: &[u8], is_whole: bool) -> Origin {
    let response = response.to_vec();
    Origin::start(move |mut connection| {
        let response = response.clone();
        async move {
            if connection.request().await.is_none() {
                return;
            }
            if is_whole {
                connection.wire.try_send(&response).await;
            } else {
                connection.wire.send_bytewise(&response).await;
            }
            while connection.request().await.is_some() {
                connection.wire.try_send(ok("next")).await;
            }
        }
    })
    .await
}

/// Each is answered with 502 for the client, on a connection that goes on; the origin's is closed for breaking that rule.
fn refuses(setup: &Setup, table: &[(&str, &'static str)]) {
    run(async {
        let mut wrong = Vec::new();
        for (response, rule) in table {
            for is_whole in [true, false] {
                let origin = origin_saying(response.as_bytes(), is_whole).await;
                let rig = Rig::start(&[origin.address], setup.clone());
                let mut client = rig.client().await;
                let answer = client.ask(GET).await;
                let sent = answer.field("Sheave-Error").map(str::to_owned);
                let closed = rig.recorder.until_closed(Side::Upstream, 1).await.reason;
                let happened = (answer.status(), sent.as_deref(), closed);
                let cause = "upstream-protocol-error; request-sent=yes; attempts=1; gave-up=response-begun";
                let expected = (502, Some(cause), CloseReason::Protocol(rule));
                if happened != expected || answer.says_close() || !answer.text().contains("upstream-protocol-error") {
                    wrong.push(format!("{response:?} (whole: {is_whole}): {happened:?}, not {rule}"));
                }
                client.fin();
                assert_eq!(client.end().await, End::Fin, "{response:?}");
                assert_eq!(origin.requests().len(), 1, "not asked again: {response:?}");
                drop(client);
                rig.finish().await;
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len() * 2, wrong.join("\n"));
    });
}

#[test]
fn what_is_no_response() {
    refuses(
        &Setup::default(),
        &[
            ("<html>hello</html>", "not-http"),
            ("ICY 200 OK\r\n\r\n", "not-http"),
            ("http/1.1 200 OK\r\n\r\n", "not-http"),
            ("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not-http"),
            (" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not-http"),
            ("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "unsupported-version"),
            ("HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "unsupported-version"),
            ("HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", "malformed-version"),
            ("HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n", "malformed-version"),
            ("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            ("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", "invalid-status"),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\u{81}\u{5}hello",
                "unasked-switch",
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "unasked-switch"),
        ],
    );
}

#[test]
fn heads_that_have_two_readings() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok");
    let table = [
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned(), "bare-lf"),
        ("HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok".into(), "bare-lf"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok".into(), "bare-lf"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok".into(), "bare-lf"),
        ("HTTP/1.1 200 OK\rContent-Length: 2\r\n\r\nok".into(), "bare-cr"),
        ("HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok".into(), "control-byte"),
        (head("Content-Length: 2\r\nA: b\rC: d"), "bare-cr"),
        (head("Content-Length: 2\r\nA: \0"), "control-byte"),
        (head("Content-Length: 2\r\nA: b\r\n c"), "obs-fold"),
        (head(" A: b\r\nContent-Length: 2"), "indented-first-line"),
        (head("Content-Length : 2"), "space-before-colon"),
        (head("Content-Length: 2\r\nA"), "missing-colon"),
        (head("Content-Length: 2\r\n: b"), "invalid-field-name"),
        (head("Content-Length: 2\r\nA b: c"), "invalid-field-name"),
        (head("Content-Length: +2"), "invalid-content-length"),
        (head("Content-Length: 2, 2"), "invalid-content-length"),
        (head("Content-Length:"), "invalid-content-length"),
        (head("Content-Length: 0x2"), "invalid-content-length"),
        (head("Content-Length: 2\r\nContent-Length: 2"), "repeated-content-length"),
        (head("Content-Length: 2\r\nContent-Length: 3"), "repeated-content-length"),
        (head("Content-Length: 18446744073709551618"), "content-length-overflow"),
        (head("Content-Length: 2\r\nTransfer-Encoding: chunked"), "content-length-with-transfer-encoding"),
        (head("Transfer-Encoding: chunked\r\nContent-Length: 2"), "content-length-with-transfer-encoding"),
        (head("Transfer-Encoding: chunked, chunked"), "invalid-transfer-encoding"),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), "invalid-transfer-encoding"),
        (head("Transfer-Encoding:"), "invalid-transfer-encoding"),
        (head("Transfer-Encoding: gzip"), "unknown-transfer-coding"),
        (head("Transfer-Encoding: gzip, chunked"), "unknown-transfer-coding"),
        (head("Transfer-Encoding: identity"), "unknown-transfer-coding"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), "transfer-encoding-in-http10"),
        // Where there is no content, its framing is read no less strictly.
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0, 0\r\n\r\n".into(), "invalid-content-length"),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n".into(),
            "repeated-content-length",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".into(),
            "invalid-content-length",
        ),
        (format!("HTTP/1.1 200 OK\r\nConnection: {}\r\n\r\n", ["x"; 33].join(",")), "too-many-connection-options"),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: {}\r\n\r\n", ["x"; 33].join(",")),
            "too-many-connection-options",
        ),
    ];
    let table: Vec<_> = table.iter().map(|(response, rule)| (response.as_str(), *rule)).collect();
    refuses(&Setup::default(), &table);
}

#[test]
fn what_is_too_large() {
    let mut setup = Setup::default();
    setup.client.connection.limits =
        Limits { max_head_bytes: 1000, max_fields: 10, max_body_bytes: Some(100), ..Limits::default() };
    refuses(
        &setup,
        &[
            (&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(1000)), "head-too-large"),
            (&format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(1000)), "head-too-large"),
            (&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(11)), "too-many-fields"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "body-too-large"),
        ],
    );
}

/// Eight interim responses are passed on; a ninth is one too many.
#[test]
fn too_many_interim_responses() {
    run(async {
        for (count, status) in [(8, 200), (9, 502)] {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
            let origin = origin_saying(format!("{interim}{}", ok("ok")).as_bytes(), true).await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(GET).await;
            for _ in 0..8 {
                assert_eq!(client.response().await.status(), 103);
            }
            assert_eq!(client.response().await.status(), status);
            drop(client);
            rig.finish().await;
        }
    });
}

/// A response from an origin, and the client that asks.
struct Good<'a> {
    request: &'a str,
    response: &'a str,
    /// The heads that the client gets, each with its content.
    gets: &'a [(&'a str, &'a str)],
    /// Whether the origin's connection serves again.
    is_reused: bool,
}

const V11: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const V10: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
const V10_KEEP: &str = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_the_client_gets() {
    let table = [
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\n\r\n", "ok")],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\no\r\n01\r\nk\r\n0\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n", "ok")],
            is_reused: true,
        },
        // Fields of the hop.
        Good {
            request: V11,
            response: "HTTP/1.1 200 Fine\r\nConnection: X-One, keep-alive\r\nx-one: 1\r\nKeep-Alive: timeout=5\r\nDate: D\r\n\
                       Set-Cookie: a\r\nset-cookie: b\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nTE: x\r\n\
                       Proxy-Authenticate: Basic\r\nContent-Length: 2\r\nVia: 1.0 q\r\n\r\nok",
            gets: &[(
                "HTTP/1.1 200 Fine\r\nDate: D\r\nSet-Cookie: a\r\nset-cookie: b\r\nVia: 1.0 q\r\nVia: 1.1 p\r\n\
                 Content-Length: 2\r\n\r\n",
                "ok",
            )],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nConnection: content-length, via, DATE\r\nDate: D\r\nVia: 1.0 q\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nVia: 1.0 q\r\nVia: 1.1 p\r\n{date}Content-Length: 2\r\n\r\n", "ok")],
            is_reused: true,
        },
        // Status lines.
        Good {
            request: V11,
            response: "HTTP/1.1 200\r\nDate: D\r\nContent-Length: 0\r\n\r\n",
            gets: &[("HTTP/1.1 200 \r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 0\r\n\r\n", "")],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.7 599 N\u{e4}h\r\nDate: D\r\nContent-Length: 0\r\n\r\n",
            gets: &[("HTTP/1.1 599 N\u{e4}h\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 0\r\n\r\n", "")],
            is_reused: true,
        },
        // No content, whatever the fields say.
        Good {
            request: V11,
            response: "HTTP/1.1 204 No Content\r\nDate: D\r\nContent-Length: 5\r\n\r\n",
            gets: &[("HTTP/1.1 204 No Content\r\nDate: D\r\nVia: 1.1 p\r\n\r\n", "")],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 204 No Content\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n",
            gets: &[("HTTP/1.1 204 No Content\r\nDate: D\r\nVia: 1.1 p\r\n\r\n", "")],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 304 Not Modified\r\nDate: D\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            gets: &[(
                "HTTP/1.1 304 Not Modified\r\nDate: D\r\nETag: \"x\"\r\nVia: 1.1 p\r\nContent-Length: 5\r\n\r\n",
                "",
            )],
            is_reused: true,
        },
        Good {
            request: HEAD,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 5\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 5\r\n\r\n", "")],
            is_reused: true,
        },
        Good {
            request: HEAD,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n", "")],
            is_reused: true,
        },
        Good {
            request: HEAD,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\n\r\n", "")],
            is_reused: true,
        },
        // Interim responses.
        Good {
            request: V11,
            response: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\n\
                       HTTP/1.1 103 Early Hints\r\nConnection: x\r\nX: 1\r\nLink: </a>\r\n\r\n\
                       HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[
                ("HTTP/1.1 100 Continue\r\nVia: 1.1 p\r\n\r\n", ""),
                ("HTTP/1.1 102 Processing\r\nA: b\r\nVia: 1.1 p\r\n\r\n", ""),
                ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 p\r\n\r\n", ""),
                ("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\n\r\n", "ok"),
            ],
            is_reused: true,
        },
        Good {
            request: V10_KEEP,
            response: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                       HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[(
                "HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n",
                "ok",
            )],
            is_reused: true,
        },
        // Versions: what one side does not know is translated for it.
        Good {
            request: V10,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nConnection: close\r\n\r\n", "ok")],
            is_reused: true,
        },
        Good {
            request: V10_KEEP,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nConnection: close\r\n\r\n", "ok")],
            is_reused: true,
        },
        Good {
            request: V10,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[(
                "HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
                "ok",
            )],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.0 200 OK\r\nDate: D\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.0 p\r\nContent-Length: 2\r\n\r\n", "ok")],
            is_reused: true,
        },
        Good {
            request: V11,
            response: "HTTP/1.0 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.0 p\r\nContent-Length: 2\r\n\r\n", "ok")],
            is_reused: false,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: x\r\nConnection: y, Close\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\n\r\n", "ok")],
            is_reused: false,
        },
        // Bytes that nobody asked for are nobody's, and the next response least of all.
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\n\r\n", "ok")],
            is_reused: false,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n0\r\n\r\n",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n", "ok")],
            is_reused: false,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 204 No Content\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 204 No Content\r\nDate: D\r\nVia: 1.1 p\r\n\r\n", "")],
            is_reused: false,
        },
        Good {
            request: HEAD,
            response: "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nok",
            gets: &[("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.1 p\r\nContent-Length: 2\r\n\r\n", "")],
            is_reused: false,
        },
        Good {
            request: V11,
            response: "HTTP/1.1 304 Not Modified\r\nDate: D\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
            gets: &[("HTTP/1.1 304 Not Modified\r\nDate: D\r\nVia: 1.1 p\r\n\r\n", "")],
            is_reused: false,
        },
    ];
    run(async {
        for Good { request, response, gets, is_reused } in table {
            let origin = origin_saying(response.as_bytes(), true).await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(request).await;
            let method = request.split(' ').next().unwrap();
            for (head, body) in gets {
                let got = client.response_to(method).await;
                let date = got.field("Date").map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
                let expected = head.replace("{date}", &date);
                assert_eq!((got.head.raw.as_str(), got.text()), (expected.as_str(), *body), "{response:?}");
                assert!(got.trailers.is_empty());
            }
            let is_over = gets.last().is_some_and(|(head, _)| head.contains("Connection: close"));
            if is_over {
                assert_eq!(client.end().await, End::Fin, "{response:?}");
                client = rig.client().await;
            }
            let next = client.ask(GET).await;
            if is_reused {
                assert_eq!(next.text(), "next", "{response:?}");
            } else {
                assert_eq!((next.status(), next.text()), expected_again(gets), "{response:?}");
            }
            assert_eq!(origin.accepted(), if is_reused { 1 } else { 2 }, "{response:?}");
            drop(client);
            rig.finish().await;
        }
    });
}

/// What a GET gets from an origin that says the same on another connection.
fn expected_again<'a>(gets: &'a [(&'a str, &'a str)]) -> (u16, &'a str) {
    let (head, body) = gets.last().expect("each case gets something");
    // The HEAD of the table is followed by a GET.
    let body = if head.contains("Content-Length: 2") { "ok" } else { body };
    (head["HTTP/1.1 ".len()..][..3].parse().expect("a status is a number"), body)
}

/// The end of the connection ends the content: translated for HTTP/1.1, passed on for HTTP/1.0.
#[test]
fn content_until_the_end() {
    run(async {
        for (version, framing) in [("1.0", "Connection: close"), ("1.1", "Transfer-Encoding: chunked")] {
            let origin = Origin::start(async |mut connection| {
                if connection.request().await.is_some() {
                    connection.send("HTTP/1.0 200 OK\r\nDate: D\r\n\r\nuntil ").await;
                    connection.send("the end").await;
                }
            })
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            let got = client.ask(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")).await;
            let head = format!("HTTP/1.1 200 OK\r\nDate: D\r\nVia: 1.0 p\r\n{framing}\r\n\r\n");
            assert_eq!((got.head.raw.as_str(), got.text()), (head.as_str(), "until the end"));
            drop(client);
            let (_, recorder) = rig.finish().await;
            assert_eq!(recorder.log().reasons(Side::Upstream), [CloseReason::Agreed], "{version}");
        }
    });
}

/// Bytes that come when the connection is parked.
#[test]
fn bytes_between_responses_end_the_connection() {
    run(async {
        let go = Arc::new(Notify::new());
        let gone = Arc::new(Notify::new());
        let (go_too, gone_too) = (go.clone(), gone.clone());
        let origin = Origin::start(move |mut connection| {
            let (go, gone) = (go_too.clone(), gone_too.clone());
            async move {
                while connection.request().await.is_some() {
                    connection.send(ok("right")).await;
                    if connection.number == 0 {
                        go.notified().await;
                        connection.send(ok("poisoned")).await;
                        gone.notify_one();
                    }
                }
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        assert_eq!(client.ask(GET).await.text(), "right");
        go.notify_one();
        gone.notified().await;
        assert_eq!(client.ask(GET).await.text(), "right");
        assert_eq!(origin.accepted(), 2);
        drop(client);
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().found_dead, [CloseReason::UnaskedBytes]);
    });
}

/// How an origin leaves a response unfinished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    Fin,
    Reset,
    Stays,
}

/// What of a response was passed on when it went wrong must not look whole.
#[test]
fn what_is_cut_off_looks_cut_off() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let amid_a_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
    let table = [
        // What comes first, what comes then, how the origin leaves; the client's version, and how its stream ends.
        (length, "", Leaves::Fin, "1.1", End::Fin, "truncated"),
        (length, "", Leaves::Reset, "1.1", End::Fin, "peer-reset"),
        (length, "", Leaves::Fin, "1.0", End::Fin, "truncated"),
        (chunked, "", Leaves::Fin, "1.1", End::Fin, "truncated"),
        (chunked, "", Leaves::Reset, "1.1", End::Fin, "peer-reset"),
        (chunked, "0\r\n", Leaves::Fin, "1.1", End::Fin, "truncated"),
        (chunked, "0\r\nX: 1\r\n", Leaves::Fin, "1.1", End::Fin, "truncated"),
        (amid_a_chunk, "", Leaves::Fin, "1.1", End::Fin, "truncated"),
        // An RST takes what was not read yet with it: that is the point.
        (chunked, "", Leaves::Fin, "1.0", End::Reset, "truncated"),
        (chunked, "", Leaves::Reset, "1.0", End::Reset, "peer-reset"),
        (until_close, "", Leaves::Reset, "1.1", End::Fin, "peer-reset"),
        (until_close, "", Leaves::Reset, "1.0", End::Reset, "peer-reset"),
        (chunked, "x\r\n", Leaves::Stays, "1.1", End::Fin, "protocol-error"),
        (chunked, "5\r\nhelloX", Leaves::Stays, "1.1", End::Fin, "protocol-error"),
        (chunked, "5 \r\nhello", Leaves::Stays, "1.1", End::Fin, "protocol-error"),
        (chunked, "0\r\n\n", Leaves::Stays, "1.1", End::Fin, "protocol-error"),
        (chunked, "0\r\nContent-Length: 5\r\n\r\n", Leaves::Stays, "1.1", End::Fin, "protocol-error"),
        (chunked, "x\r\n", Leaves::Stays, "1.0", End::Reset, "protocol-error"),
    ];
    run(async {
        for (first, then, leaves, version, end, reason) in table {
            let case = format!("{first:?} {then:?} {leaves:?} HTTP/{version}");
            let go = Arc::new(Notify::new());
            let go_too = go.clone();
            let origin = Origin::start(move |mut connection| {
                let go = go_too.clone();
                async move {
                    if connection.request().await.is_none() {
                        return;
                    }
                    connection.send(first).await;
                    go.notified().await;
                    connection.send(then).await;
                    match leaves {
                        Leaves::Fin => drop(connection),
                        Leaves::Reset => connection.wire.reset(),
                        Leaves::Stays => connection.drain().await,
                    }
                }
            })
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")).await;
            let head = client.head().await.unwrap();
            let mut body = Vec::new();
            let framing = head.response_framing("GET");
            // Only once the first part has come may the rest go wrong.
            let go_on = |piece: &[u8]| {
                body.extend_from_slice(piece);
                if body.starts_with(b"hello") {
                    go.notify_one();
                }
            };
            let ended = client.content(framing, go_on).await;
            assert_eq!(ended, Err(end), "{case}");
            assert!(body == b"hello" || body == b"hellohello", "{case}: {body:?}");
            assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason.label(), reason, "{case}");
            let ended = rig.recorder.until_ended(1).await;
            assert_eq!(ended.outcome, sheave_lifecycle::observe::Outcome::Reset, "{case}");
            drop(client);
            assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason, CloseReason::OtherSide, "{case}");
            assert_eq!(origin.requests().len(), 1, "{case}");
            rig.finish().await;
        }
    });
}

/// Before a byte of the response went out, there is a status for it.
#[test]
fn origins_that_leave_before_a_whole_head() {
    run(async {
        let table = [
            // What comes, how the origin leaves, the method; the cause, whether it was sent, attempts.
            (
                "HTTP/1.1 20",
                Leaves::Fin,
                "GET",
                "upstream-truncated; request-sent=yes; attempts=1; gave-up=response-begun",
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n",
                Leaves::Fin,
                "GET",
                "upstream-truncated; request-sent=yes; attempts=1; gave-up=response-begun",
            ),
            (
                "HTTP/1.1 103 Early Hints\r\n\r\n",
                Leaves::Fin,
                "GET",
                "upstream-truncated; request-sent=yes; attempts=1; gave-up=response-begun",
            ),
            ("H", Leaves::Reset, "GET", "upstream-reset; request-sent=yes; attempts=1; gave-up=response-begun"),
            (
                "",
                Leaves::Fin,
                "GET",
                "upstream-closed; request-sent=maybe; attempts=3; evidence=idempotent; gave-up=attempts-exhausted",
            ),
            (
                "",
                Leaves::Reset,
                "GET",
                "upstream-reset; request-sent=maybe; attempts=3; evidence=idempotent; gave-up=attempts-exhausted",
            ),
            (
                "",
                Leaves::Fin,
                "PUT",
                "upstream-closed; request-sent=maybe; attempts=3; evidence=idempotent; gave-up=attempts-exhausted",
            ),
            ("", Leaves::Fin, "POST", "upstream-closed; request-sent=maybe; attempts=1; gave-up=no-evidence"),
            ("", Leaves::Reset, "POST", "upstream-reset; request-sent=maybe; attempts=1; gave-up=no-evidence"),
            ("", Leaves::Fin, "PATCH", "upstream-closed; request-sent=maybe; attempts=1; gave-up=no-evidence"),
        ];
        for (response, leaves, method, cause) in table {
            let origin = Origin::start(move |mut connection| async move {
                if connection.request().await.is_some() {
                    connection.send(response).await;
                    if leaves == Leaves::Reset {
                        connection.wire.reset();
                    }
                }
            })
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")).await;
            let mut answer: Message = client.response().await;
            if answer.status() == 103 {
                answer = client.response().await;
            }
            assert_eq!((answer.status(), answer.field("Sheave-Error")), (502, Some(cause)), "{response:?} {method}");
            assert!(!answer.says_close());
            let attempts = if cause.contains("attempts=3") { 3 } else { 1 };
            assert_eq!(origin.requests().len(), attempts, "{method}");
            drop(client);
            rig.finish().await;
        }
    });
}

/// Trailers reach a client of HTTP/1.1, without those of the hop.
#[test]
fn trailers_reach_the_client() {
    run(async {
        let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\
                        Proxy-Authenticate: x\r\nx-Sum: 2\r\n\r\n";
        for is_whole in [true, false] {
            let origin = origin_saying(response.as_bytes(), is_whole).await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            let got = client.ask(GET).await;
            let trailers: Lines = vec![("X-Sum".to_owned(), "1".to_owned()), ("x-Sum".to_owned(), "2".to_owned())];
            assert_eq!((got.text(), &got.trailers, got.field("Trailer")), ("hello", &trailers, Some("X-Sum")));
            assert_eq!(client.ask(GET).await.text(), "next");
            drop(client);
            rig.finish().await;
        }
    });
}

/// A response of many small chunks is passed on whole, whatever pieces it is read in.
#[test]
fn many_small_chunks() {
    run(async {
        let count = 20_000;
        let response =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "1\r\nx\r\n".repeat(count));
        let origin = origin_saying(response.as_bytes(), true).await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        let got = client.ask(GET).await;
        assert_eq!(got.body, vec![b'x'; count]);
        assert_eq!(client.ask(GET).await.text(), "next");
        assert_eq!(origin.accepted(), 1);
        drop(client);
        rig.finish().await;
    });
}

/// A client is told at once when the origin's content cannot be read, even if nothing of it could be passed on.
#[test]
fn a_body_that_is_wrong_from_its_first_byte() {
    run(async {
        let origin = origin_saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", true).await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send(GET).await;
        match client.try_response_to("GET").await {
            Err(Cut { end: End::Fin, head: Some(_), body }) => assert!(body.is_empty()),
            Ok(answer) => assert_eq!(answer.status(), 502),
            other => panic!("{other:?}"),
        }
        drop(client);
        rig.finish().await;
    });
}
