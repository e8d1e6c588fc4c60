//! Lowers the targets of a run, and makes the work of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::commits::Commits;
use super::directories::Rehearsed;
use super::gates::SavedFiles;
use super::links;
use super::lower::{self, LoweredTarget};
use super::merged_caches::{self, CacheSolves, SharedCache};
use super::publishing::{
    self, Publication, PublicationRules, PublishWishes, PublishedCommit, TagsWait,
};
use super::shared_context::SharedContext;
use super::target::{TargetRun, TargetWork};
use super::{AfterFailure, Ready, annotations, spread};
use crate::builder::Notice;
use crate::diag::Diagnostics;
use crate::engine::BuildRef;
use crate::engine::spec::SolveCache;
use crate::event::EventKind;
use crate::publish::revision::CommitState;
use crate::publish::settings::{PublishMode, PublishSettings};
use crate::types::TargetName;
use crate::types::blocking::unblock;

/// Lowers the targets of one node on a blocking thread, because it follows the paths of outputs and caches, and a file system
/// may be slow.
pub(super) async fn lowered(
    targets: Vec<Ready>,
    shared: &Arc<SharedContext>,
    commits: &Arc<Commits>,
    rules: &Arc<OwnedRules>,
) -> Result<RunWork, Diagnostics> {
    let notice = Notice::begin(&shared.events, "lower", "look at outputs and caches");
    let (shared, commits, rules) = (Arc::clone(shared), Arc::clone(commits), Arc::clone(rules));
    let count = targets.len();
    let work = unblock(move || work(targets, &shared, &commits, &rules)).await;
    match &work {
        Ok(_) => tracing::debug!(targets = count, "lowering ended"),
        Err(problems) => tracing::warn!(problems = problems.0.len(), "lowering failed"),
    }
    notice.end(None);
    work
}

/// The work of a run on one node.
pub(super) struct RunWork {
    /// The ids of the builds, in the order of the targets. Calls of frontends are not builds.
    pub(super) builds: Vec<(TargetName, BuildRef)>,
    /// The targets, or their parts.
    pub(super) targets: Vec<TargetWork>,
    /// The caches that the targets export.
    pub(super) caches: Vec<SharedCache>,
    /// The solves of the targets that export a cache.
    pub(super) cached: CacheSolves,
    /// What rbake publishes.
    pub(super) publications: BTreeMap<TargetName, Publication>,
    /// The caches that targets import.
    pub(super) imports: Vec<SolveCache>,
    /// The targets whose frontends are asked what they read.
    pub(super) rehearsed: Vec<Rehearsed>,
}

/// How exports are chosen that rbake publishes.
pub(super) struct OwnedRules {
    settings: PublishSettings,
    commit: Option<CommitState>,
    untagged: BTreeSet<TargetName>,
    /// What mutable tags wait for.
    waits: Option<TagsWait>,
    saved: Option<Arc<SavedFiles>>,
}

impl OwnedRules {
    /// The rules of a run that publishes the commit `published`.
    pub(super) fn of(wishes: &PublishWishes, published: &PublishedCommit) -> Self {
        Self {
            settings: wishes.settings.clone(),
            commit: published.state.clone(),
            untagged: wishes.gates.images.clone(),
            waits: waits(wishes),
            saved: wishes.gates.saved.clone(),
        }
    }
}

impl OwnedRules {
    /// What mutable tags wait for.
    pub(super) const fn waits(&self) -> Option<TagsWait> {
        self.waits
    }
}

/// Lowers `targets`, and checks what depends on the Docker Engines.
fn lower_all(
    targets: &[Ready],
    shared: &SharedContext,
    commits: &Commits,
) -> Result<Vec<LoweredTarget>, Diagnostics> {
    let mut lowered = Vec::with_capacity(targets.len());
    let mut problems = Diagnostics::default();
    for ready in targets {
        let vcs = commits.of(&ready.places);
        match lower::lower(&ready.planned, &ready.places, vcs, &shared.setting) {
            Ok(mut target) => {
                // Each node makes an index, also of one platform: the parts of the image's index.
                target.spec.multi_platform |= ready.part.is_some();
                let labels = commits.labels(ready, shared.setting.paths.base());
                target.spec.labels.extend(labels);
                lowered.push(target);
            }
            // What is wrong in the environment is wrong for all targets.
            Err(found) => problems.add_new(found),
        }
    }
    // The parts of a target that several nodes build are put together later, and no Docker Engine builds parts.
    let whole = targets.iter().filter(|ready| ready.part.is_none());
    let whole = whole.map(|ready| &ready.planned);
    let setting = &shared.setting;
    let found = annotations::check_engines(whole, &setting.docker, &setting.environment);
    problems.0.extend(found.0);
    if problems.has_errors() {
        return Err(problems);
    }
    for warning in problems.0 {
        shared.events.send(EventKind::Notice(warning));
    }
    Ok(lowered)
}

/// Lowers all targets before the first one starts, so that problems of all targets are reported before any work.
fn work(
    targets: Vec<Ready>,
    shared: &Arc<SharedContext>,
    commits: &Commits,
    rules: &OwnedRules,
) -> Result<RunWork, Diagnostics> {
    let mut lowered = lower_all(&targets, shared, commits)?;
    let limits = lowered.iter().map(|target| &target.spec.resources);
    let limits = targets.iter().map(|ready| &ready.planned).zip(limits);
    if let Some(notice) = lower::ignored_limits(&shared.setting.daemon, limits) {
        shared.events.send(EventKind::Notice(notice));
    }
    let specs = lowered.iter_mut().map(|target| &mut target.spec);
    links::inherit_entitlements(shared.links.graph(), specs);
    let importers = lowered
        .iter()
        .filter(|target| !target.spec.cache_imports.is_empty());
    let importers = importers.map(|target| target.spec.target.clone()).collect();
    shared.links.expect_imports(importers);
    let mut publications = BTreeMap::new();
    for (target, ready) in lowered.iter_mut().zip(&targets) {
        let rules = PublicationRules {
            settings: &rules.settings,
            commit: rules.commit.as_ref(),
            untagged: &rules.untagged,
        };
        if let Some(publication) = Publication::take(target, ready.part.as_ref(), rules) {
            publications.insert(target.spec.target.clone(), publication);
        }
    }
    for (target, publication) in &publications {
        let given = rules.commit.as_ref();
        if let Some(given) = given.and_then(|commit| publication.other_revision(commit)) {
            let notice = publishing::other_revision(target, given);
            shared.events.send(EventKind::Notice(notice));
        }
    }
    if let Some(waits) = rules.waits {
        publishing::check_pushers(waits, &lowered)?;
    }
    if rules.settings.mode == PublishMode::Rbake {
        let by_builder = lowered
            .iter()
            .filter(|target| publishing::pushes_tags(target));
        for target in by_builder {
            let notice = publishing::by_outputs(&target.spec.target);
            shared.events.send(EventKind::Notice(notice));
        }
    }
    adapt_parts(&mut lowered, &targets)?;
    let builds = lowered
        .iter()
        .filter(|target| target.spec.subrequest.is_none())
        .map(|target| (target.spec.target.clone(), target.spec.build_ref.clone()))
        .collect();
    let imports = lowered.iter().flat_map(|target| &target.spec.cache_imports);
    let imports = imports.cloned().collect();
    let rehearsed = rehearsed(&targets, &lowered, shared);
    let caches = merged_caches::take(&mut lowered);
    let mut cached = CacheSolves::default();
    let solved_again = merged_caches::solved_again(&caches, shared.links.graph());
    let run = |(ready, lowered): (Ready, LoweredTarget)| {
        let name = ready.planned.name.clone();
        if solved_again.contains(&name) {
            cached.add(&ready, &lowered);
        }
        let run = Box::new(TargetRun {
            ready,
            shared: Arc::clone(shared),
            publication: publications.get(&name).cloned(),
            saved: rules.saved.clone(),
            halt: shared.halt.child_token(),
        });
        (run, Box::new(lowered))
    };
    let work = targets.into_iter().zip(lowered).map(run).collect();
    Ok(RunWork {
        builds,
        targets: work,
        caches,
        cached,
        publications,
        imports,
        rehearsed,
    })
}

/// Changes the parts of targets that several nodes build, so that they can be put together.
///
/// # Errors
/// An output cannot be made of parts.
fn adapt_parts(lowered: &mut [LoweredTarget], targets: &[Ready]) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for (target, ready) in lowered.iter_mut().zip(targets) {
        if let Some(part) = &ready.part
            && let Err(found) = spread::adapt(target, ready, part)
        {
            problems.0.extend(found.0);
        }
    }
    problems.into_result(())
}

/// The targets whose frontends are asked what they read. A file that cannot be read fails all targets that share its transfer, so they
/// share none if each is to end for itself.
fn rehearsed(
    targets: &[Ready],
    lowered: &[LoweredTarget],
    shared: &SharedContext,
) -> Vec<Rehearsed> {
    let names = match shared.after_failure {
        AfterFailure::StopAll => shared.directories.to_rehearse(shared.links.graph()),
        AfterFailure::KeepGoing => BTreeSet::new(),
    };
    std::iter::zip(targets, lowered)
        .filter(|(ready, _)| names.contains(&ready.planned.name))
        .filter_map(|(ready, target)| Rehearsed::of(ready, &target.spec))
        .collect()
}

/// What mutable tags wait for, beside the targets.
fn waits(wishes: &PublishWishes) -> Option<TagsWait> {
    if wishes.gates.is_any() {
        return Some(TagsWait::ForGate);
    }
    wishes.hold.then_some(TagsWait::ForPromotion)
}
