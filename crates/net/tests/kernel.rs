//! What Linux really does, on real loopback sockets: the facts that the project relies on, one test each.
//!
//! The simulated network follows these tests: it may do nothing that they do not show. Where a test waits, it waits for
//! an event (`poll`), never for a time.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use sheave_lifecycle::errno::Errno;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// What a call gave: how many bytes, or which errno.
type Outcome = Result<usize, Errno>;

fn outcome(result: io::Result<usize>) -> Outcome {
    result.map_err(|error| Errno::of(&error))
}

fn done(result: io::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| Errno::of(&error))
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn connect(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().unwrap()).unwrap()
}

/// Two ends of one connection: ours, which the tests look at, and the peer's. None of them blocks.
fn pair() -> (TcpStream, TcpStream) {
    let listener = listen();
    let peer = connect(&listener);
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    (ours, peer)
}

/// Waits until the kernel reports one of `events`, or an error or hang-up, which it always reports. Takes nothing away.
fn wait(socket: &impl AsFd, events: PollFlags) -> PollFlags {
    let mut waiting = [PollFd::new(socket, events)];
    poll(&mut waiting, None).unwrap();
    waiting[0].revents()
}

fn wait_readable(socket: &impl AsFd) {
    wait(socket, PollFlags::IN);
}

fn wait_fin(socket: &impl AsFd) {
    assert!(wait(socket, PollFlags::RDHUP).contains(PollFlags::RDHUP));
}

/// Waits for an RST: both directions are over.
fn wait_reset(socket: &impl AsFd) {
    assert!(wait(socket, PollFlags::empty()).contains(PollFlags::HUP));
}

/// Closes with RST.
fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

fn read(mut socket: &TcpStream) -> Outcome {
    outcome(socket.read(&mut [0; 64]))
}

fn peek(socket: &TcpStream) -> Outcome {
    outcome(socket.peek(&mut [0; 64]))
}

fn write(mut socket: &TcpStream) -> Outcome {
    outcome(socket.write(b"1234"))
}

fn writev(mut socket: &TcpStream) -> Outcome {
    outcome(socket.write_vectored(&[IoSlice::new(b"12"), IoSlice::new(b"34")]))
}

// ---- nothing happened ----------------------------------------------------------------------------------------------

#[test]
fn a_quiet_connection_gives_eagain_to_read_and_peek() {
    let (ours, _peer) = pair();
    assert_eq!(read(&ours), Err(Errno::EAGAIN));
    assert_eq!(peek(&ours), Err(Errno::EAGAIN));
}

#[test]
fn a_peek_takes_no_byte_away() {
    let (ours, peer) = pair();
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    assert_eq!((peek(&ours), peek(&ours), read(&ours), read(&ours)), (Ok(4), Ok(4), Ok(4), Err(Errno::EAGAIN)));
}

#[test]
fn a_write_is_partial_and_then_eagain_when_the_buffers_are_full() {
    let (mut ours, _peer) = pair();
    let block = vec![0; 64 * 1024];
    let mut last = Ok(0);
    let mut is_partial = false;
    while let Ok(written) = last {
        is_partial |= written != 0 && written < block.len();
        last = outcome(ours.write(&block));
    }
    assert_eq!(last, Err(Errno::EAGAIN));
    assert!(is_partial);
}

// ---- the peer's FIN ------------------------------------------------------------------------------------------------

#[test]
fn after_fin_read_and_peek_give_zero_for_ever() {
    let (ours, peer) = pair();
    drop(peer);
    wait_fin(&ours);
    assert_eq!((peek(&ours), read(&ours), read(&ours), peek(&ours)), (Ok(0), Ok(0), Ok(0), Ok(0)));
}

#[test]
fn bytes_before_a_fin_are_read_first() {
    let (ours, peer) = pair();
    assert_eq!(write(&peer), Ok(4));
    drop(peer);
    wait_fin(&ours);
    assert_eq!((peek(&ours), read(&ours), read(&ours)), (Ok(4), Ok(4), Ok(0)));
}

#[test]
fn after_a_half_close_the_other_direction_goes_on() {
    let (ours, peer) = pair();
    peer.shutdown(Shutdown::Write).unwrap();
    wait_fin(&ours);
    assert_eq!(read(&ours), Ok(0));
    assert_eq!(write(&ours), Ok(4));
    wait_readable(&peer);
    assert_eq!(read(&peer), Ok(4));
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Ok(()));
    wait_fin(&peer);
    assert_eq!(read(&peer), Ok(0));
}

/// The reuse race: a request that is written after the peer closed is taken by the kernel and answered by RST.
#[test]
fn a_write_after_the_peers_close_succeeds_and_brings_an_rst() {
    let (ours, peer) = pair();
    drop(peer);
    wait_fin(&ours);
    assert_eq!(write(&ours), Ok(4));
    wait_reset(&ours);
    assert_eq!(peek(&ours), Ok(0), "the FIN hides the RST from readers");
    assert_eq!(read(&ours), Ok(0));
    assert_eq!((write(&ours), write(&ours)), (Err(Errno::EPIPE), Err(Errno::EPIPE)));
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Err(Errno::ENOTCONN));
}

// ---- the peer's RST ------------------------------------------------------------------------------------------------

#[test]
fn after_rst_the_first_read_gives_econnreset_and_the_next_zero() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!((read(&ours), read(&ours)), (Err(Errno::ECONNRESET), Ok(0)));
}

#[test]
fn a_peek_takes_the_rst_away() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!((peek(&ours), peek(&ours), read(&ours)), (Err(Errno::ECONNRESET), Ok(0), Ok(0)));
}

#[test]
fn asking_for_the_socket_error_takes_the_rst_away() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    let error = ours.take_error().unwrap().map(|error| Errno::of(&error));
    assert_eq!(error, Some(Errno::ECONNRESET));
    assert!(ours.take_error().unwrap().is_none());
    assert_eq!(read(&ours), Ok(0));
}

#[test]
fn after_rst_the_first_write_gives_econnreset_and_the_next_epipe() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!((write(&ours), write(&ours)), (Err(Errno::ECONNRESET), Err(Errno::EPIPE)));
}

#[test]
fn a_vectored_write_fails_as_a_plain_one() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!((writev(&ours), writev(&ours)), (Err(Errno::ECONNRESET), Err(Errno::EPIPE)));
}

#[test]
fn after_an_rst_that_a_read_has_seen_a_write_gives_epipe() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!((read(&ours), write(&ours)), (Err(Errno::ECONNRESET), Err(Errno::EPIPE)));
}

#[test]
fn after_rst_a_shutdown_gives_enotconn_and_leaves_the_error_to_readers() {
    let (ours, peer) = pair();
    reset(peer);
    wait_reset(&ours);
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Err(Errno::ENOTCONN));
    assert_eq!(read(&ours), Err(Errno::ECONNRESET));
}

#[test]
fn after_rst_the_peers_address_is_gone_and_ours_is_not() {
    let (ours, peer) = pair();
    let local = ours.local_addr().unwrap();
    reset(peer);
    wait_reset(&ours);
    assert_eq!(ours.peer_addr().map_err(|error| Errno::of(&error)), Err(Errno::ENOTCONN));
    assert_eq!(ours.local_addr().unwrap(), local);
}

/// Bytes that arrived before the RST and were not read.
#[test]
fn an_rst_leaves_unread_bytes_readable() {
    let (ours, peer) = pair();
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    reset(peer);
    wait_reset(&ours);
    assert_eq!((peek(&ours), read(&ours), read(&ours)), (Ok(4), Ok(4), Err(Errno::ECONNRESET)));
    assert_eq!(read(&ours), Ok(0));
}

/// Bytes that the peer had sent and the network had not delivered; on loopback, those beyond our receive window.
#[test]
fn an_rst_destroys_bytes_that_were_still_under_way() {
    let (ours, mut peer) = pair();
    let block = vec![0; 64 * 1024];
    let mut sent = 0;
    while let Ok(written) = outcome(peer.write(&block)) {
        sent += written;
    }
    reset(peer);
    wait_reset(&ours);
    let mut received = 0;
    let end = loop {
        match read(&ours) {
            Ok(read) => received += read,
            Err(errno) => break errno,
        }
    };
    assert_eq!(end, Errno::ECONNRESET);
    assert!(0 < received && received < sent, "{received} of {sent}");
}

#[test]
fn an_rst_ends_a_write_that_waits_for_room() {
    let (mut ours, peer) = pair();
    while ours.write(&[0; 4096]).is_ok() {}
    reset(peer);
    wait_reset(&ours);
    assert_eq!((write(&ours), write(&ours)), (Err(Errno::ECONNRESET), Err(Errno::EPIPE)));
}

// ---- our own close -------------------------------------------------------------------------------------------------

/// Why a connection lingers: an answer that was sent before a close with unread bytes may never be read.
#[test]
fn a_close_with_unread_bytes_sends_rst() {
    let (ours, peer) = pair();
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    drop(ours);
    wait_reset(&peer);
    assert_eq!(read(&peer), Err(Errno::ECONNRESET));
}

#[test]
fn a_close_with_everything_read_sends_fin() {
    let (ours, peer) = pair();
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    assert_eq!(read(&ours), Ok(4));
    drop(ours);
    wait_fin(&peer);
    assert_eq!(read(&peer), Ok(0));
}

#[test]
fn bytes_that_arrive_after_a_close_bring_an_rst() {
    let (ours, peer) = pair();
    drop(ours);
    wait_fin(&peer);
    assert_eq!(write(&peer), Ok(4));
    wait_reset(&peer);
    assert_eq!(write(&peer), Err(Errno::EPIPE));
}

#[test]
fn bytes_that_arrive_after_a_shutdown_of_writing_bring_no_rst() {
    let (ours, peer) = pair();
    ours.shutdown(Shutdown::Write).unwrap();
    wait_fin(&peer);
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    assert_eq!(read(&ours), Ok(4));
    assert_eq!(write(&peer), Ok(4));
    wait_readable(&ours);
    assert_eq!(read(&ours), Ok(4));
}

#[test]
fn a_linger_of_zero_destroys_what_was_not_delivered_and_sends_rst() {
    let (ours, peer) = pair();
    assert_eq!(write(&ours), Ok(4));
    reset(ours);
    wait_reset(&peer);
    // On loopback the bytes were delivered before the close.
    assert_eq!((read(&peer), read(&peer)), (Ok(4), Err(Errno::ECONNRESET)));
}

#[test]
fn a_write_after_our_own_shutdown_gives_epipe() {
    let (ours, _peer) = pair();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(write(&ours), Err(Errno::EPIPE));
}

#[test]
fn a_second_shutdown_succeeds_while_the_connection_stands() {
    let (ours, _peer) = pair();
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Ok(()));
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Ok(()));
}

#[test]
fn a_shutdown_after_both_fins_gives_enotconn() {
    let (ours, peer) = pair();
    peer.shutdown(Shutdown::Write).unwrap();
    wait_fin(&ours);
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Ok(()));
    wait_fin(&peer);
    // Our side was the second to close: once the peer has acknowledged it, the connection is over.
    wait_reset(&ours);
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Err(Errno::ENOTCONN));
    assert_eq!((read(&ours), write(&ours)), (Ok(0), Err(Errno::EPIPE)));
}

// ---- the backlog ---------------------------------------------------------------------------------------------------

#[test]
fn a_connection_that_was_reset_before_accept_is_accepted_and_then_read_as_reset() {
    let listener = listen();
    let peer = connect(&listener);
    let address = peer.local_addr().unwrap();
    reset(peer);
    let (ours, from) = listener.accept().unwrap();
    assert_eq!(from, address, "accept still knows the address, which getpeername does not");
    assert_eq!((read(&ours), read(&ours)), (Err(Errno::ECONNRESET), Ok(0)));
    assert!(ours.peer_addr().is_err());
}

#[test]
fn options_may_be_set_on_a_connection_that_was_reset_before_accept() {
    let listener = listen();
    reset(connect(&listener));
    let (ours, _) = listener.accept().unwrap();
    assert_eq!(done(ours.set_nodelay(true)), Ok(()));
    assert_eq!(done(ours.set_nonblocking(true)), Ok(()));
}

#[test]
fn a_connection_that_was_closed_before_accept_keeps_its_bytes() {
    let listener = listen();
    let peer = connect(&listener);
    assert_eq!(write(&peer), Ok(4));
    drop(peer);
    let (ours, _) = listener.accept().unwrap();
    assert_eq!((read(&ours), read(&ours)), (Ok(4), Ok(0)));
}

#[test]
fn an_empty_backlog_gives_eagain() {
    let listener = listen();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(outcome(listener.accept().map(|_| 0)), Err(Errno::EAGAIN));
}

#[test]
fn closing_a_listener_resets_the_connections_in_its_backlog() {
    let listener = listen();
    let peer = connect(&listener);
    drop(listener);
    wait_reset(&peer);
    assert_eq!(read(&peer), Err(Errno::ECONNRESET));
}

#[test]
fn closing_one_of_two_descriptors_of_a_listener_resets_nobody() {
    let listener = listen();
    let peer = connect(&listener);
    let clone = listener.try_clone().unwrap();
    drop(listener);
    let (ours, _) = clone.accept().unwrap();
    assert_eq!((write(&ours), write(&peer)), (Ok(4), Ok(4)));
}

#[test]
fn a_shutdown_of_a_listener_resets_its_backlog_and_fails_accept_with_einval() {
    let listener = listen();
    let peer = connect(&listener);
    SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    wait_reset(&peer);
    assert_eq!(outcome(listener.accept().map(|_| 0)), Err(Errno::EINVAL));
}

/// Why options are set once on the listener and never again per connection.
#[test]
fn accepted_sockets_inherit_the_listeners_options() {
    let mut addresses: Vec<SocketAddr> = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    // Containers often have no IPv6.
    addresses.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(|_| SocketAddr::from((Ipv6Addr::LOCALHOST, 0))));
    for any in addresses {
        let socket = Socket::new(Domain::for_address(any), Type::STREAM, None).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_tcp_user_timeout(Some(Duration::from_millis(12_345))).unwrap();
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(77)).with_interval(Duration::from_secs(11));
        socket.set_tcp_keepalive(&keepalive.with_retries(3)).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.set_send_buffer_size(48 * 1024).unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(16).unwrap();
        let listener = TcpListener::from(socket);
        let _peer = connect(&listener);
        let (ours, _) = listener.accept().unwrap();
        let (ours, listener) = (SockRef::from(&ours), SockRef::from(&listener));
        assert!(ours.tcp_nodelay().unwrap());
        assert!(ours.keepalive().unwrap());
        assert_eq!(ours.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
        assert_eq!(ours.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        assert_eq!(ours.tcp_keepalive_interval().unwrap(), Duration::from_secs(11));
        assert_eq!(ours.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(ours.recv_buffer_size().unwrap(), listener.recv_buffer_size().unwrap());
        assert_eq!(ours.send_buffer_size().unwrap(), listener.send_buffer_size().unwrap());
        assert!(!ours.nonblocking().unwrap(), "accept4 says whether it blocks");
    }
}

// ---- connect -------------------------------------------------------------------------------------------------------

#[test]
fn a_connect_to_a_port_without_a_listener_gives_econnrefused() {
    // Bound and not listening: nobody else can be given the port.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    let refused = TcpStream::connect(address).map(|_| 0);
    assert_eq!(outcome(refused), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_connect_from_an_address_that_is_not_of_this_machine_gives_eaddrnotavail() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
    assert_eq!(done(socket.bind(&elsewhere.into())), Err(Errno::EADDRNOTAVAIL));
}

#[test]
fn a_second_listener_on_an_address_gives_eaddrinuse() {
    let listener = listen();
    let second = TcpListener::bind(listener.local_addr().unwrap()).map(|_| 0);
    assert_eq!(outcome(second), Err(Errno::EADDRINUSE));
}

/// Why a connector compares both ends: a port of the machine's own range may be given to the connecting side.
#[test]
fn a_socket_can_connect_to_itself() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(&address).unwrap();
    assert_eq!(socket.peer_addr().unwrap().as_socket(), address.as_socket());
}

// ---- Unix sockets --------------------------------------------------------------------------------------------------

#[test]
fn a_unix_socket_reads_zero_after_its_peers_close_and_writes_epipe() {
    let (mut ours, peer) = UnixStream::pair().unwrap();
    drop(peer);
    assert_eq!(outcome(ours.read(&mut [0; 8])), Ok(0));
    assert_eq!(outcome(ours.write(b"1234")), Err(Errno::EPIPE));
}

#[test]
fn a_unix_socket_gives_econnreset_once_after_a_close_with_unread_bytes() {
    let (mut ours, peer) = UnixStream::pair().unwrap();
    assert_eq!(outcome(ours.write(b"1234")), Ok(4));
    drop(peer);
    assert_eq!(outcome(ours.read(&mut [0; 8])), Err(Errno::ECONNRESET));
    assert_eq!(outcome(ours.read(&mut [0; 8])), Ok(0));
    assert_eq!(outcome(ours.write(b"1234")), Err(Errno::EPIPE));
}

#[test]
fn a_shutdown_of_a_unix_socket_succeeds_after_its_peers_close() {
    let (ours, peer) = UnixStream::pair().unwrap();
    drop(peer);
    assert_eq!(done(ours.shutdown(Shutdown::Write)), Ok(()));
}
