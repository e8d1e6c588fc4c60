//! Matches paths against a list of patterns. Paths inside a directory inherit the patterns that matched it.
//!
//! The last pattern that matches a path or one of its parents decides. moby tries the whole list on every path.
//! Here, plain names are found in hash tables, and only the few patterns that matched are put in order. Start at
//! [`Patterns::matches`].

use std::collections::HashMap;

use super::budget::Budget;
use super::pattern::{IgnorePattern, PatternError, PatternKind};

/// A list of patterns, in the order of the ignore file.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    list: Vec<IgnorePattern>,
    exclusions: bool,
    /// The indices of patterns that are a whole path.
    whole: HashMap<Box<[u8]>, Vec<usize>>,
    /// The indices of patterns `**/name`, by name.
    named: HashMap<Box<[u8]>, Vec<usize>>,
    /// The indices of all other patterns, which must be tried one by one.
    others: Vec<usize>,
    /// Whether a pattern fails when it is tried, so that the order of the tries matters.
    fallible: bool,
}

/// Which patterns of a list matched a directory or one of its parents, as a bit set of indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    pub(super) fn get(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, index: usize) {
        let word = index / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(at * 64 + bit)
            })
        })
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Patterns {
    /// Compiles `lines`. Blank lines are left out.
    pub(crate) fn new(
        lines: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, PatternError> {
        let mut patterns = Self::default();
        let mut budget = Budget::default();
        for line in lines {
            if let Some(pattern) = IgnorePattern::parse(line.as_ref(), &mut budget)? {
                patterns.add(pattern);
            }
        }
        Ok(patterns)
    }

    /// Adds `pattern` at the end of the list.
    pub(crate) fn add(&mut self, pattern: IgnorePattern) {
        let index = self.list.len();
        match pattern.kind() {
            PatternKind::Exact => self
                .whole
                .entry(pattern.text().into())
                .or_default()
                .push(index),
            PatternKind::Suffix => match pattern.text().strip_prefix(b"**/") {
                Some(name) if !name.contains(&b'/') => {
                    self.named.entry(name.into()).or_default().push(index);
                }
                _ => self.others.push(index),
            },
            PatternKind::Invalid => self.fallible = true,
            _ => self.others.push(index),
        }
        self.exclusions |= pattern.is_exclusion();
        self.list.push(pattern);
    }

    /// Whether any pattern begins with `!`.
    pub(crate) fn has_exclusions(&self) -> bool {
        self.exclusions
    }

    /// Whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the patterns in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &IgnorePattern> {
        self.list.iter()
    }

    /// Whether the list matches `path`. `parent` has the patterns that matched its directory; it is empty for
    /// paths in the root.
    ///
    /// Writes the patterns that matched `path` to `own`, to be the `parent` of the paths inside it.
    pub(crate) fn matches(
        &self,
        path: &[u8],
        parent: &Marks,
        own: &mut Marks,
    ) -> Result<bool, PatternError> {
        own.clear();
        if self.fallible {
            return self.matches_in_order(path, parent, own);
        }
        let mut matched = false;
        // As in moby, a pattern that the parent did not match counts only if it changes the result.
        let mut apply = |index: usize, inherited: bool| {
            let exclusion = self.list[index].is_exclusion();
            if inherited || exclusion == matched {
                own.set(index);
                matched = !exclusion;
            }
        };
        let mut direct = self.direct(path)?.into_iter().peekable();
        for inherited in parent.iter() {
            while let Some(index) = direct.next_if(|index| *index <= inherited) {
                if index < inherited {
                    apply(index, false);
                }
            }
            apply(inherited, true);
        }
        for index in direct {
            apply(index, false);
        }
        Ok(matched)
    }

    /// Whether the list matches `path` or a directory that it is in, as `MatchesOrParentMatches` of moby's patternmatcher.
    pub(crate) fn match_path_or_parent(&self, path: &[u8]) -> Result<bool, PatternError> {
        let (mut parent, mut own) = (Marks::default(), Marks::default());
        let mut matched = false;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(end, _)| end).chain([path.len()]) {
            matched = self.matches(path.get(..end).unwrap_or(path), &parent, &mut own)?;
            std::mem::swap(&mut parent, &mut own);
        }
        Ok(matched)
    }

    /// Returns the patterns that match `path` itself, in order. Allocates only if there are some.
    fn direct(&self, path: &[u8]) -> Result<Vec<usize>, PatternError> {
        let mut found = Vec::new();
        if !self.whole.is_empty()
            && let Some(indices) = self.whole.get(path)
        {
            found.extend_from_slice(indices);
        }
        if !self.named.is_empty() {
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
            if let Some(indices) = self.named.get(name) {
                found.extend_from_slice(indices);
            }
        }
        for index in &self.others {
            if self.list[*index].matches(path)? {
                found.push(*index);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Does the same as [`Self::matches`], but tries one pattern after the other, as moby does, so that the same
    /// error is found.
    fn matches_in_order(
        &self,
        path: &[u8],
        parent: &Marks,
        own: &mut Marks,
    ) -> Result<bool, PatternError> {
        let mut matched = false;
        for (index, pattern) in self.list.iter().enumerate() {
            let counts = parent.get(index)
                || (pattern.is_exclusion() == matched && pattern.matches(path)?);
            if counts {
                own.set(index);
                matched = !pattern.is_exclusion();
            }
        }
        Ok(matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::fixture::unescape;
    use proptest::prelude::*;

    // Whether `path` is matched. Matches its parents first.
    fn matched(patterns: &Patterns, path: &str, by_hash: bool) -> bool {
        let (mut parent, mut own) = (Marks::default(), Marks::default());
        let mut result = false;
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let part = &path.as_bytes()[..end];
            own.clear();
            result = if by_hash {
                patterns.matches(part, &parent, &mut own).unwrap()
            } else {
                patterns.matches_in_order(part, &parent, &mut own).unwrap()
            };
            std::mem::swap(&mut parent, &mut own);
        }
        result
    }

    // What moby says about `path`: 1 or 0, E for an error while matching, N if the list is refused.
    fn judge(patterns: &Result<Patterns, PatternError>, path: &[u8]) -> &'static str {
        let Ok(patterns) = patterns else { return "N" };
        let (mut parent, mut own) = (Marks::default(), Marks::default());
        let mut result = false;
        for end in (1..=path.len()).filter(|end| path.get(*end).is_none_or(|b| *b == b'/')) {
            match patterns.matches(&path[..end], &parent, &mut own) {
                Ok(matched) => result = matched,
                Err(_) => return "E",
            }
            std::mem::swap(&mut parent, &mut own);
        }
        if result { "1" } else { "0" }
    }

    // Rows made with moby/patternmatcher v0.6.1 (Go 1.26): patterns, then `result path` columns, all
    // percent-encoded.
    #[test]
    fn a_path_matches_if_a_directory_above_it_does() {
        let patterns = Patterns::new(["b", "**/*.log", "c/d", "!c/d/e"]).unwrap();
        for (path, expected) in [
            ("b/x/y", true),
            ("a/b", false),
            ("a/x.log", true),
            ("c/d/f", true),
            ("c/d/e", false),
        ] {
            let matched = patterns.match_path_or_parent(path.as_bytes()).unwrap();
            assert_eq!(matched, expected, "{path}");
        }
    }

    #[test]
    fn patterns_match_as_in_moby() {
        let table = include_str!("../../tests/fixtures/context/patterns.tsv");
        let mut wrong = Vec::new();
        for row in table.lines() {
            let mut columns = row.split('\t');
            let lines = columns.next().unwrap().split(' ').map(unescape);
            let patterns = Patterns::new(lines);
            for column in columns {
                let (expected, path) = column.split_once(' ').unwrap();
                if judge(&patterns, &unescape(path)) != expected {
                    wrong.push(format!("{} | {column}", row.split('\t').next().unwrap()));
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{} rows differ:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(40)].join("\n")
        );
    }

    #[test]
    fn the_last_matching_pattern_decides_and_may_match_a_parent() {
        let patterns = Patterns::new(["docs", "!docs/keep", "docs/keep/not", "**/*.log"]).unwrap();
        for (path, expected) in [
            ("docs", true),
            ("docs/a/b", true),
            ("docs/keep/b", false),
            ("docs/keep/not/b", true),
            ("src/a.log", true),
            ("src/a.rs", false),
        ] {
            assert_eq!(matched(&patterns, path, true), expected, "{path}");
        }
    }

    #[test]
    fn a_broken_pattern_fails_only_when_it_is_evaluated() {
        let patterns = Patterns::new(["a", "\\q*"]).unwrap();
        let mut own = Marks::default();
        assert_eq!(
            patterns.matches(b"a", &Marks::default(), &mut own),
            Ok(true)
        );
        assert!(patterns.matches(b"b", &Marks::default(), &mut own).is_err());
    }

    proptest! {
        #[test]
        fn hashing_does_not_change_the_result(
            lines in prop::collection::vec("!?(\\*\\*/)?[ab*](/[ab*])?(/\\*\\*)?", 0..70),
            path in "[ab](/[ab]){0,3}",
        ) {
            let lines = lines.iter().filter(|line| *line != "!");
            let patterns = Patterns::new(lines).unwrap();
            prop_assert_eq!(matched(&patterns, &path, true), matched(&patterns, &path, false));
        }
    }
}
