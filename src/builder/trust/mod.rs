//! Whether a path leads to something that nobody but root and this user can change.
//!
//! On a machine that is shared, others may have been there first: with a folder of the name that we would use in `/tmp`,
//! with a link, with a program in a folder that all may write to. And where they may write to a folder *above* ours, they
//! may put another in its place. So a path is followed as the kernel follows it, one step at a time, and each folder, link
//! and file on the way is looked at. If all are fine, others can change neither the way nor its end, which may then be
//! opened by its name. Start at [`check`] and [`make_private`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::{fmt, io};

use super::accounts::Accounts;

/// As many links as the kernel follows.
const LINK_LIMIT: u32 = 40;

/// Something on the way to a path, or at its end, can be changed by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafePath {
    path: PathBuf,
    culprit: PathBuf,
    kind: &'static str,
    owner: String,
    user: u32,
    mode: u32,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    // It belongs to somebody else than root or us.
    Owner,
    // It belongs to somebody else than us, be it root.
    NotOurs,
    Everybody,
    Group(String),
    AccessList,
    // Its owner and mode are what the user says who mounted it.
    Mounted,
    NotAFolder,
}

impl UnsafePath {
    /// What would make it safe, if that can be said without knowing what it is for.
    pub(crate) fn help(&self) -> Option<String> {
        let path = self.culprit.display();
        match self.fault {
            Fault::Everybody | Fault::Group(_) => Some(format!(
                "if only you use it: `chmod go-w` for `{path}`, after a look at what is in there"
            )),
            Fault::AccessList => Some(format!("`setfacl -b` removes the list of `{path}`")),
            Fault::Owner | Fault::NotOurs | Fault::Mounted | Fault::NotAFolder => None,
        }
    }
}

impl fmt::Display for UnsafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path != self.culprit {
            write!(f, "`{}` is not safe: ", self.path.display())?;
        }
        let (kind, culprit) = (self.kind, self.culprit.display());
        let (owner, mode) = (&self.owner, self.mode);
        write!(
            f,
            "the {kind} `{culprit}` belongs to {owner}, mode {mode:04o}"
        )?;
        match &self.fault {
            Fault::Owner if self.user == 0 => f.write_str(", and must belong to root"),
            Fault::Owner => write!(f, ", and must belong to root or to you (uid {})", self.user),
            Fault::NotOurs => write!(f, ", and must belong to you (uid {})", self.user),
            Fault::Everybody => f.write_str(", so that everybody can write to it"),
            Fault::Group(group) => write!(f, ", so that the group {group} can write to it"),
            Fault::AccessList => {
                f.write_str(", and an access list lets others than its owner write to it")
            }
            Fault::Mounted => {
                f.write_str(", or so says a file system that any user may have mounted")
            }
            Fault::NotAFolder => f.write_str(", and must be a folder"),
        }
    }
}

impl std::error::Error for UnsafePath {}

/// A path cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Others can change it.
    #[error(transparent)]
    Unsafe(#[from] Box<UnsafePath>),
    /// It cannot be looked at.
    #[error("cannot look at `{}`", path.display())]
    Look {
        /// The path, or a part of it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder `{}`", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<UnsafePath> for TrustError {
    fn from(error: UnsafePath) -> Self {
        Box::new(error).into()
    }
}

impl TrustError {
    /// What would make the path safe, if that can be said without knowing what it is for.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Unsafe(error) => error.help(),
            Self::Look { .. } | Self::Make { .. } => None,
        }
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(super) struct Found {
    /// The same place by a path without links.
    pub(super) path: PathBuf,
    /// What is there.
    pub(super) metadata: Metadata,
}

/// Follows `path` and makes sure that nobody but root and this user can change what it leads to.
///
/// Returns `None` if there is nothing; then nobody else can put something there, unless it would be in a folder such as
/// `/tmp`.
pub(super) fn check(path: &Path) -> Result<Option<Found>, TrustError> {
    Judge::of_this_process().check(path)
}

/// Whether there is a folder at `path` that only this user can reach. One that others can read is closed to them.
pub(super) fn is_private(path: &Path) -> Result<bool, TrustError> {
    Judge::of_this_process().is_private(path)
}

/// Whether there is a folder at `path`, and makes sure that nobody but root and this user can make things in it: `/tmp` is
/// an error.
pub(super) fn check_folder(path: &Path) -> Result<bool, TrustError> {
    Judge::of_this_process().check_folder(path)
}

/// Whether `path` is a folder of this user's that nobody else can change; nothing about it is mended.
pub(super) fn is_own_folder(path: &Path) -> bool {
    let judge = Judge::of_this_process();
    let is_ours = |found: Found| found.metadata.uid() == judge.user;
    judge.check_folder(path).is_ok_and(|is_there| is_there)
        && judge
            .check(path)
            .is_ok_and(|found| found.is_some_and(is_ours))
}

/// Has a folder at `path` that only this user can reach.
pub(super) fn make_private(path: &Path) -> Result<(), TrustError> {
    let judge = Judge::of_this_process();
    if judge.is_private(path)? {
        return Ok(());
    }
    let fail = |source| TrustError::Make {
        path: path.to_owned(),
        source,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(fail)?;
    // In a folder such as /tmp somebody may have been faster: making a folder that is there already is no error.
    if judge.is_private(path)? {
        Ok(())
    } else {
        Err(fail(io::ErrorKind::NotFound.into()))
    }
}

/// Whether the process at the other end of `stream` is this user's.
pub(super) fn is_peer_ours(stream: &tokio::net::UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours)
}

// Looks at paths for one user.
struct Judge {
    user: u32,
    // The number that stands for all users who have none here, if this is a user namespace: root of the machine, too.
    unmapped: Option<u32>,
}

impl Judge {
    fn of_this_process() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            unmapped: unmapped_user(),
        }
    }

    fn check(&self, path: &Path) -> Result<Option<Found>, TrustError> {
        let look = |path: &Path, source| TrustError::Look {
            path: path.to_owned(),
            source,
        };
        let asked = std::path::absolute(path).map_err(|source| look(path, source))?;
        let mut steps = steps(&asked);
        let mut here = PathBuf::from("/");
        let mut metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
        self.judge(&asked, &here, &metadata, false)?;
        let mut links = 0;
        while let Some(step) = steps.pop_front() {
            if step == ".." {
                here.pop();
                metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
                continue;
            }
            let next = here.join(&step);
            let found = match std::fs::symlink_metadata(&next) {
                Ok(found) => found,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Ok(None);
                }
                Err(source) => return Err(look(&next, source)),
            };
            let in_sticky = is_sticky(&metadata);
            if in_sticky && found.dev() != metadata.dev() && is_mounted_by_a_user(&next) {
                let error = self.unsafe_path(&asked, &next, &found, Fault::Mounted);
                return Err(error.into());
            }
            self.judge(&asked, &next, &found, in_sticky)?;
            if !found.is_symlink() {
                (here, metadata) = (next, found);
                continue;
            }
            links += 1;
            if links > LINK_LIMIT {
                return Err(look(&next, rustix::io::Errno::LOOP.into()));
            }
            let target = std::fs::read_link(&next).map_err(|e| look(&next, e))?;
            if target.is_absolute() {
                here = PathBuf::from("/");
                metadata = std::fs::symlink_metadata(&here).map_err(|e| look(&here, e))?;
            }
            let mut way = self::steps(&target);
            way.append(&mut steps);
            steps = way;
        }
        Ok(Some(Found {
            path: here,
            metadata,
        }))
    }

    fn check_folder(&self, path: &Path) -> Result<bool, TrustError> {
        let Some(found) = self.check(path)? else {
            return Ok(false);
        };
        match self.writers(&found.path, &found.metadata) {
            Some(fault) => {
                let (real, metadata) = (&found.path, &found.metadata);
                Err(self.unsafe_path(path, real, metadata, fault).into())
            }
            None => Ok(found.metadata.is_dir()),
        }
    }

    fn is_private(&self, path: &Path) -> Result<bool, TrustError> {
        let Some(Found {
            path: real,
            metadata,
        }) = self.check(path)?
        else {
            return Ok(false);
        };
        let fault = if !metadata.is_dir() {
            Some(Fault::NotAFolder)
        } else if metadata.uid() != self.user {
            Some(Fault::NotOurs)
        } else {
            // Here /tmp itself will not do.
            self.writers(&real, &metadata)
        };
        if let Some(fault) = fault {
            return Err(self.unsafe_path(path, &real, &metadata, fault).into());
        }
        if metadata.mode() & 0o077 != 0 {
            // A file system without modes is no reason to stop: nobody else can write there.
            let _ = std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700));
        }
        Ok(true)
    }

    // Whether others can change `path`, which is a step on the way to `asked`. In a sticky folder anybody may make
    // things, but only owners may replace them.
    fn judge(
        &self,
        asked: &Path,
        path: &Path,
        found: &Metadata,
        in_sticky: bool,
    ) -> Result<(), Box<UnsafePath>> {
        let owner = found.uid();
        let is_trusted =
            owner == 0 || owner == self.user || (self.unmapped == Some(owner) && !in_sticky);
        let fault = if !is_trusted {
            Some(Fault::Owner)
        } else if found.is_symlink() || is_sticky(found) {
            // A link has no mode that means anything.
            None
        } else {
            self.writers(path, found)
        };
        match fault {
            Some(fault) => Err(Box::new(self.unsafe_path(asked, path, found, fault))),
            None => Ok(()),
        }
    }

    // Who else than root and the user may write to it.
    fn writers(&self, path: &Path, found: &Metadata) -> Option<Fault> {
        let mode = found.mode();
        if mode & 0o002 != 0 {
            return Some(Fault::Everybody);
        }
        if mode & 0o020 == 0 {
            return None;
        }
        // With an access list, these bits say that any of its users or groups may.
        if has_access_list(path) {
            return Some(Fault::AccessList);
        }
        let accounts = Accounts::of_this_machine();
        (!accounts.is_group_of_only(found.gid(), self.user))
            .then(|| Fault::Group(accounts.group(found.gid())))
    }

    fn unsafe_path(
        &self,
        asked: &Path,
        culprit: &Path,
        found: &Metadata,
        fault: Fault,
    ) -> UnsafePath {
        UnsafePath {
            path: asked.to_owned(),
            culprit: culprit.to_owned(),
            kind: if found.is_dir() {
                "folder"
            } else if found.is_symlink() {
                "link"
            } else {
                "file"
            },
            owner: Accounts::of_this_machine().user(found.uid()),
            user: self.user,
            mode: found.mode() & 0o7777,
            fault,
        }
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn is_sticky(found: &Metadata) -> bool {
    found.is_dir() && found.mode() & 0o1000 != 0
}

#[cfg(target_os = "linux")]
fn has_access_list(path: &Path) -> bool {
    // An error means that there is none, or none on this file system.
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 4096][..])
        .map_or_else(|error| error == rustix::io::Errno::RANGE, |_| true)
}

// Whether it may be a file system that an ordinary user has mounted onto a folder of theirs.
#[cfg(target_os = "linux")]
fn is_mounted_by_a_user(path: &Path) -> bool {
    const FUSE: i128 = 0x6573_5546;
    // The type of the field differs with the architecture.
    rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == FUSE)
}

#[cfg(not(target_os = "linux"))]
fn is_mounted_by_a_user(_: &Path) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn has_access_list(_: &Path) -> bool {
    false
}

fn unmapped_user() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    if map.split_ascii_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    let number = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests;
