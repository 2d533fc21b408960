//! The names, and what each number says to an operator.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use sheave_lifecycle::close::Severity;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::observe::MadeBy;
use sheave_lifecycle::phase::{Phase, Side};

use crate::histogram::Total;
use crate::labels;
use crate::snapshot::Snapshot;

const BYTES: Option<Unit> = Some(Unit::Bytes);

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.about(&mut page)?;
        self.connections(&mut page)?;
        self.handshakes(&mut page)?;
        self.exchanges(&mut page)?;
        self.tunnels(&mut page)?;
        self.upstream(&mut page)
    }
}

impl Snapshot {
    fn about(&self, page: &mut Page<'_>) -> fmt::Result {
        page.0
            .encode_descriptor("sheave_build", "The version that runs.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        page.seconds("sheave_start_time", "When counting began, in seconds since 1970.", started.as_secs_f64())?;
        let phases = [DrainPhase::Running, DrainPhase::Announcing, DrainPhase::Waiting, DrainPhase::Forcing];
        page.gauge(
            "sheave_drain_phase",
            "Workers in each phase of a drain: all of them are running when there is none.",
            phases.map(|phase| ([("phase", phase.label())], self.drain[phase as usize])),
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "sheave_connections_opened",
            None,
            "Connections that came to be: accepted (downstream), or established to an origin (upstream).",
            by_side(|side| self.accounts[side].opened),
        )?;
        let closed = Side::ALL.into_iter().flat_map(|side| {
            self.closed[side as usize].iter().flat_map(move |(reason, row)| {
                let counts = Severity::ALL.into_iter().zip(row).filter(|(_, count)| **count != 0);
                counts.map(move |(severity, count)| {
                    let labels = [("side", side.label()), ("reason", reason.as_ref()), ("severity", severity.label())];
                    (labels, *count)
                })
            })
        });
        page.counter(
            "sheave_connections_closed",
            None,
            "Connections that ended, each with one reason. Severity says what to do: benign nothing, peer watch it, \
             local act on it, bug report it. Timers that ran out are the reasons timeout-*.",
            closed,
        )?;
        page.gauge(
            "sheave_connections_live",
            "Connections that live: opened less closed.",
            by_side(|side| self.accounts[side].opened.saturating_sub(self.accounts[side].closed)),
        )?;
        let help = "Connections of which it is not known what became of them: opened less closed less those in the \
                    list of live ones. Anything but 0 is a bug: please report it.";
        let mut unaccounted =
            page.0.encode_descriptor("sheave_connections_unaccounted", help, None, MetricType::Gauge)?;
        for side in Side::ALL {
            let labels = [("side", side.label())];
            unaccounted.encode_family(&labels)?.encode_gauge(&self.accounts[side as usize].unaccounted())?;
        }
        let timed_out = Side::ALL.into_iter().flat_map(|side| {
            self.timed_out[side as usize].iter().flat_map(move |(timer, row)| {
                let counts = Phase::ALL.into_iter().zip(row).filter(|(_, count)| **count != 0);
                counts.map(move |(phase, count)| {
                    ([("side", side.label()), ("timer", timer.as_ref()), ("phase", phase.label())], *count)
                })
            })
        });
        page.counter(
            "sheave_timeouts",
            None,
            "Connections that a deadline ended, by the timer that ran out and by how far the connection had got.",
            timed_out,
        )?;
        page.counter(
            "sheave_refused",
            None,
            "Connections and requests that were turned away, by the limit that they would have exceeded: answered with \
             503, or closed. A connection that was closed at once is not counted as opened.",
            by_label("limit", &self.refused),
        )?;
        page.counter(
            "sheave_held_back",
            None,
            "Times that accepting stopped at a limit while somebody waited in the backlog, by the limit.",
            by_label("limit", &self.held_back),
        )?;
        page.counter(
            "sheave_accept_failures",
            None,
            "Failures to accept a connection, by error number. EMFILE: raise the limit of open files.",
            by_label("errno", &self.accept_failed),
        )?;
        let help = "Bytes received on connections, heads and framing included.";
        page.counter("sheave_connections_received", BYTES, help, by_side(|side| self.received[side]))?;
        let help = "Bytes sent on connections, heads and framing included.";
        page.counter("sheave_connections_sent", BYTES, help, by_side(|side| self.sent[side]))?;
        page.histogram(
            "sheave_connection_age",
            Some(Unit::Seconds),
            "How long connections lived that have ended.",
            by_side(|side| &self.age_seconds[side]),
        )?;
        page.histogram(
            "sheave_connection_exchanges",
            None,
            "How many exchanges connections began that have ended: the more, the better keep-alive does its work.",
            by_side(|side| &self.exchanges[side]),
        )
    }

    fn handshakes(&self, page: &mut Page<'_>) -> fmt::Result {
        let done = Side::ALL.into_iter().flat_map(|side| {
            self.handshakes[side as usize].iter().flat_map(move |(version, row)| {
                let counts = ["false", "true"].into_iter().zip(row).filter(|(_, count)| **count != 0);
                counts.map(move |(resumed, count)| {
                    ([("side", side.label()), ("version", version.as_ref()), ("resumed", resumed)], *count)
                })
            })
        });
        page.counter(
            "sheave_tls_handshakes",
            None,
            "TLS handshakes that succeeded, by version; a session that was resumed costs a fraction of one that was not.",
            done,
        )?;
        let failed = Side::ALL.into_iter().flat_map(|side| {
            let failed = self.handshakes_failed[side as usize].iter();
            failed.map(move |(cause, [count])| ([("side", side.label()), ("cause", cause.as_ref())], *count))
        });
        page.counter(
            "sheave_handshake_failures",
            None,
            "Connections that never became ready to carry HTTP, because TLS or the PROXY header failed, by cause. \
             peer-alert-* is what the other side says.",
            failed,
        )
    }

    fn exchanges(&self, page: &mut Page<'_>) -> fmt::Result {
        let makers = [MadeBy::Origin, MadeBy::Us].map(MadeBy::label).into_iter().zip(&self.responses);
        let ends = makers.clone().chain([("none", &self.resets)]);
        let classes = ends.flat_map(|(made_by, codes)| {
            CLASSES.into_iter().filter_map(move |class| {
                let count = codes.iter().filter(|(code, _)| class_of(**code) == class).map(|(_, count)| count).sum();
                (count != 0).then_some(([("class", class), ("made_by", made_by)], count))
            })
        });
        page.counter(
            "sheave_exchanges",
            None,
            "Exchanges that are over, by class of status and by who made the response: the origin, sheave itself, or \
             none where it was reset.",
            classes,
        )?;
        let makers = makers
            .flat_map(|(made_by, codes)| codes.iter().map(move |(code, count)| (code_label(*code), made_by, *count)));
        let responses: Vec<_> = makers.collect();
        page.counter(
            "sheave_responses",
            None,
            "Responses that went out whole, by status code and by who made them: the origin, or sheave itself.",
            responses.iter().map(|(code, made_by, count)| ([("code", code.as_ref()), ("made_by", made_by)], *count)),
        )?;
        let resets: Vec<_> = self.resets.iter().map(|(code, count)| (code_label(*code), *count)).collect();
        page.counter(
            "sheave_resets",
            None,
            "Exchanges whose response was cut off, by the status code that had been sent; none where there was no \
             response at all.",
            resets.iter().map(|(code, count)| ([("code", code.as_ref())], *count)),
        )?;
        page.counter(
            "sheave_errors",
            None,
            "Exchanges in which something went wrong, by what it was.",
            by_label("error", &self.errors),
        )?;
        let help = "Bytes of the content of requests, without heads and framing, and without tunnels.";
        page.counter("sheave_request_content", BYTES, help, [([], self.request_content)])?;
        let help = "Bytes of the content of responses, without heads and framing, and without tunnels.";
        page.counter("sheave_response_content", BYTES, help, [([], self.response_content)])?;
        page.histogram(
            "sheave_request_duration",
            Some(Unit::Seconds),
            "How long exchanges took, from the last byte of the request's head to the last byte of the response. Without \
             tunnels.",
            [([], &self.took_seconds)],
        )
    }

    fn tunnels(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "sheave_tunnels_opened",
            None,
            "Exchanges that became tunnels: by an Upgrade such as WebSocket's, or by CONNECT. They count among exchanges \
             and responses, too.",
            [([], self.tunnels_opened)],
        )?;
        let live = self.tunnels_opened.saturating_sub(self.tunnels_closed);
        page.gauge("sheave_tunnels_live", "Tunnels that live.", [([], live)])?;
        let [received, sent] = self.tunnels_carried;
        let help = "Bytes that came from clients through tunnels that have ended.";
        page.counter("sheave_tunnels_received", BYTES, help, [([], received)])?;
        let help = "Bytes that went to clients through tunnels that have ended.";
        page.counter("sheave_tunnels_sent", BYTES, help, [([], sent)])?;
        page.histogram(
            "sheave_tunnel_age",
            Some(Unit::Seconds),
            "How long tunnels lived that have ended.",
            [([], &self.tunnel_age_seconds)],
        )
    }

    fn upstream(&self, page: &mut Page<'_>) -> fmt::Result {
        page.histogram(
            "sheave_upstream_response_duration",
            Some(Unit::Seconds),
            "How long origins took, from the request's head leaving to the response's head.",
            [([], &self.upstream_took_seconds)],
        )?;
        page.counter(
            "sheave_connects_failed",
            None,
            "Attempts to connect to an origin that failed; no connection came to be.",
            by_label("reason", &self.connect_failed),
        )?;
        page.gauge("sheave_connections_parked", "Upstream connections in the pool.", [([], self.parked)])?;
        page.counter(
            "sheave_connections_reused",
            None,
            "Times that an upstream connection was taken from the pool instead of opening another.",
            [([], self.reused)],
        )?;
        page.counter(
            "sheave_connections_found_dead",
            None,
            "Parked connections that were dead when they were looked at: no request was lost to them. Many of them say \
             that the origin's keep-alive time is short.",
            by_label("reason", &self.found_dead),
        )?;
        page.counter(
            "sheave_retries",
            None,
            "Requests sent again, by the evidence that allowed it.",
            by_label("evidence", &self.retried),
        )
    }
}

const CLASSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other", "none"];

fn class_of(code: u16) -> &'static str {
    match code {
        0 => "none",
        100..=599 => CLASSES[usize::from(code / 100 - 1)],
        _ => "other",
    }
}

fn code_label(code: u16) -> Cow<'static, str> {
    if code == 0 { Cow::Borrowed("none") } else { Cow::Owned(code.to_string()) }
}

fn by_side<T>(value: impl Fn(usize) -> T) -> [([(&'static str, &'static str); 1], T); 2] {
    Side::ALL.map(|side| ([("side", side.label())], value(side as usize)))
}

fn by_label<'a>(name: &'a str, total: &'a labels::Total<1>) -> impl Iterator<Item = ([(&'a str, &'a str); 1], u64)> {
    total.iter().map(move |(label, [count])| ([(name, label.as_ref())], *count))
}

/// The text to which families of metrics are written, one after another.
pub(crate) struct Page<'a>(pub(crate) DescriptorEncoder<'a>);

type LabelPairs<'l, const L: usize> = [(&'l str, &'l str); L];

impl Page<'_> {
    fn counter<'l, const L: usize>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (LabelPairs<'l, L>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            if L == 0 {
                family.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            } else {
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauge<'l, const L: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (LabelPairs<'l, L>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if L == 0 {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn histogram<'l, 't, const L: usize>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (LabelPairs<'l, L>, &'t Total)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
        for (labels, Total { buckets, count, sum }) in samples {
            if L == 0 {
                family.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
            } else {
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
            }
        }
        Ok(())
    }

    /// A gauge without labels, left out where there is no value.
    pub(crate) fn whole(&mut self, name: &str, unit: Option<Unit>, help: &str, value: Option<u64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge in seconds without labels.
    pub(crate) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?.encode_gauge(&value)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;
    use sheave_lifecycle::close::CloseReason;
    use sheave_lifecycle::deadline::Timer;
    use sheave_lifecycle::errno::{Errno, IoFault, Op};
    use sheave_lifecycle::observe::{
        Closed, ConnectionId, Encryption, ExchangeEnd, HandshakeFailed, Moved, Observer, Opened, Outcome, UpstreamPart,
    };
    use sheave_lifecycle::phase::Phase;
    use sheave_lifecycle::retry::{Evidence, Sent};
    use sheave_lifecycle::time::Time;

    use super::*;
    use crate::shard::Shard;

    fn text(shards: &[Arc<Shard>]) -> String {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Snapshot::take(shards, since)));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        page.replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    fn open(shard: &Shard, side: Side, id: u64) {
        let peer = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9_000)));
        shard.opened(&Opened { side, id: ConnectionId(id), peer, local: None, at: Time::ZERO });
    }

    fn close(shard: &Shard, side: Side, id: u64, reason: CloseReason, phase: Phase) {
        shard.closed(&Closed {
            side,
            id: ConnectionId(id),
            peer: None,
            reason,
            phase,
            age: Duration::from_secs(1),
            exchanges: 3,
            bytes_in: 300,
            bytes_out: 900,
            last: sheave_lifecycle::ring::Ring::new(),
        });
    }

    fn end(shard: &Shard, status: u16, outcome: Outcome, error: Option<&'static str>, took: Duration) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9_000));
        let upstream = matches!(outcome, Outcome::Answered(MadeBy::Origin)).then_some(UpstreamPart {
            address,
            connection: ConnectionId(1),
            is_reused: false,
            response_after: Some(took / 2),
        });
        shard.exchange_ended(&ExchangeEnd {
            connection: ConnectionId(1),
            number: 1,
            peer: None,
            method: "POST",
            target: "/",
            version: "HTTP/1.1",
            encryption: None,
            words: &(),
            status,
            outcome,
            error,
            sent: Sent::Yes,
            request_bytes: 10,
            response_bytes: 1_000,
            began: Time::ZERO,
            took,
            upstream,
            attempts: 1,
            retried: None,
            tunnel: None,
        });
    }

    #[test]
    fn everything_is_shown() {
        let shards = [Arc::new(Shard::new()), Arc::new(Shard::new())];
        let [one, other] = &shards;
        for shard in [one, other] {
            open(shard, Side::Downstream, 1);
            open(shard, Side::Downstream, 2);
            open(shard, Side::Upstream, 1);
            open(shard, Side::Upstream, 2);
        }
        let reset = CloseReason::PeerReset(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
        close(one, Side::Downstream, 1, CloseReason::TimedOut(Timer::HeadRead), Phase::Head);
        close(one, Side::Upstream, 1, reset, Phase::Waiting);
        close(other, Side::Upstream, 1, reset, Phase::Waiting);
        close(other, Side::Upstream, 2, reset, Phase::Idle);
        one.moved(&Moved {
            side: Side::Downstream,
            id: ConnectionId(2),
            phase: Phase::Response,
            exchanges: 1,
            bytes_in: 50,
            bytes_out: 70,
        });
        let encryption = |version, is_resumed| Encryption {
            version,
            cipher: "TLS_AES_128_GCM_SHA256",
            alpn: Some("h2"),
            server_name: Some("example.com"),
            is_resumed,
        };
        one.secured(Side::Downstream, &encryption("TLSv1.3", false));
        other.secured(Side::Downstream, &encryption("TLSv1.3", true));
        other.secured(Side::Upstream, &encryption("TLSv1.2", false));
        let failed = |side, label| HandshakeFailed { side, peer: None, label, detail: "for people" };
        one.handshake_failed(&failed(Side::Downstream, "http-to-tls-port"));
        other.handshake_failed(&failed(Side::Upstream, "certificate-expired"));
        one.refused("max-connections-per-client");
        other.held_back("max-connections");
        one.accept_failed(IoFault { op: Op::Accept, errno: Errno::EMFILE });
        other.accept_failed(IoFault { op: Op::Accept, errno: Errno(71) });
        other.connect_failed(None, CloseReason::TimedOut(Timer::Connect));
        let (side, phase) = (Side::Upstream, Phase::Parked);
        one.parked(&Moved { side, id: ConnectionId(2), phase, exchanges: 0, bytes_in: 0, bytes_out: 0 });
        other.reused(ConnectionId(1), Duration::from_secs(1));
        other.found_dead(ConnectionId(2), CloseReason::PeerClosed);
        other.retried(Evidence::ClosedBeforeWrite);
        other.drain_moved(DrainPhase::Waiting);
        end(one, 200, Outcome::Answered(MadeBy::Origin), None, Duration::from_micros(96));
        end(other, 200, Outcome::Answered(MadeBy::Origin), None, Duration::from_micros(97));
        end(one, 504, Outcome::Answered(MadeBy::Origin), None, Duration::from_millis(1));
        end(one, 504, Outcome::Answered(MadeBy::Us), Some("timeout-response"), Duration::from_secs(60));
        end(one, 999, Outcome::Answered(MadeBy::Origin), None, Duration::from_secs(1_000));
        end(one, 200, Outcome::Reset, Some("truncated"), Duration::ZERO);
        end(one, 0, Outcome::Reset, Some("client-gone"), Duration::ZERO);
        insta::assert_snapshot!(text(&shards));
    }

    #[test]
    fn nothing_is_shown_as_zero_or_left_out() {
        let text = text(&[Arc::new(Shard::new())]);
        let samples: Vec<_> =
            text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{")).collect();
        insta::assert_snapshot!(samples.join("\n"));
    }
}
