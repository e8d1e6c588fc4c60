//! Sessions that serve directories only, shared by the targets that read the same files.
//!
//! A session's id is part of the identity of what the daemon transfers through it: targets that read one directory by one
//! session, with the same filter, cause one transfer. Targets with other filters have sessions, and keys, of their own,
//! since the daemon keeps one state of the directory by key and would send again what another filter has dropped.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OnceCell};

use super::{Attachable, Session, SessionBuilder, SessionError};
use crate::engine::connection::Connection;
use crate::engine::id::SessionId;
use crate::engine::spec::LocalName;

/// What makes two transfers the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ShareKey {
    /// The name that the daemon asks by.
    pub(crate) local: LocalName,
    /// The directory, absolute.
    pub(crate) directory: PathBuf,
    /// Equal where the same files will be asked for, such as the Dockerfile and stage that read the directory.
    pub(crate) group: String,
}

impl ShareKey {
    /// The key under which the daemon finds again, in later runs, what this machine (`node`) has transferred.
    pub(crate) fn shared_key(&self, node: &str) -> String {
        let mut hash = Sha256::new();
        for part in [
            node.as_bytes(),
            self.directory.as_os_str().as_encoded_bytes(),
            self.group.as_bytes(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

type Slot = Arc<OnceCell<Arc<Session>>>;

/// The sessions for directories of one run.
pub(crate) struct SharedSessions {
    connection: Arc<Connection>,
    node: String,
    slots: Mutex<HashMap<ShareKey, Slot>>,
}

impl SharedSessions {
    /// None yet, on `connection`; `node` names this machine from run to run.
    pub(crate) fn new(connection: Arc<Connection>, node: impl Into<String>) -> Self {
        Self {
            connection,
            node: node.into(),
            slots: Mutex::default(),
        }
    }

    /// The key under which the daemon finds again what this machine has transferred for `key`.
    pub(crate) fn shared_key(&self, key: &ShareKey) -> String {
        key.shared_key(&self.node)
    }

    /// The session for `key`, opened with `attachable` where there is none yet.
    pub(crate) async fn get(
        &self,
        key: &ShareKey,
        attachable: impl FnOnce() -> Arc<dyn Attachable>,
    ) -> Result<Arc<Session>, SessionError> {
        // The lock is not held while a session opens: others may open theirs.
        let slot = Arc::clone(self.slots.lock().await.entry(key.clone()).or_default());
        let session = slot
            .get_or_try_init(|| async {
                SessionBuilder::new(SessionId::new())
                    .shared_key(key.shared_key(&self.node))
                    .attach(attachable())
                    .open(&self.connection)
                    .await
                    .map(Arc::new)
            })
            .await?;
        Ok(Arc::clone(session))
    }

    /// Ends them all; call when every solve that names one has ended.
    pub(crate) async fn close(&self) {
        let slots = std::mem::take(&mut *self.slots.lock().await);
        let open = slots.into_values().filter_map(|slot| slot.get().cloned());
        futures_util::future::join_all(open.map(|session| async move { session.close().await }))
            .await;
    }
}

impl std::fmt::Debug for SharedSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSessions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(directory: &str, group: &str) -> ShareKey {
        ShareKey {
            local: LocalName::CONTEXT,
            directory: directory.into(),
            group: group.to_owned(),
        }
    }

    #[test]
    fn keys_tell_machines_directories_and_groups_apart() {
        let one = key("/a", "b").shared_key("n");
        assert_eq!(one, key("/a", "b").shared_key("n"));
        assert_ne!(one, key("/ab", "").shared_key("n"));
        assert_ne!(one, key("/a", "c").shared_key("n"));
        assert_ne!(one, key("/a", "b").shared_key("m"));
    }
}
