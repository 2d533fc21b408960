//! A successor takes over while clients go on asking: nobody sees an error, and one that fails changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::support::{Client, Load, Manager, Sheave, steady_origin};

/// How many times in a row; `SHEAVE_RESTARTS` says otherwise.
const RESTARTS: usize = 20;

#[test]
fn restarts_in_a_row_under_load_lose_nothing() {
    let restarts = std::env::var("SHEAVE_RESTARTS").ok().and_then(|count| count.parse().ok()).unwrap_or(RESTARTS);
    let origin = steady_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &["--workers=2", "--drain-quiet=100ms"]);
    let load = Load::start(sheave.address());
    load.wait_for(100);
    let mut pids = vec![sheave.pid()];
    for _ in 0..restarts {
        let before = sheave.hand_over();
        assert_eq!(sheave.wait_for_end_of(before), Some(0), "{:#?}", sheave.said);
        assert!(!pids.contains(&sheave.pid()), "another process each time: {pids:?}");
        pids.push(sheave.pid());
        load.wait_for(50);
        let page = Client::get(sheave.admin(), "/drain");
        let (pid, state) = (format!("\"pid\":{},", sheave.pid().as_raw_nonzero()), "\"state\":\"running\"");
        assert!(page.text().contains(&pid) && page.text().contains(state), "{}", page.text());
        assert_eq!(Client::get(sheave.admin(), "/readyz").status, 200);
    }
    let (answered, told_close, failures) = load.stop();
    assert_eq!(failures, Vec::<String>::new(), "of {answered} requests in {restarts} restarts");
    assert!(told_close > 0, "nobody was told to go in {answered} answers");
    let last = sheave.pid();
    sheave.signal(Signal::TERM);
    assert_eq!(sheave.wait_for_end_of(last), Some(0), "{:#?}", sheave.said);
    // Each says what became of its connections.
    while sheave.said.iter().filter(|line| line.contains("INFO drained told=")).count() <= restarts {
        sheave.wait_for("drained told=");
    }
}

/// A folder with a sheave in it that can be replaced.
struct Installed {
    folder: PathBuf,
}

impl Installed {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sheave-installed-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("creates");
        let installed = Self { folder };
        installed.replace("exec \"$SHEAVE\" \"$@\"");
        installed
    }

    fn binary(&self) -> PathBuf {
        self.folder.join("sheave")
    }

    /// Puts a script in its place, as an upgrade does: by renaming.
    fn replace(&self, script: &str) {
        let new = self.folder.join("new");
        // Written by a shell: while this process holds it open for writing, no thread's child could run it.
        let text = format!("#!/bin/sh\n{script}\n");
        let status =
            Command::new("sh").args(["-c", "printf %s \"$0\" > \"$1\"", &text]).arg(&new).status().expect("runs");
        assert!(status.success());
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("is set");
        fs::rename(&new, self.binary()).expect("renames");
    }

    /// Starts what lies there now. A script says what `argv[0]` of a sheave is, so that its successor is the script again.
    fn start(&self, more: &[&str]) -> Sheave {
        let mut command = Command::new("bash");
        let start = "exec -a \"$0\" \"$SHEAVE\" \"$@\"";
        command.args(["-c", start]).arg(self.binary()).env("SHEAVE", env!("CARGO_BIN_EXE_sheave"));
        command.args(["origin", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--drain-quiet=20ms"]).args(more);
        let mut sheave = Sheave::spawn(command);
        sheave.wait_for("stop: ctrl-c");
        sheave
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_served(sheave: &Sheave) {
    assert_eq!(Client::get(sheave.address(), "/bytes/1").text(), " ");
}

#[test]
fn a_successor_that_fails_leaves_us_serving_and_the_next_may_do_better() {
    let installed = Installed::new();
    let mut sheave = installed.start(&["--handover-timeout=300ms"]);
    let mut client = Client::connect(sheave.address());
    for (script, why) in [
        ("exit 7", "the hand-over failed: it ended (exit status: 7) before it served"),
        ("exec sleep 60", "it did not say within 300ms that it serves, and was stopped"),
        ("exec \"$SHEAVE\" origin --no-such-flag", "it ended (exit status: 2) before it served"),
    ] {
        installed.replace(script);
        sheave.signal(Signal::USR2);
        let line = sheave.wait_for("the hand-over failed");
        assert!(line.contains(why) && line.contains("this process serves on"), "{line}");
        is_served(&sheave);
        client.ask("/bytes/1");
        let answer = client.response();
        assert!(answer.status == 200 && !answer.head.to_lowercase().contains("connection"), "{}", answer.head);
    }
    // A real one that comes too late, and was deaf when it was told so, must neither stay nor make the address deaf.
    installed.replace("trap '' TERM; sleep 0.5; exec \"$SHEAVE\" \"$@\"");
    sheave.signal(Signal::USR2);
    let line = sheave.wait_for("the hand-over failed");
    assert!(line.contains("did not say within 300ms that it serves, and was stopped"), "{line}");
    is_served(&sheave);
    fs::remove_file(installed.binary()).expect("is there");
    sheave.signal(Signal::USR2);
    let line = sheave.wait_for("the hand-over failed");
    assert!(line.contains("No such file"), "{line}");
    is_served(&sheave);
    // A new binary at the old path is what takes over.
    installed.replace("echo the new one >&2; exec bash -c 'exec -a \"$0\" \"$SHEAVE\" \"$@\"' \"$0\" \"$@\"");
    drop(client);
    let before = sheave.hand_over();
    assert!(sheave.said.iter().any(|line| line == "the new one"), "{:#?}", sheave.said);
    assert_eq!(sheave.wait_for_end_of(before), Some(0));
    is_served(&sheave);
    // Nor does what it inherited hide from it why a program cannot be started.
    fs::remove_file(installed.binary()).expect("is there");
    sheave.signal(Signal::USR2);
    let line = sheave.wait_for("the hand-over failed");
    assert!(line.contains("No such file"), "{line}");
    is_served(&sheave);
    let last = sheave.pid();
    sheave.signal(Signal::TERM);
    assert_eq!(sheave.wait_for_end_of(last), Some(0), "{:#?}", sheave.said);
}

#[test]
fn what_is_under_way_is_finished_by_the_old_one_and_a_second_signal_forces_it() {
    let mut sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--drain-quiet=20ms"]);
    let (mut finished, mut forced) = (Client::connect(sheave.address()), Client::connect(sheave.address()));
    // Their heads are here, so that these exchanges are the old process's.
    finished.ask("/drip/8");
    finished.head();
    forced.ask("/drip/100000");
    forced.head();
    let before = sheave.hand_over();
    let mut body = String::new();
    while !body.contains("8 of 8") {
        let line = finished.line();
        assert!(!line.is_empty(), "cut off after {body:?}");
        body.push_str(&line);
    }
    // One signal joins the drain that goes on, another one ends it.
    rustix::process::kill_process(before, Signal::TERM).expect("is there");
    sheave.wait_for("draining already; a second signal ends at once");
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while !sheave.said.iter().any(|line| line.contains("ending at once")) {
        assert!(std::time::Instant::now() < until);
        let _ = rustix::process::kill_process(before, Signal::TERM);
        sheave.listen(std::time::Duration::from_millis(20));
    }
    assert_eq!(sheave.wait_for_end_of(before), Some(3), "{:#?}", sheave.said);
    is_served(&sheave);
    let last = sheave.pid();
    sheave.signal(Signal::TERM);
    assert_eq!(sheave.wait_for_end_of(last), Some(0), "{:#?}", sheave.said);
}

#[test]
fn the_service_manager_is_told_who_serves() {
    let manager = Manager::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
    command.args(["origin", "--from=127.0.0.1:0", "--drain-quiet=20ms"]);
    command.env("NOTIFY_SOCKET", manager.address()).env("WATCHDOG_USEC", "200000");
    let mut sheave = Sheave::spawn(command);
    assert!(manager.wait_for("READY=1").contains("STATUS=serving"));
    manager.wait_for("WATCHDOG=1");
    // The address was printed before.
    sheave.wait_for("stop: ctrl-c");
    let before = sheave.hand_over();
    assert!(manager.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    let told = manager.wait_for("MAINPID=");
    assert!(told.starts_with(&format!("MAINPID={}\nREADY=1\n", sheave.pid().as_raw_nonzero())), "{told}");
    assert_eq!(sheave.wait_for_end_of(before), Some(0), "{:#?}", sheave.said);
    // The successor was entrusted with all, and says so itself from now on.
    manager.wait_for("WATCHDOG=1");
    let last = sheave.pid();
    sheave.signal(Signal::TERM);
    assert!(manager.wait_for("STOPPING=1").contains("EXTEND_TIMEOUT_USEC="));
    assert_eq!(sheave.wait_for_end_of(last), Some(0), "{:#?}", sheave.said);
}
