//! What handshakes agree on.

use sheave_net::secured::{Alpn, Secured};
use sheave_net::socket::Socket;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ClientCertificates, ServerSettings, ServerTls};
use sheave_net::tls::version::MinVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::{CLIENT, LOCALHOST, OURS};
use crate::rig::{calm, client, client_settings, play, secured, server, server_settings, showing};

/// What both sides say of a connection to `name`, over which a byte has gone each way.
fn agreed(client: &ClientTls, server: &ServerTls, name: &'static str) -> (Secured, Secured) {
    let (client, server) = (client.clone(), server.clone());
    play(&calm(), |net| async move {
        let (mut ours, mut theirs) = secured(&net, &client, &server, name).await;
        ours.write_all(b"a").await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'a');
        theirs.write_all(b"b").await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), b'b');
        (Secured::clone(ours.secured().unwrap()), Secured::clone(theirs.secured().unwrap()))
    })
}

#[test]
fn defaults_are_the_newest_version_and_http_2() {
    let (ours, theirs) = agreed(&client(), &server(), "localhost");
    assert_eq!((ours.version, ours.alpn, ours.is_resumed), ("TLSv1.3", Some(Alpn::Http2), false));
    assert_eq!((theirs.version, theirs.alpn, theirs.is_resumed), ("TLSv1.3", Some(Alpn::Http2), false));
    assert_eq!((ours.cipher, theirs.cipher), ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"));
    assert_eq!(ours.server_name.as_deref(), Some("localhost"));
    assert_eq!(theirs.server_name.as_deref(), Some("localhost"));
    assert_eq!(ours.peer_certificate, Some(LOCALHOST.fingerprint()));
    assert_eq!(theirs.peer_certificate, None);
}

#[test]
fn an_address_is_checked_and_not_asked_for() {
    let (ours, theirs) = agreed(&client(), &server(), "127.0.0.1");
    assert_eq!((ours.server_name, theirs.server_name), (None, None));
}

#[test]
fn alpn_follows_the_server_and_may_come_to_nothing() {
    let both = [Alpn::Http1, Alpn::Http2];
    for (offered, spoken, found) in [
        (&both[..], &both[..], Some(Alpn::Http1)),
        (&[Alpn::Http2], &both, Some(Alpn::Http2)),
        (&[Alpn::Http1], &both, Some(Alpn::Http1)),
        (&[], &both, None),
        (&both, &[], None),
    ] {
        let client = ClientTls::new(&ClientSettings { alpn: offered.to_vec(), ..client_settings() }).unwrap();
        let server = ServerTls::new(&ServerSettings { alpn: spoken.to_vec(), ..server_settings() }).unwrap();
        let (ours, theirs) = agreed(&client, &server, "localhost");
        assert_eq!((ours.alpn, theirs.alpn), (found, found), "{offered:?} {spoken:?}");
    }
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let one = OURS.issue(&["one.test", "*.one.test"]);
    let other = OURS.issue(&["other.test", "deep.one.test"]);
    let server = showing(&[&one, &other]);
    // Whom it is for is not asked here: names that are in neither are to be seen, too.
    let curious = ClientTls::new(&ClientSettings::new(Trust::AnybodyInsecurely)).unwrap();
    for (name, shown) in [
        ("one.test", &one),
        ("ONE.test", &one),
        ("other.test", &other),
        ("a.one.test", &one),
        ("deep.one.test", &other),
        ("a.b.one.test", &one),
        ("third.test", &one),
        ("192.0.2.1", &one),
    ] {
        let (ours, _) = agreed(&curious, &server, name);
        assert_eq!(ours.peer_certificate, Some(shown.fingerprint()), "{name}");
    }
}

#[test]
fn sessions_are_resumed_by_name_and_survive_new_certificates() {
    let (client, server) = (client(), server());
    let resumed = |name| {
        let (ours, theirs) = agreed(&client, &server, name);
        assert_eq!(ours.is_resumed, theirs.is_resumed, "{name}");
        ours.is_resumed
    };
    assert_eq!([resumed("localhost"), resumed("localhost")], [false, true]);
    assert_eq!([resumed("a.example.com"), resumed("a.example.com")], [false, true]);
    let renewed = OURS.issue(&["localhost"]);
    server.replace(&ServerSettings::new(vec![renewed])).unwrap();
    assert!(resumed("localhost"));
}

#[test]
fn sessions_of_clients_with_certificates_end_with_new_rules() {
    let settings = ServerSettings { clients: ClientCertificates::Required(OURS.roots()), ..server_settings() };
    let server = ServerTls::new(&settings).unwrap();
    let client = ClientTls::new(&ClientSettings { identity: Some(CLIENT.clone()), ..client_settings() }).unwrap();
    let resumed = || {
        let (_, theirs) = agreed(&client, &server, "localhost");
        assert_eq!(theirs.peer_certificate, Some(CLIENT.fingerprint()), "known again");
        theirs.is_resumed
    };
    assert_eq!([resumed(), resumed()], [false, true]);
    server.replace(&settings).unwrap();
    assert_eq!([resumed(), resumed()], [false, true]);
}

#[test]
fn certificates_of_clients_may_be_optional() {
    let settings = ServerSettings { clients: ClientCertificates::Optional(OURS.roots()), ..server_settings() };
    let server = ServerTls::new(&settings).unwrap();
    let (_, theirs) = agreed(&client(), &server, "localhost");
    assert_eq!(theirs.peer_certificate, None);
    let client = ClientTls::new(&ClientSettings { identity: Some(CLIENT.clone()), ..client_settings() }).unwrap();
    let (_, theirs) = agreed(&client, &server, "localhost");
    assert_eq!(theirs.peer_certificate, Some(CLIENT.fingerprint()));
}

#[test]
fn a_server_without_a_certificate_and_a_client_without_faith_cannot_be() {
    use sheave_net::tls::certificate::{PemFault, Roots};
    use sheave_net::tls::server::SettingsError;

    assert_eq!(ServerTls::new(&ServerSettings::new(Vec::new())).err(), Some(SettingsError::NoIdentity));
    assert_eq!(Roots::from_pem(b"").err(), Some(PemFault::NoCertificate));
    let newest = ServerSettings { min_version: MinVersion::Tls13, ..server_settings() };
    assert!(ServerTls::new(&newest).is_ok());
}
