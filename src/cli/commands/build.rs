//! Builds a plan: chooses a builder, shows progress, and reports the results.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::answers::AnsweredRun;
use crate::builder::embedded::Launcher;
use crate::builder::{self, ChosenBuilder};
use crate::cli::args::BakeArgs;
use crate::cli::exit::Exit;
use crate::cli::logs::LogPlace;
use crate::cli::screen::Screen;
use crate::cli::signals::{self, Signals};
use crate::cli::{docker_config, progress};
use crate::credential::{Provider, ProviderOptions};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::Patience;
use crate::event::{EventKind, EventSink};
use crate::files::{Resolved, Resolver};
use crate::golang::strconv;
use crate::outcome::{CancelReason, Outcome, TargetOutcome};
use crate::plan::{self, FrontendCall, Plan};
use crate::report::{Mode, Model, ReportEnding, Reporter, metadata};
use crate::run::{
    self, AfterFailure, Baked, BuildWishes, Prepared, ProvenanceDetail, PublishWishes, Stop, Tools,
};
use crate::types::blocking::unblock;
use crate::types::{Clock, Environment, TargetName, terminal};

/// The number of threads for connections and transfers. Few are enough, because the daemon does the work.
const WORKERS: usize = 2;

/// The variable that asks for the warnings of frontends in the metadata file.
const METADATA_WARNINGS: &str = "BUILDX_METADATA_WARNINGS";

/// What to build, and how to show it.
pub(super) struct BuildOrder<'a> {
    pub(super) args: &'a BakeArgs,
    /// What is carried out: called targets have no outputs in it.
    pub(super) plan: &'a Plan,
    /// The plan as the user wrote it.
    pub(super) shown: &'a Plan,
    /// The targets and groups that the user asked for. Empty means `default`.
    pub(super) requested: &'a [String],
    pub(super) paths: &'a Resolver,
    /// The place of the metadata file; `None` if none is written.
    pub(super) metadata: Option<Resolved>,
    pub(super) mode: Mode,
    /// How targets are built.
    pub(super) build: BuildWishes,
    /// How images are published.
    pub(super) publish: PublishWishes,
    /// What `--call` asks the frontends of all targets. `None` if each target does what it says itself.
    pub(super) call: Option<&'a FrontendCall>,
    /// Where the log goes.
    pub(super) log: &'a LogPlace,
    pub(super) environment: &'a Environment,
    pub(super) signals: &'a Signals,
}

/// The outcomes of the targets that have ended so far. Needed for the summary if a signal ends the process before
/// the run is over.
#[derive(Clone)]
struct EndsSoFar {
    targets: Arc<[TargetName]>,
    ends: Arc<Mutex<BTreeMap<TargetName, Arc<TargetOutcome>>>>,
    clock: Clock,
}

impl EndsSoFar {
    fn new(plan: &Plan, clock: Clock) -> Self {
        Self {
            targets: plan.targets.keys().cloned().collect(),
            ends: Arc::default(),
            clock,
        }
    }

    /// A sink that passes all events on to `events`, and records the targets that end.
    fn noting(&self, events: EventSink) -> EventSink {
        let ends = Arc::clone(&self.ends);
        EventSink::new(self.clock.clone(), move |event| {
            if let EventKind::TargetFinished { target, outcome } = &event.kind {
                let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
                ends.insert(target.clone(), Arc::clone(outcome));
            }
            events.send(event.kind);
        })
    }

    /// The outcome of the run if it ends now because of `reason`: targets that have not ended are cancelled.
    fn cut_off(&self, reason: &CancelReason) -> Outcome {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = |name: &TargetName| {
            let cancelled = || Arc::new(TargetOutcome::Cancelled(reason.clone()));
            (
                name.clone(),
                ends.get(name).cloned().unwrap_or_else(cancelled),
            )
        };
        Outcome {
            targets: self.targets.iter().map(end).collect(),
            problems: Vec::new(),
            caches: Vec::new(),
            interrupted: None,
            kept_going: false,
            elapsed: self.clock.elapsed(),
        }
    }
}

/// Builds the plan and returns the exit code.
pub(super) fn run(order: &BuildOrder<'_>, screen: &mut Screen) -> Exit {
    order.signals.doing("looking at contexts and Dockerfiles");
    let prepared = match run::prepare(order.plan, order.environment, order.paths) {
        Ok(prepared) => prepared,
        Err(problems) => return screen.diagnostics(&problems),
    };
    let empty = run::check_gates(&order.publish.gates, &prepared);
    if empty.has_errors() {
        return screen.diagnostics(&empty);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return internal(screen, &format!("cannot start threads: {error}")),
    };
    let stop = Stop::default();
    let broken = stop.clone();
    let clock = Clock::system();
    let reporter = Reporter::start(
        progress::options(order.mode, order.environment, screen, clock.clone()),
        Box::new(std::io::stderr()),
        Box::new(move || broken.request(CancelReason::ReporterBroken)),
    );
    let (events, reporter) = match reporter {
        Ok(started) => started,
        Err(error) => return internal(screen, &format!("cannot start a thread: {error}")),
    };
    let so_far = EndsSoFar::new(order.plan, clock.clone());
    let events = so_far.noting(events);
    let reporter = Arc::new(Mutex::new(Some(reporter)));
    let take = |reporter: &Mutex<Option<Reporter>>| {
        let mut slot = reporter.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    };
    let (last_reporter, last_events) = (Arc::clone(&reporter), events.clone());
    let credentials = Arc::new(OnceLock::new());
    let last_credentials = Arc::clone(&credentials);
    // If a signal must end the process before the run is over, this closure writes the summary of what has ended so
    // far.
    order.signals.run_begins(
        &stop,
        Box::new(move |reason| {
            end_helpers(&last_credentials);
            let outcome = so_far.cut_off(&reason);
            run::tell_of_stop(&reason, &last_events);
            if let Some(reporter) = take(&last_reporter) {
                reporter.finish(ReportEnding {
                    outcome,
                    ..ReportEnding::default()
                });
            }
            // Last, because the log may be on a disk that does not answer.
            tracing::warn!(?reason, "the run was ended");
        }),
    );
    runtime.spawn(tell_of_limit(stop.clone(), events.clone()));
    let bake = bake(order, prepared, events, stop, clock, &credentials);
    let ended = runtime.block_on(bake.instrument(tracing::info_span!("bake")));
    // From here on, only this thread uses the reporter. If a signal is already ending the process, `end` does not
    // return.
    order.signals.end();
    end_helpers(&credentials);
    if let Some(credentials) = credentials.get() {
        // The other views have shown these warnings while they were drawing.
        if matches!(order.mode, Mode::RawJson | Mode::Quiet) {
            for warning in credentials
                .configurations()
                .filter_map(docker_config::warning)
            {
                screen.diagnostic(&warning);
            }
        }
    }
    let exit = match take(&reporter) {
        Some(reporter) => tell(order, ended, reporter, screen),
        None => Exit::Interrupted,
    };
    // Do not wait for connections that the builder keeps open.
    runtime.shutdown_background();
    let explains = order.args.debug == Some(true) && order.mode != Mode::RawJson;
    order.log.tell(exit, explains, screen);
    exit
}

/// Says that the time is up, also if no target is being solved any more.
async fn tell_of_limit(stop: Stop, events: EventSink) {
    let reason = stop.requested().await;
    if let CancelReason::TimedOut(_) = reason {
        run::tell_of_stop(&reason, &events);
    }
}

/// Ends credential helpers. One may still be waiting for an answer from the user, which nobody needs any more.
fn end_helpers(credentials: &OnceLock<Provider>) {
    if let Some(credentials) = credentials.get() {
        Provider::end_helpers(credentials);
    }
}

fn internal(screen: &mut Screen, message: &str) -> Exit {
    screen.diagnostics(&Diagnostic::error(Class::Internal, "cli::internal", message).into())
}

/// Reads the credentials, chooses a builder, and builds. `stop` can interrupt each of these steps.
///
/// `kept` receives the credentials, so that the caller can end their helpers whenever the run ends.
async fn bake(
    order: &BuildOrder<'_>,
    prepared: Prepared,
    events: EventSink,
    stop: Stop,
    clock: Clock,
    kept: &OnceLock<Provider>,
) -> Result<Baked, Diagnostics> {
    if let Some(address) = order.environment.non_empty("DOCKER_CLI_PLUGIN_SOCKET") {
        signals::watch_docker(order.signals, address);
    }
    let started = Instant::now();
    // Report an invalid value here: the code that uses it later falls back to the default.
    Patience::of(order.environment).map_err(|error| {
        Diagnostics::from(Diagnostic::error(
            Class::Usage,
            "cli::usage",
            error.to_string(),
        ))
    })?;
    let stopped = |reason| {
        Baked::stopped(
            order.plan.targets.keys(),
            &reason,
            started.elapsed(),
            &events,
        )
    };
    let kept_clock = clock.clone();
    let credentials = tokio::select! {
        credentials = credentials(order, &events, clock) => credentials,
        reason = stop.requested() => return Ok(stopped(reason)),
    };
    let credentials = kept.get_or_init(|| credentials).clone();
    for warning in credentials
        .configurations()
        .filter_map(docker_config::warning)
    {
        events.send(EventKind::Notice(warning));
    }
    let chosen = tokio::select! {
        chosen = choose(order, &events) => chosen?,
        reason = stop.requested() => return Ok(stopped(reason)),
    };
    for warning in chosen.nodes().flat_map(|node| &node.warnings) {
        events.send(EventKind::Notice(warning.clone()));
    }
    let tools = Tools {
        chosen,
        credentials: Arc::new(credentials),
        environment: order.environment.clone(),
        build: order.build,
        publish: order.publish.clone(),
        clock: kept_clock,
        export_special: order.args.export_special.unwrap_or_default(),
        provenance: order
            .metadata
            .as_ref()
            .and_then(|_| ProvenanceDetail::of(order.environment)),
        requested: order.requested.to_vec(),
        events,
        stop,
    };
    Box::pin(run::bake(prepared, tools)).await
}

async fn credentials(order: &BuildOrder<'_>, events: &EventSink, clock: Clock) -> Provider {
    let (environment, events) = (order.environment.clone(), events.clone());
    let withheld = run::secret_variables(order.plan, order.environment);
    let read = move || {
        Provider::new(ProviderOptions {
            environment: &environment,
            clock,
            withheld,
            notices: events.notices(),
        })
    };
    unblock(read).await
}

async fn choose(order: &BuildOrder<'_>, events: &EventSink) -> Result<ChosenBuilder, Diagnostics> {
    let program = std::env::current_exe().unwrap_or_else(|_| "rbake".into());
    let requirements = plan::requirements(order.plan, |cache| {
        run::leaves_out(cache, order.environment)
    });
    let flag = order.args.builder.as_deref();
    builder::choose(
        &requirements,
        flag,
        order.environment,
        &Launcher { program },
        events,
    )
    .await
    .map_err(|error| error.diagnostic().into())
}

/// Finishes the progress report, then writes the metadata file.
fn tell(
    order: &BuildOrder<'_>,
    ended: Result<Baked, Diagnostics>,
    reporter: Reporter,
    screen: &mut Screen,
) -> Exit {
    let baked = match ended {
        Ok(baked) => baked,
        Err(problems) => {
            reporter.stop();
            return screen.diagnostics(&problems);
        }
    };
    let exit = Exit::for_outcome(&baked.outcome);
    // The command of a gate is shown as a target, but has no metadata.
    let mut targets = baked.outcome.targets.clone();
    targets.retain(|(name, _)| order.plan.targets.contains_key(name));
    let mut outcome = baked.outcome;
    // Answers of frontends are printed as data. The summary is about what was built.
    outcome.targets.retain(|(_, end)| !is_answer(end));
    let finished = reporter.finish(ReportEnding {
        facts: baked.facts,
        outcome,
        debug: order.args.debug == Some(true),
    });
    if finished.broken.is_some() {
        return Exit::Failed;
    }
    let results = MetadataParts {
        targets: &targets,
        model: &finished.model,
    };
    let written = write_metadata(order, &results, exit, screen);
    let is_stopped = matches!(exit, Exit::Interrupted | Exit::HungUp | Exit::TimedOut);
    let tells_all = order.build.after_failure == AfterFailure::KeepGoing && !is_stopped;
    if !tells_all && (written != Exit::Success || exit != Exit::Success) {
        return if exit == Exit::Success { written } else { exit };
    }
    let run = AnsweredRun {
        plan: order.shown,
        flag: order.call,
        targets: &targets,
        environment: order.environment,
    };
    let answered = run.tell(screen);
    [exit, written]
        .into_iter()
        .find(|exit| *exit != Exit::Success)
        .unwrap_or(answered)
}

/// Whether a target ended with an answer of its frontend instead of an image.
fn is_answer(end: &TargetOutcome) -> bool {
    matches!(end, TargetOutcome::Succeeded(solved) if solved.called.is_some())
}

/// What the metadata file is made of.
struct MetadataParts<'a> {
    targets: &'a [(TargetName, Arc<TargetOutcome>)],
    /// The run as it was shown, with the warnings of frontends.
    model: &'a Model,
}

/// Writes the metadata file, if the user wants one. A run in which a target failed has none, as in buildx, so that nobody takes a part
/// for the whole; with `--keep-going`, it has the targets that were built.
fn write_metadata(
    order: &BuildOrder<'_>,
    parts: &MetadataParts<'_>,
    exit: Exit,
    screen: &mut Screen,
) -> Exit {
    let Some(place) = &order.metadata else {
        return Exit::Success;
    };
    let succeeded =
        |(_, end): &(_, Arc<TargetOutcome>)| matches!(**end, TargetOutcome::Succeeded(_));
    let has_what_counts = match order.build.after_failure {
        AfterFailure::KeepGoing => parts.targets.iter().any(succeeded),
        // Something else may have failed, such as the export of a cache.
        AfterFailure::StopAll => parts.targets.iter().all(succeeded),
    };
    if exit != Exit::Success && !has_what_counts {
        return Exit::Success;
    }
    let additions = additions(parts.targets);
    let outcome = Outcome {
        targets: parts.targets.to_vec(),
        problems: Vec::new(),
        caches: Vec::new(),
        interrupted: None,
        kept_going: false,
        elapsed: Duration::ZERO,
    };
    let asks_for_warnings = order.environment.get(METADATA_WARNINGS);
    let with_warnings = asks_for_warnings.and_then(strconv::parse_bool) == Some(true);
    // As in buildx: the answers have the warnings.
    let model = (with_warnings && order.call.is_none()).then_some(parts.model);
    let document = metadata::document(&outcome, &additions, model);
    let to = place.path().to_owned();
    let writing = move || {
        let why = if is_pipe(&to) {
            ", a pipe that waits for a reader"
        } else {
            ""
        };
        let shown = terminal::visible(&to.display().to_string()).into_owned();
        format!("writing the metadata file `{shown}`{why}")
    };
    let written = order
        .signals
        .finishing(writing, || metadata::write(place, &document));
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            let message = format!(
                "cannot write the metadata file `{}`: {error}",
                place.path().display()
            );
            screen
                .diagnostics(&Diagnostic::error(Class::Build, "cli::metadata-file", message).into())
        }
    }
}

fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let found = path.metadata();
    found.is_ok_and(|found| found.file_type().is_fifo())
}

/// The additions to each target's metadata: buildx's `builder/node/ref`, by which buildx's tools find a build again.
fn additions(
    targets: &[(TargetName, Arc<TargetOutcome>)],
) -> BTreeMap<TargetName, metadata::Additions> {
    let addition = |(name, end): &(TargetName, Arc<TargetOutcome>)| match &**end {
        TargetOutcome::Succeeded(solved) if solved.called.is_none() => {
            // As in buildx: an image that was merged of those of several nodes has no reference.
            let node_path = solved.node_path.as_ref()?;
            let reference = format!("{node_path}/{}", solved.build_ref);
            let values = BTreeMap::from([("buildx.build.ref".to_owned(), reference.into())]);
            Some((
                name.clone(),
                metadata::Additions {
                    values,
                    ..metadata::Additions::default()
                },
            ))
        }
        _ => None,
    };
    targets.iter().filter_map(addition).collect()
}
