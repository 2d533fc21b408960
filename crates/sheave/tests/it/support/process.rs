//! A sheave process and what it says.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};

use super::PATIENCE;

/// A sheave process that is killed when the test ends before it does.
pub(crate) struct Sheave {
    child: Child,
    successor: Option<Pid>,
    errors: Receiver<String>,
    /// All that it has said on standard error, as far as it was read.
    pub(crate) said: Vec<String>,
}

impl Sheave {
    /// Starts it, and waits for its banner.
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
        command.args(arguments);
        let mut sheave = Self::spawn(command);
        sheave.wait_for("stop: ctrl-c");
        sheave
    }

    /// A proxy on a port of its own to these origins.
    pub(crate) fn proxy(to: &[SocketAddr], more: &[&str]) -> Self {
        let mut arguments = vec!["proxy".to_owned(), "--from=127.0.0.1:0".to_owned(), "--admin=127.0.0.1:0".to_owned()];
        arguments.extend(to.iter().map(|origin| format!("--to={origin}")));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Self::start(arguments)
    }

    /// Starts a command that is, or becomes, a sheave; waits for nothing.
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    /// The same, with a standard input.
    pub(crate) fn spawn_with(mut command: Command, stdin: Stdio) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let stderr = child.stderr.take().expect("is piped");
        let (lines, errors) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, successor: None, errors, said: Vec::new() }
    }

    /// Reads on until a line contains `part`, and returns it.
    pub(crate) fn wait_for(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.errors.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(_) => panic!("{part:?} was not said; what was: {:#?}", self.said),
            }
        }
    }

    /// Reads on for so long.
    pub(crate) fn listen(&mut self, patience: Duration) {
        if let Ok(line) = self.errors.recv_timeout(patience) {
            self.said.push(line);
        }
    }

    /// Sends a signal again and again until a line contains `part`, and returns it.
    pub(crate) fn signal_until(&mut self, signal: Signal, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.signal(signal);
            if let Ok(line) = self.errors.recv_timeout(Duration::from_millis(20)) {
                self.said.push(line.clone());
                if line.contains(part) {
                    return line;
                }
            }
        }
        panic!("{part:?} was not said; what was: {:#?}", self.said);
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.announced("listening on http://")
    }

    /// Where it listens for TLS.
    pub(crate) fn secured_addresses(&self) -> Vec<SocketAddr> {
        self.announced("listening on https://")
    }

    /// Where it listens first.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Where its admin pages are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.announced("admin on http://")[0]
    }

    fn announced(&self, what: &str) -> Vec<SocketAddr> {
        self.said.iter().filter_map(|line| line.strip_prefix(what)).map(|text| text.parse().expect(text)).collect()
    }

    /// Its process number: its successor's, once it was handed over.
    pub(crate) fn pid(&self) -> Pid {
        self.successor.unwrap_or_else(|| Pid::from_child(&self.child))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("is there");
    }

    /// Hands over to a successor, which is this from here on. Returns the process before it.
    pub(crate) fn hand_over(&mut self) -> Pid {
        // Successors whose parents have ended become this process's children, so that their ends can be seen.
        set_child_subreaper(Some(rustix::process::getpid())).expect("is set");
        let before = self.pid();
        self.signal(Signal::USR2);
        let line = self.wait_for("handed over; draining successor=");
        let pid = line.rsplit('=').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        self.successor = Some(pid.expect("a process number"));
        before
    }

    /// Waits for the end of a process that it was, or is: the exit code.
    pub(crate) fn wait_for_end_of(&mut self, pid: Pid) -> Option<i32> {
        if pid == Pid::from_child(&self.child) {
            return self.child.wait().expect("ends").code();
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // Ours only once its parent has ended.
            if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
                return status.exit_status();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{pid:?} has not ended; said was: {:#?}", self.said);
    }

    /// Waits for its end: the exit code, and all of standard output.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let mut output = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            // Ends with the process.
            stdout.read_to_string(&mut output).expect("UTF-8");
        }
        let status = self.child.wait().expect("ends");
        while let Ok(line) = self.errors.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        (status.code(), output)
    }

    /// Takes standard output, to be read while the process runs.
    pub(crate) fn output(&mut self) -> impl BufRead + use<> {
        BufReader::new(self.child.stdout.take().expect("was not taken before"))
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait().0
    }
}

impl Drop for Sheave {
    fn drop(&mut self) {
        // Fails where it has ended already.
        if let Some(successor) = self.successor {
            let _ = kill_process(successor, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
