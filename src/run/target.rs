//! Builds one target: opens its sessions, sends the solve, and finishes what follows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cache_imports::CacheImports;
use super::caches::ServedCaches;
use super::directories::Served;
use super::explain::{self, Scene};
use super::gates::SavedFiles;
use super::inline::InlineName;
use super::layouts::LayoutOutput;
use super::links;
use super::lower::{ExportDestination, LocalCache, LoweredTarget};
use super::policies::Judge;
use super::publishing::{BuiltTarget, FirstExport, Publication, Publishing, Settled};
use super::scheduler::NotBuilt;
use super::shared_context::SharedContext;
use super::{AfterFailure, Ready, caches, images, layouts, outputs, provenance, push, refusal};
use crate::diag::{Diagnostic, Diagnostics};
use crate::engine::session::content::{ContentStores, LayoutError};
use crate::engine::session::export::Exports;
use crate::engine::session::filesync::TransferFailure;
use crate::engine::session::{Auth, PolicyService, Secrets, SessionBuilder, SourceJudge};
use crate::engine::spec::{JudgedSources, SolveExport, SolveSpec};
use crate::engine::{JobHooks, SessionError, SessionId, Sessions};
use crate::event::{EventKind, EventSink};
use crate::outcome::{FailureKind, SolveFailure, Solved, SpecialFiles};
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::shutdown::TARGET_CANCEL_TIMEOUT;
use crate::types::{Reference, TargetName};

/// The exporter's attribute for images that are identified by their manifest or index, not by their configuration.
const PREFER_IMAGE: &str = "prefer-image-digest";

/// The most time that a target waits for the size of its image. The size is only shown, so a slow builder must not
/// delay the run.
const SIZE_TIMEOUT: Duration = Duration::from_secs(1);

/// One target that is ready to be built.
pub(super) struct TargetRun {
    pub(super) ready: Ready,
    pub(super) shared: Arc<SharedContext>,
    /// The export that rbake publishes. `None` if there is none, or the builder pushes it.
    pub(super) publication: Option<Publication>,
    /// The files that are saved of the gates.
    pub(super) saved: Option<Arc<SavedFiles>>,
    /// Cancels the target. A child of the token that cancels the whole run.
    pub(super) halt: CancellationToken,
}

/// A target that is ready, and its lowered form. Both are large, and move several times.
pub(super) type TargetWork = (Box<TargetRun>, Box<LoweredTarget>);

impl TargetRun {
    /// Builds the target. `lowered` is its lowered form. Ends soon after `halt` is cancelled.
    pub(super) async fn run(&self, lowered: Box<LoweredTarget>) -> Result<Solved, NotBuilt> {
        let (shared, name) = (&self.shared, &self.ready.planned.name);
        let part = shared.links.part(name);
        // It is large, and `select!` would make room for it twice.
        let mut built = Box::pin(async {
            match self.build(lowered).await {
                Err(NotBuilt::Failed(failure)) => {
                    Err(Box::pin(shared.failed_or_skipped(name, failure)).await)
                }
                other => other,
            }
        });
        let ended = async {
            tokio::select! {
                result = &mut built => result,
                // The solve ends by itself when `halt` is cancelled. This ends what comes before or after the solve.
                () = async { self.halt.cancelled().await; tokio::time::sleep(TARGET_CANCEL_TIMEOUT).await } => Err(cancelled()),
            }
        };
        let result = match shared.after_failure {
            AfterFailure::StopAll => ended.await,
            AfterFailure::KeepGoing => unless_lost(shared, name, &self.halt, ended).await,
        };
        if result.is_err() {
            // The anchor may still be running the steps.
            self.halt.cancel();
        }
        part.end(&result);
        result
    }

    /// Builds the target.
    async fn build(&self, lowered: Box<LoweredTarget>) -> Result<Solved, NotBuilt> {
        // What comes before and after a solve is large, and hundreds of targets are solved at the same time.
        let served = Box::pin(self.serve(lowered)).await?;
        let result = tokio::select! {
            result = self.solve(&served.spec, &served.sessions, &served.events) => result,
            failure = served.directories.failed() => Err(transfer(&failure)),
            reason = served.secrets.failed() => Err(SolveFailure::new(FailureKind::Build, reason)),
        };
        Box::pin(self.end(*served, result)).await
    }

    /// Prepares everything that the solve needs. All sessions are open before it is sent, because the request names them.
    async fn serve(&self, lowered: Box<LoweredTarget>) -> Result<Box<ServedTarget>, NotBuilt> {
        let LoweredTarget {
            mut spec,
            sinks,
            pushes,
            local_caches,
            notices,
        } = *lowered;
        self.await_turn(&mut spec).await?;
        let publishing = self.shared.publishing.get().zip(self.publication.as_ref());
        let first = publishing.map(|(publishing, publication)| {
            publishing.prepare(&self.ready.planned.name, publication, &mut spec)
        });
        let opened = self.opened(spec, sinks, local_caches, notices).await?;
        let Opened {
            spec,
            caches,
            exports,
            layout,
        } = opened;
        let secrets = Secrets::new(self.ready.secrets.clone());
        let stores = self.stores(&caches, layout.as_ref());
        let judge = Judge::of(&self.ready.policies);
        let mut own = self.own_session(&spec, &secrets, exports.as_ref(), stores.as_ref());
        own = with_judge(own, judge.as_ref());
        let directories = &self.shared.directories;
        let wanted = directories
            .wanted(&self.ready.planned, &self.ready.places)
            .await;
        if let Some((files, key)) = &wanted.own {
            own = own.attach(Arc::new(files.clone())).shared_key(key.clone());
        }
        // Opening a session takes a round trip, so all are opened at the same time.
        let (served, own, spec) = futures_util::join!(
            directories.serve(wanted),
            own.open(self.shared.engine.connection()),
            CacheImports::with_parts(&self.shared, spec),
        );
        let (served, own) = (
            served.map_err(|error| lost(&error))?,
            own.map_err(|error| lost(&error))?,
        );
        let mut spec = served.complete(spec);
        let sessions = Sessions {
            target: Arc::new(own),
            directories: served.sessions.clone(),
        };
        spec.judged = self.judged(judge.as_deref(), &sessions).await?;
        let inline = InlineName::of(&self.ready);
        Ok(Box::new(ServedTarget {
            events: self.watched(&spec, inline.as_ref()),
            spec,
            pushes,
            first,
            sessions,
            directories: served,
            secrets,
            stores,
            judge,
            caches,
            exports,
            layout,
            inline,
        }))
    }

    /// Does what follows the solve, which ended with `result`: publishes the image, closes the session, completes the caches.
    async fn end(
        &self,
        served: ServedTarget,
        result: Result<Solved, SolveFailure>,
    ) -> Result<Solved, NotBuilt> {
        let (spec, sessions) = (&served.spec, &served.sessions);
        self.shared
            .directories
            .note_changes(&spec.target, &served.directories);
        Judge::end(served.judge.as_deref(), result.as_ref().err());
        let publishing = self.shared.publishing.get().zip(self.publication.as_ref());
        let result = match (result, publishing.zip(served.first)) {
            (Ok(solved), Some(((publishing, publication), first))) => {
                let built = BuiltTarget {
                    publication,
                    first,
                    spec,
                    sessions,
                    base_images: &self.ready.places.images,
                    events: &served.events,
                    shared: &self.shared,
                    halt: &self.halt,
                };
                self.published(publishing, &built, solved).await
            }
            (result, _) => result.map(|solved| (solved, Settled::Whole)),
        };
        let result = result.map_err(|failure| match &served.inline {
            Some(inline) => inline.failure(failure),
            None => failure,
        });
        let is_parent = self.shared.links.is_parent(&spec.target);
        if is_parent {
            self.shared.links.keep_open(sessions.clone());
        }
        let is_needed_later = is_parent || matches!(result, Ok((_, Settled::Later)));
        if !is_needed_later && !self.halt.is_cancelled() {
            sessions.target.close().await;
        }
        let mut solved = match result {
            Ok((solved, _)) => solved,
            Err(failure) => return Err(self.explained(failure).await.into()),
        };
        self.finish(&served, &mut solved).await?;
        if let Some(output) = served.layout {
            let entered = output.enter(served.stores.as_ref(), spec, &solved.response);
            entered.await.map_err(|error| layout(&error))?;
        }
        let entered = served.caches.enter(&solved.response).await;
        entered.map_err(|error| layout(&error))?;
        Ok(solved)
    }

    /// Loads the policies of the target, by which `judge` decides. Returns what it decides about.
    async fn judged(
        &self,
        judge: Option<&Judge>,
        sessions: &Sessions,
    ) -> Result<JudgedSources, SolveFailure> {
        let Some(judge) = judge else {
            return Ok(JudgedSources::Nothing);
        };
        let (engine, events) = (&self.shared.engine, &self.shared.events);
        tokio::select! {
            judged = Box::pin(judge.load(engine, &sessions.target, events)) => judged,
            () = self.halt.cancelled() => {
                Err(SolveFailure::new(FailureKind::Cancelled, "cancelled"))
            }
        }
    }

    /// The contents that the session serves and takes: layouts, and local caches.
    fn stores(
        &self,
        caches: &ServedCaches,
        layout: Option<&LayoutOutput>,
    ) -> Option<ContentStores> {
        let mut stores = layouts::stores(&self.ready.places);
        stores.extend(caches.stores.clone());
        stores.extend(layout.map(LayoutOutput::store));
        ContentStores::of(stores)
    }

    /// Waits for the targets that this one links to, whose results are added to `spec`, and for a slot.
    async fn await_turn(&self, spec: &mut SolveSpec) -> Result<(), NotBuilt> {
        tokio::select! {
            completed = self.shared.links.complete(spec) => completed?,
            () = self.halt.cancelled() => return Err(cancelled()),
        }
        tokio::select! {
            biased;
            () = self.halt.cancelled() => Err(cancelled()),
            () = self.shared.slots.take(&spec.target) => Ok(()),
        }
    }

    /// The session of the target, without its directories.
    fn own_session(
        &self,
        spec: &SolveSpec,
        secrets: &Secrets,
        exports: Option<&Exports>,
        stores: Option<&ContentStores>,
    ) -> SessionBuilder {
        let auth = Auth::new(Arc::clone(&self.shared.credentials))
            .for_images(images::of(spec), self.shared.links.images_read(&self.ready));
        let mut own = SessionBuilder::new(SessionId::new())
            .attach(Arc::new(auth))
            .secrets(secrets.clone());
        if !self.ready.ssh.is_empty() {
            own = own.attach(Arc::new(self.ready.ssh.clone()));
        }
        if let Some(exports) = exports {
            own = own.attach(Arc::new(exports.clone()));
        }
        if let Some(stores) = stores {
            own = own.attach(Arc::new(stores.clone()));
        }
        own
    }

    /// The sink for the events of the solve `spec`. Other parts of the run watch them.
    fn watched(&self, spec: &SolveSpec, inline: Option<&InlineName>) -> EventSink {
        let events = match inline {
            Some(inline) => inline.events(&self.shared.events),
            None => self.shared.events.clone(),
        };
        let events = self.shared.steps.watch(&events);
        let events = self.shared.links.watch(&spec.target, &events);
        if spec.cache_imports.is_empty() {
            events
        } else {
            CacheImports::watch(&self.shared, &spec.cache_imports, &events)
        }
    }

    /// Sends the solve. If files of the target are to be saved, they are saved before it ends.
    async fn solve(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        events: &EventSink,
    ) -> Result<Solved, SolveFailure> {
        let (engine, halt) = (&self.shared.engine, &self.halt);
        let saved = self.saved.as_ref();
        let read = saved.and_then(|saved| SavedFiles::hook(saved, &spec.target, events));
        let mut hooks = JobHooks {
            read,
            ..JobHooks::default()
        };
        if self.shared.links.is_parent(&spec.target) {
            let (hold, until) = links::hooks(&self.shared, spec, sessions, halt);
            (hooks.hold, hooks.until) = (Some(hold), Some(until));
        }
        if hooks.is_empty() {
            return engine.solve(spec, sessions, events, halt).await;
        }
        engine.solve_with(spec, sessions, events, halt, hooks).await
    }

    /// Opens the local caches and the destinations of the exports, which may have to wait for a disk.
    async fn opened(
        &self,
        mut spec: SolveSpec,
        sinks: BTreeMap<usize, ExportDestination>,
        local_caches: Vec<LocalCache>,
        mut notices: Diagnostics,
    ) -> Result<Opened, SolveFailure> {
        let (docker, events) = (self.shared.docker.clone(), self.shared.events.clone());
        let special = self.shared.export_special;
        let needs_disk = !sinks.is_empty() || !local_caches.is_empty();
        let opened = move || {
            let caches = caches::open(&local_caches, &mut spec, &mut notices.0)
                .map_err(|error| in_one_line(&error))?;
            for notice in notices.0 {
                events.send(EventKind::Notice(notice));
            }
            let exports = outputs::open(&spec.target, &sinks, &docker, special, &events)?;
            let layout = LayoutOutput::open(&sinks).map_err(|error| in_one_line(&error))?;
            Ok::<_, String>(Opened {
                spec,
                caches,
                exports,
                layout,
            })
        };
        // Most targets have neither, and then no thread is needed.
        let opened = if needs_disk {
            unblock(opened).await
        } else {
            opened()
        };
        opened.map_err(|message| SolveFailure::new(FailureKind::Build, message))
    }

    /// Publishes the image of the target.
    async fn published(
        &self,
        publishing: &Publishing,
        built: &BuiltTarget<'_>,
        mut solved: Solved,
    ) -> Result<(Solved, Settled), SolveFailure> {
        // Afterwards, the response may name an image that the builder does not have.
        self.measure(&mut solved).await;
        let settled = publishing.settle(built, &mut solved).await?;
        Ok((solved, settled))
    }

    /// Asks the builder for the size of the image.
    async fn measure(&self, solved: &mut Solved) {
        if let Some(digest) = solved.digest() {
            let asked = tokio::time::timeout(SIZE_TIMEOUT, self.shared.engine.image_size(&digest));
            solved.size = asked.await.ok().flatten();
            solved.made = Some(digest);
        }
    }

    /// Adds to `failure` what only this side knows: credentials, and the explanation of frequent mistakes.
    async fn explained(&self, mut failure: SolveFailure) -> SolveFailure {
        refusal::explain(&mut failure, &self.shared.credentials.origins());
        let (ready, driver) = (self.ready.clone(), self.shared.driver);
        let explained = move || {
            let scene = Scene {
                target: &ready.planned,
                places: &ready.places,
                driver,
            };
            explain::explain(&mut failure, &scene);
            failure
        };
        unblock(explained).await
    }

    /// Finishes a solve that succeeded: pushes with the Docker Engine, and completes the facts about the result.
    async fn finish(&self, served: &ServedTarget, solved: &mut Solved) -> Result<(), SolveFailure> {
        let (spec, exports) = (&served.spec, served.exports.iter());
        push::push(&spec.target, &served.pushes, &self.shared, solved).await?;
        // The configuration's digest would be mistaken for the image's. buildx leaves it out, too.
        let by_image = |export: &SolveExport| {
            export
                .extra
                .get(PREFER_IMAGE)
                .is_some_and(|on| on == "true")
        };
        if spec.exports.iter().any(by_image) {
            solved.response.remove("containerimage.config.digest");
        }
        for arrived in exports.flat_map(Exports::arrived) {
            solved.special.add(&arrived.special);
        }
        if let Some(notice) = not_kept(&spec.target, &solved.special) {
            self.shared.events.send(EventKind::Notice(notice));
        }
        if solved.made.is_none() {
            self.measure(solved).await;
        }
        if solved.called.is_none() {
            provenance::add(&spec.target, &self.shared, solved).await;
        }
        Ok(())
    }
}

/// Runs the work of `target` to its end, unless a target that it links to fails: then cancels `halt`, and lets the work end.
async fn unless_lost(
    shared: &SharedContext,
    target: &TargetName,
    halt: &CancellationToken,
    work: impl Future<Output = Result<Solved, NotBuilt>>,
) -> Result<Solved, NotBuilt> {
    let mut work = std::pin::pin!(work);
    let because = tokio::select! {
        // A result that is ready counts, even if a parent failed at the same time.
        biased;
        result = &mut work => return result,
        because = shared.links.lost_parent(target) => because,
    };
    tracing::info!(%because, "a target that this one links to was not built");
    halt.cancel();
    match work.await {
        Ok(solved) => Ok(solved),
        Err(_) => Err(NotBuilt::Skipped { because }),
    }
}

/// A target that is ready to be solved: its sessions are open.
struct ServedTarget {
    spec: SolveSpec,
    /// What the Docker Engine pushes afterwards.
    pushes: Vec<Reference>,
    /// How the first solve exports the image, if rbake publishes it.
    first: Option<FirstExport>,
    sessions: Sessions,
    directories: Served,
    secrets: Secrets,
    stores: Option<ContentStores>,
    judge: Option<Arc<Judge>>,
    caches: ServedCaches,
    exports: Option<Exports>,
    layout: Option<LayoutOutput>,
    inline: Option<InlineName>,
    /// Where the progress of the target goes.
    events: EventSink,
}

/// A solve whose local caches and destinations are open.
struct Opened {
    /// With the digests of the caches.
    spec: SolveSpec,
    caches: ServedCaches,
    exports: Option<Exports>,
    layout: Option<LayoutOutput>,
}

/// Returns a warning if set-id bits or extended attributes of exported files could not be written.
fn not_kept(target: &TargetName, special: &SpecialFiles) -> Option<Diagnostic> {
    let first = special.first_dropped.as_ref()?;
    let message = format!(
        "target `{target}`: set-id bits or extended attributes of files could not be written: {}",
        special.dropped
    );
    Some(
        Diagnostic::warning("run::export-dropped", message)
            .note(format!("the first is {first}"))
            .help("an output of `type=tar` keeps them all, for every user and every file system"),
    )
}

/// `session` with the service by which `judge` decides about sources.
fn with_judge(session: SessionBuilder, judge: Option<&Arc<Judge>>) -> SessionBuilder {
    match judge {
        Some(judge) => {
            let judge: Arc<dyn SourceJudge> = Arc::<Judge>::clone(judge);
            session.attach(Arc::new(PolicyService(judge)))
        }
        None => session,
    }
}

fn cancelled() -> NotBuilt {
    SolveFailure::new(FailureKind::Cancelled, "cancelled").into()
}

fn lost(error: &SessionError) -> SolveFailure {
    SolveFailure::new(FailureKind::Engine, in_one_line(error))
}

fn layout(error: &LayoutError) -> SolveFailure {
    SolveFailure::new(FailureKind::Build, in_one_line(error))
}

fn transfer(failure: &TransferFailure) -> SolveFailure {
    let dir = failure.dir.display();
    let message = format!(
        "cannot send `{}` from `{dir}`: {}",
        failure.local, failure.reason
    );
    let mut solve = SolveFailure::new(FailureKind::Build, message);
    solve
        .help
        .extend(failure.help.iter().map(ToString::to_string));
    solve
}
