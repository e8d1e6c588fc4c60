//! Runs one bake: makes what all targets share, has each target lowered (`work`), and hands them to the scheduler.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::cache_imports::CacheImports;
use super::gates::GateCommand;
use super::local_state::RunNotes;
use super::lower;
use super::make_nodes::{SharedCommits, SharedParts, nodes};
use super::merged_caches::{self, CACHE_MANIFEST, CachesExported, NodeExports};
use super::nodes::{BuildNodes, NodesWork};
use super::publishing::{
    self, Company, Publication, PublishTools, PublishWishes, Published, Publishing,
};
use super::scheduler::{Ends, RunRules};
use super::shared_context::SharedContext;
use super::work::OwnedRules;
use super::{AfterFailure, Baked, BuildWishes, Prepared, Ready, Stop, Tools, facts, scheduler};
use crate::builder::{Chosen, ChosenBuilder};
use crate::credential::Provider;
use crate::diag::{Diagnostic, Diagnostics};
use crate::engine::Connection;
use crate::event::{EventKind, EventSink, LocalWork};
use crate::outcome::{CancelReason, Outcome, TargetFacts, TargetOutcome};
use crate::plan::TargetGraph;
use crate::registry::Registries;
use crate::types::blocking::unblock;
use crate::types::{Clock, Environment, TargetName};

/// Builds all targets of `prepared`.
///
/// # Errors If the builder cannot do what the plan asks for, before any work. Failures of targets are part of the
/// outcome, not errors.
pub(crate) async fn bake(mut prepared: Prepared, tools: Tools) -> Result<Baked, Diagnostics> {
    let started = Instant::now();
    let Tools {
        chosen,
        credentials,
        environment,
        build,
        publish,
        clock,
        export_special,
        provenance,
        requested,
        events,
        stop,
    } = tools;
    let (names, command) = names(&prepared.targets, &publish);
    announce(&names, &prepared.targets, &chosen, &environment, &events);
    let builder = chosen.first.name.clone();
    let silences = chosen
        .nodes()
        .map(|node| tell_of_silence(&node.connection, &events));
    let _silences: Vec<_> = silences.collect();
    let wishes = publish;
    let (registries, _stopper) = registries(&credentials, &environment, &clock, &stop, &events);
    let parts = SharedParts {
        credentials: Arc::clone(&credentials),
        registries,
        export_special,
        provenance,
        environment: &environment,
        build,
        wishes: &wishes,
        events: &events,
        clock: &clock,
    };
    let nodes = Box::pin(nodes(&mut prepared, chosen, parts));
    tracing::info!(%builder, targets = names.len(), "bake begins");
    let stopped = |reason: &_| Ok(Baked::stopped(&names, reason, started.elapsed(), &events));
    let (mut nodes, commits, placement) = match unless_stopped(&stop, nodes).await {
        Ok(nodes) => nodes?,
        Err(reason) => return stopped(&reason),
    };
    let SharedCommits { commits, published } = commits;
    commits.tell(&events);
    let ready: HashMap<TargetName, Ready> = prepared
        .targets
        .into_iter()
        .map(|ready| (ready.planned.name.clone(), ready))
        .collect();
    let rules = OwnedRules::of(&wishes, &published);
    let tools = PublishTools {
        wishes: &wishes,
        commit: &published,
        environment: &environment,
        credentials: &credentials,
        registries: &Registries::clone(&nodes.first().registries),
        clock: clock.clone(),
        company: company(&names),
        uploader: nodes.uploader(),
        events: &events,
    };
    let work = async {
        let mut work = nodes.lowered(commits, rules).await?;
        begin(&mut work, &ready, tools).await?;
        Ok::<_, Diagnostics>(work)
    };
    let mut work = match unless_stopped(&stop, work).await {
        Ok(work) => work?,
        Err(reason) => {
            nodes.shut_down(&stop).await;
            return stopped(&reason);
        }
    };
    note_builds(&work, &ready, &requested).await;
    let targets = work.take_targets(&names);
    let mut targets = run_targets(targets, build, &nodes, &prepared.graph, &stop).await;
    if let Some(command) = command {
        let end = run_gate(&command, &targets, nodes.first(), &clock, &stop).await;
        targets.push((command.name, Arc::new(end)));
    }
    placement.note(&targets, &clock).await;
    let (exported, published) = finish(&work, wishes.salvages, &targets, &nodes, &stop).await;
    name_results(&mut targets, &published, &exported);
    nodes.shut_down(&stop).await;
    // The lease keeps the embedded builder running, so it must live until the last solve has ended.
    nodes.end();
    let facts = facts_of(&targets, &ready, &published);
    let mut problems = published.problems;
    problems.extend(exported.problems);
    Ok(Baked {
        facts,
        outcome: Outcome {
            targets,
            interrupted: interrupted(exported.interrupted, &problems, &stop),
            problems,
            caches: exported.caches,
            kept_going: build.after_failure == AfterFailure::KeepGoing,
            elapsed: started.elapsed(),
        },
    })
}

/// Has all targets solved.
async fn run_targets(
    work: Vec<(TargetName, scheduler::Work)>,
    build: BuildWishes,
    nodes: &BuildNodes,
    graph: &TargetGraph,
    stop: &Stop,
) -> Ends {
    let shared = nodes.first();
    let rules = RunRules {
        graph,
        slots: &shared.slots,
        after_failure: build.after_failure,
    };
    scheduler::run(work, shared.halt.clone(), stop, rules, &shared.events).await
}

/// Why the work after the targets was stopped: the reason `known`, or else the limit of the run's time, if it was reached while tags moved,
/// for example: then it is the reason of `problems`.
fn interrupted(
    known: Option<CancelReason>,
    problems: &[Diagnostic],
    stop: &Stop,
) -> Option<CancelReason> {
    let limit = stop.reason().filter(|_| !problems.is_empty());
    let limit = limit.filter(|reason| matches!(reason, CancelReason::TimedOut(_)));
    known.or_else(|| limit.cloned())
}

/// Notes the builds of `work`, which are about to begin, for buildx's history.
async fn note_builds(work: &NodesWork, ready: &HashMap<TargetName, Ready>, requested: &[String]) {
    let mut notes = RunNotes::new(requested);
    let mut environment = None;
    for (shared, work) in work.by_node() {
        if let Some(node) = &shared.known_node {
            let builds = work.builds.iter();
            let builds = builds.filter_map(|(name, build_ref)| Some((ready.get(name)?, build_ref)));
            let setting = &shared.setting;
            notes.add(node, builds, &setting.paths);
            environment.get_or_insert_with(|| setting.environment.clone());
        }
    }
    if let Some(environment) = environment.filter(|_| !notes.is_empty()) {
        unblock(move || notes.write(&environment)).await;
    }
}

/// The facts of the targets that were built.
fn facts_of(
    ends: &Ends,
    ready: &HashMap<TargetName, Ready>,
    published: &Published,
) -> Vec<TargetFacts> {
    let facts = ends
        .iter()
        .filter_map(|(name, end)| match (&**end, ready.get(name)) {
            (TargetOutcome::Succeeded(solved), Some(ready)) => {
                Some(facts::of(ready, solved, published))
            }
            _ => None,
        });
    facts.collect()
}

/// Looks at all registries of `work` at the same time: those that rbake pushes to, and those of caches. Asks the nodes whether
/// they can export the caches, and what targets read.
///
/// # Errors
/// Those of [`begin_publishing`]. A node will not export a cache.
async fn begin(
    work: &mut NodesWork,
    ready: &HashMap<TargetName, Ready>,
    tools: PublishTools<'_>,
) -> Result<(), Diagnostics> {
    let NodesWork {
        nodes,
        publications,
    } = work;
    let Some(shared) = nodes.first().map(|(shared, _)| Arc::clone(shared)) else {
        return Ok(());
    };
    let publishing = begin_publishing(publications, tools, &shared);
    let checks = nodes.iter_mut().map(|(shared, work)| async move {
        let looks = CacheImports::look_ahead(shared, &work.imports);
        let checks = merged_caches::check_exports(&mut work.caches, ready, shared);
        let rehearsed = std::mem::take(&mut work.rehearsed);
        let rehearsal = shared.directories.rehearse(rehearsed, shared);
        let ((), checked, ()) = futures_util::join!(looks, checks, rehearsal);
        checked
    });
    let checks = futures_util::future::join_all(checks);
    let (begun, checked) = futures_util::join!(publishing, checks);
    checked.into_iter().collect::<Result<(), _>>()?;
    begun
}

/// Looks at the registries, if rbake publishes images.
///
/// # Errors If nothing may be pushed, or the run is to end here; then there are no errors among the problems.
async fn begin_publishing(
    publications: &BTreeMap<TargetName, Publication>,
    tools: PublishTools<'_>,
    shared: &SharedContext,
) -> Result<(), Diagnostics> {
    if publications.is_empty() && tools.wishes.gates.is_any() {
        return Err(publishing::nothing_to_gate().into());
    }
    let preflight_only = tools.wishes.preflight_only;
    if publications.is_empty() {
        return if preflight_only {
            Err(publishing::nothing_to_publish().into())
        } else {
            Ok(())
        };
    }
    let publishing = Publishing::begin(publications, tools).await?;
    if preflight_only {
        return Err(publishing.preflight(publications).into());
    }
    // It is set only here.
    let _ = shared.publishing.set(publishing);
    Ok(())
}

/// Runs the command of a gate, if all targets have ended well.
async fn run_gate(
    command: &GateCommand,
    ends: &Ends,
    shared: &SharedContext,
    clock: &Clock,
    stop: &Stop,
) -> TargetOutcome {
    let reason = ends.iter().find_map(|(name, end)| match &**end {
        TargetOutcome::Succeeded(_) => None,
        TargetOutcome::Cancelled(reason) => Some(reason.clone()),
        TargetOutcome::Failed(_) | TargetOutcome::Skipped { .. } => {
            Some(CancelReason::FirstFailure(name.clone()))
        }
    });
    if let Some(reason) = reason {
        return command.cancelled(reason, &shared.events);
    }
    let publishing = shared.publishing.get();
    let images = publishing.map_or_else(Vec::new, Publishing::images);
    let (environment, events) = (&shared.setting.environment, &shared.events);
    command.run(&images, environment, clock, events, stop).await
}

/// Exports the caches, of failed targets as well if so wished, and moves mutable tags. Ends what was kept for linked targets when
/// no solve needs it any more.
async fn finish(
    work: &NodesWork,
    salvages: bool,
    ends: &Ends,
    nodes: &BuildNodes,
    stop: &Stop,
) -> (CachesExported, Published) {
    let exporting = export_caches(work, salvages, ends, stop);
    let publishing = finish_publishing(nodes.first(), ends, stop);
    if nodes.first().has_late_tags() {
        let published = publishing.await;
        nodes.release_links(stop).await;
        (exporting.await, published)
    } else {
        nodes.release_links(stop).await;
        futures_util::join!(exporting, publishing)
    }
}

/// Exports the caches of all nodes, one node after the other: several may export to one place, and each adds to what is there.
async fn export_caches(
    work: &NodesWork,
    salvages: bool,
    ends: &Ends,
    stop: &Stop,
) -> CachesExported {
    let mut exported = CachesExported::default();
    let mut written = BTreeSet::new();
    for (shared, work) in work.by_node() {
        let exports = NodeExports {
            caches: &work.caches,
            solves: &work.cached,
            written: &written,
            salvages,
        };
        let of_node = merged_caches::export(exports, ends, shared, stop).await;
        written.extend(work.caches.iter().map(merged_caches::SharedCache::place));
        exported.add(of_node);
    }
    exported
}

/// Moves mutable tags, if rbake publishes images.
async fn finish_publishing(shared: &SharedContext, ends: &Ends, stop: &Stop) -> Published {
    match shared.publishing.get() {
        Some(publishing) => publishing.finish(ends, shared, stop).await,
        None => Published::default(),
    }
}

/// Adds to the responses of targets what was made after their solves: makes targets whose tags the builder has set after all targets
/// name the image to which the tags point, and adds the caches. With buildx, the daemon adds these, because each target exports its own.
fn name_results(ends: &mut Ends, published: &Published, exported: &CachesExported) {
    for (name, end) in ends {
        let mut later = published.responses.get(name).cloned().unwrap_or_default();
        if let Some(manifest) = exported.manifests.get(name) {
            later.insert(CACHE_MANIFEST.to_owned(), manifest.as_str().to_owned());
        }
        if let (false, TargetOutcome::Succeeded(solved)) = (later.is_empty(), &**end) {
            let mut solved = solved.clone();
            solved.response.extend(later);
            *end = Arc::new(TargetOutcome::Succeeded(solved));
        }
    }
}

/// Whether a run of `parts` has several.
fn company(parts: &[TargetName]) -> Company {
    match parts {
        [_] => Company::Alone,
        _ => Company::Others,
    }
}

/// Returns the result of `work`, or the reason if the run is asked to stop before `work` is done.
async fn unless_stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Result<T, CancelReason> {
    tokio::select! {
        biased;
        reason = stop.requested() => Err(reason),
        done = work => Ok(done),
    }
}

/// The names under which the parts of the run are shown: the targets, and the command of a gate.
fn names(targets: &[Ready], wishes: &PublishWishes) -> (Vec<TargetName>, Option<GateCommand>) {
    let names = targets.iter().map(|ready| ready.planned.name.clone());
    let mut names: Vec<TargetName> = names.collect();
    let command = wishes.gates.command.as_deref();
    let command = command.and_then(|text| GateCommand::new(text, &names));
    names.extend(command.as_ref().map(|command| command.name.clone()));
    (names, command)
}

/// Sends the start of the run, which builds `names`, and warnings about how results are exported.
fn announce(
    names: &[TargetName],
    targets: &[Ready],
    chosen: &ChosenBuilder,
    environment: &Environment,
    events: &EventSink,
) {
    let chosen = &chosen.first;
    events.send(EventKind::RunStarted {
        builder: chosen.name.clone(),
        driver: chosen.driver.name().to_owned(),
        targets: names.to_vec(),
    });
    let notices = [
        no_output(targets, chosen, environment),
        lower::strange_default_load(environment),
    ];
    for notice in notices.into_iter().flatten() {
        events.send(EventKind::Notice(notice));
    }
}

/// Reports that the builder does not answer, for as long as that lasts. Ends when the handle is dropped.
fn tell_of_silence(connection: &Connection, events: &EventSink) -> AbortOnDropHandle<()> {
    let mut silence = connection.silence();
    let name = format!(
        "wait for `{}`, which does not answer",
        connection.endpoint()
    );
    let events = events.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        for turn in 1.. {
            if silence.wait_for(|time| !time.is_zero()).await.is_err() {
                return;
            }
            let work = |done| LocalWork {
                id: format!("silence-{turn}"),
                target: None,
                name: name.clone(),
                current: 0,
                total: None,
                done,
                error: None,
            };
            events.send(EventKind::Local(work(false)));
            let heard = silence.wait_for(Duration::is_zero).await.is_ok();
            events.send(EventKind::Local(work(true)));
            if !heard {
                return;
            }
        }
    }))
}

/// The registries of the run. Their requests end when the run is stopped, as long as the handle is not dropped.
fn registries(
    credentials: &Provider,
    environment: &Environment,
    clock: &Clock,
    stop: &Stop,
    events: &EventSink,
) -> (Registries, AbortOnDropHandle<()>) {
    let stopping = CancellationToken::new();
    let (stop, token) = (stop.clone(), stopping.clone());
    let stopper = AbortOnDropHandle::new(tokio::spawn(async move {
        stop.requested().await;
        token.cancel();
    }));
    let registries = Registries::new(credentials.clone(), clock.clone(), stopping)
        .with_environment(environment)
        .with_notices(events.notices());
    (registries, stopper)
}

/// Warns that targets have no output. The message is mostly that of buildx, because people search for it.
fn no_output(targets: &[Ready], chosen: &Chosen, environment: &Environment) -> Option<Diagnostic> {
    if !lower::loads_by_default(environment) || chosen.docker.is_some() || chosen.default_load {
        return None;
    }
    // As in buildx: a user who asks the frontend something does not expect an image.
    if targets.iter().any(|ready| ready.planned.is_called()) {
        return None;
    }
    let without =
        |ready: &&Ready| ready.planned.attributes.output.is_empty() && !ready.planned.is_linked();
    let names: Vec<&str> = targets
        .iter()
        .filter(without)
        .map(|ready| ready.planned.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let driver = chosen.driver.name();
    let message = format!(
        "no output specified for {} target(s) with {driver} driver: the result will only remain in the build cache",
        names.join(", ")
    );
    Some(
        Diagnostic::warning("run::no-output", message)
            .help("to push the result as an image to a registry use `--push`, to load it into Docker use `--load`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Simulates a file system that does not answer.
    #[tokio::test]
    async fn a_stop_does_not_wait_for_work_before_the_first_solve() {
        let stop = Stop::default();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let stuck = unless_stopped(&stop, unblock(move || told.recv().is_err()));
        let stuck = std::pin::pin!(stuck);
        let asked = async {
            tokio::task::yield_now().await;
            stop.request(CancelReason::Signal(15));
        };
        let (result, ()) = futures_util::join!(stuck, asked);
        assert_eq!(result, Err(CancelReason::Signal(15)));
        drop(tell);
        assert_eq!(unless_stopped(&Stop::default(), async { 7 }).await, Ok(7));
    }
}
