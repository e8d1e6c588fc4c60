//! Sessions: the services that rbake offers to the daemon during a build.
//!
//! The daemon calls back through the [`tunnel`]: a second HTTP/2 connection with reversed roles runs inside the call
//! `Control.Session`. Each service on it is an [`Attachable`] in its own file. [`SessionBuilder`] combines services;
//! [`Session`] is the open session. A target has one session for everything, except for large directories that
//! several targets read alike. Separate sessions ([`shared`]) serve these, and the frontend receives their ids.

pub(crate) mod auth;
pub mod content;
mod daemon_text;
pub mod export;
pub mod filesync;
mod frames;
mod headers;
mod health;
mod lifecycle;
#[cfg(test)]
pub(crate) mod peer;
mod policy;
mod secret_file;
pub(crate) mod secrets;
mod services;
pub(crate) mod shared;
pub(crate) mod ssh;
mod tunnel;

use std::sync::Arc;

pub(crate) use auth::Auth;
pub use content::ContentStores;
pub use export::Exports;
pub use lifecycle::Session;
pub(crate) use lifecycle::SessionError;
pub(crate) use policy::{PolicyService, SourceJudge};
pub(crate) use secret_file::SecretFiles;
pub use secrets::{SecretSource, Secrets};
pub use services::SessionServices;
pub(crate) use shared::SharedSessions;

use super::connection::Connection;
use super::id::SessionId;

/// A service that a session offers to the daemon.
///
/// The daemon decides when its handlers run and what they receive. So they must not panic, and must limit their memory,
/// whatever the daemon sends.
pub trait Attachable: Send + Sync {
    /// The methods that it answers, as paths such as `/moby.filesync.v1.Auth/Credentials`.
    fn methods(&self) -> &[&'static str];

    /// Adds the service to those of a session. Called once for each session.
    fn mount(&self, services: &mut SessionServices);
}

/// Collects the services of a session and opens it.
pub struct SessionBuilder {
    id: SessionId,
    shared_key: String,
    attachables: Vec<Arc<dyn Attachable>>,
}

impl SessionBuilder {
    /// A session with the given id. It offers the health check, which every session needs.
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            shared_key: String::new(),
            attachables: vec![Arc::new(health::Health)],
        }
    }

    /// Sets the key under which the daemon finds what earlier sessions with the same key have transferred.
    #[must_use]
    pub fn shared_key(mut self, key: impl Into<String>) -> Self {
        self.shared_key = key.into();
        self
    }

    /// Adds the service `attachable`.
    #[must_use]
    pub fn attach(mut self, attachable: Arc<dyn Attachable>) -> Self {
        self.attachables.push(attachable);
        self
    }

    /// Adds the service that answers with `secrets`.
    #[must_use]
    pub fn secrets(self, secrets: Secrets) -> Self {
        self.attach(Arc::new(secrets::SecretsAttachable(secrets)))
    }

    /// Opens the session on `connection`. The daemon may make calls as soon as this is polled.
    pub async fn open(self, connection: &Connection) -> Result<Session, SessionError> {
        lifecycle::open(self, connection).await
    }

    fn methods(&self) -> Vec<&'static str> {
        self.attachables
            .iter()
            .flat_map(|attachable| attachable.methods().iter().copied())
            .collect()
    }
}
