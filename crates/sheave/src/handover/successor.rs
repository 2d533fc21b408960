//! The process after this one: started from disk with our sockets, and waited for until it says that it serves.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use super::names::{Name, Purpose};
use super::predecessor::{SERVING, YOURS};

/// What is passed on begins behind the standard streams. sd_listen_fds(3).
const FIRST_DESCRIPTOR: i32 = 3;

/// How long a successor that is given up may take to end before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked for the end of a process that is about to end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A successor on its way: ends with the process that serves, or with why there is none.
pub(crate) type Confirming = Pin<Box<dyn Future<Output = Result<Confirmed, String>>>>;

/// How this process was started, so that the next one is started alike: the path is looked up anew, and leads to whatever
/// binary lies there now.
#[derive(Clone, Debug)]
pub(crate) struct Relaunch {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Relaunch {
    /// As this process was started.
    pub(crate) fn ours() -> Self {
        let mut words = env::args_os();
        let program = words.next().unwrap_or_else(|| "sheave".into());
        Self { program, arguments: words.collect() }
    }

    /// The command, with `sockets` and the line to us.
    fn command(&self, sockets: Vec<(Name, TcpListener)>, line: UnixStream) -> Result<Command, String> {
        let mut command = Command::new(&self.program);
        let names: Vec<_> = sockets.iter().map(|(name, _)| name.as_str()).chain([Name::Line.as_str()]).collect();
        command
            .arg0(&self.program)
            .args(&self.arguments)
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            // They are about us, and would not fit.
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_FDS_FIRST_FD");
        let descriptors = sockets.into_iter().map(|(_, socket)| socket.into()).chain([line.into()]);
        let mappings = (FIRST_DESCRIPTOR..).zip(descriptors);
        let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
        command.fd_mappings(mappings).map_err(|error| error.to_string())?;
        Ok(command)
    }
}

/// Starts a successor with clones of `sockets`, and waits until it says that it serves. Within a runtime.
///
/// Dropped in between, it tells the successor to end.
pub(crate) fn successor<'a>(
    relaunch: &Relaunch,
    sockets: impl Iterator<Item = (Purpose, bool, &'a TcpListener)>,
    timeout: Duration,
) -> Confirming {
    let started = start(relaunch, sockets);
    Box::pin(async move {
        let mut successor = started?;
        match tokio::time::timeout(timeout, successor.confirmation()).await {
            Ok(Some(pid)) => Ok(successor.confirmed(pid)),
            Ok(None) => Err(successor.died().await),
            Err(_) => {
                let ended = successor.stop().await;
                Err(format!("it did not say within {} that it serves, and {ended}", crate::duration::display(timeout)))
            }
        }
    })
}

fn start<'a>(
    relaunch: &Relaunch,
    sockets: impl Iterator<Item = (Purpose, bool, &'a TcpListener)>,
) -> Result<Successor, String> {
    if rustix::process::getpid().is_init() {
        return Err("this is process 1, with whose end all others end: replace the container instead".to_owned());
    }
    let trouble = |error: io::Error| format!("its descriptors cannot be made: {error}");
    let mut clones = Vec::new();
    for (purpose, is_ours, socket) in sockets {
        clones.push((Name::Listening { purpose, is_ours }, socket.try_clone().map_err(trouble)?));
    }
    let (ours, theirs) = UnixStream::pair().map_err(trouble)?;
    ours.set_nonblocking(true).map_err(trouble)?;
    let line = tokio::net::UnixStream::from_std(ours).map_err(trouble)?;
    // The clones and the pair have taken the lowest free numbers, more than the child is given: the pipe over which the
    // standard library hears why a program cannot be started lies above, and is not displaced.
    let mut command = relaunch.command(clones, theirs)?;
    let child = command.spawn().map_err(|error| {
        format!("{} cannot be started: {error}; see that it is there and executable", relaunch.program.display())
    })?;
    Ok(Successor { child: Some(child), line: Some(line) })
}

/// A successor that has not said yet that it serves. Dropped, it is told to end.
#[derive(Debug)]
struct Successor {
    child: Option<Child>,
    line: Option<tokio::net::UnixStream>,
}

impl Successor {
    /// Waits for its word; `None` when it ended, or said something else.
    async fn confirmation(&mut self) -> Option<u32> {
        let line = self.line.as_ref()?;
        let mut said = Vec::new();
        loop {
            let mut buffer = [0; 64];
            match line.readable().await.and_then(|()| line.try_read(&mut buffer)) {
                Ok(0) => return None,
                Ok(len) => said.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
            if said.ends_with(b"\n") || said.len() > 64 {
                let word = std::str::from_utf8(&said).ok()?;
                return word.strip_prefix(SERVING)?.trim_end().parse().ok();
            }
        }
    }

    fn confirmed(mut self, pid: u32) -> Confirmed {
        // From here on it is nobody's to stop; it ends when it is told to, and outlives us.
        self.child = None;
        Confirmed { pid, line: self.line.take() }
    }

    /// Why it ended without a word.
    async fn died(mut self) -> String {
        match self.ended_within(Duration::from_secs(1)).await {
            Some(status) => format!("it ended ({status}) before it served; what it said stands above"),
            None => {
                let ended = self.stop().await;
                format!("it did not say that it serves, and {ended}")
            }
        }
    }

    /// Tells it to end, and sees to it that it does.
    async fn stop(mut self) -> &'static str {
        self.line = None;
        self.signal(Signal::TERM);
        if self.ended_within(STOP_PATIENCE).await.is_some() {
            return "was stopped";
        }
        self.signal(Signal::KILL);
        self.ended_within(STOP_PATIENCE).await;
        "had to be killed"
    }

    async fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let looking = async {
            loop {
                if let Ok(Some(status)) = child.try_wait() {
                    return status;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let status = tokio::time::timeout(patience, looking).await.ok()?;
        self.child = None;
        Some(status)
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // Fails only where it has ended already.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// A successor that serves.
#[derive(Debug)]
pub(crate) struct Confirmed {
    /// Its process number.
    pub(crate) pid: u32,
    line: Option<tokio::net::UnixStream>,
}

impl Confirmed {
    /// Tells it that all is its own now. If it does not hear that, it is more careful than it need be, and no more.
    pub(crate) fn entrust(self) {
        if let Some(line) = self.line
            && let Ok(mut line) = line.into_std()
        {
            let _ = line.write_all(YOURS);
        }
    }

    /// One that nobody started.
    #[cfg(test)]
    pub(crate) const fn imaginary(pid: u32) -> Self {
        Self { pid, line: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed_by(script: &str, timeout: Duration) -> Result<u32, String> {
        let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
        let relaunch = Relaunch { program: "sh".into(), arguments: vec!["-c".into(), script.into()] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let confirmed = runtime.block_on(async {
            let sockets = [(Purpose::Clients, true, &socket), (Purpose::Admin, false, &socket)];
            successor(&relaunch, sockets.into_iter(), timeout).await
        });
        confirmed.map(|confirmed| confirmed.pid)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_successor_finds_its_sockets_and_the_line_where_the_protocol_says() {
        let script = "[ \"$LISTEN_FDS:$LISTEN_FDNAMES:${LISTEN_PID-none}\" = \
                      3:sheave-clients:sheave-activated-admin:sheave-line:none ] \
                      && [ -S /proc/self/fd/3 ] && [ -S /proc/self/fd/4 ] && echo serving 4711 >&5";
        assert_eq!(confirmed_by(script, LONG), Ok(4711));
    }

    #[test]
    fn one_that_fails_is_told_by_how() {
        let error = confirmed_by("exit 7", LONG).expect_err("ends");
        assert!(error.contains("exit status: 7") && error.contains("before it served"), "{error}");
        let error = confirmed_by("echo hello >&5; exec sleep 60", LONG).expect_err("says something else");
        assert!(error.contains("did not say that it serves, and was stopped"), "{error}");
        let error = confirmed_by("exec sleep 60", Duration::from_millis(50)).expect_err("says nothing");
        assert!(error.contains("did not say within 50ms that it serves, and was stopped"), "{error}");
    }

    #[test]
    fn a_program_that_is_gone_is_named() {
        let relaunch = Relaunch { program: "/nowhere/sheave".into(), arguments: vec![] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let error = runtime.block_on(async { successor(&relaunch, [].into_iter(), LONG).await });
        let error = error.map(|confirmed| confirmed.pid).expect_err("is not there");
        assert!(error.starts_with("/nowhere/sheave cannot be started: No such file"), "{error}");
    }
}
