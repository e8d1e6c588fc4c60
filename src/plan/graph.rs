//! Which targets take contexts from which, and the order that follows.

use crate::definition::model::SharedText;
use crate::types::TargetName;
use crate::types::hash::{IndexMap, RandomState};

/// The links between the targets of a plan; there are no cycles.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetGraph {
    links: IndexMap<TargetName, Vec<TargetLink>>,
}

/// A context of one target that is the result of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetLink {
    /// The context's name.
    pub(crate) context: SharedText,
    /// The target whose result it is.
    pub(crate) to: TargetName,
}

#[allow(dead_code, reason = "building linked targets will use it")]
impl TargetGraph {
    /// A graph with room for so many targets.
    pub(super) fn with_capacity(targets: usize) -> Self {
        Self {
            links: IndexMap::with_capacity_and_hasher(targets, RandomState::default()),
        }
    }

    /// Adds a target with its links. Those it links to must be added before, which keeps cycles out.
    pub(super) fn add(&mut self, target: TargetName, links: Vec<TargetLink>) {
        self.links.insert(target, links);
    }

    /// The links of a target.
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

    /// All targets, those that others link to before those others.
    pub(crate) fn order(&self) -> impl Iterator<Item = &TargetName> {
        self.links.keys()
    }

    /// Whether any target links to another.
    pub(crate) fn has_links(&self) -> bool {
        self.links.values().any(|links| !links.is_empty())
    }
}
