//! Processes that a chore starts beside itself: none of them outlives it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{command, proc_fs};

/// Put before a command line: the kernel sends the process SIGTERM should this program die without a chance to clean up.
/// That hangs on the *thread* that starts it, so only the main thread may.
pub(crate) const BOUND_TO_US: &[&str] = &["setpriv", "--pdeathsig", "TERM", "--"];

/// A process with a name and a log, ended when this value goes: by SIGTERM, then by SIGKILL, children included.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts it with both outputs in `folder/name.log`.
    ///
    /// It is [`BOUND_TO_US`].
    pub(crate) fn start(name: &str, command: &Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let err = out.try_clone()?;
        let mut bound = command::behind(BOUND_TO_US, command);
        let child = bound.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        Ok(Self { name: name.to_owned(), child, log, ended: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until something accepts connections at `addr`.
    ///
    /// # Errors
    /// The process ended, or 10 s passed: with what it printed.
    pub(crate) fn wait_until_it_listens(&mut self, addr: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.poll_end()? {
                bail!("{} ended ({status}) before it listened on {addr}; it said:\n{}", self.name, self.said());
            }
            if TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen on {addr} after 10 s; it said:\n{}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails when it has ended: with its last words.
    pub(crate) fn expect_alive(&mut self) -> Result<()> {
        match self.poll_end()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself ({status}); it said:\n{}", self.name, self.said()),
        }
    }

    /// Asks it to end, without waiting.
    pub(crate) fn terminate(&self) {
        send(self.pid(), Signal::TERM);
    }

    /// Waits for its end, at most `patience`; `None` when it still runs.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.poll_end()?;
            if status.is_some() || Instant::now() > deadline {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn poll_end(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))?;
        }
        Ok(self.ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.poll_end(), Ok(None)) {
            return;
        }
        // Workers are remembered before their master goes: afterwards nobody knows whose they were.
        let family = proc_fs::family(self.pid());
        self.terminate();
        if !matches!(self.wait(Duration::from_secs(3)), Ok(Some(_))) {
            family.iter().for_each(|pid| send(*pid, Signal::KILL));
            let _ = self.child.wait();
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself in the meantime: that is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

/// `N` loopback addresses with ports that are free now, all different.
pub(crate) fn free_addrs<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    let mut addrs = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for addr in &mut addrs {
        let listener = TcpListener::bind(*addr).context("cannot find a free port on 127.0.0.1")?;
        *addr = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_ends_with_its_guard_children_included() {
        let folder = std::env::temp_dir().join(format!("xtask-process-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("sh");
        // A shell that ignores SIGTERM, with a child.
        command.args(["-c", "trap '' TERM; sleep 60 & echo ready; wait; sleep 60"]);
        let running = Running::start("stubborn", &command, &folder).unwrap();
        while !running.said().contains("ready") {
            thread::sleep(Duration::from_millis(5));
        }
        let family = proc_fs::family(running.pid());
        assert_eq!(family.len(), 2);
        drop(running);
        // A zombie has ended; who was its parent may take its time to notice.
        let runs = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while family.iter().any(runs) {
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_addrs().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
