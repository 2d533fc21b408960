//! TLS, towards clients and towards origins.

use std::io::{BufRead, Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::support::{
    Authority, Client, Files, Issued, Origin, Secured, Sheave, TlsOrigin, metric, metric_until, read_head,
};

/// An origin that answers with the head of each request.
fn mirror() -> Origin {
    Origin::new(|mut stream| {
        loop {
            let head = read_head(&stream);
            if head.is_empty() {
                return;
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// An origin behind TLS that answers each request with the number of its connection.
fn numbering(issued: &Issued, clients: Option<&Authority>) -> Origin {
    let connections = AtomicUsize::new(0);
    TlsOrigin::start(issued, clients, move |mut stream| {
        let number = connections.fetch_add(1, Ordering::Relaxed).to_string();
        let mut received = Vec::new();
        loop {
            let mut buffer = [0; 1000];
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(len) => received.extend_from_slice(&buffer[..len]),
            }
            if received.ends_with(b"\r\n\r\n") {
                received.clear();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{number}", number.len());
                if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        }
    })
}

/// A proxy that shows these, in files of their names, to an origin in the clear.
fn showing(files: &Files, shown: &[(&str, &Issued)], to: &Origin, more: &[&str]) -> Sheave {
    let mut arguments = vec!["proxy".to_owned(), "--from=https://127.0.0.1:0".to_owned()];
    arguments.push("--admin=127.0.0.1:0".to_owned());
    arguments.push(format!("--to={}", to.address));
    for (name, issued) in shown {
        arguments.push(format!("--tls-cert={}", files.write(&format!("{name}.pem"), &issued.certificate)));
        arguments.push(format!("--tls-key={}", files.write(&format!("{name}.key"), &issued.key)));
    }
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Sheave::start(arguments)
}

#[test]
fn clients_are_served_by_tls_and_it_is_told() {
    let (authority, files, origin) = (Authority::new(), Files::new(), mirror());
    let issued = authority.issue(&["localhost"]);
    let mut sheave = showing(&files, &[("one", &issued)], &origin, &["--access-log=-", "--from=http://127.0.0.1:0"]);
    let address = sheave.secured_addresses()[0];
    let config = Secured::config(&authority, None);
    let mut client = Secured::connect(address, "localhost", &config).expect("shakes hands");
    for _ in 0..2 {
        let (status, head) = client.get("/").expect("is answered");
        assert_eq!(status, 200);
        assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n") && head.contains(";proto=https\r\n"), "{head}");
    }
    drop(client);
    let mut again = Secured::connect(address, "localhost", &config).expect("shakes hands");
    assert!(again.is_resumed());
    assert_eq!(again.get("/").expect("is answered").0, 200);
    let plain = Client::get(sheave.address(), "/");
    assert!(plain.text().contains("\r\nX-Forwarded-Proto: http\r\n"), "the other listener speaks no TLS");
    let refused = Client::get(address, "/");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("http-to-tls-port"), "{}", refused.text());
    let handshakes = |resumed| {
        format!("sheave_tls_handshakes_total{{side=\"downstream\",version=\"TLSv1.3\",resumed=\"{resumed}\"}}")
    };
    metric_until(&sheave, &handshakes("true"), |count| count >= 1.0);
    assert_eq!(metric(&sheave, &handshakes("false")), 1.0);
    let failures = "sheave_handshake_failures_total{side=\"downstream\",cause=\"http-to-tls-port\"}";
    assert_eq!(metric(&sheave, failures), 1.0);
    let mut log = String::new();
    sheave.output().read_line(&mut log).expect("a line");
    assert!(log.contains(r#""tls":"TLSv1.3""#) && log.contains(r#""sni":"localhost""#), "{log}");
}

/// More than all buffers on the way hold, to a client that rests meanwhile: all of it arrives, and then the word that this is
/// the end, without which rustls gives an error.
#[test]
fn the_end_of_a_long_response_is_announced_to_a_slow_client() {
    const LEN: usize = 3 << 20;
    let (authority, files) = (Authority::new(), Files::new());
    let origin = Origin::new(|mut stream| {
        read_head(&stream);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").and_then(|()| stream.write_all(&vec![b'x'; LEN]));
    });
    let issued = authority.issue(&["localhost"]);
    let sheave = showing(&files, &[("one", &issued)], &origin, &["--send-buffer=4k"]);
    let address = sheave.secured_addresses()[0];
    let mut client = Secured::connect(address, "localhost", &Secured::config(&authority, None)).expect("shakes hands");
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n").expect("is taken");
    let blocked = "sheave_connections_live{side=\"downstream\"}";
    metric_until(&sheave, blocked, |count| count >= 1.0);
    let all = client.rest().expect("ends with close_notify");
    let (_, body) = all.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body.len(), LEN);
    let agreed = "sheave_connections_closed_total{side=\"downstream\",reason=\"agreed\",severity=\"benign\"}";
    metric_until(&sheave, agreed, |count| count >= 1.0);
}

#[test]
fn certificates_are_read_again_when_they_change_and_connections_notice_nothing() {
    let (authority, files, origin) = (Authority::new(), Files::new(), mirror());
    let [old, new, other] = [(); 3].map(|()| authority.issue(&["localhost"]));
    let mut sheave = showing(&files, &[("one", &old)], &origin, &[]);
    let address = sheave.secured_addresses()[0];
    let shown = || {
        let fresh = Secured::connect(address, "localhost", &Secured::config(&authority, None)).expect("shakes hands");
        fresh.shown()
    };
    let mut client = Secured::connect(address, "localhost", &Secured::config(&authority, None)).expect("shakes hands");
    assert_eq!(client.get("/").expect("is answered").0, 200);
    // The key alone is not the certificate's: what is there stays, and it is said once.
    files.write("one.key", &new.key);
    let line = sheave.wait_for("the new certificates cannot be used, and the former ones stay");
    assert!(line.contains("one.key") && line.contains("is not the key of the first certificate"), "{line}");
    assert_eq!(shown(), old.der());
    files.write("one.pem", &new.certificate);
    sheave.wait_for("certificates were read again, and are in force");
    assert_eq!(shown(), new.der());
    // On SIGHUP, too; it is not waited for a look at the files.
    files.write("one.pem", &other.certificate);
    files.write("one.key", &other.key);
    sheave.signal_until(Signal::HUP, "certificates were read again, and are in force");
    assert_eq!(shown(), other.der());
    assert_eq!(client.get("/").expect("is answered").0, 200, "all the while");
}

#[test]
fn certificates_are_chosen_by_name_and_clients_asked_for_theirs() {
    let (authority, stranger, files, origin) = (Authority::new(), Authority::new(), Files::new(), mirror());
    let one = authority.issue(&["one.test"]);
    let two = authority.issue(&["*.two.test"]);
    let ca = format!("--tls-client-ca={}", files.write("ca.pem", &authority.pem()));
    let sheave = showing(&files, &[("one", &one), ("two", &two)], &origin, &[&ca]);
    let address = sheave.secured_addresses()[0];
    let identity = authority.issue(&["a-client"]);
    let config = Secured::config(&authority, Some(&identity));
    for (name, expected) in [("one.test", &one), ("a.two.test", &two)] {
        let mut client = Secured::connect(address, name, &config).expect("shakes hands");
        assert_eq!((client.shown(), client.get("/").expect("is answered").0), (expected.der(), 200), "{name}");
    }
    for identity in [None, Some(stranger.issue(&["a-client"]))] {
        // In TLS 1.3 a client learns only later that it was refused.
        let config = Secured::config(&authority, identity.as_ref());
        let came = Secured::connect(address, "one.test", &config).and_then(|mut client| client.get("/"));
        let error = came.expect_err("is refused").to_string();
        assert!(error.contains("alert"), "the alert is read before the close: {error}");
    }
}

#[test]
fn a_successor_speaks_what_was_spoken_on_each_socket() {
    let origin = mirror();
    let arguments = ["proxy", "--from=http://127.0.0.1:0", "--from=https://127.0.0.1:0", "--from=http://127.0.0.1:0"];
    let to = format!("--to={}", origin.address);
    let more = ["--admin=127.0.0.1:0", "--tls-self-signed=localhost,one.test", &to];
    let mut sheave = Sheave::start(arguments.into_iter().chain(more));
    sheave.hand_over();
    for address in sheave.addresses() {
        assert_eq!(Client::get(address, "/").status, 200, "{address}");
    }
    assert_eq!(Client::get(sheave.secured_addresses()[0], "/").status, 400, "as it is plain HTTP");
}

#[test]
fn origins_are_called_by_tls_and_their_connections_kept() {
    let (authority, files) = (Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    let origin = numbering(&authority.issue(&["localhost"]), None);
    let to = format!("--to=https://localhost:{}", origin.address.port());
    let sheave = Sheave::start(["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", &to, "--upstream-ca", &ca]);
    let mut client = Client::connect(sheave.address());
    for _ in 0..5 {
        client.ask("/");
        assert_eq!(client.response().text(), "0", "one connection, with session tickets that nobody asked for");
    }
    assert_eq!(metric(&sheave, "sheave_connections_reused_total"), 4.0);
    assert_eq!(
        metric(&sheave, "sheave_tls_handshakes_total{side=\"upstream\",version=\"TLSv1.3\",resumed=\"false\"}"),
        1.0
    );
}

#[test]
fn an_origin_that_cannot_be_believed_is_not_called_and_the_cause_is_said() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    for (issued, flags, cause) in [
        (stranger.issue(&["localhost"]), &["--upstream-ca", &*ca][..], Some("unknown-issuer")),
        (authority.issue_until(&["localhost"], 2020), &["--upstream-ca", &ca], Some("certificate-expired")),
        (
            authority.issue(&["one.test", "two.test"]),
            &["--upstream-ca", &ca],
            Some("the certificate is for one.test, two.test, not for localhost"),
        ),
        (authority.issue(&["one.test"]), &["--upstream-ca", &ca, "--upstream-server-name", "one.test"], None),
        (stranger.issue_until(&["one.test"], 2020), &["--upstream-tls-insecure"], None),
    ] {
        let origin = numbering(&issued, None);
        let to = format!("--to=https://localhost:{}", origin.address.port());
        let arguments = ["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", &to];
        let mut sheave = Sheave::start(arguments.iter().chain(flags));
        let response = Client::get(sheave.address(), "/");
        match cause {
            None => assert_eq!(response.status, 200, "{flags:?}"),
            Some(cause) => {
                assert_eq!(response.status, 502, "{cause}");
                let line = sheave.wait_for("the handshake with an origin failed");
                assert!(line.contains(cause), "{line}");
            }
        }
        if flags.contains(&"--upstream-tls-insecure") {
            says(&mut sheave, "NOT checked");
        }
    }
}

#[test]
fn origins_may_ask_for_our_certificate() {
    let (authority, files) = (Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    let origin = numbering(&authority.issue(&["127.0.0.1"]), Some(&authority));
    let to = format!("--to=https://{}", origin.address);
    let start = |more: &[&str]| {
        let arguments = ["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", &to, "--upstream-ca", &ca];
        Sheave::start(arguments.iter().chain(more))
    };
    let ours = authority.issue(&["sheave"]);
    let (certificate, key) = (files.write("ours.pem", &ours.certificate), files.write("ours.key", &ours.key));
    let sheave = start(&["--upstream-client-cert", &certificate, "--upstream-client-key", &key]);
    assert_eq!(Client::get(sheave.address(), "/").status, 200);
    // In TLS 1.3 the handshake is over for us before the origin has looked at what we show.
    let stranger = Authority::new().issue(&["sheave"]);
    let (certificate, key) = (files.write("no.pem", &stranger.certificate), files.write("no.key", &stranger.key));
    let strange = ["--upstream-client-cert", &certificate, "--upstream-client-key", &key];
    for (shown, cause) in [(&[][..], "peer-alert-certificate-required"), (&strange, "peer-alert-unknown-ca")] {
        let mut sheave = start(shown);
        let refused = Client::get(sheave.address(), "/");
        assert_eq!(refused.status, 502);
        assert!(refused.text().contains(&format!("upstream-tls-{cause}")), "{}", refused.text());
        let line = sheave.wait_for("tls-failed");
        assert!(line.contains(cause), "{line}");
    }
}

#[test]
fn what_secures_connections_to_origins_is_read_again_and_those_from_before_are_retired() {
    let (authority, stranger, files) = (Authority::new(), Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    let origin = numbering(&authority.issue(&["localhost"]), Some(&authority));
    let [old, new] = [(); 2].map(|()| authority.issue(&["sheave"]));
    let (certificate, key) = (files.write("ours.pem", &old.certificate), files.write("ours.key", &old.key));
    let to = format!("--to=https://localhost:{}", origin.address.port());
    let arguments = ["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", &to, "--upstream-ca", &ca];
    let identity = ["--upstream-client-cert", &certificate, "--upstream-client-key", &key];
    let mut sheave = Sheave::start(arguments.iter().chain(&identity));
    let retired = "sheave_connections_closed_total{side=\"upstream\",reason=\"retired\",severity=\"benign\"}";
    let mut client = Client::connect(sheave.address());
    let mut ask = || {
        client.ask("/");
        client.response()
    };
    assert_eq!(ask().text(), "0");
    // The key alone is not the certificate's: what is there stays, and it is said once.
    files.write("ours.key", &new.key);
    let line = sheave.wait_for("cannot be used, and the former stays");
    assert!(line.contains("ours.key") && line.contains("--upstream-client-key"), "{line}");
    assert_eq!(ask().text(), "0");
    files.write("ours.pem", &new.certificate);
    sheave.wait_for("what secures connections to origins was read again");
    metric_until(&sheave, retired, |count| count >= 1.0);
    assert_eq!(ask().text(), "1");
    // On SIGHUP, too; it is not waited for a look at the files.
    files.write("ca.pem", &stranger.pem());
    sheave.signal_until(Signal::HUP, "what secures connections to origins was read again");
    metric_until(&sheave, retired, |count| count >= 2.0);
    let refused = ask();
    assert_eq!(refused.status, 502);
    assert!(refused.text().contains("upstream-tls-unknown-issuer"), "{}", refused.text());
}

/// RFC 8446 §6.1: a FIN that is not announced may be anybody's.
#[test]
fn a_body_that_ends_with_its_connection_is_whole_only_if_the_end_was_announced() {
    let (authority, files) = (Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    for is_announced in [true, false] {
        let origin = TlsOrigin::start(&authority.issue(&["localhost"]), None, move |mut stream| {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhalf of it, or all");
            let _ = stream.flush();
            if is_announced {
                stream.conn.send_close_notify();
                let _ = stream.conn.complete_io(&mut stream.sock);
            }
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            let _ = stream.sock.read(&mut [0; 1000]);
        });
        let to = format!("--to=https://localhost:{}", origin.address.port());
        let sheave = Sheave::start(["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", &to, "--upstream-ca", &ca]);
        let mut client = Client::connect(sheave.address());
        client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut stream = client.stream();
        client.skip(18);
        let end = stream.read(&mut [0; 10]).map_err(|error| error.kind());
        let expected = if is_announced { Ok(0) } else { Err(std::io::ErrorKind::ConnectionReset) };
        assert_eq!(end, expected, "announced: {is_announced}");
    }
}

/// Waits until it says this, if it has not: log lines and the banner have no order.
fn says(sheave: &mut Sheave, part: &str) {
    if !sheave.said.iter().any(|line| line.contains(part)) {
        sheave.wait_for(part);
    }
}

/// Runs to the end: the exit code, and what it said.
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
    command.args(["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0"]).args(arguments);
    let mut sheave = Sheave::spawn(command);
    let (code, _) = sheave.wait();
    (code, sheave.said.join("\n"))
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_path_and_what_to_do() {
    let (authority, files) = (Authority::new(), Files::new());
    let [one, other] = [(); 2].map(|()| authority.issue(&["localhost"]));
    let certificate = files.write("one.pem", &one.certificate);
    let key = files.write("one.key", &one.key);
    let others = files.write("other.key", &other.key);
    let text = files.write("text.pem", "a certificate, some day");
    let encrypted = files.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8GCSqGSIb3DQEFDTBS\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let absent = files.path("absent.pem");
    for (arguments, code, parts) in [
        (vec!["--tls-cert", &absent, "--tls-key", &key], 1, [&*absent, "check its path", "--tls-cert"]),
        (vec!["--tls-cert", &certificate, "--tls-key", &absent], 1, [&absent, "check its path", "--tls-key"]),
        (vec!["--tls-cert", &text, "--tls-key", &key], 1, [&text, "BEGIN CERTIFICATE", "--tls-cert"]),
        (vec!["--tls-cert", &certificate, "--tls-key", &text], 1, [&text, "BEGIN PRIVATE KEY", "--tls-key"]),
        (vec!["--tls-cert", &certificate, "--tls-key", &encrypted], 1, [&encrypted, "openssl pkey", "--tls-key"]),
        (vec!["--tls-cert", &certificate, "--tls-key", &others], 1, [&others, "is not the key", &certificate]),
        (vec!["--tls-cert", &certificate], 2, ["--tls-cert is there once", "--tls-key 0 times", "its key"]),
        (vec!["--from=https://127.0.0.1:0"], 2, ["--tls-cert", "--tls-self-signed", "certificate"]),
        (vec!["--tls-client-ca", &certificate], 2, ["--tls-client-ca", "--tls-cert", "no client"]),
        (vec!["--to=https://localhost", "--upstream-ca", &text], 1, [&text, "--upstream-ca", "no certificate"]),
        (vec!["--to=http://localhost", "--upstream-ca", &certificate], 2, ["--upstream-ca", "no origin", "https://"]),
    ] {
        let (found, said) = fails(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let (authority, files, origin) = (Authority::new(), Files::new(), mirror());
    let expired = authority.issue_until(&["localhost"], 2020);
    let mut sheave = showing(&files, &[("one", &expired)], &origin, &[]);
    says(&mut sheave, "a certificate cannot be believed now: it expired");
    let error = Secured::connect(sheave.secured_addresses()[0], "localhost", &Secured::config(&authority, None))
        .and_then(|mut client| client.get("/"))
        .expect_err("is not believed");
    assert!(error.to_string().contains("expired"), "{error}");
}
