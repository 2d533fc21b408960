//! Every rule of the simulated kernel, as a script that runs on it and on real loopback sockets: both must do the same.
//!
//! A script is a line of steps, `<who> <does> = <result>`, separated by `;`. `ours` and `peer` are the two ends of a
//! connection that `peer` opened. Where the real kernel takes its time, a script waits for what the kernel will say.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests, helpers included")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_net::dial::Connect;
use sheave_net::listen::Listener;
use sheave_net::socket::Socket;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use socket2::SockRef;
use tokio::io::ReadBuf;

/// Name and script of every rule.
const RULES: &[(&str, &str)] = &[
    ("a quiet connection gives EAGAIN", "ours read = EAGAIN; ours peek = EAGAIN"),
    (
        "a peek takes no byte away",
        "peer write = 4; ours waits-readable; ours peek = 4; ours peek = 4; ours read = 4; ours read = EAGAIN",
    ),
    (
        "a read takes what there is, up to its size",
        "peer write = 4; ours waits-readable; ours read-1 = 1; ours read = 3; ours read = EAGAIN",
    ),
    ("a vectored write is one write", "peer writev = 4; ours waits-readable; ours read = 4"),
    ("writes end when the buffers are full", "ours fills = EAGAIN"),
    // The peer's FIN.
    (
        "after FIN read and peek give zero for ever",
        "peer close; ours waits-fin; ours peek = 0; ours read = 0; ours read = 0; ours peek = 0",
    ),
    (
        "bytes before a FIN are read first",
        "peer write = 4; peer close; ours waits-fin; ours peek = 4; ours read = 4; ours read = 0",
    ),
    (
        "after a half close the other direction goes on",
        "peer shutdown = ok; ours waits-fin; ours read = 0; ours write = 4; peer waits-readable; peer read = 4; \
         ours shutdown = ok; peer waits-fin; peer read = 0",
    ),
    (
        "a write after the peer's close succeeds and brings an RST, which the FIN hides from readers",
        "peer close; ours waits-fin; ours write = 4; ours waits-hup; ours peek = 0; ours read = 0; ours write = EPIPE; \
         ours write = EPIPE; ours shutdown = ENOTCONN",
    ),
    (
        "the socket error of an RST behind a FIN is EPIPE",
        "peer close; ours waits-fin; ours write = 4; ours waits-hup; ours error = EPIPE; ours error = none",
    ),
    // The peer's RST.
    (
        "after RST the first read gives ECONNRESET and the next zero",
        "peer reset; ours waits-hup; ours read = ECONNRESET; ours read = 0",
    ),
    ("a peek takes the RST away", "peer reset; ours waits-hup; ours peek = ECONNRESET; ours peek = 0; ours read = 0"),
    (
        "asking for the socket error takes the RST away",
        "peer reset; ours waits-hup; ours error = ECONNRESET; ours error = none; ours read = 0",
    ),
    (
        "after RST the first write gives ECONNRESET and the next EPIPE",
        "peer reset; ours waits-hup; ours write = ECONNRESET; ours write = EPIPE",
    ),
    (
        "a vectored write fails as a plain one",
        "peer reset; ours waits-hup; ours writev = ECONNRESET; ours writev = EPIPE",
    ),
    (
        "after an RST that a read has seen a write gives EPIPE",
        "peer reset; ours waits-hup; ours read = ECONNRESET; ours write = EPIPE",
    ),
    (
        "after an RST that a write has seen a read gives zero",
        "peer reset; ours waits-hup; ours write = ECONNRESET; ours read = 0; ours write = EPIPE",
    ),
    (
        "after RST a shutdown gives ENOTCONN and leaves the error to readers",
        "peer reset; ours waits-hup; ours shutdown = ENOTCONN; ours shutdown = ENOTCONN; ours read = ECONNRESET",
    ),
    (
        "after RST the peer's address is gone and ours is not",
        "ours peer-address = known; peer reset; ours waits-hup; ours peer-address = unknown; ours local-address = known",
    ),
    (
        "an RST leaves unread bytes readable",
        "peer write = 4; ours waits-readable; peer reset; ours waits-hup; ours peek = 4; ours read = 4; \
         ours read = ECONNRESET; ours read = 0",
    ),
    (
        "the error is told to a writer even when bytes are unread",
        "peer write = 4; ours waits-readable; peer reset; ours waits-hup; ours write = ECONNRESET; ours read = 4; \
         ours read = 0",
    ),
    (
        "an RST destroys what was under way",
        "peer fills = EAGAIN; peer reset; ours waits-hup; ours drains = ECONNRESET; ours got-less-than-sent = yes",
    ),
    (
        "an RST ends a write that waits for room",
        "ours fills = EAGAIN; peer reset; ours waits-hup; ours write = ECONNRESET; ours write = EPIPE",
    ),
    (
        "an RST that comes after our own shutdown is told to readers and writers",
        "ours shutdown = ok; peer waits-fin; peer reset; ours waits-hup; ours write = ECONNRESET; ours read = 0; \
         ours shutdown = ENOTCONN",
    ),
    // Our own close.
    (
        "a close with unread bytes sends RST",
        "peer write = 4; ours waits-readable; ours close; peer waits-hup; peer read = ECONNRESET",
    ),
    (
        "a close with everything read sends FIN",
        "peer write = 4; ours waits-readable; ours read = 4; ours close; peer waits-fin; peer read = 0",
    ),
    (
        "a close with unread bytes and a FIN sends RST too, and the FIN before it hides nothing at the other end",
        "peer write = 4; peer shutdown = ok; ours waits-fin; ours close; peer waits-hup; peer read = ECONNRESET",
    ),
    (
        "bytes that arrive after a close bring an RST",
        "ours close; peer waits-fin; peer write = 4; peer waits-hup; peer write = EPIPE; peer read = 0",
    ),
    (
        "a FIN that arrives after a close brings no RST",
        "ours close; peer waits-fin; peer shutdown = ok; peer waits-hup; peer read = 0; peer error = none",
    ),
    (
        "bytes that were written before a close are delivered",
        "ours write = 4; ours close; peer waits-fin; peer read = 4; peer read = 0",
    ),
    (
        "bytes that arrive after a shutdown of writing bring no RST",
        "ours shutdown = ok; peer waits-fin; peer write = 4; ours waits-readable; ours read = 4; peer write = 4; \
         ours waits-readable; ours read = 4",
    ),
    (
        "a linger of zero sends RST, behind what was delivered",
        "ours write = 4; peer waits-readable; ours reset; peer waits-hup; peer read = 4; peer read = ECONNRESET",
    ),
    (
        "a linger of zero after the peer's FIN sends RST all the same",
        "peer shutdown = ok; ours waits-fin; ours reset; peer waits-hup; peer read = ECONNRESET",
    ),
    (
        "a linger of zero after both FINs sends nothing",
        "peer shutdown = ok; ours waits-fin; ours shutdown = ok; peer waits-fin; ours waits-hup; ours reset; \
         peer read = 0; peer error = none",
    ),
    (
        "a linger of zero after our own FIN sends RST, which our FIN hides",
        "ours shutdown = ok; peer waits-fin; ours reset; peer waits-hup; peer read = 0; peer write = EPIPE",
    ),
    ("a write after our own shutdown gives EPIPE", "ours shutdown = ok; ours write = EPIPE"),
    ("a second shutdown succeeds while the connection stands", "ours shutdown = ok; ours shutdown = ok"),
    (
        "after both FINs the second to close is over",
        "peer shutdown = ok; ours waits-fin; ours shutdown = ok; peer waits-fin; ours waits-hup; \
         ours shutdown = ENOTCONN; ours read = 0; ours peek = 0; ours write = EPIPE; ours peer-address = unknown",
    ),
    (
        "after both FINs the first to close is over",
        "ours shutdown = ok; peer waits-fin; peer shutdown = ok; ours waits-hup; ours shutdown = ENOTCONN; \
         ours read = 0; ours peek = 0; ours write = EPIPE; ours error = none",
    ),
    (
        "bytes before the second FIN are still read when all is over",
        "ours shutdown = ok; peer waits-fin; peer write = 4; peer shutdown = ok; ours waits-hup; ours read = 4; \
         ours read = 0; ours write = EPIPE",
    ),
    // The backlog.
    (
        "a connection that was reset before accept is accepted and then read as reset",
        "guest connects; guest reset; guest accepted; guest read = ECONNRESET; guest read = 0",
    ),
    (
        "a connection that was closed before accept keeps its bytes",
        "guest connects; guest-opener write = 4; guest-opener close; guest accepted; guest waits-fin; guest read = 4; \
         guest read = 0",
    ),
    (
        "a connection can be written to before it is accepted",
        "guest connects; guest-opener write = 4; guest accepted; guest waits-readable; guest read = 4",
    ),
    (
        "closing a listener resets the connections in its backlog",
        "guest connects; listener close; guest-opener waits-hup; guest-opener read = ECONNRESET",
    ),
    ("an empty backlog gives nothing", "listener accepts = nothing"),
    ("a connect without a listener is refused", "listener close; guest connects = ECONNREFUSED"),
];

/// What an end of a connection can be asked, in either world. `None` where the end is gone.
trait World {
    fn read(&mut self, who: &str, size: usize) -> Result<usize, Errno>;
    fn peek(&mut self, who: &str) -> Result<usize, Errno>;
    fn write(&mut self, who: &str, parts: &[&[u8]]) -> Result<usize, Errno>;
    fn shutdown(&mut self, who: &str) -> Result<(), Errno>;
    fn error(&mut self, who: &str) -> Option<Errno>;
    fn close(&mut self, who: &str, with_rst: bool);
    fn knows(&mut self, who: &str, peers: bool) -> bool;
    /// Waits until the kernel says so.
    fn waits(&mut self, who: &str, what: &str);
    fn connects(&mut self, who: &str) -> Result<(), Errno>;
    fn accepts(&mut self, who: &str) -> bool;
    fn close_listener(&mut self);
}

fn said<T: ToString>(answer: Result<T, Errno>) -> String {
    answer.map_or_else(|errno| errno.to_string(), |value| value.to_string())
}

fn ok(answer: Result<(), Errno>) -> String {
    said(answer.map(|()| "ok"))
}

/// Plays a script, and says what each step gave, as the script would say it.
fn play(world: &mut dyn World, script: &str) -> String {
    let mut told = Vec::new();
    let (mut sent, mut received) = (0, 0);
    for step in script.split(';').map(str::trim) {
        let call = step.split('=').next().unwrap().trim();
        let (who, does) = call.split_once(' ').unwrap();
        let result = match does {
            "read" | "read-1" => said(world.read(who, if does == "read" { 64 } else { 1 })),
            "peek" => said(world.peek(who)),
            "write" => said(world.write(who, &[b"1234"])),
            "writev" => said(world.write(who, &[b"12", b"34"])),
            "shutdown" => ok(world.shutdown(who)),
            "error" => world.error(who).map_or("none".to_owned(), |errno| errno.to_string()),
            "fills" => loop {
                match world.write(who, &[&[0; 16 * 1024]]) {
                    Ok(len) => sent += len,
                    Err(errno) => break errno.to_string(),
                }
            },
            "drains" => loop {
                match world.read(who, 16 * 1024) {
                    Ok(len) => received += len,
                    Err(errno) => break errno.to_string(),
                }
            },
            "got-less-than-sent" => if 0 < received && received < sent { "yes" } else { "no" }.to_owned(),
            "peer-address" => if world.knows(who, true) { "known" } else { "unknown" }.to_owned(),
            "local-address" => if world.knows(who, false) { "known" } else { "unknown" }.to_owned(),
            "accepts" => if world.accepts(who) { "a connection" } else { "nothing" }.to_owned(),
            "connects" if step.contains('=') => ok(world.connects(who)),
            other => {
                match other {
                    "connects" => world.connects(who).unwrap(),
                    "accepted" => assert!(world.accepts(who)),
                    "close" if who == "listener" => world.close_listener(),
                    "close" => world.close(who, false),
                    "reset" => world.close(who, true),
                    waits => world.waits(who, waits),
                }
                told.push(call.to_owned());
                continue;
            }
        };
        told.push(format!("{call} = {result}"));
    }
    told.join("; ")
}

/// A script without the accidents of its layout.
fn tidy(script: &str) -> String {
    script.split(';').map(|step| step.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; ")
}

// ---- real loopback -------------------------------------------------------------------------------------------------

struct Real {
    listener: Option<TcpListener>,
    address: SocketAddr,
    ends: BTreeMap<String, TcpStream>,
}

impl Real {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut real = Self { listener: Some(listener), address, ends: BTreeMap::new() };
        real.connects("peer").unwrap();
        real.accepts("ours");
        real.ends.insert("peer".to_owned(), real.ends["peer-opener"].try_clone().unwrap());
        real.ends.remove("peer-opener");
        real.listener.as_ref().unwrap().set_nonblocking(true).unwrap();
        real
    }
}

fn errno<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::of(&error))
}

impl World for Real {
    fn read(&mut self, who: &str, size: usize) -> Result<usize, Errno> {
        errno(self.ends.get_mut(who).unwrap().read(&mut vec![0; size]))
    }

    fn peek(&mut self, who: &str) -> Result<usize, Errno> {
        errno(self.ends[who].peek(&mut [0; 64]))
    }

    fn write(&mut self, who: &str, parts: &[&[u8]]) -> Result<usize, Errno> {
        let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        errno(self.ends.get_mut(who).unwrap().write_vectored(&parts))
    }

    fn shutdown(&mut self, who: &str) -> Result<(), Errno> {
        errno(self.ends[who].shutdown(Shutdown::Write))
    }

    fn error(&mut self, who: &str) -> Option<Errno> {
        self.ends[who].take_error().unwrap().map(|error| Errno::of(&error))
    }

    fn close(&mut self, who: &str, with_rst: bool) {
        let end = self.ends.remove(who).or_else(|| self.ends.remove(&format!("{who}-opener"))).unwrap();
        if with_rst {
            SockRef::from(&end).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn knows(&mut self, who: &str, peers: bool) -> bool {
        let end = &self.ends[who];
        if peers { end.peer_addr().is_ok() } else { end.local_addr().is_ok() }
    }

    fn waits(&mut self, who: &str, what: &str) {
        let (wanted, told) = match what {
            "waits-readable" => (PollFlags::IN, PollFlags::IN),
            "waits-fin" => (PollFlags::RDHUP, PollFlags::RDHUP),
            "waits-hup" => (PollFlags::empty(), PollFlags::HUP),
            other => panic!("no step is called {other}"),
        };
        let mut waiting = [PollFd::new(&self.ends[who], wanted)];
        poll(&mut waiting, None).unwrap();
        assert!(waiting[0].revents().contains(told), "{who} {what}");
    }

    fn connects(&mut self, who: &str) -> Result<(), Errno> {
        let end = errno(TcpStream::connect(self.address))?;
        end.set_nonblocking(true).unwrap();
        self.ends.insert(format!("{who}-opener"), end);
        Ok(())
    }

    fn accepts(&mut self, who: &str) -> bool {
        match self.listener.as_ref().unwrap().accept() {
            Ok((end, _)) => {
                end.set_nonblocking(true).unwrap();
                self.ends.insert(who.to_owned(), end);
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    fn close_listener(&mut self) {
        // Nobody else can be given the port while this one is bound to it and does not listen.
        drop(self.listener.take());
    }
}

#[test]
fn the_real_kernel_does_as_the_scripts_say() {
    for (name, script) in RULES {
        assert_eq!(play(&mut Real::new(), script), tidy(script), "{name}");
    }
}

// ---- simulated -----------------------------------------------------------------------------------------------------

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

struct Simulated {
    net: SimNet,
    listener: Option<SimListener>,
    ends: BTreeMap<String, SimSocket>,
}

impl Simulated {
    fn new(net: &SimNet) -> Self {
        let mut world = Self { net: net.clone(), listener: Some(net.listen(ADDRESS)), ends: BTreeMap::new() };
        world.connects("peer").unwrap();
        world.accepts("ours");
        let peer = world.ends.remove("peer-opener").unwrap();
        world.ends.insert("peer".to_owned(), peer);
        world
    }
}

/// Runs a future that waits for nothing but turns of the runtime.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
}

impl World for Simulated {
    fn read(&mut self, who: &str, size: usize) -> Result<usize, Errno> {
        self.ends[who].read_now(&mut vec![0; size])
    }

    fn peek(&mut self, who: &str) -> Result<usize, Errno> {
        self.ends[who].peek_now()
    }

    fn write(&mut self, who: &str, parts: &[&[u8]]) -> Result<usize, Errno> {
        let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        self.ends[who].write_now(&parts)
    }

    fn shutdown(&mut self, who: &str) -> Result<(), Errno> {
        self.ends[who].shutdown_now()
    }

    fn error(&mut self, who: &str) -> Option<Errno> {
        self.ends[who].take_error()
    }

    fn close(&mut self, who: &str, with_rst: bool) {
        let end = self.ends.remove(who).or_else(|| self.ends.remove(&format!("{who}-opener"))).unwrap();
        if with_rst {
            end.set_abortive_close();
        }
    }

    fn knows(&mut self, who: &str, peers: bool) -> bool {
        let end = &self.ends[who];
        if peers { end.peer().is_some() } else { end.local().is_some() }
    }

    fn waits(&mut self, who: &str, what: &str) {
        let end = &self.ends[who];
        // Nothing takes time here: what will be, is.
        let is_so = match what {
            "waits-readable" => end.peek_now().is_ok_and(|len| len > 0),
            "waits-fin" => end.has_ended(),
            "waits-hup" => end.is_over(),
            other => panic!("no step is called {other}"),
        };
        assert!(is_so, "{who} {what}");
    }

    fn connects(&mut self, who: &str) -> Result<(), Errno> {
        let end = at_once(self.net.client().connect(&ADDRESS.into())).map_err(|fault| fault.errno)?;
        self.ends.insert(format!("{who}-opener"), end);
        Ok(())
    }

    fn accepts(&mut self, who: &str) -> bool {
        match self.listener.as_mut().unwrap().accept_now().unwrap() {
            Some(accepted) => self.ends.insert(who.to_owned(), accepted.socket).is_none(),
            None => false,
        }
    }

    fn close_listener(&mut self) {
        drop(self.listener.take());
    }
}

#[test]
fn the_simulated_kernel_does_as_the_scripts_say() {
    for (name, script) in RULES {
        let told = RefCell::new(String::new());
        let record = run(&Plan::calm(name), |net| {
            told.replace(play(&mut Simulated::new(&net), script));
            async {}
        });
        assert_eq!(told.into_inner(), tidy(script), "{name}");
        assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()), "{name}");
    }
}

// ---- what a runtime knows of it ------------------------------------------------------------------------------------

/// What a task is told that reads and probes while the reactor does not look, and after it has. `peer` acts, and returns
/// once the kernel knows.
async fn cached_readiness<S: Socket>(mut ours: S, mut peer: impl FnMut(&str)) -> Vec<String> {
    fn read<S: Socket>(ours: &mut S, cx: &mut Context<'_>) -> String {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(ours).poll_read(cx, &mut buffer) {
            Poll::Pending => "pending".to_owned(),
            Poll::Ready(result) => said(errno(result).map(|()| buffer.filled().len())),
        }
    }
    async fn read_later<S: Socket>(ours: &mut S) -> String {
        poll_fn(|cx| match read(ours, cx) {
            pending if pending == "pending" => Poll::Pending,
            told => Poll::Ready(told),
        })
        .await
    }
    let mut told = Vec::new();
    let mut note = |what: &str, result: String| told.push(format!("{what} = {result}"));
    peer("write");
    note("read of a byte that came", read_later(&mut ours).await);
    note("read of nothing", poll_fn(|cx| Poll::Ready(read(&mut ours, cx))).await);
    let unseen = poll_fn(|cx| {
        peer("write");
        Poll::Ready((read(&mut ours, cx), ours.probe()))
    })
    .await;
    note("read and probe of an unseen byte", format!("{unseen:?}"));
    note("read after the reactor looked", read_later(&mut ours).await);
    let unseen = poll_fn(|cx| {
        peer("close");
        Poll::Ready((read(&mut ours, cx), ours.probe()))
    })
    .await;
    note("read and probe of an unseen FIN", format!("{unseen:?}"));
    note("read after the reactor looked", read_later(&mut ours).await);
    let again = poll_fn(|cx| Poll::Ready(read(&mut ours, cx))).await;
    note("the end is not forgotten", again);
    note("a shutdown", ok(errno(ours.shutdown_write())));
    peer("waits-over");
    note("a shutdown of what is over", ok(errno(ours.shutdown_write())));
    let hidden = poll_fn(|cx| Pin::new(&mut ours).poll_shutdown(cx)).await;
    note("the same through the runtime", ok(errno(hidden)));
    note("a probe of what is over", format!("{:?}", ours.probe()));
    told
}

const READINESS: [&str; 11] = [
    "read of a byte that came = 1",
    "read of nothing = pending",
    "read and probe of an unseen byte = (\"pending\", Unasked)",
    "read after the reactor looked = 1",
    "read and probe of an unseen FIN = (\"pending\", Closed)",
    "read after the reactor looked = 0",
    "the end is not forgotten = 0",
    "a shutdown = ok",
    "a shutdown of what is over = ENOTCONN",
    "the same through the runtime = ok",
    "a probe of what is over = Closed",
];

#[tokio::test]
async fn a_real_reactor_tells_late() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut peer = Some(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (ours, _) = listener.accept().unwrap();
    let watched = ours.try_clone().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = tokio::net::TcpStream::from_std(ours).unwrap();
    let told = cached_readiness(ours, |does| {
        let event = match does {
            "write" => {
                peer.as_mut().unwrap().write_all(b"1").unwrap();
                PollFlags::IN
            }
            "close" => {
                drop(peer.take());
                PollFlags::RDHUP
            }
            _ => PollFlags::HUP,
        };
        // HUP is always told, and must not be asked for.
        let mut waiting = [PollFd::new(&watched, event - PollFlags::HUP)];
        poll(&mut waiting, None).unwrap();
        assert!(waiting[0].revents().contains(event));
    });
    assert_eq!(told.await, READINESS);
}

#[test]
fn the_simulated_reactor_tells_late() {
    let told = RefCell::new(Vec::new());
    let told = &told;
    let record = run(&Plan::calm("readiness"), |net| async move {
        let mut listener = net.listen(ADDRESS);
        let mut peer = Some(net.client().connect(&ADDRESS.into()).await.unwrap());
        let ours = listener.accept().await;
        let seen = cached_readiness(ours, |does| match does {
            "write" => assert_eq!(peer.as_ref().unwrap().write_now(&[IoSlice::new(b"1")]), Ok(1)),
            "close" => drop(peer.take()),
            // Both FINs have arrived: nothing takes time here.
            _ => {}
        });
        told.replace(seen.await);
    });
    assert_eq!(*told.borrow(), READINESS);
    assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()));
}

// ---- a listener that ends ------------------------------------------------------------------------------------------

/// A listener that refuses new handshakes answers none, but those that it was asked for before; once it is closed, who
/// asked in vain is refused.
async fn a_listener_ends<L: Listener, C: Connect>(mut listener: L, connector: C) -> Vec<String> {
    let address = listener.local_addr().unwrap();
    let said = |connected: &Result<C::Socket, IoFault>| match connected {
        Ok(_) => "connected".to_owned(),
        Err(fault) => fault.errno.to_string(),
    };
    let endpoint = address.into();
    let early = connector.connect(&endpoint).await;
    listener.refuse_new().unwrap();
    let mut late = pin!(connector.connect(&endpoint));
    let is_waiting = poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx).is_pending())).await;
    // The kernel may be behind with the first handshake.
    let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
    let is_empty = listener.accept_now().unwrap().is_none();
    drop(listener);
    vec![
        format!("before = {}, accepted = {}", said(&early), accepted.is_ok()),
        format!("after: waits = {is_waiting}, in the backlog = {}", !is_empty),
        format!("closed = {}", said(&late.await)),
    ]
}

const LISTENER: [&str; 3] =
    ["before = connected, accepted = true", "after: waits = true, in the backlog = false", "closed = ECONNREFUSED"];

/// Takes the second after which the kernel asks again.
#[tokio::test]
async fn a_real_listener_ends_as_the_simulated_one() {
    let listener = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
    assert_eq!(a_listener_ends(listener, TcpConnector::default()).await, LISTENER);
}

#[test]
fn the_simulated_listener_ends_as_a_real_one() {
    let told = RefCell::new(Vec::new());
    let told = &told;
    let record = run(&Plan::calm("listener"), |net| async move {
        told.replace(a_listener_ends(net.listen(ADDRESS), net.client()).await);
    });
    assert_eq!(*told.borrow(), LISTENER);
    assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()));
}
