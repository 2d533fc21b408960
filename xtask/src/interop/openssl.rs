//! TLS to the letter, by `openssl s_client` and by an origin that ends without a word.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::base::{Base, Speaks};
use super::certificates;
use super::curl::Curl;
use super::origins::ORIGINS;
use super::proxy::Proxy;
use super::run::{Place, SetUp};
use super::table::Table;
use crate::process::{Running, free_addrs};
use crate::{command, peers, tools};

pub(super) const SET_UPS: &[SetUp] =
    &[SetUp { name: "openssl", run: openssl }, SetUp { name: "truncation", run: truncation }];

const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &str = "GET /files/small.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// `openssl s_client`, the proxy, nginx.
fn openssl(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let [addr] = free_addrs()?;
    let mut origin = (ORIGINS[0].start)(addr, place.files, place.folder)?;
    origin[0].wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &addr.to_string(), &[], place.folder)?;
    let base = proxy.base(Speaks::Http1OverTls13);
    for version in ["1.2", "1.3"] {
        let session = place.folder.join(format!("session-{version}"));
        table.check(&format!("resumption of TLS {version}"), || resumption(base, version, &session));
    }
    table.check("ALPN", || {
        for (offered, agreed) in [
            ("h2,http/1.1", "ALPN protocol: h2"),
            ("http/1.1", "ALPN protocol: http/1.1"),
            ("http/1.1,h2", "ALPN protocol: h2"),
        ] {
            let said = s_client(base, &["-alpn", offered], "")?;
            ensure!(said.contains(agreed), "{offered} was offered, and there is no `{agreed}` in:\n{}", brief(&said));
        }
        let said = s_client(base, &["-alpn", "nonsense"], REQUEST)?;
        ensure!(
            said.contains("no application protocol"),
            "nonsense was offered, and this came of it:\n{}",
            brief(&said)
        );
        Ok("h2 first, none in common refused".to_owned())
    });
    table.check("HTTP without TLS where TLS is spoken", || {
        let said = Curl::new().url(base.addr, "/").text()?;
        ensure!(said.only()?.status == 400, "status {} instead of 400", said.only()?.status);
        Ok(format!("400: {}", said.body.lines().next().unwrap_or_default()))
    });
    table.check("old TLS", || {
        let said = s_client(base, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], REQUEST)?;
        let is_refused = ["alert protocol version", "alert handshake failure"].iter().any(|alert| said.contains(alert));
        ensure!(is_refused, "TLS 1.1 was offered, and this came of it:\n{}", brief(&said));
        Ok("TLS 1.1 refused by an alert".to_owned())
    });
    proxy.examine_failures(table, None);
    client_certificate(table, place, &addr.to_string())
}

/// A second connection picks up the session of the first, with its certificate checked again by nobody.
fn resumption(base: Base, version: &str, session: &PathBuf) -> Result<String> {
    let _ = fs::remove_file(session);
    let only = if version == "1.2" { "-tls1_2" } else { "-tls1_3" };
    let path = session.display().to_string();
    let first = s_client(base, &[only, "-sess_out", &path], REQUEST)?;
    ensure!(first.contains("New, TLSv1."), "no new session in:\n{}", brief(&first));
    ensure!(first.contains("HTTP/1.1 200 OK"), "no response in:\n{}", brief(&first));
    ensure!(session.exists(), "no session was given");
    let second = s_client(base, &[only, "-sess_in", &path], REQUEST)?;
    ensure!(second.contains("Reused, TLSv1."), "the session was not resumed:\n{}", brief(&second));
    ensure!(second.contains("HTTP/1.1 200 OK"), "no response after the resumption:\n{}", brief(&second));
    Ok("new, then reused".to_owned())
}

fn client_certificate(table: &mut Table, place: &Place<'_>, to: &str) -> Result<()> {
    let authority = certificates::authority().display().to_string();
    let proxy = Proxy::start(place.binary, to, &["--tls-client-ca", &authority], place.folder)?;
    let base = proxy.base(Speaks::Http1OverTls13);
    let [cert, key] = [certificates::client(), certificates::client_key()].map(|path| path.display().to_string());
    table.check("a client's certificate", || {
        for version in ["-tls1_2", "-tls1_3"] {
            let said = s_client(base, &[version, "-cert", &cert, "-key", &key], REQUEST)?;
            ensure!(said.contains("HTTP/1.1 200 OK"), "it was shown, and this came of it:\n{}", brief(&said));
            let said = s_client(base, &[version], REQUEST)?;
            let is_refused = said.contains("certificate required") || said.contains("handshake failure");
            ensure!(is_refused && !said.contains("HTTP/1.1"), "none was shown, and this came of it:\n{}", brief(&said));
        }
        Ok("shown: 200; none: refused by an alert".to_owned())
    });
    proxy.examine_failures(table, None);
    Ok(())
}

/// Connects, sends `request`, and says all that openssl said, however it ended.
fn s_client(base: Base, arguments: &[&str], request: &str) -> Result<String> {
    let mut client = command::bounded(tools::OPENSSL.path()?, PATIENCE);
    client.args(["s_client", "-connect", &base.addr.to_string(), "-servername", "localhost", "-verify_return_error"]);
    client.arg("-CAfile").arg(certificates::authority()).args(arguments);
    if !request.is_empty() {
        client.arg("-ign_eof");
    }
    let mut running = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It may end before it has read.
    let _ = running.stdin.take().context("openssl's input is no pipe")?.write_all(request.as_bytes());
    Ok(command::both(&running.wait_with_output()?))
}

/// What openssl said, without what tells nobody anything: certificates, tickets, a body.
fn brief(said: &str) -> String {
    let is_telling = |line: &&str| {
        ["error", "alert", "ALPN", "HTTP/", "New, ", "Reused, ", "Verif"].iter().any(|word| line.contains(word))
    };
    said.lines().filter(is_telling).collect::<Vec<_>>().join("\n")
}

/// curl, the proxy, an origin over TLS whose bodies end with the connection.
fn truncation(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let [addr] = free_addrs()?;
    let script = peers::write(place.folder, "tls_ends.py", include_str!("../../peers/tls_ends.py"))?;
    let mut command = Command::new(peers::python()?);
    command.arg(script).arg(addr.to_string()).arg(certificates::server()).arg(certificates::server_key());
    let mut origin = Running::start("tls-ends", &command, place.folder)?;
    origin.wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &format!("https://{addr}"), &[], place.folder)?;
    for speaks in [Speaks::Http1, Speaks::Http1OverTls13, Speaks::H2OverTls13] {
        table.speaks = speaks.name();
        let base = proxy.base(speaks);
        table.check("a body that ends by close_notify", || {
            let said = Curl::new().url(base, "/whole").text()?;
            ensure!(said.body.len() == 90_000, "{} bytes of 90000", said.body.len());
            Ok("whole".to_owned())
        });
        table.check("a body that ends without it", || match Curl::new().url(base, "/cut").text() {
            Ok(said) => anyhow::bail!("{} bytes were said to be all of it", said.body.len()),
            Err(_) => Ok("told as cut off".to_owned()),
        });
    }
    proxy.examine_failures(table, None);
    Ok(())
}
