//! A TLS handshake for each request, in full or resumed.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use crate::wire;

/// Connects, asks, closes, again and again; prints requests, seconds, and the 99th percentile in milliseconds.
pub async fn run(proxy: SocketAddr, is_resumed: bool, at_once: usize, seconds: u64) -> Result<(), Box<dyn Error>> {
    let tls = wire::tls(is_resumed)?;
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..at_once).map(|_| tokio::spawn(one_after_another(proxy, tls.clone(), until))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    took.sort_unstable();
    let p99 = took.get(took.len().saturating_sub(1) * 99 / 100).ok_or("no handshake at all")?.as_secs_f64() * 1e3;
    println!("{} {} {p99}", took.len(), began.elapsed().as_secs_f64());
    Ok(())
}

/// How long each took.
async fn one_after_another(proxy: SocketAddr, tls: TlsConnector, until: Instant) -> std::io::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let mut stream = wire::connect(proxy, Some(&tls)).await?;
        wire::get(&mut *stream, "/1k").await?;
        took.push(began.elapsed());
        // Who was told `close_notify` may drop it at once.
        let _ = stream.shutdown().await;
    }
    Ok(took)
}
