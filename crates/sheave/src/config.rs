//! What was said on the command line, as the libraries want it.

use std::num::NonZeroU64;
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::keep_alive::{Careful, KeepAlivePolicy};
use sheave_lifecycle::limit::OverLimit;
use sheave_lifecycle::retry::RetryPolicy;
use sheave_net::dial::DialPlan;
use sheave_net::endpoint::{Manner, Protocols, Secure};
use sheave_net::leg::LingerPlan;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::h2_config::Http2Config;
use sheave_proto::limits::Limits;
use sheave_proxy::config::{self as proxy, HostPolicy, ProxyConfig};
use sheave_server::admission::SharedLimits;
use sheave_server::config::ServerConfig;

use crate::address::Scheme;
use crate::args::{
    Balance, CarefulReuse, ClientLimits, ClientTimeouts, DrainArguments, HostHeader, Listening, OriginLimits,
    OriginTimeouts, OriginTlsArguments, Origins, Over, Retries, ToProxyProtocol, UpstreamHttp2,
};
use crate::duration;
use crate::exit::Failure;
use crate::limit::Limit;
use crate::network;
use crate::room;
use crate::share;
use crate::size;

/// What clients are held to. The number of connections is left at the library's: it depends on the machine.
pub(crate) fn server(timeouts: &ClientTimeouts, limits: &ClientLimits, drain: &DrainArguments) -> ServerConfig {
    ServerConfig {
        connection: ConnectionConfig {
            limits: message_limits(limits),
            timeouts: Timeouts {
                first_byte: timeouts.first_byte_timeout,
                head: timeouts.head_timeout,
                body: timeouts.body_timeout,
                idle: timeouts.idle_timeout,
                min_body_rate: timeouts.body_min_rate.max().and_then(NonZeroU64::new),
                ..Timeouts::default()
            },
            max_requests: limits.max_requests.max().unwrap_or(u64::MAX),
            max_age: timeouts.max_age.duration(),
            announces_keep_alive: timeouts.announce_keep_alive,
            ..ConnectionConfig::default()
        },
        handshake_timeout: timeouts.handshake_timeout,
        max_handshakes: to_len(limits.max_handshakes),
        write_timeout: timeouts.write_timeout,
        linger: LingerPlan { timeout: timeouts.linger_timeout, ..LingerPlan::default() },
        exchange_timeout: timeouts.exchange_timeout.duration(),
        shared: SharedLimits {
            max_connections_per_client: limits.max_connections_per_client.small_max(),
            accept_rate: limits.accept_rate.small_max(),
            max_exchanges: limits.max_requests_in_flight.small_max(),
        },
        over_limit: match limits.over_limit {
            Over::Wait => OverLimit::Wait,
            Over::Answer => OverLimit::Answer,
            Over::Close => OverLimit::Close,
        },
        drain: DrainPlan {
            announce: drain.drain_announce,
            quiet: drain.drain_quiet,
            grace: drain.drain_grace,
            ..DrainPlan::default()
        },
        ..ServerConfig::default()
    }
}

/// Whether what was said of clients can be done.
///
/// # Errors
///
/// A line that says what contradicts what.
pub(crate) fn check(timeouts: &ClientTimeouts) -> Result<(), Failure> {
    let waits = Timeouts { idle: timeouts.idle_timeout, ..Timeouts::default() };
    if timeouts.announce_keep_alive && waits.promise().is_none() {
        return Err(Failure::usage(format!(
            "--announce-keep-alive: with --idle-timeout {} there is nothing to promise; it takes 2s at least",
            duration::display(timeouts.idle_timeout)
        )));
    }
    Ok(())
}

/// Whether what was said of origins can be done.
///
/// # Errors
///
/// A line that says what contradicts what.
pub(crate) fn check_origins(origins: &Origins, limits: &OriginLimits, tls: &OriginTlsArguments) -> Result<(), Failure> {
    if let Some(flag) = tls.given()
        && !origins.to.iter().any(|origin| origin.scheme.is_secured())
    {
        return Err(Failure::usage(format!("{flag}: TLS is spoken to no origin; write --to https://HOST[:PORT]")));
    }
    let Some(version) = origins.to_proxy_protocol else { return Ok(()) };
    let contradiction = if origins.to.is_empty() {
        "without --to, requests go to a demo origin of our own, which expects no PROXY header"
    } else if limits.prewarm > 0 {
        "with --prewarm, connections would be opened that name no client, and no request could use them"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("--to-proxy-protocol {}: {contradiction}", version.label())))
}

/// How an origin is spoken to.
pub(crate) fn manner(origins: &Origins, scheme: Scheme, tls: Option<Secure>) -> Manner {
    let protocols = match scheme {
        Scheme::H2c => Protocols::Http2,
        Scheme::Https if origins.upstream_http2 == UpstreamHttp2::On => Protocols::Either,
        Scheme::Https | Scheme::Http => Protocols::Http1,
    };
    Manner { tls, protocols, announces: origins.to_proxy_protocol.map(ToProxyProtocol::header) }
}

/// What origins are held to, by one of so many workers.
pub(crate) fn client(
    clients: &ClientTimeouts,
    timeouts: &OriginTimeouts,
    messages: &ClientLimits,
    limits: &OriginLimits,
    retries: &Retries,
    workers: u64,
) -> ClientConfig {
    let defaults = ClientConfig::default();
    let connection = ConnectionConfig {
        // How long a response's body may be is the origin's business.
        limits: Limits { max_body_bytes: None, ..message_limits(messages) },
        timeouts: Timeouts {
            response: timeouts.response_timeout,
            body: timeouts.upstream_body_timeout,
            idle: timeouts.upstream_idle_timeout,
            ..defaults.connection.timeouts
        },
        max_requests: limits.upstream_max_requests.max().unwrap_or(u64::MAX),
        max_age: timeouts.upstream_max_age.duration(),
        http2: Http2Config { max_concurrent_streams: limits.upstream_max_streams, ..defaults.connection.http2 },
        ..defaults.connection
    };
    let careful = match retries.careful_reuse {
        CarefulReuse::Younger => Careful::Younger,
        CarefulReuse::Never => Careful::AlwaysFresh,
        CarefulReuse::Usual => Careful::LikeOthers,
    };
    ClientConfig {
        connection,
        write_timeout: clients.write_timeout,
        dial: DialPlan { connect_timeout: timeouts.connect_timeout, ..defaults.dial },
        handshake_timeout: timeouts.upstream_handshake_timeout,
        max_idle: room::share(limits.max_upstream_idle, workers),
        max_connections: room::share(limits.max_upstream_connections, workers),
        keep_alive: KeepAlivePolicy { careful, ..defaults.keep_alive },
        max_queue: room::share(limits.max_queue, workers),
        queue_timeout: timeouts.queue_timeout,
        prewarm: room::share(limits.prewarm, workers),
        ..defaults
    }
}

/// How requests are passed on. Made once and cloned for each worker: its name in `Via` is one for the process, so that a
/// request that comes back is recognised by whichever worker it meets.
pub(crate) fn proxy(origins: &Origins, retries: &Retries) -> ProxyConfig {
    ProxyConfig {
        host: match origins.host_header {
            HostHeader::Keep => HostPolicy::Keep,
            HostHeader::Origin => HostPolicy::Origin,
        },
        trust: network::any_of(&origins.trust_forwarded),
        retry: RetryPolicy {
            max_attempts: u32::try_from(retries.retry_attempts).unwrap_or(u32::MAX),
            budget_share: retries.retry_budget,
            budget_per_second: retries.retry_per_second,
            ..RetryPolicy::default()
        },
        trust_idempotency_key: retries.retry_idempotency_key,
        keeps_underscores: origins.keep_underscores,
        max_replay_bytes: to_len(retries.retry_body),
        balance: match origins.balance {
            Balance::RoundRobin => proxy::Balance::RoundRobin,
            Balance::LeastOutstanding => proxy::Balance::LeastOutstanding,
        },
        ..ProxyConfig::default()
    }
}

fn message_limits(limits: &ClientLimits) -> Limits {
    Limits {
        max_head_bytes: to_len(limits.max_head),
        max_request_line_bytes: to_len(limits.max_request_line),
        max_fields: to_len(limits.max_fields),
        max_body_bytes: limits.max_body.max(),
        ..Limits::default()
    }
}

fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A title, and what is in force under it.
pub(crate) type InForce = (&'static str, Vec<(&'static str, String)>);

/// What clients are held to, in words.
pub(crate) fn say_clients(timeouts: &ClientTimeouts, limits: &ClientLimits) -> Vec<InForce> {
    let exchange = timeouts.exchange_timeout.duration().map_or("off".to_owned(), duration::display);
    let waits = [
        ("handshake", timeouts.handshake_timeout),
        ("first byte", timeouts.first_byte_timeout),
        ("head", timeouts.head_timeout),
        ("body", timeouts.body_timeout),
        ("idle", timeouts.idle_timeout),
        ("write", timeouts.write_timeout),
        ("linger", timeouts.linger_timeout),
    ];
    let mut waits = say_waits(&waits);
    waits.push(("exchange", exchange));
    waits.push(("age", timeouts.max_age.duration().map_or("off".to_owned(), duration::display)));
    let bounds = vec![
        ("head", size::display(limits.max_head)),
        ("request line", size::display(limits.max_request_line)),
        ("fields", limits.max_fields.to_string()),
        ("body", limits.max_body.max().map_or("off".to_owned(), size::display)),
        ("body a second", timeouts.body_min_rate.max().map_or("off".to_owned(), size::display)),
        ("requests a connection", say_limit(limits.max_requests)),
    ];
    let beyond = match limits.over_limit {
        Over::Wait => "wait",
        Over::Answer => "503",
        Over::Close => "close",
    };
    let load = vec![
        ("connections a client", say_limit(limits.max_connections_per_client)),
        ("accepted a second", say_limit(limits.accept_rate)),
        ("handshakes", limits.max_handshakes.to_string()),
        ("requests in flight", say_limit(limits.max_requests_in_flight)),
        ("beyond", beyond.to_owned()),
    ];
    vec![("client timeouts", waits), ("limits", bounds), ("load", load)]
}

/// What origins are held to, in words.
pub(crate) fn say_origins(timeouts: &OriginTimeouts, limits: &OriginLimits, retries: &Retries) -> Vec<InForce> {
    let waits = [
        ("connect", timeouts.connect_timeout),
        ("handshake", timeouts.upstream_handshake_timeout),
        ("response", timeouts.response_timeout),
        ("body", timeouts.upstream_body_timeout),
        ("idle", timeouts.upstream_idle_timeout),
        ("queue", timeouts.queue_timeout),
    ];
    let mut waits = say_waits(&waits);
    waits.push(("age", timeouts.upstream_max_age.duration().map_or("off".to_owned(), duration::display)));
    let mut bounds = vec![
        ("connections an address", limits.max_upstream_connections.to_string()),
        ("parked", limits.max_upstream_idle.to_string()),
        ("waiting", limits.max_queue.to_string()),
        ("requests a connection", say_limit(limits.upstream_max_requests)),
        ("requests at once", limits.upstream_max_streams.to_string()),
        ("prewarmed", limits.prewarm.to_string()),
    ];
    bounds.extend(limits.max_upstream_total.map(|total| ("connections", total.to_string())));
    let again = vec![
        ("attempts", retries.retry_attempts.to_string()),
        ("budget", share::display(retries.retry_budget)),
        ("body kept", size::display(retries.retry_body)),
        ("careful reuse", retries.careful_reuse.label().to_owned()),
    ];
    vec![("origin timeouts", waits), ("origin limits", bounds), ("retries", again)]
}

/// Who announces clients by a PROXY header, in words; nothing where nobody does.
pub(crate) fn say_proxy_protocol(listening: &Listening, to: Option<ToProxyProtocol>) -> Option<InForce> {
    let from = listening.proxy_protocol_from.iter().map(ToString::to_string).collect::<Vec<_>>();
    let from = (!from.is_empty()).then(|| ("from", from.join(" ")));
    let to = to.map(|version| ("to origins", version.label().to_owned()));
    let said: Vec<_> = from.into_iter().chain(to).collect();
    (!said.is_empty()).then_some(("PROXY protocol", said))
}

/// How a drain goes, in words.
pub(crate) fn say_drain(drain: &DrainArguments) -> InForce {
    let waits = [
        ("announce", drain.drain_announce),
        ("quiet", drain.drain_quiet),
        ("grace", drain.drain_grace),
        ("handover", drain.handover_timeout),
    ];
    ("drain", say_waits(&waits))
}

fn say_waits(waits: &[(&'static str, Duration)]) -> Vec<(&'static str, String)> {
    waits.iter().map(|(name, wait)| (*name, duration::display(*wait))).collect()
}

fn say_limit(limit: Limit) -> String {
    limit.max().map_or("off".to_owned(), |max| max.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use sheave_net::endpoint::ProxyHeader;

    use crate::args::{Arguments, Command, ProxyArguments};

    fn arguments(flags: &[&str]) -> ProxyArguments {
        let words = ["sheave", "proxy"].iter().chain(flags);
        match Arguments::try_parse_from(words).expect("is right").command {
            Command::Proxy(proxy) => *proxy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_libraries_defaults_are_in_force() {
        let said = arguments(&[]);
        assert_eq!(server(&said.client_timeouts, &said.client_limits, &said.drain), ServerConfig::default());
        let ours = client(
            &said.client_timeouts,
            &said.origin_timeouts,
            &said.client_limits,
            &said.origin_limits,
            &said.retries,
            1,
        );
        let defaults = ClientConfig::default();
        assert_eq!(ours.connection, defaults.connection);
        assert_eq!((ours.max_idle, ours.max_connections), (defaults.max_idle, defaults.max_connections));
        assert_eq!((ours.dial, ours.write_timeout), (defaults.dial, defaults.write_timeout));
        assert_eq!((ours.keep_alive, ours.prewarm), (defaults.keep_alive, defaults.prewarm));
        assert_eq!((ours.max_queue, ours.queue_timeout), (defaults.max_queue, defaults.queue_timeout));
        let (ours, defaults) = (proxy(&said.origins, &said.retries), ProxyConfig::default());
        assert_eq!(ours.retry, defaults.retry);
        assert_eq!((ours.host, ours.balance), (defaults.host, defaults.balance));
        assert_eq!(ours.max_replay_bytes, defaults.max_replay_bytes);
        assert!(ours.trust.is_none() && !ours.trust_idempotency_key && !ours.keeps_underscores);
        assert!(manner(&said.origins, Scheme::Http, None).is_plain());
        assert_eq!(say_proxy_protocol(&said.listening, None), None);
    }

    #[test]
    fn every_flag_arrives() {
        let said = arguments(&[
            "--first-byte-timeout=1s",
            "--handshake-timeout=34s",
            "--head-timeout=2s",
            "--body-timeout=3s",
            "--idle-timeout=4s",
            "--write-timeout=5s",
            "--connect-timeout=6s",
            "--upstream-handshake-timeout=35s",
            "--response-timeout=7s",
            "--upstream-body-timeout=8s",
            "--upstream-idle-timeout=9s",
            "--exchange-timeout=10s",
            "--linger-timeout=11s",
            "--drain-announce=12s",
            "--drain-quiet=13s",
            "--drain-grace=14s",
            "--max-requests=16",
            "--body-min-rate=24",
            "--max-age=25s",
            "--announce-keep-alive",
            "--max-connections-per-client=26",
            "--accept-rate=27",
            "--max-requests-in-flight=28",
            "--over-limit=close",
            "--max-head=17k",
            "--max-request-line=18k",
            "--max-fields=19",
            "--max-body=20k",
            "--max-upstream-connections=21",
            "--max-upstream-idle=22",
            "--max-queue=29",
            "--queue-timeout=30s",
            "--upstream-max-age=31s",
            "--upstream-max-requests=32",
            "--upstream-max-streams=34",
            "--prewarm=33",
            "--careful-reuse=never",
            "--retry-attempts=4",
            "--retry-budget=50%",
            "--retry-per-second=24",
            "--retry-body=23",
            "--retry-idempotency-key",
            "--balance=least-outstanding",
            "--host-header=origin",
            "--keep-underscores",
            "--trust-forwarded=10.0.0.0/8",
            "--to-proxy-protocol=v1",
        ]);
        let seconds = Duration::from_secs;
        let server = server(&said.client_timeouts, &said.client_limits, &said.drain);
        let waits = server.connection.timeouts;
        assert_eq!([waits.first_byte, waits.head, waits.body, waits.idle], [1, 2, 3, 4].map(seconds));
        assert_eq!([server.write_timeout, server.linger.timeout], [5, 11].map(seconds));
        assert_eq!(server.handshake_timeout, seconds(34));
        assert_eq!(server.exchange_timeout, Some(seconds(10)));
        let plan = DrainPlan { announce: seconds(12), quiet: seconds(13), grace: seconds(14), ..DrainPlan::default() };
        assert_eq!(server.drain, plan);
        assert_eq!(server.connection.max_requests, 16);
        assert_eq!(server.connection.timeouts.min_body_rate, NonZeroU64::new(24));
        assert_eq!((server.connection.max_age, server.connection.announces_keep_alive), (Some(seconds(25)), true));
        let shared = server.shared;
        assert_eq!(
            [shared.max_connections_per_client, shared.accept_rate, shared.max_exchanges].map(|max| max.map(u32::from)),
            [26, 27, 28].map(Some)
        );
        assert_eq!(server.over_limit, OverLimit::Close);
        let limits = server.connection.limits;
        assert_eq!([limits.max_head_bytes, limits.max_request_line_bytes, limits.max_fields], [17 << 10, 18 << 10, 19]);
        assert_eq!(limits.max_body_bytes, Some(20 << 10));
        let client = client(
            &said.client_timeouts,
            &said.origin_timeouts,
            &said.client_limits,
            &said.origin_limits,
            &said.retries,
            2,
        );
        let waits = client.connection.timeouts;
        assert_eq!([client.dial.connect_timeout, client.write_timeout], [6, 5].map(seconds));
        assert_eq!([waits.response, waits.body, waits.idle], [7, 8, 9].map(seconds));
        assert_eq!((client.max_connections, client.max_idle), (11, 11));
        assert_eq!((client.max_queue, client.prewarm, client.queue_timeout), (15, 17, seconds(30)));
        assert_eq!((client.connection.max_age, client.connection.max_requests), (Some(seconds(31)), 32));
        assert_eq!((client.connection.http2.max_concurrent_streams, client.handshake_timeout), (34, seconds(35)));
        assert_eq!(client.keep_alive.careful, Careful::AlwaysFresh);
        assert_eq!(client.connection.limits.max_body_bytes, None);
        let proxy = proxy(&said.origins, &said.retries);
        assert_eq!((proxy.retry.max_attempts, proxy.max_replay_bytes), (4, 23));
        assert!((proxy.retry.budget_share - 0.5).abs() < 1e-9 && proxy.trust_idempotency_key);
        assert_eq!(proxy.retry.budget_per_second, 24);
        assert!(proxy.keeps_underscores);
        assert_eq!((proxy.host, proxy.balance), (HostPolicy::Origin, proxy::Balance::LeastOutstanding));
        assert_eq!(manner(&said.origins, Scheme::Http, None).announces, Some(ProxyHeader::V1));
        let trust = proxy.trust.expect("is set");
        assert!(trust([10, 1, 2, 3].into()) && !trust([192, 0, 2, 1].into()));
    }

    #[test]
    fn origins_that_could_make_nothing_of_a_proxy_header_are_refused() {
        let check = |flags: &[&str]| {
            let said = arguments(flags);
            check_origins(&said.origins, &said.origin_limits, &said.origin_tls).map_err(|failure| failure.to_string())
        };
        let to = "--to=127.0.0.1:9000";
        assert_eq!(check(&["--prewarm=1"]), Ok(()));
        assert_eq!(check(&[to, "--to-proxy-protocol=v1"]), Ok(()));
        for (flags, part) in
            [(&["--to-proxy-protocol=v2"][..], "--to,"), (&[to, "--to-proxy-protocol=v2", "--prewarm=1"], "--prewarm")]
        {
            let error = check(flags).expect_err("is refused");
            assert!(error.starts_with("--to-proxy-protocol v2: ") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_promise_that_could_not_be_made_is_refused() {
        let check = |flags: &[&str]| check(&arguments(flags).client_timeouts).map_err(|failure| failure.to_string());
        assert_eq!(check(&["--announce-keep-alive", "--idle-timeout=2s"]), Ok(()));
        assert_eq!(check(&["--idle-timeout=1s"]), Ok(()));
        let error = check(&["--announce-keep-alive", "--idle-timeout=1s500ms"]).expect_err("is too short");
        assert!(error.contains("--announce-keep-alive") && error.contains("1s500ms"), "{error}");
    }
}
