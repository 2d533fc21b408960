//! A map from sites, with a hash that costs less than the lookup.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sheave_net::endpoint::Site;

/// A map from where origins are. There are few, and they come from configuration and name servers, not from clients:
/// nobody gains by making them collide.
pub(crate) type BySite<V> = HashMap<Site, V, BuildHasherDefault<SiteHasher>>;

/// Multiplies by a constant without pattern and folds the product.
#[derive(Clone, Copy, Default)]
pub(crate) struct SiteHasher(u64);

impl SiteHasher {
    /// A hasher that differs by `seed`.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }
}

impl Hasher for SiteHasher {
    fn write_u64(&mut self, part: u64) {
        // 2^64 divided by the golden ratio.
        let product = u128::from(self.0.rotate_left(23) ^ part) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation)]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = low ^ high;
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.write_u64(rest.iter().fold(0, |part, byte| part << 8 | u64::from(*byte)));
        }
    }

    fn write_u16(&mut self, part: u16) {
        self.write_u64(part.into());
    }

    fn write_u32(&mut self, part: u32) {
        self.write_u64(part.into());
    }

    fn write_usize(&mut self, part: usize) {
        self.write_u64(part as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn neighbours_spread() {
        let hash = |address: SocketAddr| BuildHasherDefault::<SiteHasher>::default().hash_one(Site::from(address));
        let ports = (9000..9256).map(|port| ([127, 0, 0, 1], port).into());
        let hosts = (0..=255).map(|host| ([10, 0, 0, host], 80).into());
        let sixes = (0..256).map(|host| ([0xfd00, 0, 0, 0, 0, 0, 0, host], 80).into());
        for addresses in [ports.collect::<Vec<SocketAddr>>(), hosts.collect(), sixes.collect()] {
            let low: HashSet<_> = addresses.iter().map(|address| hash(*address) & 0xff).collect();
            let high: HashSet<_> = addresses.iter().map(|address| hash(*address) >> 57).collect();
            // A random function fills 63 % of 256 places, and 87 % of 128.
            assert!(low.len() > 128 && high.len() > 80, "{} low, {} high", low.len(), high.len());
        }
    }
}
