//! What befalls one stream, and leaves its neighbours alone.

use std::num::NonZeroU32;

use bytes::Bytes;
use h2::Reason;
use sheave_lifecycle::limit::OverLimit;
use sheave_server::admission::SharedLimits;

use crate::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM,
    RST_STREAM, Raw, block, frame, get, post, request, reset,
};
use crate::rig::{Client, OK, Rig, config, play, rest, whole};

/// A neighbour that is under way all the time.
async fn beside<F: Future<Output = ()>>(rig: &Rig, work: impl FnOnce(Client) -> F) {
    let mut client = rig.client().await;
    let (neighbour, _) = client.start(Client::request("GET", "/after/300"), true).await;
    work(Client { send: client.send.clone(), driver: tokio::spawn(async { Ok(()) }) }).await;
    assert_eq!(whole(neighbour).await.unwrap().body, b"hello");
    client.leave().await.unwrap();
}

#[test]
fn a_handler_is_dropped_at_once_when_its_client_resets_the_stream() {
    for amid_body in [false, true] {
        let known = play(&config(), move |rig| async move {
            let handler = rig.handler.clone();
            beside(&rig, |mut client| async move {
                let (response, mut body) =
                    client.start(Client::request("POST", if amid_body { "/echo" } else { "/never" }), false).await;
                body.send_data(Bytes::from_static(b"some"), false).unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                assert_eq!(handler.running(), 2);
                body.send_reset(Reason::CANCEL);
                drop((response, body));
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                assert_eq!(handler.running(), 1, "and not when its time is over");
            })
            .await;
        });
        let (path, bytes) = if amid_body { ("/echo", 4) } else { ("/never", 0) };
        let cancelled = format!("2. POST {path} HTTP/2 0 reset {bytes}>0 stream-reset");
        assert_eq!(known.exchanges, [cancelled.as_str(), "1. GET /after/300 HTTP/2 200 origin 0>5"]);
    }
}

#[test]
fn a_panic_is_answered_or_cut_off() {
    let known = play(&config(), |rig| async move {
        beside(&rig, |mut client| async move {
            assert_eq!(client.get("/panics").await.unwrap().status, 500);
            assert_eq!(client.get("/fails").await.unwrap().status, 500);
            for path in ["/half-panics", "/half"] {
                let error = client.get(path).await.unwrap_err();
                assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
            }
        })
        .await;
    });
    assert_eq!(
        known.exchanges,
        [
            "2. GET /panics HTTP/2 500 sheave 0>84 handler-panicked",
            "3. GET /fails HTTP/2 500 sheave 0>77 my-reason",
            "4. GET /half-panics HTTP/2 200 reset 0>5 handler-panicked",
            "5. GET /half HTTP/2 200 reset 0>5 no-response",
            "1. GET /after/300 HTTP/2 200 origin 0>5",
        ]
    );
    assert_eq!(INTERNAL_ERROR, u32::from(Reason::INTERNAL_ERROR));
}

#[test]
fn an_early_response_is_whole_and_the_rest_of_its_request_is_not_wanted() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&[post(1, "/early"), frame(DATA, 0, 1, b"some")].concat()).await;
        let data = raw.until(DATA).await;
        assert!(data.payload == b"enough" && data.ends_stream());
        let reset = raw.until(RST_STREAM).await;
        assert_eq!((reset.stream, reset.number(0)), (1, NO_ERROR));
        raw.write(&get(3, "/204")).await;
        assert_eq!(raw.until(HEADERS).await.stream, 3);
    });
    assert_eq!(known.exchanges[0], "1. POST /early HTTP/2 200 origin 0>6");
}

#[test]
fn a_request_that_breaks_a_rule_is_refused_alone() {
    let head = |fields: &[(&str, &str)]| {
        let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "o")];
        block(&[&usual[..], fields].concat())
    };
    let long = "x".repeat(40_000);
    for (title, bytes, expected) in [
        ("content-length that lies", frame(HEADERS, END_HEADERS, 1, &head(&[("content-length", "9")])), "reset 1"),
        (
            "a connection field",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(&[("connection", "close")])),
            "reset 1",
        ),
        (
            "no path",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[(":method", "GET"), (":scheme", "http")])),
            "answer",
        ),
        ("host and authority", frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(&[("host", "p")])), "answer"),
        (
            "two lengths",
            frame(HEADERS, END_HEADERS, 1, &head(&[("content-length", "2"), ("content-length", "2")])),
            "reset 1",
        ),
        (
            "too large",
            [
                frame(HEADERS, END_STREAM, 1, &head(&[])),
                frame(9, 0, 1, &block(&[("a", &long[..16_000])])),
                frame(9, 0, 1, &block(&[("b", &long[..16_000])])),
                frame(9, 0, 1, &block(&[("c", &long[..16_000])])),
                frame(9, 0, 1, &block(&[("d", &long[..16_000])])),
                frame(9, END_HEADERS, 1, &block(&[("e", &long[..16_000])])),
            ]
            .concat(),
            "answer",
        ),
    ] {
        let known = play(&config(), move |rig| async move {
            let mut raw = Raw::begin(rig.connect().await, &[]).await;
            raw.settle().await;
            raw.write(&bytes).await;
            if bytes[4] & END_STREAM == 0 {
                raw.write(&frame(DATA, END_STREAM, 1, b"xy")).await;
            }
            raw.write(&get(3, "/204")).await;
            let (mut answer, mut neighbour) = (None, None);
            while answer.is_none() || neighbour.is_none() {
                let it = raw.next().await.unwrap_or_else(|| panic!("{title}: the connection is over"));
                match (it.stream, it.kind) {
                    (1, RST_STREAM) => answer = answer.or(Some(format!("reset {}", it.number(0)))),
                    (1, HEADERS) => answer = answer.or(Some("answer".to_owned())),
                    (3, HEADERS) => neighbour = Some(it),
                    _ => {}
                }
            }
            assert_eq!(answer.as_deref(), Some(expected), "{title}");
        });
        assert_eq!(
            known.exchanges.iter().filter(|it| it.contains("/204")).count(),
            1,
            "{title}: {:?}",
            known.exchanges
        );
        assert_eq!(
            known.exchanges.iter().filter(|it| it.contains(" origin ")).count(),
            1,
            "{title}: {:?}",
            known.exchanges
        );
    }
    assert_eq!(PROTOCOL_ERROR, 1);
}

#[test]
fn trailers_that_may_not_stand_there_are_no_end() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&[post(1, "/echo"), frame(DATA, 0, 1, b"some")].concat()).await;
        raw.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("content-length", "4")]))).await;
        let it = raw.until(RST_STREAM).await;
        assert_eq!((it.stream, it.number(0)), (1, PROTOCOL_ERROR));
    });
    assert!(known.exchanges[0].starts_with("1. POST /echo HTTP/2 0 reset 4>0 "), "{:?}", known.exchanges);
}

#[test]
fn content_that_is_too_large_is_refused_while_it_comes() {
    let mut config = config();
    config.connection.limits.max_body_bytes = Some(3);
    let known = play(&config, |rig| async move {
        let mut client = rig.client().await;
        let (response, mut body) = client.start(Client::request("POST", "/echo"), false).await;
        body.send_data(Bytes::from_static(b"some"), false).unwrap();
        assert_eq!(whole(response).await.unwrap().status, 413);
        drop(body);
        client.leave().await.unwrap();
    });
    assert!(known.exchanges[0].starts_with("1. POST /echo HTTP/2 413 sheave"), "{:?}", known.exchanges);
}

#[test]
fn beyond_the_limit_of_exchanges_a_stream_is_answered_or_refused() {
    for over_limit in [OverLimit::Wait, OverLimit::Close] {
        let mut config = config();
        config.shared = SharedLimits { max_exchanges: NonZeroU32::new(1), ..SharedLimits::default() };
        config.over_limit = over_limit;
        let known = play(&config, move |rig| async move {
            beside(&rig, |mut client| async move {
                match client.get("/hello").await {
                    Ok(answer) => assert_eq!((answer.status, over_limit), (503, OverLimit::Wait)),
                    Err(error) => assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM)),
                }
            })
            .await;
        });
        assert_eq!(known.exchanges[0], "refused by max-requests-in-flight");
        assert_eq!(REFUSED_STREAM, u32::from(Reason::REFUSED_STREAM));
    }
}

#[test]
fn a_connection_that_a_limit_refuses_is_told_so_in_its_streams() {
    let mut config = config();
    config.max_connections = 1;
    config.over_limit = OverLimit::Answer;
    let known = play(&config, |rig| async move {
        let mut first = rig.client().await;
        assert_eq!(first.get("/hello").await.unwrap().status, OK);
        let mut second = rig.client().await;
        assert_eq!(second.get("/hello").await.unwrap().status, 503);
        second.driver.await.unwrap().unwrap();
        assert_eq!(first.get("/hello").await.unwrap().status, OK);
        first.leave().await.unwrap();
    });
    assert_eq!(known.ends[0], "refused (max-connections) in idle");
}

#[test]
fn room_is_given_back_only_for_what_was_taken() {
    // A handler that reads nothing: its client gets no more than a stream's window, whatever it would send.
    let mut config = config();
    config.connection.http2.stream_window_bytes = 70_000;
    let known = play(&config, |rig| async move {
        let mut client = rig.client().await;
        let (response, mut body) = client.start(Client::request("POST", "/after/1000"), false).await;
        body.reserve_capacity(1 << 20);
        let mut given = 0;
        while let Ok(Some(room)) = tokio::time::timeout(
            std::time::Duration::from_millis(100),
            std::future::poll_fn(|cx| body.poll_capacity(cx)),
        )
        .await
        {
            let room = room.unwrap();
            given += room;
            body.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
        }
        assert_eq!(given, 70_000);
        let mut incoming = response.await.unwrap().into_body();
        assert_eq!(rest(&mut incoming).await.unwrap().0, b"hello");
        drop(body);
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges, ["1. POST /after/1000 HTTP/2 200 origin 0>5"]);
}

#[test]
fn a_client_that_leaves_amid_its_streams_takes_all_of_them_along() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&[get(1, "/never"), get(3, "/never"), post(5, "/echo")].concat()).await;
        rig.sleep(1).await;
        assert_eq!(rig.handler.running(), 3);
        drop(raw);
        rig.sleep(1).await;
        assert_eq!(rig.handler.running(), 0);
    });
    assert_eq!(known.ends, ["peer-closed in response"]);
    assert!(known.exchanges.iter().all(|it| it.ends_with("reset 0>0 peer-closed")), "{:?}", known.exchanges);
    assert_eq!(known.exchanges.len(), 3);
}

#[test]
fn what_no_stream_may_do_ends_the_connection_by_its_name() {
    for (title, bytes, reason, code) in [
        ("data on a stream that nobody opened", frame(DATA, 0, 7, b"x"), "protocol-error (protocol-error)", 1),
        ("a frame too large", frame(0xbe, 0, 0, &[0; 20_000]), "protocol-error (frame-size-error)", 6),
        ("a ping of seven bytes", frame(6, 0, 0, b"1234567"), "protocol-error (protocol-error)", 1),
        ("a stream of our own", get(2, "/hello"), "protocol-error (protocol-error)", 1),
        (
            "a line feed in a value",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("x", "a\nb")])),
            "protocol-error (protocol-error)",
            1,
        ),
        (
            "a field name in upper case",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("X-A", "b")])),
            "protocol-error (protocol-error)",
            1,
        ),
        (
            "no field section",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 9]),
            "protocol-error (protocol-error)",
            1,
        ),
    ] {
        let known = play(&config(), move |rig| async move {
            let mut raw = Raw::begin(rig.connect().await, &[]).await;
            raw.settle().await;
            raw.write(&bytes).await;
            let goaway = raw.until(crate::frames::GOAWAY).await;
            assert_eq!(goaway.number(4), code, "{title}");
            assert_eq!(raw.all().await, [], "{title}");
        });
        assert!(known.ends[0].starts_with(reason), "{title}: {:?}", known.ends);
        assert_eq!(known.exchanges, [""; 0], "{title}");
    }
    let _ = (CANCEL, request("GET", "/"), reset(1, 0));
}
