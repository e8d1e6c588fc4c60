//! The links between targets, and the order that follows from them.

use std::collections::{BTreeSet, HashSet};

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

impl TargetGraph {
    /// An empty graph with memory for `targets` targets.
    pub(super) fn with_capacity(targets: usize) -> Self {
        Self {
            links: IndexMap::with_capacity_and_hasher(targets, RandomState::default()),
        }
    }

    /// A graph of targets with the targets that each links to, under their own names.
    #[cfg(test)]
    pub(crate) fn of(targets: &[(&str, &[&str])]) -> Self {
        let name = |name: &str| name.parse().expect("a name");
        let mut graph = Self::with_capacity(targets.len());
        for (target, links) in targets {
            let links = links.iter().map(|to| TargetLink {
                context: (*to).into(),
                to: name(to),
            });
            graph.add(name(target), links.collect());
        }
        graph
    }

    /// Adds a target with its links. The targets that it links to must already be in the graph; this rules out cycles.
    pub(super) fn add(&mut self, target: TargetName, links: Vec<TargetLink>) {
        self.links.insert(target, links);
    }

    /// The graph of those of its targets that `keep` has, without links to others.
    pub(crate) fn of_targets(&self, keep: &BTreeSet<TargetName>) -> Self {
        let kept = self.links.iter().filter(|(name, _)| keep.contains(*name));
        let kept = kept.map(|(name, links)| {
            let links = links.iter().filter(|link| keep.contains(&link.to));
            (name.clone(), links.cloned().collect())
        });
        Self {
            links: kept.collect(),
        }
    }

    /// The links of a target. Empty if it has none.
    pub(crate) fn links_of(&self, target: &TargetName) -> &[TargetLink] {
        self.links.get(target).map_or(&[], Vec::as_slice)
    }

    /// The targets that `target` links to, directly or indirectly, each once. Each comes after those that it links to.
    pub(crate) fn behind(&self, target: &TargetName) -> Vec<&TargetName> {
        let mut found: HashSet<&TargetName> = HashSet::new();
        let mut open = vec![target];
        while let Some(user) = open.pop() {
            for link in self.links_of(user) {
                if found.insert(&link.to) {
                    open.push(&link.to);
                }
            }
        }
        self.order().filter(|name| found.contains(name)).collect()
    }

    /// Whether `user` links to `used`, directly or indirectly.
    pub(crate) fn needs(&self, user: &TargetName, used: &TargetName) -> bool {
        self.behind(user).contains(&used)
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
