//! From what was said of HTTP/2 to what clients that speak it are held to.

use sheave_net::secured::Alpn;
use sheave_server::config::ServerConfig;

use crate::args::{ClientHttp2, Switch};
use crate::config::InForce;
use crate::duration;
use crate::size;

/// What clients of HTTP/2 are held to.
pub(crate) fn server(said: &ClientHttp2, mut config: ServerConfig) -> ServerConfig {
    config.prior_knowledge = said.http2 == Switch::On;
    let http2 = &mut config.connection.http2;
    http2.max_concurrent_streams = said.http2_max_streams;
    http2.stream_window_bytes = said.http2_window;
    http2.connection_window_bytes = said.http2_connection_window;
    http2.max_frame_bytes = said.http2_max_frame;
    http2.window_timeout = said.http2_window_timeout;
    http2.ping_interval = said.http2_ping_interval;
    http2.ping_timeout = said.http2_ping_timeout;
    config
}

/// What is offered to clients behind TLS, most wanted first.
pub(crate) const fn spoken(said: &ClientHttp2) -> &'static [Alpn] {
    match said.http2 {
        Switch::On => &[Alpn::Http2, Alpn::Http1],
        Switch::Off => &[Alpn::Http1],
    }
}

/// What is in force of it.
pub(crate) fn say(said: &ClientHttp2) -> InForce {
    if said.http2 == Switch::Off {
        return ("http/2", vec![("clients", "off".to_owned())]);
    }
    let words = vec![
        ("streams", said.http2_max_streams.to_string()),
        ("window", size::display(said.http2_window.into())),
        ("of all", size::display(said.http2_connection_window.into())),
        ("frame", size::display(said.http2_max_frame.into())),
        ("closed window", duration::display(said.http2_window_timeout)),
        ("ping", duration::display(said.http2_ping_interval)),
        ("answered", duration::display(said.http2_ping_timeout)),
    ];
    ("http/2", words)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn arguments(flags: &[&str]) -> Result<ClientHttp2, clap::Error> {
        let words = ["sheave", "origin"].iter().chain(flags);
        match Arguments::try_parse_from(words)?.command {
            Command::Origin(origin) => Ok(origin.http2),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_libraries_defaults_are_in_force() {
        let said = arguments(&[]).expect("needs none");
        assert_eq!(server(&said, ServerConfig::default()), ServerConfig::default());
        assert_eq!(spoken(&said), [Alpn::Http2, Alpn::Http1]);
    }

    #[test]
    fn every_flag_arrives() {
        let said = arguments(&[
            "--http2-max-streams=1",
            "--http2-window=2k",
            "--http2-connection-window=3k",
            "--http2-max-frame=32k",
            "--http2-window-timeout=4s",
            "--http2-ping-interval=5s",
            "--http2-ping-timeout=6s",
        ])
        .expect("is right");
        let http2 = server(&said, ServerConfig::default()).connection.http2;
        let numbers = [http2.max_concurrent_streams, http2.stream_window_bytes, http2.connection_window_bytes];
        assert_eq!((numbers, http2.max_frame_bytes), ([1, 2048, 3072], 32_768));
        let seconds = Duration::from_secs;
        let waits = [http2.window_timeout, http2.ping_interval, http2.ping_timeout];
        assert_eq!(waits, [seconds(4), seconds(5), seconds(6)]);
        assert_eq!(say(&said).1[1], ("window", "2k".to_owned()));
    }

    #[test]
    fn it_can_be_left_out() {
        let said = arguments(&["--http2=off"]).expect("is right");
        assert!(!server(&said, ServerConfig::default()).prior_knowledge);
        assert_eq!((spoken(&said), say(&said).1), (&[Alpn::Http1][..], vec![("clients", "off".to_owned())]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flag, part) in [
            ("--http2-max-streams=0", "not in 1"),
            ("--http2-window=0", "more than zero"),
            ("--http2-window=2g", "less than 2g"),
            ("--http2-max-frame=8k", "from 16k"),
            ("--http2-max-frame=16m", "less than 16m"),
        ] {
            let error = arguments(&[flag]).expect_err("is wrong").to_string();
            assert!(error.contains(part), "{flag}: {error}");
        }
    }
}
