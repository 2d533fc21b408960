//! What the demo origin is asked for, read off the path.

use std::time::Duration;

use crate::size;

/// The longest delay that can be asked for.
const MAX_DELAY: Duration = Duration::from_mins(10);

/// The most lines that can be asked to drip.
const MAX_LINES: u64 = 100_000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The page that says what there is.
    Index,
    /// The request's body back; without one, the request as JSON.
    Echo,
    /// The request's fields, as they came.
    Headers,
    /// So many bytes, announced.
    Bytes(u64),
    /// So many bytes, in chunks.
    Chunked(u64),
    /// An answer after a while.
    Slow(Duration),
    /// So many lines, one every 100 ms.
    Drip(u64),
    /// An answer with this status.
    Status(u16),
    /// The SHA-256 of the request's body.
    Sha256,
    /// An answer that is the connection's last.
    Close,
}

/// Why a path is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoRoute {
    /// 404: there is nothing.
    Unknown,
    /// 400: what follows the name is wrong; says what would be right.
    Wrong(&'static str),
}

impl Route {
    /// Reads the path, which has no query any more.
    ///
    /// # Errors
    ///
    /// [`NoRoute`], which says what to answer.
    pub(crate) fn of(path: &str) -> Result<Self, NoRoute> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (name, argument) = path.split_once('/').map_or((path, None), |(name, argument)| (name, Some(argument)));
        let wanted = argument.unwrap_or_default();
        match name {
            "bytes" => return size::parse(wanted).map(Self::Bytes).map_err(|_| WRONG_SIZE),
            "chunked" => return size::parse(wanted).map(Self::Chunked).map_err(|_| WRONG_SIZE),
            "slow" => {
                let delay = number(wanted).map(Duration::from_millis).filter(|delay| *delay <= MAX_DELAY);
                return delay.map(Self::Slow).ok_or(WRONG_DELAY);
            }
            "drip" => return number(wanted).filter(|lines| *lines <= MAX_LINES).map(Self::Drip).ok_or(WRONG_LINES),
            "status" => {
                let code = number(wanted).and_then(|code| u16::try_from(code).ok());
                return code.filter(|code| (200..=599).contains(code)).map(Self::Status).ok_or(WRONG_STATUS);
            }
            _ if argument.is_some() => return Err(NoRoute::Unknown),
            _ => {}
        }
        match name {
            "" => Ok(Self::Index),
            "echo" => Ok(Self::Echo),
            "headers" => Ok(Self::Headers),
            "sha256" => Ok(Self::Sha256),
            "close" => Ok(Self::Close),
            _ => Err(NoRoute::Unknown),
        }
    }
}

const WRONG_SIZE: NoRoute = NoRoute::Wrong("write a size, such as /bytes/1000, /bytes/64k or /chunked/10m");
const WRONG_DELAY: NoRoute = NoRoute::Wrong("write milliseconds up to 600000, such as /slow/500");
const WRONG_LINES: NoRoute = NoRoute::Wrong("write a number of lines up to 100000, such as /drip/10");
const WRONG_STATUS: NoRoute = NoRoute::Wrong("write a final status from 200 to 599, such as /status/404");

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths() {
        for (path, route) in [
            ("/", Route::Index),
            ("/echo", Route::Echo),
            ("/headers", Route::Headers),
            ("/sha256", Route::Sha256),
            ("/close", Route::Close),
            ("/bytes/0", Route::Bytes(0)),
            ("/bytes/64k", Route::Bytes(65_536)),
            ("/chunked/1m", Route::Chunked(1 << 20)),
            ("/slow/0", Route::Slow(Duration::ZERO)),
            ("/slow/600000", Route::Slow(MAX_DELAY)),
            ("/drip/3", Route::Drip(3)),
            ("/status/200", Route::Status(200)),
            ("/status/599", Route::Status(599)),
        ] {
            assert_eq!(Route::of(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn says_what_would_be_right() {
        for path in ["/nothing", "/echo/", "/echo/more", "//", "/ECHO", "/%65cho"] {
            assert_eq!(Route::of(path), Err(NoRoute::Unknown), "{path}");
        }
        for path in [
            "/bytes",
            "/bytes/",
            "/bytes/x",
            "/bytes/1/2",
            "/slow/600001",
            "/slow/1s",
            "/slow",
            "/drip/+1",
            "/drip",
            "/drip/100001",
            "/status/199",
            "/status/600",
            "/status/65736",
            "/status/abc",
            "/status",
            "/chunked",
        ] {
            assert!(matches!(Route::of(path), Err(NoRoute::Wrong(_))), "{path}");
        }
    }
}
