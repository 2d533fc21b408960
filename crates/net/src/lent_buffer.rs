//! A buffer that a connection has only while there are bytes in it: the thread lends it, and takes it back.

use std::cell::RefCell;
use std::ops::Deref;
use std::thread::LocalKey;

use bytes::{Buf, BytesMut};

/// Buffers that grew beyond this are not kept once they are empty.
const KEPT_BUFFER_BYTES: usize = 4 * 1024;

/// How many the thread keeps: what so many connections have in hand at once costs no allocation.
const KEPT_BUFFERS: usize = 64;

/// How large a buffer is in which a turn's worth of writes is gathered.
pub(crate) const WIDE_BUFFER_BYTES: usize = 64 * 1024;

/// How many of those the thread keeps: one is in use at a time, but where the kernel takes nothing.
const KEPT_WIDE_BUFFERS: usize = 2;

thread_local! {
    #[expect(clippy::vec_box, reason = "a box goes from here into a connection and back, as it is")]
    static FREE: RefCell<Vec<Box<BytesMut>>> = const { RefCell::new(Vec::new()) };
    #[expect(clippy::vec_box, reason = "as above")]
    static FREE_WIDE: RefCell<Vec<Box<BytesMut>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer, or none. Without one it is empty, and as large as a pointer.
#[derive(Default)]
pub(crate) struct LentBuffer(Option<Box<BytesMut>>);

impl LentBuffer {
    /// The buffer, which is lent if there is none.
    pub(crate) fn get(&mut self) -> &mut BytesMut {
        self.0.get_or_insert_with(|| {
            let free = FREE.try_with(|free| free.try_borrow_mut().ok()?.pop());
            free.ok().flatten().unwrap_or_default()
        })
    }

    /// As [`Self::get`]; one that is lent has room for [`WIDE_BUFFER_BYTES`].
    pub(crate) fn get_wide(&mut self) -> &mut BytesMut {
        self.0.get_or_insert_with(|| {
            let free = FREE_WIDE.try_with(|free| free.try_borrow_mut().ok()?.pop());
            free.ok().flatten().unwrap_or_else(|| Box::new(BytesMut::with_capacity(WIDE_BUFFER_BYTES)))
        })
    }

    /// Appends bytes, if there are any.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.get().extend_from_slice(bytes);
        }
    }

    /// Puts bytes before those that are here.
    pub(crate) fn put_before(&mut self, bytes: &[u8]) {
        let after = self.0.take();
        self.extend_from_slice(bytes);
        if let Some(after) = after {
            self.extend_from_slice(&after);
        }
    }

    /// Forgets the first `len` bytes of those that are here.
    pub(crate) fn advance(&mut self, len: usize) {
        if len == self.len() {
            self.clear();
        } else if let Some(buffer) = &mut self.0 {
            buffer.advance(len);
        }
    }

    /// Forgets all bytes; gives the memory back if it is large.
    pub(crate) fn clear(&mut self) {
        match &mut self.0 {
            Some(buffer) if buffer.capacity() <= KEPT_BUFFER_BYTES => buffer.clear(),
            large => {
                if let Some(mut buffer) = large.take()
                    && buffer.capacity() == WIDE_BUFFER_BYTES
                {
                    buffer.clear();
                    keep(&FREE_WIDE, buffer, KEPT_WIDE_BUFFERS);
                }
            }
        }
    }

    /// Gives the buffer back if it is empty.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.0.is_some() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if self.is_empty()
            && let Some(buffer) = self.0.take()
            && buffer.capacity() <= KEPT_BUFFER_BYTES
        {
            keep(&FREE, buffer, KEPT_BUFFERS);
        }
    }

    /// Bytes of memory that it owns, used or not.
    pub(crate) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.capacity())
    }
}

/// Has the thread keep a buffer for whoever needs one next, up to a bound.
#[expect(clippy::vec_box, reason = "as where they are kept")]
fn keep(list: &'static LocalKey<RefCell<Vec<Box<BytesMut>>>>, buffer: Box<BytesMut>, bound: usize) {
    // Where the thread is ending, or its list is in use, it is freed like anything else.
    let _ = list.try_with(|free| {
        if let Ok(mut free) = free.try_borrow_mut()
            && free.len() < bound
        {
            free.push(buffer);
        }
    });
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        self.clear();
        self.release();
    }
}

impl Deref for LentBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], |buffer| buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_lent_for_as_long_as_there_are_bytes() {
        let mut buffer = LentBuffer::default();
        buffer.extend_from_slice(b"");
        assert_eq!((buffer.capacity(), &*buffer), (0, &b""[..]));
        buffer.extend_from_slice(b"defg");
        buffer.put_before(b"abc");
        buffer.release();
        assert_eq!(&*buffer, b"abcdefg", "nothing is lost");
        buffer.advance(2);
        assert_eq!(&*buffer, b"cdefg");
        buffer.advance(5);
        buffer.release();
        assert_eq!(buffer.capacity(), 0);
        let again = buffer.get();
        assert!(again.is_empty() && again.capacity() > 0, "the thread has kept it");
        again.resize(KEPT_BUFFER_BYTES + 1, 0);
        buffer.clear();
        assert_eq!(buffer.capacity(), 0, "and keeps none that has grown large");
    }

    #[test]
    fn a_wide_one_is_kept_apart() {
        let mut buffer = LentBuffer::default();
        buffer.get_wide().extend_from_slice(b"abc");
        buffer.advance(3);
        assert_eq!(buffer.capacity(), 0, "given back with its last byte");
        assert!(buffer.get().capacity() <= KEPT_BUFFER_BYTES);
        buffer.release();
        assert_eq!((buffer.get_wide().capacity(), &*buffer), (WIDE_BUFFER_BYTES, &b""[..]));
    }

    #[test]
    fn without_bytes_it_is_a_pointer() {
        assert_eq!(size_of::<LentBuffer>(), size_of::<usize>());
    }
}
