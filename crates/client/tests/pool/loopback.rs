//! The pool on real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::tcp_connect::TcpConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::rig::{Rig, exchange};

/// How an origin's connection ends that was idle for long enough.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Fin,
    Reset,
    /// As some servers do before they close.
    RequestTimeout,
}

/// Answers every request, and ends what is idle for longer than it keeps it.
async fn origin(keep_alive: Duration, ends: Ends) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, keep_alive, ends));
        }
    });
    address
}

async fn answer(mut socket: TcpStream, keep_alive: Duration, ends: Ends) {
    let mut buffer = [0; 1024];
    let mut patience = Duration::from_secs(60);
    loop {
        match timeout(patience, socket.read(&mut buffer)).await {
            Ok(Ok(1..)) => {
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                patience = keep_alive;
            }
            Ok(_) => return,
            Err(_) => break,
        }
    }
    match ends {
        Ends::Fin => {}
        Ends::Reset => socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap(),
        Ends::RequestTimeout => {
            socket.write_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").await.unwrap();
        }
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn each_way_of_closing_is_seen_named_and_learned_from() {
    for (ends, label) in
        [(Ends::Fin, "peer-closed"), (Ends::Reset, "peer-reset"), (Ends::RequestTimeout, "unasked-bytes")]
    {
        let address = origin(Duration::from_millis(200), ends).await;
        let rig = Rig::new(TcpConnector::default(), ClientConfig::default());
        let call = rig.pool.acquire(&[address.into()], Reuse::Usual).await.expect("connects");
        assert_eq!(exchange(call, rig.clock).await, 200);
        until(|| rig.pool.stats().idle == 0).await;
        assert_eq!(rig.witness.ends(), [(label, 1)].into(), "{ends:?}");
        let state = rig.state(address).expect("known");
        assert_eq!(state.learned.times_seen(), 1);
        assert!(Some(state.reused_below) < state.learned.keep_alive(), "{:?} of {}", state.reused_below, state.learned);
        rig.finish().await;
    }
}

#[tokio::test]
async fn a_close_that_is_in_the_kernel_is_never_handed_out() {
    const ROUNDS: usize = 100;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (close, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (close_it, is_done) = (close.clone(), done.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            close_it.notified().await;
            drop(socket);
            is_done.notify_one();
        }
    });
    let rig = Rig::new(TcpConnector::default(), ClientConfig::default());
    for _ in 0..ROUNDS {
        let call = rig.pool.acquire(&[address.into()], Reuse::Usual).await.expect("connects");
        assert!(!call.is_reused());
        assert_eq!(exchange(call, rig.clock).await, 200);
        close.notify_one();
        done.notified().await;
    }
    until(|| rig.pool.stats().idle == 0).await;
    assert_eq!(rig.witness.ends(), [("peer-closed", ROUNDS)].into());
    rig.finish().await;
}

#[tokio::test]
async fn an_origin_that_comes_back_is_found() {
    // Whoever holds the port without listening keeps it for the origin.
    let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    let rig = Rig::new(TcpConnector::default(), ClientConfig::default());
    for _ in 0..3 {
        assert!(rig.pool.acquire(&[address.into()], Reuse::Usual).await.is_err());
    }
    holder.listen(16).unwrap();
    holder.set_nonblocking(true).unwrap();
    let _listener = TcpListener::from_std(holder.into()).unwrap();
    while rig.pool.acquire(&[address.into()], Reuse::Usual).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(*rig.witness.failed.lock().unwrap() >= 1);
    rig.finish().await;
}
