//! A builder that may have several nodes: finds out which nodes a run needs, and connects to them.
//!
//! The rules are those of buildx: see [`crate::placement`]. A node that does not answer is an error only if a target needs it.
//! Start at [`reach_named`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::candidate::Candidate;
use super::discovery::{Chosen, chosen, refused};
use super::error::{BuilderRefusal, ChooseError};
use super::reach::{Reached, Reacher};
use crate::diag::Diagnostic;
use crate::engine::facts::daemon_facts;
use crate::placement::{
    NodePlatforms, PlatformChoice, TargetChoices, TargetPlatforms, candidates_by_all,
    candidates_by_fixed,
};
use crate::types::Platform;
use crate::types::causes::in_one_line;
use crate::types::terminal::visible;

/// The most time that a node may take to list its workers.
const WORKERS_LIMIT: Duration = Duration::from_secs(20);

/// The builder for a run, connected and ready.
#[derive(Debug)]
pub struct ChosenBuilder {
    /// The node that builds a target without platforms.
    pub(crate) first: Chosen,
    /// The other nodes that the run may use.
    pub(crate) others: Vec<Chosen>,
    /// The nodes for each target, by their positions: 0 is the first. Empty if the builder has one node.
    pub(crate) choices: Vec<TargetChoices>,
}

impl ChosenBuilder {
    /// The first node, for work that needs only one.
    pub fn into_first(self) -> Chosen {
        self.first
    }

    /// All nodes, the first one first.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Chosen> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl From<Chosen> for ChosenBuilder {
    fn from(first: Chosen) -> Self {
        Self {
            first,
            others: Vec::new(),
            choices: Vec::new(),
        }
    }
}

/// Connects to those of `nodes`, the nodes of a builder that the user named, that the targets need.
///
/// # Errors
/// There is no node, or one that a target needs cannot be used.
pub(super) async fn reach_named(
    reacher: &Reacher<'_>,
    nodes: Vec<Candidate>,
) -> Result<ChosenBuilder, ChooseError> {
    let mut all = nodes.into_iter();
    let (Some(first), rest) = (all.next(), all.collect::<Vec<_>>()) else {
        // The caller has checked it.
        return Err(ChooseError::Blank("the builder".to_owned()));
    };
    if rest.is_empty() {
        let why = why(&first);
        return match reacher.reach(&first, None).await {
            Ok(reached) => Ok(chosen(&first, reached, why).into()),
            Err(refusal) => Err(refused(first, refusal).await),
        };
    }
    let candidates = std::iter::once(first).chain(rest).collect();
    Nodes::new(reacher, candidates).reach().await
}

fn why(candidate: &Candidate) -> String {
    format!("named by {}", candidate.from)
}

/// What is known of a node.
enum NodeState {
    /// Nobody has tried to reach it.
    Untried,
    Reached(Box<Reached>),
    Refused(BuilderRefusal),
}

/// The nodes of a builder with several.
struct Nodes<'r, 'a> {
    reacher: &'r Reacher<'a>,
    candidates: Vec<Candidate>,
    states: Vec<NodeState>,
    platforms: Vec<NodePlatforms>,
}

impl<'r, 'a> Nodes<'r, 'a> {
    fn new(reacher: &'r Reacher<'a>, candidates: Vec<Candidate>) -> Self {
        let fixed = candidates.iter().map(|candidate| NodePlatforms {
            fixed: candidate.platforms.clone(),
            reported: Vec::new(),
        });
        Self {
            reacher,
            platforms: fixed.collect(),
            states: candidates.iter().map(|_| NodeState::Untried).collect(),
            candidates,
        }
    }

    async fn reach(mut self) -> Result<ChosenBuilder, ChooseError> {
        let targets = self.reacher.requirements.platforms.iter();
        let targets = targets.map(|(target, platforms)| TargetPlatforms {
            target: target.clone(),
            platforms: platforms.clone(),
        });
        let targets: Vec<TargetPlatforms> = targets.collect();
        let choices = if let Some(choices) = candidates_by_fixed(&self.platforms, &targets) {
            let mut wanted = named_in(&choices);
            if targets.is_empty() {
                wanted.insert(0);
            }
            self.connect(&wanted).await;
            choices
        } else {
            let all = (0..self.candidates.len()).collect();
            self.connect(&all).await;
            self.ask_for_platforms().await;
            candidates_by_all(&self.platforms, &targets)
        };
        let choices = self.usable(choices).await?;
        self.chosen(choices).await
    }

    /// Connects to those of `wanted` that were not tried yet, at the same time.
    async fn connect(&mut self, wanted: &BTreeSet<usize>) {
        let reacher = self.reacher;
        let untried = self.candidates.iter().zip(&self.states).enumerate();
        let untried = untried.filter(|(number, (_, state))| {
            wanted.contains(number) && matches!(state, NodeState::Untried)
        });
        let reaching = untried.map(|(number, (candidate, _))| async move {
            (number, reacher.reach(candidate, None).await)
        });
        for (number, reached) in join_all(reaching).await {
            let state = match reached {
                Ok(reached) => NodeState::Reached(Box::new(reached)),
                Err(refusal) => NodeState::Refused(refusal),
            };
            if let Some(place) = self.states.get_mut(number) {
                *place = state;
            }
        }
    }

    /// Asks the nodes that answer for the platforms of their workers.
    async fn ask_for_platforms(&mut self) {
        let asked = self.states.iter().map(|state| async move {
            let NodeState::Reached(reached) = state else {
                return Ok(Vec::new());
            };
            let facts = daemon_facts(&reached.connection);
            match tokio::time::timeout(WORKERS_LIMIT, facts).await {
                Ok(Ok(facts)) => Ok(facts.platforms),
                Ok(Err(status)) => Err(BuilderRefusal::Unusable(format!(
                    "it does not list its workers: {}",
                    visible(status.message())
                ))),
                Err(_) => Err(BuilderRefusal::Silent(WORKERS_LIMIT)),
            }
        });
        let answers = join_all(asked).await;
        let nodes = self.states.iter_mut().zip(&mut self.platforms);
        for ((state, platforms), answer) in nodes.zip(answers) {
            match answer {
                Ok(reported) => platforms.reported = reported,
                Err(refusal) => *state = NodeState::Refused(refusal),
            }
        }
    }

    /// Leaves out nodes that do not answer.
    ///
    /// # Errors
    /// A platform has no other node. The first node tries a platform that no node has named, but only if all nodes were asked.
    async fn usable(
        &mut self,
        mut choices: Vec<TargetChoices>,
    ) -> Result<Vec<TargetChoices>, ChooseError> {
        let refused = self
            .states
            .iter()
            .map(|state| matches!(state, NodeState::Refused(_)));
        let refused: Vec<bool> = refused.collect();
        let is_refused = |node: &usize| refused.get(*node).copied().unwrap_or(true);
        let first_refused = refused.iter().position(|refused| *refused);
        for choice in choices.iter_mut().flat_map(|target| &mut target.choices) {
            let missing = if !choice.is_matched && first_refused.is_some() {
                // The node that does not answer may be the one that builds it.
                first_refused
            } else {
                let first = choice.nodes.first().copied();
                choice.nodes.retain(|node| !is_refused(node));
                first.filter(|_| choice.nodes.is_empty())
            };
            if let Some(node) = missing {
                return Err(self.error(node, choice.platform.as_ref()).await);
            }
        }
        Ok(choices)
    }

    /// The error for the node `number`, which is needed for `platform`.
    async fn error(&mut self, number: usize, platform: Option<&Platform>) -> ChooseError {
        tracing::warn!(number, ?platform, "a node that is needed cannot be used");
        let state = self.states.get_mut(number);
        let state = state.map(|state| std::mem::replace(state, NodeState::Untried));
        let refusal = match state {
            Some(NodeState::Refused(refusal)) => refusal,
            _ => BuilderRefusal::Absent,
        };
        match self.candidates.get(number) {
            Some(candidate) => refused(candidate.clone(), refusal).await,
            None => ChooseError::Blank("the builder".to_owned()),
        }
    }

    /// The builder of the nodes that answer and may be used, with warnings about those that do not answer.
    async fn chosen(mut self, choices: Vec<TargetChoices>) -> Result<ChosenBuilder, ChooseError> {
        let mut wanted = named_in(&choices);
        if wanted.is_empty() {
            wanted.insert(0);
        }
        let mut positions = BTreeMap::new();
        let mut reached = Vec::new();
        let mut warnings = Vec::new();
        let states = std::mem::take(&mut self.states);
        for (number, (candidate, state)) in self.candidates.iter().zip(states).enumerate() {
            match state {
                NodeState::Reached(node) if wanted.contains(&number) => {
                    positions.insert(number, reached.len());
                    let node = chosen(candidate, *node, why(candidate));
                    reached.push(Chosen {
                        position: number,
                        ..node
                    });
                }
                NodeState::Refused(refusal) if wanted.contains(&number) => {
                    return Err(refused(candidate.clone(), refusal).await);
                }
                NodeState::Refused(refusal) => warnings.push(unused(candidate, &refusal)),
                NodeState::Reached(_) | NodeState::Untried => {}
            }
        }
        let mut nodes = reached.into_iter();
        let Some(mut first) = nodes.next() else {
            // At least one node is wanted, and each that is wanted was reached.
            return Err(ChooseError::Blank("the builder".to_owned()));
        };
        first.warnings.extend(warnings);
        Ok(ChosenBuilder {
            first,
            others: nodes.collect(),
            choices: renumbered(choices, &positions),
        })
    }
}

/// The nodes that `choices` name.
fn named_in(choices: &[TargetChoices]) -> BTreeSet<usize> {
    let choices = choices.iter().flat_map(|target| &target.choices);
    choices.flat_map(|choice| &choice.nodes).copied().collect()
}

/// `choices` with the new `positions` of the nodes.
fn renumbered(
    choices: Vec<TargetChoices>,
    positions: &BTreeMap<usize, usize>,
) -> Vec<TargetChoices> {
    let choice = |choice: PlatformChoice| {
        let nodes = choice.nodes.iter();
        let nodes = nodes.filter_map(|node| positions.get(node).copied());
        PlatformChoice {
            nodes: nodes.collect(),
            ..choice
        }
    };
    let target = |target: TargetChoices| TargetChoices {
        target: target.target,
        choices: target.choices.into_iter().map(choice).collect(),
    };
    choices.into_iter().map(target).collect()
}

/// The warning about a node that does not answer and is not needed.
fn unused(candidate: &Candidate, refusal: &BuilderRefusal) -> Diagnostic {
    let message = format!("{candidate} cannot be used; the other nodes build without it");
    Diagnostic::warning("builder::node-left-out", message)
        .note(in_one_line(refusal))
        .help("`rbake builder inspect` shows the nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(of: &[&[usize]]) -> Vec<TargetChoices> {
        let choice = |nodes: &&[usize]| PlatformChoice {
            platform: None,
            nodes: nodes.to_vec(),
            is_matched: true,
        };
        vec![TargetChoices {
            target: "t".parse().unwrap(),
            choices: of.iter().map(choice).collect(),
        }]
    }

    #[test]
    fn nodes_that_are_left_out_do_not_leave_gaps() {
        let before = choices(&[&[1, 3], &[3], &[5]]);
        assert_eq!(named_in(&before), BTreeSet::from([1, 3, 5]));
        let positions = BTreeMap::from([(1, 0), (3, 1), (5, 2)]);
        assert_eq!(
            renumbered(before, &positions),
            choices(&[&[0, 1], &[1], &[2]])
        );
    }
}
