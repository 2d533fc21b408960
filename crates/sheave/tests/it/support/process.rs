//! A sheave process and what it says.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A sheave process that is killed when the test ends before it does.
pub(crate) struct Sheave {
    child: Child,
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
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        Self { child, errors, said: Vec::new() }
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

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("is there");
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
