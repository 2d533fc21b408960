//! An exchange that is given up at any poll leaves nothing behind: no place, no waiter, no connection with its bytes on it.

use std::cell::Cell;

use http::Version;
use sheave_client::builder::ClientBuilder;
use sheave_client::content::Content;
use sheave_client::failure::Error;

use crate::rig::{STEP, Serve, SimClient, SlowPieces, cancelled_after, http1, http2, test};

/// Cancels `exchange` after one poll, after two, and so on until it is done before; each time on a client of its own, of
/// which the next request then gets its own answer.
fn at_every_poll(
    configure: impl Fn(ClientBuilder) -> ClientBuilder,
    serve: Serve,
    before: impl AsyncFn(&SimClient),
    exchange: impl AsyncFn(&SimClient) -> Result<String, Error>,
    expected: &str,
    version: Version,
) -> usize {
    for polls in 1..1000 {
        let is_done = Cell::new(false);
        test(&configure, serve, async |client| {
            before(&client).await;
            if let Some(answer) = cancelled_after(polls, exchange(&client)).await {
                assert_eq!(answer.unwrap(), expected);
                is_done.set(true);
            }
            let next = client.post("http://origin.example/next").version(version).body(slow(&["mine"])).send();
            let answer = next.await.unwrap().text().await.unwrap();
            assert_eq!(answer, "/next mine", "after {polls} polls");
        });
        if is_done.get() {
            return polls;
        }
    }
    panic!("it is never done");
}

fn slow(pieces: &[&'static str]) -> Content {
    Content::stream(SlowPieces::of(pieces))
}

async fn nothing(_: &SimClient) {}

/// One exchange, so that there is a parked connection.
async fn warm_up(client: &SimClient) {
    client.get("http://origin.example/warm").send().await.unwrap().bytes().await.unwrap();
}

async fn upload(client: &SimClient) -> Result<String, Error> {
    client.put("http://origin.example/put").body(slow(&["first", "second"])).send().await?.text().await
}

#[test]
fn on_a_fresh_connection() {
    let polls = at_every_poll(|builder| builder, http1, nothing, upload, "/put firstsecond", Version::HTTP_11);
    // A name to be looked up, a connection, four reads for what is sent, and one for each part of the answer.
    assert!(polls > 10, "{polls}");
}

#[test]
fn on_a_parked_connection() {
    let polls = at_every_poll(|builder| builder, http1, warm_up, upload, "/put firstsecond", Version::HTTP_11);
    assert!(polls > 7, "{polls}");
}

#[test]
fn amid_redirects() {
    let redirected = async |client: &SimClient| {
        client.put("http://origin.example/moved").body(slow(&["again"])).send().await?.text().await
    };
    let polls = at_every_poll(|builder| builder, http1, nothing, redirected, "/target again", Version::HTTP_11);
    assert!(polls > 15, "{polls}");
}

/// There is one place: while it is another's, the exchange waits, and when it is given up the next in the queue has it.
#[test]
fn while_it_waits_for_a_place() {
    let occupied = async |client: &SimClient| {
        warm_up(client).await;
        let busy = client.get("http://origin.example/busy").send();
        tokio::spawn(async move { busy.await.unwrap().bytes().await.unwrap() });
        tokio::time::sleep(STEP / 2).await;
        assert_eq!(client.pool_stats().busy, 1);
    };
    let one = |builder: ClientBuilder| builder.max_conns_per_host(1);
    let polls = at_every_poll(one, http1, occupied, upload, "/put firstsecond", Version::HTTP_11);
    assert!(polls > 8, "{polls}");
}

#[test]
fn in_a_stream_of_http2() {
    let upload = async |client: &SimClient| {
        let request = client.put("http://origin.example/put").version(Version::HTTP_2);
        request.body(slow(&["first", "second"])).send().await?.text().await
    };
    let polls = at_every_poll(|builder| builder, http2, nothing, upload, "/put firstsecond", Version::HTTP_2);
    assert!(polls > 8, "{polls}");
}

/// What holds for the caller's future holds for its deadline: wherever it finds the exchange, nothing is left.
#[test]
fn by_a_deadline_at_any_moment() {
    for millis in 1..60 {
        test(
            |builder| builder,
            http1,
            async |client| {
                let put = client.put("http://origin.example/put").body(slow(&["first", "second"]));
                let sent = put.timeout(std::time::Duration::from_millis(millis)).send().await;
                let end = match sent {
                    Ok(response) => response.text().await,
                    Err(error) => Err(error),
                };
                match end {
                    Ok(text) => assert_eq!(text, "/put firstsecond"),
                    Err(error) => assert!(error.is_timeout() && error.label() == "timeout", "{error:?}"),
                }
                let next = client.get("http://origin.example/next").send().await.unwrap();
                assert_eq!(next.text().await.unwrap(), "/next ");
            },
        );
    }
}
