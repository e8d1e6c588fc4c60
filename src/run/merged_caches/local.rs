//! Large caches in directories of this machine.

use super::content::further_parts;
use crate::engine::session::content::LayoutDirectory;
use crate::publish::compare::MANIFEST_LIMIT;
use crate::types::Digest;

/// The further parts of the cache whose first manifest is the blob `digest` of `layout`. Blocks.
pub(in crate::run) fn further_parts_in(layout: &LayoutDirectory, digest: &Digest) -> Vec<Digest> {
    let manifest = layout.read_blob(digest, MANIFEST_LIMIT);
    let manifest = manifest.ok().flatten();
    manifest.map_or_else(Vec::new, |manifest| further_parts(&manifest))
}
