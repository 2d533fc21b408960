//! Server-sent events: the time, every second, to whoever listens (`curl -N http://127.0.0.1:3000/time`).

use std::convert::Infallible;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{Stream, stream};
use sheave_lifecycle::drain::DrainPlan;

/// The seconds since 1970, at once and then every second.
fn seconds() -> impl Stream<Item = Result<Event, Infallible>> {
    let ticks = tokio::time::interval(Duration::from_secs(1));
    stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Some((Ok(Event::default().event("time").data(seconds.to_string())), ticks))
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/time", get(async || Sse::new(seconds())));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Such responses have no end of their own: a drain is to wait for them no longer than this.
    let plan = DrainPlan { grace: Duration::from_secs(1), ..DrainPlan::default() };
    sheave_tower::serve(listener, app)
        .configure(|server| server.drain(plan))
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
