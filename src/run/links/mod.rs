//! The results that targets take from other targets (`contexts = { base = "target:base" }`), while a run lasts.
//!
//! A target that others link to, a *parent*, is solved through the gateway. As soon as its frontend has answered, before any
//! step has run, [`TargetLinks`] passes the answer on to its *children*, which send it as an input of their own solves. From then
//! on all run at the same time: the daemon runs a step that several solves need only once. An [`Anchor`] keeps the steps of
//! each parent in the daemon until all targets have ended, so parents need not wait for their children, and a second solve of a child
//! finds them, too. The sessions of parents stay open until the run ends: the definition of a child names them as the sources
//! of the parents' directories.
//!
//! Nothing here can wait forever. Children wait for the answers of their parents, and the graph of a plan has no cycles. A
//! parent does not wait for anything before it has passed its answer on; afterwards, it may wait a limited time for the
//! steps of its children ([`Beginnings`]). The [`LinkPart`] of each target tells all others that it has ended, and how, even
//! if its task is dropped.

mod beginnings;
mod board;
mod inherit;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, select_all};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::scheduler::NotBuilt;
use super::shared_context::SharedContext;
use super::slots::Slots;
use super::{Ready, locate::NamedTree};
use crate::engine::spec::{SolveContext, SolveSpec};
use crate::engine::{Anchor, FrontendResult, Hold, Sessions};
use crate::event::{EventKind, EventSink};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::plan::TargetGraph;
use crate::types::causes::in_one_line;
use crate::types::{Reference, TargetName};

use beginnings::Beginnings;
use board::{Board, WhyNotBuilt};
pub(super) use inherit::inherit_entitlements;

/// The most time that a parent whose steps have all run waits for its anchor, which runs the same steps.
const ANCHOR_TIMEOUT: Duration = Duration::from_secs(10);

/// The most time that a target that has failed waits for the end of a parent in which the same step has failed.
const BLAME_TIMEOUT: Duration = Duration::from_secs(2);

/// The name of the input that has the result of `parent`. As in buildx, it has the position of the node among those of its builder.
pub(super) fn input_name(node: usize, parent: &str) -> String {
    format!("{node}-{parent}")
}

/// The links of a run, and how far the targets are.
pub(super) struct TargetLinks {
    graph: TargetGraph,
    /// The position of the node among those of its builder.
    node: usize,
    board: Board,
    beginnings: Beginnings,
    /// What must live until no solve needs the results any more.
    kept: Mutex<Kept>,
    /// The images that each target reads, as far as they are known before the build.
    images: Vec<(TargetName, Vec<Reference>)>,
}

#[derive(Default)]
struct Kept {
    anchors: Vec<Anchor>,
    sessions: Vec<Sessions>,
}

/// A target's part in the links. Dropping it tells the children that the target was not built.
pub(super) struct LinkPart {
    links: Arc<TargetLinks>,
    target: TargetName,
    ended: bool,
}

impl LinkPart {
    /// Tells the children how the target ended.
    pub(super) fn end(mut self, result: &Result<Solved, NotBuilt>) {
        self.ended = true;
        let why_not = match result {
            Ok(_) => None,
            Err(NotBuilt::Failed(failure)) if failure.kind == FailureKind::Cancelled => {
                Some(WhyNotBuilt::Stopped)
            }
            Err(NotBuilt::Failed(_)) => Some(WhyNotBuilt::Because(self.target.clone())),
            Err(NotBuilt::Skipped { because }) => Some(WhyNotBuilt::Because(because.clone())),
        };
        self.links.board.end(&self.target, why_not);
        self.links.beginnings.note(&self.target);
    }
}

impl Drop for LinkPart {
    fn drop(&mut self) {
        if !self.ended {
            let because = WhyNotBuilt::Because(self.target.clone());
            self.links.board.end(&self.target, Some(because));
            self.links.beginnings.note(&self.target);
        }
    }
}

impl TargetLinks {
    /// The links of `graph` between `targets`.
    pub(super) fn new(graph: TargetGraph, targets: &[Ready]) -> Self {
        let read = |ready: &Ready| {
            let named = ready.places.named.values();
            let named = named.filter_map(|tree| match tree {
                NamedTree::Image(image) => image.reference().cloned(),
                NamedTree::Tree(_) | NamedTree::Linked(_) | NamedTree::Layout(_) => None,
            });
            let images = ready.places.images.iter().cloned().chain(named);
            (ready.planned.name.clone(), images.collect())
        };
        let images = if graph.has_links() {
            targets.iter().map(read).collect()
        } else {
            Vec::new()
        };
        Self {
            board: Board::of(&graph),
            beginnings: Beginnings::of(&graph),
            graph,
            node: 0,
            kept: Mutex::default(),
            images,
        }
    }

    /// The links on the node with this position.
    pub(super) fn on_node(self, node: usize) -> Self {
        Self { node, ..self }
    }

    /// The graph.
    pub(super) const fn graph(&self) -> &TargetGraph {
        &self.graph
    }

    /// Begins the part of `target`.
    pub(super) fn part(self: &Arc<Self>, target: &TargetName) -> LinkPart {
        LinkPart {
            links: Arc::clone(self),
            target: target.clone(),
            ended: false,
        }
    }

    /// Says which targets import caches. Call this once, before any target begins.
    pub(super) fn expect_imports(&self, importers: BTreeSet<TargetName>) {
        self.beginnings.expect_imports(importers);
    }

    /// Returns a sink that passes the events of `target` on to `events`, and notes when its steps begin.
    pub(super) fn watch(self: &Arc<Self>, target: &TargetName, events: &EventSink) -> EventSink {
        if self.graph.links_of(target).is_empty() {
            return events.clone();
        }
        let (links, target) = (Arc::clone(self), target.clone());
        events.map(move |kind| {
            if let EventKind::Progress { update, .. } = &kind {
                links.beginnings.see(&target, update);
            }
            kind
        })
    }

    /// Whether another target links to `target`.
    pub(super) fn is_parent(&self, target: &TargetName) -> bool {
        self.board.has(target)
    }

    /// The images that the Dockerfiles of a target and of the targets behind its links name. The daemon may ask the session of
    /// any of these targets for credentials, because they share steps.
    pub(super) fn images_read(&self, target: &Ready) -> Vec<Reference> {
        let behind = self.graph.behind(&target.planned.name);
        let images = self.images.iter();
        let images = images.filter(|(name, _)| behind.contains(&name));
        let images = images.flat_map(|(_, images)| images);
        target.places.images.iter().chain(images).cloned().collect()
    }

    /// Lets those targets begin that import caches and need `parent`, which needs no slot meanwhile. Then calls
    /// `begin_anchor`, and waits until the parent has a slot again.
    pub(super) async fn let_begin(
        &self,
        slots: &Slots,
        parent: &TargetName,
        begin_anchor: impl FnOnce(),
    ) {
        let importers = self.beginnings.importers(&self.graph, parent);
        if importers.is_empty() {
            begin_anchor();
            return;
        }
        let begun = async {
            // They may have to wait for a slot for any time.
            slots.had_by(&importers).await;
            self.beginnings.await_begun(parent, &importers).await;
            begin_anchor();
            if slots.are_limited() {
                // The anchor has the steps and the caches of the parent, which may have to wait for a slot.
                self.beginnings.note(parent);
            }
        };
        slots.without(parent, begun).await;
    }

    /// Waits until the frontends of all parents of the target of `spec` have answered, and adds their results to `spec`.
    ///
    /// # Errors
    /// A parent was not built.
    pub(super) async fn complete(&self, spec: &mut SolveSpec) -> Result<(), NotBuilt> {
        for link in self.graph.links_of(&spec.target) {
            // buildx solves everything through the gateway. For the result, that makes no difference; for the provenance,
            // which has the request of each input, it does.
            spec.through_gateway = true;
            let results = self.board.answer(&link.to).await;
            let results = results.map_err(|why| match why {
                WhyNotBuilt::Because(because) => NotBuilt::Skipped { because },
                WhyNotBuilt::Stopped => {
                    SolveFailure::new(FailureKind::Cancelled, "cancelled").into()
                }
            })?;
            let context = SolveContext::Linked {
                input: input_name(self.node, link.to.as_str()),
                results: results.to_vec(),
            };
            spec.named_contexts
                .insert(link.context.to_string(), context);
        }
        Ok(())
    }

    /// The parent, or a parent of a parent, in which the step has failed that made `target` fail. `None` if the step is the
    /// target's own.
    ///
    /// They run the step together, and any of them may be the first to hear of its failure.
    pub(super) async fn blamed(
        &self,
        target: &TargetName,
        failure: &SolveFailure,
        shared: &SharedContext,
    ) -> Option<TargetName> {
        let vertex = failure.vertex.as_ref()?;
        let blamed = async {
            for parent in self.graph.behind(target) {
                if shared.steps.of(parent).contains(vertex)
                    && let Some(because) = self.board.not_built(parent).await
                {
                    return Some(because);
                }
            }
            None
        };
        let blamed = tokio::time::timeout(BLAME_TIMEOUT, blamed).await;
        blamed.ok().flatten()
    }

    /// Waits until a target that `target` links to, directly or indirectly, has failed. Returns that target. Does not complete
    /// if all are built, or if the run is stopped.
    pub(super) async fn lost_parent(&self, target: &TargetName) -> TargetName {
        // One in between may have been built before.
        let parents = self.graph.behind(target).into_iter();
        let lost = parents.map(|parent| {
            Box::pin(async {
                match self.board.not_built(parent).await {
                    Some(because) => because,
                    None => std::future::pending().await,
                }
            })
        });
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() {
            return std::future::pending().await;
        }
        select_all(lost).await.0
    }

    /// Keeps the sessions of a parent open until [`TargetLinks::close`].
    pub(super) fn keep_open(&self, sessions: Sessions) {
        self.kept().sessions.push(sessions);
    }

    /// Lets the daemon forget the steps of the parents. No solve may need the results any more.
    pub(super) async fn release(&self) {
        let anchors = std::mem::take(&mut self.kept().anchors);
        join_all(anchors.into_iter().map(Anchor::release)).await;
    }

    /// Ends all that was kept for the children.
    pub(super) async fn close(&self) {
        self.release().await;
        let sessions = std::mem::take(&mut self.kept().sessions);
        join_all(sessions.iter().map(|sessions| sessions.target.close())).await;
    }

    /// Does the same without waiting for the daemon.
    pub(super) fn abandon(&self) {
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs in the job of the parent that is solved as `spec`: it passes the answer of the frontend on and begins the
/// anchor; and the job ends only when the anchor has the steps. Cancelling `halt` ends an anchor that has not got them yet.
pub(super) fn hooks(
    shared: &Arc<SharedContext>,
    spec: &SolveSpec,
    sessions: &Sessions,
    halt: &CancellationToken,
) -> (Hold, BoxFuture<'static, ()>) {
    let (begun, begins) = oneshot::channel();
    let (shared, spec, sessions) = (Arc::clone(shared), spec.clone(), sessions.clone());
    let halt = halt.clone();
    let hold: Hold = Box::new(move |result: FrontendResult| {
        Box::pin(async move {
            let results = result.linked().map_err(|error| {
                let message = format!("the result of `{}`: {}", spec.target, in_one_line(&error));
                SolveFailure::new(FailureKind::Build, message)
            })?;
            shared.links.board.answered(&spec.target, results);
            shared.slots.answered(&spec.target);
            let begin_anchor = || {
                let anchor = shared.engine.anchor(&spec, &sessions, &result, halt);
                // If the job has ended, nobody waits for the anchor.
                let _ = begun.send(anchor.ready());
                shared.links.kept().anchors.push(anchor);
            };
            let (links, slots) = (&shared.links, &shared.slots);
            links.let_begin(slots, &spec.target, begin_anchor).await;
            Ok(())
        })
    });
    let until = async move {
        let Ok(ready) = begins.await else { return };
        if tokio::time::timeout(ANCHOR_TIMEOUT, ready).await.is_err() {
            tracing::warn!("the anchor of the target is late");
        }
    };
    (hold, Box::pin(until))
}
