//! A simulation of placement: what it costs to build 200 targets with shared stages on several nodes, over 50 commits of a real history.
//!
//! `history.txt` has the paths that 50 commits of this repository changed (those up to 15dae7b, without merges). `docs/scale.md` has the table
//! that this prints, and what the model leaves out; a test holds that it is up to date. `cargo xtask placement` prints the table again and writes it there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{
    PlacedTarget, PlacementKey, PlacementMemory, PlatformChoice, TargetChoices, TargetToPlace,
    by_locality,
};
use crate::types::{Digest, Platform};

const HISTORY: &str = include_str!("history.txt");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.md");
const BEGIN: &str = "<!-- placement: begin -->\n";
const END: &str = "<!-- placement: end -->\n";

const TARGETS: usize = 200;
const FAMILIES: usize = 20;
const NODES: [usize; 5] = [1, 2, 4, 8, 16];
/// How many steps a node runs at the same time.
const AT_ONCE: f64 = 4.0;
/// The rate at which a node pulls layers, in megabytes per second.
const RATE: f64 = 100.0;
/// The seconds for a target of which nothing has changed.
const UNCHANGED: f64 = 1.0;

/// A step of a build: what it costs to run it, and to pull its layer.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    megabytes: f64,
}

const ROOT: Cost = Cost {
    seconds: 60.0,
    megabytes: 300.0,
};
const STAGE: Cost = Cost {
    seconds: 30.0,
    megabytes: 150.0,
};
const OWN: Cost = Cost {
    seconds: 20.0,
    megabytes: 40.0,
};

/// A step that a commit can change. Its versions count the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The base of all targets: a change of the list of dependencies.
    Root,
    /// The stage that the targets of a family share: a change of a `mod.rs`.
    Stage(usize),
    /// The step of one target: a change of any other file.
    Own(usize),
}

impl Step {
    /// The step to which `path` belongs. Files of one directory belong to one family. `None` for documents, which no step reads.
    fn of(path: &str) -> Option<Self> {
        if path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ending == "md")
        {
            return None;
        }
        if path.starts_with("Cargo.") {
            return Some(Self::Root);
        }
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let family = bucket(directory, FAMILIES);
        if file == "mod.rs" {
            return Some(Self::Stage(family));
        }
        let members = TARGETS / FAMILIES;
        Some(Self::Own(family * members + bucket(file, members)))
    }

    const fn cost(self) -> Cost {
        match self {
            Self::Root => ROOT,
            Self::Stage(_) => STAGE,
            Self::Own(_) => OWN,
        }
    }

    /// The step that this one begins with.
    const fn parent(self) -> Option<Self> {
        match self {
            Self::Root => None,
            Self::Stage(_) => Some(Self::Root),
            Self::Own(target) => Some(Self::Stage(target / (TARGETS / FAMILIES))),
        }
    }
}

/// A number below `count` that depends on `text` alone.
fn bucket(text: &str, count: usize) -> usize {
    let number = u64::from_str_radix(Digest::sha256(text.as_bytes()).short(), 16).unwrap();
    usize::try_from(number % count as u64).unwrap()
}

/// A step in a version: the changes of it and of all steps before it.
type Version = (Step, Vec<u32>);

#[derive(Default)]
struct Changes(BTreeMap<Step, u32>);

impl Changes {
    fn version(&self, step: Step) -> Version {
        let mut version = Vec::new();
        let mut at = Some(step);
        while let Some(step) = at {
            version.push(self.0.get(&step).copied().unwrap_or_default());
            at = step.parent();
        }
        (step, version)
    }
}

/// How targets are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// buildx's: the first node that can.
    First,
    Random,
    Locality,
}

/// What a rule costs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Costs {
    /// The time of the first commit, for which no node has anything, in seconds.
    first: f64,
    /// The mean time of the others.
    others: f64,
    /// What all nodes pull for the others, in gigabytes.
    pulled: f64,
}

#[derive(Default)]
struct SimulatedNode {
    /// The results in its cache.
    has: BTreeSet<Version>,
}

impl SimulatedNode {
    /// Gets what `step` needs, and returns the seconds and the megabytes. `exported` has what a registry has.
    fn provide(
        &mut self,
        step: Step,
        changes: &Changes,
        exported: &BTreeSet<Version>,
    ) -> (f64, f64) {
        let version = changes.version(step);
        if self.has.contains(&version) {
            return (0.0, 0.0);
        }
        let cost = step.cost();
        let spent = if exported.contains(&version) {
            (cost.megabytes / RATE, cost.megabytes)
        } else {
            let (seconds, megabytes) = step
                .parent()
                .map_or((0.0, 0.0), |parent| self.provide(parent, changes, exported));
            (seconds + cost.seconds, megabytes)
        };
        self.has.insert(version);
        spent
    }

    /// Builds `targets`, and returns the seconds and the megabytes.
    fn build(
        &mut self,
        targets: &[usize],
        changes: &Changes,
        exported: &BTreeSet<Version>,
    ) -> (f64, f64) {
        let (mut work, mut longest, mut pulled) = (0.0, 0.0_f64, 0.0);
        for target in targets {
            let step = Step::Own(*target);
            let version = changes.version(step);
            let (seconds, megabytes) = if exported.contains(&version) {
                // Its layers are not pulled, because no step needs them.
                (UNCHANGED, 0.0)
            } else {
                self.provide(step, changes, exported)
            };
            work += seconds;
            longest = longest.max(seconds);
            pulled += megabytes;
        }
        (longest.max(work / AT_ONCE), pulled)
    }
}

fn name(target: usize) -> String {
    format!("t{target}")
}

fn to_place(nodes: usize) -> Vec<TargetToPlace> {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let one = |target: usize| TargetToPlace {
        choices: TargetChoices {
            target: name(target).parse().unwrap(),
            choices: vec![PlatformChoice {
                platform: Some(platform.clone()),
                nodes: (0..nodes).collect(),
                is_matched: true,
            }],
        },
        own: PlacementKey::of(["target", &name(target)]),
        shared: vec![PlacementKey::of([
            "steps",
            &(target / (TARGETS / FAMILIES)).to_string(),
        ])],
        links: Vec::new(),
    };
    (0..TARGETS).map(one).collect()
}

/// Runs all commits on `count` nodes.
fn simulate(rule: Rule, count: usize) -> Costs {
    let names: Vec<String> = (0..count).map(|node| format!("n{node}")).collect();
    let targets = to_place(count);
    let mut nodes: Vec<SimulatedNode> = names.iter().map(|_| SimulatedNode::default()).collect();
    let (mut changes, mut exported) = (Changes::default(), BTreeSet::new());
    let mut memory = PlacementMemory::default();
    let (mut times, mut pulled) = (Vec::new(), 0.0);
    for (number, commit) in commits().iter().enumerate() {
        let changed: BTreeSet<Step> = commit.iter().filter_map(|path| Step::of(path)).collect();
        for step in changed {
            *changes.0.entry(step).or_default() += 1;
        }
        let placed = by_locality(&names, &targets, &memory);
        let node_of = |target: usize, placed: &[PlacedTarget]| match rule {
            Rule::First => 0,
            Rule::Random => bucket(&format!("{number} {target}"), count),
            Rule::Locality => placed[target].parts[0].node,
        };
        let mut work: Vec<Vec<usize>> = names.iter().map(|_| Vec::new()).collect();
        for target in 0..TARGETS {
            work[node_of(target, &placed)].push(target);
        }
        let mut time = 0.0_f64;
        for (node, targets) in nodes.iter_mut().zip(&work) {
            let (seconds, megabytes) = node.build(targets, &changes, &exported);
            time = time.max(seconds);
            pulled += if number == 0 { 0.0 } else { megabytes };
        }
        times.push(time);
        for target in 0..TARGETS {
            let mut at = Some(Step::Own(target));
            while let Some(step) = at {
                exported.insert(changes.version(step));
                at = step.parent();
            }
        }
        memory.note_all(&names, &targets, &placed, number as u64);
    }
    let others = &times[1..];
    Costs {
        first: times[0],
        others: others.iter().sum::<f64>() / f64::from(u32::try_from(others.len()).unwrap()),
        pulled: pulled / 1_000.0,
    }
}

/// The changed paths of each commit, the oldest first.
fn commits() -> Vec<Vec<&'static str>> {
    let mut commits: Vec<Vec<&str>> = Vec::new();
    for line in HISTORY.lines() {
        match (line.strip_prefix("commit "), commits.last_mut()) {
            (Some(_), _) => commits.push(Vec::new()),
            (None, Some(commit)) => commit.push(line),
            (None, None) => {}
        }
    }
    commits
}

fn table() -> String {
    let mut table =
        "| nodes | rule | first commit | others, mean | pulled |\n|---:|---|---:|---:|---:|\n"
            .to_owned();
    for nodes in NODES {
        let rules = [
            (Rule::First, "first node (buildx)"),
            (Rule::Random, "random"),
            (Rule::Locality, "locality (rbake)"),
        ];
        for (rule, called) in rules {
            let Costs {
                first,
                others,
                pulled,
            } = simulate(rule, nodes);
            writeln!(
                table,
                "| {nodes} | {called} | {first:.0} s | {others:.1} s | {pulled:.1} GB |"
            )
            .unwrap();
        }
    }
    table
}

#[test]
fn the_history_has_fifty_commits() {
    let commits = commits();
    assert_eq!(commits.len(), 50);
    assert!(commits.iter().all(|commit| !commit.is_empty()));
}

// `RBAKE_UPDATE_DOCS=1` writes the table.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no other settings")]
fn the_table_of_the_documentation_is_what_the_simulation_prints() {
    let table = table();
    println!("{table}");
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("RBAKE_UPDATE_DOCS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table);
}

#[test]
fn locality_pulls_less_than_chance_and_is_faster_than_one_node() {
    for nodes in [4, 8, 16] {
        let (first, random, local) = (
            simulate(Rule::First, nodes),
            simulate(Rule::Random, nodes),
            simulate(Rule::Locality, nodes),
        );
        assert!(
            local.pulled < random.pulled,
            "{nodes}: {local:?} {random:?}"
        );
        assert!(
            local.others < first.others && local.first < first.first,
            "{nodes}: {local:?} {first:?}"
        );
    }
}
