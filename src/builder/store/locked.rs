//! Changes of the store, under the lock that buildx holds for its own.
//!
//! Each file is replaced as a whole, and its temporary file is not in a folder that buildx lists: so a process that is
//! killed leaves a store that both programs read. Start at [`Store::lock`].

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Instance, Store, StoreError, file_name};
use crate::builder::accounts::Accounts;
use crate::golang::json::{is_field, quote};
use crate::golang::time::Timestamp;
use crate::types::blocking::unblock;
use crate::types::lock::FileLock;
use crate::types::temporary::{Temporary, sweep_at};
use crate::types::{Digest, Environment};

/// How long to wait for the lock. buildx holds it while it waits for builders, which it does for 20 seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The folders of the store.
const FOLDERS: [&str; 3] = ["instances", "defaults", "activity"];
/// The folder with notes of builds, below which each builder has a folder (buildx `localstate/localstate.go`).
const REFS: &str = "refs";
const GROUPS: &str = "__group__";
/// The most notes of a builder that are read when it is removed.
const MOST_NOTES: usize = 100_000;

/// The store, locked against buildx and against other runs of rbake. Dropping it removes the lock.
#[derive(Debug)]
pub(crate) struct LockedStore {
    store: Store,
    owner: Option<FileOwner>,
    _lock: FileLock,
}

/// The user and the group that new files are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileOwner {
    uid: u32,
    gid: u32,
}

impl FileOwner {
    /// The user who called `sudo`, if the store is in that user's home and `HOME` is that home. buildx gives files to
    /// that user then (`util/confutil/config_unix.go`), who could not change the store otherwise.
    fn of(environment: &Environment, dir: &Path, accounts: &Accounts) -> Option<Self> {
        environment.get("SUDO_COMMAND")?;
        let number = |name| environment.get(name)?.parse::<u32>().ok();
        let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
        let home = environment.home()?;
        let is_theirs = accounts
            .home(uid)
            .is_some_and(|of_user| Path::new(of_user) == home);
        let is_below = dir.starts_with(&home) && dir != home;
        (is_theirs && is_below).then_some(Self { uid, gid })
    }

    fn own(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }
}

impl Store {
    /// Creates the store if it does not exist, and locks it.
    ///
    /// # Errors
    /// The store cannot be written, or another process still holds the lock after a minute.
    pub(crate) async fn lock(&self, environment: &Environment) -> Result<LockedStore, StoreError> {
        let (store, asked) = (self.clone(), environment.clone());
        let owner = unblock(move || store.prepare(&asked)).await?;
        let path = self.dir.join(".lock");
        let write = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        let lock = FileLock::take(FileLock::options(), &path, PATIENCE).await;
        let lock = lock.map_err(write)?.ok_or_else(|| StoreError::Locked {
            path: path.clone(),
            after: PATIENCE,
        })?;
        if let Some(owner) = owner {
            owner.own(&path).map_err(write)?;
        }
        Ok(LockedStore {
            store: self.clone(),
            owner,
            _lock: lock,
        })
    }

    fn prepare(&self, environment: &Environment) -> Result<Option<FileOwner>, StoreError> {
        let owner = FileOwner::of(environment, &self.dir, &Accounts::of_this_machine());
        for name in FOLDERS {
            make_folder(&self.dir.join(name), owner)?;
        }
        Ok(owner)
    }
}

/// Creates the folder `path` and those above it, for this user only.
fn make_folder(path: &Path, owner: Option<FileOwner>) -> Result<(), StoreError> {
    let write = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(write)?;
    if let Some(owner) = owner {
        for made in missing {
            owner.own(made).map_err(write)?;
        }
    }
    Ok(())
}

impl LockedStore {
    /// Writes the builder `instance`, and notes that it was changed at `now`. Blocking.
    ///
    /// # Errors
    /// Its name is not valid, or a file cannot be written.
    pub(crate) fn save(&self, instance: &Instance, now: SystemTime) -> Result<(), StoreError> {
        let name = &instance.name;
        let file = valid(name)?;
        let time = Timestamp::from_system(now).rfc3339();
        self.write(&Path::new("activity").join(name), &time)?;
        self.write(&Path::new("instances").join(file), &instance.to_json())
    }

    /// Removes the builder `name`, and what buildx and rbake have noted of its builds. Blocking.
    ///
    /// # Errors
    /// Its name is not valid, or a file cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let file = valid(name)?;
        let names = if file == name {
            vec![file.as_str()]
        } else {
            vec![file.as_str(), name]
        };
        for name in &names {
            self.remove_file(&Path::new("activity").join(name))?;
            self.forget_builds(name)?;
        }
        self.remove_file(&Path::new("instances").join(&file))
    }

    /// Makes the builder `name` the current one for the Docker endpoint `key`. With an empty name, that of the endpoint
    /// is. Blocking.
    ///
    /// With `everywhere`, it stays the current one if the Docker endpoint changes. With `as_default`, it becomes the
    /// current one again when the endpoint does.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn set_current(
        &self,
        key: &str,
        name: &str,
        everywhere: bool,
        as_default: bool,
    ) -> Result<(), StoreError> {
        let mut text = String::from("{\"Key\":");
        quote(&mut text, key);
        text.push_str(",\"Name\":");
        quote(&mut text, name);
        text.push_str(if everywhere {
            ",\"Global\":true}"
        } else {
            ",\"Global\":false}"
        });
        self.write(Path::new("current"), &text)?;
        let digest = Digest::sha256(key.as_bytes());
        let default = Path::new("defaults").join(&digest.hex()[..20]);
        if as_default {
            self.write(&default, name)
        } else {
            self.remove_file(&default)
        }
    }

    /// Replaces the file `name` of the store.
    fn write(&self, name: &Path, content: &str) -> Result<(), StoreError> {
        let path = self.store.dir.join(name);
        let written = || -> io::Result<()> {
            sweep_at(&self.store.dir);
            // Not in the folder of the file: buildx takes all files in `instances` for builders.
            let temporary = Temporary::make_in(&self.store.dir, 0o600)?;
            temporary.file().write_all(content.as_bytes())?;
            temporary.file().sync_all()?;
            temporary.persist_at(&path)?;
            match self.owner {
                Some(owner) => owner.own(&path),
                None => Ok(()),
            }
        };
        written().map_err(|source| StoreError::Write { path, source })
    }

    fn remove_file(&self, name: &Path) -> Result<(), StoreError> {
        let path = self.store.dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Write {
                path,
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Removes the notes of the builds of `builder`, and those of groups that have no other builds.
    fn forget_builds(&self, builder: &str) -> Result<(), StoreError> {
        let refs = self.store.dir.join(REFS);
        let dir = refs.join(builder);
        if !dir.is_dir() {
            return Ok(());
        }
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for note in notes(&dir) {
            if let Some(group) = group_of(&note) {
                *groups.entry(group).or_default() += 1;
            }
        }
        for (group, count) in groups {
            let path = refs.join(GROUPS).join(&group);
            if builds_of_group(&path).is_some_and(|all| all == count) {
                // Only a note: if it stays, nothing is wrong.
                let _ = std::fs::remove_file(path);
            }
        }
        std::fs::remove_dir_all(&dir).map_err(|source| StoreError::Write { path: dir, source })
    }
}

fn valid(name: &str) -> Result<String, StoreError> {
    file_name(name).ok_or_else(|| StoreError::Name(name.to_owned()))
}

/// The files of all nodes in the folder of a builder.
fn notes(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries(dir)
        .flat_map(move |node| entries(&node.path()))
        .map(|entry| entry.path())
        .take(MOST_NOTES)
}

/// The group to which a noted build belongs. `None` if it belongs to none, or if its file makes no sense.
fn group_of(note: &Path) -> Option<String> {
    let mut group = String::new();
    super::read_json(note, |reading, key, value| {
        if is_field(key, "GroupRef") {
            reading.text(value, "GroupRef", &mut group);
        }
    })
    .ok()?;
    let is_id = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then_some(group)
}

/// How many builds the group in the file `path` has.
fn builds_of_group(path: &Path) -> Option<usize> {
    let mut refs: Vec<String> = Vec::new();
    super::read_json(path, |reading, key, value| {
        if is_field(key, "Refs") {
            reading.list(value, "Refs", &mut refs, |reading, value, at, into| {
                reading.text(value, at, into);
            });
        }
    })
    .ok()
    .filter(|is_there| *is_there)
    .map(|_| refs.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::store::{Current, Node};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::UNIX_EPOCH;

    fn environment(dir: &Path, more: &[(&str, &str)]) -> Environment {
        let config = [("BUILDX_CONFIG", dir.to_str().unwrap())];
        let variables = config.iter().chain(more);
        Environment::new(
            variables.map(|(k, v)| ((*k).into(), (*v).into())),
            dir.into(),
        )
    }

    fn instance(name: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            driver: "remote".to_owned(),
            nodes: vec![Node {
                name: format!("{name}0"),
                endpoint: "tcp://h:1".to_owned(),
                ..Node::default()
            }],
            ..Instance::default()
        }
    }

    async fn locked(dir: &Path) -> (Store, LockedStore) {
        let store = Store::at(dir);
        let locked = store.lock(&environment(dir, &[])).await.unwrap();
        (store, locked)
    }

    #[tokio::test]
    async fn a_saved_builder_is_read_again_and_only_its_user_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new/buildx");
        let (store, locked) = locked(&dir).await;
        locked.save(&instance("Far"), UNIX_EPOCH).unwrap();
        assert_eq!(store.instance("far").unwrap(), Some(instance("Far")));
        let activity = std::fs::read_to_string(dir.join("activity/Far")).unwrap();
        assert_eq!(activity, "1970-01-01T00:00:00Z");
        let mode = |path: &str| {
            std::fs::metadata(dir.join(path))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("instances/far") & 0o777, 0o600);
        assert_eq!(mode("instances") & 0o777, 0o700);
        assert!(matches!(
            locked.save(&instance("1st"), UNIX_EPOCH),
            Err(StoreError::Name(_))
        ));
    }

    #[tokio::test]
    async fn the_current_builder_is_written_as_buildx_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, locked) = locked(dir.path()).await;
        locked.save(&instance("far"), UNIX_EPOCH).unwrap();
        locked.set_current("unix:///s", "far", false, true).unwrap();
        let text = std::fs::read_to_string(dir.path().join("current")).unwrap();
        assert_eq!(text, r#"{"Key":"unix:///s","Name":"far","Global":false}"#);
        assert!(matches!(
            store.current("unix:///s").unwrap(),
            Current::Instance(_)
        ));
        // The default stays when another endpoint gets a builder.
        locked.set_current("other", "", false, false).unwrap();
        assert!(matches!(
            store.current("unix:///s").unwrap(),
            Current::Instance(_)
        ));
        locked.set_current("unix:///s", "", false, false).unwrap();
        assert_eq!(store.current("unix:///s").unwrap(), Current::None);
        locked.set_current("x", "far", true, false).unwrap();
        assert!(matches!(
            store.current("anything").unwrap(),
            Current::Instance(_)
        ));
    }

    #[tokio::test]
    async fn a_removed_builder_takes_the_notes_of_its_builds_along() {
        let dir = tempfile::tempdir().unwrap();
        let (store, locked) = locked(dir.path()).await;
        locked.save(&instance("far"), UNIX_EPOCH).unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join("refs").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("far/far0/a", r#"{"GroupRef":"whole"}"#);
        write("far/far0/b", r#"{"GroupRef":"shared"}"#);
        write("far/far0/c", r#"{"GroupRef":"../../current"}"#);
        write("other/other0/d", r#"{"GroupRef":"shared"}"#);
        write("__group__/whole", r#"{"Refs":["far/far0/a"]}"#);
        write(
            "__group__/shared",
            r#"{"Refs":["far/far0/b","other/other0/d"]}"#,
        );
        locked.set_current("k", "far", false, false).unwrap();
        locked.remove("far").unwrap();
        assert_eq!(store.instance("far").unwrap(), None);
        let exists = |path: &str| dir.path().join(path).exists();
        assert!(!exists("activity/far") && !exists("refs/far") && !exists("refs/__group__/whole"));
        assert!(
            exists("refs/__group__/shared") && exists("refs/other/other0/d") && exists("current")
        );
        // Removing it again changes nothing.
        locked.remove("far").unwrap();
    }

    #[tokio::test]
    async fn temporary_files_are_never_among_the_builders() {
        let dir = tempfile::tempdir().unwrap();
        let (store, locked) = locked(dir.path()).await;
        // If the name is a folder, the file cannot get its name and is removed.
        std::fs::create_dir_all(dir.path().join("instances/far/x")).unwrap();
        assert!(matches!(
            locked.save(&instance("far"), UNIX_EPOCH),
            Err(StoreError::Write { .. })
        ));
        locked.save(&instance("near"), UNIX_EPOCH).unwrap();
        assert_eq!(store.names(), ["far", "near"]);
        let entries = |path: &str| std::fs::read_dir(dir.path().join(path)).unwrap().count();
        assert_eq!((entries("instances"), entries(".")), (2, 4));
    }

    #[tokio::test]
    async fn a_second_process_waits_for_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let (store, held) = locked(dir.path()).await;
        let environment = environment(dir.path(), &[]);
        let waiting = store.lock(&environment);
        let early = tokio::time::timeout(Duration::from_millis(100), waiting).await;
        assert!(early.is_err());
        drop(held);
        store.lock(&environment).await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let store = Store::at(file.join("buildx"));
        let error = store.lock(&environment(&file, &[])).await.unwrap_err();
        assert!(
            error.to_string().contains("file/buildx/instances"),
            "{error}"
        );
    }

    #[test]
    fn files_belong_to_the_user_of_sudo_only_in_that_users_home() {
        let accounts = Accounts::of_texts("alice:x:1000:1001::/home/alice:/bin/sh\n");
        let owner = |home: &str, dir: &str, uid: &str| {
            let sudo = [
                ("SUDO_COMMAND", "/bin/sh"),
                ("SUDO_UID", uid),
                ("SUDO_GID", "1001"),
                ("HOME", home),
            ];
            let environment = environment(Path::new("/"), &sudo);
            FileOwner::of(&environment, Path::new(dir), &accounts)
        };
        let alice = Some(FileOwner {
            uid: 1000,
            gid: 1001,
        });
        assert_eq!(
            owner("/home/alice", "/home/alice/.docker/buildx", "1000"),
            alice
        );
        assert_eq!(owner("/root", "/root/.docker/buildx", "1000"), None);
        assert_eq!(owner("/home/alice", "/srv/buildx", "1000"), None);
        assert_eq!(
            owner("/home/alice", "/home/alice/.docker/buildx", "x"),
            None
        );
    }
}
