//! A plan says all: the same one gives the same run, event by event.

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
        "relay/get op@9=cancel",
    ] {
        let plan: Plan = line.parse().unwrap();
        let events = || {
            let text = judge(&plan).0.trace.to_string();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if line.contains("cancel") {
                // In which order a runtime drops its tasks is not said.
                lines.sort();
            }
            lines
        };
        let first = events();
        assert!(first.len() > 10, "{first:?}");
        assert_eq!(first, events(), "{line}");
    }
}
