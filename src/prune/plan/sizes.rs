//! How many bytes manifests and their blobs take.

use std::collections::BTreeMap;

use crate::prune::graph::RepositoryState;
use crate::types::Digest;

/// The manifests and blobs that `manifests` use, with their sizes. The sizes of blobs are those that manifests claim.
pub(super) fn content<'a>(
    state: &'a RepositoryState,
    manifests: impl IntoIterator<Item = &'a Digest>,
) -> BTreeMap<&'a Digest, u64> {
    let mut found: BTreeMap<&Digest, u64> = BTreeMap::new();
    for digest in manifests {
        let Some(manifest) = state.manifests().get(digest) else {
            continue;
        };
        found.insert(digest, manifest.size);
        for entry in manifest.entries.iter().filter(|entry| entry.is_blob) {
            let size = found.entry(&entry.digest).or_default();
            *size = entry.size.max(*size);
        }
    }
    found
}

/// The sum of sizes that nobody has checked.
pub(super) fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}
