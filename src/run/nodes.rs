//! The nodes on which a run builds, and the work on each.
//!
//! Most builders have one node. With several, each has a [`SharedContext`] of its own: a connection, sessions, capabilities, links. What the
//! targets of all nodes share (slots, publishing, the registries) is shared by these contexts, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::commits::Commits;
use super::lower::LoweredTarget;
use super::publishing::{self, Publication};
use super::scheduler::NotBuilt;
use super::shared_context::SharedContext;
use super::target::{TargetRun, TargetWork};
use super::uploads::Uploader;
use super::work::{OwnedRules, RunWork, lowered};
use super::{Ready, Stop, scheduler, spread};
use crate::builder::embedded::Lease;
use crate::diag::Diagnostics;
use crate::outcome::Solved;
use crate::types::TargetName;
use crate::types::shutdown::{CLOSE_TIMEOUT, CLOSE_TIMEOUT_AFTER_SECOND};

/// A node on which a run builds.
pub(super) struct BuildNode {
    /// What the targets share that it builds.
    pub(super) shared: Arc<SharedContext>,
    /// The targets that it builds, or parts of them.
    pub(super) targets: Vec<Ready>,
    /// Keeps the embedded builder running for as long as this lives.
    pub(super) lease: Option<Lease>,
}

/// The nodes on which a run builds.
pub(super) struct BuildNodes {
    first: BuildNode,
    others: Vec<BuildNode>,
}

/// The work of a run on all nodes.
pub(super) struct NodesWork {
    /// By node.
    pub(super) nodes: Vec<(Arc<SharedContext>, RunWork)>,
    /// What rbake publishes.
    pub(super) publications: BTreeMap<TargetName, Publication>,
}

impl BuildNodes {
    /// The nodes of a run.
    pub(super) const fn new(first: BuildNode, others: Vec<BuildNode>) -> Self {
        Self { first, others }
    }

    /// The first node. Also for what all nodes share.
    pub(super) const fn first(&self) -> &Arc<SharedContext> {
        &self.first.shared
    }

    fn all(&self) -> impl Iterator<Item = &BuildNode> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Who sends the contents of images to registries: rbake only if all nodes are on this machine, in the same way.
    pub(super) fn uploader(&self) -> Uploader {
        let first = self.first.shared.uploader;
        let are_equal = self.all().all(|node| node.shared.uploader == first);
        if are_equal { first } else { Uploader::Builder }
    }

    /// Lowers the targets of all nodes.
    ///
    /// # Errors
    /// A target cannot be built as it is. The problems of all are reported, each once.
    pub(super) async fn lowered(
        &mut self,
        commits: Commits,
        rules: OwnedRules,
    ) -> Result<NodesWork, Diagnostics> {
        let (commits, rules) = (Arc::new(commits), Arc::new(rules));
        let nodes = std::iter::once(&mut self.first).chain(&mut self.others);
        let lowering = nodes.map(|node| {
            let targets = std::mem::take(&mut node.targets);
            let (shared, commits, rules) = (Arc::clone(&node.shared), &commits, &rules);
            async move {
                let work = lowered(targets, &shared, commits, rules).await;
                (shared, work)
            }
        });
        let mut problems = Diagnostics::default();
        let mut works = Vec::new();
        let mut publications = BTreeMap::new();
        for (shared, work) in join_all(lowering).await {
            match work {
                Ok(mut work) => {
                    publications.append(&mut work.publications);
                    works.push((shared, work));
                }
                // Parts of a target have the same problems.
                Err(found) => problems.add_new(found),
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        if let Some(waits) = rules.waits() {
            publishing::check_hold(waits, &publications)?;
        }
        Ok(NodesWork {
            nodes: works,
            publications,
        })
    }

    /// Lets the daemons forget the steps that they keep for linked targets. With them, they would export caches that name directories
    /// by the session that has served them, and not by their content.
    pub(super) async fn release_links(&self, stop: &Stop) {
        let releasing = self.all().map(|node| node.shared.links.release());
        tokio::select! {
            biased;
            _ = stop.requested() => self.abandon_links(),
            _ = join_all(releasing) => {}
        }
    }

    /// Warns of the directories that changed while they were sent to the nodes.
    fn warn_of_changes(&self) {
        for node in self.all() {
            node.shared.directories.warn_of_changes();
        }
    }

    fn abandon_links(&self) {
        self.all().for_each(|node| node.shared.links.abandon());
    }

    /// Warns of directories that changed, and closes the sessions and the connections. If the user has stopped the run, this only waits, for a short time,
    /// until the requests that ask the daemons to stop have been sent.
    pub(super) async fn shut_down(&self, stop: &Stop) {
        self.warn_of_changes();
        let closing = self.all().map(|node| async {
            node.shared.links.close().await;
            node.shared.directories.close().await;
        });
        tokio::select! {
            biased;
            _ = stop.requested() => self.abandon_links(),
            _ = join_all(closing) => return,
        }
        let farewell = async {
            let closing = self.all().map(|node| node.shared.engine.close());
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, join_all(closing)).await;
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

    /// Ends the use of the nodes.
    pub(super) fn end(self) {
        let nodes = std::iter::once(self.first).chain(self.others);
        nodes.for_each(|node| drop(node.lease));
    }
}

impl NodesWork {
    /// The work of each node.
    pub(super) fn by_node(&self) -> impl Iterator<Item = (&Arc<SharedContext>, &RunWork)> {
        self.nodes.iter().map(|(shared, work)| (shared, work))
    }

    /// Takes the targets out, in the order of `names`. The parts of a target on several nodes become one piece of work.
    pub(super) fn take_targets(
        &mut self,
        names: &[TargetName],
    ) -> Vec<(TargetName, scheduler::Work)> {
        let mut parts: BTreeMap<TargetName, Vec<TargetWork>> = BTreeMap::new();
        for (_, work) in &mut self.nodes {
            for (run, lowered) in std::mem::take(&mut work.targets) {
                let name = run.ready.planned.name.clone();
                parts.entry(name).or_default().push((run, lowered));
            }
        }
        let taken = names.iter().filter_map(|name| {
            let mut parts = parts.remove(name)?;
            parts.sort_by_key(|(run, _)| run.ready.part.as_ref().map(|part| part.number));
            let spread = parts.first().and_then(|(run, _)| run.ready.part.clone());
            let work: scheduler::Work = if let Some(part) = spread {
                Box::pin(spread::run(part.spread, parts))
            } else {
                let (run, lowered) = parts.pop()?;
                Box::pin(alone(run, lowered))
            };
            Some((name.clone(), work))
        });
        taken.collect()
    }
}

/// Builds a target on one node.
pub(super) async fn alone(
    run: Box<TargetRun>,
    lowered: Box<LoweredTarget>,
) -> Result<Solved, NotBuilt> {
    let node_path = run.shared.node_path.clone();
    let mut solved = run.run(lowered).await?;
    solved.node_path = Some(node_path);
    Ok(solved)
}
