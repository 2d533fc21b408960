//! A client that calls an origin, on the library alone, one thread. `calls ORIGIN AT_ONCE SECONDS` asks for `/1k`, and
//! prints requests and nanoseconds of CPU.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use rustix::time::{ClockId, clock_gettime};
use sheave_client::config::ClientConfig;
use sheave_client::pool::Pool;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::tcp_connect::TcpConnector;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

async fn call(
    pool: Rc<Pool<TcpConnector>>,
    clock: Clock,
    origin: SocketAddr,
    until: Instant,
    made: Rc<Cell<u64>>,
) -> Result<(), Box<dyn Error>> {
    let host = origin.to_string();
    let endpoints = [origin.into()];
    while Instant::now() < until {
        let mut head = RequestHead::new(Method::GET, "/1k")?;
        head.fields_mut().push(Known::Host, host.as_bytes())?;
        let mut call = pool.acquire(&endpoints, Reuse::Usual).await?;
        call.send_head(&head, "/1k", BodyLength::None, clock.now())?;
        poll_fn(|cx| call.poll_flush(cx, clock.now())).await;
        let mut len = 0;
        while !call.has_whole_response() {
            poll_fn(|cx| {
                call.poll_response_with(cx, clock.now(), |batch| {
                    len += batch.data.iter().map(|piece| piece.len()).sum::<usize>();
                })
            })
            .await?;
        }
        call.finish();
        if len != 1024 {
            return Err("a response that is not 1 KiB".into());
        }
        made.set(made.get() + 1);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [origin, at_once, seconds] = arguments.as_slice() else {
        return Err("usage: calls ORIGIN AT_ONCE SECONDS".into());
    };
    let (origin, at_once, seconds): (SocketAddr, usize, u64) = (origin.parse()?, at_once.parse()?, seconds.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let clock = Clock::start();
        let pool = Rc::new(Pool::new(TcpConnector::default(), ClientConfig::default(), clock, Arc::new(Silent)));
        for (is_warm_up, time) in [(true, Duration::from_millis(500)), (false, Duration::from_secs(seconds))] {
            let made = Rc::new(Cell::new(0));
            let before = cpu();
            let until = Instant::now() + time;
            let calls: Vec<_> = (0..at_once)
                .map(|_| tokio::task::spawn_local(call(pool.clone(), clock, origin, until, made.clone())))
                .collect();
            for call in calls {
                call.await?.map_err(|error| error.to_string())?;
            }
            if !is_warm_up {
                println!("{} {}", made.get(), (cpu() - before).as_nanos());
            }
        }
        Ok(())
    })
}
