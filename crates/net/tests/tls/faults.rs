//! A conversation that breaks at every byte of it: never a panic, a hang, or a part that is taken for the whole.

use sheave_lifecycle::errno::Errno;
use sheave_net::handshake::HandshakeError;
use sheave_net::socket::Socket;
use sheave_sim::fault::{Action, Fault, Trigger, Way, WireName};
use sheave_sim::plan::Plan;
use sheave_sim::run::Ended;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{Secured, calm, client, connected, play_on, server, shake};

const QUESTION: usize = 300;
const ANSWER: usize = 900;

/// What one side saw of the conversation.
#[derive(Clone, PartialEq, Debug)]
enum Saw {
    /// All of it, and an end that was announced.
    All,
    /// No handshake.
    Unshaken(&'static str),
    /// An error.
    Error(Errno),
    /// An end that anybody may have made.
    CutOff,
    /// An end that was announced, and less than all: the lie that must not be.
    Short(usize),
}

async fn read_all(socket: &mut Secured, expected: usize) -> Saw {
    let mut read = Vec::new();
    match socket.read_to_end(&mut read).await {
        Err(error) => Saw::Error(Errno::of(&error)),
        Ok(_) if socket.is_cut_off() => Saw::CutOff,
        Ok(_) if read.len() < expected => Saw::Short(read.len()),
        Ok(_) => Saw::All,
    }
}

/// A question that ends, and an answer that ends. `None` for the side that never came to its end.
fn converse(plan: &Plan) -> (Option<(Saw, Saw)>, Ended) {
    let (saw, record) = play_on(plan, |net| async move {
        let (mut ours, mut theirs) = connected(&net, &client(), &server(), "localhost").await;
        let asking = async move {
            if let Err(error) = shake(&mut ours).await {
                let _ = ours.flush().await;
                return Saw::Unshaken(error.label());
            }
            let _ = ours.write_all(&[b'q'; QUESTION]).await;
            let _ = ours.shutdown().await;
            read_all(&mut ours, ANSWER).await
        };
        let answering = async move {
            if let Err(error) = shake(&mut theirs).await {
                let _ = theirs.flush().await;
                return Saw::Unshaken(error.label());
            }
            let saw = read_all(&mut theirs, QUESTION).await;
            if saw != Saw::All {
                // Whoever has not got the question whole does not answer as if it had.
                theirs.set_abortive_close();
                return saw;
            }
            let _ = theirs.write_all(&[b'a'; ANSWER]).await;
            let _ = theirs.shutdown().await;
            saw
        };
        tokio::join!(asking, answering)
    });
    (saw, record.ended)
}

fn at(way: Way, offset: usize, action: Action) -> Fault {
    Fault { trigger: Trigger::Bytes { wire: WireName::client(1), way, offset }, action }
}

/// How many bytes go each way, roughly: signatures vary in length by a few bytes.
fn lengths() -> [(Way, usize); 2] {
    [(Way::In, 2_200), (Way::Out, 3_800)]
}

#[test]
fn it_is_whole_however_it_is_cut_into_pieces() {
    assert_eq!(converse(&calm()), (Some((Saw::All, Saw::All)), Ended::Completed));
    for (way, len) in lengths() {
        for offset in 0..len {
            let plan = calm().with(at(way, offset, Action::Split(3)));
            assert_eq!(converse(&plan).0, Some((Saw::All, Saw::All)), "{plan}");
        }
        let plan = calm().with(at(way, 0, Action::Drip(1)));
        assert_eq!(converse(&plan).0, Some((Saw::All, Saw::All)), "{plan}");
    }
}

#[test]
fn it_is_whole_with_little_room_and_a_late_reactor() {
    for seed in 1..60 {
        let mut plan = Plan { seed, spurious: 3, lag: 2, interval: 61, ..calm() };
        let seed = usize::try_from(seed).unwrap();
        (plan.buffers.send_bytes, plan.buffers.receive_bytes) = (1 + seed * 7, 1 + seed * 13);
        assert_eq!(converse(&plan).0, Some((Saw::All, Saw::All)), "{plan}");
    }
}

#[test]
fn an_end_or_a_reset_anywhere_is_never_taken_for_the_whole() {
    for (way, len) in lengths() {
        for offset in 0..len {
            for action in [Action::Rst(1), Action::Fin(1), Action::HalfClose(1)] {
                let mut plan = calm().with(at(way, offset, Action::Split(1000)));
                plan.faults.push(at(way, offset, action));
                let (saw, ended) = converse(&plan);
                let Some((ours, theirs)) = saw else { panic!("{plan}: {ended:?}") };
                for saw in [&ours, &theirs] {
                    assert!(!matches!(saw, Saw::Short(_)), "{plan}: {ours:?} {theirs:?}");
                    if let Saw::Unshaken(label) = saw {
                        let io = HandshakeError::Closed.label();
                        assert!(
                            [io, "peer-reset", "local-error"].contains(label) || label.starts_with("peer-alert-"),
                            "{plan}: {ours:?} {theirs:?}"
                        );
                    }
                }
            }
        }
    }
}
