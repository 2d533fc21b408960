//! A plan says all: the same one gives the same run, event by event.
//!
//! But for the last events of a run that is cancelled: in which order a runtime drops its tasks is not said.

use sheave_sim::plan::Plan;

use crate::judge::judge;

#[test]
fn the_same_plan_gives_the_same_run() {
    for line in [
        "server/pipelined",
        "client/chunked origin1.in@40=split+3",
        "relay/get",
        "relay/chunked seed=5 send=7 receive=9 spurious=3 interval=61 origin1.in@30=rst client1.out@9=drip+2",
        "relay/post origin1.out@30=fin origin2.in@9=stall",
        "relay/get op@9=drain",
    ] {
        let plan: Plan = line.parse().unwrap();
        let text = || judge(&plan).0.trace.to_string();
        let first = text();
        assert!(first.lines().count() > 10, "{first}");
        assert_eq!(first, text(), "{line}");
    }
}
