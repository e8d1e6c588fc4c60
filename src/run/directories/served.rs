//! The sources that sessions serve: directories, single files of a directory, and texts.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::definition::model::SharedText;
use crate::engine::session::filesync::{LocalSource, ServedDirectory};
use crate::engine::session::shared::ShareKey;
use crate::engine::spec::LocalName;
use crate::files;
use crate::run::bytes_of;
use crate::run::inline::FILENAME;
use crate::run::locate::DockerfilePlace;

/// A Dockerfile with more bytes than this is not read to predict what it copies.
const DOCKERFILE_LIMIT: u64 = 4 << 20;

pub(super) fn shared(local: LocalName, dir: &Path, group: String) -> (ShareKey, ServedDirectory) {
    let served = ServedDirectory::directory(local.as_str(), dir);
    let key = ShareKey {
        local,
        directory: dir.to_owned(),
        group,
    };
    (key, served)
}

/// Returns a source with only the Dockerfile and its own ignore file. The daemon cannot read other files of the
/// directory, whatever it asks for.
pub(super) async fn alone(dir: &Path, filename: &str) -> (ShareKey, ServedDirectory) {
    let (place, name) = (dir.to_owned(), filename.to_owned());
    let reading = tokio::task::spawn_blocking(move || read_alone(&place, &name));
    match reading.await.map_err(std::io::Error::from).flatten() {
        Ok(files) => {
            let (key, _) = shared(LocalName::DOCKERFILE, dir, filename.to_owned());
            (key, in_memory(dir, files))
        }
        // Sending the directory will fail and report the reason.
        Err(_) => shared(LocalName::DOCKERFILE, dir, filename.to_owned()),
    }
}

/// The Dockerfiles `files` of `dir`, as they were read.
pub(super) fn in_memory(dir: &Path, files: BTreeMap<String, Bytes>) -> ServedDirectory {
    ServedDirectory {
        name: LocalName::DOCKERFILE.to_string(),
        source: LocalSource::Files {
            from: dir.to_owned(),
            files,
        },
    }
}

/// The Dockerfile `filename` of `dir`, and its own ignore file if there is one. Blocking.
pub(super) fn read_alone(dir: &Path, filename: &str) -> std::io::Result<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    for (name, is_needed) in [
        (filename.to_owned(), true),
        (format!("{filename}.dockerignore"), false),
    ] {
        match read_in(dir, &name) {
            Ok(text) => drop(files.insert(name, text.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_needed => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Returns the source of an inline Dockerfile. Equal texts have equal keys.
pub(super) fn inline(text: &SharedText) -> (ShareKey, ServedDirectory) {
    let group = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
    let key = ShareKey {
        local: LocalName::DOCKERFILE,
        directory: PathBuf::new(),
        group,
    };
    let name = LocalName::DOCKERFILE.to_string();
    (key, ServedDirectory::file(name, FILENAME, bytes_of(text)))
}

/// Returns the text of the Dockerfile, or `None` if it is not here, too large, or not UTF-8.
pub(super) async fn dockerfile_text(place: &DockerfilePlace) -> Option<String> {
    match place {
        DockerfilePlace::Inline(text) => Some(text.to_string()),
        DockerfilePlace::File { dir, filename } => {
            let (dir, filename) = (dir.clone(), filename.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let text = read_in(&dir, &filename).ok()?;
                String::from_utf8(text).ok()
            });
            reading.await.ok().flatten()
        }
        DockerfilePlace::Url { text, .. } => text.as_ref().map(ToString::to_string),
        DockerfilePlace::InContext(_) => None,
    }
}

/// Reads a file of `dir`. As for the daemon, links must not lead out of the directory.
fn read_in(dir: &Path, filename: &str) -> std::io::Result<Vec<u8>> {
    let place = files::resolve(dir, Path::new(filename))?;
    if !place.path().starts_with(dir) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut text = Vec::new();
    let file = files::open::file(place.path())?;
    file.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > DOCKERFILE_LIMIT {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_alone_is_sent_only_with_its_ignore_file() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["real", "a.dockerignore", "secret", ".dockerignore"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        symlink("real", root.join("a")).unwrap();
        let files = read_alone(&root, "a").unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a.dockerignore"]);
        assert_eq!(files["a"], "real");
        // An ignore file that cannot be read must not be left out: the files that it names would be sent.
        std::fs::remove_file(root.join("a.dockerignore")).unwrap();
        assert_eq!(read_alone(&root, "a").unwrap().len(), 1);
        symlink("/etc/hostname", root.join("a.dockerignore")).unwrap();
        assert!(read_alone(&root, "a").is_err());
    }
}
