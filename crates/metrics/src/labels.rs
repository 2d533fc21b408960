//! Counts by a label from a small set that nobody had to list beforehand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use sheave_lifecycle::errno::Errno;

use crate::cell::Cell;

/// Stands in for labels that found no place.
const OTHER: &str = "other";

/// A label as it is before it is written out.
pub(crate) trait Label: Copy {
    /// Whether both are the same.
    fn is(self, other: Self) -> bool;

    /// The label as it is shown.
    fn text(self) -> Cow<'static, str>;
}

impl Label for &'static str {
    fn is(self, other: Self) -> bool {
        // The same label mostly is the same constant; it need not be, as each crate may have a copy of its own.
        std::ptr::eq(self, other) || self == other
    }

    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(self)
    }
}

impl Label for Errno {
    fn is(self, other: Self) -> bool {
        self == other
    }

    fn text(self) -> Cow<'static, str> {
        self.name().map_or_else(|| Cow::Owned(self.to_string()), Cow::Borrowed)
    }
}

/// What several `Labels` have counted together, sorted by label.
pub(crate) type Total<const WIDTH: usize> = BTreeMap<Cow<'static, str>, [u64; WIDTH]>;

/// `WIDTH` counts for each of at most `MAX` labels, in the order in which they first came up.
///
/// Labels are constants of the program or error numbers of the kernel, so there are few; should there be more than `MAX`, the
/// rest is counted together. Found by a walk from the first: labels that come up often mostly come up early.
#[derive(Debug)]
pub(crate) struct Labels<L, const MAX: usize, const WIDTH: usize = 1> {
    labels: [OnceLock<L>; MAX],
    counts: [[Cell; WIDTH]; MAX],
    others: [Cell; WIDTH],
}

impl<L: Label, const MAX: usize, const WIDTH: usize> Labels<L, MAX, WIDTH> {
    pub(crate) const fn new() -> Self {
        Self {
            labels: [const { OnceLock::new() }; MAX],
            counts: [const { [const { Cell::new() }; WIDTH] }; MAX],
            others: [const { Cell::new() }; WIDTH],
        }
    }

    /// Gives each of these a place, so that they are reported as zero before they come up.
    pub(crate) fn expect(&self, labels: impl IntoIterator<Item = L>) {
        for label in labels {
            self.row(label);
        }
    }

    /// The counts of one label.
    pub(crate) fn row(&self, label: L) -> &[Cell; WIDTH] {
        for (place, row) in self.labels.iter().zip(&self.counts) {
            if place.get_or_init(|| label).is(label) {
                return row;
            }
        }
        &self.others
    }

    /// All counts of all labels.
    pub(crate) fn sum(&self) -> u64 {
        let known = self.labels.iter().zip(&self.counts).take_while(|(label, _)| label.get().is_some());
        known.map(|(_, row)| row).chain([&self.others]).flatten().map(Cell::read).sum()
    }

    /// What several of them have counted together; labels without a place as `other`, if any came up.
    pub(crate) fn total<'a>(all: impl IntoIterator<Item = &'a Self>) -> Total<WIDTH>
    where
        L: 'a,
    {
        let mut total = Total::new();
        let mut add = |label, row: &[Cell; WIDTH]| {
            let counts = total.entry(label).or_insert([0; WIDTH]);
            for (count, cell) in counts.iter_mut().zip(row) {
                *count += cell.read();
            }
        };
        for one in all {
            for (label, row) in one.labels.iter().map_while(OnceLock::get).zip(&one.counts) {
                add(label.text(), row);
            }
            if one.others.iter().any(|cell| cell.read() != 0) {
                add(Cow::Borrowed(OTHER), &one.others);
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cell::Turn;
    use crate::live::LiveList;

    #[test]
    fn labels_are_the_same_by_content_and_the_rest_is_counted_together() {
        let live = Mutex::new(LiveList::default());
        let turn = Turn::take(&live);
        let labels = Labels::<&'static str, 3>::new();
        labels.expect(["never"]);
        let copy: &'static str = Box::leak(String::from("reset").into_boxed_str());
        for label in ["reset", copy, "late", "third", "fourth", "late"] {
            labels.row(label)[0].add(&turn, 1);
        }
        let total = Labels::total([&labels, &labels]);
        let expected = [("late", [4]), ("never", [0]), ("other", [4]), ("reset", [4])];
        assert_eq!(total, expected.map(|(label, row)| (Cow::Borrowed(label), row)).into());
        assert_eq!(labels.sum(), 6);
    }

    #[test]
    fn columns_are_counted_apart() {
        let live = Mutex::new(LiveList::default());
        let turn = Turn::take(&live);
        let labels = Labels::<Errno, 2, 2>::new();
        labels.row(Errno(71))[1].add(&turn, 5);
        labels.row(Errno::ENFILE)[0].add(&turn, 7);
        let expected = [("ENFILE", [7, 0]), ("errno 71", [0, 5])];
        assert_eq!(Labels::total([&labels]), expected.map(|(label, row)| (Cow::Borrowed(label), row)).into());
        assert_eq!(labels.sum(), 12);
    }
}
