//! Where the targets of earlier runs were built, on this machine: one file for each builder with several nodes.
//!
//! The file only saves work, so none that is missing, damaged or cannot be written fails a run. It is replaced as a whole. If two runs end at
//! the same time, what one of them notes may be lost.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::placement::{MEMORY_LIMIT, PlacementMemory};
use crate::types::blocking::unblock;
use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};
use crate::types::{Digest, Environment};

const DIRECTORY: &str = "placement";

/// The file of a builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacementRecord {
    path: PathBuf,
}

impl PlacementRecord {
    /// The file of `builder`. `None` if no variable says where rbake's state is.
    pub(super) fn of(builder: &str, environment: &Environment) -> Option<Self> {
        let state = environment.current_dir().join(environment.state_dir()?);
        // A name may have any characters, if the store was changed by hand.
        let name = Digest::sha256(builder.as_bytes());
        let file = format!("{}.json", name.short());
        Some(Self {
            path: state.join(DIRECTORY).join(file),
        })
    }

    /// What is known of earlier runs. Nothing if the file cannot be read.
    pub(super) async fn read(&self) -> PlacementMemory {
        let path = self.path.clone();
        unblock(move || read(&path)).await
    }

    /// Has `change` change what the file has, and writes it.
    pub(super) async fn change(&self, change: impl FnOnce(&mut PlacementMemory) + Send + 'static) {
        let path = self.path.clone();
        let written = unblock(move || {
            // Another run may have written since this one began.
            let mut memory = read(&path);
            change(&mut memory);
            write(&path, &memory)
        });
        if let Err(error) = written.await {
            tracing::debug!(cause = %error, "placement not noted");
        }
    }
}

fn read(path: &Path) -> PlacementMemory {
    match read_regular(path, MEMORY_LIMIT) {
        Ok(bytes) => PlacementMemory::parse(&bytes),
        Err(_) => PlacementMemory::default(),
    }
}

fn write(path: &Path, memory: &PlacementMemory) -> std::io::Result<()> {
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(dir)?;
    sweep_at(dir);
    let temporary = Temporary::make_in(dir, 0o600)?;
    temporary.file().write_all(memory.text().as_bytes())?;
    temporary.persist_at(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacementKey;

    fn record(dir: &Path) -> PlacementRecord {
        let environment = Environment::of([("XDG_STATE_HOME", dir.to_str().unwrap())], "/");
        PlacementRecord::of("pair", &environment).unwrap()
    }

    #[tokio::test]
    async fn notes_are_read_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        let key = PlacementKey::of(["a"]);
        let noted = key.clone();
        record
            .change(move |memory| memory.note(noted, "n1", 7))
            .await;
        assert_eq!(record.read().await.node(&key), Some("n1"));
        let second = PlacementKey::of(["b"]);
        let noted = second.clone();
        record
            .change(move |memory| memory.note(noted, "n2", 8))
            .await;
        let read = record.read().await;
        assert_eq!(
            (read.node(&key), read.node(&second)),
            (Some("n1"), Some("n2"))
        );
    }

    #[tokio::test]
    async fn an_unusable_file_is_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        std::fs::create_dir_all(record.path.parent().unwrap()).unwrap();
        std::fs::write(&record.path, b"{\"version\":").unwrap();
        assert_eq!(record.read().await, PlacementMemory::default());
        record
            .change(|memory| memory.note(PlacementKey::of(["a"]), "n", 1))
            .await;
        assert_ne!(record.read().await, PlacementMemory::default());
        // A directory, a pipe and a place that cannot be written.
        std::fs::remove_file(&record.path).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&record.path)
            .status();
        assert!(made.unwrap().success());
        assert_eq!(record.read().await, PlacementMemory::default());
        let nowhere = PlacementRecord {
            path: "/proc/none/a.json".into(),
        };
        nowhere
            .change(|memory| memory.note(PlacementKey::of(["a"]), "n", 1))
            .await;
        assert_eq!(nowhere.read().await, PlacementMemory::default());
    }
}
