//! A descriptor that is kept for the moment in which there are no others.

use std::fs::File;

/// One open file that is given up when the process, or the machine, may open no more, and taken back when it may again.
///
/// Without a free descriptor the kernel does not even say whether somebody waits to be accepted. With the one that this
/// gives up, one connection can be accepted: and be answered, or kept until there is room.
#[derive(Debug)]
pub struct Reserve(Option<File>);

impl Reserve {
    /// A reserve, if there is a descriptor for it now.
    pub fn open() -> Self {
        Self(open())
    }

    /// Closes the file: one descriptor is free, unless another thread is quicker. False when there was none to give up.
    pub fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Opens the file again, if it was given up. True when the reserve is there.
    pub fn take_back(&mut self) -> bool {
        if self.0.is_none() {
            self.0 = open();
        }
        self.0.is_some()
    }
}

/// A file of its own: a duplicate would not count against the machine's limit (`ENFILE`), and free nothing there.
fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_given_up_once_and_taken_back() {
        let mut reserve = Reserve::open();
        assert!(reserve.give_up() && !reserve.give_up());
        assert!(reserve.take_back() && reserve.take_back() && reserve.give_up());
    }
}
