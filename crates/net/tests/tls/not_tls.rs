//! Plain text where TLS was expected, on both sides.

use sheave_net::dial::Connect;
use sheave_net::handshake::HandshakeError;
use sheave_net::socket::Socket;
use sheave_sim::fault::{Action, Fault, Trigger, Way, WireName};
use sheave_sim::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{FRONT, calm, client, play, server, shake};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// What a client in the clear reads from a TLS port, and what the server calls it.
fn told(plan: &Plan, says: &'static [u8]) -> (Vec<u8>, Result<(), HandshakeError>) {
    play(plan, |net| async move {
        let mut listener = net.listen(FRONT);
        let opener = net.client();
        let endpoint = FRONT.into();
        let (opened, accepted) = tokio::join!(opener.connect(&endpoint), listener.accept());
        let mut opened = opened.unwrap();
        let mut accepted = server().accept(accepted);
        let server = async {
            let shaken = shake(&mut accepted).await;
            let _ = accepted.flush().await;
            let _ = accepted.shutdown_write();
            assert_eq!(accepted.read(&mut [0; 100]).await.unwrap(), 0);
            shaken
        };
        let client = async {
            opened.write_all(says).await.unwrap();
            let mut read = Vec::new();
            opened.read_to_end(&mut read).await.unwrap();
            drop(opened);
            read
        };
        let (shaken, read) = tokio::join!(server, client);
        (read, shaken)
    })
}

#[test]
fn plain_http_to_a_tls_port_is_answered_however_it_is_cut() {
    for offset in 0..REQUEST.len() {
        let trigger = Trigger::Bytes { wire: WireName::client(1), way: Way::In, offset };
        let plan = calm().with(Fault { trigger, action: Action::Split(5) });
        let (read, shaken) = told(&plan, REQUEST);
        let text = String::from_utf8(read).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{plan}: {text}");
        assert!(text.contains("\r\nConnection: close\r\n") && text.contains("http-to-tls-port"), "{plan}: {text}");
        assert_eq!(shaken.unwrap_err().label(), "http-to-tls-port", "{plan}");
    }
}

#[test]
fn other_text_is_no_tls_either() {
    for says in [&b"SSH-2.0-OpenSSH_9\r\n"[..], b"\0\0\0\0\0\0\0\0\0\0", b"hello there, whoever"] {
        let (read, shaken) = told(&calm(), says);
        assert_eq!(shaken.unwrap_err().label(), "not-tls", "{}", String::from_utf8_lossy(says));
        // An alert, in the clear: the last one of RFC 8446 §6.
        assert_eq!(read.first(), Some(&21), "{read:?}");
    }
}

/// An origin that speaks plain HTTP, called as if it spoke TLS.
#[test]
fn a_plain_origin_is_called_what_it_is() {
    let error = play(&calm(), |net| async move {
        let mut listener = net.listen(FRONT);
        let opener = net.client();
        let endpoint = FRONT.into();
        let (opened, accepted) = tokio::join!(opener.connect(&endpoint), listener.accept());
        let mut ours = client().connect(opened.unwrap(), &"localhost".parse().unwrap());
        let mut origin = accepted;
        let plain = async {
            let mut greeting = [0; 8];
            origin.read_exact(&mut greeting).await.unwrap();
            origin.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
            while origin.read(&mut [0; 1000]).await.is_ok_and(|len| len > 0) {}
        };
        let shaken = async {
            let shaken = shake(&mut ours).await;
            drop(ours);
            shaken
        };
        tokio::join!(shaken, plain).0.unwrap_err()
    });
    let HandshakeError::Tls { label: "not-tls", detail } = error else { panic!("{error:?}") };
    assert!(detail.contains("http://"), "{detail}");
}
