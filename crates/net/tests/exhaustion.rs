//! What happens when the process may open no more files. Alone in its process, whose limit it lowers.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_lifecycle::time::Time;
use sheave_net::accept_backoff::{AcceptBackoff, AcceptNext};
use sheave_net::dial::{DialPlan, dial};
use sheave_net::listen::Listener;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};

/// Opens files until there is no room for one more.
fn fill() -> (Vec<File>, io::Error) {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => return (files, error),
        }
    }
}

#[tokio::test]
async fn without_descriptors_clients_wait_in_the_backlog_and_dialing_blames_this_machine() {
    let mut acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
    let address = acceptor.local_addr().unwrap();
    let clients: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let clients: Vec<SocketAddr> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    let (mut files, error) = fill();
    assert_eq!(Errno::of(&error), Errno::EMFILE);

    // The error comes again at once, as often as it is asked for: an accept loop without a pause would spin.
    let exhausted = IoFault { op: Op::Accept, errno: Errno::EMFILE };
    let mut backoff = AcceptBackoff::default();
    for pause in [5_000, 10_000, 20_000] {
        let fault = poll_fn(|cx| acceptor.poll_accept(cx)).await.err();
        assert_eq!(fault, Some(exhausted));
        assert_eq!(backoff.failed(exhausted, Time::ZERO), AcceptNext::At(Time::from_micros(pause)));
    }
    assert_eq!(acceptor.accept_now().err(), Some(exhausted), "and does not mean that the backlog is empty");

    let error = dial(&TcpConnector::default(), &[address.into()], &DialPlan::default()).await.err().unwrap();
    assert!(error.is_local_exhaustion());
    assert_eq!(error.reason(), CloseReason::Local(IoFault { op: Op::Connect, errno: Errno::EMFILE }));

    // With room again, nobody was lost.
    files.truncate(files.len() - 2);
    let first = poll_fn(|cx| acceptor.poll_accept(cx)).await.unwrap();
    backoff.accepted();
    let second = acceptor.accept_now().unwrap().unwrap();
    let mut accepted = [first.peer.unwrap(), second.peer.unwrap()];
    accepted.sort_by_key(|peer| clients.iter().position(|client| client == peer));
    assert_eq!(accepted[..], clients[..]);

    // The descriptor comes first: without one, the kernel does not even look whether somebody waits.
    assert_eq!(acceptor.accept_now().err(), Some(exhausted));
    files.pop();
    assert!(acceptor.accept_now().unwrap().is_none());
}
