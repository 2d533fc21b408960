//! Numbered places for what comes and goes: those that are left are taken again, lowest first, or given back.

/// How many places are allocated and given back together: as many as an integer has bits.
const TOGETHER: usize = u64::BITS as usize;

/// A table whose entries keep their numbers for as long as they are in it.
///
/// Whoever comes takes the lowest place that is free, so that the upper ones fall empty when there are fewer. Places are
/// allocated 64 at a time, and given back when all 64 are empty; the first 64 stay. One entry takes what `Option<T>` does,
/// and a quarter of a byte.
#[derive(Debug)]
pub struct Places<T> {
    blocks: Vec<Block<T>>,
    /// No block before this one has a place.
    first_vacant: usize,
    len: usize,
}

/// Places next to each other.
#[derive(Debug)]
struct Block<T> {
    /// A bit for each place that is taken.
    taken: u64,
    /// Nothing at all, where none is.
    entries: Box<[Option<T>]>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Places<T> {
    /// No places, which take no memory.
    pub const fn new() -> Self {
        Self { blocks: Vec::new(), first_vacant: 0, len: 0 }
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All places that are taken are below this one.
    pub fn end(&self) -> usize {
        self.blocks.len() * TOGETHER
    }

    /// Takes the lowest place that is free.
    pub fn insert(&mut self, entry: T) -> usize {
        while self.blocks.get(self.first_vacant).is_some_and(|block| block.taken == u64::MAX) {
            self.first_vacant += 1;
        }
        if self.first_vacant == self.blocks.len() {
            self.blocks.push(Block { taken: 0, entries: Box::default() });
        }
        let block = &mut self.blocks[self.first_vacant];
        if block.entries.is_empty() {
            block.entries = (0..TOGETHER).map(|_| None).collect();
        }
        let within = block.taken.trailing_ones() as usize;
        block.taken |= 1 << within;
        block.entries[within] = Some(entry);
        self.len += 1;
        self.first_vacant * TOGETHER + within
    }

    /// What is in a place.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.blocks.get(place / TOGETHER)?.entries.get(place % TOGETHER)?.as_ref()
    }

    /// What is in a place.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.blocks.get_mut(place / TOGETHER)?.entries.get_mut(place % TOGETHER)?.as_mut()
    }

    /// Everything, by place.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.entries.iter().flatten())
    }

    /// Everything, by place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flat_map(|block| block.entries.iter_mut().flatten())
    }

    /// Leaves a place; nothing, if nobody was there.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let (number, within) = (place / TOGETHER, place % TOGETHER);
        let block = self.blocks.get_mut(number)?;
        let entry = block.entries.get_mut(within)?.take()?;
        block.taken &= !(1 << within);
        self.len -= 1;
        self.first_vacant = self.first_vacant.min(number);
        if block.taken == 0 && number > 0 {
            block.entries = Box::default();
            self.give_back();
        }
        Some(entry)
    }

    /// Forgets the blocks at the end that are empty.
    #[cold]
    fn give_back(&mut self) {
        let used = self.blocks.iter().rposition(|block| block.taken != 0).map_or(1, |last| last + 1);
        self.blocks.truncate(used);
        // Not for every block, or who is on the verge of one would have the list copied each time.
        if self.blocks.capacity() > 4 * used {
            self.blocks.shrink_to(2 * used);
        }
        self.first_vacant = self.first_vacant.min(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_and_the_lowest_is_taken_again() {
        let mut places = Places::new();
        assert_eq!((places.is_empty(), places.end(), places.get(0)), (true, 0, None));
        let taken: Vec<usize> = (0..200).map(|entry| places.insert(entry)).collect();
        assert!(taken.iter().copied().eq(0..200));
        assert_eq!((places.len(), places.end()), (200, 256));
        for place in [150, 3, 70] {
            assert_eq!(places.remove(place), Some(place));
            assert_eq!((places.remove(place), places.get(place)), (None, None));
        }
        assert_eq!([900, 901, 902, 903].map(|entry| places.insert(entry)), [3, 70, 150, 200]);
        *places.get_mut(70).expect("taken") = 7;
        assert_eq!((places.get(3), places.get(70), places.get(69)), (Some(&900), Some(&7), Some(&69)));
        places.iter_mut().for_each(|entry| *entry += 1000);
        assert_eq!((places.iter().count(), places.iter().nth(3)), (201, Some(&1900)));
        assert_eq!((places.remove(usize::MAX), places.get_mut(256)), (None, None));
    }

    #[test]
    fn what_is_empty_is_given_back() {
        let mut places = Places::new();
        (0..10_000).for_each(|entry| assert_eq!(places.insert(entry), entry));
        let allocated = |places: &Places<usize>| places.blocks.iter().filter(|block| !block.entries.is_empty()).count();
        assert_eq!((allocated(&places), places.end()), (157, 157 * 64));
        // One in the middle stays, and has nothing allocated below or above but the first block.
        (0..10_000).filter(|place| *place != 5000).for_each(|place| assert!(places.remove(place).is_some()));
        assert_eq!((allocated(&places), places.end()), (2, 79 * 64));
        assert_eq!((places.insert(1), places.insert(2)), (0, 1));
        assert_eq!(places.remove(5000), Some(5000));
        assert_eq!((allocated(&places), places.end(), places.len()), (1, 64, 2));
        assert!(places.blocks.capacity() <= 4);
        // The first block stays, so that one that comes and goes allocates nothing.
        assert_eq!((places.remove(0), places.remove(1)), (Some(1), Some(2)));
        assert_eq!((allocated(&places), places.is_empty()), (1, true));
    }
}
