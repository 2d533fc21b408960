//! curl, and what it tells of the exchanges that it made.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::base::Base;
use super::certificates;
use crate::command;

/// One curl, one or more URLs.
pub(super) struct Curl {
    command: Command,
}

/// What came of one URL.
pub(super) struct Answer {
    /// The final status; 0 when there was none.
    pub(super) status: u64,
    /// The version that was spoken, as curl says it: `1.1`, `2`.
    pub(super) version: String,
    /// Our end of the connection.
    pub(super) local: String,
    /// Bytes of body that curl took.
    pub(super) body_len: u64,
    /// New connections that this URL needed: 0 when an earlier one was reused.
    pub(super) connects: u64,
    /// Seconds to the first byte of the final head.
    pub(super) first_byte_secs: f64,
    /// Seconds from the start to the end.
    pub(super) total_secs: f64,
}

/// What came of the whole call.
pub(super) struct Said {
    /// One for each URL.
    pub(super) answers: Vec<Answer>,
    /// All response heads as they came, interim ones included.
    pub(super) heads: String,
    /// The body as text, or its SHA-256: as asked.
    pub(super) body: String,
}

impl Said {
    /// The one answer of a call with one URL.
    pub(super) fn only(&self) -> Result<&Answer> {
        let [answer] = self.answers.as_slice() else { bail!("{} answers to one request", self.answers.len()) };
        Ok(answer)
    }
}

impl Curl {
    pub(super) fn new() -> Self {
        // The client's patience bounds every check: a lost response is a failure, not a hang.
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "90"]);
        command.args(["--dump-header", "/dev/stderr", "--write-out", r"%{stderr}%{json}\n"]);
        Self { command }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn header(self, line: &str) -> Self {
        self.arg("--header").arg(line)
    }

    /// One more URL. All of a call are spoken to in the same way: the last one's.
    pub(super) fn url(mut self, base: impl Into<Base>, path: &str) -> Self {
        let base = base.into();
        self.command.args(base.speaks.curl_arguments());
        if base.speaks.is_secured() {
            self.command.arg("--cacert").arg(certificates::authority());
        }
        self.arg(format!("{base}{path}"))
    }

    /// Runs it and keeps the body as text.
    ///
    /// # Errors
    /// curl's exit code is not 0: with its own words.
    pub(super) fn text(mut self) -> Result<Said> {
        let output = command::capture(&mut self.command)?;
        let body = String::from_utf8_lossy(&output.stdout).into_owned();
        self.said(output.status.code(), &String::from_utf8_lossy(&output.stderr), body)
    }

    /// Runs it and keeps the body's SHA-256 in hexadecimal, whatever its size.
    ///
    /// # Errors
    /// curl's exit code is not 0: with its own words.
    pub(super) fn hashed(mut self) -> Result<Said> {
        let mut curl = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = curl.stdout.take().context("curl's output is not a pipe")?;
        let digest = Command::new("sha256sum").stdin(stdout).output().context("cannot start sha256sum")?;
        let output = curl.wait_with_output()?;
        let digest = String::from_utf8_lossy(&digest.stdout).split_whitespace().next().unwrap_or_default().to_owned();
        self.said(output.status.code(), &String::from_utf8_lossy(&output.stderr), digest)
    }

    /// Starts it, takes `len` bytes of the body, and drops the connection in the middle.
    pub(super) fn abort_after(mut self, len: usize) -> Result<()> {
        let mut curl = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdout = curl.stdout.take().context("curl's output is not a pipe")?;
        let mut taken = vec![0; len];
        let read = stdout.read_exact(&mut taken);
        // SIGKILL: the kernel closes the socket with data unread, so the peer sees a reset.
        curl.kill()?;
        curl.wait()?;
        read.with_context(|| format!("the body ended before {len} bytes"))
    }

    fn said(&self, exit: Option<i32>, stderr: &str, body: String) -> Result<Said> {
        let (mut answers, mut heads, mut errors) = (Vec::new(), String::new(), String::new());
        for line in stderr.lines() {
            if line.starts_with('{') {
                answers.push(answer(line)?);
            } else if line.starts_with("curl: ") {
                errors.push_str(line);
            } else {
                heads.push_str(line);
                heads.push('\n');
            }
        }
        ensure!(
            exit == Some(0),
            "curl ended with {}: {errors} ({})",
            exit.map_or("a signal".to_owned(), |code| code.to_string()),
            command::line(&self.command)
        );
        Ok(Said { answers, heads, body })
    }
}

fn answer(json: &str) -> Result<Answer> {
    let value: Value = serde_json::from_str(json).context("curl's own report is not JSON")?;
    let whole = |name: &str| value[name].as_u64().with_context(|| format!("curl's report has no {name}"));
    let text = |name: &str| value[name].as_str().with_context(|| format!("curl's report has no {name}"));
    let secs = |name: &str| value[name].as_f64().with_context(|| format!("curl's report has no {name}"));
    Ok(Answer {
        status: whole("http_code")?,
        version: text("http_version")?.to_owned(),
        local: format!("{} {}", text("local_ip")?, whole("local_port")?),
        body_len: whole("size_download")?,
        connects: whole("num_connects")?,
        first_byte_secs: secs("time_starttransfer")?,
        total_secs: secs("time_total")?,
    })
}
