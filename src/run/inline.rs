//! Gives an inline Dockerfile, or one at an address, its own name in the places that the daemon reports.
//!
//! The frontend knows it as `Dockerfile`, as in buildx. The context may have a file of that name, which is a
//! different one.

use std::sync::Arc;

use super::Ready;
use super::locate::DockerfilePlace;
use crate::event::{EventKind, EventSink, INLINE_DOCKERFILE, SourceExcerpt, StatusUpdate};
use crate::outcome::SolveFailure;
use crate::types::secret::redact_url;

/// The name under which the inline Dockerfile is sent to the frontend.
pub(super) const FILENAME: &str = "Dockerfile";

/// The name of an inline Dockerfile in messages.
#[derive(Debug, Clone)]
pub(super) struct InlineName(Arc<str>);

impl InlineName {
    /// Returns the name for `ready`'s Dockerfile, or `None` if it is a file.
    pub(super) fn of(ready: &Ready) -> Option<Self> {
        match &ready.places.dockerfile {
            DockerfilePlace::Inline(_) => Some(Self::for_target(ready.planned.name.as_str())),
            DockerfilePlace::Url { url, .. } => Some(Self(redact_url(url).into())),
            DockerfilePlace::File { .. } | DockerfilePlace::InContext(_) => None,
        }
    }

    fn for_target(target: &str) -> Self {
        Self(format!("{INLINE_DOCKERFILE}{target}").into())
    }

    /// Returns a sink that passes events on to `events`, with this name in the places of warnings.
    pub(super) fn events(&self, events: &EventSink) -> EventSink {
        let name = self.clone();
        events.map(move |kind| match kind {
            EventKind::Progress { target, update } => {
                let named = |warning: &crate::event::VertexWarning| {
                    warning
                        .source
                        .as_ref()
                        .is_some_and(|source| source.filename == FILENAME)
                };
                let update = if update.warnings.iter().any(named) {
                    Arc::new(name.update(&update))
                } else {
                    update
                };
                EventKind::Progress { target, update }
            }
            other => other,
        })
    }

    fn update(&self, update: &StatusUpdate) -> StatusUpdate {
        let mut update = update.clone();
        for warning in &mut update.warnings {
            if let Some(source) = &mut warning.source {
                self.rename(source);
            }
        }
        update
    }

    /// Returns `failure` with this name in its source places.
    pub(super) fn failure(&self, mut failure: SolveFailure) -> SolveFailure {
        for source in &mut failure.sources {
            self.rename(source);
        }
        failure
    }

    fn rename(&self, source: &mut SourceExcerpt) {
        if source.filename == FILENAME {
            source.filename = self.0.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::VertexWarning;
    use crate::outcome::FailureKind;
    use crate::types::{Clock, Digest};
    use std::sync::Mutex;

    fn excerpt(filename: &str) -> SourceExcerpt {
        SourceExcerpt {
            filename: filename.to_owned(),
            text: "FROM scratch".into(),
            lines: vec![(1, 1)],
        }
    }

    #[test]
    fn failures_and_warnings_point_at_the_inline_text() {
        let name = InlineName::for_target("web");
        let mut failure = SolveFailure::new(FailureKind::Build, "x");
        failure.sources = vec![excerpt("Dockerfile"), excerpt("other.frontend")];
        let named: Vec<String> = name
            .failure(failure)
            .sources
            .into_iter()
            .map(|source| source.filename)
            .collect();
        assert_eq!(named, ["dockerfile-inline of web", "other.frontend"]);

        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let events = EventSink::new(Clock::system(), move |event| {
            if let EventKind::Progress { update, .. } = event.kind {
                let source = update.warnings[0].source.clone().unwrap();
                kept.lock().unwrap().push(source.filename);
            }
        });
        let warning = VertexWarning {
            vertex: Digest::sha256(b""),
            level: 1,
            short: String::new(),
            detail: Vec::new(),
            url: String::new(),
            source: Some(excerpt("Dockerfile")),
        };
        let update = StatusUpdate {
            warnings: vec![warning],
            ..StatusUpdate::default()
        };
        name.events(&events).send(EventKind::Progress {
            target: "web".parse().unwrap(),
            update: Arc::new(update),
        });
        assert_eq!(*seen.lock().unwrap(), ["dockerfile-inline of web"]);
    }
}
