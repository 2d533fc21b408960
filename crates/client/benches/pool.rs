//! What a pool costs per request: nanoseconds, without the kernel's answer to the peek.
//!
//! `cargo bench -p sheave-client`. Each number is the least of several rounds: what the code costs when nothing disturbs it.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use sheave_client::config::ClientConfig;
use sheave_client::pool::Pool;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::{Liveness, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Always alive, and costs nothing to ask.
struct Idle;

impl AsyncRead for Idle {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Idle {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Idle {
    fn probe(&mut self) -> Liveness {
        Liveness::Alive
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_abortive_close(&self) {}

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

struct Instantly;

impl Connect for Instantly {
    type Socket = Idle;

    async fn connect(&self, _: &Endpoint) -> Result<Idle, IoFault> {
        Ok(Idle)
    }
}

fn main() {
    // Without this, cargo runs it as a test: briefly. A number of rounds is for counting instructions.
    let arguments: Vec<String> = std::env::args().collect();
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let rounds: u32 = asked.unwrap_or(if arguments.iter().any(|it| it == "--bench") { 1_000_000 } else { 1_000 });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = Clock::start();
        let endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 9000)));
        for parked in [1, 100] {
            let pool = Pool::new(Instantly, ClientConfig::default(), clock, Arc::new(Silent));
            let mut calls = Vec::new();
            for _ in 0..parked {
                calls.push(pool.connect(std::slice::from_ref(&endpoint), Reuse::Never).await.unwrap());
            }
            drop(calls);
            let now = clock.now();
            let mut least = u128::MAX;
            for _ in 0..9 {
                let began = Instant::now();
                for _ in 0..rounds {
                    drop(black_box(pool.checkout(black_box(&endpoint), now, Reuse::Usual)));
                }
                least = least.min(began.elapsed().as_nanos() / u128::from(rounds));
            }
            println!("checkout and park, {parked} parked: {least} ns");
        }
        let began = Instant::now();
        for _ in 0..rounds {
            black_box(clock.now());
        }
        println!("of which the clock: {} ns", began.elapsed().as_nanos() / u128::from(rounds));
    });
}
