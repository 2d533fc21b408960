//! Services behind TLS: what they know of it, on one runtime and on cores.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};

use axum::routing::get;
use axum::{Extension, Router};
use kit::run;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use sheave_net::into_listener::IntoListener;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::certificate::Identity;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::listener::TlsListener;
use sheave_net::tls::name::PeerName;
use sheave_net::tls::server::{ServerSettings, ServerTls};
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::server::Server;
use sheave_tower::handler::ServiceHandler;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn app() -> Router {
    Router::new().route(
        "/",
        get(async |Extension(info): Extension<ConnectionInfo>| {
            let secured = info.secured.unwrap();
            format!("{} {:?} {:?}", secured.version, secured.alpn, secured.server_name)
        }),
    )
}

fn tls() -> ServerTls {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["example.test".to_owned()]).unwrap();
    let identity = Identity::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    ServerTls::new(&ServerSettings::new(vec![identity])).unwrap()
}

async fn ask(address: SocketAddr) -> String {
    let settings = ClientSettings { alpn: vec![Alpn::Http1], ..ClientSettings::new(Trust::AnybodyInsecurely) };
    let stream = TcpStream::connect(address).await.unwrap();
    let name: PeerName = "example.test".parse().unwrap();
    let mut client = ClientTls::new(&settings).unwrap().connect(stream, &name);
    poll_fn(|cx| client.poll_handshake(cx)).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n").await.unwrap();
    client.flush().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

const EXPECTED: &str = "TLSv1.3 Some(Http1) Some(\"example.test\")";

#[test]
fn a_service_knows_what_tls_agreed_on() {
    run(async {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TlsListener::new(listener.into_listener().unwrap(), Some(tls()));
        let server = Server::builder().build(ServiceHandler::new(app())).unwrap();
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        assert_eq!(ask(address).await, EXPECTED);
        server.drain().await;
        assert_eq!(serving.await.unwrap().lost, 0);
    });
}

#[test]
fn on_cores_too() {
    run(async {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().build(ServiceHandler::new(app())).unwrap();
        let tls = tls();
        let serving = tokio::spawn({
            let server = server.clone();
            let layer = move |listener| TlsListener::new(listener, Some(tls.clone()));
            async move { server.serve_on_cores_through(2, [listener], layer).await }
        });
        for _ in 0..3 {
            assert_eq!(ask(address).await, EXPECTED);
        }
        server.drain().await;
        assert_eq!(serving.await.unwrap().unwrap().lost, 0);
    });
}
