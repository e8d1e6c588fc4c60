//! Gives a configuration one last record, on which all others depend.
//!
//! BuildKit loses links of a cache with several last records. It adds the records from each of them
//! (`cache/remotecache/v1/cachestorage.go`, `addItemToStorage`). From the second on, it marks a record that it has added
//! before as visited without a value, so that only the first link to it is kept, and a later step is not found. All caches of
//! several targets or platforms have several last records.

use super::{CacheConfig, CacheRecord, RecordLink};
use crate::types::Digest;

/// The text whose digest identifies the additional record. No step has this digest.
const LAST: &[u8] = b"rbake: the last record of a cache";

impl CacheConfig {
    /// The configuration with one last record. It is the same if it has only one already.
    pub(in super::super) fn with_one_last_record(mut self) -> Self {
        let last = self.last_records();
        if last.len() > 1 {
            let link = |link| {
                let selector = String::new();
                vec![RecordLink { selector, link }]
            };
            self.records.push(CacheRecord {
                results: Vec::new(),
                chains: Vec::new(),
                digest: Digest::sha256(LAST).to_string(),
                inputs: last.into_iter().map(link).collect(),
            });
        }
        self
    }

    /// Whether BuildKit finds all records.
    pub(in super::super) fn has_one_last_record(&self) -> bool {
        self.last_records().len() <= 1
    }

    /// The records on which no other depends.
    fn last_records(&self) -> Vec<usize> {
        let mut is_last = vec![true; self.records.len()];
        for input in self.inputs().into_iter().flatten() {
            if let Some(is_last) = is_last.get_mut(input) {
                *is_last = false;
            }
        }
        let last = is_last.iter().enumerate().filter(|(_, is_last)| **is_last);
        last.map(|(at, _)| at).collect()
    }

    /// Removes the additional record.
    pub(super) fn without_last_record(mut self) -> Self {
        let digest = Digest::sha256(LAST);
        let ours = |record: &CacheRecord| record.digest == digest.as_str();
        // BuildKit sorts the records of a cache that it exports, but it never exports this one.
        if self.records.last().is_some_and(ours) {
            self.records.pop();
        }
        self
    }
}
