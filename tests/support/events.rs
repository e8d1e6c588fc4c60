//! Collects events, so that tests can look at them.

use std::sync::{Arc, Mutex};

use rbake::event::{Event, EventKind, EventSink, StatusUpdate};
use tokio::sync::Notify;

/// All events so far.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>, Arc<Notify>);

impl Events {
    /// A sink that stores events here.
    pub(crate) fn sink(&self) -> EventSink {
        let (events, more) = (Arc::clone(&self.0), Arc::clone(&self.1));
        EventSink::new(rbake::types::Clock::system(), move |event| {
            events.lock().unwrap().push(event);
            more.notify_waiters();
        })
    }

    /// Waits until `condition` holds. It is checked again after each event.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let mut more = std::pin::pin!(self.1.notified());
            // Subscribe before the check, so that no event in between is missed.
            more.as_mut().enable();
            if condition(self) {
                return;
            }
            more.await;
        }
    }

    /// All updates of progress so far.
    pub(crate) fn progress(&self) -> Vec<Arc<StatusUpdate>> {
        let events = self.0.lock().unwrap();
        let update = |event: &Event| match &event.kind {
            EventKind::Progress { update, .. } => Some(Arc::clone(update)),
            _ => None,
        };
        events.iter().filter_map(update).collect()
    }

    /// The names of all vertices so far.
    pub(crate) fn vertices(&self) -> Vec<String> {
        let progress = self.progress();
        progress
            .iter()
            .flat_map(|update| update.vertices.iter().map(|v| v.name.clone()))
            .collect()
    }

    /// The output of all steps so far.
    pub(crate) fn logs(&self) -> String {
        let progress = self.progress();
        let data: Vec<u8> = progress
            .iter()
            .flat_map(|update| &update.logs)
            .flat_map(|log| log.data.to_vec())
            .collect();
        String::from_utf8_lossy(&data).into_owned()
    }

    /// The codes of all notices so far.
    pub(crate) fn notices(&self) -> Vec<&'static str> {
        let events = self.0.lock().unwrap();
        let code = |event: &Event| match &event.kind {
            EventKind::Notice(diagnostic) => Some(diagnostic.code),
            _ => None,
        };
        events.iter().filter_map(code).collect()
    }
}
