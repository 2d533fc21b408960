//! Sockets that were open before the process was: systemd's socket activation, without systemd.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Client, Sheave, steady_origin};

/// Starts a sheave with `socket` as descriptor 3, as systemd does. Its standard input serves to carry it there.
fn activated(socket: &TcpListener, environment: &str, arguments: &[&str]) -> Sheave {
    let mut command = Command::new("sh");
    let start = format!("{environment} exec \"$0\" \"$@\" 3<&0 </dev/null");
    command.args(["-c", &start, env!("CARGO_BIN_EXE_sheave")]).args(arguments);
    let socket = OwnedFd::from(socket.try_clone().expect("clones"));
    Sheave::spawn_with(command, Stdio::from(socket))
}

#[test]
fn an_activated_socket_is_served_and_outlives_its_processes() {
    let origin = steady_origin();
    let to = format!("--to={}", origin.address);
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("an address");
    let start = || {
        let arguments = ["proxy", &to, "--workers=2", "--drain-quiet=20ms"];
        let mut sheave = activated(&socket, "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=sheave.socket", &arguments);
        sheave.wait_for("stop: ctrl-c");
        // Nothing is bound beside it.
        assert_eq!(sheave.addresses(), [address]);
        sheave
    };
    let mut first = start();
    assert_eq!(Client::get(address, "/").status, 200);
    assert_eq!(first.end(), Some(0), "{:#?}", first.said);
    // Nobody runs, and the socket still takes connections: it was not told to refuse them.
    let mut waiting = Client::connect(address);
    waiting.ask("/");
    let mut second = start();
    assert_eq!(waiting.response().status, 200);
    drop(waiting);
    // A successor inherits it in turn, and whose it is.
    let before = second.hand_over();
    assert_eq!(second.wait_for_end_of(before), Some(0), "{:#?}", second.said);
    assert_eq!(Client::get(address, "/").status, 200);
    let last = second.pid();
    second.signal(Signal::TERM);
    assert_eq!(second.wait_for_end_of(last), Some(0), "{:#?}", second.said);
    TcpStream::connect(address).expect("still takes connections");
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut sheave = activated(&socket, "LISTEN_PID=1 LISTEN_FDS=1", &["origin", "--from=127.0.0.1:0"]);
    sheave.wait_for("stop: ctrl-c");
    assert_ne!(sheave.address(), socket.local_addr().expect("an address"));
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn what_cannot_be_served_is_said() {
    for (environment, part) in [
        ("LISTEN_FDS=2", "the inherited descriptor 4 (\"\"): "),
        ("LISTEN_FDS=x", "LISTEN_FDS is \"x\", which is no number up to 1024"),
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
        let mut sheave = activated(&socket, environment, &["origin"]);
        let (code, _) = sheave.wait();
        assert_eq!(code, Some(1), "{:#?}", sheave.said);
        assert!(sheave.said.join("\n").contains(part), "{:#?}", sheave.said);
    }
}

#[test]
fn a_socket_that_is_named_admin_serves_the_admin_pages() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("an address");
    let environment = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=admin";
    let mut sheave = activated(&socket, environment, &["origin", "--from=127.0.0.1:0", "--drain-quiet=20ms"]);
    sheave.wait_for("stop: ctrl-c");
    assert_eq!(sheave.admin(), address);
    assert_eq!(Client::get(address, "/healthz").status, 200);
    assert_eq!(sheave.end(), Some(0), "{:#?}", sheave.said);
}
