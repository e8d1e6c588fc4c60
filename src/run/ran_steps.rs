//! Which steps of the run ended, and whether one of them had to be executed because its result was not in any cache.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::ReportedSteps;
use crate::event::{EventKind, EventSink, StatusUpdate};
use crate::types::{Digest, TargetName};

/// Watches the steps of all targets.
#[derive(Debug, Clone, Default)]
pub(super) struct RanSteps(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    ended: HashSet<Digest>,
    cached: HashSet<Digest>,
    reported: BTreeMap<TargetName, ReportedSteps>,
}

impl RanSteps {
    /// Returns a sink that passes events on to `events`, and notes the steps that ended.
    pub(super) fn watch(&self, events: &EventSink) -> EventSink {
        let seen = Arc::clone(&self.0);
        events.map(move |kind| {
            if let EventKind::Progress { target, update } = &kind {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.note(update);
                if !seen.reported.contains_key(target) {
                    seen.reported
                        .insert(target.clone(), ReportedSteps::default());
                }
                if let Some(reported) = seen.reported.get_mut(target) {
                    reported.note(update);
                }
            }
            kind
        })
    }

    /// The steps of `target`.
    pub(super) fn of(&self, target: &TargetName) -> ReportedSteps {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reported.get(target).cloned().unwrap_or_default()
    }

    /// Whether a step of any target was found in a cache.
    pub(super) fn any_cached(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reported.values().any(ReportedSteps::has_cached)
    }

    /// Whether a step was executed. A step that was found in a cache may have other intervals of work afterwards, in which
    /// its layers are fetched and unpacked.
    pub(super) fn any(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.ended.iter().any(|step| !seen.cached.contains(step))
    }
}

impl Seen {
    fn note(&mut self, update: &StatusUpdate) {
        for vertex in &update.vertices {
            if vertex.cached {
                self.cached.insert(vertex.digest.clone());
            } else if vertex.completed.is_some() && is_step(&vertex.name) {
                self.ended.insert(vertex.digest.clone());
            }
        }
    }
}

/// Whether a vertex is a step of a Dockerfile that makes a layer. Another frontend names its vertices in another way: then
/// each of them counts.
pub(super) fn is_step(name: &str) -> bool {
    const OTHERS: [&str; 6] = [
        "[internal]",
        "[auth]",
        "exporting ",
        "importing ",
        "resolve image config ",
        "docker-image://",
    ];
    !OTHERS.iter().any(|other| name.starts_with(other)) && !name.contains("] FROM ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Vertex;
    use std::time::SystemTime;

    fn vertex(name: &str, cached: bool) -> Vertex {
        Vertex {
            digest: Digest::sha256(name.as_bytes()),
            inputs: Vec::new(),
            name: name.to_owned(),
            cached,
            started: Some(SystemTime::UNIX_EPOCH),
            completed: Some(SystemTime::UNIX_EPOCH),
            error: String::new(),
            group: None,
        }
    }

    fn ran(vertices: Vec<Vertex>) -> bool {
        let steps = RanSteps::default();
        let update = StatusUpdate {
            vertices,
            ..StatusUpdate::default()
        };
        steps.0.lock().unwrap().note(&update);
        steps.any()
    }

    #[test]
    fn cached_steps_and_other_work_did_not_run() {
        assert!(!ran(vec![
            vertex("[internal] load build context", false),
            vertex("[base 1/2] FROM docker.io/library/busybox", false),
            vertex("[base 2/2] RUN make", true),
            vertex("[base 2/2] RUN make", false),
            vertex("exporting to image", false),
        ]));
        assert!(ran(vec![vertex("[base 2/2] RUN make", false)]));
        assert!(ran(vec![vertex("compile", false)]));
    }
}
