//! Many clients and origins that behave, misbehave and leave at random: nobody gets what is another's, nothing is sent
//! twice that may not be, nothing hangs, and the books agree at the end.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::message::{Framing, Message};
use kit::origin::{Accepted, Origin};
use kit::rig::{Rig, Setup};
use kit::run::{run, run_in_parallel};
use kit::wire::{Cut, Wire};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()]
    }
}

/// How often each request reached an origin.
type Arrivals = Arc<Mutex<HashMap<String, u32>>>;

/// Content that names its request in every line.
fn content(id: &str, len: usize) -> String {
    let mut content = format!("{id}\n").repeat(len / (id.len() + 1) + 1);
    content.truncate(len);
    content
}

const ORIGINS: [&str; 11] = [
    "length",
    "chunked",
    "until-close",
    "then-close",
    "interim",
    "early",
    "leave",
    "reset",
    "cut",
    "nonsense",
    "empty",
];

/// Does what the request's target says: `/id/how/len`.
async fn serve(mut connection: Accepted, arrivals: Arrivals) {
    while let Ok(head) = connection.wire.head().await {
        let target = head.target().to_owned();
        let parts: Vec<&str> = target.split('/').collect();
        let [_, id, how, len] = parts[..] else { panic!("target {target}") };
        let body = content(id, len.parse().unwrap());
        let method = head.request_line().0.to_owned();
        if how == "early" {
            let is_early = head.request_framing() != Framing::None;
            // Who closes without a word loses requests: that race is tried elsewhere.
            let close = if is_early { "Connection: close\r\n" } else { "" };
            let early = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n", body.len());
            *arrivals.lock().unwrap().entry(id.to_owned()).or_default() += 1;
            connection.wire.try_send(early + if method == "HEAD" { "" } else { &body }).await;
            if is_early {
                return;
            }
            continue;
        }
        let mut received = Vec::new();
        let read = connection.wire.content(head.request_framing(), |piece| received.extend_from_slice(piece)).await;
        if read.is_err() {
            return;
        }
        *arrivals.lock().unwrap().entry(id.to_owned()).or_default() += 1;
        assert!(received == content(id, received.len()).as_bytes(), "content of another request reached {id}");
        let sent = if method == "HEAD" { "" } else { body.as_str() };
        let length = body.len();
        let response = match how {
            "length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sent}"),
            "interim" => {
                format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sent}")
            }
            "chunked" if method == "HEAD" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "chunked" => {
                let mut response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
                for piece in body.as_bytes().chunks(1 + length / 7) {
                    let piece = std::str::from_utf8(piece).unwrap();
                    response.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
                }
                response + "0\r\n\r\n"
            }
            "until-close" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{sent}"),
            "then-close" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{sent}"),
            "leave" => return,
            "reset" => return connection.wire.reset(),
            "cut" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sent}", length + 1),
            "nonsense" => "nonsense".to_owned(),
            "empty" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            how => panic!("nobody wrote {how}"),
        };
        if !connection.wire.try_send(response).await || matches!(how, "until-close" | "then-close" | "cut" | "nonsense")
        {
            return;
        }
    }
}

/// One client: request after request, checked one by one.
async fn ask_on_and_on(rig: &Rig, number: u64, seed: u64, count: u64) {
    let mut dice = Dice(seed * 1000 + number * 7919 + 1);
    let mut client = rig.client().await;
    for turn in 0..count {
        let id = format!("c{number}t{turn}");
        let method = dice.one_of(&["GET", "GET", "POST", "POST", "PUT", "HEAD"]);
        let how = dice.one_of(&ORIGINS);
        let len = dice.one_of(&[0, 1, 100, 5_000, 200_000]);
        let body = content(&id, dice.one_of(&[0, 1, 100, 5_000, 150_000]));
        let framing = if body.is_empty() && dice.below(2) == 0 {
            String::new()
        } else if dice.below(2) == 0 {
            format!("Content-Length: {}\r\n", body.len())
        } else {
            "Transfer-Encoding: chunked\r\n".to_owned()
        };
        let mut request = format!("{method} /{id}/{how}/{len} HTTP/1.1\r\nHost: a\r\n{framing}\r\n").into_bytes();
        if framing.starts_with('T') {
            for piece in body.as_bytes().chunks(7_000) {
                request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                request.extend_from_slice(piece);
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\n\r\n");
        } else if !framing.is_empty() {
            request.extend_from_slice(body.as_bytes());
        }
        // Some go away in the middle of it all.
        match dice.below(12) {
            0 => {
                client.try_send(&request[..request.len() / 2]).await;
                std::mem::replace(&mut client, rig.client().await).reset();
                continue;
            }
            1 => {
                client.try_send(&request).await;
                if dice.below(2) == 0 {
                    let _ = client.head().await;
                }
                std::mem::replace(&mut client, rig.client().await).reset();
                continue;
            }
            2 => {
                client.try_send(&request[..request.len() / 2]).await;
                client = rig.client().await;
                continue;
            }
            _ => {}
        }
        let response = exchange(&mut client, &request, method).await;
        check(&id, method, how, len, &response);
        let goes_on = response.is_ok_and(|response| !response.says_close());
        if !goes_on {
            client = rig.client().await;
        }
    }
}

/// Sends and receives at the same time, as an early answer may come.
async fn exchange(client: &mut Wire, request: &[u8], method: &str) -> Result<Message, Cut> {
    let Wire { reader, writer } = client;
    let sending = async {
        let _ = writer.send_all(request).await;
    };
    let receiving = async {
        loop {
            let head = reader.head().await?;
            if head.status() == 103 {
                continue;
            }
            let mut body = Vec::new();
            let framing = head.response_framing(method);
            match reader.content(framing, |piece| body.extend_from_slice(piece)).await {
                Ok(trailers) => return Ok(Message { head, body, trailers }),
                Err(end) => return Err(Cut { end, head: Some(head), body }),
            }
        }
    };
    tokio::join!(sending, receiving).1
}

/// Whatever comes is this request's, and as whole as the origin made it.
fn check(id: &str, method: &str, how: &str, len: usize, response: &Result<Message, Cut>) {
    let case = format!("{method} /{id}/{how}/{len}");
    match response {
        Ok(response) if response.status() == 200 => {
            let is_whole = matches!(how, "length" | "chunked" | "until-close" | "then-close" | "interim" | "early");
            // To HEAD, an origin cannot cut off what it does not send.
            assert!(is_whole || how == "cut" && method == "HEAD", "{case}: whole");
            let expected = if method == "HEAD" { String::new() } else { content(id, len) };
            assert!(response.body == expected.as_bytes(), "{case}: content of another response, or not all of it");
        }
        Ok(response) if response.status() == 204 => assert_eq!(how, "empty", "{case}"),
        Ok(response) => {
            assert_eq!(response.status(), 502, "{case}: {:?}", response.head);
            let is_early = how == "early";
            assert!(is_early || matches!(how, "leave" | "reset" | "nonsense" | "cut"), "{case}: {:?}", response.head);
        }
        Err(cut) => {
            // An early answer to a long request costs the connection; its origin closes, which may reset what it sent.
            assert!(matches!(how, "cut" | "early" | "until-close"), "{case}: cut off after {:?}", cut.head);
            assert!(content(id, len).as_bytes().starts_with(&cut.body), "{case}: content of another response");
        }
    }
}

async fn storm(seed: u64) {
    let arrivals = Arrivals::default();
    let origins = [start_origin(&arrivals).await, start_origin(&arrivals).await];
    let mut setup = Setup::default();
    setup.server.linger.timeout = Duration::from_millis(100);
    let rig = Arc::new(Rig::start(&[origins[0].address, origins[1].address], setup));
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let rig = rig.clone();
            tokio::spawn(async move { ask_on_and_on(&rig, number, seed, 40).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap_or_else(|_| panic!("a client of seed {seed} panicked"));
    }
    let rig = Arc::into_inner(rig).expect("the clients are gone");
    let (_, recorder) = rig.finish().await;
    let log = recorder.log();
    let methods: HashMap<&str, &str> =
        log.ended.iter().filter_map(|ended| Some((ended.target.split('/').nth(1)?, ended.method.as_str()))).collect();
    for (id, count) in arrivals.lock().unwrap().iter() {
        let most = if methods.get(id.as_str()) == Some(&"POST") { 1 } else { 3 };
        assert!(*count <= most, "{} {id} reached an origin {count} times", methods[id.as_str()]);
    }
    let reasons = log.reasons(Side::Upstream);
    assert!(!reasons.contains(&CloseReason::Cancelled), "each connection to an origin ends for a reason: {reasons:?}");
}

async fn start_origin(arrivals: &Arrivals) -> Origin {
    let arrivals = arrivals.clone();
    Origin::start(move |connection| serve(connection, arrivals.clone())).await
}

#[test]
fn on_one_thread() {
    for seed in 1..3 {
        run(storm(seed));
    }
}

#[test]
fn on_two_threads() {
    for seed in 4..7 {
        run_in_parallel(storm(seed));
    }
}
