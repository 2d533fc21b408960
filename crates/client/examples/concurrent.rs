//! Asks a URL many times, so many at a time, and says what came of it.
//!
//! ```text
//! cargo run -p sheave-client --example concurrent -- http://127.0.0.1:9000/ 1000 50
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sheave_client::client::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("a URL is needed; then how many requests, and how many at a time")?;
    let requests: usize = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let at_a_time: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;

    let client = Client::builder()
        .timeout(Some(Duration::from_secs(10)))
        .max_conns_per_host(at_a_time)
        .user_agent("concurrent")
        .build()?;
    let permits = Arc::new(Semaphore::new(at_a_time));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..requests {
        let permit = permits.clone().acquire_owned().await?;
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let response = client.get(url).send().await?;
            let (status, is_reused) = (response.status(), response.connection().is_reused);
            let bytes = response.bytes().await?.len();
            Ok::<_, sheave_client::failure::Error>((status, is_reused, bytes))
        });
    }

    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let (mut bytes, mut reused) = (0, 0);
    while let Some(outcome) = tasks.join_next().await {
        let name = match outcome? {
            Ok((status, is_reused, len)) => {
                bytes += len;
                reused += usize::from(is_reused);
                status.as_str().to_owned()
            }
            // What is worth to be known of a failure has a name; whether the request was sent is part of it.
            Err(error) => format!("{} (sent: {})", error.label(), error.request_was_sent().label()),
        };
        *outcomes.entry(name).or_default() += 1;
    }
    println!("{requests} requests in {:?}, {bytes} bytes, {reused} on connections that were there", began.elapsed());
    for (name, count) in outcomes {
        println!("{count:>8} {name}");
    }
    println!("{} connections are parked", client.pool_stats().idle);
    Ok(())
}
