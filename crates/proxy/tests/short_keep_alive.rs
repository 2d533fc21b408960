//! An origin that keeps idle connections as uvicorn does, but for a much shorter time, under mixed load.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use sheave_lifecycle::phase::Side;
use tokio::time::{sleep, timeout};

/// uvicorn's is 5 s.
const KEEP_ALIVE: Duration = Duration::from_millis(60);

/// Answers with what was asked for. The time for the next request begins with the response; when it is over, the
/// connection is closed without another look, as uvicorn's timer does.
async fn like_uvicorn() -> Origin {
    Origin::start(async |mut connection| {
        let mut is_first = true;
        loop {
            if !is_first && timeout(KEEP_ALIVE, connection.wire.has_more()).await.is_err() {
                return;
            }
            is_first = false;
            let Some(request) = connection.request().await else { return };
            let (method, target, _) = request.head.request_line();
            let response = ok(&format!("{method} {target} {}", request.text()));
            if !connection.wire.try_send(response).await {
                return;
            }
        }
    })
    .await
}

/// A client that sends `count` requests with pauses from none to twice the origin's patience; it panics at the first
/// response that is not its own.
async fn load(rig: Arc<Rig>, number: usize, count: usize, posts: Arc<AtomicUsize>) {
    let mut client = rig.client().await;
    for round in 0..count {
        let method = ["GET", "POST", "GET", "PUT"][(number + round) % 4];
        let target = format!("/{number}.{round}");
        let body = if method == "GET" { String::new() } else { format!("content of {target}") };
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let response = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}")).await;
        assert_eq!(response.status(), 200, "{method} {target}: {:?}", response.head);
        assert_eq!(response.text(), format!("{method} {target} {body}"), "a response to somebody else's request");
        posts.fetch_add(usize::from(method == "POST"), Ordering::Relaxed);
        // Spread over all phases of the origin's patience, none being next to the same one twice.
        let part = u32::try_from((number * 7 + round * 11) % 32).expect("small");
        sleep(if part < 12 { Duration::ZERO } else { KEEP_ALIVE * (part - 12) / 10 }).await;
    }
}

#[test]
fn no_client_sees_an_origin_that_closes_early() {
    run(async {
        let origin = like_uvicorn().await;
        let rig = Arc::new(Rig::start(&[origin.address], Setup::default()));
        // What it closes once is the lesson.
        assert_eq!(rig.client().await.ask("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
        rig.recorder.until_closed(Side::Upstream, 1).await;
        origin.requests();
        let posts = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> =
            (0..16).map(|number| tokio::spawn(load(rig.clone(), number, 40, posts.clone()))).collect();
        for client in clients {
            client.await.expect("no client saw an error");
        }
        let seen = origin.requests();
        let seen = seen.iter().filter(|(_, request)| request.head.request_line().0 == "POST").count();
        assert_eq!(seen, posts.load(Ordering::Relaxed), "each POST came once");
        assert!(!rig.recorder.log().reused.is_empty(), "connections were reused all the same");
        let rig = Arc::into_inner(rig).expect("the clients are gone");
        rig.finish().await;
    });
}
