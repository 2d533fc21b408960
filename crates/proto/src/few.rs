//! A list that is short as a rule.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// A list that is short as a rule: up to `N` items cost no allocation. It is read as a slice.
pub struct Few<T, const N: usize>(SmallVec<[T; N]>);

impl<T, const N: usize> Few<T, N> {
    /// An empty list.
    #[inline]
    pub const fn new() -> Self {
        Self(SmallVec::new_const())
    }

    /// Adds an item at the end.
    #[inline]
    pub fn push(&mut self, item: T) {
        self.0.push(item);
    }
}

impl<T: Copy, const N: usize> Few<T, N> {
    /// Adds copies of all of `items` at the end.
    #[inline]
    pub fn extend_from_slice(&mut self, items: &[T]) {
        self.0.extend_from_slice(items);
    }
}

impl<T, const N: usize> Default for Few<T, N> {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Few<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T, const N: usize> FromIterator<T> for Few<T, N> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T, const N: usize> IntoIterator for Few<T, N> {
    type Item = T;
    type IntoIter = IntoIter<T, N>;

    #[inline]
    fn into_iter(self) -> IntoIter<T, N> {
        IntoIter(self.0.into_iter())
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Few<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> std::slice::Iter<'a, T> {
        self.iter()
    }
}

/// The items of a [`Few`], in their order.
pub struct IntoIter<T, const N: usize>(smallvec::IntoIter<[T; N]>);

impl<T, const N: usize> Iterator for IntoIter<T, N> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T, const N: usize> fmt::Debug for IntoIter<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("left", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_list_beyond_its_room_too() {
        let mut few: Few<u8, 2> = Few::new();
        assert!(few.is_empty());
        few.push(1);
        few.extend_from_slice(&[2, 3]);
        assert_eq!((&few[..], format!("{few:?}").as_str()), (&[1, 2, 3][..], "[1, 2, 3]"));
        assert_eq!((&few).into_iter().sum::<u8>(), 6);
        let items = few.into_iter();
        assert_eq!((items.size_hint(), format!("{items:?}").as_str()), ((3, Some(3)), "IntoIter { left: 3 }"));
        assert_eq!(items.map(|item| item * 2).collect::<Few<u8, 1>>()[..], [2, 4, 6]);
    }
}
