//! The search path for programs: the folders of `PATH` in which nobody else can write.
//!
//! A relative folder would depend on the current directory, which may be a checkout of untrusted code. In a folder
//! that others can write to, anybody may have put a `buildkitd`. Both kinds are skipped, and are not passed on to
//! buildkitd either, which looks for `git` and other programs itself.

use std::path::{Path, PathBuf};

use super::super::trust::{self, TrustError};
use crate::types::causes::in_one_line;

/// The folders in which programs are looked for, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchPath {
    folders: Vec<PathBuf>,
    left_out: Vec<(PathBuf, String)>,
}

impl SearchPath {
    /// The folder `first`, if any, then the folders of `variable`, the value of `PATH`.
    pub(crate) fn new(first: Option<PathBuf>, variable: Option<&str>) -> Self {
        let mut path = Self::default();
        let named = variable.unwrap_or_default().split(':').map(PathBuf::from);
        for folder in first.into_iter().chain(named) {
            path.add(folder);
        }
        path
    }

    fn add(&mut self, folder: PathBuf) {
        if self.folders.contains(&folder) {
            return;
        }
        if !folder.is_absolute() {
            // An empty entry means the current directory. It is skipped without a notice.
            if !folder.as_os_str().is_empty() {
                self.left_out.push((folder, "it is relative".to_owned()));
            }
            return;
        }
        match trust::check_folder(&folder) {
            Ok(true) => self.folders.push(folder),
            Ok(false) => {}
            Err(error) => self.left_out.push((folder, in_one_line(&error))),
        }
    }

    /// Finds the first safe program called `name`. `None` if there is no program of that name.
    ///
    /// # Errors
    /// There are programs of that name, but others can change all of them.
    pub(crate) fn find(&self, name: &str) -> Result<Option<PathBuf>, TrustError> {
        let mut refused = None;
        for folder in &self.folders {
            let path = folder.join(name);
            if !is_program(&path) {
                continue;
            }
            match trust::check(&path) {
                Ok(Some(_)) => return Ok(Some(path)),
                Ok(None) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let left_out = self.left_out.iter().map(|(folder, _)| folder);
        for folder in left_out.filter(|folder| folder.is_absolute()) {
            if refused.is_none() && is_program(&folder.join(name)) {
                refused = trust::check_folder(folder).err();
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// The folders as a value for `PATH`.
    pub(crate) fn variable(&self) -> String {
        let folders = self.folders.iter().map(|folder| folder.to_string_lossy());
        folders.collect::<Vec<_>>().join(":")
    }

    /// The folders that are skipped, each with the reason.
    pub(crate) fn left_out(&self) -> &[(PathBuf, String)] {
        &self.left_out
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn folder(dir: &Path, name: &str, bits: u32) -> String {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("tool"), "").unwrap();
        mode(&path.join("tool"), 0o755);
        mode(&path, bits);
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn only_absolute_folders_of_path_are_searched() {
        let find = |path| SearchPath::new(None, path).find("sh").unwrap();
        assert!(find(Some(".:/nonexistent:/bin")).is_some());
        assert_eq!(find(Some("bin:.::")), None);
        assert_eq!(find(None), None);
        let path = SearchPath::new(Some("/bin".into()), Some(".:/usr/bin::/bin"));
        assert_eq!(path.variable(), "/bin:/usr/bin");
        assert_eq!(path.left_out().len(), 1);
    }

    #[test]
    fn folders_that_others_can_write_to_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let open = folder(dir.path(), "open", 0o777);
        let sticky = folder(dir.path(), "sticky", 0o1777);
        let sound = folder(dir.path(), "sound", 0o755);
        let path = SearchPath::new(None, Some(&format!("{open}:{sticky}:{sound}")));
        let found = path.find("tool").unwrap().unwrap();
        assert_eq!(found, Path::new(&sound).join("tool"));
        assert_eq!(path.variable(), sound);
        let (left_out, why) = &path.left_out()[0];
        assert_eq!(left_out, Path::new(&open));
        assert!(why.contains("mode 0777"), "{why}");
        assert_eq!(path.left_out()[1].0, Path::new(&sticky));
    }

    #[test]
    fn a_program_only_in_folders_that_others_can_write_to_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let open = folder(dir.path(), "open", 0o777);
        let path = SearchPath::new(None, Some(&open));
        let error = path.find("tool").unwrap_err().to_string();
        assert!(error.contains(&format!("`{open}`")), "{error}");
        assert_eq!(path.find("other").unwrap(), None);
        mode(Path::new(&open), 0o1777);
        let path = SearchPath::new(None, Some(&open));
        assert!(path.find("tool").is_err());
        let sound = folder(dir.path(), "sound", 0o755);
        mode(&Path::new(&sound).join("tool"), 0o757);
        let path = SearchPath::new(None, Some(&sound));
        let error = path.find("tool").unwrap_err().to_string();
        assert!(error.contains("mode 0757"), "{error}");
    }
}
