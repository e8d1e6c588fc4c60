//! The folders and files of the embedded builder.
//!
//! Everything is below `builder` in rbake's data folder, except the sockets if that path is too long for a socket.
//! Start at [`EmbeddedPlaces::of`]. Before [`EmbeddedPlaces::check`] or [`EmbeddedPlaces::create`] has succeeded,
//! other users may be able to change these folders: nothing in them may be connected to, executed or trusted until
//! then.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::trust::{self, TrustError};
use crate::types::{Digest, Environment};

/// The longest path of a Unix socket, in bytes: the size of `sun_path` without the final zero.
const SOCKET_PATH_LIMIT: usize = 107;
/// The longest path of a socket that buildkitd makes below its folder for temporary files. It does so if a step
/// uses SSH keys.
const DEEPEST_TEMPORARY_SOCKET: &str = "/.buildkit-ssh-sock4294967295/ssh_auth_sock";

/// No folder for the embedded builder can be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// The environment names no data folder.
    #[error(
        "there is no folder for the embedded builder: neither `RBAKE_DATA_DIR`, `XDG_DATA_HOME` nor `HOME` is set"
    )]
    NoDataDir,
    /// Others can change a folder, or it cannot be examined or created.
    #[error("the embedded builder has no safe place for its files")]
    Untrusted(#[from] TrustError),
}

impl PlacesError {
    /// What the user can do, as lines of help.
    pub(crate) fn help(&self) -> Vec<String> {
        let way_out = "set `RBAKE_DATA_DIR` to a folder of your own that nobody else can write to";
        match self {
            Self::NoDataDir => vec![way_out.to_owned()],
            Self::Untrusted(error) => {
                let mut help: Vec<String> = error.help().into_iter().collect();
                help.push(if rustix::process::geteuid().is_root() {
                    format!("or {way_out}, such as `/var/lib/rbake`; `sudo -H` uses root's home")
                } else {
                    format!("or {way_out}")
                });
                if let (1, Some(only)) = (help.len(), help.first_mut()) {
                    *only = only.trim_start_matches("or ").to_owned();
                }
                help
            }
        }
    }
}

/// The embedded builder's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedPlaces {
    dir: PathBuf,
    run: PathBuf,
}

impl EmbeddedPlaces {
    /// The places for `environment`. Creates and checks nothing yet.
    pub fn of(environment: &Environment) -> Result<Self, PlacesError> {
        let data = data_dir(environment).ok_or(PlacesError::NoDataDir)?;
        let dir = environment.current_dir().join(data).join("builder");
        let run = place_of_run(&dir, short_folders(environment));
        Ok(Self { dir, run })
    }

    /// Creates the folders, accessible to this user only, and checks that others can change none of them.
    pub fn create(&self) -> Result<(), PlacesError> {
        for path in [&self.dir, &self.run] {
            trust::make_private(path)?;
        }
        if let Some(path) = self.temporary() {
            trust::make_private(&path)?;
        }
        self.check_contents()
    }

    /// Checks that others can change none of the folders that exist. Creates nothing.
    pub fn check(&self) -> Result<(), PlacesError> {
        for path in [&self.dir, &self.run] {
            trust::is_private(path)?;
        }
        self.check_contents()
    }

    // The folder may have been open to others, or owned by them, before it was made private: so its contents are
    // checked, too.
    fn check_contents(&self) -> Result<(), PlacesError> {
        for path in [self.root(), self.programs(), self.rootlesskit()] {
            trust::check(&path)?;
        }
        Ok(())
    }

    /// The folder of everything that outlives the builder's process.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of files that exist only while the builder runs, such as sockets.
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// The folder of buildkitd's data.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The folder of the programs that `rbake builder install` installed.
    pub(crate) fn programs(&self) -> PathBuf {
        self.dir.join("programs")
    }

    /// The folder in which rootlesskit keeps its state while it runs.
    pub(crate) fn rootlesskit(&self) -> PathBuf {
        self.dir.join("rootlesskit")
    }

    /// The folder of buildkitd's temporary files. `None` if its path is too long for the sockets that buildkitd
    /// makes in it.
    pub(crate) fn temporary(&self) -> Option<PathBuf> {
        let path = self.dir.join("tmp");
        let longest = path.as_os_str().len() + DEEPEST_TEMPORARY_SOCKET.len();
        (longest <= SOCKET_PATH_LIMIT).then_some(path)
    }

    /// The configuration with which buildkitd was started.
    pub fn config(&self) -> PathBuf {
        self.dir.join("buildkitd.toml")
    }

    /// The log of the supervisor and buildkitd.
    pub fn log(&self) -> PathBuf {
        self.dir.join("builder.log")
    }

    /// The lock file of a run while it starts a supervisor.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.dir.join("start.lock")
    }

    /// The lock file of the supervisor, held as long as it lives.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.dir.join("supervisor.lock")
    }

    /// The lock file of an installation of programs.
    pub(crate) fn install_lock(&self) -> PathBuf {
        self.dir.join("install.lock")
    }

    /// The file that identifies the process that the supervisor started, so that it can be found if the supervisor
    /// is killed.
    pub fn process(&self) -> PathBuf {
        self.dir.join("buildkitd.process")
    }

    /// The supervisor's socket.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// buildkitd's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("buildkitd.sock")
    }

    /// buildkitd's socket for traces.
    pub(crate) fn trace_socket(&self) -> PathBuf {
        self.run.join("traces.sock")
    }
}

/// root's data folder for the embedded builder, if `HOME` belongs to another user.
const SYSTEM_DATA: &str = "/var/lib/rbake";

/// rbake's data folder: the one that the user named, or the usual one below the home. `None` if there is neither.
///
/// Jobs in containers often run as root with the home of another user (GitHub's do), and so does a plain `sudo`.
/// The owner of that home can change what lies in it, so root then uses a folder of the system.
pub(super) fn data_dir(environment: &Environment) -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    let owner = |home: &Path| std::fs::metadata(home).ok().map(|found| found.uid());
    data_dir_of(environment, is_root, owner)
}

fn data_dir_of(
    environment: &Environment,
    is_root: bool,
    owner: impl Fn(&Path) -> Option<u32>,
) -> Option<PathBuf> {
    let is_named = ["RBAKE_DATA_DIR", "XDG_DATA_HOME"]
        .iter()
        .any(|name| environment.non_empty(name).is_some());
    let home = environment.home().filter(|_| is_root && !is_named);
    match home.and_then(|home| owner(&environment.current_dir().join(home))) {
        Some(owner) if owner != 0 => Some(PathBuf::from(SYSTEM_DATA)),
        _ => environment.data_dir(),
    }
}

/// The folder of the sockets: `run` next to the data, or, if that path is too long, a folder with a short name that
/// depends only on `dir`. `short` are the folders in which that one may be, best first.
fn place_of_run(dir: &Path, short: impl IntoIterator<Item = PathBuf>) -> PathBuf {
    let beside = dir.join("run");
    let longest = "/buildkitd.sock".len();
    let fits = |path: &Path| path.as_os_str().len() + longest <= SOCKET_PATH_LIMIT;
    if fits(&beside) {
        return beside;
    }
    let id = Digest::sha256(dir.as_os_str().as_bytes());
    let id = id.short();
    let named = short
        .into_iter()
        .map(|folder| folder.join(format!("rbake-{id}")));
    // In /tmp another user may have taken the name before us. That is an error later, when the folder is checked.
    let user = rustix::process::geteuid().as_raw();
    named
        .into_iter()
        .find(|path| fits(path))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/rbake-{user}-{id}")))
}

/// Folders that exist while this machine runs and in which nobody else can write. `XDG_RUNTIME_DIR` is ignored if
/// it belongs to another user: `sudo` can leave it in the environment.
fn short_folders(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let user = rustix::process::geteuid();
    let named = environment.non_empty("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = if user.is_root() {
        PathBuf::from("/run")
    } else {
        PathBuf::from(format!("/run/user/{}", user.as_raw()))
    };
    named
        .filter(|path| path.is_absolute())
        .into_iter()
        .chain([usual])
        .filter(|path| trust::is_own_folder(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(data: &Path) -> EmbeddedPlaces {
        let data = data.to_str().unwrap();
        EmbeddedPlaces::of(&Environment::of([("RBAKE_DATA_DIR", data)], "/")).unwrap()
    }

    #[test]
    fn root_uses_the_home_of_another_user_only_on_request() {
        let of = |variables: [(&str, &str); 2], is_root, owner| {
            let environment = Environment::of(variables, "/");
            data_dir_of(&environment, is_root, |_| owner).unwrap()
        };
        let home = [("HOME", "/github/home"), ("X", "")];
        let below = Path::new("/github/home/.local/share/rbake");
        assert_eq!(of(home, true, Some(1001)), Path::new(SYSTEM_DATA));
        assert_eq!(of(home, true, Some(0)), below);
        assert_eq!(of(home, true, None), below);
        assert_eq!(of(home, false, Some(1001)), below);
        let named = [("HOME", "/github/home"), ("RBAKE_DATA_DIR", "/d")];
        assert_eq!(of(named, true, Some(1001)), Path::new("/d"));
    }

    #[test]
    fn sockets_are_in_the_data_directory_if_its_path_is_short() {
        let places = places(Path::new("/home/me/.local/share/rbake"));
        assert_eq!(
            places.socket(),
            Path::new("/home/me/.local/share/rbake/builder/run/buildkitd.sock")
        );
    }

    #[test]
    fn sockets_of_a_long_data_path_get_a_short_folder_of_their_own() {
        let long = PathBuf::from(format!("/{}", "d".repeat(120)));
        let one = places(&long);
        assert!(one.socket().as_os_str().len() <= SOCKET_PATH_LIMIT);
        assert_eq!(one, places(&long));
        assert_ne!(one.socket(), places(&long.join("other")).socket());
        assert!(one.root().starts_with(&long));
        let runtime = place_of_run(&long, ["/run/user/7".into()]);
        assert!(runtime.starts_with("/run/user/7"), "{runtime:?}");
        assert!(place_of_run(&long, []).starts_with("/tmp"));
    }

    #[test]
    fn the_runtime_folder_of_another_user_is_not_used() {
        let theirs = tempfile::tempdir().unwrap();
        let long = format!("/{}", "d".repeat(120));
        let of = |runtime: &Path| {
            let variables = [
                ("RBAKE_DATA_DIR", long.as_str()),
                ("XDG_RUNTIME_DIR", runtime.to_str().unwrap()),
            ];
            EmbeddedPlaces::of(&Environment::of(variables, "/"))
                .unwrap()
                .run
        };
        assert!(of(theirs.path()).starts_with(theirs.path()));
        open(theirs.path(), 0o777);
        assert!(!of(theirs.path()).starts_with(theirs.path()));
        open(theirs.path(), 0o1777);
        assert!(!of(theirs.path()).starts_with(theirs.path()));
    }

    fn open(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn errors_for_folders_that_others_can_write_to_show_their_mode() {
        let data = tempfile::tempdir().unwrap();
        let places = places(data.path());
        places.check().unwrap();
        places.create().unwrap();
        places.create().unwrap();
        for path in [&places.run, &places.dir, &places.temporary().unwrap()] {
            open(path, 0o777);
            let error = places.create().unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(&format!("`{}`", path.display())), "{cause}");
            assert!(cause.contains("mode 0777"), "{cause}");
            open(path, 0o700);
        }
        open(&places.run, 0o777);
        assert!(places.check().is_err());
        open(&places.run, 0o750);
        open(data.path(), 0o777);
        assert!(places.check().is_err());
        open(data.path(), 0o700);
        places.check().unwrap();
        std::fs::create_dir(places.root()).unwrap();
        open(&places.root(), 0o777);
        assert!(places.check().is_err());
    }

    #[test]
    fn temporary_files_are_in_the_data_directory_if_its_path_is_short() {
        let short = places(Path::new("/home/me/.local/share/rbake"));
        assert_eq!(
            short.temporary(),
            Some("/home/me/.local/share/rbake/builder/tmp".into())
        );
        let long = PathBuf::from(format!("/{}", "d".repeat(60)));
        assert_eq!(places(&long).temporary(), None);
    }

    #[test]
    fn without_a_home_directory_there_is_no_data_directory() {
        let error = EmbeddedPlaces::of(&Environment::of([], "/")).unwrap_err();
        assert!(matches!(error, PlacesError::NoDataDir));
    }
}
