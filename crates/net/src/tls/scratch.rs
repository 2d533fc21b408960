//! The thread's buffers for ciphertext: bytes live here between the kernel and rustls, so that no connection owns them.

use std::cell::RefCell;

use crate::tls::session::Sealed;

/// The largest record on the wire: 16 KiB of content, 2 KiB of what may come with it, and a header. RFC 5246 §6.2.3
pub(super) const MAX_RECORD_BYTES: usize = 16 * 1024 + 2048 + 5;

/// How much one read of ciphertext can take, beside what was left over from the last one.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Received and not yet understood: one record, or a message of the handshake in several.
pub(super) const MAX_INCOMPLETE_BYTES: usize = 64 * 1024 + MAX_RECORD_BYTES;

thread_local! {
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SEALED: RefCell<Sealed> = const { RefCell::new(Sealed::new()) };
}

/// Lends the thread's buffer for ciphertext that comes in, `READ_BYTES` and `MAX_INCOMPLETE_BYTES` long. A call from within
/// a call (TLS in TLS) gets a buffer of its own, for that call.
pub(super) fn with_received<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    const LEN: usize = READ_BYTES + MAX_INCOMPLETE_BYTES;
    RECEIVED.with(|received| match received.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.is_empty() {
                buffer.resize(LEN, 0);
            }
            use_it(&mut buffer)
        }
        Err(_) => use_it(&mut vec![0; LEN]),
    })
}

/// Lends the thread's buffer for ciphertext that goes out, empty. As for [`with_received`].
pub(super) fn with_sealed<T>(use_it: impl FnOnce(&mut Sealed) -> T) -> T {
    SEALED.with(|sealed| match sealed.try_borrow_mut() {
        Ok(mut sealed) => {
            sealed.clear();
            use_it(&mut sealed)
        }
        Err(_) => use_it(&mut Sealed::new()),
    })
}
