//! Requests that wait for a connection: in order, within bounds, and without a trace when they are dropped.

use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_client::error::PoolError;
use sheave_client::total::Total;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::endpoint::Endpoint;
use tokio::task::yield_now;

use crate::net::{Net, Origin};
use crate::rig::{Rig, exchange, origin, other, pass};

fn at_most(max_connections: usize) -> ClientConfig {
    ClientConfig { max_connections, ..ClientConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn what_comes_free_goes_to_who_has_waited_longest() {
    let net = Net::default();
    let rig = Rig::on(&net, at_most(1));
    let held = rig.fresh().await;
    let id = held.connection_id();
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(rig.ask(Reuse::Usual));
        yield_now().await;
    }
    assert_eq!(rig.pool.stats().waiting, 3);
    drop(held);
    assert!(rig.checkout(Reuse::Usual).is_none(), "nobody overtakes who waits");
    for asked in asked {
        let call = asked.await.unwrap().expect("has its turn");
        assert_eq!(call.connection_id(), id);
        assert_eq!(exchange(call, rig.clock).await, 200);
    }
    assert_eq!((net.attempts(), rig.pool.stats().waiting), (1, 0));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end_and_a_deadline() {
    let config = ClientConfig { max_queue: 1, queue_timeout: Duration::from_secs(3), ..at_most(1) };
    let rig = Rig::on(&Net::default(), config);
    let held = rig.fresh().await;
    let first = rig.ask(Reuse::Usual);
    yield_now().await;
    let began = rig.now();
    assert_eq!(rig.pool.acquire(&[origin().into()], Reuse::Usual).await.err(), Some(PoolError::QueueFull));
    assert_eq!(first.await.unwrap().err(), Some(PoolError::QueueTimedOut));
    assert!(rig.now().since(began) >= Duration::from_secs(3));
    drop(held);
    assert!(rig.checkout(Reuse::Usual).is_some(), "who has given up gets nothing");
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_passes_its_turn_on() {
    let rig = Rig::on(&Net::default(), at_most(1));
    let held = rig.fresh().await;
    let (first, second, third) = (rig.ask(Reuse::Usual), rig.ask(Reuse::Usual), rig.ask(Reuse::Usual));
    yield_now().await;
    first.abort();
    let _ = first.await;
    assert_eq!(rig.pool.stats().waiting, 2);
    // The second has its turn, and is dropped before it learns of it.
    drop(held);
    second.abort();
    assert!(second.await.is_err());
    drop(third.await.unwrap().expect("has the second's turn"));
    assert_eq!((rig.pool.stats().waiting, rig.pool.stats().idle), (0, 1));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_needs_a_fresh_connection_gets_the_place_of_another() {
    let net = Net::default();
    let rig = Rig::on(&net, at_most(1));
    rig.park(1).await;
    let fresh = rig.fresh().await;
    assert_eq!(rig.witness.ends(), [("evicted", 1)].into(), "who is parked makes room");
    let asked = rig.ask(Reuse::Never);
    yield_now().await;
    let id = fresh.connection_id();
    drop(fresh);
    assert_ne!(asked.await.unwrap().expect("has its turn").connection_id(), id);
    assert_eq!((net.attempts(), net.live()), (3, (1, 1)));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_in_hand_is_another_chance_to_open_one() {
    let net = Net::default();
    let rig = Rig::on(&net, at_most(1));
    let held = rig.fresh().await;
    let asked = rig.ask(Reuse::Usual);
    yield_now().await;
    net.set(origin(), Origin { keep_alive: Duration::ZERO, ..Origin::default() });
    drop(held);
    assert!(!asked.await.unwrap().expect("has a fresh one").is_reused());
    assert_eq!(rig.witness.ends(), [("peer-closed", 1)].into());
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_can_go_to_two_addresses_goes_where_there_is_room_first() {
    let net = Net::default();
    let rig = Rig::on(&net, at_most(1));
    let both = [origin().into(), other().into()];
    let (one, two) = (rig.fresh().await, rig.pool.connect(&[other().into()], Reuse::Never).await.expect("connects"));
    let pool = rig.pool.clone();
    let asked = tokio::spawn(async move { pool.acquire(&both, Reuse::Usual).await });
    yield_now().await;
    drop(two);
    let call = asked.await.unwrap().expect("has its turn");
    assert_eq!(call.address(), other());
    let only_one = rig.ask(Reuse::Usual);
    yield_now().await;
    drop(one);
    drop(only_one.await.unwrap().expect("is not stuck behind who has been served elsewhere"));
    drop(call);
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn pools_share_a_cap_and_what_is_parked_makes_way() {
    let net = Net::default();
    let config = ClientConfig { total: Total::at_most(2), ..ClientConfig::default() };
    let (one, two) = (Rig::on(&net, config.clone()), Rig::on(&net, config.clone()));
    one.park(2).await;
    let asked = two.ask(Reuse::Usual);
    let call = asked.await.unwrap().expect("has the place of one that was parked");
    assert_eq!((one.witness.ends(), net.live()), ([("evicted", 1)].into(), (2, 2)));
    // Busy ones make no way: they come free.
    let busy = one.checkout(Reuse::Usual).expect("one is left");
    let asked = two.ask(Reuse::Usual);
    pass(500).await;
    assert!(!asked.is_finished());
    drop(busy);
    drop(asked.await.unwrap().expect("has its place"));
    drop(call);
    assert_eq!((net.live().1, config.total.used()), (2, 2), "never more than two");
    one.finish().await;
    two.finish().await;
    assert_eq!((net.live().0, config.total.used()), (0, 0));
}

/// Requests come, wait, are dropped and end, at random; nothing is lost, nobody starves, and no cap is exceeded.
#[tokio::test(start_paused = true)]
async fn a_thousand_storms_leave_nothing_behind() {
    for seed in 0..1000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let net = Net::default();
        let keep_alive = Duration::from_millis(random.u64(0..200));
        net.set(
            origin(),
            Origin { handshake: Duration::from_millis(random.u64(0..5)), keep_alive, ..Origin::default() },
        );
        let total = Total::at_most(random.usize(1..5));
        let config = ClientConfig {
            max_connections: random.usize(1..4),
            max_idle: random.usize(0..4),
            max_queue: random.usize(0..20),
            queue_timeout: Duration::from_secs(1),
            total: total.clone(),
            ..ClientConfig::default()
        };
        let rigs = [Rig::on(&net, config.clone()), Rig::on(&net, config)];
        let mut asked = Vec::new();
        for _ in 0..30 {
            let pool = rigs[random.usize(0..2)].pool.clone();
            let (one, other) = (Endpoint::from(origin()), Endpoint::from(other()));
            let endpoints = [vec![one.clone()], vec![other.clone()], vec![one, other]][random.usize(0..3)].clone();
            let reuse = [Reuse::Usual, Reuse::Usual, Reuse::Careful, Reuse::Never][random.usize(0..4)];
            let (holds, patience) = (random.u64(0..20), random.u64(0..60));
            asked.push(tokio::spawn(async move {
                let ask = async {
                    let call = pool.acquire(&endpoints, reuse).await;
                    pass(holds).await;
                    drop(call);
                };
                let _ = tokio::time::timeout(Duration::from_millis(patience), ask).await;
            }));
            if random.bool() {
                pass(random.u64(0..10)).await;
            }
        }
        for asked in asked {
            asked.await.unwrap();
        }
        pass(200).await;
        let parked: usize = rigs.iter().map(|rig| rig.pool.stats().idle).sum();
        assert_eq!((net.live().0, total.used()), (parked, parked), "seed {seed}");
        // Whoever comes now is served: no place was lost.
        let [one, two] = rigs;
        two.pool.clear();
        one.pool.acquire(&[origin().into()], Reuse::Never).await.expect("there is a place");
        one.pool.clear();
        two.pool.acquire(&[origin().into()], Reuse::Never).await.expect("there is a place");
        one.finish().await;
        two.finish().await;
        assert_eq!((net.live().0, total.used()), (0, 0), "seed {seed}");
    }
}
