//! Tunnels to an origin that speaks HTTP/2: what an Upgrade is in its words, and back. RFC 8441

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use http::{Method, Request, Response};
use kit::message::Framing;
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_net::endpoint::{Manner, Protocols};
use tokio::net::TcpListener;

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
