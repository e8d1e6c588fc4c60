//! Where the parts of a target wait for each other.
//!
//! A part that fails does not come to the meeting. [`run`](super::run()) then cancels the others, which ends their waits.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::{BuildRef, Engine};
use crate::publish::index_merge::IndexMergeError;
use crate::registry::RawManifest;
use crate::types::{Digest, TargetName};

use super::outputs::PartPush;

/// A target that several nodes build.
#[derive(Debug)]
pub(in crate::run) struct SpreadTarget {
    /// Its name.
    pub(in crate::run) target: TargetName,
    /// The id of the build, which is the same on all nodes, as in buildx.
    pub(in crate::run) build_ref: BuildRef,
    /// The number of parts.
    count: usize,
    table: watch::Sender<Table>,
    /// The index that rbake has published, in the first repository.
    pub(in crate::run) published: std::sync::OnceLock<Digest>,
    /// The exports that the nodes push by digest and whose tags are set after that. Known once the first part is lowered.
    pub(super) pushes: std::sync::OnceLock<Vec<PartPush>>,
}

/// A part of a target: that which one node builds.
#[derive(Debug, Clone)]
pub(in crate::run) struct TargetPart {
    pub(in crate::run) spread: Arc<SpreadTarget>,
    /// Its position; the first is 0.
    pub(in crate::run) number: usize,
}

impl PartialEq for TargetPart {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spread, &other.spread) && self.number == other.number
    }
}

/// The index that a node has built or pushed.
#[derive(Debug, Clone)]
pub(in crate::run) struct PartImage {
    pub(in crate::run) manifest: RawManifest,
    /// The node, which has its contents.
    pub(in crate::run) engine: Arc<Engine>,
}

/// What the first part has decided for all.
#[derive(Debug, Clone)]
pub(in crate::run) struct PushDecision {
    /// The positions of the repositories to which all parts push.
    pub(in crate::run) missing: Vec<usize>,
}

#[derive(Debug, Default)]
struct Table {
    built: Vec<Option<PartImage>>,
    decision: Option<PushDecision>,
    pushed: Vec<Option<PartImage>>,
}

/// For what the parts meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Built,
    Pushed,
}

impl Table {
    fn at(&self, occasion: Occasion) -> &[Option<PartImage>] {
        match occasion {
            Occasion::Built => &self.built,
            Occasion::Pushed => &self.pushed,
        }
    }

    fn at_mut(&mut self, occasion: Occasion) -> &mut [Option<PartImage>] {
        match occasion {
            Occasion::Built => &mut self.built,
            Occasion::Pushed => &mut self.pushed,
        }
    }
}

impl SpreadTarget {
    /// The target with `count` parts.
    pub(in crate::run) fn new(target: TargetName, count: usize) -> Arc<Self> {
        Arc::new(Self {
            target,
            build_ref: BuildRef::new(),
            count,
            table: watch::Sender::new(Table {
                built: vec![None; count],
                decision: None,
                pushed: vec![None; count],
            }),
            published: std::sync::OnceLock::new(),
            pushes: std::sync::OnceLock::new(),
        })
    }
}

impl TargetPart {
    /// Whether this part decides for all.
    pub(in crate::run) const fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Waits until all parts are built; this one as `image`. Returns the images of all, in their order.
    pub(in crate::run) async fn built(&self, image: PartImage) -> Vec<PartImage> {
        self.meet(Occasion::Built, image).await
    }

    /// Waits until all parts are pushed.
    pub(in crate::run) async fn pushed(&self, image: PartImage) -> Vec<PartImage> {
        self.meet(Occasion::Pushed, image).await
    }

    async fn meet(&self, occasion: Occasion, image: PartImage) -> Vec<PartImage> {
        let spread = &self.spread;
        spread.table.send_modify(|table| {
            if let Some(place) = table.at_mut(occasion).get_mut(self.number) {
                *place = Some(image);
            }
        });
        let all = |table: &Table| table.at(occasion).iter().flatten().count() == spread.count;
        let mut table = spread.table.subscribe();
        let all = table.wait_for(all).await.map(|table| {
            let images = table.at(occasion).iter().flatten();
            images.cloned().collect()
        });
        match all {
            Ok(all) => all,
            // The sender is in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Tells all parts what is to be done.
    pub(in crate::run) fn decide(&self, decision: PushDecision) {
        self.spread
            .table
            .send_modify(|table| table.decision = Some(decision));
    }

    /// Waits for the decision of the first part.
    pub(in crate::run) async fn decision(&self) -> PushDecision {
        let mut table = self.spread.table.subscribe();
        let decided = table.wait_for(|table| table.decision.is_some()).await;
        let decided = decided.map(|table| table.decision.clone());
        match decided.ok().flatten() {
            Some(decision) => decision,
            None => std::future::pending().await,
        }
    }
}

/// What went wrong when the parts were put together, for messages.
pub(in crate::run) fn not_merged(target: &TargetName, error: &IndexMergeError) -> String {
    let why = crate::types::causes::in_one_line(error);
    format!("the images of `{target}` that several nodes have built cannot be put together: {why}")
}
