//! Bytes that were made and not yet taken.

/// Bytes in order, taken from the front. Owns memory only while it has some.
#[derive(Default, Debug)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn front(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops `len` bytes of the front, and the memory with the last of them.
    pub(super) fn advance(&mut self, len: usize) {
        self.taken += len;
        if self.taken >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Bytes of memory that it owns.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_memory_with_the_last() {
        let mut queue = Queue::default();
        queue.push(b"abc");
        queue.advance(1);
        queue.push(b"d");
        assert_eq!((queue.front(), queue.len()), (&b"bcd"[..], 3));
        queue.advance(3);
        assert_eq!((queue.is_empty(), queue.capacity()), (true, 0));
        queue.advance(0);
        assert!(queue.is_empty());
    }
}
