//! The least that a client can do: prepared bytes out, an answer of known length in, one connection for each caller.
//!
//! `bench-calls-tokio ORIGIN AT_ONCE SECONDS` asks for `/1k`; prints requests and nanoseconds of CPU.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

async fn call(origin: SocketAddr, until: Instant, made: Rc<Cell<u64>>) -> io::Result<()> {
    let stream = TcpStream::connect(origin).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 8 << 10];
    let request = format!("GET /1k HTTP/1.1\r\nhost: {origin}\r\n\r\n");
    while Instant::now() < until {
        stream.try_write(request.as_bytes())?;
        let (mut len, mut whole) = (0, None);
        while whole.is_none_or(|whole| len < whole) {
            stream.readable().await?;
            match stream.try_read(&mut buffer[len..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            let end = || buffer[..len].windows(4).position(|four| four == b"\r\n\r\n");
            whole = whole.or_else(|| Some(end()? + 4 + 1024));
        }
        made.set(made.get() + 1);
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [origin, at_once, seconds] = arguments.as_slice() else {
        eprintln!("usage: bench-calls-tokio ORIGIN AT_ONCE SECONDS");
        std::process::exit(2);
    };
    let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let origin: SocketAddr = origin.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let at_once: usize = at_once.parse().map_err(wrong)?;
    let seconds: u64 = seconds.parse().map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        for (is_warm_up, time) in [(true, Duration::from_millis(500)), (false, Duration::from_secs(seconds))] {
            let made = Rc::new(Cell::new(0));
            let before = cpu();
            let until = Instant::now() + time;
            let calls: Vec<_> =
                (0..at_once).map(|_| tokio::task::spawn_local(call(origin, until, made.clone()))).collect();
            for call in calls {
                call.await??;
            }
            if !is_warm_up {
                println!("{} {}", made.get(), (cpu() - before).as_nanos());
            }
        }
        Ok(())
    })
}
