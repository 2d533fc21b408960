//! A server that says hello, on a thread for each core, and tells why each connection ended.
//!
//! Put load on it and kill the load whenever you like (`wrk -c 500 -d 5s http://127.0.0.1:3000`, then Ctrl-C): clients that
//! vanish are counted by what they did, and none of it is an error. Ctrl-C here drains.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use sheave_lifecycle::close::Severity;
use sheave_lifecycle::observe::{Closed, Observer};
use sheave_server::body::RequestBody;
use sheave_server::server::Server;
use sheave_server::service::service_fn;

/// Counts why connections ended.
#[derive(Default)]
struct Reasons(Mutex<BTreeMap<(&'static str, Severity), u64>>);

impl Observer for Reasons {
    fn closed(&self, closed: &Closed) {
        let severity = closed.reason.severity(closed.side, closed.phase);
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.entry((closed.reason.label(), severity)).or_default() += 1;
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((reason, severity), count) in &*reasons {
            writeln!(f, "closed: {reason} ({severity:?}) {count}")?;
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let reasons = Arc::new(Reasons::default());
    let server = Server::builder()
        .observer(reasons.clone())
        .build(service_fn(async |_: Request<RequestBody>| "hello, world\n"))?;
    let listener = std::net::TcpListener::bind(address)?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::spawn({
        let server = server.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                server.drain();
            }
        }
    });
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let report = server.serve_on_cores(cores, [listener]).await?;
    print!("{reasons}");
    println!(
        "drained: {} told, {} finished, {} waited, {} lost",
        report.told, report.finished, report.waited, report.lost
    );
    Ok(())
}
