//! A PROXY header whose connection breaks at every byte of it: what the handshake comes to.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_net::dial::Connect;
use sheave_net::endpoint::ProxyHeader;
use sheave_net::handshake::HandshakeError;
use sheave_net::proxy_protocol::header::Header;
use sheave_net::proxy_protocol::receive::Announced;
use sheave_net::proxy_protocol::write::write;
use sheave_net::socket::Socket;
use sheave_sim::fault::{Action, Fault, Trigger, Way, WireName};
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// What a handshake comes to: the addresses that hold from then on, and the first byte behind the header.
type Came = Result<(Option<SocketAddr>, Option<SocketAddr>, u8), HandshakeError>;

fn header() -> Header {
    Header::Proxied { source: "192.0.2.1:1234".parse().unwrap(), destination: "192.0.2.2:443".parse().unwrap() }
}

/// A client that sends a header and a byte behind it, as the plan lets it; `None` where the handshake did not end in a minute.
fn shake(plan: &Plan, version: ProxyHeader) -> Option<Came> {
    let came = Arc::new(Mutex::new(None));
    let told = came.clone();
    let record = run(plan, |net| async move {
        let mut listener = net.listen(FRONT);
        let client = tokio::spawn({
            let net = net.clone();
            async move {
                let mut client = net.client().connect(&FRONT.into()).await.unwrap();
                let mut bytes = write(version, &header());
                bytes.push(b'G');
                // A fault may have closed it.
                let _ = client.write_all(&bytes).await;
                let _ = client.read_u8().await;
            }
        });
        let mut socket = Announced::awaiting(listener.accept().await);
        let shaken = tokio::time::timeout(Duration::from_secs(60), poll_fn(|cx| socket.poll_handshake(cx))).await;
        let came = match shaken {
            Ok(Ok(())) => Some(Ok((socket.peer(), socket.local(), socket.read_u8().await.unwrap_or_default()))),
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => None,
        };
        *told.lock().unwrap_or_else(PoisonError::into_inner) = came;
        drop(socket);
        client.abort();
        let _ = client.await;
    });
    assert_eq!((record.ended, &record.broken), (Ended::Completed, &Vec::new()), "{plan}\n{}", record.trace);
    assert_eq!((record.sockets_left, record.tasks_left), (0, 0), "{plan}");
    came.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn calm() -> Plan {
    Plan::calm("proxy-header")
}

fn at(offset: usize, action: Action) -> Fault {
    Fault { trigger: Trigger::Bytes { wire: WireName::client(1), way: Way::In, offset }, action }
}

fn whole(came: Option<&Came>) -> bool {
    let ends = (Some("192.0.2.1:1234".parse().unwrap()), Some("192.0.2.2:443".parse().unwrap()), b'G');
    came == Some(&Ok(ends))
}

#[test]
fn pieces_pauses_and_a_late_reactor_change_nothing() {
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let len = write(version, &header()).len();
        assert!(whole(shake(&calm(), version).as_ref()));
        for offset in 0..=len {
            for action in [Action::Split(7), Action::Drip(3)] {
                let plan = calm().with(at(offset, action));
                assert!(whole(shake(&plan, version).as_ref()), "{plan}");
            }
        }
        for seed in 1..40 {
            let mut plan = Plan { seed, spurious: 3, lag: 2, interval: 61, ..calm() };
            plan.buffers.receive_bytes = usize::try_from(seed).unwrap();
            plan.buffers.send_bytes = 2;
            assert!(whole(shake(&plan, version).as_ref()), "{plan}");
        }
    }
}

#[test]
fn an_end_at_every_byte_is_told_by_what_it_was() {
    let reset = HandshakeError::Io(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
    let cut_off = HandshakeError::ProxyHeader("proxy-header-cut-off");
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let len = write(version, &header()).len();
        for offset in 0..len {
            for (action, expected) in [
                (Action::Rst(1), &reset),
                (Action::Fin(1), if offset == 0 { &HandshakeError::Closed } else { &cut_off }),
            ] {
                // The rest of the header is far away when the end comes.
                let mut plan = calm().with(at(offset, Action::Split(1000)));
                plan.faults.push(at(offset, action));
                assert_eq!(shake(&plan, version), Some(Err(expected.clone())), "{plan}");
            }
            let plan = calm().with(at(offset, Action::Stall));
            assert_eq!(shake(&plan, version), None, "whoever waits says how long: {plan}");
        }
    }
}
