//! How many client connections fit into the process's descriptors.

use sheave_net::limits::FileLimit;

/// Descriptors for other things: listening sockets, logs, the runtime's, name lookups.
const RESERVED: u64 = 64;

/// For each worker: its epoll instance, its wake-up, its share of listening sockets.
const RESERVED_PER_WORKER: u64 = 16;

/// More than this is not assumed without being told: memory ends, too.
const MAX_ASSUMED: u64 = 1_000_000;

/// How many client connections there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Over all workers; at least one for each.
    pub(crate) max_connections: u64,
    /// How many would fit, if fewer than was asked for.
    pub(crate) fits_only: Option<u64>,
}

impl Room {
    /// The number that was asked for, or else what fits; each client connection needs `descriptors_each`.
    pub(crate) fn new(asked: Option<u64>, limit: FileLimit, workers: u64, descriptors_each: u64) -> Self {
        let reserved = RESERVED + RESERVED_PER_WORKER * workers;
        let fits = limit.now.map_or(MAX_ASSUMED, |now| (now.saturating_sub(reserved) / descriptors_each).max(workers));
        Self {
            max_connections: asked.map_or(fits.min(MAX_ASSUMED), |asked| asked.max(workers)),
            fits_only: asked.filter(|asked| limit.now.is_some() && *asked > fits).map(|_| fits),
        }
    }

    /// A line of warning, if the room is less than was asked for, or than a service needs.
    pub(crate) fn warning(&self, limit: FileLimit) -> Option<String> {
        let remedy = "raise the hard limit (ulimit -Hn; systemd: LimitNOFILE=; docker: --ulimit nofile=)";
        match self.fits_only {
            Some(fits) => Some(format!(
                "{limit}: only {fits} of {} client connections fit; {remedy}, or lower --max-connections",
                self.max_connections
            )),
            None if self.max_connections < 1000 && limit.now.is_some_and(|now| now < 4096) => {
                Some(format!("{limit}: only {} client connections fit; {remedy}", self.max_connections))
            }
            None => None,
        }
    }
}

/// One worker's share of a number that is for all: rounded up, so that the shares make up the whole.
pub(crate) fn share(whole: u64, workers: u64) -> usize {
    usize::try_from(whole.div_ceil(workers.max(1))).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn limit(now: Option<u64>) -> FileLimit {
        FileLimit { was: now, now, hard: now, fault: None }
    }

    #[test]
    fn takes_what_fits_unless_told_otherwise() {
        for (asked, now, each, max_connections, fits_only) in [
            (None, Some(1024), 2, 464, None),
            (None, Some(1024), 1, 928, None),
            (None, Some(65_536), 2, 32_720, None),
            (None, Some(1 << 30), 2, 1_000_000, None),
            (None, None, 2, 1_000_000, None),
            (None, Some(10), 2, 2, None),
            (Some(100), Some(1024), 2, 100, None),
            (Some(1000), Some(1024), 2, 1000, Some(464)),
            (Some(2_000_000), None, 2, 2_000_000, None),
            (Some(1), Some(1024), 2, 2, None),
        ] {
            let room = Room::new(asked, limit(now), 2, each);
            assert_eq!(room, Room { max_connections, fits_only }, "{asked:?} of {now:?}");
        }
    }

    #[test]
    fn warns_where_it_is_tight() {
        let tight = limit(Some(1024));
        let text = Room::new(None, tight, 2, 2).warning(tight).expect("is tight");
        assert!(text.starts_with("1024 open files: only 464 client connections fit; raise the hard limit"), "{text}");
        let text = Room::new(Some(1000), tight, 2, 2).warning(tight).expect("is tight");
        assert!(text.contains("only 464 of 1000 client connections fit"), "{text}");
        assert_eq!(Room::new(Some(100), limit(Some(65_536)), 2, 2).warning(limit(Some(65_536))), None);
        assert_eq!(Room::new(None, limit(None), 2, 2).warning(limit(None)), None);
    }

    #[test]
    fn shares_make_up_the_whole() {
        assert_eq!([share(10, 2), share(11, 2), share(1, 4), share(10, 0)], [5, 6, 1, 10]);
    }
}
