//! What can be asked of `cargo xtask`, and the parser of the asking.

use std::time::Duration;

use lexopt::prelude::*;

use crate::api;
use crate::bench;
use crate::fuzz;
use crate::gate;
use crate::instructions;
use crate::interop;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask CHORE [OPTIONS]

  ci        the gate: everything that must pass before a change lands
      --skip NAMES      leave out these steps (comma-separated)
      --only NAMES      run these steps alone
      --list            name the steps and what they run
      --sim-runs N      random simulated runs per scenario (SHEAVE_SIM_RUNS)
  layers    check every crate's dependencies against the floors of the house
      --table           print the table as Markdown instead
  api       hold the libraries' public items against api/, and the crates whose types they show against the list
      --accept          record what differs
  fuzz [TARGET]...      feed the parsers mutated input, guided by coverage (all targets when none is named)
      --seconds N       time for each target (default 60)
      --replay FILE     run one input once, with the one target that is named
  interop [SET-UP]...   real clients, origins and other proxies around the release binary (all when none is named; a
                        name that there is not lists them): HTTP/1 and HTTP/2, TLS, gRPC, WebSocket, the PROXY protocol
      --direct          without the proxy: tells a peer's fault from ours
      --binary FILE     a proxy that is built already
  bench [SCENARIO]...   what a request or a connection costs sheave, nginx, HAProxy and others (default get-1k; or `growth`, `all`)
      --list            name the scenarios
      --rounds N        rounds A B C A B C (default 5; fewer give no ratio)
      --duration SECS   time of one sample (default 5)
      --with NAMES      these contenders alone (comma-separated)
      --peer NAME=CMD   one more proxy; {listen}, {origin}, {tls}, {certificate}, {key} are filled in
      --json FILE       every sample, for machines
      --md FILE         the tables, as for docs/benchmarks.md
      --svg FILE        the ratios as a picture
      --binary FILE     a sheave that is built already
  release   the binary as it is handed out: compiled for what a proxy is seen to do under load
  instructions [CASE]...  count the hot path's instructions under valgrind, against bench/instructions.json
      --accept REASON   write what differs into the baseline
      --profile         keep callgrind's profiles below the target folder
";

/// One chore with its options.
pub(crate) enum Chore {
    Api(api::Options),
    Ci(gate::Options),
    Layers { table: bool },
    Fuzz(fuzz::Options),
    Interop(interop::Options),
    Bench(bench::Options),
    Instructions(instructions::Options),
    Release,
}

/// What a command line asks for.
pub(crate) enum Wanted {
    Help(&'static str),
    Run(Chore),
}

/// Reads the command line.
///
/// # Errors
/// An unknown chore or option, a missing value, or one that is not the number that it should be.
pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Wanted, lexopt::Error> {
    let chore = match parser.next()? {
        None | Some(Long("help") | Short('h')) => return Ok(Wanted::Help(HELP)),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    let chore = match chore.as_str() {
        "help" => return Ok(Wanted::Help(HELP)),
        "api" => api(&mut parser)?,
        "ci" => ci(&mut parser)?,
        "layers" => layers(&mut parser)?,
        "fuzz" => fuzz(&mut parser)?,
        "interop" => interop(&mut parser)?,
        "bench" => bench(&mut parser)?,
        "instructions" => instructions(&mut parser)?,
        "release" => release(&mut parser)?,
        other => return Err(format!("there is no chore `{other}`").into()),
    };
    Ok(chore.map_or(Wanted::Help(HELP), Wanted::Run))
}

/// Whether this argument asks for help: then the chore's parser returns `None`.
fn asks_for_help(argument: &lexopt::Arg<'_>) -> bool {
    matches!(argument, Long("help") | Short('h'))
}

fn api(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = api::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("accept") => options.accept = true,
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(Chore::Api(options)))
}

fn ci(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = gate::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("skip") => options.skip.extend(names(parser)?),
            Long("only") => options.only.extend(names(parser)?),
            Long("list") => options.list = true,
            Long("sim-runs") => options.sim_runs = Some(parser.value()?.parse()?),
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    options.check()?;
    Ok(Some(Chore::Ci(options)))
}

fn layers(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut table = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("table") => table = true,
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(Chore::Layers { table }))
}

fn fuzz(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = fuzz::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => options.time = Duration::from_secs(positive(parser)?),
            Long("replay") => options.replay = Some(parser.value()?.into()),
            Value(target) => options.targets.push(target.string()?),
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.replay.is_some() && options.targets.len() != 1 {
        return Err("--replay needs exactly one target before it: cargo xtask fuzz TARGET --replay FILE".into());
    }
    Ok(Some(Chore::Fuzz(options)))
}

fn interop(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = interop::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("direct") => options.direct = true,
            Long("binary") => options.binary = Some(parser.value()?.into()),
            Value(name) => options.only.push(name.string()?),
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.direct && options.binary.is_some() {
        return Err("--direct and --binary exclude each other: without the proxy there is no binary".into());
    }
    Ok(Some(Chore::Interop(options)))
}

fn bench(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = bench::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = usize::try_from(positive(parser)?).map_err(|_| "too many rounds")?,
            Long("duration") => options.time = Duration::from_secs(positive(parser)?),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("list") => options.list = true,
            Long("with") => options.with.extend(names(parser)?),
            Long("peer") => options.peers.push(bench::Peer::parse(&parser.value()?.string()?)?),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Long("md") => options.md = Some(parser.value()?.into()),
            Long("binary") => options.binary = Some(parser.value()?.into()),
            Value(name) => options.scenarios.push(name.string()?),
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(Chore::Bench(options)))
}

fn instructions(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    let mut options = instructions::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("accept") => options.accept = Some(parser.value()?.string()?),
            Long("profile") => options.profile = true,
            Value(name) => options.cases.push(name.string()?),
            other if asks_for_help(&other) => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.accept.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        return Err("--accept takes the reason why the hot path may cost this".into());
    }
    Ok(Some(Chore::Instructions(options)))
}

fn release(parser: &mut lexopt::Parser) -> Result<Option<Chore>, lexopt::Error> {
    match parser.next()? {
        None => Ok(Some(Chore::Release)),
        Some(argument) if asks_for_help(&argument) => Ok(None),
        Some(other) => Err(other.unexpected()),
    }
}

/// `a,b` as two names.
fn names(parser: &mut lexopt::Parser) -> Result<Vec<String>, lexopt::Error> {
    let value = parser.value()?.string()?;
    Ok(value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// A whole number above zero.
fn positive(parser: &mut lexopt::Parser) -> Result<u64, lexopt::Error> {
    let number: u64 = parser.value()?.parse()?;
    if number == 0 { Err("0 is too small: this takes a whole number of at least 1".into()) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wanted, lexopt::Error> {
        parse(lexopt::Parser::from_iter(std::iter::once("xtask").chain(line.split_whitespace())))
    }

    #[test]
    fn chores_with_their_options() {
        assert!(matches!(parsed("layers --table"), Ok(Wanted::Run(Chore::Layers { table: true }))));
        let Ok(Wanted::Run(Chore::Ci(options))) = parsed("ci --skip tests,fuzz --sim-runs 9") else { panic!() };
        assert_eq!((options.skip.len(), options.sim_runs), (2, Some(9)));
        let Ok(Wanted::Run(Chore::Fuzz(options))) = parsed("fuzz connection --seconds 5") else { panic!() };
        assert_eq!((options.targets.as_slice(), options.time.as_secs()), (["connection".to_owned()].as_slice(), 5));
        for line in ["", "help", "--help", "ci -h", "fuzz --help"] {
            assert!(matches!(parsed(line), Ok(Wanted::Help(_))), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "nonsense",
            "layers --tables",
            "fuzz --seconds 0",
            "fuzz --seconds",
            "ci --only nonsense",
            "fuzz --replay x",
            "instructions --accept",
            "bench --peer x",
            "release now",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
