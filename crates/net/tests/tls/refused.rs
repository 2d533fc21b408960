//! Handshakes that fail, and what both sides call it.

use sheave_lifecycle::close::CloseReason;
use sheave_net::handshake::HandshakeError;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ClientCertificates, ServerSettings, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::{CLIENT, OURS, THEIRS};
use crate::rig::{calm, client, client_settings, connected, play, server, server_settings, shake, showing};

type Came = (Result<(), HandshakeError>, Result<(), HandshakeError>);

/// What the client says of the handshake, and what the server does.
fn came(client: &ClientTls, server: &ServerTls, name: &'static str) -> Came {
    let (client, server) = (client.clone(), server.clone());
    play(&calm(), |net| async move {
        let (mut ours, mut theirs) = connected(&net, &client, &server, name).await;
        tokio::join!(shake(&mut ours), shake(&mut theirs))
    })
}

fn label(came: &Result<(), HandshakeError>) -> &'static str {
    came.as_ref().err().map_or("fine", HandshakeError::label)
}

#[test]
fn certificates_that_are_not_believed() {
    for (identity, ours, theirs, detail) in [
        (OURS.issue_for(&["localhost"], 2000..2020), "certificate-expired", "peer-alert-certificate-expired", "ago"),
        (
            OURS.issue_for(&["localhost"], 2090..2100),
            "certificate-not-yet-valid",
            "peer-alert-certificate-expired",
            "in",
        ),
        (THEIRS.issue(&["localhost"]), "unknown-issuer", "peer-alert-unknown-ca", "issuer"),
        (
            OURS.issue(&["one.test", "*.two.test"]),
            "name-mismatch",
            "peer-alert-bad-certificate",
            "the certificate is for one.test, *.two.test, not for localhost",
        ),
    ] {
        let (client, server) = came(&client(), &showing(&[&identity]), "localhost");
        assert_eq!((label(&client), label(&server)), (ours, theirs), "{client:?} {server:?}");
        let Err(HandshakeError::Tls { detail: told, .. }) = &client else { panic!("{client:?}") };
        assert!(told.contains(detail), "{told}");
        assert_eq!(client.unwrap_err().close_reason(), CloseReason::Handshake(ours));
    }
}

#[test]
fn an_address_that_is_not_in_the_certificate() {
    let (client, _) = came(&client(), &server(), "192.0.2.1");
    let Err(HandshakeError::Tls { label: "name-mismatch", detail }) = client else { panic!("{client:?}") };
    assert_eq!(detail, "the certificate is for localhost, *.example.com, 127.0.0.1, not for 192.0.2.1");
}

#[test]
fn insecurely_all_are_believed() {
    let anybody = ClientTls::new(&ClientSettings::new(Trust::AnybodyInsecurely)).unwrap();
    for identity in [THEIRS.issue(&["localhost"]), OURS.issue_for(&["one.test"], 2000..2020)] {
        assert_eq!(came(&anybody, &showing(&[&identity]), "localhost"), (Ok(()), Ok(())));
    }
}

#[test]
fn no_protocol_in_common() {
    let client = ClientTls::new(&ClientSettings { alpn: vec![Alpn::Http1], ..client_settings() }).unwrap();
    let server = ServerTls::new(&ServerSettings { alpn: vec![Alpn::Http2], ..server_settings() }).unwrap();
    let (client, server) = came(&client, &server, "localhost");
    assert_eq!((label(&client), label(&server)), ("peer-alert-no-application-protocol", "alpn-mismatch"));
}

/// A client of TLS 1.3 learns that it was refused only when it reads.
#[test]
fn clients_without_the_certificate_that_is_required() {
    let required = ServerSettings { clients: ClientCertificates::Required(OURS.roots()), ..server_settings() };
    let stranger = THEIRS.issue(&["a-client"]);
    for (identity, theirs, ours) in [
        (None, "client-certificate-required", "peer-alert-certificate-required"),
        (Some(stranger), "unknown-issuer", "peer-alert-unknown-ca"),
        (Some(CLIENT.clone()), "fine", "fine"),
    ] {
        let client = ClientTls::new(&ClientSettings { identity, ..client_settings() }).unwrap();
        let server = ServerTls::new(&required).unwrap();
        let (server, told) = play(&calm(), |net| async move {
            let (mut ours, mut theirs) = connected(&net, &client, &server, "localhost").await;
            let (client, server) = tokio::join!(shake(&mut ours), shake(&mut theirs));
            client.unwrap();
            let _ = theirs.write_all(b"x").await;
            let _ = theirs.flush().await;
            let read = ours.read_u8().await;
            assert_eq!(read.is_ok(), server.is_ok(), "{read:?}");
            (server, ours.failure().cloned())
        });
        assert_eq!(label(&server), theirs, "{server:?}");
        assert_eq!(told.as_ref().map_or("fine", HandshakeError::label), ours);
    }
}

/// What is refused can be read by the peer, also when it has sent more meanwhile: nothing is reset before that.
#[test]
fn the_alert_is_read_before_the_close() {
    let (told, is_reset) = play(&calm(), |net| async move {
        let required = ServerSettings { clients: ClientCertificates::Required(OURS.roots()), ..server_settings() };
        let (mut ours, mut theirs) = connected(&net, &client(), &ServerTls::new(&required).unwrap(), "localhost").await;
        let server = async {
            let error = shake(&mut theirs).await.unwrap_err();
            theirs.flush().await.unwrap();
            theirs.shutdown_write().unwrap();
            // Who was told why reads nothing more, and that only when the client has gone.
            assert_eq!(theirs.read(&mut [0; 10]).await.unwrap(), 0);
            error
        };
        let client = async {
            shake(&mut ours).await.unwrap();
            // More than the server reads in its handshake.
            for _ in 0..10 {
                let _ = ours.write_all(&[b'x'; 1000]).await;
            }
            let error = ours.read_u8().await.unwrap_err();
            let told = ours.failure().map(HandshakeError::label);
            let _ = ours.shutdown_write();
            drop(ours);
            (told, error.kind() == std::io::ErrorKind::ConnectionReset)
        };
        let (error, came) = tokio::join!(server, client);
        assert_eq!(error.label(), "client-certificate-required");
        came
    });
    assert_eq!((told, is_reset), (Some("peer-alert-certificate-required"), false));
}
