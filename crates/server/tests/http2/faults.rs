//! Every fault at every byte of a connection of HTTP/2: the laws hold, whatever cuts it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sheave_lifecycle::observe::Observer;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_server::server::Server;
use sheave_sim::explore::{Menu, exhaust};
use sheave_sim::fault::Action;
use sheave_sim::laws::{self, Patience, Violation};
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::recorder::Recorder;
use sheave_sim::run::{Ended, Record, run};
use sheave_sim::trace::{Seen, What};

use crate::handler::Scripted;
use crate::rig::{Client, FRONT, OK, config, whole};

/// Longer than every deadline of the server's, and those that follow one another.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of the client's two requests, as far as it knows.
type Heard = Arc<Mutex<[Option<Vec<u8>>; 2]>>;

/// A client asks for content, and sends some; then it leaves. It gives up after a while, and is told nothing by errors.
async fn script(net: SimNet, heard: Heard) {
    let handler = Scripted::default();
    let observer: Arc<dyn Observer> = Arc::new(Recorder::new(net.clone()));
    let server = Server::new(handler.clone(), config(), Clock::start(), observer, Drain::default());
    net.on_drain({
        let server = server.clone();
        move || drop(server.drain())
    });
    let listener = net.listen(FRONT);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });
    let asking = async {
        let Ok(socket) = net.client().connect(&FRONT.into()).await else { return };
        let builder = h2::client::Builder::new();
        let Ok((send, connection)) = builder.handshake::<_, Bytes>(socket).await else { return };
        let asked = async move {
            let mut first = send.clone().ready().await?;
            let (download, _) = first.send_request(Client::request("GET", "/bytes/40"), true)?;
            let mut second = send.ready().await?;
            let (upload, mut body) = second.send_request(Client::request("POST", "/echo"), false)?;
            body.send_data(Bytes::from_static(b"some"), false)?;
            body.send_data(Bytes::from_static(b" content"), true)?;
            for (place, response) in [download, upload].into_iter().enumerate() {
                let answer = whole(response).await?;
                // An answer of the server's own says so by its status.
                heard.lock().unwrap()[place] = Some(answer.body).filter(|_| answer.status == OK);
            }
            Ok::<_, h2::Error>(())
        };
        // What it heard is compared, and not how it failed.
        let _ = tokio::join!(connection, asked);
    };
    // A client whose bytes do not leave may wait for ever; the server may not.
    if tokio::time::timeout(PATIENCE, asking).await.is_err() && server.live() > 0 {
        net.broken("the server waits for what never comes");
    }
    drop(server.drain());
    match serving.await {
        Ok(_) if handler.running() == 0 => {}
        Ok(_) => net.broken("handlers are left"),
        Err(error) => net.broken(format!("the server failed: {error}")),
    }
}

fn judge(plan: &Plan) -> (Record, Vec<Violation>) {
    let heard = Heard::default();
    let record = run(plan, |net| script(net, heard.clone()));
    // Streams overlap, so that the stop-watch for one exchange after the other does not fit; the client has its own.
    let patience = Patience { timeout: PATIENCE, tick: Duration::from_millis(1), sweep: Duration::ZERO };
    let mut violations = laws::check(&record, &patience);
    violations.retain(|violation| violation.law != 8);
    let [download, upload] = std::mem::take(&mut *heard.lock().unwrap());
    for (body, expected) in [(download, &[b'x'; 40][..]), (upload, b"some content")] {
        if body.is_some_and(|body| body != expected) {
            violations.push(Violation::new(11, "a client took something for whole that is not"));
        }
    }
    let whole = |what: &What| matches!(what, What::Seen(Seen::ExchangeEnded(_, end)) if end.status == 200);
    let is_calm = plan.faults.is_empty() && record.ended == Ended::Completed;
    if is_calm && record.trace.entries.iter().filter(|entry| whole(&entry.what)).count() != 2 {
        violations.push(Violation::new(2, "nothing went wrong, and not everything was answered"));
    }
    (record, violations)
}

const MENU: Menu<'_> = Menu {
    at_bytes: &[
        Action::Stall,
        Action::HalfClose(0),
        Action::HalfClose(1),
        Action::Fin(0),
        Action::Fin(1),
        Action::Rst(0),
        Action::Rst(1),
        Action::Drain,
        Action::Cancel,
    ],
    at_bytes_in: &[Action::Split(1), Action::Drip(90)],
    at_beginnings: &[Action::Drip(1), Action::Drip(20), Action::Drip(200)],
    at_operations: &[Action::Drain, Action::Cancel],
};

#[test]
fn the_laws_hold_whatever_cuts_a_connection_and_wherever() {
    for circumstances in ["", "send=23 receive=17 lag=3 interval=61"] {
        let calm = format!("http2 {circumstances}").parse().unwrap();
        let runs = exhaust(&calm, &MENU, &judge).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{runs} simulated runs {circumstances}");
    }
}
