//! The id by which the daemon tells this machine's directories from those of other machines.

use std::io::Write;
use std::path::Path;

use crate::types::Environment;
use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};

/// The most bytes that are read of the id's file. A valid id has 16.
const FILE_LIMIT: u64 = 4096;

/// Returns the node id of buildx (`.buildNodeID`, 16 hexadecimal digits). Creates it if there is none.
///
/// If the configuration directory is not writable, the id is only used for this process. Then the daemon does not
/// find the copies of directories from earlier runs, and they are transferred again.
pub(super) fn id(environment: &Environment) -> String {
    let Some(dir) = environment.buildx_config_dir() else {
        return fresh();
    };
    let path = dir.join(".buildNodeID");
    read(&path).unwrap_or_else(|| make(&dir, &path).unwrap_or_else(|_| fresh()))
}

/// Returns the id in the file at `path`, or `None` if it is missing or malformed.
fn read(path: &Path) -> Option<String> {
    let text = String::from_utf8(read_regular(path, FILE_LIMIT).ok()?).ok()?;
    let id = text.trim();
    let legal = (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    legal.then(|| id.to_owned())
}

/// Creates the file with a new id. The file appears with its whole content, because other runs may read it at any
/// time.
fn make(dir: &Path, path: &Path) -> std::io::Result<String> {
    std::fs::create_dir_all(dir)?;
    sweep_at(dir);
    let temporary = Temporary::make_in(dir, 0o600)?;
    let id = fresh();
    temporary.file().write_all(id.as_bytes())?;
    match temporary.persist_new(path) {
        Ok(_) => Ok(id),
        // Another run has created it in the meantime. All runs use that one.
        Err(_) => read(path).ok_or_else(|| std::io::Error::other("the node id is unreadable")),
    }
}

fn fresh() -> String {
    let mut bytes = [0; 8];
    // If there is no randomness, two machines may get the same id. That only costs transfers.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::of([("BUILDX_CONFIG", dir.path().to_str().unwrap())], "/");
        let first = id(&environment);
        assert_eq!(first.len(), 16);
        assert_eq!(id(&environment), first);
        std::fs::write(dir.path().join(".buildNodeID"), "../nonsense\n").unwrap();
        assert_ne!(id(&environment), "../nonsense");
    }

    #[test]
    fn a_pipe_in_place_of_the_file_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join(".buildNodeID");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let environment = Environment::of([("BUILDX_CONFIG", dir.path().to_str().unwrap())], "/");
        assert_eq!(id(&environment).len(), 16);
    }

    #[test]
    fn an_unwritable_place_is_not_an_error() {
        assert_eq!(
            id(&Environment::of([("BUILDX_CONFIG", "/proc/none")], "/")).len(),
            16
        );
    }
}
