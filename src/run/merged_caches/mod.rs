//! Caches that rbake exports itself, after the targets: all but inline ones, also of builds that failed.
//!
//! buildx lets each target export its own cache. If several of them export to one place, the last one replaces the
//! others, and a build that fails exports nothing. [`take`] finds the caches, [`export()`] writes them with
//! [`job`], and [`content`] completes them.

mod config;
mod content;
mod export;
mod groups;
mod job;
mod local;
mod look;
mod messages;
mod mounts;
mod objects;
mod place;
mod preflight;
mod sent;
mod stored;
mod work;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use export::{CachesExported, NodeExports, export};
pub(super) use job::MANIFEST as CACHE_MANIFEST;
pub(super) use local::further_parts_in;
pub(super) use look::{ImageAtImport, ImportLook};
pub(super) use objects::import_place;
pub(super) use preflight::check as check_exports;
pub(super) use work::CacheSolves;

use super::lower::{LocalCache, LoweredTarget};
use crate::engine::spec::{CacheBackend, SolveCache};
use crate::golang::strconv;
use crate::plan::TargetGraph;
use crate::types::TargetName;
use content::ManifestDescriptor;

/// The attribute that says whether the cache holds the steps of all stages, or only those of the result.
const MODE: &str = "mode";
/// The attribute that keeps a failed export from failing the build.
const IGNORE_ERROR: &str = "ignore-error";

/// A cache that one or several targets export.
#[derive(Debug)]
pub(super) struct SharedCache {
    cache: SolveCache,
    local: Option<LocalCache>,
    targets: Vec<TargetName>,
}

impl SharedCache {
    /// The shared cache of `targets`, of which this is the first.
    fn of(first: &LoweredTarget, cache: &SolveCache) -> Self {
        Self {
            cache: cache.clone(),
            local: local_of(first, cache).cloned(),
            targets: vec![first.spec.target.clone()],
        }
    }

    /// Whether an export of `target` goes to the same place in the same form. The modes may differ.
    fn takes(&self, target: &LoweredTarget, cache: &SolveCache) -> bool {
        let place = |cache: &SolveCache| {
            let reference = cache.image.as_ref()?.reference();
            let tag = reference.tag_or_latest()?.to_owned();
            Some((reference.repository(), tag))
        };
        self.cache.backend == cache.backend
            && place(&self.cache) == place(cache)
            && form(&self.cache) == form(cache)
            && self.cache.credentials == cache.credentials
            && self.local.as_ref() == local_of(target, cache)
    }

    /// Adds a target. The mode `max` takes precedence, and an error is ignored only if every target ignores it.
    fn add(&mut self, target: &TargetName, cache: &SolveCache) {
        if !self.targets.contains(target) {
            self.targets.push(target.clone());
        }
        if let Some(mode) = cache.extra.get(MODE).filter(|mode| *mode == "max") {
            self.cache.extra.insert(MODE.to_owned(), mode.clone());
        }
        if !ignores_errors(cache) {
            self.cache.extra.remove(IGNORE_ERROR);
        }
    }

    /// Where the cache goes, for messages.
    pub(super) fn place(&self) -> String {
        match self.scope() {
            Some(scope) => format!("scope `{scope}` of GitHub's cache"),
            None => format!("`{}`", self.place_plainly()),
        }
    }

    /// The same for a table: a reference, a directory, objects, or `gha:` and the scope.
    fn place_plainly(&self) -> String {
        if let Some(cache) = objects::of(&self.cache) {
            return cache.shown();
        }
        match (&self.cache.image, &self.local) {
            (Some(name), _) => name.reference().familiar(),
            (None, Some(LocalCache::Export { dir, .. } | LocalCache::Import { dir, .. })) => {
                dir.display().to_string()
            }
            (None, None) => format!("gha:{}", self.scope().unwrap_or_default()),
        }
    }

    /// The same once it is written with `manifest`. A cache whose reference has a digest gets no tag, and has the digest of what was
    /// written.
    fn place_written(&self, manifest: Option<&ManifestDescriptor>) -> String {
        let written = manifest.and_then(ManifestDescriptor::digest);
        match (&self.cache.image, written) {
            (Some(name), Some(digest)) if name.reference().has_digest() => {
                format!("{}@{digest}", name.reference().familiar_name())
            }
            _ => self.place_plainly(),
        }
    }

    /// The scope of GitHub's cache, if it goes there.
    fn scope(&self) -> Option<&str> {
        let scope = || {
            self.cache
                .extra
                .get("scope")
                .map_or("buildkit", String::as_str)
        };
        (self.cache.backend == CacheBackend::Gha).then(scope)
    }
}

/// The attributes that must be equal for one export to serve two targets.
fn form(cache: &SolveCache) -> BTreeMap<&String, &String> {
    let store = objects::store(cache);
    let is_default = |key: &str, value: &str| store.is_some_and(|s| s.is_default(key, value));
    let merges = |key: &str| [MODE, IGNORE_ERROR].contains(&key);
    let extra = cache.extra.iter();
    extra
        .filter(|(key, value)| !merges(key) && !is_default(key, value))
        .collect()
}

fn ignores_errors(cache: &SolveCache) -> bool {
    cache
        .extra
        .get(IGNORE_ERROR)
        .and_then(|value| strconv::parse_bool(value))
        == Some(true)
}

/// The directory that `cache` of `target` is exported to, if it is local.
fn local_of<'t>(target: &'t LoweredTarget, cache: &SolveCache) -> Option<&'t LocalCache> {
    let dest = cache.extra.get("dest")?;
    target
        .local_caches
        .iter()
        .find(|local| matches!(local, LocalCache::Export { name, .. } if name == dest))
}

/// Returns the caches that `targets` export, one for each place, and removes them from the solves of the targets: a cache that
/// cannot be written must not fail an image. Inline caches stay.
pub(super) fn take(targets: &mut [LoweredTarget]) -> Vec<SharedCache> {
    let mut caches: Vec<SharedCache> = Vec::new();
    for target in &*targets {
        let exports = target.spec.cache_exports.iter();
        let exports = exports.filter(|cache| merges(cache));
        for cache in exports.flat_map(objects::by_name) {
            match caches.iter_mut().find(|known| known.takes(target, &cache)) {
                Some(known) => known.add(&target.spec.target, &cache),
                None => caches.push(SharedCache::of(target, &cache)),
            }
        }
    }
    for target in targets {
        let (gone, kept): (Vec<_>, Vec<_>) =
            target.spec.cache_exports.iter().cloned().partition(merges);
        let dirs: Vec<LocalCache> = gone
            .iter()
            .filter_map(|cache| local_of(target, cache).cloned())
            .collect();
        target.spec.cache_exports = kept;
        target.local_caches.retain(|local| !dirs.contains(local));
    }
    objects::joined_names(caches)
}

/// Whether a job of its own can export the cache. An inline cache is part of one image.
fn merges(cache: &SolveCache) -> bool {
    matches!(
        cache.backend,
        CacheBackend::Registry
            | CacheBackend::Local
            | CacheBackend::Gha
            | CacheBackend::S3
            | CacheBackend::Azblob
    )
}

/// The targets whose solves are asked for again to export `shared`: those that export a cache, and those behind their links.
pub(super) fn solved_again(shared: &[SharedCache], graph: &TargetGraph) -> BTreeSet<TargetName> {
    let exporting = shared.iter().flat_map(|cache| &cache.targets);
    let needed = |target: &TargetName| {
        let behind = graph.behind(target).into_iter().cloned();
        std::iter::once(target.clone())
            .chain(behind)
            .collect::<Vec<_>>()
    };
    exporting.flat_map(needed).collect()
}

#[cfg(test)]
mod tests;
