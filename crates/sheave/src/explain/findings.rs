//! The rule: what stands in the way of more load, what it shows in, and what to do.

use std::fmt;

use super::change::Change;
use super::kernel::Kernel;

/// From this share of their time on, workers that compute are what limits.
const BUSY: f64 = 0.85;

/// From this share of a request's time on, origins are what clients wait for.
const MOSTLY: f64 = 0.8;

/// Below so few events a claim about shares would be chance.
const ENOUGH: f64 = 20.0;

/// How much a finding explains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It keeps requests waiting, or turns them away.
    Limit,
    /// It costs, and nobody is kept waiting by it.
    Cost,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    /// What it is, with its numbers.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.remedy)
    }
}

/// Everything that is known of the time in which the process was watched.
pub(super) struct Watched<'n> {
    pub(super) change: Change<'n>,
    /// The kernel before and after, where the process is on this machine.
    pub(super) kernel: Option<(Kernel, Kernel)>,
}

impl Watched<'_> {
    pub(super) fn requests(&self) -> f64 {
        self.change.grew("sheave_exchanges_total", &[])
    }

    pub(super) fn workers(&self) -> f64 {
        self.change.now("sheave_drain_phase", &[])
    }

    /// The share of their time, 0 to 1, in which workers computed.
    pub(super) fn busy(&self) -> f64 {
        self.change.grew("process_cpu_seconds_total", &[]) / (self.change.secs * self.workers().max(1.0))
    }

    /// All that was found, in the order in which it is to be looked at.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let rules = [
            Self::bugs,
            Self::drain,
            Self::clients_that_wait,
            Self::backlog,
            Self::refusals,
            Self::ways_to_origins,
            Self::lines_to_origins,
            Self::processors,
            Self::origins_that_are_slow,
            Self::deadlines,
            Self::retries,
            Self::reuse,
            Self::clients_that_come_anew,
            Self::handshakes,
        ];
        let mut found: Vec<Finding> = rules.iter().flat_map(|rule| rule(self)).collect();
        // What limits goes before what costs; the order within stays.
        found.sort_by_key(|finding| finding.weight == Weight::Cost);
        found
    }

    fn bugs(&self) -> Vec<Finding> {
        let lost = self.change.now("sheave_connections_unaccounted", &[]);
        limit_if(lost != 0.0, || {
            (format!("{lost} connections are unaccounted for"), "this is a bug of sheave's: please report it")
        })
    }

    fn drain(&self) -> Vec<Finding> {
        let running = self.change.now("sheave_drain_phase", &[("phase", "running")]);
        let draining = self.workers() - running;
        limit_if(draining > 0.0, || {
            (
                format!("a drain is under way in {draining} of {} workers", self.workers()),
                "connections are told to close and new ones go elsewhere: ask the successor, or /drain how far it is",
            )
        })
    }

    fn clients_that_wait(&self) -> Vec<Finding> {
        let failed = self.change.grew_by("sheave_accept_failures_total", &[], "errno");
        let failed = failed.into_iter().map(|(errno, times)| {
            let files = (self.change.now("process_open_fds", &[]), self.change.now("process_max_fds", &[]));
            let what =
                format!("accepting failed {times} times with {errno}; {} of {} files are open", files.0, files.1);
            limit(what, "raise the limit of open files (ulimit -n; systemd: LimitNOFILE=), or lower --max-connections")
        });
        let held = self.change.grew_by("sheave_held_back_total", &[], "limit");
        let held = held.into_iter().map(|(name, times)| {
            let live = self.change.now("sheave_connections_live", &[("side", "downstream")]);
            let what =
                format!("clients wait to be accepted: {name} was reached {times} times; {live} connections live");
            limit(what, of_clients(&name))
        });
        failed.chain(held).collect()
    }

    fn backlog(&self) -> Vec<Finding> {
        let dropped = self.kernel.map_or(0, |(before, after)| after.overflows.saturating_sub(before.overflows));
        limit_if(dropped > 0, || {
            (
                format!("the kernel dropped {dropped} connection attempts on this machine, as a backlog was full"),
                "raise --backlog and net.core.somaxconn; a client tries again after 1 s, 3 s, 7 s: \
                 that is what slow connects are",
            )
        })
    }

    fn refusals(&self) -> Vec<Finding> {
        let refused = self.change.grew_by("sheave_refused_total", &[], "limit");
        let finding =
            |(name, times): (String, f64)| limit(format!("{times} were turned away by {name}"), of_clients(&name));
        refused.into_iter().map(finding).collect()
    }

    fn ways_to_origins(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (cause, times) in self.change.grew_by("sheave_errors_total", &[], "error") {
            let Some(remedy) = of_errors(&cause) else { continue };
            let mut what = format!("{times} requests failed with {cause}");
            if let (Some((_, kernel)), "local-ports-exhausted") = (self.kernel, cause.as_str()) {
                what += &format!(
                    ": {} local ports for each origin, {} sockets in TIME_WAIT",
                    kernel.ports, kernel.time_wait
                );
            }
            found.push(limit(what, remedy));
        }
        for (address, times) in self.change.lasting("sheave_origin_connect_failures", "address") {
            let what = format!("{address} does not take connections: {times} attempts in a row failed");
            found.push(limit(
                what,
                "see whether it runs and listens; requests for it go elsewhere, or are answered 502",
            ));
        }
        found
    }

    fn lines_to_origins(&self) -> Vec<Finding> {
        let waiting = self.change.lasting("sheave_origin_waiting", "address");
        let finding = |(address, waiting): (String, f64)| {
            let busy = self.change.now("sheave_origin_busy", &[("address", &address)]);
            let what = format!("{waiting} requests wait for a connection to {address}, {busy} of which are busy");
            limit(what, "raise --max-upstream-connections if the origin can bear more at once; else it is the origin")
        };
        waiting.into_iter().map(finding).collect()
    }

    fn processors(&self) -> Vec<Finding> {
        let busy = self.busy();
        limit_if(busy >= BUSY, || {
            (
                format!("the workers compute for {:.0} % of the time: {} of them", busy * 100.0, self.workers()),
                "give it more cores (--workers), or less to do: what follows below, if anything does",
            )
        })
    }

    fn origins_that_are_slow(&self) -> Vec<Finding> {
        let of_requests = self.change.mean("sheave_request_duration_seconds");
        let of_origins = self.change.mean("sheave_upstream_response_duration_seconds");
        let (Some(whole), Some(part)) = (of_requests, of_origins) else { return Vec::new() };
        // Below a millisecond nobody waits for anybody.
        limit_if(self.requests() >= ENOUGH && part >= MOSTLY * whole && whole >= 1e-3, || {
            (
                format!(
                    "origins take {} of the {} that a request takes, to the response's head",
                    time(part),
                    time(whole)
                ),
                "the time is the origins': add some (--to), or make them faster; sheave's own part is the rest",
            )
        })
    }

    fn deadlines(&self) -> Vec<Finding> {
        let by_timer = self.change.grew_by("sheave_timeouts_total", &[], "timer");
        let finding = |(timer, times): (String, f64)| {
            cost(
                format!("{times} connections were ended by the deadline {timer}"),
                "idle and first-byte are housekeeping; others say who was too slow: docs/limits.md",
            )
        };
        by_timer
            .into_iter()
            .filter(|(timer, _)| !matches!(timer.as_str(), "idle" | "first-byte"))
            .map(finding)
            .collect()
    }

    fn retries(&self) -> Vec<Finding> {
        let retried = self.change.grew("sheave_retries_total", &[]);
        cost_if(retried >= ENOUGH && retried >= 0.01 * self.requests(), || {
            (
                format!("{} of requests were sent again", share(retried, self.requests())),
                "origins fail or close early; clients see nothing of it, and /origins says which",
            )
        })
    }

    fn reuse(&self) -> Vec<Finding> {
        let opened = self.change.grew("sheave_connections_opened_total", &[("side", "upstream")]);
        let dead = self.change.grew("sheave_connections_found_dead_total", &[]);
        cost_if(opened >= ENOUGH && opened >= 0.2 * self.requests(), || {
            (
                format!(
                    "{} of requests opened a connection to an origin; {dead} parked ones were found closed",
                    share(opened, self.requests())
                ),
                "let origins keep idle connections for longer than --upstream-idle-timeout, and see that \
                 --max-upstream-idle holds as many as are busy at a time",
            )
        })
    }

    fn clients_that_come_anew(&self) -> Vec<Finding> {
        let opened = self.change.grew("sheave_connections_opened_total", &[("side", "downstream")]);
        cost_if(opened >= ENOUGH && opened >= 0.5 * self.requests(), || {
            (
                format!("{} of requests came on a new connection", share(opened, self.requests())),
                "a connection costs as much as several requests: let clients keep theirs (keep-alive, a pool)",
            )
        })
    }

    fn handshakes(&self) -> Vec<Finding> {
        let of =
            |resumed| self.change.grew("sheave_tls_handshakes_total", &[("side", "downstream"), ("resumed", resumed)]);
        let (full, resumed) = (of("false"), of("true"));
        cost_if(full >= ENOUGH && full >= 0.5 * self.requests(), || {
            (
                format!("{full} full TLS handshakes, {resumed} resumed, for {} requests", self.requests()),
                "a full handshake costs more than all else: let clients keep connections, and resume sessions",
            )
        })
    }
}

/// What to do where a limit on clients is reached.
fn of_clients(limit: &str) -> &'static str {
    match limit {
        "max-connections" => {
            "raise --max-connections if memory and files allow, or shorten --idle-timeout; /connections shows who they are"
        }
        "max-connections-per-client" => {
            "raise --max-connections-per-client, or name the balancer in front with --trust-forwarded or --proxy-protocol-from"
        }
        "accept-rate" => "raise --accept-rate; clients that keep their connections need fewer",
        "max-requests-in-flight" => "raise --max-requests-in-flight, or see why requests take so long",
        "open-files" => "raise the limit of open files (ulimit -n; systemd: LimitNOFILE=)",
        "max-handshakes" => "raise --max-handshakes; clients that come in a wave, or an attack",
        _ => "docs/limits.md says what this limit is for",
    }
}

/// What to do about errors that say that something has run out; `None` for those of single requests.
fn of_errors(cause: &str) -> Option<&'static str> {
    Some(match cause {
        "upstream-queue-full" | "upstream-queue-timeout" => {
            "origins take no more at once: raise --max-upstream-connections, add origins (--to), or turn clients away \
             earlier (--max-requests-in-flight)"
        }
        "local-ports-exhausted" => {
            "keep connections to origins (their keep-alive time, --max-upstream-idle), give them more addresses, or \
             widen net.ipv4.ip_local_port_range"
        }
        "local-descriptors-exhausted" => "raise the limit of open files (ulimit -n; systemd: LimitNOFILE=)",
        "local-memory-exhausted" => "the kernel has no memory for sockets: net.ipv4.tcp_mem, and this machine's memory",
        "upstream-connect-timeout" => "the origin's backlog is full, or packets are dropped on the way to it",
        "upstream-connect-refused" => "nothing listens there: see whether the origin runs",
        "upstream-response-timeout" => "the origin is too slow for --response-timeout",
        _ => return None,
    })
}

fn limit(what: String, remedy: &'static str) -> Finding {
    Finding { weight: Weight::Limit, what, remedy }
}

fn cost(what: String, remedy: &'static str) -> Finding {
    Finding { weight: Weight::Cost, what, remedy }
}

fn limit_if(is_so: bool, finding: impl FnOnce() -> (String, &'static str)) -> Vec<Finding> {
    is_so.then(finding).map(|(what, remedy)| limit(what, remedy)).into_iter().collect()
}

fn cost_if(is_so: bool, finding: impl FnOnce() -> (String, &'static str)) -> Vec<Finding> {
    is_so.then(finding).map(|(what, remedy)| cost(what, remedy)).into_iter().collect()
}

fn share(part: f64, whole: f64) -> String {
    format!("{:.0} %", 100.0 * part / whole.max(1.0))
}

/// A time with three digits at most.
pub(super) fn time(secs: f64) -> String {
    let (number, unit) = match secs {
        _ if secs < 1e-3 => (secs * 1e6, "µs"),
        _ if secs < 1.0 => (secs * 1e3, "ms"),
        _ => (secs, "s"),
    };
    let digits = usize::from(number < 10.0);
    format!("{number:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Numbers;
    use super::*;

    /// A process with two workers that answered 1,000 requests in a second, at ease.
    const AT_EASE: &str = "sheave_start_time_seconds 1\nsheave_drain_phase{phase=\"running\"} 2\n\
        sheave_exchanges_total 1000\nprocess_cpu_seconds_total 0.4\n\
        sheave_connections_opened_total{side=\"downstream\"} 10\nsheave_connections_opened_total{side=\"upstream\"} 10\n\
        sheave_request_duration_seconds_sum 10\nsheave_request_duration_seconds_count 1000\n\
        sheave_upstream_response_duration_seconds_sum 2\nsheave_upstream_response_duration_seconds_count 1000\n";

    fn found(lines: &str, kernel: Option<(Kernel, Kernel)>) -> Vec<Finding> {
        let before = Numbers::read(
            "sheave_start_time_seconds 1\nsheave_origin_waiting{address=\"o:1\"} 2\n\
             sheave_origin_connect_failures{address=\"o:1\"} 2\n",
        );
        // A line that is said again replaces the one at ease.
        let said = |line: &&str| !lines.contains(line.rsplit_once(' ').map_or("", |(series, _)| series));
        let after: String = AT_EASE.lines().filter(said).chain(lines.lines()).map(|line| format!("{line}\n")).collect();
        let (before, after) = (before.expect("ours"), Numbers::read(&after).expect("ours"));
        let change = Change::between(&before, &after, 1.0).expect("one process");
        Watched { change, kernel }.findings()
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(found("", None), []);
        let housekeeping = "sheave_timeouts_total{side=\"downstream\",timer=\"idle\",phase=\"idle\"} 5\n";
        assert_eq!(found(housekeeping, Some((Kernel::default(), Kernel::default()))), []);
    }

    #[test]
    fn each_sign_has_its_finding() {
        for (lines, weight, what) in [
            ("sheave_connections_unaccounted{side=\"upstream\"} 1\n", Weight::Limit, "1 connections are unaccounted"),
            ("sheave_drain_phase{phase=\"waiting\"} 1\n", Weight::Limit, "a drain is under way in 1 of 3"),
            (
                "sheave_accept_failures_total{errno=\"EMFILE\"} 3\nprocess_open_fds 256\nprocess_max_fds 256\n",
                Weight::Limit,
                "accepting failed 3 times with EMFILE; 256 of 256 files are open",
            ),
            (
                "sheave_held_back_total{limit=\"max-connections\"} 7\nsheave_connections_live{side=\"downstream\"} 64\n",
                Weight::Limit,
                "clients wait to be accepted: max-connections was reached 7 times; 64 connections live",
            ),
            ("sheave_refused_total{limit=\"accept-rate\"} 9\n", Weight::Limit, "9 were turned away by accept-rate"),
            (
                "sheave_errors_total{error=\"upstream-queue-full\"} 4\n",
                Weight::Limit,
                "4 requests failed with upstream-q",
            ),
            ("sheave_origin_connect_failures{address=\"o:1\"} 5\n", Weight::Limit, "o:1 does not take connections: 5"),
            (
                "sheave_origin_waiting{address=\"o:1\"} 30\nsheave_origin_busy{address=\"o:1\"} 8\n",
                Weight::Limit,
                "30 requests wait for a connection to o:1, 8 of which are busy",
            ),
            ("process_cpu_seconds_total 1.9\n", Weight::Limit, "the workers compute for 95 % of the time: 2"),
            (
                "sheave_upstream_response_duration_seconds_sum 9\n",
                Weight::Limit,
                "origins take 9.0 ms of the 10 ms that a request takes",
            ),
            (
                "sheave_timeouts_total{side=\"downstream\",timer=\"head\",phase=\"head\"} 5\n",
                Weight::Cost,
                "5 connections were ended by the deadline head",
            ),
            ("sheave_retries_total{evidence=\"idempotent\"} 30\n", Weight::Cost, "3 % of requests were sent again"),
            (
                "sheave_connections_opened_total{side=\"upstream\"} 500\nsheave_connections_found_dead_total 90\n",
                Weight::Cost,
                "50 % of requests opened a connection to an origin; 90 parked ones",
            ),
            (
                "sheave_connections_opened_total{side=\"downstream\"} 990\n",
                Weight::Cost,
                "99 % of requests came on a new connection",
            ),
            (
                "sheave_tls_handshakes_total{side=\"downstream\",resumed=\"false\"} 600\n",
                Weight::Cost,
                "600 full TLS handshakes, 0 resumed, for 1000 requests",
            ),
        ] {
            let found = found(lines, None);
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert_eq!(found[0].weight, weight, "{lines}");
            assert!(found[0].what.starts_with(what), "{:?} is not {what:?}", found[0].what);
        }
    }

    #[test]
    fn the_kernel_is_asked_where_it_is_ours() {
        let full = Kernel { overflows: 12, time_wait: 28_000, ports: 28_232 };
        let found = found("sheave_errors_total{error=\"local-ports-exhausted\"} 4\n", Some((Kernel::default(), full)));
        assert!(found[0].what.starts_with("the kernel dropped 12 connection attempts"), "{found:?}");
        let ports = "4 requests failed with local-ports-exhausted: 28232 local ports for each origin, 28000 sockets in";
        assert!(found[1].what.starts_with(ports), "{found:?}");
    }

    #[test]
    fn what_limits_goes_before_what_costs() {
        let lines = "sheave_retries_total{evidence=\"idempotent\"} 30\nprocess_cpu_seconds_total 2\n";
        let weights: Vec<_> = found(lines, None).iter().map(|finding| finding.weight).collect();
        assert_eq!(weights, [Weight::Limit, Weight::Cost]);
    }

    #[test]
    fn times_are_short() {
        assert_eq!([0.000_25, 0.0014, 0.031, 2.5].map(time), ["250 µs", "1.4 ms", "31 ms", "2.5 s"]);
    }
}
