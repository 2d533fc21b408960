//! Connections on which nothing is expected: what they own, and what is asked of them.

use std::io;

use sheave_net::socket::{Liveness, Socket};
use sheave_net::tls::stream::Stream;
use sheave_sim::plan::Plan;
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{Secured, calm, client, play, secured, server};

/// Once what is under way has arrived.
async fn settled() {
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
}

/// A client that has not read since its handshake: the server's session tickets lie in the kernel.
#[test]
fn tickets_are_taken_in_by_the_check() {
    let is_resumed = play(&calm(), |net| async move {
        let (client, server) = (client(), server());
        let (mut ours, theirs) = secured(&net, &client, &server, "localhost").await;
        settled().await;
        assert_eq!(ours.inner().peek_now().map(|len| len > 0), Ok(true), "there are tickets");
        assert_eq!(ours.probe(), Liveness::Alive);
        assert!(ours.inner().peek_now().is_err(), "they are taken in");
        assert_eq!(ours.buffer_bytes(), 0);
        drop((ours, theirs));
        // They are good for the next connection.
        let (ours, _theirs) = secured(&net, &client, &server, "localhost").await;
        ours.secured().unwrap().is_resumed
    });
    assert!(is_resumed);
}

#[test]
fn the_check_tells_content_a_close_and_a_reset_apart() {
    for (event, expected) in [
        ("nothing", "Alive"),
        ("content", "Unasked"),
        ("close", "Closed"),
        ("fin", "Closed"),
        ("reset", "Failed(ECONNRESET in read)"),
        ("garbage", "Failed(EBADMSG in read)"),
        ("part of a record", "Alive"),
    ] {
        let found = play(&calm(), |net| async move {
            let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
            match event {
                "content" => theirs.write_all(b"unasked").await.unwrap(),
                "close" => theirs.shutdown_write().unwrap(),
                "fin" => theirs.inner().shutdown_now().unwrap(),
                "reset" => theirs.set_abortive_close(),
                "garbage" => {
                    theirs.inner().write_now(&[io::IoSlice::new(b"HTTP/1.1 408 Request Timeout\r\n\r\n")]).unwrap();
                }
                "part of a record" => {
                    theirs.inner().write_now(&[io::IoSlice::new(&[23, 3, 3, 0, 50, 1, 2])]).unwrap();
                }
                _ => {}
            }
            if event == "reset" {
                drop(theirs);
                settled().await;
                return (ours.probe(), ours.probe());
            }
            settled().await;
            (ours.probe(), ours.probe())
        });
        let spoken = |liveness| match liveness {
            Liveness::Failed(fault) => format!("Failed({fault})"),
            other => format!("{other:?}"),
        };
        assert_eq!(spoken(found.0), expected, "{event}");
        // A reset is told once, by the kernel; all else is known for good.
        if event != "reset" {
            assert_eq!(spoken(found.1), expected, "{event}, again");
        }
    }
}

/// All that a connection owns beside rustls is its place; a buffer only while there is something in it.
#[test]
fn an_idle_connection_owns_no_buffer() {
    let mut plan = Plan { seed: 3, spurious: 3, ..calm() };
    (plan.buffers.send_bytes, plan.buffers.receive_bytes) = (700, 700);
    play(&plan, |net| async move {
        let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
        for _ in 0..3 {
            let request = async {
                ours.write_all(&[b'q'; 5_000]).await.unwrap();
                ours.flush().await.unwrap();
                ours.read_exact(&mut vec![0; 40_000]).await.unwrap();
            };
            let response = async {
                theirs.read_exact(&mut [0; 5_000]).await.unwrap();
                theirs.write_all(&[b'a'; 40_000]).await.unwrap();
                theirs.flush().await.unwrap();
            };
            tokio::join!(request, response);
            assert_eq!((ours.probe(), theirs.probe()), (Liveness::Alive, Liveness::Alive));
            assert_eq!((ours.buffer_bytes(), theirs.buffer_bytes()), (0, 0));
        }
    });
}

#[test]
fn what_a_connection_weighs() {
    // rustls' state in place, and a few words of ours; what else rustls keeps on the heap is said where it is measured.
    assert!(size_of::<Secured>() <= 2_048, "{}", size_of::<Secured>());
    // Who has no TLS pays a word.
    assert!(size_of::<Stream<SimSocket>>() <= size_of::<SimSocket>() + 8);
}
