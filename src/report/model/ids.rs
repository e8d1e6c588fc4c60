//! Positions in the model's tables, and sets of targets.

/// A target's position in [`super::Model::targets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub(super) u32);

/// A row's position in [`super::Model::rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub(super) u32);

impl TargetId {
    /// Returns the position as an index for slices.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl RowId {
    /// Returns the position as an index for slices.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of targets, as bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TargetSet {
    words: Vec<u64>,
}

impl TargetSet {
    /// Adds a target. Returns `true` if the set did not contain it.
    pub(super) fn insert(&mut self, target: TargetId) -> bool {
        let (word, bit) = (target.index() / 64, 1 << (target.index() % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Whether `target` is in the set.
    #[cfg(test)]
    pub(crate) fn contains(&self, target: TargetId) -> bool {
        let word = self.words.get(target.index() / 64);
        word.is_some_and(|word| word & (1 << (target.index() % 64)) != 0)
    }

    /// Returns the targets in the order of the plan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = TargetId> + '_ {
        (0u32..).zip(&self.words).flat_map(|(at, word)| {
            (0..64)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| TargetId(at * 64 + bit))
        })
    }

    /// Returns the number of targets in the set.
    pub(crate) fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether no target is in the set.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_order_and_count() {
        let mut set = TargetSet::default();
        assert!(set.is_empty());
        for id in [200, 3, 64, 3] {
            set.insert(TargetId(id));
        }
        assert_eq!(set.len(), 3);
        assert_eq!(set.iter().map(|t| t.0).collect::<Vec<_>>(), [3, 64, 200]);
        assert!(
            set.contains(TargetId(64))
                && !set.contains(TargetId(65))
                && !set.contains(TargetId(9999))
        );
    }
}
