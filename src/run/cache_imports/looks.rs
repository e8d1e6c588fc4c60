//! Looks at each registry cache of a run once, before it is imported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{CacheImports, MEANING};
use crate::diag::Diagnostic;
use crate::engine::spec::{CacheBackend, SolveCache, SolveSpec};
use crate::event::EventKind;
use crate::registry::RawManifest;
use crate::run::merged_caches::{ImageAtImport, ImportLook};
use crate::run::shared_context::SharedContext;
use crate::types::{Digest, ImageRepository};

/// The most time that a build waits for a look. Where only the builder reaches the registry, it costs this time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// The most time for a second look, for which nothing waits.
const INSIDE_TIMEOUT: Duration = Duration::from_secs(20);

/// The looks of a run, by reference.
#[derive(Debug, Default)]
pub(super) struct ImportLooks(Mutex<BTreeMap<String, Arc<OnceCell<ImportLook>>>>);

impl ImportLooks {
    fn of(&self, reference: &str) -> Arc<OnceCell<ImportLook>> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(looks.entry(reference.to_owned()).or_default())
    }
}

impl CacheImports {
    /// Returns `spec` with the further parts of large caches, and without caches that do not exist. Warns of images that have
    /// no cache inside: the builder imports nothing from them, and does not say so.
    pub(in crate::run) async fn with_parts(
        shared: &Arc<SharedContext>,
        mut spec: SolveSpec,
    ) -> SolveSpec {
        let looks = spec.cache_imports.iter().map(|cache| look(shared, cache));
        let looks = futures_util::future::join_all(looks).await;
        expand(&mut spec, looks, shared);
        spec
    }

    /// The same for a solve of which nothing new is to be learned: the caches of `spec` were looked at before.
    pub(in crate::run) fn with_known_parts(
        shared: &SharedContext,
        mut spec: SolveSpec,
    ) -> SolveSpec {
        let known = |cache: &SolveCache| {
            let look = reference(cache).map(|shown| shared.imports.looks.of(&shown));
            look.and_then(|look| look.get().cloned())
                .unwrap_or_default()
        };
        let looks: Vec<_> = spec.cache_imports.iter().map(known).collect();
        expand(&mut spec, looks, shared);
        spec
    }
}

/// Adds further parts to the imports of `spec`, and removes caches that do not exist. `looks` are at these imports.
fn expand(spec: &mut SolveSpec, looks: Vec<ImportLook>, shared: &SharedContext) {
    let imports = std::mem::take(&mut spec.cache_imports);
    for (cache, look) in std::iter::zip(imports, looks) {
        let parts = match &look {
            ImportLook::Cache(cache) => cache.parts.as_slice(),
            ImportLook::Nothing if is_ours(shared, &cache) => {
                shared.imports.tell_of_nothing(&cache, &shared.events);
                continue;
            }
            ImportLook::Image(_) | ImportLook::Unknown | ImportLook::Nothing => &[],
        };
        let parts: Vec<_> = parts
            .iter()
            .filter_map(|part| part_of(&cache, part))
            .collect();
        spec.cache_imports.push(cache);
        spec.cache_imports.extend(parts);
    }
}

/// The reference of `cache` for messages, if it is in a registry.
fn reference(cache: &SolveCache) -> Option<String> {
    let image = cache.image.as_ref();
    let image = image.filter(|_| cache.backend == CacheBackend::Registry);
    image.map(|image| image.reference().familiar())
}

impl CacheImports {
    /// Looks at `caches`, each once, so that targets need not wait for it.
    pub(in crate::run) async fn look_ahead(shared: &Arc<SharedContext>, caches: &[SolveCache]) {
        let looks = caches.iter().map(|cache| look(shared, cache));
        futures_util::future::join_all(looks).await;
    }

    /// The manifest of the cache `reference`, if a target of this run imports it. It was there before the build.
    pub(in crate::run) fn seen(&self, reference: &str) -> Option<RawManifest> {
        match self.looks.of(reference).get() {
            Some(ImportLook::Cache(cache)) => Some(cache.manifest.clone()),
            _ => None,
        }
    }
}

/// Looks at `cache`, if it is in a registry and no other target has done so.
async fn look(shared: &Arc<SharedContext>, cache: &SolveCache) -> ImportLook {
    let Some(shown) = reference(cache) else {
        return ImportLook::Unknown;
    };
    let cell = shared.imports.looks.of(&shown);
    let first = || async {
        let look = ImportLook::at(cache, &shared.registries);
        let look = tokio::time::timeout(LOOK_TIMEOUT, look).await;
        let look = look.unwrap_or_default();
        match (&look, &cache.image) {
            (ImportLook::Image(image), _) => {
                tokio::spawn(warn_of_image(Arc::clone(shared), shown, image.clone()));
            }
            (ImportLook::Cache(found), Some(image)) => {
                // An image can mount them from there.
                let repository = ImageRepository::of(image.reference());
                shared.blobs.note(&repository, &found.layers());
            }
            _ => {}
        }
        look
    };
    cell.get_or_init(first).await.clone()
}

/// Warns if `image`, at which a cache was expected, has none inside.
async fn warn_of_image(shared: Arc<SharedContext>, shown: String, image: Box<ImageAtImport>) {
    let looked = tokio::time::timeout(INSIDE_TIMEOUT, image.has_no_cache()).await;
    if looked != Ok(true) {
        return;
    }
    let message = format!("no cache is imported from `{shown}`: it is an image without a cache");
    let problem = Diagnostic::warning("run::cache-import", message)
        .note(MEANING)
        .help("`cache-to` with `type=inline` puts a cache into an image");
    shared.events.send(EventKind::Notice(problem));
}

/// Whether rbake and the builder see the same registry.
fn is_ours(shared: &SharedContext, cache: &SolveCache) -> bool {
    let repository = cache
        .image
        .as_ref()
        .map(|image| ImageRepository::of(image.reference()));
    repository.is_some_and(|repository| shared.uploader.sends_to(&repository))
}

/// The import of a further part of `cache`.
fn part_of(cache: &SolveCache, part: &Digest) -> Option<SolveCache> {
    let image = cache.image.as_ref()?;
    let name = format!("{}@{part}", image.reference().repository());
    Some(SolveCache {
        image: Some(name.parse().ok()?),
        ..cache.clone()
    })
}
