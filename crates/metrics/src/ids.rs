//! Places by connection numbers, which we count up ourselves and no peer chooses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from connection numbers.
type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// How many maps share the numbers.
const MAPS: usize = 64;

/// Up to so many numbers of one map are found without anything being allocated or given back.
const FEW: usize = 3;

/// The places of connections, by their numbers.
///
/// Many small maps instead of a large one. That one would be copied whole whenever there are twice as many connections, or
/// half as many; and it would be a block of a kind of which the allocator opens half a megabyte for the first. Up to 14,000
/// connections none of these maps is.
#[derive(Debug)]
pub(crate) struct IdPlaces(Box<[IdMap<u32>; MAPS]>);

impl Default for IdPlaces {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| IdMap::default())))
    }
}

impl IdPlaces {
    /// The map of a number. They are counted up, so that each map has its share.
    #[expect(clippy::cast_possible_truncation, reason = "its lower bits are all that counts")]
    const fn of(id: u64) -> usize {
        id as usize % MAPS
    }

    /// A number's place.
    pub(crate) fn get(&self, id: u64) -> Option<usize> {
        self.0[Self::of(id)].get(&id).map(|&place| place as usize)
    }

    /// Notes a number's place. The one that it had, if it had one.
    pub(crate) fn insert(&mut self, id: u64, place: usize) -> Option<usize> {
        let place = u32::try_from(place).expect("memory ends before four billion connections");
        self.0[Self::of(id)].insert(id, place).map(|former| former as usize)
    }

    /// Forgets a number. The place that it had.
    pub(crate) fn remove(&mut self, id: u64) -> Option<usize> {
        let map = &mut self.0[Self::of(id)];
        let place = map.remove(&id)?;
        if map.capacity() > 4 * map.len().max(FEW) {
            map.shrink_to(2 * map.len());
        }
        Some(place as usize)
    }

    /// How many numbers have a place.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }
}

/// Multiplies by a constant without pattern and folds the product, so that numbers in even steps spread over all bits.
#[derive(Clone, Copy, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio.
        let product = u128::from(self.0 ^ id) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation)]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = low ^ high;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn numbers_have_their_places_and_what_a_crowd_took_is_given_back() {
        let mut places = IdPlaces::default();
        for (id, place) in (0..10_000).zip((0..).step_by(2)) {
            assert_eq!(places.insert(id, place), None);
        }
        assert_eq!((places.len(), places.get(9_999), places.get(10_000)), (10_000, Some(19_998), None));
        assert_eq!((places.insert(7, 1), places.remove(7), places.remove(7)), (Some(14), Some(1), None));
        // A place has sixteen bytes and one more, and there are twice as many of them as are taken, at most.
        let largest = places.0.iter().map(|map| 17 * map.capacity() * 8 / 7).max();
        assert!(largest <= Some(8 * 1024), "{largest:?}");
        for id in 0..10_000 {
            places.remove(id);
        }
        let capacity: usize = places.0.iter().map(HashMap::capacity).sum();
        assert!(places.len() == 0 && capacity <= 4 * FEW * MAPS, "{capacity}");
    }

    #[test]
    fn numbers_in_steps_spread() {
        let hash = |id: u64| BuildHasherDefault::<IdHasher>::default().hash_one(id);
        for step in [1, 2, 3, 8, 64, 1 << 20, 1 << 40] {
            let low: HashSet<_> = (1..=256).map(|n| hash(n * step) & 0xff).collect();
            let high: HashSet<_> = (1..=256).map(|n| hash(n * step) >> 57).collect();
            // A random function fills 63 % of 256 places, and 87 % of 128.
            assert!(low.len() > 128, "step {step}: {} low", low.len());
            assert!(high.len() > 80, "step {step}: {} high", high.len());
        }
    }
}
