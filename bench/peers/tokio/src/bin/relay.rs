//! What moving the bytes costs on tokio: one thread, one buffer for all, a connection to the origin for each client.
//!
//! `bench-relay-tokio LISTEN ORIGIN`. It parses nothing, limits nothing and times nothing out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// One direction: what was read and is not written yet.
#[derive(Default)]
struct Way {
    unsent: Vec<u8>,
    sent: usize,
    has_ended: bool,
    is_over: bool,
}

impl Way {
    /// Moves what can be moved; ready when this direction is over.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, to: &mut TcpStream) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.unsent.len() {
                match Pin::new(&mut *to).poll_write(cx, &self.unsent[self.sent..]) {
                    Poll::Ready(len) => self.sent += len?,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !self.unsent.is_empty() {
                self.unsent = Vec::new();
                self.sent = 0;
            }
            if self.has_ended {
                if !self.is_over && Pin::new(&mut *to).poll_shutdown(cx)?.is_pending() {
                    return Poll::Pending;
                }
                self.is_over = true;
                return Poll::Ready(Ok(()));
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                std::task::ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
                let read = buffer.filled();
                self.has_ended = read.is_empty();
                let mut written = 0;
                while written < read.len() {
                    match Pin::new(&mut *to).poll_write(cx, &read[written..]) {
                        Poll::Ready(len) => written += len?,
                        Poll::Pending => break,
                    }
                }
                self.unsent.extend_from_slice(&read[written..]);
                Poll::Ready(io::Result::Ok(()))
            });
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

async fn relay(mut client: TcpStream, origin: std::net::SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut origin = TcpStream::connect(origin).await?;
    origin.set_nodelay(true)?;
    let (mut up, mut down) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let up = up.poll(cx, &mut client, &mut origin)?;
        let down = down.poll(cx, &mut origin, &mut client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|address| address.parse::<std::net::SocketAddr>().ok());
    let (Some(listen), Some(origin)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bench-relay-tokio LISTEN ORIGIN");
        std::process::exit(2);
    };
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = listener(listen)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(relay(client, origin));
        }
    })
}

fn listener(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}
