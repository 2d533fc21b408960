//! The same over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use sheave_net::listen::Listener;
use sheave_net::secured::Alpn;
use sheave_net::socket::{Liveness, Socket};
use sheave_net::stream::KernelStream;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_net::tls::listener::TlsListener;
use sheave_net::tls::server::ServerTls;
use sheave_net::tls::socket::TlsSocket;
use sheave_net::tls::stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{client, server, shake};

fn listen(tls: Option<ServerTls>) -> TlsListener<TcpAcceptor> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TlsListener::new(TcpAcceptor::bind(address, &ListenOptions::default()).unwrap(), tls)
}

async fn accept(listener: &mut TlsListener<TcpAcceptor>) -> Stream<KernelStream> {
    std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().socket
}

async fn pair() -> (TlsSocket<TcpStream>, Stream<KernelStream>) {
    let mut listener = listen(Some(server()));
    let address = listener.local_addr().unwrap();
    let (opened, mut theirs) = tokio::join!(TcpStream::connect(address), accept(&mut listener));
    let mut ours = client().connect(opened.unwrap(), &"localhost".parse().unwrap());
    let (one, other) = tokio::join!(shake(&mut ours), shake(&mut theirs));
    one.unwrap();
    other.unwrap();
    (ours, theirs)
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once() {
    const LEN: usize = 8 * 1024 * 1024;
    let (ours, theirs) = pair().await;
    assert_eq!(theirs.secured().unwrap().alpn, Some(Alpn::Http2));
    async fn both<S: Socket>(mut socket: S) -> (usize, bool, S) {
        static SENT: [u8; 50_000] = [7; 50_000];
        let (sent, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut buffer = vec![0; 64 * 1024];
        while sent.load(Ordering::Relaxed) < LEN || read.load(Ordering::Relaxed) < LEN {
            std::future::poll_fn(|cx| {
                let mut is_moving = false;
                let left = LEN - sent.load(Ordering::Relaxed);
                if left > 0 {
                    let part = &SENT[..left.min(SENT.len())];
                    if let std::task::Poll::Ready(len) = std::pin::Pin::new(&mut socket).poll_write(cx, part) {
                        sent.fetch_add(len.unwrap(), Ordering::Relaxed);
                        is_moving = true;
                    }
                } else {
                    let _ = std::pin::Pin::new(&mut socket).poll_flush(cx);
                }
                let mut buffer = tokio::io::ReadBuf::new(&mut buffer);
                if let std::task::Poll::Ready(done) = std::pin::Pin::new(&mut socket).poll_read(cx, &mut buffer) {
                    done.unwrap();
                    assert!(!buffer.filled().is_empty(), "nobody closes");
                    assert!(buffer.filled().iter().all(|byte| *byte == 7));
                    read.fetch_add(buffer.filled().len(), Ordering::Relaxed);
                    is_moving = true;
                }
                if is_moving { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
        socket.flush().await.unwrap();
        (read.load(Ordering::Relaxed), socket.has_unsent(), socket)
    }
    let ((ours, ours_owes, _one), (theirs, theirs_owes, _other)) = tokio::join!(both(ours), both(theirs));
    assert_eq!((ours, theirs, ours_owes, theirs_owes), (LEN, LEN, false, false));
}

#[tokio::test]
async fn a_close_that_has_arrived_is_seen_at_once() {
    let (mut ours, mut theirs) = pair().await;
    theirs.write_all(b"x").await.unwrap();
    assert_eq!(ours.read_u8().await.unwrap(), b'x');
    assert_eq!(ours.probe(), Liveness::Alive);
    drop(theirs);
    // No reactor runs between the close and the question.
    assert_eq!(ours.probe(), Liveness::Closed);
    assert!(!ours.is_cut_off());
}

#[tokio::test]
async fn without_certificates_a_listener_passes_connections_on() {
    let mut listener = listen(None);
    let address = listener.local_addr().unwrap();
    let (opened, mut theirs) = tokio::join!(TcpStream::connect(address), accept(&mut listener));
    shake(&mut theirs).await.unwrap();
    opened.unwrap().write_all(b"x").await.unwrap();
    assert_eq!(theirs.read_u8().await.unwrap(), b'x');
    assert!(theirs.secured().is_none() && matches!(theirs, Stream::Plain(_)));
}
