//! Where a target goes that several nodes can build: to the node whose cache has its steps.
//!
//! All targets that are linked to each other, directly or not, stay together, and so do the platforms of a target that buildx would build on
//! one node. In this order, such a piece goes
//!
//! 1. where it was built last: where most of its targets were;
//! 2. where targets with which it shares steps were built last, or are placed in this run;
//! 3. where the fewest targets are placed in this run, and of these to the first.
//!
//! No node gets more than [`FULL`] times its fair share by the first two rules, so that one node does not get all work because it had all
//! work before. What was built before is placed first. The result depends on nothing but the input.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::matching::{PlatformChoice, TargetChoices};
use super::memory::{PlacementKey, PlacementMemory};
use crate::types::{Platform, TargetName};

/// How many times the fair share of the targets a node may get because of its cache, in percent.
const FULL: usize = 150;

/// A target that is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetToPlace {
    /// Its platforms, and the nodes that can build them.
    pub(crate) choices: TargetChoices,
    /// Names the target in the memory.
    pub(crate) own: PlacementKey,
    /// Name what it shares steps with, such as its Dockerfile and context, the most specific first.
    pub(crate) shared: Vec<PlacementKey>,
    /// The targets that it links to, by their positions.
    pub(crate) links: Vec<usize>,
}

/// Where a target is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedTarget {
    /// The target.
    pub(crate) target: TargetName,
    /// The node of each platform.
    pub(crate) parts: Vec<PlacedPlatform>,
}

/// Where a platform of a target is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedPlatform {
    /// The platform. `None` if the target names none.
    pub(crate) platform: Option<Platform>,
    /// The position of the node.
    pub(crate) node: usize,
    /// Why.
    pub(crate) why: PlacementReason,
}

/// Why a target is built on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlacementReason {
    /// The target names no platform, so the first node builds it: no other one builds such targets alike.
    First,
    /// No other node can build it, or none builds it as well.
    Only,
    /// No node has said that it can build the platform.
    Tries,
    /// It was built there last.
    BuiltThere,
    /// A target that is linked to it was built there last.
    LinkedBuiltThere,
    /// Targets with the same steps were built there last.
    SharesSteps,
    /// Targets with the same steps are placed there in this run.
    SharesStepsNow,
    /// The fewest targets are placed there.
    Fewest,
    /// The same, because the node that has its steps has enough to do.
    Full,
}

impl fmt::Display for PlacementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "it names no platform, so the first node builds it",
            Self::Only => "no other node builds this platform as well",
            Self::Tries => "no node has named this platform, so the first node tries it",
            Self::BuiltThere => "it was built there last",
            Self::LinkedBuiltThere => "a target that is linked to it was built there last",
            Self::SharesSteps => "targets with its Dockerfile and context were built there last",
            Self::SharesStepsNow => "targets with its Dockerfile and context are built there now",
            Self::Fewest => "the fewest targets are built there",
            Self::Full => {
                "the fewest targets are built there, and the node that has its steps has enough to do"
            }
        })
    }
}

/// Places `targets` on `nodes`, which have these names in `memory`.
pub(crate) fn by_locality(
    nodes: &[String],
    targets: &[TargetToPlace],
    memory: &PlacementMemory,
) -> Vec<PlacedTarget> {
    let first = |target: &TargetToPlace| {
        let parts = target.choices.choices.iter().map(by_first);
        PlacedTarget {
            target: target.choices.target.clone(),
            parts: parts.collect(),
        }
    };
    let mut placed: Vec<PlacedTarget> = targets.iter().map(first).collect();
    let pieces: Vec<Piece> = units(targets)
        .iter()
        .flat_map(|unit| pieces(targets, unit))
        .collect();
    let mut loads = Loads::default();
    let (open, fixed): (Vec<Piece>, Vec<Piece>) = pieces
        .into_iter()
        .partition(|piece| piece.candidates.len() > 1);
    let candidates: BTreeSet<usize> = open
        .iter()
        .flat_map(|piece| &piece.candidates)
        .copied()
        .collect();
    let count: usize = open.iter().map(|piece| piece.parts.len()).sum();
    loads.limit = (count * FULL).div_ceil(100 * candidates.len().max(1));
    for piece in &fixed {
        let node = piece.candidates.first().copied().unwrap_or_default();
        loads.add(targets, piece, node);
    }
    let memories = Remembered {
        nodes,
        targets,
        memory,
    };
    let (known, new): (Vec<_>, Vec<_>) = open
        .iter()
        .map(|piece| (piece, memories.own_votes(piece)))
        .partition(|(_, votes)| !votes.is_empty());
    for (piece, votes) in known.into_iter().chain(new) {
        let (node, why) = memories.node_of(piece, &votes, &loads);
        loads.add(targets, piece, node);
        for (target, platforms) in &piece.parts {
            let is_own = memories.own(piece, *target) == Some(node);
            let why = match &why {
                PlacementReason::BuiltThere if !is_own => PlacementReason::LinkedBuiltThere,
                why => why.clone(),
            };
            let parts = placed.get_mut(*target).map(|placed| &mut placed.parts);
            for part in parts.into_iter().flatten() {
                if platforms.contains(&part.platform) {
                    (part.node, part.why) = (node, why.clone());
                }
            }
        }
    }
    placed
}

/// The first node, as buildx chooses it.
fn by_first(choice: &PlatformChoice) -> PlacedPlatform {
    let why = match (&choice.platform, choice.is_matched) {
        (None, _) => PlacementReason::First,
        (Some(_), true) => PlacementReason::Only,
        (Some(_), false) => PlacementReason::Tries,
    };
    PlacedPlatform {
        platform: choice.platform.clone(),
        node: choice.nodes.first().copied().unwrap_or_default(),
        why,
    }
}

/// What must be on one node: targets of a unit, each with some of its platforms. `None` stands for a target that names none.
struct Piece {
    parts: Vec<(usize, Vec<Option<Platform>>)>,
    /// The nodes that can build it.
    candidates: Vec<usize>,
}

/// The pieces of the targets `unit`. If buildx builds all of it on one node, it is one piece, so that no target is divided among nodes that need
/// not be. Otherwise, platforms that the same nodes can build stay together.
fn pieces(targets: &[TargetToPlace], unit: &[usize]) -> Vec<Piece> {
    let all = unit
        .iter()
        .filter_map(|number| Some((*number, targets.get(*number)?)));
    let choices: Vec<(usize, &PlatformChoice)> = all
        .flat_map(|(number, target)| {
            target
                .choices
                .choices
                .iter()
                .map(move |choice| (number, choice))
        })
        .collect();
    let firsts: BTreeSet<Option<&usize>> = choices
        .iter()
        .map(|(_, choice)| choice.nodes.first())
        .collect();
    let together = firsts.len() == 1;
    let mut pieces: Vec<Piece> = Vec::new();
    for (number, choice) in choices {
        let piece = pieces
            .iter_mut()
            .find(|piece| together || piece.candidates == choice.nodes);
        let piece = if let Some(piece) = piece {
            piece.candidates.retain(|node| choice.nodes.contains(node));
            piece
        } else {
            let new = Piece {
                parts: Vec::new(),
                candidates: choice.nodes.clone(),
            };
            pieces.push(new);
            let Some(piece) = pieces.last_mut() else {
                continue;
            };
            piece
        };
        match piece.parts.iter_mut().find(|(known, _)| *known == number) {
            Some((_, platforms)) => platforms.push(choice.platform.clone()),
            None => piece.parts.push((number, vec![choice.platform.clone()])),
        }
    }
    pieces
}

/// The targets that are linked to each other, in the order of the plan.
fn units(targets: &[TargetToPlace]) -> Vec<Vec<usize>> {
    let mut unit_of: Vec<usize> = (0..targets.len()).collect();
    for (number, target) in targets.iter().enumerate() {
        for link in &target.links {
            let (Some(&one), Some(&other)) = (unit_of.get(number), unit_of.get(*link)) else {
                continue;
            };
            let (low, high) = (one.min(other), one.max(other));
            for unit in &mut unit_of {
                if *unit == high {
                    *unit = low;
                }
            }
        }
    }
    let mut units: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, unit) in unit_of.into_iter().enumerate() {
        units.entry(unit).or_default().push(number);
    }
    units.into_values().collect()
}

/// What is placed so far.
#[derive(Default)]
struct Loads<'t> {
    /// The number of targets on each node.
    placed: BTreeMap<usize, usize>,
    /// How many a node may get because of its cache.
    limit: usize,
    /// Where targets with a key are placed.
    shared: BTreeMap<&'t PlacementKey, BTreeMap<usize, usize>>,
}

impl<'t> Loads<'t> {
    fn add(&mut self, targets: &'t [TargetToPlace], piece: &Piece, node: usize) {
        *self.placed.entry(node).or_default() += piece.parts.len();
        let parts = piece.parts.iter();
        for target in parts.filter_map(|(target, _)| targets.get(*target)) {
            for key in &target.shared {
                let at = self.shared.entry(key).or_default();
                *at.entry(node).or_default() += 1;
            }
        }
    }

    fn on(&self, node: usize) -> usize {
        self.placed.get(&node).copied().unwrap_or_default()
    }
}

/// What is known from earlier runs.
struct Remembered<'a> {
    nodes: &'a [String],
    targets: &'a [TargetToPlace],
    memory: &'a PlacementMemory,
}

impl Remembered<'_> {
    /// The candidate of `piece` that the memory names for `key` and a platform.
    fn candidate(
        &self,
        piece: &Piece,
        key: &PlacementKey,
        platform: Option<&Platform>,
    ) -> Option<usize> {
        let name = self.memory.node(&key.of_platform(platform))?;
        let mut candidates = piece.candidates.iter().copied();
        candidates.find(|node| self.nodes.get(*node).is_some_and(|known| known == name))
    }

    /// Where `target` was built last. Its first platform stands for all that are on the same node.
    fn own(&self, piece: &Piece, target: usize) -> Option<usize> {
        let (_, platforms) = piece.parts.iter().find(|(known, _)| *known == target)?;
        let own = &self.targets.get(target)?.own;
        self.candidate(piece, own, platforms.first()?.as_ref())
    }

    fn own_votes(&self, piece: &Piece) -> BTreeMap<usize, usize> {
        let parts = piece.parts.iter();
        votes(parts.filter_map(|(target, _)| self.own(piece, *target)))
    }

    fn node_of(
        &self,
        piece: &Piece,
        own: &BTreeMap<usize, usize>,
        loads: &Loads<'_>,
    ) -> (usize, PlacementReason) {
        let has_room = |node: usize| {
            let placed = loads.on(node);
            placed == 0 || placed + piece.parts.len() <= loads.limit
        };
        let mut was_full = false;
        let mut best = |votes: &BTreeMap<usize, usize>| {
            let room = votes.iter().filter(|(node, _)| has_room(**node));
            // Of equal nodes, the first.
            let best = room.max_by_key(|(node, votes)| (**votes, Reverse(**node)));
            was_full |= best.is_none() && !votes.is_empty();
            best.map(|(node, _)| *node)
        };
        if let Some(node) = best(own) {
            return (node, PlacementReason::BuiltThere);
        }
        let parts = piece.parts.iter();
        let keys = parts.filter_map(|(target, platforms)| {
            let shared = &self.targets.get(*target)?.shared;
            Some((shared, platforms.first()?.as_ref()))
        });
        let keys = keys.flat_map(|(keys, platform)| keys.iter().map(move |key| (key, platform)));
        let keys: Vec<(&PlacementKey, Option<&Platform>)> = keys.collect();
        let before = keys
            .iter()
            .filter_map(|(key, platform)| self.candidate(piece, key, *platform));
        if let Some(node) = best(&votes(before)) {
            return (node, PlacementReason::SharesSteps);
        }
        let mut now: BTreeMap<usize, usize> = BTreeMap::new();
        for (node, count) in keys
            .iter()
            .filter_map(|(key, _)| loads.shared.get(*key))
            .flatten()
        {
            if piece.candidates.contains(node) {
                *now.entry(*node).or_default() += count;
            }
        }
        if let Some(node) = best(&now) {
            return (node, PlacementReason::SharesStepsNow);
        }
        let candidates = piece.candidates.iter().copied();
        let fewest = candidates.min_by_key(|node| (loads.on(*node), *node));
        let why = if was_full {
            PlacementReason::Full
        } else {
            PlacementReason::Fewest
        };
        (fewest.unwrap_or_default(), why)
    }
}

fn votes(nodes: impl Iterator<Item = usize>) -> BTreeMap<usize, usize> {
    let mut votes = BTreeMap::new();
    for node in nodes {
        *votes.entry(node).or_default() += 1;
    }
    votes
}

#[cfg(test)]
mod tests;
