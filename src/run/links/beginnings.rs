//! Which targets have begun to run steps, and the order in which this must happen.
//!
//! The daemon looks for a step in the imported caches of the jobs that have loaded it. If a parent began first, it would run
//! steps that only the caches of its children have. If both import the same cache, the one that loads a shared step first
//! decides which copy of the cache is asked, and BuildKit (v0.32) does not find the steps of a child after a `COPY` from a
//! local directory in another copy than those before (`solver/cachemanager.go`, `getIDFromDeps`). So a parent lets those of
//! its children begin that import caches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::watch;

use crate::event::StatusUpdate;
use crate::plan::TargetGraph;
use crate::types::TargetName;

/// The most time that a parent waits for its children to begin. They may need an image of a frontend first. Afterwards, only
/// caches may be missed.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The targets that link to others, and whether they have begun to run steps.
#[derive(Debug)]
pub(super) struct Beginnings {
    begun: BTreeMap<TargetName, watch::Sender<bool>>,
    importers: OnceLock<BTreeSet<TargetName>>,
}

impl Beginnings {
    /// Those of `graph`, of which none has begun.
    pub(super) fn of(graph: &TargetGraph) -> Self {
        let children = graph
            .order()
            .filter(|target| !graph.links_of(target).is_empty());
        let waiting = |child: &TargetName| (child.clone(), watch::Sender::new(false));
        Self {
            begun: children.map(waiting).collect(),
            importers: OnceLock::new(),
        }
    }

    /// Says which targets import caches.
    pub(super) fn expect_imports(&self, importers: BTreeSet<TargetName>) {
        // It is called only once.
        let _ = self.importers.set(importers);
    }

    /// Notes what the daemon says of the steps of `target`.
    pub(super) fn see(&self, target: &TargetName, update: &StatusUpdate) {
        // The daemon reports all steps when it loads them. What the frontend reads before are sources, which have no inputs.
        let is_loaded = update
            .vertices
            .iter()
            .any(|vertex| !vertex.inputs.is_empty());
        if is_loaded {
            self.note(target);
        }
    }

    /// Notes that `target` has begun, or will never begin.
    pub(super) fn note(&self, target: &TargetName) {
        if let Some(begun) = self.begun.get(target) {
            begun.send_if_modified(|begun| !std::mem::replace(begun, true));
        }
    }

    /// The targets that import caches and need `parent`.
    pub(super) fn importers(&self, graph: &TargetGraph, parent: &TargetName) -> Vec<TargetName> {
        let importers = self.importers.get().into_iter().flatten();
        let importers = importers
            .filter(|target| self.begun.contains_key(*target) && graph.needs(target, parent));
        importers.cloned().collect()
    }

    /// Waits a limited time until all of `importers` have begun, which need `parent`.
    pub(super) async fn await_begun(&self, parent: &TargetName, importers: &[TargetName]) {
        let begun = async {
            for target in importers {
                if let Some(begun) = self.begun.get(target) {
                    // The sender lives as long as this, so waiting does not fail.
                    let _ = begun.subscribe().wait_for(|begun| *begun).await;
                }
            }
        };
        if tokio::time::timeout(BEGIN_TIMEOUT, begun).await.is_err() {
            tracing::info!(%parent, "targets that import caches have not begun yet");
        }
    }
}
