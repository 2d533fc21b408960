//! A buffer that a connection has only while there are bytes in it: the thread lends it, and takes it back.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::thread::LocalKey;

use bytes::{Buf, BytesMut};

use crate::scratch::Rest;

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
    static FREE: RefCell<Vec<Box<Buffer>>> = const { RefCell::new(Vec::new()) };
    #[expect(clippy::vec_box, reason = "as above")]
    static FREE_WIDE: RefCell<Vec<Box<Buffer>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer, or none. Without one it is empty, and as large as a pointer.
#[derive(Default)]
pub(crate) struct LentBuffer(Option<Box<Buffer>>);

/// Where the bytes are.
enum Buffer {
    /// In a buffer for what comes together in it.
    Own(BytesMut),
    /// Where they were read.
    Read(Rest),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Own(BytesMut::new())
    }
}

impl Buffer {
    /// A buffer to which bytes can be added.
    fn own(&mut self) -> &mut BytesMut {
        if let Self::Read(rest) = self {
            *self = Self::Own(BytesMut::from(&rest[..]));
        }
        match self {
            Self::Own(buffer) => buffer,
            Self::Read(_) => unreachable!("it was copied"),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Own(buffer) => buffer.capacity(),
            Self::Read(rest) => rest.capacity(),
        }
    }
}

impl LentBuffer {
    /// The buffer, which is lent if there is none.
    pub(crate) fn get(&mut self) -> &mut BytesMut {
        let buffer = self.0.get_or_insert_with(|| {
            let free = FREE.try_with(|free| free.try_borrow_mut().ok()?.pop());
            free.ok().flatten().unwrap_or_default()
        });
        buffer.own()
    }

    /// As [`Self::get`]; one that is lent has room for [`WIDE_BUFFER_BYTES`].
    pub(crate) fn get_wide(&mut self) -> &mut BytesMut {
        let buffer = self.0.get_or_insert_with(|| {
            let free = FREE_WIDE.try_with(|free| free.try_borrow_mut().ok()?.pop());
            let wide = || Box::new(Buffer::Own(BytesMut::with_capacity(WIDE_BUFFER_BYTES)));
            free.ok().flatten().unwrap_or_else(wide)
        });
        buffer.own()
    }

    /// Appends bytes, if there are any.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.get().extend_from_slice(bytes);
        }
    }

    /// Holds `rest` of what was read into `scratch`, the thread's buffer: a copy of it, or the buffer itself where that is
    /// worth it. It must be empty.
    pub(crate) fn hold(&mut self, scratch: &mut Vec<u8>, rest: Range<usize>) {
        debug_assert!(self.is_empty());
        if rest.len() > KEPT_BUFFER_BYTES
            && let Some(rest) = Rest::keep(scratch, rest.clone())
        {
            self.release();
            self.0 = Some(Box::new(Buffer::Read(rest)));
        } else {
            self.extend_from_slice(&scratch[rest]);
        }
    }

    /// Puts bytes before those that are here.
    pub(crate) fn put_before(&mut self, bytes: &[u8]) {
        let after = Self(self.0.take());
        self.extend_from_slice(bytes);
        self.extend_from_slice(&after);
    }

    /// Forgets the first `len` bytes of those that are here.
    pub(crate) fn advance(&mut self, len: usize) {
        if len == self.len() {
            self.clear();
        } else {
            match self.0.as_deref_mut() {
                Some(Buffer::Own(buffer)) => buffer.advance(len),
                Some(Buffer::Read(rest)) => rest.advance(len),
                None => {}
            }
        }
    }

    /// Forgets all bytes; gives the memory back if it is large.
    pub(crate) fn clear(&mut self) {
        match self.0.as_deref_mut() {
            Some(Buffer::Own(buffer)) if buffer.capacity() <= KEPT_BUFFER_BYTES => buffer.clear(),
            Some(Buffer::Own(buffer)) if buffer.capacity() == WIDE_BUFFER_BYTES => {
                buffer.clear();
                self.0.take().into_iter().for_each(|wide| keep(&FREE_WIDE, wide, KEPT_WIDE_BUFFERS));
            }
            _ => self.0 = None,
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
fn keep(list: &'static LocalKey<RefCell<Vec<Box<Buffer>>>>, buffer: Box<Buffer>, bound: usize) {
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
        match self.0.as_deref() {
            Some(Buffer::Own(buffer)) => buffer,
            Some(Buffer::Read(rest)) => rest,
            None => &[],
        }
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
    fn what_a_read_left_is_held_where_it_is_if_it_is_long() {
        for (len, is_copied) in [(0, true), (KEPT_BUFFER_BYTES, true), (KEPT_BUFFER_BYTES + 1, false)] {
            let mut scratch: Vec<u8> = (0..=255).cycle().take(2 + len).collect();
            let expected = scratch[2..].to_vec();
            let mut buffer = LentBuffer::default();
            buffer.hold(&mut scratch, 2..2 + len);
            assert_eq!((&*buffer, scratch.is_empty()), (&expected[..], !is_copied), "{len}");
            buffer.put_before(b"ab");
            buffer.extend_from_slice(b"cd");
            assert_eq!(*buffer, [b"ab", &expected[..], b"cd"].concat());
            buffer.advance(len + 4);
            buffer.release();
            assert_eq!(buffer.capacity(), 0);
        }
        let mut scratch = vec![7; KEPT_BUFFER_BYTES + 3];
        let mut buffer = LentBuffer::default();
        buffer.hold(&mut scratch, 1..KEPT_BUFFER_BYTES + 3);
        buffer.advance(KEPT_BUFFER_BYTES);
        assert_eq!((&*buffer, buffer.capacity() > KEPT_BUFFER_BYTES), (&[7, 7][..], true));
        buffer.advance(2);
        assert_eq!(buffer.capacity(), 0, "at once, with its last byte");
    }

    #[test]
    fn without_bytes_it_is_a_pointer() {
        assert_eq!(size_of::<LentBuffer>(), size_of::<usize>());
    }
}
