//! Our sockets against rustls' own way to drive a connection, with what settings of ours cannot be: TLS 1.2 alone, and
//! clients that keep sessions in one way only.

use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sheave_net::socket::Socket;
use sheave_net::tls::server::{ServerSettings, ServerTls};
use sheave_net::tls::version::MinVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::authority::OURS;
use crate::rig::{server, server_settings, shake};

fn reference(versions: &[&'static SupportedProtocolVersion], resumption: Resumption) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(OURS.pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config)
}

/// What the client agreed on, and what the server says of it, after content went both ways and both said so.
type Came = (Option<ProtocolVersion>, Option<HandshakeKind>, sheave_net::secured::Secured);

async fn converse(config: Arc<ClientConfig>, server: &ServerTls) -> Result<Came, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::task::spawn_blocking(move || {
        let mut socket = BlockingStream::connect(address).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        stream.write_all(&vec![b'q'; 100_000]).map_err(|error| error.to_string())?;
        stream.conn.send_close_notify();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
        assert_eq!(answer.len(), 70_000);
        Ok::<_, String>((connection.protocol_version(), connection.handshake_kind()))
    });
    let mut socket = server.accept(listener.accept().await.unwrap().0);
    let serve = async {
        shake(&mut socket).await?;
        let mut question = Vec::new();
        socket.read_to_end(&mut question).await.unwrap();
        assert_eq!((question.len(), socket.is_cut_off()), (100_000, false));
        socket.write_all(&vec![b'a'; 70_000]).await.unwrap();
        socket.shutdown().await.unwrap();
        Ok::<_, sheave_net::handshake::HandshakeError>(())
    };
    let served = serve.await;
    let _ = socket.flush().await;
    let secured = socket.secured().map(|secured| sheave_net::secured::Secured::clone(secured));
    drop(socket);
    let client = client.await.unwrap();
    served.map_err(|error| error.label().to_owned())?;
    let (version, kind) = client?;
    Ok((version, kind, secured.unwrap()))
}

#[tokio::test]
async fn both_versions_and_both_ways_to_keep_a_session() {
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let sessions = || Resumption::in_memory_sessions(8);
    for (version, resumption, expected) in [
        (tls13, sessions(), "TLSv1.3"),
        (tls12, sessions().tls12_resumption(Tls12Resumption::SessionIdOrTickets), "TLSv1.2"),
        (tls12, sessions().tls12_resumption(Tls12Resumption::SessionIdOnly), "TLSv1.2"),
    ] {
        let (config, server) = (reference(&[version], resumption), server());
        for is_resumed in [false, true, true] {
            let (spoken, kind, secured) = converse(config.clone(), &server).await.unwrap();
            assert_eq!(spoken, Some(version.version));
            assert_eq!(kind == Some(HandshakeKind::Resumed), is_resumed, "{expected}");
            assert_eq!((secured.version, secured.is_resumed), (expected, is_resumed));
            assert_eq!((secured.alpn, secured.server_name.as_deref()), (None, Some("localhost")));
        }
    }
}

#[tokio::test]
async fn the_oldest_version_may_be_the_newest() {
    let newest = ServerSettings { min_version: MinVersion::Tls13, ..server_settings() };
    let server = ServerTls::new(&newest).unwrap();
    let config = reference(&[&rustls::version::TLS12], Resumption::disabled());
    assert_eq!(converse(config, &server).await.err().as_deref(), Some("no-common-protocol-version"));
    let config = reference(&[&rustls::version::TLS13], Resumption::disabled());
    assert_eq!(converse(config, &server).await.map(|(version, ..)| version), Ok(Some(ProtocolVersion::TLSv1_3)));
}
