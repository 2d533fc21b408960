//! What ends a connection or a stream by time, and what does not.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::time::Instant;

use crate::frames::{
    ACK, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE, RST_STREAM, Raw, SETTINGS,
    frame, get, post, request,
};
use crate::rig::{Client, OK, config, play, whole};

/// How long something took, in seconds of virtual time.
async fn seconds<T>(work: impl Future<Output = T>) -> (f64, T) {
    let before = Instant::now();
    let value = work.await;
    (before.elapsed().as_secs_f64(), value)
}

fn is_about(seconds: f64, expected: f64) -> bool {
    (expected - 0.001..expected + 0.1).contains(&seconds)
}

#[test]
fn a_client_that_never_says_what_it_speaks_is_not_waited_for() {
    for bytes in [0, 1, 10, 17, 20, 24, 30] {
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let known = play(&config(), move |rig| async move {
            let mut raw = Raw::silent(rig.connect().await);
            raw.write(&opening[..bytes]).await;
            let (took, frames) = seconds(async {
                let mut end = [0; 512];
                while tokio::io::AsyncReadExt::read(&mut raw.socket, &mut end).await.is_ok_and(|len| len > 0) {}
            })
            .await;
            let () = frames;
            // The preface has a head's time from its first byte; its settings, a first byte's.
            let expected = if bytes == 0 || bytes >= 16 { 1.0 } else { 2.0 };
            assert!(is_about(took, expected), "{took} s after {bytes} bytes");
        });
        let expected = match bytes {
            0 => "timeout-first-byte in first-byte",
            1..16 => "timeout-head in head",
            _ => "timeout-first-byte in first-byte",
        };
        assert_eq!(known.ends, [expected], "after {bytes} bytes");
    }
}

#[test]
fn an_idle_connection_is_told_before_it_ends_and_a_request_that_crosses_is_served() {
    for crosses in [false, true] {
        let known = play(&config(), move |rig| async move {
            let mut raw = Raw::begin(rig.connect().await, &[]).await;
            raw.settle().await;
            raw.write(&get(1, "/hello")).await;
            while !raw.next().await.unwrap().ends_stream() {}
            let (took, announced) = seconds(raw.until(GOAWAY)).await;
            assert!(is_about(took, 4.0), "{took} s");
            assert_eq!((announced.number(0), announced.number(4)), ((1 << 31) - 1, NO_ERROR));
            let ping = raw.until(PING).await;
            if crosses {
                raw.write(&get(3, "/after/50")).await;
            }
            raw.pong(&ping).await;
            let last = raw.until(GOAWAY).await;
            assert_eq!((last.number(0), last.number(4)), (if crosses { 3 } else { 1 }, NO_ERROR));
            let frames = raw.all().await;
            assert_eq!(frames.iter().any(|it| it.stream == 3 && it.ends_stream()), crosses, "{frames:?}");
        });
        assert_eq!(known.ends, ["timeout-idle in idle"]);
        assert_eq!(known.exchanges.len(), if crosses { 2 } else { 1 });
    }
}

#[test]
fn a_client_that_does_not_answer_the_announcement_has_its_time_and_no_more() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&get(1, "/hello")).await;
        raw.until(GOAWAY).await;
        let (took, frames) = seconds(raw.all()).await;
        assert!(is_about(took, 1.0), "{took} s");
        let last = frames.iter().rfind(|it| it.kind == GOAWAY).unwrap();
        assert_eq!((last.number(0), last.number(4)), (1, NO_ERROR));
    });
    assert_eq!(known.ends, ["timeout-idle in idle"]);
}

#[test]
fn a_head_that_does_not_become_whole_ends_the_connection() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&frame(HEADERS, END_STREAM, 1, &request("GET", "/hello"))).await;
        let (took, frames) = seconds(raw.all()).await;
        assert!(is_about(took, 2.0), "{took} s");
        assert_eq!(frames.last().map(|it| it.kind), Some(GOAWAY), "{frames:?}");
    });
    assert_eq!(known.ends, ["timeout-head in head"]);
}

#[test]
fn a_frame_that_does_not_become_whole_ends_the_connection() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&frame(PING, 0, 0, b"12345678")[..12]).await;
        let (took, _) = seconds(raw.all()).await;
        assert!(is_about(took, 2.0), "{took} s");
    });
    assert_eq!(known.ends, ["timeout-head in idle"]);
}

#[test]
fn a_stalled_upload_is_answered_and_its_neighbours_live() {
    let known = play(&config(), |rig| async move {
        let mut client = rig.client().await;
        let (stalled, mut body) = client.start(Client::request("POST", "/echo"), false).await;
        body.send_data(Bytes::from_static(b"some"), false).unwrap();
        let (took, answer) = seconds(whole(stalled)).await;
        let answer = answer.unwrap();
        assert!(answer.status == 408 && is_about(took, 3.0), "{} after {took} s", answer.status);
        let code = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(code, Reason::CANCEL);
        assert_eq!(client.get("/hello").await.unwrap().status, OK);
        drop(body);
        client.leave().await.unwrap();
    });
    assert_eq!(
        known.exchanges,
        ["1. POST /echo HTTP/2 408 sheave 4>76 timeout-body", "2. GET /hello HTTP/2 200 origin 0>5"]
    );
}

#[test]
fn a_closed_window_ends_its_stream_and_no_other() {
    let known = play(&config(), |rig| async move {
        // SETTINGS_INITIAL_WINDOW_SIZE
        let mut raw = Raw::begin(rig.connect().await, &[(4, 3)]).await;
        raw.settle().await;
        raw.write(&get(1, "/bytes/10")).await;
        raw.write(&get(3, "/204")).await;
        let (took, reset) = seconds(raw.until(RST_STREAM)).await;
        assert!(is_about(took, 5.0), "{took} s");
        assert_eq!((reset.stream, reset.number(0)), (1, CANCEL));
        raw.write(&get(5, "/204")).await;
        let answer = raw.until(HEADERS).await;
        assert!(answer.stream == 5 && answer.ends_stream());
        drop(raw);
    });
    assert_eq!(
        known.exchanges,
        [
            "2. GET /204 HTTP/2 204 origin 0>0",
            "1. GET /bytes/10 HTTP/2 200 reset 0>10 timeout-write",
            "3. GET /204 HTTP/2 204 origin 0>0",
        ]
    );
}

#[test]
fn a_client_that_reads_nothing_ends_with_its_socket() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[(4, (1 << 31) - 1)]).await;
        raw.settle().await;
        raw.write(&frame(crate::frames::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes())).await;
        raw.write(&get(1, "/bytes/10000000")).await;
        let before = Instant::now();
        while rig.told.ends().is_empty() {
            rig.sleep(10).await;
        }
        assert!(is_about(before.elapsed().as_secs_f64(), 7.0), "{:?}", before.elapsed());
    });
    assert_eq!(known.ends, ["timeout-write in response"]);
    assert_eq!(known.exchanges, ["1. GET /bytes/10000000 HTTP/2 200 reset 0>10000000 timeout-write"]);
}

#[test]
fn a_client_that_is_silent_while_it_waits_is_asked_for_a_sign_of_life() {
    for answers in [true, false] {
        let known = play(&config(), move |rig| async move {
            let mut raw = Raw::begin(rig.connect().await, &[]).await;
            raw.settle().await;
            raw.write(&get(1, "/after/15000")).await;
            let (took, ping) = seconds(raw.until(PING)).await;
            assert!(is_about(took, 6.0), "{took} s");
            if !answers {
                let (took, frames) = seconds(raw.all()).await;
                assert!(is_about(took, 2.0) && frames.is_empty(), "{took} s {frames:?}");
                assert_eq!(rig.handler.running(), 0);
                return;
            }
            raw.pong(&ping).await;
            let (took, ping) = seconds(raw.until(PING)).await;
            assert!(is_about(took, 6.0), "{took} s");
            raw.pong(&ping).await;
            let answer = raw.until(HEADERS).await;
            assert_eq!((answer.stream, answer.flags & END_HEADERS), (1, END_HEADERS));
        });
        let expected = if answers {
            "GET /after/15000 HTTP/2 200 origin 0>5"
        } else {
            "GET /after/15000 HTTP/2 0 reset 0>0 timeout-ping"
        };
        assert_eq!(known.exchanges, [format!("1. {expected}")]);
        if !answers {
            assert_eq!(known.ends, ["timeout-ping in response"]);
        }
    }
}

#[test]
fn an_exchange_has_a_deadline_of_its_own() {
    let mut config = config();
    config.exchange_timeout = Some(Duration::from_secs(1));
    let known = play(&config, |rig| async move {
        let mut client = rig.client().await;
        let (took, answer) = seconds(client.get("/never")).await;
        assert!(answer.unwrap().status == 504 && is_about(took, 1.0), "{took} s");
        assert_eq!(client.get("/hello").await.unwrap().status, OK);
        client.leave().await.unwrap();
    });
    assert_eq!(known.exchanges[0], "1. GET /never HTTP/2 504 sheave 0>79 exchange-timeout");
}

#[test]
fn the_last_of_as_many_requests_as_there_may_be_is_served() {
    let mut config = config();
    config.connection.max_requests = 3;
    let known = play(&config, |rig| async move {
        let mut client = rig.client().await;
        for _ in 0..3 {
            assert_eq!(client.get("/hello").await.unwrap().status, OK);
        }
        client.driver.await.unwrap().unwrap();
    });
    assert_eq!((known.exchanges.len(), known.ends.as_slice()), (3, &["max-requests in idle".to_owned()][..]));
}

#[test]
fn settings_and_pings_are_answered() {
    let known = play(&config(), |rig| async move {
        let mut raw = Raw::begin(rig.connect().await, &[]).await;
        raw.settle().await;
        raw.write(&frame(PING, 0, 0, b"12345678")).await;
        let pong = raw.until(PING).await;
        assert_eq!((pong.flags, pong.payload.as_slice()), (ACK, &b"12345678"[..]));
        raw.write(&post(1, "/echo")).await;
        raw.write(&frame(DATA, END_STREAM, 1, b"x")).await;
        assert_eq!(raw.until(DATA).await.payload, b"x");
    });
    assert_eq!(known.exchanges.len(), 1);
}
