//! What `Date` says, formatted once a second on each thread.

use std::cell::Cell;
use std::time::Duration;

use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_proto::date::ImfFixdate;

/// A text, and the moments by one clock at which it is the right one.
#[derive(Clone, Copy)]
struct Formatted {
    clock: Clock,
    from: Time,
    until: Time,
    text: ImfFixdate,
}

thread_local! {
    static FORMATTED: Cell<Option<Formatted>> = const { Cell::new(None) };
}

/// The Date field's value at `now`, which `clock` has just said. RFC 9110 §6.6.1
///
/// The system's clock is read, and its time formatted, when the second is over by `clock`: that costs as much as reading
/// a small request. Where the system's clock is set, the old time is said for up to a second more.
pub(crate) fn date_at(clock: Clock, now: Time) -> ImfFixdate {
    if let Some(formatted) = FORMATTED.get()
        && formatted.clock == clock
        && (formatted.from..formatted.until).contains(&now)
    {
        return formatted.text;
    }
    let formatted = formatted(clock, now, clock.unix_time());
    FORMATTED.set(Some(formatted));
    formatted.text
}

fn formatted(clock: Clock, now: Time, unix_time: Duration) -> Formatted {
    let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(unix_time.subsec_nanos().into()));
    Formatted { clock, from: now, until: now.after(left), text: ImfFixdate::at(unix_time.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_until_its_second_is_over() {
        let clock = Clock::start();
        let now = Time::from_micros(5_000_000);
        let formatted = formatted(clock, now, Duration::new(784_111_777, 250_000_000));
        assert_eq!(formatted.text.as_text().as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!((formatted.from, formatted.until), (now, Time::from_micros(5_750_000)));
    }

    #[test]
    fn it_is_formatted_anew_for_another_second_or_another_clock() {
        let (clock, old) = (Clock::start(), ImfFixdate::at(0));
        let (from, until) = (Time::from_micros(2_000_000), Time::from_micros(3_000_000));
        let (before, within) = (Time::from_micros(1_999_999), Time::from_micros(2_999_999));
        let other = (0..).map(|_| Clock::start()).find(|other| *other != clock).expect("time goes on");
        for (asked, now, is_old) in [
            (clock, from, true),
            (clock, within, true),
            (clock, before, false),
            (clock, until, false),
            (other, from, false),
        ] {
            FORMATTED.set(Some(Formatted { clock, from, until, text: old }));
            assert_eq!(date_at(asked, now) == old, is_old, "{now:?}");
        }
    }
}
