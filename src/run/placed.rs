//! Which node builds which targets of a run.
//!
//! [`crate::placement`] decides. A target with platforms of several nodes is divided into parts. When the run has ended, [`Placement::note`]
//! notes where targets were built.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use super::Ready;
use super::locate::{DockerfilePlace, SourceTree, TargetPlaces};
use super::placement_record::PlacementRecord;
use super::scheduler::Ends;
use super::spread::{SpreadTarget, TargetPart};
use crate::builder::ChosenBuilder;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::event::{EventKind, EventSink};
use crate::outcome::TargetOutcome;
use crate::placement::{
    PlacedTarget, PlacementKey, PlacementMemory, PlatformChoice, TargetChoices, TargetToPlace,
    by_locality,
};
use crate::plan::TargetGraph;
use crate::types::secret::redact_url;
use crate::types::{Clock, Environment, Platform, TargetName};

/// The platforms of a target that one node builds. Empty if the target names none.
type PlatformsOfNode = (usize, Vec<Platform>);

/// Where the targets of a run are built.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// The names of the nodes. One if the builder has one node; then nothing is placed.
    nodes: Vec<String>,
    targets: Vec<TargetToPlace>,
    placed: Vec<PlacedTarget>,
    record: Option<PlacementRecord>,
}

impl Placement {
    /// Places `targets` on the nodes of `chosen`.
    pub(super) async fn of(
        chosen: &ChosenBuilder,
        targets: &[Ready],
        graph: &TargetGraph,
        environment: &Environment,
    ) -> Self {
        let nodes = chosen
            .nodes()
            .map(|node| node.node.clone().unwrap_or_else(|| node.name.clone()));
        let nodes: Vec<String> = nodes.collect();
        if nodes.len() < 2 {
            return Self {
                nodes,
                ..Self::default()
            };
        }
        let to_place = targets.iter().map(|ready| TargetToPlace {
            choices: choices_of(chosen, ready),
            own: own_key(ready, environment),
            shared: vec![steps_key(&ready.places)],
            links: links_of(ready, targets, graph),
        });
        let to_place: Vec<TargetToPlace> = to_place.collect();
        let record = PlacementRecord::of(&chosen.first.name, environment);
        let memory = match &record {
            Some(record) => record.read().await,
            None => PlacementMemory::default(),
        };
        Self {
            placed: by_locality(&nodes, &to_place, &memory),
            targets: to_place,
            nodes,
            record,
        }
    }

    /// Divides `targets` among the nodes. Returns the targets of each node, in the order of the nodes.
    ///
    /// # Errors
    /// A target uses the result of another one, which is not built on the same nodes.
    pub(super) fn divide(
        &self,
        targets: &[Ready],
        graph: &TargetGraph,
    ) -> Result<Vec<Vec<Ready>>, Diagnostics> {
        if self.nodes.len() < 2 {
            return Ok(vec![targets.to_vec()]);
        }
        let places: BTreeMap<TargetName, Vec<PlatformsOfNode>> = self
            .placed
            .iter()
            .map(|placed| (placed.target.clone(), by_node(placed)))
            .collect();
        check_links(&places, targets, graph, &self.nodes).into_result(())?;
        let mut divided: Vec<Vec<Ready>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for ready in targets {
            let first = vec![(0, ready.planned.platforms.clone())];
            let mut of_target = places.get(&ready.planned.name).cloned().unwrap_or(first);
            if ready.planned.is_called() {
                // One frontend answers for all platforms.
                of_target.truncate(1);
            }
            let several = of_target.len() > 1;
            let spread = SpreadTarget::new(ready.planned.name.clone(), of_target.len());
            for (number, (node, platforms)) in of_target.into_iter().enumerate() {
                let mut ready = ready.clone();
                ready.planned.platforms = platforms;
                ready.part = several.then(|| TargetPart {
                    spread: spread.clone(),
                    number,
                });
                if let Some(targets) = divided.get_mut(node) {
                    targets.push(ready);
                }
            }
        }
        Ok(divided)
    }

    /// Says where each target is built, and why.
    pub(super) fn explain(&self, events: &EventSink) {
        if self.nodes.len() < 2 {
            let node = self.nodes.first().map_or("", String::as_str);
            let message = format!(
                "all targets are built on `{node}`: the builder has, or the run needs, only this node"
            );
            events.send(EventKind::Notice(Diagnostic::information(
                "run::placement",
                message,
            )));
            return;
        }
        for placed in &self.placed {
            for (node, platforms) in by_node(placed) {
                let part = placed.parts.iter().find(|part| part.node == node);
                let (Some(part), Some(name)) = (part, self.nodes.get(node)) else {
                    continue;
                };
                let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                let platforms = match platforms.as_slice() {
                    [] => String::new(),
                    named => format!(" for {}", named.join(", ")),
                };
                let message = format!(
                    "target `{}` is built{platforms} on `{name}`: {}",
                    placed.target, part.why
                );
                let notice = Diagnostic::information("run::placement", message);
                events.send(EventKind::Notice(notice));
            }
        }
    }

    /// Notes where those targets were built that have succeeded, for later runs.
    pub(super) async fn note(self, ends: &Ends, clock: &Clock) {
        let Some(record) = self.record else { return };
        let built: BTreeSet<&TargetName> = ends
            .iter()
            .filter(|(_, end)| matches!(**end, TargetOutcome::Succeeded(_)))
            .map(|(name, _)| name)
            .collect();
        let all = self.targets.into_iter().zip(self.placed);
        let (targets, placed): (Vec<TargetToPlace>, Vec<PlacedTarget>) = all
            .filter(|(_, placed)| built.contains(&placed.target))
            .unzip();
        if targets.is_empty() {
            return;
        }
        let now = clock.now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let nodes = self.nodes;
        let change =
            move |memory: &mut PlacementMemory| memory.note_all(&nodes, &targets, &placed, now);
        record.change(change).await;
    }
}

/// The nodes that can build `ready`. The first one, if nothing is known.
fn choices_of(chosen: &ChosenBuilder, ready: &Ready) -> TargetChoices {
    let mut known = chosen.choices.iter();
    let known = known.find(|choices| choices.target == ready.planned.name);
    known.cloned().unwrap_or_else(|| TargetChoices {
        target: ready.planned.name.clone(),
        choices: vec![PlatformChoice {
            platform: None,
            nodes: vec![0],
            is_matched: true,
        }],
    })
}

/// The positions of the targets that `ready` links to.
fn links_of(ready: &Ready, targets: &[Ready], graph: &TargetGraph) -> Vec<usize> {
    let links = graph.links_of(&ready.planned.name).iter();
    let position = |name: &TargetName| {
        let mut targets = targets.iter();
        targets.position(|target| target.planned.name == *name)
    };
    links.filter_map(|link| position(&link.to)).collect()
}

/// Names a target of the project in the working directory.
fn own_key(ready: &Ready, environment: &Environment) -> PlacementKey {
    let base = environment.current_dir().to_string_lossy();
    PlacementKey::of(["target", &*base, ready.planned.name.as_str()])
}

/// Names what targets with the same context and Dockerfile share: most of their steps.
fn steps_key(places: &TargetPlaces) -> PlacementKey {
    let context = match &places.context {
        SourceTree::Dir(dir) => dir.to_string_lossy().into_owned(),
        SourceTree::Remote(address) => redact_url(address.as_str()),
        SourceTree::InTree(directory) => redact_url(&directory.address()),
    };
    let dockerfile = match &places.dockerfile {
        DockerfilePlace::File { dir, filename } => {
            dir.join(filename).to_string_lossy().into_owned()
        }
        DockerfilePlace::Inline(text) => text.to_string(),
        DockerfilePlace::InContext(path) => path.clone(),
        DockerfilePlace::Url { url, .. } => redact_url(url),
    };
    PlacementKey::of(["steps", &*context, &*dockerfile])
}

/// The nodes of a target, in the order in which its platforms name them, each with its platforms.
fn by_node(placed: &PlacedTarget) -> Vec<PlatformsOfNode> {
    let mut nodes: Vec<PlatformsOfNode> = Vec::new();
    for part in &placed.parts {
        let platform = part.platform.clone();
        match nodes.iter_mut().find(|(known, _)| *known == part.node) {
            Some((_, platforms)) => platforms.extend(platform),
            None => nodes.push((part.node, platform.into_iter().collect())),
        }
    }
    nodes
}

/// Reports targets that are built on a node that does not build what they link to: a result cannot be passed on between nodes.
fn check_links(
    places: &BTreeMap<TargetName, Vec<PlatformsOfNode>>,
    targets: &[Ready],
    graph: &TargetGraph,
    nodes: &[String],
) -> Diagnostics {
    let nodes_of = |target: &TargetName| -> BTreeSet<usize> {
        let nodes = places.get(target).into_iter().flatten();
        nodes.map(|(node, _)| *node).collect()
    };
    let mut problems = Diagnostics::default();
    for ready in targets {
        let child = &ready.planned.name;
        for link in graph.links_of(child) {
            let parents = nodes_of(&link.to);
            let Some(node) = nodes_of(child)
                .into_iter()
                .find(|node| !parents.contains(node))
            else {
                continue;
            };
            let message = format!(
                "target `{child}` is built on the node `{}`, and `{}`, whose result it uses, is not",
                nodes.get(node).map_or("", String::as_str),
                link.to
            );
            let problem = Diagnostic::error(Class::Definition, "run::linked-nodes", message)
                .note("a result cannot be passed on from one node to another")
                .help(format!(
                    "give `{}` the platforms of `{child}`, too",
                    link.to
                ));
            problems.push(problem.at(ready.planned.span(), ""));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacedPlatform;
    use crate::placement::PlacementReason;

    fn placed(parts: &[(Option<&str>, usize)]) -> PlacedTarget {
        let part = |(platform, node): &(Option<&str>, usize)| PlacedPlatform {
            platform: platform.map(|platform| platform.parse().unwrap()),
            node: *node,
            why: PlacementReason::Only,
        };
        PlacedTarget {
            target: "t".parse().unwrap(),
            parts: parts.iter().map(part).collect(),
        }
    }

    #[test]
    fn platforms_of_one_node_stay_together_in_the_order_of_the_definition() {
        let parts = [
            (Some("linux/arm64"), 1),
            (Some("linux/amd64"), 0),
            (Some("linux/arm/v7"), 1),
        ];
        let platforms = |names: &[&str]| -> Vec<Platform> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        assert_eq!(
            by_node(&placed(&parts)),
            [
                (1, platforms(&["linux/arm64", "linux/arm/v7"])),
                (0, platforms(&["linux/amd64"])),
            ]
        );
    }

    #[test]
    fn a_target_without_platforms_is_one_part() {
        assert_eq!(by_node(&placed(&[(None, 0)])), [(0, Vec::new())]);
    }
}
