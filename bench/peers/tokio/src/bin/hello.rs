//! The least that can say hello: a head is sought, and a prepared answer written. `bench-hello-tokio LISTEN`.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\ndate: Fri, 20 Nov 2026 07:13:02 GMT\r\n\r\nHello, world!";

async fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    let mut len = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[len..]) {
            Ok(0) => return Ok(()),
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if buffer[..len].ends_with(b"\r\n\r\n") {
            len = 0;
            // A hundred bytes always fit: the answer before has been taken.
            stream.try_write(ANSWER)?;
        }
    }
}

fn main() -> io::Result<()> {
    let Some(listen) = std::env::args().nth(1).and_then(|address| address.parse::<SocketAddr>().ok()) else {
        eprintln!("usage: bench-hello-tokio LISTEN");
        std::process::exit(2);
    };
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let listener = socket.listen(4096)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(serve(client));
        }
    })
}
