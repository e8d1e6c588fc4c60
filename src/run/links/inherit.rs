//! The privileges that a target needs for the steps of the targets that it links to.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::spec::SolveSpec;
use crate::plan::TargetGraph;
use crate::types::{NetworkMode, TargetName};

/// The privilege to use the host's network.
const NETWORK_HOST: &str = "network.host";

/// Adds to each of `specs` the privileges of the targets that it links to, directly or indirectly: its job has their steps,
/// and the daemon checks each step that a job has.
///
/// The plan has passed on the privileges that are in `entitlements`. The use of the host's network needs no entry there.
pub(in crate::run) fn inherit_entitlements<'s>(
    graph: &TargetGraph,
    specs: impl Iterator<Item = &'s mut SolveSpec>,
) {
    if !graph.has_links() {
        return;
    }
    let mut specs: BTreeMap<TargetName, &mut SolveSpec> =
        specs.map(|spec| (spec.target.clone(), spec)).collect();
    for target in graph.order() {
        let parents = graph.links_of(target).iter();
        let parents = parents.filter_map(|link| specs.get(&link.to));
        let needed: BTreeSet<String> = parents.flat_map(|parent| needed_by(parent)).collect();
        if let Some(spec) = specs.get_mut(target) {
            spec.entitlements.extend(needed);
        }
    }
}

fn needed_by(spec: &SolveSpec) -> BTreeSet<String> {
    let mut needed = spec.entitlements.clone();
    if spec.network == NetworkMode::Host {
        needed.insert(NETWORK_HOST.to_owned());
    }
    needed
}
