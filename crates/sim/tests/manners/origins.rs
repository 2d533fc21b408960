//! The life of an origin's connection in every manner in which it can be carried: one table.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::observe::{Closed, ExchangeEnd, Observer, Outcome, Silent};
use sheave_lifecycle::phase::Side;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_net::endpoint::Protocols;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;

use crate::handler::Scripted;
use crate::http1::Http1;
use crate::manner::{FRONT, MANNERS, Manner, ORIGIN, Relay};

type Played<'r> = Pin<Box<dyn Future<Output = ()> + 'r>>;

/// What an origin does, and what is known when it is over.
struct Scenario {
    name: &'static str,
    /// What of the origin's configuration and of ours is another than usual.
    set: fn(&mut ServerConfig, &mut ClientConfig),
    /// What the client does.
    script: for<'r> fn(&'r Rig) -> Played<'r>,
    /// How the origin's connections end, of HTTP/1 and of HTTP/2.
    ends: [&'static [&'static str]; 2],
    /// What became of the exchanges, of HTTP/1 and of HTTP/2.
    exchanges: [&'static [&'static str]; 2],
}

const HELLO: &str = "/hello 200 origin";

const SCENARIO: Scenario = Scenario {
    name: "",
    set: |_, _| {},
    script: |_| Box::pin(async {}),
    ends: [&["drained in parked"], &["drained in parked"]],
    exchanges: [&[HELLO, HELLO]; 2],
};

const TABLE: &[Scenario] = &[
    Scenario {
        name: "kept, and used again",
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
            })
        },
        ..SCENARIO
    },
    Scenario {
        name: "content that its maker does not finish",
        script: |rig| {
            Box::pin(async move {
                assert_eq!(rig.client().await.get("/half").await, None, "what is cut off never looks whole");
            })
        },
        ends: [&["truncated in response"], &["drained in parked"]],
        exchanges: [&["/half 200 reset upstream-truncated"], &["/half 200 reset upstream-stream-reset"]],
        ..SCENARIO
    },
    Scenario {
        name: "content that stops",
        set: |_, client| client.connection.timeouts.body = Duration::from_secs(1),
        script: |rig| {
            Box::pin(async move {
                assert_eq!(rig.client().await.get("/half-waits").await, None, "what is cut off never looks whole");
            })
        },
        ends: [&["timeout-body in response"], &["timeout-body in parked"]],
        exchanges: [&["/half-waits 200 reset upstream-body-timeout"]; 2],
    },
    Scenario {
        name: "no answer",
        set: |_, client| client.connection.timeouts.response = Duration::from_secs(1),
        script: |rig| {
            Box::pin(async move {
                assert_eq!(rig.client().await.get("/never").await.map(|answer| answer.status), Some(504));
            })
        },
        // A GET is sent again, twice.
        ends: [&["timeout-response in waiting"; 3], &["timeout-response in parked"; 3]],
        exchanges: [&["/never 504 sheave upstream-response-timeout"]; 2],
    },
    Scenario {
        name: "closed by the origin when it is idle",
        set: |origin, _| origin.connection.timeouts.idle = Duration::from_secs(1),
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
                rig.sleep(2000).await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
            })
        },
        ends: [&["peer-closed in parked", "drained in parked"], &["agreed in parked", "drained in parked"]],
        ..SCENARIO
    },
    Scenario {
        name: "given up by us when it is idle",
        set: |_, client| client.connection.timeouts.idle = Duration::from_secs(1),
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
                rig.sleep(2000).await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
            })
        },
        ends: [&["timeout-idle in parked", "drained in parked"], &["timeout-idle in parked", "drained in parked"]],
        ..SCENARIO
    },
    Scenario {
        name: "told to be the last by the origin",
        set: |origin, _| origin.connection.max_requests = 1,
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
                assert_eq!(client.get("/hello").await.map(|answer| answer.status), Some(200));
            })
        },
        ends: [&["agreed in parked"; 2], &["agreed in response"; 2]],
        ..SCENARIO
    },
    Scenario {
        name: "an origin that drains with a request under way",
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                let (answer, ()) = tokio::join!(client.get("/after/300"), async {
                    rig.sleep(100).await;
                    rig.origin.drain();
                });
                assert_eq!(answer.map(|answer| answer.status), Some(200));
            })
        },
        ends: [&["agreed in parked"], &["agreed in response"]],
        exchanges: [&["/after/300 200 origin"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "an origin whose grace is over with a request under way",
        script: |rig| {
            Box::pin(async move {
                let mut client = rig.client().await;
                let (answer, ()) = tokio::join!(client.get("/half-waits"), async {
                    rig.sleep(100).await;
                    rig.origin.drain();
                });
                assert_eq!(answer, None, "what is cut off never looks whole");
            })
        },
        ends: [&["peer-reset (ECONNRESET in read) in response"], &["agreed in response"]],
        exchanges: [&["/half-waits 200 reset upstream-reset"], &["/half-waits 200 reset upstream-stream-reset"]],
        ..SCENARIO
    },
    Scenario {
        name: "a client that is killed frees the origin at once",
        script: |rig| {
            Box::pin(async move {
                let client = rig.begun("/never").await;
                assert_eq!(rig.handler.running(), 1);
                drop(client);
                rig.sleep(10).await;
                // A stream is reset; a connection is, which its origin may look at later.
                let is_freed = rig.handler.running() == 0 || rig.told.ends.lock().unwrap().len() == 1;
                assert!(is_freed);
            })
        },
        ends: [&["other-side in waiting"], &["drained in parked"]],
        exchanges: [&["/never 0 reset peer-reset"]; 2],
        ..SCENARIO
    },
];

/// What the observer was told.
#[derive(Default)]
struct Told {
    ends: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Observer for Told {
    fn closed(&self, it: &Closed) {
        if it.side == Side::Upstream {
            self.ends.lock().unwrap().push(format!("{} in {}", it.reason, it.phase.label()));
        }
    }

    fn exchange_ended(&self, it: &ExchangeEnd<'_>) {
        let how = match it.outcome {
            Outcome::Answered(by) => by.label(),
            Outcome::Reset => "reset",
        };
        let error = it.error.map_or(String::new(), |error| format!(" {error}"));
        self.exchanges.lock().unwrap().push(format!("{} {} {how}{error}", it.target, it.status));
    }
}

/// An origin, and a relay before it.
struct Rig {
    net: SimNet,
    origin: Server<Scripted>,
    handler: Scripted,
    told: Arc<Told>,
}

impl Rig {
    async fn client(&self) -> Http1<SimSocket> {
        Http1::over(self.net.client().connect(&FRONT.into()).await.unwrap())
    }

    /// A client that has asked, and the origin is at work. Dropped, it resets its connection.
    async fn begun(&self, path: &str) -> Http1<SimSocket> {
        let socket = self.net.client().connect(&FRONT.into()).await.unwrap();
        sheave_net::socket::Socket::set_abortive_close(&socket);
        let mut client = Http1::over(socket);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n")).await;
        self.sleep(10).await;
        client
    }

    async fn sleep(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// How the origin's connections ended, and what became of the exchanges.
fn play(scenario: &'static Scenario, manner: Manner) -> (Vec<String>, Vec<String>) {
    let told = Arc::new(Told::default());
    let observer = told.clone();
    let drain =
        DrainPlan { quiet: Duration::from_millis(100), grace: Duration::from_millis(500), ..DrainPlan::default() };
    let mut at_origin = ServerConfig { drain, ..ServerConfig::default() };
    let mut of_relay = ClientConfig::default();
    (scenario.set)(&mut at_origin, &mut of_relay);
    let record = run(&Plan::calm("origins"), |net| async move {
        let handler = Scripted::default();
        let origin = Server::new(handler.clone(), at_origin, Clock::start(), Arc::new(Silent), Drain::default());
        let serving = tokio::spawn({
            let (origin, listener) = (origin.clone(), manner.listen(&net, ORIGIN));
            async move { origin.serve(listener).await }
        });
        let plain = Manner { protocols: Protocols::Http1, is_secured: false };
        let config = (ServerConfig { drain, ..ServerConfig::default() }, of_relay);
        let relay = Relay::begin(&net, plain, manner, config, observer.clone());
        let rig = Rig { net, origin, handler, told: observer };
        (scenario.script)(&rig).await;
        rig.sleep(10).await;
        relay.end().await;
        rig.sleep(10).await;
        rig.origin.drain();
        serving.await.unwrap();
    });
    assert!(record.ended == Ended::Completed && record.broken.is_empty(), "{:?}\n{}", record.broken, record.trace);
    assert_eq!((record.tasks_left, record.sockets_left), (0, 0), "{}\n{}", scenario.name, record.trace);
    (told.ends.lock().unwrap().clone(), told.exchanges.lock().unwrap().clone())
}

#[test]
fn every_life_in_every_manner() {
    let mut wrong = Vec::new();
    for scenario in TABLE {
        for manner in MANNERS {
            let which = usize::from(manner.protocols == Protocols::Http2);
            let found = play(scenario, manner);
            let text = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            let expected = (text(scenario.ends[which]), text(scenario.exchanges[which]));
            if found != expected {
                wrong.push(format!("{} ({manner:?}):\n  found    {found:?}\n  expected {expected:?}", scenario.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
