//! Every example runs: each is started on a free port, asked one thing, and drained by a signal.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::env;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use futures_util::{SinkExt, StreamExt};
use kit::run;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// Where an example is. `cargo test` has built it; where only a part was asked for, it is built now.
fn built(example: &str) -> PathBuf {
    static ONCE: Once = Once::new();
    // Tests lie beside the folder of the examples.
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(example);
    if !path.exists() {
        ONCE.call_once(|| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--package", "sheave-server", "--package", "sheave-tower", "--examples"]);
            assert!(cargo.stderr(Stdio::null()).status().unwrap().success(), "the examples do not build");
        });
    }
    path
}

/// Runs an example while `ask` asks it, then interrupts it and gives what it said after its address.
fn with<F: Future<Output = ()>>(example: &str, ask: impl FnOnce(String) -> F) -> String {
    let program = built(example);
    run(start(example, &program, ask))
}

async fn start<F: Future<Output = ()>>(example: &str, program: &Path, ask: impl FnOnce(String) -> F) -> String {
    let mut command = tokio::process::Command::new(program);
    let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).await.unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
    ask(url).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{example} ended badly: {rest}");
    rest
}

async fn get(url: String) -> String {
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[test]
fn hello() {
    let said = with("hello", async |url| assert_eq!(get(url).await, "hello, world\n"));
    assert!(said.contains("closed: ") && said.ends_with(", 0 lost\n"), "{said}");
    // One connection, which ended well whoever was quicker.
    assert!(said.contains(" (Benign) 1\n"), "{said}");
}

#[test]
fn axum() {
    let said = with("axum", async |url| assert_eq!(get(url).await, "hello, 127.0.0.1\n"));
    assert!(said.starts_with("drained: ") && said.ends_with(", 0 lost\n"), "{said}");
}

#[test]
fn streaming() {
    with("streaming", async |url| {
        assert_eq!(get(format!("{url}/download/1000000")).await.len(), 1_000_000);
        let client = reqwest::Client::new();
        let sent = client.put(format!("{url}/upload")).body(vec![0; 1_000_000]).send().await.unwrap();
        assert_eq!(sent.text().await.unwrap(), "1000000 bytes\n");
        let echoed = client.put(format!("{url}/echo")).body("both at once").send().await.unwrap();
        assert_eq!(echoed.text().await.unwrap(), "both at once");
    });
}

#[test]
fn sse() {
    with("sse", async |url| {
        let mut events = reqwest::get(format!("{url}/time")).await.unwrap().bytes_stream();
        let event = events.next().await.unwrap().unwrap();
        assert!(event.starts_with(b"event: time\ndata: "), "{event:?}");
    });
}

#[test]
fn websocket() {
    with("websocket", async |url| {
        let url = url.replace("http://", "ws://") + "/echo";
        let stream = TcpStream::connect(url["ws://".len()..].trim_end_matches("/echo")).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        socket.send(Message::text("anybody there?")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("anybody there?"));
        socket.close(None).await.unwrap();
    });
}
