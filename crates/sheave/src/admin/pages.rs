//! The admin pages as text.

use sheave_client::stats::AddressState;
use sheave_metrics::live::LiveConnection;

use super::origins;
use crate::json::Object;
use crate::sink::Counts;

/// The page at `/`.
pub(crate) const INDEX: &str = "\
sheave's admin pages:

  /metrics       counters, gauges and histograms in OpenMetrics text
  /healthz       200 as long as the process answers
  /readyz        200, or 503 once a drain has begun
  /connections   the live connections as JSON; ?limit=N for more than 1000 of them
  /origins       what is pooled and known of each origin address, as JSON
  /drain         how far the process is from its end, as JSON; POST begins a drain, from a loopback address only
";

/// How many connections are shown when nobody says how many.
const DEFAULT_LIMIT: usize = 1000;

/// How many connections a query asks to be shown.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn limit(query: Option<&str>) -> Result<usize, &'static str> {
    match query {
        None | Some("") => Ok(DEFAULT_LIMIT),
        Some(query) => query
            .strip_prefix("limit=")
            .and_then(|limit| limit.parse().ok())
            .ok_or("write a whole number, such as /connections?limit=5000\n"),
    }
}

/// The live connections as JSON: the oldest first, as they are the odd ones.
pub(crate) fn connections(mut live: Vec<LiveConnection>, limit: usize) -> Vec<u8> {
    live.sort_unstable_by_key(|connection| (std::cmp::Reverse(connection.age), connection.side as u8, connection.id));
    let mut out = Vec::new();
    let mut page = Object::begin(&mut out);
    page.number("total", live.len() as u64);
    let list = page.key("connections");
    list.push(b'[');
    for (index, connection) in live.iter().take(limit).enumerate() {
        // One a line, so that `grep` and people can read it.
        list.extend_from_slice(if index > 0 { b",\n" } else { b"\n" });
        let mut object = Object::begin(list);
        object.text("side", connection.side.label()).number("id", connection.id.0);
        for (key, address) in [("peer", connection.peer), ("local", connection.local)] {
            if let Some(address) = address {
                object.shown(key, address);
            }
        }
        object
            .text("phase", connection.phase.label())
            .number("age_ms", u64::try_from(connection.age.as_millis()).unwrap_or(u64::MAX))
            .number("exchanges", connection.exchanges)
            .number("bytes_in", connection.bytes_in)
            .number("bytes_out", connection.bytes_out);
        object.end();
    }
    list.extend_from_slice(b"\n]");
    page.end();
    out.push(b'\n');
    out
}

/// The metrics page with the numbers of the access log and of each origin added before its end.
pub(crate) fn metrics(mut page: String, access_log: Option<Counts>, addresses: &[AddressState]) -> String {
    const END: &str = "# EOF\n";
    if !page.ends_with(END) || access_log.is_none() && addresses.is_empty() {
        return page;
    }
    page.truncate(page.len() - END.len());
    if let Some(Counts { written, dropped }) = access_log {
        page.push_str(&format!(
            "\
# HELP sheave_access_log_lines Lines of the access log, by what became of them.
# TYPE sheave_access_log_lines counter
sheave_access_log_lines_total{{result=\"written\"}} {written}
sheave_access_log_lines_total{{result=\"dropped\"}} {dropped}
"
        ));
    }
    if !addresses.is_empty() {
        origins::metrics(&mut page, addresses);
    }
    page.push_str(END);
    page
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::observe::{ConnectionId, Observer, Opened};
    use sheave_lifecycle::phase::Side;
    use sheave_lifecycle::time::Time;
    use sheave_metrics::metrics::Metrics;

    use super::*;

    #[test]
    fn shows_as_many_connections_as_asked_and_tells_how_many_there_are() {
        let metrics = Metrics::new(1);
        for id in 1..=3 {
            let peer = Some(([192, 0, 2, 1], 40_000).into());
            let opened = Opened { side: Side::Upstream, id: ConnectionId(id), peer, local: None, at: Time::ZERO };
            metrics.opened(&opened);
        }
        let page = String::from_utf8(connections(metrics.connections(), 2)).expect("UTF-8");
        assert!(page.starts_with("{\"total\":3,\"connections\":[\n{\"side\":\"upstream\",\"id\":1,"), "{page}");
        assert!(page.ends_with("}\n]}\n"), "{page}");
        assert_eq!(page.matches("\"peer\":\"192.0.2.1:40000\"").count(), 2, "{page}");
        assert_eq!(connections(vec![], 2), b"{\"total\":0,\"connections\":[\n]}\n");
    }

    #[test]
    fn reads_the_limit() {
        for (query, read) in [
            (None, Some(1000)),
            (Some(""), Some(1000)),
            (Some("limit=0"), Some(0)),
            (Some("limit=70000"), Some(70_000)),
        ] {
            assert_eq!(limit(query).ok(), read);
        }
        for query in ["limit=", "limit=-1", "limit=x", "x=1", "limit=1&x=2"] {
            assert!(limit(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn the_metrics_still_end_where_they_end() {
        let page = metrics(Metrics::new(1).encode(), Some(Counts { written: 5, dropped: 2 }), &[]);
        assert!(page.contains("\nsheave_access_log_lines_total{result=\"dropped\"} 2\n# EOF\n"), "{page}");
        assert_eq!(page.matches("# EOF").count(), 1);
        let plain = Metrics::new(1).encode();
        assert_eq!(metrics(plain.clone(), None, &[]), plain);
    }
}
