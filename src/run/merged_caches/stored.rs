//! What is recorded at a cache in a registry: whose it is, and which images it holds.
//!
//! A cache that holds the images of this run already is not exported again. The steps that made these images were found in
//! caches, so nothing new would be in it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::place::{CachePlace, PlaceError};
use super::{SharedCache, form};
use crate::engine::Engine;
use crate::outcome::Solved;
use crate::publish::compare::{CREATED, annotation};
use crate::registry::RawManifest;
use crate::run::shared_context::SharedContext;
use crate::types::{Clock, Digest, Environment, TargetName};

/// The annotation with what the cache holds.
const IMAGES: &str = "vnd.rbake.cache.images";
const BRANCH: &str = "vnd.rbake.cache.branch";
const PULL_REQUEST: &str = "vnd.rbake.cache.pull-request";
const TARGETS: &str = "vnd.rbake.cache.target";

/// A cache in a registry, and what this run would store there.
pub(super) struct StoredCache {
    place: CachePlace,
    /// Its reference.
    shown: String,
    /// What the cache will hold. `None` if a target makes no image, so that this is not known.
    images: Option<String>,
    /// What is there before the export.
    there: OnceCell<Result<Option<RawManifest>, PlaceError>>,
}

impl StoredCache {
    /// The place of `cache`, which will hold `targets`. `None` if it is not in a registry.
    pub(super) async fn of(
        cache: &SharedCache,
        targets: &[(&TargetName, &Solved)],
        shared: &SharedContext,
    ) -> Option<Self> {
        Some(Self {
            place: CachePlace::in_registry(&cache.cache, &shared.registries)?,
            shown: cache.place_plainly(),
            images: images(cache, targets, &shared.engine).await,
            there: OnceCell::new(),
        })
    }

    /// Whether the cache holds the images of this run already. If the registry cannot be asked, it does not.
    pub(super) async fn is_current(&self, shared: &SharedContext) -> bool {
        let Some(images) = &self.images else {
            return false;
        };
        let there = self.there(shared).await;
        let there = there.as_ref().ok().and_then(Option::as_ref);
        there.is_some_and(|there| annotation(there.bytes(), IMAGES).as_ref() == Some(images))
    }

    /// What is at the place of the cache: at most one request.
    ///
    /// If another run has written the cache since a target of this one imported it, that run was the last one.
    pub(super) async fn there(
        &self,
        shared: &SharedContext,
    ) -> &Result<Option<RawManifest>, PlaceError> {
        let look = || async {
            match shared.imports.seen(&self.shown) {
                Some(manifest) => Ok(Some(manifest)),
                None => self.place.manifest().await,
            }
        };
        self.there.get_or_init(look).await
    }

    /// The repository of the cache.
    pub(super) const fn place(&self) -> &CachePlace {
        &self.place
    }

    /// The annotations of the cache. Only one that holds all its targets names its images.
    pub(super) fn facts(&self, owner: &CacheFacts, is_whole: bool) -> Vec<(&'static str, String)> {
        let mut facts = owner.facts.clone();
        if let Some(images) = self.images.clone().filter(|_| is_whole) {
            facts.insert(IMAGES, images);
        }
        facts.into_iter().collect()
    }
}

/// Whose a cache is.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheFacts {
    facts: BTreeMap<&'static str, String>,
}

impl CacheFacts {
    /// The owner of a cache of `targets`, by the variables that CI systems set.
    pub(super) fn of(targets: &[TargetName], environment: &Environment, clock: &Clock) -> Self {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| environment.non_empty(name));
            values.next().map(ToOwned::to_owned)
        };
        let pull = environment.non_empty("GITHUB_REF").and_then(|name| {
            let number = name.strip_prefix("refs/pull/")?.split('/').next()?;
            Some(number.to_owned())
        });
        let pull = pull.or_else(|| first(&["CI_MERGE_REQUEST_IID"]));
        let branch = first(&["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME"]);
        let targets: Vec<&str> = targets.iter().map(TargetName::as_str).collect();
        let now = Timestamp::try_from(clock.now()).unwrap_or_default();
        // Pull requests are ordered by it, and several may be built within a second.
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or_default();
        let mut facts = BTreeMap::from([(TARGETS, targets.join(",")), (CREATED, now.to_string())]);
        facts.extend(branch.map(|branch| (BRANCH, branch)));
        facts.extend(pull.map(|pull| (PULL_REQUEST, pull)));
        Self { facts }
    }
}

/// Identifies what a cache holds: the images of the targets, and the form of the export.
async fn images(
    cache: &SharedCache,
    targets: &[(&TargetName, &Solved)],
    engine: &Engine,
) -> Option<String> {
    let mut text = String::new();
    for (key, value) in form(&cache.cache) {
        text.push_str(&format_pair(key, value));
    }
    let mode = cache.cache.extra.get(super::MODE);
    text.push_str(&format_pair(super::MODE, mode.map_or("", String::as_str)));
    for (name, solved) in targets {
        let manifests = engine.image_manifests(solved.made.as_ref()?).await?;
        let manifests: Vec<&str> = manifests.iter().map(Digest::as_str).collect();
        text.push_str(&format_pair(name.as_str(), &manifests.join(",")));
    }
    Some(Digest::sha256(text.as_bytes()).to_string())
}

/// One line, in which neither text can contain its end.
fn format_pair(key: &str, value: &str) -> String {
    format!("{key:?}={value:?}\n")
}
