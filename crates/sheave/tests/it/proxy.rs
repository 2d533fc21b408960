//! Requests through the proxy.

use std::io::Write;
use std::sync::mpsc::channel;

use crate::support::{Client, Origin, Sheave, read_head};

fn demo(more: &[&str]) -> Sheave {
    Sheave::proxy(&[], more)
}

#[test]
fn without_an_origin_there_is_a_demo() {
    let mut sheave = demo(&[]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    let page = client.response();
    assert!(page.status == 200 && page.text().contains("/echo"), "{page:?}");
    assert!(page.head.contains("Via: 1.1 sheave-"), "{}", page.head);

    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Type: x/y\r\n\r\nhello");
    let echo = client.response();
    assert!(echo.text() == "hello" && echo.has("Content-Type: x/y"), "{echo:?}");

    client.send(
        "POST /sha256 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    );
    // FIPS 180-4's example.
    let digest = client.response();
    assert_eq!(digest.text(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");

    client.ask("/echo?x=1");
    let echo: serde_json::Value = serde_json::from_slice(&client.response().body).expect("JSON");
    assert_eq!((&echo["method"], &echo["target"]), (&"GET".into(), &"/echo?x=1".into()));
    let headers: Vec<(String, String)> = serde_json::from_value(echo["headers"].clone()).expect("pairs");
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("Host"), Some("test"), "kept");
    assert_eq!(header("X-Forwarded-For"), Some("127.0.0.1"));

    for (path, framing) in [("/bytes/300k", "Content-Length: 307200"), ("/chunked/300k", "Transfer-Encoding: chunked")]
    {
        client.ask(path);
        let bytes = client.response();
        assert!(bytes.has(framing), "{}", bytes.head);
        assert_eq!(bytes.body.len(), 307_200);
        let is_right = bytes.body.iter().enumerate().all(|(place, byte)| usize::from(*byte) == 32 + place % 95);
        assert!(is_right, "{path}");
    }
    for (path, status) in [("/status/418", 418), ("/status/204", 204), ("/slow/1", 200), ("/drip/1", 200), ("/no", 404)]
    {
        client.ask(path);
        assert_eq!(client.response().status, status, "{path}");
    }
    // Closed by the origin without a word: the client's connection lives on, and so does the next request.
    client.ask("/close");
    assert_eq!(client.response().text(), "closing\n");
    client.ask("/bytes/1");
    assert_eq!(client.response().text(), " ");
    drop(client);
    assert_eq!(sheave.end(), Some(0), "{:#?}", sheave.said);
}

#[test]
fn the_demo_origin_runs_alone_too() {
    let mut sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--workers=2"]);
    let page = Client::get(sheave.address(), "/headers");
    assert_eq!(page.text(), "Host: test\nConnection: close\n");
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn the_admin_pages_tell_what_goes_on() {
    let sheave = demo(&["--access-log=-"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    client.response();
    let admin = sheave.admin();
    assert_eq!(Client::get(admin, "/healthz").text(), "ok\n");
    assert_eq!(Client::get(admin, "/readyz").text(), "ready\n");
    let page = Client::get(admin, "/connections");
    let live: serde_json::Value = serde_json::from_slice(&page.body).expect("JSON");
    assert_eq!(live["total"], 2, "one towards the client, one towards the origin: {}", page.text());
    let metrics = Client::get(admin, "/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    assert!(metrics.text().contains("sheave_access_log_lines_total{result=\"dropped\"} 0"), "{}", metrics.text());
    let mut poster = Client::connect(admin);
    poster.send("POST /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let refused = poster.response();
    assert!(refused.status == 405 && refused.has("Allow: GET, HEAD"), "{refused:?}");
}

#[test]
fn requests_are_spread_over_origins_below_their_base() {
    let (tell, told) = channel();
    let origin = |name: &'static str| {
        let tell = tell.clone();
        Origin::new(move |mut stream| {
            loop {
                let head = read_head(&stream);
                let Some(line) = head.lines().next() else { return };
                tell.send((name, line.to_owned(), head.contains("Host: 127.0.0.1"))).expect("is heard");
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("takes it");
            }
        })
    };
    let (one, other) = (origin("one"), origin("other"));
    let sheave = Sheave::start([
        "proxy".to_owned(),
        "--from=127.0.0.1:0".to_owned(),
        "--workers=1".to_owned(),
        "--host-header=origin".to_owned(),
        format!("--to=http://{}/base/", one.address),
        format!("--to={}", other.address),
    ]);
    let mut client = Client::connect(sheave.address());
    let mut seen = Vec::new();
    for _ in 0..4 {
        client.ask("/path?query");
        assert_eq!(client.response().status, 204);
        seen.push(told.recv().expect("was asked"));
    }
    seen.sort();
    let line = |name, path: &str| (name, format!("GET {path} HTTP/1.1"), true);
    let [based, plain] = [line("one", "/base/path?query"), line("other", "/path?query")];
    assert_eq!(seen, [based.clone(), based, plain.clone(), plain]);
}

#[test]
fn an_origin_that_is_not_there_is_an_answer_and_no_end() {
    let mut sheave = Sheave::proxy(&[Origin::nobody()], &[]);
    for _ in 0..2 {
        let answer = Client::get(sheave.address(), "/");
        assert_eq!(answer.status, 502);
        assert!(answer.head.contains("Sheave-Error: upstream-connect-refused"), "{}", answer.head);
    }
    let line = sheave.wait_for("origin cannot be reached");
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn an_unknown_origin_is_a_warning_and_no_end() {
    // RFC 6761 §6.4: never resolves.
    let mut sheave = Sheave::start(["proxy", "--from=127.0.0.1:0", "--to=name.invalid:80"]);
    assert_eq!(Client::get(sheave.address(), "/").status, 502);
    assert_eq!(sheave.end(), Some(0));
    let warning = sheave.said.iter().find(|line| line.contains("name.invalid cannot be resolved"));
    assert!(warning.is_some_and(|line| line.contains("WARN")), "{:#?}", sheave.said);
}

#[test]
fn a_trusted_client_speaks_for_others() {
    for (trust, forwarded_for) in [(None, "127.0.0.1"), (Some("--trust-forwarded=127.0.0.0/8"), "192.0.2.7, 127.0.0.1")]
    {
        let sheave = demo(trust.as_slice());
        let mut client = Client::connect(sheave.address());
        client.send("GET /headers HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
        let headers = client.response();
        assert!(headers.text().contains(&format!("X-Forwarded-For: {forwarded_for}\n")), "{}", headers.text());
    }
}

#[test]
fn limits_are_in_force() {
    let sheave = demo(&["--max-requests=2", "--max-head=1k", "--max-body=10"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/bytes/1");
    assert!(!client.response().has("Connection: close"));
    client.ask("/bytes/1");
    assert!(client.response().has("Connection: close"));
    assert!(client.is_ended());

    let mut large = Client::connect(sheave.address());
    large.send(&format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(2000)));
    assert_eq!(large.response().status, 431);

    let mut heavy = Client::connect(sheave.address());
    heavy.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello world");
    assert_eq!(heavy.response().status, 413);
}

#[test]
fn one_process_listens_in_several_places() {
    let sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--from=127.0.0.1:0", "--from=localhost:0"]);
    assert!(sheave.addresses().len() >= 3, "{:#?}", sheave.said);
    for address in sheave.addresses() {
        assert_eq!(Client::get(address, "/bytes/1").text(), " ", "{address}");
    }
}
