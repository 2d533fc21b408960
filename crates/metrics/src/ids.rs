//! A hash for connection numbers, which we count up ourselves and no peer chooses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from connection numbers.
pub(crate) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

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
