//! Small sets as bits: of the atoms of one dimension, and of the pieces that a cover is made of.

/// A set of atoms. All sets of one dimension have the same length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Bits(Vec<u64>);

impl Bits {
    /// No atom of `size`.
    pub(in crate::policy) fn none(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    /// Every atom of `size`.
    pub(in crate::policy) fn all(size: usize) -> Self {
        Self::of(size, 0..size)
    }

    /// These atoms of `size`.
    pub(in crate::policy) fn of(size: usize, atoms: impl IntoIterator<Item = usize>) -> Self {
        let mut bits = Self::none(size);
        for atom in atoms {
            bits.insert(atom);
        }
        bits
    }

    /// Adds an atom.
    pub(in crate::policy) fn insert(&mut self, atom: usize) {
        if let Some(word) = self.0.get_mut(atom / 64) {
            *word |= 1 << (atom % 64);
        }
    }

    /// The same without this atom.
    #[must_use]
    pub(in crate::policy) fn without(&self, atom: usize) -> Self {
        let mut fewer = self.clone();
        if let Some(word) = fewer.0.get_mut(atom / 64) {
            *word &= !(1 << (atom % 64));
        }
        fewer
    }

    /// Whether the atom is in it.
    pub(in crate::policy) fn contains(&self, atom: usize) -> bool {
        self.0.get(atom / 64).is_some_and(|word| word >> (atom % 64) & 1 == 1)
    }

    /// True if no atom is in it.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether each atom is in `other`, too.
    pub(in crate::policy) fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// Whether some atom is in both.
    pub(in crate::policy) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// The atoms in both.
    pub(in crate::policy) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// The atoms in either.
    pub(in crate::policy) fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    /// The atoms that are not in `other`.
    pub(in crate::policy) fn less(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }

    /// The atoms, ascending.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|atom| self.contains(*atom))
    }
}

/// Words of a set of pieces: enough for two pieces of each of the most rules that a policy may have.
const WORDS: usize = 7;

/// Most pieces of a cover.
pub(super) const MAX_PIECES: usize = WORDS * 64;

/// A set of pieces; copied rather than allocated, since a search makes very many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pieces([u64; WORDS]);

impl Pieces {
    pub(super) fn of(pieces: impl IntoIterator<Item = usize>) -> Self {
        let mut set = Self::default();
        for piece in pieces {
            set.insert(piece);
        }
        set
    }

    pub(super) const fn insert(&mut self, piece: usize) {
        self.0[piece / 64] |= 1 << (piece % 64);
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
        self
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(at * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_atoms_and_of_pieces_are_sets() {
        let (few, more) = (Bits::of(130, [0, 64, 129]), Bits::of(130, [0, 1, 64, 65, 129]));
        assert!(few.is_subset(&more) && !more.is_subset(&few) && few.intersects(&more));
        assert_eq!(more.less(&few), Bits::of(130, [1, 65]));
        assert_eq!((few.or(&more), few.and(&more)), (more.clone(), few.clone()));
        assert_eq!(few.iter().collect::<Vec<_>>(), [0, 64, 129]);
        assert!(Bits::none(130).is_empty() && Bits::all(130).iter().eq(0..130));
        let pieces = Pieces::of([0, 63, 64, MAX_PIECES - 1]);
        assert_eq!(pieces.iter().collect::<Vec<_>>(), [0, 63, 64, MAX_PIECES - 1]);
        assert!(Pieces::of([63]).is_subset(&pieces) && !pieces.is_subset(&Pieces::of([63])));
        assert_eq!(pieces.and(&Pieces::of([1, 63])), Pieces::of([63]));
    }
}
