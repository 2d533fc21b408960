//! Faults as people write them: `idle-close=5s`, `die-after=1000,reset,1/10`.

use std::str::FromStr;
use std::time::Duration;

use super::share::Share;
use crate::{duration, share, size};

/// What `--fault help` prints, and the flag's help.
pub(crate) const HELP: &str = "\
Makes the origin misbehave on purpose; may be given more than once.

Each is NAME[=VALUE][,OPTION]. SHARE is a share of requests, spread evenly: 1/100 is every hundredth, 1% is too; without \
one it is every request.

  idle-close=TIME                   send FIN once a connection was idle for so long after a response
  idle-reset=TIME                   send RST instead
  jitter=SHARE                      let those times vary by up to this much, both ways: 20%
  timeout-408                       say 408 before either
  keep-alive-lie=TIME               say Keep-Alive: timeout=, whatever is done: whole seconds
  close-after-request[=SHARE][,reset]
                                    read the request, then close without a response
  never-answer[=SHARE]              read the request, then say nothing for ever
  die-after=BYTES[,reset][,SHARE]   close after so many bytes of the body
  stall-after=BYTES[,SHARE]         say no more after so many bytes of the body, and stay
  drip=TIME[,SHARE]                 send bodies byte by byte, one each time
  double-response[=SHARE]           answer one request twice
  half-close[=SHARE]                send FIN after the response, and go on reading
  refuse                            hold the port, and do not listen";

/// What `--fault` says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Spec {
    /// List the faults there are.
    Help,
    /// A fault.
    Fault(Fault),
}

/// How a connection is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// FIN: by a plain close.
    Fin,
    /// RST: what was sent and not read yet may be lost.
    Reset,
}

/// One way to misbehave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    /// Close a connection that was idle for so long.
    Idle(Duration, Ending),
    /// Vary that time by this share, both ways.
    Jitter(f64),
    /// Say 408 before closing an idle connection.
    Timeout408,
    /// Promise to keep idle connections for so many seconds.
    KeepAliveLie(u64),
    /// Close when the request was read.
    CloseAfterRequest(Share, Ending),
    /// Do nothing when the request was read.
    NeverAnswer(Share),
    /// Close after so many bytes of a body.
    DieAfter(u64, Share, Ending),
    /// Send nothing after so many bytes of a body.
    StallAfter(u64, Share),
    /// Send a body's bytes one by one.
    Drip(Duration, Share),
    /// Answer twice.
    DoubleResponse(Share),
    /// Send FIN after the response and go on reading.
    HalfClose(Share),
    /// Do not listen.
    Refuse,
}

impl Fault {
    /// Its name, as `--fault` has it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Idle(_, Ending::Fin) => "idle-close",
            Self::Idle(_, Ending::Reset) => "idle-reset",
            Self::Jitter(_) => "jitter",
            Self::Timeout408 => "timeout-408",
            Self::KeepAliveLie(_) => "keep-alive-lie",
            Self::CloseAfterRequest(..) => "close-after-request",
            Self::NeverAnswer(_) => "never-answer",
            Self::DieAfter(..) => "die-after",
            Self::StallAfter(..) => "stall-after",
            Self::Drip(..) => "drip",
            Self::DoubleResponse(_) => "double-response",
            Self::HalfClose(_) => "half-close",
            Self::Refuse => "refuse",
        }
    }
}

impl Spec {
    /// The fault, if it names one.
    pub(crate) const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Help => None,
            Self::Fault(fault) => Some(*fault),
        }
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "help" {
            return Ok(Self::Help);
        }
        let mut words = Words::of(text);
        let fault = match words.name {
            "idle-close" => Fault::Idle(words.time()?, Ending::Fin),
            "idle-reset" => Fault::Idle(words.time()?, Ending::Reset),
            "jitter" => Fault::Jitter(words.needs("how much, such as jitter=20%").and_then(share::parse)?),
            "timeout-408" => Fault::Timeout408,
            "keep-alive-lie" => Fault::KeepAliveLie(words.seconds()?),
            "close-after-request" => Fault::CloseAfterRequest(words.share_value()?, words.ending()),
            "never-answer" => Fault::NeverAnswer(words.share_value()?),
            "die-after" => Fault::DieAfter(words.bytes()?, words.share_option()?, words.ending()),
            "stall-after" => Fault::StallAfter(words.bytes()?, words.share_option()?),
            "drip" => Fault::Drip(words.time()?, words.share_option()?),
            "double-response" => Fault::DoubleResponse(words.share_value()?),
            "half-close" => Fault::HalfClose(words.share_value()?),
            "refuse" => Fault::Refuse,
            name => return Err(format!("there is no fault {name:?}: `--fault help` lists those there are")),
        };
        words.nothing_left()?;
        Ok(Self::Fault(fault))
    }
}

/// `NAME[=VALUE][,OPTION]…`, taken apart. What is asked for is taken out; what is left in the end is wrong.
struct Words<'a> {
    name: &'a str,
    value: Option<&'a str>,
    options: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, value) = first.split_once('=').map_or((first, None), |(name, value)| (name, Some(value)));
        Self { name, value, options: parts.collect() }
    }

    fn needs(&mut self, what: &str) -> Result<&'a str, String> {
        self.value.take().ok_or_else(|| format!("{} must say {what}", self.name))
    }

    fn time(&mut self) -> Result<Duration, String> {
        let example = format!("how long, such as {}=50ms", self.name);
        match duration::parse(self.needs(&example)?)? {
            Duration::ZERO => Err(format!("{} cannot be zero: write how long, such as 50ms", self.name)),
            time => Ok(time),
        }
    }

    fn seconds(&mut self) -> Result<u64, String> {
        let time = duration::parse(self.needs("how long, such as keep-alive-lie=60s")?)?;
        // The field has no fractions: RFC 2068 §19.7.1.1 counts in seconds.
        if time.subsec_nanos() == 0 { Ok(time.as_secs()) } else { Err("keep-alive-lie counts in whole seconds".into()) }
    }

    fn bytes(&mut self) -> Result<u64, String> {
        let example = format!("how many bytes, such as {}=1000", self.name);
        size::parse(self.needs(&example)?)
    }

    fn share_value(&mut self) -> Result<Share, String> {
        self.value.take().map_or(Ok(Share::ALL), str::parse)
    }

    fn share_option(&mut self) -> Result<Share, String> {
        let is_share = |option: &&str| option.ends_with('%') || option.contains('/');
        match self.options.iter().position(is_share) {
            Some(place) => self.options.remove(place).parse(),
            None => Ok(Share::ALL),
        }
    }

    fn ending(&mut self) -> Ending {
        match self.options.iter().position(|option| *option == "reset") {
            Some(place) => {
                self.options.remove(place);
                Ending::Reset
            }
            None => Ending::Fin,
        }
    }

    fn nothing_left(&self) -> Result<(), String> {
        match (self.value, self.options.first()) {
            (Some(value), _) => Err(format!("{} takes no value: leave out ={value}", self.name)),
            (None, Some(option)) => Err(format!("{} has no option {option:?}: see `--fault help`", self.name)),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        match text.parse()? {
            Spec::Fault(fault) => Ok(fault),
            Spec::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn reads_what_people_write() {
        let tenth: Share = "1/10".parse().expect("a share");
        let seconds = Duration::from_secs;
        for (text, fault) in [
            ("idle-close=5s", Fault::Idle(seconds(5), Ending::Fin)),
            ("idle-reset=5s", Fault::Idle(seconds(5), Ending::Reset)),
            ("jitter=20%", Fault::Jitter(0.2)),
            ("timeout-408", Fault::Timeout408),
            ("keep-alive-lie=60s", Fault::KeepAliveLie(60)),
            ("keep-alive-lie=0", Fault::KeepAliveLie(0)),
            ("close-after-request", Fault::CloseAfterRequest(Share::ALL, Ending::Fin)),
            ("close-after-request=1/10", Fault::CloseAfterRequest(tenth, Ending::Fin)),
            ("close-after-request=1/10,reset", Fault::CloseAfterRequest(tenth, Ending::Reset)),
            ("never-answer=1/10", Fault::NeverAnswer(tenth)),
            ("die-after=1000", Fault::DieAfter(1000, Share::ALL, Ending::Fin)),
            ("die-after=1k,reset", Fault::DieAfter(1024, Share::ALL, Ending::Reset)),
            ("die-after=1k,1/10,reset", Fault::DieAfter(1024, tenth, Ending::Reset)),
            ("die-after=0,reset,1/10", Fault::DieAfter(0, tenth, Ending::Reset)),
            ("stall-after=1", Fault::StallAfter(1, Share::ALL)),
            ("drip=10ms", Fault::Drip(Duration::from_millis(10), Share::ALL)),
            ("double-response", Fault::DoubleResponse(Share::ALL)),
            ("half-close", Fault::HalfClose(Share::ALL)),
            ("refuse", Fault::Refuse),
        ] {
            assert_eq!(read(text), Ok(fault), "{text}");
            assert!(HELP.contains(&format!("\n  {}", fault.name())), "{text} is not in the help");
        }
        assert_eq!("help".parse(), Ok(Spec::Help));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "no fault \"\""),
            ("idle", "`--fault help` lists"),
            ("Idle-close=5s", "`--fault help` lists"),
            ("idle-close", "must say how long, such as idle-close=50ms"),
            ("idle-close=", "whole number"),
            ("idle-close=5", "write 5s for seconds"),
            ("idle-close=0s", "cannot be zero"),
            ("idle-close=5s,reset", "no option \"reset\""),
            ("jitter", "jitter=20%"),
            ("jitter=200%", "between 0% and 100%"),
            ("timeout-408=5s", "takes no value"),
            ("keep-alive-lie=500ms", "whole seconds"),
            ("close-after-request=2", "no share of requests"),
            ("close-after-request=1/2,1/3", "no option"),
            ("die-after", "die-after=1000"),
            ("die-after=x", "bytes"),
            ("die-after=10,rst", "no option \"rst\""),
            ("die-after=10,5/4", "no share of requests"),
            ("drip=1", "write 1s for seconds"),
            ("refuse,", "no option \"\""),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
