//! A client of either version, in the clear or behind TLS, that knows what it was told of its connection's end.

use bytes::Bytes;
use sheave_net::dial::Connect;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::server::ServerTls;
use sheave_net::tls::stream::Stream;
use sheave_sim::socket::SimSocket;
use tokio::io::AsyncReadExt;

use crate::certificate::LOCALHOST;
use crate::frames::{END_STREAM, HEADERS, Raw, WINDOW_UPDATE, frame, get, request};
use crate::http1::{Answer, Http1};
use crate::rig::{Client, FRONT, OK, Rig, whole};

/// The version that a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// How clients speak to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    pub(crate) version: Version,
    pub(crate) is_secured: bool,
}

/// All of them.
pub(crate) const MANNERS: [Manner; 4] = [
    Manner { version: Version::Http1, is_secured: false },
    Manner { version: Version::Http1, is_secured: true },
    Manner { version: Version::Http2, is_secured: false },
    Manner { version: Version::Http2, is_secured: true },
];

impl Manner {
    /// What the server's listener secures connections with.
    pub(crate) fn server_tls(self) -> Option<ServerTls> {
        self.is_secured.then(|| LOCALHOST.0.clone())
    }

    /// A connection on which nothing was said but the handshake. Whoever is to vanish leaves by an RST.
    async fn connect(self, rig: &Rig, is_to_vanish: bool) -> Stream<SimSocket> {
        let socket = rig.net.client().connect(&FRONT.into()).await.unwrap();
        if is_to_vanish {
            socket.set_abortive_close();
        }
        if !self.is_secured {
            return Stream::Plain(socket);
        }
        let offer = if self.version == Version::Http2 { Alpn::Http2 } else { Alpn::Http1 };
        let mut socket = LOCALHOST.1.connect_offering(socket, &"localhost".parse().unwrap(), &[offer]);
        std::future::poll_fn(|cx| socket.poll_handshake(cx)).await.unwrap();
        socket.into()
    }
}

/// A connection.
pub(crate) enum Peer {
    Http1(Http1<Stream<SimSocket>>),
    Http2(Client),
}

impl Peer {
    /// A connection that has had no request yet.
    pub(crate) async fn fresh(rig: &Rig, manner: Manner) -> Self {
        Self::over(manner.connect(rig, false).await, manner).await
    }

    async fn over(socket: Stream<SimSocket>, manner: Manner) -> Self {
        match manner.version {
            Version::Http1 => Self::Http1(Http1::over(socket)),
            Version::Http2 => Self::Http2(Client::over(socket).await),
        }
    }

    /// A connection that has had one answer.
    pub(crate) async fn connect(rig: &Rig, manner: Manner) -> Self {
        let mut peer = Self::fresh(rig, manner).await;
        assert_eq!(peer.get("/hello").await, Some(Answer { status: OK, is_last: false }));
        peer
    }

    /// The answer; `None` when it does not come whole.
    pub(crate) async fn get(&mut self, path: &str) -> Option<Answer> {
        match self {
            Self::Http1(peer) => peer.get(path).await,
            Self::Http2(client) => {
                client.get(path).await.ok().map(|answer| Answer { status: answer.status, is_last: false })
            }
        }
    }

    /// The status of an answer with which its connection is told to end.
    pub(crate) async fn last(&mut self, path: &str) -> Option<u16> {
        let is_told = matches!(self, Self::Http1(_));
        let answer = self.get(path).await?;
        assert_eq!(answer.is_last, is_told, "{path}");
        Some(answer.status)
    }

    /// The answer to content of which only a part is sent.
    pub(crate) async fn upload_half(&mut self, path: &str) -> Option<Answer> {
        match self {
            Self::Http1(peer) => {
                peer.send(&format!("POST {path} HTTP/1.1\r\nHost: o\r\nContent-Length: 9\r\n\r\nsome")).await;
                peer.answer().await
            }
            Self::Http2(client) => {
                let (response, mut body) = client.start(Client::request("POST", path), false).await;
                body.send_data(Bytes::from_static(b"some"), false).unwrap();
                let answer = whole(response).await.ok()?;
                Some(Answer { status: answer.status, is_last: false })
            }
        }
    }

    /// Waits for the end, and says whether it was one in order: by FIN, behind what TLS has to say before it, and behind
    /// GOAWAY.
    pub(crate) async fn ended(self) -> bool {
        match self {
            Self::Http1(peer) => is_in_order(peer).await,
            Self::Http2(client) => client.driver.await.unwrap().is_ok(),
        }
    }

    /// Ends it as a client does that needs it no more.
    pub(crate) async fn leave(self) {
        match self {
            Self::Http1(peer) => drop(peer),
            Self::Http2(client) => client.leave().await.unwrap(),
        }
    }
}

/// Waits for the end, and says whether it was a FIN, behind what TLS has to say before it.
async fn is_in_order(mut peer: Http1<Stream<SimSocket>>) -> bool {
    matches!(peer.socket.read(&mut [0]).await, Ok(0)) && !peer.socket.is_cut_off()
}

/// Half a head, and the end that comes of it: the status, if there was one, and whether the end was in order.
pub(crate) async fn half_a_head(rig: &Rig, manner: Manner) -> (Option<u16>, bool) {
    let socket = manner.connect(rig, false).await;
    match manner.version {
        Version::Http1 => {
            let mut peer = Http1::over(socket);
            peer.send("GET /hello HTT").await;
            let answer = peer.answer().await;
            assert!(answer.is_none_or(|answer| answer.is_last));
            (answer.map(|answer| answer.status), is_in_order(peer).await)
        }
        Version::Http2 => {
            let mut raw = Raw::begin(socket, &[]).await;
            raw.settle().await;
            raw.write(&frame(HEADERS, END_STREAM, 1, &request("GET", "/hello"))).await;
            let frames = raw.all().await;
            (None, frames.last().is_some_and(|frame| frame.kind == crate::frames::GOAWAY))
        }
    }
}

/// A client that asks for much and takes nothing. Dropped, it resets its connection if it is to vanish.
pub(crate) async fn greedy(rig: &Rig, manner: Manner, path: &str, is_to_vanish: bool) -> Raw<Stream<SimSocket>> {
    let socket = manner.connect(rig, is_to_vanish).await;
    match manner.version {
        Version::Http1 => {
            let mut raw = Raw::silent(socket);
            raw.write(format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n").as_bytes()).await;
            raw
        }
        Version::Http2 => {
            // SETTINGS_INITIAL_WINDOW_SIZE
            let mut raw = Raw::begin(socket, &[(4, (1 << 31) - 1)]).await;
            raw.settle().await;
            raw.write(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes())).await;
            raw.write(&get(1, path)).await;
            raw
        }
    }
}
