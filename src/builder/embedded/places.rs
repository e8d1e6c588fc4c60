//! Where the embedded builder keeps its files.
//!
//! All is below `builder` in rbake's data folder, except the sockets where that path is too long for a socket.
//! Start at [`Places::of`].

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::types::{Digest, Environment};

/// The longest path a Unix socket can be bound to, in bytes: `sun_path` less its final zero.
const SOCKET_PATH_LIMIT: usize = 107;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// The environment leads to no data folder.
    #[error(
        "there is no folder for the embedded builder: neither `RBAKE_DATA_DIR`, `XDG_DATA_HOME` nor `HOME` is set"
    )]
    NoDataDir,
    /// A folder cannot be made.
    #[error("cannot make the folder `{}` for the embedded builder", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder for sockets belongs to, or can be changed by, someone else.
    #[error("the folder `{}` for the embedded builder's sockets is not safe: it must be a folder of yours that nobody else can write to", .0.display())]
    Unsafe(PathBuf),
}

/// The embedded builder's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    dir: PathBuf,
    run: PathBuf,
}

impl Places {
    /// The places that `environment` leads to; nothing is made yet.
    pub fn of(environment: &Environment) -> Result<Self, PlacesError> {
        let data = environment.data_dir().ok_or(PlacesError::NoDataDir)?;
        let dir = environment.current_dir().join(data).join("builder");
        let runtime = environment.non_empty("XDG_RUNTIME_DIR").map(PathBuf::from);
        let run = place_of_run(&dir, runtime.filter(|path| path.is_dir()));
        Ok(Self { dir, run })
    }

    /// Makes the folders, for this user only.
    pub fn create(&self) -> Result<(), PlacesError> {
        for path in [&self.dir, &self.run] {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.map_err(|source| PlacesError::Create {
                path: path.clone(),
                source,
            })?;
        }
        // In a shared folder such as /tmp somebody else may have come first.
        if !is_private(&self.run) {
            return Err(PlacesError::Unsafe(self.run.clone()));
        }
        Ok(())
    }

    /// The folder of all that survives.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder of what exists only while the builder runs.
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Folder of buildkitd's data.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Folder of the programs that `rbake builder install` brought.
    pub fn programs(&self) -> PathBuf {
        self.dir.join("programs")
    }

    /// The configuration buildkitd was started with.
    pub fn config(&self) -> PathBuf {
        self.dir.join("buildkitd.toml")
    }

    /// What the supervisor and buildkitd have to say.
    pub fn log(&self) -> PathBuf {
        self.dir.join("builder.log")
    }

    /// Held by whoever is starting a supervisor.
    pub fn start_lock(&self) -> PathBuf {
        self.dir.join("start.lock")
    }

    /// Held by the supervisor for as long as it lives.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.dir.join("supervisor.lock")
    }

    /// Held while programs are being installed.
    pub fn install_lock(&self) -> PathBuf {
        self.dir.join("install.lock")
    }

    /// The process that the supervisor started, to be found again if the supervisor is killed.
    pub fn process(&self) -> PathBuf {
        self.dir.join("buildkitd.process")
    }

    /// The supervisor's socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// buildkitd's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("buildkitd.sock")
    }

    /// buildkitd's socket for traces.
    pub fn trace_socket(&self) -> PathBuf {
        self.run.join("traces.sock")
    }
}

// The folder of the sockets: `run` beside the data, else one with a short name that is the same each time.
fn place_of_run(dir: &Path, runtime: Option<PathBuf>) -> PathBuf {
    let beside = dir.join("run");
    let longest = "/buildkitd.sock".len();
    let fits = |path: &Path| path.as_os_str().len() + longest <= SOCKET_PATH_LIMIT;
    if fits(&beside) {
        return beside;
    }
    let id = Digest::sha256(dir.as_os_str().as_bytes());
    let id = id.short();
    if let Some(runtime) = runtime {
        let path = runtime.join(format!("rbake-{id}"));
        if fits(&path) {
            return path;
        }
    }
    let user = rustix::process::geteuid().as_raw();
    PathBuf::from(format!("/tmp/rbake-{user}-{id}"))
}

fn is_private(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o022 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(data: &Path) -> Places {
        let data = data.to_str().unwrap();
        Places::of(&Environment::of([("RBAKE_DATA_DIR", data)], "/")).unwrap()
    }

    #[test]
    fn sockets_are_beside_the_data_where_the_path_is_short() {
        let places = places(Path::new("/home/me/.local/share/rbake"));
        assert_eq!(
            places.socket(),
            Path::new("/home/me/.local/share/rbake/builder/run/buildkitd.sock")
        );
    }

    #[test]
    fn long_paths_get_a_short_folder_of_their_own() {
        let long = PathBuf::from(format!("/{}", "d".repeat(120)));
        let one = places(&long);
        assert!(one.socket().as_os_str().len() <= SOCKET_PATH_LIMIT);
        assert_eq!(one, places(&long));
        assert_ne!(one.socket(), places(&long.join("other")).socket());
        assert!(one.root().starts_with(&long));
        let runtime = place_of_run(&long, Some("/run/user/7".into()));
        assert!(runtime.starts_with("/run/user/7"), "{runtime:?}");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let places = places(data.path());
        places.create().unwrap();
        places.create().unwrap();
        std::fs::set_permissions(&places.run, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(places.create(), Err(PlacesError::Unsafe(_))));
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        let error = Places::of(&Environment::of([], "/")).unwrap_err();
        assert!(matches!(error, PlacesError::NoDataDir));
    }
}
