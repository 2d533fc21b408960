//! One client: a connection to the proxy, one request at a time, and no response believed that is not its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::score::{METHODS, Outcome};
use crate::fault::{NoMore, Wire};

/// How long a response may take. A proxy that has not answered by then has lost the request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client.
pub(crate) struct Client {
    proxy: SocketAddr,
    wire: Option<Wire>,
}

impl Client {
    /// A client that has not connected yet.
    pub(crate) const fn new(proxy: SocketAddr) -> Self {
        Self { proxy, wire: None }
    }

    /// Sends a request, whose method is a place in [`METHODS`], and judges what comes back.
    pub(crate) async fn ask(&mut self, method: usize, id: &str) -> Outcome {
        let outcome = match tokio::time::timeout(PATIENCE, self.exchange(METHODS[method], id)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(NoMore::Fin)) => Outcome::Error("closed without a response".to_owned()),
            Ok(Err(NoMore::Lost)) => Outcome::Error("reset".to_owned()),
            Ok(Err(NoMore::Nonsense)) => Outcome::Error("no response that can be read".to_owned()),
            Err(_) => Outcome::Error("no answer".to_owned()),
        };
        if outcome != Outcome::Whole {
            self.wire = None;
        }
        outcome
    }

    async fn exchange(&mut self, method: &str, id: &str) -> Result<Outcome, NoMore> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => {
                let stream = TcpStream::connect(self.proxy).await.map_err(|_| NoMore::Lost)?;
                self.wire.insert(Wire::new(stream))
            }
        };
        let content = if method == "GET" { "" } else { "Content-Length: 5\r\n\r\nhello" };
        let end = if method == "GET" { "\r\n" } else { "" };
        let request = format!("{method} /race HTTP/1.1\r\nHost: race\r\nX-Race-Id: {id}\r\n{content}{end}");
        wire.write(request.as_bytes()).await?;
        let head = wire.head().await?;
        let head = std::str::from_utf8(&head).map_err(|_| NoMore::Nonsense)?;
        let length = field(head, "content-length").and_then(|length| length.parse().ok()).ok_or(NoMore::Nonsense)?;
        let body = wire.exactly(length).await?;
        Ok(judge(method, id, head, &body))
    }
}

/// What a response says to whoever sent this request.
fn judge(method: &str, id: &str, head: &str, body: &[u8]) -> Outcome {
    let status = head.split(' ').nth(1).unwrap_or_default();
    let failure = field(head, "sheave-error");
    match failure {
        None if status == "200" && body == format!("{method} /race {id}\n").as_bytes() => Outcome::Whole,
        None if status == "200" => Outcome::Foreign,
        Some(failure) if method == "POST" && failure.contains("request-sent=maybe") => Outcome::Forbidden,
        failure => {
            let cause = failure.and_then(|failure| failure.split(';').next()).unwrap_or("no cause");
            Outcome::Error(format!("{status} {cause}"))
        }
    }
}

/// A field's value, by its name in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_status_cause_and_content() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n";
        let maybe = "HTTP/1.1 502 Bad Gateway\r\nSheave-Error: upstream-reset; request-sent=maybe; attempts=1\r\n\r\n";
        let no = "HTTP/1.1 502 Bad Gateway\r\nSheave-Error: upstream-closed; request-sent=no; attempts=3\r\n\r\n";
        let other = "HTTP/1.1 404 Not Found\r\n\r\n";
        let error = |cause: &str| Outcome::Error(cause.to_owned());
        for (method, head, body, outcome) in [
            ("GET", ok, "GET /race 1\n", Outcome::Whole),
            ("GET", ok, "GET /race 2\n", Outcome::Foreign),
            ("GET", ok, "POST /race 1\n", Outcome::Foreign),
            ("GET", maybe, "", error("502 upstream-reset")),
            ("POST", maybe, "", Outcome::Forbidden),
            ("POST", no, "", error("502 upstream-closed")),
            ("POST", other, "", error("404 no cause")),
        ] {
            assert_eq!(judge(method, "1", head, body.as_bytes()), outcome, "{method} {head}");
        }
    }
}
