//! What the pools have of each origin, and know of it: as JSON, and as metrics.

use std::fmt::Write as _;
use std::time::Duration;

use sheave_client::stats::AddressState;

use crate::json::Object;

/// The page at `/origins`: one address a line.
pub(crate) fn page(addresses: &[AddressState]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut page = Object::begin(&mut out);
    page.number("total", addresses.len() as u64);
    let list = page.key("origins");
    list.push(b'[');
    for (index, state) in addresses.iter().enumerate() {
        list.extend_from_slice(if index > 0 { b",\n" } else { b"\n" });
        let mut object = Object::begin(list);
        object
            .shown("address", &state.site)
            .number("parked", state.parked as u64)
            .number("busy", state.busy as u64)
            .number("waiting", state.waiting as u64)
            .number("multiplexed", state.multiplexed as u64)
            .number("streams", state.streams as u64)
            .shown("keep_alive", keep_alive(state))
            .number("closes_seen", state.learned.times_seen().into())
            .number("reused_below_ms", millis(state.reused_below))
            .number("careful_below_ms", millis(state.careful_below))
            .number("connect_failures", state.connect_failures.into())
            .number("backs_off_for_ms", millis(state.backs_off_for));
        if let Some(failure) = &state.failure {
            object.text("failure", failure.label());
        }
        object.truth("is_gone", state.is_gone);
        object.end();
    }
    list.extend_from_slice(b"\n]");
    page.end();
    out.push(b'\n');
    out
}

/// `closes at 5.0 s (seen 37 times), reused below 4.0 s`.
pub(crate) fn keep_alive(state: &AddressState) -> String {
    let below = state.reused_below;
    // A tenth of a second is fine enough for times of seconds, and nothing for shorter ones.
    if below < Duration::from_secs(1) {
        format!("{}, reused below {} ms", state.learned, below.as_millis())
    } else {
        format!("{}, reused below {:.1} s", state.learned, below.as_secs_f64())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds a family of metrics about each address to the text of a page.
pub(crate) fn metrics(page: &mut String, addresses: &[AddressState]) {
    let mut family = |name: &str, help: &str, value: &dyn Fn(&AddressState) -> Option<f64>| {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
        for state in addresses {
            if let Some(value) = value(state) {
                let _ = writeln!(page, "{name}{{address=\"{}\"}} {value}", state.site);
            }
        }
    };
    let seconds = |time: Duration| Some(time.as_secs_f64());
    let count = |count: usize| Some(count as f64);
    family("sheave_origin_parked", "Connections to this address that are in the pool.", &|it| count(it.parked));
    family("sheave_origin_busy", "Connections to this address that carry an exchange or are being opened.", &|it| {
        count(it.busy)
    });
    family("sheave_origin_waiting", "Requests that wait for a connection to this address.", &|it| count(it.waiting));
    family("sheave_origin_multiplexed", "Connections to this address that speak HTTP/2.", &|it| count(it.multiplexed));
    family("sheave_origin_streams", "Requests that share connections to this address.", &|it| count(it.streams));
    family(
        "sheave_origin_keep_alive_seconds",
        "The shortest keep-alive time that this address was seen to have, or told; absent while nothing is known.",
        &|it| it.learned.keep_alive().and_then(seconds),
    );
    family(
        "sheave_origin_reused_below_seconds",
        "Up to which age a parked connection to this address is reused.",
        &|it| seconds(it.reused_below),
    );
    family(
        "sheave_origin_connect_failures",
        "Attempts to connect to this address that failed in a row: zero while it answers.",
        &|it| Some(it.connect_failures.into()),
    );
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use sheave_client::error::PoolError;
    use sheave_lifecycle::errno::{Errno, IoFault, Op};
    use sheave_lifecycle::keep_alive::Learned;
    use sheave_net::dial_error::{AttemptEnd, DialError, FailedAttempt};

    use super::*;

    fn states() -> Vec<AddressState> {
        let mut learned = Learned::default();
        let five = Duration::from_secs(5);
        (0..37).for_each(|_| learned.closed_between(five, five));
        let busy = AddressState {
            site: SocketAddr::from(([127, 0, 0, 1], 9000)).into(),
            parked: 3,
            busy: 2,
            waiting: 1,
            multiplexed: 1,
            streams: 7,
            learned,
            reused_below: Duration::from_secs(4),
            careful_below: Duration::from_secs(2),
            connect_failures: 0,
            backs_off_for: Duration::ZERO,
            failure: None,
            is_gone: false,
        };
        let fault = IoFault { op: Op::Connect, errno: Errno::ECONNREFUSED };
        let address: SocketAddr = "[::1]:9001".parse().expect("an address");
        let failed = AddressState {
            site: address.into(),
            parked: 0,
            busy: 0,
            waiting: 0,
            multiplexed: 0,
            streams: 0,
            learned: Learned::default(),
            reused_below: Duration::from_millis(80),
            connect_failures: 4,
            backs_off_for: Duration::from_millis(70),
            failure: Some(PoolError::Dial(DialError {
                attempts: vec![FailedAttempt { address, end: AttemptEnd::Failed(fault) }],
                connect_timeout: five,
            })),
            ..busy.clone()
        };
        vec![busy, failed]
    }

    #[test]
    fn each_address_is_a_line_that_people_and_machines_read() {
        let page = String::from_utf8(page(&states())).expect("UTF-8");
        assert_eq!(
            page,
            "{\"total\":2,\"origins\":[\n\
             {\"address\":\"127.0.0.1:9000\",\"parked\":3,\"busy\":2,\"waiting\":1,\
             \"multiplexed\":1,\"streams\":7,\
             \"keep_alive\":\"closes at 5.0 s (seen 37 times), reused below 4.0 s\",\"closes_seen\":37,\
             \"reused_below_ms\":4000,\"careful_below_ms\":2000,\"connect_failures\":0,\"backs_off_for_ms\":0,\
             \"is_gone\":false},\n\
             {\"address\":\"[::1]:9001\",\"parked\":0,\"busy\":0,\"waiting\":0,\
             \"multiplexed\":0,\"streams\":0,\
             \"keep_alive\":\"has not closed yet, reused below 80 ms\",\"closes_seen\":0,\
             \"reused_below_ms\":80,\"careful_below_ms\":2000,\"connect_failures\":4,\"backs_off_for_ms\":70,\
             \"failure\":\"upstream-connect-refused\",\"is_gone\":false}\n]}\n"
        );
    }

    #[test]
    fn metrics_say_the_same() {
        let mut text = String::new();
        metrics(&mut text, &states());
        for line in [
            "# TYPE sheave_origin_parked gauge",
            "sheave_origin_parked{address=\"127.0.0.1:9000\"} 3",
            "sheave_origin_waiting{address=\"127.0.0.1:9000\"} 1",
            "sheave_origin_streams{address=\"127.0.0.1:9000\"} 7",
            "sheave_origin_keep_alive_seconds{address=\"127.0.0.1:9000\"} 5",
            "sheave_origin_reused_below_seconds{address=\"[::1]:9001\"} 0.08",
            "sheave_origin_connect_failures{address=\"[::1]:9001\"} 4",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(!text.contains("sheave_origin_keep_alive_seconds{address=\"[::1]:9001\"}"), "nothing is known");
    }
}
