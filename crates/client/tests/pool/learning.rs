//! What the pool learns of keep-alive times, and what it does with it.

use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::keep_alive::{Careful, KeepAlivePolicy, Reuse};

use crate::net::{Net, Origin};
use crate::rig::{Rig, exchange, origin, pass};

fn keeps(seconds: u64) -> Origin {
    Origin { keep_alive: Duration::from_secs(seconds), ..Origin::default() }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_seen_once_is_not_met_again() {
    let net = Net::default();
    net.set(origin(), keeps(5));
    let rig = Rig::on(&net, ClientConfig::default());
    rig.park(1).await;
    pass(5_200).await;
    assert_eq!(rig.witness.ends(), [("peer-closed", 1)].into());
    let state = rig.state(origin()).expect("known");
    assert_eq!(state.learned.to_string(), "closes at 5.0 s (seen once)");
    assert!(state.reused_below >= Duration::from_millis(3_990) && state.reused_below < Duration::from_millis(4_100));
    for (reuse, age, is_reused) in [
        (Reuse::Usual, 3_900, true),
        (Reuse::Usual, 4_150, false),
        (Reuse::Careful, 1_900, true),
        (Reuse::Careful, 2_150, false),
        (Reuse::Never, 0, false),
    ] {
        rig.park(1).await;
        pass(age).await;
        assert_eq!(rig.checkout(reuse).is_some(), is_reused, "{reuse:?} at {age} ms");
        rig.pool.clear();
    }
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_known_only_careful_requests_are_careful() {
    for (careful, age, is_reused) in [
        (Careful::Younger, 900, true),
        (Careful::Younger, 1_100, false),
        (Careful::AlwaysFresh, 0, false),
        (Careful::LikeOthers, 20_000, true),
    ] {
        let keep_alive = KeepAlivePolicy { careful, ..KeepAlivePolicy::default() };
        let rig = Rig::on(&Net::default(), ClientConfig { keep_alive, ..ClientConfig::default() });
        rig.park(1).await;
        pass(age).await;
        assert_eq!(rig.checkout(Reuse::Careful).is_some(), is_reused, "{careful:?} at {age} ms");
        assert!(rig.checkout(Reuse::Usual).is_some(), "it is good enough for others");
        rig.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_origin_says_counts() {
    let net = Net::default();
    net.set(origin(), Origin { fields: "Keep-Alive: timeout=2, max=100\r\n", ..Origin::default() });
    let rig = Rig::on(&net, ClientConfig::default());
    assert_eq!(exchange(rig.fresh().await, rig.clock).await, 200);
    let state = rig.state(origin()).expect("known");
    assert_eq!(state.learned.to_string(), "closes at 2.0 s (as it says)");
    assert_eq!(state.reused_below, Duration::from_millis(1_600));
    pass(1_500).await;
    assert_eq!(exchange(rig.checkout(Reuse::Usual).expect("young enough"), rig.clock).await, 200);
    pass(1_650).await;
    assert!(rig.checkout(Reuse::Usual).is_none());
    net.set(origin(), Origin { fields: "Keep-Alive: timeout=0\r\n", ..Origin::default() });
    assert_eq!(exchange(rig.fresh().await, rig.clock).await, 200);
    assert_eq!(rig.witness.ends().get("retired"), Some(&1), "nothing is parked where nothing is kept");
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_the_origin_takes_are_counted_down() {
    let net = Net::default();
    net.set(origin(), Origin { fields: "Keep-Alive: max=3\r\n", ..Origin::default() });
    let rig = Rig::on(&net, ClientConfig::default());
    exchange(rig.fresh().await, rig.clock).await;
    net.set(origin(), Origin::default());
    exchange(rig.checkout(Reuse::Usual).expect("three are left"), rig.clock).await;
    exchange(rig.checkout(Reuse::Usual).expect("two are left"), rig.clock).await;
    assert!(rig.checkout(Reuse::Usual).is_none());
    assert_eq!(rig.witness.ends(), [("retired", 1)].into());
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_stays_and_shows_whether_the_lesson_holds() {
    let net = Net::default();
    net.set(origin(), keeps(5));
    let rig = Rig::on(&net, ClientConfig::default());
    rig.park(1).await;
    pass(5_200).await;
    rig.park(4).await;
    pass(4_300).await;
    assert_eq!(rig.witness.ends(), [("peer-closed", 1), ("retired", 3)].into());
    assert!(rig.checkout(Reuse::Usual).is_none(), "the witness serves nobody");
    pass(900).await;
    assert_eq!(rig.state(origin()).expect("known").learned.times_seen(), 2);
    // From now on it keeps them for longer: two connections outlive two closes, and the lesson is forgotten.
    net.set(origin(), keeps(60));
    rig.park(2).await;
    pass(6_000).await;
    assert_eq!(rig.state(origin()).expect("known").learned.times_seen(), 2, "one has outlived it");
    rig.park(1).await;
    pass(6_000).await;
    let state = rig.state(origin()).expect("known");
    assert_eq!(
        (state.learned.to_string().as_str(), state.reused_below),
        ("has not closed yet", Duration::from_secs(30))
    );
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_teaches_nothing_where_ages_differ() {
    let net = Net::default();
    let rig = Rig::on(&net, ClientConfig::default());
    for _ in 0..3 {
        let _held = rig.fresh().await;
        drop(rig.fresh().await);
        pass(1_000).await;
    }
    net.set(origin(), keeps(0));
    pass(100).await;
    assert_eq!(rig.witness.ends().get("peer-closed"), Some(&6));
    assert_eq!(rig.state(origin()).expect("known").learned.keep_alive(), None);
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_outlives_connections_and_not_ten_idle_minutes() {
    let net = Net::default();
    net.set(origin(), keeps(5));
    let rig = Rig::on(&net, ClientConfig::default());
    rig.park(1).await;
    pass(60_000).await;
    assert_eq!(rig.pool.stats().idle, 0);
    assert_eq!(rig.state(origin()).expect("known").learned.times_seen(), 1);
    pass(9 * 60_000).await;
    assert_eq!(rig.state(origin()), None);
    rig.finish().await;
}
