//! Tunnels where a side speaks HTTP/2: what an Upgrade is in its words, and back. RFC 8441

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use http::{Method, Request, Response};
use kit::message::Framing;
use kit::origin::{Accepted, Origin};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_net::endpoint::{Manner, Protocols};
use sheave_proxy::connect::ConnectPolicy;
use tokio::net::{TcpListener, TcpStream};

const ASK: &str = "GET /chat?x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An origin of HTTP/2, which takes extended CONNECT if `takes`.
async fn origin(takes: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut builder = Builder::new();
                if takes {
                    builder.enable_connect_protocol();
                }
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    address
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    let seen = |name: &str| request.headers().contains_key(name);
    assert!(!seen("upgrade") && !seen("connection"), "what speaks of a connection does not cross");
    if request.uri().path() == "/refused" {
        let refused = Response::builder().status(403).body(()).unwrap();
        respond.send_response(refused, true).unwrap();
        return;
    }
    if *request.method() != Method::CONNECT {
        let plain = Response::builder().status(200).body(()).unwrap();
        respond.send_response(plain, false).unwrap().send_data("no".into(), true).unwrap();
        return;
    }
    assert_eq!(protocol.as_deref(), Some("websocket"));
    assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/chat?x");
    assert!(!seen("sec-websocket-key") && seen("sec-websocket-version"));
    let mut body = request.into_body();
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        send.send_data(data, false).unwrap();
    }
    send.send_data(Bytes::new(), true).unwrap();
}

fn setup() -> Setup {
    Setup { manner: Manner { protocols: Protocols::Http2, ..Manner::default() }, ..Setup::default() }
}

#[test]
fn an_upgrade_becomes_a_connect_with_a_protocol_and_a_200_a_101() {
    run(async {
        let rig = Rig::start(&[origin(true).await], setup());
        for bytes in ["early and ", ""] {
            let mut client = rig.client().await;
            client.send(format!("{ASK}{bytes}")).await;
            let head = client.head().await.unwrap();
            assert_eq!((head.status(), head.field("Upgrade")), (101, Some("websocket")));
            assert_eq!(head.field("Connection"), Some("upgrade"));
            assert_eq!(head.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            client.send("late").await;
            client.fin();
            let mut heard = Vec::new();
            client.content(Framing::UntilClose, |piece| heard.extend_from_slice(piece)).await.unwrap();
            assert_eq!(String::from_utf8(heard).unwrap(), format!("{bytes}late"));
        }
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.status, ended.outcome, ended.error), (101, Outcome::Answered(MadeBy::Origin), None));
        assert_eq!((ended.method.as_str(), ended.request_bytes, ended.response_bytes), ("GET", 4, 4));
        rig.finish().await;
    });
}

#[test]
fn an_offer_that_is_refused_or_cannot_be_made_is_a_request_like_any_other() {
    run(async {
        for (takes, path, status, text) in [(true, "/refused", 403, ""), (false, "/chat?x", 200, "no")] {
            let rig = Rig::start(&[origin(takes).await], setup());
            let mut client = rig.client().await;
            for _ in 0..2 {
                let response = client.ask(ASK.replace("/chat?x", path)).await;
                assert_eq!((response.status(), response.text()), (status, text));
                assert_eq!(response.field("Upgrade"), None);
            }
            client.fin();
            assert_eq!(client.end().await, End::Fin);
            rig.finish().await;
        }
    });
}

/// A client of HTTP/2, once it knows that it may ask for tunnels.
async fn http2_client(rig: &Rig) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (send, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    send.ready().await.unwrap()
}

fn connect(uri: &str, protocol: Option<&'static str>) -> Request<()> {
    let mut request = Request::builder().method(Method::CONNECT).uri(uri).version(http::Version::HTTP_2);
    if let Some(protocol) = protocol {
        request = request.header("sec-websocket-version", "13").extension(Protocol::from_static(protocol));
    }
    request.body(()).unwrap()
}

/// Asks, and sends what is to be sent; the status, what comes back up to its end, and the cause of a refusal.
async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>, says: &str) -> (u16, String, Option<String>) {
    let (response, mut send) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    let (status, cause) = (response.status().as_u16(), response.headers().get("sheave-error").cloned());
    let cause = cause.map(|cause| cause.to_str().unwrap().split(';').next().unwrap_or_default().to_owned());
    let mut body = response.into_body();
    let mut heard = Vec::new();
    if status == 200 {
        send.send_data(Bytes::copy_from_slice(says.as_bytes()), true).unwrap();
    }
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        heard.extend_from_slice(&data);
    }
    (status, String::from_utf8(heard).unwrap(), cause)
}

/// An origin of HTTP/1 that switches, and sends back what it is sent.
async fn http1_origin() -> Origin {
    Origin::start(async |mut connection: Accepted| {
        let request = connection.must_request().await;
        assert_eq!(request.head.request_line(), ("GET", "/chat?x", "HTTP/1.1"));
        assert_eq!((request.field("Upgrade"), request.field("Connection")), (Some("websocket"), Some("upgrade")));
        assert_eq!((request.field("Host"), request.field("Sec-WebSocket-Version")), (Some("a"), Some("13")));
        let key = request.field("Sec-WebSocket-Key").unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        connection
            .send(format!("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\nhello, "))
            .await;
        loop {
            match connection.wire.take().await {
                Ok(bytes) => connection.send(bytes).await,
                Err(End::Fin) => return connection.wire.fin(),
                Err(End::Reset) => return,
            }
        }
    })
    .await
}

#[test]
fn a_connect_with_a_protocol_becomes_an_upgrade_and_a_101_a_200() {
    run(async {
        let origin = http1_origin().await;
        let mut setup = Setup::default();
        setup.server.connection.http2.allows_extended_connect = true;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = http2_client(&rig).await;
        for _ in 0..2 {
            let (status, heard, _) = ask(&mut client, connect("http://a/chat?x", Some("websocket")), "you").await;
            assert_eq!((status, heard.as_str()), (200, "hello, you"));
        }
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.method.as_str(), ended.status, ended.error), ("CONNECT", 200, None));
        assert_eq!(
            (ended.outcome, ended.request_bytes, ended.response_bytes),
            (Outcome::Answered(MadeBy::Origin), 3, 10)
        );
        // What nobody allowed is not asked for.
        let (status, _, cause) = ask(&mut client, connect("http://a/chat?x", Some("masque")), "").await;
        assert_eq!((status, cause.as_deref()), (501, Some("protocol-not-allowed")));
        assert_eq!(origin.accepted(), 2);
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_connect_with_a_protocol_goes_as_it_is_to_an_origin_of_http2() {
    run(async {
        for (takes, expected) in [(true, (200, "you")), (false, (502, ""))] {
            let mut setup = setup();
            setup.server.connection.http2.allows_extended_connect = true;
            let rig = Rig::start(&[origin(takes).await], setup);
            let mut client = http2_client(&rig).await;
            let (status, heard, _) = ask(&mut client, connect("http://a/chat?x", Some("websocket")), "you").await;
            assert_eq!(status, expected.0);
            assert!(status != 200 || heard == expected.1, "{heard}");
            drop(client);
            rig.finish().await;
        }
    });
}

/// RFC 9113 §8.5
#[test]
fn a_plain_connect_in_a_stream_is_held_to_the_same_list() {
    run(async {
        let there = Origin::start(async |mut connection: Accepted| {
            connection.send("220 hello, ").await;
            while let Ok(bytes) = connection.wire.take().await {
                connection.send(bytes).await;
            }
        })
        .await;
        let mut setup = Setup::default();
        setup.server.connection.http2.allows_extended_connect = true;
        let rule = format!("127.0.0.1:{}", there.address.port());
        setup.proxy.connect = ConnectPolicy::allowing([rule.parse().unwrap()]);
        let rig = Rig::start(&[there.address], setup);
        let mut client = http2_client(&rig).await;
        let (status, heard, _) = ask(&mut client, connect(&rule, None), "you").await;
        assert_eq!((status, heard.as_str()), (200, "220 hello, you"));
        let (status, _, cause) = ask(&mut client, connect("127.0.0.2:1", None), "you").await;
        assert_eq!((status, cause.as_deref()), (403, Some("connect-not-allowed")));
        drop(client);
        rig.finish().await;
    });
}
