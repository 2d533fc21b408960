//! CONNECT: curl through the proxy to where it may lead, and what it is told of where it may not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::base::{Base, Speaks};
use super::certificates;
use super::curl::Curl;
use super::files::Sample;
use super::ledger;
use super::origins::ORIGINS;
use super::proxy::Proxy;
use super::run::{Place, SetUp};
use super::table::Table;
use crate::process::free_addrs;
use crate::{command, tools};

pub(super) const SET_UPS: &[SetUp] = &[SetUp { name: "connect", run: connect }];

const PATIENCE: Duration = Duration::from_secs(10);

/// More than the sockets on the way hold, so that it has to flow.
const LEN: usize = 4 << 20;

/// curl, the proxy as it is reached in each way, nginx with TLS and without.
fn connect(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let mut origins = Vec::new();
    let mut bases = Vec::new();
    for (name, speaks) in [("nginx", Speaks::Http1), ("nginx-tls", Speaks::Http1OverTls13)] {
        let origin = ORIGINS.iter().find(|origin| origin.name == name).context("an origin of that name")?;
        let [addr] = free_addrs()?;
        let mut running = (origin.start)(addr, place.files, place.folder)?;
        running[0].wait_until_it_listens(addr)?;
        origins.extend(running);
        bases.push(Base { addr, speaks });
    }
    let reader = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let [plain, secured, denied] = [bases[0].addr, bases[1].addr, free_addrs::<1>()?[0]];
    let allowed = [plain, secured, reader.local_addr()?].map(|addr| addr.to_string());
    let more: Vec<&str> = allowed.iter().flat_map(|addr| ["--connect-allow", addr]).collect();
    let proxy = Proxy::start(place.binary, &plain.to_string(), &more, place.folder)?;
    let mut tunnels = 0;
    for way in ways()? {
        table.speaks = way.name;
        for base in &bases {
            table.check(&format!("CONNECT to {}", base.speaks.name()), || {
                let path = format!("/files/{}", Sample::Large.name());
                let said = way.through(&proxy).url(*base, &path).hashed()?;
                ensure!(said.only()?.status == 200, "status {} instead of 200", said.only()?.status);
                ensure!(said.body == place.files.digest(Sample::Large), "the body is not the file's");
                Ok(Sample::Large.size().to_owned())
            });
            tunnels += 1;
        }
        table.check("CONNECT to where it may not lead", || {
            let Err(error) = way.through(&proxy).url(denied, "/").text() else { bail!("it was let through") };
            let error = format!("{error:#}");
            ensure!(error.contains("403"), "curl was told no 403, and said: {error}");
            Ok("403".to_owned())
        });
    }
    table.speaks = Speaks::Http1.name();
    table.check("half-close, both ways", || half_close(proxy.plain, &reader));
    tunnels += 1;
    table.check("counted as tunnels", || ledger::tunnels(proxy.admin, tunnels));
    proxy.examine(table, None);
    let closed = Proxy::start(place.binary, &plain.to_string(), &[], place.folder)?;
    table.check("CONNECT where it is off", || {
        let Err(error) = WAYS[0].through(&closed).url(bases[0], "/").text() else { bail!("it was let through") };
        let error = format!("{error:#}");
        ensure!(error.contains("501"), "curl was told no 501, and said: {error}");
        Ok("501".to_owned())
    });
    Ok(())
}

/// How curl reaches the proxy.
struct Way {
    name: &'static str,
    is_secured: bool,
    arguments: &'static [&'static str],
}

const WAYS: [Way; 3] = [
    Way { name: "http", is_secured: false, arguments: &[] },
    Way { name: "https", is_secured: true, arguments: &[] },
    Way { name: "https, h2", is_secured: true, arguments: &["--proxy-http2"] },
];

/// Those that the curl which is here knows: HTTP/2 towards proxies is there from 8.1 on.
fn ways() -> Result<impl Iterator<Item = &'static Way>> {
    let help = command::output(Command::new(tools::CURL.path()?).args(["--help", "proxy"]))?;
    Ok(WAYS.iter().filter(move |way| way.arguments.iter().all(|argument| help.contains(argument))))
}

impl Way {
    fn through(&self, proxy: &Proxy) -> Curl {
        let (scheme, addr) = if self.is_secured { ("https", proxy.secured) } else { ("http", proxy.plain) };
        let curl = self.arguments.iter().fold(Curl::new(), |curl, argument| curl.arg(argument));
        let curl = curl.arg("--noproxy").arg("").arg("--proxytunnel").arg("--proxy").arg(format!("{scheme}://{addr}"));
        curl.arg("--proxy-cacert").arg(certificates::authority())
    }
}

/// The client says all, and ends its direction; only then is it answered, with as much, and an end of its own.
fn half_close(proxy: SocketAddr, reader: &TcpListener) -> Result<String> {
    let to = reader.local_addr()?;
    thread::scope(|scope| {
        let origin = scope.spawn(|| {
            let (mut stream, _) = reader.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)?;
            anyhow::Ok(all.len())
        });
        let mut stream = TcpStream::connect(proxy)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("no head came")?;
            head.push(byte[0]);
        }
        ensure!(head.starts_with(b"HTTP/1.1 200 "), "it was answered {}", head.escape_ascii());
        let said: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        stream.write_all(&said)?;
        stream.shutdown(Shutdown::Write)?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).context("the answer")?;
        let arrived = origin.join().expect("a check does not panic")?;
        ensure!(arrived == LEN && heard == said, "{arrived} bytes arrived, and {} came back", heard.len());
        Ok(format!("{} MiB there, FIN, {} MiB back, FIN", LEN >> 20, LEN >> 20))
    })
}
