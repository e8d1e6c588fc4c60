//! The steps of a solve, as the daemon has reported them.

use std::collections::{HashMap, HashSet};

use crate::event::{StatusUpdate, Vertex};
use crate::types::Digest;

/// The most steps that are kept. A solve with more of them has no salvage.
const STEP_LIMIT: usize = 100_000;

const CANCELLED: &str = "context canceled";

/// The steps of one solve.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReportedSteps {
    steps: HashMap<Digest, ReportedStep>,
    overflows: bool,
}

/// What is known of a step.
#[derive(Debug, Clone)]
pub(super) struct ReportedStep {
    pub(super) name: String,
    pub(super) inputs: Vec<Digest>,
    pub(super) state: StepState,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepState {
    /// It has not ended.
    Open,
    /// It failed.
    Failed,
    /// Its result was found in a cache.
    Cached,
    /// It was executed.
    Executed,
}

impl StepState {
    /// Whether the daemon has the step's result.
    pub(super) const fn is_finished(self) -> bool {
        matches!(self, Self::Cached | Self::Executed)
    }
}

impl ReportedSteps {
    /// Notes what `update` says of steps.
    pub(crate) fn note(&mut self, update: &StatusUpdate) {
        for vertex in &update.vertices {
            self.note_vertex(vertex);
        }
    }

    fn note_vertex(&mut self, vertex: &Vertex) {
        if self.steps.len() >= STEP_LIMIT && !self.steps.contains_key(&vertex.digest) {
            self.overflows = true;
            return;
        }
        let state = match (&vertex.completed, vertex.error.is_empty()) {
            (Some(_), true) if vertex.cached => StepState::Cached,
            (Some(_), true) => StepState::Executed,
            // BuildKit sends no code for an interruption, only Go's message.
            (_, false) if !vertex.error.contains(CANCELLED) => StepState::Failed,
            _ => StepState::Open,
        };
        let step = self.steps.entry(vertex.digest.clone());
        let step = step.or_insert_with(|| ReportedStep {
            name: vertex.name.clone(),
            inputs: vertex.inputs.clone(),
            state,
        });
        // A step may have further intervals of work, in which its layers are fetched. Its result stays.
        if !step.state.is_finished() {
            step.state = state;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Digest, &ReportedStep)> {
        let steps = if self.overflows {
            None
        } else {
            Some(&self.steps)
        };
        steps.into_iter().flatten()
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&ReportedStep> {
        self.steps.get(digest).filter(|_| !self.overflows)
    }

    /// Whether a step has this digest.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.get(digest).is_some()
    }

    /// The kept copy of `digest`, if a step has it.
    pub(super) fn known(&self, digest: &Digest) -> Option<&Digest> {
        let known = self.steps.get_key_value(digest);
        known.map(|(digest, _)| digest).filter(|_| !self.overflows)
    }

    /// Whether a step was executed. Sources are not steps: they have no inputs.
    pub(crate) fn has_executed(&self) -> bool {
        self.has(StepState::Executed)
    }

    /// Whether the result of a step was found in a cache.
    pub(crate) fn has_cached(&self) -> bool {
        self.has(StepState::Cached)
    }

    fn has(&self, state: StepState) -> bool {
        let mut steps = self.iter();
        steps.any(|(_, step)| !step.inputs.is_empty() && step.state == state)
    }

    /// Whether each step that did not finish failed, or needs one that failed. Otherwise, the solve was stopped before
    /// the daemon had looked at all steps, and a cache may hold results of them that were not asked for.
    pub(crate) fn covers_all(&self) -> bool {
        let mut needed_by: HashMap<&Digest, Vec<&Digest>> = HashMap::new();
        for (digest, step) in self.iter() {
            for input in &step.inputs {
                needed_by.entry(input).or_default().push(digest);
            }
        }
        let failed = self
            .iter()
            .filter(|(_, step)| step.state == StepState::Failed);
        let mut waiting: Vec<&Digest> = failed.map(|(digest, _)| digest).collect();
        let mut blocked: HashSet<&Digest> = HashSet::new();
        while let Some(digest) = waiting.pop() {
            if blocked.insert(digest) {
                waiting.extend(needed_by.get(digest).into_iter().flatten().copied());
            }
        }
        let is_covered = |(digest, step): (&Digest, &ReportedStep)| {
            step.inputs.is_empty() || step.state.is_finished() || blocked.contains(digest)
        };
        let mut steps = self.iter().peekable();
        steps.peek().is_some() && steps.all(is_covered)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::SystemTime;

    pub(in crate::engine) fn digest(name: &str) -> Digest {
        Digest::sha256(name.as_bytes())
    }

    pub(in crate::engine) fn vertex(name: &str, inputs: &[&str], state: StepState) -> Vertex {
        let ended = state != StepState::Open;
        Vertex {
            digest: digest(name),
            inputs: inputs.iter().map(|input| digest(input)).collect(),
            name: name.to_owned(),
            cached: state == StepState::Cached,
            started: ended.then_some(SystemTime::UNIX_EPOCH),
            completed: ended.then_some(SystemTime::UNIX_EPOCH),
            error: if state == StepState::Failed {
                "exit code: 1".to_owned()
            } else {
                String::new()
            },
            group: None,
        }
    }

    pub(in crate::engine) fn reported(vertices: Vec<Vertex>) -> ReportedSteps {
        let mut steps = ReportedSteps::default();
        steps.note(&StatusUpdate {
            vertices,
            ..StatusUpdate::default()
        });
        steps
    }

    #[test]
    fn a_finished_step_stays_finished_when_its_layers_are_fetched() {
        let steps = reported(vec![
            vertex("base", &[], StepState::Executed),
            vertex("run", &["base"], StepState::Executed),
            vertex("run", &["base"], StepState::Open),
        ]);
        assert_eq!(
            steps.get(&digest("run")).unwrap().state,
            StepState::Executed
        );
        assert!(steps.has_executed() && !steps.has_cached());
    }

    #[test]
    fn sources_are_not_steps() {
        let steps = reported(vec![vertex("base", &[], StepState::Executed)]);
        assert!(!steps.has_executed());
    }

    #[test]
    fn steps_after_a_failed_one_are_covered_and_those_of_a_stage_that_was_stopped_are_not() {
        let chain = vec![
            vertex("base", &[], StepState::Executed),
            vertex("last", &["bad", "other"], StepState::Open),
            vertex("bad", &["good"], StepState::Failed),
            vertex("good", &["base"], StepState::Cached),
        ];
        let other = |state| vertex("other", &["base"], state);
        let with = |state| reported([chain.clone(), vec![other(state)]].concat());
        assert!(with(StepState::Executed).covers_all());
        assert!(!with(StepState::Open).covers_all());
        assert!(!reported(Vec::new()).covers_all());
        let mut stopped = other(StepState::Failed);
        stopped.error = "process \"make\" did not complete: context canceled".to_owned();
        assert!(!reported([chain, vec![stopped]].concat()).covers_all());
    }
}
