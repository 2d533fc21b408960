//! Runs that once broke a law. Each stays, with what was wrong.

use crate::judge::judge;

/// The run, and what it showed.
const RUNS: [(&str, &str); 10] = [
    ("server/continue client1.in@71=cancel", "an exchange whose task was dropped never ended"),
    ("relay/hints send=12 receive=111 client1.out@0=drip+6", "the idle timer ran while the client took its response"),
    ("server/http10-keep client1.out@110=stall client1.in@18=drip+9", "a 408 that nobody took counted as answered"),
    (
        "relay/early-keep send=18 receive=37 client1.out@0=drip+9",
        "the body's timer ran while the answer was written and nothing was read",
    ),
    (
        "server/http10-stream send=82 receive=92 client2.out@0=split+1 op@2=cancel",
        "a response that ends with the connection looked whole when its task was dropped",
    ),
    (
        "relay/pipelined send=56 receive=87 op@1=drain client1.out@0=drip+28",
        "an answer that a drain's end cut off did not name the drain",
    ),
    (
        "server/get exchange-timeout=600 send=42 receive=83 client1.out@84=drip+17 op@2=drain",
        "a response went on after its exchange's deadline had reset it, where it was to be the last",
    ),
    ("server/get op@3=drain", "the first head after a drain's beginning says close"),
    (
        "relay/early-until-close send=23 receive=17 lag=3 interval=61 origin1.in@46=rst",
        "an RST that a write had told looked like the end of a response that ends with its connection",
    ),
    ("tunnel/client-first origin1.out@190=rst", "an RST that a write had told looked like the FIN of a tunnel"),
];

#[test]
fn what_was_fixed_stays_fixed() {
    for (line, what) in RUNS {
        let (record, violations) = judge(&line.parse().unwrap());
        assert!(violations.is_empty(), "{line}: {what}\n{violations:?}\n{}", record.trace);
    }
}
