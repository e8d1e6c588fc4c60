//! Reports caches that could not be imported.
//!
//! BuildKit does not fail a build whose cache cannot be read, and shows only a failed vertex. The user learns here,
//! once for each cache of a run, why there was none and what that means.

mod looks;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use looks::ImportLooks;

use super::merged_caches::import_place;
use super::shared_context::SharedContext;
use super::{refusal, storage};
use crate::definition::model::ObjectStore;
use crate::diag::Diagnostic;
use crate::engine::spec::{CacheBackend, SolveCache};
use crate::event::{EventKind, EventSink, Vertex};
use crate::outcome::{FailureKind, SolveFailure};
use crate::types::Reference;
use crate::types::secret::redact_urls;

/// How BuildKit calls the vertex that reads the manifest of a cache (`solver/llbsolver/bridge.go`). The name of the
/// cache follows.
const VERTEX: &str = "importing cache manifest from ";

/// What BuildKit puts before the reason (`cache/remotecache/*`). The kind of cache is between the two texts.
const PREFIX: (&str, &str) = ("failed to configure ", " cache importer: ");

/// BuildKit sends no code for an interruption, only Go's message.
const CANCELLED: &str = "context canceled";

/// What BuildKit says of a cache that does not exist, after its name.
const NOT_FOUND: &str = "not found";

/// How BuildKit calls a cache of `type=inline`, which no daemon imports. `run::attributes` has said so.
const INLINE: &str = "inline:";

/// The scope of GitHub's cache if none is named.
const DEFAULT_SCOPE: &str = "buildkit";

/// What BuildKit says of a configuration that it does not read because of its size (`cache/remotecache/import.go`).
const TOO_LARGE: &str = " is too large (";

/// What it means that a cache is not imported.
const MEANING: &str = "steps that are only in this cache run again";

/// What is known of the caches that a run imports.
#[derive(Debug, Default)]
pub(super) struct CacheImports {
    /// Those that were reported.
    told: Mutex<BTreeSet<String>>,
    looks: ImportLooks,
}

impl CacheImports {
    /// Returns a sink that passes events on to `events`, and adds a notice for each cache that is not imported.
    pub(super) fn watch(
        shared: &Arc<SharedContext>,
        imports: &[SolveCache],
        events: &EventSink,
    ) -> EventSink {
        let (shared, notices) = (Arc::clone(shared), events.clone());
        let hashed = HashedImports::of(imports);
        events.map(move |kind| {
            if let EventKind::Progress { update, .. } = &kind {
                for vertex in &update.vertices {
                    let Some((cache, reason)) = failed(vertex) else {
                        continue;
                    };
                    if is_inline(cache) {
                        continue;
                    }
                    let place = hashed.place(cache);
                    if shared.imports.is_new(place.as_deref().unwrap_or(cache)) {
                        let notice = match (hashed.store(cache), place) {
                            (Some(store), Some(place)) => {
                                notice_of_objects(&place, reason, store, &shared)
                            }
                            (None, Some(place)) => notice(&place, reason, &shared),
                            (_, None) => match without_name(cache, reason) {
                                NOT_FOUND => none_yet(cache),
                                reason => notice(&format!("`{cache}`"), reason, &shared),
                            },
                        };
                        notices.send(EventKind::Notice(notice));
                    }
                }
            }
            kind
        })
    }

    /// Reports that there is nothing at the place of `cache`, which is not imported.
    fn tell_of_nothing(&self, cache: &SolveCache, events: &EventSink) {
        if let Some(image) = &cache.image
            && self.is_new(image.as_str())
        {
            events.send(EventKind::Notice(none_yet(image.as_str())));
        }
    }

    /// Whether `cache` was not reported before.
    fn is_new(&self, cache: &str) -> bool {
        let mut known = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(cache.to_owned())
    }
}

/// The imports of a target that are not in registries. The daemon calls them by their type and a hash of their attributes.
struct HashedImports(Vec<HashedImport>);

struct HashedImport {
    /// The type and a colon, with which the daemon's name for it begins.
    prefix: String,
    /// The place for messages.
    place: String,
    /// Where its objects are stored, if it has some.
    store: Option<ObjectStore>,
}

impl HashedImports {
    fn of(imports: &[SolveCache]) -> Self {
        let found = imports.iter().filter_map(|cache| {
            let kind = cache.backend.name();
            let attribute = |key: &str| cache.extra.get(key).map(String::as_str);
            let (store, place) = match (import_place(cache), &cache.backend) {
                (Some((store, place)), _) => (Some(store), format!("`{place}`")),
                (None, CacheBackend::Gha) => {
                    let scope = attribute("scope").unwrap_or(DEFAULT_SCOPE);
                    (None, format!("scope `{scope}` of GitHub's cache"))
                }
                (None, CacheBackend::Local) => (None, format!("`{}`", attribute("src")?)),
                _ => return None,
            };
            Some(HashedImport {
                prefix: format!("{kind}:"),
                place,
                store,
            })
        });
        Self(found.collect())
    }

    /// Those that the daemon may call `cache`.
    fn named<'s>(&'s self, cache: &'s str) -> impl Iterator<Item = &'s HashedImport> {
        // A hash is a number, and a registry's name may begin like this.
        let is_hash = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let named = self.0.iter();
        named.filter(move |import| {
            let hash = cache.strip_prefix(import.prefix.as_str());
            hash.is_some_and(is_hash)
        })
    }

    fn store(&self, cache: &str) -> Option<ObjectStore> {
        self.named(cache).find_map(|import| import.store)
    }

    /// The place of `cache` for messages. If there are several of its type, all of them.
    fn place(&self, cache: &str) -> Option<String> {
        let mut places: Vec<&str> = self
            .named(cache)
            .map(|import| import.place.as_str())
            .collect();
        places.dedup();
        (!places.is_empty()).then(|| places.join(" or "))
    }
}

/// Whether the daemon's name `cache` is that of an import with `type=inline`.
fn is_inline(cache: &str) -> bool {
    let hash = cache.strip_prefix(INLINE);
    hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The cache that `vertex` failed to import, and the reason. `None` for all other vertices.
fn failed(vertex: &Vertex) -> Option<(&str, &str)> {
    let cache = vertex.name.strip_prefix(VERTEX)?;
    if vertex.error.is_empty() || vertex.error.contains(CANCELLED) {
        return None;
    }
    let reason = vertex.error.strip_prefix(PREFIX.0);
    let reason = reason.and_then(|rest| rest.split_once(PREFIX.1));
    Some((
        cache,
        reason.map_or(vertex.error.as_str(), |(_, reason)| reason),
    ))
}

/// `reason` without the name of `cache` at its beginning. BuildKit writes the name in full, `cache` may be as the user wrote it.
fn without_name<'r>(cache: &str, reason: &'r str) -> &'r str {
    let full = |text: &str| {
        let reference: Reference = text.parse().ok()?;
        let tag = reference.tag_or_latest().map(str::to_owned);
        Some((reference.repository(), tag, reference.digest().cloned()))
    };
    match reason.split_once(": ") {
        Some((name, rest))
            if name == cache || (full(name).is_some() && full(name) == full(cache)) =>
        {
            rest
        }
        _ => reason,
    }
}

/// The warning that the cache at `place` is not imported. `place` is in backquotes, as far as it is literal.
fn notice(place: &str, reason: &str, shared: &SharedContext) -> Diagnostic {
    let failure = SolveFailure::new(FailureKind::Build, redact_urls(reason));
    let mut failure = shared.with_help(failure);
    refusal::explain(&mut failure, &shared.credentials.origins());
    let message = format!("no cache is imported from {place}: {}", failure.message);
    let mut problem = Diagnostic::warning("run::cache-import", message).note(MEANING);
    if failure.message.contains(TOO_LARGE) {
        problem = problem
            .note("the builder reads at most 1 MiB for the list of all steps in a cache")
            .help("let rbake export the cache: it splits a large one into parts");
    }
    let help = failure.help.into_iter();
    help.fold(problem, Diagnostic::help)
}

fn notice_of_objects(
    place: &str,
    reason: &str,
    store: ObjectStore,
    shared: &SharedContext,
) -> Diagnostic {
    let failure = SolveFailure::new(FailureKind::Build, reason);
    let failure = storage::explained(store, failure, &shared.setting.aws);
    let message = format!("no cache is imported from {place}: {}", failure.message);
    let problem = Diagnostic::warning("run::cache-import", message).note(MEANING);
    let help = failure.help.into_iter();
    help.fold(problem, Diagnostic::help)
}

fn none_yet(cache: &str) -> Diagnostic {
    let message = format!("there is no cache at `{cache}` yet");
    Diagnostic::information("run::no-cache", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Digest;
    use test_case::test_case;

    fn vertex(name: &str, error: &str) -> Vertex {
        Vertex {
            digest: Digest::sha256(b"v"),
            inputs: Vec::new(),
            name: name.to_owned(),
            cached: false,
            started: None,
            completed: None,
            error: error.to_owned(),
            group: None,
        }
    }

    #[test_case("importing cache manifest from r/c:x", "failed to configure registry cache importer: r/c:x: not found", Some(("r/c:x", "r/c:x: not found")); "a cache that does not exist")]
    #[test_case("importing cache manifest from gha:1", "failed to configure gha cache importer: 401", Some(("gha:1", "401")); "another kind of cache")]
    #[test_case("importing cache manifest from r/c", "strange", Some(("r/c", "strange")); "another text")]
    #[test_case("importing cache manifest from r/c", "", None; "a cache that was imported")]
    #[test_case("importing cache manifest from r/c", "x: context canceled", None; "an interrupted import")]
    #[test_case("[1/2] RUN make", "exit code: 1", None; "a step")]
    fn failed_imports_are_found(name: &str, error: &str, expected: Option<(&str, &str)>) {
        assert_eq!(failed(&vertex(name, error)), expected);
    }

    #[test_case("user/app", "docker.io/user/app:latest: not found", "not found"; "a short name")]
    #[test_case("redis:x", "docker.io/library/redis:x: not found", "not found"; "a name of Docker Hub")]
    #[test_case("r:5000/c:x", "r:5000/c:x: not found", "not found"; "a full name")]
    #[test_case("user/app", "docker.io/user/other:latest: not found", "docker.io/user/other:latest: not found"; "another name")]
    #[test_case("user/app", "denied: no", "denied: no"; "no name")]
    fn a_reason_has_no_name(cache: &str, reason: &str, expected: &str) {
        assert_eq!(without_name(cache, reason), expected);
    }

    #[test]
    fn places_are_in_words_of_the_user() {
        let import = |backend, attribute: (&str, &str)| SolveCache {
            backend,
            image: None,
            extra: [(attribute.0.to_owned(), attribute.1.to_owned())].into(),
            credentials: std::collections::BTreeMap::new(),
        };
        let imports = HashedImports::of(&[
            import(CacheBackend::Gha, ("scope", "x")),
            import(CacheBackend::Local, ("src", "/c")),
            import(CacheBackend::Inline, ("a", "b")),
        ]);
        let place = |name: &str| imports.place(name);
        assert_eq!(
            place("gha:16597878192184641907").unwrap(),
            "scope `x` of GitHub's cache"
        );
        assert_eq!(place("local:1659").unwrap(), "`/c`");
        assert_eq!(place("gha:5000/c"), None);
        assert!(is_inline("inline:10531033219955318655") && !is_inline("inline:5000/c"));
    }

    #[test]
    fn each_cache_is_reported_once() {
        let imports = CacheImports::default();
        assert!(imports.is_new("a") && imports.is_new("b") && !imports.is_new("a"));
    }
}
