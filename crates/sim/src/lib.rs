//! A simulated network with faults at every byte boundary, for tests.
//!
//! The code that is tested is the real one: it reads and writes [`socket::SimSocket`]s, accepts from a
//! [`listener::SimListener`] and connects by a [`connector::SimConnector`], as it would with the kernel's. Beneath them is
//! [`tcp::Tcp`], a table of what Linux answers to each operation; `tests/parity.rs` plays the same scripts on it and on real
//! loopback sockets. Everything runs in one thread under tokio's paused clock, so that a run takes a fraction of a
//! millisecond, whatever it waits for, and is the same each time.
//!
//! # A run
//!
//! [`run::run`] plays a scenario as a [`plan::Plan`] says, and gives back a [`run::Record`]: the [`trace::Trace`] of every
//! chunk of bytes and of all that the observer was told, and what was left behind. [`laws::check`] holds the laws to it that
//! need no knowledge of messages; those that do stand in `tests/scenarios/http_laws`.
//!
//! ```
//! use std::net::{Ipv4Addr, SocketAddr};
//!
//! use sheave_net::dial::Connect;
//! use sheave_sim::run::{Ended, run};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! // The client's connection is reset once two bytes of what it is sent have arrived.
//! let plan = "hello client1.out@2=rst".parse().unwrap();
//! let record = run(&plan, |net| async move {
//!     let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
//!     let mut listener = net.listen(address);
//!     let client = net.client().connect(&address.into()).await.unwrap();
//!     let mut server = listener.accept().await;
//!     server.write_all(b"hello").await.unwrap();
//!     let error = server.read_u8().await.unwrap_err();
//!     assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
//!     drop(client);
//! });
//! assert_eq!(record.ended, Ended::Completed);
//! println!("{}", record.trace);
//! ```
//!
//! # To write a scenario of messages
//!
//! Add an entry to `tests/scenarios/catalogue.rs`: which exchanges clients ask for, how each request and response is
//! framed, and what is odd about them. Scripted clients, origins and handlers play it in every world that it names (a
//! server, a client, a relay of both); every fault at every byte is tried on it, and random ones; every law is held to each
//! run. A new oddity is a field of `Exchange` that one of the scripts looks at. Something to be configured is an option in
//! `settings.rs`, and a word of the plan.
//!
//! # To look for more
//!
//! ```text
//! cargo test -p sheave-sim                                                 # every fault at every byte, and some at random
//! SHEAVE_SIM_RUNS=10000 cargo test -p sheave-sim at_random                 # more of them for each scenario
//! SHEAVE_SIM_SECONDS=3600 SHEAVE_SIM_SEED=$RANDOM cargo test -p sheave-sim at_random
//! SHEAVE_SIM_REPLAY='relay/get origin1.in@17=rst' cargo test -p sheave-sim --test scenarios replay -- --nocapture
//! ```
//!
//! With `--nocapture` the tests say how many runs they made. A run that breaks a law is printed with its plan and its trace;
//! one that was found at random is shrunk first. Its plan goes into `tests/scenarios/regressions.rs` with the fix.

pub mod connector;
pub mod explore;
pub mod fault;
mod flow;
pub mod laws;
pub mod listener;
pub mod net;
pub mod plan;
pub mod random;
pub mod reactor;
pub mod recorder;
pub mod run;
pub mod shrink;
pub mod socket;
pub mod tcp;
pub mod trace;
mod wire;
