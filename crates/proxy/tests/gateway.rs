//! What a gateway's seams can do, and what they cannot break.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kit::message::Message;
use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::{run, run_in_parallel};
use kit::wire::Wire;
use sheave_client::origin::Origin as Upstream;
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_proxy::gateway::{Attempts, Gateway};
use sheave_server::answer::Answer;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

/// Does at each seam what the request's path asks for.
struct ByPath(Vec<Arc<Upstream>>);

/// What a seam has told the later ones.
#[derive(Default)]
struct Seen {
    path: String,
    chosen: usize,
}

impl ByPath {
    fn to(origins: &[SocketAddr]) -> Self {
        Self(origins.iter().map(|address| Arc::new(Upstream::at(*address))).collect())
    }
}

/// Long enough that a poll finds nothing.
async fn later() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl<S: Socket> Gateway<S> for ByPath {
    type Context = Seen;
    type Upstream = Arc<Upstream>;

    async fn before_request(&self, exchange: &mut Exchange<'_, S>, seen: &mut Seen) -> Result<(), HandlerError> {
        seen.path = exchange.request().path_and_query().to_owned();
        assert!(exchange.peer().is_some() && exchange.secured().is_none() && exchange.number() > 0);
        match seen.path.as_str() {
            "/answer" => exchange.answer(&Answer::new(StatusCode::FORBIDDEN, "not-for-you")),
            "/respond" => {
                later().await;
                exchange.respond(&mut ResponseHead::new(StatusCode::IM_A_TEAPOT), b"short and stout").await?;
            }
            "/fail" => return Err(HandlerError::Failed("a-seam-failed")),
            "/rewrite" => {
                let head = exchange.request_mut();
                head.set_target("/rewritten").map_err(|_| HandlerError::Failed("target"))?;
                for (name, value) in
                    [("X-Seam", "1"), ("Connection", "x-seam, close"), ("Keep-Alive", "timeout=1"), ("Via", "1.1 q")]
                {
                    head.fields_mut().push_named(name, value.as_bytes()).map_err(|_| HandlerError::Failed("field"))?;
                }
            }
            // How content is framed is nothing that fields can say.
            "/reframe" => {
                let fields = exchange.request_mut().fields_mut();
                fields.set(Known::ContentLength, b"1").map_err(|_| HandlerError::Failed("field"))?;
                fields.push(Known::TransferEncoding, b"gzip").map_err(|_| HandlerError::Failed("field"))?;
            }
            "/take" => {
                exchange.next().await?;
            }
            "/hints" => exchange.send_head(&mut ResponseHead::new(StatusCode::EARLY_HINTS), BodyLength::None)?,
            _ => {}
        }
        Ok(())
    }

    async fn choose_upstream(
        &self,
        exchange: &mut Exchange<'_, S>,
        attempts: Attempts<'_>,
        seen: &mut Seen,
    ) -> Option<Arc<Upstream>> {
        seen.chosen += 1;
        match seen.path.as_str() {
            "/nowhere" => None,
            "/unknown" => {
                exchange.answer(&Answer::new(StatusCode::NOT_FOUND, "no-route"));
                None
            }
            // Whoever gives the same again and again is not asked for ever.
            "/stubborn" => self.0.first().cloned(),
            _ => {
                later().await;
                self.0.iter().find(|origin| !attempts.has_refused(origin)).cloned()
            }
        }
    }

    async fn before_response(
        &self,
        exchange: &mut Exchange<'_, S>,
        head: &mut ResponseHead,
        seen: &mut Seen,
    ) -> Result<(), HandlerError> {
        let chosen = format!("{}{}", seen.path, seen.chosen);
        head.fields_mut().push_named("X-Seen", chosen.as_bytes()).map_err(|_| HandlerError::Failed("field"))?;
        match seen.path.as_str() {
            "/later" => later().await,
            "/instead" => exchange.answer(&Answer::new(StatusCode::BAD_GATEWAY, "not-good-enough")),
            "/no-content" => *head = ResponseHead::new(StatusCode::NO_CONTENT),
            "/interim" => *head = ResponseHead::new(StatusCode::PROCESSING),
            "/broken" => return Err(HandlerError::Failed("a-seam-failed")),
            "/lie" => {
                for (name, value) in
                    [("Content-Length", "1"), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
                {
                    head.fields_mut().push_named(name, value.as_bytes()).map_err(|_| HandlerError::Failed("field"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn on_error(
        &self,
        exchange: &mut Exchange<'_, S>,
        answer: &mut Answer,
        seen: &mut Seen,
    ) -> Result<(), HandlerError> {
        later().await;
        match seen.path.as_str() {
            "/page" => {
                let page = format!("{} after {} attempts", answer.cause, answer.attempts);
                exchange.respond(&mut ResponseHead::new(answer.status), page.as_bytes()).await?;
            }
            "/kinder" => *answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(7), ..*answer },
            _ => {}
        }
        Ok(())
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

fn summary(response: &Message) -> (u16, Option<&str>, &str) {
    (response.status(), response.cause(), response.text())
}

#[test]
fn a_request_is_seen_before_anything_is_done_with_it() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::with(ByPath::to(&[origin.address]), Setup::default());
        let mut client = rig.client().await;
        let refused = client.ask(get("/answer")).await;
        assert_eq!((refused.status(), refused.cause()), (403, Some("not-for-you")));
        assert_eq!(summary(&client.ask(get("/respond")).await), (418, None, "short and stout"));
        assert_eq!(client.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await.status(), 501);
        assert_eq!(origin.accepted(), 0, "the origin hears of none of these");

        let mut client = rig.client().await;
        assert_eq!(client.ask(get("/rewrite")).await.status(), 200);
        let (_, request) = origin.requests().remove(0);
        assert_eq!(request.target(), "/rewritten");
        assert_eq!((request.field("X-Seam"), request.field("Connection")), (None, None), "it was for one hop alone");
        assert_eq!(request.all("Via"), ["1.1 q", "1.1 p"]);

        client.send(get("/hints")).await;
        assert_eq!(client.response().await.status(), 103);
        assert_eq!(client.response().await.status(), 200);
        rig.finish().await;
    });
}

#[test]
fn content_is_none_of_a_seams_business() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::with(ByPath::to(&[origin.address]), Setup::default());
        let mut client = rig.client().await;
        let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.ask(post("/reframe")).await.status(), 200);
        let (_, request) = origin.requests().remove(0);
        assert_eq!((request.text(), request.all("Content-Length")), ("hello", vec!["5"]));
        assert_eq!(request.field("Transfer-Encoding"), None);

        let refused = client.ask(post("/take")).await;
        assert_eq!(refused.status(), 500);
        assert!(origin.requests().is_empty(), "what was taken cannot be sent on");
        rig.finish().await;
    });
}

#[test]
fn a_response_is_seen_before_its_head_is_written() {
    run(async {
        // The second one comes in two parts, each of which is sent when it is here.
        let origin = Origin::start(async |mut connection| {
            while let Some(request) = connection.request().await {
                if request.target() == "/parts" {
                    connection
                        .send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                        .await;
                    tokio::task::yield_now().await;
                    connection.send("2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n").await;
                } else if !connection.wire.try_send(ok("ok")).await {
                    return;
                }
            }
        })
        .await;
        let rig = Rig::with(ByPath::to(&[origin.address]), Setup::default());
        let mut client = rig.client().await;
        for path in ["/", "/later"] {
            let response = client.ask(get(path)).await;
            assert_eq!((summary(&response), response.field("X-Seen")), ((200, None, "ok"), Some(&*format!("{path}1"))));
        }
        client.send(get("/parts")).await;
        let hints = client.response().await;
        assert_eq!((hints.status(), hints.field("X-Seen")), (103, None));
        let response = client.response().await;
        assert_eq!((response.text(), response.field("X-Seen")), ("ab", Some("/parts1")));
        assert_eq!(response.trailers, [("X-Trailer".to_owned(), "1".to_owned())]);

        let response = client.ask(get("/lie")).await;
        assert_eq!((response.text(), response.all("Content-Length")), ("ok", vec!["2"]));
        assert_eq!((response.field("Transfer-Encoding"), response.field("Connection")), (None, None));
        assert_eq!(origin.accepted(), 1, "its connection is kept");

        let response = client.ask(get("/instead")).await;
        assert_eq!((response.status(), response.cause()), (502, Some("not-good-enough")));
        let response = client.ask(get("/no-content")).await;
        assert_eq!((response.status(), response.text(), response.field("X-Seen")), (204, "", None));
        for path in ["/interim", "/broken"] {
            let mut client = rig.client().await;
            assert_eq!(client.ask(get(path)).await.status(), 500, "{path}");
        }
        rig.finish().await;
    });
}

#[test]
fn each_attempt_is_asked_for_an_origin() {
    run(async {
        let origin = Origin::friendly().await;
        let (gone, gone_too) = (nobody().await, nobody().await);
        let rig = Rig::with(ByPath::to(&[gone, gone_too, origin.address]), Setup::default());
        let mut client = rig.client().await;
        let response = client.ask(get("/")).await;
        assert_eq!((response.status(), response.field("X-Seen")), (200, Some("/3")));
        let response = client.ask(get("/unknown")).await;
        assert_eq!((response.status(), response.cause()), (404, Some("no-route")));
        let response = client.ask(get("/nowhere")).await;
        assert_eq!((response.status(), response.cause()), (502, Some("upstream-unresolved")));
        let response = client.ask(get("/stubborn")).await;
        assert_eq!(response.status(), 502);
        let error = response.field("Sheave-Error").unwrap();
        assert!(error.contains("attempts=1") && error.contains("gave-up=no-other"), "{error}");
        rig.finish().await;
    });
}

#[test]
fn an_error_becomes_another_answer_and_keeps_its_cause() {
    run(async {
        let rig = Rig::with(ByPath::to(&[nobody().await, nobody().await]), Setup::default());
        let mut client = rig.client().await;
        let response = client.ask(get("/page")).await;
        let expected = "upstream-connect-refused after 2 attempts";
        assert_eq!(summary(&response), (502, None, expected));
        let response = client.ask(get("/kinder")).await;
        assert_eq!((response.status(), response.field("Retry-After")), (503, Some("7")));
        // What the proxy refuses itself is seen there, too.
        let response = client.ask("TRACE /page HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
        assert_eq!(summary(&response), (501, None, "trace-not-supported after 0 attempts"));
        let (_, recorder) = rig.finish().await;
        let errors: Vec<_> = recorder.log().ended.iter().map(|ended| ended.error).collect();
        assert_eq!(
            errors,
            [Some("upstream-connect-refused"), Some("upstream-connect-refused"), Some("trace-not-supported")]
        );
    });
}

/// Where the example is. `cargo test` has built it; where only a part was asked for, it is built now.
fn built(example: &str) -> PathBuf {
    // Tests lie beside the folder of the examples.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(example);
    if !path.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--package", "sheave-proxy", "--example", example]);
        assert!(cargo.stderr(Stdio::null()).status().unwrap().success(), "the example does not build");
    }
    path
}

#[test]
fn the_example_runs() {
    let program = built("gateway");
    run_in_parallel(async {
        let (one, other) = (Origin::friendly().await, Origin::friendly().await);
        let mut command = tokio::process::Command::new(program);
        command.args(["127.0.0.1:0", &one.address.to_string(), &other.address.to_string()]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap();
        let mut client = Wire::connect(address.parse().unwrap()).await;
        let refused = client.ask(get("/")).await;
        assert_eq!((refused.status(), refused.cause()), (401, Some("no-key")));
        for key in ["a", "b", "b"] {
            let response = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n")).await;
            assert_eq!((summary(&response), response.field("X-Gateway")), ((200, None, "ok"), Some("by-key")));
        }
        // `a` is odd, `b` is even.
        let (one, other) = (one.requests(), other.requests());
        assert_eq!((one.len(), other.len()), (2, 1));
        assert_eq!(one[0].1.field("X-Api-Key"), None);
        child.kill().await.unwrap();
    });
}
