//! What happens beside requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::host_port::HostPort;
use sheave_net::lookup::Lookup;
use sheave_net::resolve::{ResolvePlan, Resolved, resolve};
use sheave_proto::config::ConnectionConfig;

use crate::net::{Net, Origin};
use crate::rig::{Rig, exchange, origin, other, pass};

#[tokio::test(start_paused = true)]
async fn what_the_origin_closed_is_closed_within_a_tenth_of_a_second() {
    for age in [1, 50, 89, 90, 91, 500, 7_777] {
        let net = Net::default();
        let rig = Rig::on(&net, ClientConfig::default());
        rig.park(3).await;
        pass(age).await;
        net.set(origin(), Origin { keep_alive: Duration::ZERO, ..Origin::default() });
        pass(100).await;
        assert_eq!((net.live().0, rig.witness.dead.lock().unwrap().len()), (0, 3), "at {age} ms");
        rig.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_are_swept_in_parts() {
    let net = Net::default();
    let rig = Rig::on(&net, ClientConfig::default());
    rig.park(333).await;
    net.set(origin(), Origin { keep_alive: Duration::ZERO, ..Origin::default() });
    pass(100).await;
    assert_eq!((net.live().0, rig.witness.ends()), (0, [("peer-closed", 333)].into()));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_youngest_is_used_and_the_others_grow_old() {
    let rig = Rig::on(&Net::default(), ClientConfig::default());
    rig.park(3).await;
    for _ in 0..29 {
        pass(1_000).await;
        exchange(rig.checkout(Reuse::Usual).expect("one is young"), rig.clock).await;
    }
    pass(1_200).await;
    assert_eq!(rig.witness.ends(), [("timeout-idle", 2)].into());
    assert_eq!(rig.pool.stats().idle, 1);
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_lives_for_ever() {
    let connection = ConnectionConfig { max_age: Some(Duration::from_secs(10)), ..ConnectionConfig::default() };
    let rig = Rig::on(&Net::default(), ClientConfig { connection, ..ClientConfig::default() });
    rig.park(1).await;
    pass(8_900).await;
    let busy = rig.checkout(Reuse::Usual).expect("is not old yet");
    pass(1_200).await;
    assert_eq!(rig.witness.ends(), [].into(), "what is under way goes on");
    exchange(busy, rig.clock).await;
    assert_eq!(rig.witness.ends(), [("max-age", 1)].into());
    rig.park(1).await;
    pass(10_100).await;
    assert_eq!(rig.witness.ends(), [("max-age", 2)].into());
    rig.finish().await;
}

/// A name with addresses that the test decides on.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<SocketAddr>>>);

impl Lookup for Names {
    async fn lookup(&self, _: &HostPort) -> std::io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

impl Names {
    fn follow(&self, addresses: &[SocketAddr]) -> Resolved {
        self.set(addresses);
        let (resolved, refresher) = resolve("origin.example:80".parse().unwrap(), ResolvePlan::default(), self.clone());
        tokio::spawn(refresher.run(|_| {}));
        resolved
    }

    fn set(&self, addresses: &[SocketAddr]) {
        *self.0.lock().unwrap() = addresses.to_vec();
    }
}

#[tokio::test(start_paused = true)]
async fn connections_to_addresses_that_are_gone_go_too() {
    let net = Net::default();
    let rig = Rig::on(&net, ClientConfig::default());
    let names = Names::default();
    let resolved = names.follow(&[origin(), other()]);
    rig.pool.follow(&sheave_client::origin::Origin::new(resolved.clone(), ""));
    resolved.first().await.unwrap();
    rig.park(2).await;
    let busy = rig.fresh().await;
    drop(rig.pool.connect(&[other().into()], Reuse::Never).await.expect("connects"));
    names.set(&[other()]);
    resolved.refresh_soon();
    pass(1_200).await;
    assert_eq!(rig.witness.ends(), [("retired", 2)].into());
    assert_eq!(rig.state(origin()).map(|state| (state.busy, state.is_gone)), Some((1, true)));
    exchange(busy, rig.clock).await;
    assert_eq!(rig.witness.ends(), [("retired", 3)].into(), "what was under way ends, and is not parked");
    pass(200).await;
    assert_eq!(rig.state(origin()), None, "what was learned goes with it");
    assert_eq!(rig.state(other()).map(|state| (state.parked, state.is_gone)), Some((1, false)));
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn so_many_are_kept_ready() {
    let net = Net::default();
    net.set(origin(), Origin { keep_alive: Duration::from_secs(5), ..Origin::default() });
    let rig = Rig::on(&net, ClientConfig { prewarm: 3, ..ClientConfig::default() });
    rig.pool.follow(&sheave_client::origin::Origin::at(origin()));
    pass(200).await;
    assert_eq!((net.attempts(), rig.pool.stats().idle), (3, 3));
    let call = rig.checkout(Reuse::Usual).expect("is ready");
    assert!(!call.is_reused(), "it has carried nothing yet");
    pass(200).await;
    assert_eq!((net.attempts(), rig.pool.stats().idle), (4, 3));
    exchange(call, rig.clock).await;
    for _ in 0..20 {
        pass(1_000).await;
        let young = rig.checkout(Reuse::Usual).expect("whatever the origin closes, some are ready");
        drop(young);
    }
    rig.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_ready_stays_within_the_caps_and_backs_off() {
    let net = Net::default();
    let rig = Rig::on(&net, ClientConfig { prewarm: 10, max_connections: 4, max_idle: 2, ..ClientConfig::default() });
    rig.pool.follow(&sheave_client::origin::Origin::at(origin()));
    pass(1_000).await;
    assert!(net.attempts() <= 4 && rig.pool.stats().idle == 2, "{} {:?}", net.attempts(), rig.pool.stats());
    rig.finish().await;

    let net = Net::default();
    net.set(origin(), Origin { listens: false, ..Origin::default() });
    let rig = Rig::on(&net, ClientConfig { prewarm: 2, ..ClientConfig::default() });
    rig.pool.follow(&sheave_client::origin::Origin::at(origin()));
    pass(10_000).await;
    assert!(net.attempts() < 40, "{}", net.attempts());
    net.set(origin(), Origin::default());
    pass(1_500).await;
    assert_eq!(rig.pool.stats().idle, 2);
    rig.finish().await;
}
