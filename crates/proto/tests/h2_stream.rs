//! One exchange in a stream: states, lengths, deadlines and ends, in both roles.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, StatusCode};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::error::{Misuse, ProtocolError as E};
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::h2_config::Http2Config;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proto::limits::Limits;
use sheave_proto::role::{Client, Server};
use sheave_proto::state::{RequestState, ResponseState};
use sheave_proto::stream::Stream;

const fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn config() -> Arc<ConnectionConfig> {
    let timeouts = Timeouts {
        body: Duration::from_secs(10),
        response: Duration::from_secs(20),
        min_body_rate: NonZeroU64::new(100),
        tunnel_idle: Duration::from_secs(100),
        tunnel_age: Some(Duration::from_secs(250)),
        ..Timeouts::default()
    };
    let http2 = Http2Config { window_timeout: Duration::from_secs(7), ..Http2Config::default() };
    let limits = Limits { max_body_bytes: Some(1000), max_informational: 2, ..Limits::default() };
    ConnectionConfig { timeouts, limits, http2, ..ConnectionConfig::default() }.into()
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::try_from(*name).expect("the tests know what is valid"),
            HeaderValue::try_from(*value).expect("the tests know what is valid"),
        );
    }
    map
}

fn request(method: &str, uri: &str, lines: &[(&str, &str)]) -> http::request::Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = method.parse().expect("the tests know what is valid");
    *request.uri_mut() = uri.parse::<Uri>().expect("the tests know what is valid");
    *request.headers_mut() = map(lines);
    request.into_parts().0
}

fn opened(method: &str, lines: &[(&str, &str)], is_end: bool) -> Result<Stream<Server>, E> {
    let uri = if method == "CONNECT" { "a:1" } else { "https://a/" };
    Stream::open(config(), &request(method, uri, lines), None, is_end, at(0)).map(|(stream, _)| stream)
}

fn response(status: u16, lines: &[(&str, &str)]) -> http::response::Parts {
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).expect("the tests know what is valid");
    *response.headers_mut() = map(lines);
    response.into_parts().0
}

fn head(status: u16) -> ResponseHead {
    ResponseHead::new(StatusCode::from_u16(status).expect("the tests know what is valid"))
}

fn asked(method: Method, body: BodyLength) -> Stream<Client> {
    let target = if method == Method::CONNECT { "a:1" } else { "/" };
    let mut head = RequestHead::new(method, target).expect("the tests know what is valid");
    head.fields_mut().push(Known::Host, b"a:1").expect("the tests know what is valid");
    let mut stream = Stream::new(config(), at(0));
    stream.send_head(&head, target, Scheme::HTTP, body, at(0)).expect("the tests know what is valid");
    stream
}

fn due(seconds: u64, timer: Timer) -> Option<Deadline> {
    Some(Deadline { at: at(seconds), timer })
}

#[test]
fn an_exchange_from_the_servers_side() {
    let mut stream = opened("POST", &[("content-length", "5")], false).unwrap();
    assert_eq!((stream.phase(), stream.intent()), (Phase::Request, Intent::Continue));
    assert!(stream.can_answer() && !stream.awaits_continue());
    assert_eq!(stream.receive_data(3, false, at(1)), Ok(()));
    assert_eq!(stream.receive_data(2, true, at(1)), Ok(()));
    assert_eq!((stream.state().request, stream.phase()), (RequestState::Done, Phase::Waiting));
    assert!(stream.peer_has_ended());

    let (interim, ends) = stream.send_head(&head(103), BodyLength::None, at(1)).unwrap();
    assert_eq!((interim.status().as_u16(), ends), (103, false));
    let (response, ends) = stream.send_head(&head(200), BodyLength::Known(4), at(1)).unwrap();
    assert_eq!((response.headers()["content-length"].as_bytes(), ends), (&b"4"[..], false));
    assert!(!stream.can_answer());
    assert_eq!(stream.unsent(), Some(4));
    assert_eq!(stream.send_data(5, false, at(2)), Err(Misuse::BodyTooLong { excess: 1 }));
    assert_eq!(stream.send_data(3, true, at(2)), Err(Misuse::BodyTooShort { missing: 1 }));
    assert_eq!(stream.send_data(3, false, at(2)), Ok(()));
    assert_eq!((stream.unsent(), stream.phase()), (Some(1), Phase::Response));
    assert_eq!(stream.send_data(1, true, at(2)), Ok(()));
    assert_eq!(stream.intent(), Intent::Close(CloseReason::Agreed));
    assert_eq!((stream.reset_code(), stream.deadline(true)), (None, None));
    assert_eq!(stream.send_data(1, true, at(2)), Err(Misuse::ContentNotAllowed));
    assert_eq!(stream.send_data(0, true, at(2)), Ok(()), "what has ended may be ended");
    assert_eq!(stream.send_head(&head(200), BodyLength::None, at(2)).map(|_| ()), Err(Misuse::WrongState));
}

#[test]
fn heads_that_end_the_stream() {
    for (method, status, body, ends) in [
        ("GET", 200, BodyLength::None, true),
        ("GET", 200, BodyLength::Known(0), true),
        ("GET", 200, BodyLength::Known(1), false),
        ("GET", 200, BodyLength::Chunked, false),
        ("GET", 200, BodyLength::UntilClose, false),
        ("HEAD", 200, BodyLength::Known(1), true),
        ("GET", 304, BodyLength::Known(1), true),
        ("GET", 204, BodyLength::Chunked, true),
    ] {
        let mut stream = opened(method, &[], true).unwrap();
        assert_eq!(stream.send_head(&head(status), body, at(0)).unwrap().1, ends, "{method} {status} {body:?}");
        assert_eq!(stream.state().is_over(), ends);
    }
    for (body, ends) in [(BodyLength::None, true), (BodyLength::Known(0), true), (BodyLength::Chunked, false)] {
        let mut head = RequestHead::new(Method::PUT, "/").unwrap();
        head.fields_mut().push(Known::Host, b"a").unwrap();
        let mut stream = Stream::<Client>::new(config(), at(0));
        assert_eq!(stream.send_head(&head, "/", Scheme::HTTP, body, at(0)).unwrap().1, ends, "{body:?}");
        assert_eq!(stream.send_head(&head, "/", Scheme::HTTP, body, at(0)).map(|_| ()), Err(Misuse::WrongState));
    }
}

#[test]
fn content_is_as_long_as_was_said() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(usize, bool)], Result<(), E>);
    let table: &[Case<'_>] = &[
        (&[("content-length", "5")], &[(5, true)], Ok(())),
        (&[("content-length", "5")], &[(5, false), (0, true)], Ok(())),
        (&[("content-length", "0")], &[(0, true)], Ok(())),
        (&[("content-length", "5")], &[(4, true)], Err(E::ContentLengthMismatch)),
        (&[("content-length", "5")], &[(0, true)], Err(E::ContentLengthMismatch)),
        (&[("content-length", "5")], &[(6, false)], Err(E::ContentLengthMismatch)),
        (&[("content-length", "5")], &[(5, false), (1, false)], Err(E::ContentLengthMismatch)),
        (&[("content-length", "0")], &[(1, false)], Err(E::ContentLengthMismatch)),
        (&[], &[(600, false), (400, true)], Ok(())),
        (&[], &[(600, false), (401, false)], Err(E::BodyTooLarge { limit: 1000 })),
        (&[], &[(usize::MAX, false)], Err(E::BodyTooLarge { limit: 1000 })),
        (&[], &[(0, true), (0, false)], Err(E::UnaskedBytes)),
    ];
    for (lines, frames, expected) in table {
        let feed = |receive: &mut dyn FnMut(usize, bool) -> Result<(), E>| {
            frames.iter().try_for_each(|(len, is_end)| receive(*len, *is_end))
        };
        let mut stream = opened("POST", lines, false).unwrap();
        assert_eq!(feed(&mut |len, is_end| stream.receive_data(len, is_end, at(0))), *expected, "{lines:?} {frames:?}");
        let is_reset = expected.is_err_and(|error| error.resets_stream());
        assert_eq!(matches!(stream.intent(), Intent::Abort(_)), is_reset, "{frames:?}");

        let mut stream = asked(Method::GET, BodyLength::None);
        stream.receive_response(&response(200, lines), false, at(0)).unwrap();
        assert_eq!(feed(&mut |len, is_end| stream.receive_data(len, is_end, at(0))), *expected, "{lines:?} {frames:?}");
        assert!(expected.is_err() || stream.intent() == Intent::Close(CloseReason::Agreed));
    }
    for method in [Method::HEAD, Method::GET] {
        let mut stream = asked(method.clone(), BodyLength::None);
        let status = if method == Method::HEAD { 200 } else { 304 };
        stream.receive_response(&response(status, &[("content-length", "5")]), false, at(0)).unwrap();
        assert_eq!(stream.receive_data(1, false, at(0)), Err(E::ContentLengthMismatch), "no content in a {status}");
    }
    let too_large = opened("POST", &[("content-length", "1001")], false).map(|_| ());
    assert_eq!(too_large, Err(E::BodyTooLarge { limit: 1000 }));
    let mut stream = asked(Method::GET, BodyLength::None);
    let too_large = stream.receive_response(&response(200, &[("content-length", "1001")]), false, at(0));
    assert_eq!(too_large, Err(E::BodyTooLarge { limit: 1000 }));
    // Before a head there is nothing that could be content.
    assert_eq!(asked(Method::GET, BodyLength::None).receive_data(0, false, at(0)), Err(E::UnaskedBytes));
}

#[test]
fn trailers_are_the_end_of_content() {
    let map = map(&[("grpc-status", "0")]);
    let mut stream = opened("POST", &[("content-length", "5")], false).unwrap();
    stream.receive_data(5, false, at(0)).unwrap();
    let fields = stream.receive_trailers(&map, at(0)).unwrap();
    assert_eq!(fields.get_named("grpc-status"), Some(&b"0"[..]));
    assert!(stream.peer_has_ended());
    assert_eq!(stream.receive_trailers(&map, at(0)), Err(E::UnaskedBytes));

    let mut stream = opened("POST", &[("content-length", "5")], false).unwrap();
    assert_eq!(stream.receive_trailers(&map, at(0)), Err(E::ContentLengthMismatch));
    assert_eq!(stream.reset_code(), Some(ErrorCode::Protocol));

    let mut fields = Fields::new();
    fields.push(Known::ContentLength, b"1").unwrap();
    assert_eq!(stream.trailers(&fields), Err(Misuse::ForbiddenTrailer));
}

#[test]
fn an_exchange_from_the_clients_side() {
    let mut stream = asked(Method::POST, BodyLength::Known(3));
    assert_eq!((stream.progress(), stream.phase()), (Progress::Written, Phase::Request));
    stream.send_data(3, true, at(1)).unwrap();
    assert_eq!(stream.phase(), Phase::Waiting);
    for _ in 0..2 {
        let interim = stream.receive_response(&response(103, &[]), false, at(2)).unwrap();
        assert_eq!(interim.status().as_u16(), 103);
    }
    assert_eq!(stream.progress(), Progress::Answered);
    let mut other = asked(Method::GET, BodyLength::None);
    for expected in [Ok(()), Ok(()), Err(E::TooManyInformational { limit: 2 })] {
        assert_eq!(other.receive_response(&response(100, &[]), false, at(0)).map(|_| ()), expected);
    }
    let head = stream.receive_response(&response(200, &[]), false, at(3)).unwrap();
    assert!(!head.has_ended() && stream.has_answered());
    stream.receive_data(10, true, at(4)).unwrap();
    assert_eq!((stream.intent(), stream.reset_code()), (Intent::Close(CloseReason::Agreed), None));
    assert_eq!(stream.receive_response(&response(200, &[]), true, at(4)), Err(E::UnaskedBytes));
}

#[test]
fn a_refused_request_is_answered_and_its_rest_is_not_wanted() {
    for (method, is_end, code) in [
        (Method::POST, false, Some(ErrorCode::None)),
        (Method::POST, true, None),
        (Method::HEAD, false, Some(ErrorCode::None)),
    ] {
        let mut stream = Stream::<Server>::unread(config(), &method, is_end, at(0));
        assert!(stream.can_answer());
        let (_, ends) = stream.send_head(&head(400), BodyLength::Known(3), at(0)).unwrap();
        assert_eq!(ends, method == Method::HEAD);
        stream.send_data(if ends { 0 } else { 3 }, true, at(0)).unwrap();
        assert_eq!(stream.intent(), Intent::Close(CloseReason::Agreed));
        assert_eq!(stream.reset_code(), code, "{method} {is_end}");
    }
    assert_eq!(opened("POST", &[("expect", "magic")], false).map(|_| ()), Err(E::UnknownExpectation));
}

#[test]
fn what_a_reset_says() {
    // What of the response has gone out, and what ends it, from the server's side.
    for (answered, end, code) in [
        (false, Intent::Linger(CloseReason::TimedOut(Timer::BodyRead)), Some(ErrorCode::Cancel)),
        (true, Intent::Linger(CloseReason::EarlyResponse), Some(ErrorCode::None)),
        (true, Intent::Abort(CloseReason::OtherSide), Some(ErrorCode::Cancel)),
        (true, Intent::Abort(CloseReason::Truncated), Some(ErrorCode::Internal)),
        (false, Intent::Abort(CloseReason::Refused("exchanges")), Some(ErrorCode::RefusedStream)),
    ] {
        let mut stream = opened("POST", &[], false).unwrap();
        if answered {
            stream.send_head(&head(200), BodyLength::None, at(0)).unwrap();
        }
        assert_eq!(stream.reset_code(), None);
        stream.end(end);
        assert_eq!(stream.reset_code(), code, "{end:?}");
        stream.truncate(CloseReason::Bug("later"));
        assert_eq!(stream.intent(), end, "the first reason stays");
    }
    let mut stream = asked(Method::POST, BodyLength::Chunked);
    stream.receive_response(&response(200, &[]), true, at(0)).unwrap();
    stream.abandon(CloseReason::EarlyResponse);
    assert_eq!(stream.reset_code(), Some(ErrorCode::Cancel), "a client gives up its own request");
}

#[test]
fn a_reset_completes_nothing() {
    let mut stream = opened("POST", &[], false).unwrap();
    stream.receive_data(5, false, at(0)).unwrap();
    assert_eq!(stream.receive_reset(ErrorCode::Cancel), Err(E::TruncatedBody));
    assert_eq!((stream.intent(), stream.reset_code()), (Intent::Abort(CloseReason::PeerClosed), None));
    assert_eq!(
        (stream.peer_code(), stream.peer_has_ended(), stream.can_answer()),
        (Some(ErrorCode::Cancel), false, false)
    );
    assert_eq!(stream.send_head(&head(200), BodyLength::None, at(0)).map(|_| ()), Err(Misuse::WrongState));
    // A request that was whole stays whole; nobody waits for its answer any more.
    assert_eq!(opened("GET", &[], true).unwrap().receive_reset(ErrorCode::Cancel), Ok(()));

    let mut stream = asked(Method::GET, BodyLength::None);
    assert_eq!(stream.receive_reset(ErrorCode::RefusedStream), Err(E::TruncatedHead));
    assert_eq!(stream.progress(), Progress::RefusedStream);
    let mut stream = asked(Method::GET, BodyLength::None);
    stream.receive_reset(ErrorCode::Cancel).unwrap_err();
    assert_eq!(stream.progress(), Progress::Written, "what was done of it is not known");
    let mut stream = asked(Method::GET, BodyLength::None);
    stream.receive_response(&response(200, &[]), false, at(0)).unwrap();
    assert_eq!(stream.receive_reset(ErrorCode::RefusedStream), Err(E::TruncatedBody));
    assert_eq!(stream.progress(), Progress::Answered, "it was not refused, whatever it says");
    // RFC 9113 §8.1: a response that is whole, and a request that is not wanted any further.
    let mut stream = asked(Method::POST, BodyLength::Chunked);
    stream.receive_response(&response(413, &[]), true, at(0)).unwrap();
    assert_eq!(stream.receive_reset(ErrorCode::None), Ok(()));
    assert_eq!((stream.state().response, stream.reset_code()), (ResponseState::Done, None));
}

#[test]
fn deadlines_of_a_request() {
    let mut stream = opened("POST", &[], false).unwrap();
    assert_eq!(stream.deadline(true), due(10, Timer::BodyRead));
    assert_eq!(stream.deadline(false), None, "it is not read: its time stands still");
    stream.progressed(at(5));
    assert_eq!(stream.deadline(true), due(15, Timer::BodyRead));
    // It drips: a hundred bytes are a second, and eight seconds at a time is too slow for twice ten.
    for step in 1..=2 {
        stream.receive_data(1, false, at(5 + 8 * step)).unwrap();
        stream.received(1, true, at(5 + 8 * step));
    }
    assert_eq!(stream.deadline(true).map(|due| due.timer), Some(Timer::BodyRate));
    stream.expired(Timer::BodyRate);
    assert_eq!(stream.intent(), Intent::Linger(CloseReason::TimedOut(Timer::BodyRate)));
    assert!(stream.can_answer(), "408 can be said");
    stream.give_up_request();
    stream.send_head(&head(408), BodyLength::None, at(30)).unwrap();
    assert_eq!(stream.reset_code(), Some(ErrorCode::Cancel));

    let mut stream = opened("POST", &[], false).unwrap();
    stream.send_head(&head(200), BodyLength::Chunked, at(0)).unwrap();
    stream.expired(Timer::BodyRead);
    assert_eq!(stream.intent(), Intent::Abort(CloseReason::TimedOut(Timer::BodyRead)), "a response was under way");
}

#[test]
fn deadlines_of_a_response() {
    let mut stream = asked(Method::POST, BodyLength::Known(3));
    assert_eq!(stream.deadline(true), None, "the request is ours to finish");
    stream.send_data(3, true, at(2)).unwrap();
    assert_eq!(stream.deadline(true), due(22, Timer::Response));
    stream.receive_response(&response(103, &[]), false, at(4)).unwrap();
    assert_eq!(stream.deadline(true), due(22, Timer::Response));
    stream.receive_response(&response(200, &[]), false, at(4)).unwrap();
    assert_eq!(stream.deadline(true), due(14, Timer::BodyRead));
    stream.expired(Timer::BodyRead);
    assert_eq!(
        (stream.intent(), stream.reset_code()),
        (Intent::Abort(CloseReason::TimedOut(Timer::BodyRead)), Some(ErrorCode::Cancel))
    );
}

#[test]
fn a_closed_window_is_timed_out() {
    let mut stream = opened("GET", &[], true).unwrap();
    stream.send_head(&head(200), BodyLength::Known(9), at(0)).unwrap();
    assert_eq!(stream.deadline(true), None);
    stream.hold_back(at(3));
    stream.hold_back(at(9));
    assert_eq!((stream.deadline(true), stream.deadline(false)), (due(10, Timer::Write), due(10, Timer::Write)));
    stream.let_go();
    assert_eq!(stream.deadline(true), None);
    stream.hold_back(at(20));
    assert_eq!(stream.deadline(false), due(27, Timer::Write));
    stream.expired(Timer::Write);
    assert_eq!(
        (stream.intent(), stream.reset_code()),
        (Intent::Abort(CloseReason::TimedOut(Timer::Write)), Some(ErrorCode::Cancel))
    );
}

#[test]
fn what_was_given_whole_is_not_over_while_the_window_holds_it_back() {
    for is_let_out in [true, false] {
        let mut stream = opened("GET", &[], true).unwrap();
        stream.send_head(&head(200), BodyLength::Known(9), at(0)).unwrap();
        stream.send_data(9, true, at(0)).unwrap();
        stream.hold_back(at(3));
        assert_eq!(stream.deadline(false), due(10, Timer::Write));
        if is_let_out {
            stream.let_go();
            assert_eq!((stream.deadline(false), stream.intent()), (None, Intent::Close(CloseReason::Agreed)));
            assert_eq!(stream.reset_code(), None);
        } else {
            stream.expired(Timer::Write);
            assert_eq!(stream.intent(), Intent::Abort(CloseReason::TimedOut(Timer::Write)));
            assert_eq!((stream.deadline(false), stream.reset_code()), (None, Some(ErrorCode::Cancel)));
        }
    }
}

#[test]
fn content_is_asked_for_once() {
    let mut stream = opened("POST", &[("expect", "100-continue")], false).unwrap();
    assert!(stream.awaits_continue());
    stream.send_head(&head(100), BodyLength::None, at(0)).unwrap();
    assert!(!stream.awaits_continue());
    let mut stream = opened("POST", &[("expect", "100-continue")], false).unwrap();
    stream.receive_data(1, false, at(0)).unwrap();
    assert!(!stream.awaits_continue(), "it came unasked");
    assert!(!opened("GET", &[("expect", "100-continue")], true).unwrap().awaits_continue(), "there is none");
}

#[test]
fn a_tunnel_in_a_stream() {
    let mut server = opened("CONNECT", &[], false).unwrap();
    assert_eq!(server.switch(&head(404), at(0)).map(|_| ()), Err(Misuse::SwitchWithoutUpgrade));
    let answer = server.switch(&head(200), at(1)).unwrap();
    assert_eq!(answer.headers().len(), 0);
    assert!(server.is_tunnel());
    assert_eq!(server.phase(), Phase::Tunnel);
    assert_eq!(server.deadline(true), due(101, Timer::TunnelIdle));
    assert_eq!(server.deadline(false), due(251, Timer::TunnelAge));
    server.send_data(5000, false, at(60)).unwrap();
    assert_eq!(server.deadline(true), due(160, Timer::TunnelIdle), "a byte either way");
    server.receive_data(5000, false, at(70)).unwrap();
    server.received(5000, true, at(70));
    assert_eq!(server.deadline(true), due(170, Timer::TunnelIdle));
    assert_eq!(server.trailers(&Fields::new()), Err(Misuse::TrailersWithoutChunked));
    server.receive_data(0, true, at(80)).unwrap();
    assert_eq!((server.phase(), server.intent()), (Phase::Tunnel, Intent::Continue), "the other direction goes on");
    server.send_data(1, true, at(90)).unwrap();
    assert_eq!((server.intent(), server.reset_code()), (Intent::Close(CloseReason::Upgraded), None));

    let mut client = asked(Method::CONNECT, BodyLength::None);
    assert_eq!(client.send_data(1, false, at(0)), Err(Misuse::ContentNotAllowed), "not yet");
    client.receive_response(&response(200, &[]), false, at(1)).unwrap();
    assert!(client.is_tunnel());
    client.receive_data(5000, false, at(1)).unwrap();
    assert_eq!(client.receive_trailers(&map(&[]), at(1)), Err(E::UnaskedBytes), "nothing but DATA");
    let mut client = asked(Method::CONNECT, BodyLength::None);
    client.receive_response(&response(200, &[]), true, at(1)).unwrap();
    client.send_data(5000, true, at(2)).unwrap();
    assert_eq!(client.intent(), Intent::Close(CloseReason::Upgraded));
    let mut client = asked(Method::CONNECT, BodyLength::None);
    client.receive_response(&response(403, &[]), true, at(1)).unwrap();
    assert!(!client.is_tunnel() && client.intent() == Intent::Close(CloseReason::Agreed));

    let mut cut = opened("CONNECT", &[], true).unwrap();
    cut.switch(&head(200), at(0)).unwrap();
    assert_eq!(cut.state().request, RequestState::Done, "the client had nothing to say");
    cut.end(Intent::Abort(CloseReason::Truncated));
    assert_eq!(cut.reset_code(), Some(ErrorCode::Connect));
    assert_eq!(
        opened("GET", &[], true).unwrap().switch(&head(200), at(0)).map(|_| ()),
        Err(Misuse::SwitchWithoutUpgrade)
    );
}
