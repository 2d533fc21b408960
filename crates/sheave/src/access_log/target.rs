//! Where the access log goes: nowhere, to standard output, or to a file.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// The argument of `--access-log`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LogTarget {
    /// `off`.
    Off,
    /// `-`.
    Output,
    /// Anything else.
    File(PathBuf),
}

impl FromStr for LogTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "off" => Self::Off,
            "-" => Self::Output,
            path => Self::File(path.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_that_name_is_still_reachable() {
        for (text, target) in [
            ("off", LogTarget::Off),
            ("-", LogTarget::Output),
            ("./off", LogTarget::File("./off".into())),
            ("./-", LogTarget::File("./-".into())),
            ("access.log", LogTarget::File("access.log".into())),
        ] {
            assert_eq!(text.parse(), Ok(target));
        }
    }
}
