//! A service manager that notes what it is told.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::PATIENCE;

/// A service manager.
pub(crate) struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// One that listens.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sheave-manager-{}-{number}", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("is set");
        Self { socket, path }
    }

    /// What goes into `NOTIFY_SOCKET`.
    pub(crate) fn address(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// Waits until it is told something that contains `part`, and returns all of it.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 512];
            let Ok(len) = self.socket.recv(&mut buffer) else { panic!("{part:?} was not told; heard was {heard:?}") };
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.contains(part) {
                return text;
            }
            heard.push(text);
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
