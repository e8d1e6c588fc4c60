//! Makes layers of the run's images part of the repository of a cache, before the builder exports the cache there.
//!
//! The builder would send each layer again, although the registry has it in the repository of an image: its cache exporter
//! does not mount layers from other repositories.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::SharedCache;
use super::content;
use super::place::CachePlace;
use crate::registry::RemoteRepository;
use crate::run::shared_context::SharedContext;
use crate::types::{Digest, ImageRepository};

/// The layers that are mounted at the same time.
const AT_ONCE: usize = 8;
/// The most layers that are mounted for one cache.
const LIMIT: usize = 512;

/// Mounts the layers that the run has pushed, and that `cache` does not have yet: one request for each, and one to read the
/// cache. Failures do not matter: then the builder sends the layers.
pub(super) async fn mount_layers(cache: &SharedCache, shared: &SharedContext) {
    // The cache would have these layers in another form.
    if cache.cache.extra.contains_key("compression") {
        return;
    }
    let Some(place) = CachePlace::in_registry(&cache.cache, &shared.registries) else {
        return;
    };
    let CachePlace::Registry { repository, .. } = &place else {
        return;
    };
    let to = repository.name().clone();
    let mut pushed = shared.blobs.at(to.domain());
    pushed.retain(|from, layers| *from != to && !layers.is_empty());
    if pushed.is_empty() {
        return;
    }
    let there = place.manifest().await.ok().flatten();
    let mut seen = there.map_or_else(BTreeSet::new, |manifest| content::layers_of(&manifest));
    let mut mounts: Vec<(ImageRepository, Digest)> = Vec::new();
    for (from, layers) in pushed {
        for layer in layers {
            if seen.insert(layer.clone()) {
                mounts.push((from.clone(), layer));
            }
        }
    }
    mounts.truncate(LIMIT);
    let count = mounts.len();
    let mounted = mount(repository, mounts).await;
    tracing::debug!(cache = %cache.place(), layers = count, mounted, "layers mounted for a cache");
}

/// Mounts each layer from its repository, until the registry does not. Returns how many it mounted.
async fn mount(repository: &RemoteRepository, mounts: Vec<(ImageRepository, Digest)>) -> usize {
    let answers = stream::iter(mounts).map(|(from, layer)| async move {
        let mounted = repository.mount_blob(&layer, &from).await;
        matches!(mounted, Ok(true))
    });
    let mounted = answers
        .buffer_unordered(AT_ONCE)
        .take_while(|mounted| std::future::ready(*mounted));
    mounted.count().await
}
