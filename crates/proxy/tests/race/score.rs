//! What came of many trials, as one line.

use std::fmt;
use std::time::Instant;

use super::client::Answer;
use super::origin::Parked;

/// What came of many trials of one method against one ending.
#[derive(Clone, Default, Debug)]
pub struct Score {
    /// Requests that were meant to meet a close.
    pub trials: usize,
    /// Those served on the connection that was parked.
    pub on_parked: usize,
    /// Those sent when the origin had closed already.
    pub after_close: usize,
    /// Those that the close crossed: it came after they were sent.
    pub crossed: usize,
    /// Those before which the proxy itself had closed the connection.
    pub left: usize,
    /// Answers of the proxy's own to requests that may not be sent again, which the close had crossed.
    pub lost_in_crossing: usize,
    /// What must not happen.
    pub wrong: Vec<String>,
}

impl Score {
    /// Counts one trial.
    pub fn add(&mut self, method: &str, sent_at: Instant, answer: Answer, parked: Parked) {
        self.trials += 1;
        let is_after = match parked {
            Parked::Served => {
                self.on_parked += 1;
                false
            }
            Parked::Left => {
                self.left += 1;
                true
            }
            Parked::Closed(at) if at <= sent_at => {
                self.after_close += 1;
                true
            }
            Parked::Closed(_) => {
                self.crossed += 1;
                false
            }
        };
        match answer {
            Answer::Whole => {}
            // RFC 9110 §9.2.2: what is neither idempotent nor known to be unprocessed is not sent again.
            Answer::PerhapsSent(_) if method == "POST" && !is_after => self.lost_in_crossing += 1,
            Answer::PerhapsSent(cause) => self.wrong.push(format!("{method}, {parked:?}: {cause}")),
            Answer::Wrong(what) => self.wrong.push(format!("{method}, {parked:?}: {what}")),
        }
    }

    /// Adds another score.
    pub fn merge(&mut self, other: Self) {
        self.trials += other.trials;
        self.on_parked += other.on_parked;
        self.after_close += other.after_close;
        self.crossed += other.crossed;
        self.left += other.left;
        self.lost_in_crossing += other.lost_in_crossing;
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trials, on_parked, after_close, crossed, left, lost_in_crossing, wrong } = self;
        write!(
            f,
            "{trials} trials: {on_parked} on the parked connection, {after_close} after its close, {crossed} crossed it, \
             {left} left before; not repairable {lost_in_crossing}, wrong {}",
            wrong.len()
        )
    }
}
