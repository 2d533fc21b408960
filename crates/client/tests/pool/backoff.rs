//! Addresses that cannot be connected to: asked ever more seldom, and found again when they are back.

use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_client::error::{ClientError, PoolError};
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::retry::Sent;
use tokio::task::yield_now;

use crate::net::{Net, Origin};
use crate::rig::{Rig, origin, other, pass};

fn down() -> Origin {
    Origin { listens: false, ..Origin::default() }
}

#[tokio::test(start_paused = true)]
async fn while_it_backs_off_the_last_failure_is_the_answer() {
    let net = Net::default();
    net.set(origin(), down());
    let rig = Rig::on(&net, ClientConfig::default());
    for _ in 0..100_000 {
        let error =
            ClientError::from(rig.pool.acquire(&[origin().into()], Reuse::Usual).await.err().expect("nobody is there"));
        assert_eq!((error.label(), error.request_was_sent()), ("upstream-connect-refused", Sent::No));
        pass(1).await;
    }
    let attempts = net.attempts();
    // 10, 20, … 640 ms, and then a second: the upper half of each.
    assert!((100..=205).contains(&attempts), "{attempts} attempts in 100 s");
    assert_eq!(*rig.witness.failed.lock().unwrap(), attempts);
    let state = rig.state(origin()).expect("known");
    assert_eq!(state.connect_failures as usize, attempts);
    assert!(state.backs_off_for <= Duration::from_secs(1) && state.failure.is_some());
    net.set(origin(), Origin::default());
    pass(1_000).await;
    assert!(rig.pool.acquire(&[origin().into()], Reuse::Usual).await.is_ok(), "it is found again");
    assert_eq!(rig.state(origin()).map(|state| (state.connect_failures, state.failure)), Some((0, None)));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_tries_while_the_others_are_told() {
    let net = Net::default();
    net.set(origin(), down());
    let rig = Rig::on(&net, ClientConfig::default());
    assert!(rig.pool.acquire(&[origin().into()], Reuse::Usual).await.is_err());
    net.set(origin(), Origin { handshake: Duration::from_secs(1), ..Origin::default() });
    pass(1_000).await;
    let trial = rig.ask(Reuse::Usual);
    yield_now().await;
    assert!(matches!(rig.pool.acquire(&[origin().into()], Reuse::Usual).await, Err(PoolError::Dial(_))));
    trial.abort();
    let _ = trial.await;
    let trial = rig.ask(Reuse::Usual);
    pass(1_100).await;
    assert!(trial.await.unwrap().is_ok(), "a trial that was given up is no failure");
    assert_eq!(net.attempts(), 3);
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_fails_is_one_failure() {
    let net = Net::default();
    net.set(origin(), Origin { handshake: Duration::from_millis(1), listens: false, ..Origin::default() });
    let rig = Rig::on(&net, ClientConfig::default());
    let asked: Vec<_> = (0..50).map(|_| rig.ask(Reuse::Usual)).collect();
    for asked in asked {
        assert!(asked.await.unwrap().is_err());
    }
    assert_eq!((net.attempts(), rig.state(origin()).map(|state| state.connect_failures)), (50, Some(1)));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn another_address_is_tried_instead() {
    let net = Net::default();
    net.set(origin(), down());
    let rig = Rig::on(&net, ClientConfig::default());
    for _ in 0..10 {
        let call =
            rig.pool.connect(&[origin().into(), other().into()], Reuse::Never).await.expect("the other one answers");
        assert_eq!(call.address(), other());
    }
    assert_eq!(net.attempts(), 11, "the one that is down was tried once");
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_an_origin_that_went_down_is_told_at_once() {
    let net = Net::default();
    let rig = Rig::on(&net, ClientConfig { max_connections: 1, ..ClientConfig::default() });
    let held = rig.fresh().await;
    let asked: Vec<_> = (0..3).map(|_| rig.ask(Reuse::Never)).collect();
    yield_now().await;
    net.set(origin(), down());
    drop(held);
    for asked in asked {
        assert!(matches!(asked.await.unwrap(), Err(PoolError::Dial(_))));
    }
    assert_eq!(net.attempts(), 2);
    rig.finish().await;
}
