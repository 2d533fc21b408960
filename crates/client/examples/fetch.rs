//! Fetches URLs, one after another over connections that are kept: what they hold goes to standard output, and what came of
//! each to standard error.
//!
//! ```text
//! cargo run -p sheave-client --example fetch -- [--http2] [--ca PEM] [--put FILE | --post FILE] [--pause MS] URL...
//! ```

use std::error::Error;
use std::fs;
use std::io::Write;
use std::time::Duration;

use http::{Method, Version};
use sheave_client::client::Client;
use sheave_net::tls::certificate::Roots;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};

/// What is asked for.
struct Wanted {
    method: Method,
    content: Vec<u8>,
    version: Version,
    /// The issuers that are believed, if not the system's.
    authority: Option<Vec<u8>>,
    /// Between one request and the next.
    pause: Duration,
    urls: Vec<String>,
}

impl Wanted {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut wanted = Self {
            method: Method::GET,
            content: Vec::new(),
            version: Version::HTTP_11,
            authority: None,
            pause: Duration::ZERO,
            urls: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--http2" => wanted.version = Version::HTTP_2,
                "--ca" => wanted.authority = Some(fs::read(value()?)?),
                "--put" => (wanted.method, wanted.content) = (Method::PUT, fs::read(value()?)?),
                "--post" => (wanted.method, wanted.content) = (Method::POST, fs::read(value()?)?),
                "--pause" => wanted.pause = Duration::from_millis(value()?.parse()?),
                _ => wanted.urls.push(argument),
            }
        }
        Ok(wanted)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let wanted = Wanted::parse(std::env::args().skip(1))?;
    let mut client = Client::builder().timeout(Some(Duration::from_secs(60)));
    if let Some(authority) = &wanted.authority {
        let trust = Trust::Roots(Roots::from_pem(authority)?);
        client = client.tls(ClientTls::new(&ClientSettings::new(trust))?);
    }
    let client = client.build()?;
    for (index, url) in wanted.urls.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(wanted.pause).await;
        }
        let request = client.request(wanted.method.clone(), url.as_str()).version(wanted.version);
        let mut response = request.body(wanted.content.clone()).send().await?;
        let connection = if response.connection().is_reused { "reused" } else { "new" };
        eprintln!("{} {:?} {connection}", response.status().as_u16(), response.version());
        while let Some(piece) = response.chunk().await? {
            std::io::stdout().write_all(&piece)?;
        }
    }
    Ok(())
}
