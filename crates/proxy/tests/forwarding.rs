//! What of a request reaches the origin, to the byte: nothing of the hop before, and what the proxy testifies.

mod kit;

use std::net::Ipv4Addr;
use std::sync::Arc;

use kit::origin::Origin;
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_net::listen::Listener;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proxy::config::{HostPolicy, ProxyConfig};

/// What is sent, and the head, content and trailers that reach the origin. `{us}` stands for what the proxy says of a
/// client on 127.0.0.1 that asked for host `a`.
type Forwarded<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

fn us(host: &str, version: &str) -> String {
    format!(
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Proto: http\r\n\
         Forwarded: for=127.0.0.1;host=\"{host}\";proto=http\r\nVia: {version} p\r\n"
    )
}

/// Each reaches the origin like that, whole or byte by byte, and gets its answer.
fn forwards(setup: &Setup, table: &[Forwarded<'_>]) {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup.clone());
        let mut wrong = Vec::new();
        for (request, head, body, trailers) in table {
            for is_whole in [true, false] {
                let mut client = rig.client().await;
                if is_whole {
                    client.send(request).await;
                } else {
                    client.send_bytewise(request).await;
                }
                let method = request.trim_start().split(' ').next().unwrap_or_default();
                let status = client.response_to(method).await.status();
                let head = head.replace("{us}", &us("a", "1.1")).replace("{origin}", &origin.address.to_string());
                let trailers: Vec<_> =
                    trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                let requests = origin.requests();
                let is_right = match &requests[..] {
                    [(_, got)] => {
                        (got.head.raw.as_str(), got.text(), &got.trailers) == (head.as_str(), *body, &trailers)
                    }
                    _ => false,
                };
                if status != 200 || !is_right {
                    wrong.push(format!(
                        "{request:?} (whole: {is_whole}): {status}\nexpected {head:?} {body:?} {trailers:?}\ngot {requests:?}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len() * 2, wrong.join("\n\n"));
        rig.finish().await;
    });
}

#[test]
fn what_belongs_to_the_hop_ends_here() {
    let table: &[Forwarded<'_>] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n{us}\r\n", "", &[]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-One\r\nX-One: 1\r\nA: 1\r\nConnection: x-two\r\nX-TWO: 2\r\n\
             x-one: 3\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n\
             Proxy-Authorization: Basic eA==\r\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n{us}\r\n",
            "",
            &[],
        ),
        // No protocol is switched to that is not allowed: the request goes on as what it is in HTTP/1.1.
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n{us}\r\n",
            "",
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\n{us}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "",
            &[],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, UPGRADE, a\r\nA: 1\r\nUpgrade: h2c, WebSocket,irc/6.9\r\n\
             Content-Length: 2\r\n\r\nhi",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Upgrade: WebSocket\r\nContent-Length: 2\r\nConnection: upgrade\r\n\r\n",
            "hi",
            &[],
        ),
        // Without its name in Connection, or in HTTP/1.0, it is no offer. RFC 9110 §7.8
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n{us}\r\n", "", &[]),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n{us}\r\n", "", &[]),
        // What a client cannot remove.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, x-forwarded-for, x-forwarded-host, via, forwarded, \
             x-forwarded-proto, x-real-ip, max-forwards, expect\r\nContent-Length: 5\r\nVia: 1.0 fred\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\n{us}Content-Length: 5\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n{us}\r\n",
            "",
            &[],
        ),
        // What it cannot say of itself, in any spelling that an origin could mistake.
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nx-forwarded_for: 1.2.3.4\r\n\
             X-Forwarded-Host: b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /b\r\n\
             X_FORWARDED_PROTO: https\r\nX-Real-IP: 1.2.3.4\r\nX_Real_IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nA: b\r\n\
             X-Forward: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nX-Forward: c\r\n{us}\r\n",
            "",
            &[],
        ),
        // Nor in names with `_`, which origins may take for names with `-`.
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA_B: 1\r\nContent_Length: 5\r\n_: 1\r\nA-B: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA-B: 2\r\n{us}\r\n",
            "",
            &[],
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA_B: 1\r\nA-B: 2\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "",
            &[("A-B", "2")],
        ),
        // All else goes on, in its order and case, line by line.
        (
            "GET / HTTP/1.1\r\nb: 2\r\nHOST: a\r\nB: 1\r\nCookie: x=y\r\ncookie: z\r\nA:\r\nA:  b \t\r\nC: \u{e4}\r\nTrailer: X\r\n\
             Close: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nb: 2\r\nHOST: a\r\nB: 1\r\nCookie: x=y\r\ncookie: z\r\nA: \r\nA: b\r\nC: \u{e4}\r\nTrailer: X\r\n\
             Close: 1\r\n{us}\r\n",
            "",
            &[],
        ),
    ];
    forwards(&Setup::default(), table);
}

#[test]
fn names_with_underscores_are_kept_where_that_is_asked_for() {
    let mut setup = Setup::default();
    setup.proxy.keeps_underscores = true;
    let table: &[Forwarded<'_>] = &[
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA_B: 1\r\nX_Forwarded_For: 1.2.3.4\r\nA-B: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA_B: 1\r\nA-B: 2\r\n{us}\r\n",
            "",
            &[],
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA_B: 1\r\nX_Real_IP: 1.2.3.4\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "",
            &[("A_B", "1")],
        ),
    ];
    forwards(&setup, table);
}

#[test]
fn targets_hosts_and_versions() {
    let as_b = |line: &str, host: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", us(host, "1.1"));
    let odd = "/a/../%2e%2E//b;c?d=e&f=%zz\\\"<>^`{|}'";
    let table = [
        ("GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), as_b("GET /x?y", "b:80")),
        ("GET HTTPS://B/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), as_b("GET /", "B")),
        ("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n".into(), as_b("GET /", "b")),
        ("GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n".into(), as_b("GET /?q", "b")),
        ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n".into(), as_b("OPTIONS *", "b")),
        ("OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), as_b("OPTIONS /", "b")),
        ("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n".into(), as_b("OPTIONS *", "b")),
        ("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n".into(), as_b("GET /", "[::1]:8080")),
        ("GET / HTTP/1.1\r\nHost: a_b.example:65535\r\n\r\n".into(), as_b("GET /", "a_b.example:65535")),
        (format!("GET {odd} HTTP/1.1\r\nHost: b\r\n\r\n"), as_b(&format!("GET {odd}"), "b")),
        ("BREW /pot HTTP/1.1\r\nHost: b\r\n\r\n".into(), as_b("BREW /pot", "b")),
        ("get / HTTP/1.1\r\nHost: b\r\n\r\n".into(), as_b("get /", "b")),
        ("\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n".into(), as_b("GET /", "b")),
        // RFC 9110 §2.5
        ("GET / HTTP/1.9\r\nHost: b\r\n\r\n".into(), as_b("GET /", "b")),
        ("GET / HTTP/1.0\r\nHost: b\r\n\r\n".into(), format!("GET / HTTP/1.1\r\nHost: b\r\n{}\r\n", us("b", "1.0"))),
        (
            "GET / HTTP/1.0\r\nHost: b\r\nConnection: keep-alive\r\n\r\n".into(),
            format!("GET / HTTP/1.1\r\nHost: b\r\n{}\r\n", us("b", "1.0")),
        ),
        // RFC 9112 §3.2: a request of HTTP/1.0 may lack Host, and none of ours may.
        (
            "GET / HTTP/1.0\r\n\r\n".into(),
            "GET / HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
             Forwarded: for=127.0.0.1;proto=http\r\nVia: 1.0 p\r\nHost: {origin}\r\n\r\n"
                .into(),
        ),
        ("GET http://b/x HTTP/1.0\r\n\r\n".into(), format!("GET /x HTTP/1.1\r\nHost: b\r\n{}\r\n", us("b", "1.0"))),
    ];
    let table: Vec<Forwarded<'_>> =
        table.iter().map(|(sent, head)| (sent.as_str(), head.as_str(), "", &[][..])).collect();
    forwards(&Setup::default(), &table);
}

/// RFC 9110 §9.3.1: content is never dropped in silence, whatever the method.
#[test]
fn content_is_framed_anew_and_kept() {
    let table: &[Forwarded<'_>] = &[
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00005\r\nA: b\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n{us}Content-Length: 5\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Content-Length: 0\r\n\r\n",
            "",
            &[],
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n{us}\r\n", "", &[]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "GET / HTTP/1.1\r\nHost: a\r\n{us}Content-Length: 5\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "DELETE / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "HEAD / HTTP/1.1\r\nHost: a\r\n{us}Content-Length: 5\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n{us}Content-Length: 5\r\n\r\n",
            "hello",
            &[],
        ),
        // Chunks, their sizes and extensions are the hop's.
        (
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:\tChunked \r\n\r\n\
             0000000000000003;a;b = \"c\\\";\";d=e\r\nhel\r\n02\r\nlo\r\n000;x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "hello",
            &[],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "",
            &[],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-sum:  2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "hello",
            &[("X-Sum", "1"), ("X-sum", "2")],
        ),
        // Whoever merges trailers into the head must find no testimony there that is not ours.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\
             X-Sum: 1\r\nForwarded: for=1.2.3.4\r\nX_Real_IP: 1.2.3.4\r\nVia: 1.1 q\r\nProxy-Authorization: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n{us}Transfer-Encoding: chunked\r\n\r\n",
            "hello",
            &[("X-Sum", "1")],
        ),
    ];
    forwards(&Setup::default(), table);
}

#[test]
fn hops_are_counted_for_two_methods() {
    let table: &[Forwarded<'_>] = &[
        (
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 4\r\n{us}\r\n",
            "",
            &[],
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n{us}\r\n",
            "",
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n{us}\r\n",
            "",
            &[],
        ),
    ];
    forwards(&Setup::default(), table);
}

#[test]
fn whom_it_trusts_it_adds_to() {
    let trusting = |host| Setup {
        proxy: ProxyConfig { trust: Some(Arc::new(|ip| ip.is_loopback())), host, ..Setup::default().proxy },
        ..Setup::default()
    };
    let table: &[Forwarded<'_>] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n{first}\r\n", "", &[]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Host: b\r\n\
             X-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1\r\nX-Forwarded-Host: b\r\n\
             X-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Port: 1\r\n\
             Forwarded: for=1.2.3.4, for=127.0.0.1;host=\"a\";proto=http\r\nVia: 1.1 p\r\n\r\n",
            "",
            &[],
        ),
    ];
    let first = "Forwarded: for=127.0.0.1;host=\"a\";proto=http\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: a\r\n\
                 X-Forwarded-Proto: http\r\nVia: 1.1 p\r\n";
    let table: Vec<_> = table
        .iter()
        .map(|(sent, head, body, trailers)| (*sent, head.replace("{first}", first), *body, *trailers))
        .collect();
    let table: Vec<Forwarded<'_>> =
        table.iter().map(|(sent, head, body, trailers)| (*sent, head.as_str(), *body, *trailers)).collect();
    forwards(&trusting(HostPolicy::Keep), &table);
    // What the client asked for is said all the same.
    let named = format!("GET / HTTP/1.1\r\nHost: {{origin}}\r\n{first}\r\n");
    forwards(&trusting(HostPolicy::Origin), &[("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &named, "", &[])]);
}

#[test]
fn without_a_pseudonym_there_is_no_via() {
    let proxy = ProxyConfig { pseudonym: None, ..ProxyConfig::default() };
    let head =
        format!("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 p\r\n{}\r\n", us("a", "1.1").replace("Via: 1.1 p\r\n", ""));
    let table: &[Forwarded<'_>] = &[("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 p\r\n\r\n", &head, "", &[])];
    forwards(&Setup { proxy, ..Setup::default() }, table);
}

/// What the proxy answers itself; the connection goes on.
#[test]
fn what_ends_at_the_proxy() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        let table = [
            ("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 200, None),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: 2\r\n\r\nok", 200, None),
            ("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nSecret: x\r\n\r\n", 501, Some("trace-not-supported")),
            ("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 a, 1.1 P (x)\r\n\r\n", 508, Some("proxy-loop")),
        ];
        for (request, status, cause) in table {
            let response = client.ask(request).await;
            assert_eq!((response.status(), response.cause()), (status, cause), "{request:?}");
            assert!(!response.says_close() && !response.text().contains("Secret"), "{request:?}");
        }
        assert_eq!(origin.accepted(), 0);
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200, "the connection goes on");
        drop(client);
        rig.finish().await;
    });
}

/// RFC 9110 §9.3.6: no tunnel, and what was meant for it is no request.
#[test]
fn connect_is_refused_and_ends_the_connection() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (501, Some("connect-not-supported")));
        assert!(response.says_close());
        assert_eq!(client.end().await, End::Fin);
        assert_eq!(origin.accepted(), 0);
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_proxy_to_itself_notices() {
    run(async {
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
        let itself = acceptor.local_addr().unwrap();
        let rig = Rig::behind(acceptor, &[itself], Setup::default());
        let mut client = rig.client().await;
        let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!((response.status(), response.cause()), (508, Some("proxy-loop")));
        assert_eq!(rig.recorder.log().opened_on(sheave_lifecycle::phase::Side::Downstream), 2, "once around");
        drop(client);
        rig.finish().await;
    });
}
