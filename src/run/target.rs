//! Builds one target: opens its sessions, sends the solve, and finishes what follows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cache_imports::CacheImports;
use super::caches::ServedCaches;
use super::explain::{self, Scene};
use super::gates::SavedFiles;
use super::inline::InlineName;
use super::lower::{ExportDestination, LocalCache, LoweredTarget};
use super::publishing::{BuiltTarget, Publication, Publishing, Settled};
use super::shared_context::SharedContext;
use super::{Ready, caches, images, outputs, push, refusal};
use crate::diag::{Diagnostic, Diagnostics};
use crate::engine::session::content::LayoutError;
use crate::engine::session::export::Exports;
use crate::engine::session::filesync::TransferFailure;
use crate::engine::session::{Auth, Secrets, SessionBuilder};
use crate::engine::spec::{SolveExport, SolveSpec};
use crate::engine::{SessionError, SessionId, Sessions};
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
}

impl TargetRun {
    /// Builds the target. `lowered` is its lowered form. Ends soon after `halt` is cancelled.
    pub(super) async fn run(self, lowered: LoweredTarget) -> Result<Solved, SolveFailure> {
        let halt = self.shared.halt.clone();
        let shared = Arc::clone(&self.shared);
        let mut build = std::pin::pin!(self.build(lowered));
        tokio::select! {
            result = &mut build => result.map_err(|failure| shared.with_help(failure)),
            // The solve ends by itself when `halt` is cancelled. This ends what comes before or after the solve.
            () = async { halt.cancelled().await; tokio::time::sleep(TARGET_CANCEL_TIMEOUT).await } => {
                Err(SolveFailure::new(FailureKind::Cancelled, "cancelled"))
            }
        }
    }

    /// Builds the target. All sessions are open before the solve is sent, because the request names them.
    async fn build(self, lowered: LoweredTarget) -> Result<Solved, SolveFailure> {
        let LoweredTarget {
            mut spec,
            sinks,
            pushes,
            local_caches,
            notices,
        } = lowered;
        let publishing = self.shared.publishing.get().zip(self.publication.as_ref());
        let first = publishing.map(|(publishing, publication)| {
            publishing.prepare(&self.ready.planned.name, publication, &mut spec)
        });
        let (spec, caches, exports) = self.opened(spec, sinks, local_caches, notices).await?;
        let secrets = Secrets::new(self.ready.secrets.clone());
        let auth = Auth::new(Arc::clone(&self.shared.credentials))
            .for_images(images::of(&spec), self.ready.places.images.clone());
        let mut own = SessionBuilder::new(SessionId::new())
            .attach(Arc::new(auth))
            .secrets(secrets.clone());
        if let Some(exports) = &exports {
            own = own.attach(Arc::new(exports.clone()));
        }
        if let Some(stores) = caches.stores.clone() {
            own = own.attach(Arc::new(stores));
        }
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
        let sessions = Sessions {
            target: Arc::new(own),
            directories: served.sessions.clone(),
        };
        let inline = InlineName::of(&self.ready);
        let events = match &inline {
            Some(inline) => inline.events(&self.shared.events),
            None => self.shared.events.clone(),
        };
        let events = self.shared.steps.watch(&events);
        let events = if spec.cache_imports.is_empty() {
            events
        } else {
            CacheImports::watch(&self.shared, &events)
        };
        let result = tokio::select! {
            result = self.solve(&spec, &sessions, &events) => result,
            failure = served.failed() => Err(transfer(&failure)),
            reason = secrets.failed() => Err(SolveFailure::new(FailureKind::Build, reason)),
        };
        let result = match (result, publishing.zip(first)) {
            (Ok(solved), Some(((publishing, publication), first))) => {
                let built = BuiltTarget {
                    publication,
                    first,
                    spec: &spec,
                    sessions: &sessions,
                    base_images: &self.ready.places.images,
                    events: &events,
                    shared: &self.shared,
                };
                self.published(publishing, &built, solved).await
            }
            (result, _) => result.map(|solved| (solved, Settled::Whole)),
        };
        let result = result.map_err(|failure| match &inline {
            Some(inline) => inline.failure(failure),
            None => failure,
        });
        let is_needed_later = matches!(result, Ok((_, Settled::Later)));
        if !is_needed_later && !self.shared.halt.is_cancelled() {
            sessions.target.close().await;
        }
        let mut solved = match result {
            Ok((solved, _)) => solved,
            Err(failure) => return Err(self.explained(failure).await),
        };
        self.finish(&spec, &pushes, exports.as_ref(), &mut solved)
            .await?;
        caches
            .enter(&solved.response)
            .await
            .map_err(|error| layout(&error))?;
        Ok(solved)
    }

    /// Sends the solve. If files of the target are to be saved, they are saved before it ends.
    async fn solve(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        events: &EventSink,
    ) -> Result<Solved, SolveFailure> {
        let (engine, halt) = (&self.shared.engine, &self.shared.halt);
        let saved = self.saved.as_ref();
        let read = saved.and_then(|saved| SavedFiles::hook(saved, &spec.target, events));
        match read {
            Some(read) => {
                engine
                    .solve_and_read(spec, sessions, events, halt, read)
                    .await
            }
            None => engine.solve(spec, sessions, events, halt).await,
        }
    }

    /// Opens the local caches and the destinations of the exports, which may have to wait for a disk.
    async fn opened(
        &self,
        mut spec: SolveSpec,
        sinks: BTreeMap<usize, ExportDestination>,
        local_caches: Vec<LocalCache>,
        mut notices: Diagnostics,
    ) -> Result<(SolveSpec, ServedCaches, Option<Exports>), SolveFailure> {
        let (docker, events) = (self.shared.docker.clone(), self.shared.events.clone());
        let special = self.shared.export_special;
        let opened = move || {
            let caches = caches::open(&local_caches, &mut spec, &mut notices.0)
                .map_err(|error| in_one_line(&error))?;
            for notice in notices.0 {
                events.send(EventKind::Notice(notice));
            }
            let exports = outputs::open(&spec.target, &sinks, &docker, special, &events)?;
            Ok::<_, String>((spec, caches, exports))
        };
        let opened = unblock(opened).await;
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
    async fn finish(
        &self,
        spec: &SolveSpec,
        pushes: &[Reference],
        exports: Option<&Exports>,
        solved: &mut Solved,
    ) -> Result<(), SolveFailure> {
        push::push(&spec.target, pushes, &self.shared, solved).await?;
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
        for arrived in exports.into_iter().flat_map(Exports::arrived) {
            solved.special.add(&arrived.special);
        }
        if let Some(notice) = not_kept(&spec.target, &solved.special) {
            self.shared.events.send(EventKind::Notice(notice));
        }
        if solved.made.is_none() {
            self.measure(solved).await;
        }
        Ok(())
    }
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
