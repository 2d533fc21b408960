//! A server and a client, each at its end of a simulated connection.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use sheave_net::dial::Connect;
use sheave_net::handshake::HandshakeError;
use sheave_net::socket::Socket;
use sheave_net::tls::certificate::Identity;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ServerSettings, ServerTls};
use sheave_net::tls::socket::TlsSocket;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, Record, run};
use sheave_sim::socket::SimSocket;

use crate::authority::{LOCALHOST, OURS};

pub(crate) const FRONT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

/// A socket of the simulated network, secured.
pub(crate) type Secured = TlsSocket<SimSocket>;

/// A server of `localhost` with defaults.
pub(crate) fn server_settings() -> ServerSettings {
    ServerSettings::new(vec![LOCALHOST.clone()])
}

/// A client that believes the issuer of `localhost`.
pub(crate) fn client_settings() -> ClientSettings {
    ClientSettings::new(Trust::Roots(OURS.roots()))
}

pub(crate) fn server() -> ServerTls {
    ServerTls::new(&server_settings()).unwrap()
}

pub(crate) fn client() -> ClientTls {
    ClientTls::new(&client_settings()).unwrap()
}

/// A server that shows these.
pub(crate) fn showing(identities: &[&Identity]) -> ServerTls {
    ServerTls::new(&ServerSettings::new(identities.iter().map(|identity| (*identity).clone()).collect())).unwrap()
}

pub(crate) async fn shake<S: Socket>(socket: &mut S) -> Result<(), HandshakeError> {
    poll_fn(|cx| socket.poll_handshake(cx)).await
}

/// The client's end and the server's, of a connection that stands; nobody has shaken hands.
pub(crate) async fn connected(net: &SimNet, client: &ClientTls, server: &ServerTls, name: &str) -> (Secured, Secured) {
    let mut listener = net.listen(FRONT);
    let opener = net.client();
    let endpoint = FRONT.into();
    let (opened, accepted) = tokio::join!(opener.connect(&endpoint), listener.accept());
    (client.connect(opened.unwrap(), &name.parse().unwrap()), server.accept(accepted))
}

/// As [`connected`], after the handshake.
pub(crate) async fn secured(net: &SimNet, client: &ClientTls, server: &ServerTls, name: &str) -> (Secured, Secured) {
    let (mut ours, mut theirs) = connected(net, client, server, name).await;
    let (one, other) = tokio::join!(shake(&mut ours), shake(&mut theirs));
    one.unwrap();
    other.unwrap();
    (ours, theirs)
}

/// Plays what gives a value, as the plan says. The run must end by itself, and leave nothing.
pub(crate) fn play<T: Send + 'static, F: Future<Output = T>>(plan: &Plan, scenario: impl FnOnce(SimNet) -> F) -> T {
    let (value, record) = play_on(plan, scenario);
    assert_eq!(record.ended, Ended::Completed, "{plan}\n{}", record.trace);
    value.unwrap()
}

/// As [`play`]; the run may be stuck, and then has no value.
pub(crate) fn play_on<T: Send + 'static, F: Future<Output = T>>(
    plan: &Plan,
    scenario: impl FnOnce(SimNet) -> F,
) -> (Option<T>, Record) {
    let came = Arc::new(Mutex::new(None));
    let told = came.clone();
    let record = run(plan, |net| async move {
        let value = scenario(net).await;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    });
    assert_eq!(record.broken, Vec::<String>::new(), "{plan}\n{}", record.trace);
    assert_eq!((record.sockets_left, record.tasks_left), (0, 0), "{plan}");
    let value = came.lock().unwrap_or_else(PoisonError::into_inner).take();
    (value, record)
}

pub(crate) fn calm() -> Plan {
    Plan::calm("tls")
}
