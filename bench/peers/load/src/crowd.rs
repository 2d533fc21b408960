//! Many connections that do little: idle, parked behind the proxy, or asked now and then.

use std::error::Error;
use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::wire::{self, Stream};

type Done = Result<(), Box<dyn Error>>;

/// How many connect and ask at the same time: no more connections to the origin come to be.
const AT_ONCE: usize = 16;

/// Prints a line, and waits for one.
fn step(said: &str) {
    println!("{said}");
    // At the end of the input, too, there is nothing left to wait for.
    let _ = io::stdin().lock().lines().next();
}

async fn crowd(proxy: SocketAddr, count: usize, tls: bool) -> Result<Vec<Box<dyn Stream>>, Box<dyn Error>> {
    let tls = if tls { Some(wire::tls(false)?) } else { None };
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let more = AT_ONCE.min(count - streams.len());
        let tls = tls.clone();
        let one = move || {
            let tls = tls.clone();
            async move {
                let mut stream = wire::connect(proxy, tls.as_ref()).await?;
                wire::get(&mut *stream, "/1k").await?;
                io::Result::Ok(stream)
            }
        };
        streams.extend(all((0..more).map(|_| one())).await?);
    }
    Ok(streams)
}

/// Waits for all, side by side.
async fn all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = io::Result<T>> + Send + 'static>,
) -> io::Result<Vec<T>> {
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.map_err(io::Error::other)??);
    }
    Ok(done)
}

/// Connections that have each had one response.
pub async fn idle(proxy: SocketAddr, count: usize, tls: bool) -> Done {
    // Code and buffers that serve anybody are there before the counting.
    drop(crowd(proxy, AT_ONCE, tls).await?);
    step("warm");
    let streams = crowd(proxy, count, tls).await?;
    step("idle");
    drop(streams);
    step("closed");
    Ok(())
}

/// As many connections behind the proxy as there are requests.
pub async fn held(proxy: SocketAddr, count: usize) -> Done {
    drop(crowd(proxy, AT_ONCE, false).await?);
    step("warm");
    let one = move || async move {
        let mut stream = wire::connect(proxy, None).await?;
        wire::get(&mut *stream, "/held").await
    };
    all((0..count).map(|_| one())).await?;
    step("parked");
    Ok(())
}

/// Requests at a steady rate, each on the connection that has been idle for longest.
pub async fn sparse(proxy: SocketAddr, count: usize, rate: u32, seconds: u32) -> Done {
    let mut streams = crowd(proxy, count, false).await?;
    step("idle");
    let began = Instant::now();
    let mut took = Vec::new();
    for number in 0..rate * seconds {
        let due = began + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        let sent = Instant::now();
        let at = number as usize % count;
        wire::get(&mut *streams[at], "/1k").await?;
        took.push(sent.elapsed());
    }
    took.sort_unstable();
    let p99 = took[(took.len() - 1) * 99 / 100].as_secs_f64() * 1e3;
    step(&format!("{} {} {p99}", took.len(), began.elapsed().as_secs_f64()));
    Ok(())
}
