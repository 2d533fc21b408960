//! The client that library users have, one thread. `bare_client ORIGIN AT_ONCE SECONDS` asks for `/1k`, and prints requests
//! and nanoseconds of CPU.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Uri;
use rustix::time::{ClockId, clock_gettime};
use sheave_client::client::Client;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

async fn call(client: Client, url: Uri, until: Instant, made: Rc<Cell<u64>>) -> Result<(), Box<dyn Error>> {
    while Instant::now() < until {
        let mut response = client.get(url.clone()).send().await?;
        let mut len = 0;
        while let Some(piece) = response.chunk().await? {
            len += piece.len();
        }
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
        return Err("usage: bare_client ORIGIN AT_ONCE SECONDS".into());
    };
    let (at_once, seconds): (usize, u64) = (at_once.parse()?, seconds.parse()?);
    let url: Uri = format!("http://{origin}/1k").parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let client = Client::builder().build()?;
        for (is_warm_up, time) in [(true, Duration::from_millis(500)), (false, Duration::from_secs(seconds))] {
            let made = Rc::new(Cell::new(0));
            let before = cpu();
            let until = Instant::now() + time;
            let calls: Vec<_> = (0..at_once)
                .map(|_| tokio::task::spawn_local(call(client.clone(), url.clone(), until, made.clone())))
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
