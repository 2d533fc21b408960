//! What a connection of either role is held to.

use std::num::NonZeroU64;
use std::time::Duration;

use sheave_lifecycle::byte_floor::ByteFloor;
use sheave_lifecycle::time::Time;

use crate::h2_config::Http2Config;
use crate::limits::Limits;

/// How long a peer may take for what it owes. Every one is on but the age of tunnels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Server: from accept to the first byte of the first request. Default: 30 s.
    ///
    /// Browsers open connections in advance; ending them after this is benign.
    pub first_byte: Duration,
    /// Server: from the first byte of a request's head to its last. Default: 15 s.
    pub head: Duration,
    /// Both: between two reads of a message's body. Default: 30 s for requests; a client's user sets it for responses.
    ///
    /// Time in which the relay itself does not read, because the other side takes no more, does not count.
    pub body: Duration,
    /// Server: the slowest that a request's body may come, in bytes a second of the time in which it is waited for. `None`
    /// is off. Default: 240.
    ///
    /// Averaged over twice [`Self::body`], which is also the time in which a slow beginning is borne: so that a body which
    /// stops meets the deadline between two reads, and only one that drips meets this.
    pub min_body_rate: Option<NonZeroU64>,
    /// Both: between two exchanges. Default: 75 s.
    pub idle: Duration,
    /// Client: from the request's last byte to the final response's head. Default: 60 s.
    pub response: Duration,
    /// Both: without a byte either way in a tunnel. Default: 1 h.
    ///
    /// Other protocols have reasons of their own to be silent, and whoever is dead without a word is found by TCP's
    /// keep-alive.
    pub tunnel_idle: Duration,
    /// Both: a tunnel as a whole. Default: `None`, which is off.
    pub tunnel_age: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            min_body_rate: NonZeroU64::new(240),
            idle: Duration::from_secs(75),
            response: Duration::from_secs(60),
            tunnel_idle: Duration::from_hours(1),
            tunnel_age: None,
        }
    }
}

impl Timeouts {
    /// The floor under a request's body, if there is one.
    pub fn body_floor(&self) -> Option<ByteFloor> {
        let per_second = self.min_body_rate?;
        Some(ByteFloor { per_second, window: self.body.saturating_mul(2) })
    }

    /// How long clients can be promised that an idle connection stays open, so that the promise is kept: in whole seconds,
    /// and less than [`Self::idle`] by a tenth, at least by one second, for the client's clock begins when the response
    /// arrives. `None` where `idle` is less than two seconds: then there is nothing that could be promised.
    pub fn promise(&self) -> Option<u32> {
        let margin = (self.idle / 10).max(Duration::from_secs(1));
        let seconds = self.idle.checked_sub(margin)?.as_secs();
        u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    }
}

/// What a connection is held to; shared by all of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionConfig {
    /// How large what it sends may be.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How many exchanges it may carry. Default: 10,000; never less than one. Of HTTP/1, values over 2³² − 1 count as that.
    pub max_requests: u64,
    /// Server: how old a connection may become before its next response says `Connection: close`. `None` is off. Default:
    /// one hour, up to a tenth less by chance, so that connections that were opened together do not end together.
    ///
    /// Nothing is cut off by it: an exchange under way goes on, and an idle connection is left to [`Timeouts::idle`],
    /// because closing it at any other moment could cross a request. So a connection lives for at most this, its idle time
    /// and its last exchange.
    pub max_age: Option<Duration>,
    /// Server: whether responses promise how long the connection stays open while it is idle: `Connection: keep-alive` and
    /// `Keep-Alive: timeout=`, as [`Timeouts::promise`] says. The promise holds in a drain too, up to its grace. Default:
    /// false.
    pub announces_keep_alive: bool,
    /// What holds for connections that speak HTTP/2, and their streams.
    pub http2: Http2Config,
}

impl ConnectionConfig {
    /// When a connection that came to be at `opened` is so old that its next response is the last.
    pub fn retires_at(&self, opened: Time) -> Option<Time> {
        let max_age = self.max_age?;
        // A rule reads no dice: the moment of the opening scatters well enough.
        let chance = opened.as_micros().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
        let earlier = (max_age / 10).mul_f64(chance as f64 / 1024.0);
        Some(opened.after(max_age - earlier))
    }

    /// What is promised to clients, in seconds, if anything is.
    pub fn promise(&self) -> Option<u32> {
        if self.announces_keep_alive { self.timeouts.promise() } else { None }
    }
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            max_requests: 10_000,
            max_age: Some(Duration::from_hours(1)),
            announces_keep_alive: false,
            http2: Http2Config::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_less_than_it_keeps() {
        for (idle_ms, promise) in
            [(75_000, Some(67)), (30_000, Some(27)), (5_000, Some(4)), (2_000, Some(1)), (1_999, None), (1, None)]
        {
            let timeouts = Timeouts { idle: Duration::from_millis(idle_ms), ..Timeouts::default() };
            assert_eq!(timeouts.promise(), promise, "{idle_ms} ms");
        }
        assert_eq!(ConnectionConfig::default().promise(), None, "nobody asked for it");
    }

    #[test]
    fn ages_scatter_over_a_tenth() {
        let config = ConnectionConfig::default();
        let ages = (0..1000).map(|micros| {
            let opened = Time::from_micros(micros);
            config.retires_at(opened).expect("is on").since(opened).as_secs()
        });
        let (least, most) = ages.fold((u64::MAX, 0), |(least, most), age| (least.min(age), most.max(age)));
        assert!((3240..=3250).contains(&least) && (3590..=3600).contains(&most), "{least} to {most}");
        assert_eq!(ConnectionConfig { max_age: None, ..config }.retires_at(Time::ZERO), None);
    }
}
