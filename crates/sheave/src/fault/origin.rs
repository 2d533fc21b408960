//! An origin that misbehaves: its faults, its tally, and the loop that accepts.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection::serve;
use super::plan::Faults;
use super::tally::Tally;
use super::wire::Wire;

/// How long to wait when there is no descriptor for another connection.
const WHEN_EXHAUSTED: Duration = Duration::from_millis(20);

/// An origin that misbehaves. Clones are the same origin.
#[derive(Clone, Debug)]
pub(crate) struct FaultyOrigin {
    faults: Arc<Faults>,
    tally: Arc<Tally>,
}

impl FaultyOrigin {
    /// An origin that has seen nothing yet.
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults: Arc::new(faults), tally: Arc::default() }
    }

    /// What it has seen.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Accepts and serves, each connection in a task of its own, until it is dropped.
    pub(crate) async fn accept(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let origin = self.clone();
                    tokio::spawn(async move { serve(Wire::new(stream), &origin.faults, &origin.tally).await });
                }
                Err(_) => tokio::time::sleep(WHEN_EXHAUSTED).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::spec::Spec;
    use super::super::tally::End;
    use super::*;

    async fn start(specs: &str) -> (FaultyOrigin, SocketAddr) {
        let faults: Vec<_> = specs
            .split_whitespace()
            .map(|spec| match spec.parse() {
                Ok(Spec::Fault(fault)) => fault,
                other => panic!("{spec}: {other:?}"),
            })
            .collect();
        let origin = FaultyOrigin::new(Faults::new(&faults).expect("fits"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let accepting = origin.clone();
        tokio::spawn(async move { accepting.accept(listener).await });
        (origin, address)
    }

    /// Sends, and says all that came until the end, and whether that was a FIN.
    async fn tell(address: SocketAddr, request: &str) -> (String, bool) {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("takes it");
        let mut all = Vec::new();
        let is_fin = stream.read_to_end(&mut all).await.is_ok();
        (String::from_utf8(all).expect("text"), is_fin)
    }

    const GET: &str = "GET /a HTTP/1.1\r\nX-Race-Id: 7\r\n\r\n";
    const LAST: &str = "GET /a HTTP/1.1\r\nX-Race-Id: 7\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn without_faults_it_answers_and_counts() {
        let (origin, address) = start("").await;
        let chunked = "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n";
        let asks = "PUT /bytes/3 HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab";
        let (all, is_fin) = tell(address, &format!("{chunked}{asks}HEAD /c HTTP/1.1\r\n\r\n{LAST}")).await;
        assert!(is_fin && all.contains("POST /b -\n") && all.contains("HTTP/1.1 100 Continue\r\n\r\n"), "{all}");
        assert!(all.contains("\r\n\r\n !\"HTTP/1.1") && all.ends_with("GET /a 7\n"), "{all}");
        assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 4);
        let counts = origin.tally().counts();
        assert_eq!((counts.all_requests(), counts.answered, counts.compared), (4, 4, 1));
        assert_eq!((counts.ends[&End::Last], counts.sent), (1, all.len() as u64));
        let (all, _) = tell(address, "nonsense\r\n\r\n").await;
        assert!(all.starts_with("HTTP/1.1 400 "), "{all}");
        tell(address, LAST).await;
        assert_eq!(origin.tally().counts().seen_again("GET"), 1);
    }

    #[tokio::test]
    async fn idle_connections_end_as_it_was_said() {
        for (specs, expected) in [
            ("idle-close=1ms", (1, true)),
            ("idle-reset=1ms", (1, false)),
            ("idle-close=1ms timeout-408 jitter=50% keep-alive-lie=60s", (2, true)),
        ] {
            let (origin, address) = start(specs).await;
            let mut stream = TcpStream::connect(address).await.expect("connects");
            // The time begins with the first response, however long that took.
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(GET.as_bytes()).await.expect("takes it");
            let mut all = Vec::new();
            let is_fin = stream.read_to_end(&mut all).await.is_ok();
            let all = String::from_utf8(all).expect("text");
            assert_eq!((all.matches("HTTP/1.1 ").count(), is_fin), expected, "{specs}: {all}");
            assert_eq!(all.contains("Keep-Alive: timeout=60\r\n"), specs.contains("lie"));
            assert_eq!(all.contains("HTTP/1.1 408 "), specs.contains("408"));
            assert_eq!(origin.tally().counts().ends[&End::Idle], 1);
        }
    }

    #[tokio::test]
    async fn bodies_are_cut_off_dripped_and_doubled() {
        for (specs, ends, is_fin, end) in [
            ("die-after=3", "\r\n\r\nGET", true, End::AmidBody),
            ("die-after=0", "\r\n\r\n", true, End::AmidBody),
            ("die-after=12", "\r\n\r\nGET /a 7\n !\"", true, End::AmidBody),
            ("drip=1ms,1/1", "\r\n\r\nGET /a 7\n", true, End::Last),
            ("close-after-request", "", true, End::AfterRequest),
        ] {
            let (origin, address) = start(specs).await;
            let (all, has_fin) = tell(address, LAST).await;
            assert!(all.ends_with(ends) && has_fin == is_fin, "{specs}: {all:?}");
            assert_eq!(origin.tally().counts().ends[&end], 1, "{specs}");
        }
        for specs in ["die-after=3,reset", "close-after-request=1/1,reset"] {
            let (_, address) = start(specs).await;
            assert!(!tell(address, LAST).await.1, "{specs}");
        }
        let (_, address) = start("double-response").await;
        assert_eq!(tell(address, LAST).await.0.matches("GET /a 7\n").count(), 2);
        let (origin, address) = start("half-close").await;
        let (all, is_fin) = tell(address, &format!("{GET}{GET}")).await;
        assert!(is_fin && all.matches("GET /a 7\n").count() == 1, "{all}");
        assert_eq!(origin.tally().counts().all_requests(), 1, "what comes behind is read and not answered");
    }

    #[tokio::test]
    async fn what_never_ends_ends_with_the_peer() {
        for (specs, part) in [("never-answer", ""), ("stall-after=3", "\r\n\r\nGET")] {
            let (origin, address) = start(specs).await;
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(GET.as_bytes()).await.expect("takes it");
            let mut all = Vec::new();
            while all.len() < part.len() || !all.ends_with(part.as_bytes()) {
                assert!(stream.read_buf(&mut all).await.expect("reads") > 0, "{specs}");
            }
            stream.shutdown().await.expect("sends FIN");
            stream.read_to_end(&mut all).await.expect("ends");
            assert!(all.ends_with(part.as_bytes()));
            assert_eq!(origin.tally().counts().ends[&End::PeerClosed], 1, "{specs}");
        }
    }
}
