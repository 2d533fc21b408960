//! The proxy's own numbers: read from its admin address, and held against the laws of its books.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::curl::Curl;

/// One line of the Prometheus text format: name, labels, value.
struct Line {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Everything that `/metrics` said at one moment.
pub(super) struct Ledger {
    lines: Vec<Line>,
}

impl Ledger {
    pub(super) fn read(admin: SocketAddr) -> Result<Self> {
        let said = Curl::new().url(admin, "/metrics").text().context("the admin address")?;
        let status = said.only()?.status;
        ensure!(status == 200, "http://{admin}/metrics answers with status {status}");
        Self::parse(&said.body)
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines = lines.map(|line| Line::parse(line).with_context(|| format!("not a line of metrics: {line}")));
        Ok(Self { lines: lines.collect::<Result<_>>()? })
    }

    /// The sum over all lines of this name whose labels include these.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum()`: over nothing that is -0.
        self.matching(name, labels).fold(0.0, |sum, line| sum + line.value)
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Line> {
        let fits = |line: &&Line| labels.iter().all(|(key, value)| line.labels.get(*key).is_some_and(|is| is == value));
        self.lines.iter().filter(move |line| line.name == name).filter(fits)
    }

    /// Fails for a name that is absent: a sum over nothing would be 0 and prove nothing.
    fn expect_name(&self, name: &str) -> Result<()> {
        if self.lines.iter().any(|line| line.name == name) {
            return Ok(());
        }
        let names: BTreeSet<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        bail!("/metrics has no {name}; it has {}", names.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Every connection ended with exactly one reason: opened = live + Σ closed, on both sides.
    fn balanced(&self) -> Result<String> {
        let mut told = Vec::new();
        for side in ["downstream", "upstream"] {
            let of = |name| {
                self.expect_name(name)?;
                anyhow::Ok(self.sum(name, &[("side", side)]))
            };
            let (opened, live) = (of("sheave_connections_opened_total")?, of("sheave_connections_live")?);
            let closed = of("sheave_connections_closed_total")?;
            ensure!(opened == live + closed, "{side}: {opened} opened, but {live} live + {closed} closed");
            ensure!(opened > 0.0, "{side}: not one connection was counted");
            // It keeps a list of live connections beside its counts: the two must agree as well.
            let lost = of("sheave_connections_unaccounted")?;
            ensure!(lost == 0.0, "{side}: of {lost} connections it does not know what became");
            told.push(format!("{side} {opened} = {live} + {closed}"));
        }
        let bugs: Vec<String> =
            self.matching("sheave_connections_closed_total", &[("severity", "bug")]).map(Line::told).collect();
        ensure!(bugs.is_empty(), "connections were closed by bugs: {}", bugs.join("; "));
        Ok(told.join(", "))
    }

    fn has_no_errors_of_its_own(&self) -> Result<String> {
        const RESPONSES: &str = "sheave_responses_total";
        self.expect_name(RESPONSES)?;
        let label = |line: &Line, key| line.labels.get(key).cloned().unwrap_or_default();
        let all = || self.matching(RESPONSES, &[]).filter(|line| line.value > 0.0);
        let own = all().filter(|line| label(line, "made_by") != "origin" && label(line, "code").starts_with('5'));
        let own: Vec<String> = own.map(Line::told).collect();
        ensure!(own.is_empty(), "it made 5xx responses: {}", own.join("; "));
        let relayed = self.sum(RESPONSES, &[("made_by", "origin")]);
        ensure!(relayed > 0.0, "no response of the origin was counted");
        Ok(format!("none in {relayed} responses"))
    }
}

impl Line {
    /// `name{key="value",…} 12`, where a value may hold `\"`, `\\` and `\n`.
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(['{', ' '])?;
        let (name, mut rest) = text.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (key, after) = rest.split_once("=\"")?;
                let (value, after) = quoted(after)?;
                labels.insert(key.trim_start_matches(',').trim().to_owned(), value);
                rest = after;
            }
            rest = &rest[1..];
        }
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

impl Line {
    fn told(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} with {}", self.value, labels.join(" "))
    }
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// All clients are gone: soon no downstream connection is live, and the books balance.
pub(super) fn balances(admin: SocketAddr) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let ledger = Ledger::read(admin)?;
        let live = ledger.sum("sheave_connections_live", &[("side", "downstream")]);
        if live == 0.0 || Instant::now() > deadline {
            ensure!(live == 0.0, "{live} downstream connections are live 5 s after the last client left");
            return ledger.balanced();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// So many exchanges became tunnels, and each ended as one on both sides: soon, once both have.
pub(super) fn tunnels(admin: SocketAddr, expected: usize) -> Result<String> {
    let expected = expected as f64;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let ledger = Ledger::read(admin)?;
        ledger.expect_name("sheave_tunnels_opened_total")?;
        let opened = ledger.sum("sheave_tunnels_opened_total", &[]);
        ensure!(opened <= expected, "{opened} tunnels were counted, of {expected}");
        let upgraded = ["downstream", "upstream"]
            .map(|side| ledger.sum("sheave_connections_closed_total", &[("side", side), ("reason", "upgraded")]));
        if opened == expected && upgraded == [expected; 2] {
            return Ok(format!("{opened} opened, closed as upgraded on both sides"));
        }
        if Instant::now() > deadline {
            let closed = ledger.matching("sheave_connections_closed_total", &[]).map(Line::told);
            let closed: Vec<String> = closed.filter(|line| !line.starts_with("0 ")).collect();
            bail!("{opened} of {expected} opened; closed were {}", closed.join("; "));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The proxy answered nothing with a 5xx of its own: every origin was there all the time.
pub(super) fn no_errors_of_its_own(admin: SocketAddr) -> Result<String> {
    Ledger::read(admin)?.has_no_errors_of_its_own()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x\n\
        sheave_connections_opened_total{side=\"downstream\"} 5\n\
        sheave_connections_live{side=\"downstream\"} 1\n\
        sheave_connections_closed_total{side=\"downstream\",reason=\"a \\\"b\\\",}\",severity=\"benign\"} 3\n\
        sheave_connections_closed_total{side=\"downstream\",reason=\"c\",severity=\"peer\"} 1\n\
        sheave_connections_opened_total{side=\"upstream\"} 2\n\
        sheave_connections_live{side=\"upstream\"} 2\n\
        sheave_connections_unaccounted{side=\"downstream\"} 0\n\
        sheave_connections_unaccounted{side=\"upstream\"} 0\n\
        sheave_responses_total{code=\"200\",made_by=\"origin\"} 7\n\
        sheave_responses_total{code=\"502\",made_by=\"origin\"} 1\n\
        sheave_responses_total{code=\"502\",made_by=\"sheave\"} 0\n\
        sheave_up 1 1700000000\n";

    #[test]
    fn lines_with_labels() {
        let ledger = Ledger::parse(TEXT).unwrap();
        assert_eq!(ledger.lines[2].labels["reason"], "a \"b\",}");
        assert_eq!(ledger.sum("sheave_connections_closed_total", &[("side", "downstream")]), 4.0);
        assert_eq!(ledger.sum("sheave_up", &[]), 1.0);
        assert!(Ledger::parse("nonsense").is_err() && Ledger::parse("x{a=\"b} 1").is_err());
    }

    #[test]
    fn the_law_of_the_books() {
        assert_eq!(Ledger::parse(TEXT).unwrap().balanced().unwrap(), "downstream 5 = 1 + 4, upstream 2 = 2 + 0");
        let lost = TEXT.replace("{side=\"downstream\"} 5", "{side=\"downstream\"} 6");
        let error = Ledger::parse(&lost).unwrap().balanced().unwrap_err().to_string();
        assert_eq!(error, "downstream: 6 opened, but 1 live + 4 closed");
        assert!(Ledger::parse("sheave_up 1\n").unwrap().balanced().is_err());
        let bug = TEXT.replace("severity=\"peer\"", "severity=\"bug\"");
        assert!(
            Ledger::parse(&bug).unwrap().balanced().unwrap_err().to_string().contains("1 with reason=c severity=bug")
        );
    }

    #[test]
    fn errors_of_the_origin_are_not_the_proxy_s() {
        assert_eq!(Ledger::parse(TEXT).unwrap().has_no_errors_of_its_own().unwrap(), "none in 8 responses");
        let own = TEXT.replace("made_by=\"sheave\"} 0", "made_by=\"sheave\"} 2");
        let error = Ledger::parse(&own).unwrap().has_no_errors_of_its_own().unwrap_err().to_string();
        assert_eq!(error, "it made 5xx responses: 2 with code=502 made_by=sheave");
        assert!(Ledger::parse("sheave_up 1\n").unwrap().has_no_errors_of_its_own().is_err());
    }
}
