//! Where targets were built last: what is kept of it from run to run, as text.
//!
//! The text is read from a file that anybody may have changed. What is not valid is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::locality::{PlacedTarget, TargetToPlace};
use crate::types::{Digest, Platform};

/// The version of the form of the text.
const VERSION: u32 = 1;
/// The most entries that are kept. The oldest are dropped.
const MOST: usize = 20_000;
/// The most bytes of a text that is read.
pub(crate) const MEMORY_LIMIT: u64 = 4 << 20;
/// The most characters of a name of a node.
const LONGEST_NAME: usize = 256;

/// Names a target, or what targets share, in the memory. It is a digest, so that it has the same length for every name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlacementKey(String);

impl PlacementKey {
    /// The key of something that has these names, in this order.
    pub(crate) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        Self(
            Digest::sha256(names.join("\0").as_bytes())
                .short()
                .to_owned(),
        )
    }

    /// The key of the same for a platform: each platform is remembered for itself. `None` is that of a target that names none.
    pub(crate) fn of_platform(&self, platform: Option<&Platform>) -> Self {
        match platform {
            Some(platform) => Self(format!("{}/{platform}", self.0)),
            None => Self(format!("{}/default", self.0)),
        }
    }
}

/// Where targets, and targets that share steps with others, were built last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlacementMemory {
    entries: BTreeMap<String, MemoryEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MemoryEntry {
    node: String,
    /// When it was built, in seconds since 1970.
    at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct MemoryFile {
    version: u32,
    entries: BTreeMap<String, MemoryEntry>,
}

impl PlacementMemory {
    /// Reads the text. Empty if it is not valid.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let file: Option<MemoryFile> = serde_json::from_slice(text).ok();
        let Some(file) = file.filter(|file| file.version == VERSION) else {
            return Self::default();
        };
        let mut memory = Self {
            entries: file.entries,
        };
        let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
        memory
            .entries
            .retain(|key, entry| is_name(key) && is_name(&entry.node));
        memory.shrink();
        memory
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let file = MemoryFile {
            version: VERSION,
            entries: self.entries.clone(),
        };
        // Maps of texts and numbers can always be written.
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// The name of the node on which `key` was built last.
    pub(crate) fn node(&self, key: &PlacementKey) -> Option<&str> {
        self.entries.get(&key.0).map(|entry| entry.node.as_str())
    }

    /// Notes that `key` was built on `node` at the time `at`, in seconds since 1970.
    pub(crate) fn note(&mut self, key: PlacementKey, node: &str, at: u64) {
        let entry = MemoryEntry {
            node: node.to_owned(),
            at,
        };
        self.entries.insert(key.0, entry);
        self.shrink();
    }

    /// Notes that `targets` were built where they were `placed`, on nodes with these names.
    pub(crate) fn note_all(
        &mut self,
        nodes: &[String],
        targets: &[TargetToPlace],
        placed: &[PlacedTarget],
        at: u64,
    ) {
        for (target, placed) in targets.iter().zip(placed) {
            for part in &placed.parts {
                let Some(node) = nodes.get(part.node) else {
                    continue;
                };
                for key in std::iter::once(&target.own).chain(&target.shared) {
                    self.note(key.of_platform(part.platform.as_ref()), node, at);
                }
            }
        }
    }

    /// Drops the oldest entries if there are too many, until a tenth is free.
    fn shrink(&mut self) {
        if self.entries.len() <= MOST {
            return;
        }
        let mut times: Vec<u64> = self.entries.values().map(|entry| entry.at).collect();
        times.sort_unstable();
        let dropped = self.entries.len() - MOST * 9 / 10;
        let oldest_kept = times.get(dropped).copied().unwrap_or_default();
        self.entries.retain(|_, entry| entry.at >= oldest_kept);
        while self.entries.len() > MOST {
            // All are of the same time.
            self.entries.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test]
    fn notes_are_read_again() {
        let mut memory = PlacementMemory::default();
        let key = PlacementKey::of(["a", "b"]);
        memory.note(key.clone(), "one", 1);
        memory.note(key.clone(), "two", 2);
        let read = PlacementMemory::parse(memory.text().as_bytes());
        assert_eq!(read, memory);
        assert_eq!(read.node(&key), Some("two"));
        assert_eq!(read.node(&PlacementKey::of(["ab"])), None);
    }

    #[test_case(""; "nothing")]
    #[test_case("{"; "broken")]
    #[test_case("[]"; "a list")]
    #[test_case(r#"{"version":2,"entries":{"a":{"node":"n","at":1}}}"#; "another version")]
    #[test_case(r#"{"version":1,"entries":{"a":{"node":7,"at":1}}}"#; "a number in place of a name")]
    #[test_case(r#"{"version":1,"entries":{"a":{"node":"","at":1}}}"#; "an empty name")]
    fn invalid_texts_are_left_out(text: &str) {
        assert_eq!(
            PlacementMemory::parse(text.as_bytes()),
            PlacementMemory::default()
        );
    }

    #[test]
    fn the_oldest_entries_are_dropped() {
        let mut memory = PlacementMemory::default();
        for number in 0..=MOST {
            memory.note(
                PlacementKey::of([number.to_string().as_str()]),
                "n",
                number as u64,
            );
        }
        assert!(memory.entries.len() <= MOST);
        assert_eq!(memory.node(&PlacementKey::of(["0"])), None);
        assert_eq!(
            memory.node(&PlacementKey::of([MOST.to_string().as_str()])),
            Some("n")
        );
    }
}
