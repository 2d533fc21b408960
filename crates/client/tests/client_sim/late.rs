//! Deadlines, each in its phase, and what the error says of the request.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use sheave_client::builder::ClientBuilder;
use sheave_client::content::Content;
use sheave_lifecycle::retry::Sent;
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::rig::{Serve, SlowLookup, SlowPieces, test};

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Accepts, reads, and says nothing.
fn silent(mut socket: SimSocket) -> Serving {
    Box::pin(async move { while socket.read_u8().await.is_ok() {} })
}

/// Begins to answer, and stops.
fn stops(mut socket: SimSocket) -> Serving {
    Box::pin(async move {
        socket.read_u8().await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
        while socket.read_u8().await.is_ok() {}
    })
}

/// Accepts, and reads nothing.
fn deaf(socket: SimSocket) -> Serving {
    Box::pin(async move {
        let _socket = socket;
        pending::<()>().await;
    })
}

const SECOND: Duration = Duration::from_secs(1);

type Configure = fn(ClientBuilder) -> ClientBuilder;

#[test]
fn each_phase_has_its_deadline() {
    let large = || Content::from(vec![b'x'; 16 * 1024 * 1024]);
    let whole: Configure = |builder| builder.timeout(Some(SECOND));
    let lost: Configure = |builder| builder.resolver(SlowLookup(Duration::from_secs(3600)));
    let lost_whole: Configure = |builder| builder.resolver(SlowLookup(Duration::from_secs(3600))).timeout(Some(SECOND));
    let table: [(Serve, Configure, Content, &str, Sent, u64); 8] = [
        (silent, |builder| builder, Content::empty(), "upstream-response-timeout", Sent::Maybe, 60),
        (
            silent,
            |builder| builder.response_timeout(SECOND),
            Content::empty(),
            "upstream-response-timeout",
            Sent::Maybe,
            1,
        ),
        (silent, whole, Content::empty(), "timeout", Sent::Maybe, 1),
        (stops, |builder| builder.body_timeout(SECOND), Content::empty(), "upstream-body-timeout", Sent::Yes, 1),
        (stops, whole, Content::empty(), "timeout", Sent::Yes, 1),
        (deaf, |builder| builder.write_timeout(SECOND), large(), "upstream-write-timeout", Sent::Maybe, 1),
        (silent, lost, Content::empty(), "lookup-timeout", Sent::No, 5),
        (silent, lost_whole, Content::empty(), "timeout", Sent::No, 1),
    ];
    for (serve, configure, content, label, sent, seconds) in table {
        test(configure, serve, async |client| {
            let began = Instant::now();
            let end = match client.post("http://origin.example/").body(content).send().await {
                Ok(response) => response.bytes().await,
                Err(error) => Err(error),
            };
            let error = end.unwrap_err();
            assert_eq!((error.label(), error.request_was_sent()), (label, sent), "{error}");
            assert!(error.is_timeout(), "{error:?}");
            assert_eq!(began.elapsed().as_secs(), seconds, "{label}");
        });
    }
}

/// Time in which nobody asks for the response is not its origin's.
#[test]
fn a_response_may_be_read_as_slowly_as_one_likes() {
    fn answers(mut socket: SimSocket) -> Serving {
        Box::pin(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
            tokio::time::sleep(SECOND / 2).await;
            socket.write_all(b"world").await.unwrap();
            while socket.read_u8().await.is_ok() {}
        })
    }
    test(
        |builder| builder.body_timeout(SECOND),
        answers,
        async |client| {
            let mut response = client.get("http://origin.example/").send().await.unwrap();
            let mut text = Vec::new();
            loop {
                tokio::time::sleep(SECOND * 20).await;
                let Some(piece) = response.chunk().await.unwrap() else { break };
                text.extend_from_slice(&piece);
            }
            assert_eq!(text, b"helloworld");
        },
    );
}

/// Content that its maker is slow to give is nobody's fault but the maker's, up to the deadline of the whole.
#[test]
fn slow_content_is_waited_for() {
    test(
        |builder| builder.response_timeout(SECOND).timeout(Some(SECOND * 30)),
        silent,
        async |client| {
            let began = Instant::now();
            let content = Content::stream(SlowPieces::of(&["x"; 400]));
            let error = client.post("http://origin.example/").body(content).send().await.unwrap_err();
            assert_eq!(error.label(), "upstream-response-timeout");
            assert_eq!(began.elapsed().as_secs(), 3, "400 pieces take two seconds, and then a second is waited");
        },
    );
}

/// Whoever has waited for a 100 for long enough sends its content, and then waits for the answer as everybody does.
#[test]
fn nobody_need_ask_for_content() {
    fn takes_its_time(mut socket: SimSocket) -> Serving {
        Box::pin(async move {
            let mut text = Vec::new();
            while !text.ends_with(b"hello") {
                text.push(socket.read_u8().await.unwrap());
            }
            tokio::time::sleep(SECOND * 5).await;
            socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            while socket.read_u8().await.is_ok() {}
        })
    }
    test(
        |builder| builder.continue_timeout(SECOND),
        takes_its_time,
        async |client| {
            let began = Instant::now();
            let put = client.put("http://origin.example/").expect_continue().body("hello");
            assert_eq!(put.send().await.unwrap().status().as_u16(), 204);
            assert_eq!(began.elapsed().as_secs(), 6);
        },
    );
}
