//! What the tasks of a thread share, as long as the thread works for one runtime.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;

use tokio::runtime::{Handle, Id};

/// A thread's own of something, for the runtime that it is in: whoever has one from another runtime keeps that. To be kept
/// in a `thread_local!`.
#[derive(Debug)]
pub struct PerRuntime<T>(RefCell<Option<(Id, Arc<T>)>>);

impl<T> PerRuntime<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// The thread's own for the runtime that it is in, which `make` makes where there is none; `None` when the thread is
    /// ending.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn here(key: &'static LocalKey<Self>, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let runtime = Handle::current().id();
        let here = key.try_with(|Self(slot)| {
            let mut slot = slot.borrow_mut();
            match &*slot {
                Some((of, it)) if *of == runtime => it.clone(),
                _ => slot.insert((runtime, Arc::new(make()))).1.clone(),
            }
        });
        here.ok()
    }

    /// What `look` says of the one that was last asked for, whichever runtime it is of; `None` where there is none.
    pub fn peek<R>(key: &'static LocalKey<Self>, look: impl FnOnce(&T) -> R) -> Option<R> {
        key.try_with(|Self(slot)| slot.borrow().as_ref().map(|(_, it)| look(it))).ok().flatten()
    }
}

impl<T> Default for PerRuntime<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NUMBER: PerRuntime<u8> = const { PerRuntime::new() };
    }

    #[test]
    fn each_runtime_of_a_thread_has_its_own() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(PerRuntime::peek(&NUMBER, |&number| number), None);
        let (first, second) = (runtime(), runtime());
        for (runtime, makes, has) in [(&first, 1, 1), (&first, 2, 1), (&second, 3, 3), (&second, 4, 3)] {
            let number = runtime.block_on(async { PerRuntime::here(&NUMBER, || makes) });
            assert_eq!(number.as_deref(), Some(&has));
            assert_eq!(PerRuntime::peek(&NUMBER, |&number| number), Some(has));
        }
    }
}
