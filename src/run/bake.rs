//! Runs one bake: makes what all targets share, lowers each target, and hands them to the scheduler.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::cache_imports::CacheImports;
use super::commits::{Commits, commits};
use super::directories::Directories;
use super::docker::{BuildingEngine, DockerEngines};
use super::gates::{GateCommand, SavedFiles};
use super::lower::{self, CacheSupport, Setting};
use super::merged_caches::{self, CacheSolves, SharedCache};
use super::publishing::{
    self, Company, Publication, PublicationRules, PublishTools, PublishWishes, Published,
    PublishedCommit, Publishing, TagsWait,
};
use super::ran_steps::RanSteps;
use super::scheduler::Ends;
use super::shared_context::SharedContext;
use super::target::TargetRun;
use super::uploads::{BlobPlaces, Uploader};
use super::{Baked, Prepared, Ready, Stop, Tools, facts, node, scheduler};
use crate::builder::embedded::Lease;
use crate::builder::{Chosen, Notice};
use crate::credential::Provider;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::session::SharedSessions;
use crate::engine::session::export::SpecialPolicy;
use crate::engine::spec::SolveCache;
use crate::engine::{Capabilities, Connection, Engine};
use crate::event::{EventKind, EventSink, LocalWork};
use crate::files::Resolver;
use crate::outcome::{
    CancelReason, FailureKind, Outcome, SolveFailure, TargetFacts, TargetOutcome,
};
use crate::publish::revision::CommitState;
use crate::publish::settings::{PublishMode, PublishSettings};
use crate::registry::Registries;
use crate::types::blocking::unblock;
use crate::types::shutdown::{CLOSE_TIMEOUT, CLOSE_TIMEOUT_AFTER_SECOND};
use crate::types::{Clock, Environment, TargetName};

/// Builds all targets of `prepared`.
///
/// # Errors If the builder cannot do what the plan asks for, before any work. Failures of targets are part of the
/// outcome, not errors.
pub(crate) async fn bake(prepared: Prepared, tools: Tools) -> Result<Baked, Diagnostics> {
    let started = Instant::now();
    let Tools {
        chosen,
        credentials,
        environment,
        publish,
        clock,
        export_special,
        events,
        stop,
    } = tools;
    let (names, command) = names(&prepared.targets, &publish);
    announce(&names, &prepared.targets, &chosen, &environment, &events);
    let builder = chosen.name.clone();
    let _silence = tell_of_silence(&chosen.connection, &events);
    let wishes = publish;
    let (registries, _stopper) = registries(&credentials, &clock, &stop);
    let parts = SharedParts {
        credentials: Arc::clone(&credentials),
        registries,
        export_special,
        environment: &environment,
        wishes: &wishes,
        events: &events,
        clock: &clock,
    };
    let shared = Box::pin(shared(&prepared, chosen, parts));
    tracing::info!(%builder, targets = names.len(), "bake begins");
    let stopped = |reason: &_| Ok(Baked::stopped(&names, reason, started.elapsed(), &events));
    let (shared, commits, lease) = match unless_stopped(&stop, shared).await {
        Ok(shared) => shared?,
        Err(reason) => return stopped(&reason),
    };
    let SharedCommits { commits, published } = commits;
    commits.tell(&events);
    let ready: HashMap<TargetName, Ready> = prepared
        .targets
        .iter()
        .map(|ready| (ready.planned.name.clone(), ready.clone()))
        .collect();
    let rules = OwnedRules::of(&wishes, &published);
    let tools = PublishTools {
        wishes: &wishes,
        commit: &published,
        environment: &environment,
        credentials: &credentials,
        registries: &shared.registries,
        clock: clock.clone(),
        company: company(&names),
        uploader: shared.uploader,
        events: &events,
    };
    let work = async {
        let work = lowered(prepared.targets, &shared, commits, rules).await?;
        begin(&work, tools, &shared).await?;
        Ok::<_, Diagnostics>(work)
    };
    let work = match unless_stopped(&stop, work).await {
        Ok(work) => work?,
        Err(reason) => {
            shut_down(&shared, &stop).await;
            return stopped(&reason);
        }
    };
    let mut targets = scheduler::run(work.targets, shared.halt.clone(), &stop, &events).await;
    if let Some(command) = command {
        let end = run_gate(&command, &targets, &shared, &clock, &stop).await;
        targets.push((command.name, Arc::new(end)));
    }
    let salvages = wishes.salvages;
    let (caches, cached) = (&work.caches, &work.cached);
    let exporting = merged_caches::export(caches, cached, &targets, &shared, salvages, &stop);
    let publishing = finish_publishing(&shared, &targets, &stop);
    let (exported, published) = futures_util::join!(exporting, publishing);
    name_published(&mut targets, &published);
    shut_down(&shared, &stop).await;
    // The lease keeps the embedded builder running, so it must live until the last solve has ended.
    drop(lease);
    let facts = facts_of(&targets, &ready, &published);
    let mut problems = published.problems;
    problems.extend(exported.problems);
    Ok(Baked {
        facts,
        outcome: Outcome {
            targets,
            problems,
            caches: exported.caches,
            interrupted: exported.interrupted,
            elapsed: started.elapsed(),
        },
        builder,
    })
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

/// Looks at all registries of `work` at the same time: those that rbake pushes to, and those of caches.
///
/// # Errors
/// Those of [`begin_publishing`].
async fn begin(
    work: &Work,
    tools: PublishTools<'_>,
    shared: &Arc<SharedContext>,
) -> Result<(), Diagnostics> {
    let publishing = begin_publishing(&work.publications, tools, shared);
    let looks = CacheImports::look_ahead(shared, &work.imports);
    let (begun, ()) = futures_util::join!(publishing, looks);
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

/// Moves mutable tags, if rbake publishes images.
async fn finish_publishing(shared: &SharedContext, ends: &Ends, stop: &Stop) -> Published {
    match shared.publishing.get() {
        Some(publishing) => publishing.finish(ends, shared, stop).await,
        None => Published::default(),
    }
}

/// Makes targets whose tags the builder has set after all targets name the image to which the tags point.
fn name_published(ends: &mut Ends, published: &Published) {
    for (name, end) in ends {
        let response = published.responses.get(name).cloned();
        if let (Some(response), TargetOutcome::Succeeded(solved)) = (response, &**end) {
            let mut solved = solved.clone();
            solved.response.extend(response);
            *end = Arc::new(TargetOutcome::Succeeded(solved));
        }
    }
}

/// What mutable tags wait for, beside the targets.
fn waits(wishes: &PublishWishes) -> Option<TagsWait> {
    if wishes.gates.is_any() {
        return Some(TagsWait::ForGate);
    }
    wishes.hold.then_some(TagsWait::ForPromotion)
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
    chosen: &Chosen,
    environment: &Environment,
    events: &EventSink,
) {
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

/// What the targets share and the caller has.
struct SharedParts<'a> {
    credentials: Arc<Provider>,
    registries: Registries,
    export_special: SpecialPolicy,
    environment: &'a Environment,
    wishes: &'a PublishWishes,
    events: &'a EventSink,
    clock: &'a Clock,
}

/// The registries of the run. Their requests end when the run is stopped, as long as the handle is not dropped.
fn registries(
    credentials: &Provider,
    clock: &Clock,
    stop: &Stop,
) -> (Registries, AbortOnDropHandle<()>) {
    let stopping = CancellationToken::new();
    let (stop, token) = (stop.clone(), stopping.clone());
    let stopper = AbortOnDropHandle::new(tokio::spawn(async move {
        stop.requested().await;
        token.cancel();
    }));
    let registries = Registries::new(credentials.clone(), clock.clone(), stopping);
    (registries, stopper)
}

/// Makes what all targets share. The builder, git and Docker are asked at the same time.
async fn shared(
    prepared: &Prepared,
    chosen: Chosen,
    parts: SharedParts<'_>,
) -> Result<(Arc<SharedContext>, SharedCommits, Option<Lease>), Diagnostics> {
    let SharedParts {
        credentials,
        registries,
        export_special,
        environment,
        wishes,
        events,
        clock,
    } = parts;
    let targets = &prepared.targets;
    let compress = !chosen.endpoint.is_local();
    let (driver, builder) = (chosen.driver, BuildingEngine::of(&chosen));
    let engine = Arc::new(Engine::over(chosen.connection));
    let node = {
        let environment = environment.clone();
        unblock(move || node::id(&environment)).await
    };
    let sessions = SharedSessions::new(Arc::clone(engine.connection()), node.clone());
    let docker = DockerEngines::connect(targets, builder, chosen.default_load, environment, events);
    let capabilities = async {
        let notice = Notice::begin(events, "capabilities", "ask the builder what it can do");
        let capabilities = engine.capabilities().await;
        notice.end(None);
        capabilities
    };
    let (capabilities, commits, published, docker) = futures_util::join!(
        capabilities,
        commits(targets, environment, events),
        publishing::commit_of(targets, wishes, environment, events),
        docker
    );
    let capabilities = capabilities.map_err(|failure| unreachable(&failure))?;
    let docker = docker?;
    let mut directories =
        Directories::new(sessions, events.clone(), compress, prepared.paths.base()).await;
    directories.expect(targets).await;
    let shared = SharedContext {
        setting: setting(
            environment,
            prepared.paths.clone(),
            &credentials,
            capabilities,
            docker.traits().clone(),
            node,
        ),
        directories,
        engine: Arc::clone(&engine),
        driver,
        docker,
        credentials,
        export_special,
        events: events.clone(),
        imports: CacheImports::default(),
        steps: RanSteps::default(),
        registries,
        uploader: Uploader::of(engine.endpoint(), wishes.settings.upload),
        blobs: BlobPlaces::default(),
        clock: clock.clone(),
        publishing: OnceLock::new(),
        halt: CancellationToken::new(),
    };
    let commits = SharedCommits { commits, published };
    Ok((Arc::new(shared), commits, chosen.lease))
}

/// The commits that a run needs to know.
struct SharedCommits {
    /// Those of the contexts, for provenance.
    commits: Commits,
    /// The one that is published.
    published: PublishedCommit,
}

/// Lowers all targets on a blocking thread, because it follows the paths of outputs and caches, and a file system
/// may be slow.
async fn lowered(
    targets: Vec<Ready>,
    shared: &Arc<SharedContext>,
    commits: Commits,
    rules: OwnedRules,
) -> Result<Work, Diagnostics> {
    let notice = Notice::begin(&shared.events, "lower", "look at outputs and caches");
    let shared = Arc::clone(shared);
    let count = targets.len();
    let work = unblock(move || work(targets, &shared, &commits, &rules)).await;
    match &work {
        Ok(_) => tracing::debug!(targets = count, "lowering ended"),
        Err(problems) => tracing::warn!(problems = problems.0.len(), "lowering failed"),
    }
    notice.end(None);
    work
}

/// The work of a run.
struct Work {
    /// The targets.
    targets: Vec<(TargetName, scheduler::Work)>,
    /// The caches that the targets export.
    caches: Vec<SharedCache>,
    /// The solves of the targets that export a cache.
    cached: CacheSolves,
    /// What rbake publishes.
    publications: BTreeMap<TargetName, Publication>,
    /// The caches that targets import.
    imports: Vec<SolveCache>,
}

/// How exports are chosen that rbake publishes.
struct OwnedRules {
    settings: PublishSettings,
    commit: Option<CommitState>,
    untagged: BTreeSet<TargetName>,
    /// What mutable tags wait for.
    waits: Option<TagsWait>,
    saved: Option<Arc<SavedFiles>>,
}

impl OwnedRules {
    fn of(wishes: &PublishWishes, published: &PublishedCommit) -> Self {
        Self {
            settings: wishes.settings.clone(),
            commit: published.state.clone(),
            untagged: wishes.gates.images.clone(),
            waits: waits(wishes),
            saved: wishes.gates.saved.clone(),
        }
    }
}

/// Lowers all targets before the first one starts, so that problems of all targets are reported before any work.
fn work(
    targets: Vec<Ready>,
    shared: &Arc<SharedContext>,
    commits: &Commits,
    rules: &OwnedRules,
) -> Result<Work, Diagnostics> {
    let mut lowered = Vec::with_capacity(targets.len());
    let mut problems = Diagnostics::default();
    for ready in &targets {
        let vcs = commits.of(&ready.places);
        match lower::lower(&ready.planned, &ready.places, vcs, &shared.setting) {
            Ok(target) => lowered.push(target),
            Err(found) => problems.0.extend(found.0),
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    let mut publications = BTreeMap::new();
    for target in &mut lowered {
        let rules = PublicationRules {
            settings: &rules.settings,
            commit: rules.commit.as_ref(),
            untagged: &rules.untagged,
        };
        if let Some(publication) = Publication::take(target, rules) {
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
        publishing::check_pushers(waits, &lowered, &publications)?;
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
    let imports = lowered.iter().flat_map(|target| &target.spec.cache_imports);
    let imports = imports.cloned().collect();
    let caches = merged_caches::take(&mut lowered);
    let mut cached = CacheSolves::default();
    let run = |(ready, lowered): (Ready, lower::LoweredTarget)| {
        let name = ready.planned.name.clone();
        if merged_caches::exports(&caches, &name) {
            cached.add(&ready, &lowered);
        }
        let run = TargetRun {
            ready,
            shared: Arc::clone(shared),
            publication: publications.get(&name).cloned(),
            saved: rules.saved.clone(),
        };
        let work: scheduler::Work = Box::pin(run.run(lowered));
        (name, work)
    };
    let work = targets.into_iter().zip(lowered).map(run).collect();
    Ok(Work {
        targets: work,
        caches,
        cached,
        publications,
        imports,
    })
}

/// Closes the sessions and the connection. If the user has stopped the run, this only waits, for a short time,
/// until the requests that ask the daemon to stop have been sent.
async fn shut_down(shared: &SharedContext, stop: &Stop) {
    tokio::select! {
        biased;
        _ = stop.requested() => {}
        () = shared.directories.close() => return,
    }
    let farewell = async {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, shared.engine.close()).await;
    };
    let haste = async {
        stop.insisted().await;
        tokio::time::sleep(CLOSE_TIMEOUT_AFTER_SECOND).await;
    };
    tokio::select! {
        () = farewell => {}
        () = haste => {}
    }
}

/// Warns that targets have no output. The message is mostly that of buildx, because people search for it.
fn no_output(targets: &[Ready], chosen: &Chosen, environment: &Environment) -> Option<Diagnostic> {
    if !lower::loads_by_default(environment) || chosen.docker.is_some() || chosen.default_load {
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

fn setting(
    environment: &Environment,
    paths: Resolver,
    credentials: &Provider,
    capabilities: &Capabilities,
    docker: lower::DockerTraits,
    node: String,
) -> Setting {
    let host = environment.non_empty("DOCKER_HOST");
    Setting {
        environment: environment.clone(),
        paths,
        proxies: credentials.docker_config().proxy_arguments(host),
        // Docker's classic image store cannot hold attestations.
        attestations: capabilities.attestations()
            && docker.builder != Some(lower::ImageStore::Classic),
        docker,
        caches: CacheSupport {
            gha: capabilities.cache_gha(),
        },
        host_gateway: capabilities
            .host_gateway()
            .and_then(|address| address.parse().ok()),
        node,
    }
}

/// Makes the error for a builder that did not answer.
fn unreachable(failure: &SolveFailure) -> Diagnostics {
    let class = if failure.kind == FailureKind::Engine {
        Class::Engine
    } else {
        Class::Build
    };
    let problem = Diagnostic::error(
        class,
        "run::builder",
        format!("the builder does not answer: {}", failure.message),
    );
    failure
        .help
        .iter()
        .fold(problem, |problem, help| problem.help(help.clone()))
        .into()
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
