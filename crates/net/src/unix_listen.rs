//! Accepts connections on a Unix socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::backlog::{Arrival, Backlog};
use crate::bind_error::{BindError, Place};
use crate::listen::{Accepted, Listener};
use crate::stream::KernelStream;

/// How a path is listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnixListenOptions {
    /// Connections that the kernel holds until they are accepted; beyond them, clients wait or get `EAGAIN`. The kernel
    /// caps it at `net.core.somaxconn`. Default: 1024.
    pub backlog: u16,
    /// The mode of the socket's file, such as `0o660`: who may write to it may connect. `None` leaves it to the umask.
    /// Default: `None`.
    pub mode: Option<u32>,
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self { backlog: 1024, mode: None }
    }
}

/// Listens to `path`. A socket that lies there and that nobody listens to is replaced. Needs no runtime.
///
/// Nobody can connect before the mode is set.
///
/// # Errors
/// [`BindError`], which says what is in the way.
pub fn bind_unix(path: &Path, options: &UnixListenOptions) -> Result<std::os::unix::net::UnixListener, BindError> {
    bind(path, options).map_err(|error| BindError::new(Place::Unix(path.into()), IoFault::new(Op::Connect, &error)))
}

fn bind(path: &Path, options: &UnixListenOptions) -> io::Result<std::os::unix::net::UnixListener> {
    // The standard library makes up an error without a number for paths that are too long.
    let address = SockAddr::unix(path).map_err(|_| io::Error::from_raw_os_error(Errno::EINVAL.0))?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.bind(&address) {
        if Errno::of(&error) != Errno::EADDRINUSE || !is_stale(path, &address)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    if let Some(mode) = options.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::from(options.backlog))?;
    Ok(OwnedFd::from(socket).into())
}

/// Whether a socket lies there that nobody listens to: its process ended without removing it.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let refused = probe.connect(address).err().map(|error| Errno::of(&error));
    Ok(refused == Some(Errno::ECONNREFUSED))
}

/// Accepts connections on a Unix socket for one runtime.
#[derive(Debug)]
pub struct UnixAcceptor {
    backlog: Backlog,
    file: Option<SocketFile>,
}

/// The file of a socket, and which one it was.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl UnixAcceptor {
    /// Listens to `path`. Within a runtime.
    ///
    /// # Errors
    /// [`BindError`], which says what is in the way.
    pub fn bind(path: &Path, options: &UnixListenOptions) -> Result<Self, BindError> {
        let listener = bind_unix(path, options)?;
        Self::from_std(listener).map_err(|fault| BindError::new(Place::Unix(path.into()), fault))
    }

    /// Accepts from a socket that listens already. Within a runtime. The socket becomes non-blocking, for all who share
    /// it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> Result<Self, IoFault> {
        let register = || {
            listener.set_nonblocking(true)?;
            let file = listener.local_addr()?.as_pathname().and_then(SocketFile::at);
            Ok(Self { backlog: Backlog::new(listener.into())?, file })
        };
        register().map_err(|error: io::Error| IoFault::new(Op::Option, &error))
    }

    /// The same socket once more, for another worker or a successor: one backlog, and closed with the last of them.
    ///
    /// # Errors
    /// `EMFILE`: one more descriptor is one too many.
    pub fn try_clone(&self) -> Result<std::os::unix::net::UnixListener, IoFault> {
        match self.backlog.as_fd().try_clone_to_owned() {
            Ok(socket) => Ok(socket.into()),
            Err(error) => Err(IoFault::new(Op::Option, &error)),
        }
    }
}

impl SocketFile {
    fn at(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self { path: path.into(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// Whether it is still the same file, and not a successor's.
    fn is_there(&self) -> bool {
        Self::at(&self.path).is_some_and(|now| now.identity == self.identity)
    }
}

fn accepted((descriptor, _): Arrival) -> Accepted<KernelStream> {
    Accepted { socket: KernelStream::new(descriptor), peer: None, local: None }
}

impl Listener for UnixAcceptor {
    type Socket = KernelStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<KernelStream>, IoFault>> {
        self.backlog.poll_accept(cx).map_ok(accepted).map_err(|error| IoFault::new(Op::Accept, &error))
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<KernelStream>>, IoFault> {
        let arrival = self.backlog.accept_now().map_err(|error| IoFault::new(Op::Accept, &error))?;
        Ok(arrival.map(accepted))
    }

    /// Removes the socket's file, unless another lies there by now. Handshakes of Unix sockets are never under way: a
    /// client is in the backlog or has not connected.
    fn refuse_new(&mut self) -> Result<(), IoFault> {
        let Some(file) = self.file.take_if(|file| file.is_there()) else { return Ok(()) };
        match fs::remove_file(&file.path) {
            // A worker that shares the socket was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let fault = IoFault::new(Op::Option, &error);
                self.file = Some(file);
                Err(fault)
            }
            _ => Ok(()),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::bind_error::BindErrorKind;

    /// A directory of this test's own, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("sheave-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("s")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn kind(path: &Path) -> Option<BindErrorKind> {
        bind_unix(path, &UnixListenOptions::default()).err().map(|error| error.kind)
    }

    #[tokio::test]
    async fn accepts_and_sets_the_mode() {
        let scratch = Scratch::new();
        let options = UnixListenOptions { mode: Some(0o640), ..UnixListenOptions::default() };
        let mut acceptor = UnixAcceptor::bind(&scratch.path(), &options).unwrap();
        assert_eq!(fs::metadata(scratch.path()).unwrap().mode() & 0o777, 0o640);
        let mut client = UnixStream::connect(scratch.path()).await.unwrap();
        let mut accepted = poll_fn(|cx| acceptor.poll_accept(cx)).await.unwrap();
        assert_eq!((accepted.peer, accepted.local, acceptor.local_addr()), (None, None, None));
        client.write_all(b"x").await.unwrap();
        assert_eq!(accepted.socket.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let scratch = Scratch::new();
        let first = bind_unix(&scratch.path(), &UnixListenOptions::default()).unwrap();
        assert_eq!(kind(&scratch.path()), Some(BindErrorKind::InUse));
        drop(first);
        assert!(scratch.path().exists(), "a process that ends leaves its socket's file");
        assert_eq!(kind(&scratch.path()), None);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let scratch = Scratch::new();
        fs::write(scratch.path(), "precious").unwrap();
        assert_eq!(kind(&scratch.path()), Some(BindErrorKind::InUse));
        assert_eq!(fs::read_to_string(scratch.path()).unwrap(), "precious");
    }

    #[test]
    fn says_what_is_in_the_way() {
        let scratch = Scratch::new();
        assert_eq!(kind(&scratch.0.join("none/s")), Some(BindErrorKind::NoDirectory));
        let long = bind_unix(&scratch.0.join("x".repeat(108)), &UnixListenOptions::default()).unwrap_err();
        assert!(long.to_string().contains("107 bytes"), "{long}");
    }

    /// No `await` between the connects and the question: the runtime has not seen them, the kernel has.
    #[tokio::test]
    async fn ends_without_losing_a_client() {
        let scratch = Scratch::new();
        let mut acceptor = UnixAcceptor::bind(&scratch.path(), &UnixListenOptions::default()).unwrap();
        let mut other = UnixAcceptor::from_std(acceptor.try_clone().unwrap()).unwrap();
        let _clients: Vec<_> =
            (0..2).map(|_| std::os::unix::net::UnixStream::connect(scratch.path()).unwrap()).collect();
        acceptor.refuse_new().unwrap();
        other.refuse_new().unwrap();
        assert!(std::os::unix::net::UnixStream::connect(scratch.path()).is_err());
        assert!(acceptor.accept_now().unwrap().is_some());
        drop(acceptor);
        assert!(other.accept_now().unwrap().is_some());
        assert!(other.accept_now().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let scratch = Scratch::new();
        let mut acceptor = UnixAcceptor::bind(&scratch.path(), &UnixListenOptions::default()).unwrap();
        fs::rename(scratch.path(), scratch.0.join("old")).unwrap();
        let _successor = bind_unix(&scratch.path(), &UnixListenOptions::default()).unwrap();
        acceptor.refuse_new().unwrap();
        assert!(scratch.path().exists());
    }
}
