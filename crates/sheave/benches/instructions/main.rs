//! Work of the hot path, done so many times: for a counter of instructions to look on.
//!
//! `instructions CASE ROUNDS` does one case; `instructions list` names them. `cargo xtask instructions` runs each under
//! valgrind with two numbers of rounds, and holds the difference against `bench/instructions.json`: what the program costs
//! before and after the work falls out. Nothing here may depend on the clock, on a random number or on an address.

// What a case needs cannot be missing, and there is nobody to tell.
#![allow(clippy::unwrap_used)]

mod bodies;
mod canned;
mod exchanges;
mod heads;
mod observers;
mod pool;
mod typical;

// The binary's own rooms: their lines are formatted here as there.
#[allow(dead_code, unused_imports)]
#[path = "../../src/calendar.rs"]
mod calendar;
#[allow(dead_code, unused_imports)]
#[path = "../../src/access_log/combined.rs"]
mod combined;
#[allow(dead_code, unused_imports)]
#[path = "../../src/json.rs"]
mod json;
#[allow(dead_code, unused_imports)]
#[path = "../../src/access_log/json_line.rs"]
mod json_line;

/// One case: its name, which stands in the baseline, and its work.
type Case = (&'static str, fn(u64));

const CASES: &[Case] = &[
    ("parse-request-head", heads::parse_request),
    ("parse-response-head", heads::parse_response),
    ("write-request-head", heads::write_request),
    ("write-response-head", heads::write_response),
    ("hop-edits", heads::hop_edits),
    ("read-chunked-100k", bodies::read_chunked),
    ("write-chunked-100k", bodies::write_chunked),
    ("pool-checkout-and-park", pool::checkout_and_park),
    ("observe-exchange", observers::exchange),
    ("access-log-json", observers::json),
    ("access-log-combined", observers::combined),
    ("server-hello", exchanges::hello),
    ("client-call", exchanges::call),
    ("proxy-get-1k", exchanges::get_1k),
    ("proxy-get-100k", exchanges::get_100k),
    ("proxy-chunked-100k", exchanges::chunked_100k),
    ("proxy-post-16k", exchanges::post_16k),
    ("proxy-new-connection", exchanges::new_connection),
];

fn main() {
    // cargo's own words begin with dashes.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => CASES.iter().for_each(|(name, _)| println!("{name}")),
        [name, rounds] => {
            let (_, work) = CASES.iter().find(|(one, _)| one == name).expect("a case of this name");
            work(rounds.parse().expect("a number of rounds"));
        }
        // All of it once, to see that it works.
        _ => CASES.iter().for_each(|(_, work)| work(1)),
    }
}
