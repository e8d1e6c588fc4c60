//! How far the targets are that others link to.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::spec::LinkedResult;
use crate::plan::TargetGraph;
use crate::types::TargetName;

/// How far a parent is. It only moves forward, and always comes to one of the last two.
#[derive(Debug, Clone)]
enum ParentState {
    /// Its frontend has not answered.
    Open,
    /// Its frontend has answered; its steps may still be running.
    Answered(Arc<[LinkedResult]>),
    /// It was built.
    Built(Arc<[LinkedResult]>),
    /// It was not built.
    NotBuilt(WhyNotBuilt),
}

/// Why a parent was not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WhyNotBuilt {
    /// This target failed: the parent itself, or one that it needs.
    Because(TargetName),
    /// The run was stopped.
    Stopped,
}

/// The states of all parents of a run.
#[derive(Debug)]
pub(super) struct Board(BTreeMap<TargetName, watch::Sender<ParentState>>);

impl Board {
    /// The parents of `graph`, of which none has begun.
    pub(super) fn of(graph: &TargetGraph) -> Self {
        let links = graph.order().flat_map(|target| graph.links_of(target));
        let open = |parent: &TargetName| (parent.clone(), watch::Sender::new(ParentState::Open));
        Self(links.map(|link| open(&link.to)).collect())
    }

    /// Whether `target` is a parent.
    pub(super) fn has(&self, target: &TargetName) -> bool {
        self.0.contains_key(target)
    }

    /// The frontend of `parent` has answered.
    pub(super) fn answered(&self, parent: &TargetName, results: Vec<LinkedResult>) {
        self.change(parent, |state| match state {
            ParentState::Open => Some(ParentState::Answered(results.into())),
            _ => None,
        });
    }

    /// `target` has ended: it was built, or was not for this reason. Has no effect if no target links to it, or if it ended
    /// before.
    pub(super) fn end(&self, target: &TargetName, why_not: Option<WhyNotBuilt>) {
        self.change(target, |state| match (state, why_not) {
            (ParentState::Built(_) | ParentState::NotBuilt(_), _) => None,
            (_, Some(why)) => Some(ParentState::NotBuilt(why)),
            (ParentState::Answered(results), None) => Some(ParentState::Built(Arc::clone(results))),
            // Its job has always answered before. Its children must not wait in any case.
            (ParentState::Open, None) => {
                let because = WhyNotBuilt::Because(target.clone());
                Some(ParentState::NotBuilt(because))
            }
        });
    }

    fn change(&self, parent: &TargetName, next: impl FnOnce(&ParentState) -> Option<ParentState>) {
        if let Some(state) = self.0.get(parent) {
            state.send_if_modified(|state| match next(state) {
                Some(next) => {
                    *state = next;
                    true
                }
                None => false,
            });
        }
    }

    /// Waits for the answer of the frontend of `parent`.
    ///
    /// # Errors
    /// The parent was not built.
    pub(super) async fn answer(
        &self,
        parent: &TargetName,
    ) -> Result<Arc<[LinkedResult]>, WhyNotBuilt> {
        let is_known = |state: &ParentState| !matches!(state, ParentState::Open);
        match self.wait_for(parent, is_known).await {
            Some(ParentState::Answered(results) | ParentState::Built(results)) => Ok(results),
            Some(ParentState::NotBuilt(why)) => Err(why),
            Some(ParentState::Open) | None => Err(WhyNotBuilt::Because(parent.clone())),
        }
    }

    /// Waits for the end of `parent`. Returns the target that failed if that is why it was not built.
    pub(super) async fn not_built(&self, parent: &TargetName) -> Option<TargetName> {
        let has_ended =
            |state: &ParentState| matches!(state, ParentState::Built(_) | ParentState::NotBuilt(_));
        match self.wait_for(parent, has_ended).await {
            Some(ParentState::NotBuilt(WhyNotBuilt::Because(target))) => Some(target),
            _ => None,
        }
    }

    async fn wait_for(
        &self,
        parent: &TargetName,
        wanted: impl FnMut(&ParentState) -> bool,
    ) -> Option<ParentState> {
        let mut state = self.0.get(parent)?.subscribe();
        let state = state.wait_for(wanted).await;
        // The sender lives as long as the board, so this always succeeds.
        state.ok().map(|state| state.clone())
    }
}
