//! The subcommands.

use clap::{Args, Parser, Subcommand};

use super::drain::DrainArguments;
use super::explain::ExplainArguments;
use super::faults::FaultArguments;
use super::http2::ClientHttp2;
use super::limits::{ClientLimits, OriginLimits};
use super::listening::Listening;
use super::logging::Logging;
use super::origins::Origins;
use super::race::DemoArguments;
use super::retries::Retries;
use super::sockets::{ClientSockets, OriginSockets};
use super::timeouts::{ClientTimeouts, OriginTimeouts};
use super::tls::{ClientTlsArguments, OriginTlsArguments};
use super::tunnels::TunnelArguments;

/// What a command's help ends with.
const EXIT_CODES: &str = "\
Exit codes:
  0  drained, and no exchange was lost
  1  could not start: an address in use, a file that cannot be opened
  2  the arguments are wrong
  3  ended with exchanges cut off: the grace was over, or a second signal forced the end
  4  a worker ended on its own; this is a bug
  5  drained, but with --strict, and a connection did not end benignly

Signals:
  TERM, INT   drain; a second one, 200 ms later or more, ends at once
  HUP, USR1   open the access log anew, after it was rotated, and read certificates again
  USR2        start the binary anew with the listening sockets; once it serves, drain";

/// A reverse proxy that loses no request to a connection's own life cycle.
#[derive(Parser, Debug)]
#[command(
    name = "sheave",
    version,
    arg_required_else_help = true,
    after_help = "\
Try it:
  sheave proxy                                       a proxy with a demo origin behind it
  sheave proxy --from :8080 --to 127.0.0.1:9000      a proxy for your own server
  sheave demo race                                   what it protects clients from
  sheave explain                                     where the bottleneck of a running one is"
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Pass requests on to origins, and their responses back.
    ///
    /// Without `--to`, a demo origin is started behind the proxy, so that there is something to see.
    ///
    /// Durations are whole numbers with a unit: 300ms, 5s, 1m30s. Sizes are bytes, or 64k, 10m, 1g.
    Proxy(Box<ProxyArguments>),
    /// Serve the demo origin alone: echoes, bytes, delays, status codes. Its page at / says what there is.
    ///
    /// With `--fault`, an origin that misbehaves on purpose instead.
    Origin(Box<OriginArguments>),
    /// Show what the proxy is for, on loopback ports of its own.
    Demo(DemoArguments),
    /// Say where the bottleneck of a running proxy or origin is, and what to do about it.
    ///
    /// Reads its /metrics twice, and compares: which limit is reached, who waits for whom, what costs most. Where it runs
    /// on this machine, the kernel is asked as well which connections it dropped. Changes nothing.
    Explain(ExplainArguments),
    /// Print the version.
    Version,
}

/// `sheave proxy`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ProxyArguments {
    #[command(flatten)]
    pub(crate) listening: Listening,
    #[command(flatten)]
    pub(crate) client_tls: ClientTlsArguments,
    #[command(flatten)]
    pub(crate) http2: ClientHttp2,
    #[command(flatten)]
    pub(crate) origins: Origins,
    #[command(flatten)]
    pub(crate) origin_tls: OriginTlsArguments,
    #[command(flatten)]
    pub(crate) client_timeouts: ClientTimeouts,
    #[command(flatten)]
    pub(crate) origin_timeouts: OriginTimeouts,
    #[command(flatten)]
    pub(crate) client_limits: ClientLimits,
    #[command(flatten)]
    pub(crate) origin_limits: OriginLimits,
    #[command(flatten)]
    pub(crate) retries: Retries,
    #[command(flatten)]
    pub(crate) tunnels: TunnelArguments,
    #[command(flatten)]
    pub(crate) client_sockets: ClientSockets,
    #[command(flatten)]
    pub(crate) origin_sockets: OriginSockets,
    #[command(flatten)]
    pub(crate) drain: DrainArguments,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// `sheave origin`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct OriginArguments {
    #[command(flatten)]
    pub(crate) listening: Listening,
    #[command(flatten)]
    pub(crate) client_tls: ClientTlsArguments,
    #[command(flatten)]
    pub(crate) http2: ClientHttp2,
    #[command(flatten)]
    pub(crate) faults: FaultArguments,
    #[command(flatten)]
    pub(crate) client_timeouts: ClientTimeouts,
    #[command(flatten)]
    pub(crate) client_limits: ClientLimits,
    #[command(flatten)]
    pub(crate) client_sockets: ClientSockets,
    #[command(flatten)]
    pub(crate) drain: DrainArguments,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::access_log::{Format, LogTarget};
    use crate::address::ListenAddress;
    use crate::args::{Balance, HostHeader, Over, ToProxyProtocol};
    use crate::duration::OrOff;
    use crate::limit::Limit;

    fn proxy(arguments: &str) -> Result<ProxyArguments, clap::Error> {
        let words = ["sheave", "proxy"].into_iter().chain(arguments.split_whitespace());
        match Arguments::try_parse_from(words)?.command {
            Command::Proxy(proxy) => Ok(*proxy),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_parser_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help_and_a_heading() {
        let commands = Arguments::command();
        let demos = commands.find_subcommand("demo").into_iter().flat_map(clap::Command::get_subcommands);
        for command in commands.get_subcommands().chain(demos) {
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                assert!(argument.get_help().is_some(), "{argument}");
                assert!(argument.get_help_heading().is_some(), "{argument}");
            }
        }
    }

    #[test]
    fn the_defaults_are_what_the_help_says() {
        let proxy = proxy("").expect("needs no argument");
        assert_eq!(proxy.listening.from, []);
        assert_eq!(proxy.listening.addresses(), [ListenAddress::loopback(8080)]);
        assert_eq!(proxy.origins.to, []);
        assert_eq!(proxy.origins.balance, Balance::RoundRobin);
        assert_eq!(proxy.origins.host_header, HostHeader::Keep);
        assert_eq!((proxy.listening.proxy_protocol_from, proxy.origins.to_proxy_protocol), (Vec::new(), None));
        let seconds = Duration::from_secs;
        let client = &proxy.client_timeouts;
        assert_eq!(
            [
                client.first_byte_timeout,
                client.head_timeout,
                client.body_timeout,
                client.idle_timeout,
                client.write_timeout,
                client.linger_timeout
            ]
            .map(|timeout| timeout.as_secs()),
            [30, 15, 30, 75, 30, 5]
        );
        assert_eq!(client.exchange_timeout, OrOff::Off);
        let origin = &proxy.origin_timeouts;
        assert_eq!(
            [
                origin.connect_timeout,
                origin.response_timeout,
                origin.upstream_body_timeout,
                origin.upstream_idle_timeout
            ]
            .map(|t| t.as_secs()),
            [5, 60, 60, 30]
        );
        assert_eq!(
            [proxy.drain.drain_announce, proxy.drain.drain_quiet, proxy.drain.drain_grace],
            [Duration::ZERO, Duration::from_millis(200), seconds(30)]
        );
        assert_eq!(proxy.drain.handover_timeout, seconds(30));
        assert_eq!(proxy.logging.access_log, LogTarget::Off);
        assert_eq!(proxy.logging.access_log_format, Format::Json);
        assert_eq!(proxy.client_timeouts.body_min_rate, Limit::Max(240));
        assert_eq!(proxy.client_timeouts.max_age, OrOff::After(seconds(3600)));
        assert!(!proxy.client_timeouts.announce_keep_alive);
        assert_eq!(proxy.client_limits.max_connections, None);
        let shared = &proxy.client_limits;
        assert_eq!(
            [shared.max_connections_per_client, shared.accept_rate, shared.max_requests_in_flight],
            [Limit::Off; 3]
        );
        assert_eq!(shared.over_limit, Over::Wait);
        assert_eq!(proxy.client_limits.max_body, Limit::Off);
    }

    #[test]
    fn all_can_be_said() {
        let proxy = proxy(
            "--from :8080 --from [::1]:81 --to 127.0.0.1:9000 --to http://localhost:9001/base --admin :0 --workers 3 \
             --access-log - --access-log-format combined --balance least-outstanding --trust-forwarded 10.0.0.0/8 \
             --trust-forwarded ::1 --host-header origin --first-byte-timeout 1s --head-timeout 2s --body-timeout 3s \
             --idle-timeout 4s --write-timeout 5s --connect-timeout 6s --response-timeout 7s --upstream-body-timeout 8s \
             --upstream-idle-timeout 9s --exchange-timeout 10s --linger-timeout 11s --drain-announce 12s \
             --drain-quiet 13s --drain-grace 14s --handover-timeout 15s --max-connections 15 --max-requests 16 --max-head 17k --max-request-line 8k --max-fields 100 --max-body 18m \
             --max-upstream-connections 19 --max-upstream-idle 20 --retry-attempts 4 --retry-budget 10% --retry-body 0 \
             --retry-idempotency-key --quiet --body-min-rate 20k --max-age 21m --announce-keep-alive \
             --max-connections-per-client 22 --accept-rate 23 --max-requests-in-flight 24 --over-limit 503 \
             --proxy-protocol-from 192.0.2.0/24 --proxy-protocol-from ::1 --to-proxy-protocol v2 \
             --tls-cert a.pem --tls-key a.key --tls-cert b.pem --tls-key b.key --tls-client-ca c.pem --tls-client-optional \
             --tls-min-version 1.3 --max-handshakes 25 --upstream-ca d.pem --upstream-client-cert e.pem \
             --upstream-client-key e.key --upstream-server-name example.test",
        )
        .expect("is right");
        assert_eq!(proxy.listening.from.len(), 2);
        assert_eq!(proxy.origins.to.len(), 2);
        assert_eq!(proxy.origins.trust_forwarded.len(), 2);
        assert_eq!(proxy.client_timeouts.exchange_timeout, OrOff::After(Duration::from_secs(10)));
        assert_eq!(proxy.client_limits.max_connections, Some(15));
        assert_eq!(proxy.client_limits.max_requests, Limit::Max(16));
        assert_eq!(proxy.client_limits.max_head, 17 << 10);
        assert_eq!(proxy.client_limits.max_body, Limit::Max(18 << 20));
        assert_eq!(proxy.retries.retry_attempts, 4);
        assert_eq!(proxy.client_timeouts.body_min_rate, Limit::Max(20 << 10));
        assert_eq!(proxy.client_limits.over_limit, Over::Answer);
        assert!(proxy.logging.quiet);
        assert_eq!(proxy.listening.proxy_protocol_from.len(), 2);
        assert_eq!(proxy.origins.to_proxy_protocol, Some(ToProxyProtocol::V2));
        assert_eq!((proxy.client_tls.tls_cert.len(), proxy.client_tls.tls_key.len()), (2, 2));
        assert_eq!(proxy.client_limits.max_handshakes, 25);
        assert_eq!(proxy.origin_tls.upstream_server_name.map(|name| name.to_string()).as_deref(), Some("example.test"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        for (arguments, part) in [
            ("--from localhost", "--from"),
            ("--from 127.0.0.1:99999", "no port"),
            ("--to ftp://example.test", "https:// or h2c://"),
            ("--tls-min-version 1.1", "1.2, 1.3"),
            ("--tls-client-optional", "--tls-client-ca"),
            ("--tls-self-signed --tls-cert a.pem", "cannot be used with"),
            ("--upstream-ca a.pem --upstream-tls-insecure", "cannot be used with"),
            ("--upstream-client-cert a.pem", "--upstream-client-key"),
            ("--upstream-server-name a..b", "neither a DNS name nor an IP address"),
            ("--max-handshakes 0", "zero would allow nothing"),
            ("--idle-timeout 0", "a timeout cannot be zero"),
            ("--exchange-timeout 0s", "write `off`"),
            ("--head-timeout 5", "write 5s for seconds"),
            ("--head-timeout off", "--head-timeout"),
            ("--body-min-rate 0", "write `off`"),
            ("--max-age 0", "write `off`"),
            ("--max-connections-per-client 0", "write `off`"),
            ("--accept-rate 5000000000", "4294967295"),
            ("--over-limit drop", "503"),
            ("--tcp-keep-alive 500ms", "whole seconds"),
            ("--backlog 70000", "65535"),
            ("--recv-buffer 3g", "auto"),
            ("--workers 0", "zero would allow nothing"),
            ("--max-head 0", "zero would allow nothing"),
            ("--max-head 1m", "larger than 64k"),
            ("--max-body 10x", "64k or 10m"),
            ("--retry-budget 20", "between 0% and 100%"),
            ("--balance random", "least-outstanding"),
            ("--trust-forwarded home", "10.0.0.0/8"),
            ("--proxy-protocol-from balancer", "10.0.0.0/8"),
            ("--proxy-protocol-from 10.1.2.3/8", "write 10.0.0.0/8"),
            ("--to-proxy-protocol v3", "v1, v2"),
            ("--no-such-flag", "--no-such-flag"),
            ("--idle-timeut 5s", "--idle-timeout"),
        ] {
            let error = proxy(arguments).expect_err(arguments);
            assert_eq!(error.exit_code(), 2, "{arguments}");
            let text = error.to_string();
            assert!(text.contains(part), "{arguments}: {text}");
        }
        assert_eq!(proxy("--help").expect_err("help").kind(), ErrorKind::DisplayHelp);
    }
}
