//! Connections that stop being HTTP: from which byte on, whole or byte by byte, and how each direction ends.

use std::fmt::Write;
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
use sheave_proto::connection::Connection;
use sheave_proto::error::Misuse;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::role::{Client, Server};

const NOW: Time = Time::ZERO;

fn switching(protocol: &str) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
    head.fields_mut().push_named("Upgrade", protocol.as_bytes()).expect("a valid field");
    head
}

fn intent(machine: &impl Machine) -> String {
    match machine.intent() {
        Intent::Continue => format!("open in {}", machine.phase().label()),
        Intent::Close(reason) => format!("close {reason} in {}", machine.phase().label()),
        Intent::Linger(reason) => format!("linger {reason} in {}", machine.phase().label()),
        Intent::Abort(reason) => format!("abort {reason} in {}", machine.phase().label()),
    }
}

/// Feeds a server the head of a request and, once it is there, what follows in pieces of `step` bytes. Before the piece
/// number `switch_at` (0 is the first) it answers with `answer`. Then FIN.
fn serve(request: &str, input: &[u8], step: usize, switch_at: usize, answer: &ResponseHead) -> (String, String) {
    let mut server = Connection::<Server>::new(Arc::default(), NOW);
    let mut head = request.as_bytes();
    assert!(server.receive(&mut head, NOW).is_ok_and(|event| event.is_some()), "{request:?}");
    let mut waiting: Vec<u8> = head.to_vec();
    let (mut story, mut out) = (String::new(), BytesMut::new());
    for (place, piece) in input.chunks(step).chain([&[][..]]).enumerate() {
        if place == switch_at {
            server.switch(answer, &mut out, NOW).expect("a tunnel was asked for");
            story.push('|');
        }
        waiting.extend_from_slice(piece);
        loop {
            let mut rest = &waiting[..];
            let batch = server.receive_body_batch(&mut rest, NOW);
            let (len, is_end) = (batch.len(), batch.is_end);
            batch.data.iter().for_each(|piece| story.push_str(&String::from_utf8_lossy(piece)));
            if let Some(error) = batch.error {
                let _ = write!(story, "!{}", error.label());
            }
            if is_end {
                story.push_str("<end>");
            }
            let left = rest.len();
            drop(batch);
            waiting.drain(..waiting.len() - left);
            if len == 0 && !is_end {
                break;
            }
        }
    }
    let batch = server.receive_body_end_batch(NOW);
    if batch.is_end {
        story.push_str("<fin>");
    }
    if let Some(error) = batch.error {
        let _ = write!(story, "!{}", error.label());
    }
    if !waiting.is_empty() {
        let _ = write!(story, " left {}", waiting.len());
    }
    if !server.is_tunnel() {
        return (story, intent(&server));
    }
    // Our direction ends last.
    assert!(!server.owes_fin());
    let wrapping = server.wrap(2, true, None, NOW).expect("our direction is open");
    assert_eq!(wrapping.around(&[b"ok"]).concat(), b"ok", "nothing is framed");
    assert!(server.owes_fin());
    server.note_shut();
    assert!(!server.owes_fin());
    (story, intent(&server))
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket, x/1\r\n\r\n";
const CONNECT: &str = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
/// What would be a request if it were HTTP.
const LOOKS_LIKE_HTTP: &[u8] = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_follows_is_the_tunnels_whole_or_in_pieces_and_whenever_it_came() {
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1\r\nContent-Length: 3\r\n\r\n";
    let chunked = upload.replace("Content-Length: 3", "Transfer-Encoding: chunked");
    let http = String::from_utf8_lossy(LOOKS_LIKE_HTTP);
    let (websocket, x, connected) = (switching("websocket"), switching("X/1"), ResponseHead::new(StatusCode::OK));
    let end = "close upgraded in tunnel";
    for (request, input, answer, story) in [
        (UPGRADE, "\0\r\n\x7f", &websocket, "\0\r\n\x7f<fin>"),
        (UPGRADE, &*http, &websocket, &*format!("{http}<fin>")),
        (CONNECT, &*http, &connected, &*format!("{http}<fin>")),
        (UPGRADE, "", &websocket, "<fin>"),
        // The request's body comes first. RFC 9110 §7.8
        (upload, "abcdef", &x, "abc<end>def<fin>"),
        (&chunked, "3\r\nabc\r\n0\r\n\r\n0\r\n\r\n", &x, "abc<end>0\r\n\r\n<fin>"),
    ] {
        for step in [1, 2, 3, 7, input.len().max(1)] {
            let pieces = input.len().div_ceil(step);
            for switch_at in 0..=pieces {
                let (told, ended) = serve(request, input.as_bytes(), step, switch_at, answer);
                let context = format!("{request:?} {input:?} in pieces of {step}, switched before piece {switch_at}");
                assert_eq!(told.replace('|', ""), story, "{context}");
                assert_eq!(ended, end, "{context}");
            }
        }
    }
}

#[test]
fn a_request_that_ends_amid_its_body_is_no_tunnel() {
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1\r\nContent-Length: 3\r\n\r\n";
    let mut server = Connection::<Server>::new(Arc::default(), NOW);
    assert!(server.receive(&mut upload.as_bytes(), NOW).is_ok());
    server.switch(&switching("x/1"), &mut BytesMut::new(), NOW).expect("was offered");
    assert_eq!(server.receive_body_end_batch(NOW).error.map(|error| error.label()), Some("truncated-body"));
    assert_eq!(server.intent(), Intent::Close(CloseReason::Truncated));
    // The origin's half of the same.
    let (mut client, _) = ask(Method::POST, Some("x/1"), BodyLength::Known(3));
    let batch = client.receive_batch(&mut &b"HTTP/1.1 101 S\r\nUpgrade: x/1\r\n\r\n"[..], NOW);
    assert!(batch.head.is_some() && !batch.is_end);
    assert_eq!(client.receive_end_batch(NOW).error.map(|error| error.label()), Some("truncated-body"));
    assert_eq!(client.intent(), Intent::Abort(CloseReason::Truncated));
}

#[test]
fn heads_that_switch_say_so_and_frame_nothing() {
    let old = "CONNECT a:1 HTTP/1.0\r\n\r\n";
    for (request, head, expected) in [
        (
            UPGRADE,
            switching("websocket"),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        ),
        (
            UPGRADE,
            switching("X/1, websocket"),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: X/1, websocket\r\nConnection: upgrade\r\n\r\n",
        ),
        (CONNECT, ResponseHead::new(StatusCode::OK), "HTTP/1.1 200 OK\r\n\r\n"),
        (old, ResponseHead::new(StatusCode::OK), "HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let mut server = Connection::<Server>::new(Arc::default(), NOW);
        assert!(server.receive(&mut request.as_bytes(), NOW).is_ok());
        // A drain changes nothing: what says `close` could not become a tunnel.
        server.start_drain();
        let mut out = BytesMut::new();
        server.switch(&head, &mut out, NOW).expect("a tunnel was asked for");
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(server.is_tunnel() && !server.can_answer());
        assert_eq!(server.phase(), Phase::Tunnel);
    }
}

#[test]
fn nobody_is_switched_who_did_not_ask_for_it() {
    let no_offer = UPGRADE.replace("Connection: upgrade\r\n", "");
    let old = UPGRADE.replace("1.1", "1.0");
    let plain = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
    for (request, head) in [
        (UPGRADE, switching("h2c")),
        (UPGRADE, switching("websocket, h2c")),
        (UPGRADE, switching("x")),
        (UPGRADE, plain),
        (UPGRADE, ResponseHead::new(StatusCode::OK)),
        (&no_offer, switching("websocket")),
        (&old, switching("websocket")),
        (CONNECT, switching("websocket")),
        (CONNECT, ResponseHead::new(StatusCode::FORBIDDEN)),
    ] {
        let mut server = Connection::<Server>::new(Arc::default(), NOW);
        assert!(server.receive(&mut request.as_bytes(), NOW).is_ok());
        let mut out = BytesMut::new();
        assert_eq!(server.switch(&head, &mut out, NOW), Err(Misuse::SwitchWithoutUpgrade), "{request:?} {head:?}");
        assert!(out.is_empty() && server.can_answer() && !server.is_tunnel());
    }
}

/// A client that has asked, and what it wrote.
fn ask(method: Method, offer: Option<&str>, body: BodyLength) -> (Connection<Client>, String) {
    let target = if method == Method::CONNECT { "a:1" } else { "/" };
    let mut head = RequestHead::new(method, target).expect("a valid target");
    head.fields_mut().push_named("Host", b"a:1").expect("a valid field");
    if let Some(offer) = offer {
        head.fields_mut().push_named("Upgrade", offer.as_bytes()).expect("a valid field");
    }
    let mut client = Connection::<Client>::new(Arc::default(), NOW);
    let mut out = BytesMut::new();
    client.send_head(&head, target, body, &mut out, NOW).expect("the connection is idle");
    (client, String::from_utf8_lossy(&out).into_owned())
}

/// Feeds a client an answer in pieces of `step` bytes, then FIN.
fn hear(method: &Method, offer: Option<&str>, input: &[u8], step: usize) -> (String, String) {
    let (mut client, _) = ask(method.clone(), offer, BodyLength::None);
    let mut story = String::new();
    let mut waiting = Vec::new();
    for piece in input.chunks(step) {
        waiting.extend_from_slice(piece);
        let mut rest = &waiting[..];
        let batch = client.receive_batch(&mut rest, NOW);
        let left = rest.len();
        for head in batch.interim.iter().chain(&batch.head) {
            let _ = write!(story, "[{}]", head.status().as_u16());
        }
        batch.data.iter().for_each(|piece| story.push_str(&String::from_utf8_lossy(piece)));
        story.push_str(if batch.is_end { "<end>" } else { "" });
        if let Some(error) = batch.error {
            let _ = write!(story, "!{}", error.label());
        }
        drop(batch);
        waiting.drain(..waiting.len() - left);
        if client.intent() != Intent::Continue {
            break;
        }
    }
    if client.is_tunnel() {
        story.push_str(if client.receive_end_batch(NOW).is_end { "<fin>" } else { "?" });
        let wrapping = client.wrap(2, true, None, NOW).expect("our direction is open");
        assert_eq!(wrapping.around(&[b"ok"]).concat(), b"ok", "nothing is framed");
        assert!(client.owes_fin() && !client.is_idle());
    }
    (story, intent(&client))
}

#[test]
fn an_origin_switches_only_to_what_it_was_offered_whole_or_in_pieces() {
    let get = Method::GET;
    let end = "close upgraded in tunnel";
    let unasked = "abort protocol-error (unasked-switch) in waiting";
    for (method, offer, input, story, ended) in [
        (&get, Some("websocket"), "HTTP/1.1 101 S\r\nUpgrade: WebSocket\r\n\r\n", "[101]<fin>", end),
        (
            &get,
            Some("websocket"),
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "[100][101]HTTP/1.1 200 OK\r\n\r\n<fin>",
            end,
        ),
        (&get, Some("a, b/2"), "HTTP/1.1 101 S\r\nUpgrade: B/2\r\n\r\nhi", "[101]hi<fin>", end),
        (&Method::CONNECT, None, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "[200]hi<fin>", end),
        (&Method::CONNECT, None, "HTTP/1.0 299 OK\r\n\r\n", "[299]<fin>", end),
        (&get, None, "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\nhi", "!unasked-switch", unasked),
        (&get, Some("websocket"), "HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\nhi", "!unasked-switch", unasked),
        (&get, Some("a"), "HTTP/1.1 101 S\r\nUpgrade: a, b\r\n\r\nhi", "!unasked-switch", unasked),
        (&get, Some("a"), "HTTP/1.1 101 S\r\n\r\nhi", "!unasked-switch", unasked),
        (&Method::CONNECT, None, "HTTP/1.1 101 S\r\nUpgrade: a\r\n\r\n", "!unasked-switch", unasked),
        // Whoever does not take the offer answers as ever.
        (&get, Some("a"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "[200]hi<end>", "open in parked"),
        (&Method::CONNECT, None, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nhi", "[403]hi<end>", "open in parked"),
    ] {
        for step in [1, 2, 3, 7, input.len()] {
            let (told, how) = hear(method, offer, input.as_bytes(), step);
            // A head may bring its end with it.
            assert_eq!((told.as_str(), how.as_str()), (story, ended), "{input:?} in pieces of {step}");
        }
    }
}

#[test]
fn offers_are_named_in_connection() {
    let (_, head) = ask(Method::GET, Some("websocket"), BodyLength::None);
    assert!(head.contains("Upgrade: websocket\r\n") && head.ends_with("Connection: upgrade\r\n\r\n"), "{head}");
    let (_, head) = ask(Method::GET, None, BodyLength::None);
    assert!(!head.contains("pgrade"), "{head}");
}

#[test]
fn a_101_before_the_requests_end_leaves_the_request_to_end() {
    let (mut client, _) = ask(Method::POST, Some("x"), BodyLength::Chunked);
    let wrapping = client.wrap(1, false, None, NOW).expect("a body is being sent");
    assert_eq!(wrapping.around(&[b"a"]).concat(), b"1\r\na\r\n");
    let batch = client.receive_batch(&mut &b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\nhi"[..], NOW);
    assert_eq!(batch.data.concat(), b"hi");
    let wrapping = client.wrap(1, true, None, NOW).expect("a body is being sent");
    assert_eq!(wrapping.around(&[b"b"]).concat(), b"1\r\nb\r\n0\r\n\r\n", "still framed");
    assert!(!client.owes_fin(), "the body has ended, not the direction");
    let wrapping = client.wrap(1, true, None, NOW).expect("the tunnel is open");
    assert_eq!(wrapping.around(&[b"c"]).concat(), b"c", "from here on raw");
    assert!(client.owes_fin());
    assert_eq!(client.intent(), Intent::Continue, "the origin's direction is open");
}

#[test]
fn what_only_one_side_ended_is_cut_off_visibly() {
    for how in 0..3 {
        let mut server = Connection::<Server>::new(Arc::default(), NOW);
        assert!(server.receive(&mut UPGRADE.as_bytes(), NOW).is_ok());
        server.switch(&switching("websocket"), &mut BytesMut::new(), NOW).expect("was offered");
        match how {
            0 => {}
            1 => drop(server.wrap(0, true, None, NOW)),
            _ => drop(server.receive_body_end_batch(NOW)),
        }
        assert_eq!((server.intent(), server.phase()), (Intent::Continue, Phase::Tunnel));
        server.truncate(CloseReason::OtherSide);
        assert_eq!(server.intent(), Intent::Abort(CloseReason::OtherSide));
    }
}

/// A connection that never was anything else.
fn tunnel(config: Arc<ConnectionConfig>, now: Time) -> Connection<Client> {
    let mut towards = Connection::<Client>::new(config, now);
    towards.start_tunnel(now).expect("nothing was asked on it");
    towards
}

#[test]
fn deadlines_of_a_tunnel() {
    let at = |seconds| NOW.after(Duration::from_secs(seconds));
    let timeouts = Timeouts {
        tunnel_idle: Duration::from_secs(10),
        tunnel_age: Some(Duration::from_secs(60)),
        ..Timeouts::default()
    };
    let config = Arc::new(ConnectionConfig { timeouts, ..ConnectionConfig::default() });
    let mut server = Connection::<Server>::new(config.clone(), NOW);
    assert!(server.receive(&mut UPGRADE.as_bytes(), at(1)).is_ok());
    server.switch(&switching("websocket"), &mut BytesMut::new(), at(2)).expect("was offered");
    let due = |machine: &dyn Machine, waits| machine.deadline(waits).map(|due| (due.timer, due.at));
    assert_eq!(due(&server, true), Some((Timer::TunnelIdle, at(12))));
    assert_eq!(due(&server, false), Some((Timer::TunnelAge, at(62))), "back-pressure costs nobody the idle time");
    server.received(5, true, at(7));
    assert_eq!(due(&server, true), Some((Timer::TunnelIdle, at(17))), "bytes of the peer count");
    assert!(server.wrap(5, false, None, at(9)).is_ok());
    assert_eq!(due(&server, true), Some((Timer::TunnelIdle, at(19))), "and ours");
    server.received(5, true, at(58));
    assert_eq!(due(&server, true), Some((Timer::TunnelAge, at(62))), "however busy it is");
    server.expired(Timer::TunnelAge);
    server.give_up_request();
    assert_eq!(server.intent(), Intent::Abort(CloseReason::TimedOut(Timer::TunnelAge)));
    let mut towards = tunnel(config, at(3));
    assert_eq!((towards.phase(), due(&towards, true)), (Phase::Tunnel, Some((Timer::TunnelIdle, at(13)))));
    towards.expired(Timer::TunnelIdle);
    assert_eq!(towards.intent(), Intent::Abort(CloseReason::TimedOut(Timer::TunnelIdle)));
    let default = tunnel(Arc::default(), NOW);
    assert_eq!(due(&default, true), Some((Timer::TunnelIdle, at(3600))));
    assert_eq!(due(&default, false), None, "no age unless it is asked for");
}

#[test]
fn a_connection_that_always_was_a_tunnel() {
    let mut towards = tunnel(Arc::default(), NOW);
    let mut input = LOOKS_LIKE_HTTP;
    let batch = towards.receive_batch(&mut input, NOW);
    assert!(batch.head.is_none() && batch.data.concat() == LOOKS_LIKE_HTTP);
    let wrapping = towards.wrap(3, true, None, NOW).expect("is open");
    assert_eq!(wrapping.around(&[b"abc"]).concat(), b"abc");
    assert!(towards.owes_fin() && towards.wrap(1, false, None, NOW).is_err(), "our direction has ended");
    assert!(towards.receive_end_batch(NOW).is_end);
    assert_eq!((towards.intent(), towards.exchanges()), (Intent::Close(CloseReason::Upgraded), 1));
    let (mut asked, _) = ask(Method::GET, None, BodyLength::None);
    assert_eq!(asked.start_tunnel(NOW), Err(Misuse::WrongState), "it speaks HTTP");
}
