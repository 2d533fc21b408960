//! What the service manager is told of this process: systemd's sd_notify(3), in a few lines.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Something to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tell<'a> {
    /// It serves.
    Ready,
    /// It starts a successor, at this moment of the monotonic clock, in microseconds.
    Reloading(u64),
    /// It serves on, without a successor, for this reason.
    NotReloaded(&'a str),
    /// This process serves in its place. Told by the one before, since nobody but the main process is listened to.
    HandedOver(u32),
    /// It drains, and ends within this time unless something is wrong.
    Stopping(Duration),
    /// It is well.
    Watchdog,
}

impl Tell<'_> {
    fn text(self) -> String {
        match self {
            Self::Ready => "READY=1\nSTATUS=serving\n".to_owned(),
            Self::Reloading(micros) => {
                format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=starting a successor\n")
            }
            Self::NotReloaded(why) => {
                format!("READY=1\nSTATUS=serving; could not hand over: {}\n", why.replace('\n', " "))
            }
            Self::HandedOver(pid) => format!("MAINPID={pid}\nREADY=1\nSTATUS=serving\n"),
            Self::Stopping(longest) => {
                // Beyond the drain, a moment for logs.
                let micros = longest.saturating_add(Duration::from_secs(5)).as_micros();
                format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=draining\n")
            }
            Self::Watchdog => "WATCHDOG=1\n".to_owned(),
        }
    }
}

/// The service manager, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct ServiceManager {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Whoever the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub(crate) fn of_environment() -> Self {
        let is_for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok()).filter(|_| is_for_us);
        Self {
            socket: env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros),
        }
    }

    /// How often it wants to hear that all is well; half of the time after which it acts. `None` if never.
    pub(crate) fn watchdog_period(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|watchdog| watchdog / 2)
    }

    /// Tells it. If it does not listen, that is logged and changes nothing.
    pub(crate) fn tell(&self, what: Tell<'_>) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, what.text().as_bytes()) {
            tracing::warn!(%error, ?socket, "the service manager cannot be told how this process is");
        }
    }

    /// This moment, for [`Tell::Reloading`].
    pub(crate) fn monotonic_micros() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        u64::try_from(micros).unwrap_or_default()
    }
}

/// Sends one datagram to a socket of the file system, or, with an `@` before it, of the abstract namespace.
fn send(socket: &OsStr, text: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the process.
    from.set_write_timeout(Some(Duration::from_millis(100)))?;
    from.send_to_addr(text, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_as_the_protocol_has_it() {
        for (what, text) in [
            (Tell::Ready, "READY=1\nSTATUS=serving\n"),
            (Tell::Reloading(17), "RELOADING=1\nMONOTONIC_USEC=17\nSTATUS=starting a successor\n"),
            (Tell::NotReloaded("no\nway"), "READY=1\nSTATUS=serving; could not hand over: no way\n"),
            (Tell::HandedOver(42), "MAINPID=42\nREADY=1\nSTATUS=serving\n"),
            (Tell::Stopping(Duration::from_secs(30)), "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000\nSTATUS=draining\n"),
            (Tell::Watchdog, "WATCHDOG=1\n"),
        ] {
            assert_eq!(what.text(), text);
        }
    }

    #[test]
    fn reaches_sockets_with_and_without_a_file() {
        let file = env::temp_dir().join(format!("sheave-notify-{}", std::process::id()));
        let name = format!("sheave-notify-test-{}", std::process::id());
        let of_file = UnixDatagram::bind(&file).expect("binds");
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("an address");
        let without = UnixDatagram::bind_addr(&abstract_address).expect("binds");
        for (socket, address) in [(of_file, file.as_os_str().to_owned()), (without, format!("@{name}").into())] {
            ServiceManager { socket: Some(address), watchdog: None }.tell(Tell::Watchdog);
            let mut said = [0; 64];
            let len = socket.recv(&mut said).expect("hears");
            assert_eq!(&said[..len], b"WATCHDOG=1\n");
        }
        std::fs::remove_file(file).expect("is there");
    }

    #[test]
    fn a_manager_that_is_gone_harms_nobody() {
        let manager = ServiceManager { socket: Some("/nowhere/notify".into()), watchdog: None };
        manager.tell(Tell::Ready);
        assert_eq!(manager.watchdog_period(), None);
        let manager = ServiceManager { socket: None, watchdog: Some(Duration::from_secs(10)) };
        assert_eq!(manager.watchdog_period(), None, "nobody would hear it");
        assert!(ServiceManager::monotonic_micros() > 0);
    }
}
