//! A connection of either role, driven by bytes: what it understands, says and intends, whole or byte by byte.

use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, StatusCode};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::connection::{Connection, Event};
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::role::{Client, Server};

const NOW: Time = Time::ZERO;

fn config() -> Arc<ConnectionConfig> {
    Arc::new(ConnectionConfig::default())
}

/// Feeds a server `input` in pieces of `step` bytes, answers each whole request with 200 and no body, and writes down
/// what happened.
fn serve(input: &[u8], step: usize) -> (String, String) {
    let mut server = Connection::<Server>::new(config(), NOW);
    let mut out = BytesMut::new();
    let mut story = String::new();
    let mut waiting: Vec<u8> = Vec::new();
    for piece in input.chunks(step).chain([&[][..]]) {
        waiting.extend_from_slice(piece);
        loop {
            let mut rest = &waiting[..];
            let before = rest.len();
            let event = server.receive(&mut rest, NOW);
            let taken = before - rest.len();
            let mut is_request_over = false;
            let goes_on = match &event {
                Ok(None) => taken > 0,
                Ok(Some(Event::Head(head))) => {
                    let _ = write!(story, "[{} {}]", head.method(), head.target());
                    is_request_over = server.state().request == sheave_proto::state::RequestState::Done;
                    true
                }
                Ok(Some(Event::Data(data))) => {
                    story.push_str(&String::from_utf8_lossy(data));
                    true
                }
                Ok(Some(Event::End(trailers))) => {
                    story.push_str(if trailers.is_some() { "<end+trailers>" } else { "<end>" });
                    is_request_over = true;
                    true
                }
                Ok(Some(Event::Informational(_))) => unreachable!("servers receive none"),
                Err(error) => {
                    let _ = write!(story, "!{}", error.label());
                    is_request_over = true;
                    false
                }
            };
            drop(event);
            waiting.drain(..taken);
            if is_request_over && server.can_answer() {
                let head = ResponseHead::new(StatusCode::NO_CONTENT);
                server.send_head(&head, BodyLength::None, &mut out, NOW).expect("an answer is owed");
            }
            if !goes_on || server.intent() != Intent::Continue {
                break;
            }
        }
    }
    let end = match server.intent() {
        Intent::Continue => "open".to_owned(),
        Intent::Close(reason) => format!("close {reason}"),
        Intent::Linger(reason) => format!("linger {reason}"),
        Intent::Abort(reason) => format!("abort {reason}"),
    };
    let closes = String::from_utf8_lossy(&out).matches("Connection: close\r\n").count();
    (story, format!("{end}, said close {closes}×"))
}

#[test]
fn a_server_reads_the_same_whole_or_in_pieces() {
    let table: &[(&str, &str, &str)] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /]", "open, said close 0×"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "[GET /]", "close agreed, said close 1×"),
        ("GET / HTTP/1.0\r\n\r\n", "[GET /]", "close agreed, said close 1×"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "[GET /]", "open, said close 0×"),
        (
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            "[GET /1][GET /2]",
            "open, said close 0×",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "[POST /]abc<end>", "open, said close 0×"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "[POST /]abc<end>[GET /]",
            "open, said close 0×",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
            "[POST /]<end+trailers>",
            "open, said close 0×",
        ),
        // What comes after a request that was the last is not read.
        (
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            "[GET /1]",
            "close agreed, said close 1×",
        ),
        // What follows a CONNECT that is not granted is no request.
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "[CONNECT a:1]",
            "linger agreed, said close 1×",
        ),
        // What cannot be read is answered once, and nothing after it is read.
        (
            "GET / HTTP/1.1\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "!bare-lf",
            "linger protocol-error (bare-lf), said close 1×",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "!content-length-with-transfer-encoding",
            "linger protocol-error (content-length-with-transfer-encoding), said close 1×",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX",
            "[POST /]ab!missing-chunk-crlf",
            "linger protocol-error (missing-chunk-crlf), said close 1×",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n",
            "!unknown-expectation",
            "linger protocol-error (unknown-expectation), said close 1×",
        ),
    ];
    for (input, story, end) in table {
        for step in [1, 2, 3, 7, input.len()] {
            let (told, ended) = serve(input.as_bytes(), step);
            assert_eq!((told.as_str(), ended.as_str()), (*story, *end), "{input:?} in pieces of {step}");
        }
    }
}

fn request(method: Method, body: BodyLength) -> (Connection<Client>, BytesMut) {
    let mut client = Connection::<Client>::new(config(), NOW);
    let mut head = RequestHead::new(method, "/").expect("a valid target");
    head.fields_mut().push_named("Host", b"a").expect("a valid field");
    let mut out = BytesMut::new();
    client.send_head(&head, "/", body, &mut out, NOW).expect("the connection is idle");
    (client, out)
}

/// Feeds a client `input` in pieces of `step` bytes and then the end of the stream, and writes down what happened.
fn answer(method: &Method, input: &[u8], step: usize, then_fin: bool) -> (String, String) {
    let (mut client, _) = request(method.clone(), BodyLength::None);
    let mut story = String::new();
    let mut tell = |event: Result<Option<Event<'_, ResponseHead>>, sheave_proto::error::ProtocolError>| match event {
        Ok(None) => false,
        Ok(Some(Event::Informational(head) | Event::Head(head))) => {
            let _ = write!(story, "[{}]", head.status().as_u16());
            true
        }
        Ok(Some(Event::Data(data))) => {
            story.push_str(&String::from_utf8_lossy(data));
            true
        }
        Ok(Some(Event::End(_))) => {
            story.push_str("<end>");
            true
        }
        Err(error) => {
            let _ = write!(story, "!{}", error.label());
            false
        }
    };
    for piece in input.chunks(step) {
        let mut rest = piece;
        while tell(client.receive(&mut rest, NOW)) {}
    }
    if then_fin {
        tell(client.receive_end(NOW));
    }
    let end = client.intent().reason().map_or_else(|| "open".to_owned(), |reason| reason.to_string());
    let reusable = if client.is_idle() { ", reusable" } else { "" };
    (story, format!("{end}{reusable}"))
}

#[test]
fn a_client_reads_the_same_whole_or_in_pieces() {
    let get = Method::GET;
    let table: &[(&Method, &str, bool, &str, &str)] = &[
        (&get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "[200]hi<end>", "open, reusable"),
        (&get, "HTTP/1.1 204 No\r\n\r\n", false, "[204]", "open, reusable"),
        (&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, "[200]", "open, reusable"),
        (&get, "HTTP/1.1 304 Not\r\nContent-Length: 2\r\n\r\n", false, "[304]", "open, reusable"),
        (&get, "HTTP/1.1 200 OK\r\n\r\nhi", true, "[200]hi<end>", "agreed"),
        (&get, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, "[200]hi<end>", "agreed"),
        (&get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", false, "[200]hi<end>", "agreed"),
        (
            &get,
            "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            false,
            "[103][200]",
            "open, reusable",
        ),
        (&get, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", true, "[200]hi!truncated-body", "truncated"),
        (&get, "HTTP/1.1 200", true, "!truncated-head", "truncated"),
        (&get, "", true, "!truncated-head", "peer-closed"),
        (
            &get,
            "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n",
            false,
            "!unasked-switch",
            "protocol-error (unasked-switch)",
        ),
        (&get, "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false, "[204]!unasked-bytes", "unasked-bytes"),
    ];
    for (method, input, then_fin, story, end) in table {
        for step in [1, 2, 3, 7, input.len().max(1)] {
            let (told, ended) = answer(method, input.as_bytes(), step, *then_fin);
            assert_eq!((told.as_str(), ended.as_str()), (*story, *end), "{input:?} in pieces of {step}");
        }
    }
}

#[test]
fn deadlines_follow_the_phases() {
    let timeouts = ConnectionConfig::default().timeouts;
    let at = |seconds| Time::ZERO.after(Duration::from_secs(seconds));
    let mut server = Connection::<Server>::new(config(), NOW);
    let check = |server: &Connection<Server>, phase, since: Time, timer, timeout| {
        assert_eq!(server.phase(), phase);
        let deadline = server.deadline(true).expect("there is always one while the peer owes something");
        assert_eq!((deadline.timer, deadline.at), (timer, since.after(timeout)), "{phase:?}");
    };
    check(&server, Phase::FirstByte, NOW, Timer::FirstByte, timeouts.first_byte);
    assert!(server.receive(&mut &b"POST / HTT"[..], at(1)).is_ok());
    check(&server, Phase::Head, at(1), Timer::HeadRead, timeouts.head);
    server.progressed(at(2));
    check(&server, Phase::Head, at(1), Timer::HeadRead, timeouts.head);
    assert!(server.receive(&mut &b"P/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"[..], at(3)).is_ok());
    check(&server, Phase::Request, at(3), Timer::BodyRead, timeouts.body);
    assert_eq!(server.deadline(false), None, "time does not count while the relay takes nothing");
    server.progressed(at(4));
    check(&server, Phase::Request, at(4), Timer::BodyRead, timeouts.body);
    let mut body = &b"hi"[..];
    while server.receive(&mut body, at(5)).is_ok_and(|event| event.is_some()) {}
    assert_eq!(server.phase(), Phase::Waiting);
    assert_eq!(server.deadline(true), None, "the client owes nothing");
    server
        .send_head(&ResponseHead::new(StatusCode::NO_CONTENT), BodyLength::None, &mut BytesMut::new(), at(6))
        .expect("an answer is owed");
    check(&server, Phase::Idle, at(6), Timer::Idle, timeouts.idle);

    let (mut client, _) = request(Method::POST, BodyLength::Known(2));
    assert_eq!(client.deadline(true), None, "the request is not whole: the origin may wait for it");
    client.frame(2).expect("two bytes were declared");
    client.finish(None, &mut BytesMut::new(), at(7)).expect("all was framed");
    assert_eq!(client.phase(), Phase::Waiting);
    let deadline = client.deadline(true).expect("a response is owed");
    assert_eq!((deadline.timer, deadline.at), (Timer::Response, at(7).after(timeouts.response)));
    assert!(client.receive(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"[..], at(8)).is_ok());
    assert_eq!(
        client.deadline(true).map(|due| (due.timer, due.at)),
        Some((Timer::BodyRead, at(8).after(timeouts.body)))
    );
}

#[test]
fn a_drain_says_close_once_and_nothing_overwrites_it() {
    let mut server = Connection::<Server>::new(config(), NOW);
    assert!(server.receive(&mut &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], NOW).is_ok());
    server.start_drain();
    let mut head = ResponseHead::new(StatusCode::OK);
    head.fields_mut().push_named("Connection", b"keep-alive").expect("a valid field");
    head.fields_mut().push_named("Keep-Alive", b"timeout=5").expect("a valid field");
    let mut out = BytesMut::new();
    server.send_head(&head, BodyLength::Known(0), &mut out, NOW).expect("an answer is owed");
    let text = String::from_utf8_lossy(&out);
    assert_eq!(text.to_ascii_lowercase().matches("connection:").count(), 1, "{text}");
    assert!(text.contains("Connection: close\r\n") && !text.contains("eep-alive"), "{text}");
    assert_eq!(server.intent().reason().map(|reason| reason.label()), Some("agreed"));
}

#[test]
fn a_final_answer_before_the_content_that_was_announced_is_the_last() {
    let mut server = Connection::<Server>::new(config(), NOW);
    let mut input = &b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"[..];
    assert!(server.receive(&mut input, NOW).is_ok());
    assert!(server.awaits_continue());
    let mut out = BytesMut::new();
    server
        .send_head(&ResponseHead::new(StatusCode::EXPECTATION_FAILED), BodyLength::Known(0), &mut out, NOW)
        .expect("an answer is owed");
    assert!(String::from_utf8_lossy(&out).contains("Connection: close\r\n"));
}

#[test]
fn framing_fits_the_peer() {
    // version of the client, framing asked for, framing on the wire, truncation
    for (version, body, line, is_visible) in [
        ("1.1", BodyLength::Chunked, "Transfer-Encoding: chunked", true),
        ("1.1", BodyLength::UntilClose, "Transfer-Encoding: chunked", true),
        ("1.1", BodyLength::Known(9), "Content-Length: 9", true),
        ("1.0", BodyLength::Chunked, "Connection: close", false),
        ("1.0", BodyLength::Known(9), "Content-Length: 9", true),
    ] {
        let mut server = Connection::<Server>::new(config(), NOW);
        let input = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        assert!(server.receive(&mut input.as_bytes(), NOW).is_ok());
        let mut out = BytesMut::new();
        server.send_head(&ResponseHead::new(StatusCode::OK), body, &mut out, NOW).expect("an answer is owed");
        assert!(String::from_utf8_lossy(&out).contains(line), "{version} {body:?}: {out:?}");
        server.truncate(CloseReason::OtherSide);
        // RFC 9112 §8: where only the close ends a body, a plain one would make it look whole.
        assert_eq!(matches!(server.intent(), Intent::Abort(_)), !is_visible, "{version} {body:?}");
    }
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let config = Arc::new(ConnectionConfig { max_requests: 2, ..ConnectionConfig::default() });
    let mut server = Connection::<Server>::new(config, NOW);
    let mut closes = Vec::new();
    for _ in 0..2 {
        assert!(server.receive(&mut &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], NOW).is_ok());
        let mut out = BytesMut::new();
        server
            .send_head(&ResponseHead::new(StatusCode::NO_CONTENT), BodyLength::None, &mut out, NOW)
            .expect("an answer is owed");
        closes.push(String::from_utf8_lossy(&out).contains("Connection: close\r\n"));
    }
    assert_eq!(closes, [false, true]);
    assert_eq!(server.intent().reason().map(|reason| reason.label()), Some("max-requests"));
}

/// A connection with a request in hand whose body is still to come.
fn uploading(config: impl Into<Arc<ConnectionConfig>>) -> Connection<Server> {
    let mut server = Connection::<Server>::new(config.into(), NOW);
    let mut head = &b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"[..];
    assert!(server.receive(&mut head, NOW).is_ok());
    server
}

#[test]
fn a_body_that_drips_and_one_that_stops_meet_different_deadlines() {
    let timeouts =
        Timeouts { body: Duration::from_secs(30), min_body_rate: NonZeroU64::new(100), ..Timeouts::default() };
    let config = ConnectionConfig { timeouts, ..ConnectionConfig::default() };
    // bytes, after how many seconds of waiting each, which timer ends it, after how many seconds
    for (len, pause, end) in [
        (0, None, Some((Timer::BodyRead, 30))),
        (10, Some(1), Some((Timer::BodyRate, 66))),
        (1, Some(29), Some((Timer::BodyRate, 60))),
        (10_000, Some(29), None),
        (100, Some(1), None),
    ] {
        let mut server = uploading(config);
        let mut now = NOW;
        server.progressed(now);
        let mut ended = None;
        for _ in 0..1000 {
            let due = server.deadline(true).expect("a body is owed");
            let next = pause.map(|pause| now.after(Duration::from_secs(pause)));
            if next.is_none_or(|next| due.at <= next) {
                ended = Some((due.timer, due.at.since(NOW).as_secs()));
                break;
            }
            now = next.expect("there is one");
            server.received(len, true, now);
        }
        assert_eq!(ended, end, "{len} bytes every {pause:?} s");
        if let Some((timer, _)) = ended {
            server.expired(timer);
            server.give_up_request();
            assert!(server.can_answer(), "408 is owed");
            assert!(matches!(server.intent(), Intent::Linger(CloseReason::TimedOut(it)) if it == timer));
        }
    }
}

#[test]
fn time_in_which_nobody_reads_costs_a_slow_sender_nothing() {
    let timeouts = Timeouts { min_body_rate: NonZeroU64::new(100), ..Timeouts::default() };
    let mut server = uploading(ConnectionConfig { timeouts, ..ConnectionConfig::default() });
    let mut now = NOW;
    for _ in 0..100 {
        now = now.after(Duration::from_secs(3600));
        server.received(1, false, now);
        server.progressed(now);
    }
    let due = server.deadline(true).expect("a body is owed");
    assert_eq!((due.timer, due.at), (Timer::BodyRead, now.after(timeouts.body)));
    let off = Timeouts { min_body_rate: None, ..timeouts };
    let mut server = uploading(ConnectionConfig { timeouts: off, ..ConnectionConfig::default() });
    for _ in 0..100 {
        now = now.after(Duration::from_secs(29));
        server.received(1, true, now);
        assert_eq!(server.deadline(true).map(|due| due.timer), Some(Timer::BodyRead));
    }
}

/// Asks and answers once: the response's head.
fn ask(server: &mut Connection<Server>, version: &str, now: Time) -> String {
    let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(server.receive(&mut request.as_bytes(), now).is_ok());
    let mut out = BytesMut::new();
    server.send_head(&ResponseHead::new(StatusCode::OK), BodyLength::Known(0), &mut out, now).expect("is owed");
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn an_old_connection_ends_with_its_next_response_and_is_not_cut_off_before() {
    let config = ConnectionConfig { max_age: Some(Duration::from_secs(100)), ..ConnectionConfig::default() };
    let at = |seconds| NOW.after(Duration::from_secs(seconds));
    let mut server = Connection::<Server>::new(Arc::new(config), NOW);
    assert!(!ask(&mut server, "1.1", at(89)).contains("close"));
    let idle = server.deadline(true).expect("idle");
    assert_eq!(
        (idle.timer, idle.at),
        (Timer::Idle, at(89).after(config.timeouts.idle)),
        "age closes nothing by itself"
    );
    assert!(ask(&mut server, "1.1", at(101)).contains("Connection: close\r\n"));
    assert_eq!(server.intent().reason(), Some(CloseReason::MaxAge));
}

#[test]
fn a_promise_is_made_by_every_response_but_the_last_and_counts_from_its_end() {
    let config = ConnectionConfig { announces_keep_alive: true, max_requests: 3, ..ConnectionConfig::default() };
    let at = |seconds| NOW.after(Duration::from_secs(seconds));
    let mut server = Connection::<Server>::new(Arc::new(config), NOW);
    assert_eq!(server.promised_until(), None, "nothing was said yet");
    for (seconds, version) in [(1, "1.1"), (2, "1.0")] {
        let head = ask(&mut server, version, at(seconds));
        assert!(head.contains("Connection: keep-alive\r\nKeep-Alive: timeout=67\r\n"), "{head}");
        assert_eq!(server.promised_until(), Some(at(seconds + 67)));
        assert!(server.deadline(true).is_some_and(|idle| idle.at > at(seconds + 67)), "and it is kept");
    }
    let last = ask(&mut server, "1.1", at(3));
    assert!(last.contains("Connection: close\r\n") && !last.contains("eep-"), "{last}");
    assert_eq!(server.promised_until(), None);
}
