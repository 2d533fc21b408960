//! WebSocket through the proxy, as a library speaks it that others made, on both ends.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use kit::rig::Rig;
use kit::run::run_in_parallel;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, accept_hdr, client};

/// Sends back what it gets, on each of so many connections, and answers a close with a close.
fn echo(connections: usize) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let serving: Vec<_> = (0..connections)
            .map(|_| listener.accept().unwrap().0)
            .map(|stream| thread::spawn(|| serve(stream)))
            .collect();
        serving.into_iter().for_each(|one| one.join().unwrap());
    });
    (address, serving)
}

fn serve(stream: TcpStream) {
    #[allow(clippy::result_large_err, reason = "the library's callback has this type")]
    let checked = |request: &Request, response: Response| {
        // What the proxy says of the client has come along.
        assert!(request.headers().contains_key("x-forwarded-for") && request.headers().contains_key("via"));
        assert_eq!(request.uri().path(), "/chat");
        Ok(response)
    };
    let mut socket = accept_hdr(stream, checked).unwrap();
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).unwrap(),
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Messages of all sizes at which the framing changes, and some that fill every buffer on the way.
fn messages() -> impl Iterator<Item = Message> {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000];
    sizes.into_iter().flat_map(|len: u32| {
        let bytes: Vec<u8> = (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
        let text: String = (0..len).map(|at| char::from_u32(0x20 + at % 0x300).unwrap_or('?')).collect();
        [Message::binary(bytes), Message::text(text)]
    })
}

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    const CONNECTIONS: usize = 4;
    run_in_parallel(async {
        let (origin, serving) = echo(CONNECTIONS);
        let rig = Rig::usual(origin);
        let address = rig.address;
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|which| {
                tokio::task::spawn_blocking(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    let (mut socket, response) = client(format!("ws://{address}/chat"), stream).unwrap();
                    assert_eq!(response.status().as_u16(), 101);
                    for message in messages() {
                        socket.send(message.clone()).unwrap();
                        assert!(socket.read().unwrap() == message, "client {which}: {} bytes", message.len());
                    }
                    socket.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
                    assert_eq!(socket.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
                    let frame = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
                    socket.close(Some(frame.clone())).unwrap();
                    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
                    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        let ended = rig.recorder.until_ended(CONNECTIONS).await;
        assert_eq!((ended.status, ended.outcome, ended.error), (101, Outcome::Answered(MadeBy::Origin), None));
        let (_, recorder) = rig.finish().await;
        for side in Side::ALL {
            assert_eq!(recorder.log().reasons(side), [CloseReason::Upgraded; CONNECTIONS], "{side:?}");
        }
        tokio::task::spawn_blocking(move || serving.join().unwrap()).await.unwrap();
    });
}
