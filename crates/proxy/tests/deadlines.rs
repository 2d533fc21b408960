//! Peers that are late: each phase has its deadline, and each deadline its own end.

mod kit;

use std::time::Duration;

use kit::origin::Origin;
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_lifecycle::phase::Side;

/// Short enough to wait for; what is asserted is what happened, not when.
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_head_that_is_late_is_told_so() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.head = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nHos").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (408, Some("timeout-head")));
        assert!(response.says_close() && response.field("Date").is_some());
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-head");
        assert_eq!(origin.accepted(), 0);
        rig.finish().await;
    });
}

/// What was known of the exchange before says nothing of the one whose head is missing.
#[test]
fn a_late_head_behind_a_response_without_content_is_told_with_content() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.head = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        assert_eq!(client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
        client.send("GET / HTT").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.body.is_empty()), (408, false));
        assert_eq!(client.end().await, End::Fin);
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.number, ended.status, ended.response_bytes), (2, 408, response.body.len() as u64));
        drop(client);
        rig.finish().await;
    });
}
