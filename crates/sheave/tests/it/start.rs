//! What cannot work is said in one line, with an exit code to match.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Client, Origin, Sheave};

/// Runs to the end: the exit code, and standard error.
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
    command.args(arguments);
    let mut sheave = Sheave::spawn(command);
    let (code, _) = sheave.wait();
    (code, sheave.said.join("\n"))
}

#[test]
fn an_address_in_use_is_said_with_its_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address");
    for flag in ["--from", "--admin"] {
        let other = if flag == "--from" { "--admin=127.0.0.1:0" } else { "--from=127.0.0.1:0" };
        let (code, said) = fails(&["proxy", other, flag, &address.to_string()]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with(&format!("sheave: cannot listen on {address}: the address is in use")), "{said}");
        assert!(said.contains(flag) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_said_with_its_remedy() {
    let path = std::env::temp_dir().join("sheave-no-such-folder").join("access.log");
    let path = path.to_str().expect("UTF-8");
    let (code, said) = fails(&["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--access-log", path]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(path) && said.contains("create the folder") && said.lines().count() == 1, "{said}");
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, part) in [
        (&["proxy", "--to=ftp://example.test"][..], "ftp:// is not spoken to origins"),
        (&["proxy", "--head-timeout=0"], "a timeout cannot be zero"),
        (&["proxy", "--frm=:80"], "--from"),
        (&["prxy"], "proxy"),
        (&["origin", "--to=127.0.0.1:80"], "--to"),
    ] {
        let (code, said) = fails(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn tells_its_version_and_its_help() {
    for arguments in [&["version"][..], &["--version"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sheave")).args(arguments).output().expect("runs");
        assert!(output.status.success());
        assert_eq!(output.stdout, format!("sheave {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_sheave")).args(["proxy", "--help"]).output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && help.contains("Timeouts towards clients:") && help.contains("Exit codes:"));
}

#[test]
fn a_low_descriptor_limit_is_raised_or_warned_of() {
    let mut command = Command::new("sh");
    let start = "ulimit -Sn 100; ulimit -Hn 400; exec \"$0\" origin --from=127.0.0.1:0 --workers=1";
    command.args(["-c", start, env!("CARGO_BIN_EXE_sheave")]);
    let mut sheave = Sheave::spawn(command);
    sheave.wait_for("stop: ctrl-c");
    let said = sheave.said.join("\n");
    assert!(said.contains("room for 320 client connections: 400 open files (raised from 100)"), "{said}");
    assert_eq!(Client::get(sheave.address(), "/bytes/1").text(), " ");
    assert_eq!(sheave.end(), Some(0));
    let said = sheave.said.join("\n");
    assert!(said.contains("only 320 client connections fit; raise the hard limit"), "{said}");
}

#[test]
fn quiet_is_quiet() {
    // Nobody tells the port, so it has to be said; somebody else may take it in between.
    for _ in 0..10 {
        let address = Origin::nobody();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
        command.args(["origin", "--quiet", "--drain-quiet=0", "--workers=1", "--from", &address.to_string()]);
        let mut sheave = Sheave::spawn(command);
        let until = std::time::Instant::now() + crate::support::PATIENCE;
        while std::net::TcpStream::connect(address).is_err() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        sheave.signal(Signal::TERM);
        let (code, _) = sheave.wait();
        if code == Some(1) {
            continue;
        }
        assert_eq!((code, sheave.said.as_slice()), (Some(0), &[][..]));
        return;
    }
    panic!("ten ports were taken by somebody else");
}
