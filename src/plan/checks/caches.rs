//! Checks for caches that would be overwritten by an image with the same name, or by the cache of another target.

use std::collections::{BTreeMap, BTreeSet};

use super::{problem, references};
use crate::definition::model::{CacheEntry, CacheKind, ObjectCache, ObjectStore};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::golang::path;
use crate::plan::model::{Plan, PlannedTarget};
use crate::types::{ImageName, TargetName};

/// Warns about caches of `plan` that would be overwritten.
pub(super) fn check(plan: &Plan, problems: &mut Diagnostics) {
    let pushed = pushed_names(plan);
    for target in plan.targets.values() {
        for (cache, image) in exported(target) {
            image_of_that_name(target, (cache, image), &pushed, problems);
        }
    }
    shared(plan, problems);
}

/// The caches that `target` exports, each with its image if it is in a registry.
fn exported(
    target: &PlannedTarget,
) -> impl Iterator<Item = (&Spanned<CacheEntry>, Option<&ImageName>)> {
    let images = target.build().cache_to.iter().map(Option::as_ref);
    target.attributes.cache_to.iter().zip(images)
}

/// The names that images are pushed to, each with the targets that push it.
fn pushed_names(plan: &Plan) -> BTreeMap<String, BTreeSet<&TargetName>> {
    let mut names: BTreeMap<String, BTreeSet<&TargetName>> = BTreeMap::new();
    for target in plan
        .targets
        .values()
        .filter(|target| references::pushes(target))
    {
        for name in target.build().images.all() {
            if let Some(name) = references::tagged(name) {
                names.entry(name).or_default().insert(&target.name);
            }
        }
    }
    names
}

/// Reports a cache and an image with the same name, because each overwrites the other.
fn image_of_that_name(
    target: &PlannedTarget,
    (cache, image): (&Spanned<CacheEntry>, Option<&ImageName>),
    pushed: &BTreeMap<String, BTreeSet<&TargetName>>,
    problems: &mut Diagnostics,
) {
    let Some(name) = image.and_then(references::tagged) else {
        return;
    };
    let owner = match pushed.get(&name) {
        Some(owners) if owners.contains(&target.name) => "its own image".to_owned(),
        Some(owners) => match owners.first() {
            Some(owner) => format!("the image of target `{owner}`"),
            None => return,
        },
        None => return,
    };
    let message = format!(
        "the cache is exported to `{name}`, and {owner} is pushed to the same name; one would overwrite the other"
    );
    problems.push(
        problem("plan::cache-overwrites-image", target, cache.span, message)
            .help("give the cache a tag of its own, such as `:buildcache`"),
    );
}

/// A place that a cache is exported to. Two exports to one place overwrite each other.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// For messages.
    shown: String,
    /// What identifies it, beside the text for messages.
    object: Option<String>,
}

impl From<String> for Place {
    fn from(shown: String) -> Self {
        Self {
            shown,
            object: None,
        }
    }
}

/// The places that a cache is exported to. Empty if that is unknown.
fn places(cache: &CacheEntry, image: Option<&ImageName>) -> Vec<Place> {
    let place = match cache.kind {
        CacheKind::Registry => image.and_then(references::tagged),
        CacheKind::Gha => {
            let scope = cache.attr("scope").unwrap_or("buildkit");
            Some(format!("scope `{scope}` of GitHub's cache"))
        }
        CacheKind::Local => cache.attr("dest").map(|dest| {
            let tag = cache.attr("tag").unwrap_or("latest");
            format!("directory `{}`, tag `{tag}`", path::clean(dest))
        }),
        CacheKind::S3 | CacheKind::AzBlob => return objects(cache),
        CacheKind::Inline | CacheKind::Other(_) => None,
    };
    place.map(Place::from).into_iter().collect()
}

/// The objects that a cache is exported to, one for each of its names.
fn objects(cache: &CacheEntry) -> Vec<Place> {
    let Some(store) = ObjectStore::of(&cache.kind) else {
        return Vec::new();
    };
    let cache = ObjectCache::of(store, |key| cache.attr(key));
    let objects = cache.objects().into_iter().zip(cache.each_shown());
    let place = |(object, shown)| Place {
        shown: format!("`{shown}`"),
        object: Some(object),
    };
    objects.map(place).collect()
}

/// The attributes that must be equal for one export to hold the caches of two targets; see `run::merged_caches`.
fn form(cache: &CacheEntry) -> BTreeMap<&str, &str> {
    let store = ObjectStore::of(&cache.kind);
    let merges = |key: &str, value: &str| {
        ["mode", "ignore-error", "ref", "dest"].contains(&key)
            || store.is_some_and(|store| key == "name" || store.is_default(key, value))
    };
    let attrs = cache.attrs.iter().map(|(key, value)| (&**key, &**value));
    attrs.filter(|(key, value)| !merges(key, value)).collect()
}

/// Reports targets that export a cache to the same place in different forms, so that their caches cannot be merged:
/// only the cache of the target that finishes last remains.
fn shared(plan: &Plan, problems: &mut Diagnostics) {
    let mut users: BTreeMap<Place, Vec<(&PlannedTarget, &Spanned<CacheEntry>)>> = BTreeMap::new();
    for target in plan.targets.values() {
        for (cache, image) in exported(target) {
            for place in places(&cache.value, image) {
                let users = users.entry(place).or_default();
                if users.iter().all(|(user, _)| user.name != target.name) {
                    users.push((target, cache));
                }
            }
        }
    }
    let differ = |users: &[(&PlannedTarget, &Spanned<CacheEntry>)]| {
        let mut forms = users.iter().map(|(_, cache)| form(&cache.value));
        let first = forms.next();
        forms.any(|form| Some(form) != first)
    };
    for (place, users) in users.into_iter().filter(|(_, users)| differ(users)) {
        let names: Vec<String> = users
            .iter()
            .map(|(target, _)| format!("`{}`", target.name))
            .collect();
        let mut warning = Diagnostic::warning(
            "plan::shared-cache",
            format!(
                "targets {} export their caches to the same place, {}",
                names.join(", "),
                place.shown
            ),
        )
        .note("their attributes differ, so rbake cannot write one cache for all of them: each export replaces the one before it")
        .help("give them equal attributes (`mode` may differ), or give each target a cache of its own and import all of them");
        let mut spans: Vec<_> = users.iter().filter_map(|(_, cache)| cache.span).collect();
        spans.dedup();
        for span in spans {
            warning = warning.at(span, "");
        }
        problems.push(warning);
    }
}
