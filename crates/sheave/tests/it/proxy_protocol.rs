//! The PROXY protocol from outside: a balancer that announces clients, and origins to whom they are announced.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use crate::support::{Client, Origin, Sheave, metric_until, read_head};

/// An origin that tells the first line of each connection, and answers what follows with the number of its connection.
fn announced_to() -> (Origin, Receiver<String>) {
    let (tell, told) = channel();
    let origin = Origin::new(move |stream| {
        let mut reader = BufReader::with_capacity(1, stream.try_clone().expect("a descriptor"));
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).expect("a line");
        if line == b"\r\n" {
            // A header of version 2 begins so; what is fixed of it has 16 bytes.
            line.resize(16, 0);
            reader.read_exact(&mut line[2..]).expect("the fixed part");
            let rest = usize::from(line[15]) + usize::from(line[14]) * 256;
            line.resize(16 + rest, 0);
            reader.read_exact(&mut line[16..]).expect("the addresses");
        }
        tell.send(line.escape_ascii().to_string()).expect("is heard");
        let mut stream = stream;
        while !read_head(&stream).is_empty() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("takes it");
        }
    });
    (origin, told)
}

fn local(client: &Client) -> SocketAddr {
    client.stream().local_addr().expect("an address")
}

#[test]
fn origins_are_told_each_client_once_a_connection() {
    let (origin, told) = announced_to();
    let sheave = Sheave::proxy(&[origin.address], &["--to-proxy-protocol=v1", "--workers=1"]);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(sheave.address())).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.ask("/");
            assert_eq!(client.response().status, 204);
            if round == 0 {
                let (client, front) = (local(client), sheave.address());
                let line = format!("PROXY TCP4 {} {} {} {}", client.ip(), front.ip(), client.port(), front.port());
                assert_eq!(told.recv().expect("was connected to"), format!("{line}\\r\\n"));
            }
        }
    }
    assert!(told.try_recv().is_err(), "each kept its own connection");
}

#[test]
fn the_binary_header_leaves_first_too() {
    let (origin, told) = announced_to();
    let sheave = Sheave::proxy(&[origin.address], &["--to-proxy-protocol=v2", "--workers=1"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    assert_eq!(client.response().status, 204);
    let ports = [local(&client).port(), sheave.address().port()].map(u16::to_be_bytes).concat();
    let block = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01", &ports[..]].concat();
    assert_eq!(told.recv().expect("was connected to"), block.escape_ascii().to_string());
}

/// A balancer's connection on which a client is announced.
fn announce(sheave: &Sheave, header: &[u8]) -> Client {
    let client = Client::connect(sheave.address());
    client.stream().write_all(header).expect("takes it");
    client
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb\x02\0\x04host";

#[test]
fn the_announced_client_is_the_one_that_is_known() {
    let (log, from) = ("--access-log=-", "--proxy-protocol-from=127.0.0.0/8");
    let sheave = Sheave::proxy(&[], &[from, log, "--workers=1", "--trust-forwarded=192.0.2.8"]);
    for (header, known) in [
        (&b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"[..], "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n", "2001:db8::7"),
        (b"PROXY TCP4 192.0.2.8 198.51.100.1 40000 443\r\n", "203.0.113.1, 192.0.2.8"),
        (V2, "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ] {
        let mut client = announce(&sheave, header);
        for _ in 0..2 {
            client.send("GET /headers HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n");
            let page = client.response();
            assert!(page.text().contains(&format!("X-Forwarded-For: {known}\n")), "{}", page.text());
        }
    }
}

#[test]
fn a_header_that_comes_byte_by_byte_is_one() {
    let sheave = Sheave::proxy(&[], &["--proxy-protocol-from=127.0.0.1", "--workers=1"]);
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"[..], V2] {
        let mut client = Client::connect(sheave.address());
        let mut stream = client.stream();
        stream.set_nodelay(true).expect("is set");
        for byte in header {
            stream.write_all(&[*byte]).expect("takes it");
        }
        client.ask("/headers");
        let page = client.response();
        assert!(page.text().contains("X-Forwarded-For: 192.0.2.7\n"), "{}", page.text());
    }
}

#[test]
fn a_connection_without_its_header_ends_and_is_counted_by_what_it_was() {
    let sheave = Sheave::proxy(
        &[],
        &["--proxy-protocol-from=127.0.0.1", "--workers=1", "--handshake-timeout=300ms", "--idle-timeout=1m"],
    );
    for header in [
        &b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff",
    ] {
        let mut client = announce(&sheave, header);
        assert!(client.is_ended(), "{}", header.escape_ascii());
    }
    let failed = "sheave_connections_closed_total{side=\"downstream\",reason=\"handshake-failed\",severity=\"peer\"}";
    metric_until(&sheave, failed, |count| count == 3.0);
    // The first bytes of one, and nothing at all.
    for header in [&b"PROXY TCP4"[..], b""] {
        let mut client = announce(&sheave, header);
        assert!(client.is_ended(), "{}", header.escape_ascii());
    }
    let late = "sheave_connections_closed_total{side=\"downstream\",reason=\"timeout-handshake\",severity=\"peer\"}";
    metric_until(&sheave, late, |count| count == 2.0);
    // Whoever only looks whether somebody listens is no trouble.
    drop(announce(&sheave, b""));
    let looked = "sheave_connections_closed_total{side=\"downstream\",reason=\"peer-closed\",severity=\"benign\"}";
    metric_until(&sheave, looked, |count| count >= 1.0);
}

#[test]
fn from_others_no_header_is_looked_for() {
    let sheave = Sheave::proxy(&[], &["--proxy-protocol-from=192.0.2.0/24", "--workers=1"]);
    let page = Client::get(sheave.address(), "/headers");
    assert!(page.text().contains("X-Forwarded-For: 127.0.0.1\n"), "{}", page.text());
    let mut client = announce(&sheave, b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n");
    client.ask("/headers");
    assert_eq!(client.response().status, 400, "anybody could send one");
}

#[test]
fn limits_are_those_of_the_announced_client() {
    let sheave =
        Sheave::proxy(&[], &["--proxy-protocol-from=127.0.0.1", "--max-connections-per-client=1", "--workers=2"]);
    let line = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 40000 443\r\n");
    let mut held: Vec<_> = (1..=3).map(|last| announce(&sheave, line(last).as_bytes())).collect();
    for client in &mut held {
        client.ask("/bytes/1");
        assert_eq!(client.response().status, 200, "each is somebody else, whatever address they come from");
    }
    let mut again = announce(&sheave, line(2).as_bytes());
    again.ask("/bytes/1");
    let refused = again.response();
    assert!(refused.status == 503 && refused.text().contains("max-connections-per-client"), "{refused:?}");
    assert!(again.is_ended());
    held.remove(1);
    metric_until(&sheave, "sheave_connections_live{side=\"downstream\"}", |live| live == 2.0);
    let mut freed = announce(&sheave, line(2).as_bytes());
    freed.ask("/bytes/1");
    assert_eq!(freed.response().status, 200);
}

#[test]
fn what_was_announced_is_announced_on() {
    let (origin, told) = announced_to();
    let sheave =
        Sheave::proxy(&[origin.address], &["--proxy-protocol-from=127.0.0.1", "--to-proxy-protocol=v1", "--workers=1"]);
    for (header, line) in [
        (V2, "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\\r\\n"),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 443\r\n", "PROXY TCP6 2001:db8::7 ::1 40000 443\\r\\n"),
    ] {
        let mut client = announce(&sheave, header);
        client.ask("/");
        assert_eq!(client.response().status, 204);
        assert_eq!(told.recv().expect("was connected to"), line);
    }
}
