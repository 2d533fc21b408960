//! Several known names, asked for at once.

use crate::known::Known;

/// A set of known field names. Eight bytes; built when the program is compiled, as a rule.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KnownSet(u64);

/// All names that are not known share the last bit.
const OTHERS: u64 = 1 << 63;

const _: () = assert!(Known::ALL.len() < 64);

impl KnownSet {
    /// No name.
    pub const EMPTY: Self = Self(0);

    /// Every name that is not a known one. No known name is in it.
    pub(crate) const OTHERS: Self = Self(OTHERS);

    /// The set of these names.
    #[must_use]
    pub const fn of(names: &[Known]) -> Self {
        let (mut set, mut at) = (Self::EMPTY, 0);
        while at < names.len() {
            set = set.with(Self::one(Some(names[at])));
            at += 1;
        }
        set
    }

    /// The set that holds a line of this name.
    #[inline]
    pub(crate) const fn one(name: Option<Known>) -> Self {
        match name {
            Some(name) => Self(1 << name as u8),
            None => Self::OTHERS,
        }
    }

    /// Whether the name is in it.
    #[must_use]
    #[inline]
    pub const fn contains(self, name: Known) -> bool {
        self.meets(Self::one(Some(name)))
    }

    /// Whether a name is in both.
    #[must_use]
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names that are in either.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names that are in this one, but not in the other.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_by_itself() {
        for &name in Known::ALL {
            let set = KnownSet::of(&[name]);
            let rest = KnownSet::of(Known::ALL).without(set);
            assert!(set.contains(name) && !rest.contains(name) && !set.meets(rest) && set.meets(set));
            assert_eq!((set.with(rest), set.with(set)), (KnownSet::of(Known::ALL), set));
            for &other in Known::ALL {
                assert_eq!((set.contains(other), rest.contains(other)), (other == name, other != name));
            }
            assert!(!set.meets(KnownSet::OTHERS) && set == KnownSet::one(Some(name)));
        }
        assert_eq!((KnownSet::of(&[]), KnownSet::one(None)), (KnownSet::EMPTY, KnownSet::OTHERS));
    }
}
