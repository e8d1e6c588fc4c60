//! Local caches, in directories of this machine: they are found by tag before a solve, served to the daemon, and
//! tagged after the solve.

use std::collections::BTreeMap;
use std::path::Path;

use super::lower::LocalCache;
use super::merged_caches::further_parts_in;
use crate::diag::Diagnostic;
use crate::engine::session::content::{
    CacheSource, IndexName, LayoutDirectory, LayoutError, StoreAccess, find_cache,
};
use crate::engine::spec::{CacheBackend, SolveSpec};
use crate::types::Digest;

/// Serves local caches to one solve.
#[derive(Default)]
pub(super) struct ServedCaches {
    /// The stores for the target's session, by the id that the daemon uses.
    pub(super) stores: BTreeMap<String, StoreAccess>,
    exports: Vec<Export>,
}

struct Export {
    layout: LayoutDirectory,
    tag: String,
    reset: bool,
}

/// Opens the directories of `wanted` and completes `spec` with the digests found there. Blocking.
///
/// A missing cache is left out of `spec` with a warning: before the first build of a project there is none.
pub(super) fn open(
    wanted: &[LocalCache],
    spec: &mut SolveSpec,
    notices: &mut Vec<Diagnostic>,
) -> Result<ServedCaches, LayoutError> {
    let mut stores = BTreeMap::new();
    let mut exports = Vec::new();
    for cache in wanted {
        match cache {
            LocalCache::Import {
                dir,
                name,
                tag,
                digest,
            } => match find_cache(dir, tag, digest.as_ref()) {
                CacheSource::Found { layout, digest } => {
                    name_digest(spec, name, tag, &digest);
                    add_parts(spec, name, &digest, &further_parts_in(&layout, &digest));
                    stores
                        .entry(store_id(name))
                        .or_insert(StoreAccess::Read(layout));
                }
                CacheSource::Missing(reason) => {
                    leave_out(spec, name);
                    notices.push(missing(spec, dir, &reason));
                }
            },
            LocalCache::Export {
                dir,
                name,
                tag,
                reset,
            } => {
                let layout = LayoutDirectory::create(dir)?;
                stores.insert(store_id(name), StoreAccess::Write(layout.clone()));
                exports.push(Export {
                    layout,
                    tag: tag.clone(),
                    reset: *reset,
                });
            }
        }
    }
    Ok(ServedCaches { stores, exports })
}

/// Opens the directories from which `wanted` imports caches, for another solve with `spec`. Blocking. Caches that are missing
/// by now are left out of `spec`.
pub(super) fn open_again(
    wanted: &[LocalCache],
    spec: &mut SolveSpec,
) -> BTreeMap<String, StoreAccess> {
    let imports = wanted.iter();
    let imports = imports.filter(|cache| matches!(cache, LocalCache::Import { .. }));
    let imports: Vec<LocalCache> = imports.cloned().collect();
    match open(&imports, spec, &mut Vec::new()) {
        Ok(served) => served.stores,
        // Only the directories of exports can fail to open.
        Err(_) => BTreeMap::new(),
    }
}

/// Opens the directory that a cache is exported to. Blocking. `wanted` must be an export.
pub(super) fn open_export(wanted: &LocalCache) -> Result<ServedCaches, LayoutError> {
    let mut served = ServedCaches::default();
    if let LocalCache::Export {
        dir,
        name,
        tag,
        reset,
    } = wanted
    {
        let layout = LayoutDirectory::create(dir)?;
        let store = StoreAccess::Write(layout.clone());
        served.stores.insert(store_id(name), store);
        served.exports.push(Export {
            layout,
            tag: tag.clone(),
            reset: *reset,
        });
    }
    Ok(served)
}

/// Returns the id by which the daemon asks for the store. It contains the exact text that the solve names.
fn store_id(name: &str) -> String {
    format!("local:{name}")
}

/// Whether `entry` is the local cache that is named `src`.
fn is_at(entry: &crate::engine::spec::SolveCache, src: &str) -> bool {
    entry.backend == CacheBackend::Local && entry.extra.get("src").is_some_and(|path| path == src)
}

/// Replaces the tag of an import by the digest that was found for it.
fn name_digest(spec: &mut SolveSpec, src: &str, tag: &str, digest: &Digest) {
    let unnamed = |entry: &&mut crate::engine::spec::SolveCache| {
        is_at(entry, src) && entry.extra.get("tag").is_none_or(|own| own == tag)
    };
    if let Some(entry) = spec.cache_imports.iter_mut().find(unnamed) {
        entry.extra.remove("tag");
        entry.extra.insert("digest".to_owned(), digest.to_string());
    }
}

/// Adds the further parts of a large cache after its first one.
fn add_parts(spec: &mut SolveSpec, src: &str, first: &Digest, parts: &[Digest]) {
    let is_first = |entry: &crate::engine::spec::SolveCache| {
        is_at(entry, src)
            && entry
                .extra
                .get("digest")
                .is_some_and(|own| own == first.as_str())
    };
    let Some(at) = spec.cache_imports.iter().position(is_first) else {
        return;
    };
    let Some(entry) = spec.cache_imports.get(at).cloned() else {
        return;
    };
    for (number, part) in (1..).zip(parts) {
        let mut entry = entry.clone();
        entry.extra.insert("digest".to_owned(), part.to_string());
        spec.cache_imports.insert(at + number, entry);
    }
}

/// Removes the import from `src`, of which there is no cache.
fn leave_out(spec: &mut SolveSpec, src: &str) {
    if let Some(at) = spec
        .cache_imports
        .iter()
        .position(|entry| is_at(entry, src))
    {
        spec.cache_imports.remove(at);
    }
}

/// Before the first build of a project, there is no cache, which is a note. Everything else is a warning.
fn missing(spec: &SolveSpec, dir: &Path, reason: &str) -> Diagnostic {
    let message = format!(
        "target `{}`: no cache is imported from `{}`: {reason}",
        spec.target,
        dir.display()
    );
    let is_empty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty || !dir.exists() {
        return Diagnostic::information("run::no-local-cache", message);
    }
    Diagnostic::warning("run::no-local-cache", message)
        .note("steps that are only in this cache run again")
}

impl ServedCaches {
    /// Sets the requested tags to the cache that the solve has written. `response` is the exporters' response.
    pub(super) async fn enter(
        &self,
        response: &BTreeMap<String, String>,
    ) -> Result<(), LayoutError> {
        let Some(descriptor) = response.get("cache.manifest") else {
            return Ok(());
        };
        for export in &self.exports {
            export
                .layout
                .enter(descriptor, &[IndexName::Tag(export.tag.clone())])
                .await?;
            if export.reset {
                let layout = export.layout.clone();
                // A task fails to join only if its runtime ends. Then nothing was removed, which does no harm.
                if let Ok(removed) =
                    tokio::task::spawn_blocking(move || layout.remove_unreached()).await
                {
                    removed?;
                }
            }
        }
        Ok(())
    }
}
