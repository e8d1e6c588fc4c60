//! Caches in S3 and in Azure Blob Storage, which may have several names.
//!
//! The daemon writes all names of an entry. Two targets may share some of their names only, as in `name=main;a` and `name=main;b`, so
//! each name is a place of its own. Names that hold the same are exported by one job, which writes each layer once.

use std::collections::BTreeSet;

use super::{IGNORE_ERROR, MODE, SharedCache, form};
use crate::definition::model::{ObjectCache, ObjectStore};
use crate::engine::spec::{CacheBackend, SolveCache};
use crate::outcome::SolveFailure;

/// The attribute with the names.
const NAME: &str = "name";

/// The storage of `cache`. `None` if it is not stored as objects.
pub(super) const fn store(cache: &SolveCache) -> Option<ObjectStore> {
    match cache.backend {
        CacheBackend::S3 => Some(ObjectStore::S3),
        CacheBackend::Azblob => Some(ObjectStore::AzBlob),
        _ => None,
    }
}

/// The place of `cache`. `None` if it is not stored as objects.
pub(super) fn of(cache: &SolveCache) -> Option<ObjectCache> {
    let attr = |key: &str| cache.extra.get(key).map(String::as_str);
    store(cache).map(|store| ObjectCache::of(store, attr))
}

/// The storage of `cache`, which is imported, and its place for messages. `None` if it is not stored as objects.
pub(in crate::run) fn import_place(cache: &SolveCache) -> Option<(ObjectStore, String)> {
    let (store, objects) = store(cache).zip(of(cache))?;
    let place = match store {
        // The daemon imports the first name only.
        ObjectStore::S3 => objects.each_shown().next()?,
        ObjectStore::AzBlob => objects.shown(),
    };
    Some((store, place))
}

/// Whether an export failed because another one created the container first. The daemon looks whether there is one, and then creates
/// it (`createContainerClient` in `cache/remotecache/azblob`), before it exports anything.
pub(super) fn is_created_meanwhile(failure: &SolveFailure) -> bool {
    failure.message.contains("ContainerAlreadyExists")
}

/// `cache`, once for each of its names.
pub(super) fn by_name(cache: &SolveCache) -> Vec<SolveCache> {
    let Some(objects) = of(cache) else {
        return vec![cache.clone()];
    };
    let with_name = |name: &String| {
        let mut cache = cache.clone();
        cache.extra.insert(NAME.to_owned(), name.clone());
        cache
    };
    objects.names().iter().map(with_name).collect()
}

/// `caches` with one cache for all names that hold the same targets in the same form.
///
/// A name that is exported in several forms stays alone, because these exports must come one after the other.
pub(super) fn joined_names(caches: Vec<SharedCache>) -> Vec<SharedCache> {
    let mut seen = BTreeSet::new();
    let written = caches.iter().filter_map(|cache| of(&cache.cache));
    let written = written.flat_map(|cache| cache.objects());
    let twice: BTreeSet<String> = written
        .filter(|object| !seen.insert(object.clone()))
        .collect();
    let is_alone = |cache: &SharedCache| {
        of(&cache.cache).is_none_or(|cache| cache.objects().iter().any(|o| twice.contains(o)))
    };
    let mut joined: Vec<SharedCache> = Vec::new();
    for cache in caches {
        let known = joined
            .iter_mut()
            .find(|known| !is_alone(known) && !is_alone(&cache) && holds_the_same(known, &cache));
        match known {
            Some(known) => {
                let more = cache.cache.extra.get(NAME).cloned().unwrap_or_default();
                let names = known.cache.extra.entry(NAME.to_owned()).or_default();
                *names = format!("{names};{more}");
            }
            None => joined.push(cache),
        }
    }
    joined
}

/// Whether two caches differ only in their names.
fn holds_the_same(one: &SharedCache, other: &SharedCache) -> bool {
    let form_of = |cache: &SharedCache| {
        let mut form = form(&cache.cache);
        form.retain(|key, _| *key != NAME);
        let form: Vec<(String, String)> = form
            .into_iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        form
    };
    let [mode, ignored] = [MODE, IGNORE_ERROR].map(|key| {
        let (one, other) = (one.cache.extra.get(key), other.cache.extra.get(key));
        one == other
    });
    one.cache.backend == other.cache.backend
        && one.targets == other.targets
        && one.cache.credentials == other.cache.credentials
        && mode
        && ignored
        && form_of(one) == form_of(other)
}
