//! Requests that can be read in more than one way, or that exceed a bound: refused, and nothing of them sent on.

mod kit;

use kit::origin::Origin;
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{Cut, End};
use sheave_proto::limits::Limits;

/// What would be smuggled if a refusal did not end the connection.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// How bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    Whole,
    ByteByByte,
}

/// What is sent, and the status and cause of the refusal.
type Refused<'a> = (&'a str, u16, &'a str);

/// Each is refused with that status and cause and `Connection: close`, whole or byte by byte; the connection ends; the
/// origin sees no whole request, and not a byte when all of it came at once.
fn refuses(setup: &Setup, table: &[Refused<'_>]) {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup.clone());
        let mut wrong = Vec::new();
        for (number, refused) in table.iter().enumerate() {
            for (sent, count) in [(Sent::Whole, number * 2 + 1), (Sent::ByteByByte, number * 2 + 2)] {
                let received = origin.received_in_all();
                let happened = refusal(&rig, refused.0, sent, count).await;
                let expected = (Ok((refused.1, refused.2.to_owned())), true, Some(refused.2.to_owned()));
                // A body that is wrong late was begun to be sent on; never as a whole.
                let is_clean =
                    origin.requests().is_empty() && (sent == Sent::ByteByByte || origin.received_in_all() == received);
                if happened != expected || !is_clean {
                    let request = &refused.0[..refused.0.len().min(200)];
                    wrong.push(format!("{request:?} {sent:?}: {happened:?}, clean: {is_clean}; {:?}", expected));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len() * 2, wrong.join("\n"));
        rig.finish().await;
    });
}

/// The answer's status and cause; whether it has all that a refusal must have; the cause that was recorded.
type Refusal = (Result<(u16, String), Cut>, bool, Option<String>);

async fn refusal(rig: &Rig, request: &str, sent: Sent, count: usize) -> Refusal {
    let mut client = rig.client().await;
    let bytes = format!("{request}{SMUGGLED}");
    match sent {
        Sent::Whole => client.send(bytes).await,
        // Long ones are for the bound's sake: what matters is at their end.
        Sent::ByteByByte => {
            let (head, tail) = bytes.as_bytes().split_at(bytes.len().saturating_sub(600));
            client.try_send(head).await;
            client.send_bytewise(tail).await;
        }
    }
    let method = if request.starts_with("HEAD ") { "HEAD" } else { "GET" };
    let response = match client.try_response_to(method).await {
        Ok(response) => response,
        Err(cut) => return (Err(cut), false, None),
    };
    let answer = (response.status(), response.cause().unwrap_or_default().to_owned());
    // RFC 9110 §6.6.1, RFC 9112 §9.6
    let is_proper = response.says_close() && response.field("Date").is_some() && client.end().await == End::Fin;
    let ended = rig.recorder.until_ended(count).await;
    let recorded = ended.error.filter(|_| ended.status == answer.0);
    (Ok(answer), is_proper, recorded.map(str::to_owned))
}

#[test]
fn content_length_has_one_reading() {
    let with = |value: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:{value}\r\n\r\nhello");
    let mut table: Vec<(String, u16, &str)> = Vec::new();
    for value in [
        "", " ", " +5", " -5", " 5, 5", " 5,5", " 5,", " ,5", " 5 5", " 0x5", " 5a", " 5.0", " 5;a", " \"5\"", " 0 5",
        " 5e0", " 5\t5",
    ] {
        table.push((with(value), 400, "invalid-content-length"));
    }
    for value in [" 18446744073709551616", " 18446744073709551618", " 99999999999999999999999"] {
        table.push((with(value), 413, "content-length-overflow"));
    }
    for value in [" 5\0", " \u{b}5", " 5\u{c}", " 5\u{7f}"] {
        table.push((with(value), 400, "control-byte"));
    }
    for value in [" 5\r\nContent-Length: 5", " 5\r\ncontent-length: 6", " 0\r\nA: b\r\nContent-Length: 5"] {
        table.push((with(value), 400, "repeated-content-length"));
    }
    table.push((with(" 5\r\n 5"), 400, "obs-fold"));
    let table: Vec<Refused<'_>> =
        table.iter().map(|(bytes, status, cause)| (bytes.as_str(), *status, *cause)).collect();
    refuses(&Setup::default(), &table);
}

#[test]
fn transfer_encoding_has_one_reading() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let both = "content-length-with-transfer-encoding";
    let invalid = "invalid-transfer-encoding";
    let unknown = "unknown-transfer-coding";
    let table = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400, both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400, both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400, both),
        ("Content-Length: 5\r\nTransfer-Encoding: gzip", 400, both),
        ("Content-Length: 5\r\nTransfer-Encoding:", 400, both),
        ("Transfer-Encoding: chunked, chunked", 400, invalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400, invalid),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400, invalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400, invalid),
        ("Transfer-Encoding:", 400, invalid),
        ("Transfer-Encoding: ,chunked", 400, invalid),
        ("Transfer-Encoding: chunked,", 400, invalid),
        ("Transfer-Encoding: chunked;a=b", 400, invalid),
        ("Transfer-Encoding: \"chunked\"", 400, invalid),
        ("Transfer-Encoding: chunked x", 400, invalid),
        ("Transfer-Encoding: chunked, identity", 400, invalid),
        ("Transfer-Encoding: gzip", 501, unknown),
        ("Transfer-Encoding: gzip, chunked", 501, unknown),
        ("Transfer-Encoding: identity", 501, unknown),
        ("Transfer-Encoding: xchunked", 501, unknown),
        ("Transfer-Encoding: \u{b}chunked", 400, "control-byte"),
        ("Transfer-Encoding: chunked\0", 400, "control-byte"),
        ("Transfer-Encoding : chunked", 400, "space-before-colon"),
        ("Transfer-Encoding\t: chunked", 400, "space-before-colon"),
        ("Transfer-Encoding:\r\n chunked", 400, "obs-fold"),
        ("\u{b}Transfer-Encoding: chunked", 400, "invalid-field-name"),
        ("Transfer\0Encoding: chunked", 400, "invalid-field-name"),
        ("Transfer-Encoding\u{a0}: chunked", 400, "invalid-field-name"),
    ];
    let mut table: Vec<_> = table.map(|(lines, status, cause)| (with(lines), status, cause)).to_vec();
    // RFC 9112 §6.1
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned();
    table.push((old, 400, "transfer-encoding-in-http10"));
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n".to_owned();
    table.push((head, 400, both));
    let table: Vec<Refused<'_>> =
        table.iter().map(|(bytes, status, cause)| (bytes.as_str(), *status, *cause)).collect();
    refuses(&Setup::default(), &table);
}

#[test]
fn chunks_are_read_to_the_letter() {
    let with = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let size = "invalid-chunk-size";
    let extension = "invalid-chunk-extension";
    let crlf = "missing-chunk-crlf";
    let table = [
        ("\r\n5\r\nhello\r\n0\r\n\r\n", size),
        (" 5\r\nhello\r\n0\r\n\r\n", size),
        ("5 \r\nhello\r\n0\r\n\r\n", size),
        ("5\t\r\nhello\r\n0\r\n\r\n", size),
        ("5\0\r\nhello\r\n0\r\n\r\n", size),
        ("5 ;a\r\nhello\r\n0\r\n\r\n", size),
        ("0x5\r\nhello\r\n0\r\n\r\n", size),
        ("+5\r\nhello\r\n0\r\n\r\n", size),
        ("-5\r\nhello\r\n0\r\n\r\n", size),
        ("5_0\r\nhello\r\n0\r\n\r\n", size),
        ("5,5\r\nhello\r\n0\r\n\r\n", size),
        ("\u{665}\r\nhello\r\n0\r\n\r\n", size),
        (";a\r\nhello\r\n0\r\n\r\n", size),
        ("g\r\nhello\r\n0\r\n\r\n", size),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size-overflow"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size-overflow"),
        ("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "chunk-size-overflow"),
        ("5\nhello\r\n0\r\n\r\n", "bare-lf"),
        ("5\rhello\r\n0\r\n\r\n", "bare-cr"),
        ("5\r\r\nhello\r\n0\r\n\r\n", "bare-cr"),
        ("5;\r\nhello\r\n0\r\n\r\n", extension),
        ("5;;a\r\nhello\r\n0\r\n\r\n", extension),
        ("5; \r\nhello\r\n0\r\n\r\n", extension),
        ("5;=a\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a=\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a=b c\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a=\"b\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a\0b\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a=\"\0\"\r\nhello\r\n0\r\n\r\n", extension),
        ("5;a \r\nhello\r\n0\r\n\r\n", extension),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", "bare-lf"),
        ("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", "bare-lf"),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", "bare-cr"),
        ("5\r\nhelloX\r\n0\r\n\r\n", crlf),
        ("5\r\nhello\n0\r\n\r\n", crlf),
        ("5\r\nhello0\r\n\r\n", crlf),
        ("5\r\nhello\rX0\r\n\r\n", crlf),
        ("5\r\nhello \r\n0\r\n\r\n", crlf),
        ("5\r\nhell\r\n0\r\n\r\n\r\n", crlf),
        // What hyper reads as the beginning of trailers, and so swallows the next request with.
        ("0\r\n\n", "bare-lf"),
        ("0\n\r\n", "bare-lf"),
        ("0\r\n\r\r\n", "bare-cr"),
        ("0\r\nA: b\n\r\n", "bare-lf"),
        ("0\r\nA: b\r\n\n", "bare-lf"),
        ("0\r\nA\r\n\r\n", "missing-colon"),
        ("0\r\nA : b\r\n\r\n", "space-before-colon"),
        ("0\r\n A: b\r\n\r\n", "indented-first-line"),
        ("0\r\nA: b\r\n c\r\n\r\n", "obs-fold"),
        ("0\r\nA: \0\r\n\r\n", "control-byte"),
        ("0\r\nContent-Length: 5\r\n\r\n", "forbidden-trailer"),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", "forbidden-trailer"),
        ("0\r\nhost: b\r\n\r\n", "forbidden-trailer"),
    ];
    let table: Vec<_> = table.iter().map(|(body, cause)| (with(body), 400, *cause)).collect();
    let table: Vec<Refused<'_>> =
        table.iter().map(|(bytes, status, cause)| (bytes.as_str(), *status, *cause)).collect();
    refuses(&Setup::default(), &table);
}

#[test]
fn lines_end_with_crlf_and_hold_text() {
    let table = [
        ("GET / HTTP/1.1\nHost: a\n\n", 400, "bare-lf"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare-lf"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare-lf"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare-lf"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n", 400, "bare-lf"),
        ("GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-lf"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-lf"),
        ("GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n", 400, "bare-cr"),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "bare-cr"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400, "bare-cr"),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-cr"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 400, "control-byte"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\u{1}\r\n\r\n", 400, "control-byte"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\u{7f}\r\n\r\n", 400, "control-byte"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n", 400, "invalid-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n", 400, "invalid-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA(b): c\r\n\r\n", 400, "invalid-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\u{e4}: c\r\n\r\n", 400, "invalid-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: c\r\n\r\n", 400, "invalid-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", 400, "missing-colon"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "space-before-colon"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA \t: b\r\n\r\n", 400, "space-before-colon"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "indented-first-line"),
        ("GET / HTTP/1.1\r\n\tA: b\r\nHost: a\r\n\r\n", 400, "indented-first-line"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400, "obs-fold"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\t: c\r\n\r\n", 400, "obs-fold"),
        ("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400, "obs-fold"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "too-many-leading-newlines"),
    ];
    refuses(&Setup::default(), &table);
}

#[test]
fn request_lines_have_three_parts() {
    let line = "invalid-request-line";
    let table = [
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, line),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, line),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-method"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-method"),
        ("GET /\r\nHost: a\r\n\r\n", 400, line),
        ("GET\r\nHost: a\r\n\r\n", 400, line),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / ICY/1.1\r\nHost: a\r\n\r\n", 400, "malformed-version"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "unsupported-version"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "unsupported-version"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "unsupported-version"),
        // Nearly the line with which HTTP/2 begins. RFC 9113 §3.4
        ("PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported-version"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-method"),
        ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-method"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", 400, "invalid-method"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET /\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target-form-mismatch"),
        ("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target-form-mismatch"),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
        ("CONNECT http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid-target"),
    ];
    refuses(&Setup::default(), &table);
}

#[test]
fn host_is_one_and_valid() {
    let invalid = [
        "",
        "a:b",
        "a:80:90",
        "a:-1",
        "a:+1",
        "a:65536",
        "a:0x50",
        "a: 80",
        "[::1",
        "[::1]x",
        "[::1]80",
        "::1",
        "[]",
        "[g]",
        "[::1%25lo]",
        "u@a",
        "u:p@a",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "<a>",
        "\"a\"",
        "a b",
        "a\tb",
        "a,b c",
        "a, a",
        "\u{e4}",
        "http://a",
        ":80",
        "%",
        "%4",
        "a{b",
    ];
    let mut table: Vec<(String, u16, &str)> =
        invalid.iter().map(|host| (format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, "invalid-host")).collect();
    let mut also = |bytes: &str, cause| table.push((bytes.to_owned(), 400, cause));
    also("GET / HTTP/1.1\r\n\r\n", "missing-host");
    also("GET / HTTP/1.2\r\n\r\n", "missing-host");
    also("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "repeated-host");
    also("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nhOST: b\r\n\r\n", "repeated-host");
    also("GET http://a/ HTTP/1.1\r\n\r\n", "missing-host");
    also("GET http://a/ HTTP/1.1\r\nHost: b@c\r\n\r\n", "invalid-host");
    also("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "repeated-host");
    also("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "repeated-host");
    also("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", "control-byte");
    let table: Vec<Refused<'_>> =
        table.iter().map(|(bytes, status, cause)| (bytes.as_str(), *status, *cause)).collect();
    refuses(&Setup::default(), &table);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_kept() {
    let mut setup = Setup::default();
    setup.server.connection.limits = Limits {
        max_head_bytes: 1000,
        max_request_line_bytes: 200,
        max_fields: 10,
        max_chunk_extension_bytes: 50,
        max_trailer_bytes: 100,
        max_body_bytes: Some(100),
        ..Limits::default()
    };
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len));
    let chunked = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
    let body = "body-too-large";
    let table = [
        (line(200), 414, "request-line-too-long"),
        (line(5000), 414, "request-line-too-long"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(1000)), 431, "head-too-large"),
        (fields(10), 431, "too-many-fields"),
        (format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n{}", "x".repeat(101)), 413, body),
        (chunked(&format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101))), 413, body),
        (chunked(&"2\r\nxx\r\n".repeat(51)), 413, body),
        (chunked("ffffffffffffffff\r\n"), 413, body),
        (chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(60))), 400, "chunk-extensions-too-long"),
        (chunked(&"1;abcde\r\nx\r\n".repeat(20)), 400, "chunk-extensions-too-long"),
        (chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(100))), 431, "trailers-too-large"),
        (chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(11))), 431, "too-many-fields"),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", ["x"; 33].join(",")),
            431,
            "too-many-connection-options",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello".into(),
            417,
            "unknown-expectation",
        ),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n".into(), 400, "invalid-max-forwards"),
        (
            "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n".into(),
            400,
            "invalid-max-forwards",
        ),
        // Bytes behind a refused CONNECT were meant for a tunnel.
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), 501, "connect-not-supported"),
    ];
    let table: Vec<Refused<'_>> =
        table.iter().map(|(bytes, status, cause)| (bytes.as_str(), *status, *cause)).collect();
    refuses(&setup, &table);
}

/// Every refusal's neighbour that is fine.
#[test]
fn the_limits_are_not_one_too_low() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.limits = Limits {
            max_request_line_bytes: 200,
            max_fields: 10,
            max_chunk_extension_bytes: 50,
            max_trailer_bytes: 100,
            max_body_bytes: Some(100),
            ..Limits::default()
        };
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        let chunked = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let requests = [
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200 - "GET / HTTP/1.1".len())),
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(9)),
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(100)),
            chunked(&format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(100))),
            chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(49))),
            chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(100 - "A: \r\n\r\n".len()))),
            // RFC 9112 §2.2: some clients send one after their content.
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ];
        for request in &requests {
            assert_eq!(client.ask(request).await.status(), 200, "{request:?}");
        }
        assert_eq!(origin.requests().len(), requests.len());
        assert_eq!(origin.accepted(), 1);
        drop(client);
        rig.finish().await;
    });
}
