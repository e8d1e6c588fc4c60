//! What users read about exports of caches.

use super::config::CannotSplit;
use super::place::PlaceError;
use super::{SharedCache, ignores_errors, objects};
use crate::diag::{Class, Diagnostic};
use crate::golang::strconv;
use crate::outcome::SolveFailure;
use crate::run::shared_context::SharedContext;
use crate::run::{phrase, refusal, storage};
use crate::types::causes::in_one_line;
use crate::types::secret::redact_urls;

/// The attribute that says whether a cache is an image, or an index of layers.
const IMAGE_MANIFEST: &str = "image-manifest";

/// The problem of an export that failed. It is a warning if all targets ignore errors of the export.
pub(super) fn failed(
    cache: &SharedCache,
    names: &str,
    failure: SolveFailure,
    shared: &SharedContext,
) -> Diagnostic {
    let failure = explained(cache, failure, shared);
    let problem = of_export(cache, names, &failure);
    let problem = with_form_help(problem, cache, &failure);
    with_help(problem, failure).note("the results of the targets are not affected")
}

/// The problem of an export that the builder refuses before the build.
pub(super) fn refused(
    cache: &SharedCache,
    failure: SolveFailure,
    shared: &SharedContext,
) -> Diagnostic {
    let failure = explained(cache, failure, shared);
    let names = phrase::names(cache.targets.iter());
    with_help(of_export(cache, &names, &failure), failure)
}

fn of_export(cache: &SharedCache, names: &str, failure: &SolveFailure) -> Diagnostic {
    let message = format!(
        "cannot export the cache of {names} to {}: {}",
        cache.place(),
        failure.message
    );
    if ignores_errors(&cache.cache) {
        Diagnostic::warning("run::cache-export", message)
    } else {
        Diagnostic::error(Class::Build, "run::cache-export", message)
    }
}

/// `failure` with what the user can do.
fn explained(cache: &SharedCache, failure: SolveFailure, shared: &SharedContext) -> SolveFailure {
    if let Some(store) = objects::store(&cache.cache) {
        return storage::explained(store, failure, &shared.setting.aws);
    }
    let mut failure = shared.with_help(failure);
    refusal::explain(&mut failure, &shared.credentials.origins());
    failure
}

/// What distribution v3 answers to the index of a cache, whose entries are layers and not manifests: the answer, or the
/// status, which is all that daemons before v0.21 report.
const NOT_A_MANIFEST: [&str; 2] = ["blob unknown to registry", "400 Bad Request"];

/// Adds help if the registry refuses the form of the cache. It is an index with `image-manifest=false`, which is the
/// default of daemons before v0.21.
fn with_form_help(problem: Diagnostic, cache: &SharedCache, failure: &SolveFailure) -> Diagnostic {
    if !NOT_A_MANIFEST
        .iter()
        .any(|text| failure.message.contains(text))
    {
        return problem;
    }
    let form = cache.cache.extra.get(IMAGE_MANIFEST);
    match form.and_then(|value| strconv::parse_bool(value)) {
        Some(true) => problem,
        Some(false) => problem.help(
            "this registry does not accept caches with `image-manifest=false`: remove this attribute",
        ),
        None => problem.help(
            "BuildKit before v0.21 writes caches in a form that some registries refuse: add `image-manifest=true,oci-mediatypes=true` to `cache-to`",
        ),
    }
}

/// The note that the steps of a failed build were not exported. That is never why a run fails.
pub(super) fn not_salvaged(
    cache: &SharedCache,
    names: &str,
    failure: SolveFailure,
    shared: &SharedContext,
) -> Diagnostic {
    let failure = explained(cache, failure, shared);
    let message = format!(
        "the finished steps of {names} were not exported to {}: {}",
        cache.place(),
        failure.message
    );
    with_help(
        Diagnostic::information("run::cache-salvage", message),
        failure,
    )
}

/// The note that a cache was left as it is.
pub(super) fn kept(cache: &SharedCache, names: &str, reason: Option<&PlaceError>) -> Diagnostic {
    let message = format!(
        "the cache at {} was not replaced by the finished steps of {names}",
        cache.place()
    );
    let note = "the builder stopped before it had looked at all steps, and this cache may hold some of them";
    let problem = Diagnostic::information("run::cache-salvage", message).note(note);
    match reason {
        Some(reason) => problem.note(format!(
            "rbake could not read the cache to keep them: {}",
            redact_urls(&in_one_line(reason))
        )),
        None => problem.note("rbake cannot read a cache of this kind to keep them"),
    }
}

/// The warning that a cache was written, but not completed.
pub(super) fn incomplete(cache: &SharedCache, error: &PlaceError) -> Diagnostic {
    let message = format!(
        "the cache at {} holds only the steps of this run: {}",
        cache.place(),
        redact_urls(&in_one_line(error))
    );
    Diagnostic::warning("run::cache-salvage", message)
        .note("steps that only the previous cache had run again")
}

/// The warning that a cache was written, but that builders will not import it.
pub(super) fn too_large(cache: &SharedCache, names: &str, reason: &CannotSplit) -> Diagnostic {
    let message = format!(
        "the cache of {names} at {} is too large to be imported: {reason}",
        cache.place()
    );
    Diagnostic::warning("run::cache-size", message)
        .note("a builder ignores a cache whose list of steps has more than 1 MiB, and rbake cannot split this one")
        .help("export less: `mode=min`, fewer targets to one place, or stages with fewer steps")
}

/// The note that an export was stopped, so that nobody expects the cache.
pub(super) fn interrupted(cache: &SharedCache, names: &str) -> Diagnostic {
    let message = format!(
        "the cache of {names} was not exported to {}: interrupted",
        cache.place()
    );
    Diagnostic::warning("run::cache-export", message)
}

fn with_help(problem: Diagnostic, failure: SolveFailure) -> Diagnostic {
    let help = failure.help.into_iter();
    help.fold(problem, Diagnostic::help)
}
