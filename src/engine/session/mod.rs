//! Sessions: what rbake offers to the daemon while it builds.
//!
//! The daemon calls back over [`tunnel`]: inside `Control.Session` runs a second HTTP/2 connection with the roles reversed. Each
//! service on it is an [`Attachable`] in a file of its own; [`SessionBuilder`] puts them together, [`Session`] is the open
//! session. A target has one session for everything but large directories that several targets read alike; those are served by
//! sessions apart ([`shared`]), whose ids the frontend is told.

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
mod secret_file;
pub(crate) mod secrets;
pub(crate) mod shared;
mod tunnel;

use std::sync::Arc;

use tonic::service::RoutesBuilder;

pub(crate) use auth::Auth;
pub use content::ContentStores;
pub use export::Exports;
pub use lifecycle::Session;
pub(crate) use lifecycle::SessionError;
pub(crate) use secret_file::SecretFiles;
pub use secrets::{SecretSource, Secrets};
pub(crate) use shared::SharedSessions;

use super::connection::Connection;
use super::id::SessionId;

/// One service offered to the daemon.
///
/// Its handlers run under the daemon's control: they must not panic, and must hold no more memory than they need whatever is
/// asked of them.
pub trait Attachable: Send + Sync {
    /// The methods it answers, as paths such as `/moby.filesync.v1.Auth/Credentials`.
    fn methods(&self) -> &[&'static str];

    /// Adds the service to those of a session. Called once for each session it is part of.
    fn mount(&self, routes: &mut RoutesBuilder);
}

/// Puts a session together.
pub struct SessionBuilder {
    id: SessionId,
    shared_key: String,
    attachables: Vec<Arc<dyn Attachable>>,
}

impl SessionBuilder {
    /// A session named `id` that offers its health, which every session must.
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            shared_key: String::new(),
            attachables: vec![Arc::new(health::Health)],
        }
    }

    /// Sets the key under which the daemon finds what earlier sessions with equal keys have transferred.
    #[must_use]
    pub fn shared_key(mut self, key: impl Into<String>) -> Self {
        self.shared_key = key.into();
        self
    }

    /// Offers `attachable`.
    #[must_use]
    pub fn attach(mut self, attachable: Arc<dyn Attachable>) -> Self {
        self.attachables.push(attachable);
        self
    }

    /// Offers `secrets`.
    #[must_use]
    pub fn secrets(self, secrets: Secrets) -> Self {
        self.attach(Arc::new(secrets::SecretsAttachable(secrets)))
    }

    /// Opens the session on `connection`; the daemon may call from here on.
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
