//! Which targets read so much of a directory in common that one transfer for all of them saves more than it costs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::size::{self, TreeSize};

/// More distinct paths than this are not looked at one by one: the readers are then taken to read the same.
const PATHS_LIMIT: usize = 500;

/// What is sent again for one path does not count if it is less than this part of the limit: a `package.json`, for example,
/// would put targets together that have nothing else in common.
const NEGLIGIBLE: usize = 64;

/// The paths of a directory that a target reads. They may have wildcards, and variables if only the Dockerfile was
/// read. `None` for all files.
pub(super) type Paths = Option<BTreeSet<String>>;

/// Divides the readers, by their index in `reads`, into groups that read parts of `dir` in common, if sending these parts to
/// each of them would exceed `limit` in addition to the first transfer. Readers that are in no group are left out. Blocking.
pub(super) fn groups(dir: &Path, reads: &[Paths], limit: TreeSize) -> Vec<BTreeSet<usize>> {
    let readers = readers(reads);
    let mut groups = Groups::new(reads.len());
    let mut repeated: Vec<(usize, TreeSize)> = Vec::new();
    let negligible = limit.for_each_of(NEGLIGIBLE);
    for path in readers.keys() {
        let above = above(path).filter_map(|above| readers.get(above));
        let all: BTreeSet<usize> = above.flatten().copied().collect();
        let Some(first) = all.first().filter(|_| all.len() > 1) else {
            continue;
        };
        let size = size::of_part(dir, path, limit).times(all.len() - 1);
        if size.exceeds(negligible) {
            groups.join(&all);
            repeated.push((*first, size));
        }
    }
    let mut sums: BTreeMap<usize, TreeSize> = BTreeMap::new();
    for (reader, size) in repeated {
        let sum = sums
            .entry(groups.first(reader))
            .or_insert(TreeSize::NOTHING);
        *sum = sum.and(size);
    }
    let is_large = |first: &usize| sums.get(first).is_some_and(|sum| sum.exceeds(limit));
    let sets = groups.into_sets().into_iter();
    sets.filter(|(first, _)| is_large(first))
        .map(|(_, set)| set)
        .collect()
}

/// The readers of each path.
fn readers(reads: &[Paths]) -> BTreeMap<String, BTreeSet<usize>> {
    let mut readers: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (reader, paths) in reads.iter().enumerate() {
        let all = [String::new()].into();
        for path in paths.as_ref().unwrap_or(&all) {
            readers.entry(fixed(path)).or_default().insert(reader);
        }
    }
    if readers.len() > PATHS_LIMIT {
        let all = (0..reads.len()).collect();
        return BTreeMap::from([(String::new(), all)]);
    }
    readers
}

/// The part of `path` without wildcards and variables: it, or the directory in which the first of them is. Clean and relative.
fn fixed(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts =
        parts.take_while(|part| !part.contains(['*', '?', '[', '\\', '$']) && *part != "..");
    parts.collect::<Vec<_>>().join("/")
}

/// `path` and the directories that it is in, up to the root, which is empty.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(end, _)| end).rev();
    let directories = ends.map(|end| &path[..end]);
    let root = (!path.is_empty()).then_some("");
    std::iter::once(path).chain(directories).chain(root)
}

/// Groups that become larger.
struct Groups {
    /// For each reader another one of its group, up to one that names itself.
    of: Vec<usize>,
}

impl Groups {
    fn new(readers: usize) -> Self {
        Self {
            of: (0..readers).collect(),
        }
    }

    fn first(&self, mut reader: usize) -> usize {
        while let Some(&next) = self.of.get(reader)
            && next != reader
        {
            reader = next;
        }
        reader
    }

    fn join(&mut self, readers: &BTreeSet<usize>) {
        let firsts = readers.iter().map(|reader| self.first(*reader));
        let firsts: BTreeSet<usize> = firsts.collect();
        let Some(first) = firsts.first() else {
            return;
        };
        for other in &firsts {
            if let Some(of) = self.of.get_mut(*other) {
                *of = *first;
            }
        }
    }

    /// The groups with several readers, and their first readers.
    fn into_sets(self) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut sets: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for reader in 0..self.of.len() {
            sets.entry(self.first(reader)).or_default().insert(reader);
        }
        sets.retain(|_, set| set.len() > 1);
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: TreeSize = TreeSize {
        entries: 100,
        bytes: 1_000,
    };

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c/d", "c/e"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("f"), [0; 1_500]).unwrap();
        }
        std::fs::write(dir.path().join("package.json"), [0; 10]).unwrap();
        dir
    }

    fn found(reads: &[&[&str]]) -> Vec<Vec<usize>> {
        let dir = directory();
        let paths = |list: &&[&str]| {
            let texts = list.iter().map(ToString::to_string);
            (!list.is_empty()).then(|| texts.collect())
        };
        let reads: Vec<Paths> = reads.iter().map(paths).collect();
        let groups = groups(dir.path(), &reads, LIMIT);
        groups
            .into_iter()
            .map(|set| set.into_iter().collect())
            .collect()
    }

    #[test]
    fn readers_of_the_same_large_part_are_together() {
        assert_eq!(found(&[&["a"], &["a", "b"], &["c"]]), [[0, 1]]);
        assert_eq!(found(&[&["a"], &["c/d"], &["c", "a"]]), [[0, 1, 2]]);
        assert_eq!(found(&[&["c/d/f"], &["./c//d/"], &["b"]]), [[0, 1]]);
        // One reads everything.
        assert_eq!(found(&[&["a"], &["b"], &[]]), [[0, 1, 2]]);
        let nothing: [[usize; 0]; 0] = [];
        assert_eq!(found(&[&["a"], &["b"], &["c/d"], &["c/e"]]), nothing);
        // What they have in common is small.
        assert_eq!(
            found(&[&["package.json", "a"], &["package.json", "b"]]),
            nothing
        );
        assert_eq!(found(&[&["missing"], &["missing"]]), nothing);
    }

    #[test]
    fn the_limit_is_for_all_repeated_transfers_together() {
        let small = |readers: usize| {
            let one: &[&str] = &["package.json"];
            found(&vec![one; readers])
        };
        assert!(small(100).is_empty());
        assert_eq!(small(102).len(), 1);
        // 450 bytes each, three of them.
        let dir = directory();
        for name in ["x", "y", "z"] {
            std::fs::write(dir.path().join(name), [0; 450]).unwrap();
        }
        let group = |paths: &[&str]| {
            let paths: Paths = Some(paths.iter().map(ToString::to_string).collect());
            groups(dir.path(), &[paths.clone(), paths], LIMIT).len()
        };
        assert_eq!(group(&["x", "y"]), 0);
        assert_eq!(group(&["x", "y", "z"]), 1);
    }

    #[test]
    fn paths_end_before_their_wildcards() {
        assert_eq!(found(&[&["c/*/f"], &["c/e"]]), [[0, 1]]);
        assert_eq!(fixed("a/b?/c"), "a");
        assert_eq!(fixed("a/b-$X/c"), "a");
        assert_eq!(fixed("/../x"), "");
        assert_eq!(above("a/b").collect::<Vec<_>>(), ["a/b", "a", ""]);
    }

    #[test]
    fn very_many_paths_are_not_looked_at_one_by_one() {
        let many: Vec<String> = (0..=PATHS_LIMIT).map(|n| format!("n{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(found(&[&many, &["a"]]), [[0, 1]]);
    }
}
