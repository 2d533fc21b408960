//! A connected socket of the kernel's: called without a detour, and made known to the runtime once somebody has to wait.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::{retry_on_intr, writev};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use sheave_lifecycle::errno::{IoFault, Op};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::socket::{Liveness, Socket};

/// A connected stream socket, of TCP or of this machine (`AF_UNIX`).
///
/// # What it costs
/// Its system calls are made in place. Those of the C library are places in which a thread may be cancelled, and to say so
/// at each of them took up to 2 % of an exchange.
///
/// The runtime learns of it when somebody has to wait: until then it owns nothing but the descriptor. On a thread that has more
/// to do than time, the request is there before its connection is looked at; where that ends with its response, it never has
/// to be put into the kernel's set and taken out of it. Where requests turn out to come later, they are not looked for before
/// the runtime says that they are there.
#[derive(Debug)]
pub struct KernelStream(State);

#[derive(Debug)]
enum State {
    /// Nobody has had to wait for it. `None` where the runtime could not take it, and has closed it.
    Fresh(Option<OwnedFd>),
    /// The runtime says when it is to be called again. The runtime's stream reads and writes for nobody, and so does not care
    /// what kind of socket it is.
    Registered(TcpStream),
}

impl KernelStream {
    /// A connected, non-blocking socket that no runtime knows.
    pub const fn new(descriptor: OwnedFd) -> Self {
        Self(State::Fresh(Some(descriptor)))
    }

    /// Has the runtime know it, which says from then on when it is to be called again. Within a runtime.
    ///
    /// # Errors
    /// As the kernel says it: `ENOSPC` where no more descriptors may be waited for (`fs.epoll.max_user_watches`). The
    /// connection is closed then.
    pub fn register(&mut self) -> io::Result<()> {
        self.registered().map(drop)
    }

    fn registered(&mut self) -> io::Result<&TcpStream> {
        if let State::Fresh(descriptor) = &mut self.0 {
            let descriptor = descriptor.take().ok_or_else(lost)?;
            self.0 = State::Registered(TcpStream::from_std(descriptor.into())?);
        }
        match &self.0 {
            State::Registered(stream) => Ok(stream),
            State::Fresh(_) => Err(lost()),
        }
    }

    pub(crate) fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.0 {
            State::Fresh(descriptor) => descriptor.as_ref().map(OwnedFd::as_fd).ok_or_else(lost),
            State::Registered(stream) => Ok(stream.as_fd()),
        }
    }

    /// Ready once a connection that was begun is made, or has failed.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.registered()?;
        ready!(stream.poll_write_ready(cx))?;
        Poll::Ready(stream.take_error()?.map_or(Ok(()), Err))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let State::Fresh(Some(descriptor)) = &self.0
            && hope::is_there()
        {
            let received = receive(descriptor, buffer, RecvFlags::empty());
            let is_met = !received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            hope::note(is_met);
            if is_met {
                return Poll::Ready(received);
            }
        }
        let stream = self.registered()?;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let len = buffer.len();
            match noting_the_last(stream, Interest::READABLE, len, || receive(stream, buffer, RecvFlags::empty())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    /// Writes what the kernel takes of `len` bytes, where the runtime knows nothing to the contrary.
    fn try_give(&self, len: usize, give: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        match &self.0 {
            State::Fresh(_) => give(self.descriptor()?),
            State::Registered(stream) => noting_the_last(stream, Interest::WRITABLE, len, || give(stream.as_fd())),
        }
    }

    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        mut give: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let State::Registered(stream) = &self.0 {
                ready!(stream.poll_write_ready(cx))?;
            }
            match self.try_give(len, &mut give) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.register()?,
                given => return Poll::Ready(given),
            }
        }
    }
}

/// Whether something is to be read before the runtime was told to watch: on a thread that is busy mostly so, as it comes to what
/// it has accepted later than the request does; on one that waits for connections hardly ever, and then the question is dear.
mod hope {
    use std::cell::Cell;

    /// So often in a row it may have been disappointed and still be there.
    const PATIENCE: u8 = 4;

    /// From then on it is there once in so many times, as things may have changed.
    const RETRIED: u8 = 32;

    thread_local! {
        static DISAPPOINTED: Cell<u8> = const { Cell::new(0) };
    }

    pub(super) fn is_there() -> bool {
        let times = DISAPPOINTED.get();
        if times < PATIENCE {
            return true;
        }
        let next = if times < PATIENCE + RETRIED { times + 1 } else { PATIENCE };
        DISAPPOINTED.set(next);
        next == PATIENCE
    }

    pub(super) fn note(is_met: bool) {
        DISAPPOINTED.set(if is_met { 0 } else { DISAPPOINTED.get().saturating_add(1).min(PATIENCE) });
    }
}

/// Makes a call that moves up to `len` bytes. If it moves some and not all, it has moved the last that there are for now, and
/// the runtime is to remember that as of one that moved nothing: the next one waits, and need not find it out.
fn noting_the_last(
    stream: &TcpStream,
    interest: Interest,
    len: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut part = None;
    let moved = stream.try_io(interest, || match call()? {
        // None is the end, which stays.
        some if 0 < some && some < len => {
            part = Some(some);
            Err(io::ErrorKind::WouldBlock.into())
        }
        all => Ok(all),
    });
    part.map_or(moved, Ok)
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

fn receive(descriptor: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (len, _) = retry_on_intr(|| recv(&descriptor, &mut *buffer, flags))?;
    Ok(len)
}

fn give(descriptor: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| send(descriptor, bytes, SendFlags::NOSIGNAL))?)
}

fn give_parts(descriptor: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(retry_on_intr(|| writev(descriptor, parts))?)
}

/// Asks the kernel what it knows of a connection on which nothing is expected. The descriptor is non-blocking, so this is
/// too.
pub(crate) fn probe(descriptor: impl AsFd) -> Liveness {
    match receive(descriptor, &mut [0], RecvFlags::PEEK) {
        Ok(0) => Liveness::Closed,
        Ok(_) => Liveness::Unasked,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Liveness::Alive,
        Err(error) => Liveness::Failed(IoFault::new(Op::Read, &error)),
    }
}

/// Reads what the kernel has now. The descriptor is non-blocking, so this is too.
pub(crate) fn read_now(descriptor: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive(descriptor, buffer, RecvFlags::empty())
}

impl AsyncRead for KernelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let len = ready!(self.poll_receive(cx, buffer.initialize_unfilled()))?;
        buffer.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for KernelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_give(cx, bytes.len(), |descriptor| give(descriptor, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = parts.iter().map(|part| part.len()).sum();
        self.poll_give(cx, len, |descriptor| give_parts(descriptor, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown_write() {
            // As the runtime's own sockets have it: what is to be shut is.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}

impl Socket for KernelStream {
    fn is_plain(&self) -> bool {
        true
    }

    fn is_watched(&self) -> bool {
        matches!(self.0, State::Registered(_))
    }

    fn probe(&mut self) -> Liveness {
        match self.descriptor() {
            Ok(descriptor) => probe(descriptor),
            Err(error) => Liveness::Failed(IoFault::new(Op::Read, &error)),
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_now(self.descriptor()?, buffer)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_give(bytes.len(), |descriptor| give(descriptor, bytes))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(shutdown(self.descriptor()?, Shutdown::Write)?)
    }

    fn set_abortive_close(&self) {
        // A Unix socket's close cannot be made an RST; the peer sees EOF, and a truncated body by its framing alone. Else it
        // fails only on a descriptor that is no socket; then the close is a plain one, which is all there is.
        if let Ok(descriptor) = self.descriptor() {
            let _ = SockRef::from(&descriptor).set_linger(Some(Duration::ZERO));
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        SockRef::from(&self.descriptor().ok()?).peer_addr().ok()?.as_socket()
    }

    fn local(&self) -> Option<SocketAddr> {
        SockRef::from(&self.descriptor().ok()?).local_addr().ok()?.as_socket()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Ours, and the other end, neither of which blocks.
    fn pair() -> (KernelStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).expect("an option");
        }
        (KernelStream::new(ours.into()), theirs)
    }

    fn tcp() -> (KernelStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let theirs = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let (ours, _) = listener.accept().expect("accepts");
        ours.set_nonblocking(true).expect("an option");
        (KernelStream::new(ours.into()), theirs)
    }

    /// Once, without the runtime's having its turn.
    async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll_fn(|cx| Poll::Ready(poll(cx))).await
    }

    #[tokio::test]
    async fn the_runtime_learns_of_it_when_somebody_has_to_wait() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"question").expect("writes");
        let mut buffer = [0; 32];
        assert_eq!(ours.read(&mut buffer).await.expect("reads"), 8);
        ours.write_all(b"answer").await.expect("writes");
        theirs.read_exact(&mut [0; 6]).expect("reads");
        assert_eq!(Socket::probe(&mut ours), Liveness::Alive);
        assert!(!ours.is_watched(), "nobody has waited");
        assert!(poll_once(|cx| ours.poll_receive(cx, &mut buffer)).await.is_pending());
        assert!(ours.is_watched());
        theirs.write_all(b"more").expect("writes");
        assert_eq!(ours.read(&mut buffer).await.expect("is woken, and reads"), 4);
        drop(theirs);
        assert_eq!(ours.read(&mut buffer).await.expect("reads"), 0);
        assert_eq!(ours.read(&mut buffer).await.expect("the end stays"), 0);
    }

    #[tokio::test]
    async fn a_read_that_leaves_room_was_the_last_for_now() {
        let (mut ours, mut theirs) = pair();
        ours.register().expect("a runtime");
        let mut buffer = [0; 4];
        for (sent, is_last) in [("abcd", false), ("abc", true)] {
            theirs.write_all(sent.as_bytes()).expect("writes");
            assert_eq!(ours.read(&mut buffer).await.expect("reads"), sent.len());
            theirs.write_all(b"e").expect("writes");
            let next = poll_once(|cx| ours.poll_receive(cx, &mut buffer)).await;
            assert_eq!(
                next.is_pending(),
                is_last,
                "the kernel is not asked before the runtime has seen that more came"
            );
            if is_last {
                assert_eq!(ours.read(&mut buffer).await.expect("is woken, and reads"), 1);
            }
        }
    }

    #[tokio::test]
    async fn a_write_that_is_taken_in_part_is_the_last_for_now() {
        let (mut ours, mut theirs) = tcp();
        ours.register().expect("a runtime");
        let much = vec![7; 16 << 20];
        let given = ours.write(&much).await.expect("writes");
        assert!(given < much.len());
        let mut buffer = vec![0; 1 << 20];
        let mut take = |all: usize| {
            let mut taken = 0;
            while taken < all {
                taken += theirs.read(&mut buffer).expect("reads");
            }
        };
        take(given);
        // There is room now, and the runtime has not said so yet.
        let refused = Socket::try_write(&mut ours, b"x").map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::WouldBlock));
        let parts = [IoSlice::new(b"xy"), IoSlice::new(b"z")];
        assert_eq!(ours.write_vectored(&parts).await.expect("is woken, and writes"), 3);
        take(3);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        for _ in 0..2 {
            let error = Socket::try_write(&mut ours, b"x").map_err(|error| error.kind());
            assert_eq!(error, Err(io::ErrorKind::BrokenPipe));
            ours.register().expect("a runtime");
            poll_fn(|cx| ours.poll_receive(cx, &mut [0])).await.expect("reads");
        }
        assert_eq!(Socket::probe(&mut ours), Liveness::Closed);
    }

    #[tokio::test]
    async fn knows_its_ends_where_they_have_addresses() {
        let (ours, theirs) = tcp();
        assert_eq!(ours.peer(), theirs.local_addr().ok());
        assert_eq!(ours.local(), theirs.peer_addr().ok());
        let (ours, _theirs) = pair();
        assert_eq!((ours.peer(), ours.local()), (None, None));
    }

    #[tokio::test]
    async fn what_is_hardly_ever_there_is_not_looked_for() {
        let mut buffer = [0; 8];
        let mut looked = Vec::new();
        for is_there in [false; 40].into_iter().chain([true; 40]) {
            let (mut ours, mut theirs) = pair();
            if is_there {
                theirs.write_all(b"early").expect("writes");
            }
            let first = poll_once(|cx| ours.poll_receive(cx, &mut buffer)).await;
            looked.push(first.is_ready());
            if first.is_pending() {
                theirs.write_all(b"late").expect("writes");
                assert!(ours.read(&mut buffer).await.expect("is woken, and reads") > 0);
            }
        }
        assert!(!looked[40], "it was disappointed too often");
        assert!(looked[79], "and has found out that things have changed");
        assert!(looked.iter().filter(|looked| **looked).count() > 4);
    }

    #[test]
    fn is_as_large_as_the_runtimes() {
        assert_eq!(size_of::<KernelStream>(), size_of::<TcpStream>());
    }
}
