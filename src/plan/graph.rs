//! The links between targets, and the order that follows from them.

use crate::definition::model::SharedText;
use crate::types::TargetName;
use crate::types::hash::{IndexMap, RandomState};

/// The links between the targets of a plan. There are no cycles.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetGraph {
    links: IndexMap<TargetName, Vec<TargetLink>>,
}

/// A context of one target that is the result of another target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetLink {
    /// The name of the context.
    pub(crate) context: SharedText,
    /// The target whose result is used.
    pub(crate) to: TargetName,
}

#[allow(dead_code, reason = "building linked targets will use it")]
impl TargetGraph {
    /// An empty graph with memory for `targets` targets.
    pub(super) fn with_capacity(targets: usize) -> Self {
        Self {
            links: IndexMap::with_capacity_and_hasher(targets, RandomState::default()),
        }
    }

    /// Adds a target with its links. The targets that it links to must already be in the graph; this rules out cycles.
    pub(super) fn add(&mut self, target: TargetName, links: Vec<TargetLink>) {
        self.links.insert(target, links);
    }

    /// The links of a target. Empty if it has none.
    pub(crate) fn links_of(&self, target: &TargetName) -> &[TargetLink] {
        self.links.get(target).map_or(&[], Vec::as_slice)
    }

    /// The targets that link to `target`, each once.
    pub(crate) fn dependents_of<'a>(
        &'a self,
        target: &'a TargetName,
    ) -> impl Iterator<Item = &'a TargetName> {
        self.links
            .iter()
            .filter(move |(_, links)| links.iter().any(|link| link.to == *target))
            .map(|(name, _)| name)
    }

    /// All targets. Each comes after the targets that it links to.
    pub(crate) fn order(&self) -> impl Iterator<Item = &TargetName> {
        self.links.keys()
    }

    /// Whether any target links to another.
    pub(crate) fn has_links(&self) -> bool {
        self.links.values().any(|links| !links.is_empty())
    }
}
