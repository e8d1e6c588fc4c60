//! Sessions that serve only directories, shared by the targets that read the same files.
//!
//! A session's id is part of the identity of what the daemon transfers through it. So targets that read one directory
//! through one session, with the same filter, cause one transfer. Targets with different filters need different
//! sessions and keys: the daemon keeps one copy of a directory for each key, and would transfer again the files that
//! another filter has removed from it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OnceCell};

use super::{Attachable, Session, SessionBuilder, SessionError};
use crate::context::Generation;
use crate::engine::connection::Connection;
use crate::engine::id::SessionId;
use crate::engine::spec::LocalName;

/// The properties that make two transfers the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ShareKey {
    /// The name by which the daemon asks for the directory.
    pub(crate) local: LocalName,
    /// The directory's absolute path.
    pub(crate) directory: PathBuf,
    /// Equal if the daemon will ask for the same files, for example if the same stage of the same Dockerfile reads
    /// the directory.
    pub(crate) group: String,
}

impl ShareKey {
    /// The key under which the daemon finds, in later runs, what this machine (`node`) has transferred. `generations` are those of the
    /// directories that the session serves; the daemon finds nothing that was transferred in earlier ones.
    pub(crate) fn shared_key(&self, node: &str, generations: &[Generation]) -> String {
        let mut hash = Sha256::new();
        for part in [
            node.as_bytes(),
            self.directory.as_os_str().as_encoded_bytes(),
            self.group.as_bytes(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        if !generations.iter().all(|generation| generation.is_first()) {
            for generation in generations {
                hash.update(generation.bytes());
            }
        }
        hex::encode(&hash.finalize()[..16])
    }
}

type Slot = Arc<OnceCell<Arc<Session>>>;

/// The sessions of one run that serve directories.
pub(crate) struct SharedSessions {
    connection: Arc<Connection>,
    node: String,
    slots: Mutex<HashMap<ShareKey, Slot>>,
}

impl SharedSessions {
    /// Starts without sessions. They will be opened on `connection`. `node` is a name of this machine that is the
    /// same in every run.
    pub(crate) fn new(connection: Arc<Connection>, node: impl Into<String>) -> Self {
        Self {
            connection,
            node: node.into(),
            slots: Mutex::default(),
        }
    }

    /// The key under which the daemon finds what this machine has transferred for `key`.
    pub(crate) fn shared_key(&self, key: &ShareKey, generations: &[Generation]) -> String {
        key.shared_key(&self.node, generations)
    }

    /// The session for `key`. Opens it with `attachable` if this is the first request for it.
    pub(crate) async fn get(
        &self,
        key: &ShareKey,
        generations: &[Generation],
        attachable: impl FnOnce() -> Arc<dyn Attachable>,
    ) -> Result<Arc<Session>, SessionError> {
        // The lock is not held while a session opens, so that other sessions can open at the same time.
        let slot = Arc::clone(self.slots.lock().await.entry(key.clone()).or_default());
        let session = slot
            .get_or_try_init(|| async {
                SessionBuilder::new(SessionId::new())
                    .shared_key(key.shared_key(&self.node, generations))
                    .attach(attachable())
                    .open(&self.connection)
                    .await
                    .map(Arc::new)
            })
            .await?;
        Ok(Arc::clone(session))
    }

    /// Closes all sessions. Call this after every solve that uses them has ended.
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
    fn keys_differ_by_machine_directory_and_group() {
        let one = key("/a", "b").shared_key("n", &[]);
        assert_eq!(one, key("/a", "b").shared_key("n", &[]));
        assert_ne!(one, key("/ab", "").shared_key("n", &[]));
        assert_ne!(one, key("/a", "c").shared_key("n", &[]));
        assert_ne!(one, key("/a", "b").shared_key("m", &[]));
        let [first, later, last] = [0, 1, 2].map(Generation::of);
        assert_eq!(one, key("/a", "b").shared_key("n", &[first, first]));
        let of_later = key("/a", "b").shared_key("n", &[first, later]);
        assert_ne!(one, of_later);
        assert_ne!(of_later, key("/a", "b").shared_key("n", &[later, first]));
        assert_ne!(of_later, key("/a", "b").shared_key("n", &[first, last]));
    }
}
